//! Numbers and plain expressions in prose: `the number is not 10 which is 1,000.99 m`.
//!
//! A number counts after the start of the text, white space or an equals sign, and with a currency before it;
//! what follows it does not matter, so that `100m2` is 100 and `XDY2K` is nothing. An expression of digits and
//! operators has to end as a word does. The patterns are Math-Verify's.

use std::ops::Range;

/// A number or an expression in a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Written {
    pub outer: Range<usize>,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    /// Digits with at most a point, the sign before them, and whether a percent sign follows.
    Number { digits: String, percent: bool },
    /// Digits and operators.
    Expression(Range<usize>),
}

/// All numbers and expressions of `text` from left to right, those of each kind without overlap.
pub(crate) fn written(text: &str) -> Vec<Written> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let (mut number_from, mut expression_from) = (0, 0);
    for at in 0..=bytes.len() {
        let Some(start) = after_prefix(bytes, at) else {
            continue;
        };
        for start in start {
            if start >= expression_from
                && let Some(end) = expression(bytes, start)
            {
                found.push(Written {
                    outer: start..end + suffix(bytes, end).unwrap_or(0),
                    kind: Kind::Expression(start..end),
                });
                expression_from = end;
            }
            let currency = match bytes.get(start..) {
                Some([b'\\', b'$', ..]) => 2,
                Some([b'$', ..]) => 1,
                _ => 0,
            };
            let digits = start + currency;
            if start >= number_from
                && let Some((written, end)) = number(text, digits)
            {
                found.push(Written {
                    outer: start..end,
                    kind: written,
                });
                number_from = end;
            }
        }
    }
    found
}

/// Where something may begin whose prefix ends at `at`: there, and behind two stars.
fn after_prefix(bytes: &[u8], at: usize) -> Option<impl Iterator<Item = usize>> {
    let open = at == 0
        || bytes
            .get(at - 1)
            .is_some_and(|b| b.is_ascii_whitespace() || *b == b'=');
    let bold = bytes.get(at..at + 2) == Some(b"**");
    open.then(|| std::iter::once(at).chain(bold.then_some(at + 2)))
}

fn digits(bytes: &[u8], mut at: usize) -> usize {
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    at
}

/// The number at `at` and where it ends.
pub(crate) fn number(text: &str, at: usize) -> Option<(Kind, usize)> {
    let bytes = text.as_bytes();
    let negative = bytes.get(at) == Some(&b'-');
    let start = at + usize::from(negative);
    let mut end = digits(bytes, start);
    let mut out = String::from(if negative { "-" } else { "" });
    if end == start {
        // .5
        let decimals = (bytes.get(start) == Some(&b'.')).then(|| digits(bytes, start + 1))?;
        if decimals == start + 1 || negative {
            return None;
        }
        out.push('0');
        out.push_str(&text[start..decimals]);
        end = decimals;
    } else {
        let mut grouped = end;
        if end - start <= 3 && bytes[start] != b'0' {
            while matches!(bytes.get(grouped), Some(b' ' | b','))
                && digits(bytes, grouped + 1) == grouped + 4
            {
                grouped += 4;
            }
        }
        if grouped > end {
            out.extend(text[start..grouped].chars().filter(char::is_ascii_digit));
            end = grouped;
            if bytes.get(end) == Some(&b'.') {
                let decimals = digits(bytes, end + 1);
                if decimals > end + 1 {
                    out.push_str(&text[end..decimals]);
                    end = decimals;
                }
            }
        } else {
            out.push_str(&text[start..end]);
            if matches!(bytes.get(end), Some(b'.' | b',')) {
                let decimals = digits(bytes, end + 1);
                if decimals > end + 1 {
                    out.push('.');
                    out.push_str(&text[end + 1..decimals]);
                    end = decimals;
                }
            }
        }
    }
    let after = text[end..].trim_start();
    let sign = [
        "\\%",
        "%",
        "percentage",
        "percent",
        "Percentage",
        "Percent",
        "pct",
        "Pct",
    ]
    .iter()
    .find(|sign| after.starts_with(**sign));
    if let Some(sign) = sign {
        end += text[end..].len() - after.len() + sign.len();
    }
    Some((
        Kind::Number {
            digits: out,
            percent: sign.is_some(),
        },
        end,
    ))
}

/// Operators as they stand here: `\times` and the like were written by `characters`.
fn operator(byte: u8) -> bool {
    matches!(byte, b'+' | b'-' | b'*' | b'/' | b'^' | b'(' | b')')
}

/// Where the longest expression that begins at `start` ends.
fn expression(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    for sign in [b'-', b'(', b'-'] {
        at += usize::from(bytes.get(at) == Some(&sign));
    }
    if !bytes.get(at)?.is_ascii_digit() {
        return None;
    }
    at += 1;
    // A sign `\times ` or `\cdot ` of one of the characters for it counts as one.
    let mut end = at;
    let mut first = None;
    while let Some(&byte) = bytes.get(end) {
        let length = [&b"\\times "[..], b"\\cdot "]
            .iter()
            .find(|command| bytes[end..].starts_with(command))
            .map_or(1, |command| command.len());
        if length == 1
            && !(byte.is_ascii_digit()
                || byte == b'.'
                || byte.is_ascii_whitespace()
                || operator(byte))
        {
            break;
        }
        if first.is_none() && (length > 1 || operator(byte)) {
            first = Some(end + length - 1);
        }
        end += length;
    }
    let first = first?;
    // The last place to end at that ends a word and leaves something after an operator.
    while end > first + 1 {
        // A full stop behind the last digit is the sentence's.
        if suffix(bytes, end).is_some() && bytes[end - 1] != b'.' {
            return Some(end);
        }
        end -= 1;
    }
    None
}

/// The length of what ends an expression at `at`: a stop, a space, a bracket, a dollar, or the end.
fn suffix(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at) {
        None => Some(0),
        Some(b'.' | b',' | b':' | b')' | b'$') => Some(1),
        Some(b) if b.is_ascii_whitespace() => Some(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_number(text: &str) -> Option<String> {
        written(text)
            .into_iter()
            .filter_map(|w| match w.kind {
                Kind::Number { digits, .. } => Some(digits),
                Kind::Expression(_) => None,
            })
            .next_back()
    }

    #[test]
    fn numbers_stand_after_a_space_or_a_currency() {
        for (text, expected) in [
            (
                "the number is not 10 which is 1,000.99m^{2}",
                Some("1000.99"),
            ),
            ("Soucis : 2,74 $ a..", Some("2.74")),
            ("$1,000.99", Some("1000.99")),
            ("1 000", Some("1000")),
            ("AZYUK2A", None),
            ("x=-5", Some("-5")),
            (".4", Some("0.4")),
            ("**12**", Some("12")),
        ] {
            assert_eq!(last_number(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn expressions_end_as_words_do() {
        for (text, expected) in [
            ("10/9", Some("10/9")),
            ("so 3 + 4 apples", Some("3 + 4")),
            ("10 - x", None),
            ("it is 2*(3+4).", Some("2*(3+4)")),
            ("12", None),
        ] {
            let found = written(text).into_iter().find_map(|w| match w.kind {
                Kind::Expression(range) => Some(&text[range]),
                Kind::Number { .. } => None,
            });
            assert_eq!(found, expected, "{text}");
        }
    }
}
