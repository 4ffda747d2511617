//! What other ledgers hold, taken into this one: of workers who each had their own.
//!
//! **Invariants:** a request is known by its digest and is one request wherever it was asked; what was
//! settled first here stands; a try is an event of one worker, so it is taken once however often its
//! ledger is merged, and all that different workers spent adds up. A ledger is merged whole or not at
//! all, and only while nobody writes it.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::limits::Limit;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sample::progress;
use serde::Serialize;

use super::{Error, Ledger, beside, entry, locked, read_connection, schema, unknown};
use crate::Settled;
use schema::Found;

/// No text in a ledger that is merged is longer, in bytes.
const LONGEST: i32 = 256 << 20;

/// What a merge brought that was not there before.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Merged {
    /// Requests.
    pub requests: u64,
    /// Replies and refusals.
    pub settled: u64,
    /// Tries.
    pub tries: u64,
    /// What those tries cost, in the currency of the prices.
    pub cost: f64,
    /// Batches.
    pub batches: u64,
    /// Requests that were settled in both, and differently: what was here stands.
    pub differing: u64,
    /// The digest of the first of those.
    pub first_differing: Option<String>,
}

impl std::fmt::Display for Merged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} requests, {} settled, {} tries, {:.4} spent",
            self.requests, self.settled, self.tries, self.cost
        )?;
        if let Some(first) = &self.first_differing {
            write!(
                f,
                "; {} were settled in both and differently (first: {first}): what was here stands",
                self.differing
            )?;
        }
        Ok(())
    }
}

impl Ledger {
    /// Takes in what the ledger in the file `from` holds and this one does not.
    ///
    /// # Errors
    /// Where `from` is no ledger, is this one, is damaged, or somebody works with it; then nothing of it
    /// is taken.
    pub fn merge(&self, from: &Path) -> Result<Merged, Error> {
        let fail = |detail: String| Error::new(from.display(), detail);
        let Some(writing) = &self.writing else {
            return Err(self.error("it was opened for reading only"));
        };
        if let (Ok(a), Ok(b)) = (from.canonicalize(), self.path.canonicalize())
            && a == b
        {
            return Err(fail("cannot be merged into itself".into()));
        }
        let source = read_connection(from)?;
        let _lock = at_rest(from)?;
        match schema::find(&source).map_err(|e| fail(e.to_string()))? {
            Found::Ledger => {}
            Found::Empty => return Ok(Merged::default()),
            found => return Err(fail(unknown(&found))),
        }
        let guarded = source
            .set_limit(Limit::SQLITE_LIMIT_LENGTH, LONGEST)
            .and_then(|_| source.pragma_update(None, "trusted_schema", false));
        guarded.map_err(|e| fail(e.to_string()))?;
        let mut connection = locked(writing);
        let transaction = connection.transaction().map_err(|e| self.error(e))?;
        let mut merge = Merge {
            from: &source,
            to: &transaction,
            read: &|e| fail(e.to_string()),
            write: &|e| self.error(e),
            batches: HashMap::new(),
            merged: Merged::default(),
        };
        merge.all()?;
        let merged = merge.merged;
        transaction.commit().map_err(|e| self.error(e))?;
        Ok(merged)
    }
}

/// Holds the lock of a ledger that nobody may write meanwhile; where the folder cannot be written, nobody
/// can.
fn at_rest(path: &Path) -> Result<Option<std::fs::File>, Error> {
    let mut options = std::fs::OpenOptions::new();
    let lock = options.create(true).truncate(false).write(true);
    let Ok(lock) = lock.open(beside(path, ".lock")) else {
        return Ok(None);
    };
    match lock.try_lock() {
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::new(
            path.display(),
            "another process works with it; merge it when that one has ended",
        )),
        _ => Ok(Some(lock)),
    }
}

/// A try as its row says.
struct Try {
    number: u32,
    server: String,
    transport: String,
    batch: Option<i64>,
    sent_at: f64,
    ended_at: Option<f64>,
    outcome: Option<String>,
    status: Option<u16>,
    detail: Option<String>,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    estimated_tokens: u64,
    cost: f64,
    reserved: f64,
    latency_s: Option<f64>,
}

impl Try {
    fn read(row: &Row<'_>) -> rusqlite::Result<Try> {
        let one = Try {
            number: row.get(0)?,
            server: row.get(1)?,
            transport: row.get(2)?,
            batch: row.get(3)?,
            sent_at: row.get(4)?,
            ended_at: row.get(5)?,
            outcome: row.get(6)?,
            status: row.get(7)?,
            detail: row.get(8)?,
            prompt_tokens: row.get(9)?,
            completion_tokens: row.get(10)?,
            estimated_tokens: row.get(11)?,
            cost: row.get(12)?,
            reserved: row.get(13)?,
            latency_s: row.get(14)?,
        };
        // A budget adds these up.
        let amount = |sum: f64| sum.is_finite() && sum >= 0.0;
        if one.number == 0 || !amount(one.cost) || !amount(one.reserved) {
            return Err(damaged("a try has no number, or cost less than nothing"));
        }
        Ok(one)
    }

    /// Whether it has come to an end that is known.
    fn is_over(&self) -> bool {
        self.outcome.as_deref().is_some_and(|word| word != "lost")
    }
}

const TRIES: &str =
    "SELECT try, server, transport, batch, sent_at, ended_at, outcome, status, detail,
    prompt_tokens, completion_tokens, estimated_tokens, cost, reserved, latency_s
 FROM tries WHERE digest = ?1 ORDER BY try";

/// A request as its row says.
struct Asked {
    /// Name, model, stage, kind, source, content.
    texts: [String; 6],
    created_at: f64,
}

impl Asked {
    fn read(row: &Row<'_>) -> rusqlite::Result<Asked> {
        let text = |at| row.get::<_, String>(at);
        Ok(Asked {
            texts: [text(1)?, text(2)?, text(3)?, text(4)?, text(5)?, text(6)?],
            created_at: row.get(7)?,
        })
    }
}

/// A batch as its row says.
struct BatchLine {
    row: i64,
    id: Option<String>,
    server: String,
    state: String,
    /// Of requests, of results, of errors.
    files: [Option<String>; 3],
    requests: u64,
    created_at: f64,
    detail: Option<String>,
}

/// The states of a batch, each further than the one before.
const STATES: [&str; 4] = ["new", "creating", "created", "ended"];

impl BatchLine {
    fn read(row: &Row<'_>) -> rusqlite::Result<BatchLine> {
        let state: String = row.get(3)?;
        if !STATES.contains(&state.as_str()) {
            return Err(damaged("a batch is in no known state"));
        }
        Ok(BatchLine {
            row: row.get(0)?,
            id: row.get(1)?,
            server: row.get(2)?,
            state,
            files: [row.get(4)?, row.get(5)?, row.get(6)?],
            requests: row.get(7)?,
            created_at: row.get(8)?,
            detail: row.get(9)?,
        })
    }
}

/// How an error of SQLite is told, by whose it is.
type Tell<'a> = &'a dyn Fn(rusqlite::Error) -> Error;

struct Merge<'a> {
    from: &'a Connection,
    to: &'a Connection,
    read: Tell<'a>,
    write: Tell<'a>,
    /// Their batches' rows to ours.
    batches: HashMap<i64, i64>,
    merged: Merged,
}

/// A number that only a damaged, or a made-up, ledger has.
fn damaged(what: &str) -> rusqlite::Error {
    rusqlite::Error::InvalidParameterName(format!("is damaged: {what}"))
}

impl Merge<'_> {
    fn all(&mut self) -> Result<(), Error> {
        self.take_batches()?;
        let total: u64 = self
            .from
            .query_row("SELECT count(*) FROM requests", [], |row| row.get(0))
            .map_err(self.read)?;
        let bar = progress::bar("ledger", total, "requests");
        let from = self.from;
        let mut statement = from
            .prepare(
                "SELECT digest, id, model, stage, kind, source, content, created_at
                 FROM requests ORDER BY row",
            )
            .map_err(self.read)?;
        let mut rows = statement.query([]).map_err(self.read)?;
        while let Some(row) = rows.next().map_err(self.read)? {
            if sample::interrupt::requested() {
                return Err((self.read)(rusqlite::Error::InvalidParameterName(
                    "was not merged: interrupted; the same command begins it again".into(),
                )));
            }
            let digest: String = row.get(0).map_err(self.read)?;
            self.request(&digest, row)?;
            let numbers = self.tries(&digest)?;
            self.settlement(&digest, &numbers)?;
            self.verdicts(&digest)?;
            bar.inc(1);
        }
        bar.finish();
        Ok(())
    }

    fn take_batches(&mut self) -> Result<(), Error> {
        let theirs: Vec<BatchLine> = self
            .from
            .prepare(
                "SELECT row, id, server, state, input_file, output_file, error_file, requests,
                    created_at, detail FROM batches ORDER BY row",
            )
            .and_then(|mut found| found.query_map([], BatchLine::read)?.collect())
            .map_err(self.read)?;
        for batch in theirs {
            let to = self.take_batch(&batch).map_err(self.write)?;
            self.batches.insert(batch.row, to);
        }
        Ok(())
    }

    /// Takes a batch, or how far it has come since it was taken; returns its row.
    fn take_batch(&mut self, batch: &BatchLine) -> rusqlite::Result<i64> {
        let [input, output, errors] = &batch.files;
        let own: Option<(i64, String)> = self
            .to
            .query_row(
                "SELECT row, state FROM batches WHERE server = ?1 AND created_at = ?2",
                params![batch.server, batch.created_at],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let Some((row, known)) = own else {
            self.to.execute(
                "INSERT INTO batches (id, server, state, input_file, output_file, error_file,
                    requests, created_at, detail)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                params![
                    batch.id,
                    batch.server,
                    batch.state,
                    input,
                    output,
                    errors,
                    batch.requests,
                    batch.created_at,
                    batch.detail
                ],
            )?;
            self.merged.batches += 1;
            return Ok(self.to.last_insert_rowid());
        };
        let far = |state: &str| STATES.iter().position(|&known| known == state);
        if far(&batch.state) > far(&known) {
            self.to.execute(
                "UPDATE batches SET id = ?2, state = ?3, input_file = ?4, output_file = ?5,
                    error_file = ?6, detail = ?7 WHERE row = ?1",
                params![
                    row,
                    batch.id,
                    batch.state,
                    input,
                    output,
                    errors,
                    batch.detail
                ],
            )?;
        }
        Ok(row)
    }

    fn request(&mut self, digest: &str, row: &Row<'_>) -> Result<(), Error> {
        let asked = Asked::read(row).map_err(self.read)?;
        let added = self
            .to
            .prepare_cached(
                "INSERT INTO requests (digest, id, model, stage, kind, source, content, created_at, state)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'open') ON CONFLICT (digest) DO NOTHING",
            )
            .and_then(|mut insert| {
                let [id, model, stage, kind, source, content] = &asked.texts;
                let at = asked.created_at;
                insert.execute(params![digest, id, model, stage, kind, source, content, at])
            })
            .map_err(self.write)?;
        self.merged.requests += added as u64;
        Ok(())
    }

    /// Takes the tries of a request; returns which numbers theirs have here.
    fn tries(&mut self, digest: &str) -> Result<HashMap<u32, u32>, Error> {
        let theirs: Vec<Try> = self
            .from
            .prepare_cached(TRIES)
            .and_then(|mut tries| tries.query_map([digest], Try::read)?.collect())
            .map_err(self.read)?;
        let mut numbers = HashMap::new();
        for mut one in theirs {
            if one.outcome.is_none() && one.batch.is_none() {
                // Nobody works with that ledger, so nobody waits for it any more.
                one.outcome = Some("lost".to_owned());
            }
            let batch = one.batch.map(|row| match self.batches.get(&row) {
                Some(&row) => Ok(row),
                None => Err((self.read)(damaged(
                    "a try is of a batch that it does not have",
                ))),
            });
            one.batch = batch.transpose()?;
            let to = self.take(digest, &one).map_err(self.write)?;
            numbers.insert(one.number, to);
        }
        Ok(numbers)
    }

    /// Takes one try, unless it is here; returns its number.
    fn take(&mut self, digest: &str, one: &Try) -> rusqlite::Result<u32> {
        let known: Option<(u32, Option<String>)> = self
            .to
            .prepare_cached(
                "SELECT try, outcome FROM tries
                 WHERE digest = ?1 AND server = ?2 AND sent_at = ?3 AND transport = ?4",
            )?
            .query_row(
                params![digest, one.server, one.sent_at, one.transport],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        if let Some((number, outcome)) = known {
            // It was on its way when this was merged before.
            if one.is_over() && outcome.is_none_or(|word| word == "lost") {
                self.to
                    .prepare_cached(
                        "UPDATE tries SET ended_at = ?3, outcome = ?4, status = ?5, detail = ?6,
                            prompt_tokens = ?7, completion_tokens = ?8, cost = ?9, reserved = ?10,
                            latency_s = ?11
                         WHERE digest = ?1 AND try = ?2",
                    )?
                    .execute(params![
                        digest,
                        number,
                        one.ended_at,
                        one.outcome,
                        one.status,
                        one.detail,
                        one.prompt_tokens,
                        one.completion_tokens,
                        one.cost,
                        one.reserved,
                        one.latency_s
                    ])?;
                self.merged.cost += one.cost;
            }
            return Ok(number);
        }
        let (last, taken): (u32, bool) = self
            .to
            .prepare_cached(
                "SELECT coalesce(max(try), 0), coalesce(max(try = ?2), 0) FROM tries
                 WHERE digest = ?1",
            )?
            .query_row(params![digest, one.number], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let number = match taken {
            true => last
                .checked_add(1)
                .ok_or_else(|| damaged("too many tries"))?,
            false => one.number,
        };
        self.to
            .prepare_cached(
                "INSERT INTO tries (digest, try, server, transport, batch, sent_at, ended_at, outcome,
                    status, detail, prompt_tokens, completion_tokens, estimated_tokens, cost, reserved,
                    latency_s)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
            )?
            .execute(params![
                digest,
                number,
                one.server,
                one.transport,
                one.batch,
                one.sent_at,
                one.ended_at,
                one.outcome,
                one.status,
                one.detail,
                one.prompt_tokens,
                one.completion_tokens,
                one.estimated_tokens,
                one.cost,
                one.reserved,
                one.latency_s
            ])?;
        self.merged.tries += 1;
        self.merged.cost += one.cost;
        Ok(number)
    }

    /// Takes what became of a request, where nothing has here.
    fn settlement(&mut self, digest: &str, numbers: &HashMap<u32, u32>) -> Result<(), Error> {
        let theirs = entry::settlement(self.from, digest).map_err(self.read)?;
        let Some(theirs) = theirs else {
            return Ok(());
        };
        let own = entry::settlement(self.to, digest).map_err(self.write)?;
        if let Some(own) = own {
            if own != theirs {
                self.merged.differing += 1;
                let first = || digest.to_owned();
                self.merged.first_differing.get_or_insert_with(first);
            }
            return Ok(());
        }
        let table = match theirs {
            Settled::Replied(_) => "SELECT try, at FROM replies WHERE digest = ?1",
            Settled::Refused { .. } => "SELECT 0, at FROM refusals WHERE digest = ?1",
        };
        let (number, at): (u32, f64) = self
            .from
            .prepare_cached(table)
            .and_then(|mut found| found.query_row([digest], |row| Ok((row.get(0)?, row.get(1)?))))
            .map_err(self.read)?;
        let number = numbers.get(&number).copied().unwrap_or(number);
        entry::settle(self.to, digest, number, &theirs, at).map_err(self.write)?;
        self.merged.settled += 1;
        Ok(())
    }

    /// What stages made of a reply is made again whenever they write; what is here stands.
    fn verdicts(&mut self, digest: &str) -> Result<(), Error> {
        type Line = (u32, [String; 4]);
        let read = |row: &Row<'_>| -> rusqlite::Result<Line> {
            let texts = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
            Ok((row.get(0)?, texts))
        };
        let theirs: Vec<Line> = self
            .from
            .prepare_cached(
                "SELECT pair, sample_id, verdict, reason, detail FROM verdicts WHERE digest = ?1",
            )
            .and_then(|mut found| found.query_map([digest], read)?.collect())
            .map_err(self.read)?;
        for (pair, [sample, verdict, reason, detail]) in theirs {
            self.to
                .prepare_cached("INSERT OR IGNORE INTO verdicts VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
                .and_then(|mut insert| {
                    insert.execute(params![digest, pair, sample, verdict, reason, detail])
                })
                .map_err(self.write)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
