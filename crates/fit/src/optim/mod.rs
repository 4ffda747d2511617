//! AdamW, and how its weights and states are held.

mod adamw;

pub use adamw::{AdamW, Hyper, Param, States, clip_factor};
