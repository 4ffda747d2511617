//! The queue with its lock, between those who ask and the engine's thread.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::driver::Prepared;
use super::queue::{Full, Turn, Turns};
use super::{Client, ScheduleLimits, replies};
use crate::metrics::ModelMetrics;
use crate::model::{Refusal, RefusalKind};

/// What both sides of the queue see.
pub(super) struct Shared<Q> {
    pub(super) limits: ScheduleLimits,
    pub(super) metrics: Arc<ModelMetrics>,
    state: Mutex<State<Q>>,
    /// Something waits, or a stop was asked for.
    wake: Condvar,
    ended: watch::Sender<bool>,
    next: AtomicU64,
}

struct State<Q> {
    turns: Turns<Prepared<Q>>,
    stopping: bool,
    ended: bool,
    /// How long replies take lately, from slot to end.
    reply_time: Duration,
}

/// The time of a reply before there was any.
const FIRST_GUESS: Duration = Duration::from_secs(1);

/// A place in the queue for a request that is being prepared.
pub(super) struct Place<'a, Q> {
    shared: &'a Shared<Q>,
    client: &'a Client,
    weight: usize,
    used: bool,
}

impl<Q> Place<'_, Q> {
    /// Puts the prepared request in.
    pub(super) fn enter(mut self, request: u64, prepared: Prepared<Q>) -> Result<(), Refusal> {
        let mut state = self.shared.lock();
        state.takes_on()?;
        self.used = true;
        let replies = prepared.replies;
        let weight = self.weight;
        state
            .turns
            .enter(self.client, request, weight, replies, prepared);
        drop(state);
        self.shared.wake.notify_all();
        Ok(())
    }
}

impl<Q> Drop for Place<'_, Q> {
    fn drop(&mut self) {
        if !self.used {
            let mut state = self.shared.lock();
            state.turns.release(self.client, self.weight);
            self.shared.show(&state);
        }
    }
}

impl<Q> State<Q> {
    fn takes_on(&self) -> Result<(), Refusal> {
        if self.ended && !self.stopping {
            Err(replies::ended())
        } else if self.stopping {
            Err(replies::stopping())
        } else {
            Ok(())
        }
    }
}

impl<Q> Shared<Q> {
    pub(super) fn new(
        limits: ScheduleLimits,
        metrics: Arc<ModelMetrics>,
        ended: watch::Sender<bool>,
    ) -> Shared<Q> {
        Shared {
            metrics,
            state: Mutex::new(State {
                turns: Turns::new(limits.queue, limits.queue_per_client),
                stopping: false,
                ended: false,
                reply_time: FIRST_GUESS,
            }),
            wake: Condvar::new(),
            ended,
            next: AtomicU64::new(0),
            limits,
        }
    }

    /// A number that no other request has.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether requests are taken on; if not, what they are told.
    pub(super) fn takes_on(&self) -> Result<(), Refusal> {
        self.lock().takes_on()
    }

    /// Takes on nothing more and refuses what waits.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        let waiting = state.turns.clear();
        self.show(&state);
        drop(state);
        self.wake.notify_all();
        self.refuse(waiting, &replies::stopping());
    }

    /// How long a request that finds no place should wait.
    pub(super) fn hint(&self) -> Duration {
        let state = self.lock();
        let rounds = state.turns.requests() as f64 / self.limits.slots.max(1) as f64;
        let seconds = state.reply_time.as_secs_f64() * rounds.max(1.0);
        Duration::from_secs(seconds.clamp(1.0, 60.0).ceil() as u64)
    }

    fn lock(&self) -> MutexGuard<'_, State<Q>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &State<Q>) {
        self.metrics.waiting.set(state.turns.requests());
    }

    pub(super) fn reserve<'a>(
        &'a self,
        client: &'a Client,
        weight: usize,
    ) -> Result<Place<'a, Q>, Refusal> {
        let mut state = self.lock();
        state.takes_on()?;
        let busy = |message: &str| Refusal::new(RefusalKind::Busy, message);
        state
            .turns
            .reserve(client, weight)
            .map_err(|full| match full {
                Full::Client => {
                    busy("too many of your requests wait already; ask again when some are answered")
                }
                Full::Queue => busy("too many requests wait already; ask again later"),
            })?;
        self.show(&state);
        Ok(Place {
            shared: self,
            client,
            weight,
            used: false,
        })
    }

    /// Takes a request out of the queue; whether it was there and no reply had its turn.
    pub(super) fn withdraw(&self, client: &Client, request: u64) -> bool {
        let mut state = self.lock();
        let item = state.turns.remove(client, request);
        self.show(&state);
        drop(state);
        item.is_some()
    }

    pub(super) fn take_turn(&self) -> Option<Turn<Prepared<Q>>> {
        let mut state = self.lock();
        let turn = state.turns.take();
        self.show(&state);
        turn
    }

    /// A reply is not being written any more.
    pub(super) fn ended(&self, client: &Client) {
        self.lock().turns.ended(client);
    }

    /// A reply was written to its end, in this time.
    pub(super) fn reply_done(&self, client: &Client, took: Duration) {
        let mut state = self.lock();
        state.turns.ended(client);
        state.reply_time = (state.reply_time * 7 + took) / 8;
    }

    /// Sleeps until something waits; `false` if nothing ever will.
    pub(super) fn wait_for_work(&self) -> bool {
        let mut state = self.lock();
        loop {
            if !state.turns.is_empty() {
                return true;
            }
            if state.stopping {
                return false;
            }
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The engine's thread is gone.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let waiting = state.turns.clear();
        self.show(&state);
        drop(state);
        self.refuse(waiting, &replies::ended());
        self.ended.send_replace(true);
    }

    fn refuse(&self, waiting: Vec<Prepared<Q>>, refusal: &Refusal) {
        for request in waiting {
            self.metrics.refused(refusal.kind);
            // Who is gone needs no answer.
            let _ = request.events.send(Err(refusal.clone()));
        }
    }
}
