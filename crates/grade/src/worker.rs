//! Grading as a function that workers call, each of which loads the grader once.
//!
//! An item is a whole batch, since the tensor library may sum in another order for a batch of another length:
//! so what comes of an image follows from its batch, as it does where this process grades it itself.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use model::{Precision, Preprocessor};
use sample::workers::{Function, Workers, ask};
use sample::{file_sha256, sha256_hex};
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::grading::{Outcome, decoded, outcomes};
use crate::{Criterion, Error, Grader};

/// Workers get about so many pieces, enough that the last ones do not wait for one.
const PIECES: usize = 16;
/// Batches in a piece: what dies with a worker is done again.
const LONGEST_PIECE: usize = 16;

/// Which grader workers are to load, and how it computes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arguments {
    folder: PathBuf,
    /// Of both classifiers' files: a worker that sees another grader there must say so.
    digest: String,
    /// Never `auto`, since workers may have another processor than this one.
    precision: Precision,
    threads: usize,
}

impl Arguments {
    /// For the grader in `folder`, computing as this process would.
    ///
    /// # Errors
    /// Where the folder cannot be read or has a name that is no text.
    pub fn new(folder: &Path, precision: Precision, threads: usize) -> Result<Arguments, Error> {
        let folder = std::path::absolute(folder).map_err(|e| sample::Error::io(folder, e))?;
        let (kind, _) = precision.resolve(Device::Cpu);
        Ok(Arguments {
            digest: digest(&folder)?,
            folder,
            precision: match kind {
                tch::Kind::BFloat16 => Precision::Bfloat16,
                _ => Precision::Float32,
            },
            threads,
        })
    }
}

/// Digest of both classifiers.
fn digest(folder: &Path) -> Result<String, Error> {
    let both = Criterion::ALL.map(|criterion| folder_sha256(&folder.join(criterion.name())));
    let [clarity, complexity] = both;
    Ok(sha256_hex(
        format!("{} {}", clarity?, complexity?).as_bytes(),
    ))
}

/// Digest of a model folder's configuration and weights.
pub(crate) fn folder_sha256(folder: &Path) -> Result<String, Error> {
    let entries = std::fs::read_dir(folder).map_err(|e| sample::Error::io(folder, e))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".json") || name.ends_with(".safetensors"))
        .collect();
    names.sort_unstable();
    let mut all = String::new();
    for name in names {
        all.push_str(&format!("{name} {}\n", file_sha256(&folder.join(&name))?));
    }
    Ok(sha256_hex(all.as_bytes()))
}

/// The function `grade`: of each item, the image files of a batch, the outcomes.
pub struct GradeBatch;

impl Function for GradeBatch {
    fn name(&self) -> &'static str {
        "grade"
    }

    fn version(&self) -> u32 {
        1
    }

    fn call(&self, arguments: &str, items: &[&str]) -> Result<Vec<Vec<u8>>, String> {
        let arguments: Arguments =
            serde_json::from_str(arguments).map_err(|e| format!("the arguments: {e}"))?;
        let grader = loaded(&arguments).map_err(|e| e.to_string())?;
        let grade = |item: &&str| {
            let files: Vec<PathBuf> =
                serde_json::from_str(item).map_err(|e| format!("a batch: {e}"))?;
            let files: Vec<Result<PathBuf, String>> = files.into_iter().map(Ok).collect();
            let outcomes = grader.grade(&files).map_err(|e| e.to_string())?;
            serde_json::to_vec(&outcomes).map_err(|e| e.to_string())
        };
        items.iter().map(grade).collect()
    }
}

/// A grader that this process keeps.
struct Loaded {
    arguments: Arguments,
    preprocessor: Preprocessor,
    /// One batch at a time: it computes on all threads that it may, while others decode.
    model: Mutex<Grader>,
}

impl Loaded {
    fn grade(&self, files: &[Result<PathBuf, String>]) -> Result<Vec<Outcome>, Error> {
        let decoded = decoded(&self.preprocessor, files);
        outcomes(&decoded, |pixels| {
            // Made before the lock is taken: it is made on shared threads, which must never wait for it.
            let pixels = self.preprocessor.normalise(pixels, Device::Cpu)?;
            let grader = self.model.lock().unwrap_or_else(PoisonError::into_inner);
            tch::set_num_threads(i32::try_from(self.arguments.threads).unwrap_or(i32::MAX));
            grader.grade_normalised(&pixels)
        })
    }
}

/// The grader that was used last.
static KEPT: Mutex<Option<Arc<Loaded>>> = Mutex::new(None);

fn loaded(arguments: &Arguments) -> Result<Arc<Loaded>, Error> {
    // Held while it is loaded, so that it is loaded once.
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = kept.as_ref().filter(|kept| kept.arguments == *arguments) {
        return Ok(loaded.clone());
    }
    // Two need not fit into memory.
    *kept = None;
    let folder = &arguments.folder;
    if digest(folder)? != arguments.digest {
        return Err(Error::Grader {
            path: folder.clone(),
            detail: "is another grader on this machine than on the one that asks: all must see the same \
                     folder under this path"
                .to_owned(),
        });
    }
    let model = Grader::load(folder, arguments.precision)?;
    let loaded = Arc::new(Loaded {
        arguments: arguments.clone(),
        preprocessor: model.preprocessor().clone(),
        model: Mutex::new(model),
    });
    *kept = Some(loaded.clone());
    Ok(loaded)
}

/// Has workers grade the batches `todo`, and hands their outcomes on as they come.
pub(crate) fn grade_elsewhere(
    workers: &dyn Workers,
    arguments: &Arguments,
    batches: &[&[Result<PathBuf, String>]],
    todo: &[usize],
    done: &mut dyn FnMut(usize, Vec<Outcome>) -> Result<(), Error>,
) -> Result<(), Error> {
    let arguments = serde_json::to_string(arguments).map_err(|e| Error::Config(e.to_string()))?;
    let pieces: Vec<&[usize]> = todo
        .chunks((todo.len() / PIECES).clamp(1, LONGEST_PIECE))
        .collect();
    let items = |piece: usize| {
        pieces[piece]
            .iter()
            .map(|batch| item(batches[*batch]))
            .collect()
    };
    // What `done` says goes on as it is.
    let mut failed = None;
    let asked = ask(
        workers,
        "grade",
        &GradeBatch,
        &arguments,
        pieces.len(),
        &items,
        &mut |piece, results| {
            for (batch, result) in pieces[piece].iter().zip(results) {
                let outcomes = settled(batches[*batch], &result)?;
                if let Err(error) = done(*batch, outcomes) {
                    let said = error.to_string();
                    failed = Some(error);
                    return Err(sample::Error::Workers(said));
                }
            }
            Ok(())
        },
    );
    match failed {
        Some(error) => Err(error),
        None => Ok(asked?),
    }
}

/// The files of a batch that there are.
fn item(batch: &[Result<PathBuf, String>]) -> Result<String, sample::Error> {
    let mut files = Vec::with_capacity(batch.len());
    for file in batch.iter().flatten() {
        let absolute = std::path::absolute(file).map_err(|e| sample::Error::io(file, e))?;
        files.push(absolute);
    }
    serde_json::to_string(&files).map_err(|e| sample::Error::Workers(e.to_string()))
}

/// The outcomes of a batch, from those of the files that there are.
fn settled(
    batch: &[Result<PathBuf, String>],
    result: &[u8],
) -> Result<Vec<Outcome>, sample::Error> {
    let unreadable =
        |what: String| sample::Error::Workers(format!("the grades of a batch: {what}"));
    let given: Vec<Outcome> =
        serde_json::from_slice(result).map_err(|e| unreadable(e.to_string()))?;
    let asked = batch.iter().flatten().count();
    if given.len() != asked {
        return Err(unreadable(format!("{} for {asked} images", given.len())));
    }
    let mut given = given.into_iter();
    let outcomes = batch.iter().filter_map(|file| match file {
        Ok(_) => given.next(),
        Err(detail) => Some(Outcome::outside(detail)),
    });
    Ok(outcomes.collect())
}
