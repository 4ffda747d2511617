//! Runs by name: every folder with finished or begun stages below the one that the studio was given.

use std::path::{Path, PathBuf};

use crate::{Error, Studio};

/// How deep runs may lie below the studio's folder.
const DEPTH: usize = 3;
/// No more runs are listed.
const MOST: usize = 2000;
/// Folders of stages; one of these makes its parent a run.
const STAGES: [&str; 8] = [
    "import",
    "inspect",
    "grade",
    "select",
    "synth",
    "train",
    "eval",
    "benchmarks",
];

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunFolder {
    /// Its path below the studio's folder, with `/`; the studio's own folder is its last name.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
}

impl RunFolder {
    /// Its name as one segment of an address.
    pub fn segment(&self) -> String {
        segment(&self.name)
    }
}

/// Text as one segment of an address.
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Refuses a folder that is not there.
pub(crate) fn check(runs: &Path) -> Result<(), Error> {
    if runs.is_dir() {
        return Ok(());
    }
    Err(Error::NotFound(format!(
        "{}: there is no such folder; give the one that your runs lie in, or one run",
        runs.display()
    )))
}

impl Studio {
    /// All runs, by name.
    pub(crate) fn runs(&self) -> Vec<RunFolder> {
        let Some(root) = &self.options.runs else {
            return Vec::new();
        };
        let mut found = Vec::new();
        look(root, &mut Vec::new(), &mut found);
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// The run of a name. Only what [`Studio::runs`] lists is found, so no name leads elsewhere.
    pub(crate) fn run(&self, name: &str) -> Result<RunFolder, Error> {
        let runs = self.runs();
        let all = || {
            let names: Vec<&str> = runs.iter().take(20).map(|r| r.name.as_str()).collect();
            names.join(", ")
        };
        match runs.iter().find(|run| run.name == name) {
            Some(run) => Ok(run.clone()),
            None => Err(Error::NotFound(format!(
                "there is no run {name:?}; there are: {}",
                all()
            ))),
        }
    }
}

fn look(folder: &Path, names: &mut Vec<String>, found: &mut Vec<RunFolder>) {
    if found.len() >= MOST {
        return;
    }
    if STAGES.iter().any(|stage| folder.join(stage).is_dir()) {
        let name = if names.is_empty() {
            let own = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
            own.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        } else {
            names.join("/")
        };
        found.push(RunFolder {
            name,
            path: folder.to_owned(),
        });
        return;
    }
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    if names.len() == DEPTH {
        return;
    }
    for entry in entries.flatten() {
        // A link is not followed: it may lead anywhere.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if let (true, Ok(name)) = (is_folder, entry.file_name().into_string()) {
            names.push(name);
            look(&entry.path(), names, found);
            let _ = names.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StudioOptions;

    fn studio(root: &Path) -> Studio {
        Studio::open(StudioOptions {
            runs: Some(root.to_owned()),
            models: Vec::new(),
        })
        .unwrap()
    }

    #[test]
    fn runs_are_folders_with_stages_and_nothing_else_is_found() {
        let root = tempfile::tempdir().unwrap();
        for run in ["a", "b/seed-1", "b/seed-2", "c/d/e/f"] {
            std::fs::create_dir_all(root.path().join(run).join("select")).unwrap();
        }
        std::fs::create_dir_all(root.path().join("empty")).unwrap();
        let studio = studio(root.path());
        let names: Vec<String> = studio.runs().into_iter().map(|r| r.name).collect();
        assert_eq!(names, ["a", "b/seed-1", "b/seed-2"]);
        assert_eq!(
            studio.run("b/seed-1").unwrap().path,
            root.path().join("b/seed-1")
        );
        for name in ["../a", "a/../b", "/etc", "", ".", "b", "a/"] {
            assert!(studio.run(name).is_err(), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_folder_are_not_followed() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(outside.path().join("select")).unwrap();
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("link")).unwrap();
        assert_eq!(studio(root.path()).runs(), []);
    }

    #[test]
    fn a_folder_that_is_a_run_is_the_only_one() {
        let root = tempfile::tempdir().unwrap();
        let run = root.path().join("tiny");
        std::fs::create_dir_all(run.join("import")).unwrap();
        let runs = studio(&run).runs();
        assert_eq!(runs.len(), 1);
        assert_eq!(
            (runs[0].name.as_str(), runs[0].segment().as_str()),
            ("tiny", "tiny")
        );
        assert_eq!(segment("a/b c%"), "a%2Fb%20c%25");
    }
}
