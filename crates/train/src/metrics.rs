//! One line of JSON per step.
//!
//! `metrics.jsonl` holds what the run computes, and is the same bytes for the same run, resumed or
//! not; `timing.jsonl` holds how long it took, which never is. Both are cut back to the checkpoint
//! when a run goes on from it.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use sample::write_atomic;
use serde::{Deserialize, Serialize};

use crate::Error;

/// What a step computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// From 0.
    pub step: u64,
    /// Passes over the data that this step is in, from 0.
    pub epoch: u64,
    /// Weighted mean cross-entropy of the batch, before the update.
    pub loss: f64,
    /// Learning rate of the update.
    pub lr: f64,
    /// Norm of all gradients before clipping.
    pub grad_norm: f64,
    /// Pairs in the batch.
    pub pairs: usize,
    /// Their tokens, shared ones once.
    pub tokens: usize,
}

/// How long a step took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepTiming {
    /// From 0.
    pub step: u64,
    /// The whole step.
    pub seconds: f64,
    /// Of which waiting for the batch.
    pub data_seconds: f64,
    /// Tokens (shared ones once) a second.
    pub tokens_per_second: f64,
}

/// A file of one JSON object per step.
pub struct Lines {
    path: PathBuf,
    file: File,
}

impl Lines {
    /// Opens the file for appending, keeping the lines of steps before `step`.
    pub fn open(path: &Path, step: u64) -> Result<Lines, Error> {
        let old = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(sample::Error::io(path, e).into()),
        };
        let kept: String = old
            .split_inclusive('\n')
            .filter(|line| {
                let value = serde_json::from_str::<serde_json::Value>(line);
                value.is_ok_and(|v| v["step"].as_u64().is_some_and(|s| s < step))
            })
            .collect();
        write_atomic(path, kept.as_bytes())?;
        let file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(|e| sample::Error::io(path, e))?;
        Ok(Lines {
            path: path.to_owned(),
            file,
        })
    }

    /// Adds a line.
    pub fn push(&mut self, record: &impl Serialize) -> Result<(), Error> {
        let mut line =
            serde_json::to_string(record).map_err(|e| sample::Error::format(&self.path, e))?;
        line.push('\n');
        self.file
            .write_all(line.as_bytes())
            .map_err(|e| sample::Error::io(&self.path, e).into())
    }

    /// Waits until the lines are on disk.
    pub fn sync(&self) -> Result<(), Error> {
        self.file
            .sync_data()
            .map_err(|e| sample::Error::io(&self.path, e).into())
    }
}

/// Reads a `metrics.jsonl`.
pub fn read(path: &Path) -> Result<Vec<StepMetrics>, Error> {
    let text = fs::read_to_string(path).map_err(|e| sample::Error::io(path, e))?;
    text.lines()
        .map(|line| serde_json::from_str(line).map_err(|e| sample::Error::format(path, e).into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_steps_after_the_checkpoint_and_half_written_ones_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        fs::write(&path, "{\"step\":0}\n{\"step\":1}\n{\"step\":2}\n{\"st").unwrap();
        let mut lines = Lines::open(&path, 2).unwrap();
        lines
            .push(&serde_json::json!({"step": 2, "new": true}))
            .unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "{\"step\":0}\n{\"step\":1}\n{\"new\":true,\"step\":2}\n"
        );
    }
}
