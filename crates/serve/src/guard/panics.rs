//! A handler that panics costs its own request and nobody else's.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use axum::response::{IntoResponse, Response};

use crate::api::error::ApiError;

/// The answer, or 500 where there was a panic instead. What the handler shared with others is behind locks and
/// channels, which know of panics themselves.
pub(super) async fn caught(answer: impl Future<Output = Response>) -> Response {
    let mut answer = pin!(answer);
    poll_fn(
        |context| match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(_) => Poll::Ready(ApiError::internal().into_response()),
        },
    )
    .await
}
