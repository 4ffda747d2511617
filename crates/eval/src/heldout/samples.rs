//! `samples`: the questions of a run's own held-out images, or of any samples table.
//!
//! **Layout:** a finished stage folder: `samples.parquet`, `images.parquet` where there is one, and
//! `manifest.json`, whose `image_roots` say where the image files lie.
//!
//! **Query:** MathV360K's prompt: hint, question, choices. **Extraction:** `rule`. **Scoring:** by
//! the answer's kind: option letter, whole number, decimal at its places, list in order, or words.
//!
//! **Example row:** `figures:bar/17#0`, "Which bar is the highest?", choices `Oak | Elm | Ash`,
//! answer `B`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sample::{IMAGES, ImageRow, Manifest, SAMPLES, Sample, read_table, resolve_image};

use crate::Error;

/// As results name these questions.
pub const NAME: &str = "samples";

/// Raised whenever query, extraction or scoring change a verdict; it goes with every score.
pub const VERSION: u32 = 1;

/// The source and family of an image: swaps stay within both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    /// The source's name.
    pub source: String,
    /// The kind of figure within the source, where it says.
    pub family: Option<String>,
}

/// Held-out questions.
#[derive(Debug, Clone, Default)]
pub struct Items {
    /// The questions, in order.
    pub samples: Vec<Sample>,
    /// Image path, as samples write it, to its file.
    pub images: BTreeMap<String, PathBuf>,
    /// Image path to what kind of image it is.
    pub families: BTreeMap<String, Family>,
}

/// Reads the questions of a finished stage folder.
///
/// # Errors
/// Where the folder is not one.
pub fn items(folder: &Path) -> Result<Items, Error> {
    let manifest = Manifest::read(folder)?;
    let samples: Vec<Sample> = read_table(&folder.join(SAMPLES))?;
    let table = folder.join(IMAGES);
    let rows: Vec<ImageRow> = if table.exists() {
        read_table(&table)?
    } else {
        Vec::new()
    };
    let mut families: BTreeMap<String, Family> = rows
        .into_iter()
        .map(|row| {
            (
                row.image.path,
                Family {
                    source: row.source,
                    family: row.family,
                },
            )
        })
        .collect();
    let mut images = BTreeMap::new();
    for sample in &samples {
        let path = &sample.image.path;
        if !images.contains_key(path) {
            images.insert(
                path.clone(),
                resolve_image(folder, &manifest.image_roots, path)?,
            );
        }
        // Without an images table, the source is all that is known of an image's kind.
        families.entry(path.clone()).or_insert_with(|| Family {
            source: sample.origin.source().to_owned(),
            family: None,
        });
    }
    families.retain(|path, _| images.contains_key(path));
    Ok(Items {
        samples,
        images,
        families,
    })
}
