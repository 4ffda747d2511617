//! The ledger: every request, every try, every reply, and what they cost, in one SQLite file.
//!
//! **Invariants:** a reply is on disk before it is used; a request is on disk as sent before it is
//! sent; a request that is settled here is never sent again; one process at a time writes. So a
//! kill at any moment costs at most the replies that were on their way, and those are known by name.
//! No key and no image enters it, only images' digests.
//!
//! "On disk" is meant: the log is synced at each commit (`synchronous = FULL`), so a power cut loses
//! no more than a kill. Many events share a commit, which makes that cheap.

mod batches;
mod entry;
mod known;
mod means;
mod merge;
mod query;
mod schema;
mod status;
mod writer;

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

pub use batches::{Batch, BatchStage, Waiting};
pub use entry::{Ended, Sent, Verdict};
pub use means::Calibration;
pub use merge::Merged;
pub use query::Rows;
pub use status::{Group, ModelSpend, Outcome, Status, VerdictCount};
pub use writer::Recorder;

pub(crate) use status::table;

use crate::{Reply, Request};
use schema::Found;

/// What can go wrong with a ledger.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the ledger {path}: {detail}")]
pub struct Error {
    path: String,
    detail: String,
}

impl Error {
    fn new(path: impl ToString, detail: impl ToString) -> Error {
        Error {
            path: path.to_string(),
            detail: detail.to_string(),
        }
    }
}

/// What became of a request for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// It was answered.
    Replied(Reply),
    /// It will not be, for a reason that asking again does not mend.
    Refused {
        /// A short fixed word, `unanswerable`, `refused`, `invalid_request`.
        reason: String,
        /// The exact trouble.
        detail: String,
    },
}

/// How a request stands, before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Standing {
    /// It has its reply, or never will.
    pub settled: bool,
    /// How often it was tried.
    pub tries: u32,
    /// The batch that it waits in.
    pub batch: Option<i64>,
}

/// What is spent on a model.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Spent {
    /// Known.
    pub cost: f64,
    /// What may have been spent on tries whose replies were lost, or may yet be in batches.
    pub reserved: f64,
}

/// The ledger.
pub struct Ledger {
    path: PathBuf,
    // Dropped in this order: the thread ends, the file closes, the next process may open.
    writer: Option<writer::Writer>,
    writing: Option<Arc<Mutex<Connection>>>,
    reading: Option<Mutex<Connection>>,
    /// Another, whose settled requests are settled here too.
    known: Option<known::Known>,
    _lock: Option<File>,
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match mutex.lock() {
        Ok(guard) => guard,
        // A panic elsewhere leaves a transaction rolled back, not half done.
        Err(poisoned) => poisoned.into_inner(),
    }
}

impl Ledger {
    /// Opens the ledger in this file, or starts one. What was on its way when an earlier process
    /// ended is marked as lost, apart from batches, which go on without us.
    ///
    /// # Errors
    /// Where the file is no ledger, cannot be written, or is open in another process.
    pub fn open(path: &Path) -> Result<Ledger, Error> {
        let fail = |detail: String| Error::new(path.display(), detail);
        let lock_path = beside(path, ".lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|e| fail(format!("cannot make {}: {e}", lock_path.display())))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(fail(
                    "another process works with it; wait for that one to end, or look with --status"
                        .into(),
                ));
            }
            Err(std::fs::TryLockError::Error(e)) => {
                return Err(fail(format!("cannot lock {}: {e}", lock_path.display())));
            }
        }
        let writing = Connection::open(path).map_err(|e| fail(e.to_string()))?;
        prepare(&writing, path)?;
        lose(&writing).map_err(|e| fail(e.to_string()))?;
        let reading = read_connection(path)?;
        Self::start(path.to_owned(), writing, Some(reading), Some(lock))
    }

    /// A ledger that goes away with the value.
    pub fn in_memory() -> Result<Ledger, Error> {
        let path = Path::new("in memory");
        let writing = Connection::open_in_memory().map_err(|e| Error::new(path.display(), e))?;
        prepare(&writing, path)?;
        Self::start(path.to_owned(), writing, None, None)
    }

    /// Opens a ledger to look at, also while another process writes.
    ///
    /// # Errors
    /// Where there is no ledger in this file.
    pub fn read_only(path: &Path) -> Result<Ledger, Error> {
        let reading = read_connection(path)?;
        match schema::find(&reading).map_err(|e| Error::new(path.display(), e))? {
            Found::Ledger => Ok(Ledger {
                path: path.to_owned(),
                writer: None,
                writing: None,
                reading: Some(Mutex::new(reading)),
                known: None,
                _lock: None,
            }),
            Found::Empty => Err(Error::new(path.display(), "is empty")),
            found => Err(Error::new(path.display(), unknown(&found))),
        }
    }

    fn start(
        path: PathBuf,
        writing: Connection,
        reading: Option<Connection>,
        lock: Option<File>,
    ) -> Result<Ledger, Error> {
        let writing = Arc::new(Mutex::new(writing));
        let writer = writer::Writer::start(Arc::clone(&writing), &path.display().to_string())?;
        Ok(Ledger {
            path,
            writer: Some(writer),
            writing: Some(writing),
            reading: reading.map(Mutex::new),
            known: None,
            _lock: lock,
        })
    }

    /// Reads, beside whatever is being written.
    fn read<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let done = match (&self.reading, &self.writing) {
            (Some(reading), _) => work(&mut locked(reading)),
            (None, Some(writing)) => work(&mut locked(writing)),
            (None, None) => return Err(self.error("is closed")),
        };
        done.map_err(|e| self.error(e))
    }

    /// Writes at once, in one transaction.
    fn write<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let Some(writing) = &self.writing else {
            return Err(self.error("it was opened for reading only"));
        };
        let mut connection = locked(writing);
        let done = connection.transaction().and_then(|transaction| {
            let value = work(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        done.map_err(|e| self.error(e))
    }

    fn error(&self, detail: impl ToString) -> Error {
        Error::new(self.path.display(), detail)
    }

    /// Writes events from asynchronous tasks.
    ///
    /// # Errors
    /// Where the ledger was opened for reading only.
    pub fn recorder(&self) -> Result<Recorder, Error> {
        match &self.writer {
            Some(writer) => Ok(writer.recorder.clone()),
            None => Err(self.error("it was opened for reading only")),
        }
    }

    /// What became of the request with this digest, where that is settled.
    pub fn settled(&self, digest: &str) -> Result<Option<Settled>, Error> {
        let own = self.read(|connection| entry::settlement(connection, digest))?;
        match (own, &self.known) {
            (None, Some(known)) => known.settled(digest),
            (own, _) => Ok(own),
        }
    }

    /// How the request with this digest stands.
    pub fn standing(&self, digest: &str) -> Result<Standing, Error> {
        let own = self.own_standing(digest)?;
        let settled = match &self.known {
            Some(known) if !own.settled => known.is_settled(digest)?,
            _ => own.settled,
        };
        Ok(Standing { settled, ..own })
    }

    fn own_standing(&self, digest: &str) -> Result<Standing, Error> {
        self.read(|connection| {
            let state: Option<bool> = connection
                .prepare_cached("SELECT state != 'open' FROM requests WHERE digest = ?1")?
                .query_row([digest], |row| row.get(0))
                .optional()?;
            let settled = match state {
                None => return Ok(Standing::default()),
                Some(settled) => settled,
            };
            connection
                .prepare_cached(
                    "SELECT coalesce(max(try), 0), max(iif(outcome IS NULL, batch, NULL))
                     FROM tries WHERE digest = ?1",
                )?
                .query_row([digest], |row| {
                    Ok(Standing {
                        settled,
                        tries: row.get(0)?,
                        batch: row.get(1)?,
                    })
                })
        })
    }

    /// The row under which the tables keep the request with this digest.
    pub fn row(&self, digest: &str) -> Result<Option<i64>, Error> {
        self.read(|connection| {
            connection
                .prepare_cached("SELECT row FROM requests WHERE digest = ?1")?
                .query_row([digest], |row| row.get(0))
                .optional()
        })
    }

    /// Records requests that were settled as soon as they were asked, by a model that costs nothing.
    pub fn settle_at_once(
        &self,
        model: &str,
        settled: Vec<(String, Request, Settled)>,
    ) -> Result<(), Error> {
        self.write(|connection| entry::settled_at_once(connection, model, &settled))
    }

    /// Records what a stage made of replies; a later verdict on the same pair replaces the earlier.
    pub fn verdicts(&self, rows: &[Verdict]) -> Result<(), Error> {
        self.write(|connection| entry::verdicts(connection, rows))
    }

    /// Marks the direct tries that are still on their way as lost: nobody waits for them any more.
    pub fn lose_in_flight(&self) -> Result<u64, Error> {
        self.write(lose)
    }

    /// What was spent on `model`, by all runs with this ledger.
    pub fn spent(&self, model: &str) -> Result<Spent, Error> {
        self.read(|connection| {
            connection.query_row(
                "SELECT coalesce(sum(t.cost), 0), coalesce(sum(t.reserved), 0)
                 FROM tries t JOIN requests r USING (digest) WHERE r.model = ?1",
                [model],
                |row| {
                    Ok(Spent {
                        cost: row.get(0)?,
                        reserved: row.get(1)?,
                    })
                },
            )
        })
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn unknown(found: &Found) -> String {
    match found {
        Found::Version(version) => format!(
            "its tables are of version {version}, this program knows version {}; \
             use the program that wrote it, or start another ledger",
            schema::VERSION
        ),
        _ => "is a database of something else; name another file".into(),
    }
}

/// Makes the tables where there are none.
fn prepare(connection: &Connection, path: &Path) -> Result<(), Error> {
    let fail = |e: rusqlite::Error| Error::new(path.display(), e);
    let found = schema::find(connection).map_err(fail)?;
    if !matches!(found, Found::Empty | Found::Ledger) {
        return Err(Error::new(path.display(), unknown(&found)));
    }
    let prepared = (|| {
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "full")?;
        // 64 MiB: digests arrive in no order, and their index should stay in memory.
        connection.pragma_update(None, "cache_size", -65_536)?;
        connection.pragma_update(None, "wal_autocheckpoint", 4096)?;
        connection.set_prepared_statement_cache_capacity(64);
        if matches!(found, Found::Empty) {
            let sql = format!(
                "BEGIN; {} INSERT INTO meta VALUES ('version', '{}'); COMMIT;",
                schema::TABLES,
                schema::VERSION
            );
            connection.execute_batch(&sql)?;
        }
        // Some file systems only say here that they are read-only.
        connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK;")
    })();
    prepared.map_err(fail)
}

/// The reserved cost stays: the server may have done the work.
fn lose(connection: &Connection) -> rusqlite::Result<u64> {
    let lost = connection.execute(
        "UPDATE tries SET outcome = 'lost', ended_at = ?1 WHERE outcome IS NULL AND batch IS NULL",
        [entry::now()],
    )?;
    Ok(lost as u64)
}

fn read_connection(path: &Path) -> Result<Connection, Error> {
    let open = || {
        let connection = Connection::open_with_flags(
            path,
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "query_only", true)?;
        connection.set_limit(rusqlite::limits::Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        Ok(connection)
    };
    open().map_err(|e: rusqlite::Error| Error::new(path.display(), e))
}

#[cfg(test)]
mod tests;
