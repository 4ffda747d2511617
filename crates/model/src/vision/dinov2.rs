//! DINOv2 (`facebook/dinov2-large`): LayerScale after both halves of a layer, positions that are
//! interpolated for images of another side than it was trained at, and a SwiGLU in the giant one.

use super::{Form, LayerInit};
use crate::VisionConfig;
use crate::encoder::{Activation, LayerNames};
use crate::parameters::{Init, Parameter};

const LAYER: LayerNames = LayerNames {
    norm1: "norm1",
    q: "attention.attention.query",
    k: "attention.attention.key",
    v: "attention.attention.value",
    out: "attention.output.dense",
    norm2: "norm2",
    fc1: "mlp.fc1",
    fc2: "mlp.fc2",
    scales: Some(["layer_scale1.lambda1", "layer_scale2.lambda1"]),
};

/// Initial values as in `Dinov2PreTrainedModel._init_weights`: its normal values are cut at 2, a
/// hundred deviations out.
pub(super) fn form(v: &VisionConfig) -> Form {
    let (h, normal) = (v.hidden_size, Init::Normal(v.initializer_range));
    let embedding = |name: &str, shape: &[i64], init| Parameter {
        name: format!("embeddings.{name}"),
        shape: shape.to_vec(),
        init,
    };
    let swiglu = v.swiglu();
    Form {
        root: "vision_tower",
        class: Some(embedding("cls_token", &[1, 1, h], normal)),
        patch: "embeddings.patch_embeddings.projection",
        patch_bias: true,
        position: embedding(
            "position_embeddings",
            &[1, v.grid() * v.grid() + 1, h],
            normal,
        ),
        pre_norm: None,
        layers: "encoder.layer",
        names: LayerNames {
            fc1: if swiglu { "mlp.weights_in" } else { LAYER.fc1 },
            fc2: if swiglu { "mlp.weights_out" } else { LAYER.fc2 },
            ..LAYER
        },
        qkv_bias: v.qkv_bias != Some(false),
        activation: if swiglu {
            Activation::SwiGlu
        } else {
            Activation::of(&v.hidden_act).unwrap_or(Activation::Gelu)
        },
        post_norm: "layernorm",
        last_is_normed: false,
        unused: if v.use_mask_token == Some(false) {
            Vec::new()
        } else {
            vec![embedding("mask_token", &[1, h], Init::Zeros)]
        },
        init: LayerInit {
            patch: normal,
            qkv: normal,
            out: normal,
            fc1: normal,
            fc2: normal,
            fc_bias: Init::Zeros,
            scale: Init::Constant(v.layerscale_value.unwrap_or(1.0)),
        },
    }
}
