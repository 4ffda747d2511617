//! Accuracy by subgroup as bars with interval whiskers, one for each run, and marks for published rows.

use std::fmt::Write;

use sample::benchmark::scoreboard::{BoardRow, Breakdown, Scoreboard, Standing};
use sample::scores::Accuracy;

use crate::chart::{both, open};
use crate::html::{escape, shortened};

/// A dimension with more groups is a table alone.
const MOST_GROUPS: usize = 24;
const BAR: f64 = 13.0;

/// Published rows that are marked in charts: the first of each of these kinds that has the group.
const MARKED: [Standing; 4] = [
    Standing::MathLlava,
    Standing::Open,
    Standing::Closed,
    Standing::Human,
];

/// A group's name, and its share in each run.
type Shares<'a> = Vec<(&'a str, Vec<Option<Accuracy>>)>;

/// The groups of a dimension over all runs, by name.
pub(super) fn shares<'a>(breakdowns: &[&'a Breakdown], dimension: &str) -> Shares<'a> {
    let mut found: std::collections::BTreeMap<&str, Vec<Option<Accuracy>>> = Default::default();
    for (number, breakdown) in breakdowns.iter().enumerate() {
        for (name, groups) in &breakdown.dimensions {
            for (group, share) in groups.iter().filter(|_| name == dimension) {
                let entry = found
                    .entry(group)
                    .or_insert_with(|| vec![None; breakdowns.len()]);
                entry[number] = Some(*share);
            }
        }
    }
    found.into_iter().collect()
}

/// The charts of all dimensions with few groups, and a legend.
pub fn charts(breakdowns: &[&Breakdown], names: &[String], board: Option<&Scoreboard>) -> String {
    let marked = marked_rows(board);
    let mut html = String::from("<ul class=\"legend\">");
    for (i, name) in names.iter().enumerate() {
        let _ = write!(
            html,
            "<li><i class=\"bg-run{i}\"></i>{}</li>",
            shortened(name, 60)
        );
    }
    html.push_str("<li>lines: 95% intervals</li>");
    for (i, row) in marked.iter().enumerate() {
        let _ = write!(
            html,
            "<li><svg class=\"key\" viewBox=\"0 0 14 14\" aria-hidden=\"true\">{}</svg>{} \
             (published)</li>",
            mark(i, 7.0, 7.0),
            shortened(&row.model, 60)
        );
    }
    html.push_str("</ul>");
    let mut dimensions: Vec<&str> = Vec::new();
    for (dimension, _) in breakdowns.iter().flat_map(|b| &b.dimensions) {
        if !dimensions.contains(&dimension.as_str()) {
            dimensions.push(dimension);
        }
    }
    for dimension in dimensions {
        let groups = shares(breakdowns, dimension);
        if groups.is_empty() || groups.len() > MOST_GROUPS {
            continue;
        }
        let marks: Vec<Vec<Option<f64>>> = groups
            .iter()
            .map(|(name, _)| published(board, &marked, dimension, name))
            .collect();
        let label = format!("Accuracy by {}", escape(dimension));
        let _ = write!(
            html,
            "<div class=\"card\"><h3 style=\"margin-top:0\">By {}</h3>{}</div>",
            shortened(dimension, 60),
            both(|width| draw(&groups, &marks, &label, width))
        );
    }
    html
}

fn marked_rows(board: Option<&Scoreboard>) -> Vec<&BoardRow> {
    let Some(board) = board else {
        return Vec::new();
    };
    let has_parts = |row: &&BoardRow| row.cells.iter().any(Option::is_some);
    MARKED
        .iter()
        .filter_map(|kind| {
            let mut rows = board.rows.iter().filter(|r| r.standing == *kind);
            rows.find(has_parts)
        })
        .collect()
}

/// What the marked rows have for a group, in per cent.
fn published(
    board: Option<&Scoreboard>,
    marked: &[&BoardRow],
    dimension: &str,
    name: &str,
) -> Vec<Option<f64>> {
    let column = board.and_then(|board| {
        let mut columns = board.columns.iter();
        columns.position(|c| c.dimension == dimension && alike(&c.name, name))
    });
    marked
        .iter()
        .map(|row| column.and_then(|c| row.cells.get(c).copied().flatten()))
        .map(|cell| cell.map(|c| c.percent))
        .collect()
}

/// Whether two names are one but for case, spaces and punctuation.
fn alike(a: &str, b: &str) -> bool {
    let letters = |name: &str| -> String {
        let kept = name.chars().filter(|c| c.is_alphanumeric());
        kept.flat_map(char::to_lowercase).collect()
    };
    letters(a) == letters(b)
}

fn draw(groups: &Shares<'_>, marks: &[Vec<Option<f64>>], label: &str, width: f64) -> String {
    let narrow = width < 600.0;
    // Names stand left of the bars where there is room, else above them.
    let (left, right, head) = if narrow {
        (4.0, 44.0, 20.0)
    } else {
        (250.0, 56.0, 0.0)
    };
    let span = width - left - right;
    let x = |share: f64| left + span * share.clamp(0.0, 1.0);
    let runs = groups.first().map_or(1, |g| g.1.len()).max(1) as f64;
    let marks_line = if marks.iter().flatten().any(Option::is_some) {
        8.0
    } else {
        0.0
    };
    let step = head + runs * (BAR + 3.0) + 14.0 + marks_line;
    let bottom = 6.0 + step * groups.len() as f64;
    let mut svg = open(width, bottom + 22.0, label);
    for tick in (0..=100).step_by(if narrow { 25 } else { 20 }) {
        let at = x(f64::from(tick) / 100.0);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{bottom:.1}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}%</text>",
            bottom + 17.0
        );
    }
    for (i, (name, shares)) in groups.iter().enumerate() {
        let top = 6.0 + step * i as f64;
        let longest = if narrow { 44 } else { 34 };
        let name = shortened(name, longest);
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
                left - 12.0,
                top + runs * (BAR + 3.0) / 2.0 + 3.0
            )
        };
        for (run, share) in shares.iter().enumerate() {
            let Some(a) = share.filter(|a| a.total > 0) else {
                continue;
            };
            let y = top + head + (BAR + 3.0) * run as f64;
            let middle = y + BAR / 2.0;
            let (low, high) = (x(a.low), x(a.high));
            let _ = write!(
                svg,
                "<rect class=\"run{run}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{:.1}\" \
                 height=\"{BAR}\" rx=\"2\"/><path class=\"whisker\" d=\"M{low:.1} \
                 {middle:.1}H{high:.1}M{low:.1} {:.1}v6M{high:.1} {:.1}v6\"/><text class=\"value\" \
                 x=\"{:.1}\" y=\"{:.1}\">{:.1}</text>",
                (x(a.value) - left).max(1.0),
                middle - 3.0,
                middle - 3.0,
                high + 7.0,
                middle + 4.2,
                100.0 * a.value
            );
        }
        let line = top + head + runs * (BAR + 3.0) + 4.0;
        for (kind, percent) in marks.get(i).into_iter().flatten().enumerate() {
            if let Some(percent) = percent {
                svg.push_str(&mark(kind, x(percent / 100.0), line));
            }
        }
    }
    svg.push_str("</svg>");
    svg
}

/// A shape for a published row, told apart without colour.
fn mark(kind: usize, x: f64, y: f64) -> String {
    match kind {
        0 => format!(
            "<path class=\"mark\" d=\"M{x:.1} {:.1}l5 8h-10z\"/>",
            y - 4.0
        ),
        1 => format!(
            "<rect class=\"mark\" x=\"{:.1}\" y=\"{:.1}\" width=\"7\" height=\"7\"/>",
            x - 3.5,
            y - 3.5
        ),
        2 => format!(
            "<path class=\"mark\" d=\"M{x:.1} {:.1}l5 5l-5 5l-5 -5z\"/>",
            y - 5.0
        ),
        _ => format!("<circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"),
    }
}
