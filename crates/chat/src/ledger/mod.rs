//! The ledger: every request, every try, every reply, and what they cost, in one SQLite file.
//!
//! **Invariants:** a reply is on disk before it is used; a request is on disk as sent before it is
//! sent; a request that is settled here is never sent again. So a kill at any moment costs at most
//! the replies that were on their way, and those are known by name.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::{Connection, OptionalExtension, params};

use crate::{Finish, Reply, Request};

/// What can go wrong with a ledger.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the ledger {path}: {detail}")]
pub struct Error {
    path: String,
    detail: String,
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

/// The ledger.
pub struct Ledger {
    path: PathBuf,
    connection: Mutex<Connection>,
}

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS requests (
    digest TEXT PRIMARY KEY,
    id TEXT NOT NULL, model TEXT NOT NULL,
    stage TEXT NOT NULL, kind TEXT NOT NULL, source TEXT NOT NULL,
    content TEXT NOT NULL,
    reply TEXT, finish TEXT, refused TEXT, detail TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL NOT NULL DEFAULT 0
) WITHOUT ROWID;
";

impl Ledger {
    /// Opens the ledger in this file, or starts one.
    ///
    /// # Errors
    /// Where the file is no ledger or cannot be written.
    pub fn open(path: &Path) -> Result<Ledger, Error> {
        Self::start(path.to_owned(), Connection::open(path))
    }

    /// A ledger that goes away with the value.
    pub fn in_memory() -> Result<Ledger, Error> {
        Self::start("memory".into(), Connection::open_in_memory())
    }

    fn start(path: PathBuf, opened: rusqlite::Result<Connection>) -> Result<Ledger, Error> {
        let started = opened.and_then(|connection| {
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        });
        match started {
            Ok(connection) => Ok(Ledger {
                path,
                connection: Mutex::new(connection),
            }),
            Err(e) => Err(Error {
                path: path.display().to_string(),
                detail: e.to_string(),
            }),
        }
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let mut connection = match self.connection.lock() {
            Ok(connection) => connection,
            Err(poisoned) => poisoned.into_inner(),
        };
        work(&mut connection).map_err(|e| Error {
            path: self.path.display().to_string(),
            detail: e.to_string(),
        })
    }

    /// What became of the request with this digest, where that is settled.
    pub fn settled(&self, digest: &str) -> Result<Option<Settled>, Error> {
        self.with(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT reply, finish, refused, detail, prompt_tokens, completion_tokens
                 FROM requests WHERE digest = ?1",
            )?;
            let row = statement
                .query_row([digest], |row| {
                    let reply: Option<String> = row.get(0)?;
                    let refused: Option<String> = row.get(2)?;
                    Ok(match (reply, refused) {
                        (Some(text), _) => Some(Settled::Replied(Reply {
                            text,
                            finish: match row.get::<_, String>(1)?.as_str() {
                                "length" => Finish::Length,
                                _ => Finish::Stop,
                            },
                            prompt_tokens: row.get(4)?,
                            completion_tokens: row.get(5)?,
                        })),
                        (None, Some(reason)) => Some(Settled::Refused {
                            reason,
                            detail: row.get(3)?,
                        }),
                        (None, None) => None,
                    })
                })
                .optional()?;
            Ok(row.flatten())
        })
    }

    /// Records requests that were settled as soon as they were asked, by a model that costs nothing.
    pub fn settle_at_once(
        &self,
        model: &str,
        settled: Vec<(String, Request, Settled)>,
    ) -> Result<(), Error> {
        self.with(|connection| {
            let transaction = connection.transaction()?;
            {
                let mut insert = transaction.prepare_cached(
                    "INSERT OR IGNORE INTO requests (digest, id, model, stage, kind, source, content,
                        reply, finish, refused, detail, prompt_tokens, completion_tokens)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                )?;
                for (digest, request, settled) in &settled {
                    let (reply, refused) = match settled {
                        Settled::Replied(reply) => (Some(reply), None),
                        Settled::Refused { reason, detail } => (None, Some((reason, detail))),
                    };
                    insert.execute(params![
                        digest,
                        request.id,
                        model,
                        request.tag.stage,
                        request.tag.kind,
                        request.tag.source,
                        request.content().to_string(),
                        reply.map(|r| &r.text),
                        reply.map(|r| match r.finish {
                            Finish::Stop => "stop",
                            Finish::Length => "length",
                        }),
                        refused.map(|r| r.0),
                        refused.map(|r| r.1),
                        reply.map(|r| r.prompt_tokens),
                        reply.map(|r| r.completion_tokens),
                    ])?;
                }
            }
            transaction.commit()
        })
    }
}
