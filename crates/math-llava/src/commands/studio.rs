//! `math-llava studio`: the pages about runs, without a model.

use std::sync::Arc;

use anyhow::Result;
use sample::interrupt;
use studio::{Studio, StudioOptions};

use super::serve::{open, runtime};

/// Serves the pages until a stop is asked for.
pub fn run(arguments: &crate::args::Studio) -> Result<bool> {
    interrupt::hold();
    let studio = Studio::open(StudioOptions {
        runs: Some(arguments.runs.clone()),
        models: Vec::new(),
    })?;
    let router = studio::router(Arc::new(studio));
    runtime()?.block_on(async {
        open(&arguments.listen).await?.serve(router, || ()).await;
        Ok(true)
    })
}
