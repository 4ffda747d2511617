//! What the server is to answer, and what is to go wrong.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use serde_json::{Value, json};

/// How a request's text is answered.
#[derive(Clone)]
pub enum Answer {
    /// Always the same, without a look at the body.
    Fixed(String),
    /// By the body of the chat completion.
    Of(Arc<dyn Fn(&Value) -> String + Send + Sync>),
}

/// Everything about a server.
#[derive(Clone)]
pub struct Script {
    pub answer: Answer,
    /// Of the draws for faults.
    pub seed: u64,
    /// Share of tries that each fault befalls.
    pub faults: Vec<(Trouble, f64)>,
    /// After so many tries of one key, nothing befalls it any more.
    pub most_faults: u64,
    /// For every reply.
    pub latency: Duration,
    /// Replies worked on at a time; further requests wait.
    pub slots: usize,
    /// How long a slow body pauses in its middle, and how long a hanging server says nothing.
    pub slow: Duration,
    /// Further requests that a burst of 503 takes along.
    pub burst: u64,
    /// What `Retry-After` says, in seconds.
    pub retry_after: u64,
    /// `Retry-After` as a date by a clock that is so many seconds off.
    pub clock_off: Option<i64>,
    /// A reply to a request whose key was answered before is given again and not billed.
    pub honours_keys: bool,
    /// Without this key in the header, 401.
    pub key: Option<String>,
    /// `json_schema`, `json_object`: forms that are refused with 400.
    pub refused_forms: Vec<String>,
    /// Announced in `x-ratelimit-*-requests`, not held.
    pub requests_per_minute: Option<u64>,
    /// A batch has ended when it was polled so often.
    pub batch_polls: u64,
    /// A batch is given up after so many of its requests.
    pub batch_expires_after: Option<usize>,
    /// Share of a batch's requests that fail.
    pub batch_failures: f64,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            answer: Answer::Of(Arc::new(|body| {
                let asked = body["messages"].to_string();
                let digest = sample::sha256_hex(asked.as_bytes());
                json!({"answer": digest[..16]}).to_string()
            })),
            seed: 1,
            faults: Vec::new(),
            most_faults: 3,
            latency: Duration::ZERO,
            slots: 100_000,
            slow: Duration::from_millis(300),
            burst: 5,
            retry_after: 1,
            clock_off: None,
            honours_keys: false,
            key: None,
            refused_forms: Vec::new(),
            requests_per_minute: None,
            batch_polls: 2,
            batch_expires_after: None,
            batch_failures: 0.0,
        }
    }
}

/// What can go wrong with one try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trouble {
    /// 429 without `Retry-After`.
    Limited,
    /// 429 with it.
    LimitedAfter,
    /// 500.
    Broken,
    /// 503, for this request and the next ones.
    Burst,
    /// The work is done; the connection breaks in the middle of the reply.
    Reset,
    /// The connection breaks before the work is done.
    Refuse,
    /// The work is done; the reply pauses in its middle.
    Slow,
    /// The work is done; nothing is said for a long time.
    Hang,
    /// The work is done; the reply's JSON is cut.
    Truncated,
    /// The work is done; the reply is a page of HTML.
    WrongType,
    /// The work is done; the reply has no choices.
    Empty,
    /// The model declines, this time and every time.
    Refusal,
    /// The reply is about something else.
    OtherQuestion,
    /// The reply comes twice.
    Duplicate,
}

impl Trouble {
    pub const ALL: [(Trouble, &'static str); 14] = [
        (Trouble::Limited, "limited"),
        (Trouble::LimitedAfter, "limited-after"),
        (Trouble::Broken, "broken"),
        (Trouble::Burst, "burst"),
        (Trouble::Reset, "reset"),
        (Trouble::Refuse, "refuse"),
        (Trouble::Slow, "slow"),
        (Trouble::Hang, "hang"),
        (Trouble::Truncated, "truncated"),
        (Trouble::WrongType, "wrong-type"),
        (Trouble::Empty, "empty"),
        (Trouble::Refusal, "refusal"),
        (Trouble::OtherQuestion, "other-question"),
        (Trouble::Duplicate, "duplicate"),
    ];

    pub fn word(self) -> &'static str {
        let found = Trouble::ALL.iter().find(|(trouble, _)| *trouble == self);
        found.map_or("", |(_, word)| word)
    }
}

impl Script {
    /// What befalls this try of the request with this key; the same whatever else happens.
    pub fn trouble(&self, key: &str, tries: u64) -> Option<Trouble> {
        let draw = |name: &str| sample::seed::rng(self.seed, &["trouble", key, name]).random();
        // Whether a model declines does not change with the try.
        let declined: f64 = draw("declined");
        let rate = |trouble| {
            self.faults
                .iter()
                .find(|(t, _)| *t == trouble)
                .map(|(_, r)| *r)
        };
        if declined < rate(Trouble::Refusal).unwrap_or_default() {
            return Some(Trouble::Refusal);
        }
        if tries > self.most_faults {
            return None;
        }
        let mut drawn: f64 = draw(&tries.to_string());
        for (trouble, rate) in &self.faults {
            if *trouble == Trouble::Refusal {
                continue;
            }
            if drawn < *rate {
                return Some(*trouble);
            }
            drawn -= rate;
        }
        None
    }

    /// Whether this request fails in a batch, in this try.
    pub fn fails_in_batch(&self, custom_id: &str, tries: u64) -> bool {
        let name = ["batch", custom_id, &tries.to_string()];
        let drawn: f64 = sample::seed::rng(self.seed, &name).random();
        drawn < self.batch_failures
    }
}
