//! MATH-V: 3,040 problems of mathematics competitions with an image each, and a testmini of 304.
//!
//! Source: <https://github.com/mathllm/MATH-V>, data under MIT. The rules here follow its
//! `evaluation/evaluate.py` and `utils.py` with latex2sympy2 1.9.1.
//!
//! - **Layout.** `data/test.jsonl`, `data/testmini.jsonl` (or the files themselves in the folder) and
//!   the images that they name, relative to the folder. A row:
//!   `{"id": "2", "question": "Which bike is most expensive?\n<image1>", "options": ["A", "B", "C",
//!   "D", "E"], "answer": "A", "solution": null, "level": 2, "subject": "arithmetic", "image":
//!   "images/2.jpg"}`. Or Hugging Face's Parquet files of the same rows with their images.
//! - **Query.** The official instruction that asks for a `\boxed{}`, the question, and the options
//!   `(A) ...` unless they are the bare letters that the image shows.
//! - **Outputs.** JSON lines `{"id", "response"}`; where a row has a `model_answer`, that is scored.
//! - **Extraction.** `answer.rs`: phrases and boxes, then a long cleaning.
//! - **Scoring.** `equality.rs`: a reply is right when it equals the answer's letter or the text of the
//!   option with that letter. There is no judge.
//! - **Groups.** `level` (`level3`), `subject`, and both (`subject_level`), spelled as in the
//!   official result files.

mod answer;
mod equality;
mod expression;
mod node;
mod rewrite;
mod token;
mod value;

#[cfg(test)]
mod tests;

use std::path::Path;

use rayon::prelude::*;
use sample::benchmark::ItemScore;
use serde_json::Map;

use super::rows::{self, Row};
use super::{Benchmark, reply};
use crate::{Answer, Error, Item, Kind, Outputs, Scoring};

pub(super) use answer::float;
pub(super) use equality::equal;

/// The benchmark.
pub struct MathVision;

const INSTRUCTION: &str = "Please solve the problem step by step and put your answer in one \
    \"\\boxed{}\". If it is a multiple choice question, only one letter is allowed in the \
    \"\\boxed{}\".\n";

impl Benchmark for MathVision {
    fn name(&self) -> &'static str {
        "mathvision"
    }

    fn title(&self) -> &'static str {
        "MATH-V"
    }

    fn version(&self) -> &'static str {
        "mathllm/MATH-V 1d36118 with latex2sympy2 1.9.1; 1"
    }

    fn splits(&self) -> &'static [&'static str] {
        &["testmini", "test"]
    }

    fn load(&self, folder: &Path, split: &str) -> Result<Vec<Item>, Error> {
        rows::known_split(self, split)?;
        let names = [format!("data/{split}.jsonl"), format!("{split}.jsonl")];
        let paths = rows::find(folder, &[&names[0], &names[1]], split)?;
        rows::items(&paths, |row| item(row, folder))
    }

    fn query(&self, item: &Item) -> String {
        let options = if item.choices.concat() == "ABCDE" {
            String::new()
        } else {
            lettered(&item.choices)
        };
        format!("{INSTRUCTION}{}\n{options}", item.question)
    }

    fn outputs(&self, path: &Path, _items: &[Item]) -> Result<Outputs, Error> {
        rows::outputs(
            path,
            &["id"],
            &["response"],
            &["model_answer", "extraction"],
        )
    }

    fn score(&self, items: &[Item], answers: &[Answer], _how: &Scoring) -> Vec<ItemScore> {
        items
            .par_iter()
            .zip(answers)
            .map(|(item, answer)| {
                reply::score(item, answer, answer::extract, |extraction| {
                    let letter = item.answer.as_deref().unwrap_or_default();
                    let option = option(item).unwrap_or_default();
                    equality::equal(letter, extraction) || equality::equal(option, extraction)
                })
            })
            .collect()
    }
}

/// Options as the official query lists them, `(A) ...`, one a line.
fn lettered(choices: &[String]) -> String {
    ('A'..='Z')
        .zip(choices)
        .map(|(letter, choice)| format!("({letter}) {choice}\n"))
        .collect()
}

/// The text of the right option, where the item has options.
fn option(item: &Item) -> Option<&str> {
    let letter = *item.answer.as_deref()?.as_bytes().first()?;
    let at = usize::from(letter.checked_sub(b'A')?);
    item.choices.get(at).map(String::as_str)
}

fn item(row: &Row, folder: &Path) -> Result<Item, String> {
    let choices = row.texts("options")?;
    let level = row.text("level").unwrap_or_default();
    let subject = row.text("subject").unwrap_or_default();
    let both = |one: &str, other: &str, joined: String| {
        (!one.is_empty() && !other.is_empty()).then_some(joined)
    };
    Ok(Item {
        id: row.required("id")?,
        question: row.required("question")?,
        kind: if choices.is_empty() {
            Kind::Open
        } else {
            Kind::MultiChoice
        },
        choices,
        answer: row.text("answer"),
        unit: None,
        precision: None,
        pictures: row.pictures("image", |name| rows::inside(folder, name))?,
        groups: reply::groups([
            ("level", both(&level, "-", format!("level{level}"))),
            (
                "subject_level",
                both(&subject, &level, format!("{subject}_level{level}")),
            ),
            ("subject", Some(subject)),
        ]),
        extra: Map::new(),
    })
}
