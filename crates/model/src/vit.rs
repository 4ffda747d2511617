//! The ViT classifier, as transformers' `ViTForImageClassification`, weights in and out included.
//!
//! Patches with a learned position each, layers that norm first, a last norm, and a linear head on
//! the class token. Nothing looks at the other tokens after the last layer, so there only the class
//! token's output is computed. Two classifiers may share one tower ([`Vit::sharing_tower`]): its
//! features are then computed once for both.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use crate::checkpoint::{pretty, write_safetensors};
use crate::encoder::{
    Activation, EncoderLayer, LayerNames, LayerShape, add_class_and_positions, embed_patches,
};
use crate::layers::{LayerNorm, Linear, Named};
use crate::llava::fits_in_memory;
use crate::parameters::{Init, Parameter, initialise};
use crate::weights::{complete, read_weights};
use crate::{Error, LoadReport, Preprocessor, VitConfig, WeightKind};

const NAMES: LayerNames = LayerNames {
    norm1: "layernorm_before",
    q: "attention.attention.query",
    k: "attention.attention.key",
    v: "attention.attention.value",
    out: "attention.output.dense",
    norm2: "layernorm_after",
    fc1: "intermediate.dense",
    fc2: "output.dense",
    scales: None,
};
const HEAD: &str = "classifier";

/// A vision transformer with a linear head.
pub struct Vit {
    config: VitConfig,
    parameters: Vec<(String, Tensor)>,
    class: Tensor,
    /// [hidden, 3, patch, patch]
    patch: Tensor,
    patch_bias: Tensor,
    position: Tensor,
    layers: Vec<EncoderLayer>,
    norm: LayerNorm,
    head: Linear,
    device: Device,
    /// The type of the tower's matrix products. Weights stay in f32 and are cast where they are
    /// used, unless the model is [`Vit::frozen`].
    pub compute: Kind,
}

impl Vit {
    /// Random weights, the same for the same seed.
    ///
    /// # Errors
    /// A configuration that cannot be built, or one whose weights would not fit into memory.
    pub fn new(config: &VitConfig, seed: u64, device: Device) -> Result<Vit, Error> {
        config.validate()?;
        fits_in_memory(config.parameter_count(), 4.0)?;
        let parameters = initialise(&specification(config), seed, device)?;
        Vit::from_parameters(config.clone(), parameters, device, true)
    }

    /// Loads a Hugging Face folder as f32: `config.json` and safetensors weights, in one file or
    /// in shards, under the names of `ViTForImageClassification` or of the bare `ViTModel`.
    ///
    /// # Errors
    /// Anything that does not fit, and any tensor that no file has.
    pub fn load(dir: &Path, device: Device) -> Result<(Vit, LoadReport), Error> {
        let config = VitConfig::read(dir)?;
        let (parameters, report) =
            read_weights(dir, specification(&config), &internal_name, 0, device)?;
        complete(dir, &report)?;
        Ok((
            Vit::from_parameters(config, parameters, device, true)?,
            report,
        ))
    }

    /// Loads a folder to be fine-tuned for other classes: the head is kept where it has exactly
    /// these `labels`, else it is fresh, from `seed`, and listed as missing.
    ///
    /// # Errors
    /// As [`Vit::load`], the head excepted.
    pub fn load_base(
        dir: &Path,
        labels: &[String],
        seed: u64,
        device: Device,
    ) -> Result<(Vit, LoadReport), Error> {
        let mut config = VitConfig::read(dir)?;
        let keep = config.labels == labels;
        config.labels = labels.to_vec();
        config.validate()?;
        let rename =
            |name: &str| internal_name(name).filter(|name| keep || !name.starts_with(HEAD));
        let (parameters, report) =
            read_weights(dir, specification(&config), &rename, seed, device)?;
        // A bare tower has no head at all.
        let mut tower = report.clone();
        tower.missing.retain(|name| !name.starts_with(HEAD));
        complete(dir, &tower)?;
        Ok((
            Vit::from_parameters(config, parameters, device, true)?,
            report,
        ))
    }

    /// Another classifier on this one's tower: the tower's weights are the same tensors, the head
    /// is fresh, from `seed`.
    pub fn sharing_tower(&self, labels: &[String], seed: u64) -> Result<Vit, Error> {
        let config = VitConfig {
            labels: labels.to_vec(),
            ..self.config.clone()
        };
        config.validate()?;
        let mut parameters: Vec<(String, Tensor)> = self
            .tower_parameters()
            .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
            .collect();
        let head: Vec<Parameter> = specification(&config)
            .into_iter()
            .filter(|p| p.name.starts_with(HEAD))
            .collect();
        parameters.extend(initialise(&head, seed, self.device)?);
        let mut vit = Vit::from_parameters(config, parameters, self.device, true)?;
        vit.compute = self.compute;
        Ok(vit)
    }

    /// `other`'s head on this tower, for grading: one tower in memory for both.
    pub fn with_head_of(&self, other: &Vit) -> Result<Vit, Error> {
        let parameters = self
            .tower_parameters()
            .chain(other.head_parameters())
            .map(|(name, tensor)| Ok((name.clone(), tensor.f_detach()?)))
            .collect::<Result<_, Error>>()?;
        let mut vit = Vit::from_parameters(other.config.clone(), parameters, self.device, false)?;
        vit.compute = self.compute;
        Ok(vit)
    }

    /// Whether both have the same tower, weight for weight, so that one pass serves both.
    pub fn has_tower_of(&self, other: &Vit) -> Result<bool, Error> {
        let shape = |config: &VitConfig| VitConfig {
            labels: Vec::new(),
            ..config.clone()
        };
        if shape(&self.config) != shape(&other.config) {
            return Ok(false);
        }
        for ((_, a), (_, b)) in self.tower_parameters().zip(other.tower_parameters()) {
            if a.data_ptr() != b.data_ptr() && !a.f_equal(b)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A copy for grading: weights cast to `compute` once, without gradients.
    pub fn frozen(&self, compute: Kind) -> Result<Vit, Error> {
        let parameters = self
            .parameters
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), tensor.f_detach()?.f_to_kind(compute)?)))
            .collect::<Result<_, Error>>()?;
        let mut vit = Vit::from_parameters(self.config.clone(), parameters, self.device, false)?;
        vit.compute = compute;
        Ok(vit)
    }

    fn from_parameters(
        config: VitConfig,
        parameters: Vec<(String, Tensor)>,
        device: Device,
        trainable: bool,
    ) -> Result<Vit, Error> {
        for (_, tensor) in &parameters {
            let _ = tensor.f_set_requires_grad(trainable)?;
        }
        let named = Named::new(&parameters, None);
        let shape = LayerShape {
            heads: config.num_attention_heads,
            head_dim: config.head_dim(),
            eps: config.layer_norm_eps,
            activation: Activation::Gelu,
            qkv_bias: config.qkv_bias,
        };
        let layers = (0..config.num_hidden_layers)
            .map(|i| EncoderLayer::new(&named, &format!("vit.encoder.layer.{i}"), &NAMES, shape))
            .collect::<Result<_, Error>>()?;
        let root = "vit.embeddings";
        let patch = format!("{root}.patch_embeddings.projection");
        Ok(Vit {
            class: named.get(&format!("{root}.cls_token"))?,
            patch: named.get(&format!("{patch}.weight"))?,
            patch_bias: named.get(&format!("{patch}.bias"))?,
            position: named.get(&format!("{root}.position_embeddings"))?,
            layers,
            norm: named.layer_norm("vit.layernorm", config.layer_norm_eps)?,
            head: named.linear(HEAD, true)?,
            parameters,
            config,
            device,
            compute: Kind::Float,
        })
    }

    /// Shape and classes.
    pub fn config(&self) -> &VitConfig {
        &self.config
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// All weights by transformers' names, in a fixed order, the head last; f32 leaves that require
    /// gradients, unless [`Vit::frozen`].
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.parameters
    }

    /// The head's weights alone.
    pub fn head_parameters(&self) -> impl Iterator<Item = &(String, Tensor)> {
        self.parameters.iter().filter(|(n, _)| n.starts_with(HEAD))
    }

    fn tower_parameters(&self) -> impl Iterator<Item = &(String, Tensor)> {
        self.parameters.iter().filter(|(n, _)| !n.starts_with(HEAD))
    }

    /// Normalised pixels [images, 3, side, side] to the class token after the last norm,
    /// [images, hidden].
    pub fn features(&self, pixel_values: &Tensor) -> Result<Tensor, Error> {
        let side = self.config.image_size;
        let size = pixel_values.size();
        if size.len() != 4 || size[1..] != [3, side, side] {
            return Err(Error::Shape(format!(
                "pixel values are {size:?}; the tower takes [images, 3, {side}, {side}]"
            )));
        }
        let pixels = pixel_values
            .f_to_device(self.device)?
            .f_to_kind(self.compute)?;
        let patches = embed_patches(&pixels, &self.patch, Some(&self.patch_bias))?;
        let mut hidden = add_class_and_positions(&patches, Some(&self.class), &self.position)?;
        let last = self.layers.len().saturating_sub(1);
        for (i, layer) in self.layers.iter().enumerate() {
            hidden = if i == last {
                layer.forward_first(&hidden, 1)?
            } else {
                layer.forward(&hidden)?
            };
        }
        // [images, 1, hidden] -> [images, hidden]
        Ok(self.norm.forward(&hidden)?.f_squeeze_dim(1)?)
    }

    /// The head alone, in f32: [images, hidden] to [images, classes].
    pub fn classify(&self, features: &Tensor) -> Result<Tensor, Error> {
        self.head.forward(&features.f_to_kind(Kind::Float)?)
    }

    /// Normalised pixels to f32 logits [images, classes].
    pub fn logits(&self, pixel_values: &Tensor) -> Result<Tensor, Error> {
        self.classify(&self.features(pixel_values)?)
    }

    /// Writes a folder that transformers' `AutoModelForImageClassification` and
    /// `AutoImageProcessor` open. Each file is written under a temporary name and renamed,
    /// `config.json` last.
    pub fn save(
        &self,
        dir: &Path,
        preprocessor: &Preprocessor,
        kind: WeightKind,
    ) -> Result<(), Error> {
        std::fs::create_dir_all(dir).map_err(|e| sample::Error::io(dir, e))?;
        let (kind, name) = kind.stored();
        let tensors = self
            .parameters
            .iter()
            .map(|(n, t)| (n.as_str(), t.shallow_clone()));
        write_safetensors(&dir.join("model.safetensors"), tensors, Some(kind))?;
        let write = |name: &str, value: &serde_json::Value| -> Result<(), Error> {
            Ok(sample::write_atomic(
                &dir.join(name),
                pretty(value)?.as_bytes(),
            )?)
        };
        write("preprocessor_config.json", &preprocessor.vit_json())?;
        write("config.json", &self.config.to_json(name))
    }
}

/// The model's name for a tensor of a file, or `None` for the pooler, which no classifier uses.
fn internal_name(name: &str) -> Option<String> {
    let bare = ["embeddings.", "encoder.", "layernorm.", "pooler."];
    let name = if bare.iter().any(|prefix| name.starts_with(prefix)) {
        format!("vit.{name}")
    } else {
        name.to_owned()
    };
    (!name.starts_with("vit.pooler.")).then_some(name)
}

/// All tensors of a ViT, the head last. Initial values are normal with the configuration's range,
/// as transformers' `_init_weights` has them up to its cut at two deviations.
fn specification(config: &VitConfig) -> Vec<Parameter> {
    let (h, m, p) = (
        config.hidden_size,
        config.intermediate_size,
        config.patch_size,
    );
    let random = Init::Normal(config.initializer_range);
    let mut list = Vec::new();
    let mut add = |name: String, shape: &[i64], init| {
        list.push(Parameter {
            name,
            shape: shape.to_vec(),
            init,
        });
    };
    let root = "vit.embeddings";
    let positions = config.grid() * config.grid() + 1;
    add(format!("{root}.cls_token"), &[1, 1, h], random);
    add(
        format!("{root}.position_embeddings"),
        &[1, positions, h],
        random,
    );
    let patch = format!("{root}.patch_embeddings.projection");
    add(format!("{patch}.weight"), &[h, 3, p, p], random);
    add(format!("{patch}.bias"), &[h], Init::Zeros);
    for layer in 0..config.num_hidden_layers {
        let root = format!("vit.encoder.layer.{layer}");
        for norm in [NAMES.norm1, NAMES.norm2] {
            add(format!("{root}.{norm}.weight"), &[h], Init::Ones);
            add(format!("{root}.{norm}.bias"), &[h], Init::Zeros);
        }
        for (name, to, from, bias) in [
            (NAMES.q, h, h, config.qkv_bias),
            (NAMES.k, h, h, config.qkv_bias),
            (NAMES.v, h, h, config.qkv_bias),
            (NAMES.out, h, h, true),
            (NAMES.fc1, m, h, true),
            (NAMES.fc2, h, m, true),
        ] {
            add(format!("{root}.{name}.weight"), &[to, from], random);
            if bias {
                add(format!("{root}.{name}.bias"), &[to], Init::Zeros);
            }
        }
    }
    add("vit.layernorm.weight".to_owned(), &[h], Init::Ones);
    add("vit.layernorm.bias".to_owned(), &[h], Init::Zeros);
    let classes = config.labels.len() as i64;
    add(format!("{HEAD}.weight"), &[classes, h], random);
    add(format!("{HEAD}.bias"), &[classes], Init::Zeros);
    list
}
