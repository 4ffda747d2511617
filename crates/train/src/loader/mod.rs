//! Steps made ready off the training thread.
//!
//! A worker thread decodes, tokenises and lays out the steps ahead while the model computes.
//! **Invariant:** a step's batch is a function of the data, the settings, the seed and the step's
//! number; how many are made ahead changes when it is made, not what is in it.

mod modality;
mod order;
mod share;

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use model::Pixels;
use rayon::prelude::*;
use sample::pixels::Fault;
use sample::{Reject, interrupt};
use tch::Tensor;

use crate::data::Data;
use crate::features::{Features, Found};
use crate::packing::{Placed, StepBatch, micro_batches};
use crate::{Error, OnMissingImage, TrainConfig};
pub use modality::grouped;
pub use order::Order;
pub use share::share;

/// While a batch is waited for, a stop is noticed this often.
const PATIENCE: Duration = Duration::from_millis(200);

/// So many steps on end without a readable image are no accident of the data.
const EMPTY: u64 = 20;

/// Gives the batch of each step.
pub struct Loader {
    source: Arc<Source>,
    prefetch: usize,
    worker: Option<Worker>,
    waited: f64,
    rejects: Vec<Reject>,
    /// The images whose pairs are in `rejects`, by their details, which name the files.
    unreadable: HashSet<String>,
    /// Empty steps since the last one that was not.
    empty: u64,
}

/// What a batch is made of.
struct Source {
    data: Arc<Data>,
    order: Order,
    on_missing: OnMissingImage,
    features: Option<Arc<Features>>,
    /// Which of how many ranks this is: a step's batch is its share of the step.
    rank: (usize, usize),
}

/// What a batch has of an image.
enum Shown<'a> {
    /// Nothing: its features are in memory.
    Held,
    /// Its features. `[patches, width]`
    Features(Tensor),
    Pixels(Cow<'a, Pixels>),
    /// It cannot be read.
    Not(Fault),
}

/// A batch with what had to be left out of it: the pairs of each image that cannot be read.
type Loaded = Result<(StepBatch, Vec<Vec<Reject>>), Error>;

struct Worker {
    /// `None` only while the worker is being ended.
    batches: Option<Receiver<Loaded>>,
    /// The step that comes out next.
    next: u64,
    thread: Option<JoinHandle<()>>,
}

impl Loader {
    /// Over `data`, in the order that `config` and the run's seed say. With `features` batches have
    /// the pixels only of images whose features are not known when the batch is made; see
    /// [`Features::gather`].
    ///
    /// # Errors
    /// Settings of an order that do not go together; [`sample::Error::Interrupted`] on a stop.
    pub fn new(
        data: Arc<Data>,
        config: &TrainConfig,
        run_seed: u64,
        features: Option<Arc<Features>>,
    ) -> Result<Loader, Error> {
        Loader::of_rank(data, config, run_seed, features, (0, 1))
    }

    /// As [`Loader::new`], with the part of each step that rank `rank.0` of `rank.1` takes: trees of about
    /// the same cost. The parts of all ranks are the step.
    ///
    /// # Errors
    /// As [`Loader::new`].
    pub fn of_rank(
        data: Arc<Data>,
        config: &TrainConfig,
        run_seed: u64,
        features: Option<Arc<Features>>,
        rank: (usize, usize),
    ) -> Result<Loader, Error> {
        let order = Order::new(&data, config, run_seed)?;
        Ok(Loader {
            source: Arc::new(Source {
                data,
                order,
                on_missing: config.on_missing_image,
                features,
                rank,
            }),
            prefetch: config.prefetch,
            worker: None,
            waited: 0.0,
            rejects: Vec::new(),
            unreadable: HashSet::new(),
            empty: 0,
        })
    }

    /// What is trained on.
    pub fn data(&self) -> &Arc<Data> {
        &self.source.data
    }

    /// Steps of the whole run: `epochs`, or `max_steps` where that is less.
    pub fn steps(&self) -> u64 {
        self.source.order.steps()
    }

    /// The epoch of a step, from 0, and which of the epoch's steps it is.
    pub fn place(&self, step: u64) -> (u64, u64) {
        self.source.order.place(step)
    }

    /// Ids of the pairs of a step, those included whose image cannot be read.
    pub fn members(&self, step: u64) -> Vec<String> {
        let data = &self.source.data;
        let units = self.source.order.units(step).into_iter();
        units
            .filter_map(|unit| data.units.get(unit))
            .filter_map(|unit| data.examples.get(unit.examples.clone()))
            .flatten()
            .map(|example| example.id.clone())
            .collect()
    }

    /// A step's batch, made here and now. Steps past the last go on in further epochs.
    pub fn batch(&self, step: u64) -> Result<StepBatch, Error> {
        Ok(self.source.load(step)?.0)
    }

    /// A step's batch, made ahead where the steps are asked for in turn; any step may be the first.
    /// Images that could not be read are in [`Loader::rejects`] from then on.
    ///
    /// # Errors
    /// What [`Loader::batch`] finds; steps on end of which no image can be read, as when a disk is
    /// gone; [`sample::Error::Interrupted`] on a stop while the batch has to
    /// be waited for.
    pub fn next(&mut self, step: u64) -> Result<StepBatch, Error> {
        let started = Instant::now();
        let loaded = self.load(step);
        self.waited = started.elapsed().as_secs_f64();
        let (batch, unreadable) = loaded?;
        let spoilt = !unreadable.is_empty();
        for rejects in unreadable {
            if let Some(first) = rejects.first()
                && self.unreadable.insert(first.detail.clone())
            {
                self.rejects.extend(rejects);
            }
        }
        self.empty = match (batch.micro.is_empty(), spoilt) {
            (false, _) => 0,
            (true, true) => self.empty + 1,
            // Other ranks have all of the step.
            (true, false) => self.empty,
        };
        if self.empty >= EMPTY {
            let last = self.rejects.last().map_or("", |reject| &reject.detail);
            return Err(Error::Data(format!(
                "no image of the last {EMPTY} steps can be read, so nothing is trained on any more; \
                 the last was {last}. Put the images back and run the same command again"
            )));
        }
        Ok(batch)
    }

    fn load(&mut self, step: u64) -> Loaded {
        if self.prefetch == 0 || step >= self.steps() {
            return self.source.load(step);
        }
        if self
            .worker
            .as_ref()
            .is_none_or(|worker| worker.next != step)
        {
            self.worker = None;
            self.worker = Some(Worker::start(&self.source, self.prefetch, step)?);
        }
        match &mut self.worker {
            Some(worker) => worker.receive(),
            None => self.source.load(step),
        }
    }

    /// Seconds that the last [`Loader::next`] took: what the training thread waited for data.
    pub fn waited(&self) -> f64 {
        self.waited
    }

    /// Pairs left out since the beginning because their images could not be read, each once.
    pub fn rejects(&self) -> &[Reject] {
        &self.rejects
    }

    /// Sets [`Loader::rejects`] to what it was when a checkpoint was saved.
    pub fn restore_rejects(&mut self, rejects: Vec<Reject>) {
        self.unreadable = rejects.iter().map(|r| r.detail.clone()).collect();
        self.rejects = rejects;
    }
}

impl Worker {
    fn start(source: &Arc<Source>, prefetch: usize, first: u64) -> Result<Worker, Error> {
        // One more than the channel holds is ready in the worker's hands.
        let (sender, batches) = sync_channel(prefetch.saturating_sub(1));
        let source = Arc::clone(source);
        let thread = std::thread::Builder::new()
            .name("loader".to_owned())
            .spawn(move || {
                for step in first..source.order.steps() {
                    let loaded = source.load(step);
                    let failed = loaded.is_err();
                    // Nobody takes it any more where the loader was dropped.
                    if sender.send(loaded).is_err() || failed {
                        return;
                    }
                }
            })
            .map_err(|e| Error::Data(format!("no thread could be started to load data: {e}")))?;
        Ok(Worker {
            batches: Some(batches),
            next: first,
            thread: Some(thread),
        })
    }

    fn receive(&mut self) -> Loaded {
        let ended = || Error::Data("the thread that loads data ended too early".to_owned());
        let Some(batches) = &self.batches else {
            return Err(ended());
        };
        loop {
            match batches.recv_timeout(PATIENCE) {
                Ok(loaded) => {
                    // After an error the next call starts a new worker, which meets it again.
                    self.next = if loaded.is_ok() {
                        self.next + 1
                    } else {
                        u64::MAX
                    };
                    return loaded;
                }
                Err(RecvTimeoutError::Timeout) => interrupt::check()?,
                Err(RecvTimeoutError::Disconnected) => return Err(ended()),
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without a receiver the worker ends after the batch it is at.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Source {
    fn load(&self, step: u64) -> Loaded {
        let data = &self.data;
        let units = self.order.units(step);
        let units: Vec<_> = units.iter().filter_map(|&u| data.units.get(u)).collect();
        let costs: Vec<u64> = units.iter().map(|unit| unit.tokens as u64).collect();
        let (rank, world) = self.rank;
        let own = share(&costs, rank, world).into_iter();
        let units: Vec<_> = own.filter_map(|place| units.get(place).copied()).collect();
        let mut images: Vec<usize> = units.iter().filter_map(|unit| unit.image).collect();
        images.sort_unstable();
        images.dedup();
        let shown: Vec<Shown<'_>> = images.par_iter().map(|&i| self.show(i)).collect();
        let mut batch = StepBatch {
            step,
            micro: Vec::new(),
            images: Vec::new(),
            pixels: None,
            pixels_of: Vec::new(),
            features: None,
            features_of: Vec::new(),
            pairs: 0,
            tokens: 0,
            unpacked: 0,
            labels: 0,
            weight: 0.0,
            members: Vec::new(),
        };
        let (mut pixels, mut features, mut rejects) = (Vec::new(), Vec::new(), Vec::new());
        for (&image, shown) in images.iter().zip(&shown) {
            let slot = batch.images.len();
            match shown {
                Shown::Held => {}
                Shown::Features(found) => {
                    batch.features_of.push(slot);
                    features.push(found);
                }
                Shown::Pixels(found) => {
                    batch.pixels_of.push(slot);
                    pixels.push(found.as_ref());
                }
                Shown::Not(fault) => {
                    rejects.push(self.unreadable(image, fault)?);
                    continue;
                }
            }
            batch.images.push(image);
        }
        if !pixels.is_empty() {
            let preprocessor = data.images.preprocessor();
            batch.pixels = Some(preprocessor.normalise(&pixels, tch::Device::Cpu)?);
        }
        if !features.is_empty() {
            batch.features = Some(Tensor::f_stack(&features, 0)?);
        }
        let slot = |image: usize| batch.images.binary_search(&image).ok();
        let present: Vec<_> = units
            .iter()
            .filter(|unit| unit.image.is_none_or(|image| slot(image).is_some()))
            .collect();
        let trees: Vec<_> = present
            .par_iter()
            .map(|unit| data.trees(unit))
            .collect::<Result<_, Error>>()?;
        let mut placed = Vec::new();
        for (unit, trees) in present.iter().zip(trees) {
            let image = unit.image.and_then(slot);
            placed.extend(trees.into_iter().map(|tree| Placed { tree, image }));
        }
        let members = present
            .iter()
            .filter_map(|unit| data.examples.get(unit.examples.clone()))
            .flatten();
        batch.members = members.map(|example| example.id.clone()).collect();
        let sum = |of: fn(&Placed) -> usize| placed.iter().map(of).sum::<usize>();
        batch.pairs = sum(|p| p.tree.pairs);
        batch.tokens = sum(|p| p.tree.len());
        batch.unpacked = sum(|p| p.tree.unpacked);
        batch.labels = sum(|p| p.tree.labels);
        batch.weight = placed.iter().map(|p| p.tree.weight).sum();
        batch.micro = micro_batches(&placed, &data.layout)?;
        Ok((batch, rejects))
    }

    /// What a batch has of an image.
    fn show(&self, image: usize) -> Shown<'_> {
        match self.features.as_ref().map(|features| features.find(image)) {
            Some(Found::Held) => Shown::Held,
            Some(Found::Stored(features)) => Shown::Features(features),
            Some(Found::Absent) | None => match self.data.images.open(image) {
                Ok(pixels) => Shown::Pixels(pixels),
                Err(fault) => Shown::Not(fault),
            },
        }
    }

    /// The pairs of an image that cannot be read, where training goes on without them.
    fn unreadable(&self, image: usize, fault: &Fault) -> Result<Vec<Reject>, Error> {
        let data = &self.data;
        let of_image = data.units.iter().filter(|unit| unit.image == Some(image));
        let examples = of_image
            .filter_map(|unit| data.examples.get(unit.examples.clone()))
            .flatten();
        let file = data.images.file(image).display();
        let rejects: Vec<Reject> = examples
            .map(|example| example.reject(fault.reason(), format!("{file}: {fault}")))
            .collect();
        match (self.on_missing, rejects.first()) {
            (OnMissingImage::Stop, Some(first)) => Err(Error::Data(format!(
                "{file}: {fault}; the image of {} and {} more. Put it back and run the same command \
                 again, or set on_missing_image = \"skip\"",
                first.row,
                rejects.len() - 1
            ))),
            _ => Ok(rejects),
        }
    }
}
