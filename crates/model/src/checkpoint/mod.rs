//! Checkpoints: what a path on disk is, everything that belongs to it, and writing one.
//!
//! A checkpoint is a folder as Hugging Face's code writes it, of a model that sees or of a decoder
//! alone, one of the original LLaVA's code, or a GGUF file; or it is composed of several
//! ([`Checkpoint::compose`]). [`Checkpoint::open`] reads its configuration and no weights; [`Checkpoint::plan`] holds its files' headers against that;
//! [`Checkpoint::load`] reads the weights; [`Checkpoint::write`] writes a folder that transformers
//! opens.

mod card;
mod carry;
mod compose;
mod grown;
mod original;
mod safetensors;
mod save;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tch::{Device, Kind};

pub use card::{CardAncestor, CardData, CardScore, ModelCard};
use compose::Composed;
pub use compose::Composition;
pub(crate) use safetensors::write_safetensors;
pub use save::WeightKind;
pub(crate) use save::pretty;

use crate::gguf::{self, GgufFile};
use crate::parameters::specification;
use crate::quantise::Quantised;
use crate::weights::{Plan, Source, Target, names, open_all, plan, weight_files};
use crate::{
    Adapter, ChatTemplate, Error, Llava, LlavaConfig, LoadReport, ModelPart, Preprocessor,
    PromptForm, Quantisation, Tokenizer,
};
use original::Original;

/// A model on disk.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    config: LlavaConfig,
    form: Form,
}

/// How its parts lie on disk.
#[derive(Debug, Clone)]
enum Form {
    /// One folder with everything, as transformers writes it.
    Folder,
    /// The original LLaVA's.
    Original(Original),
    /// One GGUF file, of a decoder alone.
    Gguf,
    /// Parts that lie apart.
    Composed(Composed),
}

/// How a checkpoint is to be in memory.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Where the weights go.
    pub device: Device,
    /// The type of the weights in memory and of all matrix products.
    pub kind: Kind,
    /// A PEFT folder of a low-rank adapter (LoRA) to use beside the weights; where gradients are
    /// wanted, only its tensors get them.
    pub adapter: Option<PathBuf>,
    /// Whether gradients are wanted.
    pub trainable: bool,
    /// Random values for tensors that no file has; without it they are an error.
    pub seed: Option<u64>,
    /// Keeps the weights of the decoder's layers in few bits, to train an adapter beside them
    /// (QLoRA, arXiv 2305.14314). They are spread out where they are used, one at a time, and get no
    /// gradients. Weights whose shape has no whole blocks stay as they are.
    pub quantisation: Quantisation,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            device: Device::Cpu,
            kind: Kind::Float,
            adapter: None,
            trainable: false,
            seed: None,
            quantisation: Quantisation::None,
        }
    }
}

impl Checkpoint {
    /// Finds out what `path` is and reads its configuration.
    ///
    /// # Errors
    /// A path that holds no model, or one that cannot be built.
    pub fn open(path: &Path) -> Result<Checkpoint, Error> {
        if !path.exists() {
            return Err(Error::Weights {
                path: path.to_owned(),
                detail: "there is no such folder or file".into(),
            });
        }
        let (config, form) = if is_gguf(path) {
            (GgufFile::open(path)?.config()?, Form::Gguf)
        } else {
            match original::open(path)? {
                Some((config, original)) => (config, Form::Original(original)),
                None => (LlavaConfig::read(path)?, Form::Folder),
            }
        };
        Ok(Checkpoint {
            path: path.to_owned(),
            config,
            form,
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
        fits_in_memory(&self.config, how, how.quantisation)?;
        let plan = self.planned()?;
        self.check_parts(&plan.report, how.seed.is_some())?;
        let target = Target {
            device: how.device,
            kind: how.kind,
            seed: how.seed,
        };
        let mut kept = HashMap::new();
        let (parameters, mut report) = plan.read_but(&self.path, target, &mut |name, weight| {
            let layer = matches!(ModelPart::of(name), Some(ModelPart::Layer(_)));
            if !layer || weight.dim() != 2 {
                return Ok(false);
            }
            let quantised = Quantised::new(weight, how.quantisation)?;
            let quantised = quantised.map(|weight| weight.to_device(how.device));
            let taken = quantised.transpose()?;
            let taken = taken.map(|weight| kept.insert(name.to_owned(), weight));
            Ok(taken.is_some())
        })?;
        let config = self.config.clone();
        let mut model = Llava::from_kept(config, parameters, kept, how.device, how.trainable)?;
        model.compute = how.kind;
        if let Some(folder) = &how.adapter {
            let kind = if how.trainable { Kind::Float } else { how.kind };
            let adapter = Adapter::read(folder, how.device, kind)?;
            report.adapted = adapter
                .parameters()
                .into_iter()
                .map(|(name, _)| name)
                .collect();
            model = model.with_adapter(adapter, how.trainable)?;
        }
        Ok((model, report))
    }

    /// Reads the weights into a model that is ready to answer ([`Llava::into_answering`]), layer by
    /// layer where nothing has to be changed about them first: they are in memory once.
    ///
    /// # Errors
    /// As [`Checkpoint::load`].
    pub fn load_answering(
        &self,
        how: &LoadOptions,
        quantisation: Quantisation,
    ) -> Result<(Llava, LoadReport), Error> {
        if how.adapter.is_some() || how.seed.is_some() {
            let plain = LoadOptions {
                quantisation: Quantisation::None,
                ..how.clone()
            };
            let (model, report) = self.load(&plain)?;
            return Ok((model.into_answering(how.kind, quantisation)?, report));
        }
        fits_in_memory(&self.config, how, quantisation)?;
        let target = Target {
            device: how.device,
            kind: how.kind,
            seed: None,
        };
        let plan = self.planned()?;
        self.check_parts(&plan.report, false)?;
        let reader = plan.reader(&self.path, target)?;
        let packing = (how.kind, quantisation);
        Llava::read_answering(self.config.clone(), reader, &self.path, how.device, packing)
    }

    /// What loading would find, from the files' headers alone.
    ///
    /// # Errors
    /// As [`Checkpoint::load`], but for missing tensors, which are in the report.
    pub fn plan(&self) -> Result<LoadReport, Error> {
        Ok(self.planned()?.report)
    }

    /// The type in which all weights can be held as they are in the files: f16 or bf16 where every
    /// one of them has it, else f32.
    pub fn stored_kind(&self) -> Result<Kind, Error> {
        Ok(self.planned()?.kind())
    }

    fn planned(&self) -> Result<Plan<'static>, Error> {
        plan(self.sources()?, specification(&self.config))
    }

    fn sources(&self) -> Result<Vec<Source<'static>>, Error> {
        Ok(match &self.form {
            Form::Folder => open_all(&weight_files(&self.path)?, &names::internal_name)?,
            Form::Original(original) => original.sources()?,
            Form::Gguf => vec![Source {
                file: Box::new(GgufFile::open(&self.path)?),
                rename: &gguf::internal_name,
            }],
            Form::Composed(composed) => composed.sources(&self.config)?,
        })
    }

    /// The files that hold the weights, in the order in which they are read.
    pub fn weight_files(&self) -> Result<Vec<PathBuf>, Error> {
        let sources = self.sources()?;
        let paths = sources.iter().map(|source| source.file.path().to_owned());
        Ok(paths.collect())
    }

    /// Refuses parts that lack something of theirs.
    fn check_parts(&self, report: &LoadReport, random: bool) -> Result<(), Error> {
        match &self.form {
            Form::Composed(composed) => composed.check(report, random),
            Form::Folder | Form::Original(_) | Form::Gguf => Ok(()),
        }
    }

    /// The tokenizer, whose tokens are all rows of the model's embedding.
    pub fn tokenizer(&self) -> Result<Tokenizer, Error> {
        let tokenizer = match &self.form {
            Form::Folder => Tokenizer::load(&self.path)?,
            Form::Gguf => GgufFile::open(&self.path)?.tokenizer()?,
            Form::Composed(composed) => composed.tokenizer()?,
            Form::Original(original) => {
                original::tokenizer(&original.base)?.ok_or_else(|| Error::Weights {
                    path: original.base.clone(),
                    detail: "has neither tokenizer.json nor tokenizer.model".into(),
                })?
            }
        };
        tokenizer.check(&self.config)?;
        Ok(tokenizer)
    }

    /// How images become pixel values.
    pub fn preprocessor(&self) -> Result<Preprocessor, Error> {
        match &self.form {
            Form::Folder => Preprocessor::load(&self.path, &self.config),
            // The decoder alone; or padded images, whatever the tower's folder does to them.
            Form::Gguf | Form::Composed(_) => Ok(Preprocessor::new(&self.config)),
            Form::Original(original) => {
                let pad = self.config.image_aspect_ratio == "pad";
                Preprocessor::load_tower(&original.tower, &self.config, pad)
            }
        }
    }

    /// How conversations become tokens: the form that was trained, or the checkpoint's own
    /// template.
    ///
    /// # Errors
    /// A template that is not Jinja; none at all where a decoder is alone.
    pub fn prompt_form(&self) -> Result<PromptForm, Error> {
        match &self.form {
            Form::Composed(composed) => composed.prompt_form(),
            Form::Folder => PromptForm::of_folder(&self.path, &self.config),
            Form::Original(_) => Ok(PromptForm::Named(self.config.conversation_template)),
            Form::Gguf => Ok(match GgufFile::open(&self.path)?.chat_template()? {
                Some(template) => PromptForm::Jinja(ChatTemplate::new(&template)?),
                None => PromptForm::Named(self.config.conversation_template),
            }),
        }
    }
}

/// Refuses weights larger than the machine's memory, where that is known.
fn fits_in_memory(
    config: &LlavaConfig,
    how: &LoadOptions,
    quantisation: Quantisation,
) -> Result<(), Error> {
    // Another device has a memory of its own, and tensors pass through this one's one at a time.
    if how.device != Device::Cpu {
        return Ok(());
    }
    let bytes = match quantisation {
        Quantisation::None => how.kind.elt_size_in_bytes() as f64,
        // Nearly all weights are the decoder's products.
        Quantisation::Int8 => 1.1,
        Quantisation::Int4 | Quantisation::Nf4 => 0.75,
    };
    crate::llava::fits_in_memory(config.parameter_count(), bytes)
}

/// A file, by its ending; folders may be called anything.
fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "gguf") && !path.is_dir()
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
