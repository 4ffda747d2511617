//! MathVista's questions: as the benchmark's file has them, and as rows of outputs repeat them.
//!
//! Published outputs repeat each question, and the official scorer takes type, choices, precision,
//! answer and groups from there. Not all agree with the benchmark's file: `grade` was relabelled in
//! hundreds of rows after they were made.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use serde_json::{Map, Value};

use super::judge;
use crate::data::json::{self, Json};
use crate::python::{Literal, literal_eval, parse_float};
use crate::{Error, Item, Kind, Picture};

/// Dimensions of the metadata that scores are grouped by, after the two types.
const METADATA: [&str; 7] = [
    "language", "source", "category", "task", "context", "grade", "skills",
];

/// A question with more choices, or more letters in them, is none: the distance to each of them is
/// computed for every reply.
const MOST_CHOICES: usize = 256;
const MOST_LETTERS: usize = 16_384;

/// Reads a split from `<split>.json` in `folder` or its `data`.
pub(super) fn load(folder: &Path, split: &str) -> Result<Vec<Item>, Error> {
    let path = super::in_data(folder, &format!("{split}.json"));
    if !path.is_file() {
        return Err(Error::Data {
            path: folder.to_owned(),
            detail: format!(
                "has neither data/{split}.json nor {split}.json; give the folder of a checkout of \
                 MathVista"
            ),
        });
    }
    let prompt = judge::prompt(folder)?;
    let images = path.parent().unwrap_or(folder);
    let (rows, faults) = json::read_rows(&path)?;
    let wrong = |detail: String| Error::Data {
        path: path.clone(),
        detail,
    };
    if let Some(fault) = faults.first() {
        return Err(wrong(format!("is not JSON: {fault}")));
    }
    let mut ids = HashSet::new();
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        let id = id(row).ok_or_else(|| wrong(format!("row {} has no pid", row.line)))?;
        if !ids.insert(id.clone()) {
            return Err(wrong(format!("has two questions {id:?}")));
        }
        let mut item = question(&id, &row.value, images)
            .map_err(|detail| wrong(format!("question {id:?}: {detail}")))?;
        if prompt.name != judge::Prompt::default().name {
            item.extra
                .insert("judge_prompt".to_owned(), prompt.text.clone().into());
            item.extra
                .insert("judge_prompt_name".to_owned(), prompt.name.into());
        }
        items.push(item);
    }
    if items.is_empty() {
        return Err(wrong("has no questions".to_owned()));
    }
    Ok(items)
}

/// The question's name: the row's own in a file that is an object of rows, else its pid.
pub(super) fn id(row: &json::Row) -> Option<String> {
    let named = ["pid", "id", "index", "question_id"]
        .iter()
        .find_map(|name| row.value.get(name).filter(|value| !value.is_null()));
    row.key.clone().or_else(|| match named? {
        Json::String(text) => Some(text.clone()),
        value @ Json::Number(_) => Some(value.to_python().to_str()),
        _ => None,
    })
}

/// One question of the benchmark's file.
fn question(id: &str, row: &Json, images: &Path) -> Result<Item, String> {
    let blank = Item {
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
    };
    for name in ["question", "question_type", "answer_type"] {
        if row.get(name).and_then(Json::as_str).is_none() {
            return Err(format!("has no text {name:?}"));
        }
    }
    let (mut item, ignored) = repeated(&blank, row);
    if let Some(name) = ignored.first() {
        return Err(format!("{name:?} is not what the benchmark has there"));
    }
    if item.kind == Kind::MultiChoice && item.choices.is_empty() {
        return Err("is multiple choice and has no choices".to_owned());
    }
    // Answers of the test split are not published; there they are empty.
    item.answer = item.answer.filter(|answer| !answer.is_empty());
    if let Some(image) = row.get("image").and_then(Json::as_str) {
        let path = PathBuf::from(image);
        let inside = path.components().all(|c| matches!(c, Component::Normal(_)));
        if !inside {
            return Err(format!("its image {image:?} is outside the folder"));
        }
        item.pictures.push(Picture::File(images.join(path)));
    }
    Ok(item)
}

/// The question as `row` repeats it: what the row has is the row's, the rest `base`'s. Also the names
/// of what the row has in a form that the official code would stop at; these are left as `base` has
/// them.
pub(super) fn repeated(base: &Item, row: &Json) -> (Item, Vec<&'static str>) {
    let mut item = base.clone();
    let mut ignored = Vec::new();
    let mut text = |name: &'static str| match row.get(name) {
        None | Some(Json::Null) => None,
        Some(Json::String(text)) => Some(text.clone()),
        Some(_) => {
            ignored.push(name);
            None
        }
    };
    if let Some(question) = text("question") {
        item.question = question;
    }
    if let Some(unit) = text("unit") {
        item.unit = Some(unit);
    }
    if let Some(answer) = text("answer") {
        item.answer = Some(answer);
    }
    let types = [text("question_type"), text("answer_type")];
    match row.get("choices") {
        None | Some(Json::Null) => {}
        Some(value) => match choices(value) {
            Some(choices) => item.choices = choices,
            None => ignored.push("choices"),
        },
    }
    match row.get("precision") {
        None => {}
        Some(Json::Null) => item.precision = None,
        Some(Json::String(text)) => item.precision = parse_float(text),
        Some(value) => match value.as_f64() {
            Some(precision) => item.precision = Some(precision),
            None => ignored.push("precision"),
        },
    }
    for (name, value) in ["question_type", "answer_type"].into_iter().zip(types) {
        if let Some(value) = value {
            regroup(&mut item, name, vec![value]);
        }
    }
    item.kind = kind(&item);
    if let Some(metadata) = row.get("metadata").filter(|m| m.as_object().is_some()) {
        for name in METADATA {
            match metadata.get(name) {
                None | Some(Json::Null) => {}
                Some(Json::String(value)) => regroup(&mut item, name, vec![value.clone()]),
                Some(value) => match strings(value) {
                    Some(values) => regroup(&mut item, name, values),
                    None => ignored.push("metadata"),
                },
            }
        }
    }
    (item, ignored)
}

/// The choices in a row: a list, or Python's print of one, as tables have it.
fn choices(value: &Json) -> Option<Vec<String>> {
    let choices = match value {
        Json::String(text) => match literal_eval(text).ok()? {
            Literal::List(items) => items.iter().map(Literal::to_str).collect(),
            _ => return None,
        },
        value => strings(value)?,
    };
    let letters: usize = choices.iter().map(|choice| choice.chars().count()).sum();
    (choices.len() <= MOST_CHOICES && letters <= MOST_LETTERS).then_some(choices)
}

fn strings(value: &Json) -> Option<Vec<String>> {
    let texts = value.as_array()?.iter();
    texts.map(|text| Some(text.as_str()?.to_owned())).collect()
}

/// Puts the question into other groups of a dimension, once into each, as the official code counts.
fn regroup(item: &mut Item, dimension: &str, names: Vec<String>) {
    item.groups.retain(|(d, _)| d != dimension);
    let mut seen = HashSet::new();
    for name in names {
        if seen.insert(name.clone()) {
            item.groups.push((dimension.to_owned(), name));
        }
    }
}

/// The form of the answer, by the two types.
fn kind(item: &Item) -> Kind {
    let named = |dimension: &str| {
        let group = item.groups.iter().find(|(d, _)| d == dimension);
        group.map(|(_, name)| name.as_str())
    };
    match (named("question_type"), named("answer_type")) {
        (Some("multi_choice"), _) => Kind::MultiChoice,
        (_, Some("integer")) => Kind::Integer,
        (_, Some("float")) => Kind::Float,
        (_, Some("list")) => Kind::List,
        _ => Kind::Open,
    }
}

/// What the row's extraction is to Python, where it is no text; see [`super::value`].
pub(super) fn set_extraction_type(item: &mut Item, extraction: &Json) {
    let name = match extraction.to_python() {
        Literal::None => "NoneType",
        Literal::Bool(_) => "bool",
        Literal::Int(_) => "int",
        Literal::Float(_) => "float",
        _ => return,
    };
    item.extra
        .insert("extraction_type".to_owned(), Value::from(name));
}
