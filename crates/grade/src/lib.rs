//! Grades images for clarity and complexity, as section 2 of the paper does, so that selection can
//! draw by them.
//!
//! The paper has a teacher label 10,000 images, fine-tunes two ViT classifiers on the labels, one
//! for clarity (2 classes) and one for complexity (4), and lets them grade every image. Here:
//!
//! 1. [`label`]: labels come from the data itself (drawn figures state theirs), from a CSV, or from
//!    a teacher with the paper's one prompt for both tasks ([`rubric`]).
//! 2. [`split`]: a stratified share is held out; kinds of degradation can be held out whole.
//! 3. [`train`]: cross-entropy, from a Hugging Face ViT or from scratch in a small shape; two
//!    towers as in the paper, or one tower with both heads at half the cost.
//! 4. [`measure`]: accuracy, confusion, calibration on what was held out, into `grader.json`.
//! 5. [`grading`]: every image of the imports gets both grades with their probabilities; the table
//!    `images.parquet` holds the imports' rows with these columns filled in.
//!
//! [`run()`] does all of it as a stage.

pub mod config;
pub mod criterion;
pub mod csv_labels;
pub mod grader;
pub mod grading;
pub mod label;
pub mod measure;
mod pictures;
mod pool;
pub mod rubric;
pub mod split;
mod stage;
pub mod teacher;
pub mod train;
pub mod worker;

pub use config::{FreshVit, GradeConfig, Heads, LabelSource};
pub use criterion::Criterion;
pub use grader::{Grader, Grades};
pub use label::Label;
pub use stage::{LABELS, MODEL, run, run_with};
pub use worker::GradeBatch;

use std::path::PathBuf;

/// What can stop the grading of images.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Files, tables, interruption.
    #[error(transparent)]
    Sample(#[from] sample::Error),
    /// The optimiser, the checkpoints.
    #[error(transparent)]
    Fit(fit::Error),
    /// The ViT's files, images or shapes.
    #[error(transparent)]
    Model(#[from] model::Error),
    /// The tensor library refused.
    #[error("the tensor library stopped: {0}")]
    Tensor(#[from] tch::TchError),
    /// A setting that cannot work.
    #[error("grading settings: {0}")]
    Config(String),
    /// Labels that cannot be learned from.
    #[error("labels: {0}")]
    Labels(String),
    /// The teacher failed, beyond single replies that could not be used.
    #[error("the teacher: {0}")]
    Teacher(#[from] chat::Error),
    /// A grader folder that cannot be used.
    #[error("{path}: {detail}")]
    Grader {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        detail: String,
    },
}

impl From<fit::Error> for Error {
    fn from(error: fit::Error) -> Self {
        match error {
            // A stop is told from a fault by its kind.
            fit::Error::Sample(error) => Error::Sample(error),
            error => Error::Fit(error),
        }
    }
}
