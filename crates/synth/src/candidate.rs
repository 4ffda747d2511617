//! From replies on the ledger to candidates: pairs that passed everything that costs nothing.
//!
//! **Invariant:** which pairs are candidates depends on the replies alone, never on how they fare in
//! verification; so the stage can read them again at every step and keep none of them in memory.

use chat::{Finish, Ledger, Settled};
use sample::Sample;

use crate::Error;
use crate::augmentation::Augmentation;
use crate::check::{self, Checked};
use crate::config::VerifyConfig;
use crate::contamination::Contamination;
use crate::form::{self, Numbers};
use crate::near::Signature;
use crate::reply::{self, Pair};
use crate::request::{Ask, Requests};

/// A pair that is worth verifying.
#[derive(Clone)]
pub struct Candidate<'a> {
    /// The id its sample will have.
    pub id: String,
    /// Its kind.
    pub kind: &'static dyn Augmentation,
    /// The pair it was made from.
    pub parent: &'a Sample,
    /// The request that made it, on the ledger.
    pub digest: String,
    /// Which pair of its reply it is, from 0.
    pub nth: usize,
    /// What the teacher settled.
    pub checked: Checked,
}

impl Candidate<'_> {
    /// The value of its answer as the teacher gave it, or inherited it.
    pub fn value(&self) -> String {
        check::value(&self.checked.answer, &self.checked.choices)
    }
}

/// A pair, or a whole reply, that is none.
#[derive(Clone)]
pub struct Fallen<'a> {
    /// The id that the pair would have had, or the request's.
    pub id: String,
    /// Its kind.
    pub kind: &'static dyn Augmentation,
    /// The pair it was made from.
    pub parent: &'a Sample,
    /// The request, on the ledger.
    pub digest: String,
    /// Which pair of its reply it is, where it is one.
    pub nth: Option<usize>,
    /// What the teacher wrote, where that could be read.
    pub pair: Option<Pair>,
    /// Why, in a short fixed word.
    pub reason: &'static str,
    /// The exact trouble.
    pub detail: String,
}

/// What came of the requests about one image.
#[derive(Default)]
pub struct Found<'a> {
    /// Pairs and rejects, in the order of the requests and their replies.
    pub pairs: Vec<Result<Candidate<'a>, Fallen<'a>>>,
    /// Pairs that were asked for, by kind, with the requests: (kind, wanted, read).
    pub asked: Vec<(&'static dyn Augmentation, usize, usize)>,
    /// Requests that nobody has answered yet.
    pub missing: usize,
}

/// What reading needs to know.
pub struct Reader<'a> {
    /// The requests.
    pub requests: &'a Requests<'a>,
    /// Where the replies are.
    pub ledger: &'a Ledger,
    /// The teacher's name, and whether it reads subjects: what digests depend on.
    pub teacher: (&'a str, bool),
    /// What is checked.
    pub verify: &'a VerifyConfig,
    /// What benchmarks ask.
    pub contamination: &'a Contamination,
}

impl<'a> Reader<'a> {
    /// Reads what came of the requests about image `at`.
    ///
    /// # Errors
    /// Where the ledger cannot be read.
    pub fn read(&self, at: usize) -> Result<Found<'a>, Error> {
        let mut found = Found::default();
        let subject = &self.requests.subjects[at];
        let mut asked: Vec<String> = Vec::new();
        let mut near: Vec<Signature> = Vec::new();
        for sample in &subject.samples {
            asked.push(check::same(&sample.question));
            if self.verify.near_duplicates > 0.0 {
                near.push(Signature::of(&sample.question));
            }
        }
        let originals = near.len();
        for ask in self.requests.of(at) {
            let digest = ask.request.digest(self.teacher.0, self.teacher.1);
            let fallen = |reason: &'static str, detail: String| Fallen {
                id: ask.request.id.clone(),
                kind: ask.kind,
                parent: ask.parent,
                digest: digest.clone(),
                nth: None,
                pair: None,
                reason,
                detail,
            };
            found.asked.push((ask.kind, ask.count, 0));
            if let Err(detail) = &subject.file {
                found
                    .pairs
                    .push(Err(fallen("image_missing", detail.clone())));
                continue;
            }
            let reply = match self.ledger.settled(&digest).map_err(Error::ledger)? {
                Some(Settled::Replied(reply)) => reply,
                Some(Settled::Refused { reason, detail }) => {
                    let reason = refusal(&reason);
                    found.pairs.push(Err(fallen(reason, detail)));
                    continue;
                }
                None => {
                    found.missing += 1;
                    let detail = "no server answered the request".to_owned();
                    found.pairs.push(Err(fallen("unanswered", detail)));
                    continue;
                }
            };
            let pairs = reply::parse(&reply.text);
            if pairs.is_empty() {
                let reason = if reply.finish == Finish::Length {
                    "reply_cut"
                } else {
                    "reply_unparsable"
                };
                let start: String = reply.text.chars().take(200).collect();
                let detail = format!("no pair in the reply {start:?}");
                found.pairs.push(Err(fallen(reason, detail)));
                continue;
            }
            if let Some(last) = found.asked.last_mut() {
                last.2 = pairs.len();
            }
            for (nth, pair) in pairs.into_iter().enumerate() {
                let judged = self.judge(&ask, nth, &pair, &mut asked, &mut near, originals);
                let id = format!("{}{}", ask.request.id, nth + 1);
                found.pairs.push(match judged {
                    Ok(checked) => Ok(Candidate {
                        id,
                        kind: ask.kind,
                        parent: ask.parent,
                        digest: digest.clone(),
                        nth,
                        checked,
                    }),
                    Err((reason, detail)) => Err(Fallen {
                        id,
                        nth: Some(nth),
                        pair: Some(pair),
                        ..fallen(reason, detail)
                    }),
                });
            }
        }
        Ok(found)
    }

    /// Everything that can be said of a pair without asking anybody.
    fn judge(
        &self,
        ask: &Ask<'_>,
        nth: usize,
        pair: &Pair,
        asked: &mut Vec<String>,
        near: &mut Vec<Signature>,
        originals: usize,
    ) -> Result<Checked, check::Fault> {
        if nth >= ask.count {
            let detail = format!("more pairs than the {} that were wanted", ask.count);
            return Err(("surplus", detail));
        }
        let checked = check::check(ask.kind, ask.parent, pair, asked)?;
        if self.verify.form {
            let value = check::value(&checked.answer, &checked.choices);
            let (parent, question) = (ask.parent, &checked.question);
            form::answer_leaked(parent, question, &checked.choices, &value)?;
            form::language_kept(parent, question)?;
            // A program that proves its answers may say "the slope" for "when x grows by 1".
            if let Some(rule) = ask.kind.numbers().filter(|_| !self.teacher.1) {
                form::numbers_kept(parent, question, rule)?;
                if rule == Numbers::AllKept {
                    form::not_another_question(parent, question)?;
                }
            }
        }
        if self.verify.near_duplicates > 0.0 {
            let signature = Signature::of(&checked.question);
            // A rephrased question may keep most words of the one it was made from, which is one of
            // the image's own.
            let own = if ask.kind.inherits_answer() {
                originals
            } else {
                0
            };
            let alike = near
                .iter()
                .skip(own)
                .map(|other| signature.similarity(other))
                .fold(0.0, f64::max);
            if alike >= self.verify.near_duplicates {
                let detail = format!(
                    "{:?} has {:.0}% of its wording in common with another question of the image",
                    checked.question,
                    100.0 * alike
                );
                return Err(("near_duplicate", detail));
            }
            near.push(signature);
        }
        if let Some(detail) = self.contamination.find(&checked.question) {
            return Err(("benchmark", detail));
        }
        asked.push(check::same(&checked.question));
        Ok(checked)
    }
}

/// The ledger's words for refusals as fixed words.
fn refusal(word: &str) -> &'static str {
    match word {
        "refused" => "refused",
        "invalid_request" => "invalid_request",
        "image_unreadable" => "image_unreadable",
        _ => "unanswerable",
    }
}
