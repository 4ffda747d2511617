//! The training stage: from conversations to a model folder.
//!
//! **Invariant:** everything a step does follows from the seed, the data, the configuration and the
//! step's number, apart from what a checkpoint holds. So a run that goes on from a checkpoint gives,
//! bit for bit, the losses and weights of one that never stopped. Sums inside the tensor library are
//! split by its number of threads, which is therefore a setting (`threads`) and not the machine's
//! number of cores.
//!
//! Several ranks run it together, each over the same data and configuration. The first has the folder:
//! it alone reads checkpoints and writes, and the others need no folder in common with it.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use c10d::Group;
use fit::Options;
use fit::metrics::{METRICS, StepMetrics};
use fit::ranks::{shared, together};
use model::{Llava, ModelPart, Preprocessor, PromptForm, Tokenizer};
use sample::{Manifest, Reject, Sample, Stage, StageKey, progress, write_table};

use crate::data::holdout::{held_out, part};
use crate::data::{self, Data, Encoding, Example, Locate};
use crate::evaluation::{Judge, Questions};
use crate::features::{Features, Store};
use crate::memory::{self, Load, Memory};
use crate::save::Made;
use crate::session::Session;
use crate::start::{self, Base};
use crate::tower::{self, Facts, Labels};
use crate::{Error, OnMissingImage, TrainConfig};

/// A frozen tower's features of the images.
pub const FEATURES: &str = "features";

/// What a run trains on.
pub struct TrainingData<'a> {
    /// The conversations.
    pub examples: Vec<Example>,
    /// The samples that they were made of, for the tower's own training; may be empty.
    pub samples: &'a [Sample],
    /// What could not be read of them.
    pub rejects: Vec<Reject>,
    /// For the digest of an image that looks nearly as another one does, the digest of the first of
    /// those: they are held out together.
    pub near: &'a HashMap<String, String>,
    /// What is known about their images beyond them, for the tower's own training; may be empty.
    pub facts: &'a Facts,
    /// Finds the images.
    pub locate: &'a Locate<'a>,
    /// Decides about replies to held-out questions; by default they must be the reference's words.
    pub judge: Option<&'a Judge<'a>>,
}

/// Trains a model on `data` and leaves it in `folder`.
///
/// A finished stage with the same key is returned as it is; an unfinished one goes on from its
/// checkpoint, unless `force` starts it anew. On a stop (Ctrl-C, SIGTERM) a checkpoint is saved
/// first.
///
/// The manifest counts `steps`, `samples` (pairs trained on), `images`, `rejects`, `tokens` (of one
/// epoch, shared prefixes once), `tokens_unpacked` (what the pairs would be as separate sequences),
/// `parameters` and `parameters_trained`.
///
/// # Errors
/// Settings that cannot work, or need more memory than there is; nothing to train on; a checkpoint of
/// something else; divergence; a stop.
pub fn run(
    config: &TrainConfig,
    run_seed: u64,
    data: TrainingData<'_>,
    folder: &Path,
    key: StageKey,
    force: bool,
) -> Result<Manifest, Error> {
    let alone = Rc::new(Group::alone());
    run_among(config, run_seed, data, folder, key, force, &alone)
}

/// As [`run`], by the ranks of `group` together: each calls this with the same settings and data. The same batches
/// are trained on whatever their number, so a run may go on from a checkpoint with more ranks or fewer.
///
/// # Errors
/// As [`run`], on every rank; ranks of other settings or data; a rank that is lost.
pub fn run_among(
    config: &TrainConfig,
    run_seed: u64,
    data: TrainingData<'_>,
    folder: &Path,
    key: StageKey,
    force: bool,
    group: &Rc<Group>,
) -> Result<Manifest, Error> {
    config.check()?;
    let asked = serde_json::to_string(&key).map_err(|e| Error::Config(e.to_string()))?;
    group.agree("the configuration, the data or the seed", &asked)?;
    let done = match group.is_first() && !force {
        true => Stage::finished(folder, &key).map_err(Error::from),
        false => Ok(None),
    };
    let done = conflict_of_all(group, done)?;
    if let Some(manifest) = shared(group, Ok::<_, Error>(done))? {
        return Ok(manifest);
    }
    let begun = match group.is_first() {
        true => begin(folder, &key, force).map(Some),
        false => Ok(None),
    };
    let stage = conflict_of_all(group, begun)?;
    let judge = data.judge;
    let unread = data.rejects.clone();
    let prepared = together(group, Prepared::new(config, run_seed, data, group))?;
    group.agree("the data", &prepared.data.digest())?;
    let rejects = [&unread[..], &prepared.data.rejects].concat();
    let written = match &stage {
        Some(stage) => write_table(&stage.path(sample::REJECTS), &rejects).map(|_| ()),
        None => Ok(()),
    };
    together(group, written.map_err(Error::from))?;
    prepared.train_tower(config, run_seed, Some((folder, &key)), group)?;
    progress::note(&prepared.describe(config, group));
    // After the tower's own training: its features follow from its weights.
    let features = frozen_features(config, &prepared.model, &prepared.data, Some(folder));
    let features = together(group, features)?;
    let Prepared {
        model,
        data,
        placement,
        kit,
        base,
        held_out,
        ..
    } = prepared;
    let summary = DataSummary::new(&data);
    let session = Session::new(config, run_seed, model, data, placement, features, group);
    let mut session = together(group, session)?;
    if let Some(questions) = held_out {
        session.evaluate_with(questions, judge);
    }
    let options = options(config, session.loader.steps(), peak_flops(&placement)?);
    let made = fit::run(&mut session, &options, folder, &key)?;
    // The weights of the best evaluation are the result, as long as there were any.
    let best = fit::restore_best(&mut session, folder, &key)?;
    if let Some(best) = best {
        progress::note(&format!(
            "the model is that of step {}, the best on held-out questions ({:.1}%)",
            best.step,
            100.0 * best.score
        ));
    }
    let left = Left {
        config,
        run_seed,
        kit: &kit,
        base: base.as_ref(),
        placement,
        rejects,
        summary,
        made,
        best,
    };
    let manifest = match stage {
        Some(stage) => left.finish(stage, session).map(Some),
        None => Ok(None),
    };
    let manifest = shared(group, manifest)?;
    manifest.ok_or_else(|| Error::Config("rank 0 left no manifest".to_owned()))
}

/// A folder in the way is in the way of every rank: with `--force` all begin again. Other errors are as in
/// [`together`].
fn conflict_of_all<T>(group: &Group, own: Result<T, Error>) -> Result<T, Error> {
    let text = match &own {
        Err(Error::Sample(sample::Error::Conflict(text))) => Some(text.clone()),
        _ => None,
    };
    match shared(group, Ok::<_, Error>(text))? {
        Some(text) => Err(sample::Error::Conflict(text).into()),
        None => together(group, own),
    }
}

fn begin(folder: &Path, key: &StageKey, force: bool) -> Result<Stage, Error> {
    let stage = Stage::begin(folder, key.clone(), force)?;
    if force {
        remove_checkpoints(folder)?;
    }
    Ok(stage)
}

/// What a training has left, before it is written down.
struct Left<'a> {
    config: &'a TrainConfig,
    run_seed: u64,
    kit: &'a Kit,
    base: Option<&'a Base>,
    placement: model::Placement,
    /// Before the first step.
    rejects: Vec<Reject>,
    summary: DataSummary,
    made: fit::Summary,
    best: Option<fit::Best>,
}

impl Left<'_> {
    /// Writes the model and everything else of the stage.
    fn finish(self, stage: Stage, session: Session<'_>) -> Result<Manifest, Error> {
        let (made, best) = (self.made, self.best);
        let mut rejects = self.rejects;
        rejects.extend(session.loader.rejects().iter().cloned());
        write_table(&stage.path(sample::REJECTS), &rejects)?;
        let mut manifest = Manifest::new(stage.key().clone());
        manifest.count("steps", made.steps);
        manifest.count("rejects", rejects.len() as u64);
        manifest.count("parameters_trained", session.trained_parameters());
        self.summary.count(&mut manifest);
        let parameters = session.model.config().parameter_count();
        manifest.count("parameters", parameters.unsigned_abs());
        let mut steps = fit::metrics::read(&stage.path(METRICS))?;
        steps.retain(|step| !step.skipped);
        let window = (steps.len() / 10).clamp(1, 50).min(steps.len());
        let mean = |steps: &[StepMetrics]| {
            steps.iter().map(|m| m.loss).sum::<f64>() / steps.len().max(1) as f64
        };
        manifest.results = serde_json::json!({
            "compute": self.placement.describe(),
            "vocabulary": self.kit.tokenizer.vocab_size(),
            "image_tokens": session.model.config().image_tokens(),
            "first_loss": mean(&steps[..window]),
            "final_loss": mean(&steps[steps.len() - window..]),
            "packing_saves": self.summary.unpacked as f64 / self.summary.tokens.max(1) as f64,
            "skipped": made.skipped,
            "stopped_early": made.stopped_early,
            "best": best.map(|best| serde_json::json!({"step": best.step, "score": best.score})),
            "base": self.base.map(|base| base.digest.clone()),
        });
        let made = Made {
            config: self.config,
            run_seed: self.run_seed,
            data: session.loader.data(),
            kit: self.kit,
            base: self.base,
            steps: made.steps,
            best,
        };
        let weights = made.save(&stage, session.model)?;
        let mut outputs = vec![METRICS, sample::REJECTS];
        outputs.extend(weights.iter().map(String::as_str));
        let folder = stage.folder().to_owned();
        let manifest = stage.finish(manifest, &outputs)?;
        // Several times the model's size, and of no more use.
        remove_checkpoints(&folder)?;
        Ok(manifest)
    }
}

/// Removes the checkpoints of the joint training and of the tower's own.
fn remove_checkpoints(folder: &Path) -> Result<(), Error> {
    fit::checkpoint::remove(folder)?;
    Ok(fit::checkpoint::remove(&folder.join(tower::FOLDER))?)
}

/// What turns conversations and images into a model's input.
pub(crate) struct Kit {
    pub tokenizer: Tokenizer,
    pub preprocessor: Preprocessor,
    pub form: PromptForm,
}

/// A model and its data, before the first step.
pub(crate) struct Prepared {
    pub model: Llava,
    pub data: Arc<Data>,
    pub placement: model::Placement,
    pub kit: Kit,
    pub base: Option<Base>,
    /// Held-out questions, where evaluation while training is asked for.
    pub held_out: Option<Questions>,
    /// What training it will take, by part.
    pub memory: Memory,
    /// What passes through the model in a step, on average.
    pub load: Load,
    /// What the tower learns alone.
    labels: Labels,
}

impl Prepared {
    /// Reads the base or makes a model from scratch, and makes the data ready. Refuses what needs more
    /// memory than there is before any weight is read.
    pub fn new(
        config: &TrainConfig,
        run_seed: u64,
        mut source: TrainingData<'_>,
        group: &Group,
    ) -> Result<Prepared, Error> {
        tch::set_num_threads(i32::try_from(config.threads).unwrap_or(i32::MAX));
        let placement = start::placement(config, group)?;
        let (examples, held) = split(config, run_seed, &mut source);
        let base = match &config.base {
            Some(base) => Some((Base::open(base)?, base)),
            None => None,
        };
        let (kit, shape, max_length) = match &base {
            Some((base, settings)) => {
                let kit = Kit {
                    tokenizer: base.checkpoint.tokenizer()?,
                    preprocessor: base.checkpoint.preprocessor()?,
                    form: base.prompt_form(settings)?,
                };
                (kit, base.config().clone(), config.max_length)
            }
            None => {
                let (template, size) = (config.model.template, config.model.text.vocab_size);
                let tokenizer = data::learn_vocabulary(&examples, template, size)?;
                let shape = config.model.llava(&tokenizer);
                shape.validate()?;
                let kit = Kit {
                    preprocessor: Preprocessor::new(&shape),
                    form: PromptForm::Named(template),
                    tokenizer,
                };
                (kit, shape, config.model.text.max_length)
            }
        };
        let encoding = Encoding {
            tokenizer: kit.tokenizer.clone(),
            form: kit.form.clone(),
            patches: usize::try_from(shape.image_tokens()).unwrap_or(0),
            max_length,
        };
        let preprocessor = kit.preprocessor.clone();
        let data = Data::prepare(config, examples, source.locate, encoding, preprocessor)?;
        let data = Arc::new(data);
        look_at_rejects(config, &data)?;
        let available = match placement.free_gpu_memory() {
            Some(free) => Some(free as f64),
            None => memory::available(),
        };
        let load = load(config, &data, group.world());
        let bytes = placement.kind.elt_size_in_bytes() as f64;
        let memory = match available {
            Some(available) => memory::fits(config, &shape, load, bytes, available)?,
            None => memory::estimate(config, &shape, load, bytes),
        };
        let model = match &base {
            Some((base, _)) => base.load(config, run_seed, &placement)?,
            None => start::from_scratch(config, run_seed, &shape, &placement)?,
        };
        let names = data.images.names().iter().map(|name| name.path.clone());
        let names: Vec<String> = names.collect();
        let labels = Labels::new(
            &names,
            source.samples,
            source.facts,
            config.tower.min_images,
        );
        let held_out = (config.eval_steps > 0 && !held.is_empty()).then(|| {
            let parts = (&kit.tokenizer, &kit.preprocessor, &kit.form);
            Questions::new(&held, config.eval_questions, run_seed, source.locate, parts)
        });
        Ok(Prepared {
            model,
            data,
            placement,
            kit,
            base: base.map(|(base, _)| base),
            held_out,
            memory,
            load,
            labels,
        })
    }

    /// The tower's own training; see [`tower`].
    pub fn train_tower(
        &self,
        config: &TrainConfig,
        run_seed: u64,
        place: Option<(&Path, &StageKey)>,
        group: &Rc<Group>,
    ) -> Result<(), Error> {
        let (model, images, labels) = (&self.model, &self.data.images, &self.labels);
        tower::train(config, run_seed, model, images, labels, place, group)
    }

    /// Counts over an epoch.
    pub fn summary(&self) -> DataSummary {
        DataSummary::new(&self.data)
    }

    fn describe(&self, config: &TrainConfig, group: &Group) -> String {
        let sum = self.summary();
        let parameters = self.model.config().parameter_count() as f64 / 1e6;
        let trained: usize = self
            .model
            .trainable()
            .iter()
            .map(|(_, t, _)| t.numel())
            .sum();
        format!(
            "training {:.1} of {parameters:.1} M parameters, {}{}, {} threads ({} images, {} pairs; {} \
             tokens an epoch, {} without prefix trees; {} rejected)",
            trained as f64 / 1e6,
            match group.world() {
                1 => String::new(),
                world => format!("{world} ranks, each on "),
            },
            self.placement.describe(),
            config.threads,
            sum.images,
            sum.pairs,
            sum.tokens,
            sum.unpacked,
            self.data.rejects.len(),
        )
    }
}

/// Stops where an image is missing and the configuration says so; warns where much cannot be used.
fn look_at_rejects(config: &TrainConfig, data: &Data) -> Result<(), Error> {
    let image = data.rejects.iter().find(|r| r.reason.starts_with("image_"));
    if let (OnMissingImage::Stop, Some(reject)) = (config.on_missing_image, image) {
        return Err(Error::Data(format!(
            "{}: {}; set on_missing_image = \"skip\" to train without such pairs",
            reject.row, reject.detail
        )));
    }
    let (rejected, used) = (data.rejects.len(), data.examples.len());
    if let Some(first) = data.rejects.first().filter(|_| rejected * 10 > used) {
        progress::note(&format!(
            "warning: {rejected} of {} pairs cannot be used; the first, {}: {}",
            rejected + used,
            first.row,
            first.detail
        ));
    }
    Ok(())
}

/// The examples to train on, and those held out: all of an image's are on the same side.
fn split(
    config: &TrainConfig,
    run_seed: u64,
    source: &mut TrainingData<'_>,
) -> (Vec<Example>, Vec<Example>) {
    let examples = std::mem::take(&mut source.examples);
    if config.holdout == 0.0 {
        return (examples, Vec::new());
    }
    let images = examples.iter().filter_map(|example| example.image.as_ref());
    let held = held_out(images, config.holdout, run_seed, source.near);
    part(examples, &held, |example| {
        example.image.as_ref().map(|image| image.path.as_str())
    })
}

/// Where features of a tower that stays as it is are kept.
pub(crate) fn frozen_features(
    config: &TrainConfig,
    model: &Llava,
    data: &Arc<Data>,
    folder: Option<&Path>,
) -> Result<Option<Arc<Features>>, Error> {
    let trained = model.trainable();
    if trained.iter().any(|(_, _, part)| *part == ModelPart::Tower) {
        return Ok(None);
    }
    let store = match folder.filter(|_| config.feature_cache && !data.images.is_empty()) {
        Some(folder) => {
            let tower = start::tower_digest(model, data.images.preprocessor())?;
            let most = config.feature_cache_gib << 30;
            Some(Store::open(&folder.join(FEATURES), &tower, most)?)
        }
        None => None,
    };
    let memory = config.image_cache_mib;
    let features = Features::new(Arc::clone(data), memory, store);
    Ok(Some(Arc::new(features)))
}

/// What passes through the model in a step, on average.
fn load(config: &TrainConfig, data: &Data, ranks: usize) -> Load {
    let units = data.units.len().max(1) as f64;
    let sum = DataSummary::new(data);
    let per_step = match config.batch_images {
        0 => config.batch_pairs as f64 * units / sum.pairs.max(1) as f64,
        images => images as f64,
    };
    let per_step = (per_step.clamp(1.0, units) / ranks as f64).max(1.0);
    // Rows are not quite full.
    let tokens = 1.1 * per_step * sum.tokens as f64 / units;
    let longest = data.units.iter().map(|unit| unit.tokens).max().unwrap_or(0);
    let row = config.row_tokens.max(longest.min(config.tree_tokens)) as f64;
    Load {
        tokens,
        micro_tokens: match config.micro_rows {
            0 => tokens,
            rows => tokens.min(row * rows as f64),
        },
        images: per_step,
        ranks,
    }
}

/// Counts over an epoch.
pub(crate) struct DataSummary {
    pub images: usize,
    pub pairs: usize,
    pub tokens: usize,
    pub unpacked: usize,
}

impl DataSummary {
    fn new(data: &Data) -> DataSummary {
        DataSummary {
            images: data.images.len(),
            pairs: data.examples.len(),
            tokens: data.units.iter().map(|unit| unit.tokens).sum(),
            unpacked: data.units.iter().map(|unit| unit.unpacked).sum(),
        }
    }

    fn count(&self, manifest: &mut Manifest) {
        manifest.count("samples", self.pairs as u64);
        manifest.count("images", self.images as u64);
        manifest.count("tokens", self.tokens as u64);
        manifest.count("tokens_unpacked", self.unpacked as u64);
    }
}

/// What the step loop is told.
fn options(config: &TrainConfig, steps: u64, peak_flops: Option<f64>) -> Options {
    Options {
        title: "train".to_owned(),
        steps,
        lr: config.lr,
        schedule: config.schedule,
        warmup_ratio: config.warmup_ratio,
        checkpoint_steps: config.checkpoint_steps,
        checkpoint_seconds: config.checkpoint_seconds,
        keep_last: config.keep_checkpoints,
        eval_steps: config.eval_steps,
        early_stop: config.early_stop,
        spike_deviations: config.spike_deviations,
        skip_spikes: config.skip_spikes,
        peak_flops,
        ..Options::default()
    }
}

/// Floating-point operations a second that this machine's matrix products reach: the best of a few
/// large ones. What a step reaches is compared with it.
pub(crate) fn peak_flops(placement: &model::Placement) -> Result<Option<f64>, Error> {
    let size = match placement.device {
        tch::Device::Cpu => 1536,
        _ => 8192,
    };
    tch::no_grad(|| {
        let shape = [size, size];
        let a = tch::Tensor::f_ones(shape, (placement.kind, placement.device))?;
        let mut best = f64::INFINITY;
        for _ in 0..4 {
            let started = Instant::now();
            let product = a.f_matmul(&a)?;
            // Reading one number waits for the product.
            let _ = f64::try_from(product.f_get(0)?.f_get(0)?.f_to_kind(tch::Kind::Double)?)?;
            best = best.min(started.elapsed().as_secs_f64());
        }
        Ok((best > 0.0).then(|| 2.0 * (size as f64).powi(3) / best))
    })
}
