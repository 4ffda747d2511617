//! What became of the pairs, counted by kind and by source.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::candidate::Found;
use crate::verify::Decision;

/// What became of the requests and pairs of one kind, or of one kind and source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Yield {
    /// Requests.
    pub requests: u64,
    /// Pairs that were asked for.
    pub wanted: u64,
    /// Pairs that came.
    pub read: u64,
    /// Pairs that were kept.
    pub kept: u64,
    /// What speaks for those that passed: `proven`, `agreed`, `inherited`, `form`.
    pub verdicts: BTreeMap<&'static str, u64>,
    /// Why the others went.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Requests that nobody answered, or can answer.
    pub unanswerable: u64,
}

/// The counts of a whole synthesis.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Yields {
    /// By kind.
    pub yields: BTreeMap<&'static str, Yield>,
    /// By kind and source.
    pub by_source: BTreeMap<&'static str, BTreeMap<String, Yield>>,
}

impl Yields {
    /// Counts what was asked and read about one image.
    pub fn asked(&mut self, found: &Found<'_>, source: &str) {
        for (kind, wanted, read) in &found.asked {
            self.each(kind.name(), source, |y| {
                y.requests += 1;
                y.wanted += *wanted as u64;
                y.read += *read as u64;
            });
        }
    }

    /// Counts a pair that passed.
    pub fn passed(&mut self, kind: &'static str, source: &str, decision: &Decision) {
        if let Decision::Kept { verdict, .. } = decision {
            self.each(kind, source, |y| {
                *y.verdicts.entry(verdict).or_default() += 1;
                y.kept += 1;
            });
        }
    }

    /// Counts a reject; `whole` where it is a request without a pair.
    pub fn rejected(
        &mut self,
        kind: &'static str,
        source: &str,
        reason: &'static str,
        whole: bool,
    ) {
        let silent = matches!(reason, "unanswerable" | "unanswered" | "image_missing");
        self.each(kind, source, |y| {
            *y.rejected.entry(reason).or_default() += 1;
            y.unanswerable += u64::from(whole && silent);
        });
    }

    fn each(&mut self, kind: &'static str, source: &str, count: impl Fn(&mut Yield)) {
        count(self.yields.entry(kind).or_default());
        let sources = self.by_source.entry(kind).or_default();
        if !sources.contains_key(source) {
            sources.insert(source.to_owned(), Yield::default());
        }
        if let Some(line) = sources.get_mut(source) {
            count(line);
        }
    }
}
