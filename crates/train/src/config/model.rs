//! The shape of a LLaVA that is trained from scratch: the small one that a CPU trains within minutes.

use model::{LlavaConfig, Template, Tokenizer};
use serde::{Deserialize, Serialize};

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
