//! MathVista's questions: as the benchmark's file has them, and as rows of outputs repeat them.
//!
//! Published outputs repeat each question, and the official scorer takes type, choices, precision,
//! answer and groups from there. Not all agree with the benchmark's file: `grade` was relabelled in
//! hundreds of rows after they were made.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use super::judge;
use crate::data::json::{self, Json};
use crate::data::{parquet, tsv};
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

/// Reads a split from the first of these in `folder`: `data/<split>.json`, `<split>.json`, Parquet files
/// `data/<split>-*.parquet` or `<split>-*.parquet`, and for testmini `MathVista_MINI.tsv`.
pub(super) fn load(folder: &Path, split: &str) -> Result<Vec<Item>, Error> {
    let prompt = judge::prompt(folder)?;
    let path = super::in_data(folder, &format!("{split}.json"));
    let mut items = if path.is_file() {
        of_json(&path)?
    } else {
        of_tables(folder, split)?
    };
    if items.is_empty() {
        return Err(Error::Data {
            path: folder.to_owned(),
            detail: format!(
                "has no questions: looked for data/{split}.json, {split}.json, \
                 data/{split}-*.parquet, {split}-*.parquet and MathVista_MINI.tsv"
            ),
        });
    }
    if prompt.name != judge::Prompt::default().name {
        for item in &mut items {
            let text = prompt.text.clone().into();
            item.extra.insert("judge_prompt".to_owned(), text);
            item.extra
                .insert("judge_prompt_name".to_owned(), prompt.name.into());
        }
    }
    Ok(items)
}

/// The authors' own file; images lie beside it.
fn of_json(path: &Path) -> Result<Vec<Item>, Error> {
    let (rows, faults) = json::read_rows(path)?;
    if let Some(fault) = faults.first() {
        return Err(Error::Data {
            path: path.to_owned(),
            detail: format!("is not JSON: {fault}"),
        });
    }
    let mut items = Vec::with_capacity(rows.len());
    let mut ids = HashSet::new();
    for row in &rows {
        let mut item = numbered(path, row, &mut ids)?;
        if let Some(image) = row.value.get("image").and_then(Json::as_str) {
            let image = PathBuf::from(image);
            if !image
                .components()
                .all(|c| matches!(c, Component::Normal(_)))
            {
                return Err(Error::Data {
                    path: path.to_owned(),
                    detail: format!(
                        "question {:?}: its image {} is outside the folder",
                        item.id,
                        image.display()
                    ),
                });
            }
            let place = path.parent().unwrap_or(path);
            item.pictures.push(Picture::File(place.join(image)));
        }
        items.push(item);
    }
    Ok(items)
}

/// Hugging Face's files, else VLMEvalKit's table; images are in the rows.
fn of_tables(folder: &Path, split: &str) -> Result<Vec<Item>, Error> {
    let mut files = Vec::new();
    for place in [folder.join("data"), folder.to_owned()] {
        let entries = std::fs::read_dir(&place).into_iter().flatten().flatten();
        files.extend(entries.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().and_then(|n| n.to_str());
            // `test-` is not the start of `testmini-`.
            name.is_some_and(|n| n.starts_with(&format!("{split}-")) && n.ends_with(".parquet"))
        }));
    }
    files.sort();
    let table = folder.join("MathVista_MINI.tsv");
    if files.is_empty() && split == "testmini" && table.is_file() {
        files.push(table);
    }
    let (mut items, mut ids) = (Vec::new(), HashSet::new());
    for path in files {
        let table = path.extension().is_some_and(|e| e == "tsv");
        let rows = if table {
            tsv::read(&path)?
        } else {
            parquet::read(&path)?
        };
        for (at, row) in rows.into_iter().enumerate() {
            let known = json::Row {
                key: None,
                line: at + 1,
                value: columns(&row),
            };
            let mut item = numbered(&path, &known, &mut ids)?;
            if table {
                as_published(&mut item);
            }
            // Of Hugging Face's two, `image` is a path.
            let column = if table { "image" } else { "decoded_image" };
            item.pictures
                .extend(row.images_of(column).map(Picture::Bytes));
            items.push(item);
        }
    }
    Ok(items)
}

/// VLMEvalKit's question is the whole query; the question's own part of it.
fn as_published(item: &mut Item) {
    let rest = item.question.split_once("\nQuestion: ");
    let Some((_, rest)) = rest.filter(|_| item.question.starts_with("Hint: ")) else {
        return;
    };
    let question = match rest.rsplit_once("\nChoices:\n") {
        Some((question, _)) if !item.choices.is_empty() => question,
        _ => rest,
    };
    let unit = item.unit.as_ref().map(|unit| format!(" (Unit: {unit})"));
    let question = unit
        .and_then(|unit| question.strip_suffix(&unit))
        .unwrap_or(question);
    item.question = question.to_owned();
}

/// A table's row as the authors' file would have it: its metadata in one place.
fn columns(row: &crate::data::row::Row) -> Json {
    let mut entries: Vec<(String, Json)> = row
        .fields
        .iter()
        .map(|(name, value)| (name.clone(), of_serde(value)))
        .collect();
    if !row.fields.contains_key("metadata") {
        let metadata = entries
            .iter()
            .filter(|(name, _)| METADATA.contains(&name.as_str()))
            .cloned();
        let metadata = Json::Object(metadata.collect());
        entries.push(("metadata".to_owned(), metadata));
    }
    Json::Object(entries)
}

fn of_serde(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(number) => Json::Number(number.to_string()),
        Value::String(text) => Json::String(text.clone()),
        Value::Array(items) => Json::Array(items.iter().map(of_serde).collect()),
        Value::Object(map) => Json::Object(
            map.iter()
                .map(|(name, value)| (name.clone(), of_serde(value)))
                .collect(),
        ),
    }
}

/// The rows of a table of outputs.
pub(super) fn table_rows(path: &Path) -> Result<Vec<json::Row>, Error> {
    let rows = tsv::read(path)?.into_iter().enumerate();
    Ok(rows
        .map(|(at, row)| json::Row {
            key: None,
            line: at + 1,
            value: columns(&row),
        })
        .collect())
}

/// A row's question, whose name no other row has.
fn numbered(path: &Path, row: &json::Row, ids: &mut HashSet<String>) -> Result<Item, Error> {
    let wrong = |detail: String| Error::Data {
        path: path.to_owned(),
        detail,
    };
    let id = id(row).ok_or_else(|| wrong(format!("row {} has no pid", row.line)))?;
    if !ids.insert(id.clone()) {
        return Err(wrong(format!("has two questions {id:?}")));
    }
    question(&id, &row.value).map_err(|detail| wrong(format!("question {id:?}: {detail}")))
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
fn question(id: &str, row: &Json) -> Result<Item, String> {
    for name in ["question", "question_type", "answer_type"] {
        if row.get(name).and_then(Json::as_str).is_none() {
            return Err(format!("has no text {name:?}"));
        }
    }
    let (mut item, ignored) = repeated(&super::unknown(id), row);
    if let Some(name) = ignored.first() {
        return Err(format!("{name:?} is not what the benchmark has there"));
    }
    if item.kind == Kind::MultiChoice && item.choices.is_empty() {
        return Err("is multiple choice and has no choices".to_owned());
    }
    // Answers of the test split are not published; there they are empty.
    item.answer = item.answer.filter(|answer| !answer.is_empty());
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
                // Tables have the list of skills as Python prints it.
                Some(Json::String(value)) if name == "skills" && value.starts_with('[') => {
                    match choices(&Json::String(value.clone())) {
                        Some(values) => regroup(&mut item, name, values),
                        None => ignored.push("metadata"),
                    }
                }
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

/// The texts in a row's list, or in Python's print of one, as tables have it.
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
