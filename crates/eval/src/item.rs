//! A question of a published benchmark, and what a model said to it.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};

/// The form of a question's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of the choices.
    MultiChoice,
    /// A whole number.
    Integer,
    /// A number with decimal places.
    Float,
    /// Several values.
    List,
    /// Anything else.
    Open,
}

/// An image of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picture {
    /// In a file of its own, which may lead through an archive.
    File(PathBuf),
    /// In a row of a table; the bytes of a PNG, JPEG, GIF, BMP or WebP file.
    Bytes(Arc<[u8]>),
}

/// One question.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Its id in the benchmark.
    pub id: String,
    /// The question as it is published.
    pub question: String,
    /// Its choices, in order; empty where it has none.
    pub choices: Vec<String>,
    /// The right answer as it is published; none in splits whose answers are not.
    pub answer: Option<String>,
    /// The answer's form.
    pub kind: Kind,
    /// The unit the answer is in.
    pub unit: Option<String>,
    /// Decimal places of the answer, as published (a JSON number).
    pub precision: Option<f64>,
    /// Its images, in order.
    pub pictures: Vec<Picture>,
    /// What scores are grouped by: dimension (`task`) and name; a dimension may occur more than once
    /// (`skills`).
    pub groups: Vec<(String, String)>,
    /// What else this benchmark's query or scoring reads.
    pub extra: Map<String, Value>,
}

/// What a model said to one question.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The question's id.
    pub id: String,
    /// What it said, in full.
    pub response: Option<String>,
    /// The answer in it, where an earlier stage or another program has found one already. `Some("")`
    /// is an extraction that found nothing; `None` is one that never was.
    pub extraction: Option<String>,
    /// Whether the reply ran into the token limit.
    pub truncated: bool,
    /// Why the model could not be asked at all.
    pub failed: Option<String>,
}
