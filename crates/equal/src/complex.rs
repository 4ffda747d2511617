//! Complex numbers on [`Wide`] and the elementary functions on their principal branches.
//!
//! Real arguments stay real wherever the function allows, so that comparisons of real answers carry no
//! imaginary rounding dust. One branch is the school's and not the principal one: an odd root of a negative
//! number is the negative real root.

use std::ops::{Add, Div, Mul, Neg, Sub};

use crate::wide::{Wide, magnitude};

/// `re + im i`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Complex {
    pub re: Wide,
    pub im: Wide,
}

impl Complex {
    pub const ZERO: Self = Self::real(Wide::ZERO);
    pub const ONE: Self = Self::real(Wide::ONE);
    pub const I: Self = Self {
        re: Wide::ZERO,
        im: Wide::ONE,
    };
    pub const NAN: Self = Self::real(Wide::NAN);

    pub const fn real(re: Wide) -> Self {
        Self { re, im: Wide::ZERO }
    }

    pub fn new(value: f64) -> Self {
        Self::real(Wide::new(value))
    }

    pub fn is_real(self) -> bool {
        self.im.is_zero()
    }

    pub fn is_finite(self) -> bool {
        self.re.is_finite() && self.im.is_finite()
    }

    pub fn is_zero(self) -> bool {
        self.re.is_zero() && self.im.is_zero()
    }

    pub fn conjugate(self) -> Self {
        Self {
            re: self.re,
            im: -self.im,
        }
    }

    pub fn abs(self) -> Wide {
        if self.is_real() {
            return self.re.abs();
        }
        let scale = if magnitude(self.re) > magnitude(self.im) {
            self.re.abs()
        } else {
            self.im.abs()
        };
        if !scale.is_finite() {
            return scale;
        }
        let (x, y) = (self.re / scale, self.im / scale);
        (x * x + y * y).sqrt() * scale
    }

    /// The angle in (-pi, pi].
    pub fn argument(self) -> Wide {
        self.im.atan2(self.re)
    }

    /// The larger of the two parts; not a number where one is none.
    pub fn size(self) -> f64 {
        // f64::max would pass over it.
        if self.re.to_f64().is_nan() || self.im.to_f64().is_nan() {
            return f64::NAN;
        }
        magnitude(self.re).max(magnitude(self.im))
    }

    pub fn sqrt(self) -> Self {
        if self.is_real() {
            return if self.re.is_negative() {
                Self {
                    re: Wide::ZERO,
                    im: (-self.re).sqrt(),
                }
            } else {
                Self::real(self.re.sqrt())
            };
        }
        let length = self.abs();
        let half = Wide::new(0.5);
        let re = ((length + self.re) * half).abs().sqrt();
        let im = ((length - self.re) * half).abs().sqrt();
        Self {
            re,
            im: if self.im.is_negative() { -im } else { im },
        }
    }

    pub fn exp(self) -> Self {
        let length = self.re.exp();
        if self.is_real() {
            return Self::real(length);
        }
        let (sin, cos) = self.im.sin_cos();
        Self {
            re: length * cos,
            im: length * sin,
        }
    }

    pub fn ln(self) -> Self {
        if self.is_zero() {
            return Self::NAN;
        }
        if self.is_real() && !self.re.is_negative() {
            return Self::real(self.re.ln());
        }
        Self {
            re: self.abs().ln(),
            im: self.argument(),
        }
    }

    fn power_of_integer(self, power: i64) -> Self {
        let (mut base, mut result) = (self, Self::ONE);
        let mut left = power.unsigned_abs();
        if self.is_real() {
            result = Self::real(self.re.powi(left));
        } else {
            while left > 0 {
                if left & 1 == 1 {
                    result = result * base;
                }
                base = base * base;
                left >>= 1;
            }
        }
        if power < 0 {
            Self::ONE / result
        } else {
            result
        }
    }

    /// The real root of odd `index`, or the principal one.
    pub fn root(self, index: u32) -> Self {
        if index == 2 {
            return self.sqrt();
        }
        if self.is_zero() {
            return self;
        }
        if self.is_real() && self.re.is_negative() && index % 2 == 1 {
            return -(-self).root(index);
        }
        (self.ln() / Self::new(f64::from(index))).exp()
    }

    /// `self` to the power `other`.
    pub fn pow(self, other: Self) -> Self {
        if other.is_real() && other.re.round() == other.re && magnitude(other.re) < 1e9 {
            return self.power_of_integer(other.re.to_f64() as i64);
        }
        if self.is_zero() {
            return if other.re.is_negative() || other.re.is_zero() {
                Self::NAN
            } else {
                Self::ZERO
            };
        }
        let twice = other + other;
        if other.is_real() && twice.re.round() == twice.re && magnitude(twice.re) < 1e9 {
            return self.sqrt().power_of_integer(twice.re.to_f64() as i64);
        }
        (self.ln() * other).exp()
    }

    pub fn sin_cos(self) -> (Self, Self) {
        if self.is_real() {
            let (sin, cos) = self.re.sin_cos();
            return (Self::real(sin), Self::real(cos));
        }
        let up = (self * Self::I).exp();
        let down = Self::ONE / up;
        let half = Self::new(0.5);
        (
            (up - down)
                * half
                * Self {
                    re: Wide::ZERO,
                    im: -Wide::ONE,
                },
            (up + down) * half,
        )
    }

    pub fn arctan(self) -> Self {
        if self.is_real() {
            return Self::real(self.re.atan2(Wide::ONE));
        }
        let turned = self * Self::I;
        let half_i = Self {
            re: Wide::ZERO,
            im: Wide::new(0.5),
        };
        ((Self::ONE - turned).ln() - (Self::ONE + turned).ln()) * half_i
    }

    pub fn arcsin(self) -> Self {
        let rest = (Self::ONE - self * self).sqrt();
        if self.is_real() && rest.is_real() {
            return Self::real(self.re.atan2(rest.re));
        }
        let turned = (self * Self::I + rest).ln();
        Self {
            re: turned.im,
            im: -turned.re,
        }
    }

    pub fn arccos(self) -> Self {
        let rest = (Self::ONE - self * self).sqrt();
        if self.is_real() && rest.is_real() {
            return Self::real(rest.re.atan2(self.re));
        }
        Self::real(Wide::PI / Wide::new(2.0)) - self.arcsin()
    }

    pub fn arsinh(self) -> Self {
        (self + (self * self + Self::ONE).sqrt()).ln()
    }

    pub fn arcosh(self) -> Self {
        (self + (self + Self::ONE).sqrt() * (self - Self::ONE).sqrt()).ln()
    }

    pub fn artanh(self) -> Self {
        ((Self::ONE + self).ln() - (Self::ONE - self).ln()) * Self::new(0.5)
    }
}

impl Add for Complex {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            re: self.re + other.re,
            im: self.im + other.im,
        }
    }
}

impl Neg for Complex {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            re: -self.re,
            im: -self.im,
        }
    }
}

impl Sub for Complex {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Complex {
    type Output = Self;

    fn mul(self, other: Self) -> Self {
        if self.is_real() && other.is_real() {
            return Self::real(self.re * other.re);
        }
        Self {
            re: self.re * other.re - self.im * other.im,
            im: self.re * other.im + self.im * other.re,
        }
    }
}

impl Div for Complex {
    type Output = Self;

    fn div(self, other: Self) -> Self {
        if other.is_zero() {
            return Self::NAN;
        }
        if other.is_real() {
            return Self {
                re: self.re / other.re,
                im: if self.im.is_zero() {
                    Wide::ZERO
                } else {
                    self.im / other.re
                },
            };
        }
        let square = other.re * other.re + other.im * other.im;
        let top = self * other.conjugate();
        Self {
            re: top.re / square,
            im: top.im / square,
        }
    }
}
