//! Images on other servers: fetched one after the other, so that a request never holds more than its limit.

use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use chat::fetch::{FetchError, Fetcher};

use super::Shared;
use super::error::ApiError;
use super::parts::{RemoteImage, too_large};

/// For all images of one request.
const TIME: Duration = Duration::from_secs(60);

/// Fetches images, for a request that has `held` bytes of images already.
///
/// # Errors
/// As the fetcher says, about the place of the image; more bytes than one or all may have.
pub(super) async fn fetched(
    shared: &Shared,
    images: &[RemoteImage],
    mut held: usize,
) -> Result<Vec<Bytes>, ApiError> {
    let limits = &shared.api.limits;
    let deadline = tokio::time::Instant::now() + TIME;
    let mut all = Vec::with_capacity(images.len());
    for image in images {
        let slow = || FetchError::Failed("it took too long".into());
        let fetched = match &shared.api.fetcher {
            Some(fetcher) => tokio::time::timeout_at(deadline, one(shared, fetcher, &image.url))
                .await
                .unwrap_or_else(|_| Err(slow())),
            None => Err(FetchError::Refused("this server fetches no images".into())),
        };
        let bytes = fetched.map_err(|error| {
            ApiError::invalid(
                StatusCode::BAD_REQUEST,
                "invalid_image_url",
                format!("the image at `{}` was not fetched: {error}", image.place),
            )
            .about(&image.place)
        })?;
        if bytes.len() > limits.image_bytes {
            return Err(too_large(&image.place, limits));
        }
        held += bytes.len();
        if held > limits.all_image_bytes {
            let message = format!(
                "the images of the request have more than {} bytes together",
                limits.all_image_bytes
            );
            return Err(ApiError::limit(&image.place, message));
        }
        all.push(bytes);
    }
    Ok(all)
}

async fn one(shared: &Shared, fetcher: &Fetcher, url: &str) -> Result<Bytes, FetchError> {
    let _turn = shared
        .fetching
        .acquire()
        .await
        .map_err(|_| FetchError::Failed("this server is about to end".into()))?;
    fetcher.fetch(url).await
}
