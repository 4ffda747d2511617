//! The decoder: LLaMA and those built as it is (Mistral, Qwen2), with rotary positions given per
//! token and any attention mask.
//!
//! Positions and mask are arguments because a packed row of a training batch is a tree, not a
//! line: a token's position is its depth, and it sees its ancestors only. The families differ in
//! biases and in how far back a token sees; [`crate::TextConfig`] says which.

use std::cell::OnceCell;

use tch::{Device, Kind, Tensor};

use crate::cpu::fused;
use crate::kv_cache::Extension;
use crate::layers::{Gated, Linear, Named, Projections, Ready, RmsNorm, attend, split_heads};
use crate::rope::Rope;
use crate::{Error, LlavaConfig, Quantisation};

pub(crate) struct Decoder {
    pub embedding: Tensor,
    layers: Vec<Layer>,
    norm: RmsNorm,
    pub head: Linear,
    rope: Rope,
    /// How many positions a token of a windowed layer sees, its own included.
    window: Option<i64>,
}

/// Packed rows as the layers see them: where each token stands and what it may look at.
pub struct Rows {
    rotary: (Tensor, Tensor),
    /// Token `i` looks at `j` where `j <= i < ends[j]`: [rows, tokens], i64.
    ends: Tensor,
    /// Numbers added to the scores, [rows, 1, tokens, tokens]: made for the first layer that needs
    /// them.
    mask: OnceCell<Tensor>,
    /// [rows, tokens], where layers with a window see less than the others.
    windowed: Option<Tensor>,
    /// The same as `mask` for those layers.
    windowed_mask: OnceCell<Tensor>,
    kind: Kind,
}

impl Rows {
    /// What may be looked at, as numbers that are added.
    fn mask(&self) -> Result<&Tensor, Error> {
        made_once(&self.mask, || {
            let (tokens, device) = (self.ends.size()[1], self.ends.device());
            let index = Tensor::f_arange(tokens, (Kind::Int64, device))?;
            let (looked, looking) = (index.f_unsqueeze(1)?, index.f_unsqueeze(0)?);
            // [rows, 1, looked-at, looking] -> [rows, 1, looking, looked-at]
            let seen = looked
                .f_le_tensor(&looking)?
                .f_logical_and(&looking.f_lt_tensor(&self.ends.f_unsqueeze(1)?.f_unsqueeze(3)?)?)?
                .f_transpose(2, 3)?;
            Ok(Tensor::f_zeros(seen.size(), (self.kind, device))?
                .f_masked_fill(&seen.f_logical_not()?, f64::NEG_INFINITY)?
                .f_contiguous()?)
        })
    }
}

fn made_once(
    cell: &OnceCell<Tensor>,
    make: impl FnOnce() -> Result<Tensor, Error>,
) -> Result<&Tensor, Error> {
    if let Some(made) = cell.get() {
        return Ok(made);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}

/// What a layer's tokens may look at.
enum Sight<'a, 'b> {
    /// The whole of what is there, or as the mask says.
    Mask(Option<&'a Tensor>),
    /// Each those not after it.
    Causal,
    /// As the ends of packed rows say.
    Trees(&'a Tensor),
    /// As a cache says, of layer `.1`.
    Cache(&'a mut Extension<'b>, usize),
}

struct Layer {
    input_norm: RmsNorm,
    attention: Projections,
    o: Linear,
    mlp_norm: RmsNorm,
    gated: Gated,
    down: Linear,
    heads: i64,
    kv_heads: i64,
    head_dim: i64,
    /// Whether its tokens see the decoder's window only.
    windowed: bool,
}

impl Decoder {
    pub fn new(
        config: &LlavaConfig,
        named: &Named,
        device: Device,
        ready: Ready,
    ) -> Result<Decoder, Error> {
        let t = &config.text_config;
        let root = "language_model.model";
        let layers = (0..t.num_hidden_layers)
            .map(|layer| {
                let root = format!("{root}.layers.{layer}");
                let linear = |name: &str, bias| named.linear(&format!("{root}.{name}"), bias);
                let bias = t.biases();
                let norm = |name: &str| named.rms_norm(&format!("{root}.{name}"), t.rms_norm_eps);
                sample::interrupt::check()?;
                let layer = Layer {
                    input_norm: norm("input_layernorm")?,
                    attention: Projections::Apart {
                        q: linear("self_attn.q_proj", bias.qkv)?,
                        k: linear("self_attn.k_proj", bias.qkv)?,
                        v: linear("self_attn.v_proj", bias.qkv)?,
                    },
                    o: linear("self_attn.o_proj", bias.out)?,
                    mlp_norm: norm("post_attention_layernorm")?,
                    gated: Gated::Apart {
                        gate: linear("mlp.gate_proj", bias.mlp)?,
                        up: linear("mlp.up_proj", bias.mlp)?,
                    },
                    down: linear("mlp.down_proj", bias.mlp)?,
                    heads: t.num_attention_heads,
                    kv_heads: t.kv_heads(),
                    head_dim: t.head_dim(),
                    windowed: t.windowed(layer),
                };
                match ready {
                    Some((kind, how)) => layer.packed(kind, how),
                    None => Ok(layer),
                }
            })
            .collect::<Result<_, Error>>()?;
        let embedding = named.get(&format!("{root}.embed_tokens.weight"))?;
        let head = if t.tie_word_embeddings {
            Linear::plain(embedding.shallow_clone(), None)
        } else {
            named.linear("language_model.lm_head", false)?
        };
        let decoder = Decoder {
            embedding,
            layers,
            norm: named.rms_norm(&format!("{root}.norm"), t.rms_norm_eps)?,
            head,
            rope: Rope::new(t, device)?,
            window: t.window(),
        };
        match ready {
            Some((kind, how)) => decoder.packed(kind, how),
            None => Ok(decoder),
        }
    }

    /// The same decoder for answering in `kind`, its products quantised where asked.
    pub fn packed(self, kind: Kind, how: Quantisation) -> Result<Decoder, Error> {
        let layers = self.layers.into_iter().map(|layer| {
            sample::interrupt::check()?;
            layer.packed(kind, how)
        });
        Ok(Decoder {
            layers: layers.collect::<Result<_, Error>>()?,
            norm: self.norm.packed(kind)?,
            head: self.head.packed(kind, how)?,
            embedding: self.embedding.f_detach()?.f_to_kind(kind)?,
            ..self
        })
    }

    /// Hidden states after the final norm; see [`crate::Llava::decode`].
    pub fn forward(
        &self,
        embeds: &Tensor,
        positions: &Tensor,
        mask: Option<&Tensor>,
        mut cache: Option<&mut Extension>,
        mut each_layer: impl FnMut(&Tensor),
    ) -> Result<Tensor, Error> {
        let kind = embeds.f_kind()?;
        let tokens = embeds.size()[1];
        let mask = match mask {
            Some(mask) if mask.f_kind()? != Kind::Bool => Some(mask.f_to_kind(kind)?),
            Some(mask) => Some(mask.shallow_clone()),
            None => None,
        };
        // With a cache, the extension says what tokens see.
        let windowed = match cache {
            Some(_) => None,
            None => self.windowed(positions, mask.as_ref())?,
        };
        let rotary = self.rope.turns(positions, kind)?;
        let mut hidden = embeds.shallow_clone();
        for (index, layer) in self.layers.iter().enumerate() {
            each_layer(&hidden);
            let own = windowed.as_ref().filter(|_| layer.windowed);
            let sight = match (cache.as_deref_mut(), own.or(mask.as_ref())) {
                (Some(cache), _) => Sight::Cache(cache, index),
                (None, None) if tokens > 1 => Sight::Causal,
                (None, mask) => Sight::Mask(mask),
            };
            hidden = layer.forward(&hidden, &rotary, sight)?;
        }
        self.norm.forward(&hidden)
    }

    /// What the layers need to know of packed rows; see [`crate::Llava::rows`].
    pub fn rows(&self, positions: &Tensor, ends: &Tensor, kind: Kind) -> Result<Rows, Error> {
        let narrower = match self.window {
            Some(window) => i64::try_from(&positions.f_max()?)? >= window,
            None => false,
        };
        Ok(Rows {
            rotary: self.rope.turns(positions, kind)?,
            ends: ends.f_contiguous()?,
            mask: OnceCell::new(),
            windowed: narrower.then(|| positions.shallow_clone()),
            windowed_mask: OnceCell::new(),
            kind,
        })
    }

    /// One layer over packed rows.
    pub fn layer(&self, index: usize, hidden: &Tensor, rows: &Rows) -> Result<Tensor, Error> {
        let Some(layer) = self.layers.get(index) else {
            return Err(Error::Shape(format!("the decoder has no layer {index}")));
        };
        let sight = match &rows.windowed {
            Some(positions) if layer.windowed => {
                let mask = made_once(&rows.windowed_mask, || {
                    let whole = rows.mask()?;
                    let own = self.windowed(positions, Some(whole))?;
                    Ok(own.unwrap_or_else(|| whole.shallow_clone()))
                })?;
                Sight::Mask(Some(mask))
            }
            _ if fused::takes(hidden) => Sight::Trees(&rows.ends),
            _ => Sight::Mask(Some(rows.mask()?)),
        };
        layer.forward(hidden, &rows.rotary, sight)
    }

    /// The norm after the last layer.
    pub fn final_norm(&self, hidden: &Tensor) -> Result<Tensor, Error> {
        self.norm.forward(hidden)
    }

    /// What tokens of windowed layers see, [batch, 1, tokens, tokens]; `None` where the window is wide
    /// enough for all of them.
    fn windowed(&self, positions: &Tensor, mask: Option<&Tensor>) -> Result<Option<Tensor>, Error> {
        let Some(window) = self.window else {
            return Ok(None);
        };
        if i64::try_from(&positions.f_max()?)? < window {
            return Ok(None);
        }
        // [batch, 1, tokens, tokens]: how far back each key lies.
        let back = positions
            .f_unsqueeze(-1)?
            .f_sub(&positions.f_unsqueeze(1)?)?
            .f_unsqueeze(1)?;
        let beyond = back.f_ge(window)?;
        let whole = match mask {
            Some(mask) => mask.shallow_clone(),
            None => causal_mask(positions.size()[1], positions.device())?,
        };
        Ok(Some(if whole.f_kind()? == Kind::Bool {
            whole.f_logical_and(&beyond.f_logical_not()?)?
        } else {
            whole.f_masked_fill(&beyond, f64::NEG_INFINITY)?
        }))
    }
}

impl Layer {
    fn forward(
        &self,
        hidden: &Tensor,
        rotary: &(Tensor, Tensor),
        sight: Sight,
    ) -> Result<Tensor, Error> {
        let x = self.input_norm.forward(hidden)?;
        let attended = match (&self.attention, sight) {
            (Projections::Joined(all, _), Sight::Cache(cache, layer)) if cache.is_step() => {
                let qkv = all.forward(&x)?;
                cache.attend_step(layer, self.windowed, &qkv, rotary, self.heads)?
            }
            (attention, sight) => {
                let [q, k, v] = attention.forward(&x)?;
                let (q, k) = (self.turned(&q, rotary)?, self.turned(&k, rotary)?);
                if let Sight::Trees(ends) = sight {
                    fused::attend_trees(&q, &k, &v, ends, [self.heads, self.kv_heads])?
                } else {
                    let q = split_heads(&q, self.heads, self.head_dim)?;
                    let k = split_heads(&k, self.kv_heads, self.head_dim)?;
                    let v = split_heads(&v, self.kv_heads, self.head_dim)?;
                    match sight {
                        Sight::Cache(cache, layer) => {
                            cache.attend(layer, self.windowed, &q, &k, &v)?
                        }
                        Sight::Mask(mask) => attend(&q, &k, &v, mask, false)?,
                        Sight::Causal | Sight::Trees(_) => attend(&q, &k, &v, None, true)?,
                    }
                }
            }
        };
        let hidden = self.o.forward_added(&attended, hidden)?;
        let x = self.mlp_norm.forward(&hidden)?;
        let x = self.gated.forward(&x)?;
        self.down.forward_added(&x, &hidden)
    }

    /// `x cos + rotate_half(x) sin`, where the halves of each head are the pairs that turn. `x` is
    /// [batch, tokens, heads * head_dim].
    fn turned(&self, x: &Tensor, rotary: &(Tensor, Tensor)) -> Result<Tensor, Error> {
        if fused::takes(x) {
            return fused::turn(x, rotary);
        }
        let size = x.size();
        let heads = size.last().map_or(0, |width| width / self.head_dim);
        let x = split_heads(x, heads, self.head_dim)?; // [batch, heads, tokens, head_dim]
        let (half, (cos, sin)) = (self.head_dim / 2, rotary);
        let turned = Tensor::f_cat(
            &[x.f_narrow(3, half, half)?.f_neg()?, x.f_narrow(3, 0, half)?],
            3,
        )?;
        let out = x.f_mul(cos)?.f_add(&turned.f_mul(sin)?)?;
        Ok(out.f_transpose(1, 2)?.f_reshape(size)?)
    }

    fn packed(self, kind: Kind, how: Quantisation) -> Result<Layer, Error> {
        let linear = |layer: Linear| layer.packed(kind, how);
        Ok(Layer {
            input_norm: self.input_norm.packed(kind)?,
            attention: self.attention.packed(kind, how)?,
            o: linear(self.o)?,
            mlp_norm: self.mlp_norm.packed(kind)?,
            gated: self.gated.packed(kind, how)?,
            down: linear(self.down)?,
            ..self
        })
    }
}

/// [tokens, tokens]: true where the column is not after the row's token.
fn causal_mask(tokens: i64, device: Device) -> Result<Tensor, Error> {
    Ok(Tensor::f_ones([tokens, tokens], (Kind::Bool, device))?.f_tril(0)?)
}

#[cfg(test)]
mod tests;
