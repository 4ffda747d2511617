//! The synth stage: new questions and answers about the selected images, from a teacher.
//!
//! Section 3 of the paper: from one pair for each of 40,000 images to nine, by four kinds of
//! [`Augmentation`]. A [plan] says how many of each; the teacher is any [`chat::ChatModel`]: a program
//! that reads a figure's scene, or a model that looks. Its replies go on the [ledger](chat::ledger) before
//! they are used; what they say is [read](reply) by one parser and [checked](candidate) for
//! everything that costs nothing; what passes is [verified](verify) by programs and by blind answers;
//! and it becomes a sample that names its parent and request, or a reject with a reason.
//!
//! The stage goes over the images several times, and reads the ledger each time: to ask, to ask for
//! votes until nothing is open, to write. So it holds no pair in memory, and a stop at any moment is
//! no different from a slow reply. Nor is it different where workers ask about a part of the images
//! each, with ledgers of their own that are merged: [`synthesise_shard`].

pub mod augmentation;
pub mod candidate;
pub mod check;
mod config;
mod contamination;
pub mod demonstrations;
pub mod form;
mod kinds;
pub mod near;
mod output;
pub mod plan;
mod preview;
pub mod prompts;
pub mod reply;
mod request;
mod shard;
mod stage;
pub mod verify;
mod writing;
mod yields;

pub use augmentation::{AUGMENTATIONS, Augmentation};
pub use config::{Balance, Missing, NO_TEACHER, ReplyForm, SynthConfig, VerifyConfig};
pub use output::TRAIN_JSON;
pub use plan::Line;
pub use preview::Preview;
pub use shard::{Standing, standing, synthesise_shard};
pub use stage::{Inputs, Roles, Synthesis, synthesise};
pub use verify::Prover;
pub use yields::{Yield, Yields};

/// What can go wrong with a whole synthesis; single pairs become rejects instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Records, tables, manifests, or the operating system.
    #[error(transparent)]
    Sample(#[from] sample::Error),
    /// A setting that cannot be right.
    #[error("{0}")]
    Config(String),
    /// The teacher can answer nothing of what it is asked.
    #[error(
        "the teacher {teacher:?} can answer none of the {requests} requests; of the first it says: \
         {detail}. Configure a teacher that can, or teacher = \"none\" to train on the original \
         questions alone"
    )]
    Unanswerable {
        /// The teacher.
        teacher: String,
        /// How many there were.
        requests: u64,
        /// The teacher's own words on the first.
        detail: String,
    },
    /// Some requests have no reply; those that came are on the ledger.
    #[error(
        "{missing} requests to {teacher} have no reply: {detail}. The replies that came are on the \
         ledger; the same command tries the rest again, and [synth] missing = \"reject\" goes on \
         without them"
    )]
    Missing {
        /// Who was asked.
        teacher: String,
        /// Requests without a reply.
        missing: u64,
        /// The first reason.
        detail: String,
    },
    /// The budget is used up.
    #[error(
        "stopped before the budget is passed: {spent:.2} of {max:.2} are spent, or may have been. \
         The replies so far are on the ledger; raise max_budget of the teacher {teacher:?} and give \
         the same command to go on"
    )]
    Budget {
        /// Who was asked.
        teacher: String,
        /// Spent, with what may have been spent on replies that were lost.
        spent: f64,
        /// The bound.
        max: f64,
    },
    /// The model, or the ledger, failed.
    #[error(transparent)]
    Model(chat::Error),
}

impl Error {
    fn ledger(error: chat::ledger::Error) -> Error {
        Error::Model(chat::Error::Ledger(error))
    }
}

#[cfg(test)]
mod tests;
