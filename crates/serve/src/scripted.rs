//! An engine without a model, for tests of clients, pages and queues.
//!
//! Words are tokens, and what is said follows a script: a function of the prompt. So a whole server can be
//! tried where no model is, its answers are known beforehand, and the faults of an engine (slow, full,
//! broken, panicking) come when they are asked for. The same question has the same answer, always.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::ask::{Ask, Finish, Form, Part, Prompt, Role, TokenLogprob, TokenText};
use crate::model::{Counts, Engine, EngineId, Fault, Model, ModelCard, Refusal, RefusalKind, Step};

/// What an image takes of the context, in tokens.
pub const IMAGE_TOKENS: usize = 16;

/// Prompts that are remembered for [`Counts::prefill_cached`].
const REMEMBERED: usize = 16;

/// What the script is shown of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// The text of the last turn that is the user's, or the text to go on with.
    pub text: String,
    /// Images of all turns.
    pub images: usize,
    /// Which of the replies to the request this is, from 0.
    pub choice: usize,
    /// The form that the reply must have.
    pub form: Form,
}

type Script = dyn Fn(&Heard) -> String + Send + Sync;

/// A model that follows a script.
#[derive(Clone)]
pub struct ScriptedModel {
    card: ModelCard,
    script: Arc<Script>,
}

/// A request as a [`ScriptedEngine`] takes it.
#[derive(Clone)]
pub struct ScriptedQuestion {
    prompt: Vec<String>,
    heard: Heard,
    script: Arc<Script>,
    max_tokens: usize,
    stop: Vec<String>,
    logprobs: Option<usize>,
}

impl ScriptedModel {
    /// A model that says what `script` returns, in whole words.
    pub fn new(
        id: &str,
        script: impl Fn(&Heard) -> String + Send + Sync + 'static,
    ) -> ScriptedModel {
        ScriptedModel {
            card: ModelCard {
                id: id.to_owned(),
                created: 1_700_000_000,
                context: 4096,
                reads_images: true,
                description: "follows a script".to_owned(),
            },
            script: Arc::new(script),
        }
    }

    /// A model that says what it was told.
    pub fn echo(id: &str) -> ScriptedModel {
        ScriptedModel::new(id, |heard| heard.text.clone())
    }

    /// The same with a context of so many tokens.
    #[must_use]
    pub fn with_context(mut self, tokens: usize) -> ScriptedModel {
        self.card.context = tokens;
        self
    }

    /// The same, but it is shown no images.
    #[must_use]
    pub fn without_images(mut self) -> ScriptedModel {
        self.card.reads_images = false;
        self
    }
}

/// Words with the blanks that follow them, so that they join to the text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(char::is_whitespace)
}

impl Model for ScriptedModel {
    type Question = ScriptedQuestion;

    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn prepare(&self, ask: &Ask) -> Result<ScriptedQuestion, Refusal> {
        let mut heard = Heard {
            text: String::new(),
            images: 0,
            choice: 0,
            form: ask.form.clone(),
        };
        let mut prompt = Vec::new();
        match &ask.prompt {
            Prompt::Text(text) => {
                prompt.extend(words(text).map(str::to_owned));
                heard.text.clone_from(text);
            }
            Prompt::Chat(turns) => {
                for turn in turns {
                    let mut said = String::new();
                    for part in &turn.parts {
                        match part {
                            Part::Text(text) => said.push_str(text),
                            Part::Image(image) => {
                                heard.images += 1;
                                self.look_at(&image.bytes)?;
                                let digest = sample::sha256_hex(&image.bytes);
                                prompt.extend((0..IMAGE_TOKENS).map(|i| format!("{digest}/{i}")));
                            }
                        }
                    }
                    prompt.extend(words(&said).map(str::to_owned));
                    if turn.role == Role::User {
                        heard.text = said;
                    }
                }
            }
        }
        let Some(room) = self
            .card
            .context
            .checked_sub(prompt.len())
            .filter(|room| *room > 0)
        else {
            return Err(Refusal::new(
                RefusalKind::ContextLength,
                format!(
                    "the prompt has {} tokens and the model a context of {}; shorten it",
                    prompt.len(),
                    self.card.context
                ),
            ));
        };
        Ok(ScriptedQuestion {
            prompt,
            heard,
            script: Arc::clone(&self.script),
            max_tokens: ask.max_tokens.unwrap_or(room).min(room),
            stop: ask.stop.clone(),
            logprobs: ask.logprobs,
        })
    }
}

impl ScriptedModel {
    fn look_at(&self, bytes: &[u8]) -> Result<(), Refusal> {
        if !self.card.reads_images {
            let message = format!(
                "the model {} is shown no images; send text alone",
                self.card.id
            );
            return Err(Refusal::new(RefusalKind::Invalid, message));
        }
        sample::pixels::size(bytes)
            .map(|_| ())
            .map_err(|fault| Refusal::new(RefusalKind::Invalid, format!("the image {fault}")))
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::{Sampling, Turn};

    fn ask(text: &str) -> Ask {
        Ask {
            prompt: Prompt::Chat(vec![Turn {
                role: Role::User,
                parts: vec![Part::Text(text.to_owned())],
            }]),
            max_tokens: None,
            sampling: Sampling {
                temperature: 0.0,
                top_p: 1.0,
                top_k: 0,
                min_p: 0.0,
                repetition_penalty: 1.0,
                seed: 0,
            },
            stop: Vec::new(),
            logprobs: None,
            form: Form::Free,
            n: 1,
        }
    }

    fn run(engine: &mut ScriptedEngine, ask: &Ask) -> (String, usize, Finish, (usize, usize)) {
        let question = ScriptedModel::echo("echo").prepare(ask).unwrap();
        engine.admit(&question, 0).unwrap();
        let (mut text, mut tokens, mut prompt) = (String::new(), 0, None);
        loop {
            for step in engine.step().unwrap() {
                text.push_str(&step.text);
                tokens += usize::from(step.added);
                prompt = prompt.or(step.prompt);
                if let Some(finish) = step.finish {
                    return (text, tokens, finish, prompt.unwrap());
                }
            }
        }
    }

    #[test]
    fn a_reply_ends_where_its_limits_say() {
        for (max_tokens, stop, text, tokens, finish) in [
            (None, "", "one two three", 3, Finish::Stop),
            (Some(4), "", "one two three", 3, Finish::Stop),
            (Some(3), "", "one two three", 3, Finish::Length),
            (Some(1), "", "one ", 1, Finish::Length),
            (None, "two", "one ", 1, Finish::Stop),
            (None, "one", "", 0, Finish::Stop),
        ] {
            let mut ask = ask("one two three");
            ask.max_tokens = max_tokens;
            ask.stop = vec![stop.to_owned()];
            let (said, added, end, _) = run(&mut ScriptedEngine::default(), &ask);
            assert_eq!(
                (said.as_str(), added, end),
                (text, tokens, finish),
                "{max_tokens:?} {stop}"
            );
        }
    }

    #[test]
    fn a_prompt_seen_before_is_not_computed_again() {
        let mut engine = ScriptedEngine::default();
        assert_eq!(run(&mut engine, &ask("one two three")).3, (3, 0));
        assert_eq!(run(&mut engine, &ask("one two four")).3, (3, 2));
        assert_eq!(engine.counts().prefill_computed, 4);
        assert_eq!(engine.counts().prefill_cached, 2);
    }

    #[test]
    fn a_prompt_over_the_context_is_refused() {
        let model = ScriptedModel::echo("echo").with_context(3);
        assert!(model.prepare(&ask("one two")).is_ok());
        let refusal = model.prepare(&ask("one two three")).err().unwrap();
        assert_eq!(refusal.kind, RefusalKind::ContextLength);
    }
}
