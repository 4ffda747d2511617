//! GGUF's tensor names and the model's own, and the one way in which their numbers differ.
//!
//! llama.cpp turns rotary pairs that stand side by side, the model pairs that are half a head
//! apart; writers of `llama` files therefore lay the rows of queries and keys out anew, those of
//! `qwen2` files do not.

use tch::Tensor;

use crate::Error;

/// Of the decoder as a whole: GGUF's name, the model's.
const WHOLE: [(&str, &str); 3] = [
    (
        "token_embd.weight",
        "language_model.model.embed_tokens.weight",
    ),
    ("output_norm.weight", "language_model.model.norm.weight"),
    ("output.weight", "language_model.lm_head.weight"),
];

/// Of each layer, below `blk.N.` and `language_model.model.layers.N.`.
const LAYER: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// Divisors of the rotary frequencies; the configuration says the same in `rope_scaling`.
pub(crate) const ROPE_FACTORS: &str = "rope_freqs.weight";

/// The model's name for a tensor of a GGUF file; `None` for what is computed here. A tensor that
/// the model does not have keeps its name.
pub(crate) fn internal_name(name: &str) -> Option<String> {
    if name == ROPE_FACTORS {
        return None;
    }
    let mapped = WHOLE
        .iter()
        .find(|(gguf, _)| *gguf == name)
        .map(|(_, model)| (*model).to_owned())
        .or_else(|| {
            let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
            // Layer `01` would be a second name for layer 1.
            if layer.parse::<u32>().ok()?.to_string() != layer {
                return None;
            }
            let (part, kind) = rest.rsplit_once('.')?;
            let (_, model) = LAYER.iter().find(|(gguf, _)| *gguf == part)?;
            ["weight", "bias"]
                .contains(&kind)
                .then(|| format!("language_model.model.layers.{layer}.{model}.{kind}"))
        });
    Some(mapped.unwrap_or_else(|| name.to_owned()))
}

/// GGUF's name for a tensor of the model's decoder.
pub(crate) fn file_name(name: &str) -> Option<String> {
    if let Some((gguf, _)) = WHOLE.iter().find(|(_, model)| *model == name) {
        return Some((*gguf).to_owned());
    }
    let (layer, rest) = name
        .strip_prefix("language_model.model.layers.")?
        .split_once('.')?;
    let (part, kind) = rest.rsplit_once('.')?;
    let (gguf, _) = LAYER.iter().find(|(_, model)| *model == part)?;
    Some(format!("blk.{layer}.{gguf}.{kind}"))
}

/// Heads of a query or key tensor, whose rows are laid out anew; `None` for other tensors.
pub(crate) fn heads_of(name: &str, heads: i64, kv_heads: i64) -> Option<i64> {
    let part = name.strip_prefix("blk.")?.split('.').nth(1)?;
    match part {
        "attn_q" => Some(heads),
        "attn_k" => Some(kv_heads),
        _ => None,
    }
}

/// Rows of rotary pairs side by side to pairs half a head apart: [heads * head_dim, ..].
pub(crate) fn split_pairs(rows: &Tensor, heads: i64) -> Result<Tensor, Error> {
    regroup(rows, heads, |half| [half, 2])
}

/// The reverse of [`split_pairs`].
pub(crate) fn join_pairs(rows: &Tensor, heads: i64) -> Result<Tensor, Error> {
    regroup(rows, heads, |half| [2, half])
}

fn regroup(rows: &Tensor, heads: i64, halves: impl Fn(i64) -> [i64; 2]) -> Result<Tensor, Error> {
    let size = rows.size();
    let height = size.first().copied().unwrap_or(0);
    if heads < 1 || height % heads != 0 || (height / heads) % 2 != 0 {
        return Err(Error::Shape(format!(
            "{height} rows of queries or keys are not {heads} heads of an even width"
        )));
    }
    let [a, b] = halves(height / heads / 2);
    // [heads, a, b, width] -> [heads, b, a, width]
    Ok(rows
        .f_reshape([heads, a, b, -1])?
        .f_transpose(1, 2)?
        .f_reshape(size.as_slice())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn names_lead_there_and_back() {
        let parts = LAYER
            .iter()
            .flat_map(|(gguf, _)| ["weight", "bias"].map(|kind| format!("blk.17.{gguf}.{kind}")));
        let whole = WHOLE.iter().map(|(gguf, _)| (*gguf).to_owned());
        for name in parts.chain(whole) {
            let internal = internal_name(&name).unwrap();
            assert!(internal.starts_with("language_model."), "{internal}");
            assert_eq!(file_name(&internal).as_deref(), Some(name.as_str()));
        }
    }

    #[test]
    fn other_names_stay_and_rotary_factors_are_no_weights() {
        for name in [
            "blk.01.attn_q.weight",
            "blk.x.attn_q.weight",
            "blk.0.attn_q_norm.weight",
            "blk.0.attn_q.scale",
            "v.blk.0.attn_q.weight",
        ] {
            assert_eq!(internal_name(name).as_deref(), Some(name));
        }
        assert_eq!(internal_name(ROPE_FACTORS), None);
        assert_eq!(
            file_name("vision_tower.vision_model.pre_layrnorm.weight"),
            None
        );
    }

    #[test]
    fn pairs_are_told_apart_and_put_together() {
        // One head of four rows: the pairs (0, 2) and (1, 3) stand side by side in the file.
        let rows = Tensor::from_slice(&[0i64, 2, 1, 3]).reshape([4, 1]);
        let split = split_pairs(&rows, 1).unwrap();
        assert_eq!(
            Vec::<i64>::try_from(split.flatten(0, 1)).unwrap(),
            [0, 1, 2, 3]
        );
        let many = Tensor::randn([24, 5], (Kind::Float, Device::Cpu));
        let there = join_pairs(&many, 3).unwrap();
        assert!(!there.equal(&many));
        assert!(split_pairs(&there, 3).unwrap().equal(&many));
        assert!(split_pairs(&many, 5).is_err() && split_pairs(&many, 8).is_err());
    }
}
