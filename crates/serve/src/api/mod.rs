//! OpenAI's HTTP API: `/v1/chat/completions`, `/v1/completions`, `/v1/models`, `/v1/score`, `/health`, `/metrics`.

use std::sync::Arc;

use axum::Router;

use crate::metrics::Metrics;
use crate::schedule::Schedule;

/// A model and who answers for it.
pub enum Served {
    /// An engine of ours.
    Own(Schedule),
    /// Another server.
    Upstream(chat::relay::Upstream),
}

/// What requests may hold.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiLimits {
    /// Replies to one request.
    pub n: usize,
    /// Images of one request.
    pub images: usize,
    /// Bytes of one image file.
    pub image_bytes: usize,
}

impl Default for ApiLimits {
    fn default() -> ApiLimits {
        ApiLimits {
            n: 16,
            images: 16,
            image_bytes: 20 << 20,
        }
    }
}

/// What the API answers with.
pub struct Api {
    /// The models; the first answers requests that name none.
    pub models: Vec<Served>,
    /// How images are fetched that requests give as http(s) addresses; without it they are refused.
    pub fetcher: Option<chat::fetch::Fetcher>,
    /// What requests may hold.
    pub limits: ApiLimits,
    /// Counted here, shown at `/metrics`.
    pub metrics: Arc<Metrics>,
}

/// The API's routes.
pub fn router(api: Arc<Api>) -> Router {
    let _ = api;
    todo!()
}
