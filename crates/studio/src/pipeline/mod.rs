//! Runs: the list of them, and each one's pipeline as a picture with its figures, from source rows to
//! scores, while it runs and after.

mod list;
mod live;
mod page;
mod stage_page;
mod stages;
mod summary;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::Studio;

pub(crate) use stages::StageFolder;

/// The page's routes.
pub(crate) fn routes() -> Router<Arc<Studio>> {
    Router::new()
        .route("/runs", get(list::show))
        .route("/runs/{run}", get(page::show))
        .route("/runs/{run}/live", get(live::show))
        .route("/runs/{run}/stage/{*label}", get(stage_page::show))
        .route("/runs/{run}/manifest/{*label}", get(stage_page::manifest))
}

#[cfg(test)]
mod tests;
