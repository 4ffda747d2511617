//! Measuring the model while it trains: held-out questions, answered by generation.

use std::collections::BTreeMap;
use std::sync::Arc;

use c10d::Group;
use fit::Evaluation;
use model::{Generator, Llava, Pixels, Preprocessor, PromptForm, Quantisation, Request, Tokenizer};
use rayon::prelude::*;
use sample::{progress, seed};
use serde_json::json;
use tch::Device;

use crate::Error;
use crate::data::{Example, Locate};

/// Decides whether a reply is right: the example's id, what it should say, what the model said.
pub type Judge<'a> = dyn Fn(&str, &str, &str) -> bool + Sync + 'a;

/// Questions with a reply in full that are kept in the record of an evaluation.
const SHOWN: usize = 24;
/// Tokens of a reply.
const REPLY: usize = 64;
/// Conversations answered at the same time.
const AT_ONCE: usize = 32;

/// Held-out questions, and how to ask them.
pub struct Questions {
    asked: Vec<Asked>,
    tokenizer: Tokenizer,
    preprocessor: Preprocessor,
    form: PromptForm,
}

struct Asked {
    id: String,
    question: String,
    reference: String,
    image: Option<Arc<Pixels>>,
}

impl Questions {
    /// At most `limit` first rounds of `examples`, drawn by the run's seed. What cannot be read is left
    /// out.
    pub fn new(
        examples: &[Example],
        limit: usize,
        run_seed: u64,
        locate: &Locate<'_>,
        (tokenizer, preprocessor, form): (&Tokenizer, &Preprocessor, &PromptForm),
    ) -> Questions {
        let mut order: Vec<usize> = (0..examples.len()).collect();
        order.sort_by_cached_key(|&i| {
            let index = i.to_string();
            seed::derive(run_seed, &["train", "questions", &examples[i].id, &index])
        });
        order.truncate(limit);
        // In the data's order again, in which an image's questions stand together.
        order.sort_unstable();
        let picked: Vec<&Example> = order.iter().filter_map(|&i| examples.get(i)).collect();
        let mut images: BTreeMap<&str, Option<Arc<Pixels>>> = picked
            .iter()
            .filter_map(|example| Some((example.image.as_ref()?.path.as_str(), None)))
            .collect();
        images.par_iter_mut().for_each(|(path, pixels)| {
            let opened = locate(path)
                .ok()
                .and_then(|file| preprocessor.open(&file).ok());
            *pixels = opened.map(Arc::new);
        });
        let asked = picked.into_iter().filter_map(|example| {
            let round = example.rounds.first()?;
            let image = match example.image.as_ref().filter(|_| example.shown_in == 0) {
                Some(image) => Some(images.get(image.path.as_str())?.clone()?),
                None => None,
            };
            Some(Asked {
                id: example.id.clone(),
                question: round.question.clone(),
                reference: round.reply.clone(),
                image,
            })
        });
        Questions {
            asked: asked.collect(),
            tokenizer: tokenizer.clone(),
            preprocessor: preprocessor.clone(),
            form: form.clone(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.asked.len()
    }

    /// Asks the model as it is now; `None` where there is nothing to ask. Each of several ranks asks its part
    /// of the questions, and all get the same result.
    pub fn ask(
        &self,
        model: &Llava,
        judge: Option<&Judge<'_>>,
        group: &Group,
    ) -> Result<Option<Evaluation>, Error> {
        if self.asked.is_empty() {
            return Ok(None);
        }
        let all = self.asked.len();
        let start = |rank: usize| all * rank / group.world();
        let own = &self.asked[start(group.rank())..start(group.rank() + 1)];
        let replies = fit::ranks::together(group, self.replies(model, own))?;
        let text = serde_json::to_vec(&replies).map_err(|e| Error::Data(e.to_string()))?;
        let mut replies: Vec<String> = Vec::with_capacity(all);
        for told in group.gather(&text)? {
            let told: Vec<String> = serde_json::from_slice(&told)
                .map_err(|e| Error::Data(format!("what another rank's model said: {e}")))?;
            replies.extend(told);
        }
        Ok(Some(self.evaluation(&replies, judge)))
    }

    /// What the model says to each of `asked`.
    fn replies(&self, model: &Llava, asked: &[Asked]) -> Result<Vec<String>, Error> {
        // On a GPU a second, packed copy of the weights would not fit beside the training.
        let answering = match model.device() {
            Device::Cpu => model.answering(model.compute, Quantisation::None)?,
            _ => model.frozen(model.compute)?,
        };
        let generator = Generator::with(
            answering,
            self.tokenizer.clone(),
            self.preprocessor.clone(),
            self.form.clone(),
        )?;
        let request =
            |asked: &Asked| Request::question(&asked.question, asked.image.clone(), REPLY);
        let requests: Vec<Request> = asked.iter().map(request).collect();
        let bar = progress::bar("evaluate", requests.len() as u64, "questions");
        let mut replies = Vec::with_capacity(requests.len());
        for some in requests.chunks(AT_ONCE * 4) {
            let generated = generator.generate(some, AT_ONCE, |_, _| ())?;
            bar.inc(some.len() as u64);
            replies.extend(generated.into_iter().map(|g| g.text.trim().to_owned()));
        }
        bar.finish();
        Ok(replies)
    }

    fn evaluation(&self, replies: &[String], judge: Option<&Judge<'_>>) -> Evaluation {
        let mut right = 0usize;
        let mut answers = Vec::new();
        for (asked, reply) in self.asked.iter().zip(replies) {
            let correct = match judge {
                Some(judge) => judge(&asked.id, &asked.reference, reply),
                None => same(&asked.reference, reply),
            };
            right += usize::from(correct);
            if answers.len() < SHOWN {
                answers.push(json!({
                    "id": asked.id,
                    "question": asked.question,
                    "reference": asked.reference,
                    "reply": reply,
                    "correct": correct,
                }));
            }
        }
        let accuracy = right as f64 / replies.len().max(1) as f64;
        Evaluation {
            score: accuracy,
            values: BTreeMap::from([
                ("accuracy".to_owned(), accuracy),
                ("questions".to_owned(), replies.len() as f64),
            ]),
            answers,
        }
    }
}

/// Equal but for case, spaces and a full stop.
fn same(reference: &str, reply: &str) -> bool {
    let plain = |text: &str| {
        let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
        words.join(" ").trim_end_matches('.').to_owned()
    };
    plain(reference) == plain(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_compared_without_case_spaces_and_the_full_stop() {
        assert!(same("The answer is B", " the answer  is b."));
        assert!(!same("The answer is 3", "The answer is 3.5"));
    }
}
