//! Limits and derivatives, by extrapolating what comes near them.
//!
//! Values at a row of halved steps are extrapolated to step zero by Neville's scheme, in thirty digits. Where the
//! last two extrapolations disagree there is no value, and the expression stands for itself only.

use crate::complex::Complex;
use crate::wide::Wide;

/// Steps that are taken.
const STEPS: usize = 14;

/// Agreement that is asked of the last two extrapolations.
const AGREEMENT: f64 = 1e-22;

/// The value of `at(h)` as `h` goes to zero from the first step, where `at` is a series in h to the `order`.
pub(crate) fn to_zero(
    first: f64,
    order: i32,
    mut at: impl FnMut(Wide) -> Option<Complex>,
) -> Option<Complex> {
    let mut table: Vec<Complex> = Vec::with_capacity(STEPS);
    let mut last = Complex::NAN;
    let mut best: Option<(f64, Complex)> = None;
    for step in 0..STEPS {
        let h = Wide::new(first * 0.5f64.powi(step as i32));
        let mut value = at(h)?;
        if !value.is_finite() {
            return Some(Complex::NAN);
        }
        // value becomes the extrapolation through all steps so far.
        for (column, entry) in table.iter_mut().enumerate() {
            let factor = Complex::new(2f64.powi(order * (column as i32 + 1)) - 1.0);
            let next = value + (value - *entry) / factor;
            *entry = value;
            value = next;
        }
        table.push(value);
        let change = (value - last).size() / (1.0 + value.size());
        if change.is_finite() && best.is_none_or(|(least, _)| change < least) {
            best = Some((change, value));
        }
        last = value;
    }
    Some(match best {
        Some((change, value)) if change < AGREEMENT => value,
        _ => Complex::NAN,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sine_over_its_argument_goes_to_one_and_a_pole_nowhere() {
        let limit = to_zero(0.25, 1, |h| Some(Complex::real(h.sin_cos().0 / h)));
        assert!((limit.unwrap() - Complex::ONE).size() < 1e-24);
        let pole = to_zero(0.25, 1, |h| Some(Complex::real(Wide::ONE / h)));
        assert!(!pole.unwrap().is_finite());
        let root = to_zero(0.25, 1, |h| Some(Complex::real(h.sqrt())));
        assert!(!root.unwrap().is_finite());
    }
}
