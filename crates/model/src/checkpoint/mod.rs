//! Checkpoints: what a path on disk is, everything that belongs to it, and writing one.
//!
//! A checkpoint is a folder as Hugging Face's code writes it. [`Checkpoint::open`] reads its
//! configuration and no weights; [`Checkpoint::load`] reads those.

mod safetensors;
mod save;

use std::path::{Path, PathBuf};

use tch::{Device, Kind};

pub(crate) use safetensors::write_safetensors;
pub use save::WeightKind;
pub(crate) use save::pretty;

use crate::parameters::specification;
use crate::weights::{Source, Target, names, open_all, plan, weight_files};
use crate::{Error, Llava, LlavaConfig, LoadReport, Preprocessor, PromptForm, Tokenizer};

/// A model on disk.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    config: LlavaConfig,
}

/// How a checkpoint is to be in memory.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Where the weights go.
    pub device: Device,
    /// The type of the weights in memory and of all matrix products.
    pub kind: Kind,
    /// A folder of a low-rank adapter (LoRA) to use beside the weights.
    pub adapter: Option<PathBuf>,
    /// Whether gradients are wanted.
    pub trainable: bool,
    /// Random values for tensors that no file has; without it they are an error.
    pub seed: Option<u64>,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            device: Device::Cpu,
            kind: Kind::Float,
            adapter: None,
            trainable: false,
            seed: None,
        }
    }
}

impl Checkpoint {
    /// Finds out what `path` is and reads its configuration.
    ///
    /// # Errors
    /// A path that holds no model, or one that cannot be built.
    pub fn open(path: &Path) -> Result<Checkpoint, Error> {
        Ok(Checkpoint {
            path: path.to_owned(),
            config: LlavaConfig::read(path)?,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Shapes and token ids.
    pub fn config(&self) -> &LlavaConfig {
        &self.config
    }

    /// Reads the weights.
    ///
    /// # Errors
    /// Weights that do not fit the configuration, and missing ones unless
    /// [`LoadOptions::seed`] is given. Values that are not finite are a warning and in the report.
    pub fn load(&self, how: &LoadOptions) -> Result<(Llava, LoadReport), Error> {
        if let Some(adapter) = &how.adapter {
            return Err(Error::Weights {
                path: adapter.clone(),
                detail: "adapters cannot be read yet".into(),
            });
        }
        let plan = plan(self.sources()?, specification(&self.config))?;
        let target = Target {
            device: how.device,
            kind: how.kind,
            seed: how.seed,
        };
        let (parameters, report) = plan.read(&self.path, target)?;
        let config = self.config.clone();
        let mut model = Llava::from_parameters(config, parameters, how.device, how.trainable)?;
        model.compute = how.kind;
        Ok((model, report))
    }

    /// The tokenizer, whose tokens are all rows of the model's embedding.
    pub fn tokenizer(&self) -> Result<Tokenizer, Error> {
        let tokenizer = Tokenizer::load(&self.path)?;
        tokenizer.check(&self.config)?;
        Ok(tokenizer)
    }

    /// How images become pixel values.
    pub fn preprocessor(&self) -> Result<Preprocessor, Error> {
        Preprocessor::load(&self.path, &self.config)
    }

    /// How conversations become tokens.
    pub fn prompt_form(&self) -> Result<PromptForm, Error> {
        Ok(PromptForm::Named(self.config.conversation_template))
    }

    fn sources(&self) -> Result<Vec<Source<'static>>, Error> {
        open_all(&weight_files(&self.path)?, &names::internal_name)
    }
}

impl Llava {
    /// Loads a checkpoint as f32, to be trained.
    ///
    /// # Errors
    /// Anything that does not fit, and any tensor that no file has;
    /// [`Llava::load_partial`] fills those instead. NaN weights are a warning.
    pub fn load(path: &Path, device: Device) -> Result<(Llava, LoadReport), Error> {
        Checkpoint::open(path)?.load(&LoadOptions {
            device,
            trainable: true,
            ..LoadOptions::default()
        })
    }

    /// Loads what a checkpoint has; tensors that are missing get the random values of `seed`.
    pub fn load_partial(
        path: &Path,
        seed: u64,
        device: Device,
    ) -> Result<(Llava, LoadReport), Error> {
        Checkpoint::open(path)?.load(&LoadOptions {
            device,
            trainable: true,
            seed: Some(seed),
            ..LoadOptions::default()
        })
    }
}
