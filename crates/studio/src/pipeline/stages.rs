//! A run's stages as they lie on disk: finished, begun, or broken.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sample::Manifest;

use crate::runs::RunFolder;
use crate::{Error, Studio};

/// The stages in the order they run; others come after them, by name.
const ORDER: [&str; 8] = [
    "import",
    "inspect",
    "grade",
    "select",
    "synth",
    "train",
    "eval",
    "benchmark",
];
/// What is made for people, and is no part of the pipeline.
const PAGES: [&str; 3] = ["report", "card", "export"];
/// No manifest is longer, in bytes: that of an import with a digest for each of a million files.
const LONGEST: u64 = 128 << 20;
/// No more entries of a folder are looked at.
const MOST: usize = 2000;

/// How far a stage is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum State {
    /// It has its manifest.
    Finished(Arc<Manifest>),
    /// It has files and no manifest: it is being made, or was stopped.
    Begun,
    /// Its manifest cannot be read; why.
    Broken(String),
}

/// A stage's folder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StageFolder {
    /// Its path below the run, `import/tabmwp`.
    pub label: String,
    /// What it does: `import`.
    pub verb: String,
    pub path: PathBuf,
    pub state: State,
    /// When its manifest was written.
    pub finished: Option<SystemTime>,
}

impl StageFolder {
    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        match &self.state {
            State::Finished(manifest) => Some(manifest),
            _ => None,
        }
    }

    /// Whether it holds data to train on, rather than questions that are held out.
    pub(crate) fn is_training_data(&self) -> bool {
        !self.label.starts_with("heldout")
    }
}

impl Studio {
    /// The stages of a run, in the order they run.
    pub(crate) fn stages(&self, run: &RunFolder) -> Vec<StageFolder> {
        let mut found = Vec::new();
        let _ = self.look(&run.path, &mut Vec::new(), &mut found);
        found.sort_by_key(|s| {
            let at = ORDER
                .iter()
                .position(|o| *o == s.verb)
                .unwrap_or(ORDER.len());
            (at, s.verb.clone(), s.label.clone())
        });
        found
    }

    /// Adds the stages below `folder`; whether there is one.
    fn look(&self, folder: &Path, names: &mut Vec<String>, found: &mut Vec<StageFolder>) -> bool {
        let before = found.len();
        let Ok(entries) = std::fs::read_dir(folder) else {
            return false;
        };
        for entry in entries.flatten().take(MOST) {
            // A link is not followed: it may lead anywhere.
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let (true, Ok(name)) = (is_folder, entry.file_name().into_string()) else {
                continue;
            };
            names.push(name);
            let path = entry.path();
            if let Some(stage) = self.stage_at(&path, names) {
                if !PAGES.contains(&stage.verb.as_str()) {
                    found.push(stage);
                }
            } else {
                let deeper = may_hold_stages(names) && self.look(&path, names, found);
                if !deeper && let Some(stage) = begun(&path, names) {
                    found.push(stage);
                }
            }
            let _ = names.pop();
        }
        found.len() > before
    }

    /// The stage whose manifest lies in `path`.
    fn stage_at(&self, path: &Path, names: &[String]) -> Option<StageFolder> {
        let file = path.join("manifest.json");
        let metadata = std::fs::metadata(&file).ok()?;
        let (state, verb) = match self.manifest(path) {
            Ok(manifest) => {
                let verb = manifest.key.stage.clone();
                (State::Finished(manifest), verb)
            }
            Err(error) => (State::Broken(error.to_string()), verb(&names[0])),
        };
        Some(StageFolder {
            label: names.join("/"),
            verb,
            path: path.to_owned(),
            state,
            finished: metadata.modified().ok(),
        })
    }

    /// The manifest of the finished stage in `folder`.
    pub(crate) fn manifest(&self, folder: &Path) -> Result<Arc<Manifest>, Error> {
        let file = folder.join("manifest.json");
        let name = file.display().to_string();
        self.kept.of(&name, &[&file], || {
            let text = crate::kept::text(&file, LONGEST)?
                .ok_or_else(|| Error::NotFound(format!("{name}: there is no manifest")))?;
            let manifest = serde_json::from_str(&text);
            Ok(manifest.map_err(|e| sample::Error::format(&file, e))?)
        })
    }
}

/// Whether stages may lie below a folder that is none itself: those of one verb (`import/tabmwp`,
/// `benchmarks/mathvista.testmini/llava`), and folders of names that no stage has.
fn may_hold_stages(names: &[String]) -> bool {
    match (names[0].as_str(), names.len()) {
        ("benchmarks", 2) | ("import", 1) => true,
        (name, 1) => !ORDER.contains(&name),
        _ => false,
    }
}

/// The folder of a stage that has begun: one of the pipeline's, with something in it.
fn begun(path: &Path, names: &[String]) -> Option<StageFolder> {
    let verb = verb(&names[0]);
    let is_part = match (verb.as_str(), names.len()) {
        ("import", 2) | ("benchmark", 3) => true,
        ("import" | "benchmark", _) => false,
        (verb, 1) => ORDER.contains(&verb),
        _ => false,
    };
    if !is_part || std::fs::read_dir(path).ok()?.next().is_none() {
        return None;
    }
    Some(StageFolder {
        label: names.join("/"),
        verb,
        path: path.to_owned(),
        state: State::Begun,
        finished: None,
    })
}

/// What a folder directly below a run is for.
fn verb(name: &str) -> String {
    match name {
        "heldout" => "import",
        "benchmarks" => "benchmark",
        name => name,
    }
    .to_owned()
}
