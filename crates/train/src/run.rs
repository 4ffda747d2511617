//! The training stage: from samples to a model folder.
//!
//! **Invariant:** everything a step does follows from the seed, the data, the configuration and the
//! step's number, apart from the weights and moments that a checkpoint holds. So a run that goes on
//! from a checkpoint gives, bit for bit, the losses and weights of one that never stopped. Sums
//! inside the tensor library are split by its number of threads, which is therefore a setting
//! (`threads`) and not the machine's number of cores.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fit::optim::{AdamW, Hyper, Param, States, clip_factor};
use fit::schedule::learning_rate;
use model::{Llava, LlavaConfig, Preprocessor, PromptForm, Tokenizer, WeightKind};
use sample::{Manifest, Sample, Stage, StageKey, interrupt, progress, seed, write_table};
use serde::Serialize;
use tch::{Device, Kind};

use crate::data::{Data, Encoding, Example, learn_vocabulary};
use crate::loader::Loader;
use crate::metrics::{self, Lines, StepMetrics, StepTiming};
use crate::tower::{self, Facts, Labels};
use crate::{Error, TrainConfig, checkpoint, positions, step};

/// One line of JSON per step: what was computed.
pub const METRICS: &str = "metrics.jsonl";
/// One line of JSON per step: how long it took.
pub const TIMING: &str = "timing.jsonl";
/// The trained model's folder, in Hugging Face's form.
pub const MODEL: &str = "model";

/// Finds the file of a sample's image.
pub type ImageFile<'a> = dyn Fn(&Sample) -> Result<PathBuf, sample::Error> + Sync + 'a;

/// What a run trains on.
pub struct TrainingData<'a> {
    /// The pairs.
    pub samples: &'a [Sample],
    /// What is known about their images beyond them, for the tower's own training; may be empty.
    pub facts: &'a Facts,
    /// Finds the images.
    pub image_file: &'a ImageFile<'a>,
}

/// Trains a model from scratch on `data` and leaves it in `folder`.
///
/// A finished stage with the same key is returned as it is; an unfinished one goes on from its
/// checkpoint, unless `force` starts it anew. On a stop (Ctrl-C, SIGTERM) a checkpoint is saved
/// first.
///
/// The manifest counts `steps`, `samples` (pairs trained on), `images`, `rejects`, `tokens` (of one
/// epoch, shared prefixes once), `tokens_unpacked` (what the pairs would be as separate sequences)
/// and `parameters`.
///
/// # Errors
/// Settings that cannot work, nothing to train on, a checkpoint of something else, divergence,
/// a stop.
pub fn run(
    config: &TrainConfig,
    run_seed: u64,
    data: &TrainingData<'_>,
    folder: &Path,
    key: StageKey,
    force: bool,
) -> Result<Manifest, Error> {
    config.check()?;
    if !force && let Some(manifest) = Stage::finished(folder, &key)? {
        return Ok(manifest);
    }
    let stage = Stage::begin(folder, key, force)?;
    if force {
        checkpoint::remove(folder)?;
    }
    let mut session = Session::new(config, run_seed, data)?;
    write_table(&stage.path(sample::REJECTS), &session.data.rejects)?;
    let resumed = checkpoint::load(folder, checkpoint::JOINT, stage.key(), &mut session.adamw)?;
    if !resumed {
        session.train_tower(config, Some(&stage))?;
    }
    progress::note(&session.describe());
    if resumed {
        progress::note(&format!(
            "going on from the checkpoint of step {}",
            session.adamw.step()
        ));
    }
    session.train(&stage)?;
    session
        .model
        .save(&stage.path(MODEL), &session.tokenizer, WeightKind::Float32)?;
    let manifest = session.manifest(&stage)?;
    let weights = format!("{MODEL}/model.safetensors");
    let manifest = stage.finish(manifest, &[METRICS, sample::REJECTS, &weights])?;
    // Three times the model's size, and of no more use.
    checkpoint::remove(folder)?;
    Ok(manifest)
}

/// What a run will cost, from a few of its own steps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// Parameters in all.
    pub parameters: i64,
    /// Steps.
    pub steps: u64,
    /// Of one epoch, shared prefixes once.
    pub tokens: usize,
    /// Of one epoch, had each pair been its own sequence.
    pub tokens_unpacked: usize,
    /// Of the median step tried.
    pub seconds_per_step: f64,
    /// Of the tower's own training.
    pub tower_seconds: f64,
    /// Of the whole run's steps, the tower's own included.
    pub seconds: f64,
}

/// Prepares the data and times `tries` steps after one to warm up; writes nothing.
pub fn forecast(
    config: &TrainConfig,
    run_seed: u64,
    data: &TrainingData<'_>,
    tries: u64,
) -> Result<Forecast, Error> {
    config.check()?;
    let mut session = Session::new(config, run_seed, data)?;
    let mut few = config.clone();
    few.tower.steps = tries.min(config.tower.steps);
    let started = Instant::now();
    session.train_tower(&few, None)?;
    let per_step = started.elapsed().as_secs_f64() / few.tower.steps.max(1) as f64;
    let tower_seconds = per_step * config.tower.steps as f64;
    let mut seconds = Vec::new();
    for at in 0..=tries.max(1) {
        let started = Instant::now();
        session.step(at)?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    let mut seconds = seconds.split_off(1);
    seconds.sort_by(f64::total_cmp);
    let seconds_per_step = seconds.get(seconds.len() / 2).copied().unwrap_or(0.0);
    let (tokens, tokens_unpacked) = session.tokens();
    Ok(Forecast {
        parameters: session.model.config().parameter_count(),
        steps: session.steps,
        tokens,
        tokens_unpacked,
        seconds_per_step,
        tower_seconds,
        seconds: tower_seconds + seconds_per_step * session.steps as f64,
    })
}

/// A model with its optimiser and data, between two steps.
struct Session<'a> {
    config: &'a TrainConfig,
    seed: u64,
    tokenizer: Tokenizer,
    model: Llava,
    adamw: AdamW,
    data: Arc<Data>,
    loader: Loader,
    /// What the tower learns alone.
    labels: Labels,
    /// Steps of the whole run.
    steps: u64,
    compute: &'static str,
}

impl<'a> Session<'a> {
    fn new(
        config: &'a TrainConfig,
        run_seed: u64,
        source: &TrainingData<'_>,
    ) -> Result<Self, Error> {
        let samples = source.samples;
        tch::set_num_threads(i32::try_from(config.threads).unwrap_or(i32::MAX));
        let examples: Vec<Example> = samples.iter().map(Example::from).collect();
        let (template, size) = (config.model.template, config.model.text.vocab_size);
        let tokenizer = learn_vocabulary(&examples, template, size)?;
        let shape: LlavaConfig = config.model.llava(&tokenizer);
        shape.validate()?;
        let preprocessor = Preprocessor::new(&shape);
        let encoding = Encoding {
            tokenizer: tokenizer.clone(),
            form: PromptForm::Named(template),
            patches: usize::try_from(shape.image_tokens()).unwrap_or(0),
            max_length: config.model.text.max_length,
        };
        let of_path: HashMap<&str, &Sample> =
            samples.iter().map(|s| (s.image.path.as_str(), s)).collect();
        let locate = |path: &str| match of_path.get(path) {
            Some(sample) => (source.image_file)(sample),
            None => Err(sample::Error::format(path, "no sample has this image")),
        };
        let data = Data::prepare(config, examples, &locate, encoding, preprocessor)?;
        let data = Arc::new(data);
        let loader = Loader::new(Arc::clone(&data), config, run_seed, None)?;
        let device = Device::Cpu;
        let mut model = Llava::new(
            &shape,
            seed::derive(run_seed, &["train", "weights"]),
            device,
        )?;
        let (kind, compute) = config.compute.resolve(device);
        model.compute = kind;
        if config.model.vision.position_amplitude > 0.0 {
            positions::set_sine_cosine(&model, config.model.vision.position_amplitude)?;
        }
        let names = data.images.names().iter().map(|name| name.path.clone());
        let labels = Labels::new(
            &names.collect::<Vec<_>>(),
            samples,
            source.facts,
            config.tower.min_images,
        );
        let adamw = optimiser(config, &model, run_seed)?;
        Ok(Session {
            config,
            seed: run_seed,
            tokenizer,
            model,
            adamw,
            data,
            steps: loader.steps(),
            loader,
            labels,
            compute,
        })
    }

    /// The tower's own training; see [`tower`].
    fn train_tower(&self, config: &TrainConfig, stage: Option<&Stage>) -> Result<(), Error> {
        tower::train(
            config,
            self.seed,
            &self.model,
            &self.data.images,
            &self.labels,
            stage,
        )
    }

    fn describe(&self) -> String {
        let (tokens, unpacked) = self.tokens();
        format!(
            "training {:.1} M parameters in {}, {} threads: {} steps of {} images ({} images, {} \
             pairs; {tokens} tokens an epoch, {unpacked} without prefix trees; {} rejected)",
            self.model.config().parameter_count() as f64 / 1e6,
            self.compute,
            self.config.threads,
            self.steps,
            self.config.batch_images,
            self.data.images.len(),
            self.pairs(),
            self.data.rejects.len(),
        )
    }

    fn tokens(&self) -> (usize, usize) {
        self.data.tokens()
    }

    fn pairs(&self) -> usize {
        self.data.examples.len()
    }

    /// One update; the metrics, and how many seconds the batch took to prepare.
    fn step(&mut self, at: u64) -> Result<(StepMetrics, f64), Error> {
        let batch = self.loader.next(at)?;
        let waited = self.loader.waited();
        let (config, images) = (self.config, &batch.images);
        let lr = learning_rate(config.lr, config.warmup_ratio, at, self.steps);
        let pixels = batch
            .pixels
            .as_ref()
            .ok_or_else(|| Error::Data(format!("step {at}: none of its images can be read")))?;
        let mut value = 0.0;
        for micro in &batch.micro {
            let loss = step::loss(&self.model, pixels, micro, config.centre_features)?;
            value += f64::try_from(&loss)?;
            self.finite(at, "the loss", value, lr, images)?;
            loss.f_backward()?;
        }
        let grad_norm = self.adamw.gradient_norm()?;
        self.finite(at, "the gradient norm", grad_norm, lr, images)?;
        self.adamw
            .update_all(lr, clip_factor(grad_norm, config.clip))?;
        let metrics = StepMetrics {
            step: at,
            epoch: self.loader.place(at).0,
            loss: value,
            lr,
            grad_norm,
            pairs: batch.pairs,
            tokens: batch.tokens,
        };
        Ok((metrics, waited))
    }

    fn finite(
        &self,
        step: u64,
        what: &'static str,
        value: f64,
        lr: f64,
        images: &[usize],
    ) -> Result<(), Error> {
        if value.is_finite() {
            return Ok(());
        }
        let names: Vec<String> = images
            .iter()
            .map(|&i| self.data.images.file(i).display().to_string())
            .collect();
        Err(Error::Diverged {
            step,
            what,
            value,
            lr,
            images: names.join(", "),
        })
    }

    fn train(&mut self, stage: &Stage) -> Result<(), Error> {
        let first = self.adamw.step();
        let mut lines = Lines::open(&stage.path(METRICS), first)?;
        let mut timing = Lines::open(&stage.path(TIMING), first)?;
        let bar = progress::bar("train", self.steps.saturating_sub(first), "steps");
        let (mut saved, mut smooth) = (Instant::now(), None);
        for at in first..self.steps {
            if interrupt::requested() {
                self.save(stage, &lines)?;
                return Err(sample::Error::Interrupted.into());
            }
            let started = Instant::now();
            let (metrics, data_seconds) = self.step(at)?;
            let seconds = started.elapsed().as_secs_f64();
            lines.push(&metrics)?;
            let tokens_per_second = metrics.tokens as f64 / seconds.max(1e-9);
            timing.push(&StepTiming {
                step: at,
                seconds,
                data_seconds,
                tokens_per_second,
            })?;
            let shown = smooth.map_or(metrics.loss, |s: f64| 0.95 * s + 0.05 * metrics.loss);
            smooth = Some(shown);
            bar.message(&format!("loss {shown:.3}, {tokens_per_second:.0} tokens/s"));
            bar.inc(1);
            if self.due(at + 1, saved.elapsed()) {
                self.save(stage, &lines)?;
                saved = Instant::now();
            }
        }
        bar.finish();
        lines.sync()
    }

    fn due(&self, done: u64, since: Duration) -> bool {
        let (steps, seconds) = (self.config.checkpoint_steps, self.config.checkpoint_seconds);
        done < self.steps
            && ((steps > 0 && done.is_multiple_of(steps))
                || (seconds > 0 && since.as_secs() >= seconds))
    }

    /// The metrics first: a checkpoint whose steps are not on record could not be told from one
    /// that skipped them.
    fn save(&self, stage: &Stage, lines: &Lines) -> Result<(), Error> {
        lines.sync()?;
        Ok(checkpoint::save(
            stage.folder(),
            checkpoint::JOINT,
            stage.key(),
            &self.adamw,
        )?)
    }

    fn manifest(&self, stage: &Stage) -> Result<Manifest, Error> {
        let mut manifest = Manifest::new(stage.key().clone());
        let (tokens, unpacked) = self.tokens();
        let steps = metrics::read(&stage.path(METRICS))?;
        let mean = |steps: &[StepMetrics]| {
            steps.iter().map(|m| m.loss).sum::<f64>() / steps.len().max(1) as f64
        };
        let window = (steps.len() / 10).clamp(1, 50).min(steps.len());
        manifest.count("steps", self.steps);
        manifest.count("samples", self.pairs() as u64);
        manifest.count("images", self.data.images.len() as u64);
        manifest.count("rejects", self.data.rejects.len() as u64);
        manifest.count("tokens", tokens as u64);
        manifest.count("tokens_unpacked", unpacked as u64);
        manifest.count(
            "parameters",
            self.model.config().parameter_count().unsigned_abs(),
        );
        manifest.results = serde_json::json!({
            "compute": if self.model.compute == Kind::BFloat16 { "bf16" } else { "f32" },
            "vocabulary": self.tokenizer.vocab_size(),
            "image_tokens": self.model.config().image_tokens(),
            "first_loss": mean(&steps[..window]),
            "final_loss": mean(&steps[steps.len() - window..]),
            "packing_saves": unpacked as f64 / tokens.max(1) as f64,
        });
        Ok(manifest)
    }
}

/// AdamW over what is trained; what is not stops requiring gradients.
fn optimiser(config: &TrainConfig, model: &Llava, run_seed: u64) -> Result<AdamW, Error> {
    let mut slots = Vec::new();
    for (name, parameter) in model.parameters() {
        let tower = name.starts_with("vision_tower.");
        if tower && config.freeze_tower {
            let _ = parameter.f_set_requires_grad(false)?;
            continue;
        }
        let scale = if tower {
            config.tower_lr_scale
        } else if name.starts_with("multi_modal_projector.") {
            config.projector_lr_scale
        } else {
            1.0
        };
        slots.push(Param {
            name: name.clone(),
            tensor: parameter.shallow_clone(),
            lr_scale: scale,
        });
    }
    let (betas, eps, weight_decay) = (config.betas, config.eps, config.weight_decay);
    Ok(AdamW::new(
        slots,
        Hyper {
            betas,
            eps,
            weight_decay,
        },
        States::Float32,
        run_seed,
    )?)
}
