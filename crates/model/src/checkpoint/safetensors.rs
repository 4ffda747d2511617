//! safetensors out: one tensor at a time in memory, under a temporary name until all are written.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;

use safetensors::{Dtype, View};
use tch::{Kind, Tensor};

use crate::Error;

/// Writes tensors under a temporary name, one at a time in memory, then renames.
pub(crate) fn write_safetensors<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, Tensor)>,
    kind: Option<Kind>,
) -> Result<(), Error> {
    let failed = |detail: String| Error::Weights {
        path: path.to_owned(),
        detail,
    };
    let stored: Vec<(&str, Stored)> = tensors
        .map(|(name, tensor)| {
            let kind = kind.map_or_else(|| tensor.f_kind(), Ok)?;
            let shape = tensor.size().iter().map(|&n| n as usize).collect();
            let dtype = match kind {
                Kind::Float => Dtype::F32,
                Kind::BFloat16 => Dtype::BF16,
                Kind::Int64 => Dtype::I64,
                other => return Err(failed(format!("tensors of type {other:?} are not written"))),
            };
            Ok((
                name,
                Stored {
                    tensor,
                    kind,
                    dtype,
                    shape,
                },
            ))
        })
        .collect::<Result<_, Error>>()?;
    let temporary = path.with_extension("safetensors.tmp");
    // transformers refuses files that do not name their framework.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    safetensors::serialize_to_file(stored, Some(metadata), &temporary)
        .map_err(|e| failed(format!("cannot be written: {e}")))?;
    File::open(&temporary)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(&temporary, path))
        .map_err(|e| sample::Error::io(path, e).into())
}

/// A tensor whose bytes are made when they are written.
struct Stored {
    tensor: Tensor,
    kind: Kind,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let count = self.shape.iter().product::<usize>();
        let mut bytes = vec![0; self.data_len()];
        let tensor = self
            .tensor
            .detach()
            .to_device(tch::Device::Cpu)
            .to_kind(self.kind);
        tensor.contiguous().copy_data_u8(&mut bytes, count);
        Cow::Owned(bytes)
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.kind.elt_size_in_bytes()
    }
}
