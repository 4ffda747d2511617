//! What every reply has, whichever route writes it: its head, tokens counted, tokens with their probabilities.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::ask::{Finish, TokenLogprob, TokenText, Usage};
use crate::model::ModelCard;

/// What names a reply, the same in every chunk of a stream.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// With the route's prefix: `chatcmpl-`, `cmpl-`.
    pub id: String,
    /// Seconds since 1970.
    pub created: u64,
    pub model: String,
    /// Changes with the model and with this program, so that a client who sets a seed can tell.
    pub fingerprint: String,
}

impl Head {
    /// A new one.
    pub fn new(prefix: &str, card: &ModelCard) -> Head {
        Head {
            id: format!("{prefix}{:016x}{:016x}", random(), random()),
            created: now(),
            model: card.id.clone(),
            fingerprint: fingerprint(card),
        }
    }
}

/// A reply, or a chunk of one.
#[derive(Debug, Serialize)]
pub(super) struct Object<'a, C> {
    pub id: &'a str,
    pub object: &'a str,
    pub created: u64,
    pub model: &'a str,
    pub system_fingerprint: &'a str,
    pub choices: Vec<C>,
    /// Left out, `null`, or there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<UsageObject>>,
}

impl<'a, C> Object<'a, C> {
    /// With what the head says.
    pub fn new(
        head: &'a Head,
        object: &'a str,
        choices: Vec<C>,
        usage: Option<Option<UsageObject>>,
    ) -> Object<'a, C> {
        Object {
            id: &head.id,
            object,
            created: head.created,
            model: &head.model,
            system_fingerprint: &head.fingerprint,
            choices,
            usage,
        }
    }
}

/// Tokens counted.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct UsageObject {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    prompt_tokens_details: PromptDetails,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct PromptDetails {
    cached_tokens: usize,
}

impl From<Usage> for UsageObject {
    fn from(usage: Usage) -> UsageObject {
        UsageObject {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.cached_tokens,
            },
        }
    }
}

/// The word for it.
pub(super) fn finish_reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}

/// JSON has no infinity; OpenAI writes this for a token that could not be.
const IMPOSSIBLE: f32 = -9999.0;

/// A log-probability as JSON can have it.
pub(super) fn logprob(token: &TokenLogprob) -> f32 {
    if token.logprob.is_finite() {
        token.logprob
    } else {
        IMPOSSIBLE
    }
}

/// Tokens with their probabilities, as chat completions have them.
#[derive(Debug, Serialize)]
pub(super) struct ChatLogprobs {
    content: Vec<ChatToken>,
    refusal: (),
}

#[derive(Debug, Serialize)]
struct ChatToken {
    token: String,
    bytes: Vec<u8>,
    logprob: f32,
    top_logprobs: Vec<TopToken>,
}

#[derive(Debug, Serialize)]
struct TopToken {
    token: String,
    bytes: Vec<u8>,
    logprob: f32,
}

impl ChatLogprobs {
    /// Of these tokens.
    pub fn new(tokens: &[TokenText]) -> ChatLogprobs {
        let text = |token: &TokenLogprob| String::from_utf8_lossy(&token.bytes).into_owned();
        let content = tokens.iter().map(|token| ChatToken {
            token: text(&token.chosen),
            bytes: token.chosen.bytes.clone(),
            logprob: logprob(&token.chosen),
            top_logprobs: token
                .top
                .iter()
                .map(|top| TopToken {
                    token: text(top),
                    bytes: top.bytes.clone(),
                    logprob: logprob(top),
                })
                .collect(),
        });
        ChatLogprobs {
            content: content.collect(),
            refusal: (),
        }
    }
}

/// JSON of plain data.
pub(super) fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("structs of texts and numbers are JSON")
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Not to be guessed by chance, nor meant to withstand anybody: names replies and draws without a seed.
pub(super) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

fn fingerprint(card: &ModelCard) -> String {
    let mut digest = Sha256::new();
    for part in [
        env!("CARGO_PKG_VERSION"),
        &card.id,
        &card.description,
        &card.created.to_string(),
    ] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let digest = digest.finalize();
    let hex: String = digest[..5]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("fp_{hex}")
}
