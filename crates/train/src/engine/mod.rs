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

mod clip;
mod flops;
mod gradients;
mod head;
mod layers;
mod visual;

use fit::optim::AdamW;
use fit::{Guard, Verdict};
use model::{Llava, ModelPart};

use crate::packing::StepBatch;
use crate::{ClipBy, Error, TrainConfig, Update};

pub use flops::{TrainedParts, step_flops};
pub use visual::Visual;

use clip::Clipping;
use gradients::{Gradients, Trained};
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
}

/// A model's trained tensors by part, and what is carried from step to step.
pub struct Engine {
    trained: Trained,
    how: How,
    /// The norm of all gradients of the step before.
    previous_norm: Option<f64>,
}

impl Engine {
    /// For an optimiser whose parameters are `model.trainable()`, in that order.
    pub fn new(model: &Llava, how: How) -> Engine {
        Engine {
            trained: Trained::new(model.trainable()),
            how,
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
    /// # Errors
    /// What `guard` says.
    pub fn step(
        &mut self,
        model: &Llava,
        optimiser: &mut AdamW,
        (batch, visual): (&StepBatch, &Visual),
        (at, lr): (u64, f64),
        guard: &mut Guard,
    ) -> Result<Outcome, Error> {
        let (trained, how) = (&self.trained, &self.how);
        let mut gradients = Gradients::new(trained.len());
        let bottom = Bottom::new(model, visual, trained, how.centre_features)?;
        let mut pass = Pass::new(model, trained, how, at);
        let mut loss = 0.0;
        for (index, micro) in batch.micro.iter().enumerate() {
            pass.up(index, micro, &bottom)?;
            loss += pass.turn(index, micro, Some(&mut gradients))?;
        }
        if guard.loss(loss)? == Verdict::Skip {
            return Ok(Outcome {
                loss,
                grad_norm: 0.0,
                skipped: true,
            });
        }
        optimiser.begin(lr);
        let mut clipping = Clipping::new(how.clip_by, how.clip, self.previous_norm);
        let layerwise = how.update == Update::Layerwise;
        let mut done = |gradients: &mut Gradients, part: ModelPart| -> Result<(), Error> {
            match layerwise {
                true => clipping.update(optimiser, trained, gradients, part, guard),
                false => Ok(()),
            }
        };
        done(&mut gradients, ModelPart::Head)?;
        done(&mut gradients, ModelPart::Norm)?;
        for layer in (0..pass.layers()).rev() {
            pass.down(layer, &mut gradients)?;
            done(&mut gradients, ModelPart::Layer(layer))?;
        }
        let below = pass.ground(&batch.micro, &bottom, &mut gradients)?;
        done(&mut gradients, ModelPart::Embedding)?;
        if let Some(grad) = below {
            bottom.down(trained, &grad, &mut gradients)?;
        }
        done(&mut gradients, ModelPart::Projector)?;
        done(&mut gradients, ModelPart::Tower)?;
        if !layerwise {
            clipping.update_all(optimiser, trained, &mut gradients, guard)?;
        }
        let grad_norm = clipping.norm();
        self.previous_norm = Some(grad_norm);
        Ok(Outcome {
            loss,
            grad_norm,
            skipped: false,
        })
    }

    /// The loss of a batch alone, without gradients.
    pub fn loss(&self, model: &Llava, batch: &StepBatch, visual: &Visual) -> Result<f64, Error> {
        tch::no_grad(|| {
            let nothing = Trained::new(Vec::new());
            let bottom = Bottom::new(model, visual, &nothing, false)?;
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
