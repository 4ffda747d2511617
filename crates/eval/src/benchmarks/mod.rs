//! Benchmarks: one file each, one line in [`BENCHMARKS`].
//!
//! A benchmark says where its questions lie, how they are put, how an answer is found in a reply
//! and when it is right. Asking, resuming, counting and statistics are the same for all.

mod samples;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sample::Sample;

use crate::{Error, answer, extract};

/// Every benchmark there is.
pub static BENCHMARKS: &[&dyn Benchmark] = &[&samples::Samples];

/// The source and family of an image: swaps stay within both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    /// The source's name.
    pub source: String,
    /// The kind of figure within the source, where it says.
    pub family: Option<String>,
}

/// A benchmark's questions.
#[derive(Debug, Clone, Default)]
pub struct Items {
    /// The questions, in order.
    pub samples: Vec<Sample>,
    /// Image path, as samples write it, to its file.
    pub images: BTreeMap<String, PathBuf>,
    /// Image path to what kind of image it is.
    pub families: BTreeMap<String, Family>,
}

/// A published set of questions with its own way to ask, read and score.
pub trait Benchmark: Sync {
    /// As configurations name it, `samples`.
    fn name(&self) -> &'static str;

    /// Raised whenever query, extraction or scoring change a verdict; it goes with every score.
    fn version(&self) -> u32;

    /// Reads the questions from the folder they are published in.
    ///
    /// # Errors
    /// Where the folder is not one of this benchmark.
    fn items(&self, folder: &Path) -> Result<Items, Error>;

    /// What the model is asked.
    fn query(&self, item: &Sample) -> String {
        sample::prompt::query(item)
    }

    /// The answer in a reply, or `None`; total on any input.
    fn extract(&self, mode: extract::Mode, response: &str) -> Option<String> {
        extract::extract(mode, response)
    }

    /// Whether an extracted answer is right; total on any input.
    fn correct(&self, item: &Sample, extraction: &str) -> bool {
        answer::matches(item, extraction)
    }
}

/// The benchmark of that name.
pub fn find(name: &str) -> Option<&'static dyn Benchmark> {
    BENCHMARKS.iter().copied().find(|b| b.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_benchmark_is_found_by_its_name_alone() {
        for benchmark in BENCHMARKS {
            let found = find(benchmark.name()).unwrap();
            assert_eq!(found.name(), benchmark.name());
            assert!(benchmark.version() >= 1);
        }
        let names: std::collections::BTreeSet<_> = BENCHMARKS.iter().map(|b| b.name()).collect();
        assert_eq!(names.len(), BENCHMARKS.len());
        assert!(find("no such benchmark").is_none());
    }
}
