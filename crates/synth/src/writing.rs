//! The last way over the images: what is known now is settled, and written.

use std::collections::HashSet;

use chat::Ledger;
use sample::{MadePair, Manifest, Origin, Reject, Sample, Stage, interrupt, progress, seed};

use crate::Error;
use crate::augmentation::AUGMENTATIONS;
use crate::candidate::{Candidate, Fallen, Found, Reader};
use crate::check;
use crate::output::Output;
use crate::stage::Synthesis;
use crate::verify::{Decision, Outcome, Verifier};
use crate::yields::Yields;

/// What writing needs to know.
pub(crate) struct Writing<'a> {
    pub(crate) synthesis: &'a Synthesis<'a>,
    pub(crate) reader: Option<&'a Reader<'a>>,
    pub(crate) verifier: &'a Verifier<'a>,
    pub(crate) teacher: &'a str,
}

impl<'a> Writing<'a> {
    fn found(&self, at: usize) -> Result<Found<'a>, Error> {
        interrupt::check()?;
        match self.reader {
            Some(reader) => reader.read(at),
            None => Ok(Found::default()),
        }
    }

    /// The ids of pairs that passed and go all the same, so that the kinds are in proportion to the
    /// scarcest: those that a seed puts last.
    pub(crate) fn surplus(&self) -> Result<HashSet<String>, Error> {
        let mut passed: Vec<Vec<(u64, String)>> = vec![Vec::new(); AUGMENTATIONS.len()];
        for at in 0..self.synthesis.subjects.len() {
            for candidate in self.found(at)?.pairs.into_iter().flatten() {
                let outcome = self.decide(&candidate, at)?;
                if matches!(outcome.decision, Decision::Kept { .. }) {
                    let place = seed::derive(self.synthesis.run_seed, &["trim", &candidate.id]);
                    let kind = AUGMENTATIONS
                        .iter()
                        .position(|a| a.name() == candidate.kind.name());
                    if let Some(kind) = kind {
                        passed[kind].push((place, candidate.id));
                    }
                }
            }
        }
        let shares = self.synthesis.config.shares();
        let scale = passed
            .iter()
            .zip(&shares)
            .filter(|(_, share)| **share > 0.0)
            .map(|(ids, share)| ids.len() as f64 / share)
            .fold(f64::INFINITY, f64::min);
        let mut dropped = HashSet::new();
        for (ids, share) in passed.iter_mut().zip(&shares) {
            ids.sort_unstable();
            let kept = (scale * share).round() as usize;
            dropped.extend(ids.drain(..).skip(kept).map(|(_, id)| id));
        }
        Ok(dropped)
    }

    fn decide(&self, candidate: &Candidate<'_>, at: usize) -> Result<Outcome, Error> {
        let mut outcome = self
            .verifier
            .decide(candidate, &self.synthesis.subjects[at])?;
        if let Decision::Open(request) = &outcome.decision {
            outcome.decision = Decision::Rejected {
                reason: "unverified",
                detail: format!("nobody answered {}", request.id),
            };
        }
        Ok(outcome)
    }

    /// The first words of refusal, where everything was refused.
    pub(crate) fn first_refusal(&self) -> Result<String, Error> {
        for at in 0..self.synthesis.subjects.len() {
            let first = self.found(at)?.pairs.into_iter().find_map(Result::err);
            if let Some(fallen) = first {
                return Ok(fallen.detail);
            }
        }
        Ok(String::new())
    }

    pub(crate) fn write(
        &self,
        stage: &Stage,
        ledger: &Ledger,
        dropped: &HashSet<String>,
    ) -> Result<(Manifest, Yields), Error> {
        let mut output = Output::create(stage)?;
        let mut yields = Yields::default();
        let mut verdicts = Vec::new();
        let subjects = &self.synthesis.subjects;
        let bar = progress::bar("pairs", subjects.len() as u64, "images");
        for (at, subject) in subjects.iter().enumerate() {
            output.original(subject)?;
            let found = self.found(at)?;
            yields.asked(&found, &subject.image.source);
            for one in found.pairs {
                let made = match one {
                    Ok(candidate) => {
                        let mut outcome = self.decide(&candidate, at)?;
                        if dropped.contains(&candidate.id) {
                            let detail = "its kind had more pairs than its share".to_owned();
                            let reason = "trimmed";
                            outcome.decision = Decision::Rejected { reason, detail };
                        }
                        self.settle(candidate, outcome, &mut yields, &mut output)?
                    }
                    Err(fallen) => self.fall(fallen, &mut yields, &mut output)?,
                };
                if let Some((pair, nth)) = made {
                    verdicts.push(chat::ledger::Verdict {
                        digest: pair.digest.clone(),
                        pair: u32::try_from(nth).unwrap_or(u32::MAX),
                        sample_id: pair.id.clone(),
                        verdict: match &pair.reason {
                            Some(_) => "rejected".to_owned(),
                            None => "kept".to_owned(),
                        },
                        reason: pair.reason.clone().unwrap_or_else(|| pair.verdict.clone()),
                        detail: pair.detail.clone().unwrap_or_default(),
                    });
                    output.made(pair)?;
                }
            }
            bar.inc(1);
            if verdicts.len() >= VERDICTS || at + 1 == subjects.len() {
                ledger.verdicts(&verdicts).map_err(Error::ledger)?;
                verdicts.clear();
            }
        }
        bar.finish();
        Ok((output.finish(stage)?, yields))
    }

    /// Writes what became of a candidate.
    fn settle(
        &self,
        candidate: Candidate<'_>,
        outcome: Outcome,
        yields: &mut Yields,
        output: &mut Output,
    ) -> Result<Option<(MadePair, usize)>, Error> {
        let (parent, kind) = (candidate.parent, candidate.kind.name());
        let source = parent.origin.source();
        let given = candidate.value();
        let checked = candidate.checked;
        let mut made = MadePair {
            votes: outcome.votes,
            ..pair(&candidate.id, kind, parent, &candidate.digest)
        };
        made.question.clone_from(&checked.question);
        made.choices.clone_from(&checked.choices);
        made.answer.clone_from(&given);
        yields.passed(kind, source, &outcome.decision);
        match outcome.decision {
            Decision::Kept { verdict, answer } => {
                let value = check::value(&answer, &checked.choices);
                if value != given {
                    made.given = Some(given);
                }
                made.answer = value;
                made.verdict = verdict.to_owned();
                output.pair(Sample {
                    id: candidate.id,
                    image: parent.image.clone(),
                    question: checked.question,
                    choices: checked.choices,
                    answer,
                    unit: checked.unit,
                    rationale: None,
                    task: parent.task,
                    language: parent.language.clone(),
                    origin: Origin::Synth {
                        source: source.to_owned(),
                        augmentation: kind.to_owned(),
                        parent: parent.id.clone(),
                        teacher: self.teacher.to_owned(),
                        prompt_digest: candidate.digest,
                    },
                    template: checked.template,
                })?;
            }
            Decision::Rejected { reason, detail } => {
                yields.rejected(kind, source, reason, false);
                output.reject(reject(source, &candidate.id, reason, &detail))?;
                made.reason = Some(reason.to_owned());
                made.detail = Some(detail);
            }
            Decision::Open(_) => {}
        }
        Ok(Some((made, candidate.nth)))
    }

    /// Writes what fell before it was a candidate.
    fn fall(
        &self,
        fallen: Fallen<'_>,
        yields: &mut Yields,
        output: &mut Output,
    ) -> Result<Option<(MadePair, usize)>, Error> {
        let (parent, kind) = (fallen.parent, fallen.kind.name());
        let source = parent.origin.source();
        yields.rejected(kind, source, fallen.reason, fallen.nth.is_none());
        output.reject(reject(source, &fallen.id, fallen.reason, &fallen.detail))?;
        let (Some(written), Some(nth)) = (fallen.pair, fallen.nth) else {
            return Ok(None);
        };
        let made = MadePair {
            question: written.question,
            choices: written.choices,
            answer: written.answer.unwrap_or_default(),
            reason: Some(fallen.reason.to_owned()),
            detail: Some(fallen.detail),
            ..pair(&fallen.id, kind, parent, &fallen.digest)
        };
        Ok(Some((made, nth)))
    }
}

/// Verdicts that are written to the ledger together.
const VERDICTS: usize = 4096;

fn reject(source: &str, row: &str, reason: &str, detail: &str) -> Reject {
    Reject {
        source: source.to_owned(),
        row: row.to_owned(),
        reason: reason.to_owned(),
        detail: detail.to_owned(),
    }
}

/// A rejected pair with nothing but its lineage.
fn pair(id: &str, kind: &str, parent: &Sample, digest: &str) -> MadePair {
    MadePair {
        id: id.to_owned(),
        kind: kind.to_owned(),
        source: parent.origin.source().to_owned(),
        task: parent.task.name().to_owned(),
        image: parent.image.path.clone(),
        image_sha256: parent.image.sha256.clone(),
        parent: parent.id.clone(),
        parent_question: parent.question.clone(),
        parent_answer: parent.answer_value(),
        question: String::new(),
        choices: Vec::new(),
        answer: String::new(),
        given: None,
        votes: Vec::new(),
        verdict: "rejected".to_owned(),
        reason: None,
        detail: None,
        digest: digest.to_owned(),
    }
}
