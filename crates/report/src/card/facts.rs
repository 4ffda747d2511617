//! What the card says, gathered from a run's folders.

use std::path::{Path, PathBuf};

use sample::{Manifest, SAMPLES, Sample};

use super::gallery;
use super::losses::{self, Losses};
use super::provenance::{self, PlanRow, Source};
use super::synthesis::{self, Synthesis};
use super::tally::{self, Tally};
use crate::Error;

/// A finished data stage.
#[derive(Debug)]
pub(crate) struct DataStage {
    pub(crate) folder: PathBuf,
    /// `import/tabmwp`, `select`.
    pub(crate) label: String,
    pub(crate) manifest: Manifest,
}

/// The finished data stages of a run.
#[derive(Debug)]
pub(crate) struct Stages {
    pub(crate) imports: Vec<DataStage>,
    /// `inspect`, `grade`, `select`, `synth`: those there are, in the order they run.
    pub(crate) later: Vec<DataStage>,
}

impl Stages {
    pub(crate) fn find(run: &Path) -> Result<Stages, Error> {
        let mut imports = Vec::new();
        if let Ok(entries) = std::fs::read_dir(run.join("import")) {
            let mut names: Vec<String> = entries
                .filter_map(|e| e.ok()?.file_name().into_string().ok())
                .collect();
            names.sort();
            for name in names {
                imports.extend(stage(run, &format!("import/{name}"))?);
            }
        }
        let mut later = Vec::new();
        for name in ["inspect", "grade", "select", "synth"] {
            later.extend(stage(run, name)?);
        }
        let found = Stages { imports, later };
        if found.pairs().is_empty() {
            return Err(Error::NoPairs(run.to_owned()));
        }
        Ok(found)
    }

    /// All, in the order they run.
    pub(crate) fn all(&self) -> impl DoubleEndedIterator<Item = &DataStage> {
        self.imports.iter().chain(&self.later)
    }

    /// Those whose pairs are the run's: the last stage with some, or all imports.
    pub(crate) fn pairs(&self) -> Vec<&DataStage> {
        let has_pairs = |s: &&DataStage| s.folder.join(SAMPLES).is_file();
        match self.later.iter().rev().find(has_pairs) {
            Some(last) => vec![last],
            None => self.imports.iter().filter(has_pairs).collect(),
        }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.all().last().map_or(0, |s| s.manifest.key.seed)
    }

    pub(crate) fn get(&self, label: &str) -> Option<&DataStage> {
        self.all().find(|s| s.label == label)
    }
}

fn stage(run: &Path, label: &str) -> Result<Option<DataStage>, Error> {
    let folder = run.join(label);
    if !folder.is_dir() {
        return Ok(None);
    }
    Ok(Manifest::read_if_any(&folder)?.map(|manifest| DataStage {
        folder,
        label: label.to_owned(),
        manifest,
    }))
}

/// All that the card says.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) seed: u64,
    /// Labels of the stages whose pairs these are.
    pub(crate) pairs_of: Vec<String>,
    pub(crate) tally: Tally,
    pub(crate) examples: Vec<Sample>,
    pub(crate) plan: Vec<PlanRow>,
    pub(crate) synthesis: Option<Synthesis>,
    pub(crate) losses: Losses,
    pub(crate) sources: Vec<Source>,
}

pub(crate) fn gather(found: &Stages, seed: u64) -> Result<Facts, Error> {
    let (tally, drawn) = tally::count(found, seed)?;
    let examples = gallery::read(found, drawn)?;
    Ok(Facts {
        seed,
        pairs_of: found.pairs().iter().map(|s| s.label.clone()).collect(),
        examples,
        plan: provenance::plan(found)?,
        synthesis: synthesis::read(found, seed)?,
        losses: losses::read(found)?,
        sources: provenance::sources(found, &tally),
        tally,
    })
}
