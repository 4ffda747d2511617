//! The trait, and how a model that answers at once works off a stream of requests.

use serde::Serialize;

use crate::{Ledger, Reply, Request, Settled};

/// Why there is no reply.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The request itself cannot be answered by this model; asking again does not help.
    #[error("request {id}: {detail}")]
    Unanswerable {
        /// The request.
        id: String,
        /// What is missing.
        detail: String,
    },
    /// The model failed.
    #[error("{model}: {detail}")]
    Failed {
        /// The model.
        model: String,
        /// What happened.
        detail: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] crate::ledger::Error),
}

/// What became of a stream of requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Tally {
    /// Requests that came.
    pub requests: u64,
    /// Of those, settled on the ledger before.
    pub known: u64,
    /// Answered now.
    pub answered: u64,
    /// Settled now without a reply, for a reason that asking again does not mend.
    pub refused: u64,
    /// Without a reply now, for a reason that may pass; the same command tries them again.
    pub missing: u64,
    /// What was spent now, in the currency of the prices.
    pub cost: f64,
    /// The first reason that a request is missing.
    pub first_missing: Option<String>,
    /// Why not all requests were tried.
    pub stopped: Option<Stopped>,
}

/// Why a stream of requests was not worked off.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Stopped {
    /// The user asked to stop.
    Interrupted,
    /// The next request could pass `max_budget`.
    Budget {
        /// Spent, with what may have been spent on requests whose replies were lost.
        spent: f64,
        /// The bound.
        max: f64,
    },
    /// No server answers any more.
    Dead(String),
    /// `stage_timeout_s` has passed.
    OutOfTime {
        /// The bound.
        seconds: f64,
    },
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stopped::Interrupted => write!(f, "interrupted"),
            Stopped::Budget { spent, max } => write!(
                f,
                "the next request could pass max_budget = {max}: {spent:.4} is spent or may be"
            ),
            Stopped::Dead(why) => write!(f, "no server answers any more: {why}"),
            Stopped::OutOfTime { seconds } => write!(f, "stage_timeout_s = {seconds} has passed"),
        }
    }
}

/// Anything that answers conversations.
pub trait ChatModel {
    /// Its name, as it goes into lineage and scores.
    fn name(&self) -> &str;

    /// Answers each request; the results are in the requests' order.
    fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, Error>>;

    /// Whether it is a program that answers from a request's subject, and so proves its answers.
    fn reads_subject(&self) -> bool {
        false
    }

    /// The name under which the ledger keeps `request`.
    fn digest(&self, request: &Request) -> String {
        request.digest(self.name(), self.reads_subject())
    }

    /// Answers all `requests` that `ledger` has not settled, and records there what becomes of each;
    /// `heard` is told of every request as it is settled, in any order.
    ///
    /// # Errors
    /// Where the ledger fails, or every request does. All else is in the tally.
    fn converse(
        &self,
        requests: &mut (dyn Iterator<Item = Request> + Send),
        ledger: &Ledger,
        heard: &mut (dyn FnMut(&Tally) + Send),
    ) -> Result<Tally, Error> {
        answer_at_once(self, requests, ledger, heard)
    }
}

/// Has requests answered under a bar `label` of `total` things called `unit`, with what was spent
/// beside it.
///
/// # Errors
/// As [`ChatModel::converse`].
pub fn converse_with_bar(
    model: &dyn ChatModel,
    requests: &mut (dyn Iterator<Item = Request> + Send),
    ledger: &Ledger,
    (label, total, unit): (&str, u64, &str),
) -> Result<Tally, Error> {
    let bar = sample::progress::bar(label, total, unit);
    let mut shown = 0;
    let mut heard = |tally: &Tally| {
        let settled = tally.known + tally.answered + tally.refused + tally.missing;
        bar.inc(settled.saturating_sub(shown));
        shown = settled;
        if tally.cost > 0.0 {
            bar.message(&format!("{:.4} spent", tally.cost));
        }
    };
    let tally = model.converse(requests, ledger, &mut heard)?;
    bar.finish();
    Ok(tally)
}

/// Requests that a model without a queue is given together.
const BATCH: usize = 256;

fn answer_at_once<M: ChatModel + ?Sized>(
    model: &M,
    requests: &mut (dyn Iterator<Item = Request> + Send),
    ledger: &Ledger,
    heard: &mut (dyn FnMut(&Tally) + Send),
) -> Result<Tally, Error> {
    let mut tally = Tally::default();
    loop {
        let batch: Vec<Request> = requests.take(BATCH).collect();
        if batch.is_empty() {
            return Ok(tally);
        }
        if sample::interrupt::requested() {
            tally.stopped = Some(Stopped::Interrupted);
            return Ok(tally);
        }
        tally.requests += batch.len() as u64;
        let mut open = Vec::new();
        let mut digests = Vec::new();
        for request in batch {
            let digest = model.digest(&request);
            if ledger.settled(&digest)?.is_some() || digests.contains(&digest) {
                tally.known += 1;
            } else {
                digests.push(digest);
                open.push(request);
            }
        }
        let replies = if open.is_empty() {
            Vec::new()
        } else {
            model.reply(&open)
        };
        if replies.len() != open.len() {
            let detail = format!(
                "gave {} replies to {} requests: it is broken",
                replies.len(),
                open.len()
            );
            return Err(Error::Failed {
                model: model.name().to_owned(),
                detail,
            });
        }
        let mut settled = Vec::with_capacity(open.len());
        for ((request, digest), reply) in open.into_iter().zip(digests).zip(replies) {
            let outcome = match reply {
                Ok(reply) => {
                    tally.answered += 1;
                    Settled::Replied(reply)
                }
                Err(Error::Unanswerable { detail, .. }) => {
                    tally.refused += 1;
                    let reason = "unanswerable".to_owned();
                    Settled::Refused { reason, detail }
                }
                Err(Error::Interrupted) => {
                    tally.stopped = Some(Stopped::Interrupted);
                    continue;
                }
                Err(failed) => {
                    tally.missing += 1;
                    tally
                        .first_missing
                        .get_or_insert_with(|| failed.to_string());
                    continue;
                }
            };
            settled.push((digest, request, outcome));
        }
        ledger.settle_at_once(model.name(), settled)?;
        heard(&tally);
        if tally.stopped.is_some() || tally.missing > 0 {
            return Ok(tally);
        }
    }
}
