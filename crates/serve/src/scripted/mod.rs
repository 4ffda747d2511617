//! An engine without a model, for tests of clients, pages and queues.
//!
//! Words are tokens, and what is said follows a script: a function of the prompt. So a whole server can be
//! tried where no model is, its answers are known beforehand, and the faults of an engine (slow, full,
//! broken, panicking) come when they are asked for. The same question has the same answer, always.

mod engine;

use std::sync::Arc;

use crate::ask::{Ask, Form, Part, Prompt, Role, Sampling, Turn};
use crate::model::{Model, ModelCard, Refusal, RefusalKind};

pub use engine::{Faults, ScriptedEngine, Watch};

/// What an image takes of the context, in tokens.
pub const IMAGE_TOKENS: usize = 16;

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

/// A question of one turn, answered greedily once, for tests that ask without HTTP.
pub fn question(text: &str) -> Ask {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::Finish;
    use crate::model::Engine;

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
            let mut ask = question("one two three");
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
        assert_eq!(run(&mut engine, &question("one two three")).3, (3, 0));
        assert_eq!(run(&mut engine, &question("one two four")).3, (3, 2));
        assert_eq!(engine.counts().prefill_computed, 4);
        assert_eq!(engine.counts().prefill_cached, 2);
    }

    #[test]
    fn a_prompt_over_the_context_is_refused() {
        let model = ScriptedModel::echo("echo").with_context(3);
        assert!(model.prepare(&question("one two")).is_ok());
        let refusal = model.prepare(&question("one two three")).err().unwrap();
        assert_eq!(refusal.kind, RefusalKind::ContextLength);
    }
}
