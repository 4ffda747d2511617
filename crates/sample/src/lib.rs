//! The records that all stages share, and how they lie on disk.
//!
//! Stages never call each other: they meet in folders that hold Parquet tables of these records
//! and a [`Manifest`]. This crate therefore has everything two stages must agree on, and nothing
//! that only one needs: a question about an image ([`Sample`]), the image ([`ImageRow`]), a row
//! that could not be used ([`Reject`]), the prompt form of the published data set ([`prompt`]),
//! LLaVA's JSON ([`llava`]), reading images safely ([`pixels`]), random numbers that depend on the
//! run's seed and the record alone ([`seed`]), progress and interruption.

pub mod archive;
pub mod benchmark;
pub mod degrade;
pub mod equality;
pub mod interrupt;
pub mod llava;
mod pair;
pub mod pixels;
pub mod printed;
pub mod progress;
pub mod prompt;
mod record;
pub mod scan;
pub mod scores;
pub mod seed;
pub mod shard;
mod stage;
mod table;
pub mod view;
pub mod workers;

pub use pair::{BENCHMARK_QUESTIONS, BenchmarkQuestion, MadePair, PAIRS};
pub use record::{Answer, ImageRef, ImageRow, Origin, Reject, Sample, Task};
pub use shard::Shard;
pub use stage::{
    Manifest, Stage, StageKey, file_sha256, rebase_root, resolve_image, safe_join, sha256_hex,
    write_atomic,
};
pub use table::{
    IMAGES, REJECTS, Row, SAMPLES, TableWriter, read_table, table_properties, write_table,
};

use std::path::PathBuf;

/// What can go wrong with records and their files; every variant says where.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file that is not what its name says.
    #[error("{path}: {detail}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        detail: String,
    },
    /// A path that would leave the folder it must stay in.
    #[error("{path:?} leaves the folder {root}: paths in data must stay below their root")]
    OutsideRoot {
        /// The folder.
        root: PathBuf,
        /// The path as it was written.
        path: String,
    },
    /// The stage folder holds the result of something else.
    #[error("{0}")]
    Conflict(String),
    /// Other machines that were to do the work did not.
    #[error("{0}")]
    Workers(String),
    /// The user asked to stop; what was finished is kept.
    #[error("interrupted; what was finished is kept, the same command goes on from there")]
    Interrupted,
}

impl Error {
    /// Wraps an operating system error with the path it concerns.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io {
            path: path.into(),
            source,
        }
    }

    /// A file that is not what its name says.
    pub fn format(path: impl Into<PathBuf>, detail: impl ToString) -> Self {
        Error::Format {
            path: path.into(),
            detail: detail.to_string(),
        }
    }
}
