//! When two answers are equal, by the official code's rules.
//!
//! In lower case: equal text is equal; tuples and lists are equal when their members, rounded to two
//! decimals, print alike; anything else is equal when both sides have values that agree when rounded
//! to two decimals. Empty text equals nothing, not even itself.

use super::node::Valueless;
use super::{expression, value};

/// Text longer than this, in bytes, is compared as text only: the official code works on it for
/// longer than anyone waits, and no answer is as long.
const LONGEST: usize = 1 << 16;

/// Whether the official code calls `answer` and `other` equal.
pub(in super::super) fn equal(answer: &str, other: &str) -> bool {
    let (answer, other) = (answer.to_lowercase(), other.to_lowercase());
    let empty = |text: &str| text.bytes().all(|b| b == b' ');
    if empty(&answer) || empty(&other) {
        return false;
    }
    if super::answer::strip(&answer) == super::answer::strip(&other) {
        return true;
    }
    if answer.len() > LONGEST || other.len() > LONGEST {
        return false;
    }
    let (answer, other) = (tuple(answer), tuple(other));
    if answer == other {
        return true;
    }
    match (number(&other), number(&answer)) {
        (Ok(a), Ok(b)) => value::compare(&a, &b).is_some_and(|order| order.is_eq()),
        _ => false,
    }
}

/// The value of `text`, rounded to two decimals.
fn number(text: &str) -> Result<value::Value, Valueless> {
    Ok(value::rounded(value::of(&expression::parse(text)?)?))
}

/// A tuple or list with its members worked out and rounded; anything else, and one with a member
/// that has no value, as it is.
fn tuple(text: String) -> String {
    let members = |inner: &str| -> Result<String, Valueless> {
        let mut out = Vec::new();
        for member in inner.split(',') {
            out.push(
                if member.contains("infty") || matches!(member, "a" | "-a") {
                    member.to_owned()
                } else {
                    value::printed(&number(member)?)?
                },
            );
        }
        Ok(out.join(","))
    };
    for (open, close) in [('(', ')'), ('[', ']')] {
        if let Some(inner) = text.strip_prefix(open).and_then(|t| t.strip_suffix(close))
            && inner.contains(',')
        {
            return match members(inner) {
                Ok(members) => format!("{open}{members}{close}"),
                Err(Valueless) => text,
            };
        }
    }
    text
}
