//! What a training begins with: a model, its tokenizer, and how conversations and images become its
//! input.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use c10d::Group;
use model::{
    Adapter, Checkpoint, Composition, Llava, LlavaConfig, LoadOptions, ModelPart, Placement,
    Precision, Preprocessor, PromptForm, Quantisation,
};
use sample::seed;
use sha2::{Digest, Sha256};
use tch::{Device, Kind};

use crate::config::{BaseConfig, Weights};
use crate::{Error, TrainConfig};

/// A base that was found on disk; its weights are not read yet.
pub struct Base {
    /// The model or its parts.
    pub checkpoint: Checkpoint,
    /// A digest of its files; see [`identity`].
    pub digest: String,
    /// What it was put together from.
    pub parts: Vec<BasePart>,
}

/// A model, or a part of one, that training begins with.
pub struct BasePart {
    /// Which part: `vision tower`.
    pub part: &'static str,
    /// Where it lies.
    pub path: PathBuf,
    /// A digest of its files.
    pub digest: String,
}

impl Base {
    /// Looks at what `base` names.
    ///
    /// # Errors
    /// Neither a model nor its parts, or both; folders that hold none.
    pub fn open(base: &BaseConfig) -> Result<Base, Error> {
        let checkpoint = match (&base.model, &base.decoder, &base.tower) {
            (Some(model), None, None) => Checkpoint::open(model)?,
            (None, Some(decoder), Some(tower)) => Checkpoint::compose(
                decoder,
                tower,
                base.projector.as_deref(),
                &Composition {
                    projector_form: base.projector_form.clone(),
                    feature_layer: base.feature_layer.unwrap_or(-2),
                    template: base.template,
                    image_side: base.image_side,
                },
            )?,
            _ => {
                return Err(Error::Config(
                    "train.base names a whole `model`, or a `decoder` and a `tower`".into(),
                ));
            }
        };
        let parts = [
            ("base model", &base.model),
            ("base decoder", &base.decoder),
            ("vision tower", &base.tower),
            ("projector", &base.projector),
        ];
        let parts = parts
            .into_iter()
            .filter_map(|(part, path)| Some((part, path.as_ref()?)));
        let paths: Vec<&PathBuf> = parts.clone().map(|(_, path)| path).collect();
        let parts = parts.map(|(part, path)| {
            Ok(BasePart {
                part,
                path: path.clone(),
                digest: identity(&[path])?,
            })
        });
        Ok(Base {
            digest: identity(&paths)?,
            checkpoint,
            parts: parts.collect::<Result<_, Error>>()?,
        })
    }

    /// Its shapes and token ids.
    pub fn config(&self) -> &LlavaConfig {
        self.checkpoint.config()
    }

    /// The form of prompts that it is trained with.
    pub fn prompt_form(&self, base: &BaseConfig) -> Result<PromptForm, Error> {
        Ok(match base.template {
            Some(template) => PromptForm::Named(template),
            None => self.checkpoint.prompt_form()?,
        })
    }

    /// Reads the weights; parts that are to be trained get gradients, and adapters are put beside them
    /// where the configuration has some.
    pub fn load(
        &self,
        config: &TrainConfig,
        run_seed: u64,
        placement: &Placement,
    ) -> Result<Llava, Error> {
        let how = LoadOptions {
            device: placement.device,
            trainable: true,
            quantisation: match &config.lora {
                Some(lora) if lora.quantise_base => Quantisation::Nf4,
                _ => Quantisation::None,
            },
            ..as_configured(config, run_seed)
        };
        let (model, _) = self.checkpoint.load(&how)?;
        let mut model = match &config.lora {
            None => model,
            Some(lora) => {
                let targets: Vec<&str> = lora.target_modules.iter().map(String::as_str).collect();
                let seed = seed::derive(run_seed, &["train", "lora"]);
                let mut adapter = Adapter::new(
                    model.config(),
                    lora.rank,
                    lora.alpha,
                    &targets,
                    seed,
                    placement.device,
                )?;
                adapter.dropout = lora.dropout;
                // As LLaVA's script, the projector is trained whole beside the updates.
                if !config.freeze_projector {
                    adapter = adapter.with_whole(&model, ModelPart::Projector)?;
                }
                model.with_adapter(adapter, true)?
            }
        };
        model.compute = placement.kind;
        model.set_trainable(
            !config.freeze_tower,
            !config.freeze_projector,
            !config.freeze_decoder,
        )?;
        Ok(model)
    }

    /// The base with a trained adapter merged into its weights.
    pub fn merged(
        &self,
        config: &TrainConfig,
        run_seed: u64,
        adapter: &Path,
    ) -> Result<Llava, Error> {
        let how = as_configured(config, run_seed);
        let (model, _) = self.checkpoint.load(&how)?;
        Ok(model.merged(&Adapter::read(adapter, tch::Device::Cpu, Kind::Float)?)?)
    }
}

/// How the base is read: the type of its weights, and random values for a projector that is not there.
fn as_configured(config: &TrainConfig, run_seed: u64) -> LoadOptions {
    // Only a projector may begin with random values, and only where parts are put together.
    let composed = config
        .base
        .as_ref()
        .is_some_and(|base| base.model.is_none());
    LoadOptions {
        kind: match config.optimiser.weights {
            Weights::Float32 => Kind::Float,
            Weights::Bfloat16 => Kind::BFloat16,
        },
        seed: composed.then(|| seed::derive(run_seed, &["train", "projector"])),
        ..LoadOptions::default()
    }
}

/// A digest of the tower's weights, of the layer that is read, of preprocessing and number type: what
/// features follow from.
pub fn tower_digest(model: &Llava, preprocessor: &Preprocessor) -> Result<String, Error> {
    let mut digest = Sha256::new();
    let config = model.config();
    let vision = serde_json::to_string(&config.vision_config).unwrap_or_default();
    let how = format!(
        "{vision} {} {:?} {preprocessor:?} {:?}",
        config.vision_feature_layer, config.vision_feature_select_strategy, model.compute
    );
    digest.update(how.as_bytes());
    let mut bytes = Vec::new();
    for (name, tensor) in model.parameters() {
        if ModelPart::of(name) != Some(ModelPart::Tower) {
            continue;
        }
        let tensor = tensor
            .f_detach()?
            .f_to_device(tch::Device::Cpu)?
            .f_contiguous()?;
        bytes.resize(tensor.numel() * tensor.f_kind()?.elt_size_in_bytes(), 0);
        tensor.f_copy_data_u8(&mut bytes, tensor.numel())?;
        digest.update(name.as_bytes());
        digest.update(&bytes);
    }
    Ok(hex(digest))
}

fn hex(digest: Sha256) -> String {
    let bytes = digest.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where a run computes and in which type.
pub fn placement(config: &TrainConfig, group: &Group) -> Result<Placement, Error> {
    let dtype = match config.compute {
        Precision::Auto => "auto",
        Precision::Float32 => "f32",
        Precision::Bfloat16 => "bf16",
    };
    let mut placement = Placement::choose(&config.device, dtype)?;
    // Ranks on one machine each have a GPU of their own, unless the configuration names one.
    if let (Device::Cuda(_), true) = (placement.device, group.world() > 1)
        && !config.device.contains(':')
    {
        placement.device = Device::Cuda(group.local_rank());
    }
    Ok(placement)
}

/// A model of `shape` with random weights.
pub fn from_scratch(
    config: &TrainConfig,
    run_seed: u64,
    shape: &LlavaConfig,
    placement: &Placement,
) -> Result<Llava, Error> {
    let seed = seed::derive(run_seed, &["train", "weights"]);
    let mut model = Llava::new(shape, seed, placement.device)?;
    model.compute = placement.kind;
    let amplitude = config.model.vision.position_amplitude;
    if amplitude > 0.0 {
        crate::positions::set_sine_cosine(&model, amplitude)?;
    }
    model.set_trainable(
        !config.freeze_tower,
        !config.freeze_projector,
        !config.freeze_decoder,
    )?;
    Ok(model)
}

/// Bytes that are read of a file's beginning, middle and end.
const SHARE: u64 = 1 << 20;

/// A digest that tells models apart without reading tens of gigabytes: of every file in the folders
/// its name and size, small files whole, and of large ones a mebibyte each of beginning (where
/// safetensors keep their header), middle and end.
pub fn identity(paths: &[&PathBuf]) -> Result<String, Error> {
    let mut digest = Sha256::new();
    for path in paths {
        if !path.exists() {
            return Err(Error::Config(format!(
                "train.base names {}, and there is no such folder or file",
                path.display()
            )));
        }
        let mut files = Vec::new();
        if path.is_dir() {
            let entries =
                std::fs::read_dir(path).map_err(|e| sample::Error::io(path.as_path(), e))?;
            for entry in entries {
                let file = entry
                    .map_err(|e| sample::Error::io(path.as_path(), e))?
                    .path();
                if file.is_file() {
                    files.push(file);
                }
            }
        } else {
            files.push((*path).clone());
        }
        files.sort();
        for file in files {
            add(&mut digest, &file).map_err(|e| sample::Error::io(&file, e))?;
        }
    }
    Ok(digest
        .finalize()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect())
}

fn add(digest: &mut Sha256, path: &Path) -> std::io::Result<()> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    digest.update((name.len() as u64).to_le_bytes());
    digest.update(name.as_bytes());
    digest.update(size.to_le_bytes());
    let starts = match size {
        0..=3_145_728 => vec![(0, size)],
        _ => vec![(0, SHARE), (size / 2, SHARE), (size - SHARE, SHARE)],
    };
    for (start, length) in starts {
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut file)
            .take(length)
            .read_to_end(&mut bytes)?;
        digest.update(&bytes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_size_name_or_header_is_another_base() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        let write = |name: &str, bytes: &[u8]| std::fs::write(path.join(name), bytes).unwrap();
        write("config.json", b"{}");
        write("model.safetensors", &vec![7; 5 << 20]);
        let digest = || identity(&[&path]).unwrap();
        let first = digest();
        assert_eq!(first, digest());
        let mut other = vec![7; 5 << 20];
        other[0] = 8;
        write("model.safetensors", &other);
        assert_ne!(first, digest());
        write("model.safetensors", &vec![7; 5 << 20]);
        assert_eq!(first, digest());
        write("config.json", b"{ }");
        assert_ne!(first, digest());
    }

    #[test]
    fn a_base_is_a_model_or_parts_and_not_both() {
        let some = Some(PathBuf::from("x"));
        let wrong = [
            BaseConfig::default(),
            BaseConfig {
                decoder: some.clone(),
                ..Default::default()
            },
            BaseConfig {
                model: some.clone(),
                decoder: some.clone(),
                tower: some,
                ..Default::default()
            },
        ];
        for base in wrong {
            let error = Base::open(&base).err().unwrap().to_string();
            assert!(error.contains("a `decoder` and a `tower`"), "{error}");
        }
    }
}
