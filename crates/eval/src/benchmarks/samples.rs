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
use std::path::Path;

use sample::{IMAGES, ImageRow, Manifest, SAMPLES, Sample, read_table, resolve_image};

use super::{Benchmark, Family, Items};
use crate::Error;

/// Any samples table.
pub struct Samples;

impl Benchmark for Samples {
    fn name(&self) -> &'static str {
        "samples"
    }

    fn version(&self) -> u32 {
        1
    }

    fn items(&self, folder: &Path) -> Result<Items, Error> {
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
}
