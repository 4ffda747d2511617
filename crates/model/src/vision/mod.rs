//! The vision tower, of which LLaVA takes one hidden state, and the projector behind it.
//!
//! CLIP, SigLIP and DINOv2 are one transformer with different names and trimmings: a [`Form`] says
//! which tensors a tower has, what they hold before training and which are used. Layers above the
//! chosen hidden state, pooling heads and, but for SigLIP, the final norm are part of the
//! checkpoint but are never run, so their weights get no gradient.

mod clip;
mod dinov2;
mod projector;
mod siglip;

use tch::{Kind, Tensor};

pub(crate) use projector::{Projector, parameters as projector_parameters};

use crate::config::Tower;
use crate::encoder::{
    Activation, EncoderLayer, LayerNames, LayerShape, add_class_and_positions, embed_patches,
};
use crate::layers::{LayerNorm, Named, Ready};
use crate::parameters::{Init, Parameter};
use crate::{Error, FeatureSelect, LlavaConfig, VisionConfig};

/// One family of towers: its tensors' names below `root`, shapes and initial values.
struct Form {
    root: &'static str,
    class: Option<Parameter>,
    /// Name of the patch embedding, [hidden, 3, patch, patch].
    patch: &'static str,
    patch_bias: bool,
    /// A row for the class token, where there is one, and for each patch.
    position: Parameter,
    /// A norm before the first layer.
    pre_norm: Option<&'static str>,
    /// Where the layers stand, and their parts.
    layers: &'static str,
    names: LayerNames,
    qkv_bias: bool,
    activation: Activation,
    post_norm: &'static str,
    /// Whether the last hidden state is taken after `post_norm`: transformers 4.57 gives
    /// SigLIP's so.
    last_is_normed: bool,
    /// What is in the folder but never run.
    unused: Vec<Parameter>,
    init: LayerInit,
}

/// Initial values of the products; norms begin as the identity, other biases as zero.
struct LayerInit {
    patch: Init,
    qkv: Init,
    out: Init,
    fc1: Init,
    fc2: Init,
    fc_bias: Init,
    /// Of LayerScale.
    scale: Init,
}

impl Form {
    fn of(config: &VisionConfig) -> Form {
        match config.tower() {
            Tower::Clip => clip::form(config),
            Tower::Siglip => siglip::form(config),
            Tower::Dinov2 => dinov2::form(config),
        }
    }

    /// A tensor's whole name.
    fn name(&self, part: &str) -> String {
        format!("{}.{part}", self.root)
    }
}

/// All tensors of the tower.
pub(crate) fn tower_parameters(config: &VisionConfig) -> Vec<Parameter> {
    let form = Form::of(config);
    let (h, m, p) = (config.hidden_size, config.mlp_width(), config.patch_size);
    let mut list = Vec::new();
    let mut add = |name: String, shape: &[i64], init| {
        list.push(Parameter {
            name: form.name(&name),
            shape: shape.to_vec(),
            init,
        });
    };
    if let Some(class) = &form.class {
        add(class.name.clone(), &class.shape, class.init);
    }
    let patch = form.patch;
    add(format!("{patch}.weight"), &[h, 3, p, p], form.init.patch);
    if form.patch_bias {
        add(format!("{patch}.bias"), &[h], Init::Zeros);
    }
    add(
        form.position.name.clone(),
        &form.position.shape,
        form.position.init,
    );
    let norm = |add: &mut dyn FnMut(String, &[i64], Init), root: String| {
        add(format!("{root}.weight"), &[h], Init::Ones);
        add(format!("{root}.bias"), &[h], Init::Zeros);
    };
    if let Some(name) = form.pre_norm {
        norm(&mut add, name.to_owned());
    }
    let n = &form.names;
    // A SwiGLU's first product gives both halves.
    let wide = if form.activation == Activation::SwiGlu {
        2 * m
    } else {
        m
    };
    for layer in 0..config.num_hidden_layers {
        let root = format!("{}.{layer}", form.layers);
        for (name, init, bias) in [
            (n.q, form.init.qkv, form.qkv_bias),
            (n.k, form.init.qkv, form.qkv_bias),
            (n.v, form.init.qkv, form.qkv_bias),
            (n.out, form.init.out, true),
        ] {
            add(format!("{root}.{name}.weight"), &[h, h], init);
            if bias {
                add(format!("{root}.{name}.bias"), &[h], Init::Zeros);
            }
        }
        norm(&mut add, format!("{root}.{}", n.norm1));
        for (name, shape, init) in [
            (n.fc1, [wide, h], form.init.fc1),
            (n.fc2, [h, m], form.init.fc2),
        ] {
            add(format!("{root}.{name}.weight"), &shape, init);
            add(
                format!("{root}.{name}.bias"),
                &shape[..1],
                form.init.fc_bias,
            );
        }
        norm(&mut add, format!("{root}.{}", n.norm2));
        for scale in n.scales.iter().flatten() {
            add(format!("{root}.{scale}"), &[h], form.init.scale);
        }
    }
    norm(&mut add, form.post_norm.to_owned());
    for unused in &form.unused {
        add(unused.name.clone(), &unused.shape, unused.init);
    }
    list
}

pub(crate) struct VisionTower {
    class: Option<Tensor>,
    /// [hidden, channels, patch, patch]
    patch: Tensor,
    patch_bias: Option<Tensor>,
    position: Tensor,
    pre_norm: Option<LayerNorm>,
    layers: Vec<EncoderLayer>,
    /// Where the last hidden state is taken, and taken normed.
    post_norm: Option<LayerNorm>,
    select: FeatureSelect,
}

impl VisionTower {
    pub fn new(
        config: &LlavaConfig,
        v: &VisionConfig,
        named: &Named,
        ready: Ready,
    ) -> Result<VisionTower, Error> {
        let form = Form::of(v);
        let get = |part: &str| named.get(&form.name(part));
        let norm = |part: &str| named.layer_norm(&form.name(part), v.layer_norm_eps);
        let shape = LayerShape {
            heads: v.num_attention_heads,
            head_dim: v.head_dim(),
            eps: v.layer_norm_eps,
            activation: form.activation,
            qkv_bias: form.qkv_bias,
        };
        let used = config.vision_layers_used();
        let layers = (0..used)
            .map(|i| {
                let root = form.name(&format!("{}.{i}", form.layers));
                let layer = EncoderLayer::new(named, &root, &form.names, shape)?;
                match ready {
                    Some((kind, _)) => layer.packed(kind),
                    None => Ok(layer),
                }
            })
            .collect::<Result<_, Error>>()?;
        let last = form.last_is_normed && used == v.num_hidden_layers;
        let tower = VisionTower {
            class: form.class.as_ref().map(|c| get(&c.name)).transpose()?,
            patch: get(&format!("{}.weight", form.patch))?,
            patch_bias: if form.patch_bias {
                Some(get(&format!("{}.bias", form.patch))?)
            } else {
                None
            },
            position: get(&form.position.name)?,
            pre_norm: form.pre_norm.map(norm).transpose()?,
            layers,
            post_norm: if last {
                Some(norm(form.post_norm)?)
            } else {
                None
            },
            select: config.vision_feature_select_strategy,
        };
        match ready {
            Some((kind, _)) => tower.packed(kind),
            None => Ok(tower),
        }
    }

    /// The same tower for answering in `kind`.
    pub fn packed(self, kind: Kind) -> Result<VisionTower, Error> {
        let cast = |x: Tensor| x.f_detach()?.f_to_kind(kind);
        let norm = |norm: LayerNorm| norm.packed(kind);
        let layers = self.layers.into_iter().map(|layer| layer.packed(kind));
        Ok(VisionTower {
            class: self.class.map(cast).transpose()?,
            patch: cast(self.patch)?,
            patch_bias: self.patch_bias.map(cast).transpose()?,
            position: cast(self.position)?,
            pre_norm: self.pre_norm.map(norm).transpose()?,
            layers: layers.collect::<Result<_, Error>>()?,
            post_norm: self.post_norm.map(norm).transpose()?,
            select: self.select,
        })
    }

    /// [images, 3, side, side] -> [images, tokens, hidden]
    pub fn forward(&self, pixels: &Tensor) -> Result<Tensor, Error> {
        let patches = embed_patches(pixels, &self.patch, self.patch_bias.as_ref())?;
        let position = self.positions(patches.size()[1])?;
        let mut hidden = add_class_and_positions(&patches, self.class.as_ref(), &position)?;
        if let Some(norm) = &self.pre_norm {
            hidden = norm.forward(&hidden)?;
        }
        for layer in &self.layers {
            hidden = layer.forward(&hidden)?;
        }
        if let Some(norm) = &self.post_norm {
            hidden = norm.forward(&hidden)?;
        }
        Ok(match self.select {
            // The first token goes, as in transformers, even where it is no class token.
            FeatureSelect::Default => hidden.f_narrow(1, 1, hidden.size()[1] - 1)?,
            FeatureSelect::Full => hidden,
        })
    }

    /// Positions for `patches` patches, [tokens, hidden]: those of the checkpoint, or, for another
    /// grid, bicubic between them, in f32, as in transformers' `interpolate_pos_encoding`.
    fn positions(&self, patches: i64) -> Result<Tensor, Error> {
        let hidden = self.patch.size()[0];
        let all = self.position.f_reshape([-1, hidden])?;
        let before = i64::from(self.class.is_some());
        let held = all.size()[0] - before;
        if held == patches {
            return Ok(all);
        }
        let (from, to) = (held.isqrt(), patches.isqrt());
        let grid = all
            .f_narrow(0, before, held)?
            .f_to_kind(Kind::Float)?
            .f_reshape([1, from, from, hidden])?
            .f_permute([0, 3, 1, 2])?; // [1, hidden, grid, grid]
        let grid = grid
            .f_upsample_bicubic2d([to, to], false, None, None)?
            .f_permute([0, 2, 3, 1])?
            .f_reshape([patches, hidden])?
            .f_to_kind(all.f_kind()?)?;
        Ok(Tensor::f_cat(&[&all.f_narrow(0, 0, before)?, &grid], 0)?)
    }
}
