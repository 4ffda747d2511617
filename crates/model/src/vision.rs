//! The vision tower: CLIP's ViT, of which LLaVA takes one hidden state.
//!
//! Layers above the chosen hidden state, and the final norm, are part of the checkpoint but are
//! never run, so their weights get no gradient.

use tch::Tensor;

use crate::encoder::{
    EncoderLayer, Gelu, LayerNames, LayerShape, add_class_and_positions, embed_patches,
};
use crate::layers::{LayerNorm, Linear, Named};
use crate::{Error, FeatureSelect, LlavaConfig, VisionConfig};

pub(crate) struct VisionTower {
    class: Tensor,
    /// [hidden, channels, patch, patch]
    patch: Tensor,
    position: Tensor,
    pre_norm: LayerNorm,
    layers: Vec<EncoderLayer>,
    select: FeatureSelect,
}

const NAMES: LayerNames = LayerNames {
    norm1: "layer_norm1",
    q: "self_attn.q_proj",
    k: "self_attn.k_proj",
    v: "self_attn.v_proj",
    out: "self_attn.out_proj",
    norm2: "layer_norm2",
    fc1: "mlp.fc1",
    fc2: "mlp.fc2",
};

impl VisionTower {
    pub fn new(
        config: &LlavaConfig,
        v: &VisionConfig,
        named: &Named,
    ) -> Result<VisionTower, Error> {
        let root = "vision_tower.vision_model";
        let shape = LayerShape {
            heads: v.num_attention_heads,
            head_dim: v.head_dim(),
            eps: v.layer_norm_eps,
            gelu: if v.hidden_act == "quick_gelu" {
                Gelu::Quick
            } else {
                Gelu::Erf
            },
            qkv_bias: true,
        };
        let layers = (0..config.vision_layers_used())
            .map(|i| EncoderLayer::new(named, &format!("{root}.encoder.layers.{i}"), &NAMES, shape))
            .collect::<Result<_, Error>>()?;
        Ok(VisionTower {
            class: named.get(&format!("{root}.embeddings.class_embedding"))?,
            patch: named.get(&format!("{root}.embeddings.patch_embedding.weight"))?,
            position: named.get(&format!("{root}.embeddings.position_embedding.weight"))?,
            pre_norm: named.layer_norm(&format!("{root}.pre_layrnorm"), v.layer_norm_eps)?,
            layers,
            select: config.vision_feature_select_strategy,
        })
    }

    /// [images, 3, side, side] -> [images, tokens, hidden]
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor, Error> {
        let patches = embed_patches(pixels, &self.patch, None)?;
        let tokens = add_class_and_positions(&patches, &self.class, &self.position)?;
        let mut hidden = self.pre_norm.forward(&tokens)?;
        for layer in &self.layers {
            hidden = layer.forward(&hidden)?;
        }
        Ok(match self.select {
            FeatureSelect::Default => hidden.f_narrow(1, 1, patches.size()[1])?,
            FeatureSelect::Full => hidden,
        })
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
