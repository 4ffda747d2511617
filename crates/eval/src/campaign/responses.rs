//! The first stage: what a model said.

use std::collections::HashMap;
use std::path::Path;

use chat::{ChatModel, Ledger, Request, Settled};
use sample::{Error as SampleError, progress, write_atomic};
use serde::{Deserialize, Serialize};

use super::plan::{Part, Plan};
use crate::asking::{self, Said};
use crate::{Answer, Error};

/// File name of the first stage.
pub const RESPONSES: &str = "responses.jsonl";

/// One line of `responses.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    /// The question's id in the benchmark.
    pub id: String,
    /// What was said, in full; empty where nothing was.
    pub response: String,
    /// Whether the reply ran into the token limit.
    pub truncated: bool,
    /// Tokens read.
    pub prompt_tokens: u32,
    /// Tokens written.
    pub completion_tokens: u32,
    /// Why the model could not answer this question at all.
    pub failed: Option<String>,
}

impl From<&Response> for Answer {
    fn from(line: &Response) -> Answer {
        Answer {
            id: line.id.clone(),
            response: line.failed.is_none().then(|| line.response.clone()),
            extraction: None,
            truncated: line.truncated,
            failed: line.failed.clone(),
        }
    }
}

impl Through<'_> {
    /// How many questions are answered at the same time, where that is settled here.
    pub fn batch(self) -> Option<usize> {
        match self {
            Through::Batches(size) => Some(size),
            Through::Ledger(_) => None,
        }
    }
}

/// A model that is asked.
pub struct Candidate<'m> {
    /// Its name in scores.
    pub name: String,
    /// It.
    pub model: &'m dyn ChatModel,
    /// What tells it from others of its name: a digest of its files, or how a server calls it.
    pub identity: String,
    /// What its replies depend on beside that: device and number type, or nothing.
    pub place: String,
    /// 0 is greedy.
    pub temperature: f32,
    /// Where its replies are kept as they come.
    pub through: Through<'m>,
}

/// Where replies are kept as they come.
#[derive(Clone, Copy)]
pub enum Through<'m> {
    /// In `responses.jsonl` itself, so many at a time.
    Batches(usize),
    /// On a ledger: what is settled there is never asked again.
    Ledger(&'m Ledger),
}

struct Question<'p> {
    plan: &'p Plan<'p>,
    at: usize,
    temperature: f32,
}

impl Question<'_> {
    fn id(&self) -> &str {
        &self.plan.items[self.at].id
    }
}

impl asking::Question for Question<'_> {
    type Line = Response;

    fn id(&self) -> &str {
        self.id()
    }

    fn request(&self) -> Result<Request, String> {
        self.plan.request(self.at, self.temperature)
    }

    fn line(&self, said: Said) -> Response {
        Response {
            id: self.id().to_owned(),
            response: said.text,
            truncated: said.truncated,
            prompt_tokens: said.prompt_tokens,
            completion_tokens: said.completion_tokens,
            failed: said.failed,
        }
    }

    fn owns(&self, line: &Response) -> bool {
        line.id == self.id()
    }

    fn id_of(line: &Response) -> &str {
        &line.id
    }
}

/// Replies that are known from elsewhere, by the question's id.
pub(super) type Gathered = HashMap<String, Response>;

/// Asks what of `part` is neither answered in `path` nor gathered; returns all its replies in the order
/// of asking.
pub(super) fn ask(
    plan: &Plan<'_>,
    part: &Part,
    candidate: &Candidate<'_>,
    gathered: &Gathered,
    path: &Path,
) -> Result<Vec<Response>, Error> {
    let questions: Vec<Question<'_>> = part
        .order
        .iter()
        .map(|&at| Question {
            plan,
            at,
            temperature: candidate.temperature,
        })
        .collect();
    let label = format!("{} {}", plan.name(), candidate.name);
    match candidate.through {
        Through::Batches(_) => {
            let bar = progress::bar(&label, questions.len() as u64, "replies");
            let known = |batch: &[Question<'_>]| -> Option<Vec<Response>> {
                let lines = batch.iter().map(|q| gathered.get(q.id()).cloned());
                lines.collect()
            };
            let (batches, model) = (&part.batches, candidate.model);
            let lines = asking::ask(path, &questions, batches, model, &known, &bar)?;
            bar.finish();
            Ok(lines)
        }
        Through::Ledger(ledger) => {
            over_ledger(&questions, candidate, ledger, gathered, path, &label)
        }
    }
}

/// Has the ledger settle every question that was not gathered, then writes all.
fn over_ledger(
    questions: &[Question<'_>],
    candidate: &Candidate<'_>,
    ledger: &Ledger,
    gathered: &Gathered,
    path: &Path,
    label: &str,
) -> Result<Vec<Response>, Error> {
    use asking::Question as _;
    let open = || questions.iter().filter(|q| !gathered.contains_key(q.id()));
    let mut requests = open().filter_map(|q| q.request().ok());
    settle(
        candidate.model,
        &mut requests,
        open().count(),
        ledger,
        label,
    )?;
    let mut text = Vec::new();
    let mut lines = Vec::with_capacity(questions.len());
    for question in questions {
        let line = match gathered.get(question.id()) {
            Some(line) => line.clone(),
            None => question.line(match question.request() {
                Err(why) => Said::failed(why),
                Ok(request) => settled(candidate.model, &request, ledger)?,
            }),
        };
        serde_json::to_writer(&mut text, &line).map_err(|e| SampleError::format(path, e))?;
        text.push(b'\n');
        lines.push(line);
    }
    write_atomic(path, &text)?;
    Ok(lines)
}

/// Has every request answered; an error where any is left open.
pub(super) fn settle(
    model: &dyn ChatModel,
    requests: &mut (dyn Iterator<Item = Request> + Send),
    all: usize,
    ledger: &Ledger,
    label: &str,
) -> Result<(), Error> {
    let bar = (label, all as u64, "replies");
    let tally = match chat::converse_with_bar(model, requests, ledger, bar) {
        Err(chat::Error::Interrupted) => return Err(SampleError::Interrupted.into()),
        other => other.map_err(Error::Model)?,
    };
    match tally.stopped {
        Some(chat::Stopped::Interrupted) => Err(SampleError::Interrupted.into()),
        Some(why) => Err(open(model, why.to_string())),
        None if tally.missing > 0 => {
            let first = tally.first_missing.unwrap_or_default();
            Err(open(
                model,
                format!(
                    "{} requests without a reply (first: {first})",
                    tally.missing
                ),
            ))
        }
        None => Ok(()),
    }
}

fn open(model: &dyn ChatModel, detail: String) -> Error {
    Error::Model(chat::Error::Failed {
        model: model.name().to_owned(),
        detail,
    })
}

/// What the ledger has of a request that was settled.
pub(super) fn settled(
    model: &dyn ChatModel,
    request: &Request,
    ledger: &Ledger,
) -> Result<Said, Error> {
    let found = ledger.settled(&model.digest(request));
    match found.map_err(|e| Error::Model(e.into()))? {
        Some(Settled::Replied(reply)) => Ok(reply.into()),
        Some(Settled::Refused { reason, detail }) => {
            Ok(Said::failed(format!("{reason}: {detail}")))
        }
        None => Err(open(
            model,
            format!("request {} is not settled on the ledger", request.id),
        )),
    }
}
