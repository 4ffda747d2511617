//! The import stage: a published data set's rows to samples, images and rejects.
//!
//! Rows stream through in chunks, so that memory holds a few chunks and one entry per image and id.
//! Reading, understanding and writing go on at the same time, on threads of their own.
//! Each image is read once: its header is checked and its bytes are hashed (inspection decodes it
//! in full). What cannot be used becomes a reject that names the file, the row and the trouble.
//! Images that lie inside rows are written below the stage's own `images/`.

mod cut;
mod tables;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::path::Path;

use sample::workers::Workers;
use sample::{IMAGES, Manifest, REJECTS, SAMPLES, Stage, StageKey, interrupt, progress};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::adapters::{Part, Source, find_parts};
use crate::tree::Tree;
use cut::{ChunkSize, read_parts};
use tables::Tables;

/// What of a source to import.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportOptions {
    /// The splits to read; empty reads all that are found (of TabMWP, no part of another).
    pub splits: Vec<String>,
    /// No more than this many questions, in the order of the files.
    pub limit: Option<usize>,
}

/// Imports `source` from `root`, a folder or an archive, into the stage folder `out`.
///
/// An import that is already there, of the same rows from the same place, is returned as it is.
///
/// # Errors
/// Where the folder is not of this data set, a file is not of its format at all, or `out` cannot be
/// written. Single rows never fail an import; no usable row at all is a warning and a manifest of
/// noughts.
pub fn import(
    source: &dyn Source,
    options: &ImportOptions,
    root: &Path,
    out: &Path,
    force: bool,
) -> Result<Manifest, Error> {
    import_with(None, source, options, root, out, force)
}

/// As [`import`]; image files are looked at by `workers`, where there are some, which must find them under
/// the same paths. The tables are the same.
///
/// # Errors
/// As [`import`], and those of the workers.
pub fn import_with(
    workers: Option<&dyn Workers>,
    source: &dyn Source,
    options: &ImportOptions,
    root: &Path,
    out: &Path,
    force: bool,
) -> Result<Manifest, Error> {
    let tree = Tree::open(root)?;
    let parts = chosen(source, options, &tree)?;
    let about = source.about();
    let config = serde_json::json!({
        "source": about.name, "splits": options.splits, "limit": options.limit,
        // Counts up when images come to carry more.
        "scenes": 1,
    });
    let mut key = StageKey::new("import", 0, config);
    for part in &parts {
        key = key.input(part.rows.name(), &digest(&tree, part)?);
    }
    if !force
        && let Some(done) = Stage::finished(out, &key)?
        && done.results["root"].as_str() == tree.root().to_str()
    {
        return Ok(done);
    }
    let stage = Stage::begin(out, key, force)?;
    let mut tables = Tables::create(&stage, source, &tree, workers)?;
    tables.warnings.extend(tree.warnings.iter().cloned());
    let size = if workers.is_some() {
        ChunkSize::SHARED
    } else {
        ChunkSize::OWN
    };
    read_parts(&parts, options.limit, size, &mut tables)?;
    let (manifest, warnings) = tables.finish(&stage, &parts, options.limit.is_some())?;
    for warning in warnings {
        progress::note(&format!("warning: {}: {warning}", about.title));
    }
    Ok(stage.finish(manifest, &[SAMPLES, IMAGES, REJECTS])?)
}

/// SHA-256 over the part's files, as they are after unpacking.
fn digest(tree: &Tree, part: &Part) -> Result<String, Error> {
    let mut all = Sha256::new();
    for file in part.rows.files() {
        interrupt::check()?;
        let mut sum = Sha256::new();
        let mut stream = match tree.stream(file) {
            Ok(stream) => stream,
            // The row's own reading says what is wrong with it.
            Err(_) if matches!(part.rows, crate::rows::Rows::Files { .. }) => continue,
            Err(error) => return Err(error),
        };
        let mut buffer = vec![0; 1 << 18];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(n) => sum.update(&buffer[..n]),
            }
        }
        all.update(sum.finalize());
    }
    Ok(format!("{:x}", all.finalize()))
}

/// The parts that `options` ask for.
fn chosen(source: &dyn Source, options: &ImportOptions, tree: &Tree) -> Result<Vec<Part>, Error> {
    if options.limit == Some(0) {
        return Err(Error::Config(
            "limit = 0 imports nothing; leave it out for all rows".into(),
        ));
    }
    let mut parts = find_parts(source, tree)?;
    for wanted in &options.splits {
        if !parts.iter().any(|p| p.split == *wanted) {
            let mut found: Vec<&str> = parts.iter().map(|p| p.split.as_str()).collect();
            found.dedup();
            return Err(Error::NoSplit {
                root: tree.root().to_owned(),
                title: source.about().title.to_owned(),
                wanted: wanted.clone(),
                found: found.join(", "),
            });
        }
    }
    parts.retain(|p| {
        if options.splits.is_empty() {
            p.by_default
        } else {
            options.splits.contains(&p.split)
        }
    });
    Ok(parts)
}
