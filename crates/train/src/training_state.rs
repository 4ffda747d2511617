//! The state of an unfinished training, so that it can go on as if it had never stopped.
//!
//! Every stage that trains (the grader, the model itself) keeps it in the same form.
//! One safetensors file holds the weights, both of Adam's moments and the step; the data order is a
//! function of seed and step, so nothing else is needed. The file is written beside the old one,
//! synced and renamed over it: a kill at any moment, also a full disk, leaves the last good one.
//! It carries the stage's key, so that a run never goes on from another configuration's weights or
//! over other data.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use fit::Error;
use fit::optim::AdamW;
use sample::StageKey;
use tch::Tensor;

/// Below the stage's folder.
const FOLDER: &str = "checkpoint";
/// Raised when what the file holds changes its meaning.
const VERSION: i64 = 1;

/// Where the checkpoint `file` of a stage lies.
pub fn path(stage: &Path, file: &str) -> PathBuf {
    stage.join(FOLDER).join(file)
}

/// Saves the optimiser's state with its parameters, and `frozen` not at all: it is as it began.
pub fn save(stage: &Path, file: &str, key: &StageKey, adamw: &AdamW) -> Result<(), Error> {
    let path = path(stage, file);
    let folder = stage.join(FOLDER);
    fs::create_dir_all(&folder).map_err(|e| sample::Error::io(&folder, e))?;
    let key = serde_json::to_vec(key).map_err(|e| sample::Error::format(&path, e))?;
    let mut tensors = vec![
        ("version".to_owned(), Tensor::from_slice(&[VERSION])),
        ("key".to_owned(), Tensor::from_slice(&key)),
        (
            "step".to_owned(),
            Tensor::from_slice(&[adamw.step() as i64]),
        ),
    ];
    tensors.extend(adamw.state());
    let temporary = folder.join(format!("{file}.tmp"));
    Tensor::write_safetensors(&tensors, &temporary)?;
    File::open(&temporary)
        .and_then(|file| file.sync_all())
        .map_err(|e| sample::Error::io(&temporary, e))?;
    fs::rename(&temporary, &path).map_err(|e| sample::Error::io(&path, e))?;
    Ok(())
}

/// Brings `adamw` and its parameters to the saved state; `false` where nothing was saved.
///
/// # Errors
/// Where the checkpoint is of another key, of another version, or cannot be read whole; nothing is
/// changed then.
pub fn load(stage: &Path, file: &str, key: &StageKey, adamw: &mut AdamW) -> Result<bool, Error> {
    let path = path(stage, file);
    if !path.exists() {
        return Ok(false);
    }
    let broken = |detail: &str| {
        Error::Sample(sample::Error::format(
            &path,
            format!("{detail}. Give --force to start this training from the beginning"),
        ))
    };
    let mut tensors: std::collections::HashMap<String, Tensor> = Tensor::read_safetensors(&path)
        .map_err(|e| broken(&e.to_string()))?
        .into_iter()
        .collect();
    let mut take = |name: &str| {
        tensors
            .remove(name)
            .ok_or_else(|| broken(&format!("the checkpoint lacks {name:?}")))
    };
    let number = |tensor: Tensor, name: &str| {
        Vec::<i64>::try_from(&tensor)
            .ok()
            .and_then(|values| values.first().copied())
            .ok_or_else(|| broken(&format!("{name:?} is not a number")))
    };
    let version = number(take("version")?, "version")?;
    if version != VERSION {
        return Err(broken(&format!(
            "the checkpoint has version {version}, this program reads {VERSION}"
        )));
    }
    let saved = Vec::<u8>::try_from(&take("key")?).map_err(|e| broken(&e.to_string()))?;
    let saved: StageKey = serde_json::from_slice(&saved).map_err(|e| broken(&e.to_string()))?;
    if saved != *key {
        return Err(broken(
            "an unfinished training of another configuration or other data lies here: choose \
             another output folder, or go back to that configuration",
        ));
    }
    let step = number(take("step")?, "step")?;
    let step = u64::try_from(step).map_err(|_| broken("its step is negative"))?;
    adamw.restore(step, &mut take)?;
    Ok(true)
}

/// Removes the checkpoint of a stage, where there is one.
pub fn remove(stage: &Path) -> Result<(), Error> {
    let folder = stage.join(FOLDER);
    match fs::remove_dir_all(&folder) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(sample::Error::io(folder, e).into())
        }
        _ => Ok(()),
    }
}
