//! Scores on published benchmarks: the agreement between the stage that scores and the pages that
//! show it.
//!
//! A model's run over one benchmark is a folder with `responses.jsonl`, `extractions.jsonl` and
//! `scores.jsonl`, one line a question ([`ItemScore`] is a line of the last), and a manifest whose
//! `results` value is a [`BenchmarkScore`]. [`folder`] reads it, [`scoreboard`] and [`paired`] are what
//! tables and comparisons of such runs hold.

pub mod folder;
pub mod paired;
pub mod scoreboard;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::scores::Reading;

/// Right answers among questions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// Right answers.
    pub correct: u64,
    /// Questions.
    pub total: u64,
    /// `correct / total`; 0 where there are none.
    pub accuracy: f64,
}

impl Share {
    /// `correct` of `total`.
    pub fn new(correct: u64, total: u64) -> Share {
        Share {
            correct,
            total,
            accuracy: if total == 0 {
                0.0
            } else {
                correct as f64 / total as f64
            },
        }
    }
}

/// One question, scored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemScore {
    /// The question's id in the benchmark.
    pub id: String,
    /// What was said, in full; none where the outputs have no row for the question.
    pub response: Option<String>,
    /// How it was read.
    pub reading: Reading,
    /// The answer found in it, before it is normalised.
    pub extraction: Option<String>,
    /// What is compared with the right answer.
    pub prediction: Option<String>,
    /// The right answer; none in splits whose answers are not published.
    pub expected: Option<String>,
    /// Whether the two agree.
    pub correct: bool,
    /// Whether `prediction` is not the model's but the official code's guess: MMMU's random choice,
    /// MathVista's nearest option to an empty extraction.
    pub fallback: bool,
    /// Whether the reply ran into the token limit.
    pub truncated: bool,
}

/// The `results` value of a benchmark run's manifest, and what `score --json` prints.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct BenchmarkScore {
    /// The benchmark's name, `mathvista`.
    pub benchmark: String,
    /// Its split, `testmini`.
    pub split: String,
    /// Which official code the rules follow, and the version of ours.
    pub version: String,
    /// The model, as it was named.
    pub model: String,
    /// How answers were found: `official`, `extended`, `judge`.
    pub extraction: String,
    /// Of rules that come in several: `head` or `paper` for MathVista, `strict` or `official` for MMMU.
    pub dialect: String,
    /// Right answers.
    pub correct: u64,
    /// Questions.
    pub total: u64,
    /// `correct / total`.
    pub accuracy: f64,
    /// Dimension (`task`, `grade`) to name (`geometry problem solving`) to its share.
    pub groups: BTreeMap<String, BTreeMap<String, Share>>,
    /// Answers that are the official code's guess and not the model's.
    pub fallbacks: u64,
    /// Replies in which no answer was found.
    pub unparsed: u64,
    /// Replies without text.
    pub empty: u64,
    /// Replies that ran into the token limit.
    pub truncated: u64,
    /// Questions the model could not be asked.
    pub failed: u64,
    /// Questions without a row in the outputs; they count as wrong.
    pub missing: u64,
    /// What the benchmark reports beside accuracy: We-Math's four dimensions, DynaMath's worst case.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measures: BTreeMap<String, f64>,
    /// What the score rests on: `data`, `model`, `prompt`, `sampling`, `judge`, `code` and others, as digests
    /// or names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub provenance: BTreeMap<String, String>,
    /// What a reader must know before quoting the score: rows outside the benchmark, duplicates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
}

impl BenchmarkScore {
    /// What went wrong, in words: the first line of every report.
    pub fn counts(&self) -> String {
        format!(
            "unparsed {}, truncated {}, empty {}, failed {}, missing {}, fallbacks {}",
            self.unparsed, self.truncated, self.empty, self.failed, self.missing, self.fallbacks
        )
    }
}
