//! MMMU (Yue et al., 2024): college-level questions of thirty subjects. <https://mmmu-benchmark.github.io>,
//! Apache-2.0.
//!
//! ```json
//! {"id": "validation_Math_1", "question": "<image 1> Determine the value of ...",
//!  "options": "['3', '4']", "image_1": {"bytes": "...", "path": "..."}, "answer": "A",
//!  "topic_difficulty": "Easy", "question_type": "multiple-choice", "subfield": "Geometry"}
//! ```
//!
//! `val` has 900 questions, 847 of them with options; the answers of `test` (10,500) are not
//! published. Layouts: `questions.rs`. Forms of outputs, and which of the two official programs each is
//! scored as: `outputs.rs`.
//!
//! **Query.** The official LLaVA prompt (`llava1.5.yaml`), which keeps `<image 1>` in the text. The
//! official program shows only the first image, and answers questions whose options are images by
//! chance; here all images of a question are shown, in order.
//!
//! **Scoring.** Replies to questions with options: [`choice`]; where no letter is found, the official
//! code guesses, with CPython's generator seeded with 42 once and drawn from over all subjects in
//! their official order, in each over the outputs' rows. So guesses are the same each time, and depend on all replies before; they
//! are counted as fallbacks. `strict` and the extended rules do not guess. Open answers: [`open`].
//! Questions without a row draw nothing.

pub mod choice;
pub mod extended;
pub mod open;
pub(in crate::benchmarks) mod outputs;
pub(in crate::benchmarks) mod questions;
pub mod subjects;

use std::path::Path;

use sample::benchmark::ItemScore;
use sample::scores::Reading;
use serde_json::Value;

use self::choice::Rules;
use super::Benchmark;
use crate::python::{Random, strip};
use crate::{Answer, Error, Extraction, Item, Kind, Outputs, Scoring};

/// The benchmark.
pub struct Mmmu;

/// What the official code seeds its generator with.
pub(in crate::benchmarks) const SEED: u64 = 42;

impl Benchmark for Mmmu {
    fn name(&self) -> &'static str {
        "mmmu"
    }

    fn title(&self) -> &'static str {
        "MMMU"
    }

    fn version(&self) -> &'static str {
        "MMMU-Benchmark/MMMU eval_utils.py of 2024-09, 1"
    }

    fn splits(&self) -> &'static [&'static str] {
        &["val", "dev", "test"]
    }

    fn load(&self, folder: &Path, split: &str) -> Result<Vec<Item>, Error> {
        let known = self.splits();
        let split = if split == "validation" { "val" } else { split };
        if !known.contains(&split) {
            return Err(Error::UnknownSplit {
                benchmark: self.name(),
                split: split.to_owned(),
                known: known.join(", "),
            });
        }
        questions::load(folder, split)
    }

    fn query(&self, item: &Item) -> String {
        if item.kind == Kind::Open {
            return format!(
                "{}\nAnswer the question using a single word or phrase.",
                item.question
            );
        }
        let options: String = choice::letters(item.choices.len())
            .iter()
            .zip(&item.choices)
            .map(|(letter, option)| format!("({letter}) {option}\n"))
            .collect();
        format!(
            "{}\n{options}\nAnswer with the option's letter from the given choices directly.",
            item.question
        )
    }

    fn outputs(&self, path: &Path, items: &[Item]) -> Result<Outputs, Error> {
        outputs::read(path, items)
    }

    fn questions(&self, items: Vec<Item>, outputs: &Outputs) -> Vec<Item> {
        outputs::repeated(items, &outputs.items)
    }

    fn score(&self, items: &[Item], answers: &[Answer], how: &Scoring) -> Vec<ItemScore> {
        let mut random = Random::new(SEED);
        let place = |item: &Item| (subjects::rank(questions::subject(item)), outputs::row(item));
        in_order(items, answers, place, |item, answer| {
            if item.kind == Kind::Open {
                score_open(item, answer)
            } else {
                score_choice(item, answer, Rules::Mmmu, how, &mut random)
            }
        })
    }
}

/// Scores one question after the other in the order of their places, and gives the scores in the
/// questions' own order.
pub(in crate::benchmarks) fn in_order<K: Ord>(
    items: &[Item],
    answers: &[Answer],
    place: impl Fn(&Item) -> K,
    mut score: impl FnMut(&Item, &Answer) -> ItemScore,
) -> Vec<ItemScore> {
    let mut pairs: Vec<(usize, (&Item, &Answer))> = items.iter().zip(answers).enumerate().collect();
    pairs.sort_by_key(|(_, (item, _))| place(item));
    let mut scored: Vec<(usize, ItemScore)> = pairs
        .into_iter()
        .map(|(at, (item, answer))| (at, score(item, answer)))
        .collect();
    scored.sort_by_key(|(at, _)| *at);
    scored.into_iter().map(|(_, score)| score).collect()
}

/// The letters a question's options have: A, B, ... unless its outputs say otherwise.
fn letters(item: &Item) -> Vec<String> {
    match item.extra.get("letters").and_then(Value::as_array) {
        Some(named) => named
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        None => choice::letters(item.choices.len()),
    }
}

/// A score without an answer.
fn unanswered(item: &Item, answer: &Answer) -> ItemScore {
    let text = answer.response.as_deref().map(strip).unwrap_or_default();
    ItemScore {
        id: item.id.clone(),
        response: answer.response.clone(),
        reading: match &answer.failed {
            Some(_) => Reading::Failed,
            None if text.is_empty() => Reading::Empty,
            None => Reading::Unparsed,
        },
        extraction: None,
        prediction: None,
        expected: item.answer.clone(),
        correct: false,
        fallback: false,
        truncated: answer.truncated,
    }
}

/// Scores the answer to a question with options, by the rules of `rules` or ours; draws from `random`
/// where the official code does.
pub(in crate::benchmarks) fn score_choice(
    item: &Item,
    answer: &Answer,
    rules: Rules,
    how: &Scoring,
    random: &mut Random,
) -> ItemScore {
    let mut score = unanswered(item, answer);
    let letters = letters(item);
    let right = questions::answers(item);
    if let Some(given) = &answer.extraction {
        // Parsed already, by another program or a judge.
        let one_letter = given.len() == 1 && given.bytes().all(|b| b.is_ascii_uppercase());
        let known = letters.contains(given) || (letters.is_empty() && one_letter);
        score.reading = match (known, given.is_empty()) {
            (true, _) => Reading::Parsed,
            (false, true) => Reading::Empty,
            (false, false) => Reading::Unparsed,
        };
        score.correct = right.contains(&given.as_str());
        score.prediction = Some(given.clone());
        score.extraction = Some(given.clone());
        return score;
    }
    let Some(response) = &answer.response else {
        return score;
    };
    let extended = how.extraction == Extraction::Extended;
    let rules = if extended { Rules::Extended } else { rules };
    let letter = match choice::find(response, &letters, &item.choices, rules) {
        Some(found) => {
            score.reading = Reading::Parsed;
            score.extraction = letters.get(found).cloned();
            letters.get(found)
        }
        None if how.strict || rules == Rules::Extended => None,
        None => {
            let guess = random.choice(&letters);
            score.fallback = guess.is_some();
            guess
        }
    };
    score.correct = letter.is_some_and(|letter| right.contains(&letter.as_str()));
    score.prediction = letter.cloned();
    score
}

fn score_open(item: &Item, answer: &Answer) -> ItemScore {
    let mut score = unanswered(item, answer);
    let Some(text) = answer.extraction.as_ref().or(answer.response.as_ref()) else {
        return score;
    };
    let said = open::parse(text);
    if answer.failed.is_none() && !strip(text).is_empty() {
        score.reading = Reading::Parsed;
    }
    score.correct = open::matches(&questions::answers(item), &said);
    let said: Vec<String> = said.iter().map(ToString::to_string).collect();
    score.extraction.clone_from(&answer.extraction);
    score.prediction = Some(said.join(" | "));
    score
}

#[cfg(test)]
mod tests;
