//! Low-rank adapters (LoRA, arXiv 2106.09685): small updates `W + s B A` beside large weights.
//!
//! An adapter is used as it is, `x W^T + s (x A^T) B^T`, or merged into the weights, which costs
//! nothing later but cannot be undone. Folders are PEFT's, in and out.

mod config;
mod folder;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;

use rand::RngCore;
use tch::{Device, Kind, Tensor};

use crate::layers::LowRank;
use crate::parameters::specification;
use crate::weights::names::published_name;
use crate::{Error, Llava, LlavaConfig, ModelPart};

/// What one linear layer gets.
#[derive(Debug)]
pub(crate) struct Update {
    /// The layer, by the model's name.
    pub module: String,
    /// [rank, in]
    pub a: Tensor,
    /// [out, rank]
    pub b: Tensor,
    /// PEFT's `lora_alpha / r`.
    pub scale: f64,
}

/// A set of low-rank updates, and of weights that were trained whole beside them.
#[derive(Debug)]
pub struct Adapter {
    /// The model it was made for, as its maker called that.
    pub base: Option<String>,
    /// Share of the inputs that is dropped on the way into an update while it is trained (PEFT's
    /// `lora_dropout`). Models without gradients drop nothing.
    pub dropout: f64,
    pub(crate) updates: Vec<Update>,
    /// Weights that replace the model's own (PEFT's `modules_to_save`), by the model's names.
    pub(crate) replaced: Vec<(String, Tensor)>,
}

impl Adapter {
    /// A fresh adapter, to be trained, for the decoder's linear layers that `targets` names with
    /// PEFT's meaning of `target_modules`: by the end of their names (`q_proj`,
    /// `layers.0.mlp.down_proj`, `lm_head`), or all but the output layer (`all-linear`). Tower and
    /// projector get none, as in LLaVA's script. A is random and B zero, so that it changes nothing
    /// yet, as PEFT begins. Tensors are f32.
    ///
    /// # Errors
    /// A rank below 1, targets that the decoder does not have.
    pub fn new(
        config: &LlavaConfig,
        rank: i64,
        alpha: f64,
        targets: &[&str],
        seed: u64,
        device: Device,
    ) -> Result<Adapter, Error> {
        if !(1..=MAX_RANK).contains(&rank) || !alpha.is_finite() {
            return Err(Error::Config(format!(
                "an adapter of rank {rank} and alpha {alpha}: rank must be 1 to {MAX_RANK}"
            )));
        }
        let mut updates = Vec::new();
        let mut met = vec![false; targets.len()];
        for parameter in specification(config) {
            let Some(module) = parameter.name.strip_suffix(".weight") else {
                continue;
            };
            let &[outputs, inputs] = &parameter.shape[..] else {
                continue;
            };
            let mut targeted = false;
            for (target, met) in targets.iter().zip(&mut met) {
                if is_target(module, target) {
                    (targeted, *met) = (true, true);
                }
            }
            if !targeted {
                continue;
            }
            // Kaiming's uniform distribution with a = sqrt(5), as torch initialises linear layers.
            let bound = (inputs as f64).powf(-0.5);
            let a = uniform(seed, module, (rank * inputs) as usize, bound);
            let a = Tensor::f_from_slice(&a)?.f_reshape([rank, inputs])?;
            updates.push(Update {
                module: module.to_owned(),
                a: a.f_to_device(device)?,
                b: Tensor::f_zeros([outputs, rank], (Kind::Float, device))?,
                scale: alpha / rank as f64,
            });
        }
        if let Some((absent, _)) = targets.iter().zip(&met).find(|(_, met)| !**met) {
            return Err(Error::Config(format!(
                "the decoder has no linear layer {absent}, with a weight of its own"
            )));
        }
        Ok(Adapter {
            base: None,
            dropout: 0.0,
            updates,
            replaced: Vec::new(),
        })
    }

    /// The same adapter with a share of its inputs dropped while it is trained.
    ///
    /// # Errors
    /// A share that is not from 0 to below 1.
    pub fn with_dropout(mut self, dropout: f64) -> Result<Adapter, Error> {
        if !(0.0..1.0).contains(&dropout) {
            return Err(Error::Config(format!(
                "a dropout of {dropout}: it must be from 0 to below 1"
            )));
        }
        self.dropout = dropout;
        Ok(self)
    }

    /// The same adapter with updates scaled by `alpha` over the root of the rank in place of the rank
    /// (PEFT's `use_rslora`, arXiv 2312.03732).
    pub fn rank_stabilised(mut self) -> Adapter {
        for update in &mut self.updates {
            let rank = update.a.size().first().copied().unwrap_or(1);
            update.scale *= (rank as f64).sqrt();
        }
        self
    }

    /// The tensors that training changes: A and B of each layer, then those trained whole.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let replaced = self
            .replaced
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        self.updates().chain(replaced).collect()
    }

    /// A and B of each layer, as `MODULE.lora_A` and `MODULE.lora_B`.
    pub(crate) fn updates(&self) -> impl Iterator<Item = (String, Tensor)> {
        self.updates.iter().flat_map(|update| {
            [("lora_A", &update.a), ("lora_B", &update.b)]
                .map(|(name, tensor)| (format!("{}.{name}", update.module), tensor.shallow_clone()))
        })
    }

    /// Whether a weight is trained whole, and saved with the adapter. The weight below an update,
    /// which PEFT saves of output layers, is not trained.
    pub(crate) fn holds(&self, name: &str) -> bool {
        let updated = |module: &str| self.updates.iter().any(|update| update.module == module);
        self.replaced.iter().any(|(own, _)| own == name)
            && !name
                .rsplit_once('.')
                .is_some_and(|(module, _)| updated(module))
    }

    /// The same adapter with all weights of a part of `model` in it, to be trained whole beside the
    /// updates and saved with them (PEFT's `modules_to_save`), as LLaVA's script does with the
    /// projector. They become f32.
    ///
    /// # Errors
    /// A part that the model does not have, or that has updates.
    pub fn with_whole(mut self, model: &Llava, part: ModelPart) -> Result<Adapter, Error> {
        if let Some(update) = self
            .updates
            .iter()
            .find(|one| ModelPart::of(&one.module) == Some(part))
        {
            return Err(Error::Config(format!(
                "{} has a low-rank update and cannot be trained whole as well",
                update.module
            )));
        }
        for (name, tensor) in model.parameters() {
            if ModelPart::of(name) == Some(part) && !self.holds(name) {
                let whole = tensor.f_detach()?.f_to_kind(Kind::Float)?;
                self.replaced.push((name.clone(), whole));
            }
        }
        let held = |(name, _): &(String, Tensor)| ModelPart::of(name) == Some(part);
        if !self.replaced.iter().any(held) {
            return Err(Error::Config(format!(
                "the model has no weights in {part:?} that can be trained"
            )));
        }
        Ok(self)
    }

    /// The same updates on another device, in f32 where they are to be trained. Weights that replaced
    /// the model's own are the model's present ones, so that training one trains the other.
    pub(crate) fn to_device(
        &self,
        device: Device,
        parameters: &[(String, Tensor)],
        trainable: bool,
    ) -> Result<Adapter, Error> {
        self.map(
            |tensor| {
                let tensor = tensor.f_to_device(device)?;
                Ok(match trainable {
                    true => tensor.f_to_kind(Kind::Float)?,
                    false => tensor,
                })
            },
            |name, tensor| {
                let own = parameters.iter().find(|(own, _)| own == name);
                Ok(own.map_or(tensor, |(_, own)| own).shallow_clone())
            },
        )
    }

    /// A copy for answering, in one type and without gradients.
    pub(crate) fn frozen(&self, kind: Kind) -> Result<Adapter, Error> {
        let cast = |tensor: &Tensor| Ok(tensor.f_detach()?.f_to_kind(kind)?);
        self.map(cast, |_, tensor| cast(tensor))
    }

    fn map(
        &self,
        update: impl Fn(&Tensor) -> Result<Tensor, Error>,
        replaced: impl Fn(&str, &Tensor) -> Result<Tensor, Error>,
    ) -> Result<Adapter, Error> {
        let updates = self.updates.iter().map(|one| {
            Ok(Update {
                module: one.module.clone(),
                a: update(&one.a)?,
                b: update(&one.b)?,
                scale: one.scale,
            })
        });
        let whole = self
            .replaced
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), replaced(name, tensor)?)));
        Ok(Adapter {
            base: self.base.clone(),
            dropout: self.dropout,
            updates: updates.collect::<Result<_, Error>>()?,
            replaced: whole.collect::<Result<_, Error>>()?,
        })
    }

    /// Refuses an adapter whose layers or shapes the model does not have.
    pub(crate) fn check(
        &self,
        config: &LlavaConfig,
        shapes: &HashMap<&str, Vec<i64>>,
    ) -> Result<(), Error> {
        let tied = config.text_config.tie_word_embeddings;
        for update in &self.updates {
            let weight = if tied && update.module == HEAD {
                format!("{EMBEDDING}.weight")
            } else {
                format!("{}.weight", update.module)
            };
            let (a, b) = (update.a.size(), update.b.size());
            let fits = matches!((&a[..], &b[..]), ([r, _], [_, rank]) if r == rank)
                && update.module != EMBEDDING
                && shapes.get(weight.as_str()) == Some(&vec![b[0], a[1]]);
            if !fits {
                return Err(Error::Shape(format!(
                    "the adapter's update of {} has shapes {a:?} and {b:?}, and the model's layer \
                     {:?}: it belongs to another model",
                    update.module,
                    shapes.get(weight.as_str()).cloned().unwrap_or_default(),
                )));
            }
        }
        for (name, tensor) in &self.replaced {
            if tied && *name == format!("{EMBEDDING}.weight") {
                return Err(Error::Shape(
                    "the adapter replaces an embedding that is also the output layer: merge it \
                     with PEFT and use that"
                        .into(),
                ));
            }
            if shapes.get(name.as_str()) != Some(&tensor.size()) {
                return Err(Error::Shape(format!(
                    "the adapter's {name} is {:?}, and the model's {:?}: it belongs to another model",
                    tensor.size(),
                    shapes.get(name.as_str()).cloned().unwrap_or_default(),
                )));
            }
        }
        Ok(())
    }

    /// Puts the weights that were trained whole in the place of the model's own, in their type, or
    /// as they are where they are to be trained on.
    pub(crate) fn replace(
        &self,
        parameters: &mut [(String, Tensor)],
        trainable: bool,
    ) -> Result<(), Error> {
        let replaced: HashMap<&str, &Tensor> = self
            .replaced
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        for (name, tensor) in parameters {
            if let Some(new) = replaced.get(name.as_str()) {
                let kind = match trainable {
                    true => new.f_kind()?,
                    false => tensor.f_kind()?,
                };
                *tensor = new.f_to_device(tensor.device())?.f_to_kind(kind)?;
            }
        }
        Ok(())
    }

    /// Adds every update to its weight, in f32.
    ///
    /// # Errors
    /// An update of the output layer where that is the embedding.
    pub(crate) fn merge(&self, parameters: &mut [(String, Tensor)]) -> Result<(), Error> {
        let mut places: HashMap<String, usize> = HashMap::new();
        for (at, (name, _)) in parameters.iter().enumerate() {
            places.insert(name.clone(), at);
        }
        for update in &self.updates {
            sample::interrupt::check()?;
            let at = places.get(&format!("{}.weight", update.module));
            let Some((_, weight)) = at.and_then(|&at| parameters.get_mut(at)) else {
                return Err(Error::Shape(format!(
                    "{} is the embedding in this model and cannot have an update of its own merged",
                    update.module
                )));
            };
            let kind = weight.f_kind()?;
            *weight = tch::no_grad(|| -> Result<Tensor, Error> {
                let full = |tensor: &Tensor| tensor.f_to_kind(Kind::Float);
                let product = full(&update.b)?.f_matmul(&full(&update.a)?)?; // [out, in]
                Ok(full(weight)?
                    .f_add(&product.f_mul_scalar(update.scale)?)?
                    .f_to_kind(kind)?)
            })?;
        }
        Ok(())
    }

    /// What a layer gets, in the form that layers use.
    pub(crate) fn low_rank(&self, module: &str) -> Vec<LowRank> {
        self.updates
            .iter()
            .filter(|update| update.module == module)
            .map(|update| LowRank {
                a: update.a.shallow_clone(),
                b: update.b.shallow_clone(),
                scale: update.scale,
                start: 0,
                dropout: self.dropout,
            })
            .collect()
    }

    /// Reads a PEFT folder: `adapter_config.json` and `adapter_model.safetensors` (or `.bin`).
    /// Tensors are of type `kind`.
    ///
    /// # Errors
    /// Kinds of adapters that are not computed here, tensors that are not in pairs.
    pub fn read(dir: &Path, device: Device, kind: Kind) -> Result<Adapter, Error> {
        folder::read(dir, device, kind)
    }

    /// Writes a PEFT folder for a model of this configuration, in the adapter's own types; names
    /// are those of present transformers versions.
    pub fn write(&self, config: &LlavaConfig, dir: &Path) -> Result<(), Error> {
        folder::write(self, config, dir)
    }
}

/// Whether a target of PEFT's means a module of the decoder, by the model's name for that.
fn is_target(module: &str, target: &str) -> bool {
    let layer = matches!(ModelPart::of(module), Some(ModelPart::Layer(_)));
    if target == "all-linear" {
        return layer;
    }
    let ends = |name: &str| {
        name.strip_suffix(target)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    (layer || module == HEAD) && (ends(module) || ends(&published_name(module, true)))
}

/// A higher rank than any layer is wide.
const MAX_RANK: i64 = 1 << 16;

/// Values between -bound and bound: a function of the seed and the layer's name alone.
fn uniform(seed: u64, module: &str, count: usize, bound: f64) -> Vec<f32> {
    let mut rng = sample::seed::rng(seed, &["lora", module]);
    let mut unit = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    (0..count)
        .map(|_| (bound * (2.0 * unit() - 1.0)) as f32)
        .collect()
}

/// The output layer and the embedding, by the model's names.
pub(crate) const HEAD: &str = "language_model.lm_head";
pub(crate) const EMBEDDING: &str = "language_model.model.embed_tokens";
