//! The decoder's shape: LLaMA, and Mistral and Qwen2, which differ from it in biases, in how far
//! back a token sees and in defaults.
//!
//! A match on the decoder's family stands here and nowhere else.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::file::{drop_nulls, fill};
use super::{check_rules, check_sizes};
use crate::Error;
use crate::rope::Scaling;

/// The decoder. Defaults are those of `transformers.LlamaConfig`; a `config.json` of another family
/// is read with that family's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TextConfig {
    /// `llama`, `mistral` or `qwen2`.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<i64>,
    /// Rows of the embedding.
    pub vocab_size: i64,
    /// Added under the root of every norm.
    pub rms_norm_eps: f64,
    /// Base of the rotary angles.
    pub rope_theta: f64,
    /// Rotary positions for longer texts: type `linear`, `dynamic`, `llama3` or `yarn`, with the
    /// fields that transformers documents; absent or `default` as trained.
    pub rope_scaling: Option<Value>,
    /// Longest sequence.
    pub max_position_embeddings: i64,
    /// `silu`, also called `swish`.
    pub hidden_act: String,
    /// Biases in attention; LLaMA's field. Qwen2 always has them, but for the output's.
    pub attention_bias: bool,
    /// Biases in the MLP; LLaMA's field.
    pub mlp_bias: bool,
    /// Positions that a token sees, its own included: in all layers of Mistral, and in some of
    /// Qwen2 where `use_sliding_window` is set. LLaMA has none.
    pub sliding_window: Option<i64>,
    /// Whether Qwen2 has a window at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_sliding_window: Option<bool>,
    /// Qwen2's first layer with a window; 28 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_window_layers: Option<i64>,
    /// Qwen2's layers one by one, `full_attention` or `sliding_attention`; decides where present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer_types: Option<Vec<String>>,
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
            sliding_window: None,
            use_sliding_window: None,
            max_window_layers: None,
            layer_types: None,
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

/// The families of decoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Llama,
    Mistral,
    Qwen2,
}

/// Which of a layer's products have biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Biases {
    pub qkv: bool,
    pub out: bool,
    pub mlp: bool,
}

impl Family {
    fn of(model_type: &str) -> Option<Family> {
        match model_type {
            "llama" => Some(Family::Llama),
            "mistral" => Some(Family::Mistral),
            "qwen2" => Some(Family::Qwen2),
            _ => None,
        }
    }

    /// What transformers assumes of fields that a file leaves out, where that is not LLaMA's.
    fn defaults(self) -> Value {
        match self {
            Family::Llama => json!({}),
            Family::Mistral => json!({
                "intermediate_size": 14_336,
                "num_key_value_heads": 8,
                "max_position_embeddings": 131_072,
                "sliding_window": 4096,
            }),
            Family::Qwen2 => json!({
                "vocab_size": 151_936,
                "intermediate_size": 22_016,
                "num_key_value_heads": 32,
                "max_position_embeddings": 32_768,
                "sliding_window": 4096,
                "bos_token_id": null,
                "eos_token_id": null,
            }),
        }
    }
}

/// Whether `model_type` names a decoder that can be computed.
pub(super) fn is_decoder(model_type: &str) -> bool {
    Family::of(model_type).is_some()
}

impl TextConfig {
    /// Reads a decoder's object, the top of a text-only `config.json` or its `text_config`.
    pub(super) fn parse(value: &Value) -> Result<TextConfig, Error> {
        let mut value = value.clone();
        let wrong = |detail: String| Error::Config(format!("text_config.{detail}"));
        let Some(fields) = value.as_object_mut() else {
            return Err(wrong(" is not an object".to_owned()));
        };
        let given = fields.get("model_type").and_then(Value::as_str);
        let family = Family::of(given.unwrap_or("llama")).ok_or_else(|| {
            wrong(format!(
                "model_type is {}: llama, mistral and qwen2 are computed here",
                given.unwrap_or_default()
            ))
        })?;
        // transformers 5 keeps both rotary fields in one object.
        if let Some(Value::Object(mut rope)) = fields.remove("rope_parameters") {
            if let Some(theta) = rope.remove("rope_theta") {
                fields.insert("rope_theta".to_owned(), theta);
            }
            fields.insert("rope_scaling".to_owned(), Value::Object(rope));
        }
        if let Some(factor) = fields.get("partial_rotary_factor")
            && factor.as_f64().is_some_and(|factor| factor != 1.0)
        {
            return Err(wrong(format!(
                "partial_rotary_factor is {factor}: heads that turn in part are not computed here"
            )));
        }
        fill(&mut value, family.defaults());
        drop_nulls(&mut value);
        serde_json::from_value(value).map_err(|e| wrong(e.to_string()))
    }

    /// Key and value heads.
    pub fn kv_heads(&self) -> i64 {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of one head.
    pub fn head_dim(&self) -> i64 {
        self.head_dim
            .unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn family(&self) -> Family {
        Family::of(&self.model_type).unwrap_or(Family::Llama)
    }

    /// Which products have biases.
    pub(crate) fn biases(&self) -> Biases {
        let (qkv, out, mlp) = match self.family() {
            Family::Llama => (self.attention_bias, self.attention_bias, self.mlp_bias),
            Family::Mistral => (false, false, false),
            Family::Qwen2 => (true, false, false),
        };
        Biases { qkv, out, mlp }
    }

    /// Positions that a token of a windowed layer sees, its own included.
    pub fn window(&self) -> Option<i64> {
        match self.family() {
            Family::Llama => None,
            Family::Mistral => self.sliding_window,
            Family::Qwen2 => self
                .sliding_window
                .filter(|_| self.use_sliding_window == Some(true)),
        }
    }

    /// Whether a layer's tokens see a window only.
    pub(crate) fn windowed(&self, layer: i64) -> bool {
        let listed = || {
            let types = self.layer_types.as_ref()?;
            types.get(usize::try_from(layer).ok()?)
        };
        self.window().is_some()
            && match self.family() {
                Family::Llama | Family::Mistral => true,
                Family::Qwen2 => match listed() {
                    Some(kind) => kind == "sliding_attention",
                    None => layer >= self.max_window_layers.unwrap_or(28),
                },
            }
    }

    /// Refuses what cannot be built or would be computed wrongly.
    pub(super) fn validate(&self) -> Result<(), Error> {
        check_sizes(&[
            ("text_config.hidden_size", self.hidden_size, 1 << 17),
            (
                "text_config.intermediate_size",
                self.intermediate_size,
                1 << 20,
            ),
            (
                "text_config.num_hidden_layers",
                self.num_hidden_layers,
                1 << 12,
            ),
            (
                "text_config.num_attention_heads",
                self.num_attention_heads,
                1 << 12,
            ),
            ("text_config.num_key_value_heads", self.kv_heads(), 1 << 12),
            ("text_config.head_dim", self.head_dim(), 1 << 12),
            ("text_config.vocab_size", self.vocab_size, 1 << 23),
            (
                "text_config.max_position_embeddings",
                self.max_position_embeddings,
                1 << 30,
            ),
            (
                "text_config.sliding_window",
                self.window().unwrap_or(1),
                1 << 30,
            ),
        ])?;
        let layers_named = |types: &Vec<String>| {
            types.len() as i64 == self.num_hidden_layers
                && types
                    .iter()
                    .all(|t| t == "full_attention" || t == "sliding_attention")
        };
        check_rules(&[
            (
                is_decoder(&self.model_type),
                "text_config.model_type must be llama, mistral or qwen2",
            ),
            (
                ["silu", "swish"].contains(&self.hidden_act.as_str()),
                "text_config.hidden_act must be silu",
            ),
            (
                self.head_dim.is_some() || self.hidden_size % self.num_attention_heads == 0,
                "text_config.hidden_size must be a multiple of num_attention_heads",
            ),
            (
                self.head_dim() % 2 == 0,
                "text_config.head_dim must be even for rotary positions",
            ),
            (
                self.num_attention_heads % self.kv_heads() == 0,
                "text_config.num_attention_heads must be a multiple of num_key_value_heads",
            ),
            (
                self.rms_norm_eps.is_finite() && self.rms_norm_eps >= 0.0,
                "text_config.rms_norm_eps must not be negative",
            ),
            (
                self.rope_theta.is_finite() && self.rope_theta > 0.0,
                "text_config.rope_theta must be positive",
            ),
            (
                self.family() != Family::Qwen2
                    || self.layer_types.as_ref().is_none_or(layers_named),
                "text_config.layer_types must say full_attention or sliding_attention of each layer",
            ),
        ])?;
        Scaling::of(self).map(|_| ())
    }
}
