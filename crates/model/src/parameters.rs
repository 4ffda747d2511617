//! The one set of tensor names, with shapes and initial values, in a fixed order.
//!
//! **Invariant:** everything that walks over the weights (initialisation, loading, saving, the
//! optimiser) walks over this list, so that no two of them can disagree. The names are those of
//! the published `llava-hf` folders; other namings are mapped to these at loading.

use rand::RngCore;
use rayon::prelude::*;
use tch::{Device, Tensor};

use crate::vision::{projector_parameters, tower_parameters};
use crate::{Error, LlavaConfig};

/// One tensor of the model.
pub(crate) struct Parameter {
    pub name: String,
    pub shape: Vec<i64>,
    pub init: Init,
}

/// Initial values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Init {
    /// Normal, of this deviation.
    Normal(f64),
    /// Normal, without what lies beyond two deviations of this size.
    Truncated(f64),
    /// Uniform, from minus to plus this.
    Uniform(f64),
    /// All the same.
    Constant(f64),
    Zeros,
    Ones,
}

impl Init {
    /// Glorot's uniform values for a product from `inputs` to `outputs`.
    pub fn xavier(inputs: i64, outputs: i64) -> Init {
        Init::Uniform((6.0 / (inputs as f64 + outputs as f64)).sqrt())
    }

    /// LeCun's normal values, truncated, of deviation `inputs` to the power -1/2 after that.
    pub fn lecun(inputs: i64) -> Init {
        // Truncation at two deviations leaves 0.8796 of the deviation.
        Init::Truncated((inputs as f64).powf(-0.5) / 0.879_625_661_034_239_8)
    }
}

/// All tensors of the model. Initial values are those of transformers' `_init_weights` for the
/// tower, LLaVA's projector and the decoder.
pub(crate) fn specification(config: &LlavaConfig) -> Vec<Parameter> {
    let mut list = Vec::new();
    if let Some(vision) = &config.vision_config {
        list.extend(tower_parameters(vision));
        list.extend(projector_parameters(config, vision));
    }
    decoder(config, &mut |name, shape, init| {
        list.push(Parameter {
            name,
            shape: shape.to_vec(),
            init,
        });
    });
    list
}

fn decoder(config: &LlavaConfig, add: &mut impl FnMut(String, &[i64], Init)) {
    let t = &config.text_config;
    let (h, m) = (t.hidden_size, t.intermediate_size);
    let (heads, kv) = (
        t.num_attention_heads * t.head_dim(),
        t.kv_heads() * t.head_dim(),
    );
    let init = Init::Normal(t.initializer_range);
    let bias = t.biases();
    let root = "language_model.model";
    add(
        format!("{root}.embed_tokens.weight"),
        &[t.vocab_size, h],
        init,
    );
    for layer in 0..t.num_hidden_layers {
        let root = format!("{root}.layers.{layer}");
        for (name, shape, bias) in [
            ("self_attn.q_proj", [heads, h], bias.qkv),
            ("self_attn.k_proj", [kv, h], bias.qkv),
            ("self_attn.v_proj", [kv, h], bias.qkv),
            ("self_attn.o_proj", [h, heads], bias.out),
            ("mlp.gate_proj", [m, h], bias.mlp),
            ("mlp.up_proj", [m, h], bias.mlp),
            ("mlp.down_proj", [h, m], bias.mlp),
        ] {
            add(format!("{root}.{name}.weight"), &shape, init);
            if bias {
                add(format!("{root}.{name}.bias"), &shape[..1], Init::Zeros);
            }
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
                Init::Constant(value) => vec![value as f32; count],
                Init::Normal(std) => normal(seed, &parameter.name, count, std, f64::INFINITY),
                Init::Truncated(std) => normal(seed, &parameter.name, count, std, 2.0 * std),
                Init::Uniform(most) => uniform(seed, &parameter.name, count, most),
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

/// Normal values by the Box-Muller transform, none beyond `most`.
fn normal(seed: u64, name: &str, count: usize, std: f64, most: f64) -> Vec<f32> {
    let mut rng = sample::seed::rng(seed, &["weights", name]);
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = std * (-2.0 * unit(&mut rng).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * unit(&mut rng)).sin_cos();
        let pair = [radius * cos, radius * sin];
        values.extend(pair.iter().filter(|v| v.abs() <= most).map(|&v| v as f32));
    }
    values.truncate(count);
    values
}

fn uniform(seed: u64, name: &str, count: usize, most: f64) -> Vec<f32> {
    let mut rng = sample::seed::rng(seed, &["weights", name]);
    (0..count)
        .map(|_| (most * (2.0 * unit(&mut rng) - 1.0)) as f32)
        .collect()
}

/// 53 random bits, in (0, 1].
fn unit(rng: &mut impl RngCore) -> f64 {
    ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
}
