//! A request's body that must keep coming.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

/// A body that could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// It came too slowly.
    #[error("the request's body came too slowly: {0}; send it again")]
    TooSlow(&'static str),
    /// The connection or its framing broke.
    #[error("the request's body broke off")]
    Broken(#[source] hyper::Error),
}

/// Whether an error comes from a body that came too slowly, through whatever wraps it.
pub fn upload_timed_out(error: &(dyn Error + 'static)) -> bool {
    let mut error = Some(error);
    while let Some(one) = error {
        if matches!(one.downcast_ref(), Some(UploadError::TooSlow(_))) {
            return true;
        }
        error = one.source();
    }
    false
}

pub(super) struct Upload {
    body: Incoming,
    stall_time: Duration,
    /// When all of it must be there.
    deadline: Instant,
    /// While nothing comes; until the earlier of both limits.
    waiting: Option<Pin<Box<Sleep>>>,
    ended: bool,
    /// Told where the body is dropped before its end.
    unread: Arc<AtomicBool>,
}

impl Upload {
    pub(super) fn new(
        body: Incoming,
        stall_time: Duration,
        body_time: Duration,
        unread: Arc<AtomicBool>,
    ) -> Upload {
        Upload {
            body,
            stall_time,
            deadline: Instant::now() + body_time,
            waiting: None,
            ended: false,
            unread,
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        let now = Instant::now();
        if now >= self.deadline && !self.ended && !self.body.is_end_stream() {
            return Poll::Ready(Some(Err(UploadError::TooSlow(
                "not all of it was there in time",
            ))));
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.waiting = None;
            self.ended = frame.is_none();
            return Poll::Ready(frame.map(|frame| frame.map_err(UploadError::Broken)));
        }
        let until = self.deadline.min(now + self.stall_time);
        let waiting = self
            .waiting
            .get_or_insert_with(|| Box::pin(sleep_until(until)));
        match waiting.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                Poll::Ready(Some(Err(UploadError::TooSlow("nothing more of it came"))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // A body in chunks does not know that it has ended until it is asked for more.
        if !self.ended && !self.body.is_end_stream() {
            self.unread.store(true, Ordering::Relaxed);
        }
    }
}
