//! The projector: from the tower's width to the decoder's, in one layer or several.

use tch::{Kind, Tensor};

use crate::cpu::Activation;
use crate::layers::{Linear, Named};
use crate::parameters::{Init, Parameter};
use crate::{Error, LlavaConfig, Quantisation, VisionConfig};

const ROOT: &str = "multi_modal_projector";

/// Linear layers with GELUs between them. transformers names the two it knows `linear_1` and
/// `linear_2`; any others count on.
pub(crate) struct Projector {
    layers: Vec<Linear>,
}

fn layers(config: &LlavaConfig) -> i64 {
    config.projector_layers().unwrap_or(2)
}

/// All tensors of the projector.
pub(crate) fn parameters(config: &LlavaConfig, vision: &VisionConfig) -> Vec<Parameter> {
    let hidden = config.text_config.hidden_size;
    let weight = Init::Normal(config.text_config.initializer_range);
    let mut list = Vec::new();
    for layer in 1..=layers(config) {
        let from = if layer == 1 {
            vision.hidden_size
        } else {
            hidden
        };
        list.push(Parameter {
            name: format!("{ROOT}.linear_{layer}.weight"),
            shape: vec![hidden, from],
            init: weight,
        });
        if config.multimodal_projector_bias {
            list.push(Parameter {
                name: format!("{ROOT}.linear_{layer}.bias"),
                shape: vec![hidden],
                init: Init::Zeros,
            });
        }
    }
    list
}

impl Projector {
    pub fn new(config: &LlavaConfig, named: &Named) -> Result<Projector, Error> {
        let layers = (1..=layers(config)).map(|layer| {
            let name = format!("{ROOT}.linear_{layer}");
            named.linear(&name, config.multimodal_projector_bias)
        });
        Ok(Projector {
            layers: layers.collect::<Result<_, Error>>()?,
        })
    }

    /// [images, tokens, tower hidden] -> [images, tokens, decoder hidden]
    pub fn forward(&self, features: &Tensor) -> Result<Tensor, Error> {
        let mut x = features.shallow_clone();
        let last = self.layers.len().saturating_sub(1);
        for (index, layer) in self.layers.iter().enumerate() {
            let activation = if index < last {
                Activation::Gelu
            } else {
                Activation::None
            };
            x = layer.forward_active(&x, activation)?;
        }
        Ok(x)
    }

    /// The same projector for answering in `kind`.
    pub fn packed(self, kind: Kind) -> Result<Projector, Error> {
        let layers = self.layers.into_iter();
        let layers = layers.map(|layer| layer.packed(kind, Quantisation::None));
        Ok(Projector {
            layers: layers.collect::<Result<_, Error>>()?,
        })
    }
}
