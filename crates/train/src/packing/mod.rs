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
    /// The rows; empty where none of the step's images could be read, or another rank has them all.
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
    /// What the labels weigh together, before that was made 1: labels, or pairs.
    pub weight: f64,
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const IMAGE: i64 = 3;
    const PATCHES: usize = 2;

    /// Conversations about one image or none, with labels.
    fn group() -> impl Strategy<Value = (bool, Vec<Sequence>)> {
        let text = prop::collection::vec((0i64..3, any::<bool>()), 1..30);
        (any::<bool>(), prop::collection::vec(text, 1..6)).prop_map(|(image, texts)| {
            let sequences = texts.into_iter().map(|text| {
                let prompt = if image { PATCHES } else { 1 };
                let first = if image { IMAGE } else { 4 };
                let mut sequence = Sequence {
                    ids: vec![first; prompt],
                    labelled: vec![false; prompt],
                };
                sequence.ids.extend(text.iter().map(|t| t.0));
                sequence.labelled.extend(text.iter().map(|t| t.1));
                sequence
            });
            (image, sequences.filter(|s| s.labels() > 0).collect())
        })
    }

    fn grid(tensor: &Tensor) -> Vec<Vec<i64>> {
        Vec::try_from(tensor).unwrap()
    }

    fn list(tensor: &Tensor) -> Vec<i64> {
        Vec::try_from(tensor).unwrap()
    }

    proptest! {
        /// What each label is predicted from, read off the tensors alone, is its own conversation.
        #[test]
        fn every_label_sees_its_own_conversation_and_nothing_else(
            groups in prop::collection::vec(group(), 1..6),
            (row_tokens, tree_tokens, micro_rows) in (0usize..100, 1usize..80, 0usize..4),
            packing in prop_oneof![Just(Packing::Tree), Just(Packing::Rows), Just(Packing::None)],
            weighting in prop_oneof![Just(Weighting::PerToken), Just(Weighting::PerPair)],
        ) {
            let layout = Layout {
                packing, weighting, image_token: IMAGE, patches: PATCHES, tree_tokens, row_tokens,
                micro_rows,
            };
            let (mut placed, mut expected) = (Vec::new(), Vec::new());
            let pairs: usize = groups.iter().map(|(_, group)| group.len()).sum();
            let labels: usize = groups.iter().flat_map(|(_, g)| g).map(Sequence::labels).sum();
            for (place, (image, group)) in groups.iter().enumerate() {
                let image = image.then_some(place);
                placed.extend(layout.trees(group).into_iter().map(|tree| Placed { tree, image }));
                for s in group {
                    let share = match weighting {
                        Weighting::PerToken => 1.0 / labels as f64,
                        Weighting::PerPair => 1.0 / (pairs * s.labels()) as f64,
                    };
                    let first = image.map_or(-1, |image| (image * PATCHES) as i64);
                    expected.extend((1..s.ids.len()).filter(|&i| s.labelled[i]).map(|i| {
                        (first, s.ids[..i].to_vec(), s.ids[i], share)
                    }));
                }
            }
            let tokens: usize = placed.iter().map(|p| p.tree.len()).sum();
            let micro = micro_batches(&placed, &layout).unwrap();

            let (mut found, mut weight, mut seen_tokens) = (Vec::new(), 0.0, 0);
            for batch in &micro {
                let size = batch.ids.size();
                prop_assert!(micro_rows == 0 || size[0] as usize <= micro_rows);
                let (ids, ends) = (grid(&batch.ids), grid(&batch.ends));
                let positions = grid(&batch.positions);
                let mut features = vec![-1; (size[0] * size[1]) as usize];
                for (&at, &from) in list(&batch.image_at).iter().zip(&list(&batch.image_from)) {
                    features[at as usize] = from;
                }
                let longest = ends.iter().map(|row| {
                    // A token is padding if it sees and is seen by itself alone, and nothing else is.
                    let used = (0..row.len()).filter(|&i| {
                        row[i] > i as i64 + 1 || (0..i).any(|j| row[j] > i as i64)
                    });
                    seen_tokens += used.clone().count();
                    used.max().map_or(0, |last| last + 1)
                }).max().unwrap_or(0);
                prop_assert_eq!(size[1] as usize, longest.next_multiple_of(32));
                let weights = Vec::<f32>::try_from(&batch.edge_weight).unwrap();
                let edges = list(&batch.edge_at).into_iter().zip(list(&batch.edge_target));
                for ((at, target), share) in edges.zip(weights) {
                    let (row, at) = ((at / size[1]) as usize, (at % size[1]) as usize);
                    let seen: Vec<usize> =
                        (0..=at).filter(|&j| (at as i64) < ends[row][j]).collect();
                    let prefix: Vec<i64> = seen.iter().map(|&j| ids[row][j]).collect();
                    let first = features[row * size[1] as usize + seen[0]];
                    for (depth, &j) in seen.iter().enumerate() {
                        prop_assert_eq!(positions[row][j], depth as i64);
                        if ids[row][j] == IMAGE {
                            let feature = features[row * size[1] as usize + j];
                            prop_assert_eq!(feature, first + depth as i64);
                        }
                    }
                    weight += f64::from(share);
                    found.push((first, prefix, target, f64::from(share)));
                }
            }
            prop_assert!(pairs == 0 || (weight - 1.0).abs() < 1e-5, "{}", weight);
            // Every conversation has two tokens or more, so none looks like padding.
            prop_assert_eq!(seen_tokens, tokens);
            // Labels that pairs share are one edge of their weights' sum.
            let merge = |mut all: Vec<(i64, Vec<i64>, i64, f64)>| {
                all.sort_by(|a, b| a.partial_cmp(b).unwrap());
                let mut merged: Vec<(i64, Vec<i64>, i64, f64)> = Vec::new();
                for one in all {
                    match merged.last_mut() {
                        Some(last) if (last.0, &last.1, last.2) == (one.0, &one.1, one.2) => {
                            last.3 += one.3;
                        }
                        _ => merged.push(one),
                    }
                }
                merged
            };
            let (found, expected) = (merge(found), merge(expected));
            prop_assert_eq!(found.len(), expected.len());
            for (a, b) in found.iter().zip(&expected) {
                prop_assert_eq!((a.0, &a.1, a.2), (b.0, &b.1, b.2));
                prop_assert!((a.3 - b.3).abs() <= 1e-6 * b.3.max(1e-3), "{} {}", a.3, b.3);
            }
        }
    }
}
