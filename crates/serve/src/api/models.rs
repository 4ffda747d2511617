//! `GET /v1/models`, `GET /v1/models/{id}`: what is served.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::ApiError;
use super::reply::written;
use super::{JSON, Served, Shared};

/// A model as clients list it. What OpenAI does not have is named as vLLM names it, where it does.
#[derive(Serialize)]
struct ModelObject<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    /// Tokens that prompt and reply may have together.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_model_len: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reads_images: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

fn object<'a>(served: &'a Served, shared: &Shared) -> ModelObject<'a> {
    let known = |id, created| ModelObject {
        id,
        object: "model",
        created,
        owned_by: "math-llava",
        max_model_len: None,
        reads_images: None,
        description: None,
    };
    match served {
        Served::Own(schedule) => {
            let card = schedule.card();
            ModelObject {
                max_model_len: Some(card.context),
                reads_images: Some(card.reads_images),
                description: Some(&card.description),
                ..known(&card.id, card.created)
            }
        }
        // What another server has is not asked for: all that is known is since when it is offered here.
        Served::Upstream(upstream) => known(upstream.model(), shared.started),
    }
}

/// All of them.
pub(super) async fn list(State(shared): State<Shared>) -> Response {
    #[derive(Serialize)]
    struct List<'a> {
        object: &'static str,
        data: Vec<ModelObject<'a>>,
    }
    let models = shared.api.models.iter();
    let list = List {
        object: "list",
        data: models.map(|served| object(served, &shared)).collect(),
    };
    (JSON, written(&list)).into_response()
}

/// One of them. Names may have slashes.
pub(super) async fn one(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let at = shared.named(&id)?;
    Ok((JSON, written(&object(&shared.api.models[at], &shared))).into_response())
}
