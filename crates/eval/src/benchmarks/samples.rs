//! `samples`: any file of questions of the user's own.
//!
//! - **Layout.** A finished stage folder (`samples.parquet` and its manifest); or a file, or a folder
//!   with one of `samples.jsonl`, `samples.json`, `data.jsonl`, `data.json`, whose images lie below
//!   the file's folder. Its rows have `question`, `answer` and, where they know them, `id`, `image`,
//!   `choices`, `unit`, `precision`, `task`; or LLaVA's `conversations`. A row: `{"id": "7",
//!   "question": "Which bar is the highest?", "choices": ["Oak", "Elm", "Ash"], "answer": "B",
//!   "image": "bars/7.png"}`.
//! - **Query.** MathV360K's prompt: hint, question, choices.
//! - **Outputs.** Rows with `id` and `response`.
//! - **Extraction.** What follows the last "The answer is", or a short reply as a whole.
//! - **Scoring.** By the answer's kind: an option by letter or text, a whole number by value, a
//!   decimal at its places, a list in order, words whatever their case; our own rules also let
//!   numbers and expressions be written differently.
//! - **Groups.** `task`, `source`, `answer_kind`.

use std::path::{Path, PathBuf};

use sample::benchmark::ItemScore;
use sample::{Answer as Typed, ImageRef, Origin, Sample, Task, printed, prompt};
use serde_json::{Map, Value};

use super::rows::{self, Row};
use super::{Benchmark, mathvision, reply};
use crate::heldout::extract::{Mode, extract};
use crate::heldout::{answer as heldout_answer, samples as heldout_samples};
use crate::{Answer, Error, Extraction, Item, Kind, Outputs, Picture, Scoring};

/// The benchmark.
pub struct Samples;

/// Where an item keeps its typed record.
const RECORD: &str = "sample";

impl Benchmark for Samples {
    fn name(&self) -> &'static str {
        "samples"
    }

    fn title(&self) -> &'static str {
        "Samples"
    }

    fn version(&self) -> &'static str {
        "1"
    }

    fn splits(&self) -> &'static [&'static str] {
        &["all"]
    }

    fn load(&self, folder: &Path, split: &str) -> Result<Vec<Item>, Error> {
        rows::known_split(self, split)?;
        if folder.join(sample::SAMPLES).is_file() {
            let stage = heldout_samples::items(folder)?;
            return stage
                .samples
                .iter()
                .map(|sample| item(sample, stage.images.get(&sample.image.path).cloned()))
                .collect();
        }
        let path = if folder.is_file() {
            folder.to_owned()
        } else {
            let names = ["samples.jsonl", "samples.json", "data.jsonl", "data.json"];
            rows::find(folder, &names, "samples")?.swap_remove(0)
        };
        let images = path.parent().unwrap_or(folder).to_owned();
        let bad = |at: usize, detail: String| Error::Data {
            path: path.clone(),
            detail: format!("row {}: {detail}", at + 1),
        };
        rows::read(&path)?
            .iter()
            .enumerate()
            .map(|(at, row)| {
                let sample = record(row, at).map_err(|detail| bad(at, detail))?;
                let image = match sample.image.path.as_str() {
                    "" => None,
                    name => Some(rows::inside(&images, name).map_err(|detail| bad(at, detail))?),
                };
                item(&sample, image)
            })
            .collect()
    }

    fn query(&self, item: &Item) -> String {
        match typed(item) {
            Some(sample) => prompt::query(&sample),
            None => item.question.clone(),
        }
    }

    fn outputs(&self, path: &Path, _items: &[Item]) -> Result<Outputs, Error> {
        rows::outputs(path, &["id"], &["response", "prediction"], &["extraction"])
    }

    fn score(&self, items: &[Item], answers: &[Answer], how: &Scoring) -> Vec<ItemScore> {
        let extended = how.extraction == Extraction::Extended;
        items
            .iter()
            .zip(answers)
            .map(|(item, answer)| {
                let find = |response: &str| extract(Mode::Rule, response).unwrap_or_default();
                reply::score(item, answer, find, |found| {
                    let expected = item.answer.as_deref().unwrap_or_default();
                    typed(item).is_some_and(|sample| heldout_answer::matches(&sample, found))
                        || (extended && mathvision::equal(expected, found))
                })
            })
            .collect()
    }
}

fn typed(item: &Item) -> Option<Sample> {
    serde_json::from_value(item.extra.get(RECORD)?.clone()).ok()
}

fn item(sample: &Sample, image: Option<PathBuf>) -> Result<Item, Error> {
    let record = serde_json::to_value(sample).map_err(|error| Error::Data {
        path: PathBuf::from(&sample.id),
        detail: error.to_string(),
    })?;
    Ok(Item {
        id: sample.id.clone(),
        question: sample.question.clone(),
        choices: sample.choices.clone(),
        answer: Some(sample.answer.text()),
        kind: match sample.answer {
            Typed::Choice(_) => Kind::MultiChoice,
            Typed::Integer(_) => Kind::Integer,
            Typed::Decimal { .. } => Kind::Float,
            Typed::List(_) => Kind::List,
            Typed::Text(_) => Kind::Open,
        },
        unit: sample.unit.clone(),
        precision: match sample.answer {
            Typed::Decimal { places, .. } => Some(f64::from(places)),
            _ => None,
        },
        pictures: image.map(Picture::File).into_iter().collect(),
        groups: reply::groups([
            ("task", Some(sample.task.name().to_owned())),
            ("source", Some(sample.origin.source().to_owned())),
            ("answer_kind", Some(sample.answer.kind().to_owned())),
        ]),
        extra: Map::from_iter([(RECORD.to_owned(), record)]),
    })
}

/// The typed record of a row.
fn record(row: &Row, at: usize) -> Result<Sample, String> {
    if let Some(record) = row.0.get(sample::llava::RECORD_KEY) {
        let read = match record {
            Value::String(json) => sample::llava::parse_record(json),
            other => serde_json::from_value(other.clone()),
        };
        return read.map_err(|error| format!("its record cannot be read: {error}"));
    }
    let (question, answer) = match row.0.get("conversations") {
        Some(turns) => conversation(turns)?,
        None => (row.required("question")?, row.required("answer")?),
    };
    let choices = row.texts("choices")?;
    let places = row.0.get("precision").and_then(Value::as_u64);
    Ok(Sample {
        id: row.text("id").unwrap_or_else(|| (at + 1).to_string()),
        image: ImageRef {
            path: row.text("image").unwrap_or_default(),
            sha256: String::new(),
            width: 0,
            height: 0,
        },
        question,
        answer: answer_of(&answer, &choices, places),
        choices,
        unit: row.text("unit").filter(|unit| !unit.is_empty()),
        rationale: None,
        task: row
            .text("task")
            .and_then(|name| Task::parse(&name))
            .unwrap_or(Task::Vqa),
        language: "en".to_owned(),
        origin: Origin::Source {
            source: row.text("source").unwrap_or_else(|| "samples".to_owned()),
            row: (at + 1).to_string(),
        },
        template: None,
    })
}

/// An option by its text, its letter or, where that is a number past neither, its place; else what
/// the text looks like.
fn answer_of(text: &str, choices: &[String], places: Option<u64>) -> Typed {
    let text = text.trim();
    if let Some(index) = choices.iter().position(|choice| choice.trim() == text) {
        return Typed::Choice(index);
    }
    if let ([letter @ (b'A'..=b'Z' | b'a'..=b'z')], false) = (text.as_bytes(), choices.is_empty()) {
        let index = usize::from(letter.to_ascii_uppercase() - b'A');
        if index < choices.len() {
            return Typed::Choice(index);
        }
    }
    match (printed::answer(text), places) {
        (Typed::Integer(value), Some(places @ 1..=12)) => Typed::Decimal {
            value: value as f64,
            places: places as u8,
        },
        (Typed::Decimal { value, .. }, Some(places @ 1..=12)) => Typed::Decimal {
            value,
            places: places as u8,
        },
        (answer, _) => answer,
    }
}

/// Question and answer of LLaVA's two turns.
fn conversation(turns: &Value) -> Result<(String, String), String> {
    let turn = |names: [&str; 2]| {
        turns
            .as_array()?
            .iter()
            .find(|turn| {
                let from = turn.get("from").and_then(Value::as_str);
                from.is_some_and(|from| names.contains(&from))
            })?
            .get("value")?
            .as_str()
    };
    let question = turn(["human", "user"]).ok_or("its conversation has no human turn")?;
    let answer = turn(["gpt", "assistant"]).ok_or("its conversation has no gpt turn")?;
    let answer = extract(Mode::Rule, answer).unwrap_or_else(|| answer.trim().to_owned());
    Ok((
        question.replace(prompt::IMAGE_TOKEN, "").trim().to_owned(),
        answer,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Vec<Item> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.jsonl");
        std::fs::write(&path, text).unwrap();
        Samples.load(&path, "all").unwrap()
    }

    fn correct(items: &[Item], reply: &str, extraction: Extraction) -> bool {
        let answers: Vec<Answer> = items
            .iter()
            .map(|_| Answer {
                response: Some(reply.to_owned()),
                ..Answer::default()
            })
            .collect();
        let how = Scoring {
            extraction,
            ..Scoring::default()
        };
        Samples.score(items, &answers, &how)[0].correct
    }

    #[test]
    fn rows_are_scored_by_their_answers_kind() {
        let choices = r#"{"question": "Which?", "choices": ["Oak", "Elm"], "answer": "B"}"#;
        let by_text = r#"{"question": "Which?", "choices": ["Oak", "Elm"], "answer": "Elm"}"#;
        let decimal = r#"{"question": "How much?", "answer": 2.5, "precision": 2}"#;
        let words = r#"{"question": "What?", "answer": "a red square"}"#;
        let llava = r#"{"id": "x", "image": "a/b.png", "conversations": [
            {"from": "human", "value": "<image>\nHow many?"},
            {"from": "gpt", "value": "The answer is 12"}]}"#
            .replace('\n', " ");
        for (row, kind, reply, expected) in [
            (choices, Kind::MultiChoice, "The answer is B", true),
            (choices, Kind::MultiChoice, "Elm", true),
            (choices, Kind::MultiChoice, "A", false),
            (by_text, Kind::MultiChoice, "B", true),
            (decimal, Kind::Float, "The answer is 2.50", true),
            (decimal, Kind::Float, "The answer is 2.51", false),
            (words, Kind::Open, "A red  square.", true),
            (&llava, Kind::Integer, "The answer is 12", true),
            (&llava, Kind::Integer, "The answer is 13", false),
        ] {
            let items = load(row);
            assert_eq!(items[0].kind, kind, "{row}");
            assert_eq!(
                correct(&items, reply, Extraction::Official),
                expected,
                "{row} {reply}"
            );
        }
    }

    #[test]
    fn our_own_rules_let_expressions_be_written_differently() {
        let items = load(r#"{"question": "Area?", "answer": "\\frac{1}{2}"}"#);
        assert!(!correct(&items, "The answer is 1/2", Extraction::Official));
        assert!(correct(&items, "The answer is 1/2", Extraction::Extended));
    }

    #[test]
    fn a_row_that_asks_nothing_is_an_error_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(
            folder.path().join("samples.jsonl"),
            "{\"question\": \"Q\", \"answer\": \"1\"}\n{\"answer\": \"1\"}\n",
        )
        .unwrap();
        let error = Samples.load(folder.path(), "all").unwrap_err().to_string();
        assert!(
            error.contains("row 2") && error.contains("question"),
            "{error}"
        );
    }

    #[test]
    fn the_query_is_the_prompt_of_training() {
        let items = load(r#"{"question": "Which?", "choices": ["Oak", "Elm"], "answer": "B"}"#);
        let query = Samples.query(&items[0]);
        assert!(query.starts_with("Hint: "));
        assert!(query.ends_with("Question: Which?\nChoices:\n(A) Oak\n(B) Elm"));
    }
}
