//! PyTorch's `.bin`, `.pt` and `.pth` files: a zip of one pickle and one entry per storage.
//!
//! The entries are stored, not compressed, so that storages are used where they lie in the mapped
//! file. The pickle says how tensors lie in the storages; strides and bounds are checked here when
//! the file is opened.

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;

use tch::{Kind, Tensor};

use super::mapped::{Mapped, all_finite, element_count};
use super::pickle::{Described, state_dict};
use super::{TensorFile, TensorInfo};
use crate::Error;

/// Pickles describe tensors and do not hold them; a thousand tensors take 100 kB.
const MAX_PICKLE_BYTES: usize = 256 << 20;
/// What files begin with that `torch.save` wrote before version 1.6, or is told to write so.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19";

/// One file of PyTorch tensors.
pub(crate) struct TorchFile {
    file: Mapped,
    tensors: Vec<TensorInfo>,
    layouts: Vec<Layout>,
}

/// Where a tensor's numbers are.
struct Layout {
    /// Bytes of the file from its first element to its last.
    place: Range<usize>,
    /// `None` where the elements lie one after another.
    strides: Option<Vec<i64>>,
}

impl TorchFile {
    /// Maps a file, reads its pickle and checks every tensor against its storage.
    ///
    /// # Errors
    /// What is not such a file, and pickles that do anything but describe tensors.
    pub fn open(path: &Path) -> Result<TorchFile, Error> {
        let file = Mapped::open(path)?;
        let refused = |detail: String| Error::Weights {
            path: path.to_owned(),
            detail,
        };
        if file.bytes().starts_with(LEGACY) {
            return Err(refused(
                "is in PyTorch's format from before 1.6, which is not read: write it again with \
                 torch.save(torch.load(FILE, weights_only=True), FILE), or as safetensors"
                    .into(),
            ));
        }
        let entries = entries(file.bytes()).map_err(|detail| {
            refused(format!(
                "not a whole PyTorch file ({detail}): fetch or write it again"
            ))
        })?;
        let not_one = || refused("not a PyTorch file: it has no data.pkl".into());
        let pickle = entries
            .keys()
            .find(|name| *name == "data.pkl" || name.ends_with("/data.pkl"))
            .ok_or_else(not_one)?;
        let root = pickle.strip_suffix("data.pkl").unwrap_or_default();
        if let Some(order) = entries.get(&format!("{root}byteorder"))
            && &file.bytes()[order.clone()] != b"little"
        {
            return Err(refused(
                "holds big-endian numbers, which are not read".into(),
            ));
        }
        let program = entries[pickle].clone();
        if program.len() > MAX_PICKLE_BYTES {
            return Err(refused(format!("its data.pkl has {} bytes", program.len())));
        }
        let described = state_dict(&file.bytes()[program]).map_err(|detail| {
            refused(format!(
                "its pickle was not run: {detail}. Convert the file to safetensors where you trust it"
            ))
        })?;
        let mut tensors = Vec::with_capacity(described.len());
        let mut layouts = Vec::with_capacity(described.len());
        for (name, tensor) in described {
            let storage = entries.get(&format!("{root}data/{}", tensor.storage));
            let layout = storage
                .ok_or_else(|| format!("its storage {} is not in the file", tensor.storage))
                .and_then(|storage| layout(&tensor, storage.clone()))
                .map_err(|detail| Error::Tensor {
                    path: path.to_owned(),
                    name: name.clone(),
                    detail,
                })?;
            layouts.push(layout);
            tensors.push(TensorInfo {
                name,
                shape: tensor.shape,
                kind: tensor.kind,
            });
        }
        Ok(TorchFile {
            file,
            tensors,
            layouts,
        })
    }
}

impl TensorFile for TorchFile {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read_as(&self, index: usize, kind: Kind) -> Result<(Tensor, bool), Error> {
        let info = &self.tensors[index];
        let Layout { place, strides } = &self.layouts[index];
        Ok(match strides {
            None => self
                .file
                .tensor(place.clone(), &info.shape, info.kind, kind)?,
            Some(strides) => {
                let elements = (place.len() / info.kind.elt_size_in_bytes()) as i64;
                let (flat, _) =
                    self.file
                        .tensor(place.clone(), &[elements], info.kind, info.kind)?;
                let strided = flat
                    .f_as_strided(info.shape.as_slice(), strides.as_slice(), 0)?
                    .f_contiguous()?
                    .f_to_kind(kind)?;
                // What lies between the tensor's elements is not its own.
                let finite = all_finite(&strided)?;
                (strided, finite)
            }
        })
    }
}

/// Names to where their bytes are; all are stored as they are.
fn entries(bytes: &[u8]) -> Result<HashMap<String, Range<usize>>, String> {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
    let mut entries = HashMap::new();
    for at in 0..zip.len() {
        let entry = zip.by_index_raw(at).map_err(|e| e.to_string())?;
        let name = entry.name().map_err(|e| e.to_string())?.into_owned();
        if entry.compression() != zip::CompressionMethod::Stored || entry.encrypted() {
            return Err(format!("{name} is compressed or encrypted"));
        }
        let place = entry.data_start().and_then(|start| {
            let start = usize::try_from(start).ok()?;
            let end = start.checked_add(usize::try_from(entry.size()).ok()?)?;
            (end <= bytes.len()).then_some(start..end)
        });
        let place = place.ok_or_else(|| format!("{name} lies beyond its end"))?;
        if entries.insert(name.clone(), place).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    Ok(entries)
}

/// Checks a tensor against the bytes of its storage.
fn layout(tensor: &Described, storage: Range<usize>) -> Result<Layout, String> {
    let size = tensor.kind.elt_size_in_bytes();
    let beyond = || {
        format!(
            "shape {:?}, strides {:?} and offset {} reach beyond its storage of {} bytes",
            tensor.shape,
            tensor.strides,
            tensor.offset,
            storage.len()
        )
    };
    let held = storage.len() / size;
    let claimed = usize::try_from(tensor.elements).map_err(|_| beyond())?;
    let offset = usize::try_from(tensor.offset).map_err(|_| beyond())?;
    let count = element_count(&tensor.shape).ok_or_else(beyond)?;
    if tensor.shape.len() != tensor.strides.len() || claimed > held {
        return Err(beyond());
    }
    let span = if count == 0 {
        Some(0)
    } else {
        // From the first element to the last, both included.
        tensor
            .shape
            .iter()
            .zip(&tensor.strides)
            .try_fold(1usize, |span, (&n, &stride)| {
                let steps = usize::try_from(n - 1).ok()?;
                span.checked_add(steps.checked_mul(usize::try_from(stride).ok()?)?)
            })
    };
    let span = span.ok_or_else(beyond)?;
    if offset.checked_add(span).is_none_or(|end| end > claimed) {
        return Err(beyond());
    }
    let start = storage.start + offset * size;
    let mut next = 1i64;
    // A dimension of one element is never stepped over.
    let contiguous = tensor
        .shape
        .iter()
        .zip(&tensor.strides)
        .rev()
        .all(|(&n, &stride)| {
            let as_it_is = n == 1 || stride == next;
            next = next.saturating_mul(n.max(1));
            as_it_is
        });
    Ok(Layout {
        place: start..start + span * size,
        strides: (!contiguous && count > 0).then(|| tensor.strides.clone()),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::weights::safetensors::SafetensorsFile;

    fn golden(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/golden/weights")
            .join(name)
    }

    #[test]
    fn every_layout_that_torch_saves_is_read_as_torch_reads_it() {
        let found = TorchFile::open(&golden("state.bin")).unwrap();
        let expected = SafetensorsFile::open(&golden("state.safetensors")).unwrap();
        assert_eq!(found.tensors().len(), expected.tensors().len());
        for (index, info) in expected.tensors().iter().enumerate() {
            let at = found
                .tensors()
                .iter()
                .position(|t| t.name == info.name)
                .unwrap();
            assert_eq!(&found.tensors()[at], info);
            for kind in [info.kind, Kind::Float, Kind::BFloat16] {
                let (wanted, _) = expected.read_as(index, kind).unwrap();
                let (read, finite) = found.read_as(at, kind).unwrap();
                assert!(finite && read.equal(&wanted), "{} as {kind:?}", info.name);
            }
        }
    }

    #[test]
    fn files_that_do_more_than_hold_tensors_are_refused_and_say_why() {
        let refusal = |path: &Path| TorchFile::open(path).err().unwrap().to_string();
        assert!(refusal(&golden("legacy.bin")).contains("before 1.6"));
        let evil = refusal(&golden("evil.bin"));
        assert!(evil.contains("posix.system"), "{evil}");
        let whole = std::fs::read(golden("state.bin")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cut.bin");
        for length in [1, 100, whole.len() / 2, whole.len() - 30] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(refusal(&path).contains("not a whole PyTorch file"));
        }
        // A storage that is shorter than its tensor: one byte of the directory's sizes at a time.
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 0x41;
            std::fs::write(&path, &altered).unwrap();
            if let Ok(file) = TorchFile::open(&path) {
                for (index, info) in file.tensors().iter().enumerate() {
                    if info.kind != Kind::Int64 && element_count(&info.shape).unwrap() < 1 << 16 {
                        let _ = file.read_as(index, Kind::Float);
                    }
                }
            }
        }
    }

    fn described(offset: i64, shape: &[i64], strides: &[i64]) -> Described {
        Described {
            storage: "0".into(),
            kind: Kind::Float,
            elements: 10,
            offset,
            shape: shape.to_vec(),
            strides: strides.to_vec(),
        }
    }

    #[test]
    fn tensors_stay_within_their_storage() {
        let inside = [
            (0, vec![10], vec![1], 0..40, true),
            (4, vec![2, 3], vec![3, 1], 16..40, true),
            (0, vec![2, 5], vec![1, 2], 0..40, false),
            (1, vec![3], vec![4], 4..40, false),
            (9, vec![], vec![], 36..40, true),
            (10, vec![0, 5], vec![5, 1], 40..40, true),
            (0, vec![1, 3], vec![77, 1], 0..12, true),
            (2, vec![5], vec![0], 8..12, false),
        ];
        for (offset, shape, strides, place, contiguous) in inside {
            let tensor = described(offset, &shape, &strides);
            let found = layout(&tensor, 100..140).unwrap();
            assert_eq!(
                found.place,
                place.start + 100..place.end + 100,
                "{tensor:?}"
            );
            assert_eq!(found.strides.is_none(), contiguous, "{tensor:?}");
        }
        let outside = [
            (0, vec![11], vec![1]),
            (1, vec![10], vec![1]),
            (-1, vec![2], vec![1]),
            (0, vec![2], vec![-1]),
            (0, vec![-2], vec![1]),
            (0, vec![2, 2], vec![1]),
            (0, vec![2, 2], vec![i64::MAX, i64::MAX]),
            (0, vec![i64::MAX, i64::MAX], vec![1, 1]),
            (i64::MAX, vec![1], vec![1]),
            (11, vec![0], vec![1]),
        ];
        for (offset, shape, strides) in outside {
            let tensor = described(offset, &shape, &strides);
            assert!(layout(&tensor, 100..140).is_err(), "{tensor:?}");
        }
        // A storage that is shorter than the pickle says.
        assert!(layout(&described(0, &[2], &[1]), 100..120).is_err());
    }
}
