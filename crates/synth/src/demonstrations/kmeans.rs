//! K-means over sparse rows: the groups that demonstrations are drawn from.
//!
//! Seeded by k-means++ in its greedy form (of a few candidates the one that helps most), then Lloyd's
//! iterations; bounds, tolerance and the refilling of empty clusters are scikit-learn's. Its random
//! numbers are not, so clusters agree in quality, not one by one.
//!
//! **Invariant:** threads compute only what belongs to one row; every sum over rows is made in the
//! order of the rows. The result is the same whatever the thread count.

use rand::Rng;
use rayon::prelude::*;

use super::tfidf::Rows;

/// scikit-learn's `max_iter`.
const MAX_ITERATIONS: usize = 300;
/// scikit-learn's `tol`, relative to the mean variance of the columns.
const TOLERANCE: f64 = 1e-4;
/// Squared distances below this are rounding.
const NEAR: f64 = 1e-12;
/// Rows that a thread takes at a time.
const CHUNK: usize = 4096;

/// Where K-means ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Clustering {
    /// Of each row its cluster, from 0.
    pub labels: Vec<usize>,
    /// Of each row the squared distance to its centre.
    pub distances: Vec<f64>,
    /// The weighted sum of the distances.
    pub inertia: f64,
    /// How many clusters: fewer than asked for where there are fewer different rows.
    pub clusters: usize,
    /// Lloyd's iterations.
    pub iterations: usize,
}

/// Centres, dense; the values of one column lie together, one for each cluster.
struct Centres {
    k: usize,
    values: Vec<f64>,
    squares: Vec<f64>,
}

impl Centres {
    fn new(k: usize, values: Vec<f64>) -> Self {
        let mut squares = vec![0.0; k];
        for column in values.chunks_exact(k) {
            for (square, value) in squares.iter_mut().zip(column) {
                *square += value * value;
            }
        }
        Centres { k, values, squares }
    }

    /// The nearest centre of every row, and the squared distance; the lower number wins a tie.
    fn nearest(&self, rows: &Rows, lengths: &[f64]) -> (Vec<usize>, Vec<f64>) {
        let of_row = |dots: &mut Vec<f64>, i: usize| {
            dots.fill(0.0);
            for (column, value) in rows.row(i) {
                let centre = &self.values[column * self.k..(column + 1) * self.k];
                for (dot, c) in dots.iter_mut().zip(centre) {
                    *dot += value * c;
                }
            }
            let mut best = (0, f64::INFINITY);
            for (c, (dot, square)) in dots.iter().zip(&self.squares).enumerate() {
                let distance = (lengths[i] + square - 2.0 * dot).max(0.0);
                if distance < best.1 {
                    best = (c, distance);
                }
            }
            best
        };
        (0..rows.len())
            .into_par_iter()
            .with_min_len(CHUNK)
            .map_init(|| vec![0.0; self.k], of_row)
            .unzip()
    }
}

/// Clusters the rows, each with its weight, into `k` groups or fewer.
pub fn cluster(rows: &Rows, weights: &[f64], k: usize, rng: &mut impl Rng) -> Clustering {
    let lengths: Vec<f64> = (0..rows.len())
        .map(|i| rows.row(i).map(|(_, v)| v * v).sum())
        .collect();
    let seeds = plus_plus(rows, &lengths, weights, k, rng);
    let k = seeds.len();
    let total: f64 = weights.iter().sum();
    if k == 0 || rows.columns() == 0 {
        return Clustering {
            labels: vec![0; rows.len()],
            distances: vec![0.0; rows.len()],
            inertia: 0.0,
            clusters: usize::from(!rows.is_empty()),
            iterations: 0,
        };
    }
    let mut values = vec![0.0; rows.columns() * k];
    for (c, seed) in seeds.iter().enumerate() {
        for (column, value) in rows.row(*seed) {
            values[column * k + c] = value;
        }
    }
    let mut centres = Centres::new(k, values);
    let tolerance = TOLERANCE * variance(rows, &lengths, weights, total);
    let (mut labels, mut distances) = centres.nearest(rows, &lengths);
    let mut iterations = 0;
    while iterations < MAX_ITERATIONS {
        iterations += 1;
        let moved = means(rows, weights, &mut labels, &distances, k);
        let steps = moved.iter().zip(&centres.values);
        let shift: f64 = steps.map(|(new, old)| (new - old) * (new - old)).sum();
        centres = Centres::new(k, moved);
        let (next, next_distances) = centres.nearest(rows, &lengths);
        let settled = next == labels;
        (labels, distances) = (next, next_distances);
        if settled || shift <= tolerance {
            break;
        }
    }
    let clusters = renumber(&mut labels);
    let weighed = distances.iter().zip(weights);
    let inertia = weighed.map(|(d, w)| d * w).sum();
    Clustering {
        labels,
        distances,
        inertia,
        clusters,
        iterations,
    }
}

/// The rows that the centres start at: distinct ones, far from each other.
fn plus_plus(
    rows: &Rows,
    lengths: &[f64],
    weights: &[f64],
    k: usize,
    rng: &mut impl Rng,
) -> Vec<usize> {
    let mut seeds = Vec::new();
    let mut closest = vec![f64::INFINITY; rows.len()];
    // scikit-learn's number of candidates.
    let trials = 2 + (k.max(1) as f64).ln() as usize;
    let mut mass: Vec<f64> = weights.to_vec();
    while seeds.len() < k {
        let potential: f64 = mass.iter().sum();
        if potential <= NEAR {
            break;
        }
        let trials = if seeds.is_empty() { 1 } else { trials };
        let mut best: Option<(f64, usize, Vec<f64>)> = None;
        for _ in 0..trials {
            let Some(candidate) = pick(&mass, rng.random_range(0.0..potential)) else {
                continue;
            };
            let near = distances_to(rows, lengths, candidate, &closest);
            let left: f64 = near.iter().zip(weights).map(|(d, w)| d * w).sum();
            if best.as_ref().is_none_or(|(least, ..)| left < *least) {
                best = Some((left, candidate, near));
            }
        }
        let Some((_, seed, near)) = best else { break };
        seeds.push(seed);
        closest = near;
        let still_far = |(d, w): (&f64, &f64)| if *d > NEAR { d * w } else { 0.0 };
        mass = closest.iter().zip(weights).map(still_far).collect();
    }
    seeds
}

/// The row at which the running sum of `mass` passes `drawn`.
fn pick(mass: &[f64], drawn: f64) -> Option<usize> {
    let mut sum = 0.0;
    let mut last = None;
    for (i, m) in mass.iter().enumerate() {
        sum += m;
        if *m > 0.0 {
            last = Some(i);
            if sum > drawn {
                break;
            }
        }
    }
    last
}

/// Of each row the squared distance to row `to`, or what is in `closest` where that is less.
fn distances_to(rows: &Rows, lengths: &[f64], to: usize, closest: &[f64]) -> Vec<f64> {
    let mut dense = vec![0.0; rows.columns()];
    for (column, value) in rows.row(to) {
        dense[column] = value;
    }
    let distance = |i: usize| {
        let dot: f64 = rows.row(i).map(|(column, v)| v * dense[column]).sum();
        (lengths[i] + lengths[to] - 2.0 * dot)
            .max(0.0)
            .min(closest[i])
    };
    let all = (0..rows.len()).into_par_iter().with_min_len(CHUNK);
    all.map(distance).collect()
}

/// The means of the clusters. An empty one gets the row that lies farthest from its own centre.
fn means(
    rows: &Rows,
    weights: &[f64],
    labels: &mut [usize],
    distances: &[f64],
    k: usize,
) -> Vec<f64> {
    let mut sizes = vec![0_usize; k];
    labels.iter().for_each(|c| sizes[*c] += 1);
    for empty in 0..k {
        if sizes[empty] > 0 {
            continue;
        }
        let movable = (0..rows.len()).filter(|i| sizes[labels[*i]] > 1 && distances[*i] > NEAR);
        // Of equal distances the first.
        let farthest = movable.reduce(|a, b| if distances[b] > distances[a] { b } else { a });
        if let Some(row) = farthest {
            sizes[labels[row]] -= 1;
            sizes[empty] = 1;
            labels[row] = empty;
        }
    }
    let mut sums = vec![0.0; rows.columns() * k];
    let mut mass = vec![0.0; k];
    for (i, (c, weight)) in labels.iter().zip(weights).enumerate() {
        mass[*c] += weight;
        for (column, value) in rows.row(i) {
            sums[column * k + c] += weight * value;
        }
    }
    for column in sums.chunks_exact_mut(k) {
        for (sum, mass) in column.iter_mut().zip(&mass) {
            *sum /= mass.max(f64::MIN_POSITIVE);
        }
    }
    sums
}

/// The mean over the columns of their variance.
fn variance(rows: &Rows, lengths: &[f64], weights: &[f64], total: f64) -> f64 {
    let mut means = vec![0.0; rows.columns()];
    for (i, weight) in weights.iter().enumerate() {
        for (column, value) in rows.row(i) {
            means[column] += weight * value / total;
        }
    }
    let squares: f64 = lengths
        .iter()
        .zip(weights)
        .map(|(l, w)| l * w / total)
        .sum();
    let of_means: f64 = means.iter().map(|m| m * m).sum();
    (squares - of_means).max(0.0) / rows.columns() as f64
}

/// Closes the gaps that empty clusters leave in the numbering; returns how many there are.
fn renumber(labels: &mut [usize]) -> usize {
    let mut used: Vec<usize> = labels.to_vec();
    used.sort_unstable();
    used.dedup();
    for label in labels {
        *label = used.binary_search(label).unwrap_or(0);
    }
    used.len()
}

#[cfg(test)]
mod tests {
    use super::super::tfidf::tfidf;
    use super::*;
    use sample::seed;

    fn clustered(texts: &[&str], k: usize, seed: u64) -> Clustering {
        let (_, rows) = tfidf(texts, &vec![1; texts.len()]);
        let weights = vec![1.0; texts.len()];
        cluster(
            &rows,
            &weights,
            k,
            &mut seed::rng(seed, &["kmeans", "test"]),
        )
    }

    #[test]
    fn questions_of_one_kind_share_a_cluster() {
        let texts = [
            "how many red bars are there",
            "how many blue bars are there",
            "how many green bars are there",
            "what year has lowest sales",
            "what year has highest sales",
            "find area of triangle abc",
            "find area of triangle def",
        ];
        for seed in 0..20 {
            let found = clustered(&texts, 3, seed);
            assert_eq!(found.clusters, 3);
            for group in [&[0, 1, 2][..], &[3, 4], &[5, 6]] {
                let label = found.labels[group[0]];
                let members: Vec<usize> = (0..7).filter(|i| found.labels[*i] == label).collect();
                assert_eq!(members, group, "seed {seed}");
            }
        }
    }

    #[test]
    fn fewer_different_rows_than_clusters_give_fewer_clusters() {
        let cases: &[(&[&str], usize)] = &[
            (&[], 0),
            (&["", "?"], 1),
            (&["one two"], 1),
            (&["one two", "two one", "one two"], 1),
            (&["one two", "three four", "one two"], 2),
            (&["one two", "", "three"], 3),
        ];
        for (texts, expected) in cases {
            for seed in 0..5 {
                let found = clustered(texts, 5, seed);
                assert_eq!(found.clusters, *expected, "{texts:?}");
                assert!(found.inertia < 1e-9, "{texts:?} {found:?}");
                assert!(found.labels.iter().all(|c| *c < *expected));
            }
        }
    }

    #[test]
    fn an_empty_cluster_takes_the_farthest_row() {
        let (_, rows) = tfidf(&["aa", "bb", "aa cc"], &[1, 1, 1]);
        let mut labels = vec![0, 0, 0];
        means(&rows, &[1.0; 3], &mut labels, &[0.1, 0.9, 0.4], 3);
        assert_eq!(labels, [0, 1, 2]);
    }

    #[test]
    fn threads_do_not_change_the_result() {
        let texts: Vec<String> = (0..20_000_u64)
            .map(|i| {
                let word = |n: u64| seed::derive(i, &["word"]).rotate_left(n as u32 * 8) % 50;
                format!("w{} w{} w{} w{}", word(0), word(1), word(2), word(3))
            })
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.unwrap().install(|| clustered(&texts, 5, 3))
        };
        let one = with(1);
        assert!(one.iterations > 1 && one.clusters == 5);
        assert_eq!(one, with(3));
    }
}
