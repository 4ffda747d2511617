//! GGUF out: the decoder with its tokenizer, as llama.cpp loads it.
//!
//! A file is written under a temporary name, tensor by tensor and each in pieces, so that memory
//! holds little beside the model itself; then it is synced and renamed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::block::Block;
use super::{names, quantise, vocabulary};
use crate::rope::{Scaling, llama3_divisors};
use crate::{Error, Llava, TextConfig, Tokenizer};

/// Where tensors may begin.
const ALIGNMENT: u64 = 32;
/// Elements that are converted at a time: a whole number of blocks.
const PIECE: i64 = 1 << 22;
/// Elements that one task converts.
const TASK: usize = 1 << 15;
/// The largest f16.
const LARGEST_HALF: f32 = 65_504.0;

/// Types in which weights are written; norms and biases are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgufType {
    /// Half precision.
    F16,
    /// Eight bits in blocks of 32; matrices whose rows are no whole number of blocks are f16.
    Q8_0,
}

impl GgufType {
    /// `general.file_type` (llama.cpp's `llama_ftype`).
    fn number(self) -> u32 {
        match self {
            GgufType::F16 => 1,
            GgufType::Q8_0 => 7,
        }
    }

    pub(super) fn block(self, shape: &[i64]) -> Block {
        match (self, shape) {
            (_, []) | (_, [_]) => Block::F32,
            (GgufType::Q8_0, [.., row]) if row % 32 == 0 => Block::Q8_0,
            _ => Block::F16,
        }
    }
}

/// A value of the metadata to be written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Put {
    U32(u32),
    F32(f32),
    Bool(bool),
    Text(String),
    Texts(Vec<String>),
    F32s(Vec<f32>),
    I32s(Vec<i32>),
}

/// A tensor to be written.
pub(super) struct Out {
    /// The file's name for it.
    pub name: String,
    pub tensor: Tensor,
    pub block: Block,
    /// Heads whose rows are laid out for pairs side by side.
    pub heads: Option<i64>,
}

/// Writes the decoder and its tokenizer, with the chat template of LLaVA's conversations where the
/// model is a LLaVA. Vision tower and projector go to a file of their own
/// ([`super::write_mmproj`]).
///
/// # Errors
/// Decoders and tokenizers for which GGUF has no form; weights that f16 cannot hold.
pub fn write_decoder(
    model: &Llava,
    tokenizer: &Tokenizer,
    out: &Path,
    kind: GgufType,
) -> Result<(), Error> {
    let config = &model.config().text_config;
    tokenizer.check(model.config())?;
    let (architecture, interleaved) = match config.model_type.as_str() {
        "qwen2" => ("qwen2", false),
        "llama" | "mistral" => ("llama", true),
        other => {
            return Err(Error::Config(format!(
                "decoders of type {other} are not written as GGUF"
            )));
        }
    };
    let mut metadata = vec![
        (
            "general.architecture".into(),
            Put::Text(architecture.into()),
        ),
        ("general.type".into(), Put::Text("model".into())),
        ("general.file_type".into(), Put::U32(kind.number())),
        ("general.quantization_version".into(), Put::U32(2)),
    ];
    metadata.extend(shapes(config, architecture)?);
    let rows = usize::try_from(config.vocab_size).unwrap_or(0);
    metadata.extend(vocabulary::entries(tokenizer, rows)?);
    // A decoder alone has a form of its own, which its configuration does not say.
    if model.config().vision_config.is_some() {
        metadata.push((
            "tokenizer.chat_template".into(),
            Put::Text(model.config().conversation_template.jinja()),
        ));
    }
    let mut tensors: Vec<Out> = model
        .parameters()
        .iter()
        .filter_map(|(name, tensor)| {
            let name = names::file_name(name)?;
            let heads = names::heads_of(&name, config.num_attention_heads, config.kv_heads());
            Some(Out {
                block: kind.block(&tensor.size()),
                tensor: tensor.shallow_clone(),
                heads: heads.filter(|_| interleaved),
                name,
            })
        })
        .collect();
    if let Some(divisors) = llama3_divisors(config)? {
        tensors.push(Out {
            name: names::ROPE_FACTORS.to_owned(),
            tensor: Tensor::f_from_slice(&divisors)?,
            block: Block::F32,
            heads: None,
        });
    }
    write_file(out, &metadata, &tensors)
}

/// The decoder's shapes.
fn shapes(config: &TextConfig, architecture: &str) -> Result<Vec<(String, Put)>, Error> {
    let mut list = Vec::new();
    // GGUF has no key for a window of attention in these architectures; up to its length there is
    // no difference.
    let context = config.max_position_embeddings;
    let context = config
        .window()
        .map_or(context, |window| window.min(context));
    for (name, size) in [
        ("context_length", context),
        ("embedding_length", config.hidden_size),
        ("block_count", config.num_hidden_layers),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.num_attention_heads),
        ("attention.head_count_kv", config.kv_heads()),
        ("attention.key_length", config.head_dim()),
        ("attention.value_length", config.head_dim()),
        ("rope.dimension_count", config.head_dim()),
        ("vocab_size", config.vocab_size),
    ] {
        let size = u32::try_from(size)
            .map_err(|_| Error::Config(format!("{name} {size} does not fit GGUF")))?;
        list.push((name, Put::U32(size)));
    }
    let eps = "attention.layer_norm_rms_epsilon";
    list.push((eps, Put::F32(config.rms_norm_eps as f32)));
    list.push(("rope.freq_base", Put::F32(config.rope_theta as f32)));
    match Scaling::of(config)? {
        // Llama 3's goes as a tensor.
        Scaling::Plain | Scaling::Llama3 { .. } => {}
        Scaling::Linear { factor } => {
            list.push(("rope.scaling.type", Put::Text("linear".into())));
            list.push(("rope.scaling.factor", Put::F32(factor as f32)));
        }
        _ => {
            return Err(Error::Config(
                "text_config.rope_scaling: plain, linear and Llama 3's positions are written as \
                 GGUF"
                    .into(),
            ));
        }
    }
    Ok(list
        .into_iter()
        .map(|(name, value)| (format!("{architecture}.{name}"), value))
        .collect())
}

/// Writes a whole file.
pub(super) fn write_file(
    path: &Path,
    metadata: &[(String, Put)],
    tensors: &[Out],
) -> Result<(), Error> {
    let mut temporary = path.file_name().unwrap_or_default().to_owned();
    temporary.push(".tmp");
    let temporary = path.with_file_name(temporary);
    let io = |e| Error::from(sample::Error::io(&temporary, e));
    let file = File::create(&temporary).map_err(io)?;
    let mut out = BufWriter::with_capacity(1 << 20, file);
    let written = write_all(path, &mut out, metadata, tensors, &io).and_then(|()| {
        let file = out.into_inner().map_err(|e| io(e.into_error()))?;
        file.sync_all().map_err(io)?;
        std::fs::rename(&temporary, path).map_err(|e| sample::Error::io(path, e).into())
    });
    if written.is_err() {
        // What is left of it is of no use to anyone.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn write_all(
    path: &Path,
    out: &mut impl Write,
    metadata: &[(String, Put)],
    tensors: &[Out],
    io: &impl Fn(std::io::Error) -> Error,
) -> Result<(), Error> {
    let mut header = Vec::new();
    header.extend(b"GGUF");
    header.extend(3u32.to_le_bytes());
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(&mut header, key);
        put(&mut header, value);
    }
    let mut offset = 0u64;
    let mut total = 0;
    for tensor in tensors {
        let shape = tensor.tensor.size();
        text(&mut header, &tensor.name);
        header.extend((shape.len() as u32).to_le_bytes());
        // The fastest first.
        for size in shape.iter().rev() {
            header.extend((*size as u64).to_le_bytes());
        }
        header.extend(tensor.block.number().to_le_bytes());
        header.extend(offset.to_le_bytes());
        total += tensor.tensor.numel() as u64;
        offset += bytes_of(tensor).next_multiple_of(ALIGNMENT);
    }
    let padding = |length: u64| vec![0; (length.next_multiple_of(ALIGNMENT) - length) as usize];
    header.extend(padding(header.len() as u64));
    out.write_all(&header).map_err(io)?;
    let bar = sample::progress::bar("writing", total, "weights");
    for tensor in tensors {
        write_tensor(path, out, tensor, &bar, io)?;
        out.write_all(&padding(bytes_of(tensor))).map_err(io)?;
    }
    bar.finish();
    Ok(())
}

/// Bytes of a tensor in the file.
fn bytes_of(tensor: &Out) -> u64 {
    let blocks = tensor.tensor.numel() / tensor.block.elements();
    (blocks * tensor.block.bytes()) as u64
}

fn write_tensor(
    path: &Path,
    out: &mut impl Write,
    tensor: &Out,
    bar: &sample::progress::Bar,
    io: &impl Fn(std::io::Error) -> Error,
) -> Result<(), Error> {
    let values = tensor.tensor.f_detach()?;
    let values = match tensor.heads {
        Some(heads) => names::join_pairs(&values, heads)?,
        None => values,
    };
    let flat = values.f_contiguous()?.f_view(-1)?;
    let count = flat.size()[0];
    let mut start = 0;
    while start < count {
        sample::interrupt::check()?;
        let length = PIECE.min(count - start);
        let piece = flat
            .f_narrow(0, start, length)?
            .f_to_device(Device::Cpu)?
            .f_to_kind(Kind::Float)?;
        let piece = Vec::<f32>::try_from(piece)?;
        if tensor.block == Block::F16
            && let Some(large) = piece
                .iter()
                .find(|v| v.is_finite() && v.abs() > LARGEST_HALF)
        {
            return Err(Error::Tensor {
                path: path.to_owned(),
                name: tensor.name.clone(),
                detail: format!("holds {large}, beyond what f16 can: write q8_0"),
            });
        }
        let block = tensor.block;
        let converted: Vec<Vec<u8>> = piece
            .par_chunks(TASK)
            .map(|values| {
                let mut bytes = Vec::new();
                quantise::quantise(block, values, &mut bytes);
                bytes
            })
            .collect();
        for bytes in converted {
            out.write_all(&bytes).map_err(io)?;
        }
        bar.inc(length as u64);
        start += length;
    }
    Ok(())
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A value with the number of its type before it; arrays also with their element's and their
/// length.
fn put(out: &mut Vec<u8>, value: &Put) {
    const ARRAY: u32 = 9;
    let mut array = |element: u32, length: usize| {
        out.extend(ARRAY.to_le_bytes());
        out.extend(element.to_le_bytes());
        out.extend((length as u64).to_le_bytes());
    };
    match value {
        Put::U32(n) => {
            out.extend(4u32.to_le_bytes());
            out.extend(n.to_le_bytes());
        }
        Put::F32(x) => {
            out.extend(6u32.to_le_bytes());
            out.extend(x.to_le_bytes());
        }
        Put::Bool(flag) => {
            out.extend(7u32.to_le_bytes());
            out.push(u8::from(*flag));
        }
        Put::Text(value) => {
            out.extend(8u32.to_le_bytes());
            text(out, value);
        }
        Put::Texts(values) => {
            array(8, values.len());
            values.iter().for_each(|value| text(out, value));
        }
        Put::F32s(values) => {
            array(6, values.len());
            out.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        }
        Put::I32s(values) => {
            array(5, values.len());
            out.extend(values.iter().flat_map(|n| n.to_le_bytes()));
        }
    }
}
