//! Charts as SVG, drawn for the width they are shown at.
//!
//! Text in an SVG shrinks with it, so each chart is drawn twice, for a desk and for a phone, and the
//! style sheet shows one. Colours are classes, so that both colour schemes work.

use std::fmt::Write;

use sample::scores::{Condition, Group};

use crate::html::escape;
use crate::stages::Point;

/// A chart for wide and for narrow screens.
pub(crate) fn both(draw: impl Fn(f64) -> String) -> String {
    format!(
        "<div class=\"wide\">{}</div><div class=\"narrow\">{}</div>",
        draw(1080.0),
        draw(340.0)
    )
}

/// Accuracy bars with interval whiskers, three to a group.
pub(crate) fn accuracies(groups: &[&Group]) -> String {
    both(|width| accuracies_at(groups, width))
}

const BAR: f64 = 15.0;

fn accuracies_at(groups: &[&Group], width: f64) -> String {
    let narrow = width < 600.0;
    // Names stand left of the bars where there is room, else above them.
    let (left, right, head) = if narrow {
        (4.0, 46.0, 20.0)
    } else {
        (104.0, 60.0, 0.0)
    };
    let span = width - left - right;
    let x = |share: f64| left + span * share.clamp(0.0, 1.0);
    let step = head + 3.0 * (BAR + 3.0) + 18.0;
    let bottom = 8.0 + step * groups.len() as f64;
    let mut svg = open(
        width,
        bottom + 22.0,
        "Accuracy with 95% intervals for model, swapped and blind; the table below has the numbers",
    );
    for tick in (0..=100).step_by(if narrow { 25 } else { 20 }) {
        let at = x(f64::from(tick) / 100.0);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{bottom:.1}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}%</text>",
            bottom + 17.0
        );
    }
    for (i, group) in groups.iter().enumerate() {
        let top = 8.0 + step * i as f64;
        let name = escape(&group.name);
        let _ = if narrow {
            write!(
                svg,
                "<text class=\"name\" x=\"{left}\" y=\"{:.1}\">{name}</text>",
                top + 12.0
            )
        } else {
            write!(
                svg,
                "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                left - 14.0,
                top + 1.5 * (BAR + 3.0) + 3.0
            )
        };
        for (c, condition) in Condition::ALL.into_iter().enumerate() {
            let a = group.accuracy(condition);
            if a.total == 0 {
                continue;
            }
            let y = top + head + (BAR + 3.0) * c as f64;
            let middle = y + BAR / 2.0;
            let (low, high) = (x(a.low), x(a.high));
            let _ = write!(
                svg,
                "<rect class=\"{}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" \
                 rx=\"2\"/><path class=\"whisker\" d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} \
                 {:.1}v7M{high:.1} {:.1}v7\"/><text class=\"value\" x=\"{:.1}\" \
                 y=\"{:.1}\">{:.1}</text>",
                condition.name(),
                (x(a.value) - left).max(1.0),
                middle - 3.5,
                middle - 3.5,
                high + 7.0,
                middle + 4.2,
                100.0 * a.value
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// The loss by step: as logged, and smoothed.
pub(crate) fn losses(points: &[Point]) -> String {
    both(|width| losses_at(points, width))
}

fn losses_at(points: &[Point], width: f64) -> String {
    let height = if width < 600.0 { 240.0 } else { 320.0 };
    let (left, right, top, bottom) = (46.0, 10.0, 8.0, 40.0);
    let logged: Vec<(f64, f64)> = points.iter().map(|p| (p.step, p.loss)).collect();
    let last = logged.iter().map(|p| p.0).fold(0.0, f64::max);
    let highest = logged.iter().map(|p| p.1).fold(0.0, f64::max);
    let (across, up) = (
        ticks(last, if width < 600.0 { 4 } else { 8 }),
        ticks(highest, 6),
    );
    let (last, highest) = (
        last.max(1e-9),
        up.last().copied().unwrap_or(1.0).max(highest).max(1e-9),
    );
    let x = |step: f64| left + (width - left - right) * step / last;
    let y = |loss: f64| top + (height - top - bottom) * (1.0 - loss / highest);
    let mut svg = open(width, height, "Training loss by step");
    for tick in &up {
        let at = y(*tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            width - right,
            left - 8.0,
            at + 4.0,
            trimmed(*tick)
        );
    }
    for tick in &across {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            x(*tick),
            height - bottom + 18.0,
            trimmed(*tick)
        );
    }
    let _ = write!(
        svg,
        "<line class=\"axis\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">step</text>",
        width - right,
        height - bottom,
        height - bottom,
        left + (width - left - right) / 2.0,
        height - 4.0
    );
    let line = |class: &str, points: &[(f64, f64)]| {
        let path: Vec<String> = points
            .iter()
            .map(|(step, loss)| format!("{:.1},{:.1}", x(*step), y(*loss)))
            .collect();
        format!(
            "<polyline class=\"{class}\" points=\"{}\"/>",
            path.join(" ")
        )
    };
    // More points than pixels make the file longer and the picture no better.
    let most = width as usize;
    svg.push_str(&line("raw", &thinned(&logged, most)));
    svg.push_str(&line("smooth", &thinned(&smoothed(&logged), most)));
    svg.push_str("</svg>");
    svg
}

pub(crate) fn open(width: f64, height: f64, label: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"{label}\">\
         <title>{label}</title>"
    )
}

/// The mean over a window around each point, a fiftieth of the curve to either side: unlike a mean
/// that only looks back, it does not lag behind a falling loss.
pub(crate) fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let reach = points.len() / 50;
    let sums: Vec<f64> = std::iter::once(0.0)
        .chain(points.iter().scan(0.0, |sum, (_, loss)| {
            *sum += loss;
            Some(*sum)
        }))
        .collect();
    points
        .iter()
        .enumerate()
        .map(|(i, &(step, _))| {
            let (from, to) = (i.saturating_sub(reach), (i + reach + 1).min(points.len()));
            (step, (sums[to] - sums[from]) / (to - from) as f64)
        })
        .collect()
}

/// At most about `most` of the points, the last among them.
pub(crate) fn thinned(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let every = points.len().div_ceil(most.max(1)).max(1);
    let last = points.len().saturating_sub(1);
    points
        .iter()
        .enumerate()
        .filter(|(i, _)| i % every == 0 || *i == last)
        .map(|(_, point)| *point)
        .collect()
}

/// Round numbers from 0 to just past or just under `highest`, about `wanted` of them.
pub(crate) fn ticks(highest: f64, wanted: usize) -> Vec<f64> {
    if !(highest > 0.0 && highest.is_finite()) {
        return vec![0.0];
    }
    let rough = highest / wanted.max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .iter()
        .map(|s| s * power)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * power);
    let count = (highest / step + 1e-9).floor() as usize;
    (0..=count.min(4 * wanted))
        .map(|i| i as f64 * step)
        .collect()
}

/// `0.5`, `12`, `20000` as `20k`.
pub(crate) fn trimmed(value: f64) -> String {
    if value >= 10_000.0 {
        return format!("{}k", value / 1000.0);
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        assert_eq!(ticks(4.7, 5), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(ticks(1000.0, 4), [0.0, 500.0, 1000.0]);
        assert_eq!(ticks(0.0, 5), [0.0]);
        assert_eq!(ticks(f64::NAN, 5), [0.0]);
        for highest in [1e-9, 0.3, 7.0, 12_345.0, 9e12] {
            let ticks = ticks(highest, 6);
            assert!((3..=12).contains(&ticks.len()), "{highest}: {ticks:?}");
            assert!(ticks.iter().all(|t| *t <= highest * 1.001));
        }
    }

    #[test]
    fn smoothing_keeps_a_constant_and_damps_noise() {
        let flat: Vec<(f64, f64)> = (0..500).map(|i| (f64::from(i), 2.0)).collect();
        assert!(smoothed(&flat).iter().all(|p| (p.1 - 2.0).abs() < 1e-9));
        let curve = |loss: fn(u32) -> f64| -> Vec<(f64, f64)> {
            (0..500).map(|i| (f64::from(i), loss(i))).collect()
        };
        let noisy = curve(|i| if i % 2 == 0 { 1.0 } else { 3.0 });
        assert!(smoothed(&noisy).iter().all(|p| (p.1 - 2.0).abs() < 0.2));
        let falling = curve(|i| 500.0 - f64::from(i));
        let pairs = smoothed(&falling)
            .into_iter()
            .zip(falling)
            .skip(10)
            .take(480);
        assert!(
            { pairs }.all(|(a, b)| (a.1 - b.1).abs() < 1e-6),
            "lags behind"
        );
        assert!(smoothed(&[]).is_empty());
    }

    #[test]
    fn thinning_keeps_both_ends() {
        let points: Vec<(f64, f64)> = (0..1001).map(|i| (f64::from(i), 0.0)).collect();
        let thin = thinned(&points, 100);
        assert!(thin.len() <= 102);
        assert_eq!((thin[0].0, thin[thin.len() - 1].0), (0.0, 1000.0));
        assert!(thinned(&[], 100).is_empty());
    }

    #[test]
    fn a_curve_of_one_point_has_no_broken_number() {
        for points in [
            vec![],
            vec![Point {
                step: 0.0,
                loss: 0.0,
            }],
        ] {
            let svg = losses(&points);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
