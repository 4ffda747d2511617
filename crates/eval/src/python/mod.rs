//! The parts of Python that official scorers' verdicts depend on, exactly as CPython has them.
//!
//! Official scorers are Python programs, and what they call a number, a blank or a text's printed
//! form is what CPython calls so: `float("１_0.5 ")` is 10.5, `int("5.0")` is no number, `str(1e16)`
//! is `1e+16`. A verdict that only nearly agrees is another verdict. Everything here is total: where
//! Python raises, the answer is `None` or an error, in time linear in the text.
//!
//! Goldens were made by `golden.py` with CPython 3.11 (Unicode 14); digits and blanks that later
//! Unicode versions add are not read.

mod classes;
mod float;
mod literal;
mod number;
mod random;
mod repr;
mod space;

pub(crate) use classes::{is_digit, is_word};
pub use float::{float_to_str, int_of_float, round};
pub use literal::{Literal, LiteralError, literal_eval};
pub use number::{parse_float, parse_int};
pub use random::Random;
pub use repr::repr;
pub use space::{is_space, strip};

#[cfg(test)]
mod tests;
