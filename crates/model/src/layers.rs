//! The layers that tower, projector and decoder share.
//!
//! Each computes in the type of its input: f32 weights are cast to it on the way in, and gradients
//! are cast back by autograd.

use std::collections::HashMap;

use tch::{Kind, Tensor};

use crate::Error;

/// Finds tensors by name while a model is put together.
pub(crate) struct Named<'a>(pub HashMap<&'a str, &'a Tensor>);

impl Named<'_> {
    /// A handle on the same tensor.
    pub fn get(&self, name: &str) -> Result<Tensor, Error> {
        let found = self.0.get(name);
        found
            .map(|t| t.shallow_clone())
            .ok_or_else(|| Error::Config(format!("no tensor {name}")))
    }

    pub fn linear(&self, name: &str, bias: bool) -> Result<Linear, Error> {
        Ok(Linear {
            weight: self.get(&format!("{name}.weight"))?,
            bias: if bias {
                Some(self.get(&format!("{name}.bias"))?)
            } else {
                None
            },
            low_rank: Vec::new(),
        })
    }

    pub fn layer_norm(&self, name: &str, eps: f64) -> Result<LayerNorm, Error> {
        Ok(LayerNorm {
            weight: self.get(&format!("{name}.weight"))?,
            bias: self.get(&format!("{name}.bias"))?,
            eps,
        })
    }

    pub fn rms_norm(&self, name: &str, eps: f64) -> Result<RmsNorm, Error> {
        Ok(RmsNorm {
            weight: self.get(&format!("{name}.weight"))?,
            eps,
        })
    }
}

/// `x W^T + b`, with low-rank updates beside it where an adapter is in use.
pub(crate) struct Linear {
    /// [out, in]
    pub weight: Tensor,
    /// `[out]`
    pub bias: Option<Tensor>,
    /// Unmerged updates; several where rows of several layers are kept in one matrix.
    pub low_rank: Vec<LowRank>,
}

/// A low-rank update (LoRA, arXiv 2106.09685): `scale (x A^T) B^T` is added to some of a layer's
/// outputs.
pub(crate) struct LowRank {
    /// [rank, in]
    pub a: Tensor,
    /// [outputs, rank]
    pub b: Tensor,
    /// PEFT's `lora_alpha / r`.
    pub scale: f64,
    /// First of the outputs it is added to.
    pub start: i64,
}

impl Linear {
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let kind = x.f_kind()?;
        let weight = self.weight.f_to_kind(kind)?;
        let bias = self.bias.as_ref().map(|b| b.f_to_kind(kind)).transpose()?;
        let mut out = x.f_linear(&weight, bias.as_ref())?;
        for update in &self.low_rank {
            let inner = x.f_linear(&update.a.f_to_kind(kind)?, None::<&Tensor>)?;
            let added = inner
                .f_linear(&update.b.f_to_kind(kind)?, None::<&Tensor>)?
                .f_mul_scalar(update.scale)?;
            let width = update.b.size()[0];
            let whole = out.size().last() == Some(&width);
            out = if whole {
                out.f_add(&added)?
            } else {
                let at = out.f_narrow(-1, update.start, width)?.f_add(&added)?;
                let rest = update.start + width;
                let after = out.f_narrow(-1, rest, out.size()[out.dim() - 1] - rest)?;
                Tensor::f_cat(&[out.f_narrow(-1, 0, update.start)?, at, after], -1)?
            };
        }
        Ok(out)
    }
}

/// LayerNorm; libtorch computes bf16 inputs in f32 inside.
pub(crate) struct LayerNorm {
    pub weight: Tensor,
    pub bias: Tensor,
    pub eps: f64,
}

impl LayerNorm {
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let kind = x.f_kind()?;
        let weight = self.weight.f_to_kind(kind)?;
        let bias = self.bias.f_to_kind(kind)?;
        Ok(x.f_layer_norm(
            self.weight.size(),
            Some(&weight),
            Some(&bias),
            self.eps,
            false,
        )?)
    }
}

/// LLaMA's RMSNorm; libtorch computes bf16 inputs in f32 inside.
pub(crate) struct RmsNorm {
    pub weight: Tensor,
    pub eps: f64,
}

impl RmsNorm {
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        let weight = self.weight.f_to_kind(x.f_kind()?)?;
        Ok(x.f_rms_norm(self.weight.size(), Some(&weight), Some(self.eps))?)
    }
}

/// Sequences up to this many tokens hold their attention scores in memory.
const SHORT: i64 = 1024;

/// Attention over heads: `q` is [batch, heads, tokens, head_dim], `k` and `v` may have fewer
/// heads. Gives [batch, tokens, heads * head_dim].
pub(crate) fn attend(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
    causal: bool,
) -> Result<Tensor, Error> {
    let grouped = q.size().get(1) != k.size().get(1);
    // libtorch's CPU attention kernel saves memory, not time: for short bf16 sequences two plain
    // products are faster (a small model's training step: 1.9 ms against 10.5 in the tower, 29
    // against 46 in the decoder).
    let short = q.size()[2].max(k.size()[2]) <= SHORT;
    // A boolean mask must be excluded, not added.
    let added = mask.is_none_or(|mask| mask.kind() != Kind::Bool);
    if short && added && q.f_kind()? == Kind::BFloat16 && !grouped && !causal {
        let scale = (q.size()[3] as f64).powf(-0.5);
        let mut scores = q.f_mul_scalar(scale)?.f_matmul(&k.f_transpose(-2, -1)?)?;
        if let Some(mask) = mask {
            scores = scores.f_add_(mask)?; // [batch, heads, tokens, tokens]
        }
        let out = scores.f_softmax(-1, None::<Kind>)?.f_matmul(v)?;
        return Ok(out.f_transpose(1, 2)?.f_flatten(2, 3)?);
    }
    let out =
        Tensor::f_scaled_dot_product_attention(q, k, v, mask, 0.0, causal, None::<f64>, grouped)?;
    // [batch, heads, tokens, head_dim] -> [batch, tokens, heads * head_dim]
    Ok(out.f_transpose(1, 2)?.f_flatten(2, 3)?)
}

/// [batch, tokens, heads * head_dim] -> [batch, heads, tokens, head_dim]
pub(crate) fn split_heads(x: &Tensor, heads: i64, head_dim: i64) -> Result<Tensor, Error> {
    let (batch, tokens) = (x.size()[0], x.size()[1]);
    Ok(x.f_view([batch, tokens, heads, head_dim])?
        .f_transpose(1, 2)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn short_bf16_attention_agrees_with_the_f32_kernel_under_every_kind_of_mask() {
        tch::manual_seed(3);
        let [q, k, v] =
            [0, 1, 2].map(|_| Tensor::randn([2, 3, 40, 16], (Kind::Float, Device::Cpu)));
        let seen = Tensor::ones([40, 40], (Kind::Bool, Device::Cpu)).tril(0);
        let added = Tensor::zeros([40, 40], (Kind::Float, Device::Cpu))
            .masked_fill(&seen.logical_not(), f64::NEG_INFINITY);
        for mask in [None, Some(&seen), Some(&added)] {
            let exact = attend(&q, &k, &v, mask, false).unwrap();
            let half = |t: &Tensor| t.to_kind(Kind::BFloat16);
            let own = mask.map(|m| {
                if m.kind() == Kind::Bool {
                    m.shallow_clone()
                } else {
                    half(m)
                }
            });
            let short = attend(&half(&q), &half(&k), &half(&v), own.as_ref(), false).unwrap();
            let off = (short.to_kind(Kind::Float) - exact).abs().max();
            // bf16 keeps eight bits: values up to 3 are off by about 0.02.
            assert!(
                f64::try_from(&off).unwrap() < 0.05,
                "{off:?} under {mask:?}"
            );
        }
    }
}
