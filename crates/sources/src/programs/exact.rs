//! Exact numbers: fractions of whole numbers, so that `0.1 + 0.2` of a table is `0.3` and a mean is
//! never almost right.

use std::cmp::Ordering;

use sample::Answer;

/// A fraction in lowest terms with a denominator above zero. Arithmetic that leaves the range gives
/// `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exact {
    over: i128,
    under: i128,
}

/// Far inside an `i128`, so that a product of two still fits.
const LARGEST: i128 = 1_000_000_000_000_000;

impl Exact {
    pub fn new(over: i128, under: i128) -> Option<Exact> {
        if under == 0 {
            return None;
        }
        let by = gcd(over.unsigned_abs(), under.unsigned_abs());
        let by = i128::try_from(by).ok()? * under.signum();
        let (over, under) = (over / by, under / by);
        (over.abs() <= LARGEST && under <= LARGEST).then_some(Exact { over, under })
    }

    pub fn whole(n: i128) -> Option<Exact> {
        Exact::new(n, 1)
    }

    pub fn add(self, other: Exact) -> Option<Exact> {
        Exact::new(
            self.over * other.under + other.over * self.under,
            self.under * other.under,
        )
    }

    pub fn sub(self, other: Exact) -> Option<Exact> {
        Exact::new(
            self.over * other.under - other.over * self.under,
            self.under * other.under,
        )
    }

    pub fn mul(self, other: Exact) -> Option<Exact> {
        Exact::new(self.over * other.over, self.under * other.under)
    }

    pub fn div(self, other: Exact) -> Option<Exact> {
        Exact::new(self.over * other.under, self.under * other.over)
    }

    pub fn is_negative(self) -> bool {
        self.over < 0
    }

    /// The sum of all; zero of none.
    pub fn sum(all: impl IntoIterator<Item = Exact>) -> Option<Exact> {
        all.into_iter().try_fold(Exact::whole(0)?, Exact::add)
    }

    /// `6,830`, `-4`, `8.20`, `3/4`, `4+1/10`, without unit.
    pub fn parse(text: &str) -> Option<Exact> {
        let text = text.trim();
        if let Some((whole, part)) = text.split_once('+') {
            let (whole, part) = (Exact::parse(whole)?, Exact::parse(part)?);
            return whole.add(part);
        }
        if let Some((over, under)) = text.split_once('/') {
            return Exact::parse(over)?.div(Exact::parse(under)?);
        }
        match sample::printed::number(text)? {
            Answer::Integer(n) => Exact::whole(i128::from(n)),
            Answer::Decimal { places, .. } if places <= 6 => {
                let digits: String = text
                    .chars()
                    .map(|c| if c == '\u{2212}' { '-' } else { c })
                    .filter(|c| c.is_ascii_digit() || *c == '-')
                    .collect();
                Exact::new(digits.parse().ok()?, 10_i128.pow(u32::from(places)))
            }
            _ => None,
        }
    }

    /// As the answer to a question about money: whole, or with two places. `None` for what has no
    /// cents.
    pub fn money(self) -> Option<Answer> {
        if self.under == 1 {
            return self.whole_answer();
        }
        (100 % self.under == 0).then(|| Answer::Decimal {
            value: self.value(),
            places: 2,
        })
    }

    /// As an answer: whole, a decimal where it ends after no more than three places, else a
    /// fraction.
    pub fn answer(self) -> Option<Answer> {
        if self.under == 1 {
            return self.whole_answer();
        }
        for places in 1..=3_u8 {
            if 10_i128.pow(u32::from(places)) % self.under == 0 {
                return Some(Answer::Decimal {
                    value: self.value(),
                    places,
                });
            }
        }
        Some(self.fraction())
    }

    /// As a fraction in lowest terms, `5/18`.
    pub fn fraction(self) -> Answer {
        match self.whole_answer() {
            Some(whole) if self.under == 1 => whole,
            _ => Answer::Text(format!("{}/{}", self.over, self.under)),
        }
    }

    fn whole_answer(self) -> Option<Answer> {
        i64::try_from(self.over).ok().map(Answer::Integer)
    }

    /// The nearest float. Both parts are below 2^53, so this rounds once.
    #[allow(clippy::cast_precision_loss)]
    pub fn value(self) -> f64 {
        self.over as f64 / self.under as f64
    }
}

impl PartialOrd for Exact {
    fn partial_cmp(&self, other: &Exact) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Exact {
    fn cmp(&self, other: &Exact) -> Ordering {
        (self.over * other.under).cmp(&(other.over * self.under))
    }
}

fn gcd(a: u128, b: u128) -> u128 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_numbers_are_read_and_printed_exactly() {
        for (text, answer) in [
            ("6,830", "6830"),
            ("8.20", "8.2"),
            ("-4", "-4"),
            ("3/4", "0.75"),
            ("4+1/10", "4.1"),
            ("2/6", "1/3"),
        ] {
            let read = Exact::parse(text).unwrap();
            assert_eq!(read.answer().unwrap().text(), answer, "{text}");
        }
        for text in ["", "1/0", "x", "12,34", "1e9", "99999999999999999999"] {
            assert_eq!(Exact::parse(text), None, "{text}");
        }
    }

    #[test]
    fn money_has_two_places_or_none() {
        let money = |text: &str| Exact::parse(text).unwrap().money().map(|a| a.text());
        assert_eq!(money("8.2").as_deref(), Some("8.20"));
        assert_eq!(money("3").as_deref(), Some("3"));
        assert_eq!(money("0.125"), None);
    }

    proptest::proptest! {
        #[test]
        fn sums_and_products_are_those_of_whole_numbers(a in -9999_i128..9999, b in 1_i128..9999, c in -9999_i128..9999) {
            let (x, y) = (Exact::new(a, b).unwrap(), Exact::whole(c).unwrap());
            proptest::prop_assert_eq!(x.add(y).unwrap().sub(y).unwrap(), x);
            proptest::prop_assert_eq!(x.add(y).unwrap(), Exact::new(a + b * c, b).unwrap());
            proptest::prop_assert_eq!(x.cmp(&y), a.cmp(&(b * c)));
        }
    }
}
