//! What all pages share: the frame with its navigation, styles, scripts, security headers, faults.
//!
//! A page's handler gives a [`Page`]; the frame around it, and the policy that forbids any script but ours,
//! are added here for all of them alike. [`parts`] are the pieces that several pages are made of.

mod assets;
mod fault;
mod frame;
pub(crate) mod parts;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{Redirect, Response};
use axum::routing::get;

use crate::Studio;

pub(crate) use assets::address;
pub(crate) use fault::fault;
pub use fault::not_found;
pub(crate) use frame::{Page, Place};

/// What pages may load: files of ours, and pictures that scripts made. Styles may stand on elements, because charts
/// place things by them; scripts may not.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Headers of every answer, where the answer does not set them itself.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    // Not `no-referrer`: under it browsers say nothing of the origin of our own forms.
    (header::REFERRER_POLICY, "same-origin"),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    // Pages show what lies on disk now.
    (header::CACHE_CONTROL, "no-cache"),
];

/// The front page and what pages load.
pub(crate) fn routes() -> Router<Arc<Studio>> {
    Router::new()
        .route("/", get(|| async { Redirect::to("/runs") }))
        .route("/favicon.ico", get(assets::icon))
        .route("/assets/{*path}", get(assets::file))
}

/// Puts the frame's headers on everything that `router` answers, and shows faults as the client reads them.
pub(crate) fn framed(router: Router) -> Router {
    router.layer(middleware::from_fn(finish))
}

async fn finish(request: Request, next: Next) -> Response {
    let pages = fault::reads_pages(request.headers());
    let mut response = fault::shown(next.run(request).await, pages).await;
    add_headers(response.headers_mut());
    response
}

fn add_headers(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        let _ = headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests;
