//! MathVista: mathematical reasoning in visual contexts.
//!
//! <https://mathvista.github.io>, <https://github.com/lupantech/MathVista>; questions, captions and
//! detected texts under CC BY-SA 4.0. 1,000 questions with answers (`testmini`: 540 multiple choice, 418
//! whole numbers, 40 decimals, 2 lists) and 5,141 without (`test`).
//!
//! Layout: `data/testmini.json` and `data/test.json`, objects by pid, images in `data/images`. A row:
//!
//! ```json
//! "2": {"question": "what is the total volume of the measuring cup?", "image": "images/2.jpg",
//!  "choices": null, "unit": "g", "precision": null, "answer": "1000", "question_type": "free_form",
//!  "answer_type": "integer", "pid": "2", "metadata": {"task": "visual question answering", "...": ""}}
//! ```
//!
//! Also read: the Parquet files of Hugging Face (`data/testmini-*.parquet`) and VLMEvalKit's
//! `MathVista_MINI.tsv`, with their images.
//!
//! Three stages: a reply; the answer in it ([`extract`], or a judge asked with [`judge`]); what it is
//! compared as ([`normalise`]). Quirks, all kept:
//!
//! - A text that names no choice counts as the choice with the least edit distance, even an empty one.
//!   The latter is counted as a fallback; strict scoring has no answer there.
//! - Numbers are compared as printed: `0.125` at two places is `0.12`.
//! - The scorer believes the rows of the outputs about the question: choices, answer, groups.
//! - A row without extraction stops the official code; here it is wrong and reported.
//!
//! Scores are grouped by question_type, answer_type, language, source, category, task, context, grade
//! and skills.

pub mod demonstrations;
mod distance;
pub mod extract;
pub mod judge;
pub mod normalise;
mod outputs;
pub mod query;
mod questions;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sample::benchmark::ItemScore;
use sample::scores::Reading;
use serde_json::{Map, Value};

use crate::python::{Literal, parse_float, strip};
use crate::{Answer, Benchmark, Error, Extraction, Item, Kind, Outputs, Scoring};

/// The benchmark.
#[derive(Debug, Clone, Copy)]
pub struct MathVista;

impl Benchmark for MathVista {
    fn name(&self) -> &'static str {
        "mathvista"
    }

    fn title(&self) -> &'static str {
        "MathVista"
    }

    fn version(&self) -> &'static str {
        "lupantech/MathVista, rules 1"
    }

    fn splits(&self) -> &'static [&'static str] {
        &["testmini", "test"]
    }

    fn load(&self, folder: &Path, split: &str) -> Result<Vec<Item>, Error> {
        if !self.splits().contains(&split) {
            return Err(Error::UnknownSplit {
                benchmark: self.name(),
                split: split.to_owned(),
                known: self.splits().join(", "),
            });
        }
        questions::load(folder, split)
    }

    fn query(&self, item: &Item) -> String {
        query::zero_shot(item)
    }

    fn outputs(&self, path: &Path, items: &[Item]) -> Result<Outputs, Error> {
        outputs::read(path, items)
    }

    /// As the rows of the outputs have them: the official scorer looks nowhere else. Of several rows
    /// for one question the last counts.
    fn questions(&self, items: Vec<Item>, outputs: &Outputs) -> Vec<Item> {
        let repeated: HashMap<&str, &Item> = outputs
            .items
            .iter()
            .map(|item| (item.id.as_str(), item))
            .collect();
        items
            .into_iter()
            .map(|item| match repeated.get(item.id.as_str()) {
                Some(&repeated) => repeated.clone(),
                None => item,
            })
            .collect()
    }

    fn score(&self, items: &[Item], answers: &[Answer], how: &Scoring) -> Vec<ItemScore> {
        items
            .iter()
            .zip(answers)
            .map(|(item, answer)| verdict(item, answer, how))
            .collect()
    }

    fn judge_extraction(&self, item: &Item, response: &str) -> Option<String> {
        if extract::official(item, response).is_some() {
            return None;
        }
        let prompt = item.extra.get("judge_prompt").and_then(Value::as_str);
        let prompt = prompt.unwrap_or(judge::OURS);
        Some(judge::ask(prompt, &self.query(item), response))
    }
}

/// Whose judge prompt the questions carry, for a score's provenance: `official`, `given` or `ours`.
pub fn judge_prompt_name(items: &[Item]) -> &str {
    items
        .first()
        .and_then(|item| item.extra.get("judge_prompt_name")?.as_str())
        .unwrap_or("ours")
}

/// A file of the data: in `data` of a checkout, or in the folder itself.
fn in_data(folder: &Path, name: &str) -> PathBuf {
    let inside = folder.join("data").join(name);
    if inside.exists() {
        inside
    } else {
        folder.join(name)
    }
}

/// A question of which nothing is known but its name.
fn unknown(id: &str) -> Item {
    Item {
        id: id.to_owned(),
        question: String::new(),
        choices: Vec::new(),
        answer: None,
        kind: Kind::Open,
        unit: None,
        precision: None,
        pictures: Vec::new(),
        groups: Vec::new(),
        extra: Map::new(),
    }
}

fn verdict(item: &Item, answer: &Answer, how: &Scoring) -> ItemScore {
    let extraction = answer.extraction.clone().or_else(|| {
        let response = answer.response.as_deref()?;
        let lacks = item.extra.contains_key("unextracted");
        match how.extraction {
            Extraction::Official if lacks => None,
            Extraction::Official => extract::official(item, response),
            Extraction::Extended => extract::extended(item, response),
            // What the rules settle is not the judge's to find; what it found is in the answer.
            Extraction::Judge => extract::official(item, response),
        }
    });
    let value = extraction.as_deref().map(|text| value(item, text));
    let guess = value
        .as_ref()
        .is_some_and(|value| normalise::is_guess(value, item));
    let prediction = value
        .filter(|_| !(guess && how.strict))
        .and_then(|value| normalise::normalise(&value, item, how.dialect));
    let says = |text: &Option<String>| text.as_deref().is_some_and(|t| !strip(t).is_empty());
    let reading = if answer.failed.is_some() && !says(&extraction) {
        Reading::Failed
    } else if !says(&answer.response) && !says(&extraction) {
        Reading::Empty
    } else if prediction.is_none() || guess {
        Reading::Unparsed
    } else {
        Reading::Parsed
    };
    ItemScore {
        id: item.id.clone(),
        response: answer.response.clone(),
        reading,
        correct: prediction.is_some() && prediction == item.answer,
        fallback: guess && prediction.is_some(),
        extraction,
        prediction,
        expected: item.answer.clone(),
        truncated: answer.truncated,
    }
}

/// The extraction as Python had it: a text, unless the row it is from had something else.
fn value(item: &Item, text: &str) -> Literal {
    let plain = || Literal::Str(text.to_owned());
    match item.extra.get("extraction_type").and_then(Value::as_str) {
        Some("NoneType") if text == "None" => Literal::None,
        Some("bool") if matches!(text, "True" | "False") => Literal::Bool(text == "True"),
        Some("int") => Literal::Int(text.to_owned()),
        Some("float") => parse_float(text).map_or_else(plain, Literal::Float),
        _ => plain(),
    }
}

#[cfg(test)]
mod tests;
