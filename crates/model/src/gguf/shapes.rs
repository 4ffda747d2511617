//! The decoder's configuration out of a GGUF file's metadata and tensors.
//!
//! What the tensors show (vocabulary, tied output, biases) is taken from them; what only metadata
//! says is checked against them by the loading that follows. Keys that would change the numbers in
//! a way that is not computed here are refused.

use serde_json::{Value, json};

use super::header::Entry;
use super::metadata::Metadata;
use super::names::{ROPE_FACTORS, internal_name};
use crate::rope::llama3_divisors;
use crate::{LlavaConfig, TextConfig, TokenIds};

/// Llama 3.1's and 3.2's constants; files keep the factors that follow from them only.
const LLAMA3_LOW: f64 = 1.0;
const LLAMA3_HIGH: f64 = 4.0;
const LLAMA3_CONTEXT: f64 = 8192.0;

/// The configuration of the decoder in a file; `rope_factors` is the file's tensor of that name.
pub(crate) fn config(
    metadata: Metadata,
    rope_factors: Option<Vec<f32>>,
) -> Result<LlavaConfig, String> {
    let architecture = metadata
        .text("general.architecture")?
        .ok_or("metadata general.architecture is absent")?;
    if !["llama", "qwen2"].contains(&architecture) {
        return Err(format!(
            "is a model of architecture {architecture}; llama (which Mistral and SmolLM2 files say \
             too) and qwen2 are read"
        ));
    }
    refuse_other_tensors(&metadata.header.tensors)?;
    let key = |name: &str| format!("{architecture}.{name}");
    let required = |name: &str| {
        let key = key(name);
        metadata
            .size_of_all_layers(&key)?
            .ok_or_else(|| format!("metadata {key} is absent"))
    };
    if metadata.unsigned(&key("expert_count"))?.unwrap_or(0) > 0 {
        return Err("is a mixture of experts, which is not computed here".into());
    }
    let shape = |name: &str| {
        let found = metadata.header.tensors.iter().find(|t| t.name == name);
        found.map(|tensor| tensor.shape.as_slice())
    };
    let vocab_size = match shape("token_embd.weight") {
        Some(&[rows, _]) => rows,
        _ => return Err("has no embedding token_embd.weight of two dimensions".into()),
    };
    let heads = required("attention.head_count")?;
    let hidden = required("embedding_length")?;
    let head_dim = match metadata.size(&key("attention.key_length"))? {
        Some(width) => width,
        None => hidden.checked_div(heads).unwrap_or(0),
    };
    for (name, what) in [
        ("attention.value_length", "values as wide as keys"),
        ("rope.dimension_count", "heads that turn as a whole"),
    ] {
        if metadata.size(&key(name))?.is_some_and(|n| n != head_dim) {
            return Err(format!(
                "metadata {} is not the head width {head_dim}; only {what} are computed",
                key(name)
            ));
        }
    }
    let rope_theta = metadata.float(&key("rope.freq_base"))?.unwrap_or(10_000.0);
    let bias = |part: &str| shape(&format!("blk.0.{part}.bias")).is_some();
    let attention_bias = bias("attn_output");
    if architecture == "llama" && bias("attn_q") != attention_bias {
        return Err(
            "has biases on queries and none on the output of attention, which is not LLaMA's form"
                .into(),
        );
    }
    let context = required("context_length")?;
    let mut text_config = TextConfig {
        model_type: architecture.to_owned(),
        hidden_size: hidden,
        intermediate_size: required("feed_forward_length")?,
        num_hidden_layers: required("block_count")?,
        num_attention_heads: heads,
        num_key_value_heads: metadata.size_of_all_layers(&key("attention.head_count_kv"))?,
        head_dim: Some(head_dim),
        vocab_size,
        rms_norm_eps: shortest(
            metadata
                .float(&key("attention.layer_norm_rms_epsilon"))?
                .ok_or("metadata attention.layer_norm_rms_epsilon is absent")?,
        ),
        rope_theta: shortest(rope_theta),
        rope_scaling: scaling(metadata, &key, context)?,
        max_position_embeddings: context,
        attention_bias: architecture == "llama" && attention_bias,
        mlp_bias: bias("ffn_gate"),
        tie_word_embeddings: shape("output.weight").is_none(),
        bos_token_id: token(metadata, "bos")?.map(TokenIds::One),
        eos_token_id: ends(metadata)?,
        pad_token_id: token(metadata, "padding")?,
        ..TextConfig::default()
    };
    if let Some(factors) = rope_factors {
        text_config.rope_scaling = Some(llama3_scaling(&factors, &text_config)?);
    }
    Ok(LlavaConfig::text_only(text_config))
}

/// A decoder with tensors that are not known would give other numbers without them.
fn refuse_other_tensors(tensors: &[Entry]) -> Result<(), String> {
    let other = tensors.iter().find(|tensor| {
        internal_name(&tensor.name).is_some_and(|name| !name.starts_with("language_model."))
    });
    match other {
        Some(tensor) => Err(format!(
            "has the tensor {}, which is no part of a LLaMA or Qwen2 decoder",
            tensor.name
        )),
        None => Ok(()),
    }
}

/// The id of a special token.
pub(crate) fn token(metadata: Metadata, name: &str) -> Result<Option<i64>, String> {
    metadata.size(&format!("tokenizer.ggml.{name}_token_id"))
}

/// Tokens that end a reply: of a text, of a turn, of a message.
fn ends(metadata: Metadata) -> Result<Option<TokenIds>, String> {
    let mut ids = Vec::new();
    for name in ["eos", "eot", "eom"] {
        if let Some(id) = token(metadata, name)?
            && !ids.contains(&id)
        {
            ids.push(id);
        }
    }
    Ok(match ids[..] {
        [] => None,
        [id] => Some(TokenIds::One(id)),
        _ => Some(TokenIds::Many(ids)),
    })
}

/// `rope_scaling` as `config.json` says it; whether it is computed is for the model to say.
fn scaling(
    metadata: Metadata,
    key: &impl Fn(&str) -> String,
    context: i64,
) -> Result<Option<Value>, String> {
    let factor = metadata.float(&key("rope.scaling.factor"))?;
    // The older way of saying it.
    let linear = metadata.float(&key("rope.scale_linear"))?;
    let kind = metadata.text(&key("rope.scaling.type"))?;
    let original = metadata.size(&key("rope.scaling.original_context_length"))?;
    Ok(match (kind, factor.or(linear)) {
        (None, None) | (Some("none"), _) => None,
        (None | Some("linear"), Some(factor)) => {
            Some(json!({"rope_type": "linear", "factor": factor}))
        }
        (Some(other), factor) => Some(json!({
            "rope_type": other,
            "factor": factor,
            "original_max_position_embeddings": original.unwrap_or(context),
        })),
    })
}

/// Llama 3's scaling whose factors a file holds: the constants must give these factors.
fn llama3_scaling(factors: &[f32], config: &TextConfig) -> Result<Value, String> {
    if config.head_dim() != 2 * factors.len() as i64 {
        return Err(format!(
            "{ROPE_FACTORS} has {} factors for heads of width {}",
            factors.len(),
            config.head_dim()
        ));
    }
    let scaling = json!({
        "rope_type": "llama3",
        "factor": factors.iter().copied().fold(1.0, f32::max),
        "low_freq_factor": LLAMA3_LOW,
        "high_freq_factor": LLAMA3_HIGH,
        "original_max_position_embeddings": LLAMA3_CONTEXT,
    });
    let config = TextConfig {
        rope_scaling: Some(scaling.clone()),
        ..config.clone()
    };
    let expected = llama3_divisors(&config).map_err(|e| e.to_string())?;
    let same = expected.is_some_and(|expected| {
        let mut pairs = factors.iter().zip(&expected);
        pairs.all(|(a, b)| (a - b).abs() <= 1e-4 * b.abs())
    });
    if !same {
        return Err(format!(
            "{ROPE_FACTORS} holds factors that are not those of Llama 3.1 or 3.2"
        ));
    }
    Ok(scaling)
}

/// The number that was meant by one that was stored as f32: 1e-5, not 9.999999747e-6.
fn shortest(stored: f64) -> f64 {
    (stored as f32).to_string().parse().unwrap_or(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama_3_scaling_is_recognised_by_its_factors_and_others_are_refused() {
        let config = TextConfig {
            rope_theta: 500_000.0,
            ..TextConfig::default()
        };
        for factor in [8.0, 32.0] {
            let scaled = TextConfig {
                rope_scaling: Some(json!({
                    "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
                })),
                ..config.clone()
            };
            let mut factors = llama3_divisors(&scaled).unwrap().unwrap();
            assert_eq!((factors[0], factors[63]), (1.0, factor as f32));
            let found = llama3_scaling(&factors, &config).unwrap();
            assert_eq!(found["factor"].as_f64(), Some(factor));
            factors[30] *= 1.01;
            assert!(llama3_scaling(&factors, &config).is_err());
        }
        assert!(llama3_scaling(&[1.0; 4], &config).is_err());
    }

    #[test]
    fn numbers_that_were_stored_short_are_what_was_meant() {
        assert_eq!(shortest(f64::from(1e-5f32)), 1e-5);
        assert_eq!(shortest(100_000.0), 100_000.0);
    }
}
