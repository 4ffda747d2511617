//! The model as a whole: what a trainer and a generator call.

use std::collections::HashMap;
use std::path::Path;

use tch::{Device, Kind, Tensor};

use crate::decoder::{Decoder, Rows};
use crate::kv_cache::Extension;
use crate::layers::{Named, Ready};
use crate::lora::HEAD;
use crate::parameters::{initialise, specification};
use crate::quantise::Quantised;
use crate::vision::{Projector, VisionTower};
use crate::weights::{Reader, TensorFile};
use crate::{Adapter, Error, LlavaConfig, LoadReport, Quantisation};

/// LLaVA: tower, projector, decoder.
pub struct Llava {
    config: LlavaConfig,
    parameters: Vec<(String, Tensor)>,
    /// Weights that are kept in few bits, which are not among the parameters.
    kept: HashMap<String, Quantised>,
    /// Low-rank updates that are in use beside the weights.
    adapter: Option<Adapter>,
    /// The files that tensors of a model for answering lie in.
    #[expect(dead_code, reason = "kept for the tensors that lie in them")]
    files: Vec<Box<dyn TensorFile>>,
    /// `None` in a model that reads text only.
    vision: Vision,
    decoder: Decoder,
    device: Device,
    /// The type of all matrix products: [`Kind::Float`] or [`Kind::BFloat16`]. Weights stay in
    /// f32 and are cast where they are used.
    pub compute: Kind,
}

impl Llava {
    /// A model with random weights, the same for the same seed whatever the machine does besides.
    ///
    /// # Errors
    /// A configuration that cannot be built, or one whose weights would not fit into memory.
    pub fn new(config: &LlavaConfig, seed: u64, device: Device) -> Result<Llava, Error> {
        config.validate()?;
        fits_in_memory(config.parameter_count(), 4.0)?;
        let parameters = initialise(&specification(config), seed, device)?;
        Llava::from_parameters(config.clone(), parameters, device, true)
    }

    /// Puts a model together from all its tensors, in the specification's order.
    pub(crate) fn from_parameters(
        config: LlavaConfig,
        parameters: Vec<(String, Tensor)>,
        device: Device,
        trainable: bool,
    ) -> Result<Llava, Error> {
        Llava::from_kept(config, parameters, HashMap::new(), device, trainable)
    }

    /// The same with some of the decoder's weights in few bits, which never get gradients.
    pub(crate) fn from_kept(
        config: LlavaConfig,
        parameters: Vec<(String, Tensor)>,
        kept: HashMap<String, Quantised>,
        device: Device,
        trainable: bool,
    ) -> Result<Llava, Error> {
        for (_, tensor) in &parameters {
            let _ = tensor.f_set_requires_grad(trainable)?;
        }
        Llava::assemble(config, parameters, kept, None, device)
    }

    /// Puts a model together from tensors that are ready to be used, with an adapter's updates
    /// beside its linear layers.
    fn assemble(
        config: LlavaConfig,
        parameters: Vec<(String, Tensor)>,
        kept: HashMap<String, Quantised>,
        adapter: Option<Adapter>,
        device: Device,
    ) -> Result<Llava, Error> {
        let named = Named::new(&parameters, adapter.as_ref()).with_kept(&kept);
        let (vision, mut decoder) = parts(&config, &named, device, None)?;
        if config.text_config.tie_word_embeddings
            && let Some(adapter) = &adapter
        {
            decoder.head.low_rank = adapter.low_rank(HEAD);
        }
        Ok(Llava {
            vision,
            decoder,
            parameters,
            kept,
            adapter,
            files: Vec::new(),
            config,
            device,
            compute: Kind::Float,
        })
    }

    /// A model that answers, from files: each layer is packed before the next is read, so that the
    /// weights are in memory once. `origin` is what messages name.
    pub(crate) fn read_answering(
        config: LlavaConfig,
        reader: Reader,
        origin: &Path,
        device: Device,
        (kind, how): (Kind, Quantisation),
    ) -> Result<(Llava, LoadReport), Error> {
        let read = |name: &str| reader.read(name);
        let (vision, decoder) = parts(&config, &Named::read(&read), device, Some((kind, how)))?;
        let (files, report) = reader.finish(origin);
        let model = Llava {
            vision,
            decoder,
            parameters: Vec::new(),
            kept: HashMap::new(),
            adapter: None,
            files,
            config,
            device,
            compute: kind,
        };
        Ok((model, report))
    }

    /// The same model with an adapter in use. The model's own weights are the same tensors, and no
    /// longer get gradients; the adapter's do where `trainable`.
    ///
    /// # Errors
    /// An adapter for other layers or shapes.
    pub fn with_adapter(self, adapter: Adapter, trainable: bool) -> Result<Llava, Error> {
        adapter.check(&self.config, &self.shapes())?;
        let mut parameters = self.parameters;
        for (_, tensor) in &parameters {
            let _ = tensor.f_set_requires_grad(false)?;
        }
        adapter.replace(&mut parameters, trainable)?;
        let adapter = adapter.to_device(self.device, &parameters, trainable)?;
        for (_, tensor) in adapter.updates() {
            let _ = tensor.f_set_requires_grad(trainable)?;
        }
        for (name, tensor) in &parameters {
            let _ = tensor.f_set_requires_grad(trainable && adapter.holds(name))?;
        }
        let (kept, adapter) = (self.kept, Some(adapter));
        let mut model = Llava::assemble(self.config, parameters, kept, adapter, self.device)?;
        model.compute = self.compute;
        Ok(model)
    }

    /// The model with an adapter's updates added to its weights for good. Weights that have an
    /// update become new tensors, one at a time.
    ///
    /// # Errors
    /// An adapter for other layers or shapes, or for an output layer that is the embedding.
    pub fn merged(self, adapter: &Adapter) -> Result<Llava, Error> {
        adapter.check(&self.config, &self.shapes())?;
        if !self.kept.is_empty() {
            return Err(Error::Config(
                "weights in few bits cannot take an update for good: load the checkpoint without \
                 quantisation, and merge into that"
                    .into(),
            ));
        }
        let (config, device, compute) = (self.config, self.device, self.compute);
        let mut parameters = self.parameters;
        // The layers hold on to the old weights.
        drop((self.vision, self.decoder));
        let trainable = parameters.iter().any(|(_, tensor)| tensor.requires_grad());
        adapter.replace(&mut parameters, false)?;
        adapter.merge(&mut parameters)?;
        let mut model = Llava::from_parameters(config, parameters, device, trainable)?;
        model.compute = compute;
        Ok(model)
    }

    /// The adapter in use, whose tensors training changes.
    pub fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// A copy for answering: weights cast to `compute` once, without gradients. Where nothing needs
    /// casting the memory is shared, so later training steps show in it.
    pub fn frozen(&self, compute: Kind) -> Result<Llava, Error> {
        let parameters = self
            .parameters
            .iter()
            .map(|(name, tensor)| Ok((name.clone(), tensor.f_detach()?.f_to_kind(compute)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let adapter = match &self.adapter {
            Some(adapter) => Some(adapter.frozen(compute)?),
            None => None,
        };
        let kept = self.kept.iter();
        let kept = kept.map(|(name, weight)| (name.clone(), weight.shallow_clone()));
        let (config, kept) = (self.config.clone(), kept.collect());
        let mut model = Llava::assemble(config, parameters, kept, adapter, self.device)?;
        model.compute = compute;
        Ok(model)
    }

    /// The same model made ready to answer in `kind`: products that begin alike in one, weights
    /// packed for the processor, the decoder's quantised where asked (on a CPU). It has no gradients
    /// and no [`Llava::parameters`]; the weights it was made of are given up one by one.
    pub fn into_answering(self, kind: Kind, how: Quantisation) -> Result<Llava, Error> {
        drop((self.parameters, self.kept));
        Ok(Llava {
            vision: match self.vision {
                Some((tower, projector)) => Some((tower.packed(kind)?, projector.packed(kind)?)),
                None => None,
            },
            decoder: self.decoder.packed(kind, how)?,
            parameters: Vec::new(),
            kept: HashMap::new(),
            compute: kind,
            ..self
        })
    }

    /// [`Llava::into_answering`] of a model that is needed further on.
    pub fn answering(&self, kind: Kind, how: Quantisation) -> Result<Llava, Error> {
        self.frozen(self.compute)?.into_answering(kind, how)
    }

    /// Whether some of the decoder's weights are kept in few bits
    /// ([`crate::LoadOptions::quantisation`]): those are not among [`Llava::parameters`].
    pub fn is_quantised(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Shapes of all weights that are at hand, by name.
    fn shapes(&self) -> HashMap<&str, Vec<i64>> {
        let plain = self.parameters.iter();
        let plain = plain.map(|(name, tensor)| (name.as_str(), tensor.size()));
        let kept = self.kept.iter();
        let kept = kept.map(|(name, weight)| (name.as_str(), weight.size().to_vec()));
        plain.chain(kept).collect()
    }

    /// Shapes and token ids.
    pub fn config(&self) -> &LlavaConfig {
        &self.config
    }

    /// Where the weights are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// All weights by name, in a fixed order; f32 leaves that require gradients, unless
    /// [`Llava::frozen`]. The names are those of the published `llava-hf` folders: `vision_tower.`,
    /// `multi_modal_projector.` and `language_model.` are the three parts. Layers of the tower
    /// above `vision_feature_layer`, and its last norm, never get a gradient.
    pub fn parameters(&self) -> &[(String, Tensor)] {
        &self.parameters
    }

    /// Tower and projector: normalised pixels [images, 3, side, side] to
    /// [images, image tokens, hidden].
    pub fn image_features(&self, pixel_values: &Tensor) -> Result<Tensor, Error> {
        self.project(&self.tower_features(pixel_values)?)
    }

    /// The tower alone: normalised pixels [images, 3, side, side] to
    /// [images, image tokens, width of the tower].
    pub fn tower_features(&self, pixel_values: &Tensor) -> Result<Tensor, Error> {
        let (tower, _) = self.sight()?;
        let side = self.config.image_side();
        let size = pixel_values.size();
        if size.len() != 4 || size[1..] != [3, side, side] {
            return Err(Error::Shape(format!(
                "pixel values are {size:?}; the tower takes [images, 3, {side}, {side}]"
            )));
        }
        let pixels = pixel_values
            .f_to_device(self.device)?
            .f_to_kind(self.compute)?;
        tower.forward(&pixels)
    }

    /// A copy of the tower that learns nothing, packed for the processor: the features of
    /// [`Llava::tower_features`] but for the order of sums, in about half the time on a CPU. Later changes of
    /// the model's tower do not show in it.
    pub fn frozen_tower(&self) -> Result<FrozenTower, Error> {
        let Some(vision) = &self.config.vision_config else {
            return Err(Error::Shape(
                "this model reads text only: it has no vision tower".into(),
            ));
        };
        let named = Named::new(&self.parameters, None);
        let ready = Some((self.compute, Quantisation::None));
        Ok(FrozenTower {
            tower: tch::no_grad(|| VisionTower::new(&self.config, vision, &named, ready))?,
            device: self.device,
            compute: self.compute,
        })
    }

    /// The projector alone: [images, image tokens, width of the tower] to
    /// [images, image tokens, hidden].
    pub fn project(&self, features: &Tensor) -> Result<Tensor, Error> {
        let (_, projector) = self.sight()?;
        projector.forward(&features.f_to_kind(self.compute)?)
    }

    fn sight(&self) -> Result<&(VisionTower, Projector), Error> {
        self.vision.as_ref().ok_or_else(|| {
            Error::Shape("this model reads text only: it has no vision tower".into())
        })
    }

    /// Token ids [batch, tokens] to embeddings [batch, tokens, hidden]. Ids outside the vocabulary
    /// are an error.
    pub fn embed(&self, ids: &Tensor) -> Result<Tensor, Error> {
        // An image token need not have a row; image features replace whatever stands there.
        let image = self.config.image_token_index;
        let ids = if (0..self.config.text_config.vocab_size).contains(&image) {
            ids.shallow_clone()
        } else {
            ids.f_masked_fill(&ids.f_eq(image)?, 0)?
        };
        let rows = Tensor::f_embedding(&self.decoder.embedding, &ids, -1, false, false)?;
        Ok(rows.f_to_kind(self.compute)?)
    }

    /// Runs the decoder; the result has the final norm applied, [batch, tokens, hidden].
    ///
    /// `positions` is [batch, tokens] (i64; one row serves all of a batch). `mask` must broadcast
    /// to [batch, 1, tokens, tokens]: true where a token may look, or numbers added to the scores;
    /// without it each token sees those not after it. With a cache, the extension says what tokens
    /// see, and no gradients are recorded.
    pub fn decode(
        &self,
        embeds: &Tensor,
        positions: &Tensor,
        mask: Option<&Tensor>,
        cache: Option<&mut Extension>,
    ) -> Result<Tensor, Error> {
        self.decode_seeing_layers(embeds, positions, mask, cache, |_| ())
    }

    /// [`Llava::decode`], showing the input of every layer to `each_layer`.
    pub fn decode_seeing_layers(
        &self,
        embeds: &Tensor,
        positions: &Tensor,
        mask: Option<&Tensor>,
        cache: Option<&mut Extension>,
        each_layer: impl FnMut(&Tensor),
    ) -> Result<Tensor, Error> {
        let size = embeds.size();
        let hidden = self.config.text_config.hidden_size;
        if size.len() != 3 || size[2] != hidden || size[1] == 0 {
            return Err(Error::Shape(format!(
                "embeddings are {size:?}; the decoder takes [batch, tokens, {hidden}]"
            )));
        }
        let at = positions.size();
        if at.len() != 2 || at[1] != size[1] || (at[0] != size[0] && at[0] != 1) {
            return Err(Error::Shape(format!(
                "positions are {at:?} for embeddings of {size:?}"
            )));
        }
        let run = |cache| {
            self.decoder
                .forward(embeds, positions, mask, cache, each_layer)
        };
        match cache {
            // The cache is written in place, which autograd could not follow.
            Some(cache) => tch::no_grad(|| run(Some(cache))),
            None => run(None),
        }
    }

    /// What the decoder's layers need to know of packed rows: `positions` [rows, tokens] (i64), and
    /// in `ends` [rows, tokens] (i64) how far each token is seen: token `i` of a row looks at token
    /// `j` of the same row if and only if `j <= i < ends[j]`.
    pub fn rows(&self, positions: &Tensor, ends: &Tensor) -> Result<Rows, Error> {
        let size = positions.size();
        if size.len() != 2 || ends.size() != size || size.contains(&0) {
            return Err(Error::Shape(format!(
                "positions are {size:?} and ends {:?}; both are [rows, tokens]",
                ends.size()
            )));
        }
        self.decoder.rows(positions, ends, self.compute)
    }

    /// Layer `index` of the decoder over packed rows: [rows, tokens, hidden] to the same shape.
    /// A trainer that goes layer by layer calls these one after the other; all of them and
    /// [`Llava::final_norm`] are [`Llava::decode`].
    pub fn decoder_layer(
        &self,
        index: usize,
        hidden: &Tensor,
        rows: &Rows,
    ) -> Result<Tensor, Error> {
        self.decoder.layer(index, hidden, rows)
    }

    /// The norm between the decoder's last layer and [`Llava::logits`].
    pub fn final_norm(&self, hidden: &Tensor) -> Result<Tensor, Error> {
        self.decoder.final_norm(hidden)
    }

    /// Hidden states [.., hidden] to logits [.., vocabulary] in f32. Give it only the rows that
    /// have a label: it is the widest product of the model.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor, Error> {
        Ok(self.decoder.head.forward(hidden)?.f_to_kind(Kind::Float)?)
    }

    /// Embeddings of a batch with its images in place: `ids` is [batch, tokens] with
    /// [`LlavaConfig::image_tokens`] copies of the image token per image, `features` what
    /// [`Llava::image_features`] gave, in reading order.
    pub fn embed_with_images(&self, ids: &Tensor, features: &Tensor) -> Result<Tensor, Error> {
        merge_image_features(
            &self.embed(ids)?,
            ids,
            features,
            self.config.image_token_index,
        )
    }
}

/// A vision tower without gradients; see [`Llava::frozen_tower`].
pub struct FrozenTower {
    tower: VisionTower,
    device: Device,
    compute: Kind,
}

impl FrozenTower {
    /// Normalised pixels [images, 3, side, side] to [images, image tokens, width of the tower].
    pub fn features(&self, pixel_values: &Tensor) -> Result<Tensor, Error> {
        let pixels = pixel_values
            .f_to_device(self.device)?
            .f_to_kind(self.compute)?;
        tch::no_grad(|| self.tower.forward(&pixels))
    }
}

type Vision = Option<(VisionTower, Projector)>;

fn parts(
    config: &LlavaConfig,
    named: &Named,
    device: Device,
    ready: Ready,
) -> Result<(Vision, Decoder), Error> {
    let vision = match &config.vision_config {
        Some(vision) => {
            let tower = VisionTower::new(config, vision, named, ready)?;
            let projector = Projector::new(config, named)?;
            Some(match ready {
                Some((kind, _)) => (tower, projector.packed(kind)?),
                None => (tower, projector),
            })
        }
        None => None,
    };
    Ok((vision, Decoder::new(config, named, device, ready)?))
}

/// Replaces the embeddings [batch, tokens, hidden] at `image_token` positions of `ids`
/// [batch, tokens] by the rows of `features` [images, image tokens, hidden], in reading order.
///
/// # Errors
/// A number of image tokens that is not the number of feature rows.
pub fn merge_image_features(
    embeds: &Tensor,
    ids: &Tensor,
    features: &Tensor,
    image_token: i64,
) -> Result<Tensor, Error> {
    let mask = ids.f_eq(image_token)?;
    let tokens: i64 = i64::try_from(&mask.f_sum(Kind::Int64)?)?;
    let size = features.size();
    let rows: i64 = size.iter().take(size.len().saturating_sub(1)).product();
    if tokens != rows || size.last() != embeds.size().last() {
        return Err(Error::Shape(format!(
            "{tokens} image tokens in the text for {rows} image features of {size:?}"
        )));
    }
    let mask = mask.f_unsqueeze(-1)?.f_expand_as(embeds)?;
    Ok(embeds.f_masked_scatter(&mask, &features.f_to_kind(embeds.f_kind()?)?)?)
}

/// Refuses weights of so many bytes a parameter that are larger than the machine's memory, where
/// that is known.
pub(crate) fn fits_in_memory(parameters: i64, bytes: f64) -> Result<(), Error> {
    let Ok(text) = std::fs::read_to_string("/proc/meminfo") else {
        return Ok(());
    };
    let total = text.lines().find_map(|line| {
        let kib = line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?;
        kib.trim().parse::<i64>().ok()
    });
    let needed = (parameters as f64 * bytes / 1024.0) as i64;
    match total {
        Some(total) if needed > total => Err(Error::Config(format!(
            "{parameters} parameters of {bytes} bytes take {} MiB, and this machine has {} MiB: make the \
             model smaller, or keep it in a smaller type or in fewer bits",
            needed / 1024,
            total / 1024
        ))),
        _ => Ok(()),
    }
}
