//! What every training here runs through: optimisers, schedules, the step loop, checkpoints, and
//! what is recorded of them.
//!
//! It knows tensors by their names and nothing of any model: the stage `train` and the graders of
//! `grade` bring a model and its batches as a [`Task`], and everything else is the same for both.
//! [`run`] is the loop.

pub mod checkpoint;
mod guard;
mod memory;
pub mod metrics;
pub mod optim;
mod options;
pub mod ranks;
pub mod schedule;
mod step_loop;
mod task;
mod tensorboard;
mod turn;

pub use guard::{Guard, Members, Spike, Verdict};
pub use options::Options;
pub use step_loop::{Best, Summary, restore_best, run};
pub use task::{Evaluation, Step, Task};

use std::path::PathBuf;

/// What can stop a training.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Files, interruption.
    #[error(transparent)]
    Sample(#[from] sample::Error),
    /// Between ranks.
    #[error(transparent)]
    Ranks(#[from] c10d::Error),
    /// Another rank failed, and this one cannot go on without it.
    #[error("rank {rank} failed: {text}")]
    Elsewhere {
        /// Which.
        rank: usize,
        /// What it said.
        text: String,
    },
    /// libtorch refused; the first line of what it said.
    #[error("libtorch: {0}")]
    Torch(String),
    /// A setting that cannot work.
    #[error("training settings: {0}")]
    Config(String),
    /// A checkpoint could not be written.
    #[error(
        "{folder}: the checkpoint of step {step} was not saved: {reason}. It needs {needed} MiB, and \
         {free} MiB are free. {kept}. Make room, then start again: the run goes on from there"
    )]
    NotSaved {
        /// Where checkpoints lie.
        folder: PathBuf,
        /// Of the checkpoint.
        step: u64,
        /// What the system said.
        reason: String,
        /// What it takes, MiB.
        needed: u64,
        /// What is there, MiB.
        free: String,
        /// What there is to go on from.
        kept: String,
    },
    /// The loss or a gradient is no longer a number.
    #[error(
        "step {step}: {what} is {value}, so training has diverged. Lower the learning rate (now \
         {lr:e}), lengthen the warm-up, or compute in f32. The step's {members}"
    )]
    Diverged {
        /// From 0.
        step: u64,
        /// `the loss` or `the gradient norm`.
        what: &'static str,
        /// As it was computed.
        value: f64,
        /// The step's learning rate.
        lr: f64,
        /// What the step was trained on.
        members: Members,
    },
    /// A parameter that cannot be trained, or a gradient that would spoil it.
    #[error("parameter {name}: {detail}")]
    Parameter {
        /// Its name in the model.
        name: String,
        /// What is wrong, and what to do.
        detail: String,
    },
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        // libtorch appends its C++ stack after the first line; it means nothing to a user.
        let text = error.to_string();
        Error::Torch(text.lines().next().unwrap_or_default().to_owned())
    }
}
