//! Training the two classifiers: cross-entropy, AdamW, warm-up and cosine.
//!
//! **Invariant:** what a step does follows from the seed, the labels, the settings and the step's
//! number, apart from the weights and moments that a checkpoint holds; so a training that goes on
//! after a stop ends with the weights of one that was never stopped. Two towers are trained one
//! after the other, so that only one with its moments is in memory.

use std::path::Path;
use std::time::{Duration, Instant};

use fit::optim::{AdamW, Hyper, Param, States, clip_factor};
use fit::schedule::learning_rate;
use fit::training_state;
use model::{Preprocessor, Vit};
use rand::Rng;
use rand::seq::SliceRandom;
use sample::degrade::KINDS;
use sample::{Reject, StageKey, interrupt, progress, seed};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::label::Part;
use crate::pictures::{Picture, Pictures};
use crate::pool::Pool;
use crate::{Criterion, Error, GradeConfig, Heads, Label};

/// How often a state to go on from is written.
const SAVE_EVERY: Duration = Duration::from_secs(300);
/// What cross-entropy leaves out.
const NO_LABEL: i64 = -100;

/// What was trained, and how it went.
pub struct Trained {
    /// Grades clarity.
    pub clarity: Vit,
    /// Grades complexity; on the same tower where `heads` is shared.
    pub complexity: Vit,
    /// How images become pixels.
    pub preprocessor: Preprocessor,
    /// What was done.
    pub summary: Summary,
    /// Training images that could not be read.
    pub rejects: Vec<Reject>,
}

/// The numbers of a training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Parameters, a shared tower counted once.
    pub parameters: i64,
    /// Images trained on.
    pub images: usize,
    /// Degraded copies among them.
    pub copies: usize,
    /// Steps of each training.
    pub steps: u64,
    /// Where it began.
    pub base: Option<String>,
}

/// An image to learn from: its picture's index and its labels, clarity first.
struct Example {
    picture: usize,
    labels: [i64; 2],
    /// Whether it is a degraded copy.
    copy: bool,
}

/// Trains on the labels whose part is [`Part::Train`]. `key` keeps the states in `folder` apart from
/// those of other trainings.
pub(crate) fn train(
    config: &GradeConfig,
    run_seed: u64,
    pool: &Pool,
    labels: &[Label],
    folder: &Path,
    key: &StageKey,
) -> Result<Trained, Error> {
    tch::set_num_threads(i32::try_from(config.threads).unwrap_or(i32::MAX));
    let device = Device::Cpu;
    let clarity = classifier(config, Criterion::Clarity, run_seed, device)?;
    let complexity = match config.heads {
        Heads::Shared => {
            let seed = seed::derive(run_seed, &["grade", "head", "complexity"]);
            clarity.sharing_tower(&Criterion::Complexity.labels(), seed)?
        }
        Heads::Separate => classifier(config, Criterion::Complexity, run_seed, device)?,
    };
    let side = usize::try_from(clarity.config().image_size).unwrap_or(1);
    let preprocessor = match &config.base {
        Some(base) => Preprocessor::load_vit(base, side)?,
        // No such file: the processor's defaults.
        None => Preprocessor::load_vit(Path::new(""), side)?,
    };
    let (pictures, examples, rejects) = examples(config, run_seed, pool, labels, &preprocessor)?;
    for criterion in Criterion::ALL {
        let at = criterion as usize;
        let classes: std::collections::BTreeSet<i64> = examples
            .iter()
            .map(|e| e.labels[at])
            .filter(|&l| l >= 0)
            .collect();
        match classes.len() {
            0 => {
                return Err(Error::Labels(format!(
                    "no image to train on has a label of {}. Drawn figures bring labels; other \
                     sources need labels = \"csv\" or \"teacher\"",
                    criterion.name()
                )));
            }
            1 => progress::note(&format!(
                "warning: all training images have {} {:?}: the grader cannot learn what others \
                 look like",
                criterion.name(),
                classes.first().copied().unwrap_or(0)
            )),
            _ => {}
        }
    }
    let counted = |vit: &Vit| {
        vit.parameters()
            .iter()
            .map(|(_, t)| t.numel() as i64)
            .sum::<i64>()
    };
    let session = Session {
        config,
        seed: run_seed,
        pictures: &pictures,
        examples: &examples,
        steps: examples.len().div_ceil(config.batch_size) as u64 * u64::from(config.epochs),
        folder,
        key,
    };
    let mut summary = Summary {
        parameters: counted(&clarity),
        images: examples.len(),
        copies: examples.iter().filter(|e| e.copy).count(),
        steps: session.steps,
        base: config.base.as_ref().map(|b| b.display().to_string()),
    };
    match config.heads {
        Heads::Shared => {
            summary.parameters += complexity
                .head_parameters()
                .map(|(_, t)| t.numel() as i64)
                .sum::<i64>();
            let both = [
                (Criterion::Clarity, &clarity),
                (Criterion::Complexity, &complexity),
            ];
            session.train(&both)?;
        }
        Heads::Separate => {
            summary.parameters += counted(&complexity);
            for one in [
                (Criterion::Clarity, &clarity),
                (Criterion::Complexity, &complexity),
            ] {
                session.train(&[one])?;
            }
        }
    }
    Ok(Trained {
        clarity,
        complexity,
        preprocessor,
        summary,
        rejects,
    })
}

/// A classifier that has not seen a label yet.
fn classifier(
    config: &GradeConfig,
    criterion: Criterion,
    run_seed: u64,
    device: Device,
) -> Result<Vit, Error> {
    let seed = seed::derive(run_seed, &["grade", "weights", criterion.name()]);
    let labels = criterion.labels();
    let mut vit = match &config.base {
        Some(base) => {
            let (vit, report) = Vit::load_base(base, &labels, seed, device)?;
            for name in report.unused.iter().take(3) {
                progress::note(&format!("note: {}: {name} is not used", base.display()));
            }
            vit
        }
        None => Vit::new(&config.fresh.vit(labels), seed, device)?,
    };
    (vit.compute, _) = config.precision.resolve(device);
    Ok(vit)
}

/// The training images with their degraded copies; unreadable ones are rejected.
fn examples(
    config: &GradeConfig,
    run_seed: u64,
    pool: &Pool,
    labels: &[Label],
    preprocessor: &Preprocessor,
) -> Result<(Pictures, Vec<Example>, Vec<Reject>), Error> {
    let rows: std::collections::HashMap<&str, &sample::ImageRow> = pool
        .rows
        .iter()
        .map(|row| (row.image.path.as_str(), row))
        .collect();
    let kinds: Vec<usize> = (0..KINDS.len())
        .filter(|&k| !config.heldout_kinds.iter().any(|held| held == KINDS[k]))
        .collect();
    let (mut pictures, mut wanted, mut rejects) = (Vec::new(), Vec::new(), Vec::new());
    for label in labels.iter().filter(|l| l.part == Part::Train) {
        let Some(row) = rows.get(label.image.as_str()) else {
            continue;
        };
        let file = match pool.file(row) {
            Ok(file) => file,
            Err(e) => {
                rejects.push(reject(label, "path_outside_root", e.to_string()));
                continue;
            }
        };
        let level = |criterion| label.get(criterion).map_or(NO_LABEL, i64::from);
        let [clarity, complexity] = Criterion::ALL.map(level);
        pictures.push(Picture {
            file: file.clone(),
            degraded: None,
        });
        wanted.push((label, [clarity, complexity]));
        let mut rng = seed::rng(run_seed, &["grade", "copy", &label.image_sha256]);
        if clarity == 1 && !kinds.is_empty() && rng.random_bool(config.degraded_copies) {
            let kind = kinds[rng.random_range(0..kinds.len())];
            pictures.push(Picture {
                file,
                degraded: Some((kind, rng.random())),
            });
            // How complex a degraded image is to a teacher is not known.
            wanted.push((label, [0, NO_LABEL]));
        }
    }
    let (pictures, faults) = Pictures::read(pictures, preprocessor)?;
    let broken: std::collections::HashSet<usize> = faults.iter().map(|(i, _)| *i).collect();
    for (index, fault) in faults {
        let label = wanted[index].0;
        if rejects
            .last()
            .is_none_or(|last: &Reject| last.row != label.image)
        {
            rejects.push(reject(label, fault.reason(), fault.to_string()));
        }
    }
    let examples: Vec<Example> = wanted
        .iter()
        .enumerate()
        .filter(|(picture, _)| !broken.contains(picture))
        .map(|(picture, (_, labels))| Example {
            picture,
            labels: *labels,
            copy: pictures.is_degraded(picture),
        })
        .collect();
    if examples.is_empty() {
        return Err(Error::Labels(
            "there is no labelled image to train on, or none could be read".to_owned(),
        ));
    }
    Ok((pictures, examples, rejects))
}

fn reject(label: &Label, reason: &str, detail: String) -> Reject {
    Reject {
        source: "labels".to_owned(),
        row: label.image.clone(),
        reason: reason.to_owned(),
        detail,
    }
}

struct Session<'a> {
    config: &'a GradeConfig,
    seed: u64,
    pictures: &'a Pictures,
    examples: &'a [Example],
    steps: u64,
    folder: &'a Path,
    key: &'a StageKey,
}

impl Session<'_> {
    /// Trains classifiers that share a tower, or one alone.
    fn train(&self, heads: &[(Criterion, &Vit)]) -> Result<(), Error> {
        let names: Vec<&str> = heads.iter().map(|(c, _)| c.name()).collect();
        let name = names.join("_and_");
        let file = format!("{name}.safetensors");
        let mut adamw = self.optimiser(heads)?;
        if training_state::load(self.folder, &file, self.key, &mut adamw)? {
            progress::note(&format!("{name}: going on from step {}", adamw.step()));
        }
        let bar = progress::bar(&name, self.steps, "steps");
        bar.inc(adamw.step());
        let mut saved = Instant::now();
        while adamw.step() < self.steps {
            if interrupt::requested() {
                training_state::save(self.folder, &file, self.key, &adamw)?;
                return Err(sample::Error::Interrupted.into());
            }
            let loss = self.step(heads, &mut adamw)?;
            bar.inc(1);
            bar.message(&format!("loss {loss:.3}"));
            if saved.elapsed() >= SAVE_EVERY {
                training_state::save(self.folder, &file, self.key, &adamw)?;
                saved = Instant::now();
            }
        }
        bar.finish();
        // The next criterion may be stopped; this one is then not trained again.
        training_state::save(self.folder, &file, self.key, &adamw)?;
        Ok(())
    }

    fn optimiser(&self, heads: &[(Criterion, &Vit)]) -> Result<AdamW, Error> {
        let mut params: Vec<Param> = Vec::new();
        for (criterion, vit) in heads {
            let own = vit.parameters().iter().filter(|(name, _)| {
                // A shared tower is listed with the first.
                params.is_empty() || vit.head_parameters().any(|(head, _)| head == name)
            });
            let own: Vec<_> = own
                .map(|(name, t)| Param {
                    name: format!("{}.{name}", criterion.name()),
                    tensor: t.shallow_clone(),
                    lr_scale: 1.0,
                })
                .collect();
            params.extend(own);
        }
        let hyper = Hyper {
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: self.config.weight_decay,
        };
        Ok(AdamW::new(params, hyper, States::Float32, self.seed)?)
    }

    /// The examples of a step: each epoch goes through all of them in an order of its own.
    fn batch(&self, step: u64) -> Vec<&Example> {
        let size = self.config.batch_size;
        let per_epoch = self.examples.len().div_ceil(size) as u64;
        let (epoch, at) = (step / per_epoch, (step % per_epoch) as usize);
        let mut order: Vec<usize> = (0..self.examples.len()).collect();
        order.shuffle(&mut seed::rng(
            self.seed,
            &["grade", "order", &epoch.to_string()],
        ));
        let end = (at + 1) * size;
        order[at * size..end.min(order.len())]
            .iter()
            .map(|&i| &self.examples[i])
            .collect()
    }

    fn step(&self, heads: &[(Criterion, &Vit)], adamw: &mut AdamW) -> Result<f64, Error> {
        let at = adamw.step();
        let batch = self.batch(at);
        let indices: Vec<usize> = batch.iter().map(|e| e.picture).collect();
        let Some((_, tower)) = heads.first() else {
            return Ok(0.0);
        };
        let pixels = self.pictures.pixels(&indices, tower.device())?;
        let features = tower.features(&pixels)?;
        let mut loss: Option<Tensor> = None;
        for (criterion, vit) in heads {
            let labels: Vec<i64> = batch
                .iter()
                .map(|e| e.labels[*criterion as usize])
                .collect();
            // The mean over no labels is no number.
            if labels.iter().all(|&l| l == NO_LABEL) {
                continue;
            }
            let labels = Tensor::f_from_slice(&labels)?.f_to_device(tower.device())?;
            let one = vit.classify(&features)?.f_cross_entropy_loss(
                &labels,
                None::<&Tensor>,
                tch::Reduction::Mean,
                NO_LABEL,
                0.0,
            )?;
            loss = Some(match loss {
                Some(sum) => sum.f_add(&one)?,
                None => one,
            });
        }
        let lr = learning_rate(
            self.config.peak_lr(),
            self.config.warmup_ratio,
            at,
            self.steps,
        );
        let Some(loss) = loss else {
            adamw.update_all(lr, 1.0)?;
            return Ok(0.0);
        };
        let value = f64::try_from(loss.f_to_kind(Kind::Double)?)?;
        finite(at, "the loss", value)?;
        loss.f_backward()?;
        let norm = adamw.gradient_norm()?;
        finite(at, "the gradient norm", norm)?;
        adamw.update_all(lr, clip_factor(norm, self.config.clip))?;
        Ok(value)
    }
}

fn finite(step: u64, what: &'static str, value: f64) -> Result<(), Error> {
    if value.is_finite() {
        Ok(())
    } else {
        Err(Error::Diverged { step, what, value })
    }
}
