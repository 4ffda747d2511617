//! `math-llava table`: our scores beside published ones.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use eval::table::{Options, scoreboard};
use sample::benchmark::scoreboard::Scoreboard;
use sample::benchmark::{BenchmarkScore, folder};

use crate::args::Table;

/// No file of a user's rows may be longer, in bytes.
const LONGEST_ROWS: u64 = 16 << 20;

/// Writes the table.
pub fn run(arguments: &Table) -> Result<bool> {
    let mut scores = Vec::new();
    for path in places(&arguments.runs)? {
        scores.push(folder::score(&path)?);
    }
    if let Some(name) = &arguments.benchmark {
        scores.retain(|s| s.benchmark.eq_ignore_ascii_case(name));
        if scores.is_empty() {
            bail!("no run of benchmark {name:?} among those given");
        }
    }
    let options = Options {
        alone: arguments.alone,
        ablations: arguments.ablations,
        more: arguments.rows.as_deref().map(rows).transpose()?,
    };
    let text = arguments.format.write(&boards(&scores, &options)?)?;
    match &arguments.out {
        Some(out) => {
            sample::write_atomic(out, text.as_bytes())?;
            println!("table: {}", out.display());
        }
        None => to_stdout(&text)?,
    }
    Ok(true)
}

/// Prints; a reader that has seen enough, such as `head`, is no error.
pub fn to_stdout(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e).context("standard output"),
        _ => Ok(()),
    }
}

/// Files as they are, folders as the runs in them.
fn places(given: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut places = Vec::new();
    for path in given {
        if path.is_file() {
            places.push(path.clone());
        } else {
            places.extend(folder::runs(path)?);
        }
    }
    Ok(places)
}

/// A table for each benchmark's split, in the order given.
pub fn boards(scores: &[BenchmarkScore], options: &Options) -> Result<Vec<Scoreboard>> {
    let mut groups: Vec<Vec<BenchmarkScore>> = Vec::new();
    for score in scores {
        let same = |g: &&mut Vec<BenchmarkScore>| {
            g[0].benchmark == score.benchmark && g[0].split == score.split
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(score.clone()),
            None => groups.push(vec![score.clone()]),
        }
    }
    let board = |group: &Vec<BenchmarkScore>| Ok(scoreboard(group, options)?);
    groups.iter().map(board).collect()
}

fn rows(path: &Path) -> Result<(PathBuf, String)> {
    let length = std::fs::metadata(path)
        .with_context(|| path.display().to_string())?
        .len();
    if length > LONGEST_ROWS {
        bail!(
            "{}: {length} bytes; a table of scores has at most {LONGEST_ROWS}",
            path.display()
        );
    }
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok((path.to_owned(), text))
}
