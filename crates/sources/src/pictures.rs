//! The images that rows name or hold: checked, hashed, and written out where they lie in the rows.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use sample::{ImageRef, pixels, safe_join};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::adapters::{Fault, Picture, Record, under};
use crate::headers::Header;
use crate::tree::Tree;

/// The folder below the stage's for images that come out of rows.
const OWN: &str = "images";

/// What a picture turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    /// The image as samples refer to it.
    pub image: ImageRef,
    /// The first part of its path with the folder that it stands for, where that is not the
    /// source's own root.
    pub root: Option<(String, PathBuf)>,
}

/// What tells one picture from another, without its bytes: a digest of the name that its record
/// gives it.
pub(crate) fn key(record: &Record) -> u128 {
    match (&record.image, &record.whole) {
        (_, Some(whole)) => digest(b"whole:", &whole.image.path),
        (Picture::File(path), None) => digest(b"file:", path),
        (Picture::Bytes(name, _), None) => digest(b"bytes:", name),
        (Picture::Choices(name, ..), None) => digest(b"choices:", name),
    }
}

/// Sixteen bytes of a SHA-256: no two of even a billion names share them, and they take less memory
/// than the names.
pub(crate) fn digest(kind: &[u8], name: &str) -> u128 {
    let digest = Sha256::new()
        .chain_update(kind)
        .chain_update(name)
        .finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    u128::from_le_bytes(bytes)
}

/// Reads pictures for one import.
pub(crate) struct Pictures<'a> {
    source: &'a str,
    tree: &'a Tree,
    folder: &'a Path,
    /// Folders that were made already.
    made: Mutex<BTreeMap<PathBuf, ()>>,
}

impl<'a> Pictures<'a> {
    /// For the import of `source` from `tree` into the stage's `folder`.
    pub(crate) fn new(source: &'a str, tree: &'a Tree, folder: &'a Path) -> Pictures<'a> {
        Pictures {
            source,
            tree,
            folder,
            made: Mutex::default(),
        }
    }

    /// The file that workers may look at in place of [`Pictures::read`]; `None` where the picture is in
    /// the row, is not there, or has a name that is no text.
    pub(crate) fn item(&self, record: &Record) -> Option<String> {
        let Picture::File(path) = &record.image else {
            return None;
        };
        let file = self.tree.root().join(self.tree.file(path)?);
        file.into_os_string().into_string().ok()
    }

    /// Checks the picture's header and hashes its bytes; of a file where that is not `looked` at already.
    ///
    /// # Errors
    /// Where the stage's folder cannot be written; what is wrong with the picture is the `Fault`.
    pub(crate) fn read(
        &self,
        record: &Record,
        looked: Option<Result<Header, Fault>>,
    ) -> Result<Result<Read, Fault>, Error> {
        let drawn;
        let (shown, bytes): (&str, &[u8]) = match &record.image {
            Picture::File(path) => return self.read_file(record, path, looked),
            Picture::Bytes(name, bytes) => (name, bytes),
            Picture::Choices(name, question, choices) => {
                match crate::choices::draw(question.as_deref(), choices, |path| {
                    let file = self.tree.root().join(self.place(path)?);
                    pixels::read_bytes(&file).map_err(|f| fault(path, &f))
                }) {
                    Ok(bytes) => {
                        drawn = bytes;
                        (name, &drawn)
                    }
                    Err(fault) => return Ok(Err(fault)),
                }
            }
        };
        let header = match Header::of(bytes) {
            Ok(header) => header,
            Err(trouble) => return Ok(Err(fault(shown, &trouble))),
        };
        if let Some(whole) = &record.whole {
            return self.restored(&whole.image, None, &header.sha256, || Ok(bytes.to_vec()));
        }
        let name = format!("{shown}.{}", extension(bytes));
        let Ok(file) = safe_join(&self.folder.join(OWN), &name) else {
            return Ok(Err(outside(shown)));
        };
        self.write(&file, bytes)?;
        let component = format!("{}.rows", self.source);
        Ok(Ok(Read {
            image: referred(format!("{component}/{name}"), header),
            root: Some((component, PathBuf::from(OWN))),
        }))
    }

    fn read_file(
        &self,
        record: &Record,
        path: &str,
        looked: Option<Result<Header, Fault>>,
    ) -> Result<Result<Read, Fault>, Error> {
        let found = match self.place(path) {
            Ok(found) => found,
            Err(fault) => return Ok(Err(fault)),
        };
        let file = self.tree.root().join(&found);
        let header = match looked {
            Some(looked) => looked,
            None => Header::read(&file).map_err(|f| fault(path, &f)),
        };
        let header = match header {
            Ok(header) => header,
            Err(fault) => return Ok(Err(fault)),
        };
        if let Some(whole) = &record.whole {
            let bytes = || pixels::read_bytes(&file).map_err(|f| fault(path, &f));
            return self.restored(&whole.image, Some(&found), &header.sha256, bytes);
        }
        Ok(Ok(Read {
            image: referred(format!("{}/{found}", self.source), header),
            root: None,
        }))
    }

    /// A file's path below the root, through archives.
    fn place(&self, path: &str) -> Result<String, Fault> {
        self.tree
            .file(path)
            .ok_or_else(|| match safe_join(self.tree.root(), path) {
                Ok(_) => fault(path, &pixels::Fault::Missing),
                Err(_) => outside(path),
            })
    }

    /// An exported image, back under the path it had before.
    fn restored(
        &self,
        was: &ImageRef,
        place: Option<&str>,
        sha256: &str,
        bytes: impl FnOnce() -> Result<Vec<u8>, Fault>,
    ) -> Result<Result<Read, Fault>, Error> {
        if sha256 != was.sha256 {
            let detail = format!("{}: its bytes are not those that were exported", was.path);
            return Ok(Err(Fault::new("image_changed", detail)));
        }
        let Some((component, below)) = was.path.split_once('/') else {
            return Ok(Err(outside(&was.path)));
        };
        let plain = |s: &str| safe_join(self.folder, s).is_ok();
        if component.is_empty() || !plain(component) || !plain(below) {
            return Ok(Err(outside(&was.path)));
        }
        let root = match place
            .and_then(|p| p.strip_suffix(below))
            .and_then(|p| p.strip_suffix('/'))
        {
            Some(folder) => self.tree.root().join(folder),
            None => {
                let file = self.folder.join(OWN).join(component).join(below);
                match bytes() {
                    Ok(bytes) => self.write(&file, &bytes)?,
                    Err(fault) => return Ok(Err(fault)),
                }
                PathBuf::from(under(OWN, component))
            }
        };
        Ok(Ok(Read {
            image: was.clone(),
            root: Some((component.to_owned(), root)),
        }))
    }

    /// Brings all exported images of a component into the stage's folder, where some of them had to
    /// be written already: one component is one folder. Gives the folder.
    pub(crate) fn gather<'r>(
        &self,
        component: &str,
        read: impl Iterator<Item = &'r Read>,
    ) -> Result<PathBuf, Error> {
        let own = PathBuf::from(under(OWN, component));
        for read in read {
            let Some((of, root)) = &read.root else {
                continue;
            };
            let below = read.image.path.strip_prefix(component);
            let Some(below) = below.and_then(|p| p.strip_prefix('/')) else {
                continue;
            };
            if of != component || *root == own {
                continue;
            }
            let (from, to) = (root.join(below), self.folder.join(&own).join(below));
            self.make_folder_of(&to)?;
            // A second import into the folder finds the link there.
            if to.exists() || std::fs::hard_link(&from, &to).is_ok() {
                continue;
            }
            std::fs::copy(&from, &to).map_err(|e| sample::Error::io(&to, e))?;
        }
        Ok(own)
    }

    /// Not synced one by one, which would take longer than all else: a file that a crash spoils has
    /// another digest than its row, and inspection tells.
    fn write(&self, file: &Path, bytes: &[u8]) -> Result<(), Error> {
        self.make_folder_of(file)?;
        Ok(std::fs::write(file, bytes).map_err(|e| sample::Error::io(file, e))?)
    }

    fn make_folder_of(&self, file: &Path) -> Result<(), Error> {
        let Some(folder) = file.parent() else {
            return Ok(());
        };
        let mut made = self
            .made
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !made.contains_key(folder) {
            std::fs::create_dir_all(folder).map_err(|e| sample::Error::io(folder, e))?;
            made.insert(folder.to_owned(), ());
        }
        Ok(())
    }
}

fn referred(path: String, header: Header) -> ImageRef {
    ImageRef {
        path,
        sha256: header.sha256,
        width: header.width,
        height: header.height,
    }
}

fn fault(shown: &str, fault: &pixels::Fault) -> Fault {
    Fault::new(fault.reason(), format!("{shown}: {fault}"))
}

fn outside(path: &str) -> Fault {
    Fault::new(
        "path_outside_root",
        format!("image path {path:?} leaves the data set's folder"),
    )
}

/// The usual extension of the format that the first bytes are of.
fn extension(bytes: &[u8]) -> &'static str {
    image::guess_format(bytes)
        .ok()
        .and_then(|format| format.extensions_str().first().copied())
        .unwrap_or("bin")
}
