//! The vision tower: CLIP's ViT, of which LLaVA takes one hidden state.
//!
//! Layers above the chosen hidden state, and the final norm, are part of the checkpoint but are
//! never run, so their weights get no gradient.

use tch::Tensor;

use crate::layers::{LayerNorm, Linear, Named, attend, split_heads};
use crate::{Error, FeatureSelect, LlavaConfig};

pub(crate) struct VisionTower {
    class: Tensor,
    /// [hidden, channels, patch, patch]
    patch: Tensor,
    position: Tensor,
    pre_norm: LayerNorm,
    layers: Vec<Layer>,
    patch_size: i64,
    grid: i64,
    select: FeatureSelect,
}

struct Layer {
    norm1: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    heads: i64,
    head_dim: i64,
    quick_gelu: bool,
}

impl VisionTower {
    pub fn new(config: &LlavaConfig, named: &Named) -> Result<VisionTower, Error> {
        let v = &config.vision_config;
        let root = "vision_tower.vision_model";
        let layers = (0..config.vision_layers_used())
            .map(|layer| {
                let root = format!("{root}.encoder.layers.{layer}");
                Ok(Layer {
                    norm1: named.layer_norm(&format!("{root}.layer_norm1"), v.layer_norm_eps)?,
                    q: named.linear(&format!("{root}.self_attn.q_proj"), true)?,
                    k: named.linear(&format!("{root}.self_attn.k_proj"), true)?,
                    v: named.linear(&format!("{root}.self_attn.v_proj"), true)?,
                    out: named.linear(&format!("{root}.self_attn.out_proj"), true)?,
                    norm2: named.layer_norm(&format!("{root}.layer_norm2"), v.layer_norm_eps)?,
                    fc1: named.linear(&format!("{root}.mlp.fc1"), true)?,
                    fc2: named.linear(&format!("{root}.mlp.fc2"), true)?,
                    heads: v.num_attention_heads,
                    head_dim: v.head_dim(),
                    quick_gelu: v.hidden_act == "quick_gelu",
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(VisionTower {
            class: named.get(&format!("{root}.embeddings.class_embedding"))?,
            patch: named.get(&format!("{root}.embeddings.patch_embedding.weight"))?,
            position: named.get(&format!("{root}.embeddings.position_embedding.weight"))?,
            pre_norm: named.layer_norm(&format!("{root}.pre_layrnorm"), v.layer_norm_eps)?,
            layers,
            patch_size: v.patch_size,
            grid: v.grid(),
            select: config.vision_feature_select_strategy,
        })
    }

    /// [images, 3, side, side] -> [images, tokens, hidden]
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor, Error> {
        let kind = pixels.f_kind()?;
        let images = pixels.size()[0];
        let (grid, patch) = (self.grid, self.patch_size);
        let hidden = self.patch.size()[0];
        // A convolution whose stride is its kernel is a matrix product over cut-out patches:
        // [images, 3, grid, patch, grid, patch] -> [images, grid * grid, 3 * patch * patch]
        let patches = pixels
            .f_reshape([images, 3, grid, patch, grid, patch])?
            .f_permute([0, 2, 4, 1, 3, 5])?
            .f_reshape([images, grid * grid, 3 * patch * patch])?;
        let weight = self
            .patch
            .f_reshape([hidden, 3 * patch * patch])?
            .f_to_kind(kind)?;
        let patches = patches.f_linear(&weight, None::<&Tensor>)?;
        let class = self
            .class
            .f_to_kind(kind)?
            .f_expand([images, 1, hidden], false)?;
        // [images, 1 + grid * grid, hidden]
        let tokens = Tensor::f_cat(&[class, patches], 1)?;
        let tokens = tokens.f_add(&self.position.f_to_kind(kind)?.f_unsqueeze(0)?)?;
        let mut hidden = self.pre_norm.forward(&tokens)?;
        for layer in &self.layers {
            hidden = layer.forward(&hidden)?;
        }
        Ok(match self.select {
            FeatureSelect::Default => hidden.f_narrow(1, 1, grid * grid)?,
            FeatureSelect::Full => hidden,
        })
    }
}

impl Layer {
    fn forward(&self, hidden: &Tensor) -> Result<Tensor, Error> {
        let x = self.norm1.forward(hidden)?;
        let split = |x: &Tensor| split_heads(x, self.heads, self.head_dim);
        let q = split(&self.q.forward(&x)?)?;
        let k = split(&self.k.forward(&x)?)?;
        let v = split(&self.v.forward(&x)?)?;
        let attended = attend(&q, &k, &v, None, false)?;
        let hidden = hidden.f_add(&self.out.forward(&attended)?)?;
        let x = self.fc1.forward(&self.norm2.forward(&hidden)?)?;
        let x = if self.quick_gelu {
            x.f_mul(&x.f_mul_scalar(1.702)?.f_sigmoid()?)?
        } else {
            x.f_gelu("none")?
        };
        Ok(hidden.f_add(&self.fc2.forward(&x)?)?)
    }
}

/// Two layers with a GELU between them, from the tower's width to the decoder's.
pub(crate) struct Projector {
    linear_1: Linear,
    linear_2: Linear,
}

impl Projector {
    pub fn new(config: &LlavaConfig, named: &Named) -> Result<Projector, Error> {
        let bias = config.multimodal_projector_bias;
        Ok(Projector {
            linear_1: named.linear("multi_modal_projector.linear_1", bias)?,
            linear_2: named.linear("multi_modal_projector.linear_2", bias)?,
        })
    }

    /// [images, tokens, tower hidden] -> [images, tokens, decoder hidden]
    pub fn forward(&self, features: &Tensor) -> Result<Tensor, Error> {
        self.linear_2
            .forward(&self.linear_1.forward(features)?.f_gelu("none")?)
    }
}
