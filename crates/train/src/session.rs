//! A model with its optimiser and data, between two steps.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use c10d::Group;
use fit::optim::{AdamW, Hyper, Param};
use fit::{Evaluation, Guard, Step, Task};
use model::{FrozenTower, Llava, ModelPart, Placement};
use sample::{Reject, progress};
use serde_json::{Value, json};

use crate::data::Data;
use crate::engine::{Engine, How, TrainedParts, Visual, step_flops};
use crate::evaluation::{Judge, Questions};
use crate::features::Features;
use crate::loader::Loader;
use crate::packing::StepBatch;
use crate::{Error, TrainConfig, Update};

/// The joint training of tower, projector and decoder, as far as each is trained.
pub struct Session<'a> {
    config: &'a TrainConfig,
    pub(crate) model: Llava,
    optimiser: AdamW,
    engine: Engine,
    group: Rc<Group>,
    pub(crate) loader: Loader,
    /// Of a tower that stays as it is.
    features: Option<Arc<Features>>,
    trained: TrainedParts,
    pub(crate) placement: Placement,
    questions: Option<Questions>,
    judge: Option<&'a Judge<'a>>,
    packed_tower: std::cell::OnceCell<FrozenTower>,
    /// Pairs left out that every rank knows of.
    known_rejects: usize,
    /// Of the data, which must not change under a run.
    digest: String,
}

impl<'a> Session<'a> {
    /// Nothing is trained yet. `features` is for a tower that is not trained.
    pub fn new(
        config: &'a TrainConfig,
        run_seed: u64,
        model: Llava,
        data: Arc<Data>,
        placement: Placement,
        features: Option<Arc<Features>>,
        group: &Rc<Group>,
    ) -> Result<Session<'a>, Error> {
        let optimiser = optimiser(config, &model, run_seed, group)?;
        if optimiser.params().len() == 0 {
            return Err(Error::Config(
                "tower, projector and decoder are all frozen: there is nothing to train".into(),
            ));
        }
        let trainable = model.trainable();
        let has = |wanted: fn(&ModelPart) -> bool| trainable.iter().any(|(_, _, p)| wanted(p));
        let trained = TrainedParts {
            tower: has(|part| *part == ModelPart::Tower),
            decoder: config.lora.is_none() && has(|part| matches!(part, ModelPart::Layer(_))),
        };
        Ok(Session {
            engine: Engine::among(
                &model,
                How::new(config, run_seed).of_rank(group.rank()),
                Rc::clone(group),
            ),
            loader: Loader::of_rank(
                Arc::clone(&data),
                config,
                run_seed,
                features.clone(),
                (group.rank(), group.world()),
            )?,
            group: Rc::clone(group),
            config,
            model,
            optimiser,
            features,
            trained,
            placement,
            questions: None,
            judge: None,
            packed_tower: std::cell::OnceCell::new(),
            known_rejects: 0,
            digest: data.digest(),
        })
    }

    /// Held-out questions to ask while training, and who decides about replies.
    pub fn evaluate_with(&mut self, questions: Questions, judge: Option<&'a Judge<'a>>) {
        progress::note(&format!(
            "{} held-out questions are asked every {} steps",
            questions.len(),
            self.config.eval_steps
        ));
        (self.questions, self.judge) = (Some(questions), judge);
    }

    /// Trained parameters.
    pub fn trained_parameters(&self) -> u64 {
        let numbers = self.optimiser.params().map(|param| param.tensor.numel());
        numbers.sum::<usize>() as u64
    }

    /// Features of a tower that stays as it is. A CPU packs its weights once, when the first image comes
    /// that is not kept, unless memory matters more: packed they are there twice.
    fn tower(&self, pixels: &tch::Tensor) -> Result<tch::Tensor, Error> {
        let device = self.placement.device;
        if device != tch::Device::Cpu || self.config.update == Update::Layerwise {
            let pixels = pixels.f_to_device(device)?;
            return Ok(tch::no_grad(|| self.model.tower_features(&pixels))?);
        }
        let packed = match self.packed_tower.get() {
            Some(packed) => packed,
            None => {
                let packed = self.model.frozen_tower()?;
                self.packed_tower.get_or_init(|| packed)
            }
        };
        Ok(packed.features(pixels)?)
    }

    /// Adds up the ranks' batches. Pairs that any of them had to leave out are told to all: a checkpoint has
    /// the same of every rank.
    fn whole(&mut self, batch: &StepBatch, flops: f64) -> Result<Whole, Error> {
        let rejects = self.loader.rejects();
        let fresh = rejects.get(self.known_rejects..).unwrap_or_default();
        let own = [
            batch.weight,
            batch.pairs as f64,
            batch.tokens as f64,
            batch.labels as f64,
            flops,
            fresh.len() as f64,
        ];
        let sums = self.group.sums(&own)?;
        let [weight, pairs, tokens, labels, flops, left_out] = sums[..] else {
            return Err(Error::Config("ranks told each other nothing".to_owned()));
        };
        if left_out > 0.0 && self.group.world() > 1 {
            let text = serde_json::to_vec(fresh).map_err(|e| Error::Data(e.to_string()))?;
            let mut all = rejects
                .get(..self.known_rejects)
                .unwrap_or_default()
                .to_vec();
            for told in self.group.gather(&text)? {
                let told: Vec<Reject> = serde_json::from_slice(&told)
                    .map_err(|e| Error::Data(format!("what another rank left out: {e}")))?;
                all.extend(told);
            }
            self.loader.restore_rejects(all);
        }
        self.known_rejects = self.loader.rejects().len();
        Ok(Whole {
            weight,
            pairs: pairs as usize,
            tokens: tokens as usize,
            labels: labels as usize,
            flops,
        })
    }

    fn visual(&self, batch: &StepBatch) -> Result<Visual, Error> {
        if batch.images.is_empty() {
            return Ok(Visual::Nothing);
        }
        let device = self.placement.device;
        match &self.features {
            Some(features) => {
                let compute = |pixels: &tch::Tensor| self.tower(pixels);
                let gathered = features.gather(batch, compute)?;
                Ok(Visual::Features(gathered.f_to_device(device)?))
            }
            None => match &batch.pixels {
                Some(pixels) => Ok(Visual::Pixels(pixels.f_to_device(device)?)),
                None => Ok(Visual::Nothing),
            },
        }
    }
}

impl Task for Session<'_> {
    type Error = Error;

    fn optimiser(&mut self) -> &mut AdamW {
        &mut self.optimiser
    }

    fn step(&mut self, at: u64, lr: f64, guard: &mut Guard) -> Result<Step, Error> {
        let loaded = self.loader.next(at);
        let data_seconds = self.loader.waited();
        let waiting = Instant::now();
        let mut batch = fit::ranks::together(&self.group, loaded)?;
        let encoded = match &self.features {
            Some(_) => batch.pixels_of.len(),
            None => batch.images.len(),
        };
        let flops = step_flops(self.model.config(), &batch, encoded, self.trained);
        let whole = self.whole(&batch, flops)?;
        let waited = waiting.elapsed().as_secs_f64();
        let mut step = Step {
            epoch: self.loader.place(at).0,
            samples: whole.pairs,
            tokens: whole.tokens,
            labels: whole.labels,
            flops: whole.flops,
            data_seconds,
            waited_seconds: if self.group.world() > 1 { waited } else { 0.0 },
            ..Step::default()
        };
        // None of its images could be read.
        if whole.weight == 0.0 {
            step.skipped = true;
            return Ok(step);
        }
        let device = self.placement.device;
        for micro in &mut batch.micro {
            *micro = micro.to_device(device)?;
            if self.group.world() > 1 {
                // Of a step whose labels weigh 1 over all ranks.
                let share = batch.weight / whole.weight;
                micro.edge_weight = micro.edge_weight.f_mul_scalar(share)?;
            }
        }
        let visual = fit::ranks::together(&self.group, self.visual(&batch))?;
        let out = self.engine.step(
            &self.model,
            &mut self.optimiser,
            (&batch, &visual),
            (at, lr),
            guard,
        )?;
        (step.loss, step.grad_norm, step.skipped) = (out.loss, out.grad_norm, out.skipped);
        if self.group.world() > 1 {
            step.waited_seconds += out.waited;
        }
        Ok(step)
    }

    fn members(&mut self, at: u64) -> Vec<String> {
        self.loader.members(at)
    }

    fn evaluate(&mut self, _steps: u64) -> Result<Option<Evaluation>, Error> {
        match &self.questions {
            Some(questions) => questions.ask(&self.model, self.judge, &self.group),
            None => Ok(None),
        }
    }

    fn state(&self) -> Value {
        json!({
            "previous_norm": self.engine.previous_norm().map(f64::to_bits),
            "rejects": self.loader.rejects(),
            "data": self.digest,
        })
    }

    fn restore(&mut self, state: &Value) -> Result<(), Error> {
        if let Some(data) = state["data"].as_str()
            && data != self.digest
        {
            return Err(Error::Data(
                "the conversations or the images have changed since the checkpoint was saved, so the \
                 run cannot go on as it would have. Put them back, or start anew with --force"
                    .into(),
            ));
        }
        let norm = state["previous_norm"].as_u64().map(f64::from_bits);
        self.engine.set_previous_norm(norm);
        let rejects: Vec<Reject> = serde_json::from_value(state["rejects"].clone())
            .map_err(|e| Error::Data(format!("the checkpoint's list of rejects: {e}")))?;
        self.known_rejects = rejects.len();
        self.loader.restore_rejects(rejects);
        Ok(())
    }
}

/// What the batches of all ranks are together.
struct Whole {
    weight: f64,
    pairs: usize,
    tokens: usize,
    labels: usize,
    flops: f64,
}

/// AdamW over what is trained, in the model's order.
fn optimiser(
    config: &TrainConfig,
    model: &Llava,
    run_seed: u64,
    group: &Rc<Group>,
) -> Result<AdamW, Error> {
    let params = model.trainable().into_iter().map(|(name, tensor, part)| {
        let lr_scale = match part {
            ModelPart::Tower => config.tower_lr_scale,
            ModelPart::Projector => config.projector_lr_scale,
            _ => config.decoder_lr_scale,
        };
        Param {
            name,
            tensor,
            lr_scale,
        }
    });
    let hyper = Hyper {
        betas: config.betas,
        eps: config.eps,
        weight_decay: config.weight_decay,
    };
    Ok(AdamW::among(
        params.collect(),
        hyper,
        config.optimiser.states,
        run_seed,
        Rc::clone(group),
    )?)
}
