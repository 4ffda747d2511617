//! Several trees as rows of tokens, and rows as tensors.
//!
//! Trees are laid into rows: a row holds as many as fit, the attention mask keeps them apart, and
//! what is left at a row's end is padding that sees and teaches nothing. Which tree lies in which
//! row changes the cost of a step, not its result.

use tch::Tensor;

use super::{Layout, MicroBatch, Placed};
use crate::{Error, Packing};

/// Lays trees of these lengths into rows of `capacity` tokens, longest first, each into the first
/// row with room. Returns each row's trees, the fullest row first.
fn rows(lengths: &[usize], capacity: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
    let mut rows: Vec<(usize, Vec<usize>)> = Vec::new();
    for i in order {
        let length = lengths[i];
        match rows.iter_mut().find(|(used, _)| used + length <= capacity) {
            Some((used, row)) => {
                *used += length;
                row.push(i);
            }
            None => rows.push((length, vec![i])),
        }
    }
    // Rows of like length share a micro-batch.
    rows.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The tensors of a step over `trees`.
///
/// Rows are at least `layout.row_tokens` long where the trees fill them, and as long as the longest
/// tree in any case; without packing each tree has a row to itself. A micro-batch is as wide as its
/// own longest row, rounded up to 32 tokens.
///
/// # Errors
/// [`Error::Data`] where a tree has more image tokens than its image has patches.
pub fn micro_batches(trees: &[Placed], layout: &Layout) -> Result<Vec<MicroBatch>, Error> {
    let lengths: Vec<usize> = trees.iter().map(|placed| placed.tree.len()).collect();
    let capacity = match layout.packing {
        Packing::None => 0,
        Packing::Tree | Packing::Rows => {
            let longest = lengths.iter().copied().max().unwrap_or(0);
            layout.row_tokens.max(longest)
        }
    };
    let rows = rows(&lengths, capacity);
    let weight: f64 = trees.iter().map(|placed| placed.tree.weight).sum();
    let size = match layout.micro_rows {
        0 => rows.len().max(1),
        size => size,
    };
    rows.chunks(size)
        .map(|rows| collate(trees, rows, layout, weight))
        .collect()
}

/// The tensors of some rows, in a step whose labels weigh `weight` together.
fn collate(
    trees: &[Placed],
    rows: &[Vec<usize>],
    layout: &Layout,
    weight: f64,
) -> Result<MicroBatch, Error> {
    let used = rows
        .iter()
        .map(|row| row.iter().map(|&i| trees[i].tree.len()).sum::<usize>());
    // bf16 kernels want whole cache lines: 32 values.
    let width = used.max().unwrap_or(0).next_multiple_of(32);
    let cells = rows.len() * width;
    let (mut ids, mut positions) = (vec![0i64; cells], vec![0i64; cells]);
    // Padding sees itself alone: a row of the softmax with nothing in it would be NaN.
    let mut ends: Vec<i64> = (0..cells).map(|cell| (cell % width) as i64 + 1).collect();
    let (mut image_at, mut image_from) = (Vec::new(), Vec::new());
    let (mut edge_at, mut edge_target, mut edge_weight) = (Vec::new(), Vec::new(), Vec::new());
    for (r, row) in rows.iter().enumerate() {
        let mut start = 0;
        for &i in row {
            let Placed { tree, image } = &trees[i];
            let base = r * width + start;
            ids[base..base + tree.len()].copy_from_slice(&tree.ids);
            positions[base..base + tree.len()].copy_from_slice(&tree.depth);
            for (end, &own) in ends[base..].iter_mut().zip(&tree.end) {
                *end = own + start as i64;
            }
            let patches = if image.is_some() { layout.patches } else { 0 };
            let first = (image.unwrap_or(0) * layout.patches) as i64;
            for (at, &patch) in tree.patch.iter().enumerate() {
                if patch < 0 {
                    continue;
                }
                if patch as usize >= patches {
                    return Err(Error::Data(format!(
                        "a conversation has {} image tokens or more, but its images have {patches} \
                         patches: the text holds an image token of its own, or was tokenised for \
                         another model",
                        patch + 1
                    )));
                }
                image_at.push((base + at) as i64);
                image_from.push(first + patch);
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
    let grid = |values: &[i64]| Tensor::f_from_slice(values)?.f_reshape(shape);
    Ok(MicroBatch {
        ids: grid(&ids)?,
        positions: grid(&positions)?,
        ends: grid(&ends)?,
        image_at: Tensor::f_from_slice(&image_at)?,
        image_from: Tensor::f_from_slice(&image_from)?,
        edge_at: Tensor::f_from_slice(&edge_at)?,
        edge_target: Tensor::f_from_slice(&edge_target)?,
        edge_weight: Tensor::f_from_slice(&edge_weight)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packing::tree::{Sequence, Tree, Weighting};

    const IMAGE: i64 = 99;

    fn tree(ids: &[i64]) -> Tree {
        let labelled = (0..ids.len()).map(|i| i + 1 == ids.len()).collect();
        let sequence = Sequence {
            ids: ids.to_vec(),
            labelled,
        };
        Tree::line(&sequence, IMAGE, Weighting::PerToken)
    }

    fn placed(tree: Tree, image: usize) -> Placed {
        Placed {
            tree,
            image: Some(image),
        }
    }

    fn layout(packing: Packing, row_tokens: usize, micro_rows: usize) -> Layout {
        Layout {
            packing,
            weighting: Weighting::PerToken,
            image_token: IMAGE,
            patches: 2,
            tree_tokens: 64,
            row_tokens,
            micro_rows,
        }
    }

    fn list(tensor: &Tensor) -> Vec<i64> {
        Vec::try_from(tensor.flatten(0, -1)).unwrap()
    }

    #[test]
    fn trees_of_one_row_do_not_see_each_other_and_padding_sees_itself() {
        let trees = [placed(tree(&[4, 5]), 0), placed(tree(&[1, 2, 3]), 1)];
        let batches = micro_batches(&trees, &layout(Packing::Tree, 8, 0)).unwrap();
        let batch = &batches[0];
        assert_eq!((batches.len(), batch.ids.size()), (1, vec![1, 32]));
        let ends = list(&batch.ends);
        for i in 0..32 {
            for (j, &end) in ends.iter().enumerate() {
                let together = (i < 3 && j < 3) || ((3..5).contains(&i) && (3..5).contains(&j));
                assert_eq!(
                    j <= i && (i as i64) < end,
                    i == j || (j < i && together),
                    "{i} looks at {j}"
                );
            }
        }
        assert_eq!(list(&batch.edge_at), [1, 3]);
        assert_eq!(
            Vec::<f32>::try_from(&batch.edge_weight).unwrap(),
            [0.5, 0.5]
        );
    }

    #[test]
    fn rows_take_what_fits_and_nothing_is_lost() {
        let lengths = [5, 3, 8, 2];
        assert_eq!(rows(&lengths, 8), [vec![2], vec![0, 1], vec![3]]);
        assert_eq!(rows(&lengths, 100), [vec![2, 0, 1, 3]]);
        // The second row is fuller than the first, which it must then precede.
        assert_eq!(rows(&[6, 5, 4], 9), [vec![1, 2], vec![0]]);
    }

    #[test]
    fn without_packing_each_pair_has_a_row_and_each_micro_batch_its_own_width() {
        let trees: Vec<Placed> = [3, 40, 33, 2]
            .map(|n| placed(tree(&vec![1; n]), 0))
            .to_vec();
        let batches = micro_batches(&trees, &layout(Packing::None, 4096, 2)).unwrap();
        let sizes: Vec<_> = batches.iter().map(|b| b.ids.size()).collect();
        assert_eq!(sizes, [[2, 64], [2, 32]]);
        let weights: Vec<f32> = batches
            .iter()
            .flat_map(|b| Vec::<f32>::try_from(&b.edge_weight).unwrap())
            .collect();
        assert_eq!(weights, [0.25; 4]);
    }

    #[test]
    fn image_tokens_take_the_patches_of_their_own_image() {
        let (a, b) = (tree(&[1, 99, 99, 3]), tree(&[1, 99, 99, 4, 5]));
        let trees = [placed(a, 1), placed(b, 0)];
        let batch = micro_batches(&trees, &layout(Packing::Tree, 0, 0)).unwrap();
        // The longer tree comes first.
        assert_eq!(list(&batch[0].image_at), [1, 2, 33, 34]);
        assert_eq!(list(&batch[0].image_from), [0, 1, 2, 3]);
    }

    #[test]
    fn more_image_tokens_than_patches_is_an_error_that_says_so() {
        let three = placed(tree(&[1, 99, 99, 99, 3]), 0);
        let none = Placed {
            tree: tree(&[1, 99, 3]),
            image: None,
        };
        for (tree, says) in [(three, "3 image tokens"), (none, "1 image tokens")] {
            let error = micro_batches(&[tree], &layout(Packing::Tree, 0, 0)).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
