//! MMMU's questions, in the layouts they are published in.
//!
//! - Hugging Face: a folder a subject, with `validation-00000-of-00001.parquet` (`dev`, `test`), or
//!   all subjects' rows in `data/validation-*.parquet`.
//! - VLMEvalKit: `MMMU_DEV_VAL.tsv` and `MMMU_TEST.tsv`; open questions have no options there.
//! - The official evaluation's `answer_dict_val.json`, which has answers but no questions. Options are
//!   then taken from the authors' `example_outputs/<model>/<subject>/output.json` where these are
//!   beside it, since a reply cannot be read without them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::choice::{MOST_OPTIONS, letters};
use super::subjects;
use crate::data::json::{self, Json};
use crate::data::row::Row;
use crate::data::{parquet, tsv};
use crate::python::{Literal, literal_eval};
use crate::{Error, Item, Kind, Picture};

/// Reads the questions of a split: those of one subject after the other, in the official order.
pub(super) fn load(folder: &Path, split: &str) -> Result<Vec<Item>, Error> {
    // As files and ids spell it.
    let stem = if split == "val" { "validation" } else { split };
    let mut files = parquet_files(folder, stem);
    let table = if split == "test" {
        "MMMU_TEST.tsv"
    } else {
        "MMMU_DEV_VAL.tsv"
    };
    let answers = folder.join(format!("answer_dict_{split}.json"));
    if files.is_empty() {
        files.extend(
            [folder.to_owned(), folder.join(table)]
                .into_iter()
                .filter(|path| path.is_file()),
        );
    }
    let mut items = if files.is_empty() && answers.is_file() {
        of_answers(folder, &answers)?
    } else {
        of_tables(&files, stem)?
    };
    if items.is_empty() {
        return Err(Error::Data {
            path: folder.to_owned(),
            detail: format!(
                "has no questions of MMMU's split {split}: looked for <subject>/{stem}-*.parquet, \
                 data/{stem}-*.parquet, {table} and answer_dict_{split}.json"
            ),
        });
    }
    items.sort_by_key(|item| subjects::rank(subject(item)));
    Ok(items)
}

/// The subject that a question is scored under.
pub(in crate::benchmarks) fn subject(item: &Item) -> &str {
    item.groups
        .iter()
        .find(|(dimension, _)| dimension == "category" || dimension == "subject")
        .map_or("", |(_, name)| name)
}

/// Parquet files of a split, by subject in the official order and then by name.
pub(in crate::benchmarks) fn parquet_files(folder: &Path, stem: &str) -> Vec<PathBuf> {
    let within = subjects::SUBJECTS.iter().map(|(name, _)| folder.join(name));
    within
        .chain([folder.join("data"), folder.to_owned()])
        .flat_map(|place| {
            let mut files: Vec<PathBuf> = fs::read_dir(place)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| {
                    let name = path
                        .file_name()
                        .and_then(|n| n.to_str())
                        .unwrap_or_default();
                    name.starts_with(stem) && name.ends_with(".parquet") && path.is_file()
                })
                .collect();
            files.sort();
            files
        })
        .collect()
}

/// Reads a table by its name's end.
pub(in crate::benchmarks) fn table(path: &Path) -> Result<Vec<Row>, Error> {
    if path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("parquet"))
    {
        return parquet::read(path);
    }
    tsv::read(path)
}

fn of_tables(files: &[PathBuf], stem: &str) -> Result<Vec<Item>, Error> {
    let mut items = Vec::new();
    for path in files {
        for (at, row) in table(path)?.iter().enumerate() {
            // One table of VLMEvalKit has two splits.
            let of_split = match (row.text("split"), row.text("id")) {
                (Some(split), _) => split.eq_ignore_ascii_case(stem),
                (None, Some(id)) => id.starts_with(stem),
                (None, None) => true,
            };
            if of_split {
                items.push(item(row).map_err(|detail| Error::Data {
                    path: path.clone(),
                    detail: format!("row {}: {detail}", at + 1),
                })?);
            }
        }
    }
    Ok(items)
}

fn item(row: &Row) -> Result<Item, String> {
    let id = row
        .text("id")
        .or_else(|| row.text("index"))
        .ok_or("it has no id")?;
    let choices = match row.fields.get("options") {
        Some(options) => options_of(options)?,
        None => lettered(row),
    };
    let open = match row.text("question_type") {
        Some(kind) => kind != "multiple-choice",
        None => choices.is_empty(),
    };
    // Tests whose answers are not published have "?" there.
    let answers = match row.text("answer") {
        None | Some("" | "?") => Vec::new(),
        Some(text) => answers_of(text),
    };
    let of_id = subjects::of_id(id);
    let spaced = row.text("category").map(|name| name.replace(' ', "_"));
    let subject = match spaced {
        Some(name) if subjects::domain(of_id).is_none() => name,
        _ => of_id.to_owned(),
    };
    let mut item = blank(id, &subject, open);
    item.question = row.text("question").unwrap_or_default().to_owned();
    item.choices = if open { Vec::new() } else { choices };
    set_answers(&mut item, answers);
    item.pictures = row
        .images
        .iter()
        .map(|(_, bytes)| Picture::Bytes(bytes.clone()))
        .collect();
    if let Some(level) = row.text("topic_difficulty") {
        item.groups
            .push(("topic_difficulty".to_owned(), level.to_owned()));
    }
    if let Some(index) = row.text("index") {
        item.extra.insert("index".to_owned(), index.into());
    }
    Ok(item)
}

/// A question with its groups, and nothing else yet.
pub(super) fn blank(id: &str, subject: &str, open: bool) -> Item {
    let mut groups = vec![("category".to_owned(), subject.to_owned())];
    if let Some(domain) = subjects::domain(subject) {
        groups.push(("domain".to_owned(), domain.to_owned()));
    }
    // As the official answer files spell it; the data set says "open".
    let kind = if open {
        "short-answer"
    } else {
        "multiple-choice"
    };
    groups.push(("question_type".to_owned(), kind.to_owned()));
    Item {
        id: id.to_owned(),
        question: String::new(),
        choices: Vec::new(),
        answer: None,
        kind: if open { Kind::Open } else { Kind::MultiChoice },
        unit: None,
        precision: None,
        pictures: Vec::new(),
        groups,
        extra: Map::new(),
    }
}

/// Several right answers are kept one by one in `extra`, and shown as Python prints a list.
pub(super) fn set_answers(item: &mut Item, mut answers: Vec<String>) {
    item.extra.remove("answers");
    if answers.len() < 2 {
        item.answer = answers.pop();
        return;
    }
    let list = Literal::List(answers.iter().cloned().map(Literal::Str).collect());
    item.answer = Some(list.to_string());
    item.extra.insert("answers".to_owned(), answers.into());
}

/// The right answers of a question; none in splits whose answers are not published.
pub(in crate::benchmarks) fn answers(item: &Item) -> Vec<&str> {
    match item.extra.get("answers").and_then(Value::as_array) {
        Some(several) => several.iter().filter_map(Value::as_str).collect(),
        None => item.answer.as_deref().into_iter().collect(),
    }
}

/// The data set prints several answers as a list (`['$MgS$', 'MgS']`).
fn answers_of(text: &str) -> Vec<String> {
    if text.starts_with('[')
        && let Ok(Literal::List(items)) = literal_eval(text)
        && !items.is_empty()
    {
        return items.iter().map(Literal::to_str).collect();
    }
    vec![text.to_owned()]
}

/// Options as a Python list in a text, or as a list; one that is itself a list is shown as Python
/// prints it.
pub(in crate::benchmarks) fn options_of(value: &Value) -> Result<Vec<String>, String> {
    let options: Vec<String> = match value {
        Value::Null => Vec::new(),
        Value::String(text) => match literal_eval(text).map_err(|e| format!("options: {e}"))? {
            Literal::List(items) | Literal::Tuple(items) => {
                items.iter().map(Literal::to_str).collect()
            }
            _ => return Err("options are no list".to_owned()),
        },
        Value::Array(items) => items
            .iter()
            .map(|item| {
                item.as_str()
                    .map_or_else(|| item.to_string(), str::to_owned)
            })
            .collect(),
        _ => return Err("options are no list".to_owned()),
    };
    if options.len() > MOST_OPTIONS {
        return Err(format!(
            "{} options; {MOST_OPTIONS} at most are read",
            options.len()
        ));
    }
    Ok(options)
}

/// Options in columns `A`, `B`, ..., up to the first that is empty.
fn lettered(row: &Row) -> Vec<String> {
    letters(26)
        .iter()
        .map_while(|letter| row.text(letter).map(str::to_owned))
        .collect()
}

/// The official answers, with the authors' example outputs for the options.
fn of_answers(folder: &Path, path: &Path) -> Result<Vec<Item>, Error> {
    let content = json::read(path)?;
    let Some(entries) = content.as_object() else {
        return Err(Error::Data {
            path: path.to_owned(),
            detail: "is no JSON object of answers by id".to_owned(),
        });
    };
    let mut items = Vec::new();
    for (id, entry) in entries {
        let kind = entry.get("question_type").and_then(Json::as_str);
        let open = kind.is_some_and(|kind| kind != "multiple-choice");
        let mut item = blank(id, subjects::of_id(id), open);
        set_answers(&mut item, texts(entry.get("ground_truth")));
        items.push(item);
    }
    fill_options(folder, &mut items);
    Ok(items)
}

/// One text, or a list of texts.
pub(super) fn texts(value: Option<&Json>) -> Vec<String> {
    match value {
        None | Some(Json::Null) => Vec::new(),
        Some(Json::Array(items)) => items.iter().map(|i| i.to_python().to_str()).collect(),
        Some(one) => vec![one.to_python().to_str()],
    }
}

fn fill_options(folder: &Path, items: &mut [Item]) {
    let mut models: Vec<PathBuf> = fs::read_dir(folder.join("example_outputs"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    models.sort();
    let mut places: std::collections::HashMap<String, usize> = items
        .iter()
        .enumerate()
        .filter(|(_, item)| item.kind == Kind::MultiChoice)
        .map(|(at, item)| (item.id.clone(), at))
        .collect();
    for model in models {
        for (subject, _) in subjects::SUBJECTS {
            if places.is_empty() {
                return;
            }
            // Examples that cannot be read are no reason to fail: options stay unknown.
            let Ok((rows, _)) = json::read_rows(&model.join(subject).join("output.json")) else {
                continue;
            };
            for row in rows {
                if let Some(Ok(own)) = own(&row.value)
                    && !own.choices.is_empty()
                    && let Some(at) = places.remove(&own.id)
                {
                    items[at].choices = own.choices;
                    items[at]
                        .extra
                        .extend(own.extra.into_iter().filter(|(k, _)| k == "letters"));
                }
            }
        }
    }
}

/// The question that a row of outputs repeats: none where it does not.
pub(super) fn own(row: &Json) -> Option<Result<Item, String>> {
    let kind = row.get("question_type")?.as_str()?;
    let id = row.get("id").and_then(Json::as_str)?;
    let open = kind != "multiple-choice";
    let mut item = blank(id, subjects::of_id(id), open);
    item.question = texts(row.get("question")).pop().unwrap_or_default();
    set_answers(&mut item, texts(row.get("answer")));
    if open {
        return Some(Ok(item));
    }
    let by_letter = row.get("index2ans")?.as_object()?;
    let named: Vec<String> = match row.get("all_choices") {
        Some(all) => texts(Some(all)),
        None => by_letter.iter().map(|(letter, _)| letter.clone()).collect(),
    };
    if named.len() > MOST_OPTIONS {
        let detail = format!(
            "{id}: {} options; {MOST_OPTIONS} at most are read",
            named.len()
        );
        return Some(Err(detail));
    }
    let index = row.get("index2ans")?;
    for letter in &named {
        let Some(option) = index.get(letter) else {
            return Some(Err(format!("{id}: index2ans has no {letter:?}")));
        };
        item.choices.push(option.to_python().to_str());
    }
    if named != letters(named.len()) {
        item.extra.insert("letters".to_owned(), named.into());
    }
    Some(Ok(item))
}
