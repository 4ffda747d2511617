//! A request's body: JSON, of bounded size and bounded structure.
//!
//! Bytes are not all that a body costs: `[0,0,0,...]` takes a dozen times its bytes once it is read, so the
//! values are counted before. And what one body may hold many bodies may hold, so all of those that are being
//! read share one room.

use std::error::Error as _;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use futures::StreamExt;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use crate::guard::BodyTooLarge;
use crate::server::upload_timed_out;

/// Bytes of all bodies that are held at the same time.
const ROOM: usize = 512 << 20;
/// Room is taken in pieces of so many bytes.
const PIECE: usize = 64 << 10;
/// Values (numbers, texts, lists, objects) of one body.
const VALUES: usize = 200_000;
/// Work on more bytes than this goes to a thread that may block.
const LARGE: usize = 256 << 10;

/// The room that bodies share.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Room {
        Room(Arc::new(Semaphore::new(ROOM / PIECE)))
    }
}

/// A body that was read. Holds its room until it is dropped.
pub(super) struct Json {
    pub value: Value,
    /// As it was sent.
    pub bytes: usize,
    _room: Option<OwnedSemaphorePermit>,
}

/// Reads a request's body.
///
/// # Errors
/// Another media type than JSON (a web page of another site can send plain text unasked), more bytes than the
/// guard allows, a body that breaks off, or that is no JSON.
pub(super) async fn read(room: &Room, request: Request) -> Result<Json, ApiError> {
    media_type(request.headers())?;
    let mut held: Option<OwnedSemaphorePermit> = None;
    let mut bytes = Vec::new();
    let mut pieces = 0;
    let mut stream = request.into_body().into_data_stream();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| broken_off(&error))?;
        while pieces * PIECE < bytes.len() + chunk.len() {
            let more = room.0.clone().try_acquire_owned().map_err(|_| {
                ApiError::busy("too many large requests are being read; ask again in a moment")
            })?;
            pieces += 1;
            match &mut held {
                Some(held) => held.merge(more),
                none => *none = Some(more),
            }
        }
        bytes.extend_from_slice(&chunk);
    }
    let length = bytes.len();
    let value = off_thread_if_large(length, move || parsed(&bytes)).await??;
    Ok(Json {
        value,
        bytes: length,
        _room: held,
    })
}

/// Does `work` on so many bytes, elsewhere if that may take long.
///
/// # Errors
/// Where it panics.
pub(super) async fn off_thread_if_large<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    if bytes <= LARGE {
        return Ok(work());
    }
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ApiError::internal())
}

fn media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = given.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(ApiError::invalid(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "send the body as JSON, with the header `Content-Type: application/json`",
    ))
}

fn broken_off(error: &axum::Error) -> ApiError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(BodyTooLarge(limit)) = error.downcast_ref() {
            return ApiError::body_too_large(*limit);
        }
        cause = error.source();
    }
    if upload_timed_out(error) {
        return ApiError::invalid(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "the body came too slowly; send it again",
        );
    }
    ApiError::invalid(
        StatusCode::BAD_REQUEST,
        "incomplete_body",
        "the body broke off before its end",
    )
}

fn parsed(bytes: &[u8]) -> Result<Value, ApiError> {
    let invalid = |message| ApiError::invalid(StatusCode::BAD_REQUEST, "invalid_json", message);
    if bytes.is_empty() {
        return Err(invalid("the body is empty: send a JSON object".to_owned()));
    }
    if values(bytes) > VALUES {
        let message = format!("the body has more than the {VALUES} values that one may have");
        return Err(ApiError::limit("", message));
    }
    // Depth is bounded by serde_json itself, at 128.
    serde_json::from_slice(bytes).map_err(|error| invalid(format!("the body is no JSON: {error}")))
}

/// At least as many as the values of this JSON; of bytes that are none, any number.
fn values(bytes: &[u8]) -> usize {
    let mut count = 1;
    let mut in_text = false;
    let mut escaped = false;
    for &byte in bytes {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
        } else {
            match byte {
                b'"' => in_text = true,
                // Each value but the first follows a comma or opens its list or object.
                b',' | b'[' | b'{' => count += 1,
                _ => {}
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use proptest::prelude::*;

    fn counted(value: &Value) -> usize {
        1 + match value {
            Value::Array(entries) => entries.iter().map(counted).sum(),
            Value::Object(entries) => entries.values().map(counted).sum(),
            _ => 0,
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                proptest::collection::vec((any::<String>(), inner), 0..8)
                    .prop_map(|entries| Value::Object(entries.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_json_has_more_values_than_are_counted(value in any_json()) {
            prop_assert!(values(value.to_string().as_bytes()) >= counted(&value));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Err(error) = parsed(&bytes) {
                prop_assert_eq!(error.status, StatusCode::BAD_REQUEST);
            }
        }
    }

    #[test]
    fn text_full_of_commas_is_one_value() {
        assert_eq!(values(br#""a,b[{\",,\\""#), 1);
        assert_eq!(values(br#"[1,2]"#), 3);
    }

    #[test]
    fn a_million_zeros_are_refused_before_they_are_read() {
        let error = parsed(format!("[{}0]", "0,".repeat(1_000_000)).as_bytes()).unwrap_err();
        assert_eq!(error.code, Some("limit_exceeded"));
    }

    #[test]
    fn nesting_without_end_is_refused() {
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        assert_eq!(
            parsed(deep.as_bytes()).unwrap_err().code,
            Some("invalid_json")
        );
    }

    #[tokio::test]
    async fn a_body_gives_its_room_back() {
        let room = Room::default();
        let request = |bytes: usize| {
            Request::post("/")
                .header(CONTENT_TYPE, "application/json")
                .body(Body::from(format!("\"{}\"", "x".repeat(bytes))))
                .unwrap()
        };
        let free = room.0.available_permits();
        let json = read(&room, request(3 * PIECE)).await.unwrap();
        assert_eq!(room.0.available_permits(), free - 4);
        assert_eq!(json.bytes, 3 * PIECE + 2);
        drop(json);
        assert_eq!(room.0.available_permits(), free);

        let all = room
            .0
            .clone()
            .acquire_many_owned(free as u32)
            .await
            .unwrap();
        let refused = read(&room, request(1)).await.err().unwrap();
        assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
        drop(all);
        assert!(read(&room, request(1)).await.is_ok());
    }
}
