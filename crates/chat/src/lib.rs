//! One trait for everything that answers a conversation.
//!
//! Teacher, judge, student and served model are all a [`ChatModel`]; which one plays which role is
//! a word in the configuration. A model takes a batch, because that is where the speed is, and
//! answers each request on its own, because one bad image must not cost the others.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One conversation that wants a reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Names the request in messages and logs.
    pub id: String,
    /// The system prompt, where one is wanted.
    pub system: Option<String>,
    /// What was said so far; the last turn is the user's.
    pub turns: Vec<Turn>,
    /// Files of the images, shown before the first turn's text.
    pub images: Vec<PathBuf>,
    /// What the request is about, in a form programs can read; language models are not shown it.
    pub subject: serde_json::Value,
    /// No more than this many new tokens.
    pub max_tokens: u32,
    /// 0 is greedy.
    pub temperature: f32,
    /// For sampling.
    pub seed: u64,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What was said.
    pub text: String,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The one who asks.
    User,
    /// The one who answers.
    Assistant,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The text.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens read.
    pub prompt_tokens: u32,
    /// Tokens written.
    pub completion_tokens: u32,
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// The model was done.
    Stop,
    /// `max_tokens` was reached.
    Length,
}

/// Why there is no reply.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The request itself cannot be answered by this model; asking again does not help.
    #[error("request {id}: {detail}")]
    Unanswerable {
        /// The request.
        id: String,
        /// What is missing.
        detail: String,
    },
    /// The model failed.
    #[error("{model}: {detail}")]
    Failed {
        /// The model.
        model: String,
        /// What happened.
        detail: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Anything that answers conversations.
pub trait ChatModel {
    /// Its name, as it goes into lineage and scores.
    fn name(&self) -> &str;

    /// Answers each request; the results are in the requests' order.
    fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, Error>>;
}
