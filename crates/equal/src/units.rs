//! Units behind a number.
//!
//! Most answers leave them out, so they are taken off before a comparison. Only where both sides name a unit
//! that is known do they count: five metres are five hundred centimetres, and not five.

/// A unit that was taken off.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unit {
    /// The kind of quantity with its power, as length 2 for an area.
    pub dimension: (&'static str, u32),
    /// How many of the kind's basic unit this is, as a fraction.
    pub factor: (i64, i64),
}

/// Words that stand behind a number and do not change it.
const WORDS: &[&str] = &[
    "feet",
    "foot",
    "digit",
    "pound",
    "meal",
    "edge",
    "student",
    "multiple",
    "degree",
    "mph",
    "kmph",
    "ft",
    "deg",
    "mile",
    "mi",
    "monkey",
    "gm",
    "lb",
    "tile",
    "dm",
    "men",
    "soldier",
    "inch",
    "in",
    "noon",
    "cent",
    "gal",
    "kmh",
    "acre",
    "mark",
    "toy",
    "coin",
    "gallon",
    "profit",
    "yr",
    "women",
    "hr",
    "square",
    "rupee",
    "round",
    "cubic",
    "cc",
    "mtr",
    "ohm",
    "number",
    "day",
    "hour",
    "minute",
    "min",
    "second",
    "man",
    "woman",
    "sec",
    "cube",
    "mt",
    "hectare",
    "unit",
    "rs",
    "kg",
    "month",
    "week",
    "km",
    "cm",
    "mm",
    "apple",
    "liter",
    "loss",
    "yard",
    "year",
    "litre",
    "metre",
    "meter",
    "centimeter",
    "centimetre",
    "millimeter",
    "millimetre",
    "kilometer",
    "kilometre",
    "gram",
    "kilogram",
    "dollar",
    "euro",
    "percentage point",
    "radian",
    "rad",
    "people",
    "person",
    "ml",
    "mL",
    "mg",
    "times",
    "way",
    "point",
    "side",
    "step",
    "pair",
    "book",
    "page",
    "sq cm",
    "sq m",
    "sq ft",
    "square cm",
    "square meter",
    "square feet",
    "square inch",
    "square unit",
    "cubic unit",
    "cubic cm",
    "cubic meter",
    "cubic feet",
    "square foot",
    "cm 2",
    "m/s",
    "km/h",
    "cm/s",
    "ft/s",
    "N",
    "J",
    "W",
    "Hz",
    "Pa",
    "kJ",
    "kW",
    "mol",
];

/// Single letters that are units only straight behind a number with no other letter around.
const LETTERS: &[&str] = &["m", "g", "h", "s", "l", "L"];

/// Kinds of quantity: name, dimension, how many basic units.
const KNOWN: &[(&str, &str, u32, (i64, i64))] = &[
    ("mm", "length", 1, (1, 1000)),
    ("millimeter", "length", 1, (1, 1000)),
    ("millimetre", "length", 1, (1, 1000)),
    ("cm", "length", 1, (1, 100)),
    ("centimeter", "length", 1, (1, 100)),
    ("centimetre", "length", 1, (1, 100)),
    ("dm", "length", 1, (1, 10)),
    ("m", "length", 1, (1, 1)),
    ("meter", "length", 1, (1, 1)),
    ("metre", "length", 1, (1, 1)),
    ("km", "length", 1, (1000, 1)),
    ("kilometer", "length", 1, (1000, 1)),
    ("kilometre", "length", 1, (1000, 1)),
    ("mg", "mass", 1, (1, 1000)),
    ("g", "mass", 1, (1, 1)),
    ("gram", "mass", 1, (1, 1)),
    ("kg", "mass", 1, (1000, 1)),
    ("kilogram", "mass", 1, (1000, 1)),
    ("s", "time", 1, (1, 1)),
    ("sec", "time", 1, (1, 1)),
    ("second", "time", 1, (1, 1)),
    ("min", "time", 1, (60, 1)),
    ("minute", "time", 1, (60, 1)),
    ("h", "time", 1, (3600, 1)),
    ("hr", "time", 1, (3600, 1)),
    ("hour", "time", 1, (3600, 1)),
    ("day", "time", 1, (86_400, 1)),
    ("week", "time", 1, (604_800, 1)),
    ("ml", "volume", 1, (1, 1000)),
    ("mL", "volume", 1, (1, 1000)),
    ("l", "volume", 1, (1, 1)),
    ("L", "volume", 1, (1, 1)),
    ("liter", "volume", 1, (1, 1)),
    ("litre", "volume", 1, (1, 1)),
];

/// `text` without the unit at its end, and the unit where it is known. Unchanged where nothing is left.
pub(crate) fn stripped(text: &str) -> (&str, Option<Unit>) {
    let trimmed = tail(text);
    let (body, power) = raised(trimmed);
    if let Some((rest, inner)) = upright(body) {
        if carries_unit(rest) && !matches!(inner.trim(), "e" | "i" | "and" | "or" | "d" | "%") {
            return (tail(rest), known(inner, power));
        }
        return (text, None);
    }
    // 8{cm}^2 has lost its font.
    let unfonted = body.strip_suffix('}').and_then(|inner| {
        let (rest, word) = inner.rsplit_once('{')?;
        (WORDS.contains(&word) && carries_unit(rest) && !rest.ends_with(['}', '^', '_']))
            .then_some((rest, word))
    });
    if let Some((rest, word)) = unfonted {
        return (tail(rest), known(word, power));
    }
    for words in [true, false] {
        if let Some((rest, word)) = bare(body, words) {
            return (tail(rest), known(word, power));
        }
    }
    (text, None)
}

/// Without spaces and full stops at the end.
fn tail(text: &str) -> &str {
    let mut text = text.trim_end();
    loop {
        let shorter = text
            .strip_suffix("\\,")
            .or_else(|| text.strip_suffix("\\;"))
            .or_else(|| text.strip_suffix("\\ "))
            .or_else(|| text.strip_suffix("\\quad"))
            .or_else(|| text.strip_suffix('\\'))
            .or_else(|| text.strip_suffix('~'))
            .or_else(|| text.strip_suffix('.'));
        match shorter {
            Some(shorter) => text = shorter.trim_end(),
            None => return text,
        }
    }
}

/// `cm^2` and `cm^{2}` as cm and two.
fn raised(text: &str) -> (&str, u32) {
    for (end, power) in [("^2", 2), ("^{2}", 2), ("^3", 3), ("^{3}", 3)] {
        if let Some(rest) = text.strip_suffix(end) {
            let rest = rest.trim_end();
            let letter = rest
                .chars()
                .next_back()
                .is_some_and(|c| c.is_ascii_alphabetic());
            // x^2 is no unit, m^2 is.
            if (letter && bare(rest, true).or_else(|| bare(rest, false)).is_some())
                || upright(rest).is_some()
                || rest.ends_with('}')
            {
                return (rest, power);
            }
        }
    }
    (text, 1)
}

/// `\text{..}` or `\mathrm{..}` at the end, what is before it and in it.
fn upright(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_suffix('}')?;
    let open = inner.rfind('{')?;
    let (before, word) = (&inner[..open], &inner[open + 1..]);
    let rest = [
        "\\text",
        "\\mathrm",
        "\\mbox",
        "\\textrm",
        "\\rm",
        "\\textbf",
        "\\operatorname",
        "\\mathit",
        "\\hbox",
    ]
    .iter()
    .find_map(|command| before.trim_end().strip_suffix(command))?;
    // A font inside a fraction or a power belongs to that.
    let depth = rest.bytes().fold(0i32, |depth, byte| match byte {
        b'{' => depth + 1,
        b'}' => depth - 1,
        _ => depth,
    });
    (depth == 0 && !word.contains('}')).then_some((rest.trim_end_matches('\\'), word))
}

/// Whether what stands before a unit is a quantity.
fn carries_unit(before: &str) -> bool {
    let before = tail(before);
    let last = before.chars().next_back();
    let digits = before.bytes().any(|b| b.is_ascii_digit()) || before.contains('\\');
    digits
        && last
            .is_some_and(|c| c.is_ascii_digit() || c.is_ascii_alphabetic() || "})]%!".contains(c))
}

/// A unit in plain letters at the end of `text`.
fn bare(text: &str, words: bool) -> Option<(&str, &str)> {
    let list = if words { WORDS } else { LETTERS };
    let mut best: Option<(&str, &str)> = None;
    for unit in list {
        let plural = |ending: &str| text.strip_suffix(ending)?.strip_suffix(unit);
        let Some(rest) = text.strip_suffix(unit).or_else(|| {
            if words {
                plural("s").or_else(|| plural("es"))
            } else {
                None
            }
        }) else {
            continue;
        };
        let body = tail(rest);
        let glued = body.len() == rest.len();
        let last = body.chars().next_back();
        let fits = match last {
            Some(c) if c.is_ascii_digit() || c == '}' => true,
            // `5\pi cm`, `n = 3 x cm`: a space says that the letters before are not part of it.
            Some(c) if c.is_ascii_alphabetic() || c == ')' => !glued && words && unit.len() > 1,
            _ => false,
        };
        let lone = words || !letters_besides(body);
        if fits && lone && body.bytes().any(|b| b.is_ascii_digit()) {
            match best {
                Some((kept, _)) if kept.len() <= rest.len() => {}
                _ => best = Some((rest, unit)),
            }
        }
    }
    best
}

/// Whether bare letters stand in `text` other than a name before its last equals sign.
fn letters_besides(text: &str) -> bool {
    let text = text.rsplit('=').next().unwrap_or(text);
    let mut command = false;
    for byte in text.bytes() {
        if byte == b'\\' {
            command = true;
        } else if byte.is_ascii_alphabetic() {
            if !command {
                return true;
            }
        } else {
            command = false;
        }
    }
    false
}

fn known(word: &str, power: u32) -> Option<Unit> {
    let word = word.trim().trim_end_matches('.');
    let (word, power) = match word {
        w if w.starts_with("square ") => (&w[7..], 2),
        w if w.starts_with("sq ") => (&w[3..], 2),
        w if w.starts_with("cubic ") => (&w[6..], 3),
        w => (w, power),
    };
    let (word, power) = match word.rsplit_once('^') {
        Some((base, "2")) => (base.trim(), 2),
        Some((base, "3")) => (base.trim(), 3),
        _ => (word, power),
    };
    let find = |word: &str| KNOWN.iter().find(|(name, ..)| *name == word);
    let (_, dimension, own, factor) = find(word).or_else(|| find(word.strip_suffix('s')?))?;
    let power = power * own;
    Some(Unit {
        dimension: (dimension, power),
        factor: (factor.0.checked_pow(power)?, factor.1.checked_pow(power)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_leave_the_number() {
        for (text, rest) in [
            ("10 cm", "10"),
            ("10\\text{ cm}^2", "10"),
            ("10 \\mathrm{~cm}^{2}", "10"),
            ("\\frac{1}{2} \\text{ feet}", "\\frac{1}{2}"),
            ("1,000.99m^{2}", "1,000.99"),
            ("2\\pi \\text{ cm}", "2\\pi"),
            ("5 degrees", "5"),
            ("x^2", "x^2"),
            ("3x", "3x"),
            ("2x m", "2x m"),
            ("1-\\frac{1}{\\mathrm{e}}", "1-\\frac{1}{\\mathrm{e}}"),
            ("\\text{Even}", "\\text{Even}"),
            ("x = \\text{odd}", "x = \\text{odd}"),
            ("cm", "cm"),
        ] {
            assert_eq!(stripped(text).0.trim(), rest, "{text}");
        }
    }
}
