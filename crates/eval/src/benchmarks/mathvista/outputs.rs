//! Files of outputs: the authors' own, VLMEvalKit's, and rows of ours.
//!
//! - The authors': an object by pid (or a list, or lines, with `pid`) of rows that repeat the question
//!   and have `response`, and after the second stage `extraction`. `prediction` and `true_false`, the
//!   third stage's, are computed anew.
//! - VLMEvalKit's: a table (TSV) or its JSON with `index` and `prediction`, which is the reply there;
//!   `res` is what its judge found.
//! - Ours: lines with `id`, `response`, `truncated`, `failed`.

use std::collections::HashMap;
use std::path::Path;

use super::questions::{id, repeated, set_extraction_type};
use crate::data::json::{self, Json, Row};
use crate::{Answer, Error, Item, Outputs};

/// Reads the file at `path`.
pub(super) fn read(path: &Path, items: &[Item]) -> Result<Outputs, Error> {
    let inside = path.join("responses.jsonl");
    let path = if inside.is_file() { &inside } else { path };
    let table = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("tsv"));
    let (rows, faults) = if table {
        (super::questions::table_rows(path)?, Vec::new())
    } else {
        json::read_rows(path)?
    };
    let mut outputs = understand(rows, items);
    if let Some(first) = faults.first() {
        let count = faults.len();
        let remark = format!("{count} lines are not JSON and are left out (first: {first})");
        outputs.remarks.push(remark);
    }
    if outputs.answers.is_empty() {
        return Err(Error::Data {
            path: path.to_owned(),
            detail: "has no rows with a pid (or id, or index) and a response, extraction or \
                     prediction"
                .to_owned(),
        });
    }
    outputs.model = model(path);
    Ok(outputs)
}

/// The model, as the authors name their files: `output_bard.json`.
fn model(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    stem.strip_prefix("output_").map(str::to_owned)
}

/// What is wrong with rows, counted, with the first of each kind.
#[derive(Default)]
struct Remarks(Vec<(&'static str, usize, String)>);

impl Remarks {
    fn add(&mut self, what: &'static str, example: &str) {
        match self.0.iter_mut().find(|(known, ..)| *known == what) {
            Some((_, count, _)) => *count += 1,
            None => self.0.push((what, 1, example.to_owned())),
        }
    }

    fn finish(self) -> Vec<String> {
        let line = |(what, count, first)| format!("{count} {what} (first: {first:?})");
        self.0.into_iter().map(line).collect()
    }
}

fn understand(rows: Vec<Row>, items: &[Item]) -> Outputs {
    let known: HashMap<&str, &Item> = items.iter().map(|i| (i.id.as_str(), i)).collect();
    let mut remarks = Remarks::default();
    let mut outputs = Outputs::default();
    // The second stage has been here: then every row has what it found.
    let extracted = rows.iter().any(|row| extraction(&row.value).is_some());
    for row in &rows {
        let at = format!("row {}", row.line);
        if row.value.as_object().is_none() {
            remarks.add("rows are no objects and are left out", &at);
            continue;
        }
        let Some(id) = id(row) else {
            remarks.add("rows have no pid and are left out", &at);
            continue;
        };
        let Some(mut answer) = answer(&id, &row.value) else {
            remarks.add("rows have no reply; they count as wrong", &id);
            outputs.answers.push(Answer {
                id,
                ..Answer::default()
            });
            continue;
        };
        let blank;
        let base = match known.get(id.as_str()) {
            Some(item) => *item,
            None if items.is_empty() => {
                blank = super::unknown(&id);
                &blank
            }
            None => {
                outputs.answers.push(answer);
                continue;
            }
        };
        let (mut item, ignored) = if row.value.get("prediction").is_some()
            && row.value.get("response").is_none()
            && !items.is_empty()
        {
            // VLMEvalKit's columns of the same names mean other things.
            (base.clone(), Vec::new())
        } else {
            repeated(base, &row.value)
        };
        for name in ignored {
            remarks.add(
                match name {
                    "choices" => "rows have choices that are none; the benchmark's count",
                    "answer" => "rows have an answer that is no text; the benchmark's counts",
                    _ => "rows repeat the question in a form it does not have; the benchmark's counts",
                },
                &id,
            );
        }
        if !items.is_empty() && item.answer != base.answer {
            remarks.add(
                "rows have another answer than the benchmark's file; the row's counts, as in the \
                 official code",
                &id,
            );
        }
        match extraction(&row.value) {
            Some(value) => set_extraction_type(&mut item, value),
            None if extracted && answer.failed.is_none() => {
                remarks.add(
                    "rows have no extraction, where the official code stops; they count as wrong \
                     unless the extended rules or a judge find one",
                    &id,
                );
                item.extra.insert("unextracted".to_owned(), true.into());
            }
            None => {}
        }
        if let Some(failed) = &mut answer.failed {
            failed.truncate(failed.floor_char_boundary(1000));
        }
        outputs.items.push(item);
        outputs.answers.push(answer);
    }
    outputs.remarks = remarks.finish();
    outputs
}

/// What the second stage found, also where it is `null`.
fn extraction(row: &Json) -> Option<&Json> {
    row.get("extraction").or_else(|| row.get("res"))
}

/// The reply in a row; `None` where it has neither reply nor extraction nor a reason.
fn answer(id: &str, row: &Json) -> Option<Answer> {
    let printed = |value: &Json| (!value.is_null()).then(|| value.to_python().to_str());
    let response = match row.get("response") {
        Some(value) => printed(value),
        // The authors' predictions are the third stage's.
        None if row.get("extraction").is_none() => row.get("prediction").and_then(printed),
        None => None,
    };
    let extraction = extraction(row).map(|value| value.to_python().to_str());
    let reason = ["failed", "error"].iter().find_map(|name| {
        let text = row.get(name)?.as_str()?;
        (!text.is_empty() && text != "None").then(|| text.to_owned())
    });
    let failed = reason.filter(|_| response.is_none() && extraction.is_none());
    let truncated = matches!(row.get("truncated"), Some(Json::Bool(true)));
    let any = response.is_some() || extraction.is_some() || failed.is_some();
    any.then(|| Answer {
        id: id.to_owned(),
        response,
        extraction,
        truncated,
        failed,
    })
}
