//! SQL over a run's tables, for whoever may see the pages: it reads the run's tables and nothing else, and
//! takes no more time, memory, rows and bytes than it is given.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use select::Resources;
use select::sql::{Format, TableEntry};

use super::address;
use super::opened::{Halt, Weight};
use super::{LONG, PATIENCE, blocking, count, listing, page_or_wait, shortened, style};
use crate::runs::{RunFolder, segment};
use crate::shell::{Page, Place};
use crate::{Error, Studio};

/// Queries that run at a time.
pub(super) const AT_ONCE: usize = 2;
/// Runs whose tables are kept open; only their footers are held.
pub(super) const KEPT: usize = 2;
/// Those who wait for a turn wait no longer.
const TURN: Duration = Duration::from_secs(20);
/// No query takes longer.
const TIME: Duration = Duration::from_secs(10);
/// Memory for a query's sorts, joins and groups, in bytes.
const MEMORY: usize = 256 << 20;
/// No query is longer, in bytes.
const LONGEST: usize = 10_000;
/// Rows on the page, and in a file.
const ROWS: (usize, usize) = (200, 100_000);
/// Bytes of an answer on the page, and in a file.
const BYTES: (usize, usize) = (1 << 20, 32 << 20);
/// Characters of a cell on the page.
const CELL: usize = 300;
/// They make long values of short ones, which is not counted against the memory of a query.
const FORGOTTEN: [&str; 10] = [
    "repeat",
    "lpad",
    "rpad",
    "array_repeat",
    "list_repeat",
    "array_resize",
    "list_resize",
    "range",
    "generate_series",
    "gen_series",
];

/// A run's tables, open for queries.
pub(crate) struct Queried(Option<select::sql::Tables>);

impl Weight for Queried {
    /// One run counts as one: what is held are footers.
    fn bytes(&self) -> usize {
        1
    }
}

impl Drop for Queried {
    fn drop(&mut self) {
        // It has a runtime, which must not end on a thread of another one.
        if let Some(tables) = self.0.take() {
            let closing = std::thread::Builder::new().name("studio-close".to_owned());
            // Where there are no more threads it is closed here.
            let _ = closing.spawn(move || drop(tables));
        }
    }
}

impl Queried {
    fn tables(&self) -> Result<&select::sql::Tables, Error> {
        self.0
            .as_ref()
            .ok_or_else(|| Error::Failed("the tables are being closed".to_owned()))
    }
}

/// What a query gave.
struct Answered {
    sql: String,
    taken: Duration,
    outcome: Result<(Vec<u8>, select::sql::Answer), Error>,
}

/// The page, with an answer where the address has a query.
pub(super) async fn page(
    State(studio): State<Arc<Studio>>,
    Path(run): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Response {
    page_or_wait(answer(studio, run, pairs).await)
}

async fn answer(
    studio: Arc<Studio>,
    run: String,
    pairs: Vec<(String, String)>,
) -> Result<Response, Halt> {
    let given = |key: &str| {
        pairs
            .iter()
            .find(|(other, _)| other == key)
            .map(|(_, value)| value.trim())
    };
    let sql = given("q").filter(|sql| !sql.is_empty()).map(str::to_owned);
    let format = match given("format") {
        None | Some("" | "table") => None,
        Some("csv") => Some(Format::Csv),
        Some("json") => Some(Format::Json),
        Some(other) => {
            return Err(Error::Invalid(format!(
                "there is no format {other:?}; there are csv and json"
            ))
            .into());
        }
    };
    if let Some(sql) = &sql
        && sql.len() > LONGEST
    {
        return Err(Error::Invalid(format!(
            "a query of {} bytes; give at most {LONGEST}",
            sql.len()
        ))
        .into());
    }
    let opened = {
        let studio = Arc::clone(&studio);
        blocking(move || open(&studio, &run)).await?
    };
    let (run, tables) = opened;
    let Some(sql) = sql else {
        return blocking(move || Ok(show(&run, tables.tables()?.entries(), None))).await;
    };
    let turns = Arc::clone(&studio.data.querying);
    let turn = tokio::time::timeout(TURN, turns.acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(Error::Failed(format!(
            "{AT_ONCE} other queries are running and take long; try again in a while"
        ))
        .into());
    };
    blocking(move || {
        // Held until the query has ended, also where the asker is gone.
        let _turn = turn;
        match format {
            Some(format) => download(&run, &tables, sql, format),
            None => {
                let answered = ask(&tables, sql, Format::Csv, ROWS.0, BYTES.0)?;
                Ok(show(&run, tables.tables()?.entries(), Some(answered)))
            }
        }
    })
    .await
}

fn open(studio: &Studio, name: &str) -> Result<(RunFolder, Arc<Queried>), Halt> {
    let run = studio.run(name)?;
    let stages = listing::stages(&run.path);
    let stamp = listing::whole_stamp(&stages);
    if stages.is_empty() {
        return Err(Error::NotFound(format!(
            "the run {} has no finished stage yet, so there is nothing to ask",
            run.name
        ))
        .into());
    }
    let path = run.path.clone();
    let tables = studio
        .data
        .queried
        .get(&run.name, stamp, PATIENCE.max(LONG), move |_| {
            let resources = Resources {
                memory: MEMORY,
                threads: 2,
                ..Resources::default()
            };
            let tables = select::sql::Tables::open(&path, &resources)?;
            tables.forget(&FORGOTTEN);
            Ok(Queried(Some(tables)))
        })?;
    Ok((run, tables))
}

fn ask(
    tables: &Queried,
    sql: String,
    format: Format,
    rows: usize,
    bytes: usize,
) -> Result<Answered, Error> {
    let begun = Instant::now();
    let mut out = Bounded {
        bytes: Vec::new(),
        limit: bytes,
    };
    let answer =
        tables
            .tables()?
            .query_until(&sql, format, Some(rows), Some(begun + TIME), &mut out);
    Ok(Answered {
        sql,
        taken: begun.elapsed(),
        outcome: answer
            .map(|answer| (out.bytes, answer))
            .map_err(Error::from),
    })
}

/// An answer that may not be longer than it may be.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            return Err(io::Error::other(format!(
                "the answer is longer than {} MiB; ask for fewer columns or rows",
                self.limit >> 20
            )));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn download(
    run: &RunFolder,
    tables: &Queried,
    sql: String,
    format: Format,
) -> Result<Response, Halt> {
    let answered = ask(tables, sql, format, ROWS.1, BYTES.1)?;
    let (bytes, _) = answered.outcome.map_err(refused)?;
    let (kind, ending) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
        _ => ("application/x-ndjson", "jsonl"),
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = run.name.chars().map(plain).take(60).collect();
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{name}.{ending}\""),
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, bytes).into_response())
}

/// A query that cannot be answered is the asker's to mend.
fn refused(error: Error) -> Error {
    match error {
        Error::Select(inner) => Error::Invalid(inner.to_string()),
        other => other,
    }
}

fn show(run: &RunFolder, entries: &[TableEntry], answered: Option<Answered>) -> Response {
    let own = format!("/data/{}/sql", run.segment());
    let status = match &answered {
        Some(Answered {
            outcome: Err(error),
            ..
        }) => refused_status(error),
        _ => axum::http::StatusCode::OK,
    };
    let asked = answered
        .as_ref()
        .map_or("", |answered| answered.sql.as_str());
    let body = html! {
        (style())
        form.sql method="get" action=(own) {
            label for="sql" { "A query over this run's tables" }
            textarea #sql name="q" rows="6" spellcheck="false" autocapitalize="off" autocomplete="off"
                maxlength=(LONGEST) aria-describedby="sql-says" { (asked) }
            p #sql-says.lead {
                "Tables are read and never written. A query may take " (TIME.as_secs()) " s; the page shows "
                (ROWS.0) " rows, a file has up to " (count(ROWS.1 as u64)) "."
            }
            p.buttons {
                button.primary type="submit" { "Run" }
                " " button type="submit" name="format" value="csv" { "CSV" }
                " " button type="submit" name="format" value="json" { "JSON" }
                " " a href={ "/data/" (run.segment()) } { "Browse" }
            }
        }
        @if let Some(answered) = &answered { (rows(run, answered)) }
        section {
            h2 { "For example" }
            ul.examples {
                @for (says, sql) in examples(entries) {
                    li { a href={ (own) (address::query(&[("q", sql.clone())])) } { (says) } pre { code { (sql) } } }
                }
            }
        }
        section {
            h2 { "Tables" }
            @for entry in entries {
                details {
                    summary { code { (entry.name) } " " span.n { (count(entry.rows as u64)) " rows" } }
                    ul.columns {
                        @for (name, kind) in &entry.columns { li { code { (name) } " " span.n { (kind) } } }
                    }
                }
            }
        }
    };
    let page = Page {
        title: "SQL",
        place: Place::Data,
        run: Some(run),
        scripts: &["sql.js"],
        body,
    };
    let mut response = page.into_response();
    *response.status_mut() = status;
    response
}

fn refused_status(error: &Error) -> axum::http::StatusCode {
    match error {
        Error::Select(_) => axum::http::StatusCode::BAD_REQUEST,
        other => other.status(),
    }
}

fn rows(run: &RunFolder, answered: &Answered) -> Markup {
    let (bytes, answer) = match &answered.outcome {
        Ok(outcome) => outcome,
        Err(error) => return html! { p.wrong #answer role="alert" { (error) } },
    };
    // It was written by us a moment ago; what could not be read of it would not be shown.
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(bytes.as_slice());
    let mut records = reader.records().flatten();
    let heads: Vec<String> = records.next().iter().flatten().map(str::to_owned).collect();
    html! {
        section #answer aria-label="Answer" {
            p role="status" {
                (count(answer.rows as u64)) @if answer.rows == 1 { " row" } @else { " rows" }
                @if answer.more { " of more; a file has the rest" }
                " in " (format!("{:.2}", answered.taken.as_secs_f64())) " s"
            }
            div.scroll tabindex="0" role="region" aria-label="Rows of the answer" {
                table.answer {
                    thead { tr { @for head in &heads { th scope="col" { (head) } } } }
                    tbody {
                        @for record in records {
                            tr {
                                @for (at, cell) in record.iter().enumerate() {
                                    td { (linked(run, heads.get(at), cell)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A cell; names of samples lead to their pages.
fn linked(run: &RunFolder, head: Option<&String>, cell: &str) -> Markup {
    let text = shortened(cell, CELL);
    let is_name = head.is_some_and(|head| head == "id" || head == "parent") && cell.contains(':');
    html! {
        @if is_name { a href={ "/data/" (run.segment()) "/sample/" (segment(cell)) } { (text) } }
        @else { (text) }
    }
}

/// Queries that the run's tables can answer.
fn examples(entries: &[TableEntry]) -> Vec<(&'static str, String)> {
    let has = |table: &str, columns: &[&str]| {
        let found = entries.iter().find(|entry| entry.name == table);
        found.is_some_and(|entry| {
            columns
                .iter()
                .all(|name| entry.columns.iter().any(|(n, _)| n == name))
        })
    };
    let all: [(&str, &[&str], &str, &str); 5] = [
        (
            "samples",
            &["source", "task"],
            "Questions by source and task",
            "SELECT source, task, count(*) AS questions, count(DISTINCT image_sha256) AS images\n\
             FROM samples GROUP BY source, task ORDER BY questions DESC",
        ),
        (
            "images",
            &["source", "complexity"],
            "Images by source and complexity",
            "SELECT source, complexity, count(*) AS images\nFROM images GROUP BY source, complexity \
             ORDER BY source, complexity",
        ),
        (
            "samples",
            &["question", "id"],
            "The longest questions",
            "SELECT id, character_length(question) AS length, question\nFROM samples ORDER BY length DESC \
             LIMIT 20",
        ),
        (
            "rejects",
            &["source", "reason"],
            "Why rows were rejected",
            "SELECT source, reason, count(*) AS rows\nFROM rejects GROUP BY source, reason ORDER BY rows DESC",
        ),
        (
            "pairs",
            &["kind", "verdict"],
            "What became of the made pairs",
            "SELECT kind, verdict, reason, count(*) AS pairs\nFROM pairs GROUP BY kind, verdict, reason \
             ORDER BY pairs DESC",
        ),
    ];
    let fitting = all
        .into_iter()
        .filter(|(table, columns, ..)| has(table, columns));
    fitting
        .map(|(_, _, says, sql)| (says, sql.to_owned()))
        .collect()
}
