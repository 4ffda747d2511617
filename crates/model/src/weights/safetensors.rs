//! safetensors files, mapped: a JSON header of names, types, shapes and places, then the bytes.
//!
//! The `safetensors` crate checks that the places follow one another without gaps or overlaps, fit
//! their shapes and end where the file ends.

use std::ops::Range;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use tch::{Kind, Tensor};

use super::mapped::Mapped;
use super::{TensorFile, TensorInfo};
use crate::Error;

/// One safetensors file.
pub(crate) struct SafetensorsFile {
    file: Mapped,
    tensors: Vec<TensorInfo>,
    /// Per tensor: where its bytes are, from the start of the file.
    places: Vec<Range<usize>>,
}

impl SafetensorsFile {
    /// Maps a file and checks its header.
    pub fn open(path: &Path) -> Result<SafetensorsFile, Error> {
        let file = Mapped::open(path)?;
        let broken = |detail: String| Error::Weights {
            path: path.to_owned(),
            detail: format!("not a whole safetensors file ({detail}): fetch or write it again"),
        };
        let (header, metadata) =
            SafeTensors::read_metadata(file.bytes()).map_err(|e| broken(e.to_string()))?;
        let mut tensors = Vec::new();
        let mut places = Vec::new();
        let known = metadata.tensors();
        for name in metadata.offset_keys() {
            let Some(info) = known.get(&name) else {
                continue;
            };
            let (start, end) = info.data_offsets;
            let place = |at: usize| {
                let at = at.checked_add(header)?.checked_add(8)?;
                (at <= file.bytes().len()).then_some(at)
            };
            let (Some(start), Some(end)) = (place(start), place(end)) else {
                return Err(broken(format!("tensor {name} lies beyond its end")));
            };
            let shape: Option<Vec<i64>> =
                info.shape.iter().map(|&n| i64::try_from(n).ok()).collect();
            let Some(shape) = shape else {
                return Err(broken(format!("tensor {name} has an absurd shape")));
            };
            tensors.push(TensorInfo {
                kind: kind(info.dtype),
                shape,
                name,
            });
            places.push(start..end);
        }
        Ok(SafetensorsFile {
            file,
            tensors,
            places,
        })
    }
}

impl TensorFile for SafetensorsFile {
    fn path(&self) -> &Path {
        self.file.path()
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    fn read_as(&self, index: usize, kind: Kind) -> Result<(Tensor, bool), Error> {
        let info = &self.tensors[index];
        let place = self.places[index].clone();
        self.file.tensor(place, &info.shape, info.kind, kind)
    }

    fn view(&self, index: usize) -> Result<Option<Tensor>, Error> {
        let info = &self.tensors[index];
        self.file
            .view(self.places[index].clone(), &info.shape, info.kind)
    }

    fn give_back(&self, index: usize) {
        self.file.give_back(self.places[index].clone());
    }
}

/// The type in libtorch; types that weights never have are some type that loading refuses.
fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::F64 => Kind::Double,
        Dtype::I64 | Dtype::U64 => Kind::Int64,
        Dtype::I32 | Dtype::U32 => Kind::Int,
        Dtype::I16 | Dtype::U16 => Kind::Int16,
        Dtype::BOOL => Kind::Bool,
        Dtype::F8_E5M2 => Kind::Float8e5m2,
        Dtype::F8_E4M3 => Kind::Float8e4m3fn,
        _ => Kind::Uint8,
    }
}
