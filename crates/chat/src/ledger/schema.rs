//! The ledger's tables, as users query them, and how a file is told from other files.

use rusqlite::{Connection, OptionalExtension};

/// Of the tables below; a ledger of another version is not opened.
pub(super) const VERSION: &str = "1";

/// The tables and the views for people. Times are Unix seconds; `datetime(sent_at, 'unixepoch')`
/// shows them.
pub(super) const TABLES: &str = "
-- version: of these tables.
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

-- Every request that was ever sent or settled. Requests of the same digest are one.
CREATE TABLE requests (
    row INTEGER PRIMARY KEY,
    digest TEXT NOT NULL UNIQUE,       -- SHA-256 of model, parameters, prompt and images
    id TEXT NOT NULL,                  -- the name it had when it was first asked
    model TEXT NOT NULL,
    stage TEXT NOT NULL,               -- synth, grade
    kind TEXT NOT NULL,                -- askimg, verify, labels
    source TEXT NOT NULL,              -- the data set it is about
    content TEXT NOT NULL,             -- JSON: what was told and shown; images by SHA-256
    created_at REAL NOT NULL,
    state TEXT NOT NULL                -- open, answered, refused
);

-- Every time a request was sent.
CREATE TABLE tries (
    digest TEXT NOT NULL,
    try INTEGER NOT NULL,              -- from 1
    server TEXT NOT NULL,
    transport TEXT NOT NULL,           -- direct, batch
    batch INTEGER,                     -- batches.row
    sent_at REAL NOT NULL,
    ended_at REAL,
    outcome TEXT,                      -- answered, the fault's word, lost; NULL while in flight
    status INTEGER,                    -- of HTTP
    detail TEXT,
    prompt_tokens INTEGER,             -- as the server counts
    completion_tokens INTEGER,
    estimated_tokens INTEGER NOT NULL DEFAULT 0,  -- of the prompt, before it was sent
    cost REAL NOT NULL DEFAULT 0,      -- known to be spent
    reserved REAL NOT NULL DEFAULT 0,  -- may come to be spent, or may have been: in flight, lost, timed out
    latency_s REAL,
    PRIMARY KEY (digest, try)
) WITHOUT ROWID;

-- The one accepted reply of an answered request.
CREATE TABLE replies (
    digest TEXT PRIMARY KEY,
    try INTEGER NOT NULL,              -- 0 where a program answered at once
    text TEXT NOT NULL,
    finish TEXT NOT NULL,              -- stop, length
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    at REAL NOT NULL
);

-- Why a refused request has no reply, and never will.
CREATE TABLE refusals (
    digest TEXT PRIMARY KEY,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;

-- What stages made of the replies.
CREATE TABLE verdicts (
    digest TEXT NOT NULL,
    pair INTEGER NOT NULL,             -- the place within the reply, from 0
    sample_id TEXT NOT NULL,
    verdict TEXT NOT NULL,             -- kept, rejected
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (digest, pair, sample_id)
) WITHOUT ROWID;

-- Files of requests that a server works off in its own time.
CREATE TABLE batches (
    row INTEGER PRIMARY KEY,
    id TEXT,                           -- the server's name for it
    server TEXT NOT NULL,
    state TEXT NOT NULL,               -- new, creating, created, ended
    input_file TEXT, output_file TEXT, error_file TEXT,
    requests INTEGER NOT NULL,
    created_at REAL NOT NULL,
    detail TEXT
);

CREATE INDEX open_tries ON tries (sent_at) WHERE outcome IS NULL;
CREATE INDEX batch_tries ON tries (batch) WHERE batch IS NOT NULL;

-- What was spent, and what may have been, by model and purpose.
CREATE VIEW spend AS
SELECT r.model, r.stage, r.kind, count(*) AS tries,
    coalesce(sum(t.prompt_tokens), 0) AS prompt_tokens,
    coalesce(sum(t.completion_tokens), 0) AS completion_tokens,
    sum(t.cost) AS cost, sum(t.reserved) AS reserved
FROM tries t JOIN requests r USING (digest) GROUP BY 1, 2, 3;

-- How far each purpose has come, by data set.
CREATE VIEW progress AS
SELECT stage, kind, source, count(*) AS requests,
    sum(state = 'answered') AS answered, sum(state = 'refused') AS refused,
    sum(state = 'open') AS open
FROM requests GROUP BY 1, 2, 3;
";

/// What a file turned out to be.
pub(super) enum Found {
    /// Nothing yet.
    Empty,
    /// A ledger of this version.
    Ledger,
    /// A ledger of that other version.
    Version(String),
    /// A database of something else.
    Foreign,
}

/// Looks at what `connection` has opened.
pub(super) fn find(connection: &Connection) -> rusqlite::Result<Found> {
    let has = |name: &str| -> rusqlite::Result<bool> {
        connection
            .query_row(
                "SELECT 1 FROM sqlite_master WHERE type = 'table' AND (name = ?1 OR ?1 = '')",
                [name],
                |_| Ok(()),
            )
            .optional()
            .map(|row| row.is_some())
    };
    if !has("")? {
        return Ok(Found::Empty);
    }
    if !has("meta")? || !has("tries")? {
        return Ok(Found::Foreign);
    }
    let version: Option<String> = connection
        .query_row("SELECT value FROM meta WHERE key = 'version'", [], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(match version {
        Some(version) if version == VERSION => Found::Ledger,
        Some(version) => Found::Version(version),
        None => Found::Foreign,
    })
}
