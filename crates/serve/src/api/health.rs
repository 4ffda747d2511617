//! `GET /health` and `GET /metrics`: for those who watch the server.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::reply::written;
use super::{JSON, Served, Shared};
use crate::model::RefusalKind;

/// Whether requests are taken on, model by model; of the whole server, the worst of it. What is not well has
/// a status that load balancers understand.
pub(super) async fn health(State(shared): State<Shared>) -> Response {
    #[derive(Serialize)]
    struct Health<'a> {
        status: &'static str,
        models: Vec<ModelHealth<'a>>,
    }
    #[derive(Serialize)]
    struct ModelHealth<'a> {
        id: &'a str,
        status: &'static str,
    }
    let models: Vec<ModelHealth> = shared
        .api
        .models
        .iter()
        .map(|served| ModelHealth {
            id: served.id(),
            status: state(served),
        })
        .collect();
    let any = |word| models.iter().any(|model| model.status == word);
    let status = if any(STOPPING) {
        STOPPING
    } else if any(FAILED) {
        FAILED
    } else {
        OK
    };
    let code = match status {
        OK => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, JSON, written(&Health { status, models })).into_response()
}

const OK: &str = "ok";
const STOPPING: &str = "stopping";
const FAILED: &str = "failed";

fn state(served: &Served) -> &'static str {
    let Served::Own(schedule) = served else {
        // How another server does is not asked: it would be made to answer whenever we are.
        return "proxied";
    };
    match schedule.takes_on() {
        Ok(()) => OK,
        Err(refusal) if refusal.kind == RefusalKind::Stopping => STOPPING,
        Err(_) => FAILED,
    }
}

/// What Prometheus reads.
pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    let exposition = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (exposition, shared.api.metrics.text()).into_response()
}
