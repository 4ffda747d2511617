//! Questions about a table's numbers as a whole: their mean, the slope between two of them, whether
//! they make a line.

use std::collections::BTreeMap;

use super::{Asked, Table, as_asked, number};
use crate::figures::question::{Question, read, word, yes};
use crate::programs::exact::Exact;
use crate::programs::wording::{stems, words};

const STATISTICS: [&str; 4] = ["mean", "median", "mode", "range"];

/// Words that a question about a statistic of all numbers may have beside its name.
const AROUND: [&str; 12] = [
    "what",
    "is",
    "of",
    "number",
    "find",
    "in",
    "table",
    "all",
    "give",
    "calculate",
    "these",
    "thi",
];

/// One of the four statistics of some numbers.
pub(super) fn compute(name: &str, numbers: &[Exact]) -> Option<Exact> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let (first, last) = (*sorted.first()?, *sorted.last()?);
    let len = i128::try_from(sorted.len()).ok()?;
    match name {
        "mean" => Exact::sum(sorted)?.div(Exact::whole(len)?),
        "median" => {
            let middle = sorted.len() / 2;
            if sorted.len() % 2 == 1 {
                return Some(sorted[middle]);
            }
            sorted[middle - 1]
                .add(sorted[middle])?
                .div(Exact::whole(2)?)
        }
        "range" => last.sub(first),
        "mode" => {
            let mut counts: BTreeMap<Exact, usize> = BTreeMap::new();
            for number in sorted {
                *counts.entry(number).or_default() += 1;
            }
            let most = *counts.values().max()?;
            let mut modes = counts.iter().filter(|(_, n)| **n == most);
            let mode = *modes.next()?.0;
            modes.next().is_none().then_some(mode)
        }
        _ => None,
    }
}

/// "What is the median of the numbers?"
pub(super) fn statistic(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    let name = STATISTICS.into_iter().find(|name| asked.has(name))?;
    let is_plain = |s: &String| s == name || AROUND.contains(&s.as_str());
    if table.width() != 2 || table.is_plot() || !asked.has("number") {
        return None;
    }
    if !asked.stems.iter().all(is_plain) {
        return None;
    }
    let value = compute(name, &table.numbers(1)?)?;
    Some(read(
        statistic_template(name),
        table.answer(1, value)?,
        [
            format!("What is the {name} of the numbers?"),
            format!("Find the {name} of all the numbers in this table."),
            format!("Calculate the {name} of the numbers in the table."),
            format!("{name} of the numbers?"),
        ],
    ))
    .map(|q| q.steps(3))
}

pub(super) fn statistic_template(name: &str) -> &'static str {
    match name {
        "mean" => "mean",
        "median" => "median",
        "mode" => "mode",
        _ => "range",
    }
}

/// "What was the rate of change between 2014 and 2015?"
pub(super) fn rate_of_change(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    if table.width() != 2 || !asked.says("rate of change between") {
        return None;
    }
    let at = asked.stems.iter().rposition(|s| s == "between")?;
    let [from, and, to] = &asked.stems[at + 1..] else {
        return None;
    };
    let row = |name: &String| table.rows.iter().position(|r| r[0].to_lowercase() == *name);
    let (a, b) = (row(from)?, row(to)?);
    let change = table.number(b, 1)?.sub(table.number(a, 1)?)?;
    let rate = change.div(table.number(b, 0)?.sub(table.number(a, 0)?)?)?;
    (and == "and").then_some(())?;
    let mut made = read(
        "rate_of_change",
        table.answer(1, rate)?,
        [
            format!("According to the table, what was the rate of change between {from} and {to}?"),
            format!("What is the rate of change between {from} and {to}?"),
            format!("Rate of change between {from} and {to}?"),
        ],
    );
    made.steps = 4;
    Some(made)
}

/// "Is the function linear or nonlinear?"
pub(super) fn linear(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    if table.width() != 2 || table.rows.len() < 3 || !asked.says("function linear or nonlinear") {
        return None;
    }
    let points: Vec<(Exact, Exact)> = table
        .numbers(0)?
        .into_iter()
        .zip(table.numbers(1)?)
        .collect();
    let slopes: Option<Vec<Exact>> = points
        .windows(2)
        .map(|p| p[1].1.sub(p[0].1)?.div(p[1].0.sub(p[0].0)?))
        .collect();
    let slopes = slopes?;
    let is_linear = slopes.iter().all(|s| *s == slopes[0]);
    Some(read(
        "linear",
        word(if is_linear { "linear" } else { "nonlinear" }),
        [
            "The table shows a function. Is the function linear or nonlinear?",
            "Look at the rate of change in the table. Is the function linear or nonlinear?",
            "Function linear or nonlinear?",
        ],
    ))
}

/// "Is this relation a function?"
pub(super) fn function(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    if table.width() != 2 || !asked.says("is this relation a function") {
        return None;
    }
    let (x, y) = (table.numbers(0)?, table.numbers(1)?);
    let mut images: BTreeMap<Exact, Exact> = BTreeMap::new();
    let is_one = x
        .into_iter()
        .zip(y)
        .all(|(x, y)| *images.entry(x).or_insert(y) == y);
    Some(read(
        "function",
        yes(is_one),
        [
            "Look at this table. Is this relation a function?",
            "The table gives x and y. Is this relation a function?",
            "Is this relation a function?",
        ],
    ))
}

/// "At a price of $405, is there a shortage or a surplus?"
pub(super) fn shortage(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    if !table.is_headed(&["price", "quantity demanded", "quantity supplied"])
        || !asked.says("is there a shortage or a surplus")
    {
        return None;
    }
    let mut prices = words(asked.asking)
        .into_iter()
        .filter(|w| w.starts_with('$'));
    let price = prices.next()?;
    let row = table.rows.iter().position(|r| r[0] == price)?;
    let (demanded, supplied) = (table.number(row, 1)?, table.number(row, 2)?);
    if prices.next().is_some() || demanded == supplied {
        return None;
    }
    let is_short = demanded > supplied;
    Some(read(
        "shortage",
        word(if is_short { "shortage" } else { "surplus" }),
        [
            format!("Look at the table. At a price of {price}, is there a shortage or a surplus?"),
            format!("If the price is {price}, is there a shortage or a surplus?"),
            format!("At {price}, is there a shortage or a surplus?"),
        ],
    ))
}

/// "How many pearls are on 6 necklaces?" of a table that counts up to a row that is left open.
pub(super) fn proportion(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    let last = table.rows.last()?;
    if table.width() != 2 || last[1] != "?" || !asked.says("how many") {
        return None;
    }
    let mut ratio = None;
    for row in &table.rows[..table.rows.len() - 1] {
        let one = number(&row[1])?.div(number(&row[0])?)?;
        if *ratio.get_or_insert(one) != one {
            return None;
        }
    }
    let wanted = &last[0];
    // Nothing but the open row's number may stand in the question.
    let numbers: Vec<&String> = asked
        .stems
        .iter()
        .filter(|s| s.starts_with(|c: char| c.is_ascii_digit()))
        .collect();
    if numbers != [wanted] || !names_both(table, asked) {
        return None;
    }
    let answer = ratio?.mul(number(wanted)?)?.answer()?;
    Some(as_asked("proportion", answer))
}

/// Whether the question names what both columns count.
fn names_both(table: &Table, asked: &Asked<'_>) -> bool {
    table.head.len() == 2
        && table.head.iter().all(|head| {
            stems(head)
                .iter()
                .filter(|s| !matches!(s.as_str(), "number" | "of"))
                .all(|s| asked.has(s))
        })
}
