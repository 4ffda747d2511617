//! Where requests come in: they get a place, are prepared, and wait for their turn.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::Client;
use super::driver::Prepared;
use super::gate::Gate;
use super::replies::{self, Replies};
use super::shared::Shared;
use crate::ask::{Ask, Part, Prompt, Usage};
use crate::model::{Model, ModelCard, Refusal, RefusalKind};

/// A [`Schedule`] of a model of any kind.
pub(super) trait Desk: Send + Sync {
    fn card(&self) -> &ModelCard;
    fn ask<'a>(&'a self, client: &'a Client, ask: Ask) -> Asking<'a>;
    fn stop(&self);
    fn takes_on(&self) -> Result<(), Refusal>;
    fn wait(&self) -> Duration;
}

pub(super) type Asking<'a> = Pin<Box<dyn Future<Output = Result<Replies, Refusal>> + Send + 'a>>;

/// Where requests to one model come in.
pub(super) struct Intake<M: Model> {
    model: Arc<M>,
    shared: Arc<Shared<M::Question>>,
    gate: Arc<Gate>,
}

impl<M: Model> Intake<M> {
    pub(super) fn new(model: Arc<M>, shared: Arc<Shared<M::Question>>) -> Intake<M> {
        Intake {
            model,
            gate: Gate::new(shared.limits.preparing),
            shared,
        }
    }

    async fn take_on(&self, client: &Client, ask: Ask) -> Result<Replies, Refusal> {
        let arrived = Instant::now();
        let deadline = arrived + self.shared.limits.request_time;
        // The place comes first: who has none is told so before any work is done for it.
        let images = images(&ask);
        let place = self.shared.reserve(client, 1 + images)?;
        let pass = timeout_at(deadline, self.gate.pass(client)).await;
        let pass = pass.map_err(|_| replies::timed_out())?;
        self.shared.metrics.images.add(images as u64);
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
        let request = self.shared.number();
        place.enter(
            request,
            Prepared {
                question: Some(question),
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

fn images(ask: &Ask) -> usize {
    let Prompt::Chat(turns) = &ask.prompt else {
        return 0;
    };
    let parts = turns.iter().flat_map(|turn| &turn.parts);
    parts.filter(|part| matches!(part, Part::Image(_))).count()
}

impl<M: Model> Desk for Intake<M> {
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
        self.shared.stop();
    }

    fn takes_on(&self) -> Result<(), Refusal> {
        self.shared.takes_on()
    }

    fn wait(&self) -> Duration {
        self.shared.hint()
    }
}
