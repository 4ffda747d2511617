//! Geometry3K's formal language: calls of named things, and sums of letters.

use std::collections::BTreeMap;

/// `Equals(LengthOf(Line(A,B)),2x+3)`: a call, or a leaf that holds no brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    Call(String, Vec<Form>),
    Leaf(String),
}

/// No published form nests deeper than five calls.
const DEEPEST: usize = 8;

/// Figures that a problem may call a part of its diagram.
pub(super) const FIGURES: [&str; 4] = ["Parallelogram", "Rectangle", "Rhombus", "Square"];

impl Form {
    /// `None` for what is no form.
    pub fn parse(text: &str) -> Option<Form> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (form, rest) = read(&text, DEEPEST)?;
        rest.is_empty().then_some(form)
    }

    pub fn call(&self, name: &str) -> Option<&[Form]> {
        match self {
            Form::Call(is, arguments) if is == name => Some(arguments),
            _ => None,
        }
    }

    /// The points that a call of `name` has as its arguments.
    pub fn points(&self, name: &str) -> Option<Vec<char>> {
        self.call(name)?.iter().map(Form::point).collect()
    }

    pub fn point(&self) -> Option<char> {
        match self {
            Form::Leaf(text) => {
                let mut chars = text.chars();
                let point = chars.next().filter(char::is_ascii_uppercase)?;
                chars.next().is_none().then_some(point)
            }
            Form::Call(..) => None,
        }
    }

    /// Whether it says what figure some points make.
    pub fn is_figure(&self) -> bool {
        FIGURES
            .iter()
            .any(|name| self.points(name).is_some_and(|points| points.len() == 4))
    }
}

fn read(text: &str, deepest: usize) -> Option<(Form, &str)> {
    if deepest == 0 {
        return None;
    }
    let end = text.find(['(', ')', ',']).unwrap_or(text.len());
    let (name, rest) = (text.get(..end)?, text.get(end..)?);
    let Some(mut rest) = rest.strip_prefix('(') else {
        return Some((Form::Leaf(name.to_owned()), rest));
    };
    let mut arguments = Vec::new();
    loop {
        let (argument, after) = read(rest, deepest - 1)?;
        arguments.push(argument);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => {
                let rest = after.strip_prefix(')')?;
                return Some((Form::Call(name.to_owned(), arguments), rest));
            }
        }
    }
}

/// `2x+3`: letters with their factors, and what is left.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sum {
    pub letters: BTreeMap<char, f64>,
    pub constant: f64,
}

impl Sum {
    /// `None` for anything but sums of numbers and multiples of lower-case letters.
    pub fn parse(text: &str) -> Option<Sum> {
        let text: String = text
            .trim()
            .trim_end_matches("\\degree")
            .chars()
            .filter(|c| !c.is_whitespace())
            .collect();
        let mut sum = Sum {
            letters: BTreeMap::new(),
            constant: 0.0,
        };
        let mut rest = text.as_str();
        if rest.is_empty() || rest.len() > 24 {
            return None;
        }
        let mut is_first = true;
        while !rest.is_empty() {
            let mut sign = 1.0;
            let signs = rest.len() - rest.trim_start_matches(['+', '-']).len();
            if signs == 0 && !is_first {
                return None;
            }
            for c in rest[..signs].chars() {
                if c == '-' {
                    sign = -sign;
                }
            }
            rest = &rest[signs..];
            let digits = rest
                .find(|c: char| !c.is_ascii_digit() && c != '.')
                .unwrap_or(rest.len());
            let factor: f64 = match &rest[..digits] {
                "" => 1.0,
                number => number.parse().ok()?,
            };
            let had_digits = digits > 0;
            rest = &rest[digits..];
            match rest.chars().next() {
                Some(letter) if letter.is_ascii_lowercase() => {
                    *sum.letters.entry(letter).or_default() += sign * factor;
                    rest = &rest[1..];
                }
                _ if had_digits => sum.constant += sign * factor,
                _ => return None,
            }
            is_first = false;
        }
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_with_their_signs() {
        for (text, x, y, constant) in [
            ("2x+3", 2.0, 0.0, 3.0),
            ("66--y", 0.0, 1.0, 66.0),
            ("x-y-4.5", 1.0, -1.0, -4.5),
            ("10", 0.0, 0.0, 10.0),
        ] {
            let sum = Sum::parse(text).unwrap();
            let factor = |letter| sum.letters.get(&letter).copied().unwrap_or(0.0);
            assert_eq!(
                (factor('x'), factor('y'), sum.constant),
                (x, y, constant),
                "{text}"
            );
        }
        for text in ["", "xy", "2(x+1)", "x^2", "+", "A", "3 + ", "x2"] {
            assert_eq!(Sum::parse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parsers_panic(text in ".{0,60}", near in "[A-Za-z(),0-9.+ -]{0,60}") {
            for text in [text, near] {
                let _ = (Form::parse(&text), Sum::parse(&text));
            }
        }
    }
}
