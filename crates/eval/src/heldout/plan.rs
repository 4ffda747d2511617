//! What an evaluation will ask, decided and checked before the first request.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use sample::scores::{Condition, Grounds, Separation};
use sample::{ImageRef, Sample, interrupt, seed};
use serde::{Deserialize, Serialize};

use super::blind::Guesser;
use super::samples::Family;
use super::{extract, swap};
use crate::Error;

/// The `[eval]` part of a run's configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// No reply is longer, in tokens. The paper allows 512.
    pub max_new_tokens: u32,
    /// Questions in one batch of the model.
    pub batch_size: usize,
    /// Ask only this many questions, drawn by the run's seed; all where not given.
    pub limit: Option<usize>,
    /// How answers are found in replies: `rule`.
    pub extraction: extract::Mode,
    /// Bootstrap resamples for the intervals of differences.
    pub resamples: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            max_new_tokens: 512,
            batch_size: 32,
            limit: None,
            extraction: extract::Mode::Rule,
            resamples: 2000,
        }
    }
}

/// The data an evaluation is planned from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The held-out questions.
    pub items: &'a [Sample],
    /// Image path, as samples write it, to its file.
    pub images: &'a BTreeMap<String, PathBuf>,
    /// Image path to its source and family; images that are not in it have their sample's source
    /// and no family.
    pub families: &'a BTreeMap<String, Family>,
    /// The pairs the model was trained on.
    pub training: &'a [Sample],
}

/// A checked evaluation.
pub struct Plan {
    pub(crate) config: Config,
    pub(crate) seed: u64,
    pub(crate) items: Vec<Sample>,
    /// Of each item's image: `source/family`, or the source alone.
    pub(crate) families: Vec<String>,
    pub(crate) files: BTreeMap<String, PathBuf>,
    pub(crate) donors: Vec<Option<ImageRef>>,
    pub(crate) guesses: Vec<String>,
    pub(crate) grounds: Grounds,
    pub(crate) separation: Separation,
}

impl Plan {
    /// Requests that the model will be sent.
    pub fn requests(&self) -> usize {
        self.items.len() + self.donors.iter().flatten().count()
    }

    /// Questions that will be asked.
    pub fn items(&self) -> usize {
        self.items.len()
    }

    /// Questions that have no other image of their family to be asked with.
    pub fn without_swap(&self) -> usize {
        self.donors.iter().filter(|d| d.is_none()).count()
    }

    /// Where the blind guesses come from.
    pub fn blind_grounds(&self) -> Grounds {
        self.grounds
    }

    /// What the questions are held apart from.
    pub fn separation(&self) -> Separation {
        self.separation
    }

    /// The image that item `i` is shown under `condition`; the outer `None` where the item is left
    /// out of it.
    pub(crate) fn shown(&self, condition: Condition, i: usize) -> Option<Option<&ImageRef>> {
        match condition {
            Condition::Model => Some(Some(&self.items[i].image)),
            Condition::Swapped => self.donors[i].as_ref().map(Some),
            Condition::Blind => Some(None),
        }
    }
}

/// Checks a configuration against the data: the settings make sense, every image has a file, no
/// held-out image is in training; draws the swaps and works out the blind guesses.
pub fn plan(config: &Config, run_seed: u64, inputs: &Inputs<'_>) -> Result<Plan, Error> {
    for (setting, zero) in [
        ("max_new_tokens", config.max_new_tokens == 0),
        ("batch_size", config.batch_size == 0),
        ("limit", config.limit == Some(0)),
        ("resamples", config.resamples == 0),
    ] {
        if zero {
            return Err(Error::Config {
                setting,
                detail: "must be at least 1".to_owned(),
            });
        }
    }
    let items = drawn(inputs.items, config.limit, run_seed);
    if items.is_empty() {
        return Err(Error::NoItems);
    }
    let mut ids = BTreeSet::new();
    for item in &items {
        if !ids.insert(item.id.as_str()) {
            return Err(Error::DuplicateId(item.id.clone()));
        }
    }
    let separation = separate(&items, inputs.training)?;
    interrupt::check()?;

    let donors = swap::donors(&items, inputs.items, inputs.families, run_seed);
    let mut files = BTreeMap::new();
    let mut digests: BTreeMap<&str, &str> = BTreeMap::new();
    for (item, donor) in items.iter().zip(&donors) {
        for image in [Some(&item.image), donor.as_ref()].into_iter().flatten() {
            if *digests.entry(&image.path).or_insert(&image.sha256) != image.sha256 {
                return Err(Error::TwoImages(image.path.clone()));
            }
            let file = inputs
                .images
                .get(&image.path)
                .ok_or_else(|| Error::NoImage {
                    id: item.id.clone(),
                    path: image.path.clone(),
                })?;
            files.insert(image.path.clone(), file.clone());
        }
    }
    let guesser = Guesser::new(inputs.training);
    let mut grounds = Grounds::default();
    let guesses = items
        .iter()
        .map(|item| guesser.guess(item, &mut grounds))
        .collect();
    let families = items
        .iter()
        .map(|item| match swap::family(item, inputs.families) {
            Family {
                source,
                family: Some(family),
            } => format!("{source}/{family}"),
            Family {
                source,
                family: None,
            } => source,
        })
        .collect();
    Ok(Plan {
        config: config.clone(),
        seed: run_seed,
        families,
        files,
        donors,
        guesses,
        grounds,
        separation,
        items,
    })
}

/// All items, or `limit` of them drawn by seed, in their own order.
fn drawn(items: &[Sample], limit: Option<usize>, run_seed: u64) -> Vec<Sample> {
    let Some(limit) = limit.filter(|&limit| limit < items.len()) else {
        return items.to_vec();
    };
    let mut order: Vec<(u64, usize)> = items
        .iter()
        .enumerate()
        .map(|(i, item)| (seed::derive(run_seed, &["eval", "limit", &item.id]), i))
        .collect();
    order.sort_unstable();
    let mut kept: Vec<usize> = order.into_iter().take(limit).map(|(_, i)| i).collect();
    kept.sort_unstable();
    kept.into_iter().map(|i| items[i].clone()).collect()
}

/// Counts both sides; an error where an image is on both. By digest: two imports may have different
/// files of one path.
fn separate(items: &[Sample], training: &[Sample]) -> Result<Separation, Error> {
    let mut digests: HashMap<&str, &str> = HashMap::new();
    for pair in training {
        digests.entry(&pair.image.sha256).or_insert(&pair.id);
    }
    let mut images = BTreeSet::new();
    let mut shared = BTreeSet::new();
    let mut examples = Vec::new();
    for item in items {
        let image = &item.image;
        images.insert(image.sha256.as_str());
        if let Some(twin) = digests.get(image.sha256.as_str())
            && shared.insert(image.sha256.as_str())
            && examples.len() < 3
        {
            examples.push(format!("{} and {twin}", item.id));
        }
    }
    if !shared.is_empty() {
        return Err(Error::Leaked {
            shared: shared.len(),
            images: images.len(),
            examples: examples.join("; "),
        });
    }
    Ok(Separation {
        items: items.len() as u64,
        images: images.len() as u64,
        training_items: training.len() as u64,
        training_images: digests.len() as u64,
    })
}
