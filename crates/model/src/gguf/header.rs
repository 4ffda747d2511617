//! The head of a GGUF file: its metadata and where its tensors lie.
//!
//! Nothing in it is believed. Counts are held against the bytes that are left before anything is
//! allocated for them; arrays and strings stay where they are in the file and are looked at when
//! asked for, so a header costs memory in proportion to its number of keys and tensors only.
//!
//! Format: `docs/gguf.md` of the ggml project, versions 2 and 3 (little-endian).

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::block::Block;

/// More keys, or tensors, than any model has.
const MAX_ENTRIES: u64 = 1 << 16;
/// Names are looked up and printed; ggml's own limit is 64 for tensors and 65,535 for keys.
const MAX_NAME: u64 = 1 << 10;
/// Arrays in arrays in arrays: no key of the format has them.
const MAX_NESTING: usize = 4;
/// Dimensions of a tensor in ggml.
const MAX_DIMENSIONS: u32 = 4;
/// Where a file does not say.
const DEFAULT_ALIGNMENT: u64 = 32;

/// One value of the metadata. Text and arrays are ranges of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(Range<usize>),
    Array(Array),
}

/// An array of the metadata, whose elements begin at `start`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub element: Type,
    pub count: u64,
    start: usize,
}

/// Types of metadata values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Type {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    Array,
    U64,
    I64,
    F64,
}

impl Type {
    pub(crate) const ALL: [Type; 13] = [
        Type::U8,
        Type::I8,
        Type::U16,
        Type::I16,
        Type::U32,
        Type::I32,
        Type::F32,
        Type::Bool,
        Type::Text,
        Type::Array,
        Type::U64,
        Type::I64,
        Type::F64,
    ];

    /// The number that stands for the type in a file is its place in the list.
    fn of(number: u32) -> Option<Type> {
        Type::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// The least number of bytes that a value takes.
    fn least(self) -> u64 {
        match self {
            Type::U8 | Type::I8 | Type::Bool => 1,
            Type::U16 | Type::I16 => 2,
            Type::U32 | Type::I32 | Type::F32 => 4,
            Type::U64 | Type::I64 | Type::F64 | Type::Text => 8,
            // Its type and its count.
            Type::Array => 12,
        }
    }
}

/// Where a tensor lies and what it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub name: String,
    /// As the model has it: rows first. (The file names the fastest dimension first.)
    pub shape: Vec<i64>,
    pub block: Block,
    /// Bytes of the file.
    pub data: Range<usize>,
}

/// Metadata and tensors of a file.
#[derive(Debug)]
pub(crate) struct Header {
    pub metadata: BTreeMap<String, Value>,
    /// In the order in which they lie in the file.
    pub tensors: Vec<Entry>,
}

impl Header {
    /// Reads and checks the header of a whole file.
    pub fn parse(file: &[u8]) -> Result<Header, String> {
        let mut cursor = Cursor { file, at: 0 };
        if cursor.take(4)? != b"GGUF" {
            return Err("does not begin with GGUF: not a GGUF file".into());
        }
        match cursor.u32()? {
            2 | 3 => (),
            1 => return Err("is of GGUF version 1, which nothing writes any more".into()),
            version if version.swap_bytes() <= 3 => {
                return Err("is a big-endian GGUF file; only little-endian ones are read".into());
            }
            version => return Err(format!("is of GGUF version {version}; 2 and 3 are read")),
        }
        let tensors = cursor.count("tensors", 24, MAX_ENTRIES)?;
        let keys = cursor.count("metadata keys", 13, MAX_ENTRIES)?;
        let mut metadata = BTreeMap::new();
        for _ in 0..keys {
            let key = cursor.name("a metadata key")?;
            let kind = cursor.kind()?;
            let value = cursor
                .value(kind, 0)
                .map_err(|e| format!("metadata {key}: {e}"))?;
            if metadata.insert(key.clone(), value).is_some() {
                return Err(format!("metadata {key} is there twice"));
            }
        }
        let alignment = match metadata.get("general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some(Value::Unsigned(n)) if n.is_power_of_two() && *n <= 1 << 20 => *n,
            Some(other) => {
                return Err(format!(
                    "general.alignment is {other:?}, not a power of two up to 2^20"
                ));
            }
        };
        let mut found = Vec::new();
        for _ in 0..tensors {
            found.push(cursor.tensor()?);
        }
        let data = u64::try_from(cursor.at)
            .ok()
            .and_then(|at| at.checked_next_multiple_of(alignment))
            .ok_or("the header does not end")?;
        let mut tensors = found
            .into_iter()
            .map(|tensor| tensor.place(data, alignment, file.len()))
            .collect::<Result<Vec<_>, _>>()?;
        tensors.sort_by_key(|tensor| tensor.data.start);
        distinct(&tensors)?;
        Ok(Header { metadata, tensors })
    }
}

/// Refuses tensors that share a name or a byte; they are in the order of their first bytes.
fn distinct(tensors: &[Entry]) -> Result<(), String> {
    let mut names = HashSet::new();
    for tensor in tensors {
        if !names.insert(tensor.name.as_str()) {
            return Err(format!("tensor {} is there twice", tensor.name));
        }
    }
    for pair in tensors.windows(2) {
        if pair[0].data.end > pair[1].data.start {
            return Err(format!(
                "tensors {} and {} overlap",
                pair[0].name, pair[1].name
            ));
        }
    }
    Ok(())
}

/// A tensor as the header lists it.
struct Listed {
    name: String,
    /// Fastest first.
    dimensions: Vec<u64>,
    kind: u32,
    offset: u64,
}

impl Listed {
    fn place(self, data: u64, alignment: u64, file: usize) -> Result<Entry, String> {
        let Listed {
            name,
            dimensions,
            kind,
            offset,
        } = self;
        let fault = |detail: String| format!("tensor {name}: {detail}");
        let block = Block::of(kind).map_err(&fault)?;
        let elements = dimensions
            .iter()
            .try_fold(1u64, |n, &size| n.checked_mul(size))
            .filter(|&n| n <= i64::MAX as u64)
            .ok_or_else(|| fault(format!("its dimensions {dimensions:?} are absurd")))?;
        let row = dimensions.first().copied().unwrap_or(1);
        if row % block.elements() as u64 != 0 {
            return Err(fault(format!(
                "its rows of {row} are no whole number of {} blocks of {}",
                block.name(),
                block.elements()
            )));
        }
        if offset % alignment != 0 {
            return Err(fault(format!(
                "its offset {offset} is no multiple of the alignment {alignment}"
            )));
        }
        let range = (elements / block.elements() as u64)
            .checked_mul(block.bytes() as u64)
            .zip(data.checked_add(offset))
            .and_then(|(bytes, start)| Some((start, start.checked_add(bytes)?)))
            .filter(|&(_, end)| end <= file as u64)
            .ok_or_else(|| {
                fault(format!(
                    "{dimensions:?} of type {} at offset {offset} reach beyond the file's {file} \
                     bytes: it is incomplete, fetch it again",
                    block.name()
                ))
            })?;
        Ok(Entry {
            shape: dimensions.iter().rev().map(|&n| n as i64).collect(),
            block,
            // Both are at most the file's length.
            data: range.0 as usize..range.1 as usize,
            name,
        })
    }
}

struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: u64) -> Result<&'a [u8], String> {
        let left = &self.file[self.at..];
        match usize::try_from(bytes).ok().and_then(|n| left.get(..n)) {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => Err(format!(
                "{bytes} bytes are needed at byte {} and {} are left: the file is incomplete or \
                 damaged",
                self.at,
                left.len()
            )),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number of things that take at least `least` bytes each.
    fn count(&mut self, what: &str, least: u64, most: u64) -> Result<u64, String> {
        let count = self.u64()?;
        let left = (self.file.len() - self.at) as u64;
        if count > most || count.checked_mul(least).is_none_or(|bytes| bytes > left) {
            return Err(format!(
                "claims {count} {what}, with {left} bytes of the file left for them"
            ));
        }
        Ok(count)
    }

    fn kind(&mut self) -> Result<Type, String> {
        let number = self.u32()?;
        Type::of(number).ok_or_else(|| format!("{number} is no type of metadata"))
    }

    fn text(&mut self) -> Result<Range<usize>, String> {
        let length = self.u64()?;
        let start = self.at;
        self.take(length)?;
        Ok(start..self.at)
    }

    fn name(&mut self, what: &str) -> Result<String, String> {
        let length = self.u64()?;
        if length > MAX_NAME {
            return Err(format!("{what} of {length} bytes"));
        }
        let bytes = self.take(length)?;
        match std::str::from_utf8(bytes) {
            Ok(name) if !name.is_empty() => Ok(name.to_owned()),
            _ => Err(format!("{what} is empty or not UTF-8")),
        }
    }

    fn value(&mut self, kind: Type, depth: usize) -> Result<Value, String> {
        Ok(match kind {
            Type::U8 => Value::Unsigned(self.array::<1>()?[0].into()),
            Type::I8 => Value::Signed(i8::from_le_bytes(self.array()?).into()),
            Type::U16 => Value::Unsigned(u16::from_le_bytes(self.array()?).into()),
            Type::I16 => Value::Signed(i16::from_le_bytes(self.array()?).into()),
            Type::U32 => Value::Unsigned(self.u32()?.into()),
            Type::I32 => Value::Signed(i32::from_le_bytes(self.array()?).into()),
            Type::F32 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            Type::Bool => match self.array::<1>()?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                other => return Err(format!("{other} is neither true nor false")),
            },
            Type::Text => Value::Text(self.text()?),
            Type::U64 => Value::Unsigned(self.u64()?),
            Type::I64 => Value::Signed(i64::from_le_bytes(self.array()?)),
            Type::F64 => Value::Float(f64::from_le_bytes(self.array()?)),
            Type::Array => {
                if depth == MAX_NESTING {
                    return Err(format!("arrays are nested more than {MAX_NESTING} deep"));
                }
                let element = self.kind()?;
                let count = self.count("elements", element.least(), u64::MAX)?;
                let start = self.at;
                match element {
                    // Their ends are found by walking over them.
                    Type::Text | Type::Array | Type::Bool => {
                        for _ in 0..count {
                            self.value(element, depth + 1)?;
                        }
                    }
                    // `count` is known to fit.
                    _ => drop(self.take(count * element.least())?),
                }
                Value::Array(Array {
                    element,
                    count,
                    start,
                })
            }
        })
    }

    fn tensor(&mut self) -> Result<Listed, String> {
        let name = self.name("a tensor's name")?;
        let dimensions = self.u32()?;
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return Err(format!("tensor {name} has {dimensions} dimensions"));
        }
        let dimensions = (0..dimensions)
            .map(|_| self.u64())
            .collect::<Result<Vec<_>, _>>()?;
        if dimensions.contains(&0) {
            return Err(format!("tensor {name} is empty: {dimensions:?}"));
        }
        Ok(Listed {
            name,
            dimensions,
            kind: self.u32()?,
            offset: self.u64()?,
        })
    }
}

/// The elements of an array, in turn. `file` is what it was parsed from.
pub(crate) fn elements<'a>(
    file: &'a [u8],
    array: &Array,
) -> impl Iterator<Item = Result<Value, String>> + 'a {
    let mut cursor = Cursor {
        file,
        at: array.start,
    };
    let element = array.element;
    (0..array.count).map(move |_| cursor.value(element, 1))
}
