//! From the pairs of a step to its tensors.
//!
//! A pair's tokens are a [`Sequence`]. Sequences become [`tree::Tree`]s: all pairs of an image as
//! one, or each pair as a tree that does not branch. Trees are laid into rows and rows into
//! [`MicroBatch`]es, which go through the model one after the other. **Invariant:** none of this
//! changes the step's loss or gradients, which are those of the separate sequences; it changes what
//! they cost.

mod rows;
pub mod tree;

use tch::{Device, Tensor};

use crate::{Error, Packing, TrainConfig};
pub use rows::micro_batches;
use tree::{Sequence, Tree, Weighting, pack};

/// Rows that go through the model at once.
#[derive(Debug)]
pub struct MicroBatch {
    /// Token ids, i64; padding is 0. `[rows, tokens]`
    pub ids: Tensor,
    /// Position of each token in its own pair, i64. `[rows, tokens]`
    pub positions: Tensor,
    /// Token `i` of a row looks at token `j` of the same row if and only if `j <= i < ends[j]`, i64.
    /// Padding sees itself. `[rows, tokens]`
    pub ends: Tensor,
    /// Where image features go: indices into the flattened `[rows * tokens]`, i64. `[image tokens]`
    pub image_at: Tensor,
    /// Which feature goes there: indices into the step's flattened `[images * patches]`, i64.
    /// `[image tokens]`
    pub image_from: Tensor,
    /// Predicting tokens: indices into the flattened `[rows * tokens]`, i64. `[edges]`
    pub edge_at: Tensor,
    /// The ids they should predict, i64. `[edges]`
    pub edge_target: Tensor,
    /// Weights, f32, that sum to 1 over all micro-batches of the step. `[edges]`
    pub edge_weight: Tensor,
}

impl MicroBatch {
    /// The same on `device`.
    pub fn to_device(&self, device: Device) -> Result<MicroBatch, Error> {
        Ok(MicroBatch {
            ids: self.ids.f_to_device(device)?,
            positions: self.positions.f_to_device(device)?,
            ends: self.ends.f_to_device(device)?,
            image_at: self.image_at.f_to_device(device)?,
            image_from: self.image_from.f_to_device(device)?,
            edge_at: self.edge_at.f_to_device(device)?,
            edge_target: self.edge_target.f_to_device(device)?,
            edge_weight: self.edge_weight.f_to_device(device)?,
        })
    }
}

/// All that one step is trained on, in the CPU's memory.
#[derive(Debug)]
pub struct StepBatch {
    /// Which step, from 0.
    pub step: u64,
    /// The rows; empty where none of the step's images could be read.
    pub micro: Vec<MicroBatch>,
    /// The step's images, as indices into the data's; the place of each is its index into the
    /// features.
    pub images: Vec<usize>,
    /// Pixels of those images whose features are not at hand, in their order: `[some images, 3, side,
    /// side]`, f32. `None` where there are none.
    pub pixels: Option<Tensor>,
    /// Which of `images` those are, by their place.
    pub pixels_of: Vec<usize>,
    /// The tower's features of other images, in their order: `[some images, patches, width]`. `None`
    /// where there are none.
    pub features: Option<Tensor>,
    /// Which of `images` those are, by their place. An image in neither list has its features in
    /// memory.
    pub features_of: Vec<usize>,
    /// Pairs (conversations).
    pub pairs: usize,
    /// Tokens without padding, shared ones once.
    pub tokens: usize,
    /// Tokens that the pairs would be as separate sequences.
    pub unpacked: usize,
    /// Tokens that are predicted, counted in each pair.
    pub labels: usize,
    /// Ids of the pairs.
    pub members: Vec<String>,
}

/// A tree and the image it shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// The tokens.
    pub tree: Tree,
    /// The image's place among the step's; `None` for text alone.
    pub image: Option<usize>,
}

/// How pairs become rows, and rows micro-batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layout {
    /// Whether pairs share what they have in common, and rows.
    pub packing: Packing,
    /// How labelled tokens are weighed.
    pub weighting: Weighting,
    /// The id that stands for a patch.
    pub image_token: i64,
    /// Tokens of an image.
    pub patches: usize,
    /// An image's pairs are split over several trees past this many tokens.
    pub tree_tokens: usize,
    /// Rows are filled up to this many tokens, or the longest tree's.
    pub row_tokens: usize,
    /// Rows of a micro-batch; 0 for all of them.
    pub micro_rows: usize,
}

impl Layout {
    /// What `config` says, for images of `patches` tokens.
    pub fn new(config: &TrainConfig, image_token: Option<i64>, patches: usize) -> Layout {
        Layout {
            packing: config.packing,
            weighting: config.weighting,
            image_token: image_token.unwrap_or(model::IMAGE_PLACEHOLDER),
            patches,
            tree_tokens: config.tree_tokens,
            row_tokens: config.row_tokens,
            micro_rows: config.micro_rows,
        }
    }

    /// The trees of one image's pairs, or of one conversation without an image. Each covers as many
    /// of `sequences` as it has pairs, in their order; those without labels must be left out before.
    pub fn trees(&self, sequences: &[Sequence]) -> Vec<Tree> {
        match self.packing {
            Packing::Tree => pack(
                sequences,
                self.image_token,
                self.weighting,
                self.tree_tokens,
            ),
            Packing::Rows | Packing::None => sequences
                .iter()
                .filter(|sequence| sequence.labels() > 0)
                .map(|sequence| Tree::line(sequence, self.image_token, self.weighting))
                .collect(),
        }
    }
}
