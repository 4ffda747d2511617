//! Selection: what there was, what was asked for and what was taken; how the graders saw the images; which
//! images and questions were found twice, or in a benchmark.

mod page;
mod pairs;
mod tally;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::Studio;

/// The page's routes.
pub(crate) fn routes() -> Router<Arc<Studio>> {
    Router::new()
        .route("/selection/{run}", get(page::show))
        .route(
            "/selection/{run}/decontamination",
            get(page::decontamination),
        )
}

#[cfg(test)]
mod tests;
