//! The tower's own training, before the decoder joins in.
//!
//! LLaVA begins with CLIP, which 400 million captions have taught to see. A model from scratch has
//! no such tower, and a decoder that is trained together with a blind one learns to do without it.
//! So the tower and the projector first learn, alone, to tell *facts* about each image: for each
//! form of question its answer, and for drawn figures what the scene says. Each kind of fact has a
//! query that looks over the image's features and a small linear head; both are thrown away
//! afterwards. A step costs a tenth of one with the decoder.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use c10d::Group;
use fit::optim::{AdamW, Hyper, Param, States, clip_factor};
use fit::schedule::learning_rate;
use fit::{Guard, Options, Step, Task, Verdict};
use model::{Llava, ModelPart};
use rand::Rng;
use rand::seq::SliceRandom;
use sample::{Sample, StageKey, interrupt, progress, seed};
use tch::{Kind, Tensor};

use crate::data::Images;
use crate::engine::{Clipping, Exchange, Gradients, Trained};
use crate::loader::share;
use crate::{ClipBy, Error, TowerConfig, TrainConfig};

/// What is known about images beyond their questions: image path to (kind of fact, value).
pub type Facts = BTreeMap<String, Vec<(String, String)>>;

/// Below the stage's folder: what is recorded of the tower's training, and its checkpoints.
pub const FOLDER: &str = "tower";
/// Share of the steps over which the learning rate rises.
const WARM_UP: f64 = 0.05;

/// Answers told apart for each kind of fact; rarer ones are left out.
const VALUES: usize = 24;

/// Facts as numbers.
#[derive(Debug, PartialEq, Eq)]
pub struct Labels {
    /// Of each image, by its index: (kind, value within the kind).
    of_image: Vec<Vec<(i64, i64)>>,
    /// How often each value of each kind occurs; 0 where a kind has fewer values.
    counts: Vec<[u32; VALUES]>,
}

impl Labels {
    /// Collects the facts of `images` (paths in the images' order): the answers of `samples` by
    /// their template, and `facts`.
    pub fn new(images: &[String], samples: &[Sample], facts: &Facts, min_images: usize) -> Labels {
        let index: HashMap<&str, usize> = images
            .iter()
            .enumerate()
            .map(|(i, path)| (path.as_str(), i))
            .collect();
        let mut known: Vec<Vec<(&str, String)>> = vec![Vec::new(); images.len()];
        for sample in samples {
            let at = index.get(sample.image.path.as_str());
            if let (Some(&at), Some(template)) = (at, sample.template.as_deref()) {
                known[at].push((template, sample.answer_value()));
            }
        }
        for (path, list) in facts {
            if let Some(&at) = index.get(path.as_str()) {
                known[at].extend(
                    list.iter()
                        .map(|(kind, value)| (kind.as_str(), value.clone())),
                );
            }
        }
        let mut kinds: BTreeMap<&str, BTreeMap<&str, u32>> = BTreeMap::new();
        for (kind, value) in known.iter().flatten() {
            *kinds.entry(kind).or_default().entry(value).or_default() += 1;
        }
        let mut counts = Vec::new();
        let mut place: HashMap<(&str, &str), (i64, i64)> = HashMap::new();
        for (kind, values) in &kinds {
            let mut ranked: Vec<(&str, u32)> = values.iter().map(|(v, n)| (*v, *n)).collect();
            // The frequent first; ties by name, so that the order is the same every time.
            ranked.sort_by_key(|(value, n)| (std::cmp::Reverse(*n), *value));
            ranked.truncate(VALUES);
            let enough = ranked.iter().map(|(_, n)| *n as usize).sum::<usize>() >= min_images;
            if ranked.len() < 2 || !enough {
                continue;
            }
            let mut row = [0; VALUES];
            for (i, (value, n)) in ranked.iter().enumerate() {
                row[i] = *n;
                place.insert((kind, value), (counts.len() as i64, i as i64));
            }
            counts.push(row);
        }
        let of_image = known
            .iter()
            .map(|list| {
                list.iter()
                    .filter_map(|(k, v)| place.get(&(*k, v.as_str())).copied())
                    .collect()
            })
            .collect();
        Labels { of_image, counts }
    }

    /// How many kinds of fact there are to learn.
    pub fn kinds(&self) -> usize {
        self.counts.len()
    }
}

/// What is thrown away afterwards.
struct Heads {
    /// What to look for, [kinds, hidden].
    query: Tensor,
    /// What each value looks like, [kinds, VALUES * hidden].
    value: Tensor,
    /// Begins with the log of each value's count, [kinds, VALUES].
    bias: Tensor,
}

impl Heads {
    fn new(labels: &Labels, hidden: i64, run_seed: u64) -> Result<Heads, Error> {
        let kinds = labels.kinds() as i64;
        let random = |name: &str, columns: i64| -> Result<Tensor, Error> {
            let mut rng = seed::rng(run_seed, &["train", "tower", name]);
            // Uniform with standard deviation 0.02.
            let half = 0.02 * 3f32.sqrt();
            let values: Vec<f32> = (0..kinds * columns)
                .map(|_| rng.random_range(-half..half))
                .collect();
            let tensor = Tensor::f_from_slice(&values)?.f_reshape([kinds, columns])?;
            Ok(tensor.f_set_requires_grad(true)?)
        };
        // A value that a kind does not have must never be guessed.
        let log = |n: &u32| if *n == 0 { -1e4 } else { (*n as f32).ln() };
        let bias: Vec<f32> = labels.counts.iter().flatten().map(log).collect();
        Ok(Heads {
            query: random("query", hidden)?,
            value: random("value", VALUES as i64 * hidden)?,
            bias: Tensor::f_from_slice(&bias)?
                .f_reshape([kinds, VALUES as i64])?
                .f_set_requires_grad(true)?,
        })
    }

    /// Mean cross-entropy over the facts of a batch. `features` [images, patches, hidden]; `kind`
    /// and `value` [images, facts], filled up to the same count of facts; `weight` [images, facts]
    /// sums to 1 and is 0 where filled up.
    fn loss(
        &self,
        features: &Tensor,
        kind: &Tensor,
        value: &Tensor,
        weight: &Tensor,
    ) -> Result<Tensor, Error> {
        let (images, hidden) = (features.size()[0], features.size()[2]);
        let facts = kind.size()[1];
        let features = features.f_to_kind(Kind::Float)?.f_layer_norm(
            [hidden],
            None::<&Tensor>,
            None::<&Tensor>,
            1e-5,
            true,
        )?;
        let flat = kind.f_flatten(0, 1)?;
        let query = self
            .query
            .f_index_select(0, &flat)?
            .f_reshape([images, facts, hidden])?;
        let looked = query.f_matmul(&features.f_transpose(1, 2)?)?; // [images, facts, patches]
        let looked = looked.f_softmax(-1, Kind::Float)?;
        let seen = looked.f_matmul(&features)?.f_reshape([-1, hidden, 1])?; // [all facts, hidden, 1]
        let values = self
            .value
            .f_index_select(0, &flat)?
            .f_reshape([-1, VALUES as i64, hidden])?;
        let logits = values.f_matmul(&seen)?.f_squeeze_dim(2)?; // [all facts, VALUES]
        let logits = logits.f_add(&self.bias.f_index_select(0, &flat)?)?;
        let losses = logits.f_log_softmax(-1, Kind::Float)?;
        let losses = losses.f_gather(1, &value.f_reshape([-1, 1])?, false)?;
        Ok(losses
            .f_flatten(0, 1)?
            .f_dot(&weight.f_flatten(0, 1)?)?
            .f_neg()?)
    }
}

/// The facts of some images, of a step that has `all` facts, as the tensors [`Heads::loss`] takes: kind, value,
/// weight.
fn collate(lists: &[&[(i64, i64)]], all: usize) -> Result<[Tensor; 3], Error> {
    let longest = lists.iter().map(|list| list.len()).max().unwrap_or(0);
    let cells = lists.len() * longest;
    let (mut kind, mut value) = (vec![0i64; cells], vec![0i64; cells]);
    let mut weight = vec![0f32; cells];
    for (i, list) in lists.iter().enumerate() {
        for (j, fact) in list.iter().enumerate() {
            (kind[i * longest + j], value[i * longest + j]) = *fact;
            weight[i * longest + j] = 1.0 / all as f32;
        }
    }
    let shape = [lists.len() as i64, longest as i64];
    Ok([
        Tensor::f_from_slice(&kind)?.f_reshape(shape)?,
        Tensor::f_from_slice(&value)?.f_reshape(shape)?,
        Tensor::f_from_slice(&weight)?.f_reshape(shape)?,
    ])
}

/// Trains the tower and the projector of `model`, going on from the checkpoint in the stage's folder where there is
/// one of its key, and leaves a checkpoint of the end, from which the joint training begins. Of several ranks
/// each looks at its part of every step's images.
/// Does nothing where there is nothing to learn from.
pub fn train(
    config: &TrainConfig,
    run_seed: u64,
    model: &Llava,
    images: &Images,
    labels: &Labels,
    place: Option<(&Path, &StageKey)>,
    group: &Rc<Group>,
) -> Result<(), Error> {
    let own: &TowerConfig = &config.tower;
    let useful: Vec<usize> = (0..images.len())
        .filter(|&i| labels.of_image.get(i).is_some_and(|l| !l.is_empty()))
        .collect();
    if own.steps == 0 || useful.is_empty() {
        return Ok(());
    }
    let hidden = model.config().text_config.hidden_size;
    let heads = Heads::new(labels, hidden, run_seed)?;
    let seen = |name: &str| {
        name.starts_with("vision_tower.") || name.starts_with("multi_modal_projector.")
    };
    let slots = model
        .parameters()
        .iter()
        .filter(|(name, _)| seen(name))
        .map(|(name, tensor)| (name.clone(), tensor.shallow_clone(), 1.0))
        .chain([
            (
                "heads.query".to_owned(),
                heads.query.shallow_clone(),
                own.head_lr_scale,
            ),
            (
                "heads.value".to_owned(),
                heads.value.shallow_clone(),
                own.head_lr_scale,
            ),
            ("heads.bias".to_owned(), heads.bias.shallow_clone(), 1.0),
        ])
        .map(|(name, tensor, lr_scale)| Param {
            name,
            tensor,
            lr_scale,
        })
        .collect();
    let hyper = Hyper {
        betas: [0.9, 0.98],
        eps: config.eps,
        weight_decay: 0.0,
    };
    let adamw = AdamW::among(slots, hyper, States::Float32, run_seed, Rc::clone(group))?;
    // A tower that is frozen afterwards learns here all the same.
    let frozen: Vec<Tensor> = adamw
        .params()
        .filter(|param| !param.tensor.requires_grad())
        .map(|param| param.tensor.shallow_clone())
        .collect();
    for tensor in &frozen {
        let _ = tensor.f_set_requires_grad(true)?;
    }
    progress::note(&format!(
        "the tower learns alone first: {} steps of {} images, {} kinds of fact",
        own.steps,
        own.batch_images,
        labels.kinds()
    ));
    let mut training = Training {
        run_seed,
        clip: config.clip,
        size: own.batch_images.min(useful.len()),
        model,
        images,
        labels,
        useful,
        heads,
        adamw,
    };
    match place {
        Some((folder, key)) => {
            let options = Options {
                title: FOLDER.to_owned(),
                steps: own.steps,
                lr: own.lr,
                warmup_ratio: WARM_UP,
                checkpoint_steps: config.checkpoint_steps,
                checkpoint_seconds: config.checkpoint_seconds,
                // The joint training begins from it.
                checkpoint_end: true,
                ..Options::default()
            };
            fit::run(&mut training, &options, &folder.join(FOLDER), key)?;
        }
        // Tried for its time only.
        None => {
            let mut guard = Guard::new(0.0, false);
            for at in 0..own.steps {
                interrupt::check()?;
                let lr = learning_rate(own.lr, WARM_UP, at, own.steps);
                training.step(at, lr, &mut guard)?;
            }
        }
    }
    for tensor in &frozen {
        let _ = tensor.f_set_requires_grad(false)?;
    }
    Ok(())
}

/// The tower with its heads, between two steps.
struct Training<'a> {
    run_seed: u64,
    clip: f64,
    /// Images per step.
    size: usize,
    model: &'a Llava,
    images: &'a Images,
    labels: &'a Labels,
    /// The images of which something is known.
    useful: Vec<usize>,
    heads: Heads,
    adamw: AdamW,
}

impl Task for Training<'_> {
    type Error = Error;

    fn optimiser(&mut self) -> &mut AdamW {
        &mut self.adamw
    }

    fn step(&mut self, at: u64, lr: f64, guard: &mut Guard) -> Result<Step, Error> {
        let batch = batch(self.run_seed, at, self.size, &self.useful);
        let facts = |images: &[usize]| -> Vec<&[(i64, i64)]> {
            let lists = images.iter().map(|&i| self.labels.of_image[i].as_slice());
            lists.collect()
        };
        let all: usize = facts(&batch).iter().map(|list| list.len()).sum();
        let group = Rc::clone(self.adamw.group());
        let costs = vec![1; batch.len()];
        let own = share(&costs, group.rank(), group.world()).into_iter();
        let own: Vec<usize> = own.map(|place| batch[place]).collect();
        let waiting = Instant::now();
        let pixels = match own.is_empty() {
            true => Ok(None),
            false => self.images.pixels(&own, self.model.device()).map(Some),
        };
        let data_seconds = waiting.elapsed().as_secs_f64();
        let mut exchange = Exchange::new(&group);
        let loss = match fit::ranks::together(&group, pixels)? {
            Some(pixels) => {
                let [kind, value, weight] = collate(&facts(&own), all)?;
                let features = self.model.image_features(&pixels)?;
                Some(self.heads.loss(&features, &kind, &value, &weight)?)
            }
            None => None,
        };
        let own_loss = match &loss {
            Some(loss) => f64::try_from(loss)?,
            None => 0.0,
        };
        let mut step = Step {
            epoch: at / steps_per_pass(self.size, &self.useful),
            loss: exchange.sums(&[own_loss])?.iter().sum(),
            samples: batch.len(),
            labels: all,
            data_seconds,
            ..Step::default()
        };
        if guard.loss(step.loss)? == Verdict::Skip {
            step.skipped = true;
            return Ok(step);
        }
        if group.world() > 1 {
            step.grad_norm = self.update_together(loss, lr, &mut exchange, guard)?;
            step.waited_seconds = exchange.waited();
            return Ok(step);
        }
        if let Some(loss) = loss {
            loss.f_backward()?;
        }
        step.grad_norm = self.adamw.gradient_norm()?;
        guard.gradient_norm(step.grad_norm)?;
        self.adamw
            .update_all(lr, clip_factor(step.grad_norm, self.clip))?;
        Ok(step)
    }

    fn members(&mut self, at: u64) -> Vec<String> {
        batch(self.run_seed, at, self.size, &self.useful)
            .iter()
            .map(|&i| self.images.file(i).display().to_string())
            .collect()
    }
}

impl Training<'_> {
    /// One update by the gradients of all ranks' losses; their norm before clipping.
    fn update_together(
        &mut self,
        loss: Option<Tensor>,
        lr: f64,
        exchange: &mut Exchange<'_>,
        guard: &mut Guard,
    ) -> Result<f64, Error> {
        let part = ModelPart::Tower;
        let params = self.adamw.params();
        let named = params.map(|p| (p.name.clone(), p.tensor.shallow_clone(), part));
        let trained = Trained::new(named.collect());
        let mut gradients = Gradients::new(trained.len());
        if let Some(loss) = loss {
            gradients.add(&trained, &trained.of(part), &loss, None, None)?;
        }
        exchange.reduce(&trained, part, &mut gradients)?;
        self.adamw.begin(lr);
        let mut clipping = Clipping::new(ClipBy::Global, self.clip, None);
        clipping.update_all_summed(&mut self.adamw, &trained, exchange, guard)?;
        exchange.finish(&trained)?;
        Ok(clipping.norm())
    }
}

/// Steps of one pass over `images`.
fn steps_per_pass(size: usize, images: &[usize]) -> u64 {
    (images.len() / size.max(1)).max(1) as u64
}

/// The images of a step: each pass goes through all of them in an order of its own; what is left
/// over at a pass's end, less than a batch, is left out of it.
fn batch(run_seed: u64, step: u64, size: usize, images: &[usize]) -> Vec<usize> {
    let size = size.min(images.len());
    let per_pass = steps_per_pass(size, images);
    let mut order = images.to_vec();
    let pass = (step / per_pass).to_string();
    order.shuffle(&mut seed::rng(run_seed, &["train", "tower", "pass", &pass]));
    let start = (step % per_pass) as usize * size;
    order[start..start + size].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sample::{Answer, ImageRef, Origin, Task};

    fn sample(image: &str, template: &str, answer: &str) -> Sample {
        Sample {
            id: format!("{image}{template}"),
            image: ImageRef {
                path: image.into(),
                sha256: String::new(),
                width: 9,
                height: 9,
            },
            question: "?".into(),
            choices: Vec::new(),
            answer: Answer::Text(answer.into()),
            unit: None,
            rationale: None,
            task: Task::Fqa,
            language: "en".into(),
            origin: Origin::Source {
                source: "s".into(),
                row: "r".into(),
            },
            template: Some(template.into()),
        }
    }

    #[test]
    fn facts_that_tell_nothing_apart_are_left_out() {
        let images: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let samples = [
            sample("a", "colour", "red"),
            sample("b", "colour", "red"),
            sample("c", "colour", "blue"),
            sample("a", "always", "yes"),
            sample("b", "always", "yes"),
            sample("a", "rare", "1"),
            sample("nowhere", "colour", "red"),
        ];
        let facts: Facts = [(
            "c".to_owned(),
            vec![("colour".to_owned(), "red".to_owned())],
        )]
        .into();
        let labels = Labels::new(&images, &samples, &facts, 3);
        assert_eq!(labels.kinds(), 1);
        assert_eq!(
            labels.of_image,
            [vec![(0, 0)], vec![(0, 0)], vec![(0, 1), (0, 0)]]
        );
        assert_eq!(labels.counts[0][..3], [3, 1, 0]);
        assert_eq!(Labels::new(&images, &samples, &facts, 5).kinds(), 0);
    }

    #[test]
    fn a_pass_shows_every_image_once() {
        let images: Vec<usize> = (0..12).collect();
        let mut seen: Vec<usize> = (0..3).flat_map(|step| batch(1, step, 4, &images)).collect();
        seen.sort_unstable();
        assert_eq!(seen, images);
        assert_ne!(batch(1, 0, 12, &images), batch(1, 1, 12, &images));
        assert_eq!(batch(1, 5, 99, &images).len(), 12);
    }
}
