//! From an extraction to what is compared with the right answer, as the official scorer does it.
//!
//! Multiple choice: a letter in parentheses anywhere, or a text that is nothing but an upper-case
//! letter, is the choice of that letter; everything else becomes the choice that it is nearest to.
//! Numbers go through Python's `int`, `float` and `round` and are compared as printed. The two
//! dialects differ in integers alone: today's code (`head`) truncates a float, the code of the
//! published scores (`paper`) reads a whole number or nothing.

use super::distance::nearest;
use crate::python::{Literal, float_to_str, int_of_float, parse_float, parse_int, round, strip};
use crate::{Dialect, Item, Kind};

/// What is compared with the right answer; `None` where the official code finds no answer (or stops
/// with an error, as for a question with choices that has none).
///
/// `extraction` is the value as the file had it: Python takes `int(12.7)` for 12 and `int("12.7")` for
/// an error.
pub fn normalise(extraction: &Literal, item: &Item, dialect: Dialect) -> Option<String> {
    match item.kind {
        Kind::MultiChoice => choice(&extraction.to_str(), &item.choices).map(str::to_owned),
        Kind::Integer => match dialect {
            Dialect::Head => int_of_float(to_float(extraction)?),
            Dialect::Paper => to_int(extraction),
        },
        Kind::Float => {
            // Official code has `int(precision)`.
            let places = item.precision.filter(|places| places.is_finite())?;
            // Out of range it stays at the ends, as Python clips a count of places.
            round(to_float(extraction)?, places as i64).map(float_to_str)
        }
        Kind::List | Kind::Open => Some(extraction.to_str()),
    }
}

/// Whether the official code's prediction is a guess: it takes the nearest choice to a text that says
/// nothing.
pub(super) fn is_guess(extraction: &Literal, item: &Item) -> bool {
    item.kind == Kind::MultiChoice
        && match extraction {
            Literal::None => true,
            Literal::Str(text) => strip(text).is_empty(),
            _ => false,
        }
}

/// The choice that `text` names or is nearest to.
fn choice<'a>(text: &str, choices: &'a [String]) -> Option<&'a str> {
    let text = strip(text);
    let mut letter = [0; 4];
    let text = match letter_in_parentheses(text) {
        Some(found) => &*found.to_ascii_uppercase().encode_utf8(&mut letter),
        None => text,
    };
    // Official options are 'A' and the code points after it, one for each choice.
    let mut letters = text.chars();
    let named = match (letters.next(), letters.next()) {
        (Some(only), None) => (only as usize)
            .checked_sub('A' as usize)
            .and_then(|at| choices.get(at))
            .map(String::as_str),
        _ => None,
    };
    named.or_else(|| nearest(text, choices))
}

/// The first match of `\(([a-zA-Z])\)`.
fn letter_in_parentheses(text: &str) -> Option<char> {
    text.as_bytes()
        .windows(3)
        .find(|w| w[0] == b'(' && w[1].is_ascii_alphabetic() && w[2] == b')')
        .map(|w| char::from(w[1]))
}

/// `float(value)`; `None` where Python raises.
fn to_float(value: &Literal) -> Option<f64> {
    match value {
        Literal::Str(text) => parse_float(text),
        Literal::Float(value) => Some(*value),
        Literal::Bool(value) => Some(f64::from(u8::from(*value))),
        // A whole number that is too large raises, where its text would be infinite.
        Literal::Int(digits) => parse_float(digits).filter(|value| value.is_finite()),
        _ => None,
    }
}

/// `str(int(value))`; `None` where Python raises.
fn to_int(value: &Literal) -> Option<String> {
    match value {
        Literal::Str(text) => parse_int(text),
        Literal::Float(value) => int_of_float(*value),
        Literal::Bool(value) => Some(u8::from(*value).to_string()),
        Literal::Int(digits) => Some(digits.clone()),
        _ => None,
    }
}
