//! Evaluation: how much of what a model answers right comes from looking at the image.
//!
//! A stage in three steps, each of which lies on disk: what the model said (`responses.*.jsonl`),
//! the answers found in it (`extractions.jsonl`), and whether they are right (`scores.jsonl`).
//! Every held-out question is asked under three conditions ([`sample::scores::Condition`]): with its
//! own image, with another image of the same family, and not at all, where the reply is the best
//! guess that training answers alone allow. The results give 95% intervals and the paired
//! differences between the conditions.
//!
//! - [`Config`] is what the user wrote, [`plan`] checks it against the data and draws the swaps,
//!   [`run`] asks, reads and scores.
//! - [`benchmarks`]: one file per benchmark.
//! - [`extract`], [`answer`] and [`statistics`] are pure functions, usable on their own.
//!
//! **Invariant:** nothing falls back in silence. A reply without an answer counts as wrong and is
//! counted as unparsed, empty, failed or truncated; a guess on wider ground is counted as such; a
//! held-out image that training has seen stops the evaluation.

pub mod answer;
pub mod benchmarks;
mod blind;
pub mod extract;
mod number;
mod plan;
mod responses;
mod run;
pub mod statistics;
mod summary;
mod swap;

pub use plan::{Config, Inputs, Plan, plan};
pub use run::run;

use std::path::PathBuf;

/// What can go wrong in an evaluation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Records, their files, or an interruption.
    #[error(transparent)]
    Sample(#[from] sample::Error),
    /// A setting that cannot be meant.
    #[error("eval.{setting}: {detail}")]
    Config {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong with it, and what to write instead.
        detail: String,
    },
    /// There is nothing to ask.
    #[error(
        "no held-out questions to evaluate; give the import or the split more images, or less to \
         training"
    )]
    NoItems,
    /// Two questions with one name.
    #[error("held-out question {0:?} occurs twice; ids must be unique in a run")]
    DuplicateId(String),
    /// An image that no file is known for.
    #[error("held-out question {id}: no file is known for its image {path:?}")]
    NoImage {
        /// The question.
        id: String,
        /// The image as the sample names it.
        path: String,
    },
    /// One path, two files.
    #[error(
        "two different held-out images are both called {0:?}; give each import its own source name, \
         or evaluate them in two runs"
    )]
    TwoImages(String),
    /// Training has seen what is held out.
    #[error(
        "{shared} of {images} held-out images are also in the training data (first: {examples}). \
         Scores on them would measure memory; hold out by image, or remove them from training"
    )]
    Leaked {
        /// Images in both.
        shared: usize,
        /// Held-out images.
        images: usize,
        /// Ids of the first pairs, held-out and training.
        examples: String,
    },
    /// The folder has replies to other questions, or from another model.
    #[error(
        "{folder}: holds a half-finished evaluation of something else. Choose another output \
         folder, or give --force to start it anew"
    )]
    OtherHalf {
        /// The stage folder.
        folder: PathBuf,
    },
    /// A file of replies that does not fit the questions.
    #[error("{path}, line {line}: {detail}. Give --force to start the evaluation anew")]
    Responses {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        detail: String,
    },
    /// The model stopped answering; what it answered before is kept.
    #[error("{0}; the replies so far are kept, the same command goes on from there")]
    Model(chat::Error),
    /// The model broke its contract.
    #[error("model {model}: {got} replies to a batch of {wanted} requests")]
    ReplyCount {
        /// Its name.
        model: String,
        /// Replies that came.
        got: usize,
        /// Replies that were asked for.
        wanted: usize,
    },
}
