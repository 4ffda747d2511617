//! A run's own held-out questions, asked three times: how much of what a model answers right comes
//! from looking at the image.
//!
//! A stage in three steps, each of which lies on disk: what the model said (`responses.*.jsonl`),
//! the answers found in it (`extractions.jsonl`), and whether they are right (`scores.jsonl`).
//! Every question is asked under three conditions ([`sample::scores::Condition`]): with its own
//! image, with another image of the same family, and not at all, where the reply is the best guess
//! that training answers alone allow. The results give 95% intervals and the paired differences
//! between the conditions.
//!
//! [`Config`] is what the user wrote, [`plan()`] checks it against the data and draws the swaps,
//! [`run()`] asks, reads and scores. [`extract`] and [`answer`] are pure functions.

pub mod answer;
mod blind;
pub mod extract;
mod number;
mod plan;
mod responses;
mod run;
pub mod samples;
mod summary;
mod swap;

pub use plan::{Config, Inputs, Plan, plan};
pub use run::run;
pub use samples::Family;
