//! The choices of a recipe that have names.

use ::fit::optim::States;
use serde::{Deserialize, Serialize};

/// How pairs become rows of tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// All pairs of an image, and any longer prefix they share, as one tree; several trees a row.
    #[default]
    Tree,
    /// Each pair by itself, several a row, none seeing another.
    Rows,
    /// Each pair in a row of its own, padded to the longest of the batch: LLaVA's own batching.
    None,
}

/// When weights are updated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// When all gradients are there, as LLaVA does.
    #[default]
    Accumulate,
    /// Each layer as soon as its gradients are there, which are then dropped: one layer's gradients
    /// are in memory at a time.
    Layerwise,
}

/// What the clipping norm is held against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClipBy {
    /// The norm of all gradients together, as LLaVA does. With layer-by-layer updates it is not known
    /// in time.
    #[default]
    Global,
    /// The norm of each layer's gradients.
    Layer,
    /// The norm that all gradients together had in the step before; in the first step, each layer's.
    Previous,
}

/// How trained weights are held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weights {
    /// f32, cast where they are used: 4 bytes a parameter.
    #[default]
    Float32,
    /// bf16, updated with stochastic rounding: 2 bytes a parameter.
    Bfloat16,
}

/// AdamW's memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserConfig {
    /// The weights.
    pub weights: Weights,
    /// The moments.
    pub states: States,
}

/// What is done about an image that cannot be read while training.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnMissingImage {
    /// Its pairs are left out and counted.
    #[default]
    Skip,
    /// Training stops and says which.
    Stop,
}
