//! Weights in: safetensors files, one or many, under any of the published namings.
//!
//! transformers has written LLaVA's tensors under two sets of names. The model knows the older,
//! which the published `llava-hf` folders use; [`internal_name`] maps the newer one to it. Nothing
//! in a file is believed before it is checked: the header's bounds, each tensor's type and shape.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

use crate::parameters::{Parameter, initialise, specification};
use crate::{Error, Llava, LlavaConfig};

/// What loading found. Names are those of the model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Tensors taken from the files.
    pub applied: Vec<String>,
    /// Tensors that no file has; they hold random values.
    pub missing: Vec<String>,
    /// Tensors in the files that the model does not have, as the file names them.
    pub unused: Vec<String>,
    /// Applied tensors that hold NaN or infinity.
    pub not_finite: Vec<String>,
}

impl Llava {
    /// Loads a folder's `config.json` and safetensors weights as f32.
    ///
    /// # Errors
    /// Anything that does not fit, and any tensor that no file has;
    /// [`Llava::load_partial`] fills those instead. NaN weights are a warning.
    pub fn load(dir: &Path, device: Device) -> Result<(Llava, LoadReport), Error> {
        let (model, report) = Llava::load_partial(dir, 0, device)?;
        complete(dir, &report)?;
        Ok((model, report))
    }

    /// Loads what a folder has; tensors that are missing get the random values of `seed`.
    pub fn load_partial(
        dir: &Path,
        seed: u64,
        device: Device,
    ) -> Result<(Llava, LoadReport), Error> {
        let config = LlavaConfig::read(dir)?;
        let (parameters, report) =
            read_weights(dir, specification(&config), &internal_name, seed, device)?;
        Ok((
            Llava::from_parameters(config, parameters, device, true)?,
            report,
        ))
    }
}

/// The tensors of `specification`, in its order, from a folder's weight files; those that no file
/// has get the random values of `seed`. `rename` gives the model's name for a tensor of a file, or
/// `None` for one that is not wanted.
pub(crate) fn read_weights(
    dir: &Path,
    specification: Vec<Parameter>,
    rename: &dyn Fn(&str) -> Option<String>,
    seed: u64,
    device: Device,
) -> Result<(Vec<(String, Tensor)>, LoadReport), Error> {
    let files = weight_files(dir)?;
    let mut report = LoadReport::default();
    let mut found: HashMap<String, Tensor> = HashMap::new();
    {
        let wanted: HashMap<&str, &Parameter> =
            specification.iter().map(|p| (p.name.as_str(), p)).collect();
        for file in &files {
            sample::interrupt::check()?;
            read_file(file, &wanted, rename, device, &mut found, &mut report)?;
        }
    }
    let order: Vec<String> = specification.iter().map(|p| p.name.clone()).collect();
    let (missing, present): (Vec<_>, Vec<_>) = specification
        .into_iter()
        .partition(|p| !found.contains_key(&p.name));
    report.missing = missing.iter().map(|p| p.name.clone()).collect();
    report.applied = present.iter().map(|p| p.name.clone()).collect();
    found.extend(initialise(&missing, seed, device)?);
    let parameters = order
        .iter()
        .filter_map(|name| found.remove_entry(name))
        .collect();
    for name in &report.not_finite {
        sample::progress::note(&format!(
            "warning: {}: tensor {name} holds NaN or infinite values",
            dir.display()
        ));
    }
    Ok((parameters, report))
}

/// Refuses a folder that lacks a tensor of the model.
pub(crate) fn complete(dir: &Path, report: &LoadReport) -> Result<(), Error> {
    let Some(first) = report.missing.first() else {
        return Ok(());
    };
    Err(Error::Weights {
        path: dir.to_owned(),
        detail: format!(
            "{} of the model's tensors are in none of its weight files, the first is {first}: the \
             folder is incomplete or of another model",
            report.missing.len()
        ),
    })
}

/// The model's name for a tensor, or `None` for buffers that are computed here.
pub(crate) fn internal_name(name: &str) -> Option<String> {
    if name.ends_with(".position_ids") || name.ends_with("rotary_emb.inv_freq") {
        return None;
    }
    let rules = [
        ("model.language_model.", "language_model.model."),
        ("model.vision_tower.", "vision_tower."),
        ("model.multi_modal_projector.", "multi_modal_projector."),
        ("lm_head.", "language_model.lm_head."),
        // A folder that has a decoder only.
        ("model.", "language_model.model."),
    ];
    let mapped = rules
        .iter()
        .find_map(|(from, to)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")));
    Some(mapped.unwrap_or_else(|| name.to_owned()))
}

/// `model.safetensors`, or the shards that the index names.
fn weight_files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let single = dir.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = dir.join("model.safetensors.index.json");
    let text = match std::fs::read_to_string(&index) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::Weights {
                path: dir.to_owned(),
                detail: "has neither model.safetensors nor model.safetensors.index.json".into(),
            });
        }
        Err(e) => return Err(sample::Error::io(index, e).into()),
    };
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let parsed: Index =
        serde_json::from_str(&text).map_err(|e| sample::Error::format(&index, e))?;
    let shards: BTreeSet<&String> = parsed.weight_map.values().collect();
    shards
        .into_iter()
        .map(|name| {
            let path = sample::safe_join(dir, name)?;
            if path.is_file() {
                Ok(path)
            } else {
                Err(Error::Weights {
                    path: index.clone(),
                    detail: format!("names the shard {name}, which is not in the folder"),
                })
            }
        })
        .collect()
}

fn read_file(
    path: &Path,
    wanted: &HashMap<&str, &Parameter>,
    rename: &dyn Fn(&str) -> Option<String>,
    device: Device,
    found: &mut HashMap<String, Tensor>,
    report: &mut LoadReport,
) -> Result<(), Error> {
    let bytes = std::fs::read(path).map_err(|e| sample::Error::io(path, e))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| Error::Weights {
        path: path.to_owned(),
        detail: format!("not a whole safetensors file ({e}): fetch or write it again"),
    })?;
    let mut names = file.names();
    names.sort_unstable();
    for name in names {
        let fault = |detail: String| Error::Tensor {
            path: path.to_owned(),
            name: name.into(),
            detail,
        };
        let Some(internal) = rename(name) else {
            continue;
        };
        let Some(parameter) = wanted.get(internal.as_str()) else {
            report.unused.push(name.to_owned());
            continue;
        };
        let view = file.tensor(name).map_err(|e| fault(e.to_string()))?;
        let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        if shape != parameter.shape {
            return Err(fault(format!(
                "is {shape:?} in the file, but config.json asks for {:?}",
                parameter.shape
            )));
        }
        let kind = float_kind(view.dtype()).ok_or_else(|| {
            fault(format!(
                "has type {:?}: weights must be F32, F16, BF16 or F64",
                view.dtype()
            ))
        })?;
        let tensor = Tensor::f_from_data_size(view.data(), &shape, kind)?
            .f_to_device(device)?
            .f_to_kind(Kind::Float)?;
        if i64::try_from(&tensor.f_isfinite()?.f_all()?.f_to_kind(Kind::Int64)?)? == 0 {
            report.not_finite.push(internal.clone());
        }
        if found.insert(internal, tensor).is_some() {
            return Err(fault(
                "is there twice, under two names or in two shards".into(),
            ));
        }
    }
    Ok(())
}

fn float_kind(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F32 => Some(Kind::Float),
        Dtype::F16 => Some(Kind::Half),
        Dtype::BF16 => Some(Kind::BFloat16),
        Dtype::F64 => Some(Kind::Double),
        _ => None,
    }
}
