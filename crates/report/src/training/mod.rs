//! Trainings as they go: curves of one run or of several over each other, on a page that a browser
//! reads again by itself while a run is at it, or as one picture.

pub(crate) mod curve;
mod page;
pub(crate) mod records;

use std::path::{Path, PathBuf};

use sample::write_atomic;

use crate::Error;
use records::Records;

/// File name of a training's page, in the stage's folder.
pub const PAGE: &str = "training.html";
/// No more runs are told apart by colour.
const MOST: usize = 6;

/// Writes the page of the trainings in `folders`, each the stage's folder with its `metrics.jsonl`.
/// With `live` the page is read again every few seconds.
///
/// # Errors
/// No folder, too many, one without records, or a page that cannot be written.
pub fn training_page(folders: &[PathBuf], out: &Path, live: bool) -> Result<(), Error> {
    let runs = read(folders)?;
    Ok(write_atomic(out, page::page(&runs, live).as_bytes())?)
}

/// Writes the loss curves of the trainings in `folders` over each other as an SVG that stands alone.
///
/// # Errors
/// As [`training_page`].
pub fn loss_picture(folders: &[PathBuf], out: &Path) -> Result<(), Error> {
    let runs = read(folders)?;
    Ok(write_atomic(out, curve::picture(&runs).as_bytes())?)
}

fn read(folders: &[PathBuf]) -> Result<Vec<Records>, Error> {
    if folders.is_empty() || folders.len() > MOST {
        return Err(Error::Trainings(folders.len(), MOST));
    }
    let mut runs = folders
        .iter()
        .map(|folder| Records::read(folder))
        .collect::<Result<Vec<_>, _>>()?;
    records::name_apart(&mut runs);
    Ok(runs)
}
