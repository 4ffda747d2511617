//! Real numbers of about 31 digits: the sum of two doubles that do not overlap.
//!
//! Double precision cannot tell `sqrt(10^16+1)` from `10^8`; this can, at some ten times the cost of a double
//! and without memory. Sums and products are the error-free transformations of Dekker and Knuth; elementary
//! functions are reduced, then summed as Taylor series.

use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Neg, Sub};

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Float, FromPrimitive, Signed, ToPrimitive};

/// `hi + lo`, with `lo` at most half a unit in the last place of `hi`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Wide {
    hi: f64,
    lo: f64,
}

fn two_sum(a: f64, b: f64) -> Wide {
    let hi = a + b;
    let back = hi - a;
    Wide {
        hi,
        lo: (a - (hi - back)) + (b - back),
    }
}

fn quick_two_sum(a: f64, b: f64) -> Wide {
    let hi = a + b;
    Wide {
        hi,
        lo: if hi.is_finite() { b - (hi - a) } else { 0.0 },
    }
}

fn two_product(a: f64, b: f64) -> Wide {
    let hi = a * b;
    Wide {
        hi,
        lo: if hi.is_finite() {
            a.mul_add(b, -hi)
        } else {
            0.0
        },
    }
}

impl Wide {
    pub const ZERO: Self = Self { hi: 0.0, lo: 0.0 };
    pub const ONE: Self = Self { hi: 1.0, lo: 0.0 };
    pub const NAN: Self = Self {
        hi: f64::NAN,
        lo: 0.0,
    };
    pub const INFINITY: Self = Self {
        hi: f64::INFINITY,
        lo: 0.0,
    };
    pub const PI: Self = Self {
        hi: std::f64::consts::PI,
        lo: 1.224_646_799_147_353_2e-16,
    };
    pub const E: Self = Self {
        hi: std::f64::consts::E,
        lo: 1.445_646_891_729_250_2e-16,
    };
    const LN_2: Self = Self {
        hi: std::f64::consts::LN_2,
        lo: 2.319_046_813_846_299_6e-17,
    };

    pub fn new(value: f64) -> Self {
        Self { hi: value, lo: 0.0 }
    }

    /// The nearest, of any rational; out of range is infinite or zero.
    pub fn rational(value: &BigRational) -> Self {
        if let (Some(n), Some(d)) = (small(value.numer()), small(value.denom())) {
            return if d == 1.0 {
                Self::new(n)
            } else {
                Self::new(n) / Self::new(d)
            };
        }
        // 256 bits of the quotient, then two doubles of them.
        let (n, d) = (value.numer(), value.denom());
        let shift = 256 - (n.bits() as i64 - d.bits() as i64);
        let quotient = if shift >= 0 {
            (n.abs() << shift as usize) / d
        } else {
            n.abs() / (d << (-shift) as usize)
        };
        let hi = quotient.to_f64().unwrap_or(f64::NAN);
        let lo = BigInt::from_f64(hi)
            .and_then(|hi| (&quotient - hi).to_f64())
            .unwrap_or(0.0);
        let scaled = quick_two_sum(hi, lo).scaled(-shift);
        if value.is_negative() { -scaled } else { scaled }
    }

    /// Times two to the `power`.
    fn scaled(self, power: i64) -> Self {
        let mut left = power.clamp(-4000, 4000);
        let mut value = self;
        while left != 0 {
            let step = left.clamp(-1000, 1000);
            let factor = 2f64.powi(step as i32);
            value = Self {
                hi: value.hi * factor,
                lo: value.lo * factor,
            };
            left -= step;
        }
        value
    }

    pub fn to_f64(self) -> f64 {
        self.hi
    }

    pub fn is_finite(self) -> bool {
        self.hi.is_finite()
    }

    pub fn is_zero(self) -> bool {
        self.hi == 0.0
    }

    pub fn is_negative(self) -> bool {
        self.hi < 0.0
    }

    pub fn abs(self) -> Self {
        if self.is_negative() { -self } else { self }
    }

    /// The nearest integer below, exactly.
    pub fn floor(self) -> Self {
        let hi = self.hi.floor();
        if hi == self.hi {
            quick_two_sum(hi, self.lo.floor())
        } else {
            Self::new(hi)
        }
    }

    /// The nearest integer.
    pub fn round(self) -> Self {
        (self + Self::new(0.5)).floor()
    }

    pub fn sqrt(self) -> Self {
        if self.is_negative() || self.hi.is_nan() {
            return Self::NAN;
        }
        if self.is_zero() || !self.is_finite() {
            return self;
        }
        // One step of Newton's from the double's root doubles its digits.
        let root = self.hi.sqrt();
        let rest = (self - two_product(root, root)).hi;
        quick_two_sum(root, rest / (2.0 * root))
    }

    pub fn exp(self) -> Self {
        if self.hi > 709.0 {
            return Self::INFINITY;
        }
        if self.hi < -740.0 {
            return Self::ZERO;
        }
        if self.hi.is_nan() {
            return Self::NAN;
        }
        // exp(x) = 2^k exp(r)^512 with |r| < 0.0007; the series is of exp(r)-1, so that squaring keeps digits.
        let k = (self.hi / Self::LN_2.hi).round();
        let r = (self - Self::LN_2 * Self::new(k)).scaled(-9);
        let mut term = r;
        let mut sum = r;
        for n in 2..12 {
            term = term * r / Self::new(f64::from(n));
            sum = sum + term;
        }
        for _ in 0..9 {
            sum = sum.scaled(1) + sum * sum;
        }
        (sum + Self::ONE).scaled(k as i64)
    }

    /// The natural logarithm of a positive number.
    pub fn ln(self) -> Self {
        if self.is_zero() {
            return -Self::INFINITY;
        }
        if self.is_negative() || self.hi.is_nan() {
            return Self::NAN;
        }
        if !self.is_finite() {
            return self;
        }
        if self == Self::ONE {
            return Self::ZERO;
        }
        // Newton's step on exp, from the double's logarithm.
        let guess = Self::new(self.hi.ln());
        let step = guess + self * (-guess).exp() - Self::ONE;
        step + self * (-step).exp() - Self::ONE
    }

    /// Sine and cosine. Arguments past a hundred million lose too many digits to say anything.
    pub fn sin_cos(self) -> (Self, Self) {
        if self.hi.is_nan() || self.hi.abs() > 1e8 {
            return (Self::NAN, Self::NAN);
        }
        let half = Self::PI.scaled(-1);
        let quarter = (self / half).round();
        let r = self - half * quarter;
        let square = r * r;
        let (mut sin, mut cos) = (r, Self::ONE);
        let (mut odd, mut even) = (r, Self::ONE);
        for n in 1..15 {
            let n = f64::from(n);
            even = -(even * square) / Self::new((2.0 * n - 1.0) * (2.0 * n));
            odd = -(odd * square) / Self::new((2.0 * n) * (2.0 * n + 1.0));
            cos = cos + even;
            sin = sin + odd;
        }
        match (quarter.hi as i64).rem_euclid(4) {
            0 => (sin, cos),
            1 => (cos, -sin),
            2 => (-sin, -cos),
            _ => (-cos, sin),
        }
    }

    /// The angle of the point (`x`, `self`), in (-pi, pi].
    pub fn atan2(self, x: Self) -> Self {
        if self.is_zero() {
            return if x.is_negative() {
                Self::PI
            } else {
                Self::ZERO
            };
        }
        let length = (self * self + x * x).sqrt();
        if !length.is_finite() || length.is_zero() {
            return Self::NAN;
        }
        let (y, x) = (self / length, x / length);
        // The sine of what is left after the double's angle is that rest, to the third power.
        let guess = Self::new(y.hi.atan2(x.hi));
        let (sin, cos) = guess.sin_cos();
        let rest = y * cos - x * sin;
        guess + rest + rest * rest * rest / Self::new(6.0)
    }

    pub fn powi(self, mut power: u64) -> Self {
        let (mut base, mut result) = (self, Self::ONE);
        while power > 0 {
            if power & 1 == 1 {
                result = result * base;
            }
            base = base * base;
            power >>= 1;
        }
        result
    }
}

/// An integer that a double holds exactly.
fn small(value: &BigInt) -> Option<f64> {
    value
        .to_i64()
        .filter(|v| v.unsigned_abs() < 1 << 53)
        .map(|v| v as f64)
}

impl Add for Wide {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let high = two_sum(self.hi, other.hi);
        if !high.hi.is_finite() {
            return Self::new(high.hi);
        }
        let low = two_sum(self.lo, other.lo);
        let high = quick_two_sum(high.hi, high.lo + low.hi);
        quick_two_sum(high.hi, high.lo + low.lo)
    }
}

impl Neg for Wide {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            hi: -self.hi,
            lo: -self.lo,
        }
    }
}

impl Sub for Wide {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Wide {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        let product = two_product(self.hi, other.hi);
        if !product.hi.is_finite() {
            return Self::new(product.hi);
        }
        let cross = self.hi.mul_add(other.lo, self.lo * other.hi);
        quick_two_sum(product.hi, product.lo + cross)
    }
}

impl Div for Wide {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        let first = self.hi / other.hi;
        if !first.is_finite() || first == 0.0 {
            return Self::new(first);
        }
        let rest = self - other * Self::new(first);
        let second = rest.hi / other.hi;
        let rest = rest - other * Self::new(second);
        let third = rest.hi / other.hi;
        quick_two_sum(first, second) + Self::new(third)
    }
}

impl PartialOrd for Wide {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.hi.partial_cmp(&other.hi) {
            Some(Ordering::Equal) => self.lo.partial_cmp(&other.lo),
            order => order,
        }
    }
}

/// The exponent field of a double, to compare sizes.
pub(crate) fn magnitude(value: Wide) -> f64 {
    Float::abs(value.hi)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: Wide, b: Wide) -> bool {
        (a - b).abs().hi <= 1e-29 * (1.0 + a.hi.abs())
    }

    #[test]
    fn functions_undo_each_other_to_thirty_digits() {
        for text in [0.1, 0.5, 0.9, 1.0, 1.7, 3.0, 12.5, 100.25] {
            let x = Wide::new(text) / Wide::new(3.0);
            assert!(close(x.exp().ln(), x), "{text}");
            assert!(close(x.ln().exp(), x), "{text}");
            assert!(close(x.sqrt() * x.sqrt(), x), "{text}");
            let (sin, cos) = x.sin_cos();
            assert!(close(sin * sin + cos * cos, Wide::ONE), "{text}");
            let angle = sin.atan2(cos);
            let turns = ((x - angle) / Wide::PI.scaled(1)).round();
            assert!(close(angle + Wide::PI.scaled(1) * turns, x), "{text}");
        }
    }

    #[test]
    fn constants_have_all_their_digits() {
        assert!(close(Wide::ONE.exp(), Wide::E));
        assert!(close(Wide::ZERO.atan2(-Wide::ONE), Wide::PI));
        assert!(close(Wide::new(2.0).ln(), Wide::LN_2));
        let (sin, _) = (Wide::PI / Wide::new(6.0)).sin_cos();
        assert!(close(sin, Wide::new(0.5)));
        // Machin's formula knows nothing of the stored constant.
        let machin = Wide::ONE.atan2(Wide::new(5.0)) * Wide::new(16.0)
            - Wide::ONE.atan2(Wide::new(239.0)) * Wide::new(4.0);
        assert!(close(machin, Wide::PI));
    }

    #[test]
    fn long_rationals_keep_their_digits() {
        let n: BigInt = BigInt::from(10).pow(40) + 1;
        let d: BigInt = BigInt::from(10).pow(40);
        let value = Wide::rational(&BigRational::new(n, d.clone())) - Wide::ONE;
        // The second double holds what the first cannot.
        assert!((value.to_f64() - 1e-40).abs() < 1e-55);
        let third = Wide::rational(&BigRational::new(d.clone(), d * 3 + 1));
        assert!(close(third * Wide::new(3.0), Wide::ONE));
        let huge = BigRational::from_integer(BigInt::from(10).pow(1000));
        assert!(!Wide::rational(&huge).is_finite());
    }
}
