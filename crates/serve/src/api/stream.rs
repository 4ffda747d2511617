//! Replies as they are written: server-sent events, as OpenAI's clients read them.
//!
//! The status is decided with the first event of a reply, as long as that does not take longer than clients
//! and proxies wait for a head: so a request that fails early has its true status. From then on an error is an
//! event of its own, after which the stream ends; a comment is sent whenever there is nothing to say for long.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use serde::Serialize;

use super::answers::{Answers, unfinished};
use super::error::ApiError;
use super::reply::{Head, Object, UsageObject, written};
use crate::ask::{ChoiceEvent, Finish, TokenText};
use crate::guard::Spent;
use crate::model::Refusal;

/// How a route writes the pieces of a reply.
pub(super) trait Dialect: Send + 'static {
    /// A piece of one reply.
    type Choice: Serialize;
    /// What each chunk says that it is.
    const OBJECT: &'static str;

    /// Before all others of the reply `index`, if the route has such a piece.
    fn first(&self, index: usize) -> Option<Self::Choice>;

    /// More text, with the token behind it where that was asked for.
    fn more(&mut self, index: usize, text: String, token: Option<TokenText>) -> Self::Choice;

    /// Why the reply ended.
    fn last(&self, index: usize, finish: Finish) -> Self::Choice;
}

/// What a stream is made of.
pub(super) struct Streamed<D> {
    pub head: Head,
    pub answers: Answers,
    pub dialect: D,
    /// Whether the client asked for a count at the end.
    pub include_usage: bool,
    /// The longest silence.
    pub keep_alive: Duration,
    pub spent: Arc<Spent>,
}

/// Answers with a stream.
///
/// # Errors
/// Where the request fails before anything was written.
pub(super) async fn respond<D: Dialect>(mut streamed: Streamed<D>) -> Result<Response, ApiError> {
    let keep_alive = streamed.keep_alive;
    let early = match tokio::time::timeout(keep_alive, streamed.answers.next()).await {
        Ok(None) => return Err(unfinished().into()),
        Ok(Some(event)) => Some(event?),
        Err(_) => None,
    };
    let mut writer = Writer {
        unopened: vec![true; streamed.answers.choices()],
        unfinished: streamed.answers.choices(),
        streamed,
        waiting: VecDeque::new(),
        over: false,
    };
    if let Some(event) = early {
        writer.event(event);
    }
    let sse = Sse::new(writer.events()).keep_alive(KeepAlive::new().interval(keep_alive));
    // Proxies that gather answers before they pass them on know this one.
    let unbuffered = [(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    )];
    Ok((unbuffered, sse).into_response())
}

struct Writer<D> {
    streamed: Streamed<D>,
    /// By reply, whether its first piece is still to come.
    unopened: Vec<bool>,
    /// Replies that have not ended.
    unfinished: usize,
    waiting: VecDeque<Event>,
    over: bool,
}

impl<D: Dialect> Writer<D> {
    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> + Send {
        futures::stream::unfold(self, async |mut writer| {
            loop {
                if let Some(event) = writer.waiting.pop_front() {
                    return Some((Ok(event), writer));
                }
                if writer.over {
                    return None;
                }
                match writer.streamed.answers.next().await {
                    Some(Ok(event)) => writer.event(event),
                    Some(Err(refusal)) => writer.fail(refusal),
                    None if writer.unfinished > 0 => writer.fail(unfinished()),
                    None => writer.end(),
                }
            }
        })
    }

    fn event(&mut self, event: ChoiceEvent) {
        let index = event.choice;
        if let Some(unopened) = self.unopened.get_mut(index)
            && std::mem::take(unopened)
            && let Some(first) = self.streamed.dialect.first(index)
        {
            self.chunk(first);
        }
        if !event.text.is_empty() || event.token.is_some() {
            let more = self.streamed.dialect.more(index, event.text, event.token);
            self.chunk(more);
        }
        if let Some(finish) = event.finish {
            self.unfinished = self.unfinished.saturating_sub(1);
            let last = self.streamed.dialect.last(index, finish);
            self.chunk(last);
        }
    }

    fn chunk(&mut self, choice: D::Choice) {
        // With the option, every chunk but the last says `null`.
        let usage = self.streamed.include_usage.then_some(None);
        let chunk = Object::new(&self.streamed.head, D::OBJECT, vec![choice], usage);
        self.waiting
            .push_back(Event::default().data(written(&chunk)));
    }

    fn end(&mut self) {
        let usage = self.streamed.answers.usage();
        self.streamed.spent.add(usage);
        if self.streamed.include_usage {
            let usage = Some(Some(UsageObject::from(usage)));
            let none: Vec<D::Choice> = Vec::new();
            let chunk = Object::new(&self.streamed.head, D::OBJECT, none, usage);
            self.waiting
                .push_back(Event::default().data(written(&chunk)));
        }
        self.close();
    }

    fn fail(&mut self, refusal: Refusal) {
        let error = ApiError::from(refusal).json();
        self.waiting.push_back(Event::default().data(error));
        self.close();
    }

    fn close(&mut self) {
        self.waiting.push_back(Event::default().data("[DONE]"));
        self.over = true;
    }
}
