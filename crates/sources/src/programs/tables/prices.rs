//! Price lists: what some things cost together, by the piece or by weight, and whether money is
//! enough.

use super::{Asked, Table, as_asked, number};
use crate::figures::question::{Question, read, yes};
use crate::programs::exact::Exact;
use crate::programs::wording::{stem, stems, words};

/// A line of a price list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// As it is printed.
    pub name: String,
    stems: Vec<String>,
    /// What one costs.
    pub price: Exact,
    /// What one of it is: `pound`; `None` for things sold by the piece.
    pub unit: Option<String>,
}

/// The items of a price list; `None` where the table is none.
pub(super) fn items(table: &Table) -> Option<Vec<Item>> {
    if table.width() != 2 || !table.head.is_empty() {
        return None;
    }
    let items: Option<Vec<Item>> = table
        .rows
        .iter()
        .map(|row| item(&row[0], &row[1]))
        .collect();
    let items = items?;
    let is_twice = |(i, item): (usize, &Item)| items[..i].iter().any(|o| o.stems == item.stems);
    let is_named = items.iter().all(|i| !i.stems.is_empty());
    (is_named && !items.iter().enumerate().any(is_twice)).then_some(items)
}

fn item(name: &str, cell: &str) -> Option<Item> {
    let cell = cell.strip_prefix('$')?;
    let (price, unit) = match cell.split_once([' ', '/']) {
        None => (cell, None),
        Some((price, unit)) => {
            let unit = unit.trim().strip_prefix("per ").unwrap_or(unit.trim());
            (price, Some(unit_of(unit)).filter(|u| u != "each"))
        }
    };
    let price = number(price)?;
    (!price.is_negative()).then(|| Item {
        name: name.to_owned(),
        stems: stems(name),
        price,
        unit,
    })
}

/// The word for a unit, singular and in full.
fn unit_of(word: &str) -> String {
    match stem(&word.to_lowercase()).as_str() {
        "lb" => "pound",
        "kg" => "kilogram",
        "oz" => "ounce",
        "ft" => "foot",
        other => return other.to_owned(),
    }
    .to_owned()
}

/// Amounts of items, `2 pairs of boots and a hat`.
type Amounts = Vec<(Exact, usize)>;

struct Token {
    word: String,
    ends_clause: bool,
}

fn tokens(text: &str) -> Vec<Token> {
    text.split_whitespace()
        .filter_map(|raw| {
            let word = words(raw).into_iter().next()?;
            Some(Token {
                word,
                ends_clause: raw.ends_with([',', '.', '?', '!', ';']),
            })
        })
        .collect()
}

fn is_article(word: &str) -> bool {
    matches!(word, "a" | "an" | "the")
}

/// Where the item's name ends that begins at `at`.
fn name_end(tokens: &[Token], at: usize, item: &Item) -> Option<usize> {
    let (mut at, mut matched) = (at, 0);
    while matched < item.stems.len() {
        let token = tokens.get(at)?;
        if !is_article(&token.word) {
            if stem(&token.word) != item.stems[matched] {
                return None;
            }
            matched += 1;
        }
        at += 1;
        if token.ends_clause && matched < item.stems.len() {
            return None;
        }
    }
    Some(at)
}

fn spelt(word: &str) -> Option<Exact> {
    const WORDS: [&str; 13] = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
        "eleven", "twelve",
    ];
    let n = WORDS.iter().position(|w| *w == word)?;
    Exact::whole(i128::try_from(n).ok()?)
}

/// Reads a list of amounts that begins at `at` and fills its clause. `None` where anything in the
/// clause is not understood.
fn list(tokens: &[Token], mut at: usize, items: &[Item]) -> Option<Amounts> {
    let mut found: Amounts = Vec::new();
    loop {
        let word = &tokens.get(at)?.word;
        let amount = number(word).or_else(|| spelt(word));
        let is_counted = amount.is_some() || is_article(word);
        let amount = amount.or(Exact::whole(1))?;
        if is_counted {
            at += 1;
        }
        // `3/4 of a kilogram of topaz`, `2 pounds of sand`, `a pound of sand`.
        let mut weighed = at;
        while matches!(tokens.get(weighed)?.word.as_str(), "of" | "a" | "an") {
            weighed += 1;
        }
        let unit = unit_of(&tokens.get(weighed)?.word);
        let after = tokens.get(weighed + 1).map(|t| t.word.as_str());
        let best = |from: usize, unit: Option<&str>| {
            let mut ends: Vec<(usize, usize)> = items
                .iter()
                .enumerate()
                .filter(|(_, item)| item.unit.as_deref() == unit)
                .filter_map(|(i, item)| Some((name_end(tokens, from, item)?, i)))
                .collect();
            ends.sort_unstable();
            ends.last().copied()
        };
        let by_weight = (after == Some("of"))
            .then(|| best(weighed + 2, Some(&unit)))
            .flatten();
        let (end, item) = by_weight.or_else(|| best(at, None))?;
        if !is_counted || amount.is_negative() {
            return None;
        }
        found.push((amount, item));
        let closed = tokens[end - 1].ends_clause;
        match tokens.get(end).map(|t| t.word.as_str()) {
            Some("and") => at = end + 1,
            None => return Some(found),
            // A comma goes on with another amount, or ends the clause.
            Some(next)
                if closed
                    && (number(next).is_some() || is_article(next) || spelt(next).is_some()) =>
            {
                at = end;
            }
            Some(_) if closed => return Some(found),
            Some(_) => return None,
        }
    }
}

fn cost(amounts: &Amounts, items: &[Item]) -> Option<Exact> {
    Exact::sum(
        amounts
            .iter()
            .map(|(amount, item)| amount.mul(items[*item].price))
            .collect::<Option<Vec<_>>>()?,
    )
}

/// Words after which what is bought is listed.
const BUYING: [&str; 8] = [
    "buy",
    "buys",
    "bought",
    "purchase",
    "purchases",
    "purchased",
    "for",
    "of",
];

/// Words that change a price.
const CHANGES: [&str; 15] = [
    "discount", "tax", "sale", "percent", "off", "coupon", "each", "half", "tip", "free", "rebate",
    "split", "save", "double", "instead",
];

/// What the one buying of a text buys. Every buying word that a list follows must name the same.
fn bought(text: &str, items: &[Item]) -> Option<Amounts> {
    if text.contains('%') || stems(text).iter().any(|s| CHANGES.contains(&s.as_str())) {
        return None;
    }
    let tokens = tokens(text);
    let mut found: Option<Amounts> = None;
    for (i, token) in tokens.iter().enumerate() {
        if !BUYING.contains(&token.word.as_str()) {
            continue;
        }
        let is_verb = !matches!(token.word.as_str(), "for" | "of");
        match (list(&tokens, i + 1, items), &found) {
            (Some(amounts), None) if is_verb || tokens[i - 1].word == "cost" => {
                found = Some(amounts);
            }
            (Some(amounts), Some(before)) if is_verb && *before != amounts => return None,
            _ => {}
        }
    }
    found
}

fn listed(amounts: &Amounts, items: &[Item]) -> String {
    let parts: Vec<String> = amounts
        .iter()
        .map(|(amount, item)| {
            let item = &items[*item];
            let n = amount.answer().map_or(String::new(), |a| a.text());
            match &item.unit {
                Some(unit) if n == "1" => format!("1 {unit} of {}", item.name),
                Some(unit) => format!("{n} {unit}s of {}", item.name),
                None if n == "1" => format!("one {}", item.name),
                None => format!("{n} of the {}", item.name),
            }
        })
        .collect();
    match parts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => parts.concat(),
    }
}

/// Whether the rewording of a list of amounts can be read back.
fn is_plainly_listed(amounts: &Amounts) -> bool {
    amounts
        .iter()
        .all(|(amount, _)| Exact::whole(1) == Some(*amount))
}

/// "How much money does Ian need to buy a ticket and a hat?", "Ian bought 3 pounds of sand. How
/// much did he spend?"
pub(super) fn total(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    let items = items(table)?;
    let is_asked = asked.says("how much money doe") && asked.says("need to buy")
        || asked.says("how much") && asked.has_any(&["spend", "cost", "pay"])
        || asked.says("what is the total cost")
        || asked.says("what was the total cost");
    if !is_asked || asked.has_any(&["more", "les", "less", "left", "change", "than", "enough"]) {
        return None;
    }
    if asked.text.contains('$') {
        return None;
    }
    let amounts = bought(asked.text, &items)?;
    let cost = cost(&amounts, &items)?.money()?;
    if !is_plainly_listed(&amounts) && items[amounts[0].1].unit.is_none() {
        return Some(as_asked("cost", cost).unit("$"));
    }
    let list = listed(&amounts, &items);
    let mut made = read(
        "cost",
        cost,
        [
            format!("How much does it cost to buy {list}?"),
            format!("If you buy {list}, how much will you spend?"),
            format!("Someone bought {list}. How much did they pay?"),
            format!("Total cost of {list}?"),
        ],
    );
    made.forms.truncate(2);
    made.concise = format!("What is the total cost of {list}?");
    Some(made.unit("$").steps(2))
}

/// The one sum of money in a text.
fn purse(text: &str) -> Option<Exact> {
    let mut sums = text
        .split_whitespace()
        .filter(|w| w.contains('$'))
        .map(|w| number(w.trim_end_matches(['.', ',', '?'])));
    let first = sums.next()??;
    sums.next().is_none().then_some(first)
}

/// "Ian has $1.00. Does he have enough to buy a stamp and a card?"
pub(super) fn enough(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    let items = items(table)?;
    if !asked.says("have enough to buy") && !asked.says("have enough money to buy") {
        return None;
    }
    let purse = purse(asked.text)?;
    let amounts = bought(asked.text, &items)?;
    let is_enough = purse >= cost(&amounts, &items)?;
    if !is_plainly_listed(&amounts) || purse.is_negative() {
        return Some(as_asked("enough", yes(is_enough)));
    }
    let (list, money) = (listed(&amounts, &items), purse.money()?.text());
    Some(
        read(
            "enough",
            yes(is_enough),
            [
                format!("You have ${money}. Do you have enough to buy {list}?"),
                format!("With ${money}, would you have enough money to buy {list}?"),
                format!("Does someone with ${money} have enough to buy {list}?"),
            ],
        )
        .steps(2),
    )
}

/// "Ian has $20. How much money will he have left if he buys a hat?"
pub(super) fn left(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    let items = items(table)?;
    let is_asked = asked.says("how much money will") && asked.has("left")
        || asked.says("how much change will");
    if !is_asked || asked.has_any(&["more", "than"]) {
        return None;
    }
    let purse = purse(asked.text)?;
    let amounts = bought(asked.text, &items)?;
    let left = purse.sub(cost(&amounts, &items)?)?;
    if left.is_negative() {
        return None;
    }
    if !is_plainly_listed(&amounts) {
        return Some(as_asked("left", left.money()?).unit("$"));
    }
    let (list, money) = (listed(&amounts, &items), purse.money()?.text());
    Some(
        read(
            "left",
            left.money()?,
            [
                format!("You have ${money}. How much money will you have left if you buy {list}?"),
                format!("You pay with ${money}. How much change will you get if you buy {list}?"),
                format!("How much money will be left of ${money} if you buy {list}?"),
            ],
        )
        .unit("$")
        .steps(2),
    )
}

/// "How much more does a blue sweater cost than a pair of sweat pants?"
pub(super) fn difference(table: &Table, asked: &Asked<'_>) -> Option<Question> {
    let items = items(table)?;
    let tokens = tokens(asked.asking);
    let at = |word: &str| tokens.iter().position(|t| t.word == word);
    let is_more = asked.says("how much more doe");
    let is_less = asked.says("how much less doe");
    let (doe, cost, than) = (at("does")?, at("cost")?, at("than")?);
    let one = |from: usize, to: usize| {
        let from = (from..to).find(|i| !is_article(&tokens[*i].word))?;
        let mut hits = items
            .iter()
            .filter(|item| name_end(&tokens, from, item) == Some(to));
        let hit = hits.next()?;
        hits.next().is_none().then_some(hit)
    };
    if is_more == is_less || doe >= cost || cost + 1 != than {
        return None;
    }
    let (a, b) = (one(doe + 1, cost)?, one(than + 1, tokens.len())?);
    let (dear, cheap) = if is_more { (a, b) } else { (b, a) };
    let difference = dear.price.sub(cheap.price)?;
    if difference.is_negative() || a.unit != b.unit {
        return None;
    }
    let (dear, cheap) = (&dear.name, &cheap.name);
    Some(
        read(
            "price_difference",
            difference.money()?,
            [
                format!("How much more does the {dear} cost than the {cheap}?"),
                format!("How much less does the {cheap} cost than the {dear}?"),
                format!("How much more does {dear} cost than {cheap}?"),
            ],
        )
        .unit("$")
        .steps(2),
    )
}
