//! What is asked of a model, and what comes back, in no protocol's words.

use bytes::Bytes;
use serde_json::Value;

/// A request for one or several replies to the same prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// What is said and shown.
    pub prompt: Prompt,
    /// No more new tokens than this a reply; without it the model's context is the only limit.
    pub max_tokens: Option<usize>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// A reply ends before the first of these.
    pub stop: Vec<String>,
    /// Log-probabilities of each token, and of so many of the likeliest in its place.
    pub logprobs: Option<usize>,
    /// The form that replies must have.
    pub form: Form,
    /// How many replies are wanted, at least 1.
    pub n: usize,
}

/// What a reply follows.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// A conversation, written as the model was trained to read them.
    Chat(Vec<Turn>),
    /// Text that the model goes on with as it is.
    Text(String),
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What is said and shown, in order.
    pub parts: Vec<Part>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Who the model is told to be.
    System,
    /// The one who asks.
    User,
    /// The model.
    Assistant,
}

/// A piece of a turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Text.
    Text(String),
    /// An image.
    Image(ImageBytes),
}

/// An image file as it came, not decoded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageBytes {
    /// The file's bytes.
    pub bytes: Bytes,
}

/// How tokens are chosen. The defaults are OpenAI's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 is greedy.
    pub temperature: f64,
    /// Only the likeliest tokens that together have this probability.
    pub top_p: f64,
    /// Only so many of the likeliest tokens; 0: all.
    pub top_k: usize,
    /// Only tokens with this share of the likeliest one's probability.
    pub min_p: f64,
    /// Above 1, tokens that are there already become less likely.
    pub repetition_penalty: f64,
    /// Settles the draws; the `i`th of several replies is drawn with `seed + i`.
    pub seed: u64,
}

/// The form that a reply must have.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Form {
    /// Any text.
    #[default]
    Free,
    /// A JSON object.
    Json,
    /// JSON of this schema.
    Schema(Value),
}

/// What a step added to one of the replies.
#[derive(Debug, Clone, PartialEq)]
pub struct ChoiceEvent {
    /// Which reply, from 0.
    pub choice: usize,
    /// Text that can be shown now; may be empty, never splits a character.
    pub text: String,
    /// The token behind it, where log-probabilities were asked for.
    pub token: Option<TokenText>,
    /// Why the reply ended, with the last event of it.
    pub finish: Option<Finish>,
}

/// A token with what it stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenText {
    /// The token.
    pub chosen: TokenLogprob,
    /// The likeliest tokens in its place, likeliest first.
    pub top: Vec<TokenLogprob>,
}

/// A token and how likely the model held it.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// Its id.
    pub id: i64,
    /// Its bytes, which alone may be no text.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability.
    pub logprob: f32,
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model was done, or wrote a stop string.
    Stop,
    /// A limit of tokens was reached.
    Length,
}

/// Tokens that a request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt, images included; counted once however many replies.
    pub prompt_tokens: usize,
    /// Of those, not computed because an earlier conversation had them.
    pub cached_tokens: usize,
    /// Of all replies.
    pub completion_tokens: usize,
}
