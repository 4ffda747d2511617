//! Which units a step has.
//!
//! **Invariant:** a function of the seed, the step, the settings and the units' sizes, and of nothing
//! that happened before: a run can begin at any step. Each epoch goes through all units in an order
//! of its own; a step takes units until it has as many images, or pairs, as it should, and the last
//! of an epoch takes what is left.

use std::sync::{Arc, Mutex, PoisonError};

use rand::seq::SliceRandom;
use sample::{interrupt, seed};

use super::modality::grouped;
use crate::data::Data;
use crate::{Error, Packing, TrainConfig};

/// The order of all epochs.
pub struct Order {
    seed: u64,
    /// What each unit counts towards a step: 1, or its pairs.
    sizes: Vec<u32>,
    /// What a step should have.
    batch: u64,
    grouping: Option<Grouping>,
    /// The first step of each epoch, as far as they were counted.
    starts: Mutex<Vec<u64>>,
    /// The epochs that were looked at last.
    recent: Mutex<Vec<(u64, Arc<Epoch>)>>,
    steps: u64,
}

/// Batches of like length, with and without images apart.
struct Grouping {
    /// Words of each unit, negative without an image: what LLaVA measures them by.
    lengths: Vec<i64>,
    per_micro_batch: usize,
    micro_batches: usize,
}

impl Grouping {
    fn new(data: &Data, config: &TrainConfig) -> Result<Option<Grouping>, Error> {
        if !config.group_by_modality_length {
            return Ok(None);
        }
        if config.packing != Packing::None || config.batch_pairs == 0 {
            return Err(Error::Config(
                "group_by_modality_length = true is an order of single pairs: set packing = \"none\", \
                 batch_pairs, and batch_images = 0"
                    .to_owned(),
            ));
        }
        let pairs = config.batch_pairs;
        let rows = match config.micro_rows {
            rows if rows > 0 && pairs.is_multiple_of(rows) => rows,
            _ => pairs,
        };
        let lengths = data.units.iter().map(|unit| {
            let examples = data.examples.get(unit.examples.clone()).unwrap_or_default();
            let words = examples
                .iter()
                .map(|example| example.words())
                .sum::<usize>();
            let words = i64::try_from(words).unwrap_or(i64::MAX).max(1);
            if unit.image.is_some() { words } else { -words }
        });
        Ok(Some(Grouping {
            lengths: lengths.collect(),
            per_micro_batch: rows,
            micro_batches: pairs / rows,
        }))
    }
}

/// One pass over the data.
struct Epoch {
    units: Vec<usize>,
    /// One past the last unit of each step.
    ends: Vec<usize>,
}

impl Order {
    /// The order that `config` says for the units of `data`.
    pub fn new(data: &Data, config: &TrainConfig, run_seed: u64) -> Result<Order, Error> {
        let by_pairs = config.batch_images == 0;
        let sizes = data.units.iter().map(|unit| match by_pairs {
            true => u32::try_from(unit.examples.len()).unwrap_or(u32::MAX),
            false => 1,
        });
        let batch = if by_pairs {
            config.batch_pairs
        } else {
            config.batch_images
        };
        let mut order = Order {
            seed: run_seed,
            sizes: sizes.collect(),
            batch: batch.max(1) as u64,
            grouping: Grouping::new(data, config)?,
            starts: Mutex::new(vec![0]),
            recent: Mutex::default(),
            steps: 0,
        };
        order.steps = order.count(config.epochs, config.max_steps)?;
        Ok(order)
    }

    /// Steps of the whole run.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Steps of `epochs`, which may be a fraction, but no more than `most` unless that is 0.
    fn count(&self, epochs: f64, most: u64) -> Result<u64, Error> {
        let most = if most == 0 { u64::MAX } else { most };
        if let Some(per_epoch) = self.even() {
            let all = (per_epoch as f64 * epochs).ceil().max(1.0) as u64;
            return Ok(all.min(most));
        }
        let whole = epochs.floor() as u64;
        let mut first = 0;
        for epoch in 0..whole {
            interrupt::check()?;
            first = self.start(epoch + 1);
            if first >= most {
                return Ok(most);
            }
        }
        let rest = (self.epoch(whole).ends.len() as f64 * epochs.fract()).ceil() as u64;
        Ok((first + rest).clamp(1, most))
    }

    /// Steps of an epoch where all have the same, because all units count the same.
    fn even(&self) -> Option<u64> {
        let first = u64::from(*self.sizes.first()?).max(1);
        let same = self.sizes.iter().all(|&size| u64::from(size) == first);
        let units = self.sizes.len() as u64;
        same.then(|| units.div_ceil(self.batch.div_ceil(first)))
    }

    /// The first step of an epoch.
    fn start(&self, epoch: u64) -> u64 {
        if let Some(per_epoch) = self.even() {
            return epoch.saturating_mul(per_epoch);
        }
        let mut starts = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let known = starts.len() as u64 - 1;
            let last = starts.last().copied().unwrap_or(0);
            match starts.get(usize::try_from(epoch).unwrap_or(usize::MAX)) {
                Some(&start) => return start,
                None => starts.push(last + self.epoch(known).ends.len() as u64),
            }
        }
    }

    /// The epoch of a step, and which of the epoch's steps it is.
    pub fn place(&self, step: u64) -> (u64, u64) {
        if let Some(per_epoch) = self.even() {
            return (step / per_epoch, step % per_epoch);
        }
        let mut epoch = 0;
        // Epochs that were counted before are found at once.
        if let Ok(starts) = self.starts.lock() {
            epoch = starts.partition_point(|&start| start <= step).max(1) as u64 - 1;
        }
        while self.start(epoch + 1) <= step {
            epoch += 1;
        }
        (epoch, step - self.start(epoch))
    }

    /// The units of a step, as indices into the data's.
    pub fn units(&self, step: u64) -> Vec<usize> {
        if self.sizes.is_empty() {
            return Vec::new();
        }
        let (epoch, index) = self.place(step);
        let epoch = self.epoch(epoch);
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let start = match index {
            0 => 0,
            _ => epoch.ends.get(index - 1).copied().unwrap_or(0),
        };
        let end = epoch.ends.get(index).copied().unwrap_or(start);
        epoch.units.get(start..end).unwrap_or_default().to_vec()
    }

    fn epoch(&self, number: u64) -> Arc<Epoch> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, epoch)) = recent.iter().find(|(known, _)| *known == number) {
            return Arc::clone(epoch);
        }
        let name = number.to_string();
        let mut rng = seed::rng(self.seed, &["train", "epoch", &name]);
        let mut permutation = |n: usize| {
            let mut all: Vec<usize> = (0..n).collect();
            all.shuffle(&mut rng);
            all
        };
        let units = match &self.grouping {
            None => permutation(self.sizes.len()),
            Some(by) => grouped(
                &by.lengths,
                by.per_micro_batch,
                by.micro_batches,
                permutation,
            ),
        };
        let epoch = Arc::new(Epoch {
            ends: ends(&units, &self.sizes, self.batch),
            units,
        });
        // The worker may be one epoch ahead.
        if recent.len() > 1 {
            recent.remove(0);
        }
        recent.push((number, Arc::clone(&epoch)));
        epoch
    }
}

/// Where steps end that take `units` until they have `batch`.
fn ends(units: &[usize], sizes: &[u32], batch: u64) -> Vec<usize> {
    let (mut ends, mut has) = (Vec::new(), 0);
    for (at, &unit) in units.iter().enumerate() {
        has += sizes.get(unit).map_or(0, |&size| u64::from(size));
        if has >= batch || at + 1 == units.len() {
            ends.push(at + 1);
            has = 0;
        }
    }
    ends
}
