//! What a training run is told: the model's shape and the recipe.
//!
//! The recipe's defaults are the paper's where it has a value (LLaVA-1.5's second stage). The
//! model's defaults are the small LLaVA that a CPU trains from scratch within minutes; from scratch
//! the learning rate must be about fifty times the paper's, which tunes a trained model, so a
//! configuration for that sets its own.

use model::{LlavaConfig, Precision, Template, Tokenizer};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::tree::Weighting;

/// The shape of a LLaVA that is trained from scratch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// The vision tower.
    pub vision: VisionConfig,
    /// The decoder and its vocabulary.
    pub text: TextConfig,
    /// The conversation template.
    pub template: Template,
}

/// A ViT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VisionConfig {
    /// Side of the square input, pixels; images are padded to a square and resized to it.
    pub image_size: usize,
    /// Side of a patch, pixels; must divide `image_size`.
    pub patch_size: usize,
    /// Width.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads; must divide `hidden`.
    pub heads: usize,
    /// Width of the MLP.
    pub mlp: usize,
    /// The colour that the tower sees as zero, per channel from 0 to 1: CLIP's mean by default. White
    /// suits drawn figures, which are mostly paper.
    pub image_mean: [f64; 3],
    /// What pixel values are divided by.
    pub image_std: [f64; 3],
    /// Amplitude of the sine and cosine values that the position embedding begins with; 0 begins
    /// with CLIP's small random values, from which a short run does not learn where things are.
    pub position_amplitude: f64,
}

/// A LLaMA decoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextConfig {
    /// Width.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Query heads; must divide `hidden`.
    pub heads: usize,
    /// Key and value heads; must divide `heads`.
    pub kv_heads: usize,
    /// Width of the gated MLP.
    pub mlp: usize,
    /// Largest vocabulary that the tokeniser may learn, special tokens included.
    pub vocab_size: usize,
    /// Longest conversation in tokens, image included; what is beyond is cut off.
    pub max_length: usize,
    /// Standard deviation of the weights at the start.
    pub initializer_range: f64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        ModelConfig {
            vision: VisionConfig::default(),
            text: TextConfig::default(),
            template: Template::V1,
        }
    }
}

impl Default for VisionConfig {
    fn default() -> Self {
        VisionConfig {
            image_size: 128,
            patch_size: 16,
            hidden: 256,
            layers: 4,
            heads: 4,
            mlp: 1024,
            image_mean: model::CLIP_MEAN,
            image_std: model::CLIP_STD,
            position_amplitude: 0.0,
        }
    }
}

impl Default for TextConfig {
    fn default() -> Self {
        TextConfig {
            hidden: 256,
            layers: 4,
            heads: 4,
            kv_heads: 4,
            mlp: 768,
            vocab_size: 1024,
            max_length: 512,
            initializer_range: 0.02,
        }
    }
}

impl ModelConfig {
    /// The model's configuration as it is saved, for the vocabulary that `tokenizer` learned.
    pub fn llava(&self, tokenizer: &Tokenizer) -> LlavaConfig {
        let size = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        LlavaConfig {
            text_config: model::TextConfig {
                hidden_size: size(self.text.hidden),
                intermediate_size: size(self.text.mlp),
                num_hidden_layers: size(self.text.layers),
                num_attention_heads: size(self.text.heads),
                num_key_value_heads: Some(size(self.text.kv_heads)),
                // Whole tiles for the bf16 kernels.
                vocab_size: (tokenizer.vocab_size() + 31) / 32 * 32,
                max_position_embeddings: size(self.text.max_length),
                bos_token_id: tokenizer.bos.map(model::TokenIds::One),
                eos_token_id: Some(model::TokenIds::One(tokenizer.eos)),
                pad_token_id: Some(tokenizer.pad),
                initializer_range: self.text.initializer_range,
                ..Default::default()
            },
            vision_config: Some(model::VisionConfig {
                hidden_size: size(self.vision.hidden),
                intermediate_size: size(self.vision.mlp),
                num_hidden_layers: size(self.vision.layers),
                num_attention_heads: size(self.vision.heads),
                image_size: size(self.vision.image_size),
                patch_size: size(self.vision.patch_size),
                hidden_act: "gelu".to_owned(),
                ..Default::default()
            }),
            image_token_index: tokenizer.image.unwrap_or(model::IMAGE_PLACEHOLDER),
            // All of a tower that is trained with the rest; -2, which LLaVA takes of CLIP, would
            // leave its last layer unused.
            vision_feature_layer: -1,
            pad_token_id: Some(tokenizer.pad),
            conversation_template: self.template,
            image_mean: self.vision.image_mean,
            image_std: self.vision.image_std,
            ..Default::default()
        }
    }
}

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
    /// The model's shape.
    pub model: ModelConfig,
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
    /// Images per step, each with all its pairs. (The paper's 16 pairs a device are about two.)
    pub batch_images: usize,
    /// Passes over the data; the paper's are 2. May be a fraction.
    pub epochs: f64,
    /// Ends after so many steps where that is less than `epochs` come to; the learning rate is
    /// scheduled over the steps that are made. 0 sets no such end.
    pub max_steps: u64,
    /// How the labels of a batch are weighed.
    pub weighting: Weighting,
    /// Keeps the vision tower as it is. The paper freezes CLIP; a tower from scratch has to learn.
    pub freeze_tower: bool,
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
            model: ModelConfig::default(),
            lr: 2e-5,
            tower_lr_scale: 1.0,
            projector_lr_scale: 1.0,
            centre_features: false,
            tower: TowerConfig::default(),
            warmup_ratio: 0.03,
            weight_decay: 0.0,
            betas: [0.9, 0.999],
            eps: 1e-8,
            clip: 1.0,
            batch_images: 8,
            epochs: 2.0,
            max_steps: 0,
            weighting: Weighting::PerToken,
            freeze_tower: false,
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
            ("batch_images", self.batch_images),
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
        let broken: [(Change, &str); 6] = [
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
