//! MMMU-Pro (Yue et al., 2024): MMMU's harder questions, with up to ten options, or inside a
//! screenshot. <https://mmmu-benchmark.github.io>, Apache-2.0.
//!
//! ```json
//! {"id": "test_History_1", "question": "Which of the following best explains ... <image 1>?",
//!  "options": "['Political instability', 'The spread of pathogens']", "img_type": "['Diagrams']",
//!  "answer": "B", "topic_difficulty": "Medium", "subject": "History", "image_1": {"bytes": "..."}}
//! ```
//!
//! 1,730 questions in each of three settings, published as a folder each with `test-*.parquet`:
//! `standard (10 options)`, `standard (4 options)` and `vision`, whose rows have one `image` and no
//! question. Outputs are JSON lines that repeat the rows without images, with `response`, and after
//! scoring `pred_indexs` and `if_right` (which are not read: they are what scoring gives). A file of
//! outputs therefore needs no data beside it.
//!
//! **Splits** name the setting and the prompt, since scores of two prompts do not compare:
//! `standard_10`, `standard_4`, `vision`, and each with `_cot`.
//!
//! **Query.** `prompts.yaml` of the official code. As its program for open models does, `<image 3>`
//! becomes `[image]`, and the images follow in the order the text names them.
//!
//! **Scoring.** [`Rules::Pro`]. The official guess is not seeded, so it cannot be told again; ours
//! draws from CPython's generator seeded with 42, in the rows' order, and is counted as a fallback.
//! Scores are equal to the published ones wherever no guess was made; `strict` makes none.

use std::path::{Path, PathBuf};

use sample::benchmark::ItemScore;
use serde_json::Value;

use super::Benchmark;
use super::mmmu::choice::{Rules, letters};
use super::mmmu::outputs::{file, repeated, row as row_of};
use super::mmmu::questions::{options_of, parquet_files, table};
use super::mmmu::{SEED, in_order, score_choice, subjects};
use crate::data::json::Json;
use crate::data::row::Row;
use crate::python::Random;
use crate::{Answer, Error, Item, Kind, Outputs, Picture, Scoring};

/// The benchmark.
pub struct MmmuPro;

/// Split, and the folders it is published in: today's, and earlier ones.
const SPLITS: [(&str, &[&str]); 6] = [
    ("standard_10", TEN),
    ("standard_4", FOUR),
    ("vision", VISION),
    ("standard_10_cot", TEN),
    ("standard_4_cot", FOUR),
    ("vision_cot", VISION),
];
const TEN: &[&str] = &["standard (10 options)", "standard"];
const FOUR: &[&str] = &["standard (4 options)"];
const VISION: &[&str] = &["vision"];

// prompts.yaml.
const DIRECT_STANDARD: &str = "Answer with the option letter from the given choices directly.";
const DIRECT_VISION: &str = "Answer with the option letter from the given choices directly. The last \
    line of your response should be of the following format: 'Answer: $LETTER' (without quotes) where \
    LETTER is one of options.";
const COT_STANDARD: &str = "Answer the preceding multiple choice question. The last line of your \
    response should be of the following format: 'Answer: $LETTER' (without quotes) where LETTER is \
    one of options. Think step by step before answering.";
const COT_VISION: &str = "Write out the multiple-choice question in the image and then solve it. The \
    last line of your response should be of the following format: 'Answer: $LETTER' (without quotes) \
    where LETTER is one of options. Think step by step before answering.";

impl Benchmark for MmmuPro {
    fn name(&self) -> &'static str {
        "mmmu_pro"
    }

    fn title(&self) -> &'static str {
        "MMMU-Pro"
    }

    fn version(&self) -> &'static str {
        "MMMU-Benchmark/MMMU mmmu-pro/evaluate.py of 2024-09, 1"
    }

    fn splits(&self) -> &'static [&'static str] {
        const NAMES: [&str; 6] = [
            SPLITS[0].0,
            SPLITS[1].0,
            SPLITS[2].0,
            SPLITS[3].0,
            SPLITS[4].0,
            SPLITS[5].0,
        ];
        &NAMES
    }

    fn load(&self, folder: &Path, split: &str) -> Result<Vec<Item>, Error> {
        let Some((_, folders)) = SPLITS.iter().find(|(name, _)| *name == split) else {
            return Err(Error::UnknownSplit {
                benchmark: self.name(),
                split: split.to_owned(),
                known: self.splits().join(", "),
            });
        };
        let mut items = Vec::new();
        for path in files(folder, folders) {
            for (at, row) in table(&path)?.iter().enumerate() {
                let item = item(row, split).map_err(|detail| Error::Data {
                    path: path.clone(),
                    detail: format!("row {}: {detail}", at + 1),
                })?;
                items.push(item);
            }
        }
        if items.is_empty() {
            return Err(Error::Data {
                path: folder.to_owned(),
                detail: format!(
                    "has no questions of MMMU-Pro's split {split}: looked for test-*.parquet in the \
                     folder {}",
                    folders
                        .iter()
                        .map(|f| format!("{f:?}"))
                        .collect::<Vec<_>>()
                        .join(" or ")
                ),
            });
        }
        Ok(items)
    }

    fn query(&self, item: &Item) -> String {
        let has = |name: &str| item.extra.get(name).and_then(Value::as_bool) == Some(true);
        let (vision, cot) = (has("vision"), has("cot"));
        match (vision, cot) {
            (true, false) => return DIRECT_VISION.to_owned(),
            (true, true) => return COT_VISION.to_owned(),
            _ => {}
        }
        let options: Vec<String> = letters(item.choices.len())
            .iter()
            .zip(&item.choices)
            .map(|(letter, option)| format!("{letter}. {option}"))
            .collect();
        let ask = if cot { COT_STANDARD } else { DIRECT_STANDARD };
        let text = format!("{}\n{}\n{ask}", item.question, options.join("\n"));
        mentions(&text)
            .iter()
            .rev()
            .fold(text.clone(), |mut text, (at, end, _)| {
                text.replace_range(*at..*end, "[image]");
                text
            })
    }

    fn outputs(&self, path: &Path, items: &[Item]) -> Result<Outputs, Error> {
        file(path, items, &own)
    }

    fn questions(&self, items: Vec<Item>, outputs: &Outputs) -> Vec<Item> {
        repeated(items, &outputs.items)
    }

    fn score(&self, items: &[Item], answers: &[Answer], how: &Scoring) -> Vec<ItemScore> {
        let mut random = Random::new(SEED);
        in_order(items, answers, row_of, |item, answer| {
            score_choice(item, answer, Rules::Pro, how, &mut random)
        })
    }
}

fn files(folder: &Path, names: &[&str]) -> Vec<PathBuf> {
    let found = names
        .iter()
        .map(|name| parquet_files(&folder.join(name), "test"));
    let found = found.into_iter().find(|files| !files.is_empty());
    // The setting's own folder may have been given.
    let itself = folder.file_name().and_then(|n| n.to_str());
    match found {
        Some(files) => files,
        None if itself.is_some_and(|name| names.contains(&name)) => parquet_files(folder, "test"),
        None => Vec::new(),
    }
}

fn item(row: &Row, split: &str) -> Result<Item, String> {
    let id = row.text("id").ok_or("it has no id")?;
    let options = row.fields.get("options").unwrap_or(&Value::Null);
    let mut item = blank(id, options_of(options)?, |name| {
        row.text(name).map(str::to_owned)
    });
    if split.starts_with("vision") {
        item.extra.insert("vision".to_owned(), true.into());
        item.pictures = row.images_of("image").map(Picture::Bytes).collect();
    } else {
        item.pictures = pictures(row, &item);
    }
    if split.ends_with("_cot") {
        item.extra.insert("cot".to_owned(), true.into());
    }
    Ok(item)
}

fn blank(id: &str, choices: Vec<String>, text: impl Fn(&str) -> Option<String>) -> Item {
    let subject = text("subject").unwrap_or_else(|| subjects::of_id(id).to_owned());
    let mut groups = vec![("subject".to_owned(), subject.clone())];
    if let Some(domain) = subjects::domain(&subject) {
        groups.push(("domain".to_owned(), domain.to_owned()));
    }
    if let Some(level) = text("topic_difficulty") {
        groups.push(("topic_difficulty".to_owned(), level));
    }
    Item {
        id: id.to_owned(),
        question: text("question").unwrap_or_default(),
        choices,
        answer: text("answer"),
        kind: Kind::MultiChoice,
        unit: None,
        precision: None,
        pictures: Vec::new(),
        groups,
        extra: serde_json::Map::new(),
    }
}

/// The images in the order that question and options name them; as they are numbered, where one that
/// is named is missing.
fn pictures(row: &Row, item: &Item) -> Vec<Picture> {
    let all = |column: &str| row.images_of(column).next().map(Picture::Bytes);
    let text = format!("{}\n{}", item.question, item.choices.join("\n"));
    let named = mentions(&text);
    let in_order: Option<Vec<Picture>> = named
        .iter()
        .map(|(_, _, number)| all(&format!("image_{number}")))
        .collect();
    match in_order {
        Some(pictures) if !pictures.is_empty() => pictures,
        _ => (1..=7).filter_map(|n| all(&format!("image_{n}"))).collect(),
    }
}

/// Start, end and number of each `<image 3>` in a text (`<image\s+\d+>`).
fn mentions(text: &str) -> Vec<(usize, usize, u32)> {
    text.match_indices("<image")
        .filter_map(|(at, marker)| {
            let inside = at + marker.len();
            // Longer than any image's number, with some blanks.
            let close = text[inside..]
                .char_indices()
                .take(32)
                .find(|(_, c)| *c == '>')?
                .0;
            let between = &text[inside..inside + close];
            let number = between.trim_start();
            let digits = number.bytes().all(|b| b.is_ascii_digit());
            if !digits || number.len() == between.len() {
                return None;
            }
            Some((at, inside + close + 1, number.parse().ok()?))
        })
        .collect()
}

/// The question that a row of outputs repeats.
fn own(row: &Json) -> Option<Result<Item, String>> {
    let id = row.get("id")?.to_python().to_str();
    let options = match row.get("options")? {
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => items.iter().map(|item| item.to_python().to_str()).collect(),
        _ => return Some(Err(format!("{id}: options are no list"))),
    };
    let text = |name: &str| row.get(name).and_then(Json::as_str).map(str::to_owned);
    let choices = match options_of(&options) {
        Ok(choices) => choices,
        Err(detail) => return Some(Err(format!("{id}: {detail}"))),
    };
    Some(Ok(blank(&id, choices, text)))
}

#[cfg(test)]
mod tests;
