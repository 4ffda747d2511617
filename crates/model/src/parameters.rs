//! The one set of tensor names, with shapes and initial values, in a fixed order.
//!
//! **Invariant:** everything that walks over the weights (initialisation, loading, saving, the
//! optimiser) walks over this list, so that no two of them can disagree. The names are those of
//! the published `llava-hf` folders; other namings are mapped to these at loading.

use rand::RngCore;
use rayon::prelude::*;
use tch::{Device, Tensor};

use crate::{Error, LlavaConfig, VisionConfig};

/// One tensor of the model.
pub(crate) struct Parameter {
    pub name: String,
    pub shape: Vec<i64>,
    pub init: Init,
}

/// Initial values.
#[derive(Clone, Copy)]
pub(crate) enum Init {
    Normal(f64),
    Zeros,
    Ones,
}

/// All tensors of the model. Initial values are those of transformers' `_init_weights` for
/// CLIP (`initializer_factor` 1), LLaVA's projector and LLaMA.
pub(crate) fn specification(config: &LlavaConfig) -> Vec<Parameter> {
    let mut list = Vec::new();
    let mut add = |name: String, shape: &[i64], init| {
        list.push(Parameter {
            name,
            shape: shape.to_vec(),
            init,
        });
    };
    if let Some(vision) = &config.vision_config {
        tower(vision, &mut add);
        projector(config, vision, &mut add);
    }
    decoder(config, &mut add);
    list
}

fn tower(v: &VisionConfig, add: &mut impl FnMut(String, &[i64], Init)) {
    let (h, m, p) = (v.hidden_size, v.intermediate_size, v.patch_size);
    let root = "vision_tower.vision_model";
    let positions = v.grid() * v.grid() + 1;
    let (h_f, layers_f) = (h as f64, v.num_hidden_layers as f64);
    let embedding = Init::Normal(v.initializer_range);
    add(
        format!("{root}.embeddings.class_embedding"),
        &[h],
        Init::Normal(h_f.powf(-0.5)),
    );
    add(
        format!("{root}.embeddings.patch_embedding.weight"),
        &[h, 3, p, p],
        embedding,
    );
    add(
        format!("{root}.embeddings.position_embedding.weight"),
        &[positions, h],
        embedding,
    );
    // The misspelling is CLIP's.
    norm(&format!("{root}.pre_layrnorm"), h, add);
    let into = Init::Normal(h_f.powf(-0.5) * (2.0 * layers_f).powf(-0.5));
    let out = Init::Normal(h_f.powf(-0.5));
    let first = Init::Normal((2.0 * h_f).powf(-0.5));
    for layer in 0..v.num_hidden_layers {
        let root = format!("{root}.encoder.layers.{layer}");
        for (name, init) in [
            ("q_proj", into),
            ("k_proj", into),
            ("v_proj", into),
            ("out_proj", out),
        ] {
            add(format!("{root}.self_attn.{name}.weight"), &[h, h], init);
            add(format!("{root}.self_attn.{name}.bias"), &[h], Init::Zeros);
        }
        norm(&format!("{root}.layer_norm1"), h, add);
        add(format!("{root}.mlp.fc1.weight"), &[m, h], first);
        add(format!("{root}.mlp.fc1.bias"), &[m], Init::Zeros);
        add(format!("{root}.mlp.fc2.weight"), &[h, m], into);
        add(format!("{root}.mlp.fc2.bias"), &[h], Init::Zeros);
        norm(&format!("{root}.layer_norm2"), h, add);
    }
    norm(&format!("{root}.post_layernorm"), h, add);
}

fn norm(root: &str, width: i64, add: &mut impl FnMut(String, &[i64], Init)) {
    add(format!("{root}.weight"), &[width], Init::Ones);
    add(format!("{root}.bias"), &[width], Init::Zeros);
}

fn projector(
    config: &LlavaConfig,
    vision: &VisionConfig,
    add: &mut impl FnMut(String, &[i64], Init),
) {
    let h = config.text_config.hidden_size;
    let init = Init::Normal(config.text_config.initializer_range);
    for (name, from) in [("linear_1", vision.hidden_size), ("linear_2", h)] {
        add(
            format!("multi_modal_projector.{name}.weight"),
            &[h, from],
            init,
        );
        if config.multimodal_projector_bias {
            add(
                format!("multi_modal_projector.{name}.bias"),
                &[h],
                Init::Zeros,
            );
        }
    }
}

fn decoder(config: &LlavaConfig, add: &mut impl FnMut(String, &[i64], Init)) {
    let t = &config.text_config;
    let (h, m) = (t.hidden_size, t.intermediate_size);
    let (heads, kv) = (
        t.num_attention_heads * t.head_dim(),
        t.kv_heads() * t.head_dim(),
    );
    let init = Init::Normal(t.initializer_range);
    let root = "language_model.model";
    add(
        format!("{root}.embed_tokens.weight"),
        &[t.vocab_size, h],
        init,
    );
    for layer in 0..t.num_hidden_layers {
        let root = format!("{root}.layers.{layer}");
        for (name, shape) in [
            ("self_attn.q_proj", [heads, h]),
            ("self_attn.k_proj", [kv, h]),
            ("self_attn.v_proj", [kv, h]),
            ("self_attn.o_proj", [h, heads]),
            ("mlp.gate_proj", [m, h]),
            ("mlp.up_proj", [m, h]),
            ("mlp.down_proj", [h, m]),
        ] {
            add(format!("{root}.{name}.weight"), &shape, init);
        }
        add(format!("{root}.input_layernorm.weight"), &[h], Init::Ones);
        add(
            format!("{root}.post_attention_layernorm.weight"),
            &[h],
            Init::Ones,
        );
    }
    add(format!("{root}.norm.weight"), &[h], Init::Ones);
    if !t.tie_word_embeddings {
        add(
            "language_model.lm_head.weight".to_owned(),
            &[t.vocab_size, h],
            init,
        );
    }
}

/// Random f32 values for each parameter: a function of the seed and the tensor's name alone.
pub(crate) fn initialise(
    specification: &[Parameter],
    seed: u64,
    device: Device,
) -> Result<Vec<(String, Tensor)>, Error> {
    let values: Vec<Vec<f32>> = specification
        .par_iter()
        .map(|parameter| {
            let count = parameter.shape.iter().product::<i64>() as usize;
            match parameter.init {
                Init::Zeros => vec![0.0; count],
                Init::Ones => vec![1.0; count],
                Init::Normal(std) => normal(seed, &parameter.name, count, std),
            }
        })
        .collect();
    specification
        .iter()
        .zip(values)
        .map(|(parameter, values)| {
            let tensor = Tensor::f_from_slice(&values)?
                .f_reshape(parameter.shape.as_slice())?
                .f_to_device(device)?;
            Ok((parameter.name.clone(), tensor))
        })
        .collect()
}

/// Normal values by the Box-Muller transform.
fn normal(seed: u64, name: &str, count: usize, std: f64) -> Vec<f32> {
    let mut rng = sample::seed::rng(seed, &["weights", name]);
    // 53 random bits, in (0, 1].
    let mut uniform = || ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = std * (-2.0 * uniform().ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * uniform()).sin_cos();
        values.push((radius * cos) as f32);
        values.push((radius * sin) as f32);
    }
    values.truncate(count);
    values
}
