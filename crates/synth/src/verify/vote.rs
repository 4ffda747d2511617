//! Blind answers: how they are asked for, read, and counted.

use chat::{Request, Role, Tag, Turn};
use sample::{Answer, seed};
use serde_json::json;

use super::Verifier;
use crate::augmentation::question_place;
use crate::candidate::Candidate;
use crate::check::{self, Checked};
use crate::prompts::ANSWER;
use crate::reply;
use crate::request::{Subject, images};

/// How the count stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// A majority is certain; the answer is what it says.
    Agreed(Answer),
    /// A majority against it, or for nothing, is certain.
    Disagreed(&'static str),
    /// Another answer is needed.
    Open,
}

/// Counts the blind answers, `None` being one that says nothing. Of `wanted` answers a majority must
/// agree with the answer that is there, or, where the answer comes from agreement, with each other;
/// the count ends as soon as no further answer could change it.
pub fn standing(candidate: &Candidate<'_>, votes: &[Option<Answer>], wanted: usize) -> Standing {
    let choices = &candidate.checked.choices;
    let value = |answer: &Answer| check::value(answer, choices);
    let majority = wanted / 2 + 1;
    let left = wanted.saturating_sub(votes.len());
    if candidate.kind.answer_by_agreement() {
        let mut most = 0;
        for (i, vote) in votes.iter().enumerate() {
            let Some(vote) = vote else { continue };
            let alike = votes[i..].iter().flatten();
            let count = alike
                .filter(|other| check::equal(&value(vote), &value(other)))
                .count();
            if count >= majority {
                // The teacher's own form of the same answer has its unit and places.
                let given = &candidate.checked.answer;
                let same = check::equal(&value(vote), &value(given));
                return Standing::Agreed(if same { given.clone() } else { vote.clone() });
            }
            most = most.max(count);
        }
        return if most + left < majority {
            Standing::Disagreed("no_majority")
        } else {
            Standing::Open
        };
    }
    let given = &candidate.checked.answer;
    let agree = votes
        .iter()
        .flatten()
        .filter(|vote| check::equal(&value(vote), &value(given)))
        .count();
    if agree >= majority {
        Standing::Agreed(given.clone())
    } else if agree + left < majority {
        Standing::Disagreed("not_agreed")
    } else {
        Standing::Open
    }
}

/// The answer in a reply: after the last `The answer is`, in brackets or up to the end of its line.
pub fn read(reply: &str, checked: &Checked) -> Option<Answer> {
    let said = reply::last_answer(reply)?;
    let unit = checked.unit.as_deref();
    check::typed(&said, &checked.choices, unit).ok()
}

impl Verifier<'_> {
    /// The request for blind answer number `round` of `wanted`.
    pub(crate) fn vote(
        &self,
        candidate: &Candidate<'_>,
        subject: &Subject,
        round: usize,
        wanted: usize,
    ) -> Request {
        let checked = &candidate.checked;
        let unit = checked.unit.as_deref();
        let text = self.prompts.fill(ANSWER, |name| {
            question_place(name, &checked.question, &checked.choices, unit)
        });
        let round = round.to_string();
        Request {
            id: format!("{}?{round}", candidate.id),
            tag: Tag {
                stage: "synth".into(),
                kind: "verify".into(),
                source: candidate.parent.origin.source().to_owned(),
            },
            system: None,
            turns: vec![Turn {
                role: Role::User,
                text,
            }],
            images: images(subject),
            subject: json!({
                "kind": "answer",
                "question": checked.question,
                "choices": checked.choices,
                "unit": checked.unit,
            }),
            schema: None,
            max_tokens: self.config.max_tokens,
            temperature: if wanted == 1 {
                0.0
            } else {
                self.config.temperature
            },
            seed: seed::derive(self.run_seed, &["vote", &candidate.id, &round]),
        }
    }
}
