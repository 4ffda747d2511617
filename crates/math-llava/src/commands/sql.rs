//! `math-llava sql`: questions about a run's tables.

use std::io::{self, BufWriter, ErrorKind, Write};

use anyhow::Result;
use sample::progress;
use select::sql::{Format, Tables};

use crate::args::Sql;
use crate::machines::Machines;

/// Rows of a table for a person, where no limit is given.
const SCREEN: usize = 100;

/// Answers.
pub fn run(arguments: &Sql) -> Result<bool> {
    let machines = Machines::find(arguments.on.cluster.as_deref())?;
    let tables = Tables::open(&arguments.run, &machines.resources())?;
    let mut out = Reader {
        out: BufWriter::new(io::stdout().lock()),
        left: false,
    };
    let written = match &arguments.query {
        None => list(&tables, &mut out).map_err(anyhow::Error::from),
        Some(query) => answer(&tables, query, arguments, &mut out),
    };
    match written {
        Err(_) if out.left => Ok(true),
        other => other.map(|()| true),
    }
}

/// Whoever reads the rows, and may have read enough before the last (`| head`).
struct Reader<W> {
    out: W,
    left: bool,
}

impl<W: Write> Reader<W> {
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        let closed = |e: &io::Error| e.kind() == ErrorKind::BrokenPipe;
        self.left |= result.as_ref().is_err_and(closed);
        result
    }
}

impl<W: Write> Write for Reader<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        self.note(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        self.note(flushed)
    }
}

fn answer(tables: &Tables, query: &str, arguments: &Sql, out: &mut dyn Write) -> Result<()> {
    let format = match (arguments.json, arguments.csv) {
        (true, _) => Format::Json,
        (_, true) => Format::Csv,
        _ => Format::Table,
    };
    let limit = match format {
        Format::Table => Some(arguments.limit.unwrap_or(SCREEN)),
        Format::Json | Format::Csv => arguments.limit,
    };
    let answer = tables.query(query, format, limit, out)?;
    if answer.more {
        progress::note(&format!(
            "the first {} rows; --limit N shows more",
            answer.rows
        ));
    }
    Ok(())
}

fn list(tables: &Tables, out: &mut dyn Write) -> io::Result<()> {
    for table in tables.entries() {
        let files = match table.files.as_slice() {
            [one] => one.display().to_string(),
            some => format!("{} files", some.len()),
        };
        writeln!(out, "{}  {} rows, {files}", table.name, table.rows)?;
        let columns: Vec<String> = table
            .columns
            .iter()
            .map(|(name, kind)| format!("{name} {kind}"))
            .collect();
        writeln!(out, "    {}", columns.join(", "))?;
    }
    for stage in tables.unfinished() {
        writeln!(out, "{stage} is not finished; its tables are left out")?;
    }
    out.flush()
}
