//! What a training run is told: the model's shape and the recipe.
//!
//! The recipe's defaults are the paper's where it has a value (LLaVA-1.5's second stage). The
//! model's defaults are the small LLaVA that a CPU trains from scratch within minutes; from scratch
//! the learning rate must be about fifty times the paper's, which tunes a trained model, so a
//! configuration for that sets its own.

mod base;
mod model;
mod parts;

use ::fit::schedule::Schedule;
use ::model::Precision;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::tree::Weighting;

pub use base::{BaseConfig, DataConfig, LoraConfig};
pub use model::{ModelConfig, TextConfig, VisionConfig};
pub use parts::{ClipBy, OnMissingImage, OptimiserConfig, Packing, Update, Weights};

/// The tower's own training, in place of CLIP's; see `tower`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TowerConfig {
    /// Steps; 0 leaves it out.
    pub steps: u64,
    /// Images per step.
    pub batch_images: usize,
    /// Peak learning rate.
    pub lr: f64,
    /// Factor on `lr` for the heads, which are thrown away afterwards.
    pub head_lr_scale: f64,
    /// A kind of fact is learned where at least so many images have one.
    pub min_images: usize,
}

impl Default for TowerConfig {
    fn default() -> Self {
        TowerConfig {
            steps: 0,
            batch_images: 32,
            lr: 4e-4,
            head_lr_scale: 3.0,
            min_images: 30,
        }
    }
}

/// The recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// A trained model to begin with, or its parts; without it a model of the shape `model` is
    /// trained from scratch.
    pub base: Option<BaseConfig>,
    /// What to train on, where it is not the pairs that `synth` made.
    pub data: Option<DataConfig>,
    /// The shape of a model that is trained from scratch.
    pub model: ModelConfig,
    /// Low-rank adapters in place of the decoder's own weights.
    pub lora: Option<LoraConfig>,
    /// Peak learning rate; the paper's is 2e-5.
    pub lr: f64,
    /// Factor on `lr` for the vision tower.
    pub tower_lr_scale: f64,
    /// Factor on `lr` for the projector.
    pub projector_lr_scale: f64,
    /// Takes what is common to all patches of a batch off the gradient of the image features, so that
    /// the tower is asked for differences only. For training from scratch; see `step`.
    pub centre_features: bool,
    /// What the tower learns alone before the decoder joins in.
    pub tower: TowerConfig,
    /// How the learning rate falls after it has risen.
    pub schedule: Schedule,
    /// Share of the steps over which the learning rate rises; the paper's is 0.03.
    pub warmup_ratio: f64,
    /// Decoupled weight decay, on matrices only; the paper's is 0.
    pub weight_decay: f64,
    /// Decay of Adam's moments; the paper's are 0.9 and 0.999.
    pub betas: [f64; 2],
    /// Adam's epsilon; the paper's is 1e-8.
    pub eps: f64,
    /// Largest norm of all gradients together; 1 in the trainer the paper uses. 0 turns clipping off.
    pub clip: f64,
    /// Images per step, each with all its pairs; 0 where `batch_pairs` is given. (The paper's 16 pairs
    /// a device are about two.)
    pub batch_images: usize,
    /// Pairs per step: whole images are taken until there are so many. 0 where `batch_images` is given.
    pub batch_pairs: usize,
    /// How pairs become rows of tokens.
    pub packing: Packing,
    /// With packing `none`: batches of like length, with and without images apart, as LLaVA's
    /// `--group_by_modality_length`.
    pub group_by_modality_length: bool,
    /// Rows that go through the model at once; the rest of a step's rows follow, and their gradients
    /// are summed. 0 for all of them.
    pub micro_rows: usize,
    /// When weights are updated.
    pub update: Update,
    /// What `clip` is held against.
    pub clip_by: ClipBy,
    /// Keeps each layer's input only, and runs the layer again for its gradients: less memory, a third
    /// more products.
    pub gradient_checkpointing: bool,
    /// How weights and moments are held.
    pub optimiser: OptimiserConfig,
    /// Passes over the data; the paper's are 2. May be a fraction.
    pub epochs: f64,
    /// Ends after so many steps where that is less than `epochs` come to; the learning rate is
    /// scheduled over the steps that are made. 0 sets no such end.
    pub max_steps: u64,
    /// How the labels of a batch are weighed.
    pub weighting: Weighting,
    /// Keeps the vision tower as it is. The paper freezes CLIP; a tower from scratch has to learn.
    pub freeze_tower: bool,
    /// Keeps the projector as it is.
    pub freeze_projector: bool,
    /// Keeps the decoder as it is: LLaVA's first stage, which aligns the projector.
    pub freeze_decoder: bool,
    /// Factor on `lr` for the decoder.
    pub decoder_lr_scale: f64,
    /// Longest conversation in tokens, image included, with a `base`; what is beyond is cut off. The
    /// paper's is 2,048.
    pub max_length: usize,
    /// What is done about an image that cannot be read.
    pub on_missing_image: OnMissingImage,
    /// Keeps the frozen tower's features on disk, by the image's digest, and computes each once.
    pub feature_cache: bool,
    /// The largest that the folder of features may grow, GiB.
    pub feature_cache_gib: u64,
    /// Batches prepared ahead of the step that needs them.
    pub prefetch: usize,
    /// Where the model computes: `auto`, `cpu`, `cuda`, `cuda:N`, `mps`.
    pub device: String,
    /// Share of the images that is held out, for evaluation while training; 0 for none.
    pub holdout: f64,
    /// Evaluates on the held-out images every so many steps, by generation; 0 for never.
    pub eval_steps: u64,
    /// Held-out questions asked each time.
    pub eval_questions: usize,
    /// Ends after so many evaluations without a better one; 0 for never.
    pub early_stop: u64,
    /// A loss so many deviations above its running mean is a spike; 0 looks for none.
    pub spike_deviations: f64,
    /// Leaves the update of a spike out.
    pub skip_spikes: bool,
    /// Checkpoints kept, besides the best.
    pub keep_checkpoints: usize,
    /// The number type of forward and backward; weights and optimiser states are f32.
    pub compute: Precision,
    /// Threads of the tensor library. The bytes of a result depend on this number, since sums are
    /// split by it, and therefore not on the number of cores.
    pub threads: usize,
    /// Rows are filled with trees up to this many tokens (or the longest tree's).
    pub row_tokens: usize,
    /// An image's pairs are split over several trees past this many tokens.
    pub tree_tokens: usize,
    /// Saves a checkpoint every so many steps; 0 for never.
    pub checkpoint_steps: u64,
    /// Saves a checkpoint whenever so many seconds have passed since the last; 0 for never.
    pub checkpoint_seconds: u64,
    /// Decoded images are kept in memory up to so many MiB, and decoded again each time past that.
    pub image_cache_mib: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        TrainConfig {
            base: None,
            data: None,
            model: ModelConfig::default(),
            lora: None,
            lr: 2e-5,
            tower_lr_scale: 1.0,
            projector_lr_scale: 1.0,
            centre_features: false,
            tower: TowerConfig::default(),
            schedule: Schedule::Cosine,
            warmup_ratio: 0.03,
            weight_decay: 0.0,
            betas: [0.9, 0.999],
            eps: 1e-8,
            clip: 1.0,
            batch_images: 8,
            batch_pairs: 0,
            packing: Packing::Tree,
            group_by_modality_length: false,
            micro_rows: 0,
            update: Update::Accumulate,
            clip_by: ClipBy::Global,
            gradient_checkpointing: false,
            optimiser: OptimiserConfig::default(),
            epochs: 2.0,
            max_steps: 0,
            weighting: Weighting::PerToken,
            freeze_tower: false,
            freeze_projector: false,
            freeze_decoder: false,
            decoder_lr_scale: 1.0,
            max_length: 2048,
            on_missing_image: OnMissingImage::Skip,
            feature_cache: false,
            feature_cache_gib: 64,
            prefetch: 2,
            device: "cpu".to_owned(),
            holdout: 0.0,
            eval_steps: 0,
            eval_questions: 200,
            early_stop: 0,
            spike_deviations: 0.0,
            skip_spikes: false,
            keep_checkpoints: 1,
            compute: Precision::Auto,
            threads: 2,
            row_tokens: 0,
            tree_tokens: 4096,
            checkpoint_steps: 0,
            checkpoint_seconds: 120,
            image_cache_mib: 2048,
        }
    }
}

impl TrainConfig {
    /// Names the first value that cannot be trained with.
    pub fn check(&self) -> Result<(), Error> {
        let (vision, text) = (&self.model.vision, &self.model.text);
        let positive = [
            ("model.vision.image_size", vision.image_size),
            ("model.vision.patch_size", vision.patch_size),
            ("model.vision.hidden", vision.hidden),
            ("model.vision.layers", vision.layers),
            ("model.vision.heads", vision.heads),
            ("model.vision.mlp", vision.mlp),
            ("model.text.hidden", text.hidden),
            ("model.text.layers", text.layers),
            ("model.text.heads", text.heads),
            ("model.text.kv_heads", text.kv_heads),
            ("model.text.mlp", text.mlp),
            ("model.text.vocab_size", text.vocab_size),
            ("model.text.max_length", text.max_length),
            ("max_length", self.max_length),
            ("threads", self.threads),
            ("tree_tokens", self.tree_tokens),
            ("tower.batch_images", self.tower.batch_images),
        ];
        for (name, value) in positive {
            // Past this no product of sizes below can overflow, and no machine has the memory.
            if value == 0 || value > 1 << 24 {
                return Err(Error::Config(format!(
                    "{name} = {value} must be between 1 and 2^24"
                )));
            }
        }
        if (self.batch_images == 0) == (self.batch_pairs == 0) {
            return Err(Error::Config(format!(
                "batch_images = {} and batch_pairs = {}: give the one you mean, and 0 for the other",
                self.batch_images, self.batch_pairs
            )));
        }
        if self.update == Update::Layerwise && self.clip_by == ClipBy::Global && self.clip > 0.0 {
            return Err(Error::Config(
                "update = \"layerwise\" does not know the norm of all gradients in time: set clip_by \
                 = \"previous\" (the step before's) or \"layer\" (each layer's own), or clip = 0"
                    .into(),
            ));
        }
        if self.lora.is_some() && self.base.is_none() {
            return Err(Error::Config(
                "[train.lora] trains updates of a model that exists: give [train.base]".into(),
            ));
        }
        if self.lora.is_some() && (self.freeze_decoder || !self.freeze_tower) {
            return Err(Error::Config(
                "[train.lora] trains updates of the decoder and, unless freeze_projector is set, the \
                 projector: set freeze_tower = true and freeze_decoder = false"
                    .into(),
            ));
        }
        if self.base.is_some() && self.tower.steps > 0 {
            return Err(Error::Config(
                "[train.tower] is for models from scratch; a base's tower has learned to see"
                    .into(),
            ));
        }
        let divides = [
            (
                "model.vision.patch_size",
                vision.patch_size,
                "image_size",
                vision.image_size,
            ),
            ("model.vision.heads", vision.heads, "hidden", vision.hidden),
            ("model.text.heads", text.heads, "hidden", text.hidden),
            ("model.text.kv_heads", text.kv_heads, "heads", text.heads),
        ];
        for (name, part, of, whole) in divides {
            if !whole.is_multiple_of(part) {
                return Err(Error::Config(format!(
                    "{name} = {part} must divide {of} = {whole}"
                )));
            }
        }
        let patches = (vision.image_size / vision.patch_size).pow(2);
        if patches >= text.max_length {
            return Err(Error::Config(format!(
                "the image alone has {patches} tokens, which leaves no room for text in \
                 model.text.max_length = {}: raise it, or take larger patches",
                text.max_length
            )));
        }
        let ranges = [
            ("lr", self.lr, 0.0, 10.0),
            ("decoder_lr_scale", self.decoder_lr_scale, 0.0, 1e4),
            ("tower_lr_scale", self.tower_lr_scale, 0.0, 1e4),
            ("projector_lr_scale", self.projector_lr_scale, 0.0, 1e4),
            ("tower.lr", self.tower.lr, 0.0, 10.0),
            ("tower.head_lr_scale", self.tower.head_lr_scale, 0.0, 1e4),
            (
                "model.vision.position_amplitude",
                vision.position_amplitude,
                0.0,
                100.0,
            ),
            (
                "model.text.initializer_range",
                text.initializer_range,
                1e-6,
                10.0,
            ),
            ("warmup_ratio", self.warmup_ratio, 0.0, 1.0),
            ("weight_decay", self.weight_decay, 0.0, 10.0),
            ("betas[0]", self.betas[0], 0.0, 1.0 - 1e-9),
            ("betas[1]", self.betas[1], 0.0, 1.0 - 1e-9),
            ("eps", self.eps, 1e-20, 1.0),
            ("clip", self.clip, 0.0, 1e9),
            ("holdout", self.holdout, 0.0, 0.9),
            ("spike_deviations", self.spike_deviations, 0.0, 1e6),
            ("epochs", self.epochs, 1e-6, 1e9),
        ];
        for (name, value, low, high) in ranges {
            if !(low..=high).contains(&value) {
                return Err(Error::Config(format!(
                    "{name} = {value} must be between {low} and {high}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_trained_with() {
        TrainConfig::default().check().unwrap();
    }

    #[test]
    fn values_that_cannot_work_are_named() {
        type Change = fn(&mut TrainConfig);
        let broken: [(Change, &str); 10] = [
            (|c| c.update = Update::Layerwise, "clip_by"),
            (|c| c.lora = Some(LoraConfig::default()), "[train.base]"),
            (
                |c| {
                    c.base = Some(BaseConfig::default());
                    c.lora = Some(LoraConfig::default());
                },
                "freeze_tower",
            ),
            (
                |c| {
                    c.base = Some(BaseConfig::default());
                    c.tower.steps = 5;
                },
                "[train.tower]",
            ),
            (|c| c.lr = f64::NAN, "lr"),
            (|c| c.betas[1] = 1.0, "betas[1]"),
            (|c| c.batch_images = 0, "batch_images"),
            (|c| c.model.vision.patch_size = 15, "patch_size"),
            (|c| c.model.text.kv_heads = 3, "kv_heads"),
            (|c| c.model.text.max_length = 64, "max_length"),
        ];
        for (change, name) in broken {
            let mut config = TrainConfig::default();
            change(&mut config);
            let message = config.check().unwrap_err().to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}
