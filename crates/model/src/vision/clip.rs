//! CLIP's ViT (`openai/clip-vit-large-patch14-336`): a norm before the first layer, quick-GELU, no
//! bias on patches.

use super::{Form, LayerInit};
use crate::VisionConfig;
use crate::encoder::{Activation, LayerNames};
use crate::parameters::{Init, Parameter};

/// Of CLIP's layers, and SigLIP's.
pub(super) const LAYER: LayerNames = LayerNames {
    norm1: "layer_norm1",
    q: "self_attn.q_proj",
    k: "self_attn.k_proj",
    v: "self_attn.v_proj",
    out: "self_attn.out_proj",
    norm2: "layer_norm2",
    fc1: "mlp.fc1",
    fc2: "mlp.fc2",
    scales: None,
};

/// Initial values as in `CLIPPreTrainedModel._init_weights`, `initializer_factor` 1.
pub(super) fn form(v: &VisionConfig) -> Form {
    let (hidden, layers) = (v.hidden_size as f64, v.num_hidden_layers as f64);
    let into = Init::Normal(hidden.powf(-0.5) * (2.0 * layers).powf(-0.5));
    let out = Init::Normal(hidden.powf(-0.5));
    let embedding = Init::Normal(v.initializer_range);
    Form {
        root: "vision_tower.vision_model",
        class: Some(Parameter {
            name: "embeddings.class_embedding".to_owned(),
            shape: vec![v.hidden_size],
            init: out,
        }),
        patch: "embeddings.patch_embedding",
        patch_bias: false,
        position: Parameter {
            name: "embeddings.position_embedding.weight".to_owned(),
            shape: vec![v.grid() * v.grid() + 1, v.hidden_size],
            init: embedding,
        },
        // The misspelling is CLIP's.
        pre_norm: Some("pre_layrnorm"),
        layers: "encoder.layers",
        names: LAYER,
        qkv_bias: true,
        activation: Activation::of(&v.hidden_act).unwrap_or(Activation::QuickGelu),
        post_norm: "post_layernorm",
        last_is_normed: false,
        unused: Vec::new(),
        init: LayerInit {
            patch: embedding,
            qkv: into,
            out,
            fc1: Init::Normal((2.0 * hidden).powf(-0.5)),
            fc2: into,
            fc_bias: Init::Zeros,
            scale: Init::Ones,
        },
    }
}
