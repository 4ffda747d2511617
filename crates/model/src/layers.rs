//! The layers that tower, projector and decoder share.
//!
//! Each computes in the type of its input: f32 weights are cast to it on the way in, and gradients
//! are cast back by autograd.

use std::collections::HashMap;

use tch::{Device, Kind, Tensor};

use crate::cpu::{self, Activation, Sees, fused};
use crate::quantise::Quantised;
use crate::{Adapter, Error, Quantisation};

/// Finds tensors by name while a model is put together.
pub(crate) struct Named<'a> {
    tensors: Tensors<'a>,
    adapter: Option<&'a Adapter>,
    kept: Option<&'a HashMap<String, Quantised>>,
}

enum Tensors<'a> {
    /// Those in memory.
    Held(HashMap<&'a str, &'a Tensor>),
    /// Read from a file when they are asked for.
    Read(Reads<'a>),
}

/// Reads a tensor by its name.
type Reads<'a> = &'a dyn Fn(&str) -> Result<Tensor, Error>;

/// What a model that answers is packed for: the type of its products, and how the decoder's
/// weights are kept. `None` leaves layers as they are.
pub(crate) type Ready = Option<(Kind, Quantisation)>;

impl<'a> Named<'a> {
    /// Linear layers get the adapter's updates.
    pub fn new(parameters: &'a [(String, Tensor)], adapter: Option<&'a Adapter>) -> Named<'a> {
        let tensors = parameters
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        Named {
            tensors: Tensors::Held(tensors),
            adapter,
            kept: None,
        }
    }

    /// The same with weights that are kept in few bits, by name.
    pub fn with_kept(self, kept: &'a HashMap<String, Quantised>) -> Named<'a> {
        Named {
            kept: Some(kept),
            ..self
        }
    }

    /// Tensors that are read one at a time, so that each can be packed and dropped before the next.
    pub fn read(read: Reads<'a>) -> Named<'a> {
        Named {
            tensors: Tensors::Read(read),
            adapter: None,
            kept: None,
        }
    }

    /// A handle on the same tensor.
    pub fn get(&self, name: &str) -> Result<Tensor, Error> {
        match &self.tensors {
            Tensors::Held(tensors) => tensors
                .get(name)
                .map(|t| t.shallow_clone())
                .ok_or_else(|| Error::Config(format!("no tensor {name}"))),
            Tensors::Read(read) => read(name),
        }
    }

    pub fn linear(&self, name: &str, bias: bool) -> Result<Linear, Error> {
        let weight = format!("{name}.weight");
        let weight = match self.kept.and_then(|kept| kept.get(&weight)) {
            Some(kept) => Weight::Kept(kept.shallow_clone()),
            None => Weight::Plain(self.get(&weight)?),
        };
        let bias = match bias {
            true => Some(self.get(&format!("{name}.bias"))?),
            false => None,
        };
        let mut layer = Linear {
            weight,
            bias,
            low_rank: Vec::new(),
        };
        if let Some(adapter) = self.adapter {
            layer.low_rank = adapter.low_rank(name);
        }
        Ok(layer)
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
    pub weight: Weight,
    /// `[out]`
    pub bias: Option<Tensor>,
    /// Unmerged updates; several where rows of several layers are kept in one matrix.
    pub low_rank: Vec<LowRank>,
}

/// How a linear layer's weight [out, in] is kept.
pub(crate) enum Weight {
    /// As it is: cast to the type of the input where it is used, with gradients.
    Plain(Tensor),
    /// In oneDNN's blocks, for products of this type.
    Packed(Tensor, Kind),
    /// In few bits.
    Quantised(Quantised),
    /// In few bits beside updates that are trained: spread out while it is used, so that gradients
    /// flow through it to the input.
    Kept(Quantised),
}

impl Weight {
    /// All of it [out, in]; `None` for one that was made ready to answer.
    fn spread(&self) -> Result<Option<Tensor>, Error> {
        match self {
            Weight::Plain(weight) => Ok(Some(weight.shallow_clone())),
            Weight::Kept(weight) => weight.dense(Kind::BFloat16).map(Some),
            Weight::Packed(..) | Weight::Quantised(_) => Ok(None),
        }
    }
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
    /// Share of the input's numbers that A does not see while it is trained (PEFT's `lora_dropout`),
    /// drawn from libtorch's generator.
    pub dropout: f64,
}

impl LowRank {
    fn add_to(&self, out: &Tensor, x: &Tensor) -> Result<Tensor, Error> {
        let kind = x.f_kind()?;
        let x = match self.dropout > 0.0 && self.a.requires_grad() {
            true => x.f_dropout(self.dropout, true)?,
            false => x.shallow_clone(),
        };
        let added = x
            .f_linear(&self.a.f_to_kind(kind)?, None::<&Tensor>)?
            .f_linear(&self.b.f_to_kind(kind)?, None::<&Tensor>)?
            .f_mul_scalar(self.scale)?;
        let (all, width) = (out.size()[out.dim() - 1], self.b.size()[0]);
        if all == width {
            return Ok(out.f_add(&added)?);
        }
        let rest = self.start + width;
        Ok(Tensor::f_cat(
            &[
                out.f_narrow(-1, 0, self.start)?,
                out.f_narrow(-1, self.start, width)?.f_add(&added)?,
                out.f_narrow(-1, rest, all - rest)?,
            ],
            -1,
        )?)
    }
}

impl Linear {
    pub fn plain(weight: Tensor, bias: Option<Tensor>) -> Linear {
        Linear {
            weight: Weight::Plain(weight),
            bias,
            low_rank: Vec::new(),
        }
    }

    /// `x W^T + b`; `x` is [.., in].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        self.forward_active(x, Activation::None)
    }

    /// `activation(x W^T + b)`, in one pass where that can be.
    pub fn forward_active(&self, x: &Tensor, activation: Activation) -> Result<Tensor, Error> {
        if let Weight::Packed(packed, kind) = &self.weight
            && self.low_rank.is_empty()
        {
            let x = x.f_to_kind(*kind)?;
            return cpu::linear(&x, packed, self.bias.as_ref(), activation);
        }
        let out = self.product(x)?;
        Ok(match activation {
            Activation::None => out,
            Activation::Gelu => out.f_gelu("none")?,
            Activation::GeluTanh => out.f_gelu("tanh")?,
        })
    }

    /// `x W^T + b + other`, which has the result's shape, in one pass where that can be.
    pub fn forward_added(&self, x: &Tensor, other: &Tensor) -> Result<Tensor, Error> {
        if let Weight::Packed(packed, kind) = &self.weight
            && self.low_rank.is_empty()
            && other.kind() == *kind
        {
            let x = x.f_to_kind(*kind)?;
            return cpu::linear_added(&x, packed, self.bias.as_ref(), other);
        }
        Ok(self.product(x)?.f_add(other)?)
    }

    /// How many outputs it has; 0 for one that is no longer plain.
    fn outputs(&self) -> i64 {
        match &self.weight {
            Weight::Plain(weight) => weight.size()[0],
            Weight::Kept(weight) => weight.size()[0],
            Weight::Packed(..) | Weight::Quantised(_) => 0,
        }
    }

    fn product(&self, x: &Tensor) -> Result<Tensor, Error> {
        let kind = x.f_kind()?;
        let bias = self.bias.as_ref().map(|b| b.f_to_kind(kind)).transpose()?;
        let mut out = match &self.weight {
            Weight::Plain(weight) => x.f_linear(&weight.f_to_kind(kind)?, bias.as_ref())?,
            Weight::Kept(weight) => x.f_linear(&weight.dense(kind)?, bias.as_ref())?,
            Weight::Packed(packed, packed_for) => {
                let x = x.f_to_kind(*packed_for)?;
                cpu::linear(&x, packed, self.bias.as_ref(), Activation::None)?.f_to_kind(kind)?
            }
            Weight::Quantised(weight) => {
                let out = weight.forward(x)?.f_to_kind(kind)?;
                match &bias {
                    Some(bias) => out.f_add(bias)?,
                    None => out,
                }
            }
        };
        for update in &self.low_rank {
            out = update.add_to(&out, x)?;
        }
        Ok(out)
    }

    /// One layer that gives the outputs of several, one after the other: their products in one.
    ///
    /// # Errors
    /// Layers that are not plain, or of which only some have a bias.
    pub fn stacked(layers: Vec<Linear>) -> Result<Linear, Error> {
        let (mut weights, mut biases, mut low_rank) = (Vec::new(), Vec::new(), Vec::new());
        let (mut start, count) = (0, layers.len());
        for layer in layers {
            let Some(weight) = layer.weight.spread()? else {
                return Err(Error::Shape("packed layers cannot be stacked".into()));
            };
            let outs = weight.size()[0];
            weights.push(weight);
            biases.extend(layer.bias);
            low_rank.extend(layer.low_rank.into_iter().map(|update| LowRank {
                start: start + update.start,
                ..update
            }));
            start += outs;
        }
        if !biases.is_empty() && biases.len() != count {
            return Err(Error::Shape("layers of which only some have a bias".into()));
        }
        Ok(Linear {
            weight: Weight::Plain(Tensor::f_cat(&weights, 0)?),
            bias: if biases.is_empty() {
                None
            } else {
                Some(Tensor::f_cat(&biases, 0)?)
            },
            low_rank,
        })
    }

    /// The same layer for answering in `kind`: quantised where asked and possible, else packed where
    /// this libtorch can, else cast. It has no gradients.
    pub fn packed(self, kind: Kind, how: Quantisation) -> Result<Linear, Error> {
        let weight = match self.weight {
            Weight::Plain(_) | Weight::Kept(_) => self.weight.spread()?,
            Weight::Packed(..) | Weight::Quantised(_) => None,
        };
        let Some(weight) = weight else {
            return Ok(self);
        };
        let bias = self
            .bias
            .map(|b| b.f_detach()?.f_to_kind(kind))
            .transpose()?;
        let quantised = if weight.device() == Device::Cpu {
            Quantised::new(&weight, how)?
        } else {
            None
        };
        let weight = match quantised {
            Some(quantised) => Weight::Quantised(quantised),
            None => {
                let weight = weight.f_detach()?.f_to_kind(kind)?.f_contiguous()?;
                if weight.device() == Device::Cpu && cpu::can_pack() {
                    Weight::Packed(cpu::pack(&weight)?, kind)
                } else {
                    Weight::Plain(weight)
                }
            }
        };
        Ok(Linear {
            weight,
            bias,
            low_rank: self.low_rank,
        })
    }
}

/// The three products that attention begins with.
pub(crate) enum Projections {
    /// Each by itself, as checkpoints have them and as they are trained.
    Apart {
        /// Queries.
        q: Linear,
        /// Keys.
        k: Linear,
        /// Values.
        v: Linear,
    },
    /// In one product, for answering; the widths of queries and of keys.
    Joined(Linear, [i64; 2]),
}

impl Projections {
    /// Queries, keys and values, [.., width] each.
    pub fn forward(&self, x: &Tensor) -> Result<[Tensor; 3], Error> {
        match self {
            Projections::Apart { q, k, v } => Ok([q.forward(x)?, k.forward(x)?, v.forward(x)?]),
            Projections::Joined(all, [queries, keys]) => {
                let all = all.forward(x)?;
                let part = |from, width| all.f_narrow(-1, from, width);
                Ok([
                    part(0, *queries)?,
                    part(*queries, *keys)?,
                    part(queries + keys, *keys)?,
                ])
            }
        }
    }

    /// The three products in one, for answering in `kind`.
    pub fn packed(self, kind: Kind, how: Quantisation) -> Result<Projections, Error> {
        let Projections::Apart { q, k, v } = self else {
            return Ok(self);
        };
        let widths = [q.outputs(), k.outputs()];
        let all = Linear::stacked(vec![q, k, v])?.packed(kind, how)?;
        Ok(Projections::Joined(all, widths))
    }
}

/// The gated half of an MLP: `silu(gate(x)) * up(x)`.
pub(crate) enum Gated {
    /// Each product by itself, as checkpoints have them and as they are trained.
    Apart {
        /// Through the SiLU.
        gate: Linear,
        /// Multiplied with it.
        up: Linear,
    },
    /// In one product, for answering: gates first.
    Joined(Linear),
}

impl Gated {
    /// [.., hidden] to [.., intermediate].
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        match self {
            Gated::Apart { gate, up } => swiglu(&gate.forward(x)?, &up.forward(x)?),
            Gated::Joined(both) => {
                let both = both.forward(x)?;
                let half = both.size().last().map_or(0, |width| width / 2);
                swiglu(
                    &both.f_narrow(-1, 0, half)?,
                    &both.f_narrow(-1, half, half)?,
                )
            }
        }
    }

    /// Both products in one, for answering in `kind`.
    pub fn packed(self, kind: Kind, how: Quantisation) -> Result<Gated, Error> {
        let Gated::Apart { gate, up } = self else {
            return Ok(self);
        };
        let both = Linear::stacked(vec![gate, up])?;
        Ok(Gated::Joined(both.packed(kind, how)?))
    }
}

fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor, Error> {
    if fused::takes(gate) {
        return fused::swiglu(gate, up);
    }
    Ok(gate.f_silu()?.f_mul(up)?)
}

/// LayerNorm; libtorch computes bf16 inputs in f32 inside.
pub(crate) struct LayerNorm {
    pub weight: Tensor,
    pub bias: Tensor,
    pub eps: f64,
}

impl LayerNorm {
    /// The same norm for answering in `kind`.
    pub fn packed(self, kind: Kind) -> Result<LayerNorm, Error> {
        Ok(LayerNorm {
            weight: self.weight.f_detach()?.f_to_kind(kind)?,
            bias: self.bias.f_detach()?.f_to_kind(kind)?,
            eps: self.eps,
        })
    }

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

/// LLaMA's RMSNorm; bf16 inputs are computed in f32 inside.
pub(crate) struct RmsNorm {
    pub weight: Tensor,
    pub eps: f64,
}

impl RmsNorm {
    /// The same norm for answering in `kind`.
    pub fn packed(self, kind: Kind) -> Result<RmsNorm, Error> {
        Ok(RmsNorm {
            weight: self.weight.f_detach()?.f_to_kind(kind)?,
            eps: self.eps,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor, Error> {
        if fused::takes(x) && fused::takes(&self.weight) {
            return fused::rms_norm(x, &self.weight, self.eps);
        }
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
    if causal && mask.is_none() && q.f_kind()? == Kind::BFloat16 && q.device() == Device::Cpu {
        return attend_causally(q, k, v);
    }
    if short && added && q.f_kind()? == Kind::BFloat16 && !grouped && !causal {
        let scale = (q.size()[3] as f64).powf(-0.5);
        let answering = q.device() == Device::Cpu && !(q.requires_grad() || k.requires_grad());
        if mask.is_none() && answering {
            let scores = q.f_matmul(&k.f_transpose(-2, -1)?)?;
            cpu::softmax_(&scores, scale, Sees::All)?;
            return Ok(scores.f_matmul(v)?.f_transpose(1, 2)?.f_flatten(2, 3)?);
        }
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

/// Attention of each token to those not after it, in blocks of queries: a block needs no keys after
/// its end, so about half of the work is not done at all (a layer of 16 heads over 640 tokens: 3.6
/// ms, libtorch's kernel 10).
fn attend_causally(q: &Tensor, k: &Tensor, v: &Tensor) -> Result<Tensor, Error> {
    /// Queries at a time: fewer leave products small, more do more work in vain.
    const BLOCK: i64 = 160;
    let [batch, heads, tokens, dim] = q.size()[..] else {
        return Err(Error::Shape(format!("queries of {:?}", q.size())));
    };
    let kv_heads = k.size()[1];
    let group = heads / kv_heads;
    // [batch, kv_heads, group, tokens, dim]: queries that share keys lie together.
    let q = q.f_reshape([batch, kv_heads, group, tokens, dim])?;
    let scale = (dim as f64).powf(-0.5);
    let mut blocks = Vec::new();
    for start in (0..tokens).step_by(BLOCK as usize) {
        let width = BLOCK.min(tokens - start);
        let end = start + width;
        let queries =
            q.f_narrow(3, start, width)?
                .f_reshape([batch, kv_heads, group * width, dim])?;
        let scores = queries.f_matmul(&k.f_narrow(2, 0, end)?.f_transpose(-2, -1)?)?;
        let shares = if cpu::takes(&scores) {
            let sees = Sees::UpTo {
                first: start,
                period: width,
            };
            cpu::softmax_(&scores, scale, sees)?;
            scores
        } else {
            let seen = Tensor::f_ones([width, end], (Kind::Bool, q.device()))?.f_tril(start)?;
            scores
                .f_mul_scalar(scale)?
                .f_view([batch, kv_heads, group, width, end])?
                .f_masked_fill(&seen.f_logical_not()?, f64::NEG_INFINITY)?
                .f_softmax(-1, None::<Kind>)?
                .f_view([batch, kv_heads, group * width, end])?
        };
        let mixed = shares.f_matmul(&v.f_narrow(2, 0, end)?)?;
        // [batch, kv_heads, group * width, dim] -> [batch, width, heads * dim]
        blocks.push(
            mixed
                .f_view([batch, heads, width, dim])?
                .f_transpose(1, 2)?
                .f_reshape([batch, width, heads * dim])?,
        );
    }
    Ok(match blocks.len() {
        1 => blocks.remove(0),
        _ => Tensor::f_cat(&blocks, 1)?,
    })
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
            [0, 1, 2].map(|_| Tensor::randn([2, 3, 200, 16], (Kind::Float, Device::Cpu)));
        let seen = Tensor::ones([200, 200], (Kind::Bool, Device::Cpu)).tril(0);
        let added = Tensor::zeros([200, 200], (Kind::Float, Device::Cpu))
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
            if mask.is_none() {
                for kv_heads in [1, 3] {
                    let some = |t: &Tensor| t.narrow(1, 0, kv_heads);
                    let exact = attend(&q, &some(&k), &some(&v), None, true).unwrap();
                    let (q, k, v) = (half(&q), half(&some(&k)), half(&some(&v)));
                    let blocks = attend(&q, &k, &v, None, true).unwrap();
                    let off = (blocks.to_kind(Kind::Float) - exact).abs().max();
                    assert!(f64::try_from(&off).unwrap() < 0.05, "{off:?}, causal");
                }
            }
            // bf16 keeps eight bits: values up to 3 are off by about 0.02.
            assert!(
                f64::try_from(&off).unwrap() < 0.05,
                "{off:?} under {mask:?}"
            );
        }
    }
}
