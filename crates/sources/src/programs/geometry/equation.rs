//! Linear equations between lengths, angles and letters.

use std::collections::BTreeMap;

use super::form::Sum;

/// Something with a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// Two points in alphabetical order.
    Length(char, char),
    /// The vertex, and one point on each side, each the first by name on its ray.
    Angle(char, char, char),
    Letter(char),
    /// `angle1`, a mark without points.
    Mark(String),
}

/// `sum of factor * key = constant`.
#[derive(Debug, Clone, Default)]
pub(super) struct Equation {
    pub factors: BTreeMap<Key, f64>,
    pub constant: f64,
}

impl Equation {
    pub fn plus(mut self, factor: f64, key: Key) -> Equation {
        *self.factors.entry(key).or_default() += factor;
        self
    }

    pub fn equals(mut self, constant: f64) -> Equation {
        self.constant = constant;
        self
    }

    /// `key = sum`.
    pub fn is(key: Key, sum: &Sum) -> Equation {
        sum.letters
            .iter()
            .fold(Equation::default().plus(1.0, key), |e, (letter, factor)| {
                e.plus(-factor, Key::Letter(*letter))
            })
            .equals(sum.constant)
    }

    pub fn same(a: Key, b: Key) -> Equation {
        Equation::default().plus(1.0, a).plus(-1.0, b)
    }
}
