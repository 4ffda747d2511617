//! Reading answers as people and data sets print them: `6,830`, `8.20`, `[2003, 2004]`.
//!
//! **Invariant:** a printed answer is only given a type that prints it back: `8.20` keeps both
//! places, and `007`, `1/12` and numbers past an `i64` stay text.

use crate::record::Answer;

/// More places than any data set prints; past it a float no longer prints back what was read.
const MAX_PLACES: usize = 12;

/// A whole or decimal number, with commas between thousands allowed; `None` for anything else.
pub fn number(text: &str) -> Option<Answer> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let mut plain = without_commas(whole)?;
    if plain.is_empty() && fraction.is_some() {
        plain.push('0');
    }
    let ascii_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !ascii_digits(&plain) || (plain.len() > 1 && plain.starts_with('0')) {
        return None;
    }
    if negative {
        plain.insert(0, '-');
    }
    let Some(fraction) = fraction else {
        let value: i64 = plain.parse().ok()?;
        return (value.to_string() == plain).then_some(Answer::Integer(value));
    };
    if !ascii_digits(fraction) || fraction.len() > MAX_PLACES {
        return None;
    }
    plain.push('.');
    plain.push_str(fraction);
    let places = u8::try_from(fraction.len()).ok()?;
    let answer = Answer::Decimal {
        value: plain.parse().ok()?,
        places,
    };
    (answer.text() == plain).then_some(answer)
}

/// Removes commas where they stand between thousands; `None` where they stand elsewhere.
fn without_commas(whole: &str) -> Option<String> {
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let mut plain = first.to_owned();
    for group in groups {
        if group.len() != 3 || first.is_empty() || first.len() > 3 {
            return None;
        }
        plain.push_str(group);
    }
    Some(plain)
}

/// Several values in square brackets, `[Gambia, Niger]`; `None` for fewer than two.
pub fn list(text: &str) -> Option<Answer> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let items: Vec<String> = inner
        .split(',')
        .map(|item| item.trim().to_owned())
        .collect();
    (items.len() > 1 && items.iter().all(|item| !item.is_empty())).then_some(Answer::List(items))
}

/// A number, a list, or else the trimmed text; `yes` and `no` in lower case, so that one answer
/// has one spelling over all sources.
pub fn answer(text: &str) -> Answer {
    let text = text.trim();
    number(text).or_else(|| list(text)).unwrap_or_else(|| {
        let lower = text.to_ascii_lowercase();
        Answer::Text(if lower == "yes" || lower == "no" {
            lower
        } else {
            text.to_owned()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_answers_get_the_type_that_prints_them_back() {
        let decimal = |value, places| Answer::Decimal { value, places };
        let text = |t: &str| Answer::Text(t.into());
        let cases = [
            ("6,830", Answer::Integer(6830)),
            ("-2", Answer::Integer(-2)),
            ("\u{2212}2", Answer::Integer(-2)),
            ("8.20", decimal(8.2, 2)),
            ("2,825.35", decimal(2825.35, 2)),
            (".5", decimal(0.5, 1)),
            ("0.33333333", decimal(0.33333333, 8)),
            ("1/12", text("1/12")),
            ("007", text("007")),
            ("-0", text("-0")),
            ("1,23", text("1,23")),
            ("1234,567", text("1234,567")),
            (",123", text(",123")),
            ("99999999999999999999", text("99999999999999999999")),
            ("5.", text("5.")),
            ("1e5", text("1e5")),
            ("NaN", text("NaN")),
            ("\u{0661}", text("\u{0661}")),
            ("Yes", text("yes")),
            ("May '21", text("May '21")),
            (
                "[2003, 2004]",
                Answer::List(vec!["2003".into(), "2004".into()]),
            ),
            ("[one]", text("[one]")),
            ("", text("")),
        ];
        for (printed, expected) in cases {
            assert_eq!(answer(printed), expected, "{printed:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_an_answer_that_reads_back_as_itself(text: String) {
            let once = answer(&text);
            proptest::prop_assert_eq!(answer(&once.text()), once);
        }

        #[test]
        fn numbers_keep_their_digits(value in -1_000_000_000i64..1_000_000_000, places in 0usize..6) {
            let printed = format!("{:.places$}", value as f64 / 1000.0);
            if let Some(read) = number(&printed) {
                proptest::prop_assert_eq!(read.text(), printed);
            } else {
                // Only minus nought does not print back.
                proptest::prop_assert!(printed.starts_with("-0"), "{}", printed);
            }
        }
    }
}
