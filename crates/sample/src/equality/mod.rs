//! Whether two printed answers say the same: `1/2` and `0.5`, `$4\pi\sqrt{3}$` and `4√3·π`, `(B)`
//! and `b`, `5 cm` and `5`.
//!
//! Teachers, data sets and models write one answer in many forms, and keeping or scoring an answer
//! must not depend on the form. Nothing here runs the text: it is parsed within bounds on length and
//! depth, and expressions are computed.
//!
//! What is equal:
//! - **Numbers** of one value, however printed: `1,000`, `1000.0`, `1e3`, `10^3`; fractions, mixed
//!   numbers, number words. `50%` is 0.5, and not 50: where a question asks for a percentage, give
//!   both sides the sign.
//! - **Rounded** decimals: a decimal with two places or three digits stands for a value that rounds to
//!   it and is within 2.5%: `0.33` for 1/3, `57.3` for 180/π, not `0.3` for 1/3. Whole numbers
//!   stand for themselves alone.
//! - **Units**: the same unit under any of its names, or no unit on one side. `5 cm` is not `5 m`, and
//!   units are not converted.
//! - **Expressions** that agree at fixed points, where both are defined.
//! - **Equations** `x = 5` and `5`; relations side by side, also turned round.
//! - **Lists** item by item, in order; in braces on both sides, as sets. Round and square brackets are
//!   different (they may be intervals); no brackets fit any.
//! - **Ratios** `2:3` and `2/3`; times of day as they are printed.
//! - **Words** without regard to case, punctuation, or a leading "the"; `true` is `yes`.
//!
//! **Invariant:** the relation is symmetric, and reflexive for texts with a letter or a digit; a text
//! without either equals nothing. It is not transitive: `5 cm` and `5 m` both equal `5`.

mod expression;
mod number;
mod plain;
mod unit;

use expression::Expression;
pub use unit::SMALL as NUMBER_WORDS;

/// Longer texts are compared as words alone, in characters.
const MAX_LENGTH: usize = 400;
/// Lists with more items are compared as words.
const MAX_ITEMS: usize = 32;
/// Lists within lists.
const MAX_NESTING: usize = 4;

/// Whether two answers say the same.
///
/// ```
/// use sample::equality::equal;
/// assert!(equal("1,000", "1e3") && equal(r"\frac{1}{2}", "0.5") && equal("x = 5", "5 cm"));
/// assert!(!equal("0.3", "1/3") && !equal("5 cm", "5 m") && !equal("?", "?"));
/// ```
pub fn equal(a: &str, b: &str) -> bool {
    let says_something = |text: &str| text.contains(char::is_alphanumeric);
    if !says_something(a) || !says_something(b) {
        return false;
    }
    a.trim() == b.trim() || Reading::of(a).same(&Reading::of(b))
}

/// The one name of a well-known unit, `cm` for `centimetres`, `%` for `percent`; `None` for others.
pub fn unit(word: &str) -> Option<&'static str> {
    unit::known(&plain::plain(word).to_lowercase())
}

/// A text as it can be understood.
#[derive(Debug)]
struct Reading {
    words: String,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Words,
    /// One or two ways to compute it: `5m` as a product, or as a number with a unit.
    Amounts(Vec<Amount>),
    List(Brackets, Vec<Reading>),
    /// Sides and the signs between them; never the larger side first.
    Relation(Vec<char>, Vec<Reading>),
}

#[derive(Debug)]
struct Amount {
    value: Expression,
    unit: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brackets {
    None,
    Round,
    Square,
    Braces,
    /// `[a, b)` and `(a, b]`.
    Mixed(char, char),
}

impl Brackets {
    fn of(open: char, close: char) -> Option<Brackets> {
        Some(match (open, close) {
            ('(', ')') => Brackets::Round,
            ('[', ']') => Brackets::Square,
            ('{', '}') => Brackets::Braces,
            ('[', ')') | ('(', ']') => Brackets::Mixed(open, close),
            _ => return None,
        })
    }

    fn fit(self, other: Brackets) -> bool {
        use Brackets::{Braces, None, Square};
        self == other
            || self == None
            || other == None
            || matches!((self, other), (Braces, Square) | (Square, Braces))
    }
}

impl Reading {
    fn of(text: &str) -> Reading {
        if text.chars().nth(MAX_LENGTH).is_some() {
            return Reading {
                words: plain::words(text),
                form: Form::Words,
            };
        }
        Reading::plain(&plain::plain(text), MAX_NESTING)
    }

    fn plain(text: &str, nesting: usize) -> Reading {
        let text = text.trim();
        Reading {
            words: plain::words(text),
            form: form(text, nesting),
        }
    }

    fn same(&self, other: &Reading) -> bool {
        let worded = !self.words.is_empty() && self.words == other.words;
        // Brackets are no words: intervals must not pass for each other.
        let listed = matches!((&self.form, &other.form), (Form::List(..), Form::List(..)));
        (worded && !listed) || same_form(self, other)
    }
}

fn same_form(a: &Reading, b: &Reading) -> bool {
    match (&a.form, &b.form) {
        (Form::Amounts(x), Form::Amounts(y)) => {
            if is_time(&a.words) && is_time(&b.words) {
                return false;
            }
            let fits = |p: &Amount, q: &Amount| {
                let units = p.unit.is_none() || q.unit.is_none() || p.unit == q.unit;
                units && expression::same(&p.value, &q.value)
            };
            x.iter().any(|p| y.iter().any(|q| fits(p, q)))
        }
        (Form::List(brackets, x), Form::List(others, y)) => {
            if x.len() != y.len() || !brackets.fit(*others) {
                return false;
            }
            let set = |b: &Brackets| *b == Brackets::Braces;
            let in_order = x.iter().zip(y).all(|(p, q)| p.same(q));
            in_order || (set(brackets) && set(others) && same_set(x, y))
        }
        (Form::Relation(signs, x), Form::Relation(others, y)) => {
            let each =
                |y: &mut dyn Iterator<Item = &Reading>| x.iter().zip(y).all(|(p, q)| p.same(q));
            let turned = signs.iter().all(|s| *s == '=') && signs.len() == 1;
            signs == others && (each(&mut y.iter()) || (turned && each(&mut y.iter().rev())))
        }
        (Form::Relation(signs, sides), _) => result(signs, sides).is_some_and(|r| r.same(b)),
        (_, Form::Relation(signs, sides)) => result(signs, sides).is_some_and(|r| a.same(r)),
        _ => false,
    }
}

/// What an equation says its left side is: 5 of `x = 5`, but nothing of `2x = 10`.
fn result<'a>(signs: &[char], sides: &'a [Reading]) -> Option<&'a Reading> {
    let name = |side: &Reading| {
        !side
            .words
            .contains(|c: char| "+*/^\\-|".contains(c) || c.is_ascii_digit())
    };
    let equations = signs.iter().all(|s| matches!(s, '=' | '\u{2248}'));
    let (first, last) = (sides.first()?, sides.last()?);
    let (named, value) = if name(first) {
        (true, last)
    } else {
        (sides.len() == 2 && name(last), first)
    };
    (equations && named && !value.words.is_empty()).then_some(value)
}

/// Whether the items can be paired. Equality is not transitive, so pairs are found by augmenting
/// paths rather than greedily, which keeps the relation symmetric.
fn same_set(x: &[Reading], y: &[Reading]) -> bool {
    let fits: Vec<Vec<bool>> = x
        .iter()
        .map(|p| y.iter().map(|q| p.same(q)).collect())
        .collect();
    let mut partner: Vec<Option<usize>> = vec![None; y.len()];
    (0..x.len()).all(|p| augment(p, &fits, &mut partner, &mut vec![false; y.len()]))
}

fn augment(p: usize, fits: &[Vec<bool>], partner: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    for q in 0..partner.len() {
        if fits[p][q] && !seen[q] {
            seen[q] = true;
            if partner[q].is_none_or(|other| augment(other, fits, partner, seen)) {
                partner[q] = Some(p);
                return true;
            }
        }
    }
    false
}

/// `7:30`: a time of day, if the other is one too.
fn is_time(words: &str) -> bool {
    let whole = |s: &str| !s.is_empty() && s.len() <= 2 && s.bytes().all(|b| b.is_ascii_digit());
    words
        .split_once(':')
        .is_some_and(|(hours, minutes)| whole(hours) && minutes.len() == 2 && whole(minutes))
}

fn form(text: &str, nesting: usize) -> Form {
    // Before lists: "two hundred and five" is one number.
    let counted = unit::figures(text);
    let text = counted.as_deref().unwrap_or(text);
    if nesting > 0 {
        let chars: Vec<char> = text.chars().collect();
        let inner = enclosed(&chars);
        let (brackets, items) = match &inner {
            Some((brackets, inner)) => (*brackets, items(inner, true)),
            None => (Brackets::None, items(&chars, false)),
        };
        let readings = |items: &[String]| -> Vec<Reading> {
            items
                .iter()
                .map(|item| Reading::plain(item, nesting - 1))
                .collect()
        };
        if (2..=MAX_ITEMS).contains(&items.len()) {
            return Form::List(brackets, readings(&items));
        }
        if inner.is_some() && items.len() == 1 {
            return form(items[0].trim(), nesting - 1);
        }
        let (signs, sides) = relation(&chars);
        if !signs.is_empty() && signs.len() < MAX_ITEMS {
            let mut sides = readings(&sides);
            let mut signs = signs;
            if signs.iter().all(|s| matches!(s, '>' | '\u{2265}')) {
                sides.reverse();
                signs.reverse();
                for sign in &mut signs {
                    *sign = if *sign == '>' { '<' } else { '\u{2264}' };
                }
            }
            return Form::Relation(signs, sides);
        }
    }
    let mut amounts = Vec::new();
    if let Some(value) = expression::parse(text) {
        amounts.push(Amount { value, unit: None });
    }
    if let Some(measured) = unit::split(text)
        && let Some(value) = expression::parse(&measured.amount)
    {
        // With its unit read, `sin 30°` apart, the degree sign is no factor.
        if measured
            .unit
            .as_deref()
            .is_some_and(|u| u.starts_with('\u{b0}'))
        {
            amounts.clear();
        }
        let unit = measured.unit;
        amounts.push(Amount { value, unit });
    }
    if amounts.is_empty() {
        Form::Words
    } else {
        Form::Amounts(amounts)
    }
}

fn deeper(c: char) -> i32 {
    match c {
        '(' | '[' | '{' => 1,
        ')' | ']' | '}' => -1,
        _ => 0,
    }
}

/// What lies between brackets around the whole.
fn enclosed(chars: &[char]) -> Option<(Brackets, Vec<char>)> {
    let (open, close) = (chars.first()?, chars.last()?);
    let brackets = Brackets::of(*open, *close)?;
    let mut depth = 0;
    for (at, c) in chars.iter().enumerate() {
        depth += deeper(*c);
        if depth == 0 && at + 1 < chars.len() {
            return None;
        }
    }
    (depth == 0 && chars.len() > 2).then(|| (brackets, chars[1..chars.len() - 1].to_vec()))
}

/// The items of a list. A comma is part of a number where it stands between thousands, outside of
/// brackets or where other commas have a space after them.
fn items(chars: &[char], bracketed: bool) -> Vec<String> {
    let mut depth = 0;
    let outer: Vec<bool> = chars
        .iter()
        .map(|c| {
            depth += deeper(*c);
            depth == 0 && deeper(*c) == 0
        })
        .collect();
    let spaced = |at: usize| chars[at] == ',' && chars.get(at + 1) == Some(&' ');
    let any_spaced = (0..chars.len()).any(|at| outer[at] && spaced(at));
    let thousands = |at: usize| {
        let digits = chars[at + 1..]
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .count();
        digits == 3 && at > 0 && chars[at - 1].is_ascii_digit()
    };
    let mut items = Vec::new();
    let mut item = String::new();
    let mut at = 0;
    while at < chars.len() {
        let separates = outer[at]
            && match chars[at] {
                ';' => true,
                ',' if any_spaced => spaced(at),
                ',' => bracketed || !thousands(at),
                _ => false,
            };
        let word = [" and ", " or "].iter().find(|w| {
            outer[at]
                && w.chars()
                    .enumerate()
                    .all(|(i, c)| chars.get(at + i) == Some(&c))
        });
        if separates {
            items.push(std::mem::take(&mut item));
            at += 1;
        } else if let Some(word) = word {
            items.push(std::mem::take(&mut item));
            // The last space may begin the next one.
            at += word.len() - 1;
        } else {
            item.push(chars[at]);
            at += 1;
        }
    }
    items.push(item);
    // "19, 46, and 82" has an empty item before its last.
    items.retain(|item| !item.trim().is_empty());
    for item in &mut items {
        if let Some(rest) = item.trim_start().strip_prefix("and ") {
            *item = rest.to_owned();
        }
    }
    items
}

/// Signs of relation outside of brackets, and what is between them.
fn relation(chars: &[char]) -> (Vec<char>, Vec<String>) {
    let mut depth = 0;
    let mut signs = Vec::new();
    let mut sides = vec![String::new()];
    for c in chars {
        depth += deeper(*c);
        if depth == 0 && "=<>\u{2264}\u{2265}\u{2260}\u{2248}".contains(*c) {
            signs.push(*c);
            sides.push(String::new());
        } else if let Some(side) = sides.last_mut() {
            side.push(*c);
        }
    }
    (signs, sides)
}

#[cfg(test)]
mod tests;
