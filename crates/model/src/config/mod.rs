//! `config.json` of a LLaVA checkpoint, with Hugging Face's names and defaults.
//!
//! Fields that this model has no use for are ignored, because published files carry many; fields
//! that would change the numbers in a way this model does not compute are refused by
//! [`LlavaConfig::validate`], as are sizes that no honest checkpoint has, before any memory is
//! asked for.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{Error, Template};

/// No checkpoint here has more parameters; a larger claim is a broken file.
const MAX_PARAMETERS: i64 = 1 << 40;
/// `config.json` files are a few kilobytes.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// A whole LLaVA model. Defaults are those of `transformers.LlavaConfig` 4.57.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LlavaConfig {
    /// Always `["LlavaForConditionalGeneration"]`.
    pub architectures: Vec<String>,
    /// Always `llava`.
    pub model_type: String,
    /// The decoder.
    pub text_config: TextConfig,
    /// The vision tower; `None` in a model that reads text only.
    pub vision_config: Option<VisionConfig>,
    /// Id of the `<image>` token, whose embeddings the image features replace.
    pub image_token_index: i64,
    /// Activation between the projector's two layers: `gelu` (the exact, erf form).
    pub projector_hidden_act: String,
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

impl Default for LlavaConfig {
    fn default() -> Self {
        LlavaConfig {
            architectures: vec!["LlavaForConditionalGeneration".to_owned()],
            model_type: "llava".to_owned(),
            text_config: TextConfig::default(),
            vision_config: Some(VisionConfig::default()),
            image_token_index: 32_000,
            projector_hidden_act: "gelu".to_owned(),
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

/// The decoder. Defaults are those of `transformers.LlamaConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    /// `llama`.
    pub model_type: String,
    /// Width.
    pub hidden_size: i64,
    /// Width inside the MLP.
    pub intermediate_size: i64,
    /// Layers.
    pub num_hidden_layers: i64,
    /// Query heads.
    pub num_attention_heads: i64,
    /// Key and value heads; as many as query heads where absent.
    pub num_key_value_heads: Option<i64>,
    /// Width of one head; width divided by heads where absent.
    pub head_dim: Option<i64>,
    /// Rows of the embedding.
    pub vocab_size: i64,
    /// Added under the root of every norm.
    pub rms_norm_eps: f64,
    /// Base of the rotary angles.
    pub rope_theta: f64,
    /// Other than the plain rotary form; only `null` or `default` is computed here.
    pub rope_scaling: Option<serde_json::Value>,
    /// Longest sequence.
    pub max_position_embeddings: i64,
    /// `silu`.
    pub hidden_act: String,
    /// Biases in attention; not computed here.
    pub attention_bias: bool,
    /// Biases in the MLP; not computed here.
    pub mlp_bias: bool,
    /// Whether the output layer is the embedding.
    pub tie_word_embeddings: bool,
    /// Standard deviation of random weights.
    pub initializer_range: f64,
    /// First token of every conversation.
    pub bos_token_id: Option<TokenIds>,
    /// Tokens that end a reply.
    pub eos_token_id: Option<TokenIds>,
    /// Padding token, where there is one.
    pub pad_token_id: Option<i64>,
}

impl Default for TextConfig {
    fn default() -> Self {
        TextConfig {
            model_type: "llama".to_owned(),
            hidden_size: 4096,
            intermediate_size: 11_008,
            num_hidden_layers: 32,
            num_attention_heads: 32,
            num_key_value_heads: None,
            head_dim: None,
            vocab_size: 32_000,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            rope_scaling: None,
            max_position_embeddings: 2048,
            hidden_act: "silu".to_owned(),
            attention_bias: false,
            mlp_bias: false,
            tie_word_embeddings: false,
            initializer_range: 0.02,
            bos_token_id: Some(TokenIds::One(1)),
            eos_token_id: Some(TokenIds::One(2)),
            pad_token_id: None,
        }
    }
}

/// One token id or several, as Hugging Face writes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenIds {
    /// One.
    One(i64),
    /// Any of these.
    Many(Vec<i64>),
}

impl TokenIds {
    /// The ids as a slice.
    pub fn as_slice(&self) -> &[i64] {
        match self {
            TokenIds::One(id) => std::slice::from_ref(id),
            TokenIds::Many(ids) => ids,
        }
    }
}

/// The vision tower. Defaults are those of `transformers.CLIPVisionConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    /// `clip_vision_model`.
    pub model_type: String,
    /// Width.
    pub hidden_size: i64,
    /// Width inside the MLP.
    pub intermediate_size: i64,
    /// Layers.
    pub num_hidden_layers: i64,
    /// Heads.
    pub num_attention_heads: i64,
    /// Colour channels: 3.
    pub num_channels: i64,
    /// Side of the square input, in pixels.
    pub image_size: i64,
    /// Side of one square patch, in pixels.
    pub patch_size: i64,
    /// `quick_gelu` (CLIP's) or `gelu`.
    pub hidden_act: String,
    /// Added to the variance in every norm.
    pub layer_norm_eps: f64,
    /// Standard deviation of random patch and position embeddings.
    pub initializer_range: f64,
    /// Width of CLIP's joint space; not used by LLaVA, kept for readers that expect it.
    pub projection_dim: i64,
}

impl Default for VisionConfig {
    fn default() -> Self {
        VisionConfig {
            model_type: "clip_vision_model".to_owned(),
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: "quick_gelu".to_owned(),
            layer_norm_eps: 1e-5,
            initializer_range: 0.02,
            projection_dim: 512,
        }
    }
}

impl TextConfig {
    /// Key and value heads.
    pub fn kv_heads(&self) -> i64 {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of one head.
    pub fn head_dim(&self) -> i64 {
        self.head_dim
            .unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }
}

impl VisionConfig {
    /// Patches along one side.
    pub fn grid(&self) -> i64 {
        self.image_size / self.patch_size.max(1)
    }

    /// Width of one head.
    pub fn head_dim(&self) -> i64 {
        self.hidden_size / self.num_attention_heads.max(1)
    }
}

impl LlavaConfig {
    /// Reads and validates a folder's `config.json`.
    pub fn read(dir: &Path) -> Result<LlavaConfig, Error> {
        read(dir, LlavaConfig::parse)
    }

    /// Parses and validates the text of a `config.json`.
    pub fn parse(text: &str) -> Result<LlavaConfig, Error> {
        let mut value: serde_json::Value =
            serde_json::from_str(text).map_err(|e| Error::Config(e.to_string()))?;
        let model_type = value["model_type"].as_str().unwrap_or("(absent)");
        if model_type != "llava" {
            return Err(Error::Config(format!(
                "model_type is {model_type}: only llava checkpoints can be loaded"
            )));
        }
        // Newer files use the newer name of the same field.
        if value["image_token_index"].is_null() && value["image_token_id"].is_i64() {
            value["image_token_index"] = value["image_token_id"].clone();
        }
        // A null means the default, as in transformers.
        drop_nulls(&mut value);
        let mut config: LlavaConfig =
            serde_json::from_value(value).map_err(|e| Error::Config(e.to_string()))?;
        config.validate()?;
        config.image_seq_length = config.image_tokens();
        Ok(config)
    }

    /// Tokens that one image takes in a sequence.
    pub fn image_tokens(&self) -> i64 {
        let Some(vision) = &self.vision_config else {
            return 0;
        };
        let patches = vision.grid().saturating_mul(vision.grid());
        match self.vision_feature_select_strategy {
            FeatureSelect::Default => patches,
            FeatureSelect::Full => patches.saturating_add(1),
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

    /// Parameters in all.
    pub fn parameter_count(&self) -> i64 {
        let t = &self.text_config;
        let mul = i64::saturating_mul;
        let add = i64::saturating_add;
        let sum = |terms: &[i64]| terms.iter().copied().fold(0, add);
        let heads = mul(t.num_attention_heads, t.head_dim());
        let kv = mul(t.kv_heads(), t.head_dim());
        let layer = sum(&[
            mul(2, mul(t.hidden_size, heads)),
            mul(2, mul(t.hidden_size, kv)),
            mul(3, mul(t.hidden_size, t.intermediate_size)),
            mul(2, t.hidden_size),
        ]);
        let embedding = mul(t.vocab_size, t.hidden_size);
        let text = sum(&[
            mul(layer, t.num_hidden_layers),
            mul(embedding, if t.tie_word_embeddings { 1 } else { 2 }),
            t.hidden_size,
        ]);
        let Some(v) = &self.vision_config else {
            return text;
        };
        let tower_layer = sum(&[
            mul(4, mul(v.hidden_size, v.hidden_size)),
            mul(2, mul(v.hidden_size, v.intermediate_size)),
            mul(9, v.hidden_size),
            v.intermediate_size,
        ]);
        let positions = add(mul(v.grid(), v.grid()), 1);
        let tower = sum(&[
            mul(tower_layer, v.num_hidden_layers),
            mul(
                v.hidden_size,
                mul(v.num_channels, mul(v.patch_size, v.patch_size)),
            ),
            mul(v.hidden_size, add(positions, 5)),
        ]);
        let bias = if self.multimodal_projector_bias {
            mul(2, t.hidden_size)
        } else {
            0
        };
        let projector = sum(&[
            mul(v.hidden_size, t.hidden_size),
            mul(t.hidden_size, t.hidden_size),
            bias,
        ]);
        sum(&[text, tower, projector])
    }

    /// Refuses what cannot be built or would be computed wrongly.
    pub fn validate(&self) -> Result<(), Error> {
        let t = &self.text_config;
        check_sizes(&[
            ("text_config.hidden_size", t.hidden_size, 1 << 17),
            (
                "text_config.intermediate_size",
                t.intermediate_size,
                1 << 20,
            ),
            (
                "text_config.num_hidden_layers",
                t.num_hidden_layers,
                1 << 12,
            ),
            (
                "text_config.num_attention_heads",
                t.num_attention_heads,
                1 << 12,
            ),
            ("text_config.num_key_value_heads", t.kv_heads(), 1 << 12),
            ("text_config.head_dim", t.head_dim(), 1 << 12),
            ("text_config.vocab_size", t.vocab_size, 1 << 23),
            (
                "text_config.max_position_embeddings",
                t.max_position_embeddings,
                1 << 30,
            ),
        ])?;
        check_rules(&[
            (
                t.model_type == "llama",
                "text_config.model_type must be llama",
            ),
            (
                t.hidden_act == "silu",
                "text_config.hidden_act must be silu",
            ),
            (
                !t.attention_bias,
                "text_config.attention_bias: a decoder with biases is not LLaMA's",
            ),
            (
                !t.mlp_bias,
                "text_config.mlp_bias: a decoder with biases is not LLaMA's",
            ),
            (
                plain_rope(t.rope_scaling.as_ref()),
                "text_config.rope_scaling: only plain rotary positions are computed",
            ),
            (
                t.head_dim.is_some() || t.hidden_size % t.num_attention_heads == 0,
                "text_config.hidden_size must be a multiple of num_attention_heads",
            ),
            (
                t.head_dim() % 2 == 0,
                "text_config.head_dim must be even for rotary positions",
            ),
            (
                t.num_attention_heads % t.kv_heads() == 0,
                "text_config.num_attention_heads must be a multiple of num_key_value_heads",
            ),
            (
                t.rms_norm_eps.is_finite() && t.rms_norm_eps >= 0.0,
                "text_config.rms_norm_eps must not be negative",
            ),
            (
                t.rope_theta.is_finite() && t.rope_theta > 0.0,
                "text_config.rope_theta must be positive",
            ),
        ])?;
        if let Some(vision) = &self.vision_config {
            self.validate_vision(vision)?;
        }
        check_count(self.parameter_count())
    }

    fn validate_vision(&self, v: &VisionConfig) -> Result<(), Error> {
        let t = &self.text_config;
        check_sizes(&[
            ("vision_config.hidden_size", v.hidden_size, 1 << 17),
            (
                "vision_config.intermediate_size",
                v.intermediate_size,
                1 << 20,
            ),
            (
                "vision_config.num_hidden_layers",
                v.num_hidden_layers,
                1 << 12,
            ),
            (
                "vision_config.num_attention_heads",
                v.num_attention_heads,
                1 << 12,
            ),
            ("vision_config.image_size", v.image_size, 1 << 14),
            ("vision_config.patch_size", v.patch_size, 1 << 12),
        ])?;
        check_rules(&[
            (
                v.model_type == "clip_vision_model",
                "vision_config.model_type must be clip_vision_model",
            ),
            (
                ["quick_gelu", "gelu"].contains(&v.hidden_act.as_str()),
                "vision_config.hidden_act must be quick_gelu or gelu",
            ),
            (
                self.projector_hidden_act == "gelu",
                "projector_hidden_act must be gelu",
            ),
            (v.num_channels == 3, "vision_config.num_channels must be 3"),
            (
                v.hidden_size % v.num_attention_heads == 0,
                "vision_config.hidden_size must be a multiple of num_attention_heads",
            ),
            (
                v.patch_size <= v.image_size && v.image_size % v.patch_size == 0,
                "vision_config.image_size must be a multiple of patch_size",
            ),
            (
                (0..=v.num_hidden_layers).contains(&self.vision_layers_used()),
                "vision_feature_layer names a layer the tower does not have",
            ),
            (
                (0..t.vocab_size).contains(&self.image_token_index)
                    || self.image_token_index == crate::IMAGE_PLACEHOLDER,
                "image_token_index is not a row of the embedding",
            ),
            (
                v.layer_norm_eps.is_finite() && v.layer_norm_eps >= 0.0,
                "vision_config.layer_norm_eps must not be negative",
            ),
        ])
    }
}

/// Reads a folder's `config.json`, whose errors then name the file.
pub(crate) fn read<T>(dir: &Path, parse: fn(&str) -> Result<T, Error>) -> Result<T, Error> {
    let path = dir.join("config.json");
    let meta = std::fs::metadata(&path).map_err(|e| sample::Error::io(&path, e))?;
    if meta.len() > MAX_CONFIG_BYTES {
        let detail = format!("{} bytes: not a model configuration", meta.len());
        return Err(sample::Error::format(path, detail).into());
    }
    let text = std::fs::read_to_string(&path).map_err(|e| sample::Error::io(&path, e))?;
    parse(&text).map_err(|e| match e {
        Error::Config(detail) => sample::Error::format(path, detail).into(),
        other => other,
    })
}

/// Refuses sizes (name, value, most) outside 1 to the most.
pub(crate) fn check_sizes(sizes: &[(&str, i64, i64)]) -> Result<(), Error> {
    for (name, size, most) in sizes {
        if !(1..=*most).contains(size) {
            return Err(Error::Config(format!(
                "{name} is {size}, outside 1 to {most}"
            )));
        }
    }
    Ok(())
}

/// Refuses what breaks a rule.
pub(crate) fn check_rules(rules: &[(bool, &str)]) -> Result<(), Error> {
    if let Some((_, message)) = rules.iter().find(|(holds, _)| !holds) {
        return Err(Error::Config((*message).to_owned()));
    }
    Ok(())
}

/// Refuses more parameters than any checkpoint has.
pub(crate) fn check_count(parameters: i64) -> Result<(), Error> {
    if parameters > MAX_PARAMETERS {
        return Err(Error::Config(format!(
            "{parameters} parameters: beyond any checkpoint; a size in config.json is wrong"
        )));
    }
    Ok(())
}

fn plain_rope(scaling: Option<&serde_json::Value>) -> bool {
    let Some(scaling) = scaling else { return true };
    let kind = scaling.get("rope_type").or_else(|| scaling.get("type"));
    kind.and_then(|k| k.as_str()) == Some("default")
}

pub(crate) fn drop_nulls(value: &mut serde_json::Value) {
    if let serde_json::Value::Object(fields) = value {
        fields.retain(|_, field| !field.is_null());
        fields.values_mut().for_each(drop_nulls);
    }
}
