//! Which tables of a run can be looked through row by row.
//!
//! A stage's folder has tables of known names; only those of finished stages are listed, and a folder
//! is never walked: beside its tables a stage may keep a hundred thousand images.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sample::{IMAGES, PAIRS, REJECTS, SAMPLES};

use crate::Error;
use crate::runs::RunFolder;

/// A stage's folder is finished with this file, written last.
const MANIFEST: &str = "manifest.json";
/// The stages that make data, in the order in which they follow each other; others come after.
const ORDER: [&str; 5] = ["import", "inspect", "grade", "select", "synth"];

/// What a table's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Questions about images.
    Samples,
    /// Rows that could not be used.
    Rejects,
    /// What a teacher made, kept or not.
    Pairs,
}

/// The tables that are known, by file name.
const KNOWN: [(&str, Kind); 4] = [
    (SAMPLES, Kind::Samples),
    (select::HELDOUT, Kind::Samples),
    (PAIRS, Kind::Pairs),
    (REJECTS, Kind::Rejects),
];

/// A finished stage's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StageFolder {
    /// Its path below the run's, with `/`: `import/tabmwp`.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Tells this manifest from any that is written later: a manifest is renamed into its place, so
    /// file number, time and length together never stay when it is written again.
    pub stamp: u64,
}

/// A table of a finished stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// The stage's name and the file's without its ending: `synth/samples`.
    pub name: String,
    /// What its rows are.
    pub kind: Kind,
    /// The file.
    pub file: PathBuf,
    /// The stage.
    pub stage: StageFolder,
}

/// The finished stages of a run, in the order in which they follow each other.
pub(crate) fn stages(run: &Path) -> Vec<StageFolder> {
    let mut found = Vec::new();
    for (name, path) in folders(run) {
        if let Some(stamp) = stamp(&path) {
            found.push(StageFolder { name, path, stamp });
            continue;
        }
        for (below, path) in folders(&path) {
            if let Some(stamp) = stamp(&path) {
                let name = format!("{name}/{below}");
                found.push(StageFolder { name, path, stamp });
            }
        }
    }
    found.sort_by_cached_key(|stage| (order(&stage.name), stage.name.clone()));
    found
}

fn order(name: &str) -> usize {
    let first = name.split('/').next().unwrap_or(name);
    let at = ORDER.iter().position(|stage| *stage == first);
    at.unwrap_or(ORDER.len())
}

/// Folders in a folder; a link is not followed, since it may lead anywhere.
fn folders(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect()
}

fn stamp(folder: &Path) -> Option<u64> {
    let meta = std::fs::symlink_metadata(folder.join(MANIFEST)).ok()?;
    let mut hash = DefaultHasher::new();
    (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()).hash(&mut hash);
    meta.is_file().then(|| hash.finish())
}

/// The stamps of all stages of a run together.
pub(crate) fn whole_stamp(stages: &[StageFolder]) -> u64 {
    let mut hash = DefaultHasher::new();
    for stage in stages {
        (&stage.name, stage.stamp).hash(&mut hash);
    }
    hash.finish()
}

/// The tables of these stages.
pub(crate) fn tables(stages: &[StageFolder]) -> Vec<Listed> {
    let mut found = Vec::new();
    for stage in stages {
        for (file, kind) in KNOWN {
            let path = stage.path.join(file);
            if path.is_file() {
                let table = file.strip_suffix(".parquet").unwrap_or(file);
                found.push(Listed {
                    name: format!("{}/{table}", stage.name),
                    kind,
                    file: path,
                    stage: stage.clone(),
                });
            }
        }
    }
    found
}

/// The table of that name, or the samples of the last data stage.
///
/// # Errors
/// Where the run has no such table, or none at all.
pub(crate) fn choose(
    run: &RunFolder,
    tables: &[Listed],
    name: Option<&str>,
) -> Result<Listed, Error> {
    let found = match name {
        Some(name) => tables.iter().find(|table| table.name == name),
        None => {
            let made = |table: &&Listed| order(&table.name) < ORDER.len();
            let samples =
                |table: &&Listed| table.kind == Kind::Samples && table.file.ends_with(SAMPLES);
            let last = tables.iter().filter(samples).rev().find(made);
            last.or_else(|| tables.iter().find(samples))
                .or_else(|| tables.first())
        }
    };
    found.cloned().ok_or_else(|| {
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        Error::NotFound(match (name, names.as_slice()) {
            (_, []) => format!(
                "the run {} has no table of a finished stage yet; come back when its first stage is done",
                run.name
            ),
            (name, names) => format!(
                "the run {} has no table {:?}; there are: {}",
                run.name,
                name.unwrap_or_default(),
                names.join(", ")
            ),
        })
    })
}

/// The tables of images of a stage, those that are held out last.
pub(crate) fn image_tables(stage: &StageFolder) -> Vec<PathBuf> {
    let names = [
        select::inspect::FINGERPRINTS,
        IMAGES,
        select::HELDOUT_IMAGES,
    ];
    let paths = names.map(|name| stage.path.join(name));
    paths.into_iter().filter(|path| path.is_file()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(run: &Path, name: &str, files: &[&str]) {
        let folder = run.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for file in files {
            std::fs::write(folder.join(file), b"{}").unwrap();
        }
    }

    fn run(path: &Path) -> RunFolder {
        RunFolder {
            name: "r".into(),
            path: path.to_owned(),
        }
    }

    #[test]
    fn tables_of_finished_stages_are_listed_in_the_order_of_work_and_the_last_data_stage_is_shown()
    {
        let dir = tempfile::tempdir().unwrap();
        let done = [MANIFEST, SAMPLES, REJECTS];
        stage(dir.path(), "synth", &[MANIFEST, SAMPLES, PAIRS]);
        stage(dir.path(), "import/b", &done);
        stage(dir.path(), "import/a", &done);
        stage(dir.path(), "eval", &done);
        stage(dir.path(), "select", &[MANIFEST, SAMPLES, select::HELDOUT]);
        stage(dir.path(), "import/begun", &[SAMPLES]);
        let tables = tables(&stages(dir.path()));
        let names: Vec<&str> = tables.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "import/a/samples",
                "import/a/rejects",
                "import/b/samples",
                "import/b/rejects",
                "select/samples",
                "select/heldout",
                "synth/samples",
                "synth/pairs",
                "eval/samples",
                "eval/rejects",
            ]
        );
        let run = run(dir.path());
        assert_eq!(choose(&run, &tables, None).unwrap().name, "synth/samples");
        assert_eq!(
            choose(&run, &tables, Some("import/a/rejects"))
                .unwrap()
                .kind,
            Kind::Rejects
        );
        for name in ["import/begun/samples", "../r/synth/samples", "", "synth"] {
            let said = choose(&run, &tables, Some(name)).unwrap_err().to_string();
            assert!(said.contains("select/heldout"), "{name}: {said}");
        }
        assert!(
            choose(&run, &[], None)
                .unwrap_err()
                .to_string()
                .contains("no table")
        );
    }

    #[test]
    fn a_stage_that_is_written_again_has_another_stamp() {
        let dir = tempfile::tempdir().unwrap();
        stage(dir.path(), "select", &[MANIFEST, SAMPLES]);
        let before = stages(dir.path());
        assert_eq!(before, stages(dir.path()));
        sample::write_atomic(&dir.path().join("select").join(MANIFEST), b"{}").unwrap();
        let after = stages(dir.path());
        assert_ne!(before[0].stamp, after[0].stamp);
        assert_ne!(whole_stamp(&before), whole_stamp(&after));
    }
}
