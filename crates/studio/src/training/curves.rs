//! Curves for scripts: each quantity of a run, thinned so that what is seen stays, and from a step on.

use serde_json::{Value, json};

use super::log::{Log, Step, Timing};

/// About so many points of a quantity are sent.
const POINTS: usize = 1000;

/// A quantity: its name in addresses, its heading, whether its mean is of interest.
pub(super) struct Quantity {
    pub name: &'static str,
    pub title: &'static str,
    pub smooth: bool,
    of: fn(&Log, f64) -> Series,
}

/// (step, value)
pub(super) type Series = Vec<(f64, f64)>;

/// The quantities, in the order they are shown.
pub(super) const QUANTITIES: [Quantity; 8] = [
    Quantity {
        name: "loss",
        title: "Loss",
        smooth: true,
        of: |log, after| steps(log, after, |s| s.loss),
    },
    Quantity {
        name: "grad_norm",
        title: "Gradient norm, before clipping",
        smooth: true,
        of: |log, after| steps(log, after, |s| s.grad_norm),
    },
    Quantity {
        name: "lr",
        title: "Learning rate",
        smooth: false,
        of: |log, after| steps(log, after, |s| s.lr),
    },
    Quantity {
        name: "tokens_per_second",
        title: "Tokens a second",
        smooth: true,
        of: |log, after| timings(log, after, |t| t.tokens_per_second),
    },
    Quantity {
        name: "samples_per_second",
        title: "Samples a second",
        smooth: true,
        of: |log, after| timings(log, after, |t| t.samples_per_second),
    },
    Quantity {
        name: "memory_mib",
        title: "Memory, MiB",
        smooth: false,
        of: |log, after| timings(log, after, |t| t.memory_mib),
    },
    Quantity {
        name: "peak_share",
        title: "Share of the machine's peak",
        smooth: true,
        of: |log, after| timings(log, after, |t| t.peak_share),
    },
    Quantity {
        name: "data_seconds",
        title: "Seconds that a step waited for data",
        smooth: true,
        of: |log, after| timings(log, after, |t| t.data_seconds),
    },
];

/// A value of the steps after one.
fn steps(log: &Log, after: f64, value: impl Fn(&Step) -> f64) -> Series {
    let from = log.steps.partition_point(|s| s.step <= after);
    let points = log.steps[from..].iter().map(|s| (s.step, value(s)));
    points.filter(|(_, v)| v.is_finite()).collect()
}

fn timings(log: &Log, after: f64, value: impl Fn(&Timing) -> f64) -> Series {
    let from = log.timings.partition_point(|t| t.step <= after);
    let points = log.timings[from..].iter().map(|t| (t.step, value(t)));
    points.filter(|(_, v)| v.is_finite()).collect()
}

impl Quantity {
    /// All its points, thinned.
    pub fn all(&self, log: &Log) -> Series {
        thinned(&(self.of)(log, f64::NEG_INFINITY), POINTS)
    }
}

/// At most about `most` of the points: of each stretch the least and the greatest, and both ends, so that no
/// spike is lost.
pub(super) fn thinned(points: &[(f64, f64)], most: usize) -> Series {
    let kept = kept(points, most).into_iter();
    kept.map(|(at, _)| points[at]).collect()
}

/// The places of those points, each with the mean of the stretch it stands for: the least and the greatest
/// values are no ground for a smooth curve.
fn kept(points: &[(f64, f64)], most: usize) -> Vec<(usize, f64)> {
    if points.len() <= most {
        return points.iter().map(|p| p.1).enumerate().collect();
    }
    let stretches = (most / 2).max(1);
    let mut kept: Vec<(usize, f64)> = Vec::with_capacity(2 * stretches + 2);
    for stretch in 0..stretches {
        let from = stretch * points.len() / stretches;
        let to = (stretch + 1) * points.len() / stretches;
        let by_value = |a: &usize, b: &usize| points[*a].1.total_cmp(&points[*b].1);
        let mean = points[from..to].iter().map(|p| p.1).sum::<f64>() / (to - from) as f64;
        let ends = [
            (stretch == 0).then_some(0),
            (to == points.len()).then(|| to - 1),
        ];
        let extremes = [(from..to).min_by(by_value), (from..to).max_by(by_value)];
        kept.extend(
            ends.into_iter()
                .chain(extremes)
                .flatten()
                .map(|at| (at, mean)),
        );
    }
    kept.sort_unstable_by_key(|(at, _)| *at);
    kept.dedup_by_key(|(at, _)| *at);
    kept
}

/// A run's curves after a step: for each quantity its points as step, tokens so far, seconds so far, value,
/// and the mean of the stretch that the point stands for.
pub(super) fn curves(log: &Log, after: f64) -> Value {
    let quantities: serde_json::Map<String, Value> = QUANTITIES
        .iter()
        .map(|quantity| {
            let new = (quantity.of)(log, after);
            let points: Vec<Value> = kept(&new, POINTS)
                .into_iter()
                .map(|(at, mean)| {
                    let (step, value) = new[at];
                    let elapsed = short(log.elapsed_at(step));
                    json!([
                        step,
                        log.tokens_at(step),
                        elapsed,
                        short(value),
                        short(mean)
                    ])
                })
                .collect();
            (quantity.name.to_owned(), Value::from(points))
        })
        .collect();
    json!({
        "generation": log.generation,
        "last": last(log),
        "quantities": quantities,
    })
}

/// The last step of either log.
pub(super) fn last(log: &Log) -> Option<f64> {
    let steps = log.steps.last().map(|s| s.step);
    // A step's timing is written after its metrics: until then, its points would be missed.
    match (steps, log.timings.last().map(|t| t.step)) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// A number of six digits: more are not seen, and are sent for each point.
fn short(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_both_ends_and_every_spike() {
        let mut points: Series = (0..100_000).map(|i| (f64::from(i), 1.0)).collect();
        points[777].1 = 50.0;
        points[99_000].1 = -3.0;
        let thin = thinned(&points, 1000);
        assert!(thin.len() <= 1002, "{}", thin.len());
        assert_eq!((thin[0].0, thin[thin.len() - 1].0), (0.0, 99_999.0));
        assert!(thin.contains(&(777.0, 50.0)) && thin.contains(&(99_000.0, -3.0)));
        assert!(thin.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(thinned(&points[..5], 1000), points[..5]);
        let mean = kept(&points, 1000)
            .iter()
            .map(|(_, mean)| mean)
            .sum::<f64>()
            / thin.len() as f64;
        assert!(
            (mean - 1.0).abs() < 0.01,
            "the spikes are far from the mean: {mean}"
        );
        assert!(thinned(&[], 1000).is_empty());
    }

    #[test]
    fn numbers_are_sent_with_six_digits() {
        for (value, wanted) in [
            (0.123_456_789, 0.123_457),
            (0.0, 0.0),
            (12_345_678.0, 12_345_700.0),
        ] {
            assert_eq!(short(value), wanted);
        }
    }
}
