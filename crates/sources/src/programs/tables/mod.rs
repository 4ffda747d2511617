//! Tables as data: what they hold, which questions about them are understood, and which are asked.
//!
//! A question is understood when one of the forms below matches it *and* every name that the form
//! needs stands in the table. Each form is narrow on purpose: a question that is close to one but
//! says something more ("after the discount") must not match.

mod ask;
mod cells;
mod curves;
mod frequencies;
mod prices;
mod schedules;

use sample::Answer;
use serde::{Deserialize, Serialize};

use super::exact::Exact;
use super::wording::{asking, plain, stems};
use crate::figures::question::Question;

pub(crate) use ask::questions;

/// Tables larger than this are not kept: no question form needs them, and they would sit in every
/// row of the images' table.
const MAX_ROWS: usize = 64;
const MAX_COLUMNS: usize = 16;
const MAX_CELL: usize = 120;

/// A table as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    /// What stands over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The names of the columns; empty where the table has none.
    pub head: Vec<String>,
    /// The cells, each row as long as the first.
    pub rows: Vec<Vec<String>>,
}

#[derive(Serialize)]
struct Tagged<'a> {
    kind: &'static str,
    #[serde(flatten)]
    table: &'a Table,
}

impl Table {
    /// Reads `a | b` lines, as tables are published; `None` for what is no table or too large.
    pub fn published(title: Option<&str>, text: &str, has_head: bool) -> Option<Table> {
        let mut rows: Vec<Vec<String>> = text
            .lines()
            .map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect())
            .collect();
        let head = if has_head && !rows.is_empty() {
            rows.remove(0)
        } else {
            Vec::new()
        };
        let title = title.map(str::trim).filter(|t| !t.is_empty());
        let table = Table {
            title: title.map(str::to_owned),
            head,
            rows,
        };
        table.fits().then_some(table)
    }

    /// Whether the table is one that the rest of this module can rely on.
    pub fn fits(&self) -> bool {
        let width = self.width();
        let short =
            |cells: &[String]| cells.len() == width && cells.iter().all(|c| c.len() <= MAX_CELL);
        (2..=MAX_COLUMNS).contains(&width)
            && (1..=MAX_ROWS).contains(&self.rows.len())
            && self.rows.iter().all(|row| short(row))
            && (self.head.is_empty() || short(&self.head))
            && self.title.as_ref().is_none_or(|t| t.len() <= MAX_CELL)
    }

    /// The scene that is kept with the image.
    pub fn json(&self) -> String {
        let tagged = Tagged {
            kind: super::TABLE,
            table: self,
        };
        serde_json::to_string(&tagged).unwrap_or_default()
    }

    fn width(&self) -> usize {
        self.rows.first().map_or(0, Vec::len)
    }

    /// The number in a cell, without `$`.
    fn number(&self, row: usize, column: usize) -> Option<Exact> {
        number(self.rows.get(row)?.get(column)?)
    }

    /// A column's numbers; `None` unless all of it are numbers.
    fn numbers(&self, column: usize) -> Option<Vec<Exact>> {
        (0..self.rows.len())
            .map(|row| self.number(row, column))
            .collect()
    }

    /// The names of the columns, in the case and form that questions are compared in.
    fn is_headed(&self, names: &[&str]) -> bool {
        self.head.len() == names.len() && self.head.iter().zip(names).all(|(a, b)| plain(a) == *b)
    }

    /// Whether rows are bins or stems, not things with names.
    fn is_plot(&self) -> bool {
        self.is_headed(&["stem", "leaf"])
            || self.head.len() == 2 && plain(&self.head[1]) == "frequency"
    }

    fn row_names(&self) -> Vec<Vec<String>> {
        self.rows.iter().map(|row| stems(&row[0])).collect()
    }

    /// The names of the columns after the first.
    fn column_names(&self) -> Vec<Vec<String>> {
        self.head.iter().skip(1).map(|name| stems(name)).collect()
    }

    /// Whether a column is about money.
    fn is_money(&self, column: usize) -> bool {
        self.rows.iter().any(|row| row[column].starts_with('$'))
            || self.head.get(column).is_some_and(|h| h.contains('$'))
    }

    /// A number as the answer of a question about a column.
    fn answer(&self, column: usize, number: Exact) -> Option<Answer> {
        if self.is_money(column) {
            number.money()
        } else {
            number.answer()
        }
    }
}

fn number(cell: &str) -> Option<Exact> {
    let cell = cell.trim();
    match cell.strip_prefix("-$") {
        Some(rest) => Exact::whole(0)?.sub(Exact::parse(rest)?),
        None => Exact::parse(cell.strip_prefix('$').unwrap_or(cell)),
    }
}

/// A question, cut up once for all forms.
struct Asked<'a> {
    /// All of it.
    text: &'a str,
    /// The sentence that asks.
    asking: &'a str,
    /// The stems of that sentence.
    stems: Vec<String>,
}

impl Asked<'_> {
    fn has(&self, word: &str) -> bool {
        self.stems.iter().any(|s| s == word)
    }

    fn has_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.has(word))
    }

    /// Whether the words stand there one after the other.
    fn says(&self, phrase: &str) -> bool {
        super::wording::position(&self.stems, &stems(phrase), 0).is_some()
    }
}

type Form = fn(&Table, &Asked<'_>) -> Option<Question>;

/// Every form that is understood; the first that matches answers.
static FORMS: &[Form] = &[
    curves::statistic,
    curves::rate_of_change,
    curves::linear,
    curves::function,
    curves::shortage,
    curves::proportion,
    frequencies::extreme,
    frequencies::count,
    frequencies::total,
    prices::total,
    prices::enough,
    prices::left,
    prices::difference,
    schedules::when,
    schedules::which,
    cells::probability,
    cells::fraction,
    cells::more_than,
    cells::or,
    cells::most,
    cells::total,
    cells::value,
];

/// The question with its computed answer, where one of the forms matches it.
pub(crate) fn understand(table: &Table, question: &str) -> Option<Question> {
    let asking = asking(question);
    let asked = Asked {
        text: question,
        asking,
        stems: stems(asking),
    };
    FORMS.iter().find_map(|form| form(table, &asked))
}

/// A question in words that are not said anew.
fn as_asked(template: &'static str, answer: Answer) -> Question {
    let mut question = crate::figures::question::read::<String, 0>(template, answer, []);
    question.steps = 2;
    question
}
