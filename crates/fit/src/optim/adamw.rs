//! AdamW, one parameter at a time, and clipping by the norm of all gradients.
//!
//! The update is PyTorch's (`torch.optim.AdamW`, decoupled weight decay, bias correction), checked
//! against a recorded trace of it: the paper's run used that optimiser, and a reader who compares
//! learning curves should not have to wonder about the optimiser. As in the trainer LLaVA uses,
//! weight decay leaves one-dimensional parameters (biases, norms) alone.
//!
//! Parameters are updated one by one, so that a backward pass that goes layer by layer can update a
//! layer and drop its gradients before it comes to the next. Of several ranks each updates its own part
//! of every parameter ([`owned`]).

use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

use c10d::Group;
use tch::{Device, Kind, Tensor, no_grad};

use super::dynamic_map::BLOCK;
use super::formula::Factors;
use super::instructions::Instructions;
use super::moments::{Moments, States};
use super::norm::{largest, squared_norm};
use super::owned::{Held, owned};
use super::rounding::Key;
use super::{fused, tensors};
use crate::{Error, ranks};

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
    /// What is updated here: the parameter itself, or this rank's part of it, flat.
    own: Tensor,
    /// Which of the parameter's elements that is.
    range: Range<usize>,
    moments: Moments,
    /// Of the bits that round it.
    key: Key,
}

/// The optimiser's state.
#[derive(Debug)]
pub struct AdamW {
    slots: Vec<Slot>,
    group: Rc<Group>,
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
        AdamW::among(params, hyper, states, seed, Rc::new(Group::alone()))
    }

    /// As [`AdamW::new`], for one of several ranks that train the same parameters: it holds the moments of
    /// its own part of each ([`owned`]), and updates that.
    ///
    /// # Errors
    /// As [`AdamW::new`]; with several ranks, parameters that do not lie in order.
    pub fn among(
        params: Vec<Param>,
        hyper: Hyper,
        states: States,
        seed: u64,
        group: Rc<Group>,
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
                let whole = param.tensor.numel();
                let range = owned(whole, group.rank(), group.world());
                let own = part(&param, &range, group.world())?;
                Ok(Slot {
                    moments: Moments::zeros(&own, whole, states)?,
                    key: Key::of_parameter(seed, &param.name),
                    own,
                    range,
                    param,
                })
            })
            .collect::<Result<_, Error>>()?;
        Ok(AdamW {
            group,
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

    /// The ranks that train the parameters.
    pub fn group(&self) -> &Rc<Group> {
        &self.group
    }

    /// Updates parameter `index` by `scale` times `grad`, which has its shape and any float type; one of
    /// several ranks is given the gradient of its own part, flat.
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
        let tensor = &slot.own;
        if grad.size() != tensor.size() || grad.device() != tensor.device() {
            return Err(param.error(format!(
                "its gradient is {:?} on {:?}, what is updated {:?} on {:?}",
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
        let factors = Factors::new(&self.hyper, self.step, lr, param.tensor.dim() > 1, scale);
        let at = (slot.key.at(self.step), slot.range.start);
        let (tensor, moments) = (&mut slot.own, &mut slot.moments);
        no_grad(|| {
            if fused::takes(tensor) {
                fused::update(&factors, at, tensor, grad, moments, Instructions::best())
            } else {
                tensors::update(&factors, at, tensor, grad, moments)
            }
        })
    }

    /// One whole step with the gradients that the parameters hold, times `scale`; the gradients are
    /// dropped afterwards. For a rank that trains alone.
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
    /// `m.scales.NAME` (f32, `[blocks]`), the same for `v`. They share storage with the optimiser's. Of
    /// several ranks each has its own part of the states.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let held = self.held().into_iter();
        held.map(|held| (held.name, held.local)).collect()
    }

    /// The same with what a checkpoint must know to make one of the ranks' parts.
    pub(crate) fn held(&self) -> Vec<Held> {
        let world = self.group.world();
        let mut all = Vec::new();
        for slot in &self.slots {
            let (name, tensor) = (&slot.param.name, &slot.param.tensor);
            all.push(Held {
                name: format!("param.{name}"),
                local: tensor.detach(),
                shape: tensor.size(),
                parts: None,
            });
            let numel = tensor.numel();
            let blocks = numel.div_ceil(BLOCK) as i64;
            for (what, local) in slot.moments.tensors() {
                // Codes and scales count blocks, and lie in f32 as the parameter's elements do.
                let (shape, per) = match what {
                    "m.codes" | "v.codes" => (vec![blocks, BLOCK as i64], BLOCK),
                    "m.scales" | "v.scales" => (vec![blocks], BLOCK),
                    _ => (tensor.size(), 1),
                };
                let part = |rank| owned(numel, rank, world).len().div_ceil(per) as i64;
                all.push(Held {
                    name: format!("{what}.{name}"),
                    local: local.shallow_clone(),
                    shape,
                    parts: (world > 1).then(|| (0..world).map(part).collect()),
                });
            }
        }
        all
    }

    /// Goes back to the state that [`AdamW::state`] gave after `step` updates; `take` finds a tensor
    /// by its name, whole. Of several ranks the first asks it, and hands on what it says.
    ///
    /// # Errors
    /// What `take` says, and tensors of another shape or type, by name; those before are restored
    /// then, those after are not.
    pub fn restore(
        &mut self,
        step: u64,
        take: &mut dyn FnMut(&str) -> Result<Tensor, Error>,
    ) -> Result<(), Error> {
        let group = &self.group;
        for mut held in self.held() {
            let whole = match group.is_first() {
                true => take(&held.name),
                false => Ok(Tensor::f_empty(&held.shape, (held.kind(), Device::Cpu))?),
            };
            // Before anything of it is sent: the others expect this shape and type.
            let whole = whole.and_then(|whole| {
                held.check(&whole)?;
                Ok(whole.f_contiguous()?)
            });
            let mut whole = ranks::together(group, whole)?;
            if group.world() > 1 {
                whole = whole.f_to_device(held.local.device())?;
                group.broadcast(&whole, 0)?;
            }
            held.restore(group, &whole)?;
        }
        self.step = step;
        Ok(())
    }
}

/// What is updated of a parameter: all of it, as it is, or a range of its elements, flat. It shares its
/// storage.
fn part(param: &Param, range: &Range<usize>, world: usize) -> Result<Tensor, Error> {
    let tensor = &param.tensor;
    if world == 1 {
        return Ok(tensor.f_detach()?);
    }
    if !tensor.is_contiguous() {
        return Err(param.error("it does not lie in order, so several ranks cannot share it"));
    }
    if tensor.numel() > 1 << 32 {
        return Err(param.error("it has more than 2^32 elements, which several ranks cannot share"));
    }
    let flat = tensor.f_detach()?.f_view([-1])?;
    Ok(flat.f_narrow(0, range.start as i64, range.len() as i64)?)
}
