//! The step loop.
//!
//! **Invariant:** nothing here that reaches the weights depends on the clock or on where a run was
//! stopped before; so a run that goes on from a checkpoint gives, bit for bit, the losses and weights
//! of one that never stopped.

use std::path::Path;
use std::time::Instant;

use sample::{StageKey, interrupt, progress};

use crate::schedule::learning_rate;
use crate::{Error, Guard, Options, Task, training_state};

const FILE: &str = "state.safetensors";

/// How a training went.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// The step that this start began with; 0 where there was no checkpoint.
    pub first: u64,
    /// Steps made in all; less than the options' where the run ended early.
    pub steps: u64,
    /// Of these, spikes that were left out.
    pub skipped: u64,
    /// Whether it ended because evaluations got no better.
    pub stopped_early: bool,
    /// The best evaluation.
    pub best: Option<Best>,
}

/// The best evaluation of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Best {
    /// Updates made before it.
    pub step: u64,
    /// Its score.
    pub score: f64,
}

/// Trains `task` to its end, and leaves everything that is recorded and saved of it in `folder`.
///
/// Where `folder` holds a checkpoint of the same `key`, the run goes on from it. On a stop (Ctrl-C,
/// SIGTERM) a checkpoint is saved first.
///
/// # Errors
/// What the task says; [`sample::Error::Interrupted`] after a stop; [`Error::Diverged`]; checkpoints
/// that cannot be read or written, or are another configuration's.
pub fn run<T: Task>(
    task: &mut T,
    options: &Options,
    folder: &Path,
    key: &StageKey,
) -> Result<Summary, T::Error> {
    let mut guard = Guard::new(options.spike_deviations, options.skip_spikes);
    training_state::load(folder, FILE, key, task.optimiser())?;
    let first = task.optimiser().step();
    let bar = progress::bar(&options.title, options.steps.saturating_sub(first), "steps");
    let mut skipped = 0;
    let mut saved = Instant::now();
    for at in first..options.steps {
        if interrupt::requested() {
            training_state::save(folder, FILE, key, task.optimiser())?;
            return Err(Error::from(sample::Error::Interrupted).into());
        }
        let lr = learning_rate(options.lr, options.warmup_ratio, at, options.steps);
        guard.begin(at, lr);
        let step = match task.step(at, lr, &mut guard) {
            Ok(step) => step,
            Err(error) => {
                let known = guard.fault(|| task.members(at));
                return Err(known.map_or(error, T::Error::from));
            }
        };
        skipped += u64::from(step.skipped);
        bar.message(&format!("loss {:.3}", step.loss));
        bar.inc(1);
        let seconds = options.checkpoint_seconds;
        if seconds > 0 && saved.elapsed().as_secs() >= seconds {
            training_state::save(folder, FILE, key, task.optimiser())?;
            saved = Instant::now();
        }
    }
    bar.finish();
    Ok(Summary {
        first,
        steps: options.steps,
        skipped,
        stopped_early: false,
        best: None,
    })
}
