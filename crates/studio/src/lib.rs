//! Pages on which people look at runs and talk with models.
//!
//! The server renders pages from what the stages left on disk (manifests, Parquet tables, logs); small
//! scripts of our own make lists scroll, curves move and replies stream. Everything a page needs is served
//! from here: no font, script or style comes from elsewhere.
//!
//! `shell/` is what all pages share; each other folder is one page: `pipeline/` (runs), `data/`,
//! `selection/`, `training/`, `evaluation/`, `chat/`.
//!
//! **Invariants:** nothing is written into a run; no path in a request or in data leads out of the runs'
//! folder; text from data reaches a page through maud's escaping alone, and the pages' policy forbids any
//! script but ours.

mod chat;
mod data;
mod error;
mod evaluation;
mod kept;
#[cfg(test)]
mod made_run;
mod pipeline;
mod runs;
mod selection;
mod shell;
mod training;
mod when;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;

pub use error::Error;
pub use shell::not_found;

/// What the studio shows.
#[derive(Debug, Clone, Default)]
pub struct StudioOptions {
    /// The folder below which runs lie, or one run; without it there are no pages about runs.
    pub runs: Option<PathBuf>,
    /// Names of the models that `/v1` of the same server answers for, for the chat page.
    pub models: Vec<String>,
}

/// The studio's state, shared by all requests.
pub struct Studio {
    options: StudioOptions,
    data: data::Tables,
    /// Parsed files of runs.
    kept: kept::Kept,
    /// Logs of trainings.
    logs: training::Logs,
}

impl Studio {
    /// Opens the folder of the runs.
    ///
    /// # Errors
    /// Where it is not there.
    pub fn open(options: StudioOptions) -> Result<Studio, Error> {
        if let Some(runs) = &options.runs {
            runs::check(runs)?;
        }
        Ok(Studio {
            options,
            data: data::Tables::default(),
            kept: kept::Kept::default(),
            logs: training::Logs::default(),
        })
    }
}

/// All pages, and what they load. Every answer has the pages' security headers; what is nowhere is answered by
/// [`not_found`], which a router that is merged with another one having a fallback must not have twice:
/// `reset_fallback` on one of them.
pub fn router(studio: Arc<Studio>) -> Router {
    let pages = Router::new()
        .merge(shell::routes())
        .merge(pipeline::routes())
        .merge(data::routes())
        .merge(selection::routes())
        .merge(training::routes())
        .merge(evaluation::routes())
        .merge(chat::routes())
        .fallback(not_found)
        .with_state(studio);
    shell::framed(pages)
}
