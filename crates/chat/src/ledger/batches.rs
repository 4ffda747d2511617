//! Batches on the ledger: which requests a server works off in its own time, and under which name.
//!
//! **Invariant:** a batch is written down with its requests before anything of it is sent, and its
//! state is moved on before and after each call that costs money. So whoever finds the ledger after
//! a kill knows for each request whether a batch may hold it, and asks for that batch.

use std::sync::Arc;

use rusqlite::{Row, params};

use super::entry::{self, Sent, now};
use super::{Error, Ledger};

/// How far a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchStage {
    /// Nothing that costs anything was sent: its file may be on the server.
    New,
    /// The server was asked to work it off; whether it heard is not known.
    Creating,
    /// The server works on it, under the name that is recorded.
    Created,
    /// Every request of it has its outcome.
    Ended,
}

impl BatchStage {
    fn word(self) -> &'static str {
        match self {
            BatchStage::New => "new",
            BatchStage::Creating => "creating",
            BatchStage::Created => "created",
            BatchStage::Ended => "ended",
        }
    }

    fn of(word: &str) -> BatchStage {
        match word {
            "new" => BatchStage::New,
            "creating" => BatchStage::Creating,
            "created" => BatchStage::Created,
            _ => BatchStage::Ended,
        }
    }
}

/// One batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Its number here.
    pub row: i64,
    /// The server's name for it.
    pub id: Option<String>,
    /// The server.
    pub server: String,
    /// How far it is.
    pub state: BatchStage,
    /// The server's name for the file of requests.
    pub input_file: Option<String>,
    /// How many requests it was made of.
    pub requests: u64,
}

/// A request that waits in a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// The request's digest.
    pub digest: Arc<str>,
    /// Which try it is.
    pub attempt: u32,
    /// What was reserved for it.
    pub reserved: f64,
    /// Tokens that the prompt was estimated to have.
    pub estimated_tokens: u64,
}

impl Ledger {
    /// Writes down a batch with its requests, before anything of it is sent; returns its number.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn start_batch(&self, server: &str, requests: Vec<Sent>) -> Result<i64, Error> {
        self.write(|connection| {
            connection.execute(
                "INSERT INTO batches (server, state, requests, created_at)
                 VALUES (?1, 'new', ?2, ?3)",
                params![server, requests.len() as u64, now()],
            )?;
            let row = connection.last_insert_rowid();
            for mut sent in requests {
                sent.batch = Some(row);
                entry::sent(connection, &sent)?;
            }
            Ok(row)
        })
    }

    /// The server has the file of requests, and is about to be asked to work it off.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn creating_batch(&self, row: i64, input_file: &str) -> Result<(), Error> {
        self.set_batch(
            "UPDATE batches SET state = 'creating', input_file = ?2 WHERE row = ?1",
            row,
            input_file,
        )
    }

    /// The server works on it, and calls it `id`.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn created_batch(&self, row: i64, id: &str) -> Result<(), Error> {
        self.set_batch(
            "UPDATE batches SET state = 'created', id = ?2 WHERE row = ?1",
            row,
            id,
        )
    }

    fn set_batch(&self, sql: &str, row: i64, value: &str) -> Result<(), Error> {
        self.write(|connection| {
            connection.execute(sql, params![row, value])?;
            Ok(())
        })
    }

    /// Ends a batch. Requests of it without an outcome get `outcome`; their reserved cost is kept
    /// where they `may_be_billed`.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn end_batch(
        &self,
        row: i64,
        outcome: &str,
        detail: &str,
        may_be_billed: bool,
    ) -> Result<u64, Error> {
        self.write(|connection| {
            let left = connection.execute(
                "UPDATE tries SET outcome = ?2, detail = ?3, ended_at = ?4,
                    reserved = iif(?5, reserved, 0.0)
                 WHERE batch = ?1 AND outcome IS NULL",
                params![row, outcome, detail, now(), may_be_billed],
            )?;
            connection.execute(
                "UPDATE batches SET state = ?2, detail = ?3 WHERE row = ?1",
                params![row, BatchStage::Ended.word(), detail],
            )?;
            Ok(left as u64)
        })
    }

    /// Records the files of a batch's results.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn batch_files(
        &self,
        row: i64,
        output: Option<&str>,
        errors: Option<&str>,
    ) -> Result<(), Error> {
        self.write(|connection| {
            connection.execute(
                "UPDATE batches SET output_file = ?2, error_file = ?3 WHERE row = ?1",
                params![row, output, errors],
            )?;
            Ok(())
        })
    }

    /// The batches of `model` that have not ended, oldest first.
    ///
    /// # Errors
    /// Where the ledger cannot be read.
    pub fn open_batches(&self, model: &str) -> Result<Vec<Batch>, Error> {
        self.read(|connection| {
            connection
                .prepare(
                    "SELECT row, id, server, state, input_file, requests FROM batches b
                     WHERE state != 'ended' AND EXISTS (
                        SELECT 1 FROM tries t JOIN requests r USING (digest)
                        WHERE t.batch = b.row AND r.model = ?1)
                     ORDER BY row",
                )?
                .query_map([model], |row: &Row<'_>| {
                    Ok(Batch {
                        row: row.get(0)?,
                        id: row.get(1)?,
                        server: row.get(2)?,
                        state: BatchStage::of(row.get_ref(3)?.as_str()?),
                        input_file: row.get(4)?,
                        requests: row.get(5)?,
                    })
                })?
                .collect()
        })
    }

    /// The requests of a batch that have no outcome yet.
    ///
    /// # Errors
    /// Where the ledger cannot be read.
    pub fn waiting(&self, row: i64) -> Result<Vec<Waiting>, Error> {
        self.read(|connection| {
            connection
                .prepare(
                    "SELECT digest, try, reserved, estimated_tokens FROM tries
                     WHERE batch = ?1 AND outcome IS NULL ORDER BY digest",
                )?
                .query_map([row], |row: &Row<'_>| {
                    Ok(Waiting {
                        digest: row.get::<_, String>(0)?.into(),
                        attempt: row.get(1)?,
                        reserved: row.get(2)?,
                        estimated_tokens: row.get(3)?,
                    })
                })?
                .collect()
        })
    }

    /// Records how many tries of a batch have ended, in one transaction.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn end_tries(&self, tries: &[super::Ended]) -> Result<(), Error> {
        self.write(|connection| {
            tries
                .iter()
                .try_for_each(|ended| entry::ended(connection, ended))
        })
    }
}
