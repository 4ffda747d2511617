//! What an ended batch has brought: each line to its request, once, whatever the files hold.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::flight::{self, Outcome};
use super::{Open, Run};
use crate::ledger::{Ended, Waiting};
use crate::money::Rates;
use crate::transport::{
    Attempt, BatchLine, BatchState, BatchStatus, BatchTransport, Fault, FaultKind,
};
use crate::{Error, Ledger};

/// Results that are recorded together.
const RECORDED_TOGETHER: usize = 256;

impl<T: BatchTransport + 'static> Run<'_, T> {
    /// Reads what an ended batch has brought.
    pub(super) async fn fetch(
        &mut self,
        row: i64,
        mut open: Open,
        state: BatchState,
    ) -> Result<Option<Open>, Error> {
        let (output, errors) = (&state.output_file_id, &state.error_file_id);
        self.ledger
            .batch_files(row, output.as_deref(), errors.as_deref())?;
        let mut waiting: HashMap<Arc<str>, Waiting> = HashMap::new();
        for one in self.ledger.waiting(row)? {
            waiting.insert(Arc::clone(&one.digest), one);
        }
        let transport = Arc::clone(&self.batched.remote.transport);
        let mut results = Results {
            ledger: self.ledger,
            rates: &self.rates,
            waiting,
            ended: Vec::new(),
            settled: HashMap::new(),
            stray: 0,
            failed: None,
            cost: 0.0,
        };
        let mut whole = Ok(());
        for file in [output, errors].into_iter().flatten() {
            let fetched = transport
                .fetch(open.server, file, &mut |line| results.hear(line))
                .await;
            whole = whole.and(fetched);
        }
        results.record();
        let (settled, stray) = (results.settled, results.stray);
        self.tally.cost += results.cost;
        if let Some(error) = results.failed {
            return Err(error.into());
        }
        for (digest, outcome) in settled {
            // The others are counted as known, should this run be asked for them.
            if open.works.remove(&digest).is_some() {
                match outcome {
                    Outcome::Answered => self.tally.answered += 1,
                    Outcome::Refused => self.tally.refused += 1,
                }
                (self.heard)(&self.tally);
            }
        }
        if stray > 0 {
            sample::progress::note(&format!(
                "batch {row}: left out {stray} lines that cannot be read, are of no request of \
                 it, or of one that had its line already"
            ));
        }
        if self.heard_from(open.server, whole).is_err() {
            return Ok(Some(open));
        }
        let (outcome, detail, billed) = match state.status {
            BatchStatus::Failed => {
                self.together = (self.together / 2).max(1);
                ("not_taken", state.errors.join("; "), false)
            }
            BatchStatus::Expired => ("expired", "the batch expired".to_owned(), false),
            BatchStatus::Cancelled => ("cancelled", "the batch was cancelled".to_owned(), false),
            _ => ("no_line", "the batch has no line for it".to_owned(), true),
        };
        self.ledger.end_batch(row, outcome, &detail, billed)?;
        let fault = Fault {
            kind: FaultKind::Server,
            detail: format!("batch: {detail}"),
        };
        self.again(open, &fault);
        Ok(None)
    }
}

/// The lines of a batch's files, as they come.
struct Results<'a> {
    ledger: &'a Ledger,
    rates: &'a Rates,
    waiting: HashMap<Arc<str>, Waiting>,
    ended: Vec<Ended>,
    settled: HashMap<Arc<str>, Outcome>,
    /// Lines of no request, or of one that had its line.
    stray: u64,
    failed: Option<crate::ledger::Error>,
    cost: f64,
}

impl Results<'_> {
    fn hear(&mut self, line: Result<BatchLine, Fault>) {
        let Ok(line) = line else {
            self.stray += 1;
            return;
        };
        let Some((digest, waiting)) = self.waiting.remove_entry(line.custom_id.as_str()) else {
            self.stray += 1;
            return;
        };
        let attempt = Attempt {
            outcome: Some(line.outcome),
            ..Attempt::default()
        };
        let named = (
            &digest,
            waiting.attempt,
            waiting.reserved,
            waiting.estimated_tokens,
        );
        let ended = flight::ended(&attempt, named, &self.rates.price, true, 0.0);
        if let Some(settled) = &ended.settled {
            self.settled.insert(digest, Outcome::of(settled));
        }
        self.cost += ended.cost;
        self.ended.push(ended);
        if self.ended.len() >= RECORDED_TOGETHER {
            self.record();
        }
    }

    fn record(&mut self) {
        if let Err(error) = self.ledger.end_tries(&self.ended) {
            self.failed.get_or_insert(error);
        }
        self.ended.clear();
    }
}
