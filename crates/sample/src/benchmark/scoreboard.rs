//! Our scores and published ones in one table: the agreement between what makes it and what prints it.
//!
//! Numbers are in per cent, as papers print them; ours have their counts and a 95% interval, published
//! ones have neither.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::scores::Accuracy;

/// What kind of thing a row of a table was measured on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// One of our runs.
    Ours,
    /// People.
    Human,
    /// Guesses without a model.
    Chance,
    /// The method this toolkit builds.
    MathLlava,
    /// A model whose weights are not published.
    Closed,
    /// A model whose weights are.
    Open,
    /// A language model that reads a description of the image.
    Text,
    /// The method with a part of it changed.
    Ablation,
}

impl Standing {
    /// All, in the order tables print them.
    pub const ALL: [Standing; 8] = [
        Standing::Ours,
        Standing::MathLlava,
        Standing::Ablation,
        Standing::Human,
        Standing::Chance,
        Standing::Closed,
        Standing::Open,
        Standing::Text,
    ];

    /// The name in files, `math-llava`.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Ours => "ours",
            Standing::Human => "human",
            Standing::Chance => "chance",
            Standing::MathLlava => "math-llava",
            Standing::Closed => "closed",
            Standing::Open => "open",
            Standing::Text => "text",
            Standing::Ablation => "ablation",
        }
    }

    /// The one of that name.
    pub fn parse(name: &str) -> Option<Standing> {
        Standing::ALL.into_iter().find(|s| s.name() == name)
    }

    /// All names, for messages.
    pub fn names() -> String {
        Standing::ALL.map(Standing::name).join(", ")
    }

    /// What a table heads such rows with.
    pub fn title(self) -> &'static str {
        match self {
            Standing::Ours => "These runs",
            Standing::Human => "People",
            Standing::Chance => "Guessing",
            Standing::MathLlava => "Math-LLaVA, published",
            Standing::Closed => "Closed models",
            Standing::Open => "Open models",
            Standing::Text => "Language models with a description of the image",
            Standing::Ablation => "Math-LLaVA's ablations",
        }
    }
}

/// A column after the one over all questions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardColumn {
    /// As it is headed, `FQA`.
    pub code: String,
    /// The dimension it belongs to, `task`.
    pub dimension: String,
    /// The group, `figure question answering`.
    pub name: String,
}

/// One number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Per cent.
    pub percent: f64,
    /// Lower and upper end of the 95% interval, in per cent; none for published numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
    /// Right answers; none for published numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correct: Option<u64>,
    /// Questions; none for published numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
}

impl Cell {
    /// A published number.
    pub fn published(percent: f64) -> Cell {
        Cell {
            percent,
            interval: None,
            correct: None,
            total: None,
        }
    }
}

impl From<Accuracy> for Cell {
    fn from(a: Accuracy) -> Cell {
        Cell {
            percent: 100.0 * a.value,
            interval: Some((100.0 * a.low, 100.0 * a.high)),
            correct: Some(a.correct),
            total: Some(a.total),
        }
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoardRow {
    /// The model.
    pub model: String,
    /// What was measured.
    pub standing: Standing,
    /// Where the numbers come from: a paper's table, or how answers were found in our run.
    pub source: String,
    /// Over all questions.
    pub all: Option<Cell>,
    /// One for each column.
    pub cells: Vec<Option<Cell>>,
    /// What went wrong, in words; of our rows alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub counts: String,
    /// What the benchmark reports beside accuracy, as shares; of our rows alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measures: BTreeMap<String, f64>,
}

/// A benchmark's table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scoreboard {
    /// The benchmark.
    pub benchmark: String,
    /// Its split.
    pub split: String,
    /// The columns after the one over all questions.
    pub columns: Vec<BoardColumn>,
    /// Ours first, in the order given, then published ones.
    pub rows: Vec<BoardRow>,
}

/// All of a score's groups with their intervals, for charts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Breakdown {
    /// All questions.
    pub overall: Accuracy,
    /// Dimension, and its groups with their shares.
    pub dimensions: Vec<(String, Vec<(String, Accuracy)>)>,
}
