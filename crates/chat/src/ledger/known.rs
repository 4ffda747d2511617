//! A ledger beside another that is only looked at: what a worker's own ledger need not ask again.
//!
//! Workers who split a run each write a ledger of their own, and all look at the run's. **Invariant:**
//! while a worker looks, nobody writes what it looks at: it holds the lock as a reader.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::{Connection, OptionalExtension};

use super::{Error, Ledger, beside, entry, locked, read_connection, schema, unknown};
use crate::Settled;
use schema::Found;

/// The ledger that is looked at.
pub(super) struct Known {
    reading: Mutex<Connection>,
    path: PathBuf,
    _lock: Option<File>,
}

impl Known {
    pub(super) fn settled(&self, digest: &str) -> Result<Option<Settled>, Error> {
        self.read(|connection| entry::settlement(connection, digest))
    }

    pub(super) fn is_settled(&self, digest: &str) -> Result<bool, Error> {
        let state = self.read(|connection| {
            connection
                .prepare_cached("SELECT state != 'open' FROM requests WHERE digest = ?1")?
                .query_row([digest], |row| row.get(0))
                .optional()
        })?;
        Ok(state.unwrap_or(false))
    }

    fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        work(&locked(&self.reading)).map_err(|e| Error::new(self.path.display(), e))
    }
}

impl Ledger {
    /// The same ledger, for which what the one in the file `path` has settled is settled too. That one is
    /// not written; where there is none, nothing changes.
    ///
    /// # Errors
    /// Where the file is no ledger, or, if this one is written, another process writes that one or batches
    /// of it are open: what waits in them would be asked for again.
    pub fn beside_known(mut self, path: &Path) -> Result<Ledger, Error> {
        let fail = |detail: String| Error::new(path.display(), detail);
        if !path.is_file() {
            return Ok(self);
        }
        let lock = match self.writing {
            Some(_) => Some(as_reader(path)?),
            None => None,
        };
        let reading = read_connection(path)?;
        match schema::find(&reading).map_err(|e| fail(e.to_string()))? {
            Found::Ledger => {}
            Found::Empty => return Ok(self),
            found => return Err(fail(unknown(&found))),
        }
        let open: u64 = reading
            .query_row(
                "SELECT count(*) FROM batches WHERE state != 'ended'",
                [],
                |row| row.get(0),
            )
            .map_err(|e| fail(e.to_string()))?;
        if open > 0 && self.writing.is_some() {
            return Err(fail(format!(
                "{open} batches of it are still open, and a shard would ask again for what waits in them; \
                 give the same command without --shard until they have ended"
            )));
        }
        self.known = Some(Known {
            reading: Mutex::new(reading),
            path: path.to_owned(),
            _lock: lock,
        });
        Ok(self)
    }

    /// Writes down something about the ledger as a whole, under a name of the caller's.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn note(&self, name: &str, text: &str) -> Result<(), Error> {
        self.write(|connection| {
            connection
                .execute(
                    "INSERT OR REPLACE INTO meta VALUES ('note ' || ?1, ?2)",
                    [name, text],
                )
                .map(drop)
        })
    }

    /// What [`Ledger::note`] wrote last under this name.
    ///
    /// # Errors
    /// Where the ledger cannot be read.
    pub fn noted(&self, name: &str) -> Result<Option<String>, Error> {
        self.read(|connection| {
            connection
                .query_row(
                    "SELECT value FROM meta WHERE key = 'note ' || ?1",
                    [name],
                    |row| row.get(0),
                )
                .optional()
        })
    }
}

/// The lock of a ledger, as one of those who read it.
fn as_reader(path: &Path) -> Result<File, Error> {
    let fail = |detail: String| Error::new(path.display(), detail);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(beside(path, ".lock"))
        .map_err(|e| fail(format!("cannot make its lock: {e}")))?;
    match lock.try_lock_shared() {
        Ok(()) => Ok(lock),
        Err(std::fs::TryLockError::WouldBlock) => Err(fail(
            "another process writes it; shards start when that one has ended".into(),
        )),
        Err(std::fs::TryLockError::Error(e)) => Err(fail(format!("cannot be locked: {e}"))),
    }
}
