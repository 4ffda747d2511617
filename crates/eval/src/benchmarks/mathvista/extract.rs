//! From a reply to the answer in it.
//!
//! The official rules settle little: an empty reply, a reply that is a choice or a number and nothing
//! else, and `The answer is "...".`; for all other replies the official code asks a language model
//! ([`super::judge`]). Our `extended` rules read on where a person would, need no model, and are
//! always reported as what they are.

use crate::python::{float_to_str, parse_float, parse_int, strip};
use crate::{Item, Kind};

/// The answer in `response` by the official rules; `None` where the official code asks a model.
/// `Some("")` for an empty reply.
pub fn official(item: &Item, response: &str) -> Option<String> {
    if response.is_empty() {
        return Some(String::new());
    }
    if item.kind == Kind::MultiChoice && item.choices.iter().any(|choice| choice == response) {
        return Some(response.to_owned());
    }
    let number = match item.kind {
        Kind::Integer => parse_int(response),
        Kind::Float => parse_float(response).map(float_to_str),
        _ => None,
    };
    number.or_else(|| quoted(response).map(str::to_owned))
}

/// The group of the first match of `The answer is "(.*)"\.`, whose dot stops at a line's end.
fn quoted(response: &str) -> Option<&str> {
    const BEFORE: &str = "The answer is \"";
    const AFTER: &str = "\".";
    response.split('\n').find_map(|line| {
        let rest = &line[line.find(BEFORE)? + BEFORE.len()..];
        Some(&rest[..rest.rfind(AFTER)?])
    })
}

/// The answer in `response` by our rules, the first of these that finds one:
///
/// 1. The official rules.
/// 2. The content of the last `\boxed{...}`.
/// 3. What follows the last `answer is`, `answer:`, `answer =` or `答案` on its line.
/// 4. The last lines first: a letter of an option as `(B)`, `B.`, `option B`, or a choice that a line
///    has and no other choice with it; the last number; the last list in brackets. Which, the
///    question's kind says.
///
/// What 2 and 3 give is read by 4 too, and taken as it is where 4 finds nothing in it.
pub fn extended(item: &Item, response: &str) -> Option<String> {
    if let Some(found) = official(item, response) {
        return Some(found);
    }
    let told = boxed(response).or_else(|| announced(response));
    if let Some(told) = told {
        return Some(in_kind(item, told).unwrap_or_else(|| told.to_owned()));
    }
    // From the end, since replies conclude there.
    response
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .find_map(|line| in_kind(item, line))
}

/// The last `\boxed{...}` whose braces close.
fn boxed(response: &str) -> Option<&str> {
    const OPEN: &str = "\\boxed{";
    let start = response.rfind(OPEN)? + OPEN.len();
    let mut depth = 1_usize;
    for (at, byte) in response.bytes().enumerate().skip(start) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return told(&response[start..at]);
        }
    }
    None
}

/// What follows the last phrase that announces an answer, to the end of its line.
fn announced(response: &str) -> Option<&str> {
    // Lower-casing ASCII keeps byte positions.
    let lower = response.to_ascii_lowercase();
    let after = [
        "answer is",
        "answer:",
        "answer =",
        "答案是",
        "答案为",
        "答案：",
    ]
    .iter()
    .filter_map(|phrase| lower.rfind(phrase).map(|at| at + phrase.len()))
    .max()?;
    let rest = response[after..]
        .trim_start_matches([':', '：', '*', ' ', '\n', '\r'])
        .lines()
        .next()?;
    told(rest)
}

/// Without white space, emphasis, quotes and full stops around; `None` where nothing is left.
fn told(text: &str) -> Option<&str> {
    let text = strip(text).trim_end_matches("</s>");
    let text = text.trim_matches(|c: char| "*\"'`$“”".contains(c) || crate::python::is_space(c));
    let text = text.trim_end_matches(['.', '。']).trim_end_matches('*');
    (!text.is_empty()).then_some(text)
}

/// The answer in a line, in the form that the question wants.
fn in_kind(item: &Item, line: &str) -> Option<String> {
    match item.kind {
        Kind::MultiChoice => option(item, line),
        Kind::Integer | Kind::Float => last_number(line),
        Kind::List => {
            let start = line.rfind('[')?;
            let end = start + line[start..].find(']')?;
            Some(line[start..=end].to_owned())
        }
        Kind::Open => None,
    }
}

/// The option that a line names: by its letter, else by its text where it has no other choice's.
fn option(item: &Item, line: &str) -> Option<String> {
    let letters = ('A'..='Z').take(item.choices.len());
    let named: Vec<char> = letters.filter(|&l| names(line, l)).collect();
    if let [only] = named[..] {
        return Some(only.to_string());
    }
    let lower = line.to_lowercase();
    let mut held: Vec<(&String, String)> = item
        .choices
        .iter()
        .map(|choice| (choice, choice.trim().to_lowercase()))
        .filter(|(_, text)| !text.is_empty() && has_word(&lower, text))
        .collect();
    // "12" is in "12 cm": of choices within choices the longest counts.
    held.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
    let (longest, text) = held.first()?;
    held[1..]
        .iter()
        .all(|(_, other)| text.contains(other.as_str()) && text != other)
        .then(|| (*longest).clone())
}

/// Whether a line names an option by its letter: `(B)`, `B.`, `B)`, `B:`, `option B`, or nothing but
/// `B`.
fn names(line: &str, letter: char) -> bool {
    let bytes = line.as_bytes();
    let letter = letter as u8;
    if line.trim_matches(|c: char| " *.()".contains(c)).as_bytes() == [letter] {
        return true;
    }
    let first = bytes.iter().position(|b| !matches!(b, b' ' | b'*' | b'('));
    (0..bytes.len())
        .filter(|&at| bytes[at] == letter)
        .any(|at| {
            let before = &bytes[..at];
            let after = bytes.get(at + 1).copied();
            let opens = before.ends_with(b"(") && after == Some(b')');
            let starts = first == Some(at) && matches!(after, Some(b'.' | b')' | b':'));
            let tail = &before[before.len().saturating_sub(8)..];
            let word = tail.to_ascii_lowercase();
            let called = word.ends_with(b"option ") || word.ends_with(b"choice ");
            opens || starts || called && !after.is_some_and(|b| b.is_ascii_alphanumeric())
        })
}

/// Whether `text` stands in `line` with no letter or digit right before or after.
fn has_word(line: &str, text: &str) -> bool {
    let bounded = |c: Option<char>| !c.is_some_and(char::is_alphanumeric);
    line.match_indices(text).any(|(at, _)| {
        bounded(line[..at].chars().next_back()) && bounded(line[at + text.len()..].chars().next())
    })
}

/// The last number of a line, without its thousands separators.
fn last_number(line: &str) -> Option<String> {
    let bytes = line.as_bytes();
    let end = bytes.iter().rposition(u8::is_ascii_digit)? + 1;
    let mut start = end;
    while start > 0 {
        let byte = bytes[start - 1];
        let digits_follow = bytes.get(start).is_some_and(u8::is_ascii_digit);
        // A comma is of the number where three digits and no fourth follow.
        let group = bytes[start..end].iter().take_while(|b| b.is_ascii_digit());
        let belongs = byte.is_ascii_digit()
            || byte == b'.' && digits_follow && !bytes[start..end].contains(&b'.')
            || byte == b','
                && group.take(4).count() == 3
                && start > 1
                && bytes[start - 2].is_ascii_digit();
        if !belongs {
            break;
        }
        start -= 1;
    }
    let before = &line[..start];
    let minus = before.ends_with(['-', '−'])
        && !before
            .trim_end_matches(['-', '−'])
            .ends_with(|c: char| c.is_alphanumeric() || c == ')');
    let figures = line[start..end].replace(',', "");
    Some(if minus {
        format!("-{figures}")
    } else {
        figures
    })
}
