//! `adapter_config.json`, PEFT's description of an adapter.
//!
//! PEFT has added many kinds of LoRA to this one file; those that change the numbers in a way that
//! is not `W x + s B A x` are refused by the name of their field.

use std::path::Path;

use fancy_regex::Regex;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::{Value, json};

use crate::Error;

/// `adapter_config.json` files are a few kilobytes, or some more where they list all modules.
const MAX_BYTES: u64 = 16 << 20;

/// What applies to all modules of an adapter, and what differs for some.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct AdapterConfig {
    /// The model that was adapted, as its maker called it.
    #[serde(default, rename = "base_model_name_or_path")]
    pub base: Option<String>,
    r: i64,
    lora_alpha: f64,
    #[serde(default)]
    rank_pattern: Patterns,
    #[serde(default)]
    alpha_pattern: Patterns,
    #[serde(default)]
    use_rslora: bool,
    /// Share of the inputs that is dropped while training.
    #[serde(default)]
    pub lora_dropout: f64,
}

/// Values for the modules whose names match, in the file's order: the first that matches counts.
#[derive(Debug, Clone, Default, PartialEq)]
struct Patterns(Vec<(String, f64)>);

/// Fields that must be absent, or have one of these values: with others the numbers are different.
const PLAIN: &[(&str, &[&str])] = &[
    ("bias", &["\"none\""]),
    ("use_dora", &["false"]),
    ("use_qalora", &["false"]),
    ("use_bdlora", &["false"]),
    ("fan_in_fan_out", &["false"]),
    ("lora_bias", &["false"]),
    ("layer_replication", &["[]"]),
    ("target_parameters", &["[]"]),
    ("trainable_token_indices", &["[]", "{}"]),
    ("alora_invocation_tokens", &["[]"]),
    ("arrow_config", &["{}"]),
    ("kasa_config", &["{}"]),
    ("velora_config", &["{}"]),
    ("monteclora_config", &["{}"]),
    // Others start by changing the model's own weights.
    (
        "init_lora_weights",
        &["true", "false", "\"gaussian\"", "\"eva\"", "\"orthogonal\""],
    ),
];

impl AdapterConfig {
    /// Reads a folder's `adapter_config.json`.
    ///
    /// # Errors
    /// Other adapters than LoRA, and kinds of LoRA that are not computed here.
    pub fn read(dir: &Path) -> Result<AdapterConfig, Error> {
        let path = dir.join("adapter_config.json");
        let io = |e| sample::Error::io(&path, e);
        let bytes = std::fs::metadata(&path).map_err(io)?.len();
        if bytes > MAX_BYTES {
            let detail = format!("{bytes} bytes: not an adapter's configuration");
            return Err(sample::Error::format(path, detail).into());
        }
        let text = std::fs::read_to_string(&path).map_err(io)?;
        AdapterConfig::parse(&text).map_err(|detail| sample::Error::format(&path, detail).into())
    }

    fn parse(text: &str) -> Result<AdapterConfig, String> {
        let value: Value = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let kind = value["peft_type"].as_str().unwrap_or("(absent)");
        if kind != "LORA" {
            return Err(format!(
                "peft_type is {kind}: only LORA adapters can be used"
            ));
        }
        for (field, plain) in PLAIN {
            let found = &value[*field];
            if !found.is_null() && !plain.contains(&found.to_string().as_str()) {
                return Err(format!(
                    "{field} is {found}: this kind of LoRA is not computed here; merge it into its \
                     base with PEFT and use that"
                ));
            }
        }
        let config: AdapterConfig = serde_json::from_str(text).map_err(|e| e.to_string())?;
        let sizes = config.rank_pattern.0.iter().map(|(_, rank)| *rank);
        if sizes
            .chain([config.r as f64])
            .any(|rank| !(1.0..=65_536.0).contains(&rank))
        {
            return Err("r is outside 1 to 65536".into());
        }
        let alphas = config.alpha_pattern.0.iter().map(|(_, alpha)| *alpha);
        if alphas
            .chain([config.lora_alpha])
            .any(|alpha| !alpha.is_finite())
        {
            return Err("lora_alpha is no number".into());
        }
        if !(0.0..1.0).contains(&config.lora_dropout) {
            return Err("lora_dropout is not from 0 to below 1".into());
        }
        Ok(config)
    }

    /// The rank and the scale of a module, by the name it has in the file.
    pub fn of_module(&self, module: &str) -> Result<(i64, f64), Error> {
        let rank = self
            .rank_pattern
            .find(module)?
            .map_or(self.r, |rank| rank as i64);
        let alpha = self.alpha_pattern.find(module)?.unwrap_or(self.lora_alpha);
        let divisor = if self.use_rslora {
            (rank as f64).sqrt()
        } else {
            rank as f64
        };
        Ok((rank, alpha / divisor))
    }
}

impl Patterns {
    /// PEFT's `get_pattern_key`: a pattern is a regular expression for the end of a name.
    fn find(&self, module: &str) -> Result<Option<f64>, Error> {
        for (pattern, value) in &self.0 {
            let wrong = |e: fancy_regex::Error| {
                Error::Config(format!("adapter_config.json: pattern {pattern:?}: {e}"))
            };
            let expression = Regex::new(&format!(r"^(.*\.)?({pattern})$")).map_err(wrong)?;
            if expression.is_match(module).map_err(wrong)? {
                return Ok(Some(*value));
            }
        }
        Ok(None)
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Patterns;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("names and numbers")
            }

            fn visit_unit<E>(self) -> Result<Patterns, E> {
                Ok(Patterns::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Patterns, A::Error> {
                let mut patterns = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    patterns.push(entry);
                }
                Ok(Patterns(patterns))
            }
        }
        deserializer.deserialize_any(InOrder)
    }
}

/// The file for modules given by their full names with rank and scale. The commonest rank is the
/// adapter's own and alpha is chosen so that scales come out exactly; modules that differ are
/// listed in the patterns.
pub(crate) fn to_json(
    base: Option<&str>,
    dropout: f64,
    modules: &[(String, i64, f64)],
    modules_to_save: &[String],
) -> Value {
    let mut counts = std::collections::BTreeMap::new();
    for (_, rank, _) in modules {
        *counts.entry(*rank).or_insert(0usize) += 1;
    }
    let r = counts
        .iter()
        .max_by_key(|(_, count)| **count)
        .map_or(1, |(rank, _)| *rank);
    let alpha = modules
        .iter()
        .find(|(_, rank, _)| *rank == r)
        .map_or(1.0, |(_, rank, scale)| scale * *rank as f64);
    let mut ranks = serde_json::Map::new();
    let mut alphas = serde_json::Map::new();
    for (name, rank, scale) in modules {
        let own = scale * *rank as f64;
        if *rank != r {
            ranks.insert(name.clone(), json!(rank));
        }
        if own != alpha {
            alphas.insert(name.clone(), number(own));
        }
    }
    let targets: Vec<&String> = modules.iter().map(|(name, ..)| name).collect();
    json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": r,
        "lora_alpha": number(alpha),
        "lora_dropout": dropout,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "use_rslora": false,
        "use_dora": false,
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "target_modules": targets,
        "modules_to_save": (!modules_to_save.is_empty()).then_some(modules_to_save),
    })
}

/// Whole numbers as PEFT's own files have them.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        json!(value as i64)
    } else {
        json!(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(fields: &str) -> String {
        format!(r#"{{"peft_type": "LORA", "r": 8, "lora_alpha": 16{fields}}}"#)
    }

    #[test]
    fn patterns_give_a_module_its_rank_and_scale_the_first_that_matches() {
        let config = AdapterConfig::parse(&with(
            r#", "rank_pattern": {"q_proj": 4, "layers\\.1\\.self_attn\\.q_proj": 2},
                "alpha_pattern": {"layers.[01].mlp.down_proj": 3}"#,
        ))
        .unwrap();
        for (module, rank, scale) in [
            ("model.layers.1.self_attn.q_proj", 4, 4.0),
            ("model.layers.1.self_attn.my_q_proj", 8, 2.0),
            ("model.layers.1.mlp.down_proj", 8, 0.375),
            ("model.layers.2.mlp.down_proj", 8, 2.0),
            ("q_proj", 4, 4.0),
        ] {
            assert_eq!(config.of_module(module).unwrap(), (rank, scale), "{module}");
        }
        let stabilised = AdapterConfig::parse(&with(r#", "use_rslora": true"#)).unwrap();
        assert_eq!(stabilised.of_module("x").unwrap(), (8, 16.0 / 8f64.sqrt()));
    }

    #[test]
    fn kinds_of_adapters_that_are_not_computed_are_refused_by_name() {
        let cases = [
            (r#"{"peft_type": "IA3"}"#.to_owned(), "IA3"),
            (with(r#", "use_dora": true"#), "use_dora"),
            (with(r#", "bias": "all""#), "bias"),
            (
                with(r#", "init_lora_weights": "pissa""#),
                "init_lora_weights",
            ),
            (
                with(r#", "trainable_token_indices": [3]"#),
                "trainable_token_indices",
            ),
            (with(r#", "rank_pattern": {"q": -1}"#), "outside"),
            (with(r#", "alpha_pattern": 3"#), "names and numbers"),
            (with(r#", "lora_dropout": 1"#), "lora_dropout"),
            ("{".to_owned(), "EOF"),
        ];
        for (text, word) in cases {
            let refused = AdapterConfig::parse(&text).unwrap_err();
            assert!(refused.contains(word), "{refused} lacks {word}");
        }
        let broken = AdapterConfig::parse(&with(r#", "alpha_pattern": {"(": 3}"#)).unwrap();
        assert!(broken.of_module("x").is_err());
    }
}
