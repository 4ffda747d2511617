//! The shape of the small LLaVA that tests of packing and of the engine train.

use model::{LlavaConfig, TextConfig, VisionConfig};

/// Stands for a patch.
pub const IMAGE: i64 = 4;
/// Patches of an image.
pub const PATCHES: usize = 4;
/// Tokens in all.
const VOCABULARY: i64 = 40;
/// Layers of the decoder.
pub const LAYERS: usize = 3;

/// Three layers with grouped queries behind a tower of two; images of 16 pixels have four patches.
pub fn config() -> LlavaConfig {
    LlavaConfig {
        text_config: TextConfig {
            hidden_size: 32,
            intermediate_size: 48,
            num_hidden_layers: LAYERS as i64,
            num_attention_heads: 4,
            num_key_value_heads: Some(2),
            vocab_size: VOCABULARY,
            // Large weights, so that attention is far from uniform and a wrong mask shows.
            initializer_range: 0.3,
            ..Default::default()
        },
        vision_config: Some(VisionConfig {
            hidden_size: 32,
            intermediate_size: 64,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            image_size: 16,
            patch_size: 8,
            ..Default::default()
        }),
        image_token_index: IMAGE,
        vision_feature_layer: -1,
        ..Default::default()
    }
}
