//! Weights out: a folder that transformers' `LlavaForConditionalGeneration`, `AutoProcessor` and
//! `AutoTokenizer` open, and this crate as well.

use std::path::Path;

use serde_json::json;
use tch::Kind;

use super::safetensors::write_safetensors;
use crate::{Error, Llava, LlavaConfig, Tokenizer};

/// Type of the stored weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WeightKind {
    /// Exactly what was trained.
    #[default]
    Float32,
    /// Half the size.
    Bfloat16,
}

impl WeightKind {
    /// The tensors' type, and its name in `config.json`.
    pub(crate) fn stored(self) -> (Kind, &'static str) {
        match self {
            WeightKind::Float32 => (Kind::Float, "float32"),
            WeightKind::Bfloat16 => (Kind::BFloat16, "bfloat16"),
        }
    }
}

impl Llava {
    /// Writes the checkpoint folder, making it where needed. Each file is written under a
    /// temporary name and renamed, `config.json` last.
    pub fn save(&self, dir: &Path, tokenizer: &Tokenizer, kind: WeightKind) -> Result<(), Error> {
        tokenizer.check(self.config())?;
        std::fs::create_dir_all(dir).map_err(|e| sample::Error::io(dir, e))?;
        let (kind, name) = kind.stored();
        let tensors = self
            .parameters()
            .iter()
            .map(|(n, t)| (n.as_str(), t.shallow_clone()));
        write_safetensors(&dir.join("model.safetensors"), tensors, Some(kind))?;

        let mut config = self.config().clone();
        config.torch_dtype = name.to_owned();
        config.image_seq_length = config.image_tokens();
        config.tie_word_embeddings = config.text_config.tie_word_embeddings;
        config.pad_token_id = Some(tokenizer.pad);
        let write = |name: &str, text: &str| sample::write_atomic(&dir.join(name), text.as_bytes());
        write("tokenizer.json", &tokenizer.to_json()?)?;
        write("chat_template.jinja", &config.conversation_template.jinja())?;
        for (name, value) in side_files(&config, tokenizer) {
            write(name, &pretty(&value)?)?;
        }
        write(
            "config.json",
            &pretty(&serde_json::to_value(&config).map_err(format_error(dir))?)?,
        )?;
        Ok(())
    }
}

pub(crate) fn pretty(value: &serde_json::Value) -> Result<String, Error> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::Config(e.to_string()))?;
    Ok(text + "\n")
}

fn format_error(path: &Path) -> impl Fn(serde_json::Error) -> sample::Error + '_ {
    move |e| sample::Error::format(path, e)
}

/// The files that transformers' processors read.
fn side_files(
    config: &LlavaConfig,
    tokenizer: &Tokenizer,
) -> Vec<(&'static str, serde_json::Value)> {
    let (side, patch) = config
        .vision_config
        .as_ref()
        .map_or((0, 0), |vision| (vision.image_size, vision.patch_size));
    let special = json!({
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>",
    });
    let mut tokenizer_config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "processor_class": "LlavaProcessor",
        "model_max_length": config.text_config.max_position_embeddings,
        "clean_up_tokenization_spaces": false,
        "image_token": "<image>",
        "padding_side": "left",
    });
    merge(&mut tokenizer_config, &special);
    vec![
        ("special_tokens_map.json", special),
        ("tokenizer_config.json", tokenizer_config),
        (
            "preprocessor_config.json",
            json!({
                // LLaVA's processor pads to a square; CLIP's reads the same file and does not.
                "image_processor_type": "LlavaImageProcessor",
                "processor_class": "LlavaProcessor",
                "do_convert_rgb": true,
                "do_pad": true,
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
            }),
        ),
        (
            "processor_config.json",
            json!({
                "processor_class": "LlavaProcessor",
                "patch_size": patch,
                "vision_feature_select_strategy": config.vision_feature_select_strategy,
                // The class token, which the processor counts and then drops.
                "num_additional_image_tokens": 1,
                "image_token": "<image>",
            }),
        ),
        (
            "generation_config.json",
            json!({
                "bos_token_id": tokenizer.bos,
                "eos_token_id": tokenizer.eos,
                "pad_token_id": tokenizer.pad,
                "do_sample": false,
            }),
        ),
    ]
}

fn merge(into: &mut serde_json::Value, from: &serde_json::Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        into.extend(from.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
}
