//! Training: prefix-tree packing, the step loop, checkpoints, metrics.
//!
//! What the paper's run spends most of its time on, the same image tokens nine times over and
//! logits where nothing is to be learned, is left out here: all pairs of one image become one tree
//! of tokens ([`tree`]), several trees one row ([`packing`]), and logits are computed at labelled
//! positions only. The rest is the recipe as published: AdamW, warm-up and cosine, clipping
//! ([`fit`]).

mod card;
mod config;
pub mod data;
pub mod engine;
mod evaluation;
pub mod features;
mod forecast;
pub mod loader;
mod memory;
pub mod packing;
mod positions;
mod run;
mod save;
pub mod scaling;
mod session;
mod start;
pub mod tower;

pub use ::fit::schedule::Schedule;
pub use config::{
    BaseConfig, ClipBy, DataConfig, LoraConfig, ModelConfig, OnMissingImage, OptimiserConfig,
    Packing, TextConfig, TowerConfig, TrainConfig, Update, VisionConfig, Weights,
};
pub use evaluation::Judge;
pub use forecast::{Forecast, forecast};
pub use memory::{Load, Memory};
pub use packing::{MicroBatch, StepBatch, tree};
pub use run::{TrainingData, run, run_among};
pub use save::{ADAPTER, MODEL};
pub use start::{Base, identity};
pub use tower::Facts;

/// What can stop a training run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Files, records, interruption.
    #[error(transparent)]
    Sample(#[from] sample::Error),
    /// The tensor library refused.
    #[error("the tensor library stopped: {0}")]
    Tensor(#[from] tch::TchError),
    /// The optimiser, the checkpoints.
    #[error(transparent)]
    Fit(fit::Error),
    /// The model's files, images or shapes.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// A setting that cannot work.
    #[error("training settings: {0}")]
    Config(String),
    /// Samples that cannot be trained on.
    #[error("training data: {0}")]
    Data(String),
}

impl From<c10d::Error> for Error {
    fn from(error: c10d::Error) -> Self {
        Error::Fit(error.into())
    }
}

impl From<fit::Error> for Error {
    fn from(error: fit::Error) -> Self {
        match error {
            // Stops and conflicts are told from faults by their kind.
            fit::Error::Sample(error) => Error::Sample(error),
            error => Error::Fit(error),
        }
    }
}
