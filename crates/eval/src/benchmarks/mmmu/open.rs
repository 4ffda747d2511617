//! Open answers, as the official code reads and compares them (`parse_open_response` and `eval_open`
//! of `eval_utils.py`).
//!
//! A reply is cut into lines; of each, what follows the last "is ", "so ", "answer " and the like, the
//! shortest of these, is a key phrase. The key phrases and all numbers in them are what was said. A
//! text among these is right where the right answer is *in* it, a number where it equals the right
//! answer at two decimals. The official code puts them through a `set`, whose order changes with each
//! process; no verdict depends on it, since any one of them settles it.
//!
//! Upstream lowers the reply before it splits sentences before capitals, so only line ends split.

use std::collections::HashSet;

use crate::python::{float_to_str, is_digit, is_word, parse_float, round, strip};

/// A thing that was said, normalised.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// Words, in lower case; a single character has a blank before or after it.
    Words(String),
    /// A number, at two decimals.
    Number(f64),
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Said::Words(text) => f.write_str(text),
            Said::Number(value) => f.write_str(&float_to_str(*value)),
        }
    }
}

/// What announces an answer; the last only in a reply's last line.
const INDICATORS: [&str; 9] = [
    "could be ",
    "so ",
    "is ",
    "thus ",
    "therefore ",
    "final ",
    "answer ",
    "result ",
    "=",
];

/// What was said in a reply: each thing once. In time linear in its length.
pub fn parse(response: &str) -> Vec<Said> {
    let keys = key_phrases(response);
    let numbers: Vec<String> = keys.iter().flat_map(|key| numbers(key)).collect();
    let mut seen = HashSet::new();
    keys.iter()
        .chain(&numbers)
        .flat_map(|text| normalize(text))
        .filter(|said| seen.insert(said.to_string()))
        .collect()
}

/// Whether something that was said is one of the right answers.
pub fn matches(answers: &[&str], said: &[Said]) -> bool {
    let wanted: Vec<Said> = answers
        .iter()
        .flat_map(|answer| normalize(answer))
        .collect();
    said.iter().any(|one| {
        wanted.iter().any(|answer| match (one, answer) {
            (Said::Words(text), Said::Words(answer)) => text.contains(answer),
            (Said::Number(value), Said::Number(answer)) => value == answer,
            _ => false,
        })
    })
}

/// A number where `float` reads the text without its commas; else the text in lower case.
fn normalize(text: &str) -> Vec<Said> {
    let text = strip(text);
    if let Some(value) = parse_float(&text.replace(',', "")) {
        // Python's `round` raises for no float at two decimals.
        return vec![Said::Number(round(value, 2).unwrap_or(value))];
    }
    let lower = text.to_lowercase();
    if lower.chars().take(2).count() == 1 {
        return vec![Said::Words(format!(" {lower}")), Said::Words(lower + " ")];
    }
    vec![Said::Words(lower)]
}

fn key_phrases(response: &str) -> Vec<String> {
    let whole = strip(response).trim_matches('.').to_lowercase();
    let lines: Vec<&str> = whole.split('\n').collect();
    let mut keys = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let last = at + 1 == lines.len();
        let indicators = &INDICATORS[..INDICATORS.len() - usize::from(!last)];
        let mut shortest: Option<(&str, usize)> = None;
        for indicator in indicators {
            if let Some(found) = line.rfind(indicator) {
                let tail = strip(&line[found + indicator.len()..]);
                let length = tail.chars().count();
                // An empty one counts as none found yet, as for Python's `not`.
                if shortest.is_none_or(|(_, least)| least == 0 || length < least) {
                    shortest = Some((tail, length));
                }
            }
        }
        if let Some((key, 1..)) = shortest
            && ![":", ",", ".", "!", "?", ";", "'"].contains(&key)
        {
            keys.push(key.to_owned());
        }
    }
    if keys.is_empty() {
        keys.push(whole);
    }
    keys
}

/// The numbers in a text: with thousands commas, then in scientific form, then plain ones, as three
/// patterns of Python's `re` find them one after the other; one place may be in several.
pub fn numbers(text: &str) -> Vec<String> {
    let text = Digits::new(text);
    let mut found = text.all(Digits::with_commas);
    found.extend(text.all(Digits::scientific));
    found.extend(text.all(Digits::plain));
    found
}

/// A text with the end of each run of digits, so that no pattern reads a run twice.
struct Digits {
    chars: Vec<char>,
    /// Where the digits from here on end; here, where here is none.
    ends: Vec<usize>,
}

impl Digits {
    fn new(text: &str) -> Digits {
        let chars: Vec<char> = text.chars().collect();
        let mut ends: Vec<usize> = (0..=chars.len()).collect();
        for at in (0..chars.len()).rev() {
            if is_digit(chars[at]) {
                ends[at] = ends[at + 1];
            }
        }
        Digits { chars, ends }
    }

    /// All places from left to right where a pattern matches, without overlap. A pattern gives the
    /// end of its match from a start after the optional minus sign.
    fn all(&self, pattern: fn(&Digits, usize) -> Option<usize>) -> Vec<String> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < self.chars.len() {
            let start = at + usize::from(self.is(at, '-'));
            match pattern(self, start) {
                Some(end) => {
                    found.push(self.chars[at..end].iter().collect());
                    at = end;
                }
                None => at += 1,
            }
        }
        found
    }

    fn is(&self, at: usize, wanted: char) -> bool {
        self.chars.get(at) == Some(&wanted)
    }

    fn is_word(&self, at: usize) -> bool {
        self.chars.get(at).is_some_and(|c| is_word(*c))
    }

    /// Where the digits that start at `at` end; none where there are none.
    fn run(&self, at: usize) -> Option<usize> {
        self.ends.get(at).copied().filter(|end| *end > at)
    }

    /// `\b\d{1,3}(?:,\d{3})+\b`
    fn with_commas(&self, start: usize) -> Option<usize> {
        let first = self.run(start)?;
        if first - start > 3 || (start > 0 && self.is_word(start - 1)) {
            return None;
        }
        let (mut end, mut groups) = (first, 0);
        while self.is(end, ',') && self.run(end + 1).is_some_and(|run| run >= end + 4) {
            end += 4;
            groups += 1;
        }
        match groups {
            0 => None,
            _ if !self.is_word(end) => Some(end),
            // More digits follow the last group, so the match ends before its comma.
            1 => None,
            _ => Some(end - 4),
        }
    }

    /// `\d+(?:\.\d+)?[eE][+-]?\d+`
    fn scientific(&self, start: usize) -> Option<usize> {
        let whole = self.run(start)?;
        let mantissa = match self.run(whole + 1) {
            Some(fraction) if self.is(whole, '.') => fraction,
            _ => whole,
        };
        self.exponent(mantissa)
    }

    /// The end of `[eE][+-]?\d+` at a place.
    fn exponent(&self, at: usize) -> Option<usize> {
        if !(self.is(at, 'e') || self.is(at, 'E')) {
            return None;
        }
        let signed = self.is(at + 1, '+') || self.is(at + 1, '-');
        self.run(at + 1 + usize::from(signed))
    }

    /// `(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])`
    fn plain(&self, start: usize) -> Option<usize> {
        // A run that is cut short is followed by a digit, which the last part forbids.
        let ends_well = |end: &usize| self.exponent(*end).is_none() && !self.is(*end, ',');
        let whole = self.run(start);
        let point = whole.unwrap_or(start);
        let fraction = self.run(point + 1).filter(|_| self.is(point, '.'));
        fraction
            .filter(ends_well)
            .or_else(|| whole.filter(|end| !self.is_word(*end)).filter(ends_well))
    }
}
