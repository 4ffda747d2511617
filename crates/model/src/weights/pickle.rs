//! The part of Python's pickle that a PyTorch state dict needs, and nothing else.
//!
//! A pickle is a program; Python's own reader runs whatever it names. This one builds numbers,
//! strings, tuples, lists, dicts and *descriptions* of tensors: where in which storage a tensor's
//! numbers are. Five names are known (`_rebuild_tensor_v2`, `_rebuild_parameter`, `OrderedDict`,
//! and the storages); every other name and every opcode that protocol 2 does not need here is
//! refused by name. Nothing is ever called.
//!
//! **Invariant:** each opcode makes at most one node, so memory is bounded by the pickle's length,
//! and nodes refer to each other by index, so nothing recurses, however deep the nesting.

use std::ops::Range;

use tch::Kind;

/// Tensors have a few dimensions.
const MAX_DIMENSIONS: usize = 16;

/// A tensor as a pickle describes it; nothing in it is checked against the storage yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Described {
    /// Name of the storage: the zip entry `data/<key>`.
    pub storage: String,
    pub kind: Kind,
    /// Elements that the pickle says the storage has.
    pub elements: i64,
    /// First element, and elements from one index to the next, per dimension.
    pub offset: i64,
    pub shape: Vec<i64>,
    pub strides: Vec<i64>,
}

/// A value; compound ones are indices into the machine's lists.
#[derive(Debug, Clone, Copy)]
enum Value {
    None,
    Bool,
    Int(i64),
    Float,
    /// Where the text is in the pickle, checked to be UTF-8.
    Text(usize, usize),
    Tuple(usize),
    List(usize),
    Dict(usize),
    Name(Name),
    Storage(usize),
    Tensor(usize),
}

/// The names that are known.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Name {
    RebuildTensor,
    RebuildParameter,
    OrderedDict,
    StorageType(Kind),
}

struct Storage {
    key: (usize, usize),
    kind: Kind,
    elements: i64,
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value>,
    /// Heights of the stack where a mark was set.
    marks: Vec<usize>,
    memo: std::collections::HashMap<u32, Value>,
    tuples: Vec<Vec<Value>>,
    lists: Vec<Vec<Value>>,
    dicts: Vec<Vec<(Value, Value)>>,
    storages: Vec<Storage>,
    tensors: Vec<Described>,
}

/// The tensors of a state dict by name, in its order; a dict inside under `state_dict`, as training
/// scripts write it, is the state dict. Other values beside tensors are left out.
///
/// # Errors
/// What is wrong or refused, in words.
pub(crate) fn state_dict(bytes: &[u8]) -> Result<Vec<(String, Described)>, String> {
    let mut machine = Machine {
        bytes,
        at: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: std::collections::HashMap::new(),
        tuples: Vec::new(),
        lists: Vec::new(),
        dicts: Vec::new(),
        storages: Vec::new(),
        tensors: Vec::new(),
    };
    let root = machine.run()?;
    machine.tensors_of(root)
}

impl Machine<'_> {
    fn run(&mut self) -> Result<Value, String> {
        loop {
            let opcode = self.take(1)?.start;
            match self.bytes[opcode] {
                b'\x80' => {
                    let version = self.byte()?;
                    if version > 4 {
                        return Err(format!("pickle protocol {version} is not known"));
                    }
                }
                b'c' => self.global()?,
                b'q' => {
                    let slot = u32::from(self.byte()?);
                    self.remember(slot)?;
                }
                b'r' => {
                    let slot = self.word()?;
                    self.remember(slot)?;
                }
                b'h' => {
                    let slot = u32::from(self.byte()?);
                    self.recall(slot)?;
                }
                b'j' => {
                    let slot = self.word()?;
                    self.recall(slot)?;
                }
                b'N' => self.stack.push(Value::None),
                b'\x88' | b'\x89' => self.stack.push(Value::Bool),
                b'J' => {
                    let value = self.word()?.cast_signed();
                    self.stack.push(Value::Int(i64::from(value)));
                }
                b'K' => {
                    let value = self.byte()?;
                    self.stack.push(Value::Int(i64::from(value)));
                }
                b'M' => {
                    let value = self.little_endian(2)?;
                    self.stack.push(Value::Int(value));
                }
                b'\x8a' => {
                    let length = self.byte()?;
                    if length > 8 {
                        return Err("an integer of more than 64 bits".into());
                    }
                    let value = self.little_endian(usize::from(length))?;
                    self.stack.push(Value::Int(value));
                }
                b'G' => {
                    self.take(8)?;
                    self.stack.push(Value::Float);
                }
                b'X' => {
                    let length = self.word()?;
                    let text = self.take(length as usize)?;
                    self.text(text.start, text.end)?;
                    self.stack.push(Value::Text(text.start, text.end));
                }
                b')' => self.tuple(0)?,
                b'\x85' => self.tuple(1)?,
                b'\x86' => self.tuple(2)?,
                b'\x87' => self.tuple(3)?,
                b'(' => self.marks.push(self.stack.len()),
                b't' => {
                    let count = self.since_mark()?;
                    self.tuple(count)?;
                }
                b']' => {
                    self.lists.push(Vec::new());
                    self.stack.push(Value::List(self.lists.len() - 1));
                }
                b'}' => self.new_dict(),
                b'a' => self.append(1)?,
                b'e' => {
                    let count = self.since_mark()?;
                    self.append(count)?;
                }
                b's' => self.set_items(2)?,
                b'u' => {
                    let count = self.since_mark()?;
                    self.set_items(count)?;
                }
                b'Q' => self.storage()?,
                b'R' => self.reduce()?,
                // Attributes of a dict: `_metadata` of a module's versions.
                b'b' => {
                    self.pop()?;
                    let Some(Value::Dict(_)) = self.stack.last() else {
                        return Err("it builds the state of something that is no dict".into());
                    };
                }
                b'.' => return self.pop(),
                other => {
                    return Err(format!(
                        "opcode {:?} at byte {opcode} is refused: a state dict does not need it",
                        char::from(other)
                    ));
                }
            }
        }
    }

    fn take(&mut self, count: usize) -> Result<Range<usize>, String> {
        let end = self
            .at
            .checked_add(count)
            .filter(|&end| end <= self.bytes.len())
            .ok_or("the pickle ends too early")?;
        let start = std::mem::replace(&mut self.at, end);
        Ok(start..end)
    }

    fn byte(&mut self) -> Result<u8, String> {
        let at = self.take(1)?.start;
        Ok(self.bytes[at])
    }

    fn word(&mut self) -> Result<u32, String> {
        let at = self.take(4)?;
        let mut word = [0; 4];
        word.copy_from_slice(&self.bytes[at]);
        Ok(u32::from_le_bytes(word))
    }

    /// A signed integer of up to eight bytes; two bytes alone are unsigned (`BININT2`), which
    /// comes to the same for the sizes that tensors have: see below.
    fn little_endian(&mut self, length: usize) -> Result<i64, String> {
        let at = self.take(length)?;
        let unsigned = length == 2;
        let bytes = &self.bytes[at];
        let negative = bytes.last().is_some_and(|top| top & 0x80 != 0) && !unsigned;
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide[..length].copy_from_slice(bytes);
        Ok(i64::from_le_bytes(wide))
    }

    fn line(&mut self) -> Result<(usize, usize), String> {
        let start = self.at;
        let length = self.bytes[start..]
            .iter()
            .position(|&b| b == b'\n')
            .ok_or("the pickle ends too early")?;
        self.at = start + length + 1;
        Ok((start, start + length))
    }

    fn text(&self, start: usize, end: usize) -> Result<&str, String> {
        std::str::from_utf8(&self.bytes[start..end]).map_err(|_| "text that is not UTF-8".into())
    }

    fn pop(&mut self) -> Result<Value, String> {
        // Values below a mark are out of reach until the mark is used.
        if self
            .marks
            .last()
            .is_some_and(|&mark| self.stack.len() <= mark)
        {
            return Err("it takes a value that is not there".into());
        }
        self.stack
            .pop()
            .ok_or_else(|| "it takes a value that is not there".into())
    }

    fn since_mark(&mut self) -> Result<usize, String> {
        let mark = self.marks.pop().ok_or("it uses a mark that is not set")?;
        self.stack
            .len()
            .checked_sub(mark)
            .ok_or_else(|| "it uses a mark that is gone".into())
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Value>, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let start = self
            .stack
            .len()
            .checked_sub(count)
            .filter(|&start| start >= floor)
            .ok_or("it takes values that are not there")?;
        Ok(self.stack.split_off(start))
    }

    fn remember(&mut self, slot: u32) -> Result<(), String> {
        let value = *self
            .stack
            .last()
            .ok_or("it keeps a value that is not there")?;
        self.memo.insert(slot, value);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<(), String> {
        let value = *self
            .memo
            .get(&slot)
            .ok_or("it recalls a value that was not kept")?;
        self.stack.push(value);
        Ok(())
    }

    fn tuple(&mut self, count: usize) -> Result<(), String> {
        let items = self.pop_many(count)?;
        self.tuples.push(items);
        self.stack.push(Value::Tuple(self.tuples.len() - 1));
        Ok(())
    }

    fn new_dict(&mut self) {
        self.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.dicts.len() - 1));
    }

    fn append(&mut self, count: usize) -> Result<(), String> {
        let items = self.pop_many(count)?;
        let Some(Value::List(list)) = self.stack.last() else {
            return Err("it appends to something that is no list".into());
        };
        self.lists[*list].extend(items);
        Ok(())
    }

    fn set_items(&mut self, count: usize) -> Result<(), String> {
        let items = self.pop_many(count)?;
        let Some(Value::Dict(dict)) = self.stack.last() else {
            return Err("it sets items of something that is no dict".into());
        };
        if items.len() % 2 != 0 {
            return Err("it sets a key without a value".into());
        }
        self.dicts[*dict].extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
        Ok(())
    }

    fn global(&mut self) -> Result<(), String> {
        let (module, name) = (self.line()?, self.line()?);
        let module = self.text(module.0, module.1)?;
        let name = self.text(name.0, name.1)?;
        let known = match (module, name) {
            ("torch._utils", "_rebuild_tensor_v2") => Name::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Name::RebuildParameter,
            ("collections", "OrderedDict") => Name::OrderedDict,
            ("torch", "FloatStorage") => Name::StorageType(Kind::Float),
            ("torch", "HalfStorage") => Name::StorageType(Kind::Half),
            ("torch", "BFloat16Storage") => Name::StorageType(Kind::BFloat16),
            ("torch", "DoubleStorage") => Name::StorageType(Kind::Double),
            // Buffers that are no weights; loading leaves them out by name or refuses their type.
            ("torch", "LongStorage") => Name::StorageType(Kind::Int64),
            ("torch", "IntStorage") => Name::StorageType(Kind::Int),
            ("torch", "ShortStorage") => Name::StorageType(Kind::Int16),
            ("torch", "CharStorage") => Name::StorageType(Kind::Int8),
            ("torch", "ByteStorage") => Name::StorageType(Kind::Uint8),
            ("torch", "BoolStorage") => Name::StorageType(Kind::Bool),
            _ => {
                let full: String = format!("{module}.{name}").chars().take(200).collect();
                return Err(format!(
                    "it names {full:?}, which is refused: weights need tensors only"
                ));
            }
        };
        self.stack.push(Value::Name(known));
        Ok(())
    }

    /// `("storage", type, key, device, elements)` becomes a storage.
    fn storage(&mut self) -> Result<(), String> {
        let Value::Tuple(tuple) = self.pop()? else {
            return Err("a persistent id that is no tuple".into());
        };
        let [
            Value::Text(tag, tag_end),
            Value::Name(Name::StorageType(kind)),
            Value::Text(key, key_end),
            Value::Text(..),
            Value::Int(elements),
        ] = self.tuples[tuple][..]
        else {
            return Err("a persistent id that is no storage".into());
        };
        if self.text(tag, tag_end)? != "storage" {
            return Err("a persistent id that is no storage".into());
        }
        self.storages.push(Storage {
            key: (key, key_end),
            kind,
            elements,
        });
        self.stack.push(Value::Storage(self.storages.len() - 1));
        Ok(())
    }

    fn reduce(&mut self) -> Result<(), String> {
        let Value::Tuple(arguments) = self.pop()? else {
            return Err("a call without a tuple of arguments".into());
        };
        let Value::Name(name) = self.pop()? else {
            return Err("a call of something that is no function".into());
        };
        match (name, &self.tuples[arguments][..]) {
            (Name::OrderedDict, []) => self.new_dict(),
            (
                Name::RebuildTensor,
                &[
                    Value::Storage(storage),
                    Value::Int(offset),
                    Value::Tuple(shape),
                    Value::Tuple(strides),
                    Value::Bool,
                    ..,
                ],
            ) => {
                let storage = &self.storages[storage];
                let described = Described {
                    storage: self.text(storage.key.0, storage.key.1)?.to_owned(),
                    kind: storage.kind,
                    elements: storage.elements,
                    offset,
                    shape: self.integers(shape)?,
                    strides: self.integers(strides)?,
                };
                self.tensors.push(described);
                self.stack.push(Value::Tensor(self.tensors.len() - 1));
            }
            (Name::RebuildParameter, &[tensor @ Value::Tensor(_), Value::Bool, ..]) => {
                self.stack.push(tensor);
            }
            (name, _) => return Err(format!("a call of {name:?} with unknown arguments")),
        }
        Ok(())
    }

    fn integers(&self, tuple: usize) -> Result<Vec<i64>, String> {
        let items = &self.tuples[tuple];
        if items.len() > MAX_DIMENSIONS {
            return Err(format!("a tensor of {} dimensions", items.len()));
        }
        items
            .iter()
            .map(|item| match item {
                Value::Int(n) => Ok(*n),
                other => Err(format!("a size that is {other:?}")),
            })
            .collect()
    }

    fn tensors_of(&self, root: Value) -> Result<Vec<(String, Described)>, String> {
        let Value::Dict(mut dict) = root else {
            return Err("it is no dict of tensors".into());
        };
        for (key, value) in &self.dicts[dict] {
            if let (&Value::Text(start, end), &Value::Dict(inner)) = (key, value)
                && self.text(start, end)? == "state_dict"
            {
                dict = inner;
                break;
            }
        }
        let mut tensors = Vec::new();
        for (key, value) in &self.dicts[dict] {
            if let (&Value::Text(start, end), &Value::Tensor(tensor)) = (key, value) {
                tensors.push((
                    self.text(start, end)?.to_owned(),
                    self.tensors[tensor].clone(),
                ));
            }
        }
        if tensors.is_empty() {
            return Err("it is no dict of tensors".into());
        }
        Ok(tensors)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A pickle of `{"w": tensor}` with the given parts in place.
    fn pickle(name: &str, elements: &[u8], shape: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x80\x02}(X\x01\x00\x00\x00wc".to_vec();
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b"\n((X\x07\x00\x00\x00storagectorch\nHalfStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu");
        bytes.extend_from_slice(elements);
        bytes.extend_from_slice(b"tQK\x01");
        bytes.extend_from_slice(shape);
        bytes.extend_from_slice(b"K\x02K\x01\x86\x89ccollections\nOrderedDict\n)RtRu.");
        bytes
    }

    const REBUILD: &str = "torch._utils\n_rebuild_tensor_v2";

    #[test]
    fn a_state_dict_gives_where_its_tensors_are() {
        let found = state_dict(&pickle(
            REBUILD,
            b"\x8a\x05\x00\x00\x00\x00\x01",
            b"K\x03K\x02\x86",
        ));
        let expected = Described {
            storage: "0".into(),
            kind: Kind::Half,
            elements: 1 << 32,
            offset: 1,
            shape: vec![3, 2],
            strides: vec![2, 1],
        };
        assert_eq!(found.unwrap(), [("w".to_owned(), expected)]);
    }

    #[test]
    fn names_and_opcodes_that_tensors_do_not_need_are_refused_by_name() {
        let deep = [b"\x80\x02)".to_vec(), vec![b'\x85'; 1 << 20], b".".to_vec()].concat();
        let cases: [(Vec<u8>, &str); 12] = [
            (
                b"cos\nsystem\n(X\x02\x00\x00\x00lstR.".to_vec(),
                "os.system",
            ),
            (pickle("builtins\neval", b"K\x01", b")"), "builtins.eval"),
            (pickle("torch\nload", b"K\x01", b")"), "torch.load"),
            (b"(ios\nsystem\n.".to_vec(), "'i'"),
            (b"(oS'x'\n.".to_vec(), "'o'"),
            (b"\x80\x02}\x81.".to_vec(), "refused"),
            (b"\x80\x05.".to_vec(), "protocol 5"),
            (b"\x80\x02)b.".to_vec(), "no dict"),
            (b"\x80\x02(}t.".to_vec(), "no dict"),
            (b"\x80\x02}(N1.".to_vec(), "refused"),
            (pickle(REBUILD, b"N", b"K\x03\x85"), "no storage"),
            (deep, "no dict of tensors"),
        ];
        for (bytes, word) in cases {
            let refused = state_dict(&bytes).unwrap_err();
            assert!(refused.contains(word), "{refused} lacks {word}");
        }
        // A function that is named but never called with what it takes.
        assert!(state_dict(&pickle("collections\nOrderedDict", b"K\x01", b")")).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cut in 0usize..200,
            flip in 0usize..200,
            to in any::<u8>(),
        ) {
            let _ = state_dict(&bytes);
            let mut near = pickle(REBUILD, b"K\x09", b"K\x03K\x02\x86");
            let at = flip % near.len();
            near[at] = to;
            near.truncate(near.len().max(cut) - cut.min(near.len()));
            let _ = state_dict(&near);
        }
    }
}
