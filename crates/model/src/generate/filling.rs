//! Prompts on their way into the cache.
//!
//! A prompt is run in parts, between which live replies get their next tokens. What was run of it is
//! a path of segments, as a past conversation's is: so another prompt that begins alike stands on the
//! same ones, also while both are half run, and one that is given up leaves what it computed to others.
//! Where several share what comes next, one runs it for all.

use std::collections::HashMap;
use std::rc::Rc;

use crate::Error;
use crate::generate::Engine;
use crate::generate::live::Waiting;
use crate::generate::portions::{Candidate, Chunk};
use crate::generate::prefix::{Key, SharedRun, common, shared_runs};
use crate::generate::request::Generated;
use crate::generate::retained::{head, tokens};
use crate::kv_cache::Segment;

use super::engine::WORTH_KEEPING;

/// Tokens left of a shared run, times the prompts that would not compute them, that are worth a pass
/// of their own.
const WORTH: usize = 16;

/// A request whose prompt is being run.
#[derive(Debug)]
pub(super) struct Filling {
    pub waiting: Waiting,
    /// The beginning of the prompt: what others had of it, and what was run so far.
    pub path: Vec<Rc<Segment>>,
    /// Tokens that were run for it,
    pub ran: usize,
    /// and those of them in the newest chunk.
    pub newest: usize,
}

impl Filling {
    /// Tokens of the prompt that are there.
    pub fn done(&self) -> usize {
        tokens(&self.path)
    }

    pub fn keys(&self) -> &[Key] {
        &self.waiting.prompt.keys
    }

    /// Adds what was run of it. Segments grow with the path: of a long prompt there are few, and no
    /// token is copied more often than the number of parts has binary digits.
    pub fn add(&mut self, part: Segment) -> Result<(), Error> {
        self.ran += part.tokens();
        self.newest += part.tokens();
        let mut part = Rc::new(part);
        while let Some(last) = self.path.pop_if(|last| {
            // What others stand on stays as it is.
            Rc::strong_count(last) == 1 && last.tokens() <= part.tokens()
        }) {
            part = Rc::new(last.followed_by(&part)?);
        }
        self.path.push(part);
        Ok(())
    }
}

impl Engine<'_> {
    /// Requests get a slot in order of arrival, while there are slots and memory.
    pub(super) fn join(&mut self) -> Result<(), Error> {
        let slots = self.limits.slots;
        let free = slots.saturating_sub(self.live.len() + self.filling.len());
        let company = self.limits.company.min(self.waiting.len()).min(slots);
        if !self.live.is_empty() && self.filling.is_empty() && free < company {
            return Ok(());
        }
        for _ in 0..free {
            let Some(next) = self.waiting.front() else {
                break;
            };
            let room = self.reach().max(next.room);
            let rows = self.live.len() + self.filling.len() + 1;
            let bytes = (rows as u64)
                .saturating_mul(room as u64)
                .saturating_mul(self.generator.bytes_per_token());
            if rows > 1 && bytes > self.limits.cache_bytes {
                break;
            }
            if let Some(waiting) = self.waiting.pop_front() {
                let prompt = Rc::clone(&waiting.prompt);
                let path = self.found(&prompt.keys[..prompt.keys.len() - 1], Vec::new())?;
                self.filling.push(Filling {
                    waiting,
                    path,
                    ran: 0,
                    newest: 0,
                });
            }
        }
        Ok(())
    }

    /// Takes out a request whose prompt is being run; what was run of it is kept for others.
    pub(super) fn give_up(&mut self, at: usize) -> Result<Generated, Error> {
        let Filling { waiting, path, .. } = self.filling.remove(at);
        let done = tokens(&path);
        if done >= WORTH_KEEPING {
            self.retained
                .keep(waiting.prompt.keys[..done].to_vec(), path);
        }
        // It may have run what others were to share.
        for index in 0..self.filling.len() {
            let prompt = Rc::clone(&self.filling[index].waiting.prompt);
            let path = self.filling[index].path.clone();
            let keys = &prompt.keys[..prompt.keys.len() - 1];
            self.filling[index].path = self.found(keys, path)?;
        }
        self.forget(0);
        Ok(waiting.cancelled())
    }

    /// Runs a chunk of prompts. Those that end are live then, and have their first event.
    pub(super) fn prefill(&mut self) -> Result<(), Error> {
        for filling in &mut self.filling {
            filling.newest = 0;
        }
        let mut candidates = self.candidates()?;
        let mut chunk = Chunk::new(self.limits.chunk_tokens, &candidates, self.unfinished);
        loop {
            let portions = chunk.portions(&candidates);
            // Who interrupts waits for no more than a pass; what was run is kept.
            if portions.is_empty() || !self.run_portions(&portions)? {
                break;
            }
            candidates = self.candidates()?;
        }
        self.unfinished = self.filling.iter().map(|filling| filling.newest).sum();
        Ok(())
    }

    /// What each prompt has to run next; those behind others in what they share are brought up.
    fn candidates(&mut self) -> Result<Vec<Candidate>, Error> {
        let prompts: Vec<_> = self.filling.iter().map(|f| &f.waiting.prompt).collect();
        let prompts: Vec<_> = prompts.into_iter().map(Rc::clone).collect();
        let keys: Vec<&[Key]> = prompts.iter().map(|prompt| &prompt.keys[..]).collect();
        let (runs, of_prompt) = shared_runs(&keys);
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); runs.len()];
        for (index, &last) in of_prompt.iter().enumerate() {
            for run in chain(&runs, last) {
                members[run].push(index);
            }
        }
        // Runs come after their parents, so the longest beginning is given last.
        for (run, members) in runs.iter().zip(&members) {
            self.share(run, members)?;
        }
        let candidates = self.filling.iter().enumerate().map(|(index, filling)| {
            let (done, all) = (filling.done(), filling.keys().len());
            let worth = |run: usize| {
                let ahead = runs[run].end.saturating_sub(done);
                ahead * (members[run].len() - 1) >= WORTH
            };
            let next = chain(&runs, of_prompt[index])
                .filter(|&run| worth(run))
                .min_by_key(|&run| runs[run].end);
            Candidate {
                id: filling.waiting.id,
                left: all - done,
                stop: next.map_or(all, |run| runs[run].end) - done,
                run: next,
                begun: filling.ran > filling.newest,
            }
        });
        Ok(candidates.collect())
    }

    /// Gives what the farthest of a run's prompts has of it to the others.
    fn share(&mut self, run: &SharedRun, members: &[usize]) -> Result<(), Error> {
        let has = |filling: &Filling| filling.done().min(run.end);
        let farthest = members.iter().max_by_key(|&&m| has(&self.filling[m]));
        let Some(&farthest) = farthest else {
            return Ok(());
        };
        let length = has(&self.filling[farthest]);
        let behind = |engine: &Self, member: usize| engine.filling[member].done() < length;
        if !members.iter().any(|&member| behind(self, member)) {
            return Ok(());
        }
        let path = head(&self.filling[farthest].path, length)?;
        for &member in members {
            if behind(self, member) {
                self.filling[member].path = path.clone();
            }
        }
        Ok(())
    }

    /// `path` holds the beginning of `keys`; lengthened by what a past or live conversation has of
    /// the rest.
    pub(super) fn found(
        &mut self,
        keys: &[Key],
        path: Vec<Rc<Segment>>,
    ) -> Result<Vec<Rc<Segment>>, Error> {
        let held = tokens(&path);
        let enough = held + WORTH_KEEPING;
        let past = self.retained.longest(keys).filter(|past| past.0 >= enough);
        let live = self
            .live
            .iter()
            .enumerate()
            .map(|(slot, live)| {
                let there = tokens(&live.path) + live.held;
                (common(&live.keys[..there], keys), slot)
            })
            .max()
            .filter(|live| live.0 >= enough);
        match (past, live) {
            (Some((length, index)), other) if other.is_none_or(|other| other.0 <= length) => {
                self.retained.take(index, length)
            }
            (_, Some((length, slot))) => {
                let live = &self.live[slot];
                let below = tokens(&live.path);
                let mut theirs = live.path.clone();
                if length > below {
                    theirs.push(Rc::new(self.cache.segment(slot, 0, length - below)?));
                }
                head(&theirs, length)
            }
            _ => Ok(path),
        }
    }

    /// How many stand on each segment.
    pub(super) fn users(&self) -> HashMap<*const Segment, usize> {
        let mut users = HashMap::new();
        let live = self.live.iter().map(|live| &live.path);
        let filling = self.filling.iter().map(|filling| &filling.path);
        for segment in live.chain(filling).flatten() {
            *users.entry(Rc::as_ptr(segment)).or_insert(0) += 1;
        }
        users
    }
}

/// A run and those before it.
fn chain(runs: &[SharedRun], last: Option<usize>) -> impl Iterator<Item = usize> {
    std::iter::successors(last, |&run| runs[run].parent)
}
