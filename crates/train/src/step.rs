//! The loss of one batch.
//!
//! Logits are computed only where something is to be predicted: a few per cent of the positions,
//! and the widest product of the model.

use model::Llava;
use tch::{Kind, Tensor};

use crate::Error;
use crate::packing::MicroBatch;

/// The weighted mean cross-entropy of the batch's edges, in f32, ready for `backward`.
///
/// `pixels` are the batch's images, preprocessed: `[images, 3, side, side]`. Where `centre`, the
/// gradient of the features is centred over them.
pub fn loss(
    model: &Llava,
    pixels: &Tensor,
    batch: &MicroBatch,
    centre: bool,
) -> Result<Tensor, Error> {
    let losses = edge_losses(model, pixels, batch, centre)?;
    Ok(losses.f_dot(&batch.edge_weight)?)
}

/// The cross-entropy of each edge, f32. `[edges]`
pub fn edge_losses(
    model: &Llava,
    pixels: &Tensor,
    batch: &MicroBatch,
    centre: bool,
) -> Result<Tensor, Error> {
    let logits = edge_logits(model, pixels, batch, centre)?;
    Ok(logits
        .f_log_softmax(-1, Kind::Float)?
        .f_gather(1, &batch.edge_target.f_unsqueeze(1)?, false)?
        .f_squeeze_dim(1)?
        .f_neg()?)
}

/// The logits of each edge's predicting token, f32. `[edges, vocabulary]`
pub fn edge_logits(
    model: &Llava,
    pixels: &Tensor,
    batch: &MicroBatch,
    centre: bool,
) -> Result<Tensor, Error> {
    let features = model.image_features(pixels)?.f_flatten(0, 1)?; // [images * patches, hidden]
    let features = if centre {
        centred(&features)?
    } else {
        features
    };
    let features = features.f_index_select(0, &batch.image_from)?; // [image tokens, hidden]
    let embeds = model.embed(&batch.ids)?; // [rows, tokens, hidden]
    let shape = embeds.size();
    let embeds = embeds
        .f_flatten(0, 1)? // [rows * tokens, hidden]
        .f_index_copy(0, &batch.image_at, &features)?
        .f_view(shape.as_slice())?;
    let rows = model.rows(&batch.positions, &batch.ends)?;
    let mut hidden = embeds;
    let layers = usize::try_from(model.config().text_config.num_hidden_layers).unwrap_or(0);
    for layer in 0..layers {
        hidden = model.decoder_layer(layer, &hidden, &rows)?;
    }
    let hidden = model.final_norm(&hidden)?;
    let hidden = hidden.f_flatten(0, 1)?.f_index_select(0, &batch.edge_at)?; // [edges, hidden]
    Ok(model.logits(&hidden)?)
}

/// The same features, with a gradient whose mean over the batch's patches is taken off.
///
/// Early in a run from scratch, what all image tokens have in common is the easiest place for the
/// decoder to keep its word frequencies. That drives every feature the same way (measured: standard
/// deviation from 0.4 to 16 within 100 steps, 1 of it between images), the decoder's norm then
/// hides what differs, and the tower learns nothing. Without the common part of the gradient the
/// tower is asked only for differences. The forward pass is untouched.
fn centred(features: &Tensor) -> Result<Tensor, Error> {
    let mean = features.f_mean_dim(Some(&[0i64][..]), true, features.kind())?;
    Ok(features.f_sub(&mean)?.f_add(&mean.f_detach()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn centring_leaves_the_features_and_takes_the_mean_off_their_gradient() {
        let features = Tensor::from_slice(&[1f32, 2.0, 3.0, 5.0, 8.0, 13.0]).reshape([3, 2]);
        let features = features.set_requires_grad(true);
        let out = centred(&features).unwrap();
        assert!(out.allclose(&features, 1e-6, 1e-6, false));
        let weight = Tensor::from_slice(&[1f32, 10.0, 2.0, 20.0, 6.0, 0.0]).reshape([3, 2]);
        (out * weight).sum(tch::Kind::Float).backward();
        let expected = Tensor::from_slice(&[-2f32, 0.0, -1.0, 10.0, 3.0, -10.0]).reshape([3, 2]);
        assert!(
            features
                .grad()
                .to_device(Device::Cpu)
                .allclose(&expected, 1e-5, 1e-5, false)
        );
    }
}
