//! A run as it lies on disk: its stages' manifests, and the tables and logs beside them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sample::scores::{Results, Score};
use sample::{
    IMAGES, ImageRow, Manifest, REJECTS, Reject, SAMPLES, Sample, interrupt, pixels, read_table,
    resolve_image, sha256_hex,
};
use serde_json::Value;

use crate::Error;

/// The stages in the order they run; others come after them, by name.
const ORDER: [&str; 7] = [
    "import", "inspect", "grade", "select", "synth", "train", "eval",
];
/// File name of a training's log: one JSON object a line, with `step` and `loss` at least.
const METRICS: &str = "metrics.jsonl";
/// File name of an evaluation's verdicts.
const SCORES: &str = "scores.jsonl";

/// One finished stage.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) folder: PathBuf,
    /// The folder's name.
    pub(crate) name: String,
    pub(crate) manifest: Manifest,
    pub(crate) digest: String,
}

/// One point of the loss curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) step: f64,
    pub(crate) loss: f64,
}

/// All that a report shows.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) stages: Vec<Finished>,
    /// Of each stage that has some: the folder's name and the rows.
    pub(crate) rejects: Vec<(String, Vec<Reject>)>,
    /// What training was given: the pairs of the last data stage, and its folder's name.
    pub(crate) pairs: Option<(String, Vec<Sample>)>,
    /// Every sample seen in any data stage that is some synthesised pair's parent, by id.
    pub(crate) parents: BTreeMap<String, Sample>,
    /// Image digest to complexity.
    pub(crate) complexity: BTreeMap<String, u8>,
    pub(crate) losses: Vec<Point>,
    /// Lines of the training's log that could not be read.
    pub(crate) unread_metrics: usize,
    pub(crate) results: Option<Results>,
    /// The questions that were evaluated, by id.
    pub(crate) items: BTreeMap<String, Sample>,
    pub(crate) scores: Vec<Score>,
}

/// The folders of a run's finished stages: `run` itself, or folders in it and one level below, in
/// the order of their names.
pub fn stage_folders(run: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut look = vec![(run.to_owned(), 0)];
    while let Some((folder, depth)) = look.pop() {
        if Manifest::read_if_any(&folder)?.is_some_and(|m| is_reported(&m.key.stage)) {
            found.push(folder);
            continue;
        }
        if depth == 2 {
            continue;
        }
        let entries = std::fs::read_dir(&folder).map_err(|e| sample::Error::io(&folder, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| sample::Error::io(&folder, e))?;
            if entry.path().is_dir() {
                look.push((entry.path(), depth + 1));
            }
        }
    }
    if found.is_empty() {
        return Err(Error::NoStages(run.to_owned()));
    }
    found.sort();
    Ok(found)
}

impl Run {
    pub(crate) fn read(folders: &[PathBuf]) -> Result<Run, Error> {
        let mut run = Run::default();
        for folder in folders {
            let name = folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            run.stages.push(Finished {
                name,
                manifest: Manifest::read(folder)?,
                digest: Manifest::digest(folder)?,
                folder: folder.clone(),
            });
        }
        if run.stages.is_empty() {
            return Err(Error::NoStages(PathBuf::new()));
        }
        run.stages.sort_by_key(|s| {
            let stage = &s.manifest.key.stage;
            let at = ORDER.iter().position(|o| o == stage).unwrap_or(ORDER.len());
            (at, stage.clone(), s.name.clone())
        });
        run.read_data()?;
        run.read_training()?;
        run.read_evaluation()?;
        Ok(run)
    }

    fn read_data(&mut self) -> Result<(), Error> {
        let mut tables = Vec::new();
        for stage in self.stages.iter().filter(|s| is_data(s)) {
            interrupt::check()?;
            let rejects: Vec<Reject> = table(&stage.folder.join(REJECTS))?;
            if !rejects.is_empty() {
                self.rejects.push((stage.name.clone(), rejects));
            }
            // A later stage knows more of an image than an earlier one.
            for row in table::<ImageRow>(&stage.folder.join(IMAGES))? {
                if let Some(level) = row.complexity {
                    self.complexity.insert(row.image.sha256, level);
                }
            }
            let samples: Vec<Sample> = table(&stage.folder.join(SAMPLES))?;
            if !samples.is_empty() {
                tables.push((stage.name.clone(), samples));
            }
        }
        let parents: std::collections::BTreeSet<&str> = tables
            .iter()
            .flat_map(|(_, samples)| samples)
            .filter_map(|sample| parent(sample))
            .collect();
        self.parents = tables
            .iter()
            .flat_map(|(_, samples)| samples)
            .filter(|sample| parents.contains(sample.id.as_str()))
            .map(|sample| (sample.id.clone(), sample.clone()))
            .collect();
        self.pairs = tables.pop();
        Ok(())
    }

    fn read_training(&mut self) -> Result<(), Error> {
        let Some(stage) = self.stage("train") else {
            return Ok(());
        };
        let Some(text) = text(&stage.folder.join(METRICS))? else {
            return Ok(());
        };
        let (mut losses, mut unread) = (Vec::new(), 0);
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match serde_json::from_str::<Value>(line)
                .ok()
                .as_ref()
                .and_then(point)
            {
                Some(point) => losses.push(point),
                None => unread += 1,
            }
        }
        self.losses = losses;
        self.unread_metrics = unread;
        Ok(())
    }

    fn read_evaluation(&mut self) -> Result<(), Error> {
        let Some(stage) = self.stage("eval") else {
            return Ok(());
        };
        let folder = stage.folder.clone();
        let results = serde_json::from_value(stage.manifest.results.clone()).map_err(|e| {
            sample::Error::format(
                &folder,
                format!("its manifest's results are not of an evaluation of this version: {e}"),
            )
        })?;
        self.results = Some(results);
        let samples: Vec<Sample> = table(&folder.join(SAMPLES))?;
        self.items = samples.into_iter().map(|s| (s.id.clone(), s)).collect();
        let path = folder.join(SCORES);
        for (i, line) in text(&path)?.unwrap_or_default().lines().enumerate() {
            let score = serde_json::from_str(line)
                .map_err(|e| sample::Error::format(&path, format!("line {}: {e}", i + 1)))?;
            self.scores.push(score);
        }
        Ok(())
    }

    /// The last stage of that kind.
    pub(crate) fn stage(&self, stage: &str) -> Option<&Finished> {
        self.stages
            .iter()
            .rev()
            .find(|s| s.manifest.key.stage == stage)
    }

    /// The bytes of an image, from the first stage that has them: two stages may have different
    /// files of one path, and the digest tells them apart.
    pub(crate) fn image(&self, path: &str, sha256: &str) -> Option<Vec<u8>> {
        self.stages
            .iter()
            .filter_map(|s| resolve_image(&s.folder, &s.manifest.image_roots, path).ok())
            .filter_map(|file| pixels::read_bytes(&file).ok())
            .find(|bytes| sha256_hex(bytes) == sha256)
    }
}

/// Whether a report is about the stage: not the reports themselves, nor what is made for others.
fn is_reported(stage: &str) -> bool {
    !["report", crate::card::STAGE, "export"].contains(&stage)
}

/// Whether the stage makes data; an evaluation's samples are its questions.
fn is_data(stage: &Finished) -> bool {
    !matches!(
        stage.manifest.key.stage.as_str(),
        "train" | "eval" | "report"
    )
}

/// The pair a synthesised one was made from.
pub(crate) fn parent(sample: &Sample) -> Option<&str> {
    match &sample.origin {
        sample::Origin::Synth { parent, .. } => Some(parent),
        sample::Origin::Source { .. } => None,
    }
}

fn table<R: sample::Row>(path: &Path) -> Result<Vec<R>, Error> {
    if path.exists() {
        Ok(read_table(path)?)
    } else {
        Ok(Vec::new())
    }
}

pub(crate) fn text(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(sample::Error::io(path, e).into()),
    }
}

/// A line of the training's log; `None` where it has no step or no finite loss.
fn point(line: &Value) -> Option<Point> {
    let number = |name: &str| {
        line.get(name)
            .and_then(Value::as_f64)
            .filter(|x| x.is_finite())
    };
    Some(Point {
        step: number("step")?,
        loss: number("loss")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_with_a_step_and_a_finite_loss_are_points() {
        let read = |text: &str| serde_json::from_str(text).ok().as_ref().and_then(point);
        let full = read(r#"{"step": 3, "loss": 1.5, "lr": 0.1}"#).unwrap();
        assert_eq!((full.step, full.loss), (3.0, 1.5));
        for bad in [
            r#"{"loss": 1}"#,
            r#"{"step": 1}"#,
            r#"{"step": 1, "loss": "x"}"#,
            "[]",
            "3",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
