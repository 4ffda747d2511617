//! What settled a comparison, in words.

use std::fmt;

/// The outcome of [`crate::compare`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// Whether the prediction says what the gold answer says.
    pub same: bool,
    /// Which rule settled it, for a reader.
    pub reason: String,
}

/// The rule by which two answers are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    Text,
    Written,
    Exact,
    Decimals,
    Percent,
    Degrees,
    Polynomial,
    Sampled,
    Word,
    Set,
    Order,
    Interval,
    Membership,
    Relation,
    Solution,
    Matrix,
    Unit,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "the same text",
            Self::Written => "the same expression",
            Self::Exact => "the same exact number",
            Self::Decimals => "the same number to six decimal places",
            Self::Percent => "the same number, one without its percent sign",
            Self::Degrees => "the same angle in degrees and radians",
            Self::Polynomial => "the same by exact arithmetic at random points of a finite field",
            Self::Sampled => "the same value to 25 digits at every point tried",
            Self::Word => "the same word",
            Self::Set => "the same entries in any order",
            Self::Order => "the same entries in the same order",
            Self::Interval => "the same ends of the interval",
            Self::Membership => "the same real numbers belong to both",
            Self::Relation => "the same relation",
            Self::Solution => "the same values satisfy both",
            Self::Matrix => "the same matrix, entry by entry",
            Self::Unit => "the same quantity in other units",
        })
    }
}
