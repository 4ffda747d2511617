//! A checkpoint written again, with its tokenizer, template and processor files carried over.
//!
//! What transformers wrote is copied as it is, since it holds more than this crate reads; a
//! checkpoint of another form gets the files that [`Llava::save`] makes.

use std::path::Path;

use serde_json::{Value, json};

use super::original::with_image_token;
use super::{Checkpoint, Form, pretty};
use crate::gguf::GgufFile;
use crate::tokenizer::special::json_file;
use crate::{Error, Llava, PromptForm, WeightKind};

/// Files beside weights and `config.json` that a checkpoint's users read.
const CARRIED: [&str; 13] = [
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
    "LICENSE",
];
/// No such file is larger.
const MAX_BYTES: u64 = 1 << 30;

impl Checkpoint {
    /// Writes `model`, which was loaded from this checkpoint, as a folder that transformers opens;
    /// `config.json` comes last. An adapter in use is not part of it:
    /// see [`Llava::merged`].
    ///
    /// # Errors
    /// A folder that is this checkpoint's own; what cannot be read or written.
    pub fn write(&self, model: &Llava, out: &Path, kind: WeightKind) -> Result<(), Error> {
        std::fs::create_dir_all(out).map_err(|e| sample::Error::io(out, e))?;
        let same = |a: &Path, b: &Path| {
            let (a, b) = (a.canonicalize(), b.canonicalize());
            matches!((a, b), (Ok(a), Ok(b)) if a == b)
        };
        let places = match &self.form {
            Form::Composed(composed) => composed.places(),
            Form::Folder | Form::Original(_) | Form::Gguf => vec![self.path()],
        };
        if places.into_iter().any(|place| same(out, place)) {
            return Err(Error::Weights {
                path: out.to_owned(),
                detail: "is the checkpoint itself: write to another folder".into(),
            });
        }
        match &self.form {
            Form::Folder => self.carry(model, out, kind),
            Form::Original(_) => {
                let (model, tokenizer) = with_image_token(model, self.tokenizer()?)?;
                model.save(out, &tokenizer, kind)
            }
            Form::Gguf => {
                model.save(out, &self.tokenizer()?, kind)?;
                match GgufFile::open(&self.path)?.chat_template()? {
                    Some(template) => keep_template(out, &template),
                    None => Ok(()),
                }
            }
            Form::Composed(composed) => {
                model.save(out, &self.tokenizer()?, kind)?;
                match composed.prompt_form()? {
                    PromptForm::Jinja(own) => keep_template(out, &own.source_for_parts()),
                    PromptForm::Named(_) => Ok(()),
                }
            }
        }
    }

    fn carry(&self, model: &Llava, out: &Path, kind: WeightKind) -> Result<(), Error> {
        model.save_weights(out, kind)?;
        for name in CARRIED {
            sample::interrupt::check()?;
            copy(&self.path.join(name), &out.join(name))?;
        }
        let mut config = json_file(&self.path.join("config.json"))?;
        set_type(&mut config, kind.stored().1);
        sample::write_atomic(&out.join("config.json"), pretty(&config)?.as_bytes())?;
        Ok(())
    }
}

/// Puts a chat template into a folder in the place of a named form, which would win over it.
fn keep_template(out: &Path, template: &str) -> Result<(), Error> {
    sample::write_atomic(&out.join("chat_template.jinja"), template.as_bytes())?;
    let path = out.join("config.json");
    let mut config = json_file(&path)?;
    if let Some(fields) = config.as_object_mut() {
        fields.remove("conversation_template");
    }
    Ok(sample::write_atomic(&path, pretty(&config)?.as_bytes())?)
}

/// Copies a file that may not be there.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    match std::fs::metadata(from) {
        Ok(meta) if meta.is_file() && meta.len() <= MAX_BYTES => {
            let bytes = std::fs::read(from).map_err(|e| sample::Error::io(from, e))?;
            Ok(sample::write_atomic(to, &bytes)?)
        }
        _ => Ok(()),
    }
}

/// Says which type the weights have, wherever the file says it: its name was `torch_dtype` first,
/// and the parts may have their own.
fn set_type(config: &mut Value, name: &str) {
    let Some(fields) = config.as_object_mut() else {
        return;
    };
    let newer = fields.contains_key("dtype");
    fields.insert(
        if newer { "dtype" } else { "torch_dtype" }.to_owned(),
        json!(name),
    );
    for part in ["text_config", "vision_config"] {
        if let Some(part) = fields.get_mut(part).and_then(Value::as_object_mut) {
            for key in ["dtype", "torch_dtype"] {
                if part.contains_key(key) {
                    part.insert(key.to_owned(), json!(name));
                }
            }
        }
    }
}
