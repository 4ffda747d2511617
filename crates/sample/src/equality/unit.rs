//! What stands around a number: its unit, its currency, or the number itself in words.

/// Letters that are units by themselves, after a number.
const LETTERS: &[&str] = &[
    "m", "g", "s", "h", "l", "L", "N", "J", "W", "V", "K", "C", "F",
];
/// Words that a unit can have.
const MAX_WORDS: usize = 3;
/// Units and their other names, in the singular and in lower case.
const NAMES: &[(&str, &[&str])] = &[
    ("mm", &["millimeter", "millimetre"]),
    ("cm", &["centimeter", "centimetre"]),
    ("m", &["meter", "metre"]),
    ("km", &["kilometer", "kilometre"]),
    ("in", &["inch", "inche", "\""]),
    ("ft", &["foot", "feet"]),
    ("yd", &["yard"]),
    ("mi", &["mile"]),
    ("g", &["gram", "gramme"]),
    ("kg", &["kilogram"]),
    ("lb", &["pound"]),
    ("oz", &["ounce"]),
    ("l", &["liter", "litre"]),
    ("ml", &["milliliter", "millilitre"]),
    ("s", &["second", "sec"]),
    ("min", &["minute"]),
    ("h", &["hour", "hr"]),
    ("mph", &["mile per hour", "mi/h"]),
    (
        "km/h",
        &["kmh", "kph", "kilometer per hour", "kilometre per hour"],
    ),
    ("m/s", &["meter per second", "metre per second"]),
    (
        "mm^2",
        &["square millimeter", "square millimetre", "sq mm", "mm2"],
    ),
    (
        "cm^2",
        &[
            "square centimeter",
            "square centimetre",
            "sq cm",
            "square cm",
            "cm2",
        ],
    ),
    (
        "m^2",
        &["square meter", "square metre", "sq m", "square m", "m2"],
    ),
    (
        "km^2",
        &[
            "square kilometer",
            "square kilometre",
            "sq km",
            "square km",
            "km2",
        ],
    ),
    ("in^2", &["square inch", "square inche", "sq in"]),
    ("ft^2", &["square foot", "square feet", "sq ft"]),
    (
        "cm^3",
        &["cubic centimeter", "cubic centimetre", "cubic cm", "cm3"],
    ),
    ("m^3", &["cubic meter", "cubic metre", "cubic m", "m3"]),
    ("in^3", &["cubic inch", "cubic inche"]),
    ("ft^3", &["cubic foot", "cubic feet"]),
    ("\u{b0}", &["degree", "deg"]),
    ("\u{b0}c", &["degree celsiu", "celsiu", "c"]),
    ("\u{b0}f", &["degree fahrenheit", "fahrenheit", "f"]),
    ("$", &["dollar", "usd", "buck"]),
    ("\u{20ac}", &["euro", "eur"]),
    ("\u{a3}", &["gbp"]),
    ("\u{a2}", &["cent"]),
];

const CURRENCIES: [char; 5] = ['$', '\u{20ac}', '\u{a3}', '\u{a5}', '\u{20b9}'];

/// A text apart into what is computed and the unit's one name.
pub(super) struct Measured {
    pub(super) amount: String,
    pub(super) unit: Option<String>,
}

/// Splits the unit off; `None` where there is none, or what follows the number is no unit.
pub(super) fn split(plain: &str) -> Option<Measured> {
    let (sign, rest) = match plain.strip_prefix('-') {
        Some(rest) => ("-", rest.trim_start()),
        None => ("", plain),
    };
    if let Some(amount) = rest.strip_prefix(CURRENCIES) {
        let amount = amount.trim();
        let currency: String = rest.chars().take(1).collect();
        // `$5 million`, `$5 per hour`: no plain amount.
        let bare = !amount.contains(|c: char| c.is_alphabetic() || CURRENCIES.contains(&c));
        return (bare && amount.starts_with(|c: char| c.is_ascii_digit() || ".-\\(".contains(c)))
            .then(|| Measured {
                amount: format!("{sign}{amount}"),
                unit: Some(currency),
            });
    }
    if let Some(amount) = plain.strip_suffix(CURRENCIES) {
        let currency = plain.chars().next_back().map(String::from);
        return Some(Measured {
            amount: amount.trim_end().to_owned(),
            unit: currency,
        });
    }
    let trigonometric = ["sin", "cos", "tan", "cot"]
        .iter()
        .any(|f| plain.contains(f));
    let start = unit_start(plain, !trigonometric)?;
    let (amount, unit) = plain.split_at(start);
    let amount = amount.trim_end();
    if !amount.contains(|c: char| c.is_ascii_digit() || c == '\u{3c0}') {
        return None;
    }
    let unit = name(unit)?;
    if unit == "percent" || unit == "per cent" || unit == "percentage" {
        return Some(Measured {
            amount: format!("{amount}%"),
            unit: None,
        });
    }
    Some(Measured {
        amount: amount.to_owned(),
        unit: Some(unit),
    })
}

/// Where the unit begins: the first word after the number that is no part of an expression.
fn unit_start(plain: &str, degrees: bool) -> Option<usize> {
    let mut at = 0;
    while let Some(c) = plain[at..].chars().next() {
        if c == '\u{b0}' && degrees {
            return Some(at);
        }
        if c == '\\' {
            let rest = &plain[at + 1..];
            let end = rest.find(|c: char| !c.is_ascii_alphabetic());
            at += 1 + end.unwrap_or(rest.len());
            continue;
        }
        if !c.is_alphabetic() {
            at += c.len_utf8();
            continue;
        }
        let rest = &plain[at..];
        let end = rest
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(rest.len());
        let word = &rest[..end];
        let part = [
            "sin", "cos", "tan", "cot", "sec", "csc", "ln", "log", "exp", "sqrt", "pi",
        ];
        let letter = word.chars().count() == 1;
        let last = rest[end..].trim().is_empty() || rest[end..].starts_with(['^', '/']);
        if (letter && last && LETTERS.contains(&word)) || (!letter && !part.contains(&word)) {
            return Some(at);
        }
        at += end;
    }
    None
}

/// The one name of a unit; `None` for what cannot be one.
fn name(unit: &str) -> Option<String> {
    let lower = unit.to_lowercase().replace(['{', '}', '(', ')', '.'], "");
    let words: Vec<&str> = lower
        .split_whitespace()
        .map(|word| {
            word.strip_suffix('s')
                .filter(|w| !w.is_empty())
                .unwrap_or(word)
        })
        .collect();
    let joined = words.join(" ").replace("\u{b0} ", "\u{b0}");
    let kept = |c: char| c.is_alphabetic() || " ^/23\u{b0}'\"-".contains(c);
    if words.is_empty() || words.len() > MAX_WORDS || !joined.chars().all(kept) {
        return None;
    }
    // `5 out of ten`, `5 more than`: the figure alone is not the answer.
    let counts = |word: &&str| {
        SMALL.contains(word)
            || TENS.contains(word)
            || [
                "of", "than", "to", "time", "million", "billion", "thousand", "hundred",
            ]
            .contains(word)
    };
    if words.iter().any(counts) {
        return None;
    }
    // An exponent is the only figure a unit has.
    let figures = joined.chars().filter(char::is_ascii_digit).count();
    let powers = joined.chars().filter(|c| *c == '^').count();
    if figures > 1 || (figures == 0 && powers > 0) {
        return None;
    }
    let known = NAMES
        .iter()
        .find(|(_, others)| others.contains(&joined.as_str()));
    Some(known.map_or(joined.clone(), |(name, _)| (*name).to_owned()))
}

/// The one name of a unit in the list, which is in lower case here.
pub(super) fn known(lower: &str) -> Option<&'static str> {
    let singular = lower.strip_suffix('s').filter(|w| !w.is_empty());
    let singular = singular.unwrap_or(lower);
    if ["%", "percent"].contains(&lower) {
        return Some("%");
    }
    let named = |(name, others): &&(&'static str, &[&str])| {
        *name == lower || *name == singular || others.contains(&lower) || others.contains(&singular)
    };
    NAMES.iter().find(named).map(|(name, _)| *name)
}

/// The words for the numbers from 0 to 19, in order.
pub const SMALL: &[&str] = &[
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const TENS: &[&str] = &[
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];

/// The text with number words at its start in figures: `twenty-one apples` as `21 apples`.
pub(super) fn figures(plain: &str) -> Option<String> {
    let mut total = 0_u64;
    let mut group = 0_u64;
    let mut last = u64::MAX;
    let mut read = 0;
    let mut rest = plain;
    while let Some(start) = rest.find(|c: char| c != ' ' && c != '-') {
        let word_end = rest[start..]
            .find([' ', '-'])
            .map_or(rest.len(), |n| start + n);
        let word = rest[start..word_end].to_lowercase();
        let small = SMALL.iter().position(|w| *w == word).map(|n| n as u64);
        let tens = TENS
            .iter()
            .position(|w| *w == word)
            .map(|n| 20 + 10 * n as u64);
        match (small.or(tens), word.as_str()) {
            // Each part of a number is smaller than the one before it, and fits behind it.
            (Some(n), _)
                if last == u64::MAX || last >= 100 || (tens_of(last) && (1..10).contains(&n)) =>
            {
                group += n;
                last = n;
            }
            (None, "hundred") if (1..10).contains(&group) => {
                group *= 100;
                last = 100;
            }
            (None, "thousand") if group > 0 && total == 0 => {
                total = group * 1000;
                group = 0;
                last = 1000;
            }
            (None, "and") if last == 100 && read > 0 => {}
            _ => break,
        }
        read += 1;
        rest = &rest[word_end..];
    }
    if read == 0 || !(rest.is_empty() || rest.starts_with(' ')) {
        return None;
    }
    Some(format!("{}{rest}", total + group))
}

fn tens_of(n: u64) -> bool {
    (20..100).contains(&n) && n.is_multiple_of(10)
}
