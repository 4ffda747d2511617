//! Weights out: a folder that transformers' `LlavaForConditionalGeneration`, `AutoProcessor` and
//! `AutoTokenizer` open, and this crate as well.

use std::path::Path;

use serde_json::json;
use tch::Kind;

use super::safetensors::{SHARD_BYTES, write_weights};
use crate::weights::names::published_name;
use crate::{Error, Llava, LlavaConfig, Tokenizer};

/// Type of the stored weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WeightKind {
    /// Exactly what was trained.
    #[default]
    Float32,
    /// Half the size.
    Bfloat16,
    /// Half the size, finer and of a narrower range.
    Float16,
}

impl WeightKind {
    /// The tensors' type, and its name in `config.json`.
    pub(crate) fn stored(self) -> (Kind, &'static str) {
        match self {
            WeightKind::Float32 => (Kind::Float, "float32"),
            WeightKind::Bfloat16 => (Kind::BFloat16, "bfloat16"),
            WeightKind::Float16 => (Kind::Half, "float16"),
        }
    }
}

impl Llava {
    /// Writes the checkpoint folder, making it where needed. Each file is written under a
    /// temporary name and renamed, `config.json` last. An adapter in use is not part of it.
    pub fn save(&self, dir: &Path, tokenizer: &Tokenizer, kind: WeightKind) -> Result<(), Error> {
        tokenizer.check(self.config())?;
        std::fs::create_dir_all(dir).map_err(|e| sample::Error::io(dir, e))?;
        self.save_weights(dir, kind)?;
        let mut config = self.config().clone();
        config.torch_dtype = kind.stored().1.to_owned();
        config.image_seq_length = config.image_tokens();
        config.tie_word_embeddings = config.text_config.tie_word_embeddings;
        config.pad_token_id = Some(tokenizer.pad);
        let write = |name: &str, text: &str| sample::write_atomic(&dir.join(name), text.as_bytes());
        write("tokenizer.json", &tokenizer.to_json()?)?;
        write("chat_template.jinja", &config.conversation_template.jinja())?;
        for (name, value) in side_files(&config, tokenizer) {
            write(name, &pretty(&value)?)?;
        }
        write("config.json", &pretty(&config.to_json()?)?)?;
        Ok(())
    }

    /// Writes the weights alone, in shards where they are large. Decoders alone have the names
    /// that transformers gives them; LLaVA's are those of the published folders.
    pub(super) fn save_weights(&self, dir: &Path, kind: WeightKind) -> Result<(), Error> {
        if self.parameters().is_empty() {
            return Err(Error::Weights {
                path: dir.to_owned(),
                detail: "cannot be written from a model that was packed for answering".into(),
            });
        }
        if self.is_quantised() {
            return Err(Error::Weights {
                path: dir.to_owned(),
                detail: "cannot be written from a model whose weights are kept in few bits: write \
                         its adapter, or merge that into the plain checkpoint"
                    .into(),
            });
        }
        let sees = self.config().vision_config.is_some();
        let names: Vec<String> = self
            .parameters()
            .iter()
            .map(|(name, _)| {
                if sees {
                    name.clone()
                } else {
                    published_name(name, false)
                }
            })
            .collect();
        let tensors = self
            .parameters()
            .iter()
            .zip(&names)
            .map(|((_, tensor), name)| (name.as_str(), tensor.shallow_clone()));
        write_weights(dir, tensors, kind.stored().0, SHARD_BYTES)
    }
}

pub(crate) fn pretty(value: &serde_json::Value) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::Config(e.to_string()))?;
    Ok(text + "\n")
}

/// The files that transformers' tokenizers and processors read.
fn side_files(
    config: &LlavaConfig,
    tokenizer: &Tokenizer,
) -> Vec<(&'static str, serde_json::Value)> {
    let mut special = serde_json::Map::new();
    for (name, token) in [
        (
            "bos_token",
            tokenizer.bos.and_then(|id| tokenizer.token(id)),
        ),
        ("eos_token", tokenizer.token(tokenizer.eos)),
        (
            "unk_token",
            tokenizer.id("<unk>").map(|_| "<unk>".to_owned()),
        ),
        ("pad_token", tokenizer.token(tokenizer.pad)),
    ] {
        special.extend(token.map(|token| (name.to_owned(), json!(token))));
    }
    let mut tokenizer_config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.text_config.max_position_embeddings,
        "clean_up_tokenization_spaces": false,
        "padding_side": "left",
        // Without it `processor(...)` gives token types, which `generate` refuses.
        "model_input_names": ["input_ids", "attention_mask"],
    });
    if let Some(fields) = tokenizer_config.as_object_mut() {
        fields.extend(special.clone());
    }
    let mut files = vec![(
        "generation_config.json",
        json!({
            "bos_token_id": tokenizer.bos,
            "eos_token_id": tokenizer.eos,
            "pad_token_id": tokenizer.pad,
            "do_sample": false,
        }),
    )];
    if let Some(vision) = &config.vision_config {
        tokenizer_config["processor_class"] = json!("LlavaProcessor");
        tokenizer_config["image_token"] = json!("<image>");
        files.push(("preprocessor_config.json", image_processor(config)));
        files.push((
            "processor_config.json",
            json!({
                "processor_class": "LlavaProcessor",
                "patch_size": vision.patch_size,
                "vision_feature_select_strategy": config.vision_feature_select_strategy,
                // The class token, which the processor counts and then drops.
                "num_additional_image_tokens": vision.class_tokens(),
                "image_token": "<image>",
            }),
        ));
    }
    files.push(("special_tokens_map.json", special.into()));
    files.push(("tokenizer_config.json", tokenizer_config));
    files
}

fn image_processor(config: &LlavaConfig) -> serde_json::Value {
    let side = config.image_side();
    let pads = config.image_aspect_ratio == "pad";
    json!({
        // LLaVA's processor pads to a square; CLIP's reads the same file and does not.
        "image_processor_type": if pads { "LlavaImageProcessor" } else { "CLIPImageProcessor" },
        "processor_class": "LlavaProcessor",
        "do_convert_rgb": true,
        "do_pad": pads,
        "do_resize": true,
        "size": {"shortest_edge": side},
        "resample": 3,
        "do_center_crop": true,
        "crop_size": {"height": side, "width": side},
        "do_rescale": true,
        "rescale_factor": 1.0 / 255.0,
        "do_normalize": true,
        "image_mean": config.image_mean,
        "image_std": config.image_std,
    })
}
