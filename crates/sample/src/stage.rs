//! A stage's folder: tables, other files, and the manifest that is written last.
//!
//! **Invariant:** a folder is a finished stage if and only if it has `manifest.json`. Everything
//! else is written under a temporary name, synced and renamed, so a kill at any moment leaves
//! either the old file or the new one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;

/// File name of the manifest.
const MANIFEST: &str = "manifest.json";

/// What identifies the result of a stage: the same key gives the same bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageKey {
    /// `import`, `select`, ...
    pub stage: String,
    /// The version of this toolkit.
    pub version: String,
    /// The run's seed.
    pub seed: u64,
    /// The stage's part of the configuration, as it was used.
    pub config: serde_json::Value,
    /// Name to SHA-256 of every input: the manifests of the stages before, data files.
    pub inputs: BTreeMap<String, String>,
}

impl StageKey {
    /// A key for this version of the toolkit.
    pub fn new(stage: &str, seed: u64, config: serde_json::Value) -> Self {
        StageKey {
            stage: stage.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed,
            config,
            inputs: BTreeMap::new(),
        }
    }

    /// Adds an input by its digest.
    #[must_use]
    pub fn input(mut self, name: &str, sha256: &str) -> Self {
        self.inputs.insert(name.to_owned(), sha256.to_owned());
        self
    }

    /// What differs in `other`, for a message: `lr: 0.1 against 0.2; input train.json`.
    pub fn differences(&self, other: &StageKey) -> String {
        differences(self, other)
    }
}

/// What `manifest.json` holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// What was asked for.
    #[serde(flatten)]
    pub key: StageKey,
    /// Source name to the folder its image paths lie below; relative ones are relative to the
    /// manifest's folder.
    #[serde(default)]
    pub image_roots: BTreeMap<String, PathBuf>,
    /// What came out of it beyond counts: plans, scores.
    #[serde(default)]
    pub results: serde_json::Value,
    /// File name to SHA-256 of the files the stage vouches for.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// `samples`, `rejects`, `images`, ...: at the top level of the file.
    #[serde(flatten)]
    pub counts: BTreeMap<String, u64>,
}

impl Manifest {
    /// A manifest with nothing counted yet.
    pub fn new(key: StageKey) -> Self {
        Manifest {
            key,
            image_roots: BTreeMap::new(),
            results: serde_json::Value::Null,
            files: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Sets a count.
    pub fn count(&mut self, name: &str, n: u64) {
        self.counts.insert(name.to_owned(), n);
    }

    /// Reads the manifest of a finished stage; the error says how to make the stage where there
    /// is none.
    pub fn read(folder: &Path) -> Result<Manifest, Error> {
        match Manifest::read_if_any(folder)? {
            Some(manifest) => Ok(manifest),
            None => Err(Error::format(
                folder,
                "is not a finished stage: it has no manifest.json. Run the stage that writes it \
                 first, or again if it was stopped half way",
            )),
        }
    }

    /// Reads the manifest, or `None` where the stage is not finished.
    pub fn read_if_any(folder: &Path) -> Result<Option<Manifest>, Error> {
        let path = folder.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io(path, e)),
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|e| Error::format(path, e))
    }

    /// SHA-256 of the manifest file, by which later stages name this one as an input.
    pub fn digest(folder: &Path) -> Result<String, Error> {
        let path = folder.join(MANIFEST);
        let bytes = fs::read(&path).map_err(|e| Error::io(&path, e))?;
        Ok(sha256_hex(&bytes))
    }
}

/// A stage folder that is being written.
#[derive(Debug)]
pub struct Stage {
    folder: PathBuf,
    key: StageKey,
}

impl Stage {
    /// The manifest, if `folder` already holds the finished result of exactly `key`.
    ///
    /// # Errors
    /// [`Error::Conflict`] if it holds the result of another key, naming what differs.
    pub fn finished(folder: &Path, key: &StageKey) -> Result<Option<Manifest>, Error> {
        let Some(manifest) = Manifest::read_if_any(folder)? else {
            return Ok(None);
        };
        if manifest.key == *key {
            return Ok(Some(manifest));
        }
        Err(Error::Conflict(format!(
            "{} holds the result of another configuration ({}). Choose another output folder, or \
             give --force to replace it",
            folder.display(),
            differences(&manifest.key, key)
        )))
    }

    /// Starts (or goes on with) a stage in `folder`; with `force`, a finished stage there stops
    /// being one.
    pub fn begin(folder: &Path, key: StageKey, force: bool) -> Result<Stage, Error> {
        if !force {
            Stage::finished(folder, &key)?;
        }
        fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        let manifest = folder.join(MANIFEST);
        match fs::remove_file(&manifest) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(manifest, e)),
        }
        // Fail now, not after hours of work, where nothing can be written.
        let probe = folder.join(".writable.tmp");
        fs::write(&probe, b"").map_err(|e| Error::io(&probe, e))?;
        fs::remove_file(&probe).map_err(|e| Error::io(&probe, e))?;
        Ok(Stage {
            folder: folder.to_owned(),
            key,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The key this stage was started with.
    pub fn key(&self) -> &StageKey {
        &self.key
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Ends the stage: adds the digests of `files` (names in the folder) and writes the manifest.
    pub fn finish(self, mut manifest: Manifest, files: &[&str]) -> Result<Manifest, Error> {
        manifest.key = self.key;
        for name in files {
            let path = self.folder.join(name);
            manifest
                .files
                .insert((*name).to_owned(), file_sha256(&path)?);
        }
        let mut text =
            serde_json::to_string_pretty(&manifest).map_err(|e| Error::format(&self.folder, e))?;
        text.push('\n');
        write_atomic(&self.folder.join(MANIFEST), text.as_bytes())?;
        Ok(manifest)
    }
}

fn differences(old: &StageKey, new: &StageKey) -> String {
    let mut found = Vec::new();
    if old.stage != new.stage {
        found.push(format!("stage {} against {}", old.stage, new.stage));
    }
    if old.version != new.version {
        found.push(format!("version {} against {}", old.version, new.version));
    }
    if old.seed != new.seed {
        found.push(format!("seed {} against {}", old.seed, new.seed));
    }
    value_differences("", &old.config, &new.config, &mut found);
    for (name, digest) in &new.inputs {
        if old.inputs.get(name) != Some(digest) {
            found.push(format!("input {name}"));
        }
    }
    for name in old.inputs.keys().filter(|n| !new.inputs.contains_key(*n)) {
        found.push(format!("input {name}"));
    }
    found.truncate(6);
    found.join("; ")
}

fn value_differences(
    at: &str,
    old: &serde_json::Value,
    new: &serde_json::Value,
    found: &mut Vec<String>,
) {
    use serde_json::Value::{Null, Object};
    match (old, new) {
        (Object(a), Object(b)) => {
            for name in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                let below = if at.is_empty() {
                    name.clone()
                } else {
                    format!("{at}.{name}")
                };
                let (a, b) = (a.get(name).unwrap_or(&Null), b.get(name).unwrap_or(&Null));
                value_differences(&below, a, b, found);
            }
        }
        (a, b) if a != b => found.push(format!("{at}: {a} against {b}")),
        _ => {}
    }
}

/// SHA-256 in hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 in hex of a file, however long.
pub fn file_sha256(path: &Path) -> Result<String, Error> {
    let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(|e| Error::io(path, e))?;
    Ok(hex(&hash.finalize()))
}

/// Writes a file under a temporary name, syncs it and renames it.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let mut file = File::create(&temporary).map_err(|e| Error::io(&temporary, e))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|e| Error::io(&temporary, e))?;
    fs::rename(&temporary, path).map_err(|e| Error::io(path, e))
}

/// Joins a path found in data to the folder it must stay in.
///
/// # Errors
/// [`Error::OutsideRoot`] for absolute paths, for `..`, and for links that lead out.
pub fn safe_join(root: &Path, relative: &str) -> Result<PathBuf, Error> {
    let outside = || Error::OutsideRoot {
        root: root.to_owned(),
        path: relative.to_owned(),
    };
    let path = Path::new(relative);
    let plain = path
        .components()
        .all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if !plain || relative.is_empty() || relative.contains('\0') || relative.contains('\\') {
        return Err(outside());
    }
    let joined = root.join(path);
    // A link below the root may be the user's own, but one in an unpacked archive is not. Where the
    // path leads on through an archive, or to nothing, the part of it that exists is looked at.
    if let Ok(real_root) = root.canonicalize()
        && let Some(real) = joined.ancestors().find_map(|p| p.canonicalize().ok())
        && !real.starts_with(&real_root)
    {
        return Err(outside());
    }
    Ok(joined)
}

/// The file of a sample's image: `path` is `<source>/<below the source's root>`, `folder` the
/// stage's folder whose manifest has the roots.
pub fn resolve_image(
    folder: &Path,
    roots: &BTreeMap<String, PathBuf>,
    path: &str,
) -> Result<PathBuf, Error> {
    let (source, below) = path
        .split_once('/')
        .ok_or_else(|| Error::format(folder, format!("image path {path:?} names no source")))?;
    let root = roots.get(source).ok_or_else(|| {
        Error::format(
            folder,
            format!("the manifest has no image root for source {source:?}"),
        )
    })?;
    let root = if root.is_absolute() {
        root.clone()
    } else {
        folder.join(root)
    };
    safe_join(&root, below)
}

/// An image root from the manifest in `folder`, as the manifest in `seen_from` must have it. Both
/// folders must exist. Roots that were absolute stay so; relative ones stay relative, so that a
/// whole run can be moved.
pub fn rebase_root(folder: &Path, root: &Path, seen_from: &Path) -> Result<PathBuf, Error> {
    if root.is_absolute() {
        return Ok(root.to_owned());
    }
    let real = |path: &Path| path.canonicalize().map_err(|e| Error::io(path, e));
    let (target, base) = (real(&folder.join(root))?, real(seen_from)?);
    let shared = target
        .components()
        .zip(base.components())
        .take_while(|(a, b)| a == b)
        .count();
    // With nothing but `/` in common there is no run folder to move as a whole.
    if target
        .components()
        .take(shared)
        .all(|c| !matches!(c, Component::Normal(_)))
    {
        return Ok(target);
    }
    let up = base.components().skip(shared).map(|_| Component::ParentDir);
    Ok(up.chain(target.components().skip(shared)).collect())
}
