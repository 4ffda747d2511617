//! Trainings: curves of several runs over each other, while they are at it; what the models said to the same
//! questions as they learnt; memory and speed.

mod answers;
mod curves;
mod log;
mod page;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get;

use crate::runs::RunFolder;
use crate::{Error, Studio};
use log::Log;

/// No more runs are told apart by colour.
const MOST_RUNS: usize = report::components::COLOURS.len();
/// Logs that are held to be read on.
const MOST_LOGS: usize = 32;
/// A training that has written nothing for so long has stopped: a step with many images takes minutes.
const STILL: Duration = Duration::from_secs(15 * 60);

/// The page's routes.
pub(crate) fn routes() -> Router<Arc<Studio>> {
    Router::new()
        .route("/training", get(page::show))
        .route("/training/curves", get(page::curves))
}

/// A log, and when it was last asked for.
type Kept = (Arc<Mutex<Log>>, SystemTime);

/// The logs that were read, to be read on.
#[derive(Default)]
pub(crate) struct Logs(Mutex<HashMap<PathBuf, Kept>>);

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Done,
    AtIt,
    Stopped,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Done => "done",
            State::AtIt => "training",
            State::Stopped => "not finished",
        }
    }
}

/// Where a run's training lies.
fn folder(run: &RunFolder) -> PathBuf {
    run.path.join("train")
}

/// Whether a run has a training to show.
fn has_log(run: &RunFolder) -> bool {
    folder(run).join("metrics.jsonl").is_file()
}

fn state(run: &RunFolder, log: &Log) -> State {
    if folder(run).join("manifest.json").is_file() {
        return State::Done;
    }
    let age = log.changed().map(|time| time.elapsed().unwrap_or_default());
    match age {
        Some(age) if age < STILL => State::AtIt,
        _ => State::Stopped,
    }
}

impl Studio {
    /// Looks at a run's log as it is now.
    fn with_log<T>(&self, run: &RunFolder, look: impl FnOnce(&Log) -> T) -> Result<T, Error> {
        let folder = folder(run);
        let log = {
            let mut logs = self.logs.0.lock().unwrap_or_else(PoisonError::into_inner);
            if logs.len() >= MOST_LOGS && !logs.contains_key(&folder) {
                let oldest = logs.iter().min_by_key(|(_, (_, asked))| *asked);
                if let Some(oldest) = oldest.map(|(path, _)| path.clone()) {
                    let _ = logs.remove(&oldest);
                }
            }
            let entry = logs.entry(folder.clone());
            let entry = entry.or_insert_with(|| {
                let log = Arc::new(Mutex::new(Log::of(&folder)));
                (log, SystemTime::UNIX_EPOCH)
            });
            entry.1 = SystemTime::now();
            Arc::clone(&entry.0)
        };
        // Two pages about one run wait for each other, others do not.
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.read_on()?;
        Ok(look(&log))
    }

    /// Where a run's training is, in words: its last step, its loss, its speed; none where it has no log.
    pub(crate) fn training_now(&self, run: &RunFolder) -> Option<String> {
        if !has_log(run) {
            return None;
        }
        let words = self.with_log(run, |log| {
            let step = log.steps.last()?;
            let mut words = format!("step {}, loss {:.4}", step.step, step.loss);
            if let Some(timing) = log.timings.last() {
                words.push_str(&format!(", {:.0} tokens/s", timing.tokens_per_second));
            }
            Some(words)
        });
        words.ok().flatten()
    }
}

#[cfg(test)]
mod tests;
