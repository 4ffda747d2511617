//! Questions about named rows and columns: one cell, two cells compared, sums, shares, extremes.

use super::{Asked, Table, as_asked};
use crate::figures::question::{Question, word};
use crate::programs::exact::Exact;
use crate::programs::wording::{mentions, position, stems};

/// Words that ask for more than a lookup, a sum or a difference of what is named.
const ELSE: [&str; 34] = [
    "percent",
    "average",
    "mean",
    "median",
    "mode",
    "range",
    "rate",
    "twice",
    "half",
    "both",
    "other",
    "not",
    "probability",
    "before",
    "after",
    "next",
    "zero",
    "change",
    "changed",
    "left",
    "times",
    "ratio",
    "except",
    "between",
    "until",
    "long",
    "soon",
    "least",
    "enough",
    "estimate",
    "round",
    "per-capita",
    "second",
    "third",
];

/// The rows and columns that a question names.
struct Named {
    rows: Vec<usize>,
    /// From 1: the first column names the rows.
    columns: Vec<usize>,
}

fn named(table: &Table, asked: &Asked<'_>) -> Option<Named> {
    if table.head.is_empty() || table.is_plot() {
        return None;
    }
    let rows = table.row_names();
    let columns = table.column_names();
    let count = rows.len();
    // Together, so that a longer name of one hides a shorter name of the other.
    let all: Vec<Vec<String>> = rows.into_iter().chain(columns).collect();
    let found = mentions(&asked.stems, &all)?;
    let (rows, columns): (Vec<usize>, Vec<usize>) = found.into_iter().partition(|i| *i < count);
    let mut columns: Vec<usize> = columns.into_iter().map(|c| c - count + 1).collect();
    if table.width() == 2 {
        columns = vec![1];
    }
    Some(Named { rows, columns })
}

/// The one column of numbers that is meant, none of them below zero.
fn one_column(table: &Table, named: &Named) -> Option<(usize, Vec<Exact>)> {
    let [column] = named.columns[..] else {
        return None;
    };
    let numbers = table.numbers(column)?;
    let is_amount = !numbers.iter().any(|n| n.is_negative());
    is_amount.then_some((column, numbers))
}

/// "How many more vegetables did the Cartwright family eat than the Yamazaki family?"
pub(super) fn more_than(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    if asked.has_any(&ELSE) || asked.stems.iter().filter(|s| *s == "than").count() != 1 {
        return None;
    }
    let is_more = asked.says("how many more") || asked.says("how much more");
    let is_less =
        asked.says("how many fewer") || asked.says("how much less") || asked.says("how many less");
    if is_more == is_less {
        return None;
    }
    let named = named(table, asked)?;
    let cells = match (&named.rows[..], &named.columns[..]) {
        ([a, b], [c]) => [(*a, *c), (*b, *c)],
        ([r], [a, b]) => [(*r, *a), (*r, *b)],
        _ => return None,
    };
    // What is compared with is named after "than".
    let than = asked.stems.iter().position(|s| s == "than")?;
    let tail = &asked.stems[than + 1..];
    let last = match (&named.rows[..], &named.columns[..]) {
        ([_, b], _) => stems(&table.rows[*b][0]),
        (_, [_, b]) => stems(&table.head[*b]),
        _ => return None,
    };
    position(tail, &last, 0)?;
    let [a, b] = cells.map(|(r, c)| table.number(r, c));
    let (large, small) = if is_more { (a?, b?) } else { (b?, a?) };
    let difference = large.sub(small)?;
    if difference.is_negative() || small.is_negative() {
        return None;
    }
    let answer = table.answer(cells[0].1, difference)?;
    Some(as_asked("difference", answer))
}

/// "How many flowers in total did the florist sell in November and January?"
pub(super) fn total(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    let is_sum =
        asked.has_any(&["total", "altogether", "together", "combined"]) || asked.says("in all");
    if !is_sum || asked.has_any(&ELSE) || asked.has_any(&["than", "more", "fewer", "or"]) {
        return None;
    }
    if !asked.has("and") || !asked.says("how many") && !asked.says("how much") {
        return None;
    }
    let named = named(table, asked)?;
    let (column, numbers) = one_column(table, &named)?;
    if named.rows.len() != 2 {
        return None;
    }
    let sum = Exact::sum(named.rows.iter().map(|r| numbers[*r]))?;
    Some(as_asked("total", table.answer(column, sum)?))
}

/// "How much cheese was consumed per capita in Germany in 2006?"
pub(super) fn value(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    const MORE: [&str; 17] = [
        "more",
        "fewer",
        "less",
        "most",
        "fewest",
        "total",
        "together",
        "altogether",
        "combined",
        "than",
        "fraction",
        "difference",
        "and",
        "or",
        "all",
        "greatest",
        "if",
    ];
    let opens = asked.says("how many") || asked.says("how much");
    if !opens || asked.has_any(&MORE) || asked.has_any(&ELSE) || table.width() < 3 {
        return None;
    }
    let named = named(table, asked)?;
    let ([row], [column]) = (&named.rows[..], &named.columns[..]) else {
        return None;
    };
    let answer = table.answer(*column, table.number(*row, *column)?)?;
    Some(as_asked("value", answer))
}

/// Whether a question asks for the largest (`true`) or the smallest.
fn direction(asked: &Asked<'_>, large: &[&str], small: &[&str]) -> Option<bool> {
    let (up, down) = (asked.has_any(large), asked.has_any(small));
    (up != down).then_some(up)
}

/// The place of the largest or smallest of some numbers, where there is one.
pub(super) fn extreme(numbers: &[Exact], largest: bool) -> Option<usize> {
    let wanted = if largest {
        numbers.iter().max()?
    } else {
        numbers.iter().min()?
    };
    let mut hits = numbers.iter().enumerate().filter(|(_, n)| *n == wanted);
    let hit = hits.next()?.0;
    hits.next().is_none().then_some(hit)
}

fn opens_a_choice(asked: &Asked<'_>) -> bool {
    let first = asked
        .stems
        .iter()
        .take(4)
        .any(|s| matches!(s.as_str(), "which" | "who"));
    (first || asked.stems.iter().any(|s| s == "which")) && !asked.has("how")
}

/// Tables of changes are compared by size in some questions and by sign in others.
fn is_of_changes(table: &Table) -> bool {
    let is = |text: &str| {
        let text = text.to_lowercase();
        text.contains("change") || text.contains("elevation") || text.contains("temperature")
    };
    table.head.iter().any(|h| is(h)) || table.title.as_deref().is_some_and(is)
}

/// "Which company made the most phone calls?"
pub(super) fn most(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    const UP: [&str; 5] = ["most", "greatest", "highest", "largest", "maximum"];
    const DOWN: [&str; 5] = ["fewest", "least", "lowest", "smallest", "minimum"];
    const MORE: [&str; 8] = [
        "more", "less", "fewer", "total", "popular", "likely", "or", "than",
    ];
    let elsewhere = ELSE.iter().any(|w| *w != "least" && asked.has(w));
    if !opens_a_choice(asked) || elsewhere || asked.has_any(&MORE) || is_of_changes(table) {
        return None;
    }
    if asked.says("at least") || asked.says("at most") {
        return None;
    }
    let largest = direction(asked, &UP, &DOWN)?;
    let named = named(table, asked)?;
    match named.rows[..] {
        [] => {
            let (_, numbers) = one_column(table, &named)?;
            let row = extreme(&numbers, largest)?;
            Some(as_asked("most", word(table.rows[row][0].clone())))
        }
        [row] if table.width() > 2 && named.columns.is_empty() => {
            let numbers: Option<Vec<Exact>> =
                (1..table.width()).map(|c| table.number(row, c)).collect();
            let column = extreme(&numbers?, largest)?;
            Some(as_asked("most", word(table.head[column + 1].clone())))
        }
        _ => None,
    }
}

/// "Who donated more money to arts education, Tisha or Tom?"
pub(super) fn or(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    let opens = opens_a_choice(asked) || asked.says("did more") && !asked.has("how");
    if !opens || !asked.has("or") || asked.has_any(&ELSE) || is_of_changes(table) {
        return None;
    }
    if asked.has_any(&["than", "total", "most"]) {
        return None;
    }
    let largest = direction(asked, &["more"], &["less", "fewer"])?;
    let named = named(table, asked)?;
    let pick = |a: Exact, b: Exact| {
        (a != b && !a.is_negative() && !b.is_negative()).then_some((a > b) == largest)
    };
    match (&named.rows[..], &named.columns[..]) {
        ([a, b], [c]) => {
            let first = pick(table.number(*a, *c)?, table.number(*b, *c)?)?;
            let row = if first { *a } else { *b };
            Some(as_asked("either", word(table.rows[row][0].clone())))
        }
        ([r], [a, b]) => {
            let first = pick(table.number(*r, *a)?, table.number(*r, *b)?)?;
            let column = if first { *a } else { *b };
            Some(as_asked("either", word(table.head[column].clone())))
        }
        _ => None,
    }
}

/// "What fraction of the cans were collected by Emmet?"
pub(super) fn fraction(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    if table.width() != 2 || !asked.says("what fraction of") || asked.has_any(&ELSE) {
        return None;
    }
    if asked.has_any(&["or", "and", "than"]) {
        return None;
    }
    let named = named(table, asked)?;
    let (_, numbers) = one_column(table, &named)?;
    let [row] = named.rows[..] else {
        return None;
    };
    let share = numbers[row].div(Exact::sum(numbers.iter().copied())?)?;
    Some(as_asked("fraction", share.fraction()))
}

/// Words that say nothing about which row or column is meant.
const FILLERS: [&str; 22] = [
    "a", "an", "the", "of", "in", "is", "and", "with", "to", "for", "by", "at", "on", "from", "i",
    "have", "ha", "been", "wa", "were", "are", "who",
];

/// "What is the probability that a randomly selected superhero is lazy and can read minds?"
pub(super) fn probability(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    if !asked.says("what is the probability that a randomly selected") || !asked.has("and") {
        return None;
    }
    if table.head.len() < 3
        || !table.head[0].is_empty()
        || asked.has_any(&["or", "not", "given", "neither"])
    {
        return None;
    }
    let numbers: Option<Vec<Vec<Exact>>> = (0..table.rows.len())
        .map(|r| (1..table.width()).map(|c| table.number(r, c)).collect())
        .collect();
    let numbers = numbers?;
    let row = the_one_said(&table.row_names(), asked)?;
    let column = the_one_said(&table.column_names(), asked)?;
    let all = Exact::sum(numbers.iter().flatten().copied())?;
    let share = numbers[row][column].div(all)?;
    Some(as_asked("probability", share.fraction()))
}

/// The only name all of whose telling words stand in the question; words that two names share tell
/// nothing.
fn the_one_said(names: &[Vec<String>], asked: &Asked<'_>) -> Option<usize> {
    let is_shared = |word: &String| names.iter().filter(|n| n.contains(word)).count() > 1;
    let mut said = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let mut telling = name
            .iter()
            .filter(|w| !FILLERS.contains(&w.as_str()) && !is_shared(w))
            .peekable();
        telling.peek()?;
        if telling.all(|w| asked.has(w)) {
            said.push(i);
        }
    }
    match said[..] {
        [one] => Some(one),
        _ => None,
    }
}
