//! `config.json` of a ViT classifier, with Hugging Face's names and defaults.
//!
//! As with [`crate::LlavaConfig`], fields that do not change the numbers are ignored, and values
//! that would change them in a way that is not computed here are refused.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;

use crate::Error;
use crate::config::{check_count, check_rules, check_sizes, drop_nulls, read};

/// The shape of a ViT and the names of its classes. Defaults are those of `transformers.ViTConfig`
/// 4.57: ViT-B/16 at 224 pixels, two classes without a meaning.
#[derive(Debug, Clone, PartialEq)]
pub struct VitConfig {
    /// Width.
    pub hidden_size: i64,
    /// Width inside the MLP.
    pub intermediate_size: i64,
    /// Layers.
    pub num_hidden_layers: i64,
    /// Heads.
    pub num_attention_heads: i64,
    /// Side of the square input, in pixels.
    pub image_size: i64,
    /// Side of one square patch, in pixels.
    pub patch_size: i64,
    /// Added to the variance in every norm.
    pub layer_norm_eps: f64,
    /// Standard deviation of random weights.
    pub initializer_range: f64,
    /// Whether queries, keys and values have biases.
    pub qkv_bias: bool,
    /// The classes' names, in the order of the logits.
    pub labels: Vec<String>,
}

impl Default for VitConfig {
    fn default() -> Self {
        VitConfig {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            image_size: 224,
            patch_size: 16,
            layer_norm_eps: 1e-12,
            initializer_range: 0.02,
            qkv_bias: true,
            labels: vec!["LABEL_0".to_owned(), "LABEL_1".to_owned()],
        }
    }
}

/// Classes of the largest published head (ImageNet-21k).
const MOST_LABELS: usize = 1 << 16;

/// The fields as a file has them.
#[derive(serde::Deserialize)]
#[serde(default)]
struct File {
    model_type: String,
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: i64,
    num_attention_heads: i64,
    num_channels: i64,
    image_size: i64,
    patch_size: i64,
    hidden_act: String,
    layer_norm_eps: f64,
    initializer_range: f64,
    qkv_bias: bool,
    id2label: Option<BTreeMap<String, String>>,
}

impl Default for File {
    fn default() -> Self {
        let d = VitConfig::default();
        File {
            model_type: "(absent)".to_owned(),
            hidden_size: d.hidden_size,
            intermediate_size: d.intermediate_size,
            num_hidden_layers: d.num_hidden_layers,
            num_attention_heads: d.num_attention_heads,
            num_channels: 3,
            image_size: d.image_size,
            patch_size: d.patch_size,
            hidden_act: "gelu".to_owned(),
            layer_norm_eps: d.layer_norm_eps,
            initializer_range: d.initializer_range,
            qkv_bias: d.qkv_bias,
            id2label: None,
        }
    }
}

impl VitConfig {
    /// Reads and validates a folder's `config.json`.
    pub fn read(dir: &Path) -> Result<VitConfig, Error> {
        read(dir, VitConfig::parse)
    }

    /// Parses and validates the text of a `config.json`.
    pub fn parse(text: &str) -> Result<VitConfig, Error> {
        let wrong = |e: serde_json::Error| Error::Config(e.to_string());
        let mut value: serde_json::Value = serde_json::from_str(text).map_err(wrong)?;
        // A null means the default, as in transformers.
        drop_nulls(&mut value);
        let file: File = serde_json::from_value(value).map_err(wrong)?;
        check_rules(&[
            (
                file.model_type == "vit",
                "model_type must be vit: only ViT classifiers grade images",
            ),
            (file.hidden_act == "gelu", "hidden_act must be gelu"),
            (file.num_channels == 3, "num_channels must be 3"),
        ])?;
        let config = VitConfig {
            hidden_size: file.hidden_size,
            intermediate_size: file.intermediate_size,
            num_hidden_layers: file.num_hidden_layers,
            num_attention_heads: file.num_attention_heads,
            image_size: file.image_size,
            patch_size: file.patch_size,
            layer_norm_eps: file.layer_norm_eps,
            initializer_range: file.initializer_range,
            qkv_bias: file.qkv_bias,
            labels: match file.id2label {
                None => VitConfig::default().labels,
                Some(names) => in_order(&names)?,
            },
        };
        config.validate()?;
        Ok(config)
    }

    /// Patches along one side.
    pub fn grid(&self) -> i64 {
        self.image_size / self.patch_size.max(1)
    }

    /// Width of one head.
    pub fn head_dim(&self) -> i64 {
        self.hidden_size / self.num_attention_heads.max(1)
    }

    /// Parameters in all, the head included.
    pub fn parameter_count(&self) -> i64 {
        let (h, m) = (self.hidden_size, self.intermediate_size);
        let mul = i64::saturating_mul;
        let sum = |terms: &[i64]| terms.iter().copied().fold(0, i64::saturating_add);
        let qkv_bias = if self.qkv_bias { mul(3, h) } else { 0 };
        let layer = sum(&[mul(4, mul(h, h)), mul(2, mul(h, m)), mul(6, h), m, qkv_bias]);
        let patch = mul(3, mul(self.patch_size, self.patch_size));
        // Class token, its position, the patches' bias, the last norm.
        let vectors = sum(&[mul(self.grid(), self.grid()), 5, patch]);
        sum(&[
            mul(layer, self.num_hidden_layers),
            mul(h, vectors),
            mul(self.labels.len() as i64, h.saturating_add(1)),
        ])
    }

    /// Refuses what cannot be built.
    pub fn validate(&self) -> Result<(), Error> {
        check_sizes(&[
            ("hidden_size", self.hidden_size, 1 << 17),
            ("intermediate_size", self.intermediate_size, 1 << 20),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 12),
            ("num_attention_heads", self.num_attention_heads, 1 << 12),
            ("image_size", self.image_size, 1 << 14),
            ("patch_size", self.patch_size, 1 << 12),
        ])?;
        let rules = [
            (
                self.hidden_size % self.num_attention_heads == 0,
                "hidden_size must be a multiple of num_attention_heads",
            ),
            (
                self.patch_size <= self.image_size && self.image_size % self.patch_size == 0,
                "image_size must be a multiple of patch_size",
            ),
            (
                self.layer_norm_eps.is_finite() && self.layer_norm_eps >= 0.0,
                "layer_norm_eps must not be negative",
            ),
            (
                (1..=MOST_LABELS).contains(&self.labels.len()),
                "id2label must name 1 to 65536 classes",
            ),
        ];
        check_rules(&rules)?;
        check_count(self.parameter_count())
    }

    /// The file's content, with the type of the stored weights.
    pub(crate) fn to_json(&self, dtype: &str) -> serde_json::Value {
        let id2label: serde_json::Map<_, _> = self
            .labels
            .iter()
            .enumerate()
            .map(|(i, name)| (i.to_string(), json!(name)))
            .collect();
        let label2id: serde_json::Map<_, _> = self
            .labels
            .iter()
            .enumerate()
            .map(|(i, name)| (name.clone(), json!(i)))
            .collect();
        json!({
            "architectures": ["ViTForImageClassification"],
            "model_type": "vit",
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_channels": 3,
            "image_size": self.image_size,
            "patch_size": self.patch_size,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "layer_norm_eps": self.layer_norm_eps,
            "initializer_range": self.initializer_range,
            "qkv_bias": self.qkv_bias,
            "id2label": id2label,
            "label2id": label2id,
            "problem_type": "single_label_classification",
            "torch_dtype": dtype,
        })
    }
}

/// The names of classes 0, 1, ..., all of which must be there.
fn in_order(names: &BTreeMap<String, String>) -> Result<Vec<String>, Error> {
    (0..names.len())
        .map(|i| {
            names.get(&i.to_string()).cloned().ok_or_else(|| {
                Error::Config(format!(
                    "id2label has {} names but none for class {i}",
                    names.len()
                ))
            })
        })
        .collect()
}
