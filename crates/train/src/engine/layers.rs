//! The decoder's layers, up without gradients and down with them.

use model::{Llava, ModelPart, Rows};
use tch::{Tensor, no_grad};

use super::gradients::{Gradients, Trained};
use super::visual::Bottom;
use super::{How, head};
use crate::Error;
use crate::packing::MicroBatch;

/// What is kept of a layer on the way up.
enum Kept {
    /// Nothing: nothing below it is trained, nor itself.
    Nothing,
    /// Its input: it will be run again.
    Input(Tensor),
    /// Its input as a leaf, and its output with the graph between them.
    Graph(Tensor, Tensor),
}

/// One micro-batch on its way through the layers.
struct Way {
    rows: Rows,
    kept: Vec<Kept>,
    /// On the way up the present hidden state, on the way down its gradient: `[rows, tokens, hidden]`.
    at: Tensor,
}

/// A step's micro-batches between the layers.
pub struct Pass<'a> {
    model: &'a Llava,
    trained: &'a Trained,
    how: &'a How,
    /// For the seeds of dropout.
    step: u64,
    /// The lowest layer that has to hand its gradient on or has one of its own; as many as there are
    /// layers where none does.
    lowest: usize,
    /// Whether something below the layers is trained.
    bottom: bool,
    ways: Vec<Way>,
}

impl<'a> Pass<'a> {
    /// Nothing is run yet.
    pub fn new(model: &'a Llava, trained: &'a Trained, how: &'a How, step: u64) -> Pass<'a> {
        let bottom = [ModelPart::Embedding, ModelPart::Projector, ModelPart::Tower];
        let bottom = bottom.into_iter().any(|part| trained.has(part));
        let layers = layers(model);
        Pass {
            model,
            trained,
            how,
            step,
            lowest: match bottom {
                true => 0,
                false => trained.lowest_layer().unwrap_or(layers),
            },
            bottom,
            ways: Vec::new(),
        }
    }

    /// How many layers there are.
    pub fn layers(&self) -> usize {
        layers(self.model)
    }

    /// Runs a micro-batch through all layers.
    pub fn up(&mut self, index: usize, batch: &MicroBatch, bottom: &Bottom) -> Result<(), Error> {
        let embeds = no_grad(|| embed(self.model, batch, bottom))?;
        let rows = self.model.rows(&batch.positions, &batch.ends)?;
        let mut at = embeds;
        let mut kept = Vec::with_capacity(self.layers());
        for layer in 0..self.layers() {
            self.seed(layer, index);
            let below = layer > self.lowest || self.bottom;
            if layer < self.lowest {
                at = no_grad(|| self.model.decoder_layer(layer, &at, &rows))?;
                kept.push(Kept::Nothing);
            } else if self.how.gradient_checkpointing {
                let input = at;
                at = no_grad(|| self.model.decoder_layer(layer, &input, &rows))?;
                kept.push(Kept::Input(input));
            } else {
                let leaf = at.f_detach()?.f_set_requires_grad(below)?;
                let out = self.model.decoder_layer(layer, &leaf, &rows)?;
                at = out.f_detach()?;
                kept.push(Kept::Graph(leaf, out));
            }
        }
        self.ways.push(Way { rows, kept, at });
        Ok(())
    }

    /// The loss of a micro-batch that is at the top; with gradients, its way down begins.
    pub fn turn(
        &mut self,
        index: usize,
        batch: &MicroBatch,
        gradients: Option<&mut Gradients>,
    ) -> Result<f64, Error> {
        let Some(way) = self.ways.get_mut(index) else {
            return Ok(0.0);
        };
        let (loss, grad) = head::loss(self.model, self.trained, &way.at, batch, gradients)?;
        if let Some(grad) = grad {
            way.at = grad;
        }
        Ok(loss)
    }

    /// Brings all micro-batches down through one layer.
    pub fn down(&mut self, layer: usize, gradients: &mut Gradients) -> Result<(), Error> {
        let indices = self.trained.of(ModelPart::Layer(layer));
        for index in 0..self.ways.len() {
            self.seed(layer, index);
            let below = layer > self.lowest || self.bottom;
            let Some(way) = self.ways.get_mut(index) else {
                continue;
            };
            let place = way.kept.get_mut(layer);
            let kept = place.map_or(Kept::Nothing, |kept| std::mem::replace(kept, Kept::Nothing));
            let (leaf, out) = match kept {
                Kept::Nothing => continue,
                Kept::Graph(leaf, out) => (leaf, out),
                Kept::Input(input) => {
                    let leaf = input.f_detach()?.f_set_requires_grad(below)?;
                    let out = self.model.decoder_layer(layer, &leaf, &way.rows)?;
                    (leaf, out)
                }
            };
            let grad = Some(&way.at);
            if let Some(below) = gradients.add(self.trained, &indices, &out, grad, Some(&leaf))? {
                way.at = below;
            }
        }
        Ok(())
    }

    /// Below the first layer: gradients of the embedding, and of the features that replaced image
    /// tokens, `[images * patches, hidden]`.
    pub fn ground(
        &mut self,
        batches: &[MicroBatch],
        bottom: &Bottom,
        gradients: &mut Gradients,
    ) -> Result<Option<Tensor>, Error> {
        if !self.bottom {
            return Ok(None);
        }
        let indices = self.trained.of(ModelPart::Embedding);
        let mut features: Option<Tensor> = None;
        for (way, batch) in self.ways.drain(..).zip(batches) {
            let leaf = bottom.features();
            let out = embed(self.model, batch, bottom)?;
            let grad = gradients.add(self.trained, &indices, &out, Some(&way.at), leaf)?;
            if let Some(grad) = grad {
                features = Some(match features {
                    Some(sum) => sum.f_add(&grad)?,
                    None => grad,
                });
            }
        }
        Ok(features)
    }

    /// What an adapter drops must be the same when a layer is run again.
    fn seed(&self, layer: usize, micro: usize) {
        if let Some(seed) = self.how.dropout_seed {
            let at = [self.step, layer as u64, micro as u64].map(|n| n.to_string());
            let key = sample::seed::derive(seed, &[&at[0], &at[1], &at[2]]);
            tch::manual_seed(key as i64);
        }
    }
}

fn layers(model: &Llava) -> usize {
    usize::try_from(model.config().text_config.num_hidden_layers).unwrap_or(0)
}

/// The embeddings of a micro-batch with features in place of image tokens, `[rows, tokens, hidden]`.
fn embed(model: &Llava, batch: &MicroBatch, bottom: &Bottom) -> Result<Tensor, Error> {
    let embeds = model.embed(&batch.ids)?;
    let (Some(features), true) = (bottom.features(), batch.image_at.numel() > 0) else {
        return Ok(embeds);
    };
    let shape = embeds.size();
    let features = features.f_index_select(0, &batch.image_from)?; // [image tokens, hidden]
    Ok(embeds
        .f_flatten(0, 1)?
        .f_index_copy(0, &batch.image_at, &features.f_to_kind(embeds.f_kind()?)?)?
        .f_view(shape.as_slice())?)
}
