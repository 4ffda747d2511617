//! The questions that can be asked about a table, with their answers.

use sample::Answer;

use super::curves::{compute, statistic_template};
use super::{Table, cells, frequencies, prices};
use crate::figures::question::{Question, int, read, word, yes};
use crate::figures::scene::plain as is_plain;
use crate::programs::exact::Exact;
use crate::programs::wording::{plain, stems};

/// Rows and columns asked about one by one; all of a larger table would be thousands of questions.
const NAMED: usize = 12;

/// Every question about the table, in a fixed order. Empty for tables of a form that nothing is
/// known about.
pub(crate) fn questions(table: &Table) -> Vec<Question> {
    let mut made = Vec::new();
    if let Some(items) = prices::items(table) {
        price_list(&items, &mut made);
    } else if let Some(values) = frequencies::leaves(table) {
        plot(&values, &mut made);
    } else if let Some(bins) = frequencies::bins(table) {
        frequency(&bins, &mut made);
    } else if table.head.len() == table.width() && is_named(table) {
        for column in 1..table.width() {
            if table.numbers(column).is_some() {
                numbers(table, column, &mut made);
            } else {
                texts(table, column, &mut made);
            }
        }
    }
    made
}

/// Whether rows and columns have names that tell them apart and can stand in a question.
fn is_named(table: &Table) -> bool {
    let rows = table.row_names();
    let columns: Vec<Vec<String>> = table.head.iter().map(|h| stems(h)).collect();
    let apart = |names: &[Vec<String>]| {
        names
            .iter()
            .enumerate()
            .all(|(i, name)| !name.is_empty() && !names[..i].contains(name))
    };
    let printable = table
        .rows
        .iter()
        .map(|r| &r[0])
        .chain(&table.head)
        .all(|n| is_plain(n));
    apart(&rows) && apart(&columns) && printable
}

fn with_unit(question: Question, is_money: bool) -> Question {
    if is_money {
        question.unit("$")
    } else {
        question
    }
}

fn numbers(table: &Table, column: usize, made: &mut Vec<Question>) {
    let Some(all) = table.numbers(column) else {
        return;
    };
    let (head, first) = (&table.head[column], &table.head[0]);
    let is_money = table.is_money(column);
    let names: Vec<String> = table.rows.iter().map(|r| r[0].clone()).collect();
    for (row, name) in names.iter().enumerate().take(NAMED) {
        if let Some(answer) = table.answer(column, all[row]) {
            let q = read(
                "value",
                answer,
                [
                    format!("What is the entry under \"{head}\" for {name}?"),
                    format!(
                        "According to the table, which number stands under \"{head}\" for {name}?"
                    ),
                    format!("{head} of {name}?"),
                ],
            );
            let q = q.near_misses().measures(format!("the {head} of {name}"));
            made.push(with_unit(q, is_money));
        }
    }
    for largest in [true, false] {
        let Some(row) = cells::extreme(&all, largest) else {
            continue;
        };
        let which = if largest { "largest" } else { "smallest" };
        let q = read(
            if largest { "largest" } else { "smallest" },
            word(names[row].clone()),
            [
                format!("Which {first} has the {which} number under \"{head}\"?"),
                format!("Under \"{head}\", which {first} has the {which} entry?"),
                format!("{first} with the {which} {head}?"),
            ],
        );
        made.push(q.among(names.clone()).steps(2));
    }
    for (statistic, steps) in [("mean", 4), ("median", 3), ("range", 3), ("mode", 3)] {
        let value = compute(statistic, &all).and_then(|v| table.answer(column, v));
        // A mean that is no short decimal is no answer that anyone would print.
        let Some(value) = value.filter(|v| !matches!(v, Answer::Text(_))) else {
            continue;
        };
        let q = read(
            statistic_template(statistic),
            value,
            [
                format!("What is the {statistic} of the numbers under \"{head}\"?"),
                format!("Find the {statistic} of all entries under \"{head}\"."),
                format!("{statistic} of \"{head}\"?"),
            ],
        );
        made.push(with_unit(q.near_misses().steps(steps), is_money));
    }
    if let Some(sum) = Exact::sum(all.iter().copied()).and_then(|s| table.answer(column, s)) {
        let q = read(
            "sum",
            sum,
            [
                format!("What is the sum of all numbers under \"{head}\"?"),
                format!("Add up every entry under \"{head}\". What do you get?"),
                format!("Sum of \"{head}\"?"),
            ],
        );
        made.push(with_unit(q.near_misses().steps(3), is_money));
    }
    let mut bounds = all.clone();
    bounds.sort_unstable();
    bounds.dedup();
    for bound in bounds.into_iter().take(NAMED) {
        let Some(printed) = bound.answer().map(|a| a.text()) else {
            continue;
        };
        let above = all.iter().filter(|n| **n > bound).count();
        made.push(
            read(
                "count_above",
                int(above),
                [
                    format!(
                        "In how many rows is the number under \"{head}\" greater than {printed}?"
                    ),
                    format!("How many rows have more than {printed} under \"{head}\"?"),
                    format!("Rows with {head} above {printed}?"),
                ],
            )
            .near_misses()
            .steps(3),
        );
    }
    differences(table, column, &all, made);
}

fn differences(table: &Table, column: usize, all: &[Exact], made: &mut Vec<Question>) {
    let (head, is_money) = (&table.head[column], table.is_money(column));
    let names: Vec<&String> = table.rows.iter().map(|r| &r[0]).take(NAMED).collect();
    for (a, large) in names.iter().enumerate() {
        for (b, small) in names.iter().enumerate() {
            let difference = all[a].sub(all[b]).filter(|d| !d.is_negative() && a != b);
            let Some(answer) = difference.and_then(|d| table.answer(column, d)) else {
                continue;
            };
            let q = read(
                "difference",
                answer,
                [
                    format!(
                        "Under \"{head}\", how much greater is the number for {large} than the number for {small}?"
                    ),
                    format!(
                        "By how much is the entry of {large} under \"{head}\" above that of {small}?"
                    ),
                    format!("{head} of {large} minus {head} of {small}?"),
                ],
            );
            made.push(with_unit(q.near_misses().steps(3), is_money));
        }
    }
}

fn texts(table: &Table, column: usize, made: &mut Vec<Question>) {
    let head = &table.head[column];
    let entries: Vec<String> = table.rows.iter().map(|r| r[column].clone()).collect();
    for (row, cells) in table.rows.iter().enumerate().take(NAMED) {
        let (name, entry) = (&cells[0], &entries[row]);
        if !is_plain(entry) || entry == "?" {
            continue;
        }
        let q = read(
            "entry",
            word(entry.clone()),
            [
                format!("What is the entry under \"{head}\" for {name}?"),
                format!("According to the table, what stands under \"{head}\" for {name}?"),
                format!("{head} of {name}?"),
            ],
        );
        made.push(q.among(entries.iter().filter(|e| is_plain(e)).cloned().collect()));
        if entries.iter().filter(|e| plain(e) == plain(entry)).count() == 1 {
            let first = &table.head[0];
            let q = read(
                "row_of",
                word(name.clone()),
                [
                    format!("Which {first} has \"{entry}\" under \"{head}\"?"),
                    format!("For which {first} does \"{entry}\" stand under \"{head}\"?"),
                    format!("{first} with {head} \"{entry}\"?"),
                ],
            );
            made.push(q.among(table.rows.iter().map(|r| r[0].clone()).collect()));
        }
    }
}

fn price_list(items: &[prices::Item], made: &mut Vec<Question>) {
    let items: Vec<&prices::Item> = items
        .iter()
        .filter(|i| is_plain(&i.name))
        .take(NAMED)
        .collect();
    let by = |item: &prices::Item| {
        item.unit
            .as_ref()
            .map_or(String::new(), |u| format!(" {u} of"))
    };
    for (a, item) in items.iter().enumerate() {
        let (name, one) = (&item.name, by(item));
        if let Some(price) = item.price.money() {
            let q = read(
                "price",
                price,
                [
                    format!("What is the price of one{one} {name}?"),
                    format!("According to the list, how many dollars is one{one} {name}?"),
                    format!("Price of one{one} {name}?"),
                ],
            );
            made.push(
                q.unit("$")
                    .measures(format!("the price of one{one} {name}")),
            );
        }
        for n in 2..=5_i128 {
            let total = Exact::whole(n)
                .and_then(|n| n.mul(item.price))
                .and_then(Exact::money);
            if let Some(total) = total {
                let many = item
                    .unit
                    .as_ref()
                    .map_or("times".to_owned(), |u| format!("{u}s of"));
                let q = read(
                    "price_of_several",
                    total,
                    [
                        format!("What do you pay for {n} {many} {name}?"),
                        format!("Someone takes {n} {many} {name}. What is the total in dollars?"),
                        format!("Price of {n} {many} {name}?"),
                    ],
                );
                made.push(q.unit("$").steps(2));
            }
        }
        for other in items.iter().skip(a + 1).filter(|o| o.unit == item.unit) {
            let (second, sum) = (&other.name, item.price.add(other.price));
            if let Some(sum) = sum.and_then(Exact::money) {
                let q = read(
                    "price_of_two",
                    sum,
                    [
                        format!(
                            "What is the price of one{one} {name} and one{one} {second} together?"
                        ),
                        format!(
                            "Someone takes one{one} {name} and one{one} {second}. What is the total in dollars?"
                        ),
                        format!("Price of one{one} {name} and one{one} {second}?"),
                    ],
                );
                made.push(q.unit("$").steps(3));
            }
            let (dear, cheap) = if item.price >= other.price {
                (item, other)
            } else {
                (other, item)
            };
            let (more, less) = (&dear.name, &cheap.name);
            if let Some(gap) = dear.price.sub(cheap.price).and_then(Exact::money) {
                let q = read(
                    "price_difference",
                    gap,
                    [
                        format!("How many dollars more is one{one} {more} than one{one} {less}?"),
                        format!(
                            "What is the difference in price between one{one} {more} and one{one} {less}?"
                        ),
                        format!("One{one} {more}: how much dearer than one{one} {less}?"),
                    ],
                );
                made.push(q.unit("$").steps(3));
            }
        }
    }
    let all: Vec<Exact> = items.iter().map(|i| i.price).collect();
    let names: Vec<String> = items.iter().map(|i| i.name.clone()).collect();
    let is_comparable = items.iter().all(|i| i.unit == items[0].unit);
    for largest in [true, false] {
        if let Some(at) = cells::extreme(&all, largest).filter(|_| is_comparable) {
            let which = if largest { "highest" } else { "lowest" };
            let q = read(
                if largest { "dearest" } else { "cheapest" },
                word(names[at].clone()),
                [
                    format!("What has the {which} price on the list?"),
                    format!("Which entry of the list has the {which} price?"),
                    format!("The {which} price: which entry?"),
                ],
            );
            made.push(q.among(names.clone()).steps(2));
        }
    }
}

fn plot(values: &[i64], made: &mut Vec<Question>) {
    let exact: Vec<Exact> = values
        .iter()
        .filter_map(|v| Exact::whole(i128::from(*v)))
        .collect();
    made.push(
        read(
            "values",
            int(values.len()),
            [
                "How many values does the plot show?",
                "How many leaves are there in the plot?",
                "Number of values?",
            ],
        )
        .near_misses()
        .measures("the number of values")
        .steps(2),
    );
    for (name, end) in [
        ("smallest", values.iter().min()),
        ("largest", values.iter().max()),
    ] {
        if let Some(end) = end {
            made.push(
                read(
                    if name == "smallest" {
                        "smallest"
                    } else {
                        "largest"
                    },
                    int(*end),
                    [
                        format!("What is the {name} value in the plot?"),
                        format!("Which value of the plot is the {name} one?"),
                        format!("The {name} value?"),
                    ],
                )
                .near_misses()
                .measures(format!("the {name} value")),
            );
        }
    }
    for name in ["median", "range", "mode"] {
        if let Some(answer) = compute(name, &exact).and_then(Exact::answer) {
            made.push(
                read(
                    statistic_template(name),
                    answer,
                    [
                        format!("What is the {name} of the values in the plot?"),
                        format!("Find the {name} of all the values that the plot shows."),
                        format!("The {name} of the values?"),
                    ],
                )
                .near_misses()
                .steps(4),
            );
        }
    }
    let mut bounds = values.to_vec();
    bounds.sort_unstable();
    bounds.dedup();
    for bound in bounds.into_iter().take(NAMED) {
        let above = values.iter().filter(|v| **v >= bound).count();
        let same = values.iter().filter(|v| **v == bound).count();
        made.push(
            read(
                "count_from",
                int(above),
                [
                    format!("How many values of the plot are at least {bound}?"),
                    format!("How many of the values are {bound} or larger?"),
                    format!("Number of values of at least {bound}?"),
                ],
            )
            .near_misses()
            .steps(3),
        );
        made.push(
            read(
                "count_same",
                int(same),
                [
                    format!("How many values of the plot are exactly {bound}?"),
                    format!("How often does the plot show {bound}?"),
                    format!("Number of values equal to {bound}?"),
                ],
            )
            .near_misses()
            .steps(2),
        );
    }
}

fn frequency(bins: &[(i64, i64)], made: &mut Vec<Question>) {
    let all: i64 = bins.iter().map(|(_, n)| n).sum();
    made.push(
        read(
            "frequencies",
            int(all),
            [
                "What is the sum of all frequencies?",
                "How many are counted in the whole table?",
                "Sum of the frequencies?",
            ],
        )
        .near_misses()
        .measures("the sum of all frequencies")
        .steps(2),
    );
    for (value, n) in bins.iter().take(NAMED) {
        if bins.iter().filter(|(v, _)| v == value).count() > 1 {
            continue;
        }
        made.push(
            read(
                "frequency",
                int(*n),
                [
                    format!("What is the frequency of {value}?"),
                    format!("How often does {value} occur, according to the table?"),
                    format!("Frequency of {value}?"),
                ],
            )
            .near_misses()
            .measures(format!("the frequency of {value}")),
        );
        let above: i64 = bins.iter().filter(|(v, _)| v > value).map(|(_, n)| n).sum();
        made.push(
            read(
                "count_above",
                int(above),
                [
                    format!("How many are counted above {value}?"),
                    format!(
                        "What is the sum of the frequencies of all values greater than {value}?"
                    ),
                    format!("Sum of the frequencies above {value}?"),
                ],
            )
            .near_misses()
            .steps(3),
        );
    }
    if let [(first, m), (second, n), ..] = bins
        && m != n
    {
        made.push(
            read(
                "compare_frequencies",
                yes(m > n),
                [
                    format!("Is {first} more frequent than {second}?"),
                    format!("Does {first} occur more often than {second}?"),
                    format!("{first} more frequent than {second}?"),
                ],
            )
            .steps(2),
        );
    }
}
