//! Folders of the original LLaVA code: `liuhaotian/llava-v1.5-7b` and what its training writes.
//!
//! Such a folder holds the decoder under its own names and the projector as `mm_projector`; the
//! tower is usually only named, by `mm_vision_tower`, and lies in a folder of its own. After the
//! first stage of training there is `mm_projector.bin` alone, over a base decoder that
//! `_name_or_path` names. Both names are looked for beside the folder, below it, and as paths.
//!
//! The vocabulary usually has no `<image>` token, and needs none here: a placeholder that no
//! vocabulary has stands for it. Only written as a folder of transformers it gets one after all
//! others, and embedding and output layer get rows for it, as in the published conversion to
//! `llava-hf` (see `grown`).

use std::path::{Path, PathBuf};

use super::grown::{grown, has_rows, rows_for};
use crate::tokenizer::special::json_file;
use crate::weights::names::{internal_name, tower_name};
use crate::weights::{Source, open_all, weight_files};
use crate::{Error, IMAGE_PLACEHOLDER, Llava, LlavaConfig, Tokenizer, VisionConfig};
use serde_json::Value;

const PROJECTOR: &str = "mm_projector.bin";

/// Where the parts of an original LLaVA checkpoint are.
#[derive(Debug, Clone)]
pub(super) struct Original {
    /// Has decoder and tokenizer: the folder itself, or the base it was trained over.
    pub base: PathBuf,
    /// The vision tower's own folder.
    pub tower: PathBuf,
    /// A projector in a file of its own.
    projector: Option<PathBuf>,
}

/// Reads the configuration of a folder, where it is an original LLaVA's.
///
/// # Errors
/// A tower or a base that is nowhere to be found.
pub(super) fn open(dir: &Path) -> Result<Option<(LlavaConfig, Original)>, Error> {
    let path = dir.join("config.json");
    let value = json_file(&path)?;
    if !LlavaConfig::is_original(&value) {
        return Ok(None);
    }
    let tower = find(dir, &value, "mm_vision_tower", "its vision tower")?;
    let vision = VisionConfig::parse(&json_file(&tower.join("config.json"))?)
        .map_err(|e| sample::Error::format(tower.join("config.json"), e))?;
    let projector = Some(dir.join(PROJECTOR)).filter(|path| path.is_file());
    let base = if projector.is_some() && weight_files(dir).is_err() {
        find(
            dir,
            &value,
            "_name_or_path",
            "the decoder it was trained over",
        )?
    } else {
        dir.to_owned()
    };
    let mut config =
        LlavaConfig::from_original(&value, vision).map_err(|e| sample::Error::format(&path, e))?;
    if let Some(image) = tokenizer(&base)?.and_then(|tokenizer| tokenizer.image) {
        config.image_token_index = image;
    }
    // What the tower was trained with.
    let processor = json_file(&tower.join("preprocessor_config.json"))?;
    for (field, to) in [
        ("image_mean", &mut config.image_mean),
        ("image_std", &mut config.image_std),
    ] {
        if let Ok(values) = serde_json::from_value(processor[field].clone()) {
            *to = values;
        }
    }
    config.validate()?;
    let original = Original {
        base,
        tower,
        projector,
    };
    Ok(Some((config, original)))
}

/// The tokenizer, with a token or the placeholder for images; `None` where the folder has none.
pub(super) fn tokenizer(base: &Path) -> Result<Option<Tokenizer>, Error> {
    let has = |name: &str| base.join(name).is_file();
    if !has("tokenizer.json") && !has("tokenizer.model") {
        return Ok(None);
    }
    let mut tokenizer = Tokenizer::load(base)?;
    tokenizer.image = tokenizer.image.or(Some(IMAGE_PLACEHOLDER));
    Ok(Some(tokenizer))
}

impl Original {
    /// All files that hold a part. Tower and projector are read from files of their own only where
    /// the folder's main files lack them: a fine-tuned tower goes before the one it came from.
    pub fn sources(&self) -> Result<Vec<Source<'static>>, Error> {
        let mut sources = open_all(&weight_files(&self.base)?, &internal_name)?;
        let has = |sources: &[Source], part: &str| {
            let mut names = sources
                .iter()
                .flat_map(|source| source.file.tensors())
                .filter_map(|info| internal_name(&info.name));
            names.any(|name| name.starts_with(part))
        };
        if let Some(projector) = &self.projector
            && !has(&sources, "multi_modal_projector.")
        {
            sources.extend(open_all(std::slice::from_ref(projector), &internal_name)?);
        }
        if !has(&sources, "vision_tower.") {
            sources.extend(open_all(&weight_files(&self.tower)?, &tower_name)?);
        }
        Ok(sources)
    }
}

/// The folder that a field of `config.json` names.
fn find(dir: &Path, config: &Value, field: &str, what: &str) -> Result<PathBuf, Error> {
    let named = config[field].as_str().unwrap_or_default();
    let last = Path::new(named).file_name();
    // An absolute path is the user's own training run; what comes from elsewhere names a hub
    // repository, which is found by its last name.
    let places = [
        last.and_then(|last| Some(dir.canonicalize().ok()?.parent()?.join(last))),
        last.map(|last| dir.join(last)),
        Some(PathBuf::from(named)).filter(|_| !named.is_empty()),
    ];
    places
        .into_iter()
        .flatten()
        .find(|place| place.join("config.json").is_file())
        .ok_or_else(|| Error::Weights {
            path: dir.join("config.json"),
            detail: format!(
                "{field} names {named:?}, {what}, which is neither beside the folder nor below it: \
                 put its folder there, under its last name"
            ),
        })
}

/// The model and its tokenizer with a token for images of their own, as transformers needs it.
pub(super) fn with_image_token(
    model: &Llava,
    mut tokenizer: Tokenizer,
) -> Result<(Llava, Tokenizer), Error> {
    let mut config = model.config().clone();
    let from = config.text_config.vocab_size;
    if !(0..from).contains(&config.image_token_index) {
        config.image_token_index = tokenizer.add_image_token();
    }
    let to = rows_for(config.image_token_index, from);
    config.text_config.vocab_size = to;
    let parameters = model
        .parameters()
        .iter()
        .map(|(name, tensor)| {
            let tensor = tensor.f_detach()?;
            let tensor = match has_rows(name) {
                true => grown(&tensor, to)?,
                false => tensor,
            };
            Ok((name.clone(), tensor))
        })
        .collect::<Result<_, Error>>()?;
    let model = Llava::from_parameters(config, parameters, model.device(), false)?;
    Ok((model, tokenizer))
}
