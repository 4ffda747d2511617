//! What the driver sends to those who asked, and how they give up.
//!
//! The channel has no bound of its own: what goes through it is bounded by the tokens that the request may
//! have, and a driver that waited for one slow reader would keep all others waiting.

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, timeout_at};

use crate::ask::{ChoiceEvent, Usage};
use crate::model::{Refusal, RefusalKind};

/// What a step did for a request.
pub(super) struct Event {
    pub(super) event: ChoiceEvent,
    pub(super) added: bool,
    /// Tokens of the prompt and cached ones, with the first event of a request.
    pub(super) prompt: Option<(usize, usize)>,
}

/// The replies to a request, as they are written. Dropping them gives the request up.
pub struct Replies {
    pub(super) events: UnboundedReceiver<Result<Event, Refusal>>,
    pub(super) deadline: Instant,
    /// Replies that have not ended.
    pub(super) open: usize,
    pub(super) usage: Usage,
    /// Takes the request out of the queue if it still is there.
    pub(super) withdraw: Box<dyn Fn() + Send + Sync>,
}

impl Replies {
    /// The next event of any of the replies; `None` after the last. After an `Err` nothing comes.
    ///
    /// Nothing is lost when the future is dropped before it is done.
    pub async fn next(&mut self) -> Option<Result<ChoiceEvent, Refusal>> {
        while self.open > 0 {
            // The driver keeps the time too, but it may be inside a step that does not end.
            let refusal = match timeout_at(self.deadline, self.events.recv()).await {
                Ok(Some(Ok(event))) => {
                    if let Some(event) = self.take(event) {
                        return Some(Ok(event));
                    }
                    continue;
                }
                Ok(Some(Err(refusal))) => refusal,
                Ok(None) => ended(),
                Err(_) => timed_out(),
            };
            self.open = 0;
            self.events.close();
            (self.withdraw)();
            return Some(Err(refusal));
        }
        None
    }

    /// Counts what a step did; the event, if it says anything.
    fn take(&mut self, step: Event) -> Option<ChoiceEvent> {
        if let Some((tokens, cached)) = step.prompt {
            self.usage.prompt_tokens = tokens;
            self.usage.cached_tokens = cached;
        }
        self.usage.completion_tokens += usize::from(step.added);
        let event = step.event;
        self.open -= usize::from(event.finish.is_some());
        let says = !event.text.is_empty() || event.token.is_some() || event.finish.is_some();
        says.then_some(event)
    }

    /// Tokens up to now; all of them once [`Replies::next`] gave `None`.
    pub fn usage(&self) -> Usage {
        self.usage
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        if self.open > 0 {
            self.events.close();
            (self.withdraw)();
        }
    }
}

/// The request's time is over.
pub(super) fn timed_out() -> Refusal {
    Refusal::new(
        RefusalKind::TimedOut,
        "the request took longer than this server allows; ask for fewer tokens, or again when it has less to do",
    )
}

/// The engine's thread is gone, and nobody is there to say why.
pub(super) fn ended() -> Refusal {
    Refusal::new(
        RefusalKind::Failed,
        "the model does not answer any more; the server's log says why, and a restart brings it back",
    )
}

/// The server is about to end.
pub(super) fn stopping() -> Refusal {
    Refusal::new(
        RefusalKind::Stopping,
        "the server is about to end and takes on nothing more; ask another one, or this one when it is back",
    )
}
