//! Several trees as the tensors of one step.
//!
//! Trees are laid into rows: a row holds as many as fit, the attention mask keeps them apart, and
//! what is left at a row's end is padding that sees and teaches nothing. Which tree lies in which
//! row changes the cost of a step, not its result.

use tch::{Device, Kind, Tensor};

use crate::Error;
use crate::tree::Tree;

/// The tensors of one step over `images` images.
#[derive(Debug)]
pub struct Batch {
    /// Token ids. `[rows, tokens]`
    pub ids: Tensor,
    /// Position of each token in its own pair. `[rows, tokens]`
    pub positions: Tensor,
    /// True where the token of the third dimension may look at that of the fourth.
    /// `[rows, 1, tokens, tokens]`
    pub mask: Tensor,
    /// Where image features go: indices into the flattened `[rows * tokens]`.
    pub image_at: Tensor,
    /// Which feature goes there: indices into the flattened `[images * patches]`.
    pub image_from: Tensor,
    /// Predicting tokens: indices into the flattened `[rows * tokens]`. `[edges]`
    pub edge_at: Tensor,
    /// The ids they should predict. `[edges]`
    pub edge_target: Tensor,
    /// Weights that sum to 1 over the batch, f32. `[edges]`
    pub edge_weight: Tensor,
    /// Pairs in the batch.
    pub pairs: usize,
    /// Tokens without padding.
    pub tokens: usize,
    /// Tokens that the pairs would be as separate sequences.
    pub unpacked: usize,
    /// Whether the features' gradient is centred over the batch; see `step`.
    pub centred: bool,
}

/// Lays trees into rows of `capacity` tokens, longest first, each into the first row with room.
/// Returns each row's tree indices.
fn rows(trees: &[&Tree], capacity: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..trees.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(trees[i].len()));
    let mut rows: Vec<(usize, Vec<usize>)> = Vec::new();
    for i in order {
        let length = trees[i].len();
        match rows.iter_mut().find(|(used, _)| used + length <= capacity) {
            Some((used, row)) => {
                *used += length;
                row.push(i);
            }
            None => rows.push((length, vec![i])),
        }
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The tensors of a step over `trees`. Tree `i` shows image `images[i]` of the step's features,
/// which have `patches` rows each. Rows are at least `row_tokens` long where the trees fill them,
/// and as long as the longest tree in any case.
///
/// # Errors
/// [`Error::Data`] where a tree has more image tokens than its image has patches.
pub fn collate(
    trees: &[&Tree],
    images: &[usize],
    patches: usize,
    row_tokens: usize,
    device: Device,
) -> Result<Batch, Error> {
    let longest = trees.iter().map(|t| t.len()).max().unwrap_or(0);
    let rows = rows(trees, row_tokens.max(longest));
    let used = rows
        .iter()
        .map(|row| row.iter().map(|&i| trees[i].len()).sum::<usize>());
    // bf16 kernels want whole cache lines: 32 values.
    let width = used.max().unwrap_or(0).next_multiple_of(32);
    let cells = rows.len() * width;
    let (mut ids, mut positions) = (vec![0i64; cells], vec![0i64; cells]);
    // Padding sees itself alone: a row of the softmax with nothing in it would be NaN.
    let mut ends: Vec<i64> = (0..cells).map(|cell| (cell % width) as i64 + 1).collect();
    let (mut image_at, mut image_from) = (Vec::new(), Vec::new());
    let (mut edge_at, mut edge_target, mut edge_weight) = (Vec::new(), Vec::new(), Vec::new());
    let weight: f64 = trees.iter().map(|t| t.weight).sum();
    for (r, row) in rows.iter().enumerate() {
        let mut start = 0;
        for &i in row {
            let tree = trees[i];
            let base = r * width + start;
            ids[base..base + tree.len()].copy_from_slice(&tree.ids);
            positions[base..base + tree.len()].copy_from_slice(&tree.depth);
            for (end, &own) in ends[base..].iter_mut().zip(&tree.end) {
                *end = own + start as i64;
            }
            for (at, &patch) in tree
                .patch
                .iter()
                .enumerate()
                .filter(|(_, patch)| **patch >= 0)
            {
                if patch as usize >= patches {
                    return Err(Error::Data(format!(
                        "a conversation has {} image tokens or more, but images have {patches} \
                         patches: the text holds an image token of its own, or was tokenised for \
                         another model",
                        patch + 1
                    )));
                }
                image_at.push((base + at) as i64);
                image_from.push((images[i] * patches) as i64 + patch);
            }
            for edge in &tree.edges {
                edge_at.push((base + edge.at) as i64);
                edge_target.push(edge.target);
                edge_weight.push((edge.weight / weight) as f32);
            }
            start += tree.len();
        }
    }
    let shape = [rows.len() as i64, width as i64];
    let grid = |values: &[i64]| Tensor::from_slice(values).reshape(shape).to_device(device);
    let list = |values: &[i64]| Tensor::from_slice(values).to_device(device);
    let index = Tensor::arange(width as i64, (Kind::Int64, device));
    let ends = grid(&ends).unsqueeze(1).unsqueeze(3); // [rows, 1, tokens, 1]: end of the looked-at
    let looked = index.unsqueeze(1); // [tokens, 1]
    let looking = index.unsqueeze(0); // [1, tokens]
    // [rows, 1, looked-at, looking] -> [rows, 1, looking, looked-at]
    let mask = looked
        .le_tensor(&looking)
        .logical_and(&looking.lt_tensor(&ends))
        .transpose(2, 3);
    Ok(Batch {
        ids: grid(&ids),
        positions: grid(&positions),
        mask: mask.contiguous(),
        image_at: list(&image_at),
        image_from: list(&image_from),
        edge_at: list(&edge_at),
        edge_target: list(&edge_target),
        edge_weight: Tensor::from_slice(&edge_weight).to_device(device),
        pairs: trees.iter().map(|t| t.pairs).sum(),
        tokens: trees.iter().map(|t| t.len()).sum(),
        unpacked: trees.iter().map(|t| t.unpacked).sum(),
        centred: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Sequence, Weighting, pack};

    fn tree(ids: &[i64]) -> Tree {
        let labelled = (0..ids.len()).map(|i| i + 1 == ids.len()).collect();
        let sequence = Sequence {
            ids: ids.to_vec(),
            labelled,
        };
        pack(&[sequence], 99, Weighting::PerToken, 64).remove(0)
    }

    #[test]
    fn trees_of_one_row_do_not_see_each_other_and_padding_sees_itself() {
        let (a, b) = (tree(&[1, 2, 3]), tree(&[4, 5]));
        let batch = collate(&[&b, &a], &[0, 1], 4, 8, Device::Cpu).unwrap();
        assert_eq!(batch.ids.size(), [1, 32]);
        let sees = |i: i64, j: i64| bool::try_from(batch.mask.get(0).get(0).get(i).get(j)).unwrap();
        for i in 0..32 {
            for j in 0..32 {
                let together = (i < 3 && j < 3) || ((3..5).contains(&i) && (3..5).contains(&j));
                assert_eq!(
                    sees(i, j),
                    i == j || (j < i && together),
                    "{i} looks at {j}"
                );
            }
        }
        assert_eq!(Vec::<i64>::try_from(&batch.edge_at).unwrap(), [1, 3]);
        assert_eq!(
            Vec::<f32>::try_from(&batch.edge_weight).unwrap(),
            [0.5, 0.5]
        );
    }

    #[test]
    fn rows_take_what_fits_and_nothing_is_lost() {
        let trees: Vec<Tree> = [5usize, 3, 8, 2]
            .iter()
            .map(|&n| tree(&vec![1; n]))
            .collect();
        let trees: Vec<&Tree> = trees.iter().collect();
        assert_eq!(rows(&trees, 8), [vec![2], vec![0, 1], vec![3]]);
        assert_eq!(rows(&trees, 100), [vec![2, 0, 1, 3]]);
    }

    #[test]
    fn image_tokens_take_the_patches_of_their_own_image() {
        let (a, b) = (tree(&[1, 99, 99, 3]), tree(&[1, 99, 99, 4, 5]));
        let batch = collate(&[&a, &b], &[1, 0], 2, 0, Device::Cpu).unwrap();
        // The longer tree comes first.
        assert_eq!(
            Vec::<i64>::try_from(&batch.image_at).unwrap(),
            [1, 2, 33, 34]
        );
        assert_eq!(
            Vec::<i64>::try_from(&batch.image_from).unwrap(),
            [0, 1, 2, 3]
        );
    }

    #[test]
    fn more_image_tokens_than_patches_is_an_error_that_says_so() {
        let error = collate(&[&tree(&[1, 99, 99, 3])], &[0], 1, 0, Device::Cpu).unwrap_err();
        assert!(error.to_string().contains("2 image tokens"), "{error}");
    }
}
