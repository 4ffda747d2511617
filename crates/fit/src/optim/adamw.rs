//! AdamW, one parameter at a time, and clipping by the norm of all gradients.
//!
//! The update is PyTorch's (`torch.optim.AdamW`, decoupled weight decay, bias correction), checked
//! against a recorded trace of it: the paper's run used that optimiser, and a reader who compares
//! learning curves should not have to wonder about the optimiser. As in the trainer LLaVA uses,
//! weight decay leaves one-dimensional parameters (biases, norms) alone.
//!
//! Parameters are updated one by one, so that a backward pass that goes layer by layer can update a
//! layer and drop its gradients before it comes to the next.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor, no_grad};

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

/// How the moments are held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum States {
    /// f32: 8 bytes a parameter.
    #[default]
    Float32,
}

/// What gradients of norm `norm` are multiplied by so that it is at most `limit`, as
/// `torch.nn.utils.clip_grad_norm_` has it; a limit of 0 leaves them alone.
pub fn clip_factor(norm: f64, limit: f64) -> f64 {
    if limit > 0.0 {
        (limit / (norm + 1e-6)).min(1.0)
    } else {
        1.0
    }
}

/// A trained parameter.
#[derive(Debug)]
pub struct Param {
    /// Its name in the model.
    pub name: String,
    /// The parameter itself (shares storage with the model's).
    pub tensor: Tensor,
    /// Times the scheduled learning rate.
    pub lr_scale: f64,
}

/// One parameter with its moments.
#[derive(Debug)]
struct Slot {
    param: Param,
    /// First moment.
    m: Tensor,
    /// Second moment.
    v: Tensor,
}

/// The optimiser's state.
#[derive(Debug)]
pub struct AdamW {
    slots: Vec<Slot>,
    hyper: Hyper,
    step: u64,
    lr: f64,
}

impl AdamW {
    /// Zero moments for `params`. `seed` decides how bf16 weights are rounded.
    pub fn new(
        params: Vec<Param>,
        hyper: Hyper,
        _states: States,
        _seed: u64,
    ) -> Result<AdamW, Error> {
        let slots = params
            .into_iter()
            .map(|param| {
                let m = param.tensor.f_detach()?.f_zeros_like()?;
                let v = m.f_zeros_like()?;
                Ok(Slot { param, m, v })
            })
            .collect::<Result<_, Error>>()?;
        Ok(AdamW {
            slots,
            hyper,
            step: 0,
            lr: 0.0,
        })
    }

    /// Updates made or begun so far.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// The trained parameters, in the order they were given.
    pub fn params(&self) -> impl ExactSizeIterator<Item = &Param> {
        self.slots.iter().map(|slot| &slot.param)
    }

    /// The norm of all gradients that parameters hold together; those without one count nothing.
    pub fn gradient_norm(&self) -> Result<f64, Error> {
        let mut sum = 0.0;
        for slot in &self.slots {
            let grad = slot.param.tensor.grad();
            if grad.defined() {
                let norm = f64::try_from(grad.f_norm()?.f_to_kind(Kind::Double)?)?;
                sum += norm * norm;
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
    pub fn update(&mut self, index: usize, grad: &Tensor, scale: f64) -> Result<(), Error> {
        let [beta1, beta2] = self.hyper.betas;
        let exponent = i32::try_from(self.step).unwrap_or(i32::MAX);
        let correction1 = 1.0 - beta1.powi(exponent);
        let correction2 = (1.0 - beta2.powi(exponent)).sqrt();
        let Some(slot) = self.slots.get_mut(index) else {
            return Ok(());
        };
        no_grad(|| {
            let grad = grad.f_to_kind(Kind::Float)?.f_mul_scalar(scale)?;
            let lr = self.lr * slot.param.lr_scale;
            if self.hyper.weight_decay != 0.0 && slot.param.tensor.dim() > 1 {
                let _ = slot
                    .param
                    .tensor
                    .f_mul_scalar_(1.0 - lr * self.hyper.weight_decay)?;
            }
            let _ = slot.m.f_lerp_(&grad, 1.0 - beta1)?;
            let _ = slot.v.f_mul_scalar_(beta2)?;
            let scaled = grad.f_mul_scalar(1.0 - beta2)?;
            let _ = slot.v.f_addcmul_(&scaled, &grad)?;
            let mut root = slot.v.f_sqrt()?;
            let root = root
                .f_div_scalar_(correction2)?
                .f_add_scalar_(self.hyper.eps)?;
            let mut change = slot.m.f_div(&root)?;
            let change = change.f_mul_scalar_(-lr / correction1)?;
            let _ = slot.param.tensor.f_add_(&change)?;
            Ok(())
        })
    }

    /// One whole step with the gradients that the parameters hold, times `scale`; the gradients are
    /// dropped afterwards.
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

    /// Everything a checkpoint must hold, by name: each parameter (`param.NAME`) and its states.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut all = Vec::new();
        for slot in &self.slots {
            let name = &slot.param.name;
            all.push((format!("param.{name}"), slot.param.tensor.detach()));
            all.push((format!("m.{name}"), slot.m.shallow_clone()));
            all.push((format!("v.{name}"), slot.v.shallow_clone()));
        }
        all
    }

    /// Goes back to the state that [`AdamW::state`] gave after `step` updates; `take` finds a tensor
    /// by its name.
    ///
    /// # Errors
    /// What `take` says, and tensors of another shape or type.
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
