//! Reports: what a run did and found, as one page that anybody can open and keep.
//!
//! [`run`] reads the folders of a run's stages and writes `report.html`, which needs nothing beside
//! itself (no script, no request, images inside), and `report.md`, the short form. [`table`] is the
//! same result as plain text, for the end of a run. [`card`] describes the data alone, [`benchmark`]
//! shows runs over published benchmarks.
//!
//! **Invariant:** text from data reaches the page through `html::escape` alone, and the page's own
//! security policy forbids scripts and requests, so that a question with markup in it shows as
//! that markup's text.

pub mod benchmark;
pub mod card;
mod chart;
pub mod components;
mod examples;
mod flow;
mod flows;
mod html;
mod markdown;
mod page;
mod picture;
mod scores;
mod stages;
mod table;
mod training;

pub use stages::stage_folders;
pub use table::table;
pub use training::{PAGE as TRAINING_PAGE, loss_picture, training_page};

use std::path::{Path, PathBuf};

use sample::{Manifest, Stage, StageKey, write_atomic};
use serde::{Deserialize, Serialize};

/// File name of the page.
pub const PAGE: &str = "report.html";
/// File name of the short form.
pub const SHORT: &str = "report.md";

/// The `[report]` part of a run's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The page's title.
    pub title: String,
    /// Answers shown in the gallery, half of them right where there are so many.
    pub gallery: usize,
    /// Synthesised pairs shown of each kind.
    pub pairs_per_kind: usize,
    /// The longer side of images on the page, in pixels; larger ones are scaled down.
    pub image_side: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            title: "Math-LLaVA run".to_owned(),
            gallery: 24,
            pairs_per_kind: 3,
            image_side: 360,
        }
    }
}

/// What can go wrong in a report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Records, their files, or an interruption.
    #[error(transparent)]
    Sample(#[from] sample::Error),
    /// There is nothing to report on.
    #[error("{0}: no finished stage found; a report needs the folder of a run, or of one stage")]
    NoStages(PathBuf),
    /// There are no pairs to describe.
    #[error(
        "{0}: no finished stage with pairs found; a data card needs a run with import/*/, select/ or \
         synth/"
    )]
    NoPairs(PathBuf),
    /// A folder without a training's records.
    #[error(
        "{0}: there is no training here; give the folder `train` of a run, which has metrics.jsonl"
    )]
    NoTraining(PathBuf),
    /// Too few trainings to show, or too many.
    #[error("{0} trainings; a page shows 1 to {1}")]
    Trainings(usize, usize),
    /// Too few benchmark runs to show, or too many.
    #[error("{0} benchmark runs; a page shows 1 to {1}")]
    BenchmarkRuns(usize, usize),
    /// A setting that cannot be meant.
    #[error("report.{setting}: {detail}")]
    Config {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong with it, and what to write instead.
        detail: String,
    },
}

/// Reports on all finished stages in a run's folder, with the default settings.
pub fn run(run: &Path, out: &Path) -> Result<Manifest, Error> {
    report(&Config::default(), &stage_folders(run)?, out)
}

/// Reports on the finished stages in `folders` into `out`, in place of any report there.
///
/// Stages that are not there leave their part of the page out, and the page says so.
pub fn report(config: &Config, folders: &[PathBuf], out: &Path) -> Result<Manifest, Error> {
    if !(16..=2048).contains(&config.image_side) {
        return Err(Error::Config {
            setting: "image_side",
            detail: format!("{} pixels; choose 16 to 2048", config.image_side),
        });
    }
    let run = stages::Run::read(folders)?;
    let value = serde_json::to_value(config).map_err(|e| sample::Error::format(out, e))?;
    // Which examples are shown follows the last stage's seed.
    let seed = run.stages.last().map_or(0, |s| s.manifest.key.seed);
    let mut key = StageKey::new("report", seed, value);
    for stage in &run.stages {
        key = key.input(
            &format!("{}/{}", stage.manifest.key.stage, stage.name),
            &stage.digest,
        );
    }
    let stage = Stage::begin(out, key, true)?;
    let page = page::page(config, seed, &run)?;
    write_atomic(&stage.path(PAGE), page.as_bytes())?;
    write_atomic(&stage.path(SHORT), markdown::short(config, &run).as_bytes())?;
    let mut manifest = Manifest::new(stage.key().clone());
    manifest.count("stages", run.stages.len() as u64);
    manifest.count("bytes", page.len() as u64);
    Ok(stage.finish(manifest, &[PAGE, SHORT])?)
}
