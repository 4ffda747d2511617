//! What a training begins with, when not from scratch.

use std::path::PathBuf;

use model::Template;
use serde::{Deserialize, Serialize};

/// A trained model, or the parts of one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BaseConfig {
    /// A whole model: a folder in Hugging Face's or LLaVA's form.
    pub model: Option<PathBuf>,
    /// In place of `model`: a decoder alone (a LLaMA, Mistral or Qwen2 folder, or a GGUF file).
    pub decoder: Option<PathBuf>,
    /// With `decoder`: a vision tower (a CLIP, SigLIP or DINOv2 folder).
    pub tower: Option<PathBuf>,
    /// With `decoder` and `tower`: a folder whose projector is taken, from an earlier stage; without
    /// it the projector begins with random values.
    pub projector: Option<PathBuf>,
    /// With `decoder` and `tower`: the projector's form, `linear` or `mlp2x_gelu` (LLaVA-1.5's).
    pub projector_form: Option<String>,
    /// Which of the tower's layers gives the features: -2, the last but one, in LLaVA.
    pub feature_layer: Option<i64>,
    /// With `decoder` and `tower`: side of the images in pixels, where the tower's positions can be
    /// interpolated (DINOv2).
    pub image_side: Option<i64>,
    /// The conversation template; by default the base's own, or v1.
    pub template: Option<Template>,
}

/// Conversations in LLaVA's JSON, in place of the pairs that `synth` made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// The file: a list of `{"id", "image", "conversations": [{"from", "value"}, ..]}`.
    pub conversations: PathBuf,
    /// The folder that its image paths are below.
    pub images: PathBuf,
}

/// LoRA (arXiv 2106.09685), with PEFT's meaning of each setting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Rank of the updates (PEFT's `r`); LLaVA's script has 128.
    pub rank: i64,
    /// Updates are scaled by `alpha / rank`; LLaVA's script has 256.
    pub alpha: f64,
    /// Share of the inputs that is dropped on the way into an update while training.
    pub dropout: f64,
    /// The decoder's linear layers that get an update.
    pub target_modules: Vec<String>,
    /// Keeps the decoder's own weights in 4 bits (QLoRA, arXiv 2305.14314).
    pub quantise_base: bool,
}

impl Default for LoraConfig {
    fn default() -> Self {
        LoraConfig {
            rank: 128,
            alpha: 256.0,
            dropout: 0.05,
            target_modules: [
                "q_proj",
                "k_proj",
                "v_proj",
                "o_proj",
                "gate_proj",
                "up_proj",
                "down_proj",
            ]
            .map(str::to_owned)
            .to_vec(),
            quantise_base: false,
        }
    }
}
