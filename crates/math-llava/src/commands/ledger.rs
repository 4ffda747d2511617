//! `math-llava ledger`: what was asked, answered and paid.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use chat::Ledger;
use sample::progress;
use serde_json::{Map, Value};

use crate::args;

/// Status, query or export.
pub fn run(arguments: &args::Ledger) -> Result<bool> {
    if let Some(args::LedgerAction::Merge { into, from }) = &arguments.action {
        return merge(into, from);
    }
    let run = arguments.run.as_ref();
    let path = file(run.context("which ledger? Give RUN, a run's folder or a ledger's file")?);
    if let Some(to) = &arguments.export {
        let written = open(&path)?.export(to)?;
        println!("{written} requests in {}", to.display());
        return Ok(true);
    }
    let Some(query) = &arguments.query else {
        return status(&path, arguments.json);
    };
    let found = open(&path)?.query(query, arguments.limit)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let written = if arguments.json {
        json(&found, &mut out)
    } else {
        table(&found, &mut out)
    };
    match written.and_then(|()| out.flush()) {
        // Whoever reads may have read enough.
        Err(e) if e.kind() != ErrorKind::BrokenPipe => return Err(e.into()),
        _ => {}
    }
    if found.cut {
        progress::note(&format!(
            "the first {} rows; --limit N shows more",
            found.rows.len()
        ));
    }
    Ok(true)
}

/// The ledger of a run's folder, or the file itself.
fn file(run: &Path) -> PathBuf {
    if run.is_dir() {
        run.join("ledger.sqlite")
    } else {
        run.to_owned()
    }
}

/// Takes ledgers into one.
fn merge(into: &Path, from: &[PathBuf]) -> Result<bool> {
    let from: Vec<PathBuf> = from.iter().map(|from| file(from)).collect();
    // A slip in a name is said before anything is made.
    if let Some(none) = from.iter().find(|from| !from.is_file()) {
        bail!(
            "{}: there is no such ledger; nothing was merged",
            none.display()
        );
    }
    let ledger = Ledger::open(&file(into))?;
    for from in &from {
        let merged = ledger.merge(from);
        sample::interrupt::check()?;
        println!("{}: {}", from.display(), merged?);
    }
    Ok(true)
}

/// Prints where everything stands.
pub fn status(path: &Path, as_json: bool) -> Result<bool> {
    let status = open(path)?.status()?;
    if as_json {
        println!("{}", serde_json::to_string_pretty(&status)?);
    } else {
        println!("{status}");
    }
    Ok(true)
}

fn open(path: &Path) -> Result<Ledger> {
    if !path.is_file() {
        bail!(
            "{}: there is no ledger yet; `math-llava synth` or `run` starts one when it asks a \
             teacher for the first time",
            path.display()
        );
    }
    Ok(Ledger::read_only(path)?)
}

fn json(found: &chat::ledger::Rows, out: &mut dyn Write) -> std::io::Result<()> {
    for row in &found.rows {
        let fields = found.columns.iter().cloned().zip(row.iter().cloned());
        let object: Map<String, Value> = fields.collect();
        writeln!(out, "{}", Value::Object(object))?;
    }
    Ok(())
}

/// Widest column, in characters; longer values are cut.
const WIDEST: usize = 60;

fn table(found: &chat::ledger::Rows, out: &mut dyn Write) -> std::io::Result<()> {
    let print = |value: &Value| -> String {
        let text = match value {
            Value::Null => String::new(),
            Value::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
            other => other.to_string(),
        };
        match text.char_indices().nth(WIDEST) {
            Some((at, _)) => format!("{}..", &text[..at]),
            None => text,
        }
    };
    let rows: Vec<Vec<String>> = found
        .rows
        .iter()
        .map(|row| row.iter().map(print).collect())
        .collect();
    let wide = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([found.columns[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..found.columns.len()).map(wide).collect();
    for row in std::iter::once(&found.columns).chain(&rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
