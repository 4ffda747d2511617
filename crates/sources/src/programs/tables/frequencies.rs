//! Stem-and-leaf plots and frequency tables: how many values lie where, and the ends of them.

use super::{Asked, Table, as_asked, number};
use crate::figures::question::{Question, int};
use crate::programs::exact::Exact;
use crate::programs::wording::plain;

/// The values of a stem-and-leaf plot, each as often as it is there.
pub(super) fn leaves(table: &Table) -> Option<Vec<i64>> {
    if !table.is_headed(&["stem", "leaf"]) {
        return None;
    }
    let mut values = Vec::new();
    for row in &table.rows {
        let stem: i64 = row[0]
            .trim()
            .parse()
            .ok()
            .filter(|s| (0..10_000).contains(s))?;
        for leaf in row[1].split(',').map(str::trim).filter(|l| !l.is_empty()) {
            let leaf: i64 = leaf.parse().ok().filter(|l| (0..10).contains(l))?;
            values.push(stem * 10 + leaf);
        }
    }
    (!values.is_empty()).then_some(values)
}

/// The bins of a frequency table: value and how often.
pub(super) fn bins(table: &Table) -> Option<Vec<(i64, i64)>> {
    if table.head.len() != 2 || plain(&table.head[1]) != "frequency" {
        return None;
    }
    let whole = |cell: &str| -> Option<i64> {
        let n = cell.replace(',', "").parse().ok()?;
        (0..1_000_000).contains(&n).then_some(n)
    };
    table
        .rows
        .iter()
        .map(|row| Some((whole(&row[0])?, whole(&row[1])?)))
        .collect()
}

/// What a count is bounded by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    /// The smallest that counts.
    from: i64,
    /// The largest that counts.
    to: i64,
}

/// Reads `at least 30 .. but fewer than 81`, `exactly 5`, `more than 3`: every number of the
/// question must belong to a bound.
fn bounds(asked: &Asked<'_>) -> Option<Bounds> {
    let stems = &asked.stems;
    let mut found = Bounds {
        from: i64::MIN,
        to: i64::MAX,
    };
    let mut any = false;
    for (i, stem) in stems.iter().enumerate() {
        let Some(n) = number(degrees(stem)).or_else(|| spelt(stem)) else {
            continue;
        };
        let n = n.answer()?.text().parse::<i64>().ok()?;
        let before = |back: usize| i.checked_sub(back).map_or("", |j| stems[j].as_str());
        match (before(2), before(1)) {
            ("at", "least") => found.from = n,
            ("at", "most") => found.to = n,
            ("fewer" | "less" | "shorter" | "lower", "than") => found.to = n.checked_sub(1)?,
            ("more" | "greater" | "longer" | "higher" | "older" | "taller", "than") => {
                found.from = n.checked_add(1)?;
            }
            (_, "exactly") => (found.from, found.to) = (n, n),
            _ => return None,
        }
        any = true;
    }
    any.then_some(found)
}

fn degrees(word: &str) -> &str {
    let end = word.find('\u{b0}').unwrap_or(word.len());
    &word[..end]
}

fn spelt(word: &str) -> Option<Exact> {
    const WORDS: [&str; 10] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    ];
    let n = WORDS.iter().position(|w| *w == word)?;
    Exact::whole(i128::try_from(n).ok()?)
}

/// Words that ask for more than a count.
const ELSE: [&str; 5] = ["percent", "fraction", "total", "probability", "all"];

/// "How many buildings have at least 15 floors?"
pub(super) fn count(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    if !asked.says("how many") || asked.has_any(&ELSE) {
        return None;
    }
    let values: Vec<(i64, i64)> = match leaves(table) {
        Some(leaves) => leaves.into_iter().map(|v| (v, 1)).collect(),
        None => bins(table)?,
    };
    let bounds = match bounds(asked) {
        Some(bounds) => bounds,
        // "did not make any": what the first bin counts.
        None if asked.says("did not") || asked.says("have not") || asked.says("do not") => {
            let is_numbered = asked
                .stems
                .iter()
                .any(|s| s.bytes().any(|b| b.is_ascii_digit()));
            if is_numbered || leaves(table).is_some() || !values.iter().any(|(v, _)| *v == 0) {
                return None;
            }
            Bounds { from: 0, to: 0 }
        }
        None => return None,
    };
    let n: i64 = values
        .iter()
        .filter(|(v, _)| (bounds.from..=bounds.to).contains(v))
        .map(|(_, n)| n)
        .sum();
    Some(as_asked("count", int(n)))
}

/// "What is the smallest number of floors?", "How tall is the tallest building?"
pub(super) fn extreme(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    const LEAST: [&str; 9] = [
        "smallest", "lightest", "shortest", "lowest", "fewest", "least", "youngest", "slowest",
        "minimum",
    ];
    const MOST: [&str; 10] = [
        "largest", "heaviest", "longest", "highest", "greatest", "most", "oldest", "tallest",
        "biggest", "maximum",
    ];
    let values = leaves(table)?;
    if asked.says("how many") || asked.says("at least") || asked.says("at most") {
        return None;
    }
    let (least, most) = (asked.has_any(&LEAST), asked.has_any(&MOST));
    let ends = [values.iter().min()?, values.iter().max()?];
    (least != most).then(|| as_asked("extreme", int(*ends[usize::from(most)])))
}

/// "How many players are there in all?"
pub(super) fn total(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    let n: i64 = bins(table)?.iter().map(|(_, n)| n).sum();
    let is_asked =
        asked.says("how many") && asked.says("are there in all") && asked.stems.len() <= 8;
    is_asked.then(|| as_asked("frequency_total", int(n)))
}
