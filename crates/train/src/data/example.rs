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

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Template, conversation_tokens, train_bpe};

    fn encoding(form: PromptForm) -> Encoding {
        let text =
            ["USER: ASSISTANT: What is it? A bus. Which colour? Red. And now? Gone.".to_owned()];
        Encoding {
            tokenizer: train_bpe(text, 300).unwrap(),
            form,
            patches: 3,
            max_length: 400,
        }
    }

    fn example(image: bool, shown_in: usize, rounds: &[(&str, &str)]) -> Example {
        Example {
            id: "1".to_owned(),
            source: "mix".to_owned(),
            image: image.then(|| ExampleImage {
                path: "1.png".to_owned(),
                sha256: String::new(),
            }),
            shown_in,
            rounds: rounds
                .iter()
                .map(|(question, reply)| Round {
                    question: (*question).to_owned(),
                    reply: (*reply).to_owned(),
                })
                .collect(),
        }
    }

    const ROUNDS: [(&str, &str); 3] = [
        ("What is it?", "A bus."),
        ("Which colour?", "Red."),
        ("And now?", "Gone."),
    ];

    /// Each run of labelled tokens as text.
    fn labelled(encoding: &Encoding, sequence: &Sequence) -> Vec<String> {
        let mut runs: Vec<Vec<i64>> = Vec::new();
        let mut inside = false;
        for (&id, &label) in sequence.ids.iter().zip(&sequence.labelled) {
            match runs.last_mut() {
                Some(run) if label && inside => run.push(id),
                _ if label => runs.push(vec![id]),
                _ => {}
            }
            inside = label;
        }
        let text = |run: &Vec<i64>| encoding.tokenizer.decode(run).unwrap();
        runs.iter().map(text).collect()
    }

    #[test]
    fn one_round_has_the_tokens_of_a_single_exchange() {
        for template in [Template::V1, Template::Tiny, Template::Plain] {
            let encoding = encoding(PromptForm::Named(template));
            let sequence = encoding.sequence(&example(true, 0, &ROUNDS[..1])).unwrap();
            let (question, reply) = ROUNDS[0];
            let expected =
                conversation_tokens(&encoding.tokenizer, template, 3, question, Some(reply))
                    .unwrap();
            assert_eq!(
                (sequence.ids, sequence.labelled),
                (expected.ids, expected.labels)
            );
        }
    }

    #[test]
    fn every_reply_of_a_conversation_is_labelled_and_no_question_is() {
        for (image, shown_in) in [(true, 0), (true, 2), (false, 0)] {
            let encoding = encoding(PromptForm::Named(Template::Tiny));
            let sequence = encoding
                .sequence(&example(image, shown_in, &ROUNDS))
                .unwrap();
            let texts = labelled(&encoding, &sequence);
            assert_eq!(texts.len(), 3, "{texts:?}");
            for (text, (_, reply)) in texts.iter().zip(ROUNDS) {
                assert_eq!(text.replace("</s>", "").trim(), reply, "{texts:?}");
            }
            let images = |ids: &[i64]| {
                ids.iter()
                    .filter(|id| Some(**id) == encoding.tokenizer.image)
                    .count()
            };
            assert_eq!(images(&sequence.ids), if image { 3 } else { 0 });
            // The image stands before the replies that follow the question that shows it.
            let first = sequence
                .ids
                .iter()
                .position(|id| Some(*id) == encoding.tokenizer.image);
            let before = first.map_or(0, |at| {
                let labels = sequence.labelled[..at].windows(2);
                labels.filter(|pair| !pair[0] && pair[1]).count()
            });
            assert_eq!(before, if image { shown_in } else { 0 });
        }
    }

    #[test]
    fn words_are_counted_as_llava_counts_them() {
        assert_eq!(example(true, 0, &ROUNDS[..2]).words(), 1 + 3 + 2 + 2 + 1);
        assert_eq!(example(false, 0, &ROUNDS[..2]).words(), 3 + 2 + 2 + 1);
    }
}
