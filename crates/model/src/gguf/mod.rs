//! GGUF, llama.cpp's format: one file that holds a decoder's weights, shapes and tokenizer.
//!
//! [`GgufFile`] reads decoders whose weights are plain or quantised; quantised ones become plain on
//! the way in, because this model computes with plain numbers. [`write_decoder`] and
//! [`write_mmproj`] write what llama.cpp loads: the decoder with its tokenizer, and the vision
//! tower with its projector.

mod block;
mod dequantise;
mod header;
mod metadata;
mod mmproj;
mod names;
mod quantise;
mod shapes;
mod vocabulary;
mod write;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use half::bf16;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use block::Block;
use header::Header;
use metadata::Metadata;

use crate::weights::{Mapped, TensorFile, TensorInfo, fill, tensor_from_bytes};
use crate::{Error, LlavaConfig, Tokenizer};

pub use mmproj::write_mmproj;
pub(crate) use names::internal_name;
pub use write::{GgufType, write_decoder};

/// Elements that one task dequantises: a whole number of blocks of every type, and no more than a
/// core's cache holds as f32.
const CHUNK: usize = 1 << 15;

/// An open GGUF file: its header is checked, its numbers are read when asked for.
pub struct GgufFile {
    map: Mapped,
    header: Header,
    infos: Vec<TensorInfo>,
    /// Query and key heads, where the rows of those are laid out for pairs side by side.
    interleaved: Option<(i64, i64)>,
}

impl std::fmt::Debug for GgufFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (path, tensors) = (self.map.path().display(), self.infos.len());
        write!(f, "GgufFile({path}, {tensors} tensors)")
    }
}

impl GgufFile {
    /// Opens a file and checks its header: versions 2 and 3, little-endian; tensors of types F32,
    /// F16, BF16, Q4_0, Q4_1, Q5_0, Q8_0, Q4_K and Q6_K.
    ///
    /// # Errors
    /// What is not such a file, or not a whole one; other types, by their names.
    pub fn open(path: &Path) -> Result<GgufFile, Error> {
        let map = Mapped::open(path)?;
        let header = Header::parse(map.bytes()).map_err(|e| fault(path, e))?;
        let metadata = Metadata {
            file: map.bytes(),
            header: &header,
        };
        let interleaved = interleaved(metadata).map_err(|e| fault(path, e))?;
        let infos = header
            .tensors
            .iter()
            .map(|entry| TensorInfo {
                name: entry.name.clone(),
                shape: entry.shape.clone(),
                kind: entry.block.plain().unwrap_or(Kind::Float),
            })
            .collect();
        Ok(GgufFile {
            map,
            header,
            infos,
            interleaved,
        })
    }

    /// Shapes and token ids of the decoder; there is no vision tower.
    ///
    /// # Errors
    /// Other architectures than `llama` and `qwen2`; shapes that are not computed here.
    pub fn config(&self) -> Result<LlavaConfig, Error> {
        let factors = match self.index(names::ROPE_FACTORS) {
            Some(index) => {
                let tensor = self.read_as(index, Kind::Float)?.0;
                Some(Vec::<f32>::try_from(tensor.f_flatten(0, -1)?)?)
            }
            None => None,
        };
        let config = shapes::config(self.metadata(), factors).map_err(|e| fault(self.path(), e))?;
        config.validate()?;
        Ok(config)
    }

    /// The tokenizer that the file holds.
    pub fn tokenizer(&self) -> Result<Tokenizer, Error> {
        vocabulary::read(self.metadata()).map_err(|e| sample::Error::format(self.path(), e).into())
    }

    /// The chat template (Jinja) that the file holds.
    pub fn chat_template(&self) -> Result<Option<String>, Error> {
        let text = self.metadata().text("tokenizer.chat_template");
        let text = text.map_err(|e| fault(self.path(), e))?;
        Ok(text.map(str::to_owned))
    }

    /// Names of all tensors, as the file has them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.infos.iter().map(|info| info.name.as_str())
    }

    /// A tensor by the file's name for it, in the type in which it is stored, or f32 where that is
    /// a quantised one. Queries and keys are laid out as the model has them.
    pub fn tensor(&self, name: &str) -> Result<Tensor, Error> {
        match self.index(name) {
            Some(index) => self.read(index),
            None => Err(fault(self.path(), format!("has no tensor {name}"))),
        }
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.infos.iter().position(|info| info.name == name)
    }

    fn metadata(&self) -> Metadata<'_> {
        Metadata {
            file: self.map.bytes(),
            header: &self.header,
        }
    }
}

impl TensorFile for GgufFile {
    fn path(&self) -> &Path {
        self.map.path()
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.infos
    }

    fn read_as(&self, index: usize, kind: Kind) -> Result<(Tensor, bool), Error> {
        let entry = &self.header.tensors[index];
        let bytes = &self.map.bytes()[entry.data.clone()];
        let (tensor, finite) = match entry.block.plain() {
            Some(from) => tensor_from_bytes(bytes, &entry.shape, from, kind)?,
            None => dequantised(entry.block, bytes, &entry.shape, kind)?,
        };
        self.map.give_back(entry.data.clone());
        let heads = self
            .interleaved
            .and_then(|(heads, kv_heads)| names::heads_of(&entry.name, heads, kv_heads));
        let tensor = match heads {
            Some(heads) => names::split_pairs(&tensor, heads).map_err(|e| Error::Tensor {
                path: self.path().to_owned(),
                name: entry.name.clone(),
                detail: e.to_string(),
            })?,
            None => tensor,
        };
        Ok((tensor, finite))
    }
}

/// Heads whose rows are to be laid out anew, in files of the architecture that does so.
fn interleaved(metadata: Metadata) -> Result<Option<(i64, i64)>, String> {
    if metadata.text("general.architecture")? != Some("llama") {
        return Ok(None);
    }
    let heads = metadata.size_of_all_layers("llama.attention.head_count")?;
    let kv_heads = metadata.size_of_all_layers("llama.attention.head_count_kv")?;
    Ok(heads.map(|heads| (heads, kv_heads.unwrap_or(heads))))
}

/// A CPU tensor of quantised numbers, and whether all of them are finite.
fn dequantised(
    block: Block,
    bytes: &[u8],
    shape: &[i64],
    kind: Kind,
) -> Result<(Tensor, bool), Error> {
    // bf16 is rounded chunk by chunk, so that a large tensor is never there in f32.
    let direct = match kind {
        Kind::BFloat16 => kind,
        _ => Kind::Float,
    };
    let tensor = Tensor::f_empty(shape, (direct, Device::Cpu))?;
    let width = direct.elt_size_in_bytes();
    let chunk_bytes = CHUNK / block.elements() * block.bytes();
    let all_finite = AtomicBool::new(true);
    let bytes_out = bytes.len() / block.bytes() * block.elements() * width;
    let finite = fill(&tensor, bytes_out, |out| {
        out.par_chunks_mut(CHUNK * width)
            .zip(bytes.par_chunks(chunk_bytes))
            .for_each_init(
                || vec![0f32; CHUNK],
                |values, (out, bytes)| {
                    let values = &mut values[..out.len() / width];
                    dequantise::dequantise(block, bytes, values);
                    if !values.iter().fold(true, |all, v| all & v.is_finite()) {
                        all_finite.store(false, Ordering::Relaxed);
                    }
                    store(values, out, direct);
                },
            );
        all_finite.into_inner()
    });
    Ok((tensor.f_to_kind(kind)?, finite))
}

/// Writes numbers as f32, or rounded to bf16.
fn store(values: &[f32], out: &mut [u8], kind: Kind) {
    if kind == Kind::BFloat16 {
        let (out, _) = out.as_chunks_mut::<2>();
        for (out, value) in out.iter_mut().zip(values) {
            *out = bf16::from_f32(*value).to_ne_bytes();
        }
    } else {
        let (out, _) = out.as_chunks_mut::<4>();
        for (out, value) in out.iter_mut().zip(values) {
            *out = value.to_ne_bytes();
        }
    }
}

fn fault(path: &Path, detail: String) -> Error {
    Error::Weights {
        path: path.to_owned(),
        detail,
    }
}
