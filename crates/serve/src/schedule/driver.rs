//! The loop that keeps an engine busy, on the engine's own thread.
//!
//! Before each step: replies that nobody waits for any more leave the engine, and free slots are filled by
//! those whose turn it is. After it, what was written is sent on. With nothing to do the thread sleeps.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::Client;
use super::queue::Turn;
use super::replies::{Event, ended, timed_out};
use super::shared::Shared;
use crate::ask::ChoiceEvent;
use crate::metrics::ModelMetrics;
use crate::model::{Counts, Engine, EngineId, Fault, Refusal, RefusalKind, Step};

/// A request on its way to the engine.
pub(super) struct Prepared<Q> {
    /// Until the turn of its last reply: pixels are large.
    pub(super) question: Option<Q>,
    pub(super) replies: usize,
    pub(super) events: UnboundedSender<Result<Event, Refusal>>,
    pub(super) arrived: Instant,
    pub(super) deadline: Instant,
}

/// What drives an engine, on the engine's own thread.
pub struct Driver<Q> {
    pub(super) shared: Arc<Shared<Q>>,
    /// Requests of which a reply had its turn.
    requests: HashMap<u64, Open<Q>>,
    live: HashMap<EngineId, Live>,
    /// A reply that has to wait for the memory of another.
    held: Option<Turn<Prepared<Q>>>,
}

/// A request that is being answered.
struct Open<Q> {
    client: Client,
    request: Prepared<Q>,
    /// Replies that have not ended.
    left: usize,
    /// Whether its prompt was counted.
    counted: bool,
    /// Whether anybody saw a token of it.
    begun: bool,
}

/// A reply that the engine is writing.
struct Live {
    request: u64,
    choice: usize,
    admitted: Instant,
    last_token: Option<Instant>,
}

/// Why a request leaves before its replies have ended.
enum Leave {
    /// Nobody is there to tell.
    Cancelled,
    Refused(Refusal),
}

impl<Q> Driver<Q> {
    pub(super) fn new(shared: Arc<Shared<Q>>) -> Driver<Q> {
        Driver {
            shared,
            requests: HashMap::new(),
            live: HashMap::new(),
            held: None,
        }
    }

    /// Drives an engine until there is nothing left to do after a stop.
    ///
    /// # Errors
    /// The engine broke: those it was answering were told so, those that wait still do.
    pub fn drive(&mut self, engine: &mut dyn Engine<Q>) -> Result<(), Fault> {
        // Left over where the thread went on after a panic of the last engine.
        self.forget(&ended());
        let result = self.work(engine);
        if let Err(fault) = &result {
            let message = format!("the model's engine broke ({fault}); ask again");
            self.forget(&Refusal::new(RefusalKind::Failed, message));
        }
        result
    }

    fn work(&mut self, engine: &mut dyn Engine<Q>) -> Result<(), Fault> {
        let metrics = Arc::clone(&self.shared.metrics);
        let mut counts = engine.counts();
        loop {
            self.give_up(engine)?;
            self.admit(engine)?;
            metrics.live.set(self.live.len());
            if self.live.is_empty() {
                if !self.shared.wait_for_work() {
                    return Ok(());
                }
                continue;
            }
            let steps = engine.step()?;
            let now = Instant::now();
            for step in steps {
                self.tell(step, now);
            }
            if engine.is_idle() && !self.live.is_empty() {
                // Replies that it does not know of any more would be waited for without end.
                self.forget(&Refusal::new(
                    RefusalKind::Failed,
                    "the model's engine lost the reply; ask again",
                ));
            }
            count(&metrics, &mut counts, engine.counts());
        }
    }

    /// Takes out what nobody waits for and what has no time left.
    fn give_up(&mut self, engine: &mut dyn Engine<Q>) -> Result<(), Fault> {
        let now = Instant::now();
        let gone: Vec<(u64, Leave)> = self
            .requests
            .iter()
            .filter_map(|(id, open)| Some((*id, open.request.leaves(now)?)))
            .collect();
        for (id, leave) in gone {
            self.leave(engine, id, leave)?;
        }
        Ok(())
    }

    /// Fills free slots.
    fn admit(&mut self, engine: &mut dyn Engine<Q>) -> Result<(), Fault> {
        while self.live.len() < self.shared.limits.slots.max(1) {
            let Some(turn) = self.held.take().or_else(|| self.shared.take_turn()) else {
                break;
            };
            let now = Instant::now();
            let Turn {
                client,
                request: id,
                choice,
                last,
                item,
            } = turn;
            if let Some(request) = item {
                self.shared
                    .metrics
                    .queue_time
                    .observe(now - request.arrived);
                let left = request.replies;
                let open = Open {
                    client: client.clone(),
                    request,
                    left,
                    counted: false,
                    begun: false,
                };
                self.requests.insert(id, open);
            }
            let Some(open) = self.requests.get_mut(&id) else {
                self.shared.ended(&client);
                continue;
            };
            if let Some(leave) = open.request.leaves(now) {
                self.shared.ended(&client);
                self.leave(engine, id, leave)?;
                continue;
            }
            // It is there until the last of its replies was admitted.
            let Some(question) = &open.request.question else {
                self.shared.ended(&client);
                continue;
            };
            match engine.admit(question, choice) {
                Ok(engine_id) => {
                    if last {
                        open.request.question = None;
                    }
                    let live = Live {
                        request: id,
                        choice,
                        admitted: now,
                        last_token: None,
                    };
                    self.live.insert(engine_id, live);
                }
                Err(refusal) if refusal.kind == RefusalKind::Busy && !self.live.is_empty() => {
                    self.held = Some(Turn {
                        client,
                        request: id,
                        choice,
                        last,
                        item: None,
                    });
                    break;
                }
                Err(refusal) => {
                    self.shared.ended(&client);
                    self.leave(engine, id, Leave::Refused(refusal))?;
                }
            }
        }
        Ok(())
    }

    /// Sends on what a step did for a reply.
    fn tell(&mut self, step: Step, now: Instant) {
        let Some(live) = self.live.get_mut(&step.id) else {
            return;
        };
        let Some(open) = self.requests.get_mut(&live.request) else {
            return;
        };
        let metrics = &self.shared.metrics;
        // The prompt is one however many replies; what later ones share with the first is not cached but
        // the request's own.
        let prompt = step
            .prompt
            .filter(|_| !std::mem::replace(&mut open.counted, true));
        if let Some((tokens, cached)) = prompt {
            metrics.prompt_tokens.add(tokens as u64);
            metrics.cached_tokens.add(cached as u64);
        }
        if step.added {
            metrics.completion_tokens.add(1);
            if !std::mem::replace(&mut open.begun, true) {
                metrics.first_token_time.observe(now - open.request.arrived);
            }
            if let Some(before) = live.last_token.replace(now) {
                metrics.token_time.observe(now - before);
            }
        }
        let event = Event {
            event: ChoiceEvent {
                choice: live.choice,
                text: step.text,
                token: step.token,
                finish: step.finish,
            },
            added: step.added,
            prompt,
        };
        // Nobody there: seen before the next step.
        let _ = open.request.events.send(Ok(event));
        if step.finish.is_some() {
            let (id, took) = (live.request, now - live.admitted);
            open.left -= 1;
            let done = open.left == 0;
            self.shared.reply_done(&open.client, took);
            self.live.remove(&step.id);
            if done && let Some(open) = self.requests.remove(&id) {
                self.shared.metrics.answered.add(1);
                self.shared
                    .metrics
                    .request_time
                    .observe(now - open.request.arrived);
            }
        }
    }

    /// A request leaves the queue and the engine.
    fn leave(&mut self, engine: &mut dyn Engine<Q>, id: u64, leave: Leave) -> Result<(), Fault> {
        let result = self
            .live_of(id)
            .into_iter()
            .try_for_each(|engine_id| engine.cancel(engine_id));
        self.close(id, leave);
        result
    }

    fn live_of(&self, id: u64) -> Vec<EngineId> {
        let live = self.live.iter().filter(|(_, live)| live.request == id);
        live.map(|(engine_id, _)| *engine_id).collect()
    }

    /// The part of leaving that is not the engine's.
    fn close(&mut self, id: u64, leave: Leave) {
        let Some(open) = self.requests.remove(&id) else {
            return;
        };
        self.shared.withdraw(&open.client, id);
        for engine_id in self.live_of(id) {
            self.live.remove(&engine_id);
            self.shared.ended(&open.client);
        }
        if self.held.as_ref().is_some_and(|turn| turn.request == id) {
            self.held = None;
            self.shared.ended(&open.client);
        }
        match leave {
            Leave::Cancelled => self.shared.metrics.cancelled.add(1),
            Leave::Refused(refusal) => {
                self.shared.metrics.refused(refusal.kind);
                let _ = open.request.events.send(Err(refusal));
            }
        }
    }

    /// All that is being answered ends with a refusal; the engine is not asked.
    fn forget(&mut self, refusal: &Refusal) {
        let ids: Vec<u64> = self.requests.keys().copied().collect();
        for id in ids {
            self.close(id, Leave::Refused(refusal.clone()));
        }
        self.shared.metrics.live.set(0);
    }
}

impl<Q> Prepared<Q> {
    /// Whether it is to leave now.
    fn leaves(&self, now: Instant) -> Option<Leave> {
        // The time first: who waits for the reply looks at the clock too, and then closes the channel.
        if now >= self.deadline {
            Some(Leave::Refused(timed_out()))
        } else if self.events.is_closed() {
            Some(Leave::Cancelled)
        } else {
            None
        }
    }
}

/// Adds what an engine did since it was last looked at. A new engine counts from its own beginning.
fn count(metrics: &ModelMetrics, before: &mut Counts, now: Counts) {
    let more = |now: u64, before: u64| now.saturating_sub(before);
    metrics
        .prefill_computed
        .add(more(now.prefill_computed, before.prefill_computed));
    metrics
        .prefill_cached
        .add(more(now.prefill_cached, before.prefill_cached));
    metrics
        .images_encoded
        .add(more(now.images_encoded, before.images_encoded));
    metrics
        .cache_bytes
        .set(usize::try_from(now.cache_bytes).unwrap_or(usize::MAX));
    *before = now;
}

impl<Q> Drop for Driver<Q> {
    /// The thread ends, by itself or by a panic: nobody may be left waiting for it.
    fn drop(&mut self) {
        self.forget(&ended());
        self.shared.end();
    }
}
