//! What a run will cost, from a few of its own steps.

use std::rc::Rc;
use std::time::Instant;

use c10d::Group;
use fit::{Guard, Task};
use model::{Llava, ModelPart};
use serde::Serialize;

use crate::memory::Memory;
use crate::run::{self, Prepared, TrainingData, peak_flops};
use crate::scaling::Work;
use crate::session::Session;
use crate::{Error, TrainConfig, Update};

/// What a run will cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// Parameters in all.
    pub parameters: i64,
    /// Of these, trained.
    pub trained: u64,
    /// Steps.
    pub steps: u64,
    /// Images of a step, on average.
    pub images_per_step: f64,
    /// Pairs of one epoch.
    pub pairs: usize,
    /// Tokens of one epoch, shared prefixes once.
    pub tokens: usize,
    /// Tokens of one epoch, had each pair been its own sequence.
    pub tokens_unpacked: usize,
    /// By part, as it is counted before the start.
    pub memory: Memory,
    /// Seconds of the median step tried.
    pub seconds_per_step: f64,
    /// Share of the operations that this machine's products reach.
    pub share_of_peak: Option<f64>,
    /// Seconds of the tower's own training.
    pub tower_seconds: f64,
    /// Seconds of the whole run's steps, the tower's own included.
    pub seconds: f64,
    /// What several ranks would share of a step.
    pub work: Work,
}

/// Prepares the data and times `tries` steps after one to warm up; writes nothing.
///
/// # Errors
/// As [`crate::run`], also where the run needs more memory than there is.
pub fn forecast(
    config: &TrainConfig,
    run_seed: u64,
    data: TrainingData<'_>,
    tries: u64,
) -> Result<Forecast, Error> {
    config.check()?;
    let alone = Rc::new(Group::alone());
    let prepared = Prepared::new(config, run_seed, data, &alone)?;
    let mut few = config.clone();
    few.tower.steps = tries.min(config.tower.steps);
    let started = Instant::now();
    prepared.train_tower(&few, run_seed, None, &alone)?;
    let per_step = started.elapsed().as_secs_f64() / few.tower.steps.max(1) as f64;
    let tower_seconds = per_step * config.tower.steps as f64;
    let peak = peak_flops(&prepared.placement)?;
    let (sum, memory) = (prepared.summary(), prepared.memory);
    let images_per_step = prepared.load.images;
    let Prepared {
        model,
        data,
        placement,
        ..
    } = prepared;
    let features = run::frozen_features(config, &model, &data, None)?;
    let mut session = Session::new(config, run_seed, model, data, placement, features, &alone)?;
    let steps = session.loader.steps();
    let mut guard = Guard::new(0.0, false);
    let mut tried: Vec<(f64, f64)> = Vec::new();
    for at in 0..=tries.max(1).min(steps.saturating_sub(1)) {
        let started = Instant::now();
        // At a learning rate of zero nothing moves, and everything is done.
        let step = session.step(at, 0.0, &mut guard)?;
        tried.push((started.elapsed().as_secs_f64(), step.flops));
    }
    if tried.len() > 1 {
        tried.remove(0);
    }
    tried.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (seconds_per_step, flops) = tried.get(tried.len() / 2).copied().unwrap_or((0.0, 0.0));
    Ok(Forecast {
        parameters: session.model.config().parameter_count(),
        trained: session.trained_parameters(),
        steps,
        images_per_step,
        pairs: sum.pairs,
        tokens: sum.tokens,
        tokens_unpacked: sum.unpacked,
        memory,
        seconds_per_step,
        share_of_peak: peak.map(|peak| flops / seconds_per_step.max(1e-9) / peak),
        tower_seconds,
        seconds: tower_seconds + seconds_per_step * steps as f64,
        work: work(config, &session.model, seconds_per_step),
    })
}

/// A step's parts in the order of the way down. A part's share of the time is that of its weights; the embedding,
/// whose rows are only picked, takes none.
fn work(config: &TrainConfig, model: &Llava, seconds: f64) -> Work {
    let mut parts: Vec<(ModelPart, f64, f64)> = Vec::new();
    for (_, tensor, part) in model.trainable() {
        let elements = tensor.numel() as f64;
        let bytes = elements * tensor.kind().elt_size_in_bytes() as f64;
        match parts.iter_mut().find(|(known, ..)| *known == part) {
            Some((_, all, all_bytes)) => (*all, *all_bytes) = (*all + elements, *all_bytes + bytes),
            None => parts.push((part, elements, bytes)),
        }
    }
    let depth = |part: &ModelPart| match part {
        ModelPart::Head => (0, 0),
        ModelPart::Norm => (1, 0),
        ModelPart::Layer(layer) => (2, usize::MAX - layer),
        ModelPart::Embedding => (3, 0),
        ModelPart::Projector => (4, 0),
        ModelPart::Tower => (5, 0),
    };
    parts.sort_by_key(|(part, ..)| depth(part));
    let parts: Vec<(f64, f64, f64)> = parts
        .into_iter()
        .map(|(part, elements, bytes)| {
            let picked = part == ModelPart::Embedding;
            (elements, bytes, if picked { 0.0 } else { elements })
        })
        .collect();
    // Backward is twice forward, and forward is done again where layers are run twice.
    let up = if config.gradient_checkpointing {
        0.25
    } else {
        1.0 / 3.0
    };
    Work::of_step(seconds, up, &parts, config.update == Update::Layerwise)
}
