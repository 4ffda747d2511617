//! What a checkpoint holds besides tensors: `state.json`.

use std::path::Path;

use sample::StageKey;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::shard::Shard;
use crate::guard::Running;

/// The file's name in a checkpoint's folder. It is written last.
pub(super) const STATE: &str = "state.json";
/// Raised when what a checkpoint holds changes its meaning.
const VERSION: u64 = 2;

/// Where a run stands between two steps. Floats are kept as bits: reading decimal JSON may be off in
/// the last place.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Steps made.
    pub(crate) step: u64,
    /// Of these, spikes that were left out.
    pub(crate) skipped: u64,
    /// Steps made before the last evaluation.
    pub(crate) evaluated: u64,
    /// Evaluations since the best one.
    pub(crate) stale: u64,
    /// Step and score (its bits) of the best evaluation.
    pub(crate) best: Option<(u64, u64)>,
    /// The guard's running numbers.
    pub(crate) guard: Running,
    /// What the task keeps.
    pub(crate) task: Value,
}

/// The whole file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    version: u64,
    key: StageKey,
    /// Updates that the optimiser has made.
    pub(super) updates: u64,
    #[serde(flatten)]
    pub(super) progress: Progress,
    pub(super) shards: Vec<Shard>,
}

/// Why a checkpoint cannot be gone on from.
#[derive(Debug)]
pub(super) enum Unusable {
    /// Its files are not what was written: an older one may do.
    Damaged(String),
    /// It is whole, but not for this run: no older one will do.
    Refused(String),
}

impl State {
    pub(super) fn new(
        key: StageKey,
        updates: u64,
        progress: Progress,
        shards: Vec<Shard>,
    ) -> State {
        State {
            version: VERSION,
            key,
            updates,
            progress,
            shards,
        }
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads the state of the checkpoint in `folder`, which must be `key`'s.
    pub(super) fn read(folder: &Path, key: &StageKey) -> Result<State, Unusable> {
        let damaged = |detail: String| Unusable::Damaged(format!("{STATE}: {detail}"));
        let text = std::fs::read(folder.join(STATE)).map_err(|e| damaged(e.to_string()))?;
        let value: Value = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        // Before anything else: another version's file may have other fields.
        match value["version"].as_u64() {
            Some(VERSION) => {}
            Some(newer) if newer > VERSION => {
                return Err(Unusable::Refused(format!(
                    "it is of version {newer}, this program reads {VERSION}: go on with the \
                     program that wrote it, or start anew with --force"
                )));
            }
            Some(older) => {
                return Err(Unusable::Refused(format!(
                    "it is of version {older}, this program reads {VERSION}: start anew with --force"
                )));
            }
            None => return Err(damaged("it has no version".to_owned())),
        }
        let state: State = serde_json::from_value(value).map_err(|e| damaged(e.to_string()))?;
        // Through JSON and back, as the saved one went.
        let own = serde_json::to_vec(key)
            .and_then(|text| serde_json::from_slice::<StageKey>(&text))
            .map_err(|e| Unusable::Refused(e.to_string()))?;
        if state.key != own {
            return Err(Unusable::Refused(format!(
                "it is of another configuration or other data ({}): choose another output folder, \
                 go back to that configuration, or start anew with --force",
                state.key.differences(&own)
            )));
        }
        Ok(state)
    }
}
