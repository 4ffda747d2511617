//! Curves over steps, several over each other.

use std::fmt::Write;

use super::records::{Records, Series};
use crate::chart::{both, open, smoothed, thinned, ticks, trimmed};
use crate::html::escape;

/// Colours that are told apart also by those who see few (Okabe and Ito's), for light grounds and for
/// dark ones.
pub const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9",
];

/// A chart of one quantity, for wide and narrow screens. `smooth` draws the mean around each step over
/// the values themselves.
pub fn chart(title: &str, runs: &[(&str, &Series)], smooth: bool) -> String {
    both(|width| {
        // Half a page wide on a desk.
        let width = if width > 600.0 { 530.0 } else { width };
        draw(
            title,
            runs,
            smooth,
            width,
            if width > 400.0 { 240.0 } else { 200.0 },
        )
    })
}

/// The losses as a picture that stands alone, with a legend.
pub(super) fn picture(runs: &[Records]) -> String {
    let series: Vec<(&str, &Series)> = runs.iter().map(|r| (r.name.as_str(), &r.loss)).collect();
    let (width, height) = (860.0, 420.0);
    let inner = draw("Training loss by step", &series, true, width, height);
    let mut legend = String::new();
    for (i, run) in runs.iter().enumerate() {
        let (x, y) = (80.0 + 250.0 * (i % 3) as f64, 22.0 + 20.0 * (i / 3) as f64);
        let _ = write!(
            legend,
            "<rect x=\"{x}\" y=\"{}\" width=\"16\" height=\"4\" fill=\"{}\"/>\
             <text x=\"{}\" y=\"{y}\">{}</text>",
            y - 7.0,
            COLOURS[i % COLOURS.len()],
            x + 22.0,
            escape(&run.name)
        );
    }
    let head = 20.0 * runs.len().div_ceil(3) as f64 + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {}\" \
         font-family=\"sans-serif\" font-size=\"13\"><style>rect.ground{{fill:#fff}}\
         text{{fill:#333}}.grid{{stroke:#ddd}}.axis{{stroke:#888}}polyline{{fill:none}}\
         .raw{{opacity:.25}}</style><rect class=\"ground\" width=\"100%\" height=\"100%\"/>\
         {legend}<g transform=\"translate(0 {head})\">{inner}</g></svg>\n",
        height + head
    )
}

fn draw(title: &str, runs: &[(&str, &Series)], smooth: bool, width: f64, height: f64) -> String {
    let (left, right, top, bottom) = (58.0, 12.0, 8.0, 38.0);
    let points = || runs.iter().flat_map(|(_, series)| series.iter());
    let last = points().map(|p| p.0).fold(0.0, f64::max);
    // One wild step must not flatten the rest.
    let mut values: Vec<f64> = points().map(|p| p.1).collect();
    values.sort_by(f64::total_cmp);
    let high = values.get(values.len().saturating_sub(1) * 995 / 1000);
    let highest = high.copied().unwrap_or(0.0).max(0.0);
    let (across, up) = (
        ticks(last, if width < 400.0 { 4 } else { 6 }),
        ticks(highest, 5),
    );
    let last = last.max(1e-9);
    let top_value = up.last().copied().unwrap_or(0.0).max(highest).max(1e-30);
    let x = |step: f64| left + (width - left - right) * step / last;
    let y =
        |value: f64| top + (height - top - bottom) * (1.0 - (value / top_value).clamp(0.0, 1.02));
    let mut svg = open(width, height, &escape(title));
    for tick in &up {
        let at = y(*tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            width - right,
            left - 8.0,
            at + 4.0,
            label(*tick)
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
        "<line class=\"axis\" x1=\"{left}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
        width - right,
        height - bottom,
        height - bottom,
    );
    for (i, (_, series)) in runs.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let mut line = |class: &str, points: &[(f64, f64)]| {
            let path: Vec<String> = points
                .iter()
                .map(|(step, value)| format!("{:.1},{:.1}", x(*step), y(*value)))
                .collect();
            let _ = write!(
                svg,
                "<polyline class=\"{class}\" style=\"stroke:{colour}\" points=\"{}\"/>",
                path.join(" ")
            );
        };
        let most = width as usize;
        if smooth && series.len() > 20 {
            line("raw", &thinned(series, most));
            line("smooth", &thinned(&smoothed(series), most));
        } else {
            line("smooth", &thinned(series, most));
        }
        // A single point is no line.
        if let [(step, value)] = series[..] {
            let _ = write!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>",
                x(step),
                y(value)
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

/// Small numbers, such as learning rates, as powers of ten.
fn label(value: f64) -> String {
    if value != 0.0 && value.abs() < 0.001 {
        format!("{value:.1e}").replace(".0e", "e")
    } else {
        trimmed(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_of_no_one_and_wild_points_have_no_broken_number() {
        for series in [
            vec![],
            vec![(0.0, 0.0)],
            vec![(5.0, 2e-5)],
            (0..500)
                .map(|i| (f64::from(i), if i == 250 { 1e9 } else { 2.0 }))
                .collect(),
        ] {
            let svg = chart("a < b", &[("x", &series), ("y", &Vec::new())], true);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.contains("a &lt; b"));
        }
    }

    #[test]
    fn a_picture_names_its_runs() {
        let run = |name: &str| Records {
            name: name.to_owned(),
            loss: vec![(0.0, 3.0), (1.0, 2.0)],
            ..Records::default()
        };
        let svg = picture(&[run("f32"), run("<8-bit>")]);
        assert!(svg.contains("&lt;8-bit&gt;") && svg.contains(COLOURS[1]));
        assert_eq!(svg.matches("<polyline").count(), 2);
    }
}
