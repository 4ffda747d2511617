//! One round of asking: the requests of some images, what is on record, and what came back.
//!
//! **Invariant:** a reply is on disk before it is used, and a request whose reply is on disk is not
//! sent.

use std::path::PathBuf;

use chat::{ChatModel, Request};
use sample::Sample;

use crate::Error;
use crate::augmentation::Augmentation;
use crate::config::SynthConfig;
use crate::replies::Replies;
use crate::request::{self, Bank, Subject};

/// A request with what came of it.
pub struct One<'a> {
    /// Position of the image in its chunk.
    pub subject: usize,
    /// What is asked for.
    pub kind: &'static dyn Augmentation,
    /// How many pairs.
    pub count: usize,
    /// The pair they are made from.
    pub parent: &'a Sample,
    /// The request itself.
    pub request: Request,
    /// Its digest, by which the reply is on record.
    pub digest: String,
    /// Who is asked.
    pub teacher: String,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request. A reply itself is on record, under the request's digest.
pub enum Outcome {
    /// Not asked yet.
    Open,
    /// There is a reply.
    Replied,
    /// The teacher cannot, and says why.
    Unanswerable(String),
}

/// The requests of some images.
pub struct Round<'a> {
    /// The settings.
    pub config: &'a SynthConfig,
    /// The run's seed.
    pub run_seed: u64,
    /// Kinds that are on, with their counts.
    pub kinds: &'a [(&'static dyn Augmentation, usize)],
    /// Where demonstrations come from.
    pub bank: &'a Bank<'a>,
    /// The requests, by image and then by kind.
    pub asked: Vec<One<'a>>,
}

impl<'a> Round<'a> {
    /// Builds the requests of `subjects`, whose files `file` finds.
    pub fn build(
        &mut self,
        subjects: &'a [Subject],
        file: impl Fn(&str) -> Result<PathBuf, Error>,
        teacher: Option<&dyn ChatModel>,
    ) {
        let Some(teacher) = teacher else { return };
        for (at, subject) in subjects.iter().enumerate() {
            let Some(parent) = subject.parent(self.run_seed) else {
                continue;
            };
            for &(kind, count) in self.kinds {
                let (image, outcome) = match file(&parent.image.path) {
                    Ok(image) => (image, Outcome::Open),
                    Err(e) => (PathBuf::new(), Outcome::Unanswerable(e.to_string())),
                };
                let request = request::build(
                    self.config,
                    self.run_seed,
                    (kind, count),
                    subject,
                    parent,
                    self.bank,
                    image,
                );
                let digest = teacher.digest(&request);
                let teacher = teacher.name().to_owned();
                self.asked.push(One {
                    subject: at,
                    kind,
                    count,
                    parent,
                    request,
                    digest,
                    teacher,
                    outcome,
                });
            }
        }
    }

    /// Asks for what is not on record yet, and puts the replies there.
    pub fn ask(&mut self, teacher: &dyn ChatModel, replies: &mut Replies) -> Result<(), Error> {
        let mut waiting = Vec::new();
        let mut requests = Vec::new();
        for one in self
            .asked
            .iter_mut()
            .filter(|one| matches!(one.outcome, Outcome::Open))
        {
            if replies.get(&one.digest).is_some() {
                one.outcome = Outcome::Replied;
            } else {
                requests.push(one.request.clone());
                waiting.push(one);
            }
        }
        if requests.is_empty() {
            return Ok(());
        }
        let results = teacher.reply(&requests);
        if results.len() != requests.len() {
            return Err(Error::Protocol {
                teacher: teacher.name().to_owned(),
                replies: results.len(),
                requests: requests.len(),
            });
        }
        let (mut fresh, mut failed, mut first, mut stopped) = (Vec::new(), 0, None, false);
        for (one, result) in waiting.into_iter().zip(results) {
            match result {
                Ok(reply) => {
                    one.outcome = Outcome::Replied;
                    fresh.push((one.digest.clone(), one.request.id.clone(), reply));
                }
                Err(chat::Error::Unanswerable { detail, .. }) => {
                    one.outcome = Outcome::Unanswerable(detail);
                }
                Err(chat::Error::Interrupted) => stopped = true,
                Err(error @ (chat::Error::Failed { .. } | chat::Error::Ledger(_))) => {
                    failed += 1;
                    first.get_or_insert_with(|| error.to_string());
                }
            }
        }
        let answered = fresh.len();
        replies.add(fresh)?;
        if stopped {
            return Err(sample::Error::Interrupted.into());
        }
        match first {
            Some(detail) => Err(Error::Failed {
                failed,
                sent: requests.len(),
                answered,
                detail,
            }),
            None => Ok(()),
        }
    }
}
