//! safetensors out: one tensor at a time, under a temporary name until all are written.
//!
//! Tensors go to the file from where they are; only one that has another type there, or lives on a
//! GPU, is copied, alone.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use crate::Error;
use crate::weights::{element_count, with_bytes};

/// Bytes of one shard unless asked otherwise: what transformers calls 5 GB.
pub(crate) const SHARD_BYTES: u64 = 5_000_000_000;

/// A tensor as it will be in the file.
struct Stored<'a> {
    name: &'a str,
    tensor: Tensor,
    kind: Kind,
    bytes: u64,
}

/// Writes one file. `kind` is the type in the file; without it each tensor keeps its own.
pub(crate) fn write_safetensors<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, Tensor)>,
    kind: Option<Kind>,
) -> Result<(), Error> {
    let temporary = temporary(path);
    let written = write_file(&temporary, &stored(path, tensors, kind)?);
    or_removed(written, std::slice::from_ref(&temporary))?;
    std::fs::rename(&temporary, path).map_err(|e| sample::Error::io(path, e).into())
}

/// Removes what a write that failed has left: it is of no use, and the disk may be full.
fn or_removed(written: Result<(), Error>, temporaries: &[PathBuf]) -> Result<(), Error> {
    if written.is_err() {
        for path in temporaries {
            let _ = std::fs::remove_file(path);
        }
    }
    written
}

/// Writes a folder's weights: `model.safetensors`, or shards of at most `most` bytes (or one
/// tensor) and their index. All files are written under temporary names before the first is
/// renamed; weights of another number of shards that were there go away.
pub(crate) fn write_weights<'a>(
    dir: &Path,
    tensors: impl Iterator<Item = (&'a str, Tensor)>,
    kind: Kind,
    most: u64,
) -> Result<(), Error> {
    let all = stored(dir, tensors, Some(kind))?;
    let total: u64 = all.iter().map(|one| one.bytes).sum();
    let mut shards: Vec<Vec<Stored>> = Vec::new();
    let mut filled = 0;
    for one in all {
        match shards.last_mut() {
            Some(shard) if filled + one.bytes <= most => {
                filled += one.bytes;
                shard.push(one);
            }
            _ => {
                filled = one.bytes;
                shards.push(vec![one]);
            }
        }
    }
    let count = shards.len();
    let name = |at: usize| match count {
        1 => "model.safetensors".to_owned(),
        _ => format!("model-{:05}-of-{count:05}.safetensors", at + 1),
    };
    let mut map = Map::new();
    let temporaries: Vec<PathBuf> = (0..count)
        .map(|at| temporary(&dir.join(name(at))))
        .collect();
    for (at, shard) in shards.iter().enumerate() {
        or_removed(write_file(&temporaries[at], shard), &temporaries)?;
        for one in shard {
            map.insert(one.name.to_owned(), json!(name(at)));
        }
    }
    for (at, temporary) in temporaries.iter().enumerate() {
        let path = dir.join(name(at));
        std::fs::rename(temporary, &path).map_err(|e| sample::Error::io(&path, e))?;
    }
    let index = dir.join("model.safetensors.index.json");
    if count > 1 {
        let text = super::pretty(&json!({
            "metadata": {"total_size": total},
            "weight_map": map,
        }))?;
        sample::write_atomic(&index, text.as_bytes())?;
        remove(&dir.join("model.safetensors"))?;
    } else {
        remove(&index)?;
    }
    Ok(())
}

fn temporary(path: &Path) -> PathBuf {
    path.with_extension("safetensors.tmp")
}

/// Removes a file of an earlier write, which a reader would take for this one's.
fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(sample::Error::io(path, e).into())
        }
        _ => Ok(()),
    }
}

fn stored<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, Tensor)>,
    kind: Option<Kind>,
) -> Result<Vec<Stored<'a>>, Error> {
    tensors
        .map(|(name, tensor)| {
            let kind = kind.map_or_else(|| tensor.f_kind(), Ok)?;
            let bytes = element_count(&tensor.size())
                .and_then(|count| count.checked_mul(kind.elt_size_in_bytes()))
                .filter(|_| dtype(kind).is_some())
                .ok_or_else(|| Error::Weights {
                    path: path.to_owned(),
                    detail: format!("tensors of type {kind:?} are not written ({name})"),
                })?;
            Ok(Stored {
                name,
                tensor,
                kind,
                bytes: bytes as u64,
            })
        })
        .collect()
}

/// The format's name of a type.
fn dtype(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::Double => "F64",
        Kind::Float => "F32",
        Kind::Half => "F16",
        Kind::BFloat16 => "BF16",
        Kind::Int64 => "I64",
        _ => return None,
    })
}

fn write_file(path: &Path, tensors: &[Stored]) -> Result<(), Error> {
    // The widest numbers first, so that each tensor is aligned to its own; else as they come.
    let mut order: Vec<&Stored> = tensors.iter().collect();
    order.sort_by_key(|one| std::cmp::Reverse(one.kind.elt_size_in_bytes()));
    let mut header = Map::new();
    // transformers refuses files that do not name their framework.
    header.insert("__metadata__".into(), json!({"format": "pt"}));
    let mut at = 0u64;
    for one in &order {
        let end = at + one.bytes;
        let entry = json!({
            "dtype": dtype(one.kind),
            "shape": one.tensor.size(),
            "data_offsets": [at, end],
        });
        header.insert(one.name.to_owned(), entry);
        at = end;
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // With the eight bytes of its length, so that the numbers begin aligned.
    header.resize((header.len() + 8).next_multiple_of(64) - 8, b' ');
    let io = |e| Error::from(sample::Error::io(path, e));
    let mut file = BufWriter::new(File::create(path).map_err(io)?);
    file.write_all(&(header.len() as u64).to_le_bytes())
        .and_then(|()| file.write_all(&header))
        .map_err(io)?;
    let bar = sample::progress::bar("write", order.len() as u64, "tensors");
    for one in order {
        sample::interrupt::check()?;
        let tensor = one.tensor.f_detach()?.f_to_kind(one.kind)?;
        with_bytes(&tensor, |bytes| file.write_all(bytes))?.map_err(io)?;
        bar.inc(1);
    }
    bar.finish();
    file.into_inner()
        .map_err(|e| io(e.into_error()))?
        .sync_all()
        .map_err(io)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::weights::{open, weight_files};

    #[test]
    fn large_weights_lie_in_shards_that_their_index_names() {
        let dir = tempfile::tempdir().unwrap();
        let tensors: Vec<(String, Tensor)> = (0..5)
            .map(|i| {
                let values = Tensor::arange(10 + i, (Kind::Float, Device::Cpu)).unsqueeze(0);
                (format!("t{i}"), values)
            })
            .collect();
        let all = || {
            tensors
                .iter()
                .map(|(name, t)| (name.as_str(), t.shallow_clone()))
        };
        // Two tensors of bf16 fit into a shard; then one file replaces the shards.
        for (most, files) in [(54, 3), (1, 5), (1 << 20, 1), (54, 3)] {
            write_weights(dir.path(), all(), Kind::BFloat16, most).unwrap();
            let found = weight_files(dir.path()).unwrap();
            assert_eq!(found.len(), files);
            let mut names = Vec::new();
            for path in found {
                let file = open(&path).unwrap();
                for (index, info) in file.tensors().iter().enumerate() {
                    let at: usize = info.name[1..].parse().unwrap();
                    let (read, _) = file.read_as(index, Kind::Float).unwrap();
                    assert!(info.kind == Kind::BFloat16 && read.equal(&tensors[at].1));
                    names.push(info.name.clone());
                }
            }
            assert_eq!(names.len(), 5);
        }
    }

    #[test]
    fn types_that_the_format_lacks_are_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.safetensors");
        let complex = Tensor::zeros([2], (Kind::ComplexFloat, Device::Cpu));
        assert!(write_safetensors(&path, [("c", complex)].into_iter(), None).is_err());
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }
}
