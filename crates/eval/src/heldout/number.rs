//! Numbers as people and models write them, read exactly.
//!
//! Answers come as `12`, `12.0`, `1,200`, `−3`, `$5`, `40%` or `12 cm`. They are kept as digits, so
//! that comparing whole numbers never rounds.

/// A decimal number and what stood around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Number {
    negative: bool,
    /// Without leading zeros; empty for 0.
    whole: String,
    /// Without trailing zeros.
    fraction: String,
    /// A currency sign before, or what follows: a unit, a percent sign.
    pub(crate) unit: Option<String>,
}

/// No number in an answer is longer, in characters with its unit; longer text is not read.
const LONGEST: usize = 64;

/// Signs of currencies that stand before their number.
const CURRENCIES: [char; 5] = ['$', '€', '£', '¥', '₹'];

impl Number {
    /// Reads the whole text as one number with at most one unit; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Number> {
        let text = text.trim();
        if text.is_empty() || text.chars().take(LONGEST + 1).count() > LONGEST {
            return None;
        }
        let (mut negative, mut rest) = sign(text);
        let mut unit = None;
        if let Some(after) = rest.strip_prefix(CURRENCIES) {
            unit = rest.chars().next().map(String::from);
            rest = after.trim_start();
            if !negative {
                (negative, rest) = sign(rest);
            }
        }
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != ',' && c != '.')
            .unwrap_or(rest.len());
        // "12." and "12, " end a clause: the mark is not the number's.
        let figures = rest[..end].trim_end_matches(['.', ',']);
        let after = rest[end..].trim();
        let (whole, fraction) = figures.split_once('.').unwrap_or((figures, ""));
        if !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let whole = thousands(whole)?;
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        if !after.is_empty() {
            if unit.is_some() || figures.len() != end || !is_unit(after) {
                return None;
            }
            unit = Some(after.to_owned());
        }
        let whole = whole.trim_start_matches('0').to_owned();
        let fraction = fraction.trim_end_matches('0').to_owned();
        // There is one zero.
        let negative = negative && !(whole.is_empty() && fraction.is_empty());
        Some(Number {
            negative,
            whole,
            fraction,
            unit,
        })
    }

    /// Whether both have the same value, whatever their units.
    pub(crate) fn same_value(&self, other: &Number) -> bool {
        self.negative == other.negative
            && self.whole == other.whole
            && self.fraction == other.fraction
    }

    /// Whether it is exactly this whole number.
    pub(crate) fn is_integer(&self, n: i64) -> bool {
        Number::parse(&n.to_string()).is_some_and(|other| self.same_value(&other))
    }

    /// Printed with `places` decimals, rounded as [`f64`]'s formatting does: correctly, from the
    /// binary value, which is also what Python's `round` gives.
    pub(crate) fn rounded(&self, places: u8) -> String {
        let digits = format!(
            "{}{}.{}",
            if self.negative { "-" } else { "" },
            if self.whole.is_empty() {
                "0"
            } else {
                &self.whole
            },
            if self.fraction.is_empty() {
                "0"
            } else {
                &self.fraction
            },
        );
        fixed(digits.parse().unwrap_or(f64::NAN), places)
    }

    /// Whether its unit may stand after an answer that is asked for in `wanted`: none at all, the
    /// unit itself, or any where the question names none.
    pub(crate) fn unit_fits(&self, wanted: Option<&str>) -> bool {
        match (&self.unit, wanted) {
            (Some(unit), Some(wanted)) => plain_unit(unit) == plain_unit(wanted),
            _ => true,
        }
    }
}

/// `value` with `places` decimals; zero has no sign.
pub(crate) fn fixed(value: f64, places: u8) -> String {
    let text = format!("{value:.*}", usize::from(places));
    match text.strip_prefix('-') {
        Some(digits) if digits.bytes().all(|b| b == b'0' || b == b'.') => digits.to_owned(),
        _ => text,
    }
}

fn sign(text: &str) -> (bool, &str) {
    if let Some(rest) = text.strip_prefix(['-', '\u{2212}']) {
        (true, rest)
    } else {
        (false, text.strip_prefix('+').unwrap_or(text))
    }
}

/// The digits without separators; `None` where commas do not stand between groups of three.
fn thousands(whole: &str) -> Option<String> {
    let mut groups = whole.split(',');
    let first = groups.next().unwrap_or_default();
    let rest: Vec<&str> = groups.collect();
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let grouped =
        rest.is_empty() || ((1..=3).contains(&first.len()) && rest.iter().all(|g| g.len() == 3));
    (grouped && digits(first) && rest.iter().all(|g| digits(g))).then(|| whole.replace(',', ""))
}

/// One or two words of letters, or signs like `%`, `°`, `cm²`, `km/h`: nothing with a number in it.
fn is_unit(text: &str) -> bool {
    text.split_whitespace().count() <= 2
        && text
            .chars()
            .all(|c| c.is_alphabetic() || c.is_whitespace() || "%°²³/^'\"$€£¥₹·.".contains(c))
}

/// `Metres ` and `metre` alike.
fn plain_unit(unit: &str) -> String {
    let unit = unit.trim().trim_end_matches('.').to_lowercase();
    let named = match unit.as_str() {
        "$" => "dollar",
        "€" => "euro",
        "£" => "pound",
        "%" => "percent",
        "°" => "degree",
        _ => "",
    };
    if !named.is_empty() {
        return named.to_owned();
    }
    match unit.strip_suffix('s') {
        Some(one) if one.chars().count() > 1 => one.to_owned(),
        _ => unit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, wanted) in [
            ("12", "12"),
            ("012", "12"),
            ("12.0", "12"),
            ("12.", "12"),
            (".5", "0.5"),
            ("-0", "0"),
            ("\u{2212}3", "-3"),
            ("+7", "7"),
            ("1,200", "1200"),
            ("1,234,567.50", "1234567.5"),
            ("$1,200", "1200"),
            ("-$5", "-5"),
            ("40%", "40"),
            ("12 cm", "12"),
            ("12cm²", "12"),
            ("90°", "90"),
        ] {
            let number = Number::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert!(number.same_value(&Number::parse(wanted).unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_not_one_number_is_none() {
        for text in [
            "",
            " ",
            ".",
            "-",
            "$",
            "abc",
            "1/2",
            "1 2",
            "12 and 13",
            "1,20",
            "12,0000",
            "1.2.3",
            "12 x 3",
            "1e5",
            "0x10",
            "--3",
            "nan",
            "inf",
            ",123",
            "1,,000",
            "3 to the left side",
        ] {
            assert_eq!(Number::parse(text), None, "{text:?}");
        }
        assert_eq!(Number::parse(&"9".repeat(LONGEST + 1)), None);
    }

    #[test]
    fn rounding_is_correct_at_the_stated_places() {
        for (text, places, wanted) in [
            ("3.146", 2, "3.15"),
            ("3.1", 2, "3.10"),
            ("2.675", 2, "2.67"),
            ("0.125", 2, "0.12"),
            ("-0.004", 2, "0.00"),
            ("7", 0, "7"),
        ] {
            assert_eq!(
                Number::parse(text).unwrap().rounded(places),
                wanted,
                "{text}"
            );
        }
    }

    #[test]
    fn a_unit_must_be_the_one_asked_for() {
        let number = |t: &str| Number::parse(t).unwrap();
        assert!(number("12").unit_fits(Some("cm")));
        assert!(number("12 cm").unit_fits(Some("cm")));
        assert!(number("12 Metres").unit_fits(Some("metre")));
        assert!(number("$12").unit_fits(Some("dollars")));
        assert!(number("12 apples").unit_fits(None));
        assert!(!number("12 m").unit_fits(Some("cm")));
        assert!(!number("12 m").unit_fits(Some("ms")));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text: String, places: u8) {
            if let Some(number) = Number::parse(&text) {
                number.rounded(places);
                number.unit_fits(Some(&text));
            }
        }

        #[test]
        fn text_made_of_number_signs_never_makes_it_panic(text in "[-+$€0-9.,% \u{2212}a]{0,20}", places: u8) {
            if let Some(number) = Number::parse(&text) {
                number.rounded(places);
            }
        }

        #[test]
        fn every_whole_number_is_read_exactly(n: i64) {
            let plain = Number::parse(&n.to_string()).unwrap();
            prop_assert!(plain.is_integer(n));
            prop_assert!(!plain.is_integer(n.wrapping_add(1)));
            let long = Number::parse(&format!("{n}.00 cm")).unwrap();
            prop_assert!(long.is_integer(n));
        }
    }
}
