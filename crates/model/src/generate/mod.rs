//! From a conversation to a reply.
//!
//! A [`Generator`] is a model made ready to answer. Its [`Engine`] is the loop: requests join and
//! leave between steps, each step runs new prompts or adds one token to every live reply.
//! [`Generator::generate`] is the loop run until all of a list are answered.

mod constraint;
mod engine;
mod live;
mod prefill;
mod prefix;
mod request;
mod retained;
mod sampling;
mod text;

use std::collections::HashMap;

use crate::{Error, KvCache, Llava, Part, Preprocessor, PromptForm, Quantisation, Tokenizer};

pub use constraint::{Constraint, ConstraintState, Formed};
pub use engine::{Engine, EngineLimits, PrefillCounts};
pub use request::{Event, Finish, GenerateOptions, Generated, Logprobs, Request, RequestId};
pub use sampling::{Sampling, TokenLogprob};

/// A model made ready to answer.
pub struct Generator {
    model: Llava,
    tokenizer: Tokenizer,
    preprocessor: Preprocessor,
    form: PromptForm,
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
        Ok(Generator {
            model,
            tokenizer,
            preprocessor,
            form,
            ends,
        })
    }

    /// The model.
    pub fn model(&self) -> &Llava {
        &self.model
    }

    /// The tokenizer it was made with.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// How images become its input.
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
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
        let mut engine = self.engine(EngineLimits {
            slots: at_once.max(1).min(requests.len().max(1)),
            ..EngineLimits::default()
        })?;
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

    /// Tokens that a request's reply can at most take the conversation to.
    fn room(&self, prompt_tokens: usize, options: &GenerateOptions) -> usize {
        prompt_tokens
            .saturating_add(options.max_new_tokens)
            .min(self.context())
    }

    fn context(&self) -> usize {
        let context = self.model.config().text_config.max_position_embeddings;
        usize::try_from(context).unwrap_or(usize::MAX)
    }

    /// Tokens of one image.
    fn image_tokens(&self) -> usize {
        usize::try_from(self.model.config().image_tokens()).unwrap_or(0)
    }

    /// Bytes that a token takes in the cache.
    fn bytes_per_token(&self) -> u64 {
        KvCache::bytes_per_token(&self.model.config().text_config, self.model.compute)
    }

    /// The token ids of a request's prompt, checked.
    fn prompt(&self, request: &Request) -> Result<Vec<i64>, Error> {
        let wrong = |detail: String| Err(Error::Shape(detail));
        let config = self.model.config();
        if !request.images.is_empty() && config.vision_config.is_none() {
            return wrong(
                "it has an image, and this model reads text only: leave the image out, or take a \
                 model with a vision tower"
                    .into(),
            );
        }
        let shown = request
            .turns
            .iter()
            .flat_map(|turn| &turn.parts)
            .filter(|part| **part == Part::Image)
            .count();
        if shown != request.images.len() {
            return wrong(format!(
                "its turns show {shown} images, and {} are given",
                request.images.len()
            ));
        }
        let side = self.preprocessor.side;
        if let Some(other) = request.images.iter().find(|image| image.side != side) {
            return wrong(format!(
                "an image of {} pixels a side for a tower of {side}",
                other.side
            ));
        }
        let said = request
            .turns
            .iter()
            .flat_map(|turn| &turn.parts)
            .any(|part| !matches!(part, Part::Text(text) if text.trim().is_empty()));
        if !said {
            return wrong("the prompt is empty: say or show something".into());
        }
        request.options.sampling.check()?;
        let run = self.image_tokens();
        let ids = self
            .form
            .encode(&self.tokenizer, &request.turns, run, true)?
            .ids;
        let context = self.context();
        if ids.len() >= context {
            return wrong(format!(
                "its prompt takes {} tokens, and the model's context is {context}: shorten it",
                ids.len()
            ));
        }
        let image_tokens = ids
            .iter()
            .filter(|&&id| id == config.image_token_index)
            .count();
        if image_tokens != shown * run {
            return wrong(format!(
                "{image_tokens} image tokens in the prompt for {shown} images of {run}"
            ));
        }
        Ok(ids)
    }
}
