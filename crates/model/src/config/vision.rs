//! The vision tower's shape: CLIP, SigLIP or DINOv2.
//!
//! How the three differ in tensors and arithmetic is in `crate::vision`; here are their fields and
//! transformers' defaults.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::file::{drop_nulls, fill};
use super::{check_rules, check_sizes};
use crate::Error;
use crate::encoder::Activation;

/// The families of vision towers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tower {
    Clip,
    Siglip,
    Dinov2,
}

/// The vision tower. Defaults are those of `transformers.CLIPVisionConfig`; a `config.json` of
/// another family is read with that family's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VisionConfig {
    /// `clip_vision_model`, `siglip_vision_model` or `dinov2`.
    pub model_type: String,
    /// Width.
    pub hidden_size: i64,
    /// Width inside the MLP; DINOv2's follows from `mlp_ratio`.
    pub intermediate_size: i64,
    /// Layers.
    pub num_hidden_layers: i64,
    /// Heads.
    pub num_attention_heads: i64,
    /// Colour channels: 3.
    pub num_channels: i64,
    /// Side of the square input for which there are positions, in pixels.
    pub image_size: i64,
    /// Side of one square patch, in pixels; what is left of the image at the right and below is
    /// not seen.
    pub patch_size: i64,
    /// `quick_gelu` (CLIP's), `gelu` (DINOv2's) or `gelu_pytorch_tanh` (SigLIP's).
    pub hidden_act: String,
    /// Added to the variance in every norm.
    pub layer_norm_eps: f64,
    /// Standard deviation of random patch and position embeddings.
    pub initializer_range: f64,
    /// Width of CLIP's joint space; not used by LLaVA, kept for readers that expect it.
    pub projection_dim: i64,
    /// SigLIP: whether the folder has the pooling head, which LLaVA does not use; it has by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vision_use_head: Option<bool>,
    /// DINOv2: width inside the MLP, as a multiple of the width.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlp_ratio: Option<f64>,
    /// DINOv2: whether queries, keys and values have biases; they have by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qkv_bias: Option<bool>,
    /// DINOv2: what the layers' outputs are scaled by before training, 1 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layerscale_value: Option<f64>,
    /// DINOv2: whether the MLP is a SwiGLU, as in the giant one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_swiglu_ffn: Option<bool>,
    /// DINOv2: whether the folder has the mask token, which LLaVA does not use; it has by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_mask_token: Option<bool>,
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
            vision_use_head: None,
            mlp_ratio: None,
            qkv_bias: None,
            layerscale_value: None,
            use_swiglu_ffn: None,
            use_mask_token: None,
        }
    }
}

impl Tower {
    fn of(model_type: &str) -> Option<Tower> {
        match model_type {
            "clip_vision_model" => Some(Tower::Clip),
            "siglip_vision_model" => Some(Tower::Siglip),
            "dinov2" => Some(Tower::Dinov2),
            _ => None,
        }
    }

    /// What transformers assumes of fields that a file leaves out, where that is not CLIP's.
    fn defaults(self) -> Value {
        match self {
            Tower::Clip => json!({}),
            Tower::Siglip => json!({
                "patch_size": 16,
                "hidden_act": "gelu_pytorch_tanh",
                "layer_norm_eps": 1e-6,
            }),
            Tower::Dinov2 => json!({
                "patch_size": 14,
                "hidden_act": "gelu",
                "layer_norm_eps": 1e-6,
            }),
        }
    }
}

/// LLaVA's tower where a `config.json` names none: CLIP ViT-L/14 at 336 pixels.
pub(super) fn clip_large() -> Value {
    json!({
        "model_type": "clip_vision_model",
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 336,
        "patch_size": 14,
        "projection_dim": 768,
    })
}

impl VisionConfig {
    /// Reads the `config.json` of a tower's own folder, or the tower's part of a larger one: of
    /// `openai/clip-vit-large-patch14-336`, say, `google/siglip-so400m-patch14-384` or
    /// `facebook/dinov2-large`.
    ///
    /// # Errors
    /// A tower that cannot be computed here, or a field of the wrong type.
    pub fn parse(value: &Value) -> Result<VisionConfig, Error> {
        let wrong = |detail: String| Error::Config(format!("vision_config.{detail}"));
        // A folder of CLIP or SigLIP has a text model beside the tower.
        let (mut value, implied) = match value["model_type"].as_str() {
            Some("clip") => (value["vision_config"].clone(), "clip_vision_model"),
            Some("siglip") => (value["vision_config"].clone(), "siglip_vision_model"),
            _ => (value.clone(), "clip_vision_model"),
        };
        fill(&mut value, json!({"model_type": implied}));
        let given = value["model_type"].as_str().unwrap_or("(absent)");
        let tower = Tower::of(given).ok_or_else(|| {
            wrong(format!(
                "model_type is {given}: clip_vision_model, siglip_vision_model and dinov2 are \
                 computed here"
            ))
        })?;
        fill(&mut value, tower.defaults());
        drop_nulls(&mut value);
        serde_json::from_value(value).map_err(|e| wrong(e.to_string()))
    }

    pub(crate) fn tower(&self) -> Tower {
        Tower::of(&self.model_type).unwrap_or(Tower::Clip)
    }

    /// Patches along one side of an input of `image_size`.
    pub fn grid(&self) -> i64 {
        self.image_size / self.patch_size.max(1)
    }

    /// Width of one head.
    pub fn head_dim(&self) -> i64 {
        self.hidden_size / self.num_attention_heads.max(1)
    }

    /// Tokens before the patches' in the tower's output.
    pub fn class_tokens(&self) -> i64 {
        match self.tower() {
            Tower::Clip | Tower::Dinov2 => 1,
            Tower::Siglip => 0,
        }
    }

    /// Whether images of other sides than `image_size` can be shown: positions are then
    /// interpolated, as transformers does for DINOv2 without being asked.
    pub fn interpolates(&self) -> bool {
        self.tower() == Tower::Dinov2
    }

    /// Width inside the MLP.
    pub(crate) fn mlp_width(&self) -> i64 {
        if self.tower() != Tower::Dinov2 {
            return self.intermediate_size;
        }
        let width = (self.hidden_size as f64 * self.mlp_ratio.unwrap_or(4.0)) as i64;
        if self.swiglu() {
            // Two thirds, rounded up to eights.
            ((width as f64 * 2.0 / 3.0) as i64)
                .saturating_add(7)
                .saturating_div(8)
                .saturating_mul(8)
        } else {
            width
        }
    }

    pub(crate) fn swiglu(&self) -> bool {
        self.tower() == Tower::Dinov2 && self.use_swiglu_ffn == Some(true)
    }

    /// Refuses what cannot be built or would be computed wrongly.
    pub(super) fn validate(&self) -> Result<(), Error> {
        check_sizes(&[
            ("vision_config.hidden_size", self.hidden_size, 1 << 17),
            ("vision_config.intermediate_size", self.mlp_width(), 1 << 20),
            (
                "vision_config.num_hidden_layers",
                self.num_hidden_layers,
                1 << 12,
            ),
            (
                "vision_config.num_attention_heads",
                self.num_attention_heads,
                1 << 12,
            ),
            ("vision_config.image_size", self.image_size, 1 << 14),
            ("vision_config.patch_size", self.patch_size, 1 << 12),
        ])?;
        let ratio = self.mlp_ratio.unwrap_or(4.0);
        check_rules(&[
            (
                Tower::of(&self.model_type).is_some(),
                "vision_config.model_type must be clip_vision_model, siglip_vision_model or dinov2",
            ),
            (
                self.swiglu() || Activation::of(&self.hidden_act).is_some(),
                "vision_config.hidden_act must be quick_gelu, gelu or gelu_pytorch_tanh",
            ),
            (
                self.num_channels == 3,
                "vision_config.num_channels must be 3",
            ),
            (
                self.hidden_size % self.num_attention_heads == 0,
                "vision_config.hidden_size must be a multiple of num_attention_heads",
            ),
            (
                self.patch_size <= self.image_size,
                "vision_config.patch_size is larger than image_size",
            ),
            (
                ratio.is_finite() && ratio > 0.0,
                "vision_config.mlp_ratio must be positive",
            ),
            (
                self.layer_norm_eps.is_finite() && self.layer_norm_eps >= 0.0,
                "vision_config.layer_norm_eps must not be negative",
            ),
        ])
    }
}
