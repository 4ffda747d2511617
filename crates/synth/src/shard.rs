//! Synthesis by several workers: each asks all that is asked about its own images, on a ledger of its own.
//!
//! A worker goes through every round for its images, pairs, votes and judgements, since none of those
//! depends on another image's replies; it writes no folder. The plan, the demonstrations and what counts as
//! a common wording come from the whole selection, which every worker reads, so a request is the same
//! whoever sends it. When the ledgers are merged, [`crate::synthesise`] finds nothing left to ask, and writes
//! what it would have written alone.
//!
//! Each ledger says for which synthesis it was made and whether its worker came to the end, so that what is
//! missing can be named before anything more is paid for.

use std::path::{Path, PathBuf};

use chat::Ledger;
use sample::{Shard, StageKey, shard};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::SynthConfig;
use crate::stage::{Inputs, Roles, Synthesis, ask, check_roles, stage_key};

/// The name of the note in a shard's ledger.
const NOTE: &str = "synth shard";

/// What a shard's ledger says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    shard: String,
    /// What it was asked for.
    key: StageKey,
    /// Whether all was asked.
    done: bool,
}

/// Has everything asked that one shard's images need, on `ledger`; returns how many images those are. What
/// is made of it is written by [`crate::synthesise`], when the ledgers of all shards are merged.
///
/// # Errors
/// Where the input is not a finished selection, or the teacher fails. Replies that came before an error are
/// on the ledger.
pub fn synthesise_shard(
    config: &SynthConfig,
    run_seed: u64,
    inputs: Inputs<'_>,
    roles: Roles<'_>,
    ledger: &Ledger,
    shard: Shard,
) -> Result<usize, Error> {
    check_roles(config, &roles)?;
    let mut note = Note {
        shard: shard.to_string(),
        key: stage_key(config, run_seed, inputs, &roles)?,
        done: false,
    };
    write(ledger, &note)?;
    let synthesis = Synthesis::read(config, run_seed, inputs)?.of_shard(shard);
    let requests = synthesis.requests();
    let reader = synthesis.reader(&requests, &roles, ledger);
    let verifier = synthesis.verifier(&roles, ledger);
    ask(&synthesis, reader.as_ref(), &verifier, &roles, ledger)?;
    note.done = true;
    write(ledger, &note)?;
    Ok(synthesis.places.len())
}

fn write(ledger: &Ledger, note: &Note) -> Result<(), Error> {
    let text = serde_json::to_string(note).map_err(|e| Error::Config(e.to_string()))?;
    ledger.note(NOTE, &text).map_err(Error::ledger)
}

/// How the shards of a synthesis stand, by their ledgers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Shards that have asked for everything.
    pub done: Vec<Shard>,
    /// Shards that were stopped, or are at work.
    pub unfinished: Vec<Shard>,
    /// Shards of which there is no ledger.
    pub missing: Vec<Shard>,
}

/// How the shards with these ledgers stand towards the synthesis that these settings make. Ledgers of
/// shards that made no pairs are passed over.
///
/// # Errors
/// Where one was made for another synthesis; the message says what differs and what to do. Where one cannot
/// be read.
pub fn standing(
    config: &SynthConfig,
    run_seed: u64,
    inputs: Inputs<'_>,
    roles: Roles<'_>,
    ledgers: &[(Shard, PathBuf)],
) -> Result<Standing, Error> {
    let mut standing = Standing::default();
    if ledgers.is_empty() {
        return Ok(standing);
    }
    let key = stage_key(config, run_seed, inputs, &roles)?;
    for (shard, path) in ledgers {
        let Some(note) = read(path)? else {
            continue;
        };
        if note.key != key {
            return Err(Error::Config(format!(
                "{} was made for another synthesis ({}). Run that shard again with these settings; or, to \
                 keep what it paid for, `math-llava ledger merge` it into the run's ledger and remove it",
                path.display(),
                note.key.differences(&key)
            )));
        }
        match note.done {
            true => standing.done.push(*shard),
            false => standing.unfinished.push(*shard),
        }
    }
    let found = [&standing.done[..], &standing.unfinished].concat();
    standing.missing = shard::missing(&found);
    Ok(standing)
}

fn read(path: &Path) -> Result<Option<Note>, Error> {
    let ledger = Ledger::read_only(path).map_err(Error::ledger)?;
    let Some(text) = ledger.noted(NOTE).map_err(Error::ledger)? else {
        return Ok(None);
    };
    let note = serde_json::from_str(&text).map_err(|e| {
        let detail = format!("does not say for which synthesis it was made: {e}");
        sample::Error::format(path, detail)
    })?;
    Ok(Some(note))
}

#[cfg(test)]
mod tests;
