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
mod intake;
mod queue;
mod replies;
mod shared;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::ask::Ask;
use crate::metrics::Metrics;
use crate::model::{Model, ModelCard, Refusal};
use intake::{Desk, Intake};
use shared::Shared;

pub use driver::Driver;
pub use replies::Replies;

/// How much is taken on.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleLimits {
    /// Replies that are written at the same time.
    pub slots: usize,
    /// Requests that wait, of which each image counts as another, since it is images that take memory; more are
    /// refused as [`crate::RefusalKind::Busy`].
    pub queue: usize,
    /// The same of one client.
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
        let metrics = metrics.model(&model.card().id);
        let shared = Arc::new(Shared::new(limits, metrics, sender));
        let driver = Driver::new(Arc::clone(&shared));
        std::thread::Builder::new()
            .name("engine".to_owned())
            .spawn(move || body(driver))
            .expect("the system starts a thread at start-up");
        Schedule {
            desk: Arc::new(Intake::new(model, shared)),
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

    /// How long a request that was refused as [`crate::RefusalKind::Busy`] should wait before it comes again: what
    /// the queue takes at the pace of the last replies, from 1 second to 60.
    pub fn wait(&self) -> Duration {
        self.desk.wait()
    }

    /// Whether requests are taken on.
    ///
    /// # Errors
    /// What they would be told instead.
    pub fn takes_on(&self) -> Result<(), Refusal> {
        self.desk.takes_on()
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
