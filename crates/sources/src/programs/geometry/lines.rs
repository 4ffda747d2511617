//! The lines of a diagram: which points lie on one, and in what order.

use std::collections::BTreeSet;

use super::Diagram;
use super::form::Form;

/// The lines of a diagram with all their points in order: those drawn, joined where the marks say
/// that a point lies on one.
pub(super) fn lines(diagram: &Diagram) -> Vec<Vec<char>> {
    let drawn: BTreeSet<(char, char)> = diagram
        .lines
        .iter()
        .filter_map(|line| diagram.ends(line))
        .map(|(a, b)| (a.min(b), a.max(b)))
        .collect();
    let mut sets: Vec<BTreeSet<char>> = drawn
        .iter()
        .map(|(a, b)| BTreeSet::from([*a, *b]))
        .collect();
    for form in diagram.marked.iter().filter_map(|f| Form::parse(f)) {
        if let Some([point, line]) = form.call("PointLiesOnLine")
            && let (Some(p), Some(ends)) = (point.point(), line.points("Line"))
            && let [a, b] = ends[..]
            && diagram.ends(&format!("{p}{a}")).is_some()
            && diagram.ends(&format!("{p}{b}")).is_some()
            && a != b
        {
            sets.push(BTreeSet::from([a, b, p]));
        }
    }
    // Some diagrams draw both halves of a line and its whole, and do not say that the middle lies
    // on it.
    for (a, b) in &drawn {
        for m in diagram.points.keys().filter_map(|p| p.chars().next()) {
            let is_drawn = |p: char, q: char| drawn.contains(&(p.min(q), p.max(q)));
            if m != *a
                && m != *b
                && is_drawn(*a, m)
                && is_drawn(m, *b)
                && lies_between(diagram, *a, m, *b)
            {
                sets.push(BTreeSet::from([*a, m, *b]));
            }
        }
    }
    // Two lines with two common points are one.
    let mut joined: Vec<BTreeSet<char>> = Vec::new();
    for mut set in sets {
        while let Some(i) = joined
            .iter()
            .position(|l| l.intersection(&set).count() >= 2)
        {
            set.extend(joined.swap_remove(i));
        }
        joined.push(set);
    }
    let mut lines: Vec<Vec<char>> = joined
        .into_iter()
        .map(|set| {
            let mut line: Vec<char> = set.into_iter().collect();
            let mut ends = (line[0], line[1], 0.0);
            for a in &line {
                for b in &line {
                    let gap = distance(diagram, *a, *b);
                    if gap > ends.2 {
                        ends = (*a, *b, gap);
                    }
                }
            }
            line.sort_by(|a, b| {
                distance(diagram, ends.0, *a).total_cmp(&distance(diagram, ends.0, *b))
            });
            line
        })
        .collect();
    lines.sort();
    lines
}

fn distance(diagram: &Diagram, a: char, b: char) -> f64 {
    let (a, b) = (diagram.at(a), diagram.at(b));
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// Whether `m` is on the way from `a` to `b`, but for what hand-set points are off by.
fn lies_between(diagram: &Diagram, a: char, m: char, b: char) -> bool {
    let whole = distance(diagram, a, b);
    let way = distance(diagram, a, m) + distance(diagram, m, b);
    whole > 20.0 && way - whole < 0.004 * whole
}
