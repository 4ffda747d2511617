//! Intervals: how sure a score is, and whether two scores differ.

use rand::Rng;
use sample::scores::{Accuracy, Difference, Verdict};

/// Two-sided 95% of the normal distribution.
pub(crate) const Z: f64 = 1.959_963_984_540_054;
/// With fewer images than this, a bootstrap interval is too narrow to be believed.
pub const FEWEST_IMAGES: usize = 8;

/// A share with Wilson's 95% score interval, which stays within 0 and 1 and holds for few
/// questions.
pub fn accuracy(correct: u64, total: u64) -> Accuracy {
    if total == 0 {
        return Accuracy {
            correct,
            total,
            value: 0.0,
            low: 0.0,
            high: 1.0,
        };
    }
    let n = total as f64;
    let p = correct as f64 / n;
    let z2 = Z * Z;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    Accuracy {
        correct,
        total,
        value: printed(p),
        // At 0 and 1 the ends are exact, but rounding may pass them by a hair.
        low: printed((centre - half).clamp(0.0, p)),
        high: printed((centre + half).clamp(p, 1.0)),
    }
}

/// Six decimals: more would be noise, and so short a number reads back from JSON as it was.
fn printed(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// All questions on one image, under two conditions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Right under the first condition less right under the second.
    pub difference: i64,
    /// Questions that both conditions have.
    pub items: u32,
}

/// The mean difference per question with a 95% percentile bootstrap interval that resamples
/// images, since questions on one image are right or wrong together.
pub fn difference(clusters: &[Cluster], resamples: u32, rng: &mut impl Rng) -> Difference {
    let (sum, items) = totals(clusters.iter());
    let value = ratio(sum, items);
    let images = clusters.len();
    let interval = (images >= FEWEST_IMAGES && resamples > 0).then(|| {
        let mut means: Vec<f64> = (0..resamples)
            .map(|_| {
                let draw = (0..images).map(|_| &clusters[rng.random_range(0..images)]);
                let (sum, items) = totals(draw);
                ratio(sum, items)
            })
            .collect();
        means.sort_by(f64::total_cmp);
        let last = means.len() - 1;
        let low = (0.025 * last as f64).floor() as usize;
        let high = (0.975 * last as f64).ceil() as usize;
        (means[low], means[high.min(last)])
    });
    let verdict = match interval {
        Some((low, _)) if low > 0.0 => Verdict::Beats,
        Some((_, high)) if high < 0.0 => Verdict::Loses,
        _ => Verdict::Unclear,
    };
    Difference {
        items,
        images: images as u64,
        value: printed(value),
        interval: interval.map(|(low, high)| (printed(low), printed(high))),
        verdict,
    }
}

fn totals<'a>(clusters: impl Iterator<Item = &'a Cluster>) -> (i64, u64) {
    clusters.fold((0, 0), |(sum, items), c| {
        (sum + c.difference, items + u64::from(c.items))
    })
}

fn ratio(sum: i64, items: u64) -> f64 {
    if items == 0 {
        0.0
    } else {
        sum as f64 / items as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_solves_the_score_equation() {
        // The roots of (p - x)^2 n = z^2 x (1 - x), found by bisection.
        for (correct, total, low, high) in [
            (5, 10, 0.236_593_1, 0.763_406_9),
            (0, 10, 0.0, 0.277_532_8),
            (10, 10, 0.722_467_2, 1.0),
            (412, 1000, 0.381_887_3, 0.442_786_2),
        ] {
            let a = accuracy(correct, total);
            assert!((a.low - low).abs() < 1e-6, "{correct}/{total}: {a:?}");
            assert!((a.high - high).abs() < 1e-6, "{correct}/{total}: {a:?}");
            assert!(a.low <= a.value && a.value <= a.high);
        }
        let none = accuracy(0, 0);
        assert_eq!((none.value, none.low, none.high), (0.0, 0.0, 1.0));
    }

    fn rng() -> impl Rng {
        sample::seed::rng(7, &["test"])
    }

    #[test]
    fn a_clear_difference_beats_and_its_mirror_image_loses() {
        let up: Vec<Cluster> = (0..100)
            .map(|i| Cluster {
                difference: i64::from(i % 3 != 0),
                items: 2,
            })
            .collect();
        let down: Vec<Cluster> = up
            .iter()
            .map(|c| Cluster {
                difference: -c.difference,
                ..*c
            })
            .collect();
        let d = difference(&up, 2000, &mut rng());
        assert_eq!((d.verdict, d.images, d.items), (Verdict::Beats, 100, 200));
        assert!((d.value - 0.33).abs() < 1e-9);
        let (low, high) = d.interval.unwrap();
        // The standard error of the mean of a two-valued variable, doubled.
        let half = 1.96 * (0.66f64 * 0.34 / 100.0).sqrt() / 2.0;
        assert!(
            (low - (0.33 - half)).abs() < 0.01 && (high - (0.33 + half)).abs() < 0.01,
            "{d:?}"
        );
        assert_eq!(difference(&down, 2000, &mut rng()).verdict, Verdict::Loses);
    }

    #[test]
    fn numbers_read_back_from_json_as_they_were() {
        for n in 1..400u32 {
            let clusters: Vec<Cluster> = (0..8 + n % 7)
                .map(|i| Cluster {
                    difference: i64::from(i % 2),
                    items: n,
                })
                .collect();
            let d = difference(&clusters, 20, &mut rng());
            let a = accuracy(u64::from(n / 3), u64::from(n));
            let text = serde_json::to_string(&(d, a)).unwrap();
            assert_eq!(
                serde_json::from_str::<(Difference, Accuracy)>(&text).unwrap(),
                (d, a)
            );
        }
    }

    #[test]
    fn no_difference_is_unclear() {
        let even: Vec<Cluster> = (0..60)
            .map(|i| Cluster {
                difference: if i % 2 == 0 { 1 } else { -1 },
                items: 1,
            })
            .collect();
        let d = difference(&even, 2000, &mut rng());
        assert_eq!((d.value, d.verdict), (0.0, Verdict::Unclear));
    }

    #[test]
    fn too_few_images_give_no_interval_however_many_questions() {
        let few = vec![
            Cluster {
                difference: 50,
                items: 50
            };
            FEWEST_IMAGES - 1
        ];
        let d = difference(&few, 2000, &mut rng());
        assert_eq!((d.interval, d.verdict), (None, Verdict::Unclear));
        assert_eq!(difference(&[], 2000, &mut rng()).value, 0.0);
    }

    #[test]
    fn questions_on_one_image_do_not_count_as_independent() {
        // The same 200 answers: on 200 images, and on 10 whose questions stand and fall together.
        let apart: Vec<Cluster> = (0..200)
            .map(|i| Cluster {
                difference: i64::from(i < 120),
                items: 1,
            })
            .collect();
        let together: Vec<Cluster> = (0..10)
            .map(|i| Cluster {
                difference: if i < 6 { 20 } else { 0 },
                items: 20,
            })
            .collect();
        let width = |c: &[Cluster]| {
            let (low, high) = difference(c, 2000, &mut rng()).interval.unwrap();
            high - low
        };
        assert!(width(&together) > 3.0 * width(&apart));
    }
}
