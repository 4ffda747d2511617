//! A selection's plan as pictures: bars of what there was, what was asked for and what was taken; and the
//! way of the images from their sources through the levels to the selection.

use std::fmt::Write;

use crate::card::provenance::PlanRow;
use crate::chart::{both, open, ticks, trimmed};
use crate::html::{count, escape, shortened};

/// Rows and sources beyond these are drawn together, as the last.
const MOST_ROWS: usize = 120;
const MOST_SOURCES: usize = 24;
/// Colours there are for sources; they are used in turn.
const COLOURS: usize = 6;

/// `level 2`, `no level`.
fn level_name(level: Option<u64>) -> String {
    level.map_or("no level".to_owned(), |level| format!("level {level}"))
}

/// A bar for each level and source: available behind, taken before it, a line where the quota is. Nothing
/// where there is no row.
pub fn bars(rows: &[PlanRow]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let rows = &rows[..rows.len().min(MOST_ROWS)];
    both(|width| bars_at(rows, width))
}

const BAR: f64 = 15.0;

fn bars_at(rows: &[PlanRow], width: f64) -> String {
    let narrow = width < 600.0;
    // Names stand left of the bars where there is room, else above them.
    let (left, right, head) = if narrow {
        (4.0, 60.0, 18.0)
    } else {
        (190.0, 90.0, 0.0)
    };
    let most = rows
        .iter()
        .map(|r| r.available.max(r.taken))
        .max()
        .unwrap_or(0) as f64;
    let most = most.max(1.0);
    let x = |n: f64| left + (width - left - right) * (n / most).clamp(0.0, 1.0);
    let step = head + BAR + 8.0;
    let bottom = 6.0 + step * rows.len() as f64;
    let label =
        "Images available, asked for and taken, by level and source; the table has the numbers";
    let mut svg = open(width, bottom + 22.0, label);
    for tick in ticks(most, if narrow { 3 } else { 6 }) {
        let at = x(tick);
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"0\" y2=\"{bottom:.1}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 17.0,
            trimmed(tick)
        );
    }
    for (i, row) in rows.iter().enumerate() {
        let top = 6.0 + step * i as f64;
        let name = format!(
            "{} · {}",
            level_name(row.level),
            shortened(&row.source, if narrow { 30 } else { 18 })
        );
        let (at, anchor, y) = match narrow {
            true => (left, "start", top + 12.0),
            false => (left - 10.0, "end", top + 12.0),
        };
        let _ = write!(
            svg,
            "<g><title>{name}: {} available, {} asked for, {} taken</title>\
             <text class=\"name\" x=\"{at:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{name}</text>",
            count(row.available),
            count(row.quota),
            count(row.taken),
        );
        let y = top + head;
        let bar = |class: &str, n: u64| {
            format!(
                "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{y:.1}\" width=\"{:.1}\" \
                 height=\"{BAR}\" rx=\"2\"/>",
                (x(n as f64) - left).max(if n > 0 { 1.5 } else { 0.0 })
            )
        };
        svg.push_str(&bar("behind", row.available));
        svg.push_str(&bar("model", row.taken));
        // A quota beyond all that there is stands at the end.
        let quota = x(row.quota as f64);
        let _ = write!(
            svg,
            "<path class=\"whisker\" d=\"M{quota:.1} {:.1}v{:.1}\"/>\
             <text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
            y - 2.0,
            BAR + 4.0,
            x(row.available.max(row.taken) as f64).max(quota) + 7.0,
            y + 12.0,
            count(row.taken),
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A node: its name, all that flows through it, its colour, and how far it is filled from the top on
/// either side.
struct Node {
    name: String,
    amount: u64,
    class: String,
    y: f64,
    entered: f64,
    left: f64,
}

/// Images from their sources through the levels to what was taken and what was not. Nothing where no
/// image was available.
pub fn sankey(rows: &[PlanRow]) -> String {
    if rows.iter().all(|r| r.available == 0) {
        return String::new();
    }
    both(|width| sankey_at(rows, width))
}

fn sankey_at(rows: &[PlanRow], width: f64) -> String {
    let mut sources: Vec<&str> = Vec::new();
    let mut levels: Vec<Option<u64>> = Vec::new();
    for row in rows.iter().filter(|r| r.available > 0) {
        if !sources.contains(&row.source.as_str()) && sources.len() < MOST_SOURCES {
            sources.push(&row.source);
        }
        if !levels.contains(&row.level) {
            levels.push(row.level);
        }
    }
    levels.sort();
    let place = |source: &str| {
        let place = sources.iter().position(|s| *s == source);
        place.unwrap_or(MOST_SOURCES - 1)
    };
    let narrow = width < 600.0;
    let (gap, node) = (14.0, 12.0);
    let high = (sources.len().max(levels.len()) as f64 * 46.0).clamp(170.0, 620.0);
    let total: u64 = rows.iter().map(|r| r.available).sum();
    let most_nodes = sources.len().max(levels.len()).max(2) as f64;
    let scale = (high - gap * (most_nodes - 1.0)).max(60.0) / total as f64;
    let top = 22.0;
    let column = |names: Vec<(String, u64, String)>| -> Vec<Node> {
        let used: f64 = names.iter().map(|n| n.1 as f64 * scale).sum::<f64>()
            + gap * (names.len() as f64 - 1.0);
        let mut y = top + ((high - used) / 2.0).max(0.0);
        let nodes = names.into_iter().map(|(name, amount, class)| {
            let node = Node {
                name,
                amount,
                class,
                y,
                entered: 0.0,
                left: 0.0,
            };
            y += amount as f64 * scale + gap;
            node
        });
        nodes.collect()
    };
    let sum = |keep: &dyn Fn(&PlanRow) -> bool| -> u64 {
        rows.iter().filter(|r| keep(r)).map(|r| r.available).sum()
    };
    let colour = |i: usize| format!("run{}", i % COLOURS);
    let mut from = column(
        (sources.iter().enumerate())
            .map(|(i, name)| {
                let amount = sum(&|r| place(&r.source) == i);
                ((*name).to_owned(), amount, colour(i))
            })
            .collect(),
    );
    let mut through = column(
        (levels.iter())
            .map(|level| {
                let amount = sum(&|r| r.level == *level);
                (level_name(*level), amount, "middle".to_owned())
            })
            .collect(),
    );
    let taken: u64 = rows.iter().map(|r| r.taken.min(r.available)).sum();
    let mut to = column(vec![
        ("taken".to_owned(), taken, "good".to_owned()),
        ("not taken".to_owned(), total - taken, "blind".to_owned()),
    ]);
    // Names of the middle column stand over its nodes, those of the last left of them where it is narrow.
    let side = if narrow { 2.0 } else { 150.0 };
    let (x0, x2) = (side, width - side - node);
    let x1 = (x0 + x2) / 2.0;
    let label = "Images from sources through levels of complexity to the selection; the table has the numbers";
    let mut svg = open(width, top + high + 12.0, label);
    let mut ribbon = |class: &str, kept: bool, x: (f64, f64), y: (f64, f64), n: u64, what: &str| {
        if n == 0 {
            return;
        }
        let thick = (n as f64 * scale).max(0.6);
        let middle = (x.0 + x.1) / 2.0;
        let (a, b) = y;
        let strength = if kept { "kept" } else { "lost" };
        let _ = write!(
            svg,
            "<path class=\"ribbon {strength} {class}\" d=\"M{:.1} {a:.1}C{middle:.1} {a:.1} {middle:.1} \
             {b:.1} {:.1} {b:.1}v{thick:.1}C{middle:.1} {:.1} {middle:.1} {:.1} {:.1} {:.1}z\">\
             <title>{what}: {}</title></path>",
            x.0,
            x.1,
            b + thick,
            a + thick,
            x.0,
            a + thick,
            count(n)
        );
    };
    // What is taken lies above what is not, on both sides of every node.
    for kept in [true, false] {
        for row in rows {
            let n = match kept {
                true => row.taken.min(row.available),
                false => row.available - row.taken.min(row.available),
            };
            let Some(level) = levels.iter().position(|l| *l == row.level) else {
                continue;
            };
            let (source, level) = (&mut from[place(&row.source)], &mut through[level]);
            let ends = (source.y + source.left, level.y + level.entered);
            let word = if kept { "taken" } else { "not taken" };
            let what = format!("{} of {}, {word}", escape(&row.source), level.name);
            ribbon(&source.class, kept, (x0 + node, x1), ends, n, &what);
            source.left += n as f64 * scale;
            level.entered += n as f64 * scale;
        }
        for (i, level) in through.iter_mut().enumerate() {
            let n: u64 = (rows.iter().filter(|r| r.level == levels[i]))
                .map(|r| match kept {
                    true => r.taken.min(r.available),
                    false => r.available - r.taken.min(r.available),
                })
                .sum();
            let end = &mut to[usize::from(!kept)];
            let ends = (level.y + level.left, end.y + end.entered);
            let what = format!("{}, {}", level.name, end.name);
            let class = end.class.clone();
            ribbon(&class, kept, (x1 + node, x2), ends, n, &what);
            level.left += n as f64 * scale;
            end.entered += n as f64 * scale;
        }
    }
    for (i, nodes) in [&from, &through, &to].into_iter().enumerate() {
        let x = [x0, x1, x2][i];
        for one in nodes {
            let tall = (one.amount as f64 * scale).max(if one.amount > 0 { 1.5 } else { 0.0 });
            let _ = write!(
                svg,
                "<rect class=\"{}\" x=\"{x:.1}\" y=\"{:.1}\" width=\"{node}\" height=\"{tall:.1}\" \
                 rx=\"2\"/>",
                one.class, one.y
            );
            if one.amount == 0 {
                continue;
            }
            // Names stand over the nodes where there is no room beside them.
            let beside = !narrow && i != 1;
            let y = match beside {
                true => one.y + tall / 2.0 + 4.0,
                false => one.y - 3.5,
            };
            let (at, anchor) = match (i, beside) {
                (0, true) => (x - 9.0, "end"),
                (0, false) => (x, "start"),
                (1, _) => (x + node / 2.0, "middle"),
                (_, true) => (x + node + 9.0, "start"),
                (_, false) => (x + node, "end"),
            };
            let _ = write!(
                svg,
                "<text class=\"name over\" x=\"{at:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{} \
                 <tspan class=\"n\">{}</tspan></text>",
                shortened(&one.name, 14),
                count(one.amount)
            );
        }
    }
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(level: Option<u64>, source: &str, available: u64, quota: u64, taken: u64) -> PlanRow {
        PlanRow {
            level,
            source: source.to_owned(),
            available,
            quota,
            taken,
        }
    }

    #[test]
    fn the_pictures_have_every_source_level_and_count_escaped() {
        let rows = [
            row(Some(0), "figures", 340, 300, 300),
            row(Some(3), "<b>", 10, 50, 10),
            row(None, "figures", 1200, 0, 0),
        ];
        let flows = sankey(&rows);
        for wanted in [
            "figures",
            "&lt;b&gt;",
            "level 0",
            "level 3",
            "no level",
            "310",
            "1,240",
        ] {
            assert!(flows.contains(wanted), "{wanted}: {flows}");
        }
        assert!(!flows.contains("<b>"));
        let bars = bars(&rows);
        assert!(
            bars.contains("340 available, 300 asked for, 300 taken"),
            "{bars}"
        );
        assert!(bars.contains("&lt;b&gt;") && !bars.contains("<b>"));
    }

    #[test]
    fn where_nothing_is_there_nothing_is_drawn() {
        assert_eq!(sankey(&[]), "");
        assert_eq!(sankey(&[row(None, "a", 0, 5, 0)]), "");
        assert_eq!(bars(&[]), "");
    }

    proptest! {
        #[test]
        fn no_plan_makes_a_broken_number(
            rows in prop::collection::vec(
                (prop::option::of(0u64..5), 0usize..40, 0u64..1_000_000, 0u64..1_000_000, 0u64..1_000_000),
                0..60,
            )
        ) {
            let rows: Vec<PlanRow> = rows
                .into_iter()
                .map(|(level, source, available, quota, taken)| {
                    row(level, &format!("s{source}"), available, quota, taken)
                })
                .collect();
            for svg in [sankey(&rows), bars(&rows)] {
                prop_assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("=\"-"), "{}", svg);
            }
        }
    }
}
