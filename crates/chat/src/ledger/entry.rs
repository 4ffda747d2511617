//! What is written into the ledger, one event at a time.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, params};

use super::Settled;
use crate::{Finish, Reply, Request};

/// A request is about to be sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The request's digest.
    pub digest: Arc<str>,
    /// The request.
    pub request: Arc<Request>,
    /// The model's name.
    pub model: Arc<str>,
    /// Which try it is, from 1.
    pub attempt: u32,
    /// The server's name.
    pub server: Arc<str>,
    /// The batch it goes with, as [`super::Ledger::start_batch`] numbered it.
    pub batch: Option<i64>,
    /// What it may cost at most.
    pub reserved: f64,
    /// Tokens that the prompt was estimated to have.
    pub estimated_tokens: u64,
}

/// A try has ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The request's digest.
    pub digest: Arc<str>,
    /// Which try it was.
    pub attempt: u32,
    /// `answered`, or the fault's word.
    pub outcome: &'static str,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The exact trouble.
    pub detail: Option<String>,
    /// What it cost for certain.
    pub cost: f64,
    /// What it may have cost beyond that.
    pub reserved: f64,
    /// Seconds from sending to the end.
    pub latency_s: f64,
    /// What became of the request, where this try settled it.
    pub settled: Option<Settled>,
}

/// What a stage made of one pair of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Of the request.
    pub digest: String,
    /// Its place within the reply, from 0.
    pub pair: u32,
    /// The sample that it became or would have become.
    pub sample_id: String,
    /// `kept`, `rejected`.
    pub verdict: String,
    /// A short fixed word.
    pub reason: String,
    /// The exact trouble.
    pub detail: String,
}

pub(super) fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

pub(super) fn finish_word(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}

pub(super) fn finish_of(word: &str) -> Finish {
    match word {
        "length" => Finish::Length,
        _ => Finish::Stop,
    }
}

fn request(
    connection: &Connection,
    digest: &str,
    request: &Request,
    model: &str,
    at: f64,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO requests (digest, id, model, stage, kind, source, content, created_at, state)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'open') ON CONFLICT (digest) DO NOTHING",
        )?
        .execute(params![
            digest,
            request.id,
            model,
            request.tag.stage,
            request.tag.kind,
            request.tag.source,
            request.content().to_string(),
            at,
        ])?;
    Ok(())
}

pub(super) fn sent(connection: &Connection, sent: &Sent) -> rusqlite::Result<()> {
    let at = now();
    if sent.attempt == 1 {
        request(connection, &sent.digest, &sent.request, &sent.model, at)?;
    }
    connection
        .prepare_cached(
            "INSERT INTO tries (digest, try, server, transport, batch, sent_at, reserved, estimated_tokens)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            &*sent.digest,
            sent.attempt,
            &*sent.server,
            if sent.batch.is_some() { "batch" } else { "direct" },
            sent.batch,
            at,
            sent.reserved,
            sent.estimated_tokens,
        ])?;
    Ok(())
}

pub(super) fn ended(connection: &Connection, ended: &Ended) -> rusqlite::Result<()> {
    let at = now();
    let reply = match &ended.settled {
        Some(Settled::Replied(reply)) => Some(reply),
        _ => None,
    };
    connection
        .prepare_cached(
            "UPDATE tries SET ended_at = ?3, outcome = ?4, status = ?5, detail = ?6,
                prompt_tokens = ?7, completion_tokens = ?8, cost = ?9, reserved = ?10, latency_s = ?11
             WHERE digest = ?1 AND try = ?2",
        )?
        .execute(params![
            &*ended.digest,
            ended.attempt,
            at,
            ended.outcome,
            ended.status,
            ended.detail,
            reply.map(|r| r.prompt_tokens),
            reply.map(|r| r.completion_tokens),
            ended.cost,
            ended.reserved,
            ended.latency_s,
        ])?;
    match &ended.settled {
        Some(settled) => settle(connection, &ended.digest, ended.attempt, settled, at),
        None => Ok(()),
    }
}

/// The first settlement of a request stands.
pub(super) fn settle(
    connection: &Connection,
    digest: &str,
    attempt: u32,
    settled: &Settled,
    at: f64,
) -> rusqlite::Result<()> {
    let state = match settled {
        Settled::Replied(_) => "answered",
        Settled::Refused { .. } => "refused",
    };
    let changed = connection
        .prepare_cached("UPDATE requests SET state = ?2 WHERE digest = ?1 AND state = 'open'")?
        .execute([digest, state])?;
    if changed == 0 {
        return Ok(());
    }
    match settled {
        Settled::Replied(reply) => connection
            .prepare_cached("INSERT OR IGNORE INTO replies VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?
            .execute(params![
                digest,
                attempt,
                reply.text,
                finish_word(reply.finish),
                reply.prompt_tokens,
                reply.completion_tokens,
                at
            ])?,
        Settled::Refused { reason, detail } => connection
            .prepare_cached("INSERT OR IGNORE INTO refusals VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![digest, reason, detail, at])?,
    };
    Ok(())
}

pub(super) fn settled_at_once(
    connection: &Connection,
    model: &str,
    rows: &[(String, Request, Settled)],
) -> rusqlite::Result<()> {
    let at = now();
    for (digest, asked, settled) in rows {
        request(connection, digest, asked, model, at)?;
        settle(connection, digest, 0, settled, at)?;
    }
    Ok(())
}

pub(super) fn verdicts(connection: &Connection, rows: &[Verdict]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT OR REPLACE INTO verdicts (digest, pair, sample_id, verdict, reason, detail)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for row in rows {
        insert.execute(params![
            row.digest,
            row.pair,
            row.sample_id,
            row.verdict,
            row.reason,
            row.detail
        ])?;
    }
    Ok(())
}

pub(super) fn settlement(
    connection: &Connection,
    digest: &str,
) -> rusqlite::Result<Option<Settled>> {
    use rusqlite::OptionalExtension;
    let reply = connection
        .prepare_cached(
            "SELECT text, finish, prompt_tokens, completion_tokens FROM replies WHERE digest = ?1",
        )?
        .query_row([digest], |row| {
            Ok(Settled::Replied(Reply {
                text: row.get(0)?,
                finish: finish_of(row.get_ref(1)?.as_str()?),
                prompt_tokens: row.get(2)?,
                completion_tokens: row.get(3)?,
            }))
        })
        .optional()?;
    if reply.is_some() {
        return Ok(reply);
    }
    connection
        .prepare_cached("SELECT reason, detail FROM refusals WHERE digest = ?1")?
        .query_row([digest], |row| {
            Ok(Settled::Refused {
                reason: row.get(0)?,
                detail: row.get(1)?,
            })
        })
        .optional()
}
