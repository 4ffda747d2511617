//! What an evaluation found: the agreement between the stage that scores and the pages that show it.
//!
//! An evaluation asks every question three times: with its own image, with the image swapped for
//! another of the same family, and "blind", where the reply is the best guess that training answers
//! alone allow. A model that reads its images beats both. [`Results`] is the `results` value of the
//! evaluation's manifest, [`Score`] one line of its `scores.jsonl`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::record::Task;

/// What a question was asked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// The model, with the question's own image.
    Model,
    /// The same model, with another image of the same source and family.
    Swapped,
    /// No model and no image: the most frequent training answer.
    Blind,
}

impl Condition {
    /// All conditions, in the order tables print them.
    pub const ALL: [Condition; 3] = [Condition::Model, Condition::Swapped, Condition::Blind];

    /// The name in files and tables, `swapped`.
    pub fn name(self) -> &'static str {
        match self {
            Condition::Model => "model",
            Condition::Swapped => "swapped",
            Condition::Blind => "blind",
        }
    }
}

/// How a reply was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reading {
    /// An answer was found in it.
    Parsed,
    /// It has text, but no answer could be found. Counts as wrong.
    Unparsed,
    /// It has no text. Counts as wrong.
    Empty,
    /// The model could not answer this request at all. Counts as wrong.
    Failed,
}

/// One line of `scores.jsonl`: one question under one condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The sample's id.
    pub id: String,
    /// What it was asked with.
    pub condition: Condition,
    /// Path of the image that was shown, as samples write it; none where none was.
    pub shown: Option<String>,
    /// That image's digest, since two stages may have different files of one path.
    pub shown_sha256: Option<String>,
    /// What was said, in full.
    pub response: String,
    /// How it was read.
    pub reading: Reading,
    /// Whether the reply ran into the token limit.
    pub truncated: bool,
    /// The answer found in it.
    pub extraction: Option<String>,
    /// The right answer, as it is printed.
    pub expected: String,
    /// Whether the two agree.
    pub correct: bool,
}

/// A share of right answers with its 95% interval (Wilson's score interval).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Right answers.
    pub correct: u64,
    /// Questions asked.
    pub total: u64,
    /// `correct / total`; 0 where nothing was asked.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// What a difference says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The whole interval is above 0.
    Beats,
    /// The interval has 0 in it, or there are too few images for one.
    Unclear,
    /// The whole interval is below 0.
    Loses,
}

/// The model's accuracy less another condition's, on the questions that both have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Questions compared.
    pub items: u64,
    /// Distinct images among them: what is resampled, since questions on one image go together.
    pub images: u64,
    /// The difference, from -1 to 1.
    pub value: f64,
    /// Lower and upper end of the 95% bootstrap interval; none where there are too few images.
    pub interval: Option<(f64, f64)>,
    /// What it says.
    pub verdict: Verdict,
}

/// The three conditions side by side on some of the questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// What the questions have in common: a task, a source, a template.
    pub name: String,
    /// With its own image.
    pub model: Accuracy,
    /// With another image.
    pub swapped: Accuracy,
    /// Without looking.
    pub blind: Accuracy,
    /// Model less swapped.
    pub over_swapped: Difference,
    /// Model less blind.
    pub over_blind: Difference,
}

impl Group {
    /// The accuracy under one condition.
    pub fn accuracy(&self, condition: Condition) -> Accuracy {
        match condition {
            Condition::Model => self.model,
            Condition::Swapped => self.swapped,
            Condition::Blind => self.blind,
        }
    }

    /// Whether the model beats both other conditions.
    pub fn beats_both(&self) -> bool {
        self.over_swapped.verdict == Verdict::Beats && self.over_blind.verdict == Verdict::Beats
    }
}

/// How the replies of one condition were read; what went wrong is counted, never hidden.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readings {
    /// Questions asked.
    pub asked: u64,
    /// Questions left out: no other image of the family to swap in.
    pub left_out: u64,
    /// Replies with an answer in them.
    pub parsed: u64,
    /// Replies without one.
    pub unparsed: u64,
    /// Replies without text.
    pub empty: u64,
    /// Requests the model could not answer.
    pub failed: u64,
    /// Replies that ran into the token limit; they are also counted above.
    pub truncated: u64,
}

/// Where the blind guesses came from, from the narrowest ground to the widest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grounds {
    /// Training answers to the same question template of the same source.
    pub template: u64,
    /// The template is not in training: answers of the same source, task and answer kind.
    pub source: u64,
    /// Nor is such a source: answers of the same task and answer kind.
    pub task: u64,
    /// Nothing alike in training: the first choice, or no answer.
    pub none: u64,
}

/// Held-out questions and training, checked to share no image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Separation {
    /// Held-out questions evaluated.
    pub items: u64,
    /// Distinct images among them, by digest.
    pub images: u64,
    /// Training pairs they were held against.
    pub training_items: u64,
    /// Distinct training images, by digest.
    pub training_images: u64,
}

/// The `results` value of an evaluation's manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The benchmark's name.
    pub benchmark: String,
    /// The version of its query, extraction and scoring: scores of two versions do not compare.
    pub benchmark_version: u32,
    /// The model's name.
    pub model: String,
    /// How answers were found in replies.
    pub extraction: String,
    /// How the replies of each condition were read.
    pub readings: BTreeMap<Condition, Readings>,
    /// Where the blind guesses came from.
    pub blind_grounds: Grounds,
    /// What the questions were held apart from.
    pub separation: Separation,
    /// All questions.
    pub overall: Group,
    /// By task, in the papers' order.
    pub tasks: Vec<Group>,
    /// By source, by name.
    pub sources: Vec<Group>,
    /// By the image's family, `source/family`, by name.
    pub families: Vec<Group>,
    /// By question template, by name; questions without one are not in it.
    pub templates: Vec<Group>,
    /// By answer kind, by name.
    pub answer_kinds: Vec<Group>,
}

impl Results {
    /// Tasks in which the model beats both other conditions.
    pub fn tasks_won(&self) -> usize {
        self.tasks
            .iter()
            .filter(|g| Task::parse(&g.name).is_some() && g.beats_both())
            .count()
    }
}
