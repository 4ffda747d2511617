//! Which tensors training changes, and where in the model each of them is.
//!
//! A trainer that goes through the model layer by layer updates a layer's tensors as soon as it has
//! their gradients, so it asks for them by [`ModelPart`]. The low-rank updates of an adapter belong
//! to the part that their layer is in.

use tch::Tensor;

use crate::lora::{EMBEDDING, HEAD};
use crate::{Adapter, Error, Llava};

/// Where in the model a tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ModelPart {
    /// The vision tower.
    Tower,
    /// The projector.
    Projector,
    /// The decoder's embedding; where it is also the output layer, that as well.
    Embedding,
    /// One of the decoder's layers, counted from 0.
    Layer(usize),
    /// The norm after the last layer.
    Norm,
    /// The output layer, where it has a weight of its own; low-rank updates of it in any case.
    Head,
}

impl ModelPart {
    /// The part that a tensor or a module is in, by the model's name for it.
    pub fn of(name: &str) -> Option<ModelPart> {
        if name.starts_with("vision_tower.") {
            return Some(ModelPart::Tower);
        }
        if name.starts_with("multi_modal_projector.") {
            return Some(ModelPart::Projector);
        }
        if let Some(rest) = name.strip_prefix("language_model.model.layers.") {
            let index = rest.split('.').next()?.parse().ok()?;
            return Some(ModelPart::Layer(index));
        }
        let is = |module: &str| {
            name.strip_prefix(module)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        [
            (EMBEDDING, ModelPart::Embedding),
            ("language_model.model.norm", ModelPart::Norm),
            (HEAD, ModelPart::Head),
        ]
        .into_iter()
        .find_map(|(module, part)| is(module).then_some(part))
    }
}

impl Llava {
    /// The tensors that get gradients, with their names and parts: weights in the order of
    /// [`Llava::parameters`], then the low-rank updates of an adapter (`MODULE.lora_A`,
    /// `MODULE.lora_B`). A weight that an adapter trains whole is among the weights.
    pub fn trainable(&self) -> Vec<(String, Tensor, ModelPart)> {
        let weights = self
            .parameters()
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        let updates = self.adapter().into_iter().flat_map(Adapter::updates);
        weights
            .chain(updates)
            .filter(|(_, tensor)| tensor.requires_grad())
            .filter_map(|(name, tensor)| {
                let part = ModelPart::of(&name)?;
                Some((name, tensor, part))
            })
            .collect()
    }

    /// Says which of the three parts are trained; the decoder is its embedding, layers, norm and
    /// output layer. With an adapter in use, a part's low-rank updates are trained, and of its
    /// weights only those that the adapter holds whole ([`Adapter::with_whole`]).
    ///
    /// # Errors
    /// A part that is to be trained where the adapter has nothing of it.
    pub fn set_trainable(&self, tower: bool, projector: bool, decoder: bool) -> Result<(), Error> {
        let wanted = |name: &str| match ModelPart::of(name) {
            Some(ModelPart::Tower) => tower,
            Some(ModelPart::Projector) => projector,
            Some(_) => decoder,
            None => false,
        };
        for (name, tensor) in self.parameters() {
            let held = self.adapter().is_none_or(|adapter| adapter.holds(name));
            let _ = tensor.f_set_requires_grad(held && wanted(name))?;
        }
        let Some(adapter) = self.adapter() else {
            return Ok(());
        };
        for (name, tensor) in adapter.updates() {
            let _ = tensor.f_set_requires_grad(wanted(&name))?;
        }
        let trained = self.trainable();
        for (asked, what, is) in [
            (
                tower,
                "vision tower",
                (|part| part == ModelPart::Tower) as fn(ModelPart) -> bool,
            ),
            (projector, "projector", |part| part == ModelPart::Projector),
            (decoder, "decoder", |part| part > ModelPart::Projector),
        ] {
            if asked && !trained.iter().any(|(_, _, part)| is(*part)) {
                return Err(Error::Config(format!(
                    "the {what} is to be trained, but the adapter has neither low-rank updates of it \
                     nor its weights: freeze it, or add it to the adapter"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::specification;
    use crate::{LlavaConfig, TextConfig};

    #[test]
    fn every_tensor_of_a_model_has_a_part() {
        let config = LlavaConfig {
            text_config: TextConfig {
                num_hidden_layers: 11,
                ..TextConfig::default()
            },
            ..LlavaConfig::default()
        };
        let parts: Vec<(String, ModelPart)> = specification(&config)
            .into_iter()
            .map(|parameter| {
                let part = ModelPart::of(&parameter.name);
                (
                    parameter.name.clone(),
                    part.unwrap_or_else(|| panic!("{}", parameter.name)),
                )
            })
            .collect();
        // They come in the order in which the model computes.
        assert!(parts.is_sorted_by_key(|(name, part)| match part {
            ModelPart::Tower => (0, 0),
            ModelPart::Projector => (1, 0),
            ModelPart::Embedding => (2, 0),
            ModelPart::Layer(index) => (3, *index),
            ModelPart::Norm => (4, 0),
            ModelPart::Head => {
                assert_eq!(name, "language_model.lm_head.weight");
                (5, 0)
            }
        }));
        let count = |part| parts.iter().filter(|(_, own)| *own == part).count();
        assert_eq!(count(ModelPart::Layer(1)), 9);
        assert_eq!(count(ModelPart::Layer(10)), 9);
        assert_eq!(count(ModelPart::Embedding), 1);
    }

    #[test]
    fn names_of_no_part_have_none() {
        for name in [
            "",
            "language_model",
            "language_model.model.layers.x.mlp",
            "lm_head.weight",
            "language_model.model.norms.weight",
        ] {
            assert_eq!(ModelPart::of(name), None, "{name}");
        }
    }
}
