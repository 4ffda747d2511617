//! What is recorded of a run: one line of JSON per step, and one per evaluation.
//!
//! `metrics.jsonl` and `evaluations.jsonl` hold what the run computes, and are the same bytes for the
//! same run, resumed or not; `timing.jsonl` holds how long it took, which never is. All are cut back
//! to the checkpoint when a run goes on from it. The numbers go to TensorBoard's files as well.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use sample::write_atomic;
use serde::{Deserialize, Serialize};

use crate::tensorboard::Events;
use crate::{Error, Evaluation, Step, memory};

/// One line of JSON per step: what was computed.
pub const METRICS: &str = "metrics.jsonl";
/// One line of JSON per step: how long it took.
pub const TIMING: &str = "timing.jsonl";
/// One line of JSON per evaluation.
pub const EVALUATIONS: &str = "evaluations.jsonl";
/// The folder of TensorBoard's event files.
pub const TENSORBOARD: &str = "tensorboard";

/// What a step computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// From 0.
    pub step: u64,
    /// Passes over the data before this step, from 0.
    pub epoch: u64,
    /// The loss before the update.
    pub loss: f64,
    /// Learning rate of the update.
    pub lr: f64,
    /// Norm of all gradients before clipping.
    pub grad_norm: f64,
    /// Samples in the batch.
    pub samples: usize,
    /// Their tokens, shared ones once.
    pub tokens: usize,
    /// Positions with a label.
    pub labels: usize,
    /// Whether the update was left out.
    pub skipped: bool,
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
    /// Of which waiting for other ranks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub waited_seconds: f64,
    /// Seconds that each rank was busy, by rank, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ranks: Vec<f64>,
    /// Tokens (shared ones once) a second.
    pub tokens_per_second: f64,
    /// Samples a second.
    pub samples_per_second: f64,
    /// Share of the operations that the machine could have done, where both are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_share: Option<f64>,
    /// Resident memory of the process, MiB, where the system says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// The most it ever was, MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_mib: Option<u64>,
}

/// An evaluation, as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationLine {
    /// Steps made before it.
    pub step: u64,
    /// Whether none before was as good.
    pub best: bool,
    /// What was found.
    #[serde(flatten)]
    pub evaluation: Evaluation,
}

fn is_zero(seconds: &f64) -> bool {
    *seconds == 0.0
}

impl StepTiming {
    /// The timing of a step that took `seconds`, on ranks that can do `peak_flops` operations a second each
    /// and were `busy` for so many seconds.
    pub fn new(
        at: u64,
        step: &Step,
        seconds: f64,
        peak_flops: Option<f64>,
        busy: &[f64],
    ) -> StepTiming {
        let rate = |count: usize| count as f64 / seconds.max(1e-9);
        let memory = memory::resident();
        StepTiming {
            step: at,
            seconds,
            data_seconds: step.data_seconds,
            waited_seconds: step.waited_seconds,
            ranks: if busy.len() > 1 {
                busy.to_vec()
            } else {
                Vec::new()
            },
            tokens_per_second: rate(step.tokens),
            samples_per_second: rate(step.samples),
            peak_share: peak_flops
                .filter(|&peak| peak > 0.0 && step.flops > 0.0)
                .map(|peak| step.flops / seconds.max(1e-9) / peak / busy.len().max(1) as f64),
            memory_mib: memory.map(|m| m.now),
            peak_memory_mib: memory.map(|m| m.peak),
        }
    }
}

/// A file of one JSON object per line, each with its step.
#[derive(Debug)]
pub struct Lines {
    path: PathBuf,
    file: File,
}

impl Lines {
    /// Opens the file for appending, keeping the lines of steps before `step`; half a line, as a kill
    /// leaves it, goes.
    pub fn open(path: &Path, step: u64) -> Result<Lines, Error> {
        let old = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(sample::Error::io(path, e).into()),
        };
        let kept: Vec<u8> = old
            .split_inclusive(|&byte| byte == b'\n')
            .filter(|line| {
                let value = serde_json::from_slice::<At>(line);
                line.ends_with(b"\n") && value.is_ok_and(|at| at.step < step)
            })
            .flatten()
            .copied()
            .collect();
        if kept != old || old.is_empty() {
            write_atomic(path, &kept)?;
        }
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

#[derive(Deserialize)]
struct At {
    step: u64,
}

/// Reads a `metrics.jsonl`.
pub fn read(path: &Path) -> Result<Vec<StepMetrics>, Error> {
    let text = fs::read_to_string(path).map_err(|e| sample::Error::io(path, e))?;
    text.lines()
        .map(|line| serde_json::from_str(line).map_err(|e| sample::Error::format(path, e).into()))
        .collect()
}

/// Everything that is recorded of a run.
#[derive(Debug)]
pub(crate) struct Records {
    metrics: Lines,
    timing: Lines,
    evaluations: Lines,
    events: Option<Events>,
}

impl Records {
    /// Opens the files in `folder`, cut back to what `step` steps left.
    pub(crate) fn open(folder: &Path, step: u64, tensorboard: bool) -> Result<Records, Error> {
        fs::create_dir_all(folder).map_err(|e| sample::Error::io(folder, e))?;
        let events = folder.join(TENSORBOARD);
        Ok(Records {
            metrics: Lines::open(&folder.join(METRICS), step)?,
            timing: Lines::open(&folder.join(TIMING), step)?,
            // One is made after steps, and has their number.
            evaluations: Lines::open(&folder.join(EVALUATIONS), step + 1)?,
            events: if tensorboard {
                Some(Events::create(&events, step)?)
            } else {
                None
            },
        })
    }

    pub(crate) fn step(&mut self, line: &StepMetrics, timing: &StepTiming) -> Result<(), Error> {
        self.metrics.push(line)?;
        self.timing.push(timing)?;
        let Some(events) = &mut self.events else {
            return Ok(());
        };
        let mut scalars = vec![
            ("train/loss", line.loss),
            ("train/lr", line.lr),
            ("train/grad_norm", line.grad_norm),
            ("train/samples_per_second", timing.samples_per_second),
        ];
        if line.tokens > 0 {
            scalars.push(("train/tokens_per_second", timing.tokens_per_second));
        }
        if let Some(share) = timing.peak_share {
            scalars.push(("train/peak_share", share));
        }
        if let Some(memory) = timing.memory_mib {
            scalars.push(("train/memory_mib", memory as f64));
        }
        events.scalars(line.step + 1, &scalars)
    }

    pub(crate) fn evaluation(&mut self, line: &EvaluationLine) -> Result<(), Error> {
        self.evaluations.push(line)?;
        let Some(events) = &mut self.events else {
            return Ok(());
        };
        let values = &line.evaluation.values;
        let names: Vec<String> = values.keys().map(|name| format!("eval/{name}")).collect();
        let mut scalars = vec![("eval/score", line.evaluation.score)];
        scalars.extend(
            names
                .iter()
                .map(String::as_str)
                .zip(values.values().copied())
                .filter(|(name, _)| *name != "eval/score"),
        );
        events.scalars(line.step, &scalars)
    }

    /// Waits until all is on disk: a checkpoint whose steps are not on record could not be told from
    /// one that skipped them.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.metrics.sync()?;
        self.timing.sync()?;
        self.evaluations.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_steps_after_the_checkpoint_and_half_written_ones_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        for half in ["{\"st", "{\"step\":1}", "\u{0}\u{0}\u{0}"] {
            let text = format!("{{\"step\":0}}\n{{\"step\":1}}\n{{\"step\":2}}\n{half}");
            fs::write(&path, text).unwrap();
            let mut lines = Lines::open(&path, 2).unwrap();
            lines
                .push(&serde_json::json!({"step": 2, "new": true}))
                .unwrap();
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(
                text,
                "{\"step\":0}\n{\"step\":1}\n{\"step\":2,\"new\":true}\n"
            );
        }
    }

    #[test]
    fn a_share_of_the_peak_is_recorded_where_both_numbers_are_known() {
        let step = Step {
            tokens: 600,
            samples: 3,
            flops: 5e9,
            ..Step::default()
        };
        let timing = StepTiming::new(4, &step, 0.5, Some(4e10), &[0.5]);
        assert_eq!(
            (timing.tokens_per_second, timing.samples_per_second),
            (1200.0, 6.0)
        );
        assert_eq!(timing.peak_share, Some(0.25));
        let shares = [
            (StepTiming::new(4, &step, 0.5, None, &[0.5]), None),
            // Of two ranks together, at twice the peak of one.
            (
                StepTiming::new(4, &step, 0.5, Some(4e10), &[0.5, 0.4]),
                Some(0.125),
            ),
        ];
        for (timing, share) in shares {
            assert_eq!(timing.peak_share, share);
        }
        let unknown = Step::default();
        assert_eq!(
            StepTiming::new(4, &unknown, 0.5, Some(4e10), &[0.5]).peak_share,
            None
        );
    }
}
