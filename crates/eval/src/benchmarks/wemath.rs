//! We-Math: 525 problems of two or three steps, asked whole and step by step, so that a model that
//! solves the whole is told from one that knows its parts.
//!
//! Source: <https://github.com/We-Math/We-Math>, `evaluation/four_dimensional_metrics.py` and
//! `accuracy.py`.
//!
//! - **Layout.** `testmini.json` (or `data/testmini.json`), images beside it. A row: `{"ID":
//!   "2steps_7", "split": "testmini", "knowledge concept": "Circumference of Circles", "question":
//!   "As shown in the diagram, ...", "option": "A. 15π;B. 10π;C. 5π; D. No correct answer",
//!   "answer": "B", "image_path": "2steps/image/7-1.png", "key": "2steps_1", "question number": 7}`.
//!   `ID` names the problem and `key` the step (`2steps_2`) or the whole (`2steps_multi`); together
//!   they are the item's id, `2steps_7/2steps_1`.
//! - **Query.** The official template, which asks for a thought process and an answer in `<<>>`.
//! - **Outputs.** The rows with `response`.
//! - **Extraction.** What follows the last "Answer", without the characters `<>:.`; its first letter,
//!   where that is one of A to H.
//! - **Scoring.** The same letter.
//! - **Groups.** `key`, `knowledge concept`.
//! - **Measures.** `S1`, `S2`, `S3`: accuracy on single steps, on problems of two and of three.
//!   `IK` insufficient knowledge: neither all steps nor the whole; `IG` inadequate generalization:
//!   all steps, not the whole; `CM` complete mastery: both; `RM` rote memorization: the whole without
//!   its steps, as a share of those with the whole. A problem counts as mastered when *all* steps
//!   are right (`_strict`) or when *any* is (`_loose`). `score` is 1 less `IK`, half of `IG` and the
//!   share of rote problems.

use std::collections::BTreeMap;
use std::path::Path;

use sample::benchmark::ItemScore;
use serde_json::{Map, Value};

use super::rows::{self, Row};
use super::{Benchmark, reply};
use crate::{Answer, Error, Item, Kind, Outputs, Scoring};

/// The benchmark.
pub struct WeMath;

impl Benchmark for WeMath {
    fn name(&self) -> &'static str {
        "wemath"
    }

    fn title(&self) -> &'static str {
        "We-Math"
    }

    fn version(&self) -> &'static str {
        "We-Math/We-Math 89a15bd; 1"
    }

    fn splits(&self) -> &'static [&'static str] {
        &["testmini"]
    }

    fn load(&self, folder: &Path, split: &str) -> Result<Vec<Item>, Error> {
        rows::known_split(self, split)?;
        let paths = rows::find(folder, &["testmini.json", "data/testmini.json"], split)?;
        let first = paths.first().and_then(|path| path.parent());
        let images = first.unwrap_or(folder).to_owned();
        rows::items(&paths, |row| item(row, &images))
    }

    fn query(&self, item: &Item) -> String {
        let option = item.extra.get("option").and_then(Value::as_str);
        format!(
            "Now, we require you to solve a multiple-choice math question. Please briefly describe \
             your thought process and provide the final answer(option).\nQuestion: {}\nOption: {}\n\
             Regarding the format, please answer following the template below, and be sure to \
             include two <> symbols:\n<Thought process>: <<your thought process>> <Answer>: <<your \
             option>>",
            item.question,
            option.unwrap_or_default()
        )
    }

    fn outputs(&self, path: &Path, _items: &[Item]) -> Result<Outputs, Error> {
        rows::outputs_by(path, |row| {
            let id = match (row.text("ID"), row.text("key")) {
                (Some(problem), Some(key)) => format!("{problem}/{key}"),
                _ => row.text("id")?,
            };
            Some(rows::answer(
                row,
                id,
                &["response", "prediction"],
                &["extraction"],
            ))
        })
    }

    fn score(&self, items: &[Item], answers: &[Answer], _how: &Scoring) -> Vec<ItemScore> {
        items
            .iter()
            .zip(answers)
            .map(|(item, answer)| {
                reply::score(item, answer, letter, |letter| {
                    item.answer.as_deref() == Some(letter)
                })
            })
            .collect()
    }

    fn measures(&self, items: &[Item], scored: &[ItemScore]) -> BTreeMap<String, f64> {
        let verdicts = items.iter().zip(scored).map(|(item, score)| {
            let (problem, key) = item.id.split_once('/').unwrap_or((&item.id, ""));
            (problem, key, score.correct)
        });
        measures(&problems(verdicts))
    }
}

/// The official extraction; empty where there is no letter.
fn letter(response: &str) -> String {
    let last = response.rsplit("Answer").next().unwrap_or_default();
    let kept: String = last.trim().replace(['<', '>', ':', '.'], "");
    match kept.trim().chars().next() {
        Some(letter @ 'A'..='H') => letter.to_string(),
        _ => String::new(),
    }
}

/// Whether each step, and the whole, were right.
#[derive(Debug, Clone, Default, PartialEq)]
struct Problem {
    steps: Vec<Option<bool>>,
    whole: Option<bool>,
}

/// Verdicts by problem. Problems whose first step is not among the items are left out, as in the
/// official join.
fn problems<'a>(verdicts: impl Iterator<Item = (&'a str, &'a str, bool)>) -> Vec<Problem> {
    let mut problems: BTreeMap<(usize, &str), Problem> = BTreeMap::new();
    for (id, key, correct) in verdicts {
        let Some((steps, part)) = key.split_once("steps_") else {
            continue;
        };
        let count = match steps {
            "2" => 2,
            "3" => 3,
            _ => continue,
        };
        let problem = problems.entry((count, id)).or_default();
        problem.steps.resize(count, None);
        if part == "multi" {
            problem.whole = Some(correct);
        } else if let Ok(number @ 1..) = part.parse::<usize>()
            && let Some(step) = problem.steps.get_mut(number - 1)
        {
            *step = Some(correct);
        }
    }
    problems
        .into_values()
        .filter(|problem| problem.steps.first().is_some_and(Option::is_some))
        .collect()
}

/// The official measures, as shares.
fn measures(problems: &[Problem]) -> BTreeMap<String, f64> {
    let mut measures = BTreeMap::new();
    let mut set = |name: &str, share: f64| {
        if share.is_finite() {
            measures.insert(name.to_owned(), share);
        }
    };
    let share = |part: usize, whole: usize| part as f64 / whole as f64;
    let count = |test: &dyn Fn(&Problem) -> bool| problems.iter().filter(|p| test(p)).count();

    let steps: Vec<bool> = problems
        .iter()
        .flat_map(|p| p.steps.iter().flatten().copied())
        .collect();
    set(
        "S1",
        share(steps.iter().filter(|right| **right).count(), steps.len()),
    );
    for (name, length) in [("S2", 2), ("S3", 3)] {
        let right = count(&|p| p.steps.len() == length && p.whole == Some(true));
        let all = count(&|p| p.steps.len() == length && p.whole.is_some());
        set(name, share(right, all));
    }

    let all = |p: &Problem| p.steps.iter().all(|step| *step == Some(true));
    let any = |p: &Problem| p.steps.contains(&Some(true));
    let some_wrong = |p: &Problem| p.steps.contains(&Some(false));
    let all_wrong = |p: &Problem| p.steps.iter().all(|step| *step == Some(false));
    let total = problems.len();
    let insufficient = count(&|p| some_wrong(p) && p.whole == Some(false));
    let inadequate = count(&|p| all(p) && p.whole == Some(false));
    set("IK", share(insufficient, total));
    set("IG", share(inadequate, total));
    for (name, mastered, rote) in [
        (
            "strict",
            count(&|p| all(p) && p.whole == Some(true)),
            count(&|p| some_wrong(p) && p.whole == Some(true)),
        ),
        (
            "loose",
            count(&|p| any(p) && p.whole == Some(true)),
            count(&|p| all_wrong(p) && p.whole == Some(true)),
        ),
    ] {
        set(&format!("CM_{name}"), share(mastered, total));
        // Where nothing was solved as a whole there is no share; the official code divides by zero.
        set(&format!("RM_{name}"), share(rote, mastered + rote));
        let lost = 0.5 * inadequate as f64 + (rote + insufficient) as f64;
        set(
            &format!("score_{name}"),
            (total as f64 - lost) / total as f64,
        );
    }
    measures
}

fn item(row: &Row, images: &Path) -> Result<Item, String> {
    let (problem, key) = (row.required("ID")?, row.required("key")?);
    let mut extra = Map::new();
    extra.insert("option".into(), Value::String(row.required("option")?));
    Ok(Item {
        id: format!("{problem}/{key}"),
        question: row.required("question")?,
        choices: Vec::new(),
        answer: row.text("answer"),
        kind: Kind::MultiChoice,
        unit: None,
        precision: None,
        pictures: row.pictures("image_path", |name| rows::inside(images, name))?,
        groups: reply::groups([
            ("key", Some(key)),
            ("knowledge concept", row.text("knowledge concept")),
        ]),
        extra,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `tests/data/wemath/golden.py`.
    const GOLDEN: &str = include_str!("../../tests/data/wemath/golden.json");

    #[test]
    fn letters_are_found_as_the_official_code_finds_them() {
        for (response, expected) in [
            ("<Thought process>: <<...>> <Answer>: <<B>>", "B"),
            ("<Answer>: <<C. 5 cm>>", "C"),
            ("Answer: A. Answer: D.", "D"),
            ("B", "B"),
            ("The Answer", ""),
            ("Answer: (B)", ""),
            ("answer: B", ""),
            ("I think it is B", ""),
            ("", ""),
            ("Answer>>: ..  H", "H"),
        ] {
            assert_eq!(letter(response), expected, "{response:?}");
        }
    }

    #[test]
    fn the_four_dimensions_are_those_of_the_definition() {
        let cases: Vec<Value> = serde_json::from_str(GOLDEN).unwrap();
        assert!(cases.len() >= 20);
        for case in &cases {
            let verdicts = case["verdicts"].as_array().unwrap().iter().map(|verdict| {
                (
                    verdict[0].as_str().unwrap(),
                    verdict[1].as_str().unwrap(),
                    verdict[2].as_bool().unwrap(),
                )
            });
            let found = measures(&problems(verdicts));
            let expected = case["measures"].as_object().unwrap();
            assert_eq!(found.len(), expected.len(), "{found:?} {expected:?}");
            for (name, value) in expected {
                let difference = (found[name] - value.as_f64().unwrap()).abs();
                assert!(difference < 1e-12, "{name}: {} is not {value}", found[name]);
            }
        }
    }

    #[test]
    fn rows_and_outputs_meet_by_problem_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let row = |key: &str, answer: &str| {
            format!(
                r#"{{"ID": "2steps_7", "key": "{key}", "question": "Q", "option": "A. 1; B. 2",
                "answer": "{answer}", "image_path": "2steps/image/7.png",
                "knowledge concept": "Circles", "response": "<Answer>: <<A>>"}}"#
            )
        };
        let text = format!(
            "[{}, {}, {}]",
            row("2steps_1", "A"),
            row("2steps_2", "B"),
            row("2steps_multi", "A")
        );
        let path = folder.path().join("testmini.json");
        std::fs::write(&path, text).unwrap();
        let items = WeMath.load(folder.path(), "testmini").unwrap();
        assert!(
            WeMath
                .query(&items[0])
                .contains("Question: Q\nOption: A. 1; B. 2\n")
        );
        let outputs = WeMath.outputs(&path, &items).unwrap();
        let (total, _) = crate::score(&WeMath, "testmini", &items, &outputs, &Scoring::default());
        assert_eq!((total.correct, total.total, total.missing), (2, 3, 0));
        assert_eq!(total.measures["RM_strict"], 1.0);
        assert_eq!(total.measures["CM_loose"], 1.0);
        assert_eq!(total.groups["key"]["2steps_2"].correct, 0);
    }
}
