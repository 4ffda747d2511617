//! How much memory a run takes, by part, before anything is loaded.
//!
//! Weights, states and gradients are counted exactly. Activations are counted from what a layer's
//! graph keeps per token; they were held against measured peaks (bench/runs), and are meant to be
//! a little too large rather than too small.

use fit::optim::{AdamW, States};
use model::LlavaConfig;
use serde::Serialize;
use tch::Kind;

use crate::config::{Update, Weights};
use crate::{Error, LoraConfig, TrainConfig};

/// Labelled positions whose logits are held at once; see `engine::head`.
const LOGITS: f64 = 1024.0;
/// What the program itself takes: libtorch's libraries, the tokenizer, threads.
const PROGRAM: f64 = 0.35e9;

/// Bytes, by what they hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Memory {
    /// The whole model's weights.
    pub weights: f64,
    /// The optimiser's moments.
    pub states: f64,
    /// Gradients alive at once.
    pub gradients: f64,
    /// Inputs of layers, one layer's intermediate values (all layers' without checkpointing), logits.
    pub activations: f64,
    /// Features of a step's images, pixels and features kept in memory, the program itself.
    pub other: f64,
}

impl Memory {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.weights + self.states + self.gradients + self.activations + self.other
    }

    /// `weights 1.2, states 2.4, ...: 5.6 GB`.
    pub fn describe(&self) -> String {
        let gb = |bytes: f64| format!("{:.1}", bytes / 1e9);
        format!(
            "{} GB: weights {}, optimiser states {}, gradients {}, activations {}, other {}",
            gb(self.total()),
            gb(self.weights),
            gb(self.states),
            gb(self.gradients),
            gb(self.activations),
            gb(self.other),
        )
    }
}

/// What passes through the model in a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Tokens of all rows, padding included.
    pub tokens: f64,
    /// Tokens of the rows that go through at once.
    pub micro_tokens: f64,
    /// Images.
    pub images: f64,
    /// Ranks that share the step; the other numbers are one rank's.
    pub ranks: usize,
}

/// How many parameters are where.
struct Counts {
    tower: f64,
    projector: f64,
    embedding: f64,
    layer: f64,
    layers: f64,
    head: f64,
    /// Of adapters, per layer.
    adapter: f64,
}

impl Counts {
    fn new(config: &LlavaConfig, lora: Option<&LoraConfig>) -> Counts {
        let t = &config.text_config;
        let (h, m) = (t.hidden_size as f64, t.intermediate_size as f64);
        let heads = (t.num_attention_heads * t.head_dim()) as f64;
        let kv = (t.kv_heads() * t.head_dim()) as f64;
        let embedding = t.vocab_size as f64 * h;
        let head = if t.tie_word_embeddings {
            0.0
        } else {
            embedding
        };
        let layer = 2.0 * h * heads + 2.0 * h * kv + 3.0 * h * m + 2.0 * h;
        let layers = t.num_hidden_layers as f64;
        let decoder = embedding + head + layers * layer;
        let (mut tower, mut projector) = (0.0, 0.0);
        if let Some(v) = &config.vision_config {
            projector = v.hidden_size as f64 * h + h * h;
            tower = (config.parameter_count() as f64 - decoder - projector).max(0.0);
        }
        let adapter = lora.map_or(0.0, |lora| {
            let target = |name: &String| match name.as_str() {
                "q_proj" | "o_proj" => h + heads,
                "k_proj" | "v_proj" => h + kv,
                _ => h + m,
            };
            lora.rank as f64 * lora.target_modules.iter().map(target).sum::<f64>()
        });
        Counts {
            tower,
            projector,
            embedding,
            layer,
            layers,
            head,
            adapter,
        }
    }
}

/// What training `model` as `config` says will take. `compute` is the size of a number in the
/// products' type, `frozen` that in the type in which weights are held.
pub fn estimate(config: &TrainConfig, model: &LlavaConfig, load: Load, compute: f64) -> Memory {
    let counts = Counts::new(model, config.lora.as_ref());
    let held = match config.optimiser.weights {
        Weights::Float32 => 4.0,
        Weights::Bfloat16 => 2.0,
    };
    let all_layers = counts.layers * counts.layer;
    let quantised = config.lora.as_ref().is_some_and(|lora| lora.quantise_base);
    let decoder_held = if quantised { 0.625 } else { held };
    let adapters = counts.adapter * counts.layers;
    // A frozen tower is packed beside its plain weights; see `session`.
    let packed = match config.freeze_tower && config.update == Update::Accumulate {
        true => compute * counts.tower,
        false => 0.0,
    };
    let weights = held * (counts.tower + counts.projector + counts.embedding + counts.head)
        + decoder_held * all_layers
        + 4.0 * adapters;
    // Trained parameters by part, of which one is alive at a time where updates go by layers.
    let mut parts = Vec::new();
    if !config.freeze_tower {
        parts.push(counts.tower);
    }
    if !config.freeze_projector {
        parts.push(counts.projector);
    }
    if config.lora.is_some() {
        parts.extend(std::iter::repeat_n(counts.adapter, counts.layers as usize));
    } else if !config.freeze_decoder {
        parts.extend([counts.embedding, counts.head]);
        parts.extend(std::iter::repeat_n(counts.layer, counts.layers as usize));
    }
    let trained: f64 = parts.iter().sum();
    // Sums over micro-batches are in f32.
    let several = load.tokens > load.micro_tokens;
    let grad = if several { 4.0 } else { held };
    let largest = parts.iter().copied().fold(0.0, f64::max);
    let ranks = load.ranks.max(1) as f64;
    let gradients = match (config.update, load.ranks) {
        (Update::Accumulate, 0 | 1) => grad * trained,
        (Update::Layerwise, 0 | 1) => grad * largest,
        // A part's own, and two on their way there and back in f32; sums are kept in parts.
        (update, _) => {
            let sums = match update {
                Update::Accumulate => 4.0 / ranks * trained,
                Update::Layerwise => 8.0 / ranks * largest,
            };
            sums + (grad + 2.0 * 4.0 + 2.0 * held) * largest
        }
    };
    let t = &model.text_config;
    let (h, m) = (t.hidden_size as f64, t.intermediate_size as f64);
    let kv = (t.kv_heads() * t.head_dim()) as f64;
    let graph = load.micro_tokens * compute * (10.0 * h + 6.0 * kv + 6.0 * m)
        // Weights that are cast for their products.
        + if held > compute || quantised { counts.layer * compute } else { 0.0 };
    let inputs = counts.layers * load.tokens * h * compute;
    let graphs = match config.gradient_checkpointing {
        true => graph,
        false => graph * counts.layers * (load.tokens / load.micro_tokens.max(1.0)),
    };
    let logits = LOGITS.min(load.micro_tokens) * t.vocab_size as f64 * (3.0 * 4.0 + 2.0 * compute);
    let features = load.images * model.image_tokens() as f64 * h * compute * 3.0;
    Memory {
        weights,
        states: trained / ranks
            * (AdamW::bytes_per_parameter(Kind::Float, config.optimiser.states) - 4.0),
        gradients,
        activations: inputs + graphs + logits,
        other: features + packed + PROGRAM,
    }
}

/// Refuses a run that will not fit into `available` bytes, and says what would.
///
/// # Errors
/// [`Error::Config`] with the memory by part, and settings that would fit.
pub fn fits(
    config: &TrainConfig,
    model: &LlavaConfig,
    load: Load,
    compute: f64,
    available: f64,
) -> Result<Memory, Error> {
    let needed = estimate(config, model, load, compute);
    if needed.total() <= available {
        return Ok(needed);
    }
    let mut lines = Vec::new();
    for (settings, change) in CHEAPER {
        let mut other = config.clone();
        change(&mut other);
        let one = Load {
            micro_tokens: if other.micro_rows == 1 {
                load.micro_tokens.min(other.row_tokens.max(2048) as f64)
            } else {
                load.micro_tokens
            },
            ..load
        };
        let would = estimate(&other, model, one, compute);
        if would.total() <= available {
            lines.push(format!("\n  {:.1} GB: {settings}", would.total() / 1e9));
        }
    }
    if lines.is_empty() {
        lines.push(
            "\n  nothing this program offers: take a smaller base, or a larger machine".into(),
        );
    }
    Err(Error::Config(format!(
        "this run needs {}, and there are {:.1} GB. What would fit:{}",
        needed.describe(),
        available / 1e9,
        lines.concat()
    )))
}

type Change = fn(&mut TrainConfig);

/// Ways to need less, the mildest first.
const CHEAPER: [(&str, Change); 5] = [
    ("gradient_checkpointing = true, micro_rows = 1", |c| {
        c.gradient_checkpointing = true;
        c.micro_rows = 1;
    }),
    (
        "the same with optimiser = { weights = \"bfloat16\", states = \"int8\" }",
        eight_bit,
    ),
    (
        "the same with update = \"layerwise\", clip_by = \"previous\"",
        |c| {
            eight_bit(c);
            c.update = Update::Layerwise;
            c.clip_by = crate::ClipBy::Previous;
        },
    ),
    (
        "[train.lora] with gradient_checkpointing = true, micro_rows = 1, optimiser = { weights = \
         \"bfloat16\" }",
        |c| {
            eight_bit(c);
            c.lora.get_or_insert_default();
        },
    ),
    ("the same with quantise_base = true", |c| {
        eight_bit(c);
        c.lora.get_or_insert_default().quantise_base = true;
    }),
];

fn eight_bit(config: &mut TrainConfig) {
    config.gradient_checkpointing = true;
    config.micro_rows = 1;
    config.optimiser.weights = Weights::Bfloat16;
    config.optimiser.states = States::Int8;
}

/// Bytes of memory that this machine still has for a process on its CPU, where that is known: what is
/// free, or the limit that a container sets.
pub fn available() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let free = kib * 1024.0;
    let read =
        |path: &str| -> Option<f64> { std::fs::read_to_string(path).ok()?.trim().parse().ok() };
    let limit = read("/sys/fs/cgroup/memory.max");
    let used = read("/sys/fs/cgroup/memory.current");
    Some(match (limit, used) {
        (Some(limit), Some(used)) => free.min((limit - used).max(0.0)),
        _ => free,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{TextConfig, VisionConfig};

    fn llava(h: i64, m: i64, layers: i64, heads: i64) -> LlavaConfig {
        LlavaConfig {
            text_config: TextConfig {
                hidden_size: h,
                intermediate_size: m,
                num_hidden_layers: layers,
                num_attention_heads: heads,
                vocab_size: 32_064,
                ..Default::default()
            },
            vision_config: Some(VisionConfig {
                hidden_size: 1024,
                intermediate_size: 4096,
                num_hidden_layers: 24,
                num_attention_heads: 16,
                image_size: 336,
                patch_size: 14,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn recipe() -> TrainConfig {
        let mut config = TrainConfig {
            freeze_tower: true,
            update: Update::Layerwise,
            clip_by: crate::ClipBy::Previous,
            row_tokens: 4096,
            ..Default::default()
        };
        eight_bit(&mut config);
        config
    }

    const LOAD: Load = Load {
        tokens: 20_000.0,
        micro_tokens: 4096.0,
        images: 14.0,
        ranks: 1,
    };

    #[test]
    fn thirteen_billion_parameters_train_whole_on_eighty_gigabytes_and_not_as_published() {
        let model = llava(5120, 13_824, 40, 40);
        let memory = fits(&recipe(), &model, LOAD, 2.0, 80e9).unwrap();
        assert!((26e9..28e9).contains(&memory.weights), "{memory:?}");
        assert!((26e9..28e9).contains(&memory.states), "{memory:?}");
        let published = TrainConfig {
            freeze_tower: true,
            gradient_checkpointing: true,
            ..Default::default()
        };
        let error = fits(&published, &model, LOAD, 2.0, 80e9)
            .unwrap_err()
            .to_string();
        // f32 weights, moments and gradients: 16 bytes a parameter.
        assert!(error.contains("needs 2"), "{error}");
        assert!(error.contains("update = \"layerwise\""), "{error}");
        assert!(error.contains("quantise_base = true"), "{error}");
    }

    #[test]
    fn what_no_setting_can_fit_is_said() {
        let model = llava(5120, 13_824, 40, 40);
        let error = fits(&recipe(), &model, LOAD, 2.0, 2e9)
            .unwrap_err()
            .to_string();
        assert!(error.contains("take a smaller base"), "{error}");
    }

    #[test]
    fn checkpointing_and_layerwise_updates_take_less() {
        let model = llava(1024, 2816, 12, 16);
        let total = |change: fn(&mut TrainConfig)| {
            let mut config = recipe();
            change(&mut config);
            estimate(&config, &model, LOAD, 2.0)
        };
        let base = total(|_| ());
        assert!(total(|c| c.gradient_checkpointing = false).activations > 5.0 * base.activations);
        assert!(total(|c| c.update = Update::Accumulate).gradients > 4.0 * base.gradients);
        assert!(total(|c| c.freeze_decoder = true).states < 0.1 * base.states);
    }
}
