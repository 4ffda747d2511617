//! Files of replies, in the forms they are published in.
//!
//! The official code has two ways in, and a file's form says which one was meant:
//!
//! - `main_parse_and_eval.py` takes replies: a folder a subject with `output.json`, whose rows repeat
//!   options and answers, and are scored by them. Replies are parsed, with guesses.
//! - `main_eval_only.py` takes answers that are parsed already: one object from id to answer
//!   (`total_val_output.json`, `llava1.5_13b_val.json`). A letter must be the right one and no more;
//!   open answers are parsed, no one guesses.
//!
//! Rows with `id` and `response`, as a list or one a line, are parsed as replies; so are tables of
//! VLMEvalKit with a column `prediction`.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::questions::own;
use super::subjects::SUBJECTS;
use crate::data::json::{self, Json};
use crate::data::tsv;
use crate::{Answer, Error, Item, Kind, Outputs};

/// Reads a folder or file of MMMU's outputs.
pub(super) fn read(path: &Path, items: &[Item]) -> Result<Outputs, Error> {
    if path.is_dir() {
        return folder(path, items);
    }
    file(path, items, &own)
}

fn folder(path: &Path, items: &[Item]) -> Result<Outputs, Error> {
    let mut outputs = Outputs {
        model: name(path),
        ..Outputs::default()
    };
    let mut found = false;
    for (subject, _) in SUBJECTS {
        let part = path.join(subject).join("output.json");
        if part.is_file() {
            found = true;
            let read = file(&part, &[], &own)?;
            outputs.answers.extend(read.answers);
            outputs.items.extend(read.items);
            outputs.remarks.extend(read.remarks);
        }
    }
    if found {
        return Ok(laid_over(items, outputs));
    }
    for whole in ["total_val_output.json", "responses.jsonl"] {
        if path.join(whole).is_file() {
            return file(&path.join(whole), items, &own);
        }
    }
    Err(Error::Data {
        path: path.to_owned(),
        detail:
            "holds no outputs of MMMU: looked for <subject>/output.json, total_val_output.json \
                 and responses.jsonl"
                .to_owned(),
    })
}

/// The question that a row repeats, where it does.
pub(in crate::benchmarks) type Own<'a> = &'a dyn Fn(&Json) -> Option<Result<Item, String>>;

/// Reads one file of rows, or of answers by id.
pub(in crate::benchmarks) fn file(
    path: &Path,
    items: &[Item],
    own: Own<'_>,
) -> Result<Outputs, Error> {
    let mut outputs = Outputs {
        model: name(path),
        ..Outputs::default()
    };
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    if ["tsv", "csv"]
        .iter()
        .any(|e| extension.eq_ignore_ascii_case(e))
    {
        predictions(path, items, &mut outputs)?;
        return Ok(outputs);
    }
    let (rows, faults) = json::read_rows(path)?;
    if let Some(first) = faults.first() {
        outputs.remarks.push(format!(
            "{} lines are not JSON (first: {first})",
            faults.len()
        ));
    }
    if let [only] = rows.as_slice()
        && only.key.is_none()
        && let Some(entries) = only.value.as_object()
        && !["id", "response"]
            .iter()
            .any(|name| only.value.get(name).is_some())
    {
        parsed(entries, items, &mut outputs);
        return Ok(outputs);
    }
    let mut unused = Vec::new();
    for row in &rows {
        match answer(row) {
            Ok(answer) => {
                match own(&row.value) {
                    Some(Ok(item)) => outputs.items.push(item),
                    Some(Err(detail)) => unused.push(format!("the options of {detail}")),
                    None => {}
                }
                outputs.answers.push(answer);
            }
            Err(detail) => unused.push(format!("row {}: {detail}", row.line)),
        }
    }
    if let Some(first) = unused.first() {
        let remark = format!(
            "{} rows cannot be used as they are (first: {first})",
            unused.len()
        );
        outputs.remarks.push(remark);
    }
    if outputs.answers.is_empty() {
        return Err(Error::Data {
            path: path.to_owned(),
            detail: format!(
                "has no row with an id and a response{}",
                unused
                    .first()
                    .map(|first| format!(" ({first})"))
                    .unwrap_or_default()
            ),
        });
    }
    Ok(laid_over(items, outputs))
}

/// The model, which gives its name to the file or its folder.
fn name(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    let of_folder = matches!(
        stem,
        "output" | "total_val_output" | "responses" | "parsed_output"
    );
    if !of_folder || path.is_dir() {
        let whole = path.file_name()?.to_str()?;
        return Some(if path.is_dir() { whole } else { stem }.to_owned());
    }
    Some(path.parent()?.file_name()?.to_str()?.to_owned())
}

fn answer(row: &json::Row) -> Result<Answer, String> {
    let value = &row.value;
    let id = match (value.get("id"), &row.key) {
        (Some(id @ (Json::String(_) | Json::Number(_))), _) => id.to_python().to_str(),
        (None, Some(key)) => key.clone(),
        _ => return Err("it has no id".to_owned()),
    };
    let mut answer = Answer {
        id,
        truncated: value.get("truncated") == Some(&Json::Bool(true)),
        failed: value
            .get("failed")
            .and_then(Json::as_str)
            .map(str::to_owned),
        ..Answer::default()
    };
    match value.get("response").or_else(|| value.get("prediction")) {
        Some(Json::String(text)) => answer.response = Some(text.clone()),
        None if answer.failed.is_some() => {}
        Some(Json::Null) => {}
        // Official code writes an object with the error where a server gave no reply, and scores it
        // as an empty one.
        Some(error @ Json::Object(_)) => {
            answer.response = Some(String::new());
            answer.failed = Some(error.to_python().to_str());
        }
        Some(other @ (Json::Number(_) | Json::Bool(_))) => {
            answer.response = Some(other.to_python().to_str());
        }
        Some(Json::Array(_)) => return Err("its response is a list, not text".to_owned()),
        None => return Err("it has no response".to_owned()),
    }
    Ok(answer)
}

/// Answers by id, parsed by another program.
fn parsed(entries: &[(String, Json)], items: &[Item], outputs: &mut Outputs) {
    let open: HashMap<&str, bool> = items
        .iter()
        .map(|item| (item.id.as_str(), item.kind == Kind::Open))
        .collect();
    let (mut others, mut longer) = (0, 0);
    for (id, value) in entries {
        others += usize::from(value.as_str().is_none());
        let response = match value {
            Json::Null => None,
            value => Some(value.to_python().to_str()),
        };
        let is_open = open.get(id.as_str()).copied().unwrap_or(false);
        longer += usize::from(!is_open && value.as_str().is_some_and(|text| text.len() > 1));
        outputs.answers.push(Answer {
            id: id.clone(),
            extraction: response.clone().filter(|_| !is_open),
            response,
            ..Answer::default()
        });
    }
    if others > 0 {
        outputs.remarks.push(format!(
            "{others} answers are not text, which the official code cannot compare"
        ));
    }
    if longer > 0 {
        outputs.remarks.push(format!(
            "{longer} answers to questions with options are more than a letter, which is wrong in a \
             file of parsed answers; to have replies parsed, give them as rows of id and response"
        ));
    }
}

/// VLMEvalKit's table of predictions, by id or by the row's index in its data.
fn predictions(path: &Path, items: &[Item], outputs: &mut Outputs) -> Result<(), Error> {
    let by_index: HashMap<&str, &str> = items
        .iter()
        .filter_map(|item| {
            let index = item.extra.get("index").and_then(Value::as_str)?;
            Some((index, item.id.as_str()))
        })
        .collect();
    let rows = tsv::read(path)?;
    if !rows.iter().any(|row| row.fields.contains_key("prediction")) {
        return Err(Error::Data {
            path: path.to_owned(),
            detail: "has no predictions: its header must name the column \"prediction\"".to_owned(),
        });
    }
    for row in rows {
        let index = row.text("index").unwrap_or_default();
        let id = row
            .text("id")
            .unwrap_or_else(|| by_index.get(index).copied().unwrap_or(index));
        outputs.answers.push(Answer {
            id: id.to_owned(),
            // An empty cell is an empty reply.
            response: Some(row.text("prediction").unwrap_or_default().to_owned()),
            ..Answer::default()
        });
    }
    Ok(())
}

/// The outputs with what the data know of the questions they repeat, and each question's row, since
/// the official code goes from row to row.
fn laid_over(items: &[Item], mut outputs: Outputs) -> Outputs {
    let data: HashMap<&str, &Item> = items.iter().map(|item| (item.id.as_str(), item)).collect();
    for (at, own) in outputs.items.iter_mut().enumerate() {
        if let Some(known) = data.get(own.id.as_str()) {
            own.question.clone_from(&known.question);
            own.pictures.clone_from(&known.pictures);
            own.groups.clone_from(&known.groups);
            for (name, value) in &known.extra {
                if !["answers", "letters"].contains(&name.as_str()) {
                    own.extra.insert(name.clone(), value.clone());
                }
            }
        }
        own.extra.insert(ROW.to_owned(), at.into());
    }
    outputs
}

/// The questions with those in their places that the outputs repeat, of several the last: the official
/// code goes by the options and answers in the rows.
pub(in crate::benchmarks) fn repeated(items: Vec<Item>, own: &[Item]) -> Vec<Item> {
    let own: HashMap<&str, &Item> = own.iter().map(|item| (item.id.as_str(), item)).collect();
    let in_place = |item: Item| match own.get(item.id.as_str()) {
        Some(&repeated) => repeated.clone(),
        None => item,
    };
    items.into_iter().map(in_place).collect()
}

/// Where in [`Item::extra`] a question's row is.
const ROW: &str = "row";

/// The row of a question that the outputs repeat; others come after all rows.
pub(in crate::benchmarks) fn row(item: &Item) -> u64 {
    item.extra
        .get(ROW)
        .and_then(Value::as_u64)
        .unwrap_or(u64::MAX)
}
