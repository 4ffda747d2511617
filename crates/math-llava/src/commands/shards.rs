//! `--shard I/N`: what the verbs that ask models share when several workers split their work.
//!
//! A worker writes a ledger of its own beside the run's, which it only looks at, and may spend its part of
//! each budget. A command without a shard takes in what workers left before it asks anything.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use chat::Ledger;
use sample::{Shard, progress, shard};

use crate::commands::run::Pipeline;
use crate::commands::synth::looked_at;

/// Reads `--shard`.
pub fn named(text: &str) -> Result<Shard, shard::ShardError> {
    Shard::named(text, |name| std::env::var(name).ok())
}

/// The ledgers that shards left beside the run's.
pub fn ledgers(pipeline: &Pipeline) -> Result<Vec<(Shard, PathBuf)>> {
    Ok(shard::left(&pipeline.ledger_file())?)
}

/// The ledger that this process writes: a shard's own, or the run's with all that shards left.
pub fn ledger(pipeline: &Pipeline) -> Result<Ledger> {
    let path = pipeline.ledger_file();
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let left = ledgers(pipeline)?;
    if let Some(own) = pipeline.shard {
        if let Some((_, other)) = left.iter().find(|(shard, _)| shard.of() != own.of()) {
            bail!(
                "{} is of a shard of another number, and shard {own} would ask again for what it paid for. \
                 Take it into the run's ledger first (math-llava ledger merge {} {}), and remove it",
                other.display(),
                path.display(),
                other.display()
            );
        }
        return Ok(Ledger::open(&own.file(&path))?.beside_known(&path)?);
    }
    let ledger = Ledger::open(&path)?;
    for (shard, file) in left {
        let merged = ledger.merge(&file);
        sample::interrupt::check()?;
        let merged = merged?;
        if merged != chat::ledger::Merged::default() {
            progress::note(&format!("ledger of shard {shard}: {merged}"));
        }
    }
    Ok(ledger)
}

/// The same to look at; an empty one where there is none yet.
pub fn ledger_looked_at(pipeline: &Pipeline) -> Result<Ledger> {
    let path = pipeline.ledger_file();
    match pipeline.shard {
        None => looked_at(&path),
        Some(shard) => Ok(looked_at(&shard.file(&path))?.beside_known(&path)?),
    }
}

/// Gives a shard its part of each budget: what the run's ledger has spent is taken off, and the rest is
/// divided equally.
pub fn divide_budgets(pipeline: &mut Pipeline) -> Result<()> {
    let Some(shard) = pipeline.shard else {
        return Ok(());
    };
    let known = looked_at(&pipeline.ledger_file())?;
    for teacher in pipeline.config.teachers.values_mut() {
        if let Some(max) = &mut teacher.remote.max_budget {
            let spent = known.spent(&teacher.http.model)?;
            *max = (*max - spent.cost - spent.reserved).max(0.0) / shard.of() as f64;
        }
    }
    Ok(())
}

/// What a shard may do by itself, for `--dry-run`.
pub fn bounds(pipeline: &Pipeline) -> Vec<String> {
    let Some(shard) = pipeline.shard else {
        return Vec::new();
    };
    let mut lines = Vec::new();
    for (name, teacher) in &pipeline.config.teachers {
        if let Some(max) = teacher.remote.max_budget {
            lines.push(format!(
                "[teachers.{name}] max_budget: {max:.4} for shard {shard}, an equal part of what is left"
            ));
        }
    }
    lines.push(
        "concurrency and rates of [teachers] hold for each shard by itself: divide them where all ask one \
         server"
            .to_owned(),
    );
    lines
}

/// Says how the shards of a synthesis stand, before what is missing is asked for.
pub fn tell(standing: &synth::Standing) {
    let names = |shards: &[Shard]| {
        let names: Vec<String> = shards.iter().take(8).map(Shard::to_string).collect();
        let more = shards.len().saturating_sub(names.len());
        match more {
            0 => names.join(", "),
            more => format!("{} and {more} more", names.join(", ")),
        }
    };
    if !standing.unfinished.is_empty() {
        progress::note(&format!(
            "shards {} were stopped before their end: what they lack is asked for now",
            names(&standing.unfinished)
        ));
    }
    if !standing.missing.is_empty() {
        progress::note(&format!(
            "there is no ledger of shards {}: what they were to ask is asked for now. If they ran elsewhere, \
             stop this, bring their ledgers ({}, with its -wal where there is one) and give the command again",
            names(&standing.missing),
            standing.missing[0]
                .file(std::path::Path::new("ledger.sqlite"))
                .display()
        ));
    }
}
