//! Expressions compared by their values at several points, to about thirty digits.
//!
//! Two expressions that agree to 25 digits at random points, positive and negative, are taken for equal; two
//! that differ anywhere are not. A letter `i` is the imaginary unit unless a sum counts with it, as both
//! readings of it agree in an identity. What has no value here (integrals, endless sums, unknown functions)
//! stands for a number of its own, the same one wherever it is written the same way.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use num_traits::ToPrimitive;

use crate::complex::Complex;
use crate::exact;
use crate::extrapolation;
use crate::tree::{Constant, Expr, Function, Range};
use crate::wide::Wide;
use crate::work::Work;

/// Which of the readings that people mean is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reading {
    /// Small and capital letters are the same.
    pub folded: bool,
    /// A letter before a bracket is a factor and not a function.
    pub products: bool,
}

impl Reading {
    pub fn name<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if self.folded && name.bytes().any(|b| b.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        }
    }

    pub fn is_imaginary(&self, name: &str) -> bool {
        matches!(name, "i" | "I" | "imath")
    }
}

/// How many terms of a sum are added up.
const MOST_TERMS: i64 = 500;

/// One point, and what was learnt on the way to a value there.
pub(crate) struct Point<'a> {
    reading: Reading,
    trial: u64,
    work: &'a Work,
    /// Counting variables of the sums around, and letters that must be whole numbers.
    bound: Vec<(String, Complex)>,
    /// Inside a trigonometric function, where degrees are turned to radians.
    angle: bool,
    /// The largest term that was added: what a sum cancels beyond its digits is dust.
    pub peak: f64,
}

impl<'a> Point<'a> {
    pub fn new(reading: Reading, trial: u64, work: &'a Work) -> Self {
        Self {
            reading,
            trial,
            work,
            bound: Vec::new(),
            angle: false,
            peak: 0.0,
        }
    }

    /// With `name` having the given value.
    pub fn with(mut self, name: &str, value: Complex) -> Self {
        self.bound.push((name.to_owned(), value));
        self
    }

    /// Letters that count (bounds of sums, arguments of factorials) get small whole values.
    pub fn counting(mut self, names: &[String]) -> Self {
        for name in names {
            let name = self.reading.name(name).into_owned();
            let value = 3 + hashed(&(name.as_str(), self.trial)) % 6;
            self.bound.push((name, Complex::new(value as f64)));
        }
        self
    }

    /// The value of `expr` here. `None`: it is no quantity, or the work is spent. Undefined is not finite.
    pub fn value(&mut self, expr: &Expr) -> Option<Complex> {
        self.work.spend(4)?;
        Some(match expr {
            Expr::Number(number) => Complex::real(Wide::rational(&number.value)),
            Expr::Constant(Constant::Pi) => Complex::real(Wide::PI),
            Expr::Constant(Constant::E) => Complex::real(Wide::E),
            Expr::Constant(Constant::Infinity) => Complex::real(Wide::INFINITY),
            Expr::Symbol(name) => self.letter(name),
            Expr::Add(terms) => {
                let mut sum = Complex::ZERO;
                for term in terms {
                    let term = self.value(term)?;
                    if term.is_finite() {
                        self.peak = self.peak.max(term.size());
                    }
                    sum = sum + term;
                }
                sum
            }
            Expr::Mul(factors) => {
                let mut product = Complex::ONE;
                for factor in factors {
                    product = product * self.value(factor)?;
                }
                product
            }
            Expr::Pow(base, power) => {
                let base = self.value(base)?;
                // x^{1/3}: an odd root of a negative number is real.
                if let Some(power) = exact::rational(power, self.work)
                    && let (Some(top), Some(index)) =
                        (power.numer().to_i64(), power.denom().to_u32())
                    && top.unsigned_abs() < 1 << 30
                {
                    self.work.spend(60)?;
                    let base = if index == 1 { base } else { base.root(index) };
                    return Some(if base.is_zero() && top < 0 {
                        Complex::NAN
                    } else {
                        base.pow(Complex::new(top as f64))
                    });
                }
                let power = self.value(power)?;
                self.work.spend(200)?;
                base.pow(power)
            }
            Expr::Percent(inner) => self.value(inner)? / Complex::new(100.0),
            Expr::Degrees(inner) => {
                let value = self.value(inner)?;
                if self.angle {
                    value * Complex::real(Wide::PI / Wide::new(180.0))
                } else {
                    value
                }
            }
            Expr::Apply(function, arguments) => {
                let angle = std::mem::replace(&mut self.angle, trigonometric(*function));
                let value = self.applied(*function, arguments);
                self.angle = angle;
                value?
            }
            Expr::Call(name, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    values.push(self.value(argument)?);
                }
                if self.reading.products && values.len() == 1 {
                    return Some(self.letter(name) * values[0]);
                }
                self.unknown_function(name, &values)
            }
            Expr::Range(kind, body, variable, from, to) => {
                self.ranged(expr, *kind, body, variable, from.as_deref(), to.as_deref())?
            }
            _ => return None,
        })
    }

    fn letter(&self, name: &str) -> Complex {
        let name = self.reading.name(name);
        if let Some((_, value)) = self.bound.iter().rev().find(|(bound, _)| *bound == name) {
            return *value;
        }
        if self.reading.is_imaginary(&name) {
            return Complex::I;
        }
        let (size, sign) = self.random(&name);
        // Positive, negative and mixed points in turn.
        let negative = match self.trial % 3 {
            0 => false,
            1 => true,
            _ => sign,
        };
        let value = Wide::new(0.2) + Wide::new(size * 2.5);
        Complex::real(if negative { -value } else { value })
    }

    fn random<T: Hash + ?Sized>(&self, name: &T) -> (f64, bool) {
        let hash = hashed(&(name_hash(name), self.trial));
        ((hash >> 12) as f64 / (1u64 << 52) as f64, hash & 1 == 1)
    }

    /// A smooth function of its own for each name.
    fn unknown_function(&self, name: &str, arguments: &[Complex]) -> Complex {
        let name = self.reading.name(name);
        // The same at all points, or else f(x) would not be one function.
        let coefficient = |at: usize, power: usize| {
            let hash = hashed(&(name.as_ref(), at, power, arguments.len()));
            Complex::new((hash >> 12) as f64 / (1u64 << 52) as f64 + 0.5)
        };
        let mut value = coefficient(0, 0);
        for (at, argument) in arguments.iter().enumerate() {
            let square = *argument * *argument;
            value = value
                + coefficient(at, 1) * *argument
                + coefficient(at, 2) * square
                + coefficient(at, 3) * square * square * *argument;
        }
        value
    }

    fn applied(&mut self, function: Function, arguments: &[Expr]) -> Option<Complex> {
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            values.push(self.value(argument)?);
        }
        let x = *values.first()?;
        self.work.spend(300)?;
        let one = Complex::ONE;
        Some(match function {
            Function::Abs | Function::Norm => Complex::real(x.abs()),
            Function::Real => Complex::real(x.re),
            Function::Imaginary => Complex::real(x.im),
            Function::Conjugate => x.conjugate(),
            Function::Argument => Complex::real(x.argument()),
            Function::Floor | Function::Ceiling | Function::Mod if !x.is_real() => Complex::NAN,
            Function::Floor => Complex::real(nudged(x.re).floor()),
            Function::Ceiling => Complex::real(-nudged(-x.re).floor()),
            Function::Mod => {
                let modulus = *values.get(1)?;
                if !modulus.is_real() || modulus.is_zero() {
                    return Some(Complex::NAN);
                }
                x - Complex::real(nudged(x.re / modulus.re).floor()) * modulus
            }
            Function::Root => {
                let index = exact::integer(arguments.get(1)?, self.work).and_then(|n| n.to_u32());
                match index {
                    Some(0) => Complex::NAN,
                    Some(index) => x.root(index),
                    None => x.pow(one / *values.get(1)?),
                }
            }
            Function::Log => {
                let base = *values.get(1)?;
                if base == Complex::real(Wide::E) {
                    x.ln()
                } else {
                    x.ln() / base.ln()
                }
            }
            Function::Exp => x.exp(),
            Function::Factorial => self.factorial(x)?,
            Function::Binomial => {
                let k = *values.get(1)?;
                let Some(k) = whole(k).filter(|k| (0..=MOST_TERMS).contains(k)) else {
                    return Some(Complex::NAN);
                };
                self.work.spend(20 * k as u64)?;
                let mut value = one;
                for i in 0..k {
                    value = value * (x - Complex::new(i as f64)) / Complex::new(i as f64 + 1.0);
                }
                value
            }
            Function::Sin => x.sin_cos().0,
            Function::Cos => x.sin_cos().1,
            Function::Tan | Function::Cot | Function::Sec | Function::Csc => {
                let (sin, cos) = x.sin_cos();
                let (top, bottom) = match function {
                    Function::Tan => (sin, cos),
                    Function::Cot => (cos, sin),
                    Function::Sec => (one, cos),
                    _ => (one, sin),
                };
                // A pole that rounding missed.
                if bottom.size() < 1e-28 {
                    Complex::NAN
                } else {
                    top / bottom
                }
            }
            Function::Arcsin => x.arcsin(),
            Function::Arccos => x.arccos(),
            Function::Arctan => x.arctan(),
            Function::Arccsc => (one / x).arcsin(),
            Function::Arcsec => (one / x).arccos(),
            Function::Arccot if x.is_zero() => Complex::real(Wide::PI / Wide::new(2.0)),
            Function::Arccot => (one / x).arctan(),
            Function::Sinh | Function::Cosh | Function::Tanh => {
                let (up, down) = (x.exp(), (-x).exp());
                match function {
                    Function::Sinh => (up - down) / Complex::new(2.0),
                    Function::Cosh => (up + down) / Complex::new(2.0),
                    _ => (up - down) / (up + down),
                }
            }
            Function::Arsinh => x.arsinh(),
            Function::Arcosh => x.arcosh(),
            Function::Artanh => x.artanh(),
            Function::Max | Function::Min => {
                let mut best = x.re;
                for value in &values {
                    if !value.is_real() {
                        return Some(Complex::NAN);
                    }
                    if (value.re > best) == (function == Function::Max) {
                        best = value.re;
                    }
                }
                Complex::real(best)
            }
            Function::Gcd | Function::Lcm => {
                let mut value = whole(x)?.unsigned_abs();
                for other in &values[1..] {
                    let other = whole(*other)?.unsigned_abs();
                    value = match function {
                        Function::Gcd => num_integer::gcd(value, other),
                        _ if value == 0 || other == 0 => 0,
                        _ => (value / num_integer::gcd(value, other)).checked_mul(other)?,
                    };
                }
                Complex::new(value as f64)
            }
            Function::Determinant | Function::Transpose | Function::Trace => return None,
        })
    }

    /// Of whole numbers; others have none here.
    fn factorial(&self, x: Complex) -> Option<Complex> {
        let Some(n) = whole(x).filter(|n| (0..=170).contains(n)) else {
            return Some(Complex::NAN);
        };
        self.work.spend(10 * n as u64)?;
        Some((1..=n).fold(Complex::ONE, |product, i| product * Complex::new(i as f64)))
    }

    fn ranged(
        &mut self,
        expr: &Expr,
        kind: Range,
        body: &Expr,
        variable: &str,
        from: Option<&Expr>,
        to: Option<&Expr>,
    ) -> Option<Complex> {
        if let (Range::Sum | Range::Product, Some(from), Some(to)) = (kind, from, to) {
            let (first, last) = (self.value(from)?, self.value(to)?);
            if let (Some(first), Some(last)) = (whole(first), whole(last))
                && last.checked_sub(first)? < MOST_TERMS
            {
                let sum = kind == Range::Sum;
                let mut value = if sum { Complex::ZERO } else { Complex::ONE };
                let name = self.reading.name(variable).into_owned();
                for at in first..=last {
                    self.bound.push((name.clone(), Complex::new(at as f64)));
                    let term = self.value(body);
                    self.bound.pop();
                    let term = term?;
                    value = if sum { value + term } else { value * term };
                }
                return Some(value);
            }
        }
        if let (Range::Integral, Some(from), Some(to)) = (kind, from, to) {
            let (from, to) = (self.value(from)?, self.value(to)?);
            if from.is_real() && to.is_real() && from.is_finite() && to.is_finite() {
                let value = self.integral(body, variable, from.re, to.re)?;
                self.blur(value);
                return Some(value);
            }
        }
        let extrapolated = match kind {
            Range::Limit => self.limit(body, variable, to?)?,
            Range::Derivative => self.derivative(body, variable)?,
            _ => Complex::NAN,
        };
        if extrapolated.is_finite() {
            self.blur(extrapolated);
            return Some(extrapolated);
        }
        // Written the same way it is the same number, and it varies with the letters in it.
        self.work.spend(500)?;
        let text = format!("{:?}", renamed(expr, variable));
        let (size, _) = self.random(&self.reading.name(&text));
        Some(Complex::new(size + 0.5))
    }

    /// What was extrapolated or integrated has some digits fewer than what was worked out.
    fn blur(&mut self, value: Complex) {
        self.peak = self.peak.max(1e5 * (1.0 + value.size()));
    }

    /// `body` with `variable` at `x`.
    fn at(&mut self, body: &Expr, variable: &str, x: Complex) -> Option<Complex> {
        let name = self.reading.name(variable).into_owned();
        self.bound.push((name, x));
        let value = self.value(body);
        self.bound.pop();
        value
    }

    /// The value that `body` takes or tends to, from above.
    fn limit(&mut self, body: &Expr, variable: &str, to: &Expr) -> Option<Complex> {
        let to = self.value(to)?;
        if to.is_finite() {
            let there = self.at(body, variable, to)?;
            if there.is_finite() {
                return Some(there);
            }
            return extrapolation::to_zero(0.125, 1, |h| {
                self.at(body, variable, to + Complex::real(h))
            });
        }
        extrapolation::to_zero(0.125, 1, |h| {
            let far = Complex::real(Wide::ONE / h);
            let far = if to.re.is_negative() { -far } else { far };
            self.at(body, variable, far)
        })
    }

    /// By central differences.
    fn derivative(&mut self, body: &Expr, variable: &str) -> Option<Complex> {
        let x = self.letter(variable);
        extrapolation::to_zero(0.125, 2, |h| {
            let step = Complex::real(h);
            let above = self.at(body, variable, x + step)?;
            let below = self.at(body, variable, x - step)?;
            Some((above - below) / (step + step))
        })
    }

    /// Tanh-sinh quadrature: its error falls with the square of the points for smooth integrands, and poles at
    /// the ends do not hurt it.
    fn integral(&mut self, body: &Expr, variable: &str, from: Wide, to: Wide) -> Option<Complex> {
        let name = self.reading.name(variable).into_owned();
        let half = (to - from) / Wide::new(2.0);
        let step = Wide::new(1.0 / 16.0);
        let mut sum = Complex::ZERO;
        for at in -62i32..=62 {
            let t = step * Wide::new(f64::from(at));
            let (up, down) = (t.exp(), (-t).exp());
            let u = (up - down) * Wide::PI / Wide::new(4.0);
            let (eu, ed) = (u.exp(), (-u).exp());
            let cosh = (eu + ed) / Wide::new(2.0);
            // The distance from the nearer end, without cancellation.
            let (near, x) = if at < 0 {
                let near = half * eu / cosh;
                (near, from + near)
            } else {
                let near = half * ed / cosh;
                (near, to - near)
            };
            if near.is_zero() {
                continue;
            }
            let weight = half * Wide::PI * (up + down) / Wide::new(4.0) / (cosh * cosh);
            self.bound.push((name.clone(), Complex::real(x)));
            let value = self.value(body);
            self.bound.pop();
            let value = value?;
            if value.is_finite() {
                sum = sum + value * Complex::real(weight * step);
            }
        }
        Some(sum)
    }
}

/// Values a hair below a whole number by rounding are that number.
fn nudged(value: Wide) -> Wide {
    let near = value.round();
    if (value - near).abs() < Wide::new(1e-25) * (value.abs() + Wide::ONE) {
        near
    } else {
        value
    }
}

/// The whole number that `value` is.
pub(crate) fn whole(value: Complex) -> Option<i64> {
    let real = value.re;
    (value.is_real() && real.is_finite() && real.abs() < Wide::new(1e15) && real.round() == real)
        .then(|| real.to_f64() as i64)
}

fn trigonometric(function: Function) -> bool {
    use Function::{Cos, Cot, Csc, Sec, Sin, Tan};
    matches!(function, Sin | Cos | Tan | Cot | Sec | Csc)
}

fn hashed<T: Hash>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn name_hash<T: Hash + ?Sized>(name: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// `expr` with its own variable called the same in all of its kind.
fn renamed(expr: &Expr, variable: &str) -> Expr {
    match expr {
        Expr::Symbol(name) if name == variable => Expr::Symbol("\u{2022}".to_owned()),
        Expr::Range(kind, body, own, from, to) => Expr::Range(
            *kind,
            Box::new(renamed(body, variable)),
            if own == variable {
                "\u{2022}".to_owned()
            } else {
                own.clone()
            },
            from.as_ref().map(|e| Box::new(renamed(e, variable))),
            to.as_ref().map(|e| Box::new(renamed(e, variable))),
        ),
        Expr::Add(parts) => Expr::Add(parts.iter().map(|p| renamed(p, variable)).collect()),
        Expr::Mul(parts) => Expr::Mul(parts.iter().map(|p| renamed(p, variable)).collect()),
        Expr::Apply(f, parts) => {
            Expr::Apply(*f, parts.iter().map(|p| renamed(p, variable)).collect())
        }
        Expr::Call(f, parts) => Expr::Call(
            f.clone(),
            parts.iter().map(|p| renamed(p, variable)).collect(),
        ),
        Expr::Pow(a, b) => Expr::Pow(
            Box::new(renamed(a, variable)),
            Box::new(renamed(b, variable)),
        ),
        other => other.clone(),
    }
}

/// Letters of `expr` that stand where only whole numbers make sense.
pub(crate) fn counting_letters(expr: &Expr) -> Vec<String> {
    let mut names = Vec::new();
    let mut letters = |part: &Expr| {
        part.any(&mut |inner| {
            if let Expr::Symbol(name) = inner
                && !names.contains(name)
            {
                names.push(name.clone());
            }
            false
        });
    };
    expr.any(&mut |part| {
        match part {
            Expr::Range(Range::Sum | Range::Product, _, _, from, to) => {
                from.as_deref().into_iter().for_each(&mut letters);
                to.as_deref().into_iter().for_each(&mut letters);
            }
            Expr::Apply(
                Function::Factorial | Function::Binomial | Function::Gcd | Function::Lcm,
                parts,
            ) => parts.iter().for_each(&mut letters),
            // (-1)^n
            Expr::Pow(base, power)
                if base
                    .number()
                    .is_some_and(|n| num_traits::Signed::is_negative(&n.value)) =>
            {
                letters(power);
            }
            _ => {}
        }
        false
    });
    names
}
