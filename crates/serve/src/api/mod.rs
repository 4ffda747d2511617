//! OpenAI's HTTP API: `/v1/chat/completions`, `/v1/completions`, `/v1/models`, `/v1/score`, `/health`, `/metrics`.
//!
//! Requests are read by hand from JSON and not by derived readers: so an error names the place and what is
//! wanted there, in the words of the client's own request. What OpenAI's reference leaves open is done as vLLM
//! does it, which most clients of own servers were written against.

mod answers;
mod body;
mod chat;
mod completions;
pub(crate) mod error;
mod field;
mod forms;
mod health;
mod models;
mod parameters;
mod parts;
mod proxy;
mod remote;
mod reply;
mod score;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, Method, StatusCode};
use axum::routing::{any, get, post};
use tokio::sync::Semaphore;

use self::error::ApiError;
use self::field::Field;
use crate::ask::Ask;
use crate::guard::Spent;
use crate::metrics::Metrics;
use crate::model::RefusalKind;
use crate::schedule::{Client, Replies, Schedule};

/// A model and who answers for it.
pub enum Served {
    /// An engine of ours.
    Own(Schedule),
    /// Another server.
    Upstream(::chat::relay::Upstream),
}

impl Served {
    /// The name that requests give.
    pub fn id(&self) -> &str {
        match self {
            Served::Own(schedule) => &schedule.card().id,
            Served::Upstream(upstream) => upstream.model(),
        }
    }
}

/// What requests may hold.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiLimits {
    /// Replies to one prompt.
    pub n: usize,
    /// Prompts of one plain completion.
    pub prompts: usize,
    /// Bytes of all texts of one request: what is far beyond any context need not be read as tokens first.
    pub text_bytes: usize,
    /// Images of one request.
    pub images: usize,
    /// Bytes of one image file.
    pub image_bytes: usize,
    /// Bytes of all image files of one request, where some of them are fetched.
    pub all_image_bytes: usize,
    /// The longest silence of a stream; then a comment is sent. The head of a stream waits no longer than this.
    pub keep_alive: Duration,
}

impl Default for ApiLimits {
    fn default() -> ApiLimits {
        ApiLimits {
            n: 16,
            prompts: 64,
            text_bytes: 4 << 20,
            images: 16,
            image_bytes: 20 << 20,
            all_image_bytes: 64 << 20,
            keep_alive: Duration::from_secs(10),
        }
    }
}

/// What the API answers with.
pub struct Api {
    /// The models; the first answers requests that name none.
    pub models: Vec<Served>,
    /// How images are fetched that requests give as http(s) addresses; without it they are refused.
    pub fetcher: Option<::chat::fetch::Fetcher>,
    /// What requests may hold.
    pub limits: ApiLimits,
    /// Counted here, shown at `/metrics`.
    pub metrics: Arc<Metrics>,
}

/// Requests for comparisons that are worked on at the same time.
const SCORING: usize = 2;
/// Of those, and of those that wait for them.
const SCORES: usize = 64;
/// Images that are fetched at the same time.
const FETCHING: usize = 8;

/// What handlers share.
#[derive(Clone)]
struct Shared {
    api: Arc<Api>,
    room: body::Room,
    scoring: Arc<Semaphore>,
    scores: Arc<Semaphore>,
    fetching: Arc<Semaphore>,
    /// Seconds since 1970.
    started: u64,
}

/// Headers of an answer in JSON.
const JSON: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

/// The API's routes. What is below `/v1` and unknown is answered here; other unknown paths are left to whom this
/// router is merged with, or to the guard.
pub fn router(api: Arc<Api>) -> Router {
    let shared = Shared {
        api,
        room: body::Room::default(),
        scoring: Arc::new(Semaphore::new(SCORING)),
        scores: Arc::new(Semaphore::new(SCORES)),
        fetching: Arc::new(Semaphore::new(FETCHING)),
        started: reply::now(),
    };
    let metrics = shared.api.metrics.clone();
    let routes = Router::new()
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/completions", post(completions::complete))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*id}", get(models::one))
        .route("/v1/score", post(score::compare))
        .route("/v1/{*rest}", any(async || unknown()))
        .route("/health", get(health::health))
        .route("/metrics", get(health::metrics))
        .method_not_allowed_fallback(async |method: Method| wrong_method(&method))
        .with_state(shared);
    crate::metrics::counted(routes, metrics)
}

/// There is nothing at this path.
pub(crate) fn unknown() -> ApiError {
    let message = "there is nothing at this path; /v1/models lists what is served";
    ApiError::invalid(StatusCode::NOT_FOUND, "unknown_url", message)
}

/// There is something at this path, for another method.
pub(crate) fn wrong_method(method: &Method) -> ApiError {
    let asked = match *method {
        Method::GET | Method::HEAD => "GET; the header `Allow` says what it does take",
        Method::POST => "POST; the header `Allow` says what it does take",
        _ => "this method; the header `Allow` says what it does take",
    };
    ApiError::invalid(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        format!("this path does not take {asked}"),
    )
}

/// Characters of a client's text that an error repeats.
const REPEATED: usize = 100;

impl Shared {
    /// The place of the model that a request names, or of the first.
    fn model(&self, body: &Field) -> Result<usize, ApiError> {
        match body.get("model") {
            Some(model) => self.named(model.text()?),
            None if self.api.models.is_empty() => self.named(""),
            None => Ok(0),
        }
    }

    /// Has one of our own models answer; one that has no place says when it will.
    async fn ask(schedule: &Schedule, client: &Client, ask: Ask) -> Result<Replies, ApiError> {
        schedule.ask(client, ask).await.map_err(|refusal| {
            let retry_after =
                (refusal.kind == RefusalKind::Busy).then(|| schedule.wait().as_secs());
            let error = ApiError::from(refusal);
            ApiError {
                retry_after: retry_after.or(error.retry_after),
                ..error
            }
        })
    }

    fn named(&self, id: &str) -> Result<usize, ApiError> {
        let mut models = self.api.models.iter();
        models.position(|served| served.id() == id).ok_or_else(|| {
            let known: Vec<&str> = self.api.models.iter().map(Served::id).collect();
            let asked: String = id.chars().take(REPEATED).collect();
            let message = if known.is_empty() {
                "no model is served here".to_owned()
            } else {
                format!(
                    "the model `{asked}` is not served here; these are: {}",
                    known.join(", ")
                )
            };
            ApiError::invalid(StatusCode::NOT_FOUND, "model_not_found", message).about("model")
        })
    }
}

/// Who asks, as the guard found it.
struct Asker {
    client: Client,
    /// Where the tokens are written down that the request took.
    spent: Arc<Spent>,
}

impl Asker {
    fn of(request: &Request) -> Asker {
        let extensions = request.extensions();
        let client = extensions.get::<Client>().cloned();
        Asker {
            client: client.unwrap_or_else(|| Client("anyone".to_owned())),
            spent: extensions.get::<Arc<Spent>>().cloned().unwrap_or_default(),
        }
    }
}
