//! What every training here runs through: optimisers, schedules, the step loop, checkpoints, and
//! what is recorded of them.
//!
//! It knows tensors by their names and nothing of any model: the stage `train` and the graders of
//! `grade` bring a model and its batches, and everything else is the same for both.

pub mod optim;
pub mod schedule;
pub mod training_state;

/// What can stop a training.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Files, interruption.
    #[error(transparent)]
    Sample(#[from] sample::Error),
    /// libtorch refused; the first line of what it said.
    #[error("libtorch: {0}")]
    Torch(String),
    /// A setting that cannot work.
    #[error("training settings: {0}")]
    Config(String),
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
