//! One file of a checkpoint: some of its tensors as safetensors, written and read one at a time.
//!
//! The safetensors writers at hand want every tensor of a file as bytes in memory at once, which for a
//! model that fills the machine is what there is no room for. The form is simple enough to write in
//! passing: a length, a JSON header with each tensor's type, shape and place, and the bytes.
//! <https://huggingface.co/docs/safetensors>

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

use crate::Error;
use crate::optim::Held;

/// Numbers copied at a time on their way to the disk.
const CHUNK: i64 = 4 << 20;
/// Longest header that is read, as the safetensors library has it.
const LONGEST_HEADER: u64 = 100_000_000;

/// A shard as `state.json` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shard {
    /// Its name in the checkpoint's folder.
    pub(super) file: String,
    /// Its size.
    pub(super) bytes: u64,
    /// Of its bytes, in hex.
    pub(super) sha256: String,
    /// What it holds.
    pub(super) tensors: Vec<String>,
}

const KINDS: [(Kind, &str); 9] = [
    (Kind::Float, "F32"),
    (Kind::BFloat16, "BF16"),
    (Kind::Half, "F16"),
    (Kind::Double, "F64"),
    (Kind::Uint8, "U8"),
    (Kind::Int8, "I8"),
    (Kind::Int16, "I16"),
    (Kind::Int, "I32"),
    (Kind::Int64, "I64"),
];

/// Splits tensors, in their order, into shards of at most `most` bytes; a tensor that is larger has a
/// shard to itself.
pub(super) fn split(tensors: &[Held], most: u64) -> Vec<&[Held]> {
    let mut shards = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (i, held) in tensors.iter().enumerate() {
        let own = held.bytes();
        if i > start && size + own > most {
            shards.push(&tensors[start..i]);
            (start, size) = (i, 0);
        }
        size += own;
    }
    if start < tensors.len() {
        shards.push(&tensors[start..]);
    }
    shards
}

/// Writes `tensors` to `path` and syncs it; what was written, by its size and digest. `whole` gives each, in
/// their order.
pub(super) fn write(
    path: &Path,
    tensors: &[Held],
    whole: &mut dyn FnMut(&Held) -> Result<Tensor, Error>,
) -> Result<Shard, Error> {
    let header = header(tensors)?;
    let io = |e: io::Error| Error::from(sample::Error::io(path, e));
    let mut out = Digested {
        file: File::create(path).map_err(io)?,
        hash: Sha256::new(),
        bytes: 0,
    };
    out.put(&(header.len() as u64).to_le_bytes()).map_err(io)?;
    out.put(&header).map_err(io)?;
    let mut buffer = Vec::new();
    for held in tensors {
        let tensor = whole(held)?;
        let width = tensor.kind().elt_size_in_bytes();
        let flat = tensor.f_detach()?.f_contiguous()?.f_view([-1])?;
        let all = flat.numel() as i64;
        let mut from = 0;
        while from < all {
            let count = CHUNK.min(all - from);
            let size = count as usize * width;
            if buffer.len() < size {
                buffer.resize(size, 0);
            }
            // From another device only this part comes over.
            flat.f_narrow(0, from, count)?
                .f_copy_data_u8(&mut buffer[..size], count as usize)?;
            out.put(&buffer[..size]).map_err(io)?;
            from += count;
        }
    }
    out.file.sync_all().map_err(io)?;
    Ok(Shard {
        file: path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
        bytes: out.bytes,
        sha256: hex(&out.hash.finalize()),
        tensors: tensors.iter().map(|held| held.name.clone()).collect(),
    })
}

/// The JSON before the bytes, filled up with spaces so that these begin at a multiple of eight.
fn header(tensors: &[Held]) -> Result<Vec<u8>, Error> {
    let mut entries = serde_json::Map::new();
    let mut at = 0;
    for held in tensors {
        let (name, kind) = (&held.name, held.kind());
        let (_, dtype) = KINDS.iter().find(|(k, _)| *k == kind).ok_or_else(|| {
            Error::Config(format!("{name} is of type {kind:?}, which cannot be saved"))
        })?;
        let end = at + held.bytes();
        entries.insert(
            name.clone(),
            json!({"dtype": dtype, "shape": held.shape, "data_offsets": [at, end]}),
        );
        at = end;
    }
    let mut text = serde_json::Value::Object(entries).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    Ok(text)
}

/// A file whose digest is taken while it is written.
struct Digested {
    file: File,
    hash: Sha256,
    bytes: u64,
}

impl Digested {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether the file in `folder` is the one that was written; what is wrong with it otherwise.
pub(super) fn verify(folder: &Path, shard: &Shard) -> Result<(), String> {
    let path = folder.join(&shard.file);
    let size = path
        .metadata()
        .map_err(|e| format!("{}: {e}", shard.file))?
        .len();
    if size != shard.bytes {
        return Err(format!(
            "{} has {size} bytes, {} were written",
            shard.file, shard.bytes
        ));
    }
    match sample::file_sha256(&path) {
        Ok(digest) if digest == shard.sha256 => Ok(()),
        Ok(_) => Err(format!("{} is not what was written", shard.file)),
        Err(e) => Err(e.to_string()),
    }
}

/// A shard that is open for reading.
pub(super) struct Reader {
    file: File,
    entries: BTreeMap<String, Entry>,
    /// Where the tensors' bytes begin.
    start: u64,
    size: u64,
}

#[derive(Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<i64>,
    data_offsets: [u64; 2],
}

impl Reader {
    /// Opens the file and reads its header.
    pub(super) fn open(path: &Path) -> Result<Reader, Error> {
        let io = |e: io::Error| sample::Error::io(path, e);
        let mut file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(io)?;
        let length = u64::from_le_bytes(length);
        if length > LONGEST_HEADER || length + 8 > size {
            let detail = format!("its header has {length} bytes, the file {size}");
            return Err(sample::Error::format(path, detail).into());
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(io)?;
        let entries =
            serde_json::from_slice(&header).map_err(|e| sample::Error::format(path, e))?;
        Ok(Reader {
            file,
            entries,
            start: 8 + length,
            size,
        })
    }

    /// Reads one tensor, on the CPU; `None` where there is none of that name.
    pub(super) fn tensor(&mut self, path: &Path, name: &str) -> Result<Option<Tensor>, Error> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(None);
        };
        let wrong = || sample::Error::format(path, format!("{name:?} is not laid out as it says"));
        let (kind, _) = KINDS
            .iter()
            .find(|(_, dtype)| *dtype == entry.dtype)
            .ok_or_else(wrong)?;
        let [begin, end] = entry.data_offsets;
        let count = entry
            .shape
            .iter()
            .try_fold(1u64, |all, &n| all.checked_mul(u64::try_from(n).ok()?));
        let expected = count.and_then(|n| n.checked_mul(kind.elt_size_in_bytes() as u64));
        let place = self.start.checked_add(begin);
        let (Some(place), true) = (
            place,
            begin <= end && expected == Some(end - begin) && end <= self.size - self.start,
        ) else {
            return Err(wrong().into());
        };
        let mut bytes = vec![0; (end - begin) as usize];
        self.file
            .seek(SeekFrom::Start(place))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|e| sample::Error::io(path, e))?;
        Ok(Some(Tensor::f_from_data_size(&bytes, &entry.shape, *kind)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn held(name: &str, tensor: Tensor) -> Held {
        Held {
            name: name.to_owned(),
            shape: tensor.size(),
            local: tensor,
            parts: None,
        }
    }

    fn write_all(path: &Path, tensors: &[Held]) -> Shard {
        write(path, tensors, &mut |held| Ok(held.local.shallow_clone())).unwrap()
    }

    fn tensors() -> Vec<Held> {
        let wide = Tensor::arange(24, (Kind::Float, Device::Cpu)).reshape([4, 6]);
        vec![
            // Not contiguous, as a transposed view is.
            held("wide", wide.transpose(0, 1)),
            held("half \"quoted\"", wide.to_kind(Kind::BFloat16)),
            held("codes", Tensor::from_slice(&[1u8, 2, 255])),
            held("scalar", Tensor::from(2.5f64)),
            held("none", Tensor::zeros([0, 3], (Kind::Int8, Device::Cpu))),
        ]
    }

    #[test]
    fn tensors_come_back_as_they_were_and_the_library_reads_them_too() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        let all = tensors();
        let shard = write_all(&path, &all);
        assert_eq!(verify(dir.path(), &shard), Ok(()));
        let mut reader = Reader::open(&path).unwrap();
        for Held {
            name,
            local: tensor,
            ..
        } in &all
        {
            let back = reader.tensor(&path, name).unwrap().unwrap();
            assert_eq!(back.kind(), tensor.kind(), "{name}");
            assert_eq!(back, *tensor, "{name}");
        }
        assert!(reader.tensor(&path, "other").unwrap().is_none());

        let bytes = std::fs::read(&path).unwrap();
        let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(theirs.len(), all.len());
        let codes = theirs.tensor("codes").unwrap();
        assert_eq!(
            (codes.data(), codes.shape()),
            (&[1u8, 2, 255][..], &[3][..])
        );
        assert_eq!(theirs.tensor("wide").unwrap().shape(), [6, 4]);
    }

    #[test]
    fn shards_are_filled_in_order_and_a_large_tensor_has_one_to_itself() {
        let sized = |n: i64| held("t", Tensor::zeros([n], (Kind::Uint8, Device::Cpu)));
        let cases: [(&[i64], u64, &[usize]); 5] = [
            (&[4, 4, 4], 8, &[2, 1]),
            (&[9, 4, 4], 8, &[1, 2]),
            (&[4, 9, 4], 8, &[1, 1, 1]),
            (&[8], 8, &[1]),
            (&[], 8, &[]),
        ];
        for (sizes, most, expected) in cases {
            let all: Vec<_> = sizes.iter().map(|&n| sized(n)).collect();
            let found: Vec<usize> = split(&all, most).iter().map(|s| s.len()).collect();
            assert_eq!(found, expected, "{sizes:?}");
        }
    }

    #[test]
    fn a_file_that_was_cut_or_changed_is_seen_and_a_bad_header_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.safetensors");
        let shard = write_all(&path, &tensors());
        let good = std::fs::read(&path).unwrap();
        std::fs::write(&path, &good[..good.len() - 1]).unwrap();
        assert!(verify(dir.path(), &shard).unwrap_err().contains("bytes"));
        let mut changed = good.clone();
        *changed.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &changed).unwrap();
        assert!(
            verify(dir.path(), &shard)
                .unwrap_err()
                .contains("not what was written")
        );
        std::fs::remove_file(&path).unwrap();
        assert!(verify(dir.path(), &shard).is_err());

        let mut long = good.clone();
        long[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        let text = |json: &str| [&(json.len() as u64).to_le_bytes(), json.as_bytes()].concat();
        for bytes in [
            &good[..4],
            &long,
            &text("{}}"),
            &text(r#"{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#),
            &text(r#"{"x":{"dtype":"F32","shape":[-1],"data_offsets":[8,4]}}"#),
            &text(r#"{"x":{"dtype":"F33","shape":[],"data_offsets":[0,0]}}"#),
            &text(
                r#"{"x":{"dtype":"U8","shape":[9223372036854775807,9],"data_offsets":[0,18446744073709551615]}}"#,
            ),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let read = Reader::open(&path).and_then(|mut r| r.tensor(&path, "x"));
            assert!(read.is_err(), "{bytes:?}");
        }
    }
}
