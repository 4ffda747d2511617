//! Published benchmarks: one file or folder each, one line in [`BENCHMARKS`].
//!
//! A benchmark says where its questions lie, how they are put, in which forms other programs keep
//! outputs, how an answer is found in a reply, and when it is right. Asking, resuming, counting,
//! statistics and tables are the same for all.

pub mod dynamath;
pub mod mathverse;
pub mod mathvision;
pub mod mathvista;
pub mod mmmu;
pub mod mmmu_pro;
mod reply;
mod rows;
pub mod samples;
pub mod wemath;

use std::collections::BTreeMap;
use std::path::Path;

use sample::benchmark::ItemScore;

use crate::{Error, Item, Outputs, Scoring};

/// Every benchmark there is.
pub static BENCHMARKS: &[&dyn Benchmark] = &[
    &mathvista::MathVista,
    &mmmu::Mmmu,
    &mmmu_pro::MmmuPro,
    &mathvision::MathVision,
    &mathverse::MathVerse,
    &wemath::WeMath,
    &dynamath::DynaMath,
    &samples::Samples,
];

/// A published set of questions with its own way to ask, read and score.
pub trait Benchmark: Sync {
    /// As commands name it, `mathvista`.
    fn name(&self) -> &'static str;

    /// As papers name it, `MathVista`.
    fn title(&self) -> &'static str;

    /// Which official code the rules follow, and a number of ours that is raised whenever query,
    /// extraction or scoring change a verdict. Scores of two versions do not compare.
    fn version(&self) -> &'static str;

    /// Its parts, the usual one first.
    fn splits(&self) -> &'static [&'static str];

    /// Reads a split's questions from the folder they are published in.
    ///
    /// # Errors
    /// Where the folder is not one of this benchmark, says which files were looked for.
    fn load(&self, folder: &Path, split: &str) -> Result<Vec<Item>, Error>;

    /// What the model is asked, in its zero-shot form.
    fn query(&self, item: &Item) -> String;

    /// Reads a file (or folder) of outputs in the forms that the benchmark's own code and other
    /// programs write, and in ours (`responses.jsonl`).
    ///
    /// # Errors
    /// Where the file is in none of these forms; rows that cannot be used are remarks.
    fn outputs(&self, path: &Path, items: &[Item]) -> Result<Outputs, Error>;

    /// The questions as they are scored, where the official code goes by what the outputs' own rows
    /// say of them and by the rows' order.
    fn questions(&self, items: Vec<Item>, outputs: &Outputs) -> Vec<Item> {
        let _ = outputs;
        items
    }

    /// Decides on all questions of a split, in the items' order; `answers` are in the same order.
    /// Over all of them at once because official code may carry a generator from one to the next.
    /// Total on any input.
    fn score(&self, items: &[Item], answers: &[crate::Answer], how: &Scoring) -> Vec<ItemScore>;

    /// What it reports beside accuracy, by name.
    fn measures(&self, items: &[Item], scored: &[ItemScore]) -> BTreeMap<String, f64> {
        let _ = (items, scored);
        BTreeMap::new()
    }

    /// The official prompt that asks a judge for the answer in `response`; none where the official
    /// rules settle it or the benchmark has no judge.
    fn judge_extraction(&self, item: &Item, response: &str) -> Option<String> {
        let _ = (item, response);
        None
    }

    /// The official prompt that asks a judge whether `extraction` is right, for benchmarks that decide
    /// so; its reply is read by [`Benchmark::judged`].
    fn judge_verdict(&self, item: &Item, extraction: &str) -> Option<String> {
        let _ = (item, extraction);
        None
    }

    /// What a judge's verdict says; none where it says neither.
    fn judged(&self, reply: &str) -> Option<bool> {
        let _ = reply;
        None
    }
}

/// The benchmark of that name or title, however it is spelled: `mathvision`, `MATH-V`, `mmmu-pro`.
///
/// # Errors
/// Where there is none; the message names those there are.
pub fn find(name: &str) -> Result<&'static dyn Benchmark, Error> {
    let letters = |name: &str| -> String {
        let kept = name.chars().filter(char::is_ascii_alphanumeric);
        kept.map(|c| c.to_ascii_lowercase()).collect()
    };
    let wanted = letters(name);
    BENCHMARKS
        .iter()
        .copied()
        .find(|b| [b.name(), b.title()].map(letters).contains(&wanted))
        .ok_or_else(|| Error::UnknownBenchmark {
            name: name.to_owned(),
            known: BENCHMARKS
                .iter()
                .map(|b| b.name())
                .collect::<Vec<_>>()
                .join(", "),
        })
}
