//! `math-llava score`: outputs that exist already, scored as a benchmark's official code does.

use anyhow::{Context, Result};
use eval::{Dialect, Extraction, Scoring};

use crate::args::{Score, ScoreDialect, ScoreExtraction};

/// Scores a file and prints what came out.
pub fn run(arguments: &Score) -> Result<bool> {
    let benchmark = eval::find(&arguments.benchmark)?;
    let how = Scoring {
        dialect: match arguments.dialect {
            ScoreDialect::Head => Dialect::Head,
            ScoreDialect::Paper => Dialect::Paper,
        },
        extraction: match arguments.extraction {
            ScoreExtraction::Official => Extraction::Official,
            ScoreExtraction::Extended => Extraction::Extended,
        },
        strict: arguments.strict,
    };
    let (score, items) = eval::rescore::rescore(
        benchmark,
        &arguments.data,
        arguments.split.as_deref(),
        &arguments.outputs,
        &how,
    )?;
    if let Some(path) = &arguments.items {
        let mut lines = Vec::new();
        for item in &items {
            serde_json::to_writer(&mut lines, item)?;
            lines.push(b'\n');
        }
        sample::write_atomic(path, &lines).context("--items")?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string(&score)?);
    } else {
        print!("{}", eval::headline::text(&score));
    }
    Ok(true)
}
