//! The checkpoints of this stage: which there are; their form is [`fit::training_state`]'s.

pub use fit::training_state::{load, remove, save};

/// The joint training's state.
pub const JOINT: &str = "state.safetensors";
/// The tower's own training's state.
pub const TOWER: &str = "tower.safetensors";
