//! One step of training, layer by layer.
//!
//! The decoder is run without gradients first, keeping the input of every layer and nothing else.
//! Then, from the top, each layer is run again with gradients, is given the gradient of its output,
//! and gives that of its input; so one layer's intermediate values are in memory at a time. With
//! [`Update::Layerwise`] the layer's weights are updated at once and its gradients dropped: one
//! layer's gradients are in memory at a time, too. That is what lets a 13B model train whole on one
//! GPU of 80 GB.
//!
//! **Invariant:** where gradients are kept until the end ([`Update::Accumulate`]), loss and gradients
//! are those of plain autograd over the whole model: the chain rule is only cut at layer boundaries.
//! Layer-by-layer updates change one thing, the norm that gradients are clipped by.
//!
//! **Invariant:** no weight changes before the whole step's loss is known and found good.
//!
//! A step's rows go through in micro-batches; all of them pass a layer before the next layer begins,
//! so that micro-batches and layer-by-layer updates go together, and the sum over micro-batches is the
//! gradient of the whole step.
//!
//! Of several ranks each goes through its own micro-batches, and what they add up to is exchanged part by part
//! while the parts below compute: see the module `exchange`.

mod clip;
mod exchange;
mod flops;
mod gradients;
mod head;
mod layers;
mod visual;

use std::rc::Rc;

use c10d::Group;
use fit::optim::AdamW;
use fit::{Guard, Verdict};
use model::{Llava, ModelPart};

use crate::packing::StepBatch;
use crate::{ClipBy, Error, TrainConfig, Update};

pub use flops::{TrainedParts, step_flops};
pub use visual::Visual;

pub(crate) use clip::Clipping;
pub(crate) use exchange::Exchange;
pub(crate) use gradients::{Gradients, Trained};

use layers::Pass;
use visual::Bottom;

/// How steps are made.
#[derive(Debug, Clone, PartialEq)]
pub struct How {
    /// When weights are updated.
    pub update: Update,
    /// What the clipping norm is held against.
    pub clip_by: ClipBy,
    /// Largest norm; 0 for none.
    pub clip: f64,
    /// Runs each layer twice in place of keeping its intermediate values.
    pub gradient_checkpointing: bool,
    /// Takes what is common to all patches off the features' gradient: see the module `visual`.
    pub centre_features: bool,
    /// Seeds the dropout of adapters; without adapters nothing is dropped.
    pub dropout_seed: Option<u64>,
}

impl How {
    /// What a configuration says.
    pub fn new(config: &TrainConfig, run_seed: u64) -> How {
        let dropout = config.lora.as_ref().map_or(0.0, |lora| lora.dropout);
        How {
            update: config.update,
            clip_by: config.clip_by,
            clip: config.clip,
            gradient_checkpointing: config.gradient_checkpointing,
            centre_features: config.centre_features,
            dropout_seed: (dropout > 0.0)
                .then(|| sample::seed::derive(run_seed, &["train", "dropout"])),
        }
    }

    /// The same for one of several ranks, which drops other values than the others do.
    #[must_use]
    pub fn of_rank(mut self, rank: usize) -> How {
        if rank > 0 {
            let rank = rank.to_string();
            let seed = |seed| sample::seed::derive(seed, &["rank", &rank]);
            self.dropout_seed = self.dropout_seed.map(seed);
        }
        self
    }
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Weighted mean cross-entropy, before the update.
    pub loss: f64,
    /// Norm of all gradients before clipping.
    pub grad_norm: f64,
    /// Whether the weights were left as they are.
    pub skipped: bool,
    /// Seconds that this rank waited for others.
    pub waited: f64,
}

/// A model's trained tensors by part, and what is carried from step to step.
pub struct Engine {
    trained: Trained,
    how: How,
    group: Rc<Group>,
    /// The norm of all gradients of the step before.
    previous_norm: Option<f64>,
}

impl Engine {
    /// For an optimiser whose parameters are `model.trainable()`, in that order.
    pub fn new(model: &Llava, how: How) -> Engine {
        Engine::among(model, how, Rc::new(Group::alone()))
    }

    /// For one of several ranks; the optimiser must be one of the same group's.
    pub fn among(model: &Llava, how: How, group: Rc<Group>) -> Engine {
        Engine {
            trained: Trained::new(model.trainable()),
            how,
            group,
            previous_norm: None,
        }
    }

    /// What a checkpoint must hold: the norm of all gradients of the last step.
    pub fn previous_norm(&self) -> Option<f64> {
        self.previous_norm
    }

    /// Goes on from a checkpoint.
    pub fn set_previous_norm(&mut self, norm: Option<f64>) {
        self.previous_norm = norm;
    }

    /// One update of the weights at learning rate `lr`, from `visual`, what the batch's images show.
    /// `at` is the step's number, from 0. `guard` sees the loss before any weight is changed, and the
    /// norm of gradients before their part is updated.
    ///
    /// Of several ranks each has its own part of the batch, perhaps nothing, and weights of labels that add up to 1
    /// over all of them; loss and norm are those of the whole batch.
    ///
    /// # Errors
    /// What `guard` says; a rank that is lost.
    pub fn step(
        &mut self,
        model: &Llava,
        optimiser: &mut AdamW,
        (batch, visual): (&StepBatch, &Visual),
        (at, lr): (u64, f64),
        guard: &mut Guard,
    ) -> Result<Outcome, Error> {
        let (trained, how) = (&self.trained, &self.how);
        let mut exchange = Exchange::new(&self.group);
        let mut gradients = Gradients::new(trained.len());
        let bottom = Bottom::new(model, visual, trained)?;
        let mut pass = Pass::new(model, trained, how, at);
        let mut loss = 0.0;
        for (index, micro) in batch.micro.iter().enumerate() {
            pass.up(index, micro, &bottom)?;
            loss += pass.turn(index, micro, Some(&mut gradients))?;
        }
        let everywhere = exchange.sums(&[loss, batch.images.len() as f64])?;
        let loss = everywhere.first().copied().unwrap_or(f64::NAN);
        let has_images = everywhere.get(1).is_some_and(|&images| images > 0.0);
        if guard.loss(loss)? == Verdict::Skip {
            return Ok(Outcome {
                loss,
                grad_norm: 0.0,
                skipped: true,
                waited: exchange.waited(),
            });
        }
        optimiser.begin(lr);
        let mut updates = Updates {
            clipping: Clipping::new(how.clip_by, how.clip, self.previous_norm),
            layerwise: how.update == Update::Layerwise,
            alone: self.group.world() == 1,
            trained,
            optimiser,
            guard,
        };
        updates.done(ModelPart::Head, &mut gradients, &mut exchange)?;
        updates.done(ModelPart::Norm, &mut gradients, &mut exchange)?;
        for layer in (0..pass.layers()).rev() {
            pass.down(layer, &mut gradients)?;
            updates.done(ModelPart::Layer(layer), &mut gradients, &mut exchange)?;
        }
        let below = pass.ground(&batch.micro, &bottom, &mut gradients)?;
        updates.done(ModelPart::Embedding, &mut gradients, &mut exchange)?;
        if has_images && bottom.is_trained() {
            let below = match how.centre_features {
                true => {
                    let hidden = model.config().text_config.hidden_size;
                    visual::centred(below, hidden, model.device(), &mut exchange)?
                }
                false => below,
            };
            if let Some(grad) = below {
                bottom.down(trained, &grad, &mut gradients)?;
            }
        }
        updates.done(ModelPart::Projector, &mut gradients, &mut exchange)?;
        updates.done(ModelPart::Tower, &mut gradients, &mut exchange)?;
        let grad_norm = updates.finish(&mut gradients, &mut exchange)?;
        self.previous_norm = Some(grad_norm);
        Ok(Outcome {
            loss,
            grad_norm,
            skipped: false,
            waited: exchange.waited(),
        })
    }

    /// The loss of a batch alone, without gradients.
    pub fn loss(&self, model: &Llava, batch: &StepBatch, visual: &Visual) -> Result<f64, Error> {
        tch::no_grad(|| {
            let nothing = Trained::new(Vec::new());
            let bottom = Bottom::new(model, visual, &nothing)?;
            let mut loss = 0.0;
            for micro in &batch.micro {
                let mut pass = Pass::new(model, &nothing, &self.how, 0);
                pass.up(0, micro, &bottom)?;
                loss += pass.turn(0, micro, None)?;
            }
            Ok(loss)
        })
    }
}

/// When the parts of a step are updated.
struct Updates<'a> {
    clipping: Clipping,
    /// Each as soon as its gradients are there.
    layerwise: bool,
    /// Nothing is exchanged.
    alone: bool,
    trained: &'a Trained,
    optimiser: &'a mut AdamW,
    guard: &'a mut Guard,
}

impl Updates<'_> {
    /// A part's gradients are there. Those of several ranks are sent off; what was sent off before has had the
    /// time of this part's computation to arrive.
    fn done(
        &mut self,
        part: ModelPart,
        gradients: &mut Gradients,
        exchange: &mut Exchange<'_>,
    ) -> Result<(), Error> {
        if self.alone {
            return match self.layerwise {
                true => {
                    let (optimiser, guard) = (&mut *self.optimiser, &mut *self.guard);
                    self.clipping
                        .update(optimiser, self.trained, gradients, part, guard)
                }
                false => Ok(()),
            };
        }
        exchange.reduce(self.trained, part, gradients)?;
        while self.layerwise && exchange.under_way() > 1 {
            self.next(exchange)?;
        }
        Ok(())
    }

    /// Updates what is left; the norm of all gradients, before clipping.
    fn finish(
        &mut self,
        gradients: &mut Gradients,
        exchange: &mut Exchange<'_>,
    ) -> Result<f64, Error> {
        let (trained, layerwise) = (self.trained, self.layerwise);
        match (self.alone, layerwise) {
            (true, true) => {}
            (true, false) => {
                let (optimiser, guard) = (&mut *self.optimiser, &mut *self.guard);
                self.clipping
                    .update_all(optimiser, trained, gradients, guard)?;
            }
            (false, true) => {
                while exchange.under_way() > 0 {
                    self.next(exchange)?;
                }
            }
            (false, false) => {
                let (optimiser, guard) = (&mut *self.optimiser, &mut *self.guard);
                self.clipping
                    .update_all_summed(optimiser, trained, exchange, guard)?;
            }
        }
        exchange.finish(trained)?;
        Ok(self.clipping.norm())
    }

    fn next(&mut self, exchange: &mut Exchange<'_>) -> Result<(), Error> {
        let (optimiser, guard) = (&mut *self.optimiser, &mut *self.guard);
        self.clipping
            .update_next(optimiser, self.trained, exchange, guard)
    }
}
