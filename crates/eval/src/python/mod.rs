//! The parts of Python that official scorers' verdicts depend on, exactly as CPython has them.

mod classes;
mod random;

pub(crate) use classes::{is_digit, is_word};
pub use random::Random;
