//! A limit on what a request's body may have, told beforehand or counted as it comes.

use std::error::Error;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use futures::StreamExt;

use crate::api::error::ApiError;

/// Why reading a body failed, found among the sources of the reader's error: it has more bytes than so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body has more than {0} bytes")]
pub struct BodyTooLarge(pub usize);

/// Refuses a body that says beforehand that it is too large, before a byte of it is read.
pub(super) fn announced(request: &Request, limit: usize) -> Result<(), ApiError> {
    let length = request.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(ApiError::body_too_large(limit));
    }
    Ok(())
}

/// The request with a body that fails after `limit` bytes.
pub(super) fn limited(request: Request, limit: usize) -> Request {
    request.map(|body| {
        let mut left = limit;
        let chunks = body.into_data_stream().map(move |chunk| {
            let chunk: Bytes = chunk?;
            match left.checked_sub(chunk.len()) {
                Some(rest) => {
                    left = rest;
                    Ok(chunk)
                }
                None => Err(Box::<dyn Error + Send + Sync>::from(BodyTooLarge(limit))),
            }
        });
        Body::from_stream(chunks)
    })
}
