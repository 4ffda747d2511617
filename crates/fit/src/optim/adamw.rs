//! AdamW, one parameter at a time, and clipping by the norm of all gradients.
//!
//! The update is PyTorch's (`torch.optim.AdamW`, decoupled weight decay, bias correction), checked
//! against a recorded trace of it: the paper's run used that optimiser, and a reader who compares
//! learning curves should not have to wonder about the optimiser. As in the trainer LLaVA uses,
//! weight decay leaves one-dimensional parameters (biases, norms) alone.
//!
//! Parameters are updated one by one, so that a backward pass that goes layer by layer can update a
//! layer and drop its gradients before it comes to the next.

use std::collections::HashSet;

use tch::{Kind, Tensor, no_grad};

use super::formula::Factors;
use super::instructions::Instructions;
use super::moments::{Moments, States};
use super::norm::{largest, squared_norm};
use super::rounding::Key;
use super::{fused, tensors};
use crate::Error;

/// The optimiser's numbers; the paper's are the defaults of `TrainConfig`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hyper {
    /// Decay of the two moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// A trained parameter.
#[derive(Debug)]
pub struct Param {
    /// Its name in the model.
    pub name: String,
    /// The parameter itself (shares storage with the model's), f32 or bf16. In bf16 it is updated with
    /// stochastic rounding.
    pub tensor: Tensor,
    /// Times the scheduled learning rate.
    pub lr_scale: f64,
}

impl Param {
    fn error(&self, detail: impl Into<String>) -> Error {
        Error::Parameter {
            name: self.name.clone(),
            detail: detail.into(),
        }
    }
}

/// One parameter with its moments.
#[derive(Debug)]
struct Slot {
    param: Param,
    moments: Moments,
    /// Of the bits that round it.
    key: Key,
}

/// The optimiser's state.
#[derive(Debug)]
pub struct AdamW {
    slots: Vec<Slot>,
    hyper: Hyper,
    step: u64,
    lr: f64,
}

/// Magnitudes whose squares f32 holds: a larger gradient would make the second moment infinite, and
/// the parameter would never move again.
const LARGEST: f64 = 1e18;

impl AdamW {
    /// Zero moments for `params`. `seed` decides, with a parameter's name, how bf16 weights are
    /// rounded.
    ///
    /// # Errors
    /// A parameter that is neither f32 nor bf16, and two of the same name.
    pub fn new(
        params: Vec<Param>,
        hyper: Hyper,
        states: States,
        seed: u64,
    ) -> Result<AdamW, Error> {
        let mut names = HashSet::new();
        for param in &params {
            if !names.insert(&param.name) {
                return Err(param.error("there are two of this name"));
            }
            let kind = param.tensor.kind();
            if !matches!(kind, Kind::Float | Kind::BFloat16) {
                return Err(param.error(format!("it is {kind:?}; f32 and bf16 can be trained")));
            }
        }
        let slots = params
            .into_iter()
            .map(|param| {
                Ok(Slot {
                    moments: Moments::zeros(&param.tensor, states)?,
                    key: Key::of_parameter(seed, &param.name),
                    param,
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(AdamW {
            slots,
            hyper,
            step: 0,
            lr: 0.0,
        })
    }

    /// Bytes for each parameter of a large model: the weights of kind `weights` with their moments,
    /// without gradients. What it will be exactly, small parameters included, is only known of a model
    /// at hand ([`AdamW::state_bytes`]).
    pub fn bytes_per_parameter(weights: Kind, states: States) -> f64 {
        weights.elt_size_in_bytes() as f64 + states.bytes()
    }

    /// Bytes of all moments, without the weights.
    pub fn state_bytes(&self) -> u64 {
        self.slots.iter().map(|slot| slot.moments.bytes()).sum()
    }

    /// Updates made or begun so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The trained parameters, in the order they were given.
    pub fn params(&self) -> impl ExactSizeIterator<Item = &Param> {
        self.slots.iter().map(|slot| &slot.param)
    }

    /// The norm of all gradients that parameters hold together; those without one count nothing. It is
    /// not finite where a gradient is not.
    pub fn gradient_norm(&self) -> Result<f64, Error> {
        let mut sum = 0.0;
        for slot in &self.slots {
            let grad = slot.param.tensor.grad();
            if grad.defined() {
                sum += squared_norm(&grad)?;
            }
        }
        Ok(sum.sqrt())
    }

    /// Begins the next step, at the scheduled learning rate `lr`; [`AdamW::update`] follows for each
    /// parameter that has a gradient.
    pub fn begin(&mut self, lr: f64) {
        self.step += 1;
        self.lr = lr;
    }

    /// Updates parameter `index` by `scale` times `grad`, which has its shape and any float type.
    ///
    /// The gradient is read once more beforehand (a sixth of the bytes that the update moves, or less),
    /// so that nothing is changed where it is refused.
    ///
    /// # Errors
    /// A gradient that is not finite, or so large that its square is not, or that is not of the
    /// parameter's shape and device; names the parameter, which stays as it was.
    pub fn update(&mut self, index: usize, grad: &Tensor, scale: f64) -> Result<(), Error> {
        let count = self.slots.len();
        let Some(slot) = self.slots.get_mut(index) else {
            return Err(Error::Config(format!(
                "parameter {index} was to be updated, the optimiser has {count}"
            )));
        };
        let param = &slot.param;
        if self.step == 0 {
            return Err(param.error("an update before the first step began"));
        }
        let tensor = &param.tensor;
        if grad.size() != tensor.size() || grad.device() != tensor.device() {
            return Err(param.error(format!(
                "its gradient is {:?} on {:?}, the parameter {:?} on {:?}",
                grad.size(),
                grad.device(),
                tensor.size(),
                tensor.device()
            )));
        }
        let peak = f64::from(largest(grad)?);
        // False for NaN too.
        let held = peak * scale.abs() <= LARGEST;
        if !held {
            return Err(param.error(format!(
                "an element of its gradient is {peak} (times {scale}); the weights were not changed. \
                 Lower the learning rate, or look at this step's samples"
            )));
        }
        let lr = self.lr * param.lr_scale;
        let factors = Factors::new(&self.hyper, self.step, lr, tensor.dim() > 1, scale);
        let key = slot.key.at(self.step);
        let (tensor, moments) = (&mut slot.param.tensor, &mut slot.moments);
        no_grad(|| {
            if fused::takes(tensor) {
                fused::update(&factors, key, tensor, grad, moments, Instructions::best())
            } else {
                tensors::update(&factors, key, tensor, grad, moments)
            }
        })
    }

    /// One whole step with the gradients that the parameters hold, times `scale`; the gradients are
    /// dropped afterwards.
    ///
    /// # Errors
    /// As [`AdamW::update`]; parameters before the one that is named are already updated then.
    pub fn update_all(&mut self, lr: f64, scale: f64) -> Result<(), Error> {
        self.begin(lr);
        for index in 0..self.slots.len() {
            let grad = self.slots[index].param.tensor.grad();
            if grad.defined() {
                self.update(index, &grad, scale)?;
                // The next backward pass adds to what is here.
                self.slots[index].param.tensor.zero_grad();
            }
        }
        Ok(())
    }

    /// Everything a checkpoint must hold, by name: each parameter (`param.NAME`) and its states, in f32
    /// `m.NAME` and `v.NAME` of its shape, in 8 bits `m.codes.NAME` (u8, `[blocks, 256]`) and
    /// `m.scales.NAME` (f32, `[blocks]`), the same for `v`. They share storage with the optimiser's.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut all = Vec::new();
        for slot in &self.slots {
            let name = &slot.param.name;
            all.push((format!("param.{name}"), slot.param.tensor.detach()));
            for (what, tensor) in slot.moments.tensors() {
                all.push((format!("{what}.{name}"), tensor.shallow_clone()));
            }
        }
        all
    }

    /// Goes back to the state that [`AdamW::state`] gave after `step` updates; `take` finds a tensor
    /// by its name.
    ///
    /// # Errors
    /// What `take` says, and tensors of another shape or type, by name; those before are restored
    /// then, those after are not.
    pub fn restore(
        &mut self,
        step: u64,
        take: &mut dyn FnMut(&str) -> Result<Tensor, Error>,
    ) -> Result<(), Error> {
        for (name, mut own) in self.state() {
            let saved = take(&name)?;
            if saved.size() != own.size() || saved.kind() != own.kind() {
                return Err(Error::Config(format!(
                    "the checkpoint's {name} is {:?} of {:?}, this training's {:?} of {:?}",
                    saved.kind(),
                    saved.size(),
                    own.kind(),
                    own.size()
                )));
            }
            no_grad(|| own.f_copy_(&saved))?;
        }
        self.step = step;
        Ok(())
    }
}
