//! What a model must do to be served.

use crate::ask::{Ask, Finish, TokenText};

/// The side of a model that checks and prepares questions, on any thread.
pub trait Model: Send + Sync + 'static {
    /// A question ready for the engine: tokens, pixels, a compiled form.
    type Question: Send + 'static;

    /// What clients may know of it.
    fn card(&self) -> &ModelCard;

    /// Decodes, tokenises and checks. Runs on a thread that may block; the work is bounded by the limits
    /// on what an [`Ask`] may hold.
    ///
    /// # Errors
    /// What the client did wrong.
    fn prepare(&self, ask: &Ask) -> Result<Self::Question, Refusal>;
}

/// The side of a model that answers, on the one thread that made it.
pub trait Engine<Q> {
    /// Takes the `choice`th reply to a question; it joins at one of the next steps.
    ///
    /// # Errors
    /// A question that cannot be answered with the memory there is. The engine goes on without it. With
    /// [`RefusalKind::Busy`] it is asked again while others are live, whose memory will be free.
    fn admit(&mut self, question: &Q, choice: usize) -> Result<EngineId, Refusal>;

    /// A chunk of waiting prompts, or a token for every live reply; at most one [`Step`] a reply.
    ///
    /// # Errors
    /// The engine is broken: all it holds is lost, and it is to be dropped.
    fn step(&mut self) -> Result<Vec<Step>, Fault>;

    /// Gives a reply up. One that is not there any more is no error.
    ///
    /// # Errors
    /// As [`Engine::step`].
    fn cancel(&mut self, id: EngineId) -> Result<(), Fault>;

    /// Whether there is nothing to do.
    fn is_idle(&self) -> bool;

    /// What it did so far.
    fn counts(&self) -> Counts;
}

/// Names a reply of one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EngineId(pub u64);

/// What a step did for one reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The reply.
    pub id: EngineId,
    /// Text that can be shown now.
    pub text: String,
    /// Whether a token was added; the one that ends a reply is none.
    pub added: bool,
    /// The token, where log-probabilities were asked for.
    pub token: Option<TokenText>,
    /// With a reply's first step: tokens of its prompt, and those of them that were not computed.
    pub prompt: Option<(usize, usize)>,
    /// Why it ended, if it did.
    pub finish: Option<Finish>,
}

/// What clients may know of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCard {
    /// The name that requests give.
    pub id: String,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// Tokens that prompt and reply may have together.
    pub context: usize,
    /// Whether it is shown images.
    pub reads_images: bool,
    /// What it is and where it runs, for people.
    pub description: String,
}

/// What an engine did so far, and what it holds now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Prompt tokens that were computed.
    pub prefill_computed: u64,
    /// Prompt tokens that were not computed, because another conversation had them.
    pub prefill_cached: u64,
    /// Images encoded.
    pub images_encoded: u64,
    /// Replies being written.
    pub live: usize,
    /// Bytes of keys and values, those of past conversations included.
    pub cache_bytes: u64,
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind of reason.
    pub kind: RefusalKind,
    /// What is wrong and what to do, for the client.
    pub message: String,
    /// The field of the request that it is about, as the client wrote it.
    pub param: Option<String>,
}

/// Kinds of reasons, each an HTTP status in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The request cannot be meant.
    Invalid,
    /// Prompt and reply do not fit the model.
    ContextLength,
    /// More is in the request than one may hold.
    TooLarge,
    /// There are too many requests; later there will be fewer.
    Busy,
    /// The server is about to end.
    Stopping,
    /// The request took too long.
    TimedOut,
    /// Nothing that the client did.
    Failed,
}

impl Refusal {
    /// A refusal that is about no one field.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Refusal {
        Refusal {
            kind,
            message: message.into(),
            param: None,
        }
    }

    /// The same, about the field `param`.
    #[must_use]
    pub fn about(self, param: &str) -> Refusal {
        Refusal {
            param: Some(param.to_owned()),
            ..self
        }
    }
}

/// An engine that broke.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);
