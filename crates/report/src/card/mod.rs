//! The data card: what a run's pairs are, where they came from, and what was left out on the way.
//!
//! [`write()`] reads the tables of a run's data stages and writes `card.md` and `card.html`: counts,
//! lengths, examples drawn by the run's seed, the selection plan, duplicates and contamination, and
//! the licence, address and citation of every source that went in.
//!
//! **Invariant:** tables are streamed, a few columns at a time; what is kept grows with the count of
//! images (some tens of bytes each), not with that of pairs.

mod facts;
mod gallery;
mod histogram;
mod losses;
mod markdown;
mod page;
pub(crate) mod provenance;
mod synthesis;
mod tally;

use std::path::Path;

use sample::{Manifest, Stage, StageKey, write_atomic};

use crate::Error;

/// File name of the page.
pub const PAGE: &str = "card.html";
/// File name of the Markdown form.
pub const MARKDOWN: &str = "card.md";
/// What the stage calls itself.
pub(crate) const STAGE: &str = "card";

/// Pairs shown of each task.
const SHOWN: usize = 6;
/// The longer side of images on the page, in pixels.
const SIDE: u32 = 300;

/// Writes the card of a run into `out`, in place of any card there.
///
/// The pairs are those of the run's last data stage: `synth`, else `select`, else all of `import/`.
///
/// # Errors
/// [`Error::NoPairs`] where the run has no finished data stage.
pub fn write(run: &Path, out: &Path) -> Result<Manifest, Error> {
    let found = facts::Stages::find(run)?;
    let seed = found.seed();
    let mut key = StageKey::new(STAGE, seed, serde_json::Value::Null);
    for stage in found.all() {
        key = key.input(&stage.label, &Manifest::digest(&stage.folder)?);
    }
    let facts = facts::gather(&found, seed)?;
    let html = page::page(&facts, &found);
    let stage = Stage::begin(out, key, true)?;
    write_atomic(&stage.path(PAGE), html.as_bytes())?;
    write_atomic(&stage.path(MARKDOWN), markdown::text(&facts).as_bytes())?;
    let mut manifest = Manifest::new(stage.key().clone());
    manifest.count("pairs", facts.tally.pairs);
    manifest.count("shown_images", facts.tally.images());
    manifest.count("bytes", html.len() as u64);
    Ok(stage.finish(manifest, &[PAGE, MARKDOWN])?)
}
