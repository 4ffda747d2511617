//! Benchmark runs as a page: what went wrong first, then scores beside published ones, charts by
//! subgroup, questions by kind of error, what flipped between two runs, and every question with what was
//! said to it.
//!
//! Published rows, intervals and tests are made elsewhere and come in as data ([`BenchmarkRun`],
//! [`Scoreboard`], [`Paired`]).
//!
//! **Invariant:** the page's size is bounded whatever the runs hold: so many questions of each kind, so
//! many bytes in all; what does not fit is counted.

pub(crate) mod article;
pub(crate) mod chart;
pub(crate) mod flips;
mod gallery;
mod page;
pub(crate) mod questions;
pub(crate) mod table;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use sample::benchmark::BenchmarkScore;
use sample::benchmark::paired::Paired;
use sample::benchmark::scoreboard::{Breakdown, Scoreboard};
use sample::write_atomic;

use crate::Error;

/// No more runs are told apart on a page.
const MOST_RUNS: usize = 6;

/// A run to show.
#[derive(Debug, Clone, PartialEq)]
pub struct BenchmarkRun {
    /// Its folder, with `scores.jsonl`, and `items.jsonl` where it kept its questions.
    pub folder: PathBuf,
    /// Its score.
    pub score: BenchmarkScore,
    /// The score's groups with their intervals.
    pub breakdown: Breakdown,
}

/// Two of the runs, compared.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparedRuns {
    /// Place of the first in the list of runs.
    pub first: usize,
    /// Place of the second.
    pub second: usize,
    /// What the comparison found.
    pub paired: Paired,
}

/// How much a page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BenchmarkOptions {
    /// Questions shown of each kind of error.
    pub per_kind: usize,
    /// The longer side of images, in pixels.
    pub image_side: u32,
    /// No more bytes of questions: those that come after are counted.
    pub most_bytes: usize,
}

impl Default for BenchmarkOptions {
    fn default() -> Self {
        BenchmarkOptions {
            per_kind: 12,
            image_side: 280,
            most_bytes: 24 << 20,
        }
    }
}

/// Writes the page of `runs`, with the tables of their benchmarks and comparisons of some of them.
///
/// # Errors
/// No run or too many, runs whose files cannot be read, or a page that cannot be written.
pub fn benchmark_page(
    runs: &[BenchmarkRun],
    boards: &[Scoreboard],
    compared: &[ComparedRuns],
    options: &BenchmarkOptions,
    out: &Path,
) -> Result<(), Error> {
    if runs.is_empty() || runs.len() > MOST_RUNS {
        return Err(Error::BenchmarkRuns(runs.len(), MOST_RUNS));
    }
    let page = page::page(runs, boards, compared, options)?;
    Ok(write_atomic(out, page.as_bytes())?)
}
