//! Logits and cross-entropy, at labelled positions only, in chunks.
//!
//! A few per cent of the positions have something to predict, and the product with the vocabulary is
//! the model's widest. In chunks, so that its f32 logits stay small whatever the batch.

use model::{Llava, ModelPart};
use tch::{Kind, Tensor, no_grad};

use super::gradients::{Gradients, Trained};
use crate::Error;
use crate::packing::MicroBatch;

/// Labelled positions at a time: 128 MB of logits for a vocabulary of 32,000.
const CHUNK: i64 = 1024;

/// The weighted sum of the edges' cross-entropies, and its gradient by `hidden`
/// `[rows, tokens, hidden]`, the output of the last layer. Those of the final norm and the output
/// layer are added to `gradients`; without it none are computed.
pub fn loss(
    model: &Llava,
    trained: &Trained,
    hidden: &Tensor,
    batch: &MicroBatch,
    mut gradients: Option<&mut Gradients>,
) -> Result<(f64, Option<Tensor>), Error> {
    let flat = hidden.f_flatten(0, 1)?; // [rows * tokens, hidden]
    let edges = batch.edge_at.size()[0];
    // An output layer that is the embedding belongs to that part.
    let parts = [ModelPart::Norm, ModelPart::Head, ModelPart::Embedding];
    let indices: Vec<usize> = parts
        .into_iter()
        .flat_map(|part| trained.of(part))
        .collect();
    let mut grad = match gradients {
        Some(_) => Some(flat.f_zeros_like()?),
        None => None,
    };
    let mut sum = 0.0;
    for start in (0..edges).step_by(CHUNK as usize) {
        let width = CHUNK.min(edges - start);
        let at = batch.edge_at.f_narrow(0, start, width)?;
        let target = batch.edge_target.f_narrow(0, start, width)?;
        let weight = batch.edge_weight.f_narrow(0, start, width)?;
        let run = |leaf: &Tensor| -> Result<Tensor, Error> {
            let logits = model.logits(&model.final_norm(leaf)?)?; // [edges, vocabulary]
            let losses = logits
                .f_log_softmax(-1, Kind::Float)?
                .f_gather(1, &target.f_unsqueeze(1)?, false)?
                .f_squeeze_dim(1)?;
            Ok(losses.f_dot(&weight)?.f_neg()?)
        };
        let leaf = flat.f_index_select(0, &at)?; // [edges, hidden]
        let loss = match (&mut gradients, &mut grad) {
            (Some(gradients), Some(grad)) => {
                let leaf = leaf.f_detach()?.f_set_requires_grad(true)?;
                let loss = run(&leaf)?;
                if let Some(own) = gradients.add(trained, &indices, &loss, None, Some(&leaf))? {
                    let _ = grad.f_index_add_(0, &at, &own)?;
                }
                loss
            }
            _ => no_grad(|| run(&leaf))?,
        };
        sum += f64::try_from(&loss)?;
    }
    let grad = match grad {
        Some(grad) => Some(grad.f_view_as(hidden)?),
        None => None,
    };
    Ok((sum, grad))
}
