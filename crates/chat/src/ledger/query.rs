//! Users' own SQL over a ledger, and the whole of it as lines of JSON.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Error, Ledger, beside};

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rows {
    /// The columns' names.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
    /// Whether there were more than the limit.
    pub cut: bool,
}

/// SQLite's instructions between two looks at whether the user wants to stop.
const BETWEEN_LOOKS: i32 = 100_000;

impl Ledger {
    /// Runs one statement that only reads, and returns `limit` rows of it at most.
    ///
    /// # Errors
    /// Where the statement is wrong, would write, or was interrupted.
    pub fn query(&self, sql: &str, limit: usize) -> Result<Rows, Error> {
        self.read(|connection| {
            connection.progress_handler(BETWEEN_LOOKS, Some(sample::interrupt::requested))?;
            let rows = run(connection, sql, limit);
            connection.progress_handler(0, None::<fn() -> bool>)?;
            rows
        })
    }

    /// Writes every request with what became of it as a line of JSON, in the order in which they
    /// were first sent; returns how many.
    ///
    /// # Errors
    /// Where the ledger cannot be read or the file cannot be written.
    pub fn export(&self, to: &Path) -> Result<u64, Error> {
        self.write_file(to, |connection, out| {
            let mut statement = connection.prepare(
                "SELECT r.row, r.digest, r.id, r.model, r.stage, r.kind, r.source, r.content,
                    r.created_at, r.state, p.text, p.finish, f.reason, f.detail,
                    (SELECT count(*) FROM tries t WHERE t.digest = r.digest),
                    p.prompt_tokens, p.completion_tokens,
                    (SELECT coalesce(sum(cost), 0) FROM tries t WHERE t.digest = r.digest)
                 FROM requests r LEFT JOIN replies p USING (digest)
                    LEFT JOIN refusals f USING (digest) ORDER BY r.row",
            )?;
            let mut rows = statement.query([])?;
            let mut lines = 0;
            while let Some(row) = rows.next()? {
                if let Err(e) = writeln!(out, "{}", line(row)?) {
                    return Ok(Err(e));
                }
                lines += 1;
            }
            Ok(Ok(lines))
        })
    }

    /// Writes every try as a line of comma-separated values; returns how many.
    ///
    /// # Errors
    /// Where the ledger cannot be read or the file cannot be written.
    pub fn export_tries(&self, to: &Path) -> Result<u64, Error> {
        self.write_file(to, |connection, out| {
            let mut statement =
                connection.prepare("SELECT * FROM tries ORDER BY sent_at, digest, try")?;
            let names: Vec<String> = statement.column_names().map(csv).collect();
            if let Err(e) = writeln!(out, "{}", names.join(",")) {
                return Ok(Err(e));
            }
            let mut rows = statement.query([])?;
            let mut lines = 0;
            while let Some(row) = rows.next()? {
                let mut cells = Vec::with_capacity(names.len());
                for at in 0..names.len() {
                    cells.push(csv(&shown(&value(row.get_ref(at)?))));
                }
                if let Err(e) = writeln!(out, "{}", cells.join(",")) {
                    return Ok(Err(e));
                }
                lines += 1;
            }
            Ok(Ok(lines))
        })
    }

    fn write_file(
        &self,
        to: &Path,
        work: impl FnOnce(&Connection, &mut BufWriter<File>) -> rusqlite::Result<std::io::Result<u64>>,
    ) -> Result<u64, Error> {
        let temporary = beside(to, ".part");
        let fail =
            |e: std::io::Error| self.error(format!("cannot be exported to {}: {e}", to.display()));
        let mut out = BufWriter::new(File::create(&temporary).map_err(fail)?);
        let written = self.read(|connection| work(connection, &mut out))?;
        let lines = written.and_then(|lines| {
            out.flush()?;
            std::fs::rename(&temporary, to)?;
            Ok(lines)
        });
        lines.map_err(|e| {
            // Half a file is of no use; that it cannot be removed either changes nothing.
            let _ = std::fs::remove_file(&temporary);
            fail(e)
        })
    }
}

fn run(connection: &Connection, sql: &str, limit: usize) -> rusqlite::Result<Rows> {
    let mut statement = connection.prepare(sql)?;
    if !statement.readonly() {
        return Err(rusqlite::Error::InvalidQuery);
    }
    let columns: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut found = statement.query([])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        if rows.len() == limit {
            return Ok(Rows {
                columns,
                rows,
                cut: true,
            });
        }
        let mut cells = Vec::with_capacity(columns.len());
        for at in 0..columns.len() {
            cells.push(value(row.get_ref(at)?));
        }
        rows.push(cells);
    }
    Ok(Rows {
        columns,
        rows,
        cut: false,
    })
}

fn value(cell: ValueRef<'_>) -> Value {
    match cell {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(i) => i.into(),
        ValueRef::Real(r) => r.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

fn line(row: &Row<'_>) -> rusqlite::Result<Value> {
    let state: String = row.get(9)?;
    let content: String = row.get(7)?;
    let mut line = json!({
        "row": row.get::<_, i64>(0)?,
        "digest": row.get::<_, String>(1)?,
        "id": row.get::<_, String>(2)?,
        "model": row.get::<_, String>(3)?,
        "stage": row.get::<_, String>(4)?,
        "kind": row.get::<_, String>(5)?,
        "source": row.get::<_, String>(6)?,
        "request": serde_json::from_str::<Value>(&content).unwrap_or(Value::String(content)),
        "created_at": row.get::<_, f64>(8)?,
        "state": state,
        "tries": row.get::<_, i64>(14)?,
        "cost": row.get::<_, f64>(17)?,
    });
    match state.as_str() {
        "answered" => {
            line["reply"] = json!({
                "text": row.get::<_, String>(10)?,
                "finish": row.get::<_, String>(11)?,
                "prompt_tokens": row.get::<_, i64>(15)?,
                "completion_tokens": row.get::<_, i64>(16)?,
            });
        }
        "refused" => {
            line["refused"] = json!({
                "reason": row.get::<_, String>(12)?,
                "detail": row.get::<_, String>(13)?,
            });
        }
        _ => {}
    }
    Ok(line)
}

fn csv(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![self.columns.clone()];
        for row in &self.rows {
            // One line a row, whatever the text holds.
            lines.push(row.iter().map(|v| shown(v).replace('\n', " ")).collect());
        }
        super::status::table(f, &lines)?;
        if self.cut {
            writeln!(f, "... the first {} rows", self.rows.len())?;
        }
        Ok(())
    }
}
