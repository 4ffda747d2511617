//! Training the two classifiers: cross-entropy, AdamW, warm-up and cosine.
//!
//! **Invariant:** what a step does follows from the seed, the labels, the settings and the step's
//! number, apart from the weights and moments that a checkpoint holds; so a training that goes on
//! after a stop ends with the weights of one that was never stopped. Two towers are trained one
//! after the other, so that only one with its moments is in memory.

use std::path::Path;
use std::time::Instant;

use fit::optim::{AdamW, Hyper, Param, States, clip_factor};
use fit::{Guard, Options, Step, Verdict};
use model::{Preprocessor, Vit};
use rand::Rng;
use rand::seq::SliceRandom;
use sample::degrade::KINDS;
use sample::{Reject, StageKey, progress, seed};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use crate::label::Part;
use crate::pictures::{Picture, Pictures};
use crate::pool::Pool;
use crate::{Criterion, Error, GradeConfig, Heads, Label};

/// How often a state to go on from is written, in seconds.
const SAVE_EVERY: u64 = 300;
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
    /// Its path, for messages.
    image: String,
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
        .map(|(picture, (label, labels))| Example {
            picture,
            image: label.image.clone(),
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

/// Everything recorded and saved of the trainings, below the stage's folder: a folder each.
const RECORDS: &str = "training";

/// Removes the checkpoints of the trainings; what is recorded of them stays.
pub(crate) fn remove_checkpoints(out: &Path) -> Result<(), Error> {
    let entries = match std::fs::read_dir(out.join(RECORDS)) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(sample::Error::io(out.join(RECORDS), e).into()),
    };
    for entry in entries {
        let entry = entry.map_err(|e| sample::Error::io(out.join(RECORDS), e))?;
        fit::checkpoint::remove(&entry.path())?;
    }
    Ok(())
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

/// The training of classifiers that share a tower, or of one alone.
struct Training<'a> {
    session: &'a Session<'a>,
    heads: &'a [(Criterion, &'a Vit)],
    adamw: AdamW,
}

impl fit::Task for Training<'_> {
    type Error = Error;

    fn optimiser(&mut self) -> &mut AdamW {
        &mut self.adamw
    }

    fn step(&mut self, at: u64, lr: f64, guard: &mut Guard) -> Result<Step, Error> {
        self.session
            .step(self.heads, &mut self.adamw, at, lr, guard)
    }

    fn members(&mut self, at: u64) -> Vec<String> {
        let name = |example: &&Example| {
            if example.copy {
                format!("{} (degraded)", example.image)
            } else {
                example.image.clone()
            }
        };
        self.session.batch(at).iter().map(name).collect()
    }
}

impl Session<'_> {
    /// Trains classifiers that share a tower, or one alone.
    fn train(&self, heads: &[(Criterion, &Vit)]) -> Result<(), Error> {
        let names: Vec<&str> = heads.iter().map(|(c, _)| c.name()).collect();
        let title = names.join("_and_");
        let folder = self.folder.join(RECORDS).join(&title);
        let options = Options {
            title,
            steps: self.steps,
            lr: self.config.peak_lr(),
            warmup_ratio: self.config.warmup_ratio,
            checkpoint_seconds: SAVE_EVERY,
            // The next criterion may be stopped; this one is then not trained again.
            checkpoint_end: true,
            ..Options::default()
        };
        let mut training = Training {
            session: self,
            heads,
            adamw: self.optimiser(heads)?,
        };
        fit::run(&mut training, &options, &folder, self.key)?;
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

    fn steps_per_epoch(&self) -> u64 {
        self.examples.len().div_ceil(self.config.batch_size) as u64
    }

    /// The examples of a step: each epoch goes through all of them in an order of its own.
    fn batch(&self, step: u64) -> Vec<&Example> {
        let size = self.config.batch_size;
        let per_epoch = self.steps_per_epoch();
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

    fn step(
        &self,
        heads: &[(Criterion, &Vit)],
        adamw: &mut AdamW,
        at: u64,
        lr: f64,
        guard: &mut Guard,
    ) -> Result<Step, Error> {
        let batch = self.batch(at);
        let indices: Vec<usize> = batch.iter().map(|e| e.picture).collect();
        let mut step = Step {
            epoch: at / self.steps_per_epoch(),
            samples: batch.len(),
            ..Step::default()
        };
        let Some((_, tower)) = heads.first() else {
            return Ok(step);
        };
        let waiting = Instant::now();
        let pixels = self.pictures.pixels(&indices, tower.device())?;
        step.data_seconds = waiting.elapsed().as_secs_f64();
        let features = tower.features(&pixels)?;
        let mut loss: Option<Tensor> = None;
        for (criterion, vit) in heads {
            let labels: Vec<i64> = batch
                .iter()
                .map(|e| e.labels[*criterion as usize])
                .collect();
            let labelled = labels.iter().filter(|&&l| l != NO_LABEL).count();
            step.labels += labelled;
            // The mean over no labels is no number.
            if labelled == 0 {
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
        let Some(loss) = loss else {
            adamw.update_all(lr, 1.0)?;
            return Ok(step);
        };
        step.loss = f64::try_from(loss.f_to_kind(Kind::Double)?)?;
        if guard.loss(step.loss)? == Verdict::Skip {
            step.skipped = true;
            return Ok(step);
        }
        loss.f_backward()?;
        step.grad_norm = adamw.gradient_norm()?;
        guard.gradient_norm(step.grad_norm)?;
        adamw.update_all(lr, clip_factor(step.grad_norm, self.config.clip))?;
        Ok(step)
    }
}
