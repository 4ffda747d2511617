//! Our rules for the letter in a reply: what the official ones overlook, and no guess.
//!
//! In this order, each taking the last place where it holds: `\boxed{B}`; a letter after "answer is",
//! "answer:" or the like, in brackets, quotes or Markdown or bare; a reply that is a letter, or starts
//! with one as options are listed (`b) `); the official places; one single option whose text is in
//! the reply as words of its own.

use super::choice::{Rules, find as official};
use crate::python::{is_word, strip};

/// What announces an answer, in lower case.
const MARKERS: [&str; 6] = [
    "answer is",
    "answer:",
    "answer**:",
    "option is",
    "choice is",
    "answer would be",
];
/// What may stand around a letter.
const AROUND: &[char] = &[
    '(', '[', '{', '"', '\'', '*', '_', '`', '$', ':', ' ', '\n', '\t',
];

/// The place of the answer's letter among `letters`.
pub fn find(response: &str, letters: &[String], options: &[String]) -> Option<usize> {
    boxed(response, letters)
        .or_else(|| announced(response, letters))
        .or_else(|| listed(response, letters))
        .or_else(|| official_place(response, letters))
        .or_else(|| only_option(response, options))
}

fn boxed(response: &str, letters: &[String]) -> Option<usize> {
    response
        .rmatch_indices("\\boxed{")
        .find_map(|(at, marker)| {
            let inner = &response[at + marker.len()..];
            let inner = inner.strip_prefix("\\text{").unwrap_or(inner);
            letter_at(inner, letters)
        })
}

fn announced(response: &str, letters: &[String]) -> Option<usize> {
    // ASCII lower-casing keeps byte positions.
    let lower = response.to_ascii_lowercase();
    let mut places: Vec<usize> = MARKERS
        .iter()
        .flat_map(|marker| lower.match_indices(marker).map(|(at, m)| at + m.len()))
        .collect();
    places.sort_unstable();
    let places = places.iter().rev();
    places.copied().find_map(|at| {
        let rest = response[at..].trim_start_matches(AROUND);
        let rest = match rest.get(..7) {
            Some(word) if word.eq_ignore_ascii_case("option ") => &rest[7..],
            _ => rest,
        };
        letter_at(rest.trim_start_matches(AROUND), letters)
    })
}

/// A reply that is a letter or starts as a listed option does; there lower case counts too.
fn listed(response: &str, letters: &[String]) -> Option<usize> {
    let text = strip(response).trim_start_matches(AROUND);
    let first = text.chars().next()?;
    let rest = &text[first.len_utf8()..];
    let alone = rest.chars().all(|c| !is_word(c));
    let marked = rest.starts_with([')', '.', ':', ']']);
    if !alone && !marked {
        return None;
    }
    let upper = first.to_ascii_uppercase();
    letters.iter().position(|l| l.chars().eq([upper]))
}

/// The official places, without the option texts, which here must be words of their own.
fn official_place(response: &str, letters: &[String]) -> Option<usize> {
    official(response, letters, &[], Rules::Mmmu)
}

fn only_option(response: &str, options: &[String]) -> Option<usize> {
    let text = response.to_lowercase();
    let mut found = options.iter().enumerate().filter(|(_, option)| {
        let option = strip(option).to_lowercase();
        !option.is_empty()
            && text.match_indices(&option).any(|(at, _)| {
                let before = text[..at].chars().next_back();
                let after = text[at + option.len()..].chars().next();
                !before.is_some_and(is_word) && !after.is_some_and(is_word)
            })
    });
    let (first, _) = found.next()?;
    found.next().is_none().then_some(first)
}

/// The letter that the text starts with, where no more of a word follows.
fn letter_at(text: &str, letters: &[String]) -> Option<usize> {
    let first = text.chars().next()?;
    if text[first.len_utf8()..].chars().next().is_some_and(is_word) {
        return None;
    }
    letters.iter().position(|letter| letter.chars().eq([first]))
}
