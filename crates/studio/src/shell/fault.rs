//! Faults: a page for people, JSON in the API's form for programs.
//!
//! A handler does not know who asks, so [`fault`] only notes what is wrong; the layer around all pages
//! writes it down as the client reads it. What the framework itself refuses (a method, a query that cannot
//! be read) takes the same way.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use maud::html;
use serde_json::json;

use super::frame::{Page, Place};
use crate::Error;

/// No more of a message than this is shown, in bytes.
const LONGEST: usize = 4096;

/// What is wrong, on the way to the layer that shows it.
#[derive(Debug, Clone)]
struct Fault(String);

/// A fault as a page, with its status.
pub(crate) fn fault(error: &Error) -> Response {
    noted(error.status(), error.to_string())
}

/// The answer to addresses under which there is nothing, in the same two forms as all faults of the studio.
///
/// For routers that hold more than the studio: with this as their fallback, people get a page and programs
/// get JSON.
pub async fn not_found(request: Request) -> Response {
    let pages = reads_pages(request.headers());
    let message = format!("there is nothing at {}", request.uri().path());
    let mut response = shown(noted(StatusCode::NOT_FOUND, message), pages).await;
    super::add_headers(response.headers_mut());
    response
}

fn noted(status: StatusCode, message: String) -> Response {
    let mut response = (status, message.clone()).into_response();
    let _ = response.extensions_mut().insert(Fault(message));
    response
}

/// Whether a client shows pages, by what it says it accepts. Programs mostly say `*/*`.
pub(super) fn reads_pages(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("text/html"))
}

/// A response as it is, or its fault as the client reads it.
pub(super) async fn shown(response: Response, pages: bool) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let message = match response.extensions().get::<Fault>() {
        Some(fault) => fault.0.clone(),
        None if is_ready(&response) => return response,
        None => plain(response, status).await,
    };
    let mut answer = if pages {
        page(status, &message)
    } else {
        let kind = if status.is_client_error() {
            "invalid_request_error"
        } else {
            "server_error"
        };
        let error = json!({"message": message, "type": kind, "param": null, "code": null});
        (
            [(CONTENT_TYPE, "application/json")],
            json!({ "error": error }).to_string(),
        )
            .into_response()
    };
    *answer.status_mut() = status;
    answer
}

/// Whether a handler has already said it as the client reads it.
fn is_ready(response: &Response) -> bool {
    response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| !kind.starts_with("text/plain"))
}

/// What the framework says of a request that it refused.
async fn plain(response: Response, status: StatusCode) -> String {
    let body: Body = response.into_body();
    let text = to_bytes(body, LONGEST)
        .await
        .ok()
        .map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
        .filter(|text| !text.is_empty());
    text.unwrap_or_else(|| {
        let reason = status.canonical_reason().unwrap_or("unknown");
        format!("the request failed: {}", reason.to_lowercase())
    })
}

fn page(status: StatusCode, message: &str) -> Response {
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        _ if status.is_client_error() => "This cannot be shown",
        _ => "Something went wrong",
    };
    Page {
        title,
        place: Place::None,
        run: None,
        scripts: &[],
        body: html! {
            p.lead { (message) }
            p { "Status " (status.as_u16()) ". " a href="/runs" { "All runs" } }
        },
    }
    .into_response()
}
