//! Errors as OpenAI's clients know them: an HTTP status, and
//! `{"error": {"message", "type", "param", "code"}}`.
//!
//! Clients choose their exception by the status, people read the message, programs compare the code. What
//! is put into a message comes from this crate or from a [`Refusal`]; of what a client sent, no more than a
//! short name.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::model::{Refusal, RefusalKind};

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub status: StatusCode,
    /// `invalid_request_error`, `rate_limit_error` or `server_error`.
    pub kind: &'static str,
    pub code: Option<&'static str>,
    pub message: String,
    pub param: Option<String>,
    /// Seconds after which asking again makes sense.
    pub retry_after: Option<u64>,
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

/// Seconds that clients are asked to wait where nothing better is known.
const RETRY_SECONDS: u64 = 1;

impl ApiError {
    /// An error that the client can mend.
    pub fn invalid(status: StatusCode, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            status,
            kind: INVALID,
            code: Some(code),
            message: message.into(),
            param: None,
            retry_after: None,
        }
    }

    /// A value that cannot be meant, at `place`.
    pub fn value(place: &str, message: impl Into<String>) -> ApiError {
        ApiError::invalid(StatusCode::BAD_REQUEST, "invalid_value", message).about(place)
    }

    /// More in a readable request than one may hold, at `place`.
    pub fn limit(place: &str, message: impl Into<String>) -> ApiError {
        ApiError::invalid(StatusCode::BAD_REQUEST, "limit_exceeded", message).about(place)
    }

    /// Something of OpenAI's that this server does not do, at `place`.
    pub fn unsupported(place: &str, message: impl Into<String>) -> ApiError {
        ApiError::invalid(StatusCode::BAD_REQUEST, "unsupported_parameter", message).about(place)
    }

    /// Nothing that the client did.
    pub fn server(status: StatusCode, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            kind: SERVER,
            ..ApiError::invalid(status, code, message)
        }
    }

    /// There is no room now.
    pub fn busy(message: impl Into<String>) -> ApiError {
        ApiError {
            kind: "rate_limit_error",
            retry_after: Some(RETRY_SECONDS),
            ..ApiError::invalid(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_exceeded",
                message,
            )
        }
    }

    /// The handler broke.
    pub fn internal() -> ApiError {
        ApiError::server(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "the server failed on this request; its log says more",
        )
    }

    /// The body has more than `limit` bytes.
    pub fn body_too_large(limit: usize) -> ApiError {
        ApiError::invalid(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            format!("the body has more than the {limit} bytes that one may have"),
        )
    }

    /// The same, about the field at `place`.
    #[must_use]
    pub fn about(self, place: &str) -> ApiError {
        ApiError {
            param: (!place.is_empty()).then(|| place.to_owned()),
            ..self
        }
    }

    /// The JSON of it, as an answer's body and as an event in a stream.
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Outer<'a> {
            error: Inner<'a>,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            message: &'a str,
            r#type: &'a str,
            param: Option<&'a str>,
            code: Option<&'a str>,
        }
        super::reply::written(&Outer {
            error: Inner {
                message: &self.message,
                r#type: self.kind,
                param: self.param.as_deref(),
                code: self.code,
            },
        })
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        let Refusal {
            kind,
            message,
            param,
        } = refusal;
        let invalid = |code| ApiError::invalid(StatusCode::BAD_REQUEST, code, message.clone());
        let server = |status, code| ApiError::server(status, code, message.clone());
        let error = match kind {
            RefusalKind::Invalid => invalid("invalid_value"),
            RefusalKind::ContextLength => invalid("context_length_exceeded"),
            RefusalKind::TooLarge => invalid("limit_exceeded"),
            RefusalKind::Busy => ApiError::busy(message.clone()),
            RefusalKind::Stopping => ApiError {
                retry_after: Some(RETRY_SECONDS),
                ..server(StatusCode::SERVICE_UNAVAILABLE, "stopping")
            },
            RefusalKind::TimedOut => server(StatusCode::GATEWAY_TIMEOUT, "timeout"),
            RefusalKind::Failed => server(StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
        };
        ApiError { param, ..error }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.json()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
