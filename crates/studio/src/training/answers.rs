//! What a model said to the same questions at each evaluation of its training.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray};
use sample::scan::Table;
use serde_json::Value;

use super::folder;
use crate::kept::borrowed;
use crate::runs::RunFolder;
use crate::{Error, Studio};

/// Of a longer file only the end is read, in bytes.
const MOST_BYTES: u64 = 16 << 20;
/// Evaluations that are shown, the last ones.
const MOST_EVALUATIONS: usize = 24;
/// Questions that are shown.
const MOST_QUESTIONS: usize = 40;

/// A reply at one evaluation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub step: f64,
    pub text: String,
    pub correct: bool,
}

/// A question and what was said to it, over time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Asked {
    pub id: String,
    pub question: String,
    pub reference: String,
    pub replies: Vec<Reply>,
    /// Its image's digest, where the run's tables have the question.
    pub image: Option<String>,
}

/// The evaluations of a training.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Evaluations {
    /// (step, score)
    pub scores: Vec<(f64, f64)>,
    pub asked: Vec<Asked>,
}

impl Studio {
    /// What a run's evaluations say.
    pub(super) fn evaluations(
        &self,
        run: &RunFolder,
    ) -> Result<std::sync::Arc<Evaluations>, Error> {
        let path = folder(run).join("evaluations.jsonl");
        self.kept.of(&path.display().to_string(), &[&path], || {
            let mut found = read(&path)?;
            let ids: BTreeSet<&str> = found.asked.iter().map(|a| a.id.as_str()).collect();
            let images = self.images_of(run, &ids);
            for asked in &mut found.asked {
                asked.image = images.get(&asked.id).cloned();
            }
            Ok(found)
        })
    }

    /// The digests of the questions' images, from the tables that may have them. Which questions a training
    /// asks does not change, so this is looked up once.
    fn images_of(&self, run: &RunFolder, ids: &BTreeSet<&str>) -> BTreeMap<String, String> {
        if ids.is_empty() {
            return BTreeMap::new();
        }
        let tables = tables(run);
        let names: Vec<&str> = ids.iter().copied().collect();
        let name = format!(
            "{} images of {}",
            run.path.display(),
            sample::sha256_hex(names.join("\n").as_bytes())
        );
        let found = self.kept.of(&name, &borrowed(&tables), || {
            let mut found = BTreeMap::new();
            for table in &tables {
                if found.len() == ids.len() {
                    break;
                }
                // A table that is being written, or is none, has no images to show.
                let _ = look_up(table, ids, &mut found);
            }
            Ok(found)
        });
        found.map(|found| (*found).clone()).unwrap_or_default()
    }
}

/// Tables in which a training's questions may be: what was held out first.
fn tables(run: &RunFolder) -> Vec<PathBuf> {
    let mut tables = Vec::new();
    let heldout = run.path.join("heldout");
    let mut below: Vec<PathBuf> = std::fs::read_dir(&heldout)
        .into_iter()
        .flatten()
        .flatten()
        .take(100)
        .map(|entry| entry.path().join("samples.parquet"))
        .collect();
    below.sort();
    tables.push(heldout.join("samples.parquet"));
    tables.extend(below);
    for name in [
        "select/heldout.parquet",
        "synth/samples.parquet",
        "select/samples.parquet",
    ] {
        tables.push(run.path.join(name));
    }
    tables.retain(|table| table.is_file());
    tables
}

fn look_up(
    table: &Path,
    ids: &BTreeSet<&str>,
    found: &mut BTreeMap<String, String>,
) -> Result<(), Error> {
    for batch in Table::open(table)?.batches(&["id", "image_sha256"])? {
        let batch = batch?;
        let column = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>();
        let (Some(id), Some(sha256)) = (column("id"), column("image_sha256")) else {
            return Ok(());
        };
        for row in 0..batch.num_rows() {
            if id.is_valid(row) && sha256.is_valid(row) && ids.contains(id.value(row)) {
                found
                    .entry(id.value(row).to_owned())
                    .or_insert_with(|| sha256.value(row).to_owned());
            }
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Evaluations, Error> {
    let mut found = Evaluations::default();
    let text = end_of(path)?;
    let lines: Vec<Value> = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let shown = lines.len().saturating_sub(MOST_EVALUATIONS);
    for (number, line) in lines.iter().enumerate() {
        let Some(step) = line["step"].as_f64().filter(|s| s.is_finite()) else {
            continue;
        };
        if let Some(score) = line["score"].as_f64().filter(|s| s.is_finite()) {
            // A training that goes on from a checkpoint evaluates again.
            found.scores.retain(|(before, _)| *before < step);
            found.scores.push((step, score));
        }
        if number < shown {
            continue;
        }
        for answer in line["answers"].as_array().into_iter().flatten() {
            let word = |name: &str| answer[name].as_str().unwrap_or_default().to_owned();
            let id = word("id");
            let place = match places.get(&id) {
                Some(place) => *place,
                None if found.asked.len() == MOST_QUESTIONS => continue,
                None => {
                    found.asked.push(Asked {
                        id: id.clone(),
                        question: word("question"),
                        reference: word("reference"),
                        ..Asked::default()
                    });
                    let _ = places.insert(id, found.asked.len() - 1);
                    found.asked.len() - 1
                }
            };
            let replies = &mut found.asked[place].replies;
            replies.retain(|before| before.step < step);
            replies.push(Reply {
                step,
                text: word("reply"),
                correct: answer["correct"].as_bool() == Some(true),
            });
        }
    }
    Ok(found)
}

/// The end of a file, from where a line begins; nothing where there is no file.
fn end_of(path: &Path) -> Result<Vec<u8>, Error> {
    let fail = |e| Error::from(sample::Error::io(path, e));
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(fail(e)),
    };
    let length = file.metadata().map_err(fail)?.len();
    let from = length.saturating_sub(MOST_BYTES);
    file.seek(SeekFrom::Start(from)).map_err(fail)?;
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text).map_err(fail)?;
    if from > 0 {
        let begin = text.iter().position(|byte| *byte == b'\n');
        let _ = text.drain(..begin.map_or(text.len(), |at| at + 1));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_to_a_question_stand_in_the_order_of_the_steps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("evaluations.jsonl");
        assert_eq!(read(&path).unwrap(), Evaluations::default());
        let line = |step: u32, reply: &str, correct: bool| {
            serde_json::json!({"step": step, "score": 0.5, "answers": [
                {"id": "a", "question": "q", "reference": "r", "reply": reply, "correct": correct}
            ]})
        };
        let text = format!(
            "{}\nnot json\n{}\n{}\n{{\"step\":9,\"sco",
            line(1, "x", false),
            line(5, "old", true),
            line(4, "y", true)
        );
        std::fs::write(&path, text).unwrap();
        let found = read(&path).unwrap();
        assert_eq!(found.scores, [(1.0, 0.5), (4.0, 0.5)]);
        let replies = &found.asked[0].replies;
        let said: Vec<(f64, &str, bool)> = replies
            .iter()
            .map(|r| (r.step, r.text.as_str(), r.correct))
            .collect();
        assert_eq!(said, [(1.0, "x", false), (4.0, "y", true)]);
    }

    #[test]
    fn of_a_giant_file_the_end_is_read_from_a_whole_line_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("evaluations.jsonl");
        let mut text = vec![b'x'; MOST_BYTES as usize];
        text.extend_from_slice(b"\n{\"step\":3,\"score\":1}\n");
        std::fs::write(&path, text).unwrap();
        assert_eq!(read(&path).unwrap().scores, [(3.0, 1.0)]);
    }
}
