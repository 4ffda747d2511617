//! From a conversation to a reply.
//!
//! A [`Generator`] is a model made ready to answer. Its [`Engine`] is the loop: requests join and
//! leave between steps, each step runs a chunk of prompts or adds one token to every live reply.
//! [`Generator::generate`] is the loop run until all of a list are answered.

mod constraint;
mod engine;
mod filling;
mod limits;
mod live;
mod memory;
mod portions;
mod prefill;
mod prefix;
mod prompter;
mod request;
mod retained;
mod sampling;
mod text;

use std::collections::HashMap;

use crate::{Error, KvCache, Llava, Preprocessor, PromptForm, Quantisation, Tokenizer};

pub use constraint::{Constraint, ConstraintState, Formed};
pub use engine::Engine;
pub use limits::{EngineCounts, EngineLimits, PrefillCounts};
pub use prompter::{Prepared, Prompter};
pub use request::{
    Event, Finish, GenerateOptions, Generated, Logprobs, PromptTokens, Request, RequestId, Said,
};
pub use sampling::{Sampling, TokenLogprob};

/// A model made ready to answer.
pub struct Generator {
    model: Llava,
    prompter: Prompter,
    /// Tokens that end a reply.
    ends: Vec<i64>,
}

impl Generator {
    /// Takes a copy of the model, ready to answer in its compute type, with the preprocessing and the
    /// form of prompts that its configuration states.
    ///
    /// # Errors
    /// A tokenizer of another model.
    pub fn new(model: &Llava, tokenizer: Tokenizer) -> Result<Generator, Error> {
        let preprocessor = Preprocessor::new(model.config());
        let form = PromptForm::Named(model.config().conversation_template);
        let model = model.answering(model.compute, Quantisation::None)?;
        Generator::with(model, tokenizer, preprocessor, form)
    }

    /// A generator of these parts; `model` needs no gradients.
    ///
    /// # Errors
    /// A tokenizer of another model.
    pub fn with(
        model: Llava,
        tokenizer: Tokenizer,
        preprocessor: Preprocessor,
        form: PromptForm,
    ) -> Result<Generator, Error> {
        tokenizer.check(model.config())?;
        let mut ends = model.config().eos_tokens().to_vec();
        ends.push(tokenizer.eos);
        let config = model.config().clone();
        Ok(Generator {
            prompter: Prompter::new(tokenizer, preprocessor, form, config),
            model,
            ends,
        })
    }

    /// The model.
    pub fn model(&self) -> &Llava {
        &self.model
    }

    /// The tokenizer it was made with.
    pub fn tokenizer(&self) -> &Tokenizer {
        self.prompter.tokenizer()
    }

    /// How images become its input.
    pub fn preprocessor(&self) -> &Preprocessor {
        self.prompter.preprocessor()
    }

    /// What makes prompts for it, on any thread.
    pub fn prompter(&self) -> Prompter {
        self.prompter.clone()
    }

    /// An engine with nothing to do.
    pub fn engine(&self, limits: EngineLimits) -> Result<Engine<'_>, Error> {
        Engine::new(self, limits)
    }

    /// Answers all requests, at most `at_once` at the same time; the replies are in the requests'
    /// order. `shown` is told of each piece of text with the request's index.
    ///
    /// # Errors
    /// The first request that cannot be answered, by its index, before any is; libtorch's own errors;
    /// interruption.
    pub fn generate(
        &self,
        requests: &[Request],
        at_once: usize,
        mut shown: impl FnMut(usize, &str),
    ) -> Result<Vec<Generated>, Error> {
        let slots = at_once.max(1).min(requests.len().max(1));
        let mut engine = self.engine(EngineLimits::batch(slots))?;
        // Requests about one image come together, so that it is read once.
        let mut order: Vec<usize> = (0..requests.len()).collect();
        let first_of: HashMap<_, usize> = requests
            .iter()
            .enumerate()
            .rev()
            .filter_map(|(index, r)| Some((std::sync::Arc::as_ptr(r.images.first()?), index)))
            .collect();
        order.sort_by_key(|&index| {
            let image = requests[index].images.first().map(std::sync::Arc::as_ptr);
            (image.and_then(|image| first_of.get(&image).copied()), index)
        });
        let mut indices = HashMap::new();
        for index in order {
            let id = engine
                .admit(&requests[index])
                .map_err(|e| Error::Shape(format!("request {index}: {e}")))?;
            indices.insert(id, index);
        }
        let mut replies: Vec<Option<Generated>> = requests.iter().map(|_| None).collect();
        while !engine.is_idle() {
            sample::interrupt::check()?;
            for event in engine.step()? {
                let Some(&index) = indices.get(&event.id) else {
                    continue;
                };
                if !event.text.is_empty() {
                    shown(index, &event.text);
                }
                if event.finished.is_some() {
                    replies[index] = event.finished;
                }
            }
        }
        Ok(replies.into_iter().flatten().collect())
    }

    /// Bytes that a token takes in the cache.
    fn bytes_per_token(&self) -> u64 {
        KvCache::bytes_per_token(&self.model.config().text_config, self.model.compute)
    }
}
