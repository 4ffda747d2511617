//! Drawing lots: the few forms of random choice that composing a figure needs.

use rand::Rng;
use rand::seq::SliceRandom;
pub(crate) use rand_chacha::ChaCha8Rng as Rng8;

/// One of `items`; the first where there is only one. `items` must not be empty.
pub(crate) fn pick<T: Clone>(rng: &mut Rng8, items: &[T]) -> T {
    items[rng.random_range(0..items.len().max(1))].clone()
}

/// `n` different ones of `items` (all of them where there are fewer), in random order.
pub(crate) fn several<T: Clone>(rng: &mut Rng8, items: &[T], n: usize) -> Vec<T> {
    let mut all = items.to_vec();
    all.shuffle(rng);
    all.truncate(n);
    all
}

/// A whole number from `low` to `high`, both possible.
pub(crate) fn whole(rng: &mut Rng8, low: i64, high: i64) -> i64 {
    rng.random_range(low..=high.max(low))
}

/// A count from `low` to `high`, both possible.
pub(crate) fn count(rng: &mut Rng8, low: usize, high: usize) -> usize {
    rng.random_range(low..=high.max(low))
}

/// A real number in `[low, high)`.
pub(crate) fn real(rng: &mut Rng8, low: f32, high: f32) -> f32 {
    if high > low {
        rng.random_range(low..high)
    } else {
        low
    }
}

/// True with probability `p`.
pub(crate) fn chance(rng: &mut Rng8, p: f64) -> bool {
    rng.random_bool(p.clamp(0.0, 1.0))
}

/// `n` different whole numbers from `low` to `high`, any two at least `gap` apart, in random
/// order; fewer where they do not fit.
pub(crate) fn spread(rng: &mut Rng8, n: usize, low: i64, high: i64, gap: i64) -> Vec<i64> {
    // Numbers at least `gap` apart are sorted numbers of a shorter range with gaps put in.
    let n = n.min(usize::try_from((high - low) / gap.max(1) + 1).unwrap_or(0));
    let slack = high - low - gap * (n as i64 - 1);
    let mut cuts: Vec<i64> = (0..n).map(|_| whole(rng, 0, slack)).collect();
    cuts.sort_unstable();
    let mut all: Vec<i64> = (0i64..)
        .zip(cuts)
        .map(|(i, cut)| low + cut + gap * i)
        .collect();
    all.shuffle(rng);
    all
}
