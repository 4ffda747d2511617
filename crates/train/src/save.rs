//! What a training leaves: the model's folder, the adapter's where there is one, their cards.

use std::path::Path;

use fit::Best;
use model::{Llava, WeightKind};
use sample::Stage;

use crate::card::card;
use crate::config::Weights;
use crate::data::Data;
use crate::run::Kit;
use crate::start::Base;
use crate::{Error, TrainConfig};

/// The trained model's folder, in Hugging Face's form.
pub const MODEL: &str = "model";
/// The trained adapter's folder, in PEFT's form.
pub const ADAPTER: &str = "adapter";

/// A finished training.
pub struct Made<'a> {
    pub config: &'a TrainConfig,
    pub run_seed: u64,
    pub data: &'a Data,
    pub kit: &'a Kit,
    pub base: Option<&'a Base>,
    pub steps: u64,
    pub best: Option<Best>,
}

impl Made<'_> {
    /// Writes `model`, and the adapter beside it where there is one, which is also merged into the
    /// model's weights; gives the files of weights, relative to the stage's folder.
    pub fn save(&self, stage: &Stage, model: Llava) -> Result<Vec<String>, Error> {
        let kind = match self.config.optimiser.weights {
            Weights::Float32 => WeightKind::Float32,
            Weights::Bfloat16 => WeightKind::Bfloat16,
        };
        let out = stage.path(MODEL);
        let mut files = Vec::new();
        let model = match (model.adapter(), self.base) {
            (Some(adapter), Some(base)) => {
                let folder = stage.path(ADAPTER);
                adapter.write(model.config(), &folder)?;
                self.card(stage, true).write(&folder)?;
                files.extend(weights(&folder, ADAPTER)?);
                drop(model);
                // The base as it is on disk, for here its weights may be in few bits.
                base.merged(self.config, self.run_seed, &folder)?
            }
            _ => model,
        };
        match self.base {
            Some(base) => base.checkpoint.write(&model, &out, kind)?,
            None => model.save(&out, &self.kit.tokenizer, kind)?,
        }
        self.card(stage, false).write(&out)?;
        files.extend(weights(&out, MODEL)?);
        Ok(files)
    }

    fn card(&self, stage: &Stage, adapter: bool) -> model::ModelCard {
        let made = (self.steps, self.best);
        card(
            self.config,
            stage.key(),
            self.data,
            self.base,
            made,
            adapter,
        )
    }
}

/// The files of weights in a folder, by the name that the stage calls it.
fn weights(folder: &Path, name: &str) -> Result<Vec<String>, Error> {
    let entries = std::fs::read_dir(folder).map_err(|e| sample::Error::io(folder, e))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(|e| sample::Error::io(folder, e))?.file_name();
        let file = file.to_string_lossy();
        if file.ends_with(".safetensors") {
            files.push(format!("{name}/{file}"));
        }
    }
    files.sort();
    Ok(files)
}
