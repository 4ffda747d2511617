//! A model's run over one benchmark as it lies in a folder.
//!
//! Nothing here trusts the files: lines have a longest length, files a longest size, and an error names
//! file and line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{BenchmarkScore, ItemScore};
use crate::{Error, Manifest};

/// File name of the questions.
pub const ITEMS: &str = "items.jsonl";
/// File name of the verdicts.
pub const SCORES: &str = "scores.jsonl";
/// The folder below a run's in which its benchmark runs lie, `benchmarks/<benchmark>.<split>/<model>`.
pub const BENCHMARKS: &str = "benchmarks";

/// No line may be longer, in bytes: a reply of a megabyte fits with all its escapes.
const LONGEST_LINE: u64 = 32 << 20;
/// No file may be longer, in bytes, since all of it is held: a thousand replies of a megabyte fit.
const LONGEST_FILE: u64 = 2 << 30;
/// No file may have more lines than any benchmark has questions.
const MOST_LINES: usize = 2_000_000;
/// No more runs are looked for below a folder.
const MOST_RUNS: usize = 10_000;

/// A question as a run keeps it for pages.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ItemRecord {
    /// Its id in the benchmark.
    pub id: String,
    /// The question.
    pub question: String,
    /// Its choices.
    pub choices: Vec<String>,
    /// The right answer.
    pub answer: Option<String>,
    /// What the model was asked.
    pub query: Option<String>,
    /// Dimension and group; a dimension may occur more than once.
    pub groups: Vec<(String, String)>,
    /// Its image files, relative to the run's folder or absolute.
    pub images: Vec<PathBuf>,
}

impl<'de> Deserialize<'de> for ItemRecord {
    /// Reads a line of [`ITEMS`]; groups are a list of pairs, or an object of names or lists of them.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Line {
            id: String,
            #[serde(default)]
            question: String,
            #[serde(default)]
            choices: Vec<String>,
            #[serde(default)]
            answer: Option<String>,
            #[serde(default)]
            query: Option<String>,
            #[serde(default)]
            groups: Value,
            #[serde(default, alias = "pictures", alias = "files")]
            images: Vec<PathBuf>,
        }
        let line = Line::deserialize(deserializer)?;
        Ok(ItemRecord {
            id: line.id,
            question: line.question,
            choices: line.choices,
            answer: line.answer,
            query: line.query,
            groups: groups(&line.groups),
            images: line.images,
        })
    }
}

fn groups(value: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut add = |dimension: &str, name: &Value| {
        if let Some(name) = name.as_str() {
            found.push((dimension.to_owned(), name.to_owned()));
        }
    };
    match value {
        Value::Object(dimensions) => {
            for (dimension, names) in dimensions {
                match names {
                    Value::Array(names) => names.iter().for_each(|name| add(dimension, name)),
                    name => add(dimension, name),
                }
            }
        }
        Value::Array(pairs) => {
            for pair in pairs {
                if let Some([dimension, name]) = pair.as_array().map(Vec::as_slice) {
                    add(dimension.as_str().unwrap_or_default(), name);
                }
            }
        }
        _ => {}
    }
    found
}

/// The runs at `path`: itself where it is one, else those in `benchmarks` below it, or below it as
/// `benchmarks` is laid out; sorted by path.
///
/// # Errors
/// Where there is none.
pub fn runs(path: &Path) -> Result<Vec<PathBuf>, Error> {
    if path.join(SCORES).is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    // A run's folder, its `benchmarks`, or one benchmark of it.
    for (root, depth) in [
        (path.join(BENCHMARKS), 2),
        (path.to_owned(), 2),
        (path.to_owned(), 1),
    ] {
        below(&root, depth, &mut found)?;
        if !found.is_empty() {
            found.sort();
            return Ok(found);
        }
    }
    Err(Error::format(
        path,
        "holds no benchmark run; give the folder of one (it has scores.jsonl and manifest.json), or of \
         an evaluation with `benchmarks` in it",
    ))
}

fn below(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), Error> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => return Ok(()),
        Err(e) => return Err(Error::io(folder, e)),
    };
    for entry in entries {
        let path = entry.map_err(|e| Error::io(folder, e))?.path();
        if depth == 1 {
            if path.join(SCORES).is_file() && found.len() < MOST_RUNS {
                found.push(path);
            }
        } else if path.is_dir() {
            below(&path, depth - 1, found)?;
        }
    }
    Ok(())
}

/// A finished run's score, from its manifest; or the score that `score --json` printed into a file.
///
/// # Errors
/// Where there is no score.
pub fn score(path: &Path) -> Result<BenchmarkScore, Error> {
    let value = if path.is_file() {
        let length = std::fs::metadata(path)
            .map_err(|e| Error::io(path, e))?
            .len();
        if length > LONGEST_LINE {
            return Err(Error::format(
                path,
                format!("{length} bytes; no score is so long"),
            ));
        }
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        serde_json::from_str(&text)
            .map_err(|e| Error::format(path, format!("{e}; give what `score --json` printed")))?
    } else {
        Manifest::read(path)?.results
    };
    serde_json::from_value(value).map_err(|e| {
        Error::format(
            path,
            format!("holds no score of a benchmark run ({e}); score it first"),
        )
    })
}

/// A run's verdicts, in their order.
///
/// # Errors
/// Where the file is missing or broken, with the line.
pub fn item_scores(folder: &Path) -> Result<Vec<ItemScore>, Error> {
    lines(&folder.join(SCORES))
}

/// A run's questions; none where it kept none.
///
/// # Errors
/// Where the file is broken, with the line.
pub fn items(folder: &Path) -> Result<Vec<ItemRecord>, Error> {
    let path = folder.join(ITEMS);
    if !path.exists() {
        return Ok(Vec::new());
    }
    lines(&path)
}

fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Error> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let size = file.metadata().map_err(|e| Error::io(path, e))?.len();
    if size > LONGEST_FILE {
        return Err(Error::format(
            path,
            format!("{size} bytes; over the limit of {LONGEST_FILE}"),
        ));
    }
    let mut reader = BufReader::new(file);
    let mut read = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let length = std::io::Read::take(&mut reader, LONGEST_LINE + 1)
            .read_until(b'\n', &mut line)
            .map_err(|e| Error::io(path, e))?;
        if length == 0 {
            break;
        }
        if length as u64 > LONGEST_LINE || read.len() == MOST_LINES {
            return Err(Error::format(
                path,
                format!(
                    "line {number}: over the limit of {LONGEST_LINE} bytes a line and {MOST_LINES} \
                     lines"
                ),
            ));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        read.push(
            serde_json::from_slice(&line)
                .map_err(|e| Error::format(path, format!("line {number}: {e}")))?,
        );
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Stage, StageKey};

    #[test]
    fn groups_are_read_in_every_form_they_are_written_in() {
        let pair = |d: &str, n: &str| (d.to_owned(), n.to_owned());
        for (json, wanted) in [
            (
                r#"[["task","fqa"],["skills","a"],["skills","b"]]"#,
                vec![
                    pair("task", "fqa"),
                    pair("skills", "a"),
                    pair("skills", "b"),
                ],
            ),
            (
                r#"{"skills":["a","b"],"task":"fqa"}"#,
                vec![
                    pair("skills", "a"),
                    pair("skills", "b"),
                    pair("task", "fqa"),
                ],
            ),
            (r#"[["task"],7,["level",3],null]"#, vec![]),
            ("null", vec![]),
        ] {
            let line = format!(r#"{{"id":"1","groups":{json}}}"#);
            let read: ItemRecord = serde_json::from_str(&line).unwrap();
            assert_eq!(read.groups, wanted, "{json}");
        }
    }

    #[test]
    fn a_broken_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let good = r#"{"id":"1","response":"x","reading":"parsed","extraction":"x","prediction":"x","expected":"y","correct":false,"fallback":false,"truncated":false}"#;
        for (text, says) in [
            (format!("{good}\n\n{good}"), None),
            (String::new(), None),
            (format!("{good}\n{{\"id\":"), Some("line 2")),
            ("{}".to_owned(), Some("line 1: missing field")),
            ("\u{0}\u{0}".to_owned(), Some("line 1")),
        ] {
            std::fs::write(dir.path().join(SCORES), &text).unwrap();
            match (item_scores(dir.path()), says) {
                (Ok(read), None) => assert_eq!(read.len(), text.matches("\"id\"").count()),
                (Err(error), Some(says)) => {
                    assert!(error.to_string().contains(says), "{error}");
                }
                (read, _) => panic!("{text:?}: {read:?}"),
            }
        }
        assert!(items(dir.path()).unwrap().is_empty());
        assert!(item_scores(&dir.path().join("absent")).is_err());
        // A file with a hole of three gigabytes takes no room, and none is asked for.
        let holed = File::create(dir.path().join(SCORES)).unwrap();
        holed.set_len(3 << 30).unwrap();
        let said = item_scores(dir.path()).unwrap_err().to_string();
        assert!(said.contains("over the limit"), "{said}");
    }

    #[test]
    fn runs_are_found_at_every_level() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path();
        assert!(
            runs(out)
                .unwrap_err()
                .to_string()
                .contains("holds no benchmark run")
        );
        let names = ["mathvista.testmini/a", "mathvista.testmini/b", "mmmu.val/a"];
        for name in names {
            let run = out.join(BENCHMARKS).join(name);
            std::fs::create_dir_all(&run).unwrap();
            std::fs::write(run.join(SCORES), "").unwrap();
        }
        let benchmarks = out.join(BENCHMARKS);
        let all: Vec<PathBuf> = names.iter().map(|n| benchmarks.join(n)).collect();
        assert_eq!(runs(out).unwrap(), all);
        assert_eq!(runs(&benchmarks).unwrap(), all);
        assert_eq!(
            runs(&benchmarks.join("mathvista.testmini")).unwrap(),
            all[..2]
        );
        assert_eq!(runs(&all[2]).unwrap(), all[2..]);
        assert!(runs(&all[2].join(SCORES)).is_err());
    }

    #[test]
    fn a_score_is_read_from_a_manifest_and_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = BenchmarkScore {
            benchmark: "mathvista".to_owned(),
            correct: 3,
            total: 4,
            accuracy: 0.75,
            ..BenchmarkScore::default()
        };
        let stage = Stage::begin(dir.path(), StageKey::new("b", 0, Value::Null), true).unwrap();
        let mut manifest = Manifest::new(stage.key().clone());
        manifest.results = serde_json::to_value(&wanted).unwrap();
        stage.finish(manifest, &[]).unwrap();
        assert_eq!(score(dir.path()).unwrap(), wanted);
        let file = dir.path().join("ours.json");
        std::fs::write(&file, serde_json::to_string(&wanted).unwrap()).unwrap();
        assert_eq!(score(&file).unwrap(), wanted);
        for text in ["", "[]", "{\"correct\":", "{}"] {
            std::fs::write(&file, text).unwrap();
            let said = score(&file).unwrap_err().to_string();
            assert!(said.contains("ours.json"), "{said}");
        }
    }
}
