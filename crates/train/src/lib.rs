//! Training: prefix-tree packing, the step loop, checkpoints, metrics.
//!
//! What the paper's run spends most of its time on, the same image tokens nine times over and
//! logits where nothing is to be learned, is left out here: all pairs of one image become one tree
//! of tokens ([`tree`]), several trees one batch ([`batch`]), and logits are computed at labelled
//! positions only. The rest is the recipe as published: AdamW, warm-up and cosine, clipping
//! ([`fit`]).

pub mod batch;
mod checkpoint;
mod config;
pub mod data;
pub mod metrics;
mod positions;
mod run;
pub mod step;
pub mod tower;
mod training_state;
pub mod tree;

pub use config::{
    BaseConfig, ClipBy, LoraConfig, ModelConfig, OnMissingImage, OptimiserConfig, Packing,
    TextConfig, TowerConfig, TrainConfig, Update, VisionConfig, Weights,
};
pub use run::{Forecast, ImageFile, METRICS, MODEL, TIMING, TrainingData, forecast, run};
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
    Fit(#[from] fit::Error),
    /// The model's files, images or shapes.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// A setting that cannot work.
    #[error("training settings: {0}")]
    Config(String),
    /// Samples that cannot be trained on.
    #[error("training data: {0}")]
    Data(String),
    /// The loss or a gradient is no longer a number.
    #[error(
        "step {step}: {what} is {value}, so training has diverged. Lower the learning rate (now \
         {lr:e}), lengthen the warm-up, or compute in f32. The step's images: {images}"
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
        images: String,
    },
}
