//! Before anything is sent: a request as it would be sent, and all requests that money would go for.

use chat::{Ledger, Request};

use crate::Error;
use crate::augmentation::{AUGMENTATIONS, find};
use crate::candidate::Candidate;
use crate::check::Checked;
use crate::config::NO_TEACHER;
use crate::request::Ask;
use crate::stage::{Roles, Synthesis};

/// A request as it would be sent.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The request.
    pub request: Request,
    /// The version line of its prompt.
    pub version: String,
    /// How many pairs the plan wants of it; 0 where the plan does not ask it.
    pub planned: usize,
}

impl Synthesis<'_> {
    /// The request of this kind about the sample with this id.
    ///
    /// # Errors
    /// Where there is no such kind or sample.
    pub fn show(&self, kind: &str, sample: &str) -> Result<Preview, Error> {
        let Some(kind) = find(kind) else {
            let names: Vec<&str> = AUGMENTATIONS.iter().map(|a| a.name()).collect();
            let detail = format!(
                "there is no kind {kind:?}; the kinds are {}",
                names.join(", ")
            );
            return Err(Error::Config(detail));
        };
        let place = self.subjects.iter().enumerate().find_map(|(at, subject)| {
            let parent = subject.samples.iter().find(|s| s.id == sample)?;
            Some((at, subject, parent))
        });
        let Some((at, subject, parent)) = place else {
            let samples = self.subjects.iter().flat_map(|s| &s.samples);
            let some: Vec<&str> = samples.take(3).map(|s| s.id.as_str()).collect();
            let detail = format!(
                "there is no sample {sample:?} in the selection; there are for example {}",
                some.join(", ")
            );
            return Err(Error::Config(detail));
        };
        let number = AUGMENTATIONS.iter().position(|a| a.name() == kind.name());
        let drawn = subject
            .parent(self.run_seed)
            .is_some_and(|p| p.id == parent.id);
        let planned = match number {
            Some(number) if drawn => self.plan.counts[at][number],
            _ => 0,
        };
        let count = planned.max(self.config.count(kind)).max(1);
        Ok(Preview {
            request: self.requests().request(kind, count, subject, parent),
            version: self.prompts.version(kind.name()).to_owned(),
            planned,
        })
    }

    /// Every request for pairs, as it would be sent.
    pub fn making(&self) -> impl Iterator<Item = Request> + Send {
        let requests = self.requests();
        self.places
            .iter()
            .flat_map(move |&at| requests.of(at))
            .map(|ask: Ask<'_>| ask.request)
            .filter(|request| !request.images.is_empty())
    }

    /// Requests like those that verify the pairs: as many as there may be at most, with the original
    /// question in the place of the new one.
    pub fn verifying<'b>(
        &'b self,
        roles: &'b Roles<'b>,
        ledger: &'b Ledger,
    ) -> impl Iterator<Item = Request> + Send + 'b {
        let verify = &self.config.verify;
        let (asks, judges) = (roles.blind().is_some(), roles.judge.is_some());
        let computed = self.config.teacher == NO_TEACHER
            || roles.teacher.is_some_and(chat::ChatModel::reads_subject);
        let verifier = self.verifier(roles, ledger);
        self.places.iter().flat_map(move |&at| {
            let mut found = Vec::new();
            let subject = &self.subjects[at];
            let Some(parent) = subject.parent(self.run_seed).filter(|_| !computed) else {
                return found;
            };
            for (kind, count) in AUGMENTATIONS.iter().zip(self.plan.counts[at]) {
                let votes = if kind.inherits_answer() {
                    verify.inherited_answers
                } else {
                    verify.answers
                };
                for nth in 0..count {
                    let candidate = Candidate {
                        id: format!("{}#{}{}", parent.id, kind.name(), nth + 1),
                        kind: *kind,
                        parent,
                        digest: String::new(),
                        nth,
                        checked: Checked {
                            question: parent.question.clone(),
                            choices: parent.choices.clone(),
                            answer: parent.answer.clone(),
                            unit: parent.unit.clone(),
                            template: None,
                        },
                    };
                    if asks {
                        let vote = |n| verifier.vote(&candidate, subject, n, votes);
                        found.extend((0..votes).map(vote));
                    }
                    if judges {
                        let answer = &parent.answer;
                        found.push(verifier.judge_request(&candidate, subject, answer));
                    }
                }
            }
            found.retain(|request| !request.images.is_empty());
            found
        })
    }
}
