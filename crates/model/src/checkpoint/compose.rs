//! A model put together from parts: a decoder, a vision tower and, perhaps, a projector.
//!
//! LLaVA's first stage begins so: a language model and a vision model that never met, and a random
//! projector between them. A composed checkpoint is a view of the parts' own files; nothing is
//! copied until the trained model is written.
//!
//! A decoder's vocabulary rarely has a token for images: it gets `<image>` after all others, and
//! embedding and output layer grow to a multiple of 64 rows, as in the published `llava-hf` folders
//! (32,000 to 32,064).

use std::path::{Path, PathBuf};

use super::grown::{Grown, rows_for};
use super::{Checkpoint, Form};
use crate::config::Tower;
use crate::tokenizer::special::json_file;
use crate::weights::names::{internal_name, tower_name};
use crate::weights::{LoadReport, Source, open, open_all, weight_files};
use crate::{
    ChatTemplate, Error, FeatureSelect, LlavaConfig, Preprocessor, PromptForm, Template, Tokenizer,
    VisionConfig,
};

const PROJECTOR: &str = "multi_modal_projector.";
/// The projector's name where LLaVA's first stage writes it alone.
const PROJECTOR_FILE: &str = "mm_projector.bin";
const DEFAULT_FORM: &str = "mlp2x_gelu";
/// ImageNet's mean and deviation, with which DINOv2 was trained.
const IMAGENET: ([f64; 3], [f64; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// How parts become one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Composition {
    /// The projector's form: `linear`, or `mlpNx_gelu` for N layers with GELUs between them. By
    /// default that of the projector that is given, else LLaVA-1.5's `mlp2x_gelu`.
    pub projector_form: Option<String>,
    /// Which of the tower's hidden states the projector reads; LLaVA's is -2.
    pub feature_layer: i64,
    /// The conversation form; by default the decoder's own chat template, else `v1`.
    pub template: Option<Template>,
    /// Side of the images in pixels, for towers whose positions can be interpolated (DINOv2); by
    /// default what the tower's `preprocessor_config.json` says.
    pub image_side: Option<i64>,
}

impl Default for Composition {
    fn default() -> Self {
        Composition {
            projector_form: None,
            feature_layer: -2,
            template: None,
            image_side: None,
        }
    }
}

/// Where the parts of a composed model are.
#[derive(Debug, Clone)]
pub(super) struct Composed {
    decoder: Box<Checkpoint>,
    tower: PathBuf,
    /// Files that hold the projector; none where it is to be random.
    projector: Vec<PathBuf>,
    template: Option<Template>,
}

impl Checkpoint {
    /// A model of a decoder (a LLaMA, Mistral or Qwen2 folder, or a GGUF file), a vision tower (a
    /// folder of CLIP, SigLIP or DINOv2, as published) and a projector (a LLaVA folder, or a
    /// file such as `mm_projector.bin`). Without one the projector is random, and loading needs
    /// [`super::LoadOptions::seed`]. Images are padded to a square, as in LLaVA-1.5.
    ///
    /// # Errors
    /// Parts that are something else, or that do not fit each other, by the part's path.
    pub fn compose(
        decoder: &Path,
        tower: &Path,
        projector: Option<&Path>,
        how: &Composition,
    ) -> Result<Checkpoint, Error> {
        let text = open_decoder(decoder)?;
        let (mut vision, mean, std) = open_tower(tower, how)?;
        let files = projector.map(projector_files).transpose()?;
        let given = files.as_deref().map(Shape::of).transpose()?;
        let tokenizer = with_image(text.tokenizer()?);
        let image = tokenizer.image.unwrap_or(crate::IMAGE_PLACEHOLDER);
        let form = how.projector_form.clone();
        let form = form.or_else(|| given.as_ref().map(Shape::form));
        let mut text_config = text.config.text_config.clone();
        text_config.vocab_size = rows_for(image, text_config.vocab_size);
        let input_side = vision.input_side.take();
        let vision = vision.vision_config.unwrap_or_default();
        let mut config = LlavaConfig {
            vision_feature_layer: how.feature_layer,
            vision_feature_select_strategy: match vision.tower() {
                // Without a class token all tokens are patches.
                Tower::Siglip => FeatureSelect::Full,
                Tower::Clip | Tower::Dinov2 => FeatureSelect::Default,
            },
            mm_projector_type: form.unwrap_or_else(|| DEFAULT_FORM.to_owned()),
            multimodal_projector_bias: given.as_ref().is_none_or(|shape| shape.bias),
            image_token_index: image,
            input_side,
            conversation_template: how.template.unwrap_or_default(),
            image_mean: mean,
            image_std: std,
            tie_word_embeddings: text_config.tie_word_embeddings,
            pad_token_id: Some(tokenizer.pad),
            text_config,
            vision_config: Some(vision),
            ..LlavaConfig::default()
        };
        config.validate()?;
        config.image_seq_length = config.image_tokens();
        if let (Some(shape), Some(path)) = (&given, projector) {
            shape.check(path, &config)?;
        }
        Ok(Checkpoint {
            path: decoder.to_owned(),
            config,
            form: Form::Composed(Composed {
                decoder: Box::new(text),
                tower: tower.to_owned(),
                projector: files.unwrap_or_default(),
                template: how.template,
            }),
        })
    }
}

impl Composed {
    /// Folders and files that the parts are in.
    pub fn places(&self) -> Vec<&Path> {
        let projector = self.projector.iter().map(PathBuf::as_path);
        [self.decoder.path(), &self.tower]
            .into_iter()
            .chain(projector)
            .collect()
    }

    /// All files that hold a part. Of a tower's folder only the tower is taken, of a LLaVA's only
    /// the projector.
    pub fn sources(&self, config: &LlavaConfig) -> Result<Vec<Source<'static>>, Error> {
        let rows = (
            self.decoder.config.text_config.vocab_size,
            config.text_config.vocab_size,
        );
        let mut sources = Vec::new();
        for Source { file, rename } in self.decoder.sources()? {
            let file = Box::new(Grown::new(file, rename, rows));
            sources.push(Source { file, rename });
        }
        sources.extend(open_all(&weight_files(&self.tower)?, &tower_only)?);
        sources.extend(open_all(&self.projector, &projector_only)?);
        Ok(sources)
    }

    /// Refuses parts that lack a tensor. Only the projector can be random, and only where
    /// `random` values are wanted.
    pub fn check(&self, report: &LoadReport, random: bool) -> Result<(), Error> {
        let lacks = |path: &Path, detail: String| Error::Weights {
            path: path.to_owned(),
            detail,
        };
        for (part, path, what) in [
            ("vision_tower.", self.tower.as_path(), "vision tower"),
            ("language_model.", self.decoder.path(), "decoder"),
        ] {
            let mut missing = report.missing.iter().filter(|name| name.starts_with(part));
            if let Some(first) = missing.next() {
                return Err(lacks(
                    path,
                    format!(
                        "{} of the {what}'s tensors are in none of its weight files, the first is \
                         {first}: it is incomplete or another kind of model",
                        missing.count() + 1
                    ),
                ));
            }
        }
        if report.missing.is_empty() || (random && self.projector.is_empty()) {
            return Ok(());
        }
        Err(match self.projector.first() {
            Some(path) => lacks(path, format!("has no {}", report.missing[0])),
            None => lacks(
                self.decoder.path(),
                "has no projector to see through: give one, or a seed to begin with a random one"
                    .into(),
            ),
        })
    }

    /// The decoder's tokenizer, with a token for images.
    pub fn tokenizer(&self) -> Result<Tokenizer, Error> {
        Ok(with_image(self.decoder.tokenizer()?))
    }

    /// The form that was asked for, or the decoder's own.
    pub fn prompt_form(&self) -> Result<PromptForm, Error> {
        if let Some(template) = self.template {
            return Ok(PromptForm::Named(template));
        }
        Ok(match self.chat_template()? {
            Some(template) => PromptForm::Jinja(template),
            None => PromptForm::Named(Template::V1),
        })
    }

    fn chat_template(&self) -> Result<Option<ChatTemplate>, Error> {
        match &self.decoder.form {
            Form::Folder => ChatTemplate::load(&self.decoder.path),
            _ => match self.decoder.prompt_form()? {
                PromptForm::Jinja(template) => Ok(Some(template)),
                PromptForm::Named(_) => Ok(None),
            },
        }
    }
}

/// A decoder by itself.
fn open_decoder(path: &Path) -> Result<Checkpoint, Error> {
    let refuse = |detail: &str| Error::Weights {
        path: path.to_owned(),
        detail: detail.to_owned(),
    };
    if path.is_dir() && !path.join("config.json").is_file() {
        return Err(refuse(
            "is to be the decoder, but has no config.json: give the folder of a LLaMA, Mistral or \
             Qwen2, or a GGUF file",
        ));
    }
    let text = Checkpoint::open(path)?;
    if text.config.vision_config.is_some() {
        return Err(refuse(
            "is to be the decoder, but has a vision tower: train on it as a whole model",
        ));
    }
    Ok(text)
}

/// A tower's shape and the side of its images, and the colours it was trained with.
fn open_tower(dir: &Path, how: &Composition) -> Result<(LlavaConfig, [f64; 3], [f64; 3]), Error> {
    let path = dir.join("config.json");
    if !path.is_file() {
        return Err(Error::Weights {
            path: dir.to_owned(),
            detail:
                "is to be the vision tower, but has no config.json: give the folder of a CLIP, \
                     SigLIP or DINOv2"
                    .into(),
        });
    }
    let vision = VisionConfig::parse(&json_file(&path)?)
        .map_err(|e| sample::Error::format(&path, format!("is to be the vision tower: {e}")))?;
    let side = match how.image_side {
        Some(side) => Some(side),
        None if vision.interpolates() => crate::config::input_side(dir)?,
        None => None,
    };
    let (mean, std) = match vision.tower() {
        Tower::Clip => (crate::CLIP_MEAN, crate::CLIP_STD),
        Tower::Siglip => ([0.5; 3], [0.5; 3]),
        Tower::Dinov2 => IMAGENET,
    };
    let config = LlavaConfig {
        input_side: side.filter(|&side| side != vision.image_size),
        vision_config: Some(vision),
        image_mean: mean,
        image_std: std,
        ..LlavaConfig::default()
    };
    // Its own size and crop are for classifying; padded images are scaled to the tower's side.
    let written = match dir.join("preprocessor_config.json").is_file() {
        true => Preprocessor::load_tower(dir, &config, false)?,
        false => Preprocessor::new(&config),
    };
    Ok((config, written.mean, written.std))
}

/// The files of a path that may hold a projector.
fn projector_files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let alone = path.join(PROJECTOR_FILE);
    match alone.is_file() {
        true => Ok(vec![alone]),
        false => weight_files(path),
    }
}

/// A projector as its files have it.
struct Shape {
    /// Of each layer: outputs, inputs.
    layers: Vec<(i64, i64)>,
    bias: bool,
}

impl Shape {
    fn of(files: &[PathBuf]) -> Result<Shape, Error> {
        let mut layers = std::collections::BTreeMap::new();
        let mut bias = false;
        for path in files {
            sample::interrupt::check()?;
            for info in open(path)?.tensors() {
                let Some(name) = projector_only(&info.name) else {
                    continue;
                };
                let layer = name
                    .strip_prefix("multi_modal_projector.linear_")
                    .and_then(|rest| rest.split_once('.'));
                match (layer, info.shape.as_slice()) {
                    (Some((index, "weight")), &[outputs, inputs]) => {
                        let index: usize = index.parse().unwrap_or(usize::MAX);
                        layers.insert(index, (outputs, inputs));
                    }
                    (Some((_, "bias")), [_]) => bias = true,
                    _ => {
                        return Err(Error::Tensor {
                            path: path.clone(),
                            name: info.name.clone(),
                            detail: "is no layer of a projector that is computed here: linear, or \
                                     linear layers with GELUs between them"
                                .into(),
                        });
                    }
                }
            }
        }
        match files.first() {
            Some(path) if layers.is_empty() => Err(Error::Weights {
                path: path.clone(),
                detail: "holds no projector (mm_projector or multi_modal_projector)".into(),
            }),
            _ => Ok(Shape {
                layers: layers.into_values().collect(),
                bias,
            }),
        }
    }

    fn form(&self) -> String {
        match self.layers.len() {
            1 => "linear".to_owned(),
            count => format!("mlp{count}x_gelu"),
        }
    }

    /// Refuses a projector between other widths, or of another form.
    fn check(&self, path: &Path, config: &LlavaConfig) -> Result<(), Error> {
        let tower = config.vision_config.as_ref().map_or(0, |v| v.hidden_size);
        let decoder = config.text_config.hidden_size;
        let refuse = |detail: String| Error::Weights {
            path: path.to_owned(),
            detail,
        };
        if config.projector_layers() != i64::try_from(self.layers.len()).ok() {
            return Err(refuse(format!(
                "is a projector of the form {}, not {}",
                self.form(),
                config.mm_projector_type
            )));
        }
        let mut width = tower;
        for &(outputs, inputs) in &self.layers {
            if inputs != width || outputs != decoder {
                return Err(refuse(format!(
                    "is a projector with a layer from {inputs} to {outputs}, but the tower gives \
                     features of width {tower} and the decoder takes {decoder}: it belongs to \
                     other parts"
                )));
            }
            width = decoder;
        }
        Ok(())
    }
}

fn tower_only(name: &str) -> Option<String> {
    tower_name(name).filter(|name| name.starts_with("vision_tower."))
}

fn projector_only(name: &str) -> Option<String> {
    internal_name(name).filter(|name| name.starts_with(PROJECTOR) || name.contains("mm_projector"))
}

/// A decoder's tokenizer with a token for images; rows are filled with `<unk>` where there is no
/// token for that, as in LLaVA-1.5.
fn with_image(mut tokenizer: Tokenizer) -> Tokenizer {
    if tokenizer.image.is_none() {
        tokenizer.add_image_token();
    }
    if tokenizer.pad == tokenizer.eos
        && let Some(unknown) = tokenizer.id("<unk>")
    {
        tokenizer.pad = unknown;
    }
    tokenizer
}
