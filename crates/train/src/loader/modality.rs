//! LLaVA's order of a batch without packing: `--group_by_modality_length`.
//!
//! Rows of a batch are padded to its longest, and a batch with images costs what its images cost.
//! LLaVA therefore keeps conversations with images and those without apart, draws batches at random
//! from each, deals every batch out over its devices by length, and then puts the batches in a random
//! order. What is left over of both kinds, which need not fill a batch, comes last, together.
//!
//! Written after what `LengthGroupedSampler` of `llava/train/llava_trainer.py` does
//! (haotian-liu/LLaVA). Permutations are ours, not torch's.

/// The order of one epoch over conversations of these `lengths`, negative for text alone.
///
/// A batch is `devices` times `per_device` conversations; here the micro-batches of a step stand in
/// for devices. `permute(n)` gives a permutation of `0..n`: it is asked for one of the conversations
/// with images, one of those without, and one of the batches, in this order; where all are of one
/// kind, once.
pub fn grouped(
    lengths: &[i64],
    per_device: usize,
    devices: usize,
    mut permute: impl FnMut(usize) -> Vec<usize>,
) -> Vec<usize> {
    let batch = (per_device * devices).max(1);
    let (seeing, reading): (Vec<usize>, Vec<usize>) =
        (0..lengths.len()).partition(|&i| lengths[i] >= 0);
    if seeing.is_empty() || reading.is_empty() {
        let drawn = permute(lengths.len());
        return by_length(&drawn, lengths, batch, devices).concat();
    }
    let mut left_over = Vec::new();
    let mut batches = Vec::new();
    for kind in [seeing, reading] {
        let drawn: Vec<usize> = permute(kind.len()).into_iter().map(|i| kind[i]).collect();
        let mut of_kind = by_length(&drawn, lengths, batch, devices);
        // The last one even where it is full.
        left_over.extend(of_kind.pop().unwrap_or_default());
        batches.extend(of_kind);
    }
    left_over.sort_unstable();
    let order = permute(batches.len());
    let mut all: Vec<usize> = order.into_iter().flat_map(|i| batches[i].clone()).collect();
    all.extend(left_over);
    all
}

/// Consecutive batches of `drawn`, each longest first and dealt out over the devices.
fn by_length(drawn: &[usize], lengths: &[i64], batch: usize, devices: usize) -> Vec<Vec<usize>> {
    drawn
        .chunks(batch)
        .map(|batch| {
            let mut sorted = batch.to_vec();
            sorted.sort_by_key(|&i| std::cmp::Reverse(lengths[i].unsigned_abs()));
            deal(&sorted, lengths, devices).concat()
        })
        .collect()
}

/// `sorted` as so many parts of like total length: each goes to the part that is shortest so far and
/// not full. Where they cannot all have the same number, in turn.
fn deal(sorted: &[usize], lengths: &[i64], parts: usize) -> Vec<Vec<usize>> {
    let parts = parts.max(1);
    let mut dealt = vec![Vec::new(); parts];
    if !sorted.len().is_multiple_of(parts) {
        for (turn, &index) in sorted.iter().enumerate() {
            dealt[turn % parts].push(index);
        }
        return dealt;
    }
    let full = sorted.len() / parts;
    let mut totals = vec![0u64; parts];
    for &index in sorted {
        let open = (0..parts).filter(|&part| dealt[part].len() < full);
        let Some(part) = open.min_by_key(|&part| totals[part]) else {
            break;
        };
        dealt[part].push(index);
        totals[part] += lengths[index].unsigned_abs();
    }
    dealt
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::seq::SliceRandom;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Golden {
        lengths: Vec<i64>,
        per_device: usize,
        devices: usize,
        permutations: Vec<Vec<usize>>,
        order: Vec<usize>,
    }

    #[test]
    fn the_order_is_that_of_the_golden_for_the_same_permutations() {
        let golden = include_str!("../../tests/golden/modality.json");
        let cases: Vec<Golden> = serde_json::from_str(golden).unwrap();
        assert!(cases.len() > 5);
        for (number, case) in cases.into_iter().enumerate() {
            let mut permutations = case.permutations.into_iter();
            let order = grouped(&case.lengths, case.per_device, case.devices, |n| {
                let permutation = permutations.next().unwrap();
                assert_eq!(permutation.len(), n, "case {number}");
                permutation
            });
            assert_eq!(order, case.order, "case {number}");
            assert_eq!(permutations.next(), None, "case {number}");
        }
    }

    proptest! {
        #[test]
        fn every_conversation_comes_once_and_kinds_meet_only_in_the_last_batches(
            lengths in prop::collection::vec(prop_oneof![1i64..50, -50i64..-1], 0..60),
            per_device in 1usize..5,
            devices in 1usize..4,
            seed in any::<u64>(),
        ) {
            let mut rng = sample::seed::rng(seed, &["modality"]);
            let order = grouped(&lengths, per_device, devices, |n| {
                let mut all: Vec<usize> = (0..n).collect();
                all.shuffle(&mut rng);
                all
            });
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..lengths.len()).collect::<Vec<_>>());
            let batch = per_device * devices;
            let images = lengths.iter().filter(|&&l| l > 0).count();
            let left = |n: usize| match n % batch { 0 => batch.min(n), rest => rest };
            let apart = lengths.len() - left(images) - left(lengths.len() - images);
            prop_assert_eq!(apart % batch, 0);
            for batch in order[..apart].chunks(batch) {
                let kind = lengths[batch[0]] > 0;
                prop_assert!(batch.iter().all(|&i| (lengths[i] > 0) == kind));
                // Each device's share is longest first.
                for share in batch.chunks(per_device) {
                    prop_assert!(share.is_sorted_by_key(|&i| -lengths[i].abs()));
                }
            }
        }
    }
}
