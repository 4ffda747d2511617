//! Whether two answers say the same as mathematics.
//!
//! `compare` finds the final answer in two texts, LaTeX or plain, reads both as trees and asks whether they are
//! the same: exact numbers first, then exact arithmetic modulo a prime for whatever is built of sums, products
//! and whole powers, then values at several points to thirty digits. Nothing is evaluated as code, every input
//! gets a verdict in bounded time, and the verdict is the same on every machine.
//!
//! The meaning is that of Math-Verify, the most used judge of this kind, except where it is wrong as
//! mathematics; `docs/equality.md` has the rules, their order and the differences.
//!
//! Existing crates were looked at first. `pulldown-latex` and `latex2mathml` read LaTeX as something to be
//! shown, and do not say whether a bracket is a product, an argument or an interval; `meval`, `evalexpr` and
//! `fasteval` evaluate plain floating-point expressions; `symbolica` is a computer algebra system under a
//! licence that does not fit. So the reader here is our own, and exact numbers are `num-bigint`'s.

mod answer;
mod canonical;
mod characters;
mod commands;
mod compare;
mod complex;
mod elements;
mod environments;
mod exact;
mod extrapolation;
mod matrix;
mod numeral;
mod parse;
mod prose;
mod quantity;
mod ranges;
mod relations;
mod residue;
mod sampling;
mod sets;
mod token;
mod tree;
mod units;
mod verdict;
mod wide;
mod work;

pub use answer::Options;
pub use verdict::Comparison;

use num_bigint::BigInt;
use num_rational::BigRational;

use crate::answer::Found;
use crate::tree::Expr;
use crate::verdict::Rule;
use crate::work::Work;

/// Whether `prediction` gives the answer `gold`.
///
/// The two are not exchangeable: see [`compare`].
pub fn equal(gold: &str, prediction: &str) -> bool {
    same_with(gold, prediction, Options::default()).is_ok()
}

/// Whether `prediction` gives the answer `gold`, and which rule settled it.
///
/// Both are texts of any length with an answer somewhere in them; bare answers are found too. Gold says which
/// form is wanted: `x = 5` is answered by `5`, and `5` by `x = 5`; an inequality by its interval, but not an
/// interval by an inequality; a tuple by a list in the same order, a set by one in any order.
pub fn compare(gold: &str, prediction: &str) -> Comparison {
    compare_with(gold, prediction, Options::default())
}

/// [`compare`], with the forms of answers that are looked for.
pub fn compare_with(gold: &str, prediction: &str, options: Options) -> Comparison {
    match same_with(gold, prediction, options) {
        Ok(rule) => Comparison {
            same: true,
            reason: rule.to_string(),
        },
        Err(different) => Comparison {
            same: false,
            reason: different.to_string(),
        },
    }
}

/// The value of `text` as a real number, to double precision.
///
/// `text` is one LaTeX or plain expression and nothing else; no answer is looked for in it, dollar signs and
/// white space apart. Of an equation it is the right side's, percentages are hundredths, degrees and units do
/// not count, `a:b` is a quotient. `None` for anything that is no real number: letters left over, sets,
/// division by zero, text, or more work than a comparison may cost. Values beyond a double are infinite.
pub fn evaluate(text: &str) -> Option<f64> {
    let plain = characters::plain(text);
    let expr = answer::value_of(answer::latex(&plain).expr?);
    let work = Work::new(work::ALLOWANCE);
    if let Some(value) = exact::rational(&expr, &work) {
        return num_traits::ToPrimitive::to_f64(&value);
    }
    quantity::real(&expr, &work).map(wide::Wide::to_f64)
}

/// Why two answers are not the same.
enum Different {
    NoGold,
    NoPrediction,
    Unread,
    Spent,
    Differ,
}

impl std::fmt::Display for Different {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NoGold => "no answer was found in the gold text",
            Self::NoPrediction => "no answer was found in the prediction",
            Self::Unread => "one of them could not be read as mathematics, and the texts differ",
            Self::Spent => "not shown equal within the work that a comparison may cost",
            Self::Differ => "no rule makes them equal",
        })
    }
}

fn same_with(gold: &str, prediction: &str, options: Options) -> Result<Rule, Different> {
    let (gold, prediction) = (characters::plain(gold), characters::plain(prediction));
    let gold = answer::find(&gold, options);
    if gold.expr.is_none() && gold.text.is_empty() {
        return Err(Different::NoGold);
    }
    let prediction = answer::find(&prediction, options);
    if prediction.expr.is_none() && prediction.text.is_empty() {
        return Err(Different::NoPrediction);
    }
    let work = Work::new(work::ALLOWANCE);
    if let (Some(a), Some(b)) = (&gold.expr, &prediction.expr)
        && let Some(rule) = same_found(&gold, a, &prediction, b, &work)
    {
        return Ok(rule);
    }
    if same_text(&gold, &prediction) {
        return Ok(Rule::Text);
    }
    Err(if work.is_spent() {
        Different::Spent
    } else if gold.expr.is_none() || prediction.expr.is_none() {
        Different::Unread
    } else {
        Different::Differ
    })
}

/// Compares what was read, units with it where both sides have known ones.
fn same_found(gold: &Found, a: &Expr, prediction: &Found, b: &Expr, work: &Work) -> Option<Rule> {
    if let (Some(left), Some(right)) = (&gold.unit, &prediction.unit)
        && left.dimension == right.dimension
        && left.factor != right.factor
    {
        let scaled = |expr: &Expr, factor: (i64, i64)| {
            let factor = BigRational::new(BigInt::from(factor.0), BigInt::from(factor.1));
            Expr::product(vec![Expr::exact(factor), expr.clone()])
        };
        return compare::same(&scaled(a, left.factor), &scaled(b, right.factor), work)
            .map(|_| Rule::Unit);
    }
    if let Some(rule) = compare::same(a, b, work) {
        return Some(rule);
    }
    // 2,74 in dollars may be a decimal as well as two numbers: beside a decimal it is one.
    let pairs = [(gold, b), (prediction, a)];
    pairs.into_iter().find_map(|(list, other)| {
        let number = other.number().filter(|n| n.decimal)?;
        let Some(Expr::Set(entries)) = &list.expr else {
            return None;
        };
        let (whole, decimals) = list.text.split_once(',')?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if entries.len() != 2 || !digits(whole) || !digits(decimals) || decimals.len() > 100 {
            return None;
        }
        let read = numeral::number(&format!("{whole}.{decimals}"), None, None)?;
        quantity::rounded_alike(&read.number()?.value, &number.value).then_some(Rule::Decimals)
    })
}

/// Compares the texts: exactly, but words without capitals.
fn same_text(gold: &Found, prediction: &Found) -> bool {
    if gold.text.is_empty() {
        return false;
    }
    if gold.text == prediction.text {
        return true;
    }
    let words = gold.whole || prediction.whole;
    if words && gold.text.eq_ignore_ascii_case(&prediction.text) {
        return true;
    }
    // \text{No solution} and the same without LaTeX.
    [(gold, prediction), (prediction, gold)]
        .into_iter()
        .any(|(read, unread)| match &read.expr {
            Some(Expr::Symbol(name)) if unread.expr.is_none() && unread.whole => {
                name.eq_ignore_ascii_case(&unread.text)
            }
            _ => false,
        })
}
