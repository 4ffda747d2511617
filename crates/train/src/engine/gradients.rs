//! The gradients of a step, owned by the step and not by the tensors, so that they can be dropped.

use model::ModelPart;
use tch::{Kind, Tensor};

use crate::Error;

/// A model's trained tensors in the optimiser's order, with the part that each belongs to.
pub struct Trained {
    tensors: Vec<Tensor>,
    parts: Vec<ModelPart>,
}

impl Trained {
    /// From `Llava::trainable`.
    pub fn new(trainable: Vec<(String, Tensor, ModelPart)>) -> Trained {
        let (tensors, parts) = trainable.into_iter().map(|(_, t, part)| (t, part)).unzip();
        Trained { tensors, parts }
    }

    /// The indices of a part's tensors.
    pub fn of(&self, part: ModelPart) -> Vec<usize> {
        let known = self.parts.iter().enumerate();
        known.filter(|(_, p)| **p == part).map(|(i, _)| i).collect()
    }

    /// Whether a part is trained.
    pub fn has(&self, part: ModelPart) -> bool {
        self.parts.contains(&part)
    }

    /// The lowest decoder layer that is trained.
    pub fn lowest_layer(&self) -> Option<usize> {
        let layers = self.parts.iter().filter_map(|part| match part {
            ModelPart::Layer(layer) => Some(*layer),
            _ => None,
        });
        layers.min()
    }

    /// The parts that are trained, each once.
    pub fn parts(&self) -> Vec<ModelPart> {
        let mut parts: Vec<ModelPart> = Vec::new();
        for part in &self.parts {
            if parts.last() != Some(part) && !parts.contains(part) {
                parts.push(*part);
            }
        }
        parts
    }

    /// One of the tensors.
    pub fn tensor(&self, index: usize) -> &Tensor {
        &self.tensors[index]
    }

    /// Some elements of one of the tensors, flat; they share its storage.
    pub fn elements(&self, index: usize, range: std::ops::Range<usize>) -> Result<Tensor, Error> {
        let flat = self.tensors[index].f_detach()?.f_view([-1])?;
        Ok(flat.f_narrow(0, range.start as i64, range.len() as i64)?)
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }
}

/// One gradient a trained tensor, while it is needed.
pub struct Gradients {
    of: Vec<Option<Tensor>>,
}

impl Gradients {
    /// None yet.
    pub fn new(count: usize) -> Gradients {
        Gradients {
            of: (0..count).map(|_| None).collect(),
        }
    }

    /// Adds the gradients of `out`, whose own gradient is `grad` (1 where it is a number), by the
    /// tensors `indices`, and gives that by `leaf`. What `out` does not depend on gets nothing.
    pub fn add(
        &mut self,
        trained: &Trained,
        indices: &[usize],
        out: &Tensor,
        grad: Option<&Tensor>,
        leaf: Option<&Tensor>,
    ) -> Result<Option<Tensor>, Error> {
        if !out.requires_grad() {
            return Ok(None);
        }
        // tch's backward begins at a number; this one's derivative by `out` is `grad`, exactly.
        let scalar = match grad {
            Some(grad) => out
                .f_mul(&grad.f_to_kind(out.f_kind()?)?)?
                .f_sum(Kind::Float)?,
            None => out.shallow_clone(),
        };
        let own = indices.iter().filter_map(|&i| trained.tensors.get(i));
        let leaf = leaf.filter(|leaf| leaf.requires_grad());
        let inputs: Vec<&Tensor> = own.chain(leaf).collect();
        if inputs.is_empty() {
            return Ok(None);
        }
        let mut grads = Tensor::f_run_backward(&[&scalar], &inputs, false, false)?;
        let below = leaf.and_then(|_| grads.pop()).filter(Tensor::defined);
        for (&index, grad) in indices.iter().zip(grads) {
            if grad.defined() {
                self.add_one(index, grad)?;
            }
        }
        Ok(below)
    }

    fn add_one(&mut self, index: usize, grad: Tensor) -> Result<(), Error> {
        let Some(place) = self.of.get_mut(index) else {
            return Ok(());
        };
        *place = Some(match place.take() {
            None => grad,
            // Sums over micro-batches are kept in f32: bf16 loses small addends.
            Some(sum) => sum
                .f_to_kind(Kind::Float)?
                .f_add_(&grad.f_to_kind(Kind::Float)?)?,
        });
        Ok(())
    }

    /// A tensor's gradient.
    pub fn get(&self, index: usize) -> Option<&Tensor> {
        self.of.get(index).and_then(Option::as_ref)
    }

    /// Drops a tensor's gradient.
    pub fn drop_one(&mut self, index: usize) {
        if let Some(place) = self.of.get_mut(index) {
            *place = None;
        }
    }
}
