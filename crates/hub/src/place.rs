//! Where files lie: in the cache that Hugging Face's tools share, or in a folder of the user's.
//!
//! The cache, as `huggingface_hub` lays it out:
//! ```text
//! models--owner--name/blobs/SUM                     the bytes, once, whatever revisions have them
//! models--owner--name/blobs/SUM.incomplete          what is not finished
//! models--owner--name/snapshots/COMMIT/config.json  a link to the blob
//! models--owner--name/refs/main                     the commit's name
//! .locks/models--owner--name/SUM.lock               held while a blob is written
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sample::{interrupt, progress};

use crate::listing::UNFINISHED;
use crate::{Destination, Error, RemoteFile, Repository, Settings};

/// Where one repository's files at one commit go.
#[derive(Debug)]
pub(crate) enum Place {
    Cache {
        /// `models--owner--name`.
        repository: PathBuf,
        locks: PathBuf,
        commit: String,
    },
    Folder {
        root: PathBuf,
    },
}

impl Place {
    pub(crate) fn new(
        settings: &Settings,
        repository: &Repository,
        commit: &str,
        destination: &Destination,
    ) -> Place {
        match destination {
            Destination::Cache => {
                let name = repository.repo().folder_name();
                Place::Cache {
                    repository: settings.cache.join(&name),
                    locks: settings.cache.join(".locks").join(&name),
                    commit: commit.to_owned(),
                }
            }
            Destination::Folder(root) => Place::Folder { root: root.clone() },
        }
    }

    /// The folder to give to other programs.
    pub(crate) fn folder(&self) -> PathBuf {
        match self {
            Place::Cache {
                repository, commit, ..
            } => repository.join("snapshots").join(commit),
            Place::Folder { root } => root.clone(),
        }
    }

    /// Where the bytes of a file lie once they are right.
    pub(crate) fn stored(&self, file: &RemoteFile) -> Result<PathBuf, Error> {
        match self {
            Place::Cache { repository, .. } => Ok(repository.join("blobs").join(file.sum.hex())),
            Place::Folder { root } => Ok(sample::safe_join(root, &file.path)?),
        }
    }

    /// Where they lie until then. The name has the sum in it, so bytes of another revision are
    /// never gone on from.
    pub(crate) fn partial(&self, file: &RemoteFile) -> PathBuf {
        let name = format!("{}.incomplete", file.sum);
        match self {
            Place::Cache { repository, .. } => repository.join("blobs").join(name),
            Place::Folder { root } => root.join(UNFINISHED).join(name),
        }
    }

    /// Keeps other programs off a file while it is fetched.
    pub(crate) fn lock(&self, file: &RemoteFile) -> Result<Lock, Error> {
        let name = format!("{}.lock", file.sum);
        match self {
            Place::Cache { locks, .. } => Lock::acquire(&locks.join(name), &file.path),
            Place::Folder { root } => Lock::acquire(&root.join(UNFINISHED).join(name), &file.path),
        }
    }

    /// Gives the partial file, complete, synced and checked, its final name.
    pub(crate) fn store(&self, file: &RemoteFile) -> Result<(), Error> {
        let stored = self.stored(file)?;
        make_parent(&stored)?;
        fs::rename(self.partial(file), &stored).map_err(|e| Error::io(&stored, e))
    }

    /// Makes a stored file visible under its own name.
    pub(crate) fn link(&self, file: &RemoteFile) -> Result<(), Error> {
        let Place::Cache { .. } = self else {
            return Ok(());
        };
        let folder = self.folder();
        make_folder(&folder)?;
        let link = folder.join(&file.path);
        make_parent(&link)?;
        let depth = file.path.split('/').count() + 1;
        let mut blob: PathBuf = std::iter::repeat_n("..", depth).collect();
        blob.push("blobs");
        blob.push(file.sum.hex());
        let stored = self.stored(file)?;
        // Another program may be setting the same link.
        for _ in 0..10 {
            if fs::read_link(&link).is_ok_and(|old| old == blob) {
                return Ok(());
            }
            match soft_or_hard_link(&blob, &stored, &link) {
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::io(link, e)),
            }
            match fs::remove_file(&link) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(Error::io(link, e)),
                _ => {}
            }
        }
        let taken = "another program keeps writing it";
        Err(Error::io(link, std::io::Error::other(taken)))
    }

    /// Notes which commit the revision meant, and clears away what is no longer needed.
    pub(crate) fn finish(&self, revision: &str) -> Result<(), Error> {
        match self {
            Place::Cache {
                repository,
                locks,
                commit,
            } if revision != commit => {
                let reference = repository.join("refs").join(revision);
                make_parent(&reference)?;
                // Two writers would use the same temporary name.
                let lock = Lock::acquire(&locks.join("refs.lock"), revision)?;
                sample::write_atomic(&reference, commit.as_bytes())?;
                lock.release(self);
                Ok(())
            }
            Place::Cache { .. } => Ok(()),
            Place::Folder { root } => {
                // Not empty where another pull is at work, or where another revision was cut.
                let _ = fs::remove_dir(root.join(UNFINISHED));
                Ok(())
            }
        }
    }
}

#[cfg(unix)]
fn soft_or_hard_link(blob: &Path, _: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(blob, link)
}

/// Links of either kind may need rights that a user of Windows has not; then there are two copies.
#[cfg(not(unix))]
fn soft_or_hard_link(_: &Path, stored: &Path, link: &Path) -> std::io::Result<()> {
    fs::hard_link(stored, link).or_else(|_| fs::copy(stored, link).map(|_| ()))
}

fn make_folder(folder: &Path) -> Result<(), Error> {
    fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))
}

pub(crate) fn make_parent(path: &Path) -> Result<(), Error> {
    path.parent().map_or(Ok(()), make_folder)
}

/// A file that is locked while this lives. The kernel lets go when the process dies.
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    fn acquire(path: &Path, name: &str) -> Result<Lock, Error> {
        make_parent(path)?;
        let mut said = false;
        loop {
            interrupt::check()?;
            let mut options = OpenOptions::new();
            options.create(true).truncate(false).write(true);
            let file = options.open(path).map_err(|e| Error::io(path, e))?;
            match file.try_lock() {
                // Whoever held it may have removed it.
                Ok(()) if is_at(&file, path) => {
                    let path = path.to_owned();
                    return Ok(Lock { file, path });
                }
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(e)) => return Err(Error::io(path, e)),
            }
            if !said {
                progress::note(&format!("{name}: another program is fetching it; waiting"));
                said = true;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Lets go, and removes the file where that is `place`'s way.
    pub(crate) fn release(self, place: &Place) {
        // The cache's locks stay, as the other tools leave them.
        if let Place::Folder { .. } = place {
            let _ = fs::remove_file(&self.path);
        }
        drop(self.file);
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |data: fs::Metadata| (data.dev(), data.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => id(ours) == id(there),
        _ => false,
    }
}

/// A file that is open cannot be removed.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sum;

    fn file(path: &str, sum: &str) -> RemoteFile {
        RemoteFile {
            path: path.into(),
            size: 1,
            sum: Sum::parse(&sum.repeat(20)).unwrap(),
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_of_an_older_try_is_set_right() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::Cache {
            repository: folder.path().join("models--a--b"),
            locks: folder.path().join(".locks"),
            commit: "c".repeat(40),
        };
        for sum in ["01", "02", "02"] {
            let file = file("deep/er/a.json", sum);
            make_parent(&place.partial(&file)).unwrap();
            fs::write(place.partial(&file), sum).unwrap();
            place.store(&file).unwrap();
            place.link(&file).unwrap();
            let seen = fs::read_to_string(place.folder().join("deep/er/a.json")).unwrap();
            assert_eq!(seen, sum);
        }
        place.finish("refs/pr/1").unwrap();
        let reference = folder.path().join("models--a--b/refs/refs/pr/1");
        assert_eq!(fs::read_to_string(reference).unwrap(), "c".repeat(40));
    }

    #[test]
    fn one_lock_is_held_once_and_a_removed_one_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        let place = Place::Folder { root: root.clone() };
        let file = file("a", "01");
        let first = place.lock(&file).unwrap();
        let (got, when) = std::sync::mpsc::channel();
        let second = std::thread::spawn(move || {
            let place = Place::Folder { root };
            let lock = place.lock(&RemoteFile { ..file }).unwrap();
            got.send(()).unwrap();
            assert!(lock.path.exists());
            lock.release(&place);
        });
        let early = when.recv_timeout(Duration::from_millis(300));
        assert!(early.is_err(), "two hold the same lock");
        first.release(&place);
        second.join().unwrap();
        place.finish("main").unwrap();
        assert!(!folder.path().join(UNFINISHED).exists());
    }
}
