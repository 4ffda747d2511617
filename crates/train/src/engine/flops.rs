//! How many operations a step asks for, as papers count them.

use model::LlavaConfig;
use tch::Kind;

use crate::packing::{MicroBatch, StepBatch};

/// The floating-point operations of a step's matrix products: two a weight and token forward, and, for
/// what is trained or lies above it, four more backward. Running layers again for their gradients is
/// not counted, nor is attention to tokens that are not seen: this is what the step asks for, whatever
/// is spent on it (model FLOPs utilisation, arXiv 2204.02311, appendix B).
///
/// `images` counts those that went through the tower in this step; `trained` says whether the tower
/// and whether the decoder's own weights get gradients.
pub fn step_flops(
    config: &LlavaConfig,
    batch: &StepBatch,
    images: usize,
    trained: TrainedParts,
) -> f64 {
    let t = &config.text_config;
    let (heads, kv) = (
        (t.num_attention_heads * t.head_dim()) as f64,
        (t.kv_heads() * t.head_dim()) as f64,
    );
    let hidden = t.hidden_size as f64;
    let layer = hidden * (2.0 * heads + 2.0 * kv) + 3.0 * hidden * t.intermediate_size as f64;
    let layers = t.num_hidden_layers as f64;
    let mut decoder = 2.0 * layers * layer * batch.tokens as f64;
    // Scores and their product with the values: four operations a pair of tokens and width.
    decoder += 4.0 * layers * heads * seen(batch);
    let labelled: i64 = batch.micro.iter().map(|m| m.edge_at.size()[0]).sum();
    decoder += 2.0 * hidden * t.vocab_size as f64 * labelled as f64;
    let backward = if trained.decoder { 3.0 } else { 2.0 };
    let mut all = decoder * backward;
    if let Some(v) = &config.vision_config {
        let width = v.hidden_size as f64;
        let tokens = (v.grid() * v.grid() + 1) as f64;
        let weights = 4.0 * width * width + 2.0 * width * v.intermediate_size as f64;
        let tower = v.num_hidden_layers as f64
            * (2.0 * weights * tokens + 4.0 * tokens * tokens * width)
            * images as f64;
        all += tower * if trained.tower { 3.0 } else { 1.0 };
    }
    all
}

/// Pairs of tokens of which one sees the other: a token at position `p` sees `p + 1`.
fn seen(batch: &StepBatch) -> f64 {
    let sum = |micro: &MicroBatch| {
        let sum = micro.positions.f_sum(Kind::Double).ok();
        sum.and_then(|sum| f64::try_from(sum).ok()).unwrap_or(0.0)
    };
    batch.micro.iter().map(sum).sum::<f64>() + batch.tokens as f64
}

/// Which parts get gradients of their weights.
#[derive(Debug, Clone, Copy)]
pub struct TrainedParts {
    /// The vision tower.
    pub tower: bool,
    /// The decoder's own weights; adapters' are few.
    pub decoder: bool,
}
