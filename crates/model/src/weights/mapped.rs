//! Files of numbers, mapped into memory, and numbers taken out of them.
//!
//! A checkpoint is as large as the memory it will live in, so it is never read into a buffer of
//! its own: its file is mapped, each tensor is converted straight from the mapping into its final
//! place and type, and the pages are given back. All threads share the work, and whether all values
//! are finite is found in the same pass.
//!
//! **Invariant:** this file has the crate's only unsafe code for reading weights: the mapping, and
//! the two views of a tensor's memory.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use memmap2::Mmap;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use crate::Error;

/// Numbers that one task converts; a megabyte or so stays in a core's cache.
const CHUNK: usize = 1 << 18;
/// Numbers after which the pages they came from are given back.
const BLOCK: usize = 1 << 24;

/// A file's bytes without a copy of them.
pub(crate) struct Mapped {
    path: PathBuf,
    map: Mmap,
}

impl Mapped {
    /// Maps a file that is neither a folder nor empty.
    pub fn open(path: &Path) -> Result<Mapped, Error> {
        let io = |e| sample::Error::io(path, e);
        let file = File::open(path).map_err(io)?;
        let meta = file.metadata().map_err(io)?;
        if !meta.is_file() || meta.len() == 0 {
            return Err(Error::Weights {
                path: path.to_owned(),
                detail: "is empty or no file: fetch or write it again".into(),
            });
        }
        // SAFETY: the mapping is read-only. Another program that changes the file meanwhile could
        // change the numbers, which are plain bytes here, or, by cutting the file, end this
        // process: so it is with every program that maps its weights.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        Ok(Mapped {
            path: path.to_owned(),
            map,
        })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// A tensor from a part of the file, as [`tensor_from_bytes`]; its pages are given back.
    ///
    /// # Errors
    /// A part that is not within the file or not of the shape's size.
    pub fn tensor(
        &self,
        part: Range<usize>,
        shape: &[i64],
        from: Kind,
        to: Kind,
    ) -> Result<(Tensor, bool), Error> {
        let start = part.start;
        let bytes = self.map.get(part).ok_or_else(|| Error::Weights {
            path: self.path.clone(),
            detail: "ends before its tensors do: fetch or write it again".into(),
        })?;
        read_in_blocks(bytes, shape, from, to, |done| {
            self.give_back(start + done.start..start + done.end);
        })
    }

    /// A tensor that lies in the mapping and is valid as long as it; `None` where the bytes are not
    /// as many as the shape needs, or do not lie as this processor reads them.
    pub fn view(
        &self,
        part: Range<usize>,
        shape: &[i64],
        kind: Kind,
    ) -> Result<Option<Tensor>, Error> {
        let width = kind.elt_size_in_bytes();
        let Some(bytes) = self.map.get(part) else {
            return Ok(None);
        };
        let whole = element_count(shape).and_then(|count| count.checked_mul(width));
        let aligned = (bytes.as_ptr() as usize).is_multiple_of(width);
        if whole != Some(bytes.len()) || !aligned || cfg!(target_endian = "big") {
            return Ok(None);
        }
        let mut strides = vec![1i64; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        // SAFETY: exactly these bytes, aligned; nothing writes to a tensor that is only packed and
        // looked up, and its holder keeps this mapping.
        let tensor =
            unsafe { Tensor::f_from_blob(bytes.as_ptr(), shape, &strides, kind, Device::Cpu)? };
        Ok(Some(tensor))
    }

    /// Lets the system have the pages of a part again; reading them once more is allowed, and
    /// costs a look at the file.
    pub fn give_back(&self, part: Range<usize>) {
        #[cfg(unix)]
        if part.start < part.end && part.end <= self.map.len() {
            // SAFETY: pages of a read-only mapping of a file come back with the same bytes. A
            // refusal costs memory and nothing else.
            let _ = unsafe {
                self.map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    part.start,
                    part.end - part.start,
                )
            };
        }
    }
}

/// A CPU tensor of `shape` and type `to` from stored numbers of type `from` (little-endian), and
/// whether all of them are finite. libtorch's memory is aligned to 64 bytes.
///
/// # Errors
/// Bytes that are not as many as the shape needs; types other than F64, F32, F16 and BF16.
pub(crate) fn tensor_from_bytes(
    bytes: &[u8],
    shape: &[i64],
    from: Kind,
    to: Kind,
) -> Result<(Tensor, bool), Error> {
    read_in_blocks(bytes, shape, from, to, |_| ())
}

/// [`tensor_from_bytes`], saying which bytes are done with.
fn read_in_blocks(
    bytes: &[u8],
    shape: &[i64],
    from: Kind,
    to: Kind,
    done: impl Fn(Range<usize>),
) -> Result<(Tensor, bool), Error> {
    let count = element_count(shape)
        .filter(|count| count.checked_mul(from.elt_size_in_bytes()) == Some(bytes.len()))
        .ok_or_else(|| {
            Error::Shape(format!(
                "{} bytes are not a tensor of {shape:?} in {from:?}",
                bytes.len()
            ))
        })?;
    let direct = match (from, to) {
        (Kind::Half | Kind::BFloat16 | Kind::Float, Kind::Half | Kind::BFloat16 | Kind::Float) => {
            to
        }
        (Kind::Double | Kind::Float | Kind::Half | Kind::BFloat16, _) => from,
        _ => return Err(Error::Shape(format!("{from:?} is no type of weights"))),
    };
    let tensor = Tensor::f_empty(shape, (direct, Device::Cpu))?;
    let (wide, narrow) = (from.elt_size_in_bytes(), direct.elt_size_in_bytes());
    let finite = fill(&tensor, count * narrow, |place| {
        let mut finite = true;
        let blocks = bytes
            .chunks(BLOCK * wide)
            .zip(place.chunks_mut(BLOCK * narrow));
        for (at, (block, place)) in blocks.enumerate() {
            finite &= convert_kind(block, place, from, direct);
            done(at * BLOCK * wide..at * BLOCK * wide + block.len());
        }
        finite
    });
    Ok((tensor.f_to_kind(to)?, finite))
}

/// Converts all of `bytes` into `place`; whether they are finite.
fn convert_kind(bytes: &[u8], place: &mut [u8], from: Kind, to: Kind) -> bool {
    match (from, to) {
        (Kind::Half, Kind::Float) => convert(bytes, place, |h: [u8; 2]| {
            let wide = half_to_float(u16::from_le_bytes(h));
            (wide.to_ne_bytes(), wide.is_finite())
        }),
        (Kind::BFloat16, Kind::Float) => convert(bytes, place, |h: [u8; 2]| {
            let wide = f32::from_bits(u32::from(u16::from_le_bytes(h)) << 16);
            (wide.to_ne_bytes(), wide.is_finite())
        }),
        (Kind::Float, Kind::BFloat16) => convert(bytes, place, |w: [u8; 4]| {
            let wide = f32::from_le_bytes(w);
            (float_to_bf16(wide).to_ne_bytes(), wide.is_finite())
        }),
        (Kind::Half, Kind::BFloat16) => convert(bytes, place, |h: [u8; 2]| {
            let wide = half_to_float(u16::from_le_bytes(h));
            (float_to_bf16(wide).to_ne_bytes(), wide.is_finite())
        }),
        (Kind::Float, Kind::Half) => convert(bytes, place, |w: [u8; 4]| {
            let wide = f32::from_le_bytes(w);
            (float_to_half(wide).to_ne_bytes(), wide.is_finite())
        }),
        (Kind::BFloat16, Kind::Half) => convert(bytes, place, |h: [u8; 2]| {
            let wide = f32::from_bits(u32::from(u16::from_le_bytes(h)) << 16);
            (float_to_half(wide).to_ne_bytes(), wide.is_finite())
        }),
        (Kind::Float, _) => convert(bytes, place, |w: [u8; 4]| {
            let value = f32::from_le_bytes(w);
            (value.to_ne_bytes(), value.is_finite())
        }),
        (Kind::Double, _) => convert(bytes, place, |w: [u8; 8]| {
            let value = f64::from_le_bytes(w);
            (value.to_ne_bytes(), value.is_finite())
        }),
        (kind, _) => {
            // All ones in the exponent is infinity or NaN.
            let exponent: u16 = if kind == Kind::Half { 0x7c00 } else { 0x7f80 };
            convert(bytes, place, |h: [u8; 2]| {
                let bits = u16::from_le_bytes(h);
                (bits.to_ne_bytes(), bits & exponent != exponent)
            })
        }
    }
}

/// Elements of a shape, where they can be counted.
pub(crate) fn element_count(shape: &[i64]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, &n| {
        count.checked_mul(usize::try_from(n).ok()?)
    })
}

/// Whether a CPU tensor of a floating-point type holds finite values only, without a tensor of
/// booleans beside it.
pub(crate) fn all_finite(tensor: &Tensor) -> Result<bool, Error> {
    // The least and greatest of values with a NaN among them are NaN.
    if tensor.numel() == 0 {
        return Ok(true);
    }
    let (least, greatest) = tensor.f_aminmax(None::<i64>, false)?;
    Ok(f64::try_from(&least.f_to_kind(Kind::Double)?)?.is_finite()
        && f64::try_from(&greatest.f_to_kind(Kind::Double)?)?.is_finite())
}

/// Shows `write` the memory of a tensor that was just made and that nobody else knows.
pub(crate) fn fill(tensor: &Tensor, bytes: usize, write: impl FnOnce(&mut [u8]) -> bool) -> bool {
    if bytes == 0 {
        return write(&mut []);
    }
    // SAFETY: the tensor is contiguous, on the CPU, of exactly this many bytes, and outlives the
    // slice; it has no other handle yet, so nothing else reads or writes it. Any byte is a number.
    write(unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr().cast::<u8>(), bytes) })
}

/// The bytes of a contiguous CPU tensor, to be written.
pub(crate) fn with_bytes<T>(tensor: &Tensor, look: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
    let tensor = tensor
        .f_detach()?
        .f_to_device(Device::Cpu)?
        .f_contiguous()?;
    let count = tensor.numel() * tensor.f_kind()?.elt_size_in_bytes();
    if count == 0 {
        return Ok(look(&[]));
    }
    // SAFETY: contiguous, on the CPU, of this many bytes; the handle lives until `look` is done,
    // and nothing writes weights while they are saved.
    Ok(look(unsafe {
        std::slice::from_raw_parts(tensor.data_ptr().cast::<u8>(), count)
    }))
}

/// Converts number by number, with all threads; whether all were finite.
fn convert<const FROM: usize, const TO: usize>(
    from: &[u8],
    to: &mut [u8],
    each: impl Fn([u8; FROM]) -> ([u8; TO], bool) + Sync,
) -> bool {
    let finite = AtomicBool::new(true);
    to.par_chunks_mut(CHUNK * TO)
        .zip(from.par_chunks(CHUNK * FROM))
        .for_each(|(to, from)| {
            let (to, _) = to.as_chunks_mut::<TO>();
            let (from, _) = from.as_chunks::<FROM>();
            let mut all = true;
            for (to, from) in to.iter_mut().zip(from) {
                let (bytes, good) = each(*from);
                *to = bytes;
                all &= good;
            }
            if !all {
                finite.store(false, Ordering::Relaxed);
            }
        });
    finite.into_inner()
}

/// Exact, without a branch: the bits are moved into place and scaled, which also makes subnormals
/// right; only infinity and NaN need their exponent set.
fn half_to_float(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7fff) << 13;
    let scaled = f32::from_bits(magnitude) * f32::from_bits(0x7780_0000); // 2^112
    let special = if bits & 0x7c00 == 0x7c00 {
        0x7f80_0000
    } else {
        0
    };
    f32::from_bits(scaled.to_bits() | special | (u32::from(bits & 0x8000) << 16))
}

/// Rounds to the nearest, ties to even; what is too large becomes infinite.
fn float_to_half(value: f32) -> u16 {
    half::f16::from_f32(value).to_bits()
}

/// Rounds to the nearest, ties to even, as libtorch does.
fn float_to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    if value.is_nan() {
        0x7fc0
    } else {
        (rounded >> 16) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 16-bit pattern, and floats with every exponent.
    fn stored(kind: Kind) -> (Vec<u8>, usize) {
        let patterns = 0..=u16::MAX;
        let bytes: Vec<u8> = match kind {
            Kind::Float => patterns
                .flat_map(|p| (u32::from(p) << 16 | 0x8000 ^ u32::from(p)).to_le_bytes())
                .collect(),
            Kind::Double => patterns
                .flat_map(|p| f64::from(f32::from_bits(u32::from(p) << 16)).to_le_bytes())
                .collect(),
            _ => patterns.flat_map(u16::to_le_bytes).collect(),
        };
        (bytes, 1 << 16)
    }

    #[test]
    fn every_number_converts_as_libtorch_converts_it() {
        let kinds = [Kind::Float, Kind::Half, Kind::BFloat16, Kind::Double];
        for from in kinds {
            let (bytes, count) = stored(from);
            for to in kinds {
                let (ours, finite) = tensor_from_bytes(&bytes, &[count as i64], from, to).unwrap();
                assert_eq!(ours.kind(), to);
                let theirs = Tensor::from_data_size(&bytes, &[count as i64], from);
                assert!(!finite && !all_finite(&theirs).unwrap());
                let theirs = theirs.to_kind(to).to_kind(Kind::Double);
                let ours = ours.to_kind(Kind::Double);
                // NaN equals itself here; its payload bits mean nothing.
                assert!(ours.allclose(&theirs, 0.0, 0.0, true), "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn a_single_nan_or_infinity_is_seen_wherever_it_is() {
        let many = 3 * CHUNK + 7;
        for kind in [Kind::Float, Kind::Half, Kind::BFloat16, Kind::Double] {
            for to in [Kind::Float, Kind::BFloat16] {
                for at in [None, Some(0), Some(CHUNK), Some(many - 1)] {
                    for bad in [f64::NAN, f64::NEG_INFINITY] {
                        let values = Tensor::ones([many as i64], (kind, Device::Cpu));
                        if let Some(at) = at {
                            let _ = values.get(at as i64).fill_(bad);
                        }
                        let (_, finite) = with_bytes(&values, |bytes| {
                            tensor_from_bytes(bytes, &[many as i64], kind, to).unwrap()
                        })
                        .unwrap();
                        assert_eq!(finite, at.is_none(), "{kind:?} {to:?} {at:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_tensor_of_several_blocks_is_whole_and_its_file_stays_readable() {
        let many = BLOCK + 5;
        let values =
            Tensor::arange(many as i64, (Kind::Float, Device::Cpu)).to_kind(Kind::BFloat16);
        let _ = values.get(many as i64 - 1).fill_(f64::NAN);
        let file = tempfile::NamedTempFile::new().unwrap();
        with_bytes(&values, |bytes| std::fs::write(file.path(), bytes).unwrap()).unwrap();
        let mapped = Mapped::open(file.path()).unwrap();
        let part = 0..mapped.bytes().len();
        for _ in 0..2 {
            let shape = [many as i64];
            let (read, finite) = mapped
                .tensor(part.clone(), &shape, Kind::BFloat16, Kind::BFloat16)
                .unwrap();
            assert!(!finite);
            assert!(read.allclose(&values, 0.0, 0.0, true));
        }
        let beyond = mapped.tensor(2..part.end + 2, &[many as i64], Kind::Half, Kind::Half);
        assert!(beyond.is_err());
    }

    #[test]
    fn bytes_that_do_not_fill_the_shape_are_refused() {
        for shape in [vec![3], vec![1 << 62, 4], vec![-1], vec![i64::MAX, 2]] {
            assert!(tensor_from_bytes(&[0; 8], &shape, Kind::Float, Kind::Float).is_err());
        }
        let (empty, finite) = tensor_from_bytes(&[], &[0, 4], Kind::Float, Kind::Half).unwrap();
        assert!(finite && empty.size() == [0, 4]);
    }
}
