//! The numbers of one update, and the update of one element.
//!
//! As in `torch.optim.AdamW`: decoupled weight decay, both moments corrected for their start at zero,
//! `eps` added to the corrected root. All in f32, from factors computed in f64.

use super::Hyper;

/// The factors of one update of one parameter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Factors {
    /// Of the gradient: clipping.
    pub(super) scale: f64,
    /// Of the weight: what decay leaves.
    pub(super) keep: f64,
    /// How far the first moment goes towards the gradient.
    pub(super) towards: f64,
    /// Of the second moment.
    pub(super) beta2: f64,
    /// Of the squared gradient.
    pub(super) fresh: f64,
    /// Of the second moment's root: the correction for its start.
    pub(super) root: f64,
    /// Added to it.
    pub(super) eps: f64,
    /// Of the quotient: learning rate and the first moment's correction.
    pub(super) rate: f64,
}

impl Factors {
    /// For update number `step`, from 1.
    pub(super) fn new(hyper: &Hyper, step: u64, lr: f64, decays: bool, scale: f64) -> Factors {
        let [beta1, beta2] = hyper.betas;
        let exponent = i32::try_from(step).unwrap_or(i32::MAX);
        let decay = if decays { hyper.weight_decay } else { 0.0 };
        Factors {
            scale,
            keep: 1.0 - lr * decay,
            towards: 1.0 - beta1,
            beta2,
            fresh: 1.0 - beta2,
            root: 1.0 / (1.0 - beta2.powi(exponent)).sqrt(),
            eps: hyper.eps,
            rate: lr / (1.0 - beta1.powi(exponent)),
        }
    }

    /// For loops over f32.
    pub(super) fn narrow(&self) -> Narrow {
        Narrow {
            scale: self.scale as f32,
            keep: self.keep as f32,
            towards: self.towards as f32,
            beta2: self.beta2 as f32,
            fresh: self.fresh as f32,
            root: self.root as f32,
            eps: self.eps as f32,
            rate: self.rate as f32,
        }
    }
}

/// [`Factors`] in f32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Narrow {
    scale: f32,
    keep: f32,
    towards: f32,
    beta2: f32,
    fresh: f32,
    root: f32,
    eps: f32,
    rate: f32,
}

impl Narrow {
    /// Weight and both moments after an update.
    #[inline(always)]
    pub(super) fn update(&self, weight: f32, grad: f32, m: f32, v: f32) -> [f32; 3] {
        let grad = grad * self.scale;
        let m = m + (grad - m) * self.towards;
        let v = v * self.beta2 + (grad * self.fresh) * grad;
        let root = v.sqrt() * self.root + self.eps;
        [weight * self.keep - (m / root) * self.rate, m, v]
    }
}
