//! One try of one request: written down, sent, written down again.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::pull::Work;
use crate::ledger::{Ended, Recorder, Sent, Settled};
use crate::money::Price;
use crate::transport::{Announced, Attempt, Fault, FaultKind, Transport};

/// News of a try, for the dispatcher.
pub(super) enum News {
    /// The server has answered, or failed to: its slot is free.
    Ended {
        ticket: u64,
        fault: Option<Fault>,
        announced: Announced,
        /// Spent, or possibly.
        gone: f64,
        /// As the server counts; 0 where it does not.
        prompt_tokens: u32,
    },
    /// The outcome is on the ledger.
    Recorded {
        written: Result<(), crate::ledger::Error>,
        settled: Option<Outcome>,
        cost: f64,
    },
}

/// What became of a settled request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    Refused,
}

impl Outcome {
    pub(super) fn of(settled: &Settled) -> Outcome {
        match settled {
            Settled::Replied(_) => Outcome::Answered,
            Settled::Refused { .. } => Outcome::Refused,
        }
    }
}

pub(super) struct Flight<T> {
    pub(super) ticket: u64,
    pub(super) transport: Arc<T>,
    pub(super) recorder: Recorder,
    pub(super) news: UnboundedSender<News>,
    pub(super) price: Price,
    pub(super) server: usize,
    pub(super) sent: Sent,
}

impl Work {
    pub(super) fn sent(&self, model: &Arc<str>, server: &Arc<str>, reserved: f64) -> Sent {
        Sent {
            digest: Arc::clone(&self.digest),
            request: Arc::clone(&self.request),
            model: Arc::clone(model),
            attempt: self.tries + 1,
            server: Arc::clone(server),
            batch: None,
            reserved,
            estimated_tokens: self.prompt.total(),
        }
    }
}

/// What the ledger keeps of an attempt at `sent`, and what it cost.
pub(super) fn ended(
    attempt: &Attempt,
    sent: (&Arc<str>, u32, f64, u64),
    price: &Price,
    batch: bool,
    latency_s: f64,
) -> Ended {
    let (digest, number, reserved, estimated_tokens) = sent;
    let nothing = Err(Fault {
        kind: FaultKind::BadReply,
        detail: "the transport gave no outcome".into(),
    });
    let blank = Ended {
        digest: Arc::clone(digest),
        attempt: number,
        outcome: "answered",
        status: attempt.status,
        detail: None,
        cost: 0.0,
        reserved: 0.0,
        latency_s,
        settled: None,
    };
    match attempt.outcome.as_ref().unwrap_or(&nothing) {
        Ok(reply) => Ended {
            cost: price.of(reply, estimated_tokens, batch),
            settled: Some(Settled::Replied(reply.clone())),
            ..blank
        },
        Err(fault) => Ended {
            outcome: fault.kind.word(),
            detail: Some(fault.detail.clone()),
            reserved: if fault.kind.may_be_billed() {
                reserved
            } else {
                0.0
            },
            settled: fault.kind.settles().then(|| Settled::Refused {
                reason: fault.kind.word().to_owned(),
                detail: fault.detail.clone(),
            }),
            ..blank
        },
    }
}

impl<T: Transport> Flight<T> {
    /// **Invariant:** news that it ended is told once, whatever the transport does, or its slot
    /// would never come free.
    pub(super) async fn fly(self) {
        let began = Instant::now();
        let (attempt, written) = match self.recorder.sent(self.sent.clone()).await {
            Ok(()) => (self.send().await, Ok(())),
            Err(e) => {
                let fault = Fault {
                    kind: FaultKind::Image,
                    detail: "was not sent".into(),
                };
                let attempt = Attempt {
                    outcome: Some(Err(fault)),
                    ..Attempt::default()
                };
                (attempt, Err(e))
            }
        };
        let sent = &self.sent;
        let ended = ended(
            &attempt,
            (
                &sent.digest,
                sent.attempt,
                sent.reserved,
                sent.estimated_tokens,
            ),
            &self.price,
            false,
            began.elapsed().as_secs_f64(),
        );
        let settled = ended.settled.as_ref().map(Outcome::of);
        let cost = ended.cost;
        let prompt_tokens = match &ended.settled {
            Some(Settled::Replied(reply)) => reply.prompt_tokens,
            _ => 0,
        };
        // A dispatcher that is gone was stopped; the ledger still wants to know.
        let _ = self.news.send(News::Ended {
            ticket: self.ticket,
            fault: match attempt.outcome {
                Some(Ok(_)) => None,
                Some(Err(fault)) => Some(fault),
                None => Some(Fault {
                    kind: FaultKind::BadReply,
                    detail: ended.detail.clone().unwrap_or_default(),
                }),
            },
            announced: attempt.announced,
            gone: ended.cost + ended.reserved,
            prompt_tokens,
        });
        let written = match written {
            Ok(()) => self.recorder.ended(ended).await,
            failed => failed,
        };
        let _ = self.news.send(News::Recorded {
            written,
            settled,
            cost,
        });
    }

    async fn send(&self) -> Attempt {
        let mut sending = self
            .transport
            .send(self.server, &self.sent.request, &self.sent.digest);
        poll_fn(|context| {
            catch_unwind(AssertUnwindSafe(|| sending.as_mut().poll(context))).unwrap_or_else(|_| {
                let fault = Fault {
                    kind: FaultKind::BadReply,
                    detail: "the transport panicked; this is a bug".into(),
                };
                Poll::Ready(Attempt {
                    outcome: Some(Err(fault)),
                    ..Attempt::default()
                })
            })
        })
        .await
    }
}
