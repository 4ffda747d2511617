//! Rows of questions and outputs in the files that benchmarks and their users write: JSON as a list of
//! objects, an object of objects by id, or one object a line; questions also as Parquet with their images.
//!
//! Everything here is untrusted. Questions must be in order; a row of outputs that is not is left out
//! with a remark, so that the others still count. serde_json bounds nesting, [`LARGEST`] bounds memory.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Benchmark;
use crate::data::{parquet, row};
use crate::{Answer, Error, Item, Outputs, Picture};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// Remarks on single rows, before only their number is given.
const REMARKS: usize = 5;

/// One row: names and values, and the images that a table holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Row(pub(super) Map<String, Value>, pub(super) Vec<Arc<[u8]>>);

impl Row {
    /// A value as text: numbers and truth values as JSON prints them; none where there is none.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(text)
    }

    /// The first of several names that has text.
    pub(super) fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.text(name))
    }

    /// A value that every row must have.
    pub(super) fn required(&self, name: &str) -> Result<String, String> {
        self.text(name)
            .ok_or_else(|| format!("it has no {name:?}, which every question has"))
    }

    /// Its images: those that it holds, else the file that it names under `name`, which `file` finds.
    pub(super) fn pictures(
        &self,
        name: &str,
        file: impl FnOnce(&str) -> Result<PathBuf, String>,
    ) -> Result<Vec<Picture>, String> {
        if !self.1.is_empty() {
            return Ok(self.1.iter().cloned().map(Picture::Bytes).collect());
        }
        match self.text(name).filter(|name| !name.is_empty()) {
            Some(name) => Ok(vec![Picture::File(file(&name)?)]),
            None => Ok(Vec::new()),
        }
    }

    /// A list of texts; empty where there is none.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => list
                .iter()
                .map(|value| {
                    text(value)
                        .ok_or_else(|| format!("{name:?} has something in it that is no text"))
                })
                .collect(),
            Some(_) => Err(format!("{name:?} is not a list")),
        }
    }
}

pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// Refuses a split that the benchmark does not have.
pub(super) fn known_split(benchmark: &dyn Benchmark, split: &str) -> Result<(), Error> {
    if benchmark.splits().contains(&split) {
        return Ok(());
    }
    Err(Error::UnknownSplit {
        benchmark: benchmark.name(),
        split: split.to_owned(),
        known: benchmark.splits().join(", "),
    })
}

/// The Parquet files of a part of a data set in `folder` or its `data`, as Hugging Face names them:
/// `testmini.parquet`, `testmini-00000-of-00002.parquet`.
pub(super) fn tables(folder: &Path, part: &str) -> Vec<PathBuf> {
    let ours = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        let stem = name.and_then(|name| name.strip_suffix(".parquet"));
        // `test-` is not the start of `testmini-`.
        stem.and_then(|stem| stem.strip_prefix(part))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    let places = [folder.join("data"), folder.to_owned()];
    let entries = places
        .iter()
        .filter_map(|place| std::fs::read_dir(place).ok());
    let mut found: Vec<PathBuf> = entries
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(ours)
        .collect();
    found.sort();
    found
}

/// The files of a part's questions in `folder`: the first of `names`, or Parquet files.
pub(super) fn find(folder: &Path, names: &[&str], part: &str) -> Result<Vec<PathBuf>, Error> {
    let json = names.iter().map(|name| folder.join(name));
    if let Some(path) = json.into_iter().find(|path| path.is_file()) {
        return Ok(vec![path]);
    }
    let found = tables(folder, part);
    if found.is_empty() {
        return Err(Error::Data {
            path: folder.to_owned(),
            detail: format!(
                "none of {}, {part}.parquet and {part}-*.parquet is in it; give the folder that the \
                 benchmark publishes",
                names.join(", ")
            ),
        });
    }
    Ok(found)
}

/// A file that a row names, which must lie inside `folder`.
pub(super) fn inside(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let path = Path::new(name);
    let plain = path
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if plain && !name.is_empty() {
        Ok(folder.join(path))
    } else {
        Err(format!("{name:?} is not a file inside the folder"))
    }
}

fn contents(path: &Path) -> Result<String, Error> {
    let bad = |detail: String| Error::Data {
        path: path.to_owned(),
        detail,
    };
    let size = std::fs::metadata(path)
        .map_err(|e| bad(e.to_string()))?
        .len();
    if size > LARGEST {
        return Err(bad(format!(
            "it has {size} bytes, more than the {LARGEST} that are read; split it"
        )));
    }
    std::fs::read_to_string(path).map_err(|e| bad(e.to_string()))
}

/// All rows of a file, which must be in order.
pub(super) fn read(path: &Path) -> Result<Vec<Row>, Error> {
    if path.extension().is_some_and(|end| end == "parquet") {
        let rows = parquet::read(path)?.into_iter();
        let images = |row: row::Row| row.images.into_iter().map(|(_, bytes)| bytes).collect();
        return Ok(rows
            .map(|mut row| Row(std::mem::take(&mut row.fields), images(row)))
            .collect());
    }
    let (rows, mut remarks) = parse(&contents(path)?);
    if remarks.is_empty() {
        return Ok(rows);
    }
    Err(Error::Data {
        path: path.to_owned(),
        detail: remarks.swap_remove(0),
    })
}

/// All questions of the files.
pub(super) fn items(
    paths: &[PathBuf],
    item: impl Fn(&Row) -> Result<Item, String>,
) -> Result<Vec<Item>, Error> {
    let mut items = Vec::new();
    for path in paths {
        for (at, row) in read(path)?.iter().enumerate() {
            items.push(item(row).map_err(|detail| Error::Data {
                path: path.clone(),
                detail: format!("row {}: {detail}", at + 1),
            })?);
        }
    }
    Ok(items)
}

/// Rows, and what is wrong with those that could not be read.
fn parse(text: &str) -> (Vec<Row>, Vec<String>) {
    let text = text.trim_start_matches('\u{feff}').trim();
    let rows = |values: Vec<Value>| {
        let mut rows = Vec::with_capacity(values.len());
        let mut remarks = Vec::new();
        for (at, value) in values.into_iter().enumerate() {
            match value {
                Value::Object(map) => rows.push(Row(map, Vec::new())),
                _ => remarks.push(format!("entry {} is not an object", at + 1)),
            }
        }
        (rows, remarks)
    };
    if text.starts_with('[') {
        return match serde_json::from_str::<Vec<Value>>(text) {
            Ok(values) => rows(values),
            Err(error) => (Vec::new(), vec![format!("it is not a JSON list: {error}")]),
        };
    }
    if let Ok(map) = serde_json::from_str::<Map<String, Value>>(text) {
        if map.is_empty() || map.values().any(|value| !value.is_object()) {
            return (vec![Row(map, Vec::new())], Vec::new());
        }
        let values = map.into_iter().filter_map(|(id, value)| match value {
            Value::Object(mut row) => {
                row.entry("id").or_insert(Value::String(id));
                Some(Value::Object(row))
            }
            _ => None,
        });
        return rows(values.collect());
    }
    let (mut rows, mut remarks) = (Vec::new(), Vec::new());
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        match serde_json::from_str(line) {
            Ok(map) => rows.push(Row(map, Vec::new())),
            Err(error) => remarks.push(format!("line {} is not a JSON object: {error}", at + 1)),
        }
    }
    (rows, remarks)
}

/// Reads outputs: rows with an id, a reply and, where another program has found it, an answer, each
/// under the first of several names. A folder is one of our runs.
pub(super) fn outputs(
    path: &Path,
    ids: &[&str],
    responses: &[&str],
    extractions: &[&str],
) -> Result<Outputs, Error> {
    outputs_by(path, |row| {
        let id = row.first(ids)?;
        Some(answer(row, id, responses, extractions))
    })
}

/// The reply of one row of outputs.
pub(super) fn answer(row: &Row, id: String, responses: &[&str], extractions: &[&str]) -> Answer {
    Answer {
        id,
        response: row.first(responses),
        extraction: row.first(extractions),
        truncated: row.0.get("truncated").and_then(Value::as_bool) == Some(true),
        failed: row.text("failed").filter(|why| why != "false"),
    }
}

/// Reads outputs whose rows `answer` understands; rows for which it has none are remarks.
pub(super) fn outputs_by(
    path: &Path,
    answer: impl Fn(&Row) -> Option<Answer>,
) -> Result<Outputs, Error> {
    let run = path.is_dir();
    let file = if run {
        path.join("responses.jsonl")
    } else {
        path.to_owned()
    };
    let (rows, remarks) = parse(&contents(&file)?);
    let mut outputs = Outputs::default();
    let unreadable = remarks.len();
    outputs.remarks.extend(remarks.into_iter().take(REMARKS));
    if unreadable > REMARKS {
        outputs
            .remarks
            .push(format!("{unreadable} rows cannot be read"));
    }
    let mut nameless = 0;
    for row in &rows {
        match answer(row) {
            Some(answer) => outputs.answers.push(answer),
            None => nameless += 1,
        }
        if outputs.model.is_none() {
            outputs.model = row.text("model");
        }
    }
    if nameless > 0 {
        outputs
            .remarks
            .push(format!("{nameless} rows have no id and are left out"));
    }
    if outputs.answers.is_empty() {
        return Err(Error::Data {
            path: file,
            detail: match outputs.remarks.first() {
                Some(remark) => format!("there is no row of outputs in it: {remark}"),
                None => "there is no row of outputs in it".to_owned(),
            },
        });
    }
    let found = path.join("extractions.jsonl");
    if run && found.is_file() {
        let (rows, _) = parse(&contents(&found)?);
        let mut by_id: HashMap<String, String> = rows
            .iter()
            .filter_map(|row| Some((row.text("id")?, row.text("extraction").unwrap_or_default())))
            .collect();
        for answer in &mut outputs.answers {
            if let Some(extraction) = by_id.remove(&answer.id) {
                answer.extraction = Some(extraction);
            }
        }
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_and_their_images_are_read_from_parquet() {
        let cell = |text: &'static str| vec![Some(text)];
        for (name, split, file, columns, image, id) in [
            (
                "mathvision",
                "test",
                "data/test-00000-of-00001-abc.parquet",
                vec![("id", cell("7")), ("image", cell("images/7.jpg"))],
                "decoded_image",
                "7",
            ),
            (
                "mathverse",
                "testmini",
                "testmini.parquet",
                vec![("sample_index", cell("7"))],
                "image",
                "7",
            ),
            (
                "wemath",
                "testmini",
                "data/testmini-00000-of-00001.parquet",
                vec![
                    ("ID", cell("2steps_7")),
                    ("key", cell("2steps_multi")),
                    ("option", cell("A. 1; B. 2")),
                ],
                "image_path",
                "2steps_7/2steps_multi",
            ),
            (
                "dynamath",
                "samples",
                "data/sample_variant3-00000-of-00001.parquet",
                vec![("id", cell("7")), ("answer_type", cell("float"))],
                "decoded_image",
                "3/7",
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("data")).unwrap();
            let mut columns = columns;
            columns.extend([("question", cell("?")), ("answer", cell("B"))]);
            let picture: Vec<Option<&[u8]>> = vec![Some(b"PNG")];
            parquet::write(&dir.path().join(file), &columns, &[(image, picture)]);
            // Another split's file is not taken for this one's.
            std::fs::write(dir.path().join("testmini_text_only.parquet"), "").unwrap();
            let items = crate::find(name).unwrap().load(dir.path(), split).unwrap();
            let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
            assert_eq!(ids, [id], "{name}");
            assert_eq!(items[0].answer.as_deref(), Some("B"), "{name}");
            assert_eq!(
                items[0].pictures,
                [Picture::Bytes(b"PNG".as_slice().into())],
                "{name}"
            );
        }
        let empty = tempfile::tempdir().unwrap();
        let benchmark = crate::find("mathvision").unwrap();
        let error = benchmark
            .load(empty.path(), "test")
            .unwrap_err()
            .to_string();
        assert!(error.contains("test-*.parquet"), "{error}");
    }

    #[test]
    fn rows_come_as_a_list_by_id_or_by_line() {
        for text in [
            r#"[{"id": "1", "a": 2}]"#,
            r#"{"1": {"a": 2}}"#,
            "{\"id\": \"1\", \"a\": 2}\n\n",
        ] {
            let (rows, remarks) = parse(text);
            assert_eq!(remarks, [""; 0], "{text}");
            assert_eq!(rows.len(), 1, "{text}");
            assert_eq!(rows[0].text("id").as_deref(), Some("1"));
            assert_eq!(rows[0].text("a").as_deref(), Some("2"));
        }
    }

    #[test]
    fn a_broken_line_is_named_and_the_others_are_kept() {
        let (rows, remarks) = parse("{\"id\": 1}\n{\"id\": \n[]\n{\"id\": 3}");
        assert_eq!(rows.len(), 2);
        assert!(remarks[0].starts_with("line 2 "), "{remarks:?}");
        assert!(remarks[1].starts_with("line 3 "), "{remarks:?}");
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        for text in [
            "[".repeat(100_000),
            format!("{{\"a\":{}", "[".repeat(100_000)),
        ] {
            let (rows, remarks) = parse(&text);
            assert!(rows.is_empty());
            assert_eq!(remarks.len(), 1);
        }
    }

    #[test]
    fn pictures_lie_inside_the_folder() {
        let folder = Path::new("/data");
        assert_eq!(
            inside(folder, "images/1.jpg"),
            Ok("/data/images/1.jpg".into())
        );
        for name in ["../1.jpg", "/etc/passwd", "a/../../b", ""] {
            assert!(inside(folder, name).is_err(), "{name}");
        }
    }

    #[test]
    fn outputs_keep_what_can_be_used_and_say_what_cannot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        std::fs::write(
            &path,
            "{\"id\": 1, \"response\": null, \"model\": \"m\"}\n{\"response\": \"x\"}\n\
             {\"id\": \"2\", \"response\": 7, \"found\": \"\"}\nbroken\n",
        )
        .unwrap();
        let outputs = outputs(&path, &["id"], &["response"], &["found"]).unwrap();
        assert_eq!(outputs.model.as_deref(), Some("m"));
        assert_eq!(outputs.answers.len(), 2);
        assert_eq!(outputs.answers[0].response, None);
        assert_eq!(outputs.answers[1].response.as_deref(), Some("7"));
        assert_eq!(outputs.answers[1].extraction.as_deref(), Some(""));
        assert_eq!(outputs.remarks.len(), 2, "{:?}", outputs.remarks);
    }

    #[test]
    fn a_run_of_ours_is_read_with_what_was_found_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "responses.jsonl",
            "{\"id\":\"1\",\"response\":\"B is it\",\"truncated\":true,\"failed\":null}\n\
             {\"id\":\"2\",\"response\":null,\"truncated\":false,\"failed\":\"timeout\"}\n",
        );
        write(
            "extractions.jsonl",
            "{\"id\":\"1\",\"extraction\":\"B\",\"mode\":\"official\"}\n",
        );
        let outputs = outputs(folder.path(), &["id"], &["response"], &[]).unwrap();
        assert_eq!(outputs.answers[0].extraction.as_deref(), Some("B"));
        assert!(outputs.answers[0].truncated);
        assert_eq!(outputs.answers[1].failed.as_deref(), Some("timeout"));
        assert_eq!(outputs.answers[1].extraction, None);
    }
}
