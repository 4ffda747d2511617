//! A bounded, fair queue in front of an engine, and the thread that drives it.
//!
//! Requests wait per client, and clients take turns: one that asks a thousand things does not keep the
//! others waiting. The engine is given no more than it has slots for, so that who comes next is decided
//! here and not in its queue. A request leaves when it is done, when its [`Replies`] are dropped, or when
//! its time is over.
//!
//! **Invariant:** whatever the engine does (breaks, refuses, stalls), every request ends with an event or
//! a refusal.

use std::sync::Arc;
use std::time::Duration;

use crate::ask::{Ask, ChoiceEvent, Usage};
use crate::metrics::Metrics;
use crate::model::{Engine, Fault, Model, ModelCard, Refusal};

/// How much is taken on.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleLimits {
    /// Replies that are written at the same time.
    pub slots: usize,
    /// Requests that wait; more are refused as [`crate::RefusalKind::Busy`].
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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Client(pub String);

/// A served model: where requests go in.
pub struct Schedule {}

/// The replies to a request, as they are written. Dropping them gives the request up.
pub struct Replies {}

/// What drives an engine, on the engine's own thread.
pub struct Driver<Q> {
    _question: std::marker::PhantomData<Q>,
}

impl Schedule {
    /// Serves `model`. `body` is run on a thread of its own: it makes the engine there and has the driver
    /// drive it, again with a new one where one broke; when it returns, requests are refused.
    pub fn start<M: Model>(
        model: Arc<M>,
        limits: ScheduleLimits,
        metrics: Arc<Metrics>,
        body: impl FnOnce(Driver<M::Question>) + Send + 'static,
    ) -> Schedule {
        let _ = (model, limits, metrics, body);
        todo!()
    }

    /// What is served.
    pub fn card(&self) -> &ModelCard {
        todo!()
    }

    /// Has a request answered. Returns once it is prepared and in the queue.
    ///
    /// # Errors
    /// What the client did wrong, or that there is no room for it.
    pub async fn ask(&self, client: &Client, ask: Ask) -> Result<Replies, Refusal> {
        let _ = (client, ask);
        todo!()
    }

    /// Takes on nothing more; what waits is refused, what is being answered goes on.
    pub fn stop(&self) {
        todo!()
    }

    /// Returns when the engine has nothing left to do after [`Schedule::stop`], or its thread has ended.
    pub async fn stopped(&self) {
        todo!()
    }
}

impl Replies {
    /// The next event of any of the replies; `None` after the last. After an `Err` nothing comes.
    pub async fn next(&mut self) -> Option<Result<ChoiceEvent, Refusal>> {
        todo!()
    }

    /// Tokens up to now; all of them once [`Replies::next`] gave `None`.
    pub fn usage(&self) -> Usage {
        todo!()
    }
}

impl<Q> Driver<Q> {
    /// Drives an engine until there is nothing left to do after a stop.
    ///
    /// # Errors
    /// The engine broke: those it was answering were told so, those that wait still do.
    pub fn drive(&mut self, engine: &mut dyn Engine<Q>) -> Result<(), Fault> {
        let _ = engine;
        todo!()
    }
}
