//! Why a page cannot be shown, as a page.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// Why a page cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The request cannot be meant.
    #[error("{0}")]
    Invalid(String),
    /// A run's files cannot be read.
    #[error(transparent)]
    Sample(#[from] sample::Error),
    /// A run's tables cannot be queried.
    #[error(transparent)]
    Select(#[from] select::Error),
    /// A run's evaluation cannot be read.
    #[error(transparent)]
    Eval(#[from] eval::Error),
    /// A picture cannot be drawn.
    #[error(transparent)]
    Report(#[from] report::Error),
    /// Work that was handed to another thread did not end.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Error::NotFound(_) => StatusCode::NOT_FOUND,
            Error::Invalid(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        crate::shell::fault(&self)
    }
}
