//! A request that is being answered.

use std::rc::Rc;
use std::sync::Arc;

use crate::generate::constraint::{ConstraintState, Formed};
use crate::generate::prefix::Key;
use crate::generate::request::{
    Event, Finish, GenerateOptions, Generated, Logprobs, PromptTokens, RequestId,
};
use crate::generate::retained::tokens;
use crate::generate::sampling::{likeliest, logprobs};
use crate::generate::text::ReplyText;
use crate::kv_cache::Segment;
use crate::{Error, Pixels, Tokenizer};

/// A prompt as the engine holds it.
#[derive(Debug)]
pub(super) struct Prompt {
    pub keys: Vec<Key>,
    /// Where each image's tokens begin, and which image it is.
    pub images: Vec<(usize, u32)>,
    /// The images themselves, in that order, until they are read.
    pub pixels: Vec<Arc<Pixels>>,
}

/// A request that waits for a slot.
#[derive(Debug)]
pub(super) struct Waiting {
    pub id: RequestId,
    pub prompt: Rc<Prompt>,
    pub options: GenerateOptions,
    /// Tokens that the conversation may grow to.
    pub room: usize,
}

impl Waiting {
    /// The reply to one that is given up before its first token.
    pub fn cancelled(self) -> Generated {
        Generated {
            text: String::new(),
            tokens: Vec::new(),
            logprobs: Vec::new(),
            prompt_tokens: self.prompt.keys.len(),
            finish: Finish::Cancelled,
        }
    }
}

/// A request in a slot: the engine's `n`th is in slot `n`.
#[derive(Debug)]
pub(super) struct Live {
    pub id: RequestId,
    /// Prompt and reply; the last token is not in the cache yet.
    pub keys: Vec<Key>,
    pub room: usize,
    /// What it stands on.
    pub path: Vec<Rc<Segment>>,
    /// Tokens in its slot.
    pub held: usize,
    prompt: PromptTokens,
    options: GenerateOptions,
    /// What of the form that was asked for is still to come.
    form: Option<ConstraintState>,
    reply: ReplyText,
    tokens: Vec<i64>,
    logprobs: Vec<Logprobs>,
}

impl Live {
    /// A request whose whole prompt is in the cache, `cached` tokens of it since before.
    pub fn new(waiting: Waiting, path: Vec<Rc<Segment>>, cached: usize) -> Live {
        let keys = waiting.prompt.keys.clone();
        Live {
            id: waiting.id,
            prompt: PromptTokens {
                all: keys.len(),
                cached,
            },
            held: keys.len() - tokens(&path),
            keys,
            room: waiting.room,
            path,
            reply: ReplyText::new(&waiting.options.stop),
            form: waiting.options.constraint.as_ref().map(|c| c.begin()),
            options: waiting.options,
            tokens: Vec::new(),
            logprobs: Vec::new(),
        }
    }

    /// The last token, which the next step runs.
    pub fn last(&self) -> i64 {
        self.keys.last().map_or(0, |key| key.id)
    }

    /// Whether the likeliest token is all that is wanted.
    pub fn needs_argmax_only(&self) -> bool {
        self.options.sampling.is_plain_greedy()
            && self.options.logprobs.is_none()
            && self.form.is_none()
    }

    /// Chooses a token and adds it.
    pub fn choose(
        &mut self,
        logits: &[f32],
        tokenizer: &Tokenizer,
        ends: &[i64],
    ) -> Result<Event, Error> {
        let restricted;
        let scores = match &mut self.form {
            None => logits,
            Some(form) => match form.restrict(logits, ends) {
                Some(scores) => {
                    restricted = scores;
                    &restricted
                }
                None => return self.cut(tokenizer),
            },
        };
        let sampling = &self.options.sampling;
        let token = if sampling.is_plain_greedy() {
            likeliest(scores)
        } else {
            let seen = self.keys.iter().map(|key| key.id);
            sampling.choose(scores, seen, self.tokens.len())
        };
        let logprobs = self.options.logprobs.map(|top| {
            let (chosen, top) = logprobs(logits, token, top);
            Logprobs { chosen, top }
        });
        self.add(token, logprobs, tokenizer, ends)
    }

    /// Adds a token.
    pub fn add(
        &mut self,
        token: i64,
        logprobs: Option<Logprobs>,
        tokenizer: &Tokenizer,
        ends: &[i64],
    ) -> Result<Event, Error> {
        let mut event = self.nothing_new();
        if ends.contains(&token) {
            event.text = self.reply.finish(tokenizer)?;
            event.finished = Some(self.generated(Finish::Stop));
            return Ok(event);
        }
        let formed = self.form.as_mut().map_or(Formed::Open, |f| f.accept(token));
        if formed == Formed::Lost {
            return self.cut(tokenizer);
        }
        self.tokens.push(token);
        self.keys.push(Key {
            id: token,
            image: 0,
        });
        self.logprobs.extend(logprobs.clone());
        let (text, stopped) = self.reply.push(token, tokenizer)?;
        (event.token, event.logprobs, event.text) = (Some(token), logprobs, text);
        if stopped {
            event.finished = Some(self.generated(Finish::Stop));
        } else if formed == Formed::Complete {
            event.text.push_str(&self.reply.finish(tokenizer)?);
            event.finished = Some(self.generated(Finish::Stop));
        } else if self.keys.len() >= self.room {
            event.text.push_str(&self.reply.finish(tokenizer)?);
            event.finished = Some(self.generated(Finish::Length));
        }
        Ok(event)
    }

    /// Ends a reply whose form has become too costly to follow.
    fn cut(&mut self, tokenizer: &Tokenizer) -> Result<Event, Error> {
        let mut event = self.nothing_new();
        event.text = self.reply.finish(tokenizer)?;
        event.finished = Some(self.generated(Finish::Length));
        Ok(event)
    }

    fn nothing_new(&self) -> Event {
        Event {
            id: self.id,
            prompt: self.tokens.is_empty().then_some(self.prompt),
            token: None,
            logprobs: None,
            text: String::new(),
            finished: None,
        }
    }

    /// The reply so far.
    pub fn generated(&self, finish: Finish) -> Generated {
        Generated {
            text: self.reply.text().to_owned(),
            tokens: self.tokens.clone(),
            logprobs: self.logprobs.clone(),
            prompt_tokens: self.prompt.all,
            finish,
        }
    }
}
