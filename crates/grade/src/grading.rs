//! Grading many images: decoded in parallel while the model works on those before.
//!
//! **Invariant:** the work is cut into batches once, in the table's order, and the journal keeps
//! whole batches; so a grading that goes on after a stop gives the same bytes as one that was never
//! stopped, and the journal is never longer than the work.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;

use model::{Pixels, Preprocessor};
use rayon::prelude::*;
use sample::{interrupt, progress, workers::Workers};
use serde::{Deserialize, Serialize};

use crate::worker::{Arguments, grade_elsewhere};
use crate::{Error, Grader, Grades};

/// File name of the journal in the stage folder.
pub(crate) const JOURNAL: &str = "grades.jsonl";
/// Batches decoded ahead of the model.
const AHEAD: usize = 2;

/// What came of one image: its grades, or why there are none (a short word, and the detail).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Graded.
    Grades(Grades),
    /// Not readable.
    Fault {
        /// A short fixed word.
        reason: String,
        /// For a person.
        detail: String,
    },
}

/// A line of the journal: the outcomes of one batch.
#[derive(Serialize, Deserialize)]
struct Line {
    batch: usize,
    outcomes: Vec<Outcome>,
}

/// Who grades.
#[derive(Clone, Copy)]
pub enum By<'a> {
    /// This process.
    Own(&'a Grader),
    /// Others, which load the grader that the arguments name, and find the images under the same paths.
    Workers(&'a dyn Workers, &'a Arguments),
}

/// Grades the files in their order, `batch` at a time.
///
/// With a `journal` (a path, and what the grades depend on) batches that it holds already are not
/// graded again; it is written as the work goes on.
///
/// # Errors
/// The model's, the workers', the disk's, a stop.
pub fn grade_files(
    by: By<'_>,
    files: &[Result<PathBuf, String>],
    batch: usize,
    journal: Option<(&Path, &str)>,
) -> Result<Vec<Outcome>, Error> {
    let batches: Vec<&[Result<PathBuf, String>]> = files.chunks(batch.max(1)).collect();
    let mut done: HashMap<usize, Vec<Outcome>> = HashMap::new();
    let mut book = match journal {
        Some((path, key)) => {
            done = read_journal(path, key, &batches)?;
            Some(Book::open(path, key, &done)?)
        }
        None => None,
    };
    let todo: Vec<usize> = (0..batches.len())
        .filter(|b| !done.contains_key(b))
        .collect();
    let bar = progress::bar("grading", files.len() as u64, "images");
    bar.inc(done.values().map(Vec::len).sum::<usize>() as u64);
    let mut keep = |index: usize, outcomes: Vec<Outcome>| {
        bar.inc(outcomes.len() as u64);
        if let Some(book) = &mut book {
            book.write(index, &outcomes)?;
        }
        done.insert(index, outcomes);
        Ok(())
    };
    match by {
        By::Own(grader) => grade_here(grader, &batches, &todo, &mut keep)?,
        By::Workers(workers, arguments) => {
            grade_elsewhere(workers, arguments, &batches, &todo, &mut keep)?;
        }
    }
    bar.finish();
    Ok((0..batches.len())
        .flat_map(|b| done.remove(&b).unwrap_or_default())
        .collect())
}

/// Grades the batches `todo`, decoding ahead, and hands their outcomes on in their order.
fn grade_here(
    grader: &Grader,
    batches: &[&[Result<PathBuf, String>]],
    todo: &[usize],
    done: &mut dyn FnMut(usize, Vec<Outcome>) -> Result<(), Error>,
) -> Result<(), Error> {
    let (send, receive) = sync_channel(AHEAD);
    let preprocessor = grader.preprocessor();
    std::thread::scope(|scope| -> Result<(), Error> {
        // Dropped with this closure, also on an error, so that a sender that waits is let go.
        let receive = receive;
        scope.spawn(move || {
            for &index in todo {
                let decoded = decoded(preprocessor, batches[index]);
                // Nobody listens any more: the other side stopped.
                if interrupt::requested() || send.send((index, decoded)).is_err() {
                    return;
                }
            }
        });
        for _ in 0..todo.len() {
            interrupt::check()?;
            let Ok((index, decoded)) = receive.recv() else {
                // The decoding thread ends early only where a stop was asked for.
                return Err(sample::Error::Interrupted.into());
            };
            done(index, outcomes(&decoded, |pixels| grader.grade(pixels))?)?;
        }
        Ok(())
    })
}

/// The pixels of a batch's files, or what is wrong with them.
pub(crate) fn decoded(
    preprocessor: &Preprocessor,
    files: &[Result<PathBuf, String>],
) -> Vec<Result<Pixels, Outcome>> {
    files
        .par_iter()
        .map(|file| decode(preprocessor, file))
        .collect()
}

/// What comes of a batch, whose images that could be read `grade` grades in one pass.
pub(crate) fn outcomes(
    decoded: &[Result<Pixels, Outcome>],
    grade: impl FnOnce(&[&Pixels]) -> Result<Vec<Grades>, Error>,
) -> Result<Vec<Outcome>, Error> {
    let pixels: Vec<&Pixels> = decoded.iter().flatten().collect();
    let mut graded = if pixels.is_empty() {
        Vec::new().into_iter()
    } else {
        grade(&pixels)?.into_iter()
    };
    let outcomes = decoded.iter().map(|one| match one {
        Ok(_) => match graded.next() {
            Some(grades) => Outcome::Grades(grades),
            None => fault("image_not_graded", "the model gave no grade"),
        },
        Err(fault) => fault.clone(),
    });
    Ok(outcomes.collect())
}

impl Outcome {
    /// Of a path that leads out of its source's folder.
    pub(crate) fn outside(detail: &str) -> Outcome {
        fault("path_outside_root", detail)
    }
}

fn fault(reason: &str, detail: &str) -> Outcome {
    Outcome::Fault {
        reason: reason.to_owned(),
        detail: detail.to_owned(),
    }
}

fn decode(preprocessor: &Preprocessor, file: &Result<PathBuf, String>) -> Result<Pixels, Outcome> {
    let file = file.as_ref().map_err(|detail| Outcome::outside(detail))?;
    preprocessor
        .open(file)
        .map_err(|e| fault(e.reason(), &e.to_string()))
}

/// The batches that a journal of the same key holds whole; a line that a crash cut short, and all
/// after it, are left out.
fn read_journal(
    path: &Path,
    key: &str,
    batches: &[&[Result<PathBuf, String>]],
) -> Result<HashMap<usize, Vec<Outcome>>, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(e) => return Err(sample::Error::io(path, e).into()),
    };
    let mut lines = text.lines();
    if lines.next() != Some(key) {
        return Ok(HashMap::new());
    }
    let mut done = HashMap::new();
    for line in lines {
        let Ok(line) = serde_json::from_str::<Line>(line) else {
            break;
        };
        let fits = batches
            .get(line.batch)
            .is_some_and(|batch| batch.len() == line.outcomes.len());
        if fits {
            done.insert(line.batch, line.outcomes);
        }
    }
    Ok(done)
}

/// The journal that is being written.
struct Book {
    file: std::fs::File,
    path: PathBuf,
}

impl Book {
    /// Begins the file anew with what is known, so that a broken end is gone.
    fn open(path: &Path, key: &str, done: &HashMap<usize, Vec<Outcome>>) -> Result<Book, Error> {
        let mut text = format!("{key}\n");
        let mut known: Vec<(&usize, &Vec<Outcome>)> = done.iter().collect();
        known.sort_by_key(|(batch, _)| **batch);
        for (batch, outcomes) in known {
            text.push_str(&line(path, *batch, outcomes)?);
        }
        sample::write_atomic(path, text.as_bytes())?;
        let file = std::fs::OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(|e| sample::Error::io(path, e))?;
        Ok(Book {
            file,
            path: path.to_owned(),
        })
    }

    /// Not synced: what is lost with the power is graded again.
    fn write(&mut self, batch: usize, outcomes: &[Outcome]) -> Result<(), Error> {
        let line = line(&self.path, batch, outcomes)?;
        self.file
            .write_all(line.as_bytes())
            .map_err(|e| sample::Error::io(&self.path, e).into())
    }
}

fn line(path: &Path, batch: usize, outcomes: &[Outcome]) -> Result<String, Error> {
    let line = Line {
        batch,
        outcomes: outcomes.to_vec(),
    };
    let mut text = serde_json::to_string(&line).map_err(|e| sample::Error::format(path, e))?;
    text.push('\n');
    Ok(text)
}
