//! SigLIP (`google/siglip-so400m-patch14-384`): no class token, a bias on patches, GELU by its tanh
//! form, and a pooling head that LLaVA does not use.

use super::clip::LAYER;
use super::{Form, LayerInit};
use crate::VisionConfig;
use crate::encoder::Activation;
use crate::parameters::{Init, Parameter};

/// Initial values as in `SiglipPreTrainedModel._init_weights`.
pub(super) fn form(v: &VisionConfig) -> Form {
    let (h, m) = (v.hidden_size, v.mlp_width());
    let square = Init::xavier(h, h);
    let between = Init::xavier(h, m);
    Form {
        root: "vision_tower.vision_model",
        class: None,
        patch: "embeddings.patch_embedding",
        patch_bias: true,
        position: Parameter {
            name: "embeddings.position_embedding.weight".to_owned(),
            shape: vec![v.grid() * v.grid(), h],
            init: Init::Normal((h as f64).powf(-0.5)),
        },
        pre_norm: None,
        layers: "encoder.layers",
        names: LAYER,
        qkv_bias: true,
        activation: Activation::of(&v.hidden_act).unwrap_or(Activation::GeluTanh),
        post_norm: "post_layernorm",
        last_is_normed: true,
        unused: if v.vision_use_head == Some(false) {
            Vec::new()
        } else {
            head(h, m)
        },
        init: LayerInit {
            patch: Init::lecun(3 * v.patch_size * v.patch_size),
            qkv: square,
            out: square,
            fc1: between,
            fc2: between,
            fc_bias: Init::Normal(1e-6),
            scale: Init::Ones,
        },
    }
}

/// The pooling head: one learned query that looks at all tokens, and an MLP.
fn head(h: i64, m: i64) -> Vec<Parameter> {
    let parameter = |name: &str, shape: &[i64], init| Parameter {
        name: format!("head.{name}"),
        shape: shape.to_vec(),
        init,
    };
    let tiny = Init::Normal(1e-6);
    vec![
        parameter("probe", &[1, 1, h], Init::xavier(h, h)),
        parameter(
            "attention.in_proj_weight",
            &[3 * h, h],
            Init::xavier(h, 3 * h),
        ),
        parameter("attention.in_proj_bias", &[3 * h], Init::Zeros),
        parameter("attention.out_proj.weight", &[h, h], Init::lecun(h)),
        parameter("attention.out_proj.bias", &[h], Init::Zeros),
        parameter("layernorm.weight", &[h], Init::Ones),
        parameter("layernorm.bias", &[h], Init::Zeros),
        parameter("mlp.fc1.weight", &[m, h], Init::xavier(h, m)),
        parameter("mlp.fc1.bias", &[m], tiny),
        parameter("mlp.fc2.weight", &[h, m], Init::xavier(m, h)),
        parameter("mlp.fc2.bias", &[h], tiny),
    ]
}
