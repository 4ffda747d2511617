//! What is trained on: a conversation, perhaps about an image.
//!
//! Samples of this project are one question and its answer; LLaVA's instruction data are
//! conversations of several rounds, some without an image. Both are [`Example`]s, and from there on
//! there is one way to tokens: [`Encoding`].

use model::{PromptForm, Speaker, Tokenizer, Turn};
use sample::{Reject, Sample, prompt};

use crate::Error;
use crate::packing::tree::Sequence;

/// An image as an example names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExampleImage {
    /// As samples write it; examples with the same path are about the same image.
    pub path: String,
    /// SHA-256 of the file's bytes in hex; empty where it is not known.
    pub sha256: String,
}

/// A question and its reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// What the human says, without the image's token.
    pub question: String,
    /// What the model is to say.
    pub reply: String,
}

/// One conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Names it in messages; not always unique.
    pub id: String,
    /// The data set it is from, for the table of what could not be used.
    pub source: String,
    /// What it is about.
    pub image: Option<ExampleImage>,
    /// The round whose question shows the image; 0 nearly always.
    pub shown_in: usize,
    /// What is said.
    pub rounds: Vec<Round>,
}

impl From<&Sample> for Example {
    fn from(sample: &Sample) -> Self {
        Example {
            id: sample.id.clone(),
            source: sample.origin.source().to_owned(),
            image: Some(ExampleImage {
                path: sample.image.path.clone(),
                sha256: sample.image.sha256.clone(),
            }),
            shown_in: 0,
            rounds: vec![Round {
                question: prompt::query(sample),
                reply: prompt::response(sample),
            }],
        }
    }
}

impl Example {
    /// The conversation as prompt forms take it.
    pub fn turns(&self) -> Vec<Turn> {
        let rounds = self.rounds.iter().enumerate();
        rounds
            .flat_map(|(index, round)| {
                let images = usize::from(self.image.is_some() && index == self.shown_in);
                [
                    Turn::about(images, &round.question),
                    Turn::text(Speaker::Assistant, &round.reply),
                ]
            })
            .collect()
    }

    /// Words said by both, the image's token counted as one: what LLaVA measures conversations by.
    pub fn words(&self) -> usize {
        let said = |round: &Round| {
            round.question.split_whitespace().count() + round.reply.split_whitespace().count()
        };
        usize::from(self.image.is_some()) + self.rounds.iter().map(said).sum::<usize>()
    }

    /// The same as a row that cannot be used.
    pub fn reject(&self, reason: &str, detail: String) -> Reject {
        Reject {
            source: self.source.clone(),
            row: self.id.clone(),
            reason: reason.to_owned(),
            detail,
        }
    }
}

/// How conversations become tokens.
#[derive(Clone)]
pub struct Encoding {
    /// The vocabulary.
    pub tokenizer: Tokenizer,
    /// The words around what is said.
    pub form: PromptForm,
    /// Tokens of an image.
    pub patches: usize,
    /// What is beyond so many tokens is cut off.
    pub max_length: usize,
}

impl Encoding {
    /// The tokens of one conversation and which of them are replies, cut as LLaVA cuts them.
    ///
    /// # Errors
    /// A vocabulary without an image token for an example with an image.
    pub fn sequence(&self, example: &Example) -> Result<Sequence, Error> {
        let turns = example.turns();
        let (patches, most) = (self.patches, self.max_length);
        let tokens = self
            .form
            .encode_within(&self.tokenizer, &turns, patches, false, most)?;
        Ok(Sequence {
            ids: tokens.ids,
            labelled: tokens.labels,
        })
    }

    /// Why there is nothing to learn in a conversation of these tokens: the word to count by, and
    /// the sentence.
    pub(super) fn nothing_to_learn(&self, sequence: &Sequence) -> (&'static str, String) {
        let longest = self.max_length;
        if sequence.ids.len() < longest {
            let detail = "no token is a reply's: the reply is empty, or the conversation says what \
                          the template puts between a question and its reply";
            return ("no_labels", detail.to_owned());
        }
        let detail = format!(
            "longer than {longest} tokens, of which the first {longest} hold nothing to learn: \
             raise max_length"
        );
        ("too_long", detail)
    }
}
