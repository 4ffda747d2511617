//! MathVerse: 788 problems of geometry and functions in five versions each, which move more and more
//! of the problem from the text into the image.
//!
//! Source: <https://github.com/ZrrSkywalker/MathVerse>, `evaluation/*.py` at 9f81505.
//!
//! - **Layout.** `testmini.json` (3,940 rows) and `testmini_text_only.json` (788 rows of the sixth
//!   version, without images), images below `images/`. A row: `{"sample_index": "3424",
//!   "problem_index": "685", "problem_version": "Vision Dominant", "question": "Find L.", "image":
//!   "images_version_5/image_685.png", "answer": "14", "question_type": "free-form", "metadata":
//!   {"split": "testmini", "source": "Geo3D_collected", "subject": "Solid Geometry", "subfield":
//!   "Length"}, "query_wo": "...", "query_cot": "..."}`.
//! - **Query.** The row's `query_wo`, which asks for the answer alone ("w/o" in the paper's tables).
//! - **Outputs.** The rows with `model_answer`, and `extraction` once a judge has found it.
//! - **Extraction.** Officially a language model does it, with `prompts.rs`; without one, the reply
//!   itself is what was answered. Our own rules (`extended`) read the last phrase that announces an
//!   answer, and an option's letter.
//! - **Scoring.** Officially a language model again; without one, the official `--quick_match`: the
//!   same text. Our own rules also let numbers and expressions be written differently.
//! - **Groups.** `problem_version`, `subject`, `subfield` (as `Solid Geometry-Length`),
//!   `question_type`. **Measures.** The accuracy of each version, and `mean_of_versions`.

mod prompts;

use std::collections::BTreeMap;
use std::path::Path;

use sample::benchmark::ItemScore;
use serde_json::{Map, Value};

use super::rows::{self, Row};
use super::{Benchmark, mathvision, reply};
use crate::{Answer, Error, Extraction, Item, Kind, Outputs, Scoring};

/// The benchmark.
pub struct MathVerse;

impl Benchmark for MathVerse {
    fn name(&self) -> &'static str {
        "mathverse"
    }

    fn title(&self) -> &'static str {
        "MathVerse"
    }

    fn version(&self) -> &'static str {
        "ZrrSkywalker/MathVerse 9f81505; 1"
    }

    fn splits(&self) -> &'static [&'static str] {
        &["testmini", "testmini_text_only"]
    }

    fn load(&self, folder: &Path, split: &str) -> Result<Vec<Item>, Error> {
        rows::known_split(self, split)?;
        let names = [format!("{split}.json"), format!("data/{split}.json")];
        let paths = rows::find(folder, &[&names[0], &names[1]], split)?;
        rows::items(&paths, |row| item(row, folder))
    }

    fn query(&self, item: &Item) -> String {
        match item.extra.get("query_wo").and_then(Value::as_str) {
            Some(query) => query.to_owned(),
            None => item.question.clone(),
        }
    }

    fn outputs(&self, path: &Path, _items: &[Item]) -> Result<Outputs, Error> {
        rows::outputs(
            path,
            &["sample_index", "id"],
            &["model_answer", "response"],
            &["extraction"],
        )
    }

    fn score(&self, items: &[Item], answers: &[Answer], how: &Scoring) -> Vec<ItemScore> {
        let extended = how.extraction == Extraction::Extended;
        let one = |(item, answer): (&Item, &Answer)| {
            let find = |response: &str| match extended {
                true => announced(item, response),
                false => cleaned(response).to_owned(),
            };
            reply::score(item, answer, find, |extraction| {
                let expected = item.answer.as_deref().unwrap_or_default();
                let extraction = cleaned(extraction);
                extraction == expected
                    || (extended && mathvision::equal(expected, &announced(item, extraction)))
            })
        };
        items.iter().zip(answers).map(one).collect()
    }

    fn measures(&self, items: &[Item], scored: &[ItemScore]) -> BTreeMap<String, f64> {
        let mut measures = reply::accuracies(items, scored, "problem_version");
        if !measures.is_empty() {
            let mean = measures.values().sum::<f64>() / measures.len() as f64;
            measures.insert("mean_of_versions".to_owned(), mean);
        }
        measures
    }

    fn judge_extraction(&self, _item: &Item, response: &str) -> Option<String> {
        Some(prompts::extraction(response))
    }

    fn judge_verdict(&self, item: &Item, extraction: &str) -> Option<String> {
        let answer = item.answer.as_deref()?;
        Some(prompts::verdict(
            &item.question,
            answer,
            cleaned(extraction),
        ))
    }

    fn judged(&self, reply: &str) -> Option<bool> {
        match reply.replace("Judgement:", "").trim() {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        }
    }
}

/// A judge's extraction without the heading that it sometimes repeats.
fn cleaned(extraction: &str) -> &str {
    let text = extraction.trim();
    text.strip_prefix("Extracted Answer:")
        .map_or(text, str::trim)
}

/// Our own rule: what follows the last phrase that announces an answer, or else the last line; of
/// multiple choice, the letter that it begins with or has in brackets.
fn announced(item: &Item, response: &str) -> String {
    const PHRASES: [&str; 5] = ["answer is", "answer:", "option is", "choice is", "="];
    let lower = response.to_ascii_lowercase();
    let last = PHRASES
        .iter()
        .filter_map(|phrase| lower.rfind(phrase).map(|at| at + phrase.len()))
        .max();
    let text = match last {
        Some(at) => response[at..].trim().lines().next().unwrap_or_default(),
        None => response.trim().lines().last().unwrap_or_default(),
    };
    let text = text.trim_matches(|c: char| c.is_whitespace() || "*:.$".contains(c));
    if item.kind != Kind::MultiChoice {
        return text.to_owned();
    }
    let mut letters = text.chars().filter(|c| *c != '(');
    match (letters.next(), letters.next()) {
        (Some(letter @ 'A'..='Z'), None | Some(')' | ':' | '.' | ' ' | ',')) => letter.to_string(),
        _ => text.to_owned(),
    }
}

fn item(row: &Row, folder: &Path) -> Result<Item, String> {
    let question_type = row.text("question_type").unwrap_or_default();
    let metadata = match row.0.get("metadata").or_else(|| row.0.get("category")) {
        Some(Value::Object(map)) => Row(map.clone(), Vec::new()),
        _ => Row::default(),
    };
    let subject = metadata.text("subject");
    let subfield = metadata.text("subfield");
    let subfield = subject
        .as_ref()
        .zip(subfield)
        .map(|(subject, subfield)| format!("{subject}-{subfield}"));
    let mut extra = Map::new();
    for name in ["query_wo", "query_cot"] {
        if let Some(query) = row.text(name) {
            extra.insert(name.to_owned(), Value::String(query));
        }
    }
    let pictures = row.pictures("image", |name| {
        let below = rows::inside(&folder.join("images"), name)?;
        match below.exists() {
            true => Ok(below),
            false => rows::inside(folder, name),
        }
    })?;
    Ok(Item {
        id: row.required("sample_index")?,
        // The judge is shown the question even where the model has to read it in the image.
        question: row
            .text("question_for_eval")
            .map_or_else(|| row.required("question"), Ok)?,
        choices: Vec::new(),
        answer: row.text("answer"),
        kind: match question_type.as_str() {
            "multi-choice" => Kind::MultiChoice,
            _ => Kind::Open,
        },
        unit: None,
        precision: None,
        pictures,
        groups: reply::groups([
            ("problem_version", row.text("problem_version")),
            ("subject", subject),
            ("subfield", subfield),
            ("question_type", Some(question_type)),
        ]),
        extra,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = r#"[
        {"sample_index": "1", "problem_index": "1", "problem_version": "Text Dominant",
         "question": "Find x.\nChoices:\nA:40\nB:60", "image": "v1/1.png", "answer": "B",
         "question_type": "multi-choice", "query_wo": "Q1",
         "metadata": {"subject": "Plane Geometry", "subfield": "Angle"}},
        {"sample_index": "2", "problem_version": "Vision Only", "question": "",
         "question_for_eval": "Find L.", "image": "v6/1.png", "answer": "1/2",
         "question_type": "free-form", "query_wo": "Q2",
         "metadata": {"subject": "Solid Geometry", "subfield": "Length"}}]"#;

    fn items() -> Vec<Item> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("testmini.json"), ROWS).unwrap();
        MathVerse.load(folder.path(), "testmini").unwrap()
    }

    fn correct(replies: [&str; 2], extraction: Extraction) -> Vec<bool> {
        let answers = replies.map(|reply| Answer {
            response: Some(reply.to_owned()),
            ..Answer::default()
        });
        let how = Scoring {
            extraction,
            ..Scoring::default()
        };
        MathVerse
            .score(&items(), &answers, &how)
            .iter()
            .map(|score| score.correct)
            .collect()
    }

    #[test]
    fn rows_become_items_with_their_version_and_their_query() {
        let items = items();
        assert_eq!(MathVerse.query(&items[0]), "Q1");
        assert_eq!(items[1].question, "Find L.");
        let named = |name: &str| ("problem_version".to_owned(), name.to_owned());
        assert!(items[0].groups.contains(&named("Text Dominant")));
        assert!(
            items[1]
                .groups
                .contains(&("subfield".into(), "Solid Geometry-Length".into()))
        );
    }

    #[test]
    fn official_rules_take_the_same_text_and_ours_find_more() {
        for (replies, official, extended) in [
            (["B", "1/2"], [true, true], [true, true]),
            (["Extracted Answer: B", "0.5"], [true, false], [true, true]),
            (
                ["So the answer is (B) 60", "L = 1/2"],
                [false; 2],
                [true, true],
            ),
            (["The answer is A.", "2"], [false; 2], [false; 2]),
            (["Both", "none"], [false; 2], [false; 2]),
        ] {
            assert_eq!(
                correct(replies, Extraction::Official),
                official,
                "{replies:?}"
            );
            assert_eq!(
                correct(replies, Extraction::Extended),
                extended,
                "{replies:?}"
            );
        }
    }

    #[test]
    fn a_judge_is_asked_as_the_official_code_asks() {
        let item = &items()[1];
        let asked = MathVerse.judge_extraction(item, "so L is 1/2").unwrap();
        assert!(asked.starts_with("I am providing you a response"));
        assert!(asked.ends_with("\n\n7.\n\nModel response: 'so L is 1/2'\nExtracted Answer: "));
        let asked = MathVerse.judge_verdict(item, "0.5").unwrap();
        assert!(asked.ends_with(
            "\n\n[Question]: Find L.\n[Standard Answer]: 1/2\n[Model_answer] : 0.5\nJudgement:"
        ));
        for (reply, verdict) in [
            ("1", Some(true)),
            ("Judgement: 0", Some(false)),
            (" 1\n", Some(true)),
            ("yes", None),
            ("10", None),
            ("", None),
        ] {
            assert_eq!(MathVerse.judged(reply), verdict, "{reply:?}");
        }
    }

    #[test]
    fn versions_are_measured_one_by_one_and_on_average() {
        let items = items();
        let answers = ["B", "2"].map(|reply| Answer {
            response: Some(reply.to_owned()),
            ..Answer::default()
        });
        let scored = MathVerse.score(&items, &answers, &Scoring::default());
        let measures = MathVerse.measures(&items, &scored);
        assert_eq!(measures["Text Dominant"], 1.0);
        assert_eq!(measures["Vision Only"], 0.0);
        assert_eq!(measures["mean_of_versions"], 0.5);
    }
}
