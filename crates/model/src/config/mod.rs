//! `config.json` of a LLaVA checkpoint, with Hugging Face's names and defaults.
//!
//! Three kinds are read: `llava-hf` folders, text-only folders of the decoder's families
//! ([`LlavaConfig::parse`] takes both), and the original LLaVA's ([`LlavaConfig::from_original`]).
//! Fields that this model has no use for are ignored, because published files carry many; fields
//! that would change the numbers in a way this model does not compute are refused by their names,
//! as are sizes that no honest checkpoint has, before any memory is asked for.

mod file;
mod limits;
mod original;
mod text;
mod vision;

use serde::{Deserialize, Serialize};

pub(crate) use file::{drop_nulls, input_side, read};
pub(crate) use limits::{check_count, check_rules, check_sizes};
pub use text::{TextConfig, TokenIds};
pub(crate) use vision::Tower;
pub use vision::VisionConfig;

use crate::parameters::specification;
use crate::{Error, Template};

/// Layers of a projector; published ones have up to four.
const MAX_PROJECTOR_LAYERS: i64 = 32;

/// A whole LLaVA model. Defaults are those of `transformers.LlavaConfig` 4.57.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LlavaConfig {
    /// `["LlavaForConditionalGeneration"]`, or the decoder's in a model that reads text only.
    pub architectures: Vec<String>,
    /// `llava`, or the decoder's family in a model that reads text only.
    pub model_type: String,
    /// The decoder.
    pub text_config: TextConfig,
    /// The vision tower; `None` in a model that reads text only.
    pub vision_config: Option<VisionConfig>,
    /// Side of the images that the tower is shown, in pixels, where that is not its `image_size`:
    /// DINOv2 interpolates its positions. In Hugging Face's folders it stands in
    /// `preprocessor_config.json`; transformers keeps this copy unread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_side: Option<i64>,
    /// Id of the `<image>` token, whose embeddings the image features replace; the vocabulary's size
    /// where it has no row of its own.
    pub image_token_index: i64,
    /// Activation between the projector's layers: `gelu` (the exact, erf form).
    pub projector_hidden_act: String,
    /// The projector: `linear`, or `mlpNx_gelu` for N layers with GELUs between them. The original
    /// LLaVA's field; transformers knows the default only.
    #[serde(skip_serializing_if = "is_two_layers")]
    pub mm_projector_type: String,
    /// Whether the projector's layers have biases.
    pub multimodal_projector_bias: bool,
    /// Which of the tower's hidden states feeds the projector: 0 is the embedding output, -1 the
    /// last layer's output, -2 the one before.
    pub vision_feature_layer: i64,
    /// Whether the class token is dropped.
    pub vision_feature_select_strategy: FeatureSelect,
    /// Tokens one image takes; written from the tower's shape, see [`LlavaConfig::image_tokens`].
    pub image_seq_length: i64,
    /// Whether the output layer is the embedding; the decoder's own field decides.
    pub tie_word_embeddings: bool,
    /// Padding token, where there is one.
    pub pad_token_id: Option<i64>,
    /// How images become square: LLaVA-1.5 pads with the mean colour.
    pub image_aspect_ratio: String,
    /// The conversation form this model was trained with. Ours; transformers keeps it unread.
    pub conversation_template: Template,
    /// The colour that the tower sees as zero, per channel from 0 to 1, with which images are also
    /// padded; CLIP's unless a tower was trained with another. Written to
    /// `preprocessor_config.json`; transformers keeps this copy unread.
    pub image_mean: [f64; 3],
    /// What pixel values are divided by after the mean is taken off.
    pub image_std: [f64; 3],
    /// Type of the stored weights.
    pub torch_dtype: String,
}

const TWO_LAYERS: &str = "mlp2x_gelu";

fn is_two_layers(projector: &String) -> bool {
    projector == TWO_LAYERS
}

impl Default for LlavaConfig {
    fn default() -> Self {
        LlavaConfig {
            architectures: vec!["LlavaForConditionalGeneration".to_owned()],
            model_type: "llava".to_owned(),
            text_config: TextConfig::default(),
            vision_config: Some(VisionConfig::default()),
            input_side: None,
            image_token_index: 32_000,
            projector_hidden_act: "gelu".to_owned(),
            mm_projector_type: TWO_LAYERS.to_owned(),
            multimodal_projector_bias: true,
            vision_feature_layer: -2,
            vision_feature_select_strategy: FeatureSelect::Default,
            image_seq_length: 576,
            tie_word_embeddings: false,
            pad_token_id: None,
            image_aspect_ratio: "pad".to_owned(),
            conversation_template: Template::V1,
            image_mean: crate::CLIP_MEAN,
            image_std: crate::CLIP_STD,
            torch_dtype: "float32".to_owned(),
        }
    }
}

/// What is taken of the tower's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureSelect {
    /// The patches, without the class token.
    Default,
    /// All tokens.
    Full,
}

impl LlavaConfig {
    /// A model that reads text only, from its decoder.
    pub fn text_only(text: TextConfig) -> LlavaConfig {
        let class = match text.model_type.as_str() {
            "mistral" => "MistralForCausalLM",
            "qwen2" => "Qwen2ForCausalLM",
            _ => "LlamaForCausalLM",
        };
        LlavaConfig {
            architectures: vec![class.to_owned()],
            model_type: text.model_type.clone(),
            vision_config: None,
            image_seq_length: 0,
            tie_word_embeddings: text.tie_word_embeddings,
            pad_token_id: text.pad_token_id,
            text_config: text,
            ..LlavaConfig::default()
        }
    }

    /// Side of the images that the tower is shown, in pixels; 0 in a model that reads text only.
    pub fn image_side(&self) -> i64 {
        let own = self.vision_config.as_ref().map(|vision| vision.image_size);
        self.input_side.or(own).unwrap_or(0)
    }

    /// Layers of the projector; `None` where its type is not known.
    pub fn projector_layers(&self) -> Option<i64> {
        match self.mm_projector_type.as_str() {
            "linear" => Some(1),
            other => {
                let count = other.strip_prefix("mlp")?.strip_suffix("x_gelu")?;
                let digits = count.bytes().all(|byte| byte.is_ascii_digit());
                let layers: i64 = count.parse().ok().filter(|_| digits)?;
                (1..=MAX_PROJECTOR_LAYERS)
                    .contains(&layers)
                    .then_some(layers)
            }
        }
    }

    /// Tokens that one image takes in a sequence.
    pub fn image_tokens(&self) -> i64 {
        let Some(vision) = &self.vision_config else {
            return 0;
        };
        let grid = self.image_side() / vision.patch_size.max(1);
        let tokens = grid
            .saturating_mul(grid)
            .saturating_add(vision.class_tokens());
        match self.vision_feature_select_strategy {
            FeatureSelect::Default => tokens.saturating_sub(1),
            FeatureSelect::Full => tokens,
        }
    }

    /// How many of the tower's layers are run for the chosen hidden state.
    pub fn vision_layers_used(&self) -> i64 {
        if self.vision_feature_layer < 0 {
            self.vision_config
                .as_ref()
                .map_or(0, |vision| vision.num_hidden_layers)
                .saturating_add(1)
                .saturating_add(self.vision_feature_layer)
        } else {
            self.vision_feature_layer
        }
    }

    /// Tokens that end a reply.
    pub fn eos_tokens(&self) -> &[i64] {
        self.text_config
            .eos_token_id
            .as_ref()
            .map_or(&[], TokenIds::as_slice)
    }

    /// Parameters in all, of a configuration that [`LlavaConfig::validate`] passes.
    pub fn parameter_count(&self) -> i64 {
        specification(self)
            .iter()
            .map(|parameter| parameter.shape.iter().copied().fold(1, i64::saturating_mul))
            .fold(0, i64::saturating_add)
    }

    /// Refuses what cannot be built or would be computed wrongly.
    pub fn validate(&self) -> Result<(), Error> {
        self.text_config.validate()?;
        if let Some(vision) = &self.vision_config {
            vision.validate()?;
            self.validate_join(vision)?;
        }
        check_count(self.parameter_count())
    }

    /// What lies between tower and decoder.
    fn validate_join(&self, vision: &VisionConfig) -> Result<(), Error> {
        check_sizes(&[("input_side", self.image_side(), 1 << 14)])?;
        check_rules(&[
            (
                self.projector_hidden_act == "gelu",
                "projector_hidden_act must be gelu",
            ),
            (
                self.projector_layers().is_some(),
                "mm_projector_type must be linear or mlpNx_gelu, N from 1 to 32",
            ),
            (
                (0..=vision.num_hidden_layers).contains(&self.vision_layers_used()),
                "vision_feature_layer names a layer the tower does not have",
            ),
            (
                (0..=self.text_config.vocab_size).contains(&self.image_token_index)
                    || self.image_token_index == crate::IMAGE_PLACEHOLDER,
                "image_token_index is neither a row of the embedding nor the first id after it",
            ),
            (
                vision.interpolates() || self.image_side() == vision.image_size,
                "input_side: this tower has positions for its image_size only",
            ),
            (
                self.image_side() >= vision.patch_size,
                "input_side is smaller than a patch",
            ),
            (
                self.image_tokens() > 0,
                "vision_feature_select_strategy default leaves no token of this tower",
            ),
        ])
    }
}
