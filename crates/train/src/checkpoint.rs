//! The checkpoints of this stage: which there are; the joint training's form is
//! [`crate::training_state`]'s, the tower's [`fit::checkpoint`]'s.

use std::path::Path;

use crate::tower;
pub use crate::training_state::{load, save};

/// The joint training's state.
pub const JOINT: &str = "state.safetensors";

/// Removes the checkpoints of the stage, where there are any.
pub fn remove(stage: &Path) -> Result<(), fit::Error> {
    crate::training_state::remove(stage)?;
    fit::checkpoint::remove(&stage.join(tower::FOLDER))
}
