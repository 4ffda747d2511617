//! The swapped condition: which other image a question is asked with.
//!
//! An image of the same source and family looks like the right one and fits the question's form,
//! so what the model loses by the swap is what it read from this very image.

use std::collections::BTreeMap;

use rand::Rng;
use sample::{ImageRef, Sample, seed};

use super::samples::Family;

/// For each of `items`, the image it is swapped with, drawn from the images of `pool`;
/// `None` where its family has no other. An image with the same bytes is not another.
pub(crate) fn donors(
    items: &[Sample],
    pool: &[Sample],
    families: &BTreeMap<String, Family>,
    run_seed: u64,
) -> Vec<Option<ImageRef>> {
    // By digest, so that copies of one file are one donor; by family, so that draws are cheap.
    let mut kinds: BTreeMap<Family, BTreeMap<&str, &ImageRef>> = BTreeMap::new();
    for sample in pool {
        let image = &sample.image;
        kinds
            .entry(family(sample, families))
            .or_default()
            .entry(&image.sha256)
            .or_insert(image);
    }
    let kinds: BTreeMap<Family, Vec<(&str, &ImageRef)>> = kinds
        .into_iter()
        .map(|(kind, images)| (kind, images.into_iter().collect()))
        .collect();
    items
        .iter()
        .map(|item| {
            let images = kinds.get(&family(item, families))?;
            let own = images.binary_search_by_key(&item.image.sha256.as_str(), |(sha, _)| sha);
            let others = images.len() - usize::from(own.is_ok());
            if others == 0 {
                return None;
            }
            let mut at = seed::rng(run_seed, &["swap", &item.id]).random_range(0..others);
            if own.is_ok_and(|own| at >= own) {
                at += 1;
            }
            Some(images[at].1.clone())
        })
        .collect()
}

/// The kind of image a sample is about.
pub(crate) fn family(sample: &Sample, families: &BTreeMap<String, Family>) -> Family {
    families
        .get(&sample.image.path)
        .cloned()
        .unwrap_or_else(|| Family {
            source: sample.origin.source().to_owned(),
            family: None,
        })
}
