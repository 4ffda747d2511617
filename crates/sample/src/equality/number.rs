//! Printed numbers: exact by their digits, with the precision they were printed at.

/// Longer is no number that anybody compares.
const MAX_DIGITS: usize = 60;
/// A rounded number is taken for another value only where it is this close to it, relatively:
/// `0.33` for 1/3, but not `0.05` for 0.054.
const ROUNDED: f64 = 0.025;

/// A number as it was printed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Printed {
    negative: bool,
    /// Without leading or trailing zeros; empty for 0.
    digits: String,
    /// The number is `0.digits` times ten to this.
    exponent: i32,
    /// The last printed digit stands for ten to minus this.
    places: i32,
    /// Whether it is printed with a fraction, and with enough digits to be a rounded value: two
    /// places, or three digits.
    rounded: bool,
}

impl Printed {
    /// Digits with commas between thousands, a fraction, an exponent; no sign.
    pub(super) fn read(text: &str) -> Option<Printed> {
        let (figures, power) = match text.split_once(['e', 'E']) {
            Some((figures, power)) => (figures, power.parse::<i32>().ok()?),
            None => (text, 0),
        };
        if figures.len() > MAX_DIGITS || power.abs() > 300 {
            return None;
        }
        let (whole, fraction) = figures.split_once('.').unwrap_or((figures, ""));
        let whole = without_commas(whole)?;
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let significant = all.trim_start_matches('0');
        let zeros = (all.len() - significant.len()) as i32;
        let places = fraction.len() as i32;
        let digits = significant.trim_end_matches('0').to_owned();
        let exponent = if digits.is_empty() {
            0
        } else {
            whole.len() as i32 - zeros + power
        };
        Some(Printed {
            negative: false,
            digits,
            exponent,
            places: places - power,
            rounded: places >= 2 || (places == 1 && significant.len() >= 3),
        })
    }

    pub(super) fn negated(mut self) -> Printed {
        self.negative = !self.negative && !self.digits.is_empty();
        self
    }

    pub(super) fn percent(mut self) -> Printed {
        if !self.digits.is_empty() {
            self.exponent -= 2;
        }
        self.places += 2;
        self
    }

    pub(super) fn is_whole(&self) -> bool {
        self.places == 0
    }

    pub(super) fn value(&self) -> f64 {
        let sign = if self.negative { "-" } else { "" };
        let text = format!("{sign}0.{}e{}", self.digits, self.exponent);
        // Digits and a bounded exponent always parse.
        text.parse().unwrap_or(if self.digits.is_empty() {
            0.0
        } else {
            f64::NAN
        })
    }

    /// Whether the two say the same: the same value, or the longer one rounds to the shorter.
    pub(super) fn same(&self, other: &Printed) -> bool {
        let exact = |p: &Printed| (p.negative, p.digits.clone(), p.exponent);
        if exact(self) == exact(other) {
            return true;
        }
        let (short, long) = if self.places < other.places {
            (self, other)
        } else {
            (other, self)
        };
        short.places < long.places && short.stands_for(long.value())
    }

    /// Whether this may be `value`, rounded to the places that are printed.
    pub(super) fn stands_for(&self, value: f64) -> bool {
        let off = (self.value() - value).abs();
        // The smallest bit over a half, for the value itself is inexact.
        let half = 0.5 * 10_f64.powi(-self.places) * (1.0 + 1e-9);
        self.rounded && off <= half && off <= ROUNDED * value.abs()
    }
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
