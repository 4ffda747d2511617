//! `GET /health` and `GET /metrics`: for those who watch the server.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::reply::written;
use super::{JSON, Served, Shared};

/// Whether requests are taken on, model by model.
pub(super) async fn health(State(shared): State<Shared>) -> Response {
    #[derive(Serialize)]
    struct Health<'a> {
        status: &'static str,
        models: Vec<ModelHealth<'a>>,
    }
    #[derive(Serialize)]
    struct ModelHealth<'a> {
        id: &'a str,
        kind: &'static str,
    }
    let models = shared.api.models.iter().map(|served| ModelHealth {
        id: served.id(),
        kind: match served {
            Served::Own(_) => "own",
            Served::Upstream(_) => "upstream",
        },
    });
    let health = Health {
        status: "ok",
        models: models.collect(),
    };
    (JSON, written(&health)).into_response()
}

/// What Prometheus reads.
pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    let exposition = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (exposition, shared.api.metrics.text()).into_response()
}
