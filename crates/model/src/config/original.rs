//! `config.json` of the original LLaVA's folders, such as `liuhaotian/llava-v1.5-7b`.
//!
//! There the decoder's fields stand at the top, what LLaVA adds begins with `mm_`, and the tower is
//! only named: its shape is in its own folder.

use serde_json::Value;

use super::vision::Tower;
use super::{FeatureSelect, LlavaConfig, TextConfig, VisionConfig};
use crate::Error;

impl LlavaConfig {
    /// Whether this is the content of an original LLaVA `config.json`.
    pub fn is_original(value: &Value) -> bool {
        value.get("mm_vision_tower").is_some() && value["vision_config"].is_null()
    }

    /// Reads an original LLaVA `config.json`, with the shape of its tower
    /// ([`VisionConfig::parse`] reads that).
    ///
    /// Such folders have no `<image>` token: its id is the first one after the vocabulary, unless
    /// an `image_token_index` is given.
    ///
    /// # Errors
    /// What is not computed here, by the field's name.
    pub fn from_original(value: &Value, vision: VisionConfig) -> Result<LlavaConfig, Error> {
        let Some(mut fields) = value.as_object().cloned() else {
            return Err(Error::Config("not an object".into()));
        };
        refuse_other_recipes(value)?;
        let model_type = value["model_type"].as_str().unwrap_or("llava");
        let decoder = match model_type {
            "llava" | "llava_llama" => "llama",
            "llava_mistral" => "mistral",
            "llava_qwen" | "llava_qwen2" => "qwen2",
            other => {
                return Err(Error::Config(format!(
                    "model_type is {other}: of the original LLaVA's, llava, llava_llama, \
                     llava_mistral and llava_qwen are computed here"
                )));
            }
        };
        fields.insert("model_type".to_owned(), decoder.into());
        let text_config = TextConfig::parse(&Value::Object(fields))?;
        if let Some(width) = value["mm_hidden_size"].as_i64()
            && width != vision.hidden_size
        {
            return Err(Error::Config(format!(
                "mm_hidden_size is {width}, but the tower's hidden_size is {}: that is another \
                 tower than mm_vision_tower",
                vision.hidden_size
            )));
        }
        let patches_only = match value["mm_vision_select_feature"].as_str() {
            None | Some("patch") => true,
            Some("cls_patch") => false,
            Some(other) => {
                return Err(Error::Config(format!(
                    "mm_vision_select_feature is {other}: patch or cls_patch"
                )));
            }
        };
        let select = match vision.tower() {
            // Without a class token all tokens are patches.
            Tower::Siglip => FeatureSelect::Full,
            Tower::Clip | Tower::Dinov2 if patches_only => FeatureSelect::Default,
            Tower::Clip | Tower::Dinov2 => FeatureSelect::Full,
        };
        let integer = |name: &str, default: i64| match &value[name] {
            Value::Null => Ok(default),
            given => given
                .as_i64()
                .ok_or_else(|| Error::Config(format!("{name} is {given}, not a whole number"))),
        };
        let text = |name: &str, default: &str| value[name].as_str().unwrap_or(default).to_owned();
        let mut config = LlavaConfig {
            image_token_index: integer("image_token_index", text_config.vocab_size)?,
            vision_feature_layer: integer("mm_vision_select_layer", -1)?,
            vision_feature_select_strategy: select,
            mm_projector_type: text("mm_projector_type", "linear"),
            // Absent, images go through the tower's own processor, which crops.
            image_aspect_ratio: text("image_aspect_ratio", "square"),
            tie_word_embeddings: text_config.tie_word_embeddings,
            pad_token_id: text_config.pad_token_id,
            text_config,
            vision_config: Some(vision),
            ..LlavaConfig::default()
        };
        config.validate()?;
        config.image_seq_length = config.image_tokens();
        Ok(config)
    }
}

/// Fields of later or earlier recipes, which would be computed wrongly.
fn refuse_other_recipes(value: &Value) -> Result<(), Error> {
    if value["mm_use_im_start_end"] == Value::Bool(true) {
        return Err(Error::Config(
            "mm_use_im_start_end: images between two tokens of their own, as before LLaVA-1.5, are \
             not computed here"
                .into(),
        ));
    }
    if value["s2"] == Value::Bool(true) {
        return Err(Error::Config(
            "s2: several scales of one image are not computed here".into(),
        ));
    }
    match value["image_aspect_ratio"].as_str() {
        None | Some("pad" | "square") => Ok(()),
        Some(other) => Err(Error::Config(format!(
            "image_aspect_ratio is {other}: one square image (pad or square), as in LLaVA-1.5, is \
             computed here"
        ))),
    }
}
