//! From the text of a `config.json` to a configuration and back.

use std::path::Path;

use serde_json::Value;

use super::{LlavaConfig, TextConfig, VisionConfig, text, vision};
use crate::Error;

/// `config.json` files are a few kilobytes.
const MAX_CONFIG_BYTES: u64 = 16 << 20;

impl LlavaConfig {
    /// Reads and validates a folder's `config.json`, and from `preprocessor_config.json` the side
    /// of its images where the tower takes any.
    pub fn read(dir: &Path) -> Result<LlavaConfig, Error> {
        let mut config = read(dir, LlavaConfig::parse)?;
        if let Some(vision) = &config.vision_config
            && vision.interpolates()
            && config.input_side.is_none()
            && let Some(side) = input_side(dir)?
        {
            config.input_side = Some(side).filter(|&side| side != vision.image_size);
            config.validate()?;
            config.image_seq_length = config.image_tokens();
        }
        Ok(config)
    }

    /// Parses and validates the text of a `config.json`, of a `llava-hf` or a text-only folder.
    pub fn parse(text: &str) -> Result<LlavaConfig, Error> {
        let value: Value = serde_json::from_str(text).map_err(|e| Error::Config(e.to_string()))?;
        for part in [&value, &value["text_config"]] {
            if !part["quantization_config"].is_null() {
                return Err(Error::Config(
                    "quantization_config: weights packed by another tool are not read; use the \
                     folder they were made from"
                        .into(),
                ));
            }
        }
        let mut config = match value["model_type"].as_str().unwrap_or("(absent)") {
            _ if LlavaConfig::is_original(&value) => {
                return Err(Error::Config(
                    "an original LLaVA folder: the shape of its vision tower is in the tower's own \
                     folder"
                        .into(),
                ));
            }
            "llava" => parse_llava(value)?,
            decoder if text::is_decoder(decoder) => parse_text_only(&value)?,
            other => {
                return Err(Error::Config(format!(
                    "model_type is {other}: llava checkpoints can be loaded, and text-only ones of \
                     llama, mistral and qwen2"
                )));
            }
        };
        config.validate()?;
        config.image_seq_length = config.image_tokens();
        Ok(config)
    }

    /// The content of `config.json`: what [`LlavaConfig::parse`] reads back, and transformers.
    pub fn to_json(&self) -> Result<Value, Error> {
        let wrong = |e: serde_json::Error| Error::Config(e.to_string());
        if self.vision_config.is_some() {
            return serde_json::to_value(self).map_err(wrong);
        }
        let mut value = serde_json::to_value(&self.text_config).map_err(wrong)?;
        value["architectures"] = serde_json::json!(self.architectures);
        value["torch_dtype"] = serde_json::json!(self.torch_dtype);
        value["conversation_template"] =
            serde_json::to_value(self.conversation_template).map_err(wrong)?;
        Ok(value)
    }
}

/// The content of a `llava-hf` folder's file.
fn parse_llava(mut value: Value) -> Result<LlavaConfig, Error> {
    let wrong = |e: serde_json::Error| Error::Config(e.to_string());
    // Newer files use the newer name of the same field.
    if value["image_token_index"].is_null() && value["image_token_id"].is_i64() {
        value["image_token_index"] = value["image_token_id"].clone();
    }
    if value["vision_feature_layer"].is_array() {
        return Err(Error::Config(
            "vision_feature_layer is a list: features of several layers side by side are not \
             computed here"
                .into(),
        ));
    }
    let mut part = |name: &str, absent: Value| match value[name].take() {
        Value::Null => absent,
        given => given,
    };
    let text = TextConfig::parse(&part("text_config", serde_json::json!({})))?;
    let vision = VisionConfig::parse(&part("vision_config", vision::clip_large()))?;
    // A null means the default, as in transformers.
    drop_nulls(&mut value);
    let rest: LlavaConfig = serde_json::from_value(value).map_err(wrong)?;
    Ok(LlavaConfig {
        text_config: text,
        vision_config: Some(vision),
        ..rest
    })
}

fn parse_text_only(value: &Value) -> Result<LlavaConfig, Error> {
    let mut config = LlavaConfig::text_only(TextConfig::parse(value)?);
    if !value["conversation_template"].is_null() {
        config.conversation_template =
            serde_json::from_value(value["conversation_template"].clone())
                .map_err(|e| Error::Config(format!("conversation_template: {e}")))?;
    }
    Ok(config)
}

/// The side of a folder's images, from its `preprocessor_config.json`.
pub(crate) fn input_side(dir: &Path) -> Result<Option<i64>, Error> {
    let path = dir.join("preprocessor_config.json");
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(sample::Error::io(path, e).into()),
    };
    let value: Value = serde_json::from_str(&text).map_err(|e| sample::Error::format(&path, e))?;
    let cropped =
        value["do_center_crop"].as_bool().unwrap_or(true) && !value["crop_size"].is_null();
    let size = &value[if cropped { "crop_size" } else { "size" }];
    let sides = match size {
        Value::Null => return Ok(None),
        Value::Number(_) => [size, size],
        _ if !size["height"].is_null() => [&size["height"], &size["width"]],
        _ => [&size["shortest_edge"], &size["shortest_edge"]],
    };
    match sides.map(Value::as_i64) {
        [Some(height), Some(width)] if height == width => Ok(Some(height)),
        _ => Err(sample::Error::format(
            &path,
            format!("images become {size}: the tower is shown squares"),
        )
        .into()),
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

/// Gives an object fields that it lacks; a null is there, and stays.
pub(super) fn fill(value: &mut Value, defaults: Value) {
    if let (Value::Object(fields), Value::Object(defaults)) = (value, defaults) {
        for (name, default) in defaults {
            fields.entry(name).or_insert(default);
        }
    }
}

/// Fields of which a null says that there is none.
const OPTIONAL: [&str; 7] = [
    "bos_token_id",
    "eos_token_id",
    "head_dim",
    "num_key_value_heads",
    "pad_token_id",
    "rope_scaling",
    "sliding_window",
];

/// Drops fields that are null, which in transformers' files stands for the default.
pub(crate) fn drop_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|name, field| !field.is_null() || OPTIONAL.contains(&name.as_str()));
        fields.values_mut().for_each(drop_nulls);
    }
}
