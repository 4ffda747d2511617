//! Requests are pulled as they can be sent, on a thread of their own.
//!
//! An iterator may read files or draw demonstrations for each request; that must not hold up those
//! on their way, nor must a hundred thousand requests lie in memory.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::mpsc::{Receiver, channel};

use crate::money::{Prompt, Rates};
use crate::{ChatModel, Error, Ledger, Request};

/// A request that is to be sent.
pub(super) struct Work {
    pub(super) request: Arc<Request>,
    pub(super) digest: Arc<str>,
    pub(super) prompt: Prompt,
    /// Tries so far, of earlier runs too.
    pub(super) tries: u32,
    /// Failed tries of this run.
    pub(super) faults: u32,
    /// The server that failed last.
    pub(super) failed_at: Option<usize>,
    pub(super) last_fault: Option<String>,
}

/// A request, as the ledger has it.
pub(super) enum Pulled {
    /// Settled, or equal to an earlier one of this stream.
    Known,
    /// Waits in this batch of an earlier run.
    InBatch(i64, Work),
    /// To be sent.
    Open(Work),
    /// The ledger cannot say.
    Failed(Error),
}

/// Pulled requests that wait for a slot.
const AHEAD: usize = 512;

/// Runs `work` with the requests that a thread pulls meanwhile.
pub(super) fn beside<M, R>(
    model: &M,
    requests: &mut (dyn Iterator<Item = Request> + Send),
    ledger: &Ledger,
    rates: &Rates,
    work: impl FnOnce(Receiver<Pulled>) -> R,
) -> R
where
    M: ChatModel + Sync,
{
    let (sender, receiver) = channel(AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut seen = HashSet::new();
            for request in requests {
                let pulled = look(model, request, ledger, rates, &mut seen);
                // Nobody listens any more once the dispatcher has stopped.
                if sender.blocking_send(pulled).is_err() {
                    return;
                }
            }
        });
        work(receiver)
    })
}

fn look<M: ChatModel>(
    model: &M,
    request: Request,
    ledger: &Ledger,
    rates: &Rates,
    seen: &mut HashSet<[u8; 32]>,
) -> Pulled {
    let digest = model.digest(&request);
    // Half of the digest's 64 characters, to hold a million of them: 128 bits are as good a name.
    let mut short = [0; 32];
    for (to, from) in short.iter_mut().zip(digest.bytes()) {
        *to = from;
    }
    if !seen.insert(short) {
        return Pulled::Known;
    }
    match ledger.standing(&digest) {
        Err(e) => Pulled::Failed(e.into()),
        Ok(standing) if standing.settled => Pulled::Known,
        Ok(standing) => {
            let work = Work {
                prompt: Prompt::of(&request, rates.image_tokens),
                request: Arc::new(request),
                digest: digest.into(),
                tries: standing.tries,
                faults: 0,
                failed_at: None,
                last_fault: None,
            };
            match standing.batch {
                Some(row) => Pulled::InBatch(row, work),
                None => Pulled::Open(work),
            }
        }
    }
}
