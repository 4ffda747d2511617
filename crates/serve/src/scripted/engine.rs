//! The engine of a scripted model, with the faults that it is told to have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{Heard, ScriptedQuestion, words};
use crate::ask::{Finish, Form, TokenLogprob, TokenText};
use crate::model::{Counts, Engine, EngineId, Fault, Refusal, RefusalKind, Step};

/// Prompts that are remembered for [`Counts::prefill_cached`].
const REMEMBERED: usize = 16;

/// When an engine does what engines should not.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    /// Every step takes so long.
    pub step_time: Duration,
    /// The step, counted from 1, that breaks the engine.
    pub breaks_at: Option<u64>,
    /// The step, counted from 1, that panics.
    pub panics_at: Option<u64>,
    /// Replies that there is memory for; further ones are refused.
    pub room: usize,
    /// Words of waiting prompts that a step computes.
    pub chunk: usize,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            step_time: Duration::ZERO,
            breaks_at: None,
            panics_at: None,
            room: usize::MAX,
            chunk: 512,
        }
    }
}

/// What an engine is doing, seen from other threads.
#[derive(Debug, Default)]
pub struct Watch {
    /// Replies being written.
    pub live: AtomicUsize,
    /// The most there ever were.
    pub most_live: AtomicUsize,
    /// Replies taken on.
    pub admitted: AtomicU64,
    /// Replies given up.
    pub cancelled: AtomicU64,
    /// Steps made.
    pub steps: AtomicU64,
}

struct Reply {
    id: EngineId,
    /// Words of the prompt that are not computed yet.
    to_read: usize,
    /// What the first step reports: tokens of the prompt, and those that another conversation had.
    prompt: Option<(usize, usize)>,
    /// What is still to be said, last word first.
    left: Vec<String>,
    finish: Finish,
    logprobs: Option<usize>,
}

/// An engine that follows a script.
#[derive(Default)]
pub struct ScriptedEngine {
    faults: Faults,
    watch: Arc<Watch>,
    replies: Vec<Reply>,
    remembered: Vec<Vec<String>>,
    counts: Counts,
    next: u64,
}

impl ScriptedEngine {
    /// An engine with these faults.
    pub fn new(faults: Faults) -> ScriptedEngine {
        ScriptedEngine::watched(faults, Arc::default())
    }

    /// The same, seen from other threads.
    pub fn watched(faults: Faults, watch: Arc<Watch>) -> ScriptedEngine {
        ScriptedEngine {
            faults,
            watch,
            ..ScriptedEngine::default()
        }
    }

    fn show(&mut self) {
        self.counts.live = self.replies.len();
        self.watch.live.store(self.replies.len(), Ordering::SeqCst);
        self.watch
            .most_live
            .fetch_max(self.replies.len(), Ordering::SeqCst);
    }
}

/// What a question's reply says, word by word, and why it ends.
fn follow(question: &ScriptedQuestion, choice: usize) -> (Vec<String>, Finish) {
    let mut text = (question.script)(&Heard {
        choice,
        ..question.heard.clone()
    });
    if question.heard.form != Form::Free
        && !serde_json::from_str(&text).is_ok_and(|v: serde_json::Value| v.is_object())
    {
        text = serde_json::json!({ "reply": text }).to_string();
    }
    let stops = question.stop.iter().filter(|stop| !stop.is_empty());
    if let Some(end) = stops.filter_map(|stop| text.find(stop.as_str())).min() {
        text.truncate(end);
    }
    let mut said: Vec<String> = words(&text).map(str::to_owned).collect();
    // A real engine draws the token that ends a reply, so a reply of just the limit is cut by the limit.
    let finish = if said.len() < question.max_tokens {
        Finish::Stop
    } else {
        Finish::Length
    };
    said.truncate(question.max_tokens);
    said.reverse();
    (said, finish)
}

/// A word as a token, with made-up but steady probabilities.
fn token(word: &str, top: usize) -> TokenText {
    let id = word
        .bytes()
        .fold(7_i64, |hash, byte| (hash * 31 + i64::from(byte)) % 32_000);
    let chosen = TokenLogprob {
        id,
        bytes: word.as_bytes().to_vec(),
        logprob: -0.25,
    };
    let others = (1..top).map(|i| TokenLogprob {
        id: (id + i as i64) % 32_000,
        bytes: format!("other{i} ").into_bytes(),
        logprob: -1.0 - i as f32,
    });
    let top = std::iter::once(chosen.clone())
        .take(top)
        .chain(others)
        .collect();
    TokenText { chosen, top }
}

impl Engine<ScriptedQuestion> for ScriptedEngine {
    fn admit(&mut self, question: &ScriptedQuestion, choice: usize) -> Result<EngineId, Refusal> {
        if self.replies.len() >= self.faults.room {
            return Err(Refusal::new(
                RefusalKind::Busy,
                "there is no memory for this conversation; ask for less at once",
            ));
        }
        let shared = |old: &Vec<String>| {
            old.iter()
                .zip(&question.prompt)
                .take_while(|(a, b)| a == b)
                .count()
        };
        let cached = self.remembered.iter().map(shared).max().unwrap_or(0);
        if cached < question.prompt.len() {
            if self.remembered.len() == REMEMBERED {
                self.remembered.remove(0);
            }
            self.remembered.push(question.prompt.clone());
        }
        self.counts.prefill_cached += cached as u64;
        self.counts.images_encoded += question.heard.images as u64;
        let (left, finish) = follow(question, choice);
        let id = EngineId(self.next);
        self.next += 1;
        self.replies.push(Reply {
            id,
            to_read: question.prompt.len() - cached,
            prompt: Some((question.prompt.len(), cached)),
            left,
            finish,
            logprobs: question.logprobs,
        });
        self.watch.admitted.fetch_add(1, Ordering::SeqCst);
        self.show();
        Ok(id)
    }

    fn step(&mut self) -> Result<Vec<Step>, Fault> {
        std::thread::sleep(self.faults.step_time);
        let number = self.watch.steps.fetch_add(1, Ordering::SeqCst) + 1;
        if self.faults.panics_at == Some(number) {
            #[expect(clippy::panic, reason = "engines that panic are what this is for")]
            std::panic::panic_any("the scripted engine was asked to panic");
        }
        if self.faults.breaks_at == Some(number) {
            return Err(Fault("the scripted engine was asked to break".to_owned()));
        }
        let mut chunk = self.faults.chunk;
        let mut steps = Vec::new();
        for reply in &mut self.replies {
            let read = reply.to_read.min(chunk);
            chunk -= read;
            reply.to_read -= read;
            self.counts.prefill_computed += read as u64;
            if reply.to_read > 0 {
                continue;
            }
            let word = reply.left.pop();
            let ends = match reply.finish {
                Finish::Stop => word.is_none(),
                Finish::Length => reply.left.is_empty(),
            };
            steps.push(Step {
                id: reply.id,
                added: word.is_some(),
                token: word
                    .as_deref()
                    .zip(reply.logprobs)
                    .map(|(word, top)| token(word, top)),
                text: word.unwrap_or_default(),
                prompt: reply.prompt.take(),
                finish: ends.then_some(reply.finish),
            });
        }
        let ended = |reply: &Reply| {
            steps
                .iter()
                .any(|step| step.id == reply.id && step.finish.is_some())
        };
        self.replies.retain(|reply| !ended(reply));
        self.show();
        Ok(steps)
    }

    fn cancel(&mut self, id: EngineId) -> Result<(), Fault> {
        let before = self.replies.len();
        self.replies.retain(|reply| reply.id != id);
        let gone = before - self.replies.len();
        self.watch
            .cancelled
            .fetch_add(gone as u64, Ordering::SeqCst);
        self.show();
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.replies.is_empty()
    }

    fn counts(&self) -> Counts {
        self.counts
    }
}
