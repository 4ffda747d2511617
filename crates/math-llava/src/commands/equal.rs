//! `math-llava equal`: whether two answers say the same, and why.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use equal::Comparison;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::args::Equal;

/// One pair of a file.
#[derive(Debug, Deserialize)]
struct Pair {
    gold: String,
    prediction: String,
}

/// What `--json` prints of one pair.
#[derive(Debug, Serialize)]
struct Verdict<'a> {
    same: bool,
    reason: &'a str,
}

/// Pairs between two looks at Ctrl-C.
const BATCH: usize = 4096;

/// Compares and prints; the verdict does not change the exit status.
pub fn run(arguments: &Equal) -> Result<bool> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let written = match (&arguments.pairs, &arguments.gold, &arguments.prediction) {
        (Some(file), ..) => {
            let pairs = read(file)?;
            let verdicts = judged(&pairs)?;
            print_all(&verdicts, arguments.json, &mut out)
        }
        (None, Some(gold), Some(prediction)) => {
            print_one(&equal::compare(gold, prediction), arguments.json, &mut out)
        }
        _ => bail!("give two answers, or --pairs FILE"),
    };
    match written.and_then(|()| out.flush()) {
        // Whoever reads may have read enough.
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(true),
    }
}

fn read(file: &Path) -> Result<Vec<Pair>> {
    let open = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    serde_json::from_reader(BufReader::new(open)).with_context(|| {
        format!(
            "{} is no JSON list of {{\"gold\": text, \"prediction\": text}}",
            file.display()
        )
    })
}

/// Verdicts in the order of the pairs, whatever the number of threads.
fn judged(pairs: &[Pair]) -> Result<Vec<Comparison>> {
    let bar = sample::progress::bar("compare", pairs.len() as u64, "pairs");
    let mut verdicts = Vec::with_capacity(pairs.len());
    for batch in pairs.chunks(BATCH) {
        sample::interrupt::check()?;
        let part: Vec<Comparison> = batch
            .par_iter()
            .map(|pair| equal::compare(&pair.gold, &pair.prediction))
            .collect();
        verdicts.extend(part);
        bar.inc(batch.len() as u64);
    }
    bar.finish();
    Ok(verdicts)
}

fn print_one(verdict: &Comparison, json: bool, out: &mut impl Write) -> std::io::Result<()> {
    if json {
        let object = Verdict {
            same: verdict.same,
            reason: &verdict.reason,
        };
        serde_json::to_writer(&mut *out, &object)?;
        return writeln!(out);
    }
    writeln!(out, "{}: {}", word(verdict), verdict.reason)
}

fn print_all(verdicts: &[Comparison], json: bool, out: &mut impl Write) -> std::io::Result<()> {
    if json {
        let list: Vec<bool> = verdicts.iter().map(|verdict| verdict.same).collect();
        serde_json::to_writer(&mut *out, &list)?;
        return writeln!(out);
    }
    for (at, verdict) in verdicts.iter().enumerate() {
        writeln!(out, "{} {}: {}", at + 1, word(verdict), verdict.reason)?;
    }
    let same = verdicts.iter().filter(|verdict| verdict.same).count();
    writeln!(out, "{same} of {} the same", verdicts.len())
}

fn word(verdict: &Comparison) -> &'static str {
    if verdict.same { "same" } else { "different" }
}
