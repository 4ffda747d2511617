//! What a training has written down of itself.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Error;
use crate::stages::text;

/// (step, value) of one quantity.
pub type Series = Vec<(f64, f64)>;

/// One training.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Told apart by the shortest part of their paths that differs.
    pub name: String,
    pub folder: PathBuf,
    pub loss: Series,
    pub lr: Series,
    pub grad_norm: Series,
    pub tokens_per_second: Series,
    pub samples_per_second: Series,
    pub peak_share: Series,
    pub memory_mib: Series,
    pub data_seconds: Series,
    pub seconds: Series,
    /// Score of each evaluation.
    pub scores: Series,
    /// Questions with replies, of the last evaluation.
    pub answers: Vec<Value>,
    /// Whether the stage is finished.
    pub finished: bool,
}

impl Records {
    /// Reads what is there; lines that are half written are left out.
    pub fn read(folder: &Path) -> Result<Records, Error> {
        let mut records = Records {
            folder: folder.to_owned(),
            finished: folder.join("manifest.json").exists(),
            ..Records::default()
        };
        let Some(metrics) = text(&folder.join("metrics.jsonl"))? else {
            return Err(Error::NoTraining(folder.to_owned()));
        };
        for line in lines(&metrics) {
            let Some(step) = line["step"].as_f64() else {
                continue;
            };
            // A step that was left out has a loss that was not trained on.
            if line["skipped"].as_bool() == Some(true) {
                continue;
            }
            push(&mut records.loss, step, &line["loss"]);
            push(&mut records.lr, step, &line["lr"]);
            push(&mut records.grad_norm, step, &line["grad_norm"]);
        }
        let timing = text(&folder.join("timing.jsonl"))?.unwrap_or_default();
        for line in lines(&timing) {
            let Some(step) = line["step"].as_f64() else {
                continue;
            };
            push(
                &mut records.tokens_per_second,
                step,
                &line["tokens_per_second"],
            );
            push(
                &mut records.samples_per_second,
                step,
                &line["samples_per_second"],
            );
            push(&mut records.peak_share, step, &line["peak_share"]);
            push(&mut records.memory_mib, step, &line["memory_mib"]);
            push(&mut records.data_seconds, step, &line["data_seconds"]);
            push(&mut records.seconds, step, &line["seconds"]);
        }
        let evaluations = text(&folder.join("evaluations.jsonl"))?.unwrap_or_default();
        for line in lines(&evaluations) {
            let Some(step) = line["step"].as_f64() else {
                continue;
            };
            push(&mut records.scores, step, &line["score"]);
            if let Some(answers) = line["answers"].as_array() {
                records.answers.clone_from(answers);
            }
        }
        Ok(records)
    }
}

fn lines(text: &str) -> impl Iterator<Item = Value> + '_ {
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
}

fn push(series: &mut Series, step: f64, value: &Value) {
    if let Some(value) = value.as_f64().filter(|v| v.is_finite()) {
        series.push((step, value));
    }
}

/// Names each run by the shortest end of its path that no other has.
pub(super) fn name_apart(runs: &mut [Records]) {
    let parts = |records: &Records| -> Vec<String> {
        let components = records.folder.components();
        let mut parts: Vec<String> = components
            .map(|c| c.as_os_str().to_string_lossy().into_owned())
            .collect();
        // The stage's folder is called `train` in every run.
        if parts.len() > 1 && parts.last().is_some_and(|last| last == "train") {
            parts.pop();
        }
        parts
    };
    let all: Vec<Vec<String>> = runs.iter().map(parts).collect();
    let end =
        |parts: &[String], length: usize| parts[parts.len().saturating_sub(length)..].join("/");
    let longest = all.iter().map(Vec::len).max().unwrap_or(1);
    let length = (1..=longest)
        .find(|&length| {
            let mut ends: Vec<String> = all.iter().map(|parts| end(parts, length)).collect();
            ends.sort();
            ends.windows(2).all(|pair| pair[0] != pair[1])
        })
        .unwrap_or(longest);
    for (run, parts) in runs.iter_mut().zip(&all) {
        run.name = end(parts, length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_by_what_differs() {
        let run = |folder: &str| Records {
            folder: folder.into(),
            ..Records::default()
        };
        let names = |folders: &[&str]| {
            let mut runs: Vec<Records> = folders.iter().map(|f| run(f)).collect();
            name_apart(&mut runs);
            runs.into_iter().map(|r| r.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&["runs/a/train"]), ["a"]);
        assert_eq!(names(&["x/a/train", "x/b/train"]), ["a", "b"]);
        assert_eq!(names(&["x/a/1/train", "x/b/1"]), ["a/1", "b/1"]);
        assert_eq!(names(&["same", "same"]), ["same", "same"]);
    }

    #[test]
    fn half_written_lines_and_steps_left_out_are_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write(
            "metrics.jsonl",
            "{\"step\":0,\"loss\":2.5,\"lr\":0}\n{\"step\":1,\"loss\":9,\"skipped\":true}\n\
             {\"step\":2,\"loss\":null}\n[]\n{\"step\":3,\"lo",
        );
        let records = Records::read(dir.path()).unwrap();
        assert_eq!(records.loss, [(0.0, 2.5)]);
        assert!(!records.finished && records.scores.is_empty());
        let nothing = Records::read(&dir.path().join("absent")).unwrap_err();
        assert!(nothing.to_string().contains("no training"), "{nothing}");
    }
}
