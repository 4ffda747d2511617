//! The replies to all prompts of a request as one sequence of events.
//!
//! A plain completion may have several prompts, each a request of its own to the schedule; a conversation has
//! one. What they write is taken in turns. Dropping this gives all of them up.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use futures::Stream;

use super::error::ApiError;
use crate::ask::{ChoiceEvent, Finish, TokenText, Usage};
use crate::model::{Refusal, RefusalKind};
use crate::schedule::Replies;

/// Replies of one request, being written.
pub(super) struct Answers {
    prompts: Vec<Waiting>,
    /// Whose turn is next.
    turn: usize,
    /// Replies to each prompt.
    n: usize,
    usage: Usage,
}

/// What is left of one prompt's replies; `None` once they have ended.
type Waiting = Option<Pin<Box<dyn Stream<Item = Heard> + Send>>>;

enum Heard {
    Event(Result<ChoiceEvent, Refusal>),
    Ended(Usage),
}

fn events(replies: Replies) -> impl Stream<Item = Heard> + Send {
    futures::stream::unfold(Some(replies), async |replies| {
        let mut replies = replies?;
        match replies.next().await {
            Some(event) => Some((Heard::Event(event), Some(replies))),
            None => Some((Heard::Ended(replies.usage()), None)),
        }
    })
}

impl Answers {
    /// Of each prompt's replies, `n` a prompt.
    pub fn new(prompts: Vec<Replies>, n: usize) -> Answers {
        let waiting = |replies| -> Waiting { Some(Box::pin(events(replies))) };
        Answers {
            prompts: prompts.into_iter().map(waiting).collect(),
            turn: 0,
            n,
            usage: Usage::default(),
        }
    }

    /// Replies in all.
    pub fn choices(&self) -> usize {
        self.prompts.len() * self.n
    }

    /// Tokens of the prompts whose replies have ended.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// The next event of any reply, numbered over all prompts; `None` after the last.
    pub async fn next(&mut self) -> Option<Result<ChoiceEvent, Refusal>> {
        poll_fn(|context| {
            loop {
                let mut open = false;
                let mut ended = false;
                for step in 0..self.prompts.len() {
                    let at = (self.turn + step) % self.prompts.len();
                    let Some(stream) = &mut self.prompts[at] else {
                        continue;
                    };
                    open = true;
                    match stream.as_mut().poll_next(context) {
                        Poll::Pending => {}
                        Poll::Ready(Some(Heard::Event(event))) => {
                            self.turn = at + 1;
                            let number = |event: ChoiceEvent| ChoiceEvent {
                                choice: at * self.n + event.choice,
                                ..event
                            };
                            return Poll::Ready(Some(event.map(number)));
                        }
                        Poll::Ready(Some(Heard::Ended(usage))) => {
                            self.usage.prompt_tokens += usage.prompt_tokens;
                            self.usage.cached_tokens += usage.cached_tokens;
                            self.usage.completion_tokens += usage.completion_tokens;
                            self.prompts[at] = None;
                            ended = true;
                        }
                        Poll::Ready(None) => {
                            self.prompts[at] = None;
                            ended = true;
                        }
                    }
                }
                if !open {
                    return Poll::Ready(None);
                }
                if !ended {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

/// A reply that is complete.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Written {
    pub text: String,
    pub tokens: Vec<TokenText>,
    pub finish: Finish,
}

/// All replies, once they are complete, and the tokens they took.
///
/// # Errors
/// Where one fails; the others are given up.
pub(super) async fn collected(mut answers: Answers) -> Result<(Vec<Written>, Usage), ApiError> {
    struct Partial {
        text: String,
        tokens: Vec<TokenText>,
        finish: Option<Finish>,
    }
    let mut partial: Vec<Partial> = (0..answers.choices())
        .map(|_| Partial {
            text: String::new(),
            tokens: Vec::new(),
            finish: None,
        })
        .collect();
    while let Some(event) = answers.next().await {
        let event = event?;
        let Some(reply) = partial.get_mut(event.choice) else {
            continue;
        };
        reply.text.push_str(&event.text);
        reply.tokens.extend(event.token);
        reply.finish = reply.finish.or(event.finish);
    }
    let written = partial.into_iter().map(|reply| {
        Ok(Written {
            text: reply.text,
            tokens: reply.tokens,
            finish: reply.finish.ok_or_else(unfinished)?,
        })
    });
    Ok((written.collect::<Result<_, Refusal>>()?, answers.usage()))
}

/// A reply that ended without saying why.
pub(super) fn unfinished() -> Refusal {
    Refusal::new(RefusalKind::Failed, "the model stopped before the end")
}
