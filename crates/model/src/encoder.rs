//! What all vision transformers here share: images cut into patches, and layers that norm first.
//!
//! CLIP's, SigLIP's and DINOv2's towers and the ViT classifier differ in names, in a few biases and
//! scales and in the MLP's activation; those are arguments.

use tch::{Kind, Tensor};

use crate::cpu::{self, Activation as Fused};
use crate::layers::{LayerNorm, Linear, Named, Projections, attend, split_heads};
use crate::{Error, Quantisation};

/// What stands between the MLP's two products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activation {
    /// The exact GELU.
    Gelu,
    /// GELU by its tanh form, SigLIP's.
    GeluTanh,
    /// `x * sigmoid(1.702 x)`, CLIP's.
    QuickGelu,
    /// One half's SiLU times the other half: the first product is twice as wide.
    SwiGlu,
}

impl Activation {
    /// By the name that transformers' `hidden_act` has.
    pub fn of(name: &str) -> Option<Activation> {
        match name {
            "gelu" => Some(Activation::Gelu),
            "gelu_pytorch_tanh" => Some(Activation::GeluTanh),
            "quick_gelu" => Some(Activation::QuickGelu),
            _ => None,
        }
    }

    fn forward(self, x: &Tensor) -> Result<Tensor, Error> {
        Ok(match self {
            Activation::Gelu => x.f_gelu("none")?,
            Activation::GeluTanh => x.f_gelu("tanh")?,
            Activation::QuickGelu if cpu::takes(x) => cpu::quick_gelu(x)?,
            Activation::QuickGelu => x.f_mul(&x.f_mul_scalar(1.702)?.f_sigmoid()?)?,
            Activation::SwiGlu => {
                let half = x.size().last().map_or(0, |width| width / 2);
                x.f_narrow(-1, 0, half)?
                    .f_silu()?
                    .f_mul(&x.f_narrow(-1, half, half)?)?
            }
        })
    }
}

/// The tensor names of a layer's parts, below the layer's own name.
pub(crate) struct LayerNames {
    pub norm1: &'static str,
    pub q: &'static str,
    pub k: &'static str,
    pub v: &'static str,
    pub out: &'static str,
    pub norm2: &'static str,
    pub fc1: &'static str,
    pub fc2: &'static str,
    /// What attention's and the MLP's outputs are multiplied by (DINOv2's LayerScale).
    pub scales: Option<[&'static str; 2]>,
}

/// The sizes of a layer, and what its names do not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerShape {
    pub heads: i64,
    pub head_dim: i64,
    pub eps: f64,
    pub activation: Activation,
    pub qkv_bias: bool,
}

/// Cuts images into square patches and gives each a vector: a convolution whose stride is its
/// kernel is a matrix product over cut-out patches. `weight` is [hidden, 3, patch, patch]; pixels
/// [images, 3, side, side] become [images, grid * grid, hidden], row by row. What is left of the
/// image at the right and below is not seen.
pub(crate) fn embed_patches(
    pixels: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor, Error> {
    let kind = pixels.f_kind()?;
    let (images, side) = (pixels.size()[0], pixels.size()[3]);
    let (hidden, patch) = (weight.size()[0], weight.size()[3]);
    let grid = side / patch;
    let pixels = if side > grid * patch {
        let cut = grid * patch;
        pixels.f_narrow(2, 0, cut)?.f_narrow(3, 0, cut)?
    } else {
        pixels.shallow_clone()
    };
    // [images, 3, grid, patch, grid, patch] -> [images, grid * grid, 3 * patch * patch]
    let patches = pixels
        .f_reshape([images, 3, grid, patch, grid, patch])?
        .f_permute([0, 2, 4, 1, 3, 5])?
        .f_reshape([images, grid * grid, 3 * patch * patch])?;
    let weight = weight
        .f_reshape([hidden, 3 * patch * patch])?
        .f_to_kind(kind)?;
    let bias = bias.map(|b| b.f_to_kind(kind)).transpose()?;
    Ok(patches.f_linear(&weight, bias.as_ref())?)
}

/// The class token before the patches, where there is one, and a position added to each:
/// [images, patches, hidden] -> [images, 1 + patches, hidden].
pub(crate) fn add_class_and_positions(
    patches: &Tensor,
    class: Option<&Tensor>,
    position: &Tensor,
) -> Result<Tensor, Error> {
    let kind = patches.f_kind()?;
    let (images, hidden) = (patches.size()[0], patches.size()[2]);
    let position = position.f_to_kind(kind)?.f_reshape([1, -1, hidden])?;
    let Some(class) = class else {
        return Ok(patches.f_add(&position)?);
    };
    let class = class
        .f_to_kind(kind)?
        .f_reshape([1, 1, hidden])?
        .f_expand([images, 1, hidden], false)?;
    Ok(Tensor::f_cat(&[&class, patches], 1)?.f_add(&position)?)
}

/// One layer: norm, attention, norm, MLP, each half added to what came in.
pub(crate) struct EncoderLayer {
    norm1: LayerNorm,
    attention: Projections,
    out: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    scales: Option<[Tensor; 2]>,
    shape: LayerShape,
}

impl EncoderLayer {
    pub fn new(
        named: &Named,
        root: &str,
        names: &LayerNames,
        shape: LayerShape,
    ) -> Result<EncoderLayer, Error> {
        let linear = |name: &str, bias: bool| named.linear(&format!("{root}.{name}"), bias);
        let norm = |name: &str| named.layer_norm(&format!("{root}.{name}"), shape.eps);
        Ok(EncoderLayer {
            norm1: norm(names.norm1)?,
            attention: Projections::Apart {
                q: linear(names.q, shape.qkv_bias)?,
                k: linear(names.k, shape.qkv_bias)?,
                v: linear(names.v, shape.qkv_bias)?,
            },
            out: linear(names.out, true)?,
            norm2: norm(names.norm2)?,
            fc1: linear(names.fc1, true)?,
            fc2: linear(names.fc2, true)?,
            scales: match names.scales {
                Some([first, second]) => Some([
                    named.get(&format!("{root}.{first}"))?,
                    named.get(&format!("{root}.{second}"))?,
                ]),
                None => None,
            },
            shape,
        })
    }

    /// [images, tokens, hidden] to the same shape.
    pub fn forward(&self, hidden: &Tensor) -> Result<Tensor, Error> {
        let tokens = hidden.size()[1];
        self.forward_first(hidden, tokens)
    }

    /// The layer's output for its first `wanted` tokens only, [images, wanted, hidden]: every token
    /// is looked at, but queries, projections and MLP are computed for the wanted ones alone. In a
    /// classifier's last layer that is the class token, and the layer costs a sixth.
    pub fn forward_first(&self, hidden: &Tensor, wanted: i64) -> Result<Tensor, Error> {
        let LayerShape {
            heads, head_dim, ..
        } = self.shape;
        let all = hidden.size()[1];
        let x = self.norm1.forward(hidden)?;
        let split = |x: &Tensor| split_heads(x, heads, head_dim);
        let cut = |x: &Tensor| -> Result<Tensor, Error> {
            // Contiguous, as the matrix products want it.
            match wanted < all {
                true => Ok(x.f_narrow(1, 0, wanted)?.f_contiguous()?),
                false => Ok(x.shallow_clone()),
            }
        };
        let [q, k, v] = match &self.attention {
            Projections::Apart { q, k, v } => {
                [q.forward(&cut(&x)?)?, k.forward(&x)?, v.forward(&x)?]
            }
            joined @ Projections::Joined(..) => {
                let [q, k, v] = joined.forward(&x)?;
                [cut(&q)?, k, v]
            }
        };
        let hidden = cut(hidden)?;
        let attended = attend(&split(&q)?, &split(&k)?, &split(&v)?, None, false)?;
        let hidden = self.add_scaled(&self.out, &attended, &hidden, 0)?;
        let x = self.norm2.forward(&hidden)?;
        let x = match self.shape.activation {
            Activation::Gelu => self.fc1.forward_active(&x, Fused::Gelu)?,
            Activation::GeluTanh => self.fc1.forward_active(&x, Fused::GeluTanh)?,
            other => other.forward(&self.fc1.forward(&x)?)?,
        };
        self.add_scaled(&self.fc2, &x, &hidden, 1)
    }

    /// `hidden` and what a layer makes of `x`, scaled where the tower scales it.
    fn add_scaled(
        &self,
        layer: &Linear,
        x: &Tensor,
        hidden: &Tensor,
        which: usize,
    ) -> Result<Tensor, Error> {
        match &self.scales {
            None => layer.forward_added(x, hidden),
            Some(scales) => {
                let out = layer.forward(x)?;
                let scale = scales[which].f_to_kind(out.f_kind()?)?;
                Ok(hidden.f_add(&out.f_mul(&scale)?)?)
            }
        }
    }

    /// The same layer for answering in `kind`.
    pub fn packed(self, kind: Kind) -> Result<EncoderLayer, Error> {
        // Quantising is for decoding token by token; a tower runs once an image, on all of it.
        let linear = |layer: Linear| layer.packed(kind, Quantisation::None);
        Ok(EncoderLayer {
            norm1: self.norm1.packed(kind)?,
            attention: self.attention.packed(kind, Quantisation::None)?,
            out: linear(self.out)?,
            norm2: self.norm2.packed(kind)?,
            fc1: linear(self.fc1)?,
            fc2: linear(self.fc2)?,
            scales: match self.scales {
                Some([first, second]) => Some([
                    first.f_detach()?.f_to_kind(kind)?,
                    second.f_detach()?.f_to_kind(kind)?,
                ]),
                None => None,
            },
            shape: self.shape,
        })
    }
}
