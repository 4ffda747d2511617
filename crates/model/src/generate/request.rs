//! What is asked of a generator, and what comes back.

use std::sync::Arc;

use crate::generate::constraint::Constraint;
use crate::generate::sampling::{Sampling, TokenLogprob};
use crate::{Part, Pixels, Speaker, Turn};

/// A prompt that wants a reply.
#[derive(Debug, Clone)]
pub struct Request {
    /// What the reply follows.
    pub said: Said,
    /// The images, in the order in which the turns show them.
    pub images: Vec<Arc<Pixels>>,
    /// How the reply is written.
    pub options: GenerateOptions,
}

/// What a reply follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A conversation, written as the model was trained to read them; the reply follows the last
    /// turn.
    Turns(Vec<Turn>),
    /// Text that the model goes on with, as transformers' `tokenizer(text)` reads it: no form is put
    /// around it, special tokens that it spells out are those tokens, and it begins with the
    /// beginning-of-text token where the tokenizer says so. It shows no images.
    Text(String),
}

impl Said {
    /// How many images are shown.
    pub(super) fn images(&self) -> usize {
        self.parts().filter(|part| **part == Part::Image).count()
    }

    pub(super) fn text_bytes(&self) -> usize {
        let text = match self {
            Said::Text(text) => text.len(),
            Said::Turns(_) => 0,
        };
        let turns = self.parts().map(|part| match part {
            Part::Text(text) => text.len(),
            Part::Image => 0,
        });
        text + turns.sum::<usize>()
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        let turns = match self {
            Said::Turns(turns) => &turns[..],
            Said::Text(_) => &[],
        };
        turns.iter().flat_map(|turn| &turn.parts)
    }
}

impl Request {
    /// One question, about an image or none, answered greedily.
    pub fn question(text: &str, image: Option<Arc<Pixels>>, max_new_tokens: usize) -> Request {
        let mut parts: Vec<Part> = image.iter().map(|_| Part::Image).collect();
        parts.push(Part::Text(text.to_owned()));
        Request {
            said: Said::Turns(vec![Turn {
                speaker: Speaker::User,
                parts,
            }]),
            images: image.into_iter().collect(),
            options: GenerateOptions {
                max_new_tokens,
                ..GenerateOptions::default()
            },
        }
    }
}

/// How a reply is written.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// No more than this many tokens; the model's context is a limit as well.
    pub max_new_tokens: usize,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// A reply ends before the first of these strings, which may span tokens.
    pub stop: Vec<String>,
    /// Log-probabilities of each token, and of so many of the likeliest in its place.
    pub logprobs: Option<usize>,
    /// The form that the reply must have; it then ends where that form is complete.
    pub constraint: Option<Constraint>,
}

impl Default for GenerateOptions {
    fn default() -> GenerateOptions {
        GenerateOptions {
            max_new_tokens: 512,
            sampling: Sampling::default(),
            stop: Vec::new(),
            logprobs: None,
            constraint: None,
        }
    }
}

/// A reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The text, up to a stop string, with the spaces that the model wrote around it.
    pub text: String,
    /// The tokens, without the end token; those of a stop string are among them.
    pub tokens: Vec<i64>,
    /// Per token, where they were asked for.
    pub logprobs: Vec<Logprobs>,
    /// Tokens of the prompt, image tokens included.
    pub prompt_tokens: usize,
    /// Why it ended.
    pub finish: Finish,
}

/// How likely a token was, and what else was.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// The token that was taken.
    pub chosen: TokenLogprob,
    /// The likeliest tokens in its place, likeliest first.
    pub top: Vec<TokenLogprob>,
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model wrote an end token, or a stop string, or completed the form that was asked for.
    Stop,
    /// The limit of new tokens, of the model's context, or of what a form may cost was reached.
    Length,
    /// [`crate::Engine::cancel`].
    Cancelled,
}

/// Names a request of one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What became of a prompt's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PromptTokens {
    /// All of them, those of images included.
    pub all: usize,
    /// Not run, because another conversation, live or past, had them.
    pub cached: usize,
}

/// What a step did for one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The request.
    pub id: RequestId,
    /// With the first event of a reply: what became of its prompt.
    pub prompt: Option<PromptTokens>,
    /// The token that was added, if one was.
    pub token: Option<i64>,
    /// Its log-probabilities, where they were asked for.
    pub logprobs: Option<Logprobs>,
    /// Text that can be shown now; may be empty, never splits a character, never shows a stop string
    /// or its beginning. All pieces together are [`Generated::text`].
    pub text: String,
    /// The whole reply, where this ended it.
    pub finished: Option<Generated>,
}
