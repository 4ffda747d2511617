//! A model's run over one benchmark, on disk: whose replies it has, and what lies beside them.

use std::path::Path;

use sample::{Error as SampleError, Stage, StageKey, write_atomic};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::responses::RESPONSES;
use crate::Error;

pub(super) const ASKED: &str = "asked.json";
pub(super) const ITEMS: &str = "items.jsonl";
pub(super) const EXTRACTIONS: &str = "extractions.jsonl";
pub(super) const SCORES: &str = "scores.jsonl";

/// One line of `extractions.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extracted {
    /// The question's id in the benchmark.
    pub id: String,
    /// The answer found in the reply; none where nothing was.
    pub extraction: Option<String>,
    /// Who found it: `official`, `extended`, `judge`.
    pub mode: String,
    /// Whether a judge holds it right, for benchmarks that ask one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<bool>,
}

/// One line of `items.jsonl`: a question, for pages about the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BenchmarkItem {
    /// Its id in the benchmark.
    pub id: String,
    /// The question as it is published.
    pub question: String,
    /// Its choices, in order.
    pub choices: Vec<String>,
    /// The right answer, where it is published.
    pub answer: Option<String>,
    /// What the model was asked.
    pub query: String,
    /// Dimension and name of each group it counts in.
    pub groups: Vec<(String, String)>,
    /// The files of the images that were shown, in order.
    pub images: Vec<String>,
}

/// Whether the folder has replies to exactly `key`, or has begun to; false where it has none.
///
/// **Invariant:** replies are trusted only beside an `asked.json` that says whose they are.
///
/// # Errors
/// Where it has replies to something else.
pub(super) fn has_replies_to(folder: &Path, key: &StageKey) -> Result<bool, Error> {
    let path = folder.join(ASKED);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        // Replies that nobody says the origin of are not ours to remove: judged as an unreadable file.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            if !folder.join(RESPONSES).exists() {
                return Ok(false);
            }
            Vec::new()
        }
        Err(e) => return Err(SampleError::io(path, e).into()),
    };
    match serde_json::from_slice::<StageKey>(&bytes) {
        Ok(found) if found == *key => Ok(true),
        Ok(found) => Err(other_replies(folder, &found, key)),
        Err(_) => Err(SampleError::Conflict(format!(
            "{} does not say whose replies lie beside it; give --force to ask anew",
            path.display()
        ))
        .into()),
    }
}

/// Takes the folder for the replies to `key`; what else was said there is removed.
pub(super) fn claim(stage: &Stage, key: &StageKey) -> Result<(), Error> {
    let old = stage.path(RESPONSES);
    match std::fs::remove_file(&old) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(SampleError::io(old, e).into());
        }
        _ => {}
    }
    let path = stage.path(ASKED);
    let mut text = serde_json::to_vec_pretty(key).map_err(|e| SampleError::format(&path, e))?;
    text.push(b'\n');
    Ok(write_atomic(&path, &text)?)
}

fn other_replies(folder: &Path, found: &StageKey, wanted: &StageKey) -> Error {
    SampleError::Conflict(format!(
        "{} holds replies that were asked for otherwise ({}). Choose another output folder, or give \
         --force to ask anew",
        folder.display(),
        found.differences(wanted)
    ))
    .into()
}

/// The questions in the benchmark's order, with what was shown.
pub(super) fn items(plan: &Plan<'_>) -> Vec<BenchmarkItem> {
    let rows = plan.items.iter().zip(&plan.prompts).zip(&plan.images);
    rows.map(|((item, prompt), images)| BenchmarkItem {
        id: item.id.clone(),
        question: item.question.clone(),
        choices: item.choices.clone(),
        answer: item.answer.clone(),
        query: prompt.clone(),
        groups: item.groups.clone(),
        images: images
            .iter()
            .flatten()
            .map(|image| {
                let path = std::path::absolute(&image.path);
                path.unwrap_or_else(|_| image.path.clone())
                    .display()
                    .to_string()
            })
            .collect(),
    })
    .collect()
}

pub(super) fn write_lines<T: Serialize>(path: &Path, rows: &[T]) -> Result<(), Error> {
    let mut text = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut text, row).map_err(|e| SampleError::format(path, e))?;
        text.push(b'\n');
    }
    Ok(write_atomic(path, &text)?)
}

pub(super) fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, Error> {
    let bytes = std::fs::read(path).map_err(|e| SampleError::io(path, e))?;
    let mut rows = Vec::new();
    for (i, line) in bytes.split(|&b| b == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        rows.push(serde_json::from_slice(line).map_err(|e| Error::Responses {
            path: path.to_owned(),
            line: i + 1,
            detail: e.to_string(),
        })?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_unknown_origin_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let key = StageKey::new("benchmark", 1, serde_json::json!({}));
        assert!(!has_replies_to(folder.path(), &key).unwrap());
        std::fs::write(folder.path().join(RESPONSES), "{}\n").unwrap();
        let error = has_replies_to(folder.path(), &key).unwrap_err().to_string();
        assert!(error.contains("--force"), "{error}");
        std::fs::write(folder.path().join(ASKED), serde_json::to_vec(&key).unwrap()).unwrap();
        assert!(has_replies_to(folder.path(), &key).unwrap());
    }
}
