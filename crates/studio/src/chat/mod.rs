//! Talking with the models that the same server answers for.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use maud::html;

use crate::Studio;
use crate::shell::{Page, Place};

/// The page's routes.
pub(crate) fn routes() -> Router<Arc<Studio>> {
    Router::new().route("/chat", get(page))
}

async fn page() -> axum::response::Response {
    use axum::response::IntoResponse;
    Page {
        title: "Chat",
        place: Place::Chat,
        run: None,
        scripts: &[],
        body: html! {},
    }
    .into_response()
}
