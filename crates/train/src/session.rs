//! A model with its optimiser and data, between two steps.

use std::sync::Arc;

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
    pub(crate) loader: Loader,
    /// Of a tower that stays as it is.
    features: Option<Arc<Features>>,
    trained: TrainedParts,
    pub(crate) placement: Placement,
    questions: Option<Questions>,
    judge: Option<&'a Judge<'a>>,
    packed_tower: std::cell::OnceCell<FrozenTower>,
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
    ) -> Result<Session<'a>, Error> {
        let optimiser = optimiser(config, &model, run_seed)?;
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
            engine: Engine::new(&model, How::new(config, run_seed)),
            loader: Loader::new(Arc::clone(&data), config, run_seed, features.clone())?,
            config,
            model,
            optimiser,
            features,
            trained,
            placement,
            questions: None,
            judge: None,
            packed_tower: std::cell::OnceCell::new(),
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
        let mut batch = self.loader.next(at)?;
        let mut step = Step {
            epoch: self.loader.place(at).0,
            samples: batch.pairs,
            tokens: batch.tokens,
            labels: batch.labels,
            data_seconds: self.loader.waited(),
            ..Step::default()
        };
        // None of its images could be read.
        if batch.micro.is_empty() {
            step.skipped = true;
            return Ok(step);
        }
        let device = self.placement.device;
        for micro in &mut batch.micro {
            *micro = micro.to_device(device)?;
        }
        let encoded = match &self.features {
            Some(_) => batch.pixels_of.len(),
            None => batch.images.len(),
        };
        let visual = self.visual(&batch)?;
        step.flops = step_flops(self.model.config(), &batch, encoded, self.trained);
        let out = self.engine.step(
            &self.model,
            &mut self.optimiser,
            (&batch, &visual),
            (at, lr),
            guard,
        )?;
        (step.loss, step.grad_norm, step.skipped) = (out.loss, out.grad_norm, out.skipped);
        Ok(step)
    }

    fn members(&mut self, at: u64) -> Vec<String> {
        self.loader.members(at)
    }

    fn evaluate(&mut self, _steps: u64) -> Result<Option<Evaluation>, Error> {
        match &self.questions {
            Some(questions) => questions.ask(&self.model, self.judge),
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
        self.loader.restore_rejects(rejects);
        Ok(())
    }
}

/// AdamW over what is trained, in the model's order.
fn optimiser(config: &TrainConfig, model: &Llava, run_seed: u64) -> Result<AdamW, Error> {
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
    Ok(AdamW::new(
        params.collect(),
        hyper,
        config.optimiser.states,
        run_seed,
    )?)
}
