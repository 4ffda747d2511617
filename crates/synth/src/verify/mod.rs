//! Verification: whether the answer of a candidate is right.
//!
//! A program that knows the image's scene proves or disproves what it understands. Of the rest, each
//! question is answered blind, by a model that sees the image and the new question and nothing else,
//! until a majority is certain; a judge may have the last word. Votes are requests like any other:
//! behind the ledger, drawn by seed, never paid twice.

mod judge;
mod vote;

use chat::{Ledger, Request, Settled};
use sample::Answer;

use crate::Error;
use crate::candidate::Candidate;
use crate::check;
use crate::config::VerifyConfig;
use crate::prompts::Prompts;
use crate::request::Subject;
use vote::{Standing, standing};

/// Computes answers from scenes and tables.
pub trait Prover: Sync {
    /// The answer to a question whose form the program understands; `None` for any other.
    fn prove(&self, scene: &str, question: &str, choices: &[String]) -> Option<Answer>;
}

/// What is known of a candidate's answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It is kept.
    Kept {
        /// `proven`, `agreed`, `inherited` or `form`: what speaks for it.
        verdict: &'static str,
        /// The answer as it was settled.
        answer: Answer,
    },
    /// It is rejected.
    Rejected {
        /// Why, in a short fixed word.
        reason: &'static str,
        /// The exact trouble.
        detail: String,
    },
    /// This must be asked first.
    Open(Box<Request>),
}

/// What became of a candidate, with the blind answers it got.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The decision.
    pub decision: Decision,
    /// The blind answers, in the order they were asked for.
    pub votes: Vec<String>,
}

/// Who is asked: a name, and whether it reads subjects, as digests need them.
pub type Name<'a> = (&'a str, bool);

/// What deciding needs to know.
pub struct Verifier<'a> {
    /// The settings.
    pub config: &'a VerifyConfig,
    /// The run's seed.
    pub run_seed: u64,
    /// The prompts.
    pub prompts: &'a Prompts,
    /// Where votes are.
    pub ledger: &'a Ledger,
    /// Whether the teacher is a program, whose answers are computed.
    pub teacher_proves: bool,
    /// Who answers blind, where somebody does.
    pub blind: Option<Name<'a>>,
    /// Who judges, where somebody does.
    pub judge: Option<Name<'a>>,
    /// Who computes answers, where somebody does.
    pub prover: Option<&'a dyn Prover>,
}

impl Verifier<'_> {
    /// What is known of a candidate by now.
    ///
    /// # Errors
    /// Where the ledger cannot be read.
    pub fn decide(&self, candidate: &Candidate<'_>, subject: &Subject) -> Result<Outcome, Error> {
        let silent = |decision| Outcome {
            decision,
            votes: Vec::new(),
        };
        let given = candidate.checked.answer.clone();
        if self.teacher_proves {
            let verdict = "proven";
            return Ok(silent(Decision::Kept {
                verdict,
                answer: given,
            }));
        }
        if let Some(decision) = self.proof(candidate, subject) {
            return Ok(silent(decision));
        }
        let wanted = if candidate.kind.inherits_answer() {
            self.config.inherited_answers
        } else {
            self.config.answers
        };
        let mut outcome = match self.blind {
            Some(name) if wanted > 0 => self.agreement(candidate, subject, name, wanted)?,
            _ => silent(Decision::Kept {
                verdict: if candidate.kind.inherits_answer() {
                    "inherited"
                } else {
                    "form"
                },
                answer: given,
            }),
        };
        if let (Some(name), Decision::Kept { answer, .. }) = (self.judge, &outcome.decision)
            && let Some(decision) = self.judgement(candidate, subject, name, answer)?
        {
            outcome.decision = decision;
        }
        Ok(outcome)
    }

    /// What a program says, where one understands the question.
    fn proof(&self, candidate: &Candidate<'_>, subject: &Subject) -> Option<Decision> {
        let prover = self.prover.filter(|_| self.config.proofs)?;
        let scene = subject.image.scene.as_deref()?;
        let checked = &candidate.checked;
        let answer = prover.prove(scene, &checked.question, &checked.choices)?;
        let computed = check::value(&answer, &checked.choices);
        let verdict = "proven";
        if check::equal(&computed, &candidate.value()) {
            let answer = checked.answer.clone();
            return Some(Decision::Kept { verdict, answer });
        }
        if candidate.kind.answer_by_agreement() {
            return Some(Decision::Kept { verdict, answer });
        }
        Some(Decision::Rejected {
            reason: "disproved",
            detail: format!(
                "a program computes {computed:?}, not {:?}",
                candidate.value()
            ),
        })
    }

    /// What the blind answers say.
    fn agreement(
        &self,
        candidate: &Candidate<'_>,
        subject: &Subject,
        name: Name<'_>,
        wanted: usize,
    ) -> Result<Outcome, Error> {
        let mut votes: Vec<Option<Answer>> = Vec::new();
        let mut said = Vec::new();
        loop {
            let decision = match standing(candidate, &votes, wanted) {
                Standing::Agreed(answer) => Decision::Kept {
                    verdict: "agreed",
                    answer,
                },
                Standing::Disagreed(reason) => Decision::Rejected {
                    reason,
                    detail: format!(
                        "{:?} was answered blind with {}",
                        candidate.checked.question,
                        said.join(", ")
                    ),
                },
                Standing::Open => {
                    let request = self.vote(candidate, subject, votes.len(), wanted);
                    let digest = request.digest(name.0, name.1);
                    match self.ledger.settled(&digest).map_err(Error::ledger)? {
                        Some(Settled::Replied(reply)) => {
                            let vote = vote::read(&reply.text, &candidate.checked);
                            said.push(vote.as_ref().map_or_else(
                                || "(nothing readable)".to_owned(),
                                |a| check::value(a, &candidate.checked.choices),
                            ));
                            votes.push(vote);
                            continue;
                        }
                        Some(Settled::Refused { reason, .. }) => {
                            said.push(format!("({reason})"));
                            votes.push(None);
                            continue;
                        }
                        None => Decision::Open(Box::new(request)),
                    }
                }
            };
            return Ok(Outcome {
                decision,
                votes: said,
            });
        }
    }

    /// What the judge says against it, or that the judge must be asked.
    fn judgement(
        &self,
        candidate: &Candidate<'_>,
        subject: &Subject,
        name: Name<'_>,
        answer: &Answer,
    ) -> Result<Option<Decision>, Error> {
        let request = self.judge_request(candidate, subject, answer);
        let digest = request.digest(name.0, name.1);
        let rejected = |reason, detail: &str| {
            Some(Decision::Rejected {
                reason,
                detail: detail.chars().take(300).collect(),
            })
        };
        Ok(match self.ledger.settled(&digest).map_err(Error::ledger)? {
            Some(Settled::Replied(reply)) => match judge::read(&reply.text) {
                Some(true) => None,
                Some(false) => rejected("judged_unfit", &reply.text),
                None => rejected("judgement_unreadable", &reply.text),
            },
            Some(Settled::Refused { detail, .. }) => rejected("judge_refused", &detail),
            None => Some(Decision::Open(Box::new(request))),
        })
    }
}

#[cfg(test)]
mod tests;
