//! Evaluation: a run's held-out questions three ways, its benchmarks beside published scores, the questions
//! by kind of error, and what flipped between two runs.

mod flips;
mod items;
mod page;
mod picture;
mod sheet;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::Studio;

/// The page's routes.
pub(crate) fn routes() -> Router<Arc<Studio>> {
    Router::new()
        .route("/evaluation/{run}", get(page::show))
        .route("/evaluation/{run}/items", get(items::show))
        .route("/evaluation/{run}/flips", get(flips::show))
        .route("/evaluation/{run}/picture", get(picture::show))
}

#[cfg(test)]
mod tests;
