//! A bounded, fair queue in front of an engine, and the thread that drives it.
//!
//! Requests wait per client, and clients take turns: one that asks a thousand things does not keep the
//! others waiting. The engine is given no more than it has slots for, so that who comes next is decided
//! here and not in its queue. A request leaves when it is done, when its [`Replies`] are dropped, or when
//! its time is over.
//!
//! **Invariant:** whatever the engine does (breaks, refuses, stalls), every request ends with an event or
//! a refusal.

mod driver;
mod gate;
mod queue;
mod replies;

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use crate::ask::{Ask, Part, Prompt, Usage};
use crate::metrics::{Metrics, ModelMetrics};
use crate::model::{Model, ModelCard, Refusal, RefusalKind};
use driver::Prepared;
use gate::Gate;
use queue::{Full, Turn, Turns};

pub use driver::Driver;
pub use replies::Replies;

/// How much is taken on.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleLimits {
    /// Replies that are written at the same time.
    pub slots: usize,
    /// Requests that wait; more are refused as [`RefusalKind::Busy`].
    pub queue: usize,
    /// Requests of one client that wait.
    pub queue_per_client: usize,
    /// Requests that are decoded and tokenised at the same time.
    pub preparing: usize,
    /// From arrival to the last token.
    pub request_time: Duration,
}

impl Default for ScheduleLimits {
    fn default() -> ScheduleLimits {
        ScheduleLimits {
            slots: 64,
            queue: 512,
            queue_per_client: 256,
            preparing: 4,
            request_time: Duration::from_secs(600),
        }
    }
}

/// Whose turn it is: the name of a key, or an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client(pub String);

/// A served model: where requests go in.
pub struct Schedule {
    desk: Arc<dyn Desk>,
    ended: watch::Receiver<bool>,
}

/// A [`Schedule`] of a model of any kind.
trait Desk: Send + Sync {
    fn card(&self) -> &ModelCard;
    fn ask<'a>(&'a self, client: &'a Client, ask: Ask) -> Asking<'a>;
    fn stop(&self);
    fn wait(&self) -> Duration;
}

type Asking<'a> = Pin<Box<dyn Future<Output = Result<Replies, Refusal>> + Send + 'a>>;

/// What both sides of the queue see.
struct Shared<Q> {
    limits: ScheduleLimits,
    metrics: Arc<ModelMetrics>,
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

impl Schedule {
    /// Serves `model`. `body` is run on a thread of its own: it makes the engine there and has the driver
    /// drive it, again with a new one where one broke; when it returns or panics, requests are refused.
    ///
    /// # Panics
    /// Where the system has no thread left.
    pub fn start<M: Model>(
        model: Arc<M>,
        limits: ScheduleLimits,
        metrics: Arc<Metrics>,
        body: impl FnOnce(Driver<M::Question>) + Send + 'static,
    ) -> Schedule {
        let (sender, ended) = watch::channel(false);
        let shared = Arc::new(Shared {
            metrics: metrics.model(&model.card().id),
            state: Mutex::new(State {
                turns: Turns::new(limits.queue, limits.queue_per_client),
                stopping: false,
                ended: false,
                reply_time: FIRST_GUESS,
            }),
            wake: Condvar::new(),
            ended: sender,
            next: AtomicU64::new(0),
            limits,
        });
        let driver = Driver::new(Arc::clone(&shared));
        std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || body(driver))
            .expect("the system starts a thread at start-up");
        let gate = Gate::new(shared.limits.preparing);
        Schedule {
            desk: Arc::new(Counter {
                model,
                shared,
                gate,
            }),
            ended,
        }
    }

    /// What is served.
    pub fn card(&self) -> &ModelCard {
        self.desk.card()
    }

    /// Has a request answered. Returns once it is prepared and in the queue.
    ///
    /// # Errors
    /// What the client did wrong, or that there is no room for it.
    pub async fn ask(&self, client: &Client, ask: Ask) -> Result<Replies, Refusal> {
        self.desk.ask(client, ask).await
    }

    /// How long a request that was refused as [`RefusalKind::Busy`] should wait before it comes again: what
    /// the queue takes at the pace of the last replies, from 1 second to 60.
    pub fn wait(&self) -> Duration {
        self.desk.wait()
    }

    /// Takes on nothing more; what waits is refused, what is being answered goes on.
    pub fn stop(&self) {
        self.desk.stop();
    }

    /// Returns when the engine has nothing left to do after [`Schedule::stop`], or its thread has ended.
    pub async fn stopped(&self) {
        // An error says that the sender is gone, and with it the thread.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Where requests to one model come in.
struct Counter<M: Model> {
    model: Arc<M>,
    shared: Arc<Shared<M::Question>>,
    gate: Arc<Gate>,
}

impl<M: Model> Counter<M> {
    async fn take_on(&self, client: &Client, ask: Ask) -> Result<Replies, Refusal> {
        let arrived = Instant::now();
        let deadline = arrived + self.shared.limits.request_time;
        // The place comes first: who has none is told so before any work is done for it.
        let place = self.shared.reserve(client)?;
        let pass = timeout_at(deadline, self.gate.pass(client)).await;
        let pass = pass.map_err(|_| replies::timed_out())?;
        self.shared.metrics.images.add(images(&ask));
        let replies = ask.n.max(1);
        let model = Arc::clone(&self.model);
        let preparing = tokio::task::spawn_blocking(move || {
            let question = model.prepare(&ask);
            // Kept until the work is done, also where nobody waits for it any more.
            drop(pass);
            question
        });
        let question = match timeout_at(deadline, preparing).await {
            Ok(Ok(question)) => question?,
            Ok(Err(_)) => {
                let message =
                    "the request made the server fail while it was read; the server's log says why";
                return Err(Refusal::new(RefusalKind::Failed, message));
            }
            Err(_) => return Err(replies::timed_out()),
        };
        let (sender, events) = mpsc::unbounded_channel();
        let request = self.shared.next.fetch_add(1, Ordering::Relaxed);
        place.enter(
            request,
            Prepared {
                question,
                replies,
                events: sender,
                arrived,
                deadline,
            },
        )?;
        let (shared, client) = (Arc::clone(&self.shared), client.clone());
        Ok(Replies {
            events,
            deadline,
            open: replies,
            usage: Usage::default(),
            withdraw: Box::new(move || {
                if shared.withdraw(&client, request) {
                    if Instant::now() >= deadline {
                        shared.metrics.refused(RefusalKind::TimedOut);
                    } else {
                        shared.metrics.cancelled.add(1);
                    }
                }
            }),
        })
    }
}

fn images(ask: &Ask) -> u64 {
    let Prompt::Chat(turns) = &ask.prompt else {
        return 0;
    };
    let parts = turns.iter().flat_map(|turn| &turn.parts);
    parts.filter(|part| matches!(part, Part::Image(_))).count() as u64
}

impl<M: Model> Desk for Counter<M> {
    fn card(&self) -> &ModelCard {
        self.model.card()
    }

    fn ask<'a>(&'a self, client: &'a Client, ask: Ask) -> Asking<'a> {
        Box::pin(async move {
            let result = self.take_on(client, ask).await;
            if let Err(refusal) = &result {
                self.shared.metrics.refused(refusal.kind);
            }
            result
        })
    }

    fn stop(&self) {
        let mut state = self.shared.lock();
        state.stopping = true;
        let waiting = state.turns.clear();
        self.shared.show(&state);
        drop(state);
        self.shared.wake.notify_all();
        self.shared.refuse(waiting, &replies::stopping());
    }

    fn wait(&self) -> Duration {
        let state = self.shared.lock();
        let rounds = state.turns.places() as f64 / self.shared.limits.slots.max(1) as f64;
        let seconds = state.reply_time.as_secs_f64() * rounds.max(1.0);
        Duration::from_secs(seconds.clamp(1.0, 60.0).ceil() as u64)
    }
}

/// A place in the queue for a request that is being prepared.
struct Place<'a, Q> {
    shared: &'a Shared<Q>,
    client: &'a Client,
    used: bool,
}

impl<Q> Place<'_, Q> {
    fn enter(mut self, request: u64, prepared: Prepared<Q>) -> Result<(), Refusal> {
        let mut state = self.shared.lock();
        state.takes_on()?;
        self.used = true;
        let replies = prepared.replies;
        state.turns.enter(self.client, request, replies, prepared);
        drop(state);
        self.shared.wake.notify_all();
        Ok(())
    }
}

impl<Q> Drop for Place<'_, Q> {
    fn drop(&mut self) {
        if !self.used {
            let mut state = self.shared.lock();
            state.turns.release(self.client);
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
    fn lock(&self) -> MutexGuard<'_, State<Q>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, state: &State<Q>) {
        self.metrics.waiting.set(state.turns.places());
    }

    fn reserve<'a>(&'a self, client: &'a Client) -> Result<Place<'a, Q>, Refusal> {
        let mut state = self.lock();
        state.takes_on()?;
        let busy = |message: &str| Refusal::new(RefusalKind::Busy, message);
        state.turns.reserve(client).map_err(|full| match full {
            Full::Client => {
                busy("too many of your requests wait already; ask again when some are answered")
            }
            Full::Queue => busy("too many requests wait already; ask again later"),
        })?;
        self.show(&state);
        Ok(Place {
            shared: self,
            client,
            used: false,
        })
    }

    /// Takes a request out of the queue; whether it was there and no reply had its turn.
    fn withdraw(&self, client: &Client, request: u64) -> bool {
        let mut state = self.lock();
        let item = state.turns.remove(client, request);
        self.show(&state);
        drop(state);
        item.is_some()
    }

    fn take_turn(&self) -> Option<Turn<Prepared<Q>>> {
        let mut state = self.lock();
        let turn = state.turns.take();
        self.show(&state);
        turn
    }

    /// A reply is not being written any more.
    fn ended(&self, client: &Client) {
        self.lock().turns.ended(client);
    }

    /// A reply was written to its end, in this time.
    fn reply_done(&self, client: &Client, took: Duration) {
        let mut state = self.lock();
        state.turns.ended(client);
        state.reply_time = (state.reply_time * 7 + took) / 8;
    }

    /// Sleeps until something waits; `false` if nothing ever will.
    fn wait_for_work(&self) -> bool {
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
    fn end(&self) {
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
