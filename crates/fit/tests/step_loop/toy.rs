//! A training that takes milliseconds: a line is fitted to numbers that follow from seed and step.

use std::path::Path;

use fit::optim::{AdamW, Hyper, Param, States, clip_factor};
use fit::{Error, Evaluation, Guard, Options, Step, Summary, Task, Verdict};
use rand::Rng;
use sample::{StageKey, interrupt, seed};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

pub const STEPS: u64 = 90;

pub struct Toy {
    weight: Tensor,
    adamw: AdamW,
    /// What the state must bring back.
    pub seen: u64,
    /// The loss of these steps is multiplied by so much.
    pub leaps: Vec<(u64, f64)>,
    /// The gradient of this step is no number.
    pub bad_gradient: Option<u64>,
    /// Scores of the evaluations in turn; afterwards the last.
    pub scores: Vec<f64>,
    /// A stop is asked for in this step, or while it waits for data.
    pub stop: Option<(u64, Stop)>,
    pub evaluations: Vec<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Within,
    Waiting,
    Evaluating,
}

impl Toy {
    pub fn new() -> Toy {
        tch::set_num_threads(1);
        let new =
            |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let (weight, bias, ballast) = (new(&[6, 3]), new(&[3]), new(&[300, 100]));
        let params =
            [("weight", &weight), ("bias", &bias), ("ballast", &ballast)].map(|(name, tensor)| {
                Param {
                    name: name.to_owned(),
                    tensor: tensor.shallow_clone(),
                    lr_scale: 1.0,
                }
            });
        let hyper = Hyper {
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.1,
        };
        let adamw = AdamW::new(params.into(), hyper, States::Float32, 1).unwrap();
        Toy {
            weight,
            adamw,
            seen: 0,
            leaps: Vec::new(),
            bad_gradient: None,
            scores: Vec::new(),
            stop: None,
            evaluations: Vec::new(),
        }
    }

    pub fn weights(&self) -> Vec<Vec<u8>> {
        let bytes = |t: &Tensor| {
            let mut bytes = vec![0; t.numel() * 4];
            t.copy_data_u8(&mut bytes, t.numel());
            bytes
        };
        self.adamw.params().map(|p| bytes(&p.tensor)).collect()
    }

    fn stops(&self, at: u64, how: Stop) -> bool {
        self.stop == Some((at, how))
    }
}

impl Task for Toy {
    type Error = Error;

    fn optimiser(&mut self) -> &mut AdamW {
        &mut self.adamw
    }

    fn step(&mut self, at: u64, lr: f64, guard: &mut Guard) -> Result<Step, Error> {
        if self.stops(at, Stop::Waiting) {
            interrupt::request();
            interrupt::check()?;
        }
        if self.stops(at, Stop::Within) {
            interrupt::request();
        }
        let mut rng = seed::rng(3, &["toy", &at.to_string()]);
        let x: Vec<f32> = (0..24).map(|_| rng.random_range(-1.0..1.0)).collect();
        let x = Tensor::from_slice(&x).reshape([4, 6]);
        let y = x.narrow(1, 0, 3) * 2.0;
        let (bias, ballast) = {
            let mut rest = self
                .adamw
                .params()
                .skip(1)
                .map(|p| p.tensor.shallow_clone());
            (rest.next().unwrap(), rest.next().unwrap())
        };
        let out = x.matmul(&self.weight) + bias;
        let mut loss = (out - y).square().mean(Kind::Float) + ballast.square().mean(Kind::Float);
        if let Some((_, factor)) = self.leaps.iter().find(|(step, _)| *step == at) {
            loss *= *factor;
        }
        let value = loss.double_value(&[]);
        let step = |grad_norm: f64, skipped: bool| Step {
            epoch: at / 40,
            loss: value,
            grad_norm,
            samples: 4,
            tokens: 24,
            labels: 12,
            flops: 1e6,
            data_seconds: 0.0,
            waited_seconds: 0.0,
            skipped,
        };
        if guard.loss(value)? == Verdict::Skip {
            return Ok(step(0.0, true));
        }
        loss.backward();
        let norm = if self.bad_gradient == Some(at) {
            f64::INFINITY
        } else {
            self.adamw.gradient_norm()?
        };
        guard.gradient_norm(norm)?;
        self.adamw.update_all(lr, clip_factor(norm, 1.0))?;
        self.seen += 4;
        Ok(step(norm, false))
    }

    fn members(&mut self, at: u64) -> Vec<String> {
        (0..4).map(|i| format!("toy:{}", 4 * at + i)).collect()
    }

    fn evaluate(&mut self, steps: u64) -> Result<Option<Evaluation>, Error> {
        if self.stops(steps, Stop::Evaluating) {
            interrupt::request();
            interrupt::check()?;
        }
        self.evaluations.push(steps);
        let next = (self.evaluations.len() - 1).min(self.scores.len().saturating_sub(1));
        let score = self
            .scores
            .get(next)
            .copied()
            .unwrap_or_else(|| -self.weight.square().sum(Kind::Double).double_value(&[]));
        Ok(Some(Evaluation {
            score,
            values: [("accuracy".to_owned(), score / 2.0)].into(),
            answers: vec![json!({"question": "?", "answer": steps})],
        }))
    }

    fn state(&self) -> Value {
        json!({"seen": self.seen})
    }

    fn restore(&mut self, state: &Value) -> Result<(), Error> {
        self.seen = state["seen"].as_u64().unwrap();
        Ok(())
    }
}

pub fn options() -> Options {
    Options {
        title: "toy".to_owned(),
        steps: STEPS,
        lr: 0.05,
        warmup_ratio: 0.1,
        checkpoint_steps: 1,
        checkpoint_seconds: 0,
        keep_last: 2,
        // Several shards, and the ballast alone in some.
        shard_bytes: 100_000,
        eval_steps: 20,
        ..Options::default()
    }
}

pub fn key() -> StageKey {
    StageKey::new("toy", 3, json!({"lr": 0.05, "model": {"width": 6}})).input("data", "aa")
}

pub fn run(toy: &mut Toy, options: &Options, folder: &Path) -> Result<Summary, Error> {
    sample::progress::set_quiet(true);
    fit::run(toy, options, folder, &key())
}

/// A run that is never stopped: its weights and the records that must be the same however often
/// another is.
pub fn whole(options: &Options) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let mut toy = Toy::new();
    let seldom = Options {
        checkpoint_steps: 0,
        tensorboard: false,
        ..options.clone()
    };
    run(&mut toy, &seldom, dir.path()).unwrap();
    (toy.weights(), records(dir.path()))
}

pub fn records(folder: &Path) -> Vec<Vec<u8>> {
    ["metrics.jsonl", "evaluations.jsonl"]
        .map(|name| std::fs::read(folder.join(name)).unwrap())
        .into()
}

/// The steps of which there are checkpoints.
pub fn checkpoints(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder.join("checkpoint"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
