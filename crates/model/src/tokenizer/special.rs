//! Which tokens begin and end a conversation, pad it and stand for an image.
//!
//! A folder may say so in five files. They are asked in transformers' order: the tokenizer's own
//! `tokenizer_config.json`, then `special_tokens_map.json`, both by the tokens' text, then
//! `generation_config.json` and `config.json` by id; last, the names that published vocabularies
//! use. An explicit `null` is an answer: Qwen2's tokenizer has no first token, whatever its
//! `config.json` says.

use std::path::Path;

use serde_json::Value;

use crate::Error;

/// Stands for an image in conversations of the original LLaVA, whose tokenizers have no token for
/// it: `IMAGE_TOKEN_INDEX` in LLaVA's `constants.py`. No vocabulary has it.
pub const IMAGE_PLACEHOLDER: i64 = -200;

/// The longest of these files hold a few thousand added tokens.
const MAX_BYTES: u64 = 64 << 20;

/// Ids of the tokens that have a part in every conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// First token of a conversation.
    pub bos: Option<i64>,
    /// Ends a reply.
    pub eos: Option<i64>,
    /// Fills rows.
    pub pad: Option<i64>,
    /// Where an image goes.
    pub image: Option<i64>,
    /// Whether the tokenizer itself puts `bos` before a text; its post-processor decides where
    /// this is `None`.
    pub adds_bos: Option<bool>,
}

/// What published vocabularies call them, the likeliest first.
const BOS: [&str; 2] = ["<s>", "<|begin_of_text|>"];
const EOS: [&str; 5] = [
    "</s>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|endoftext|>",
];
const PAD: [&str; 1] = ["<pad>"];
const IMAGE: [&str; 1] = ["<image>"];

impl SpecialTokens {
    /// Tokens by the names that published vocabularies use.
    pub fn by_name(id: impl Fn(&str) -> Option<i64>) -> SpecialTokens {
        let any = |names: &[&str]| names.iter().find_map(|name| id(name));
        SpecialTokens {
            bos: any(&BOS),
            eos: any(&EOS),
            pad: any(&PAD),
            image: any(&IMAGE),
            adds_bos: None,
        }
    }

    /// What the files of a folder say, and the names where they say nothing.
    pub(super) fn of_folder(
        dir: &Path,
        id: impl Fn(&str) -> Option<i64>,
    ) -> Result<SpecialTokens, Error> {
        let file = |name: &str| json_file(&dir.join(name));
        let config = file("config.json")?;
        let generation = file("generation_config.json")?;
        let tokenizer = file("tokenizer_config.json")?;
        let map = file("special_tokens_map.json")?;
        let named = SpecialTokens::by_name(&id);
        let find = |name: &str, otherwise: Option<i64>| {
            let key = format!("{name}_token");
            for value in [&tokenizer[&key], &map[&key]] {
                match text_of(value) {
                    Some(text) => return id(text),
                    // Written, and nothing: there is none.
                    None if tokenizer.get(&key).is_some() => return None,
                    None => {}
                }
            }
            let key = format!("{name}_token_id");
            [&generation, &config, &config["text_config"]]
                .iter()
                .find_map(|value| first_id(&value[&key]))
                .or(otherwise)
        };
        // Older processors keep the image token's text in the tokenizer, newer ones beside it.
        let image_text = [
            &tokenizer["image_token"],
            &tokenizer["extra_special_tokens"]["image_token"],
        ]
        .into_iter()
        .find_map(text_of);
        let image = image_text
            .and_then(&id)
            .or(named.image)
            .or_else(|| {
                ["image_token_index", "image_token_id"]
                    .iter()
                    .find_map(|key| config[*key].as_i64())
            })
            .or_else(|| (!config["mm_vision_tower"].is_null()).then_some(IMAGE_PLACEHOLDER));
        Ok(SpecialTokens {
            bos: find("bos", named.bos),
            // A reply must end: where the tokenizer says there is no such token, the model knows.
            eos: find("eos", None)
                .or_else(|| first_id(&generation["eos_token_id"]))
                .or_else(|| first_id(&config["eos_token_id"]))
                .or_else(|| first_id(&config["text_config"]["eos_token_id"]))
                .or(named.eos),
            pad: find("pad", None).or(named.pad),
            image,
            adds_bos: tokenizer["add_bos_token"].as_bool(),
        })
    }
}

/// A token written as text or as an object that holds it.
fn text_of(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

/// One id, or the first of several.
fn first_id(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value[0].as_i64())
}

/// A folder's JSON file; `Null` where it is absent.
pub(crate) fn json_file(path: &Path) -> Result<Value, Error> {
    let Some(text) = text_file(path, MAX_BYTES)? else {
        return Ok(Value::Null);
    };
    serde_json::from_str(&text).map_err(|e| sample::Error::format(path, e).into())
}

/// A text file of at most `max` bytes; `None` where it is absent.
pub(crate) fn text_file(path: &Path, max: u64) -> Result<Option<String>, Error> {
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(sample::Error::io(path, e).into()),
    };
    if meta.len() > max {
        let detail = format!(
            "{} bytes: files of this name are smaller than {max}",
            meta.len()
        );
        return Err(sample::Error::format(path, detail).into());
    }
    let text = std::fs::read_to_string(path).map_err(|e| sample::Error::io(path, e))?;
    Ok(Some(text))
}
