//! Evaluation: a run's own held-out questions, and the published benchmarks.
//!
//! - [`heldout`]: every held-out question under three conditions, which shows how much of what is
//!   answered right comes from looking at the image.
//! - [`benchmarks`]: one file or folder per published benchmark, with its official way to ask, to
//!   find the answer and to decide; [`Item`], [`Answer`] and [`Scoring`] are what they share.
//! - [`campaign`]: models asked all questions of benchmarks, in three stages that lie on disk; and
//!   [`rescore`], for outputs that exist already.
//! - [`python`]: the parts of Python that official scorers' verdicts depend on.
//! - [`data`]: the layouts in which benchmarks are published.
//! - [`statistics`]: intervals and differences.
//! - [`compare`]: two runs on the same questions; [`published`], [`table`]: ours beside the papers'.
//!
//! **Invariant:** nothing falls back in silence. A reply without an answer counts as wrong and is
//! counted as unparsed, empty, failed or truncated; a guess on wider ground is counted as such; a
//! held-out image that training has seen stops the evaluation.

mod asking;
pub mod benchmarks;
pub mod campaign;
pub mod compare;
pub mod data;
pub mod digest;
pub mod headline;
pub mod heldout;
mod item;
pub mod published;
pub mod python;
pub mod rescore;
mod score;
pub mod statistics;
pub mod table;

pub use benchmarks::{BENCHMARKS, Benchmark, find};
pub use heldout::{Config, Inputs, Plan, plan, run};
pub use item::{Answer, Item, Kind, Picture};
pub use score::{Dialect, Extraction, Outputs, Scoring, score};

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
    /// There is no benchmark of that name.
    #[error("there is no benchmark {name:?}; there are {known}")]
    UnknownBenchmark {
        /// What was asked for.
        name: String,
        /// Those there are.
        known: String,
    },
    /// There is no such part of a benchmark.
    #[error("{benchmark} has no split {split:?}; it has {known}")]
    UnknownSplit {
        /// The benchmark.
        benchmark: &'static str,
        /// What was asked for.
        split: String,
        /// Those there are.
        known: String,
    },
    /// A `[[benchmark]]` that cannot be run as it is written.
    #[error("[[benchmark]] {benchmark}: {detail}")]
    Benchmark {
        /// Its name.
        benchmark: String,
        /// What is wrong with it, and what to write instead.
        detail: String,
    },
    /// A `[[candidate]]` that cannot be asked as it is written.
    #[error("[[candidate]] {name:?}: {detail}")]
    Candidate {
        /// Its name.
        name: String,
        /// What is wrong with it, and what to write instead.
        detail: String,
    },
    /// A folder or file that is not what the benchmark publishes.
    #[error("{path}: {detail}")]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what was expected.
        detail: String,
    },
    /// Scores that cannot stand in one table, or a table that cannot be written.
    #[error("{0}")]
    Table(String),
}
