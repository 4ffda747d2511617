//! selection

use std::sync::Arc;

use axum::Router;

use crate::Studio;

/// The page's routes.
pub(crate) fn routes() -> Router<Arc<Studio>> {
    Router::new()
}
