//! Rational functions compared without error, by their values modulo a prime.
//!
//! Two polynomials that differ agree at a random point of a field of 2^61-1 elements with a chance below
//! degree/2^61. That settles `(x+1)^2` beside `x^2+2x+1`, and `10^{10^{10}}+1` beside `10^{10^{10}}`, in
//! nanoseconds and with no rounding. Pi and e stand as letters of their own: no polynomial with rational
//! coefficients is known to tie them.

use std::hash::{DefaultHasher, Hash, Hasher};

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{One, Signed, ToPrimitive};

use crate::exact;
use crate::sampling::Reading;
use crate::tree::{Constant, Expr, Function};
use crate::work::Work;

/// Factors of a factorial that are multiplied out.
const MOST_FACTORS: u64 = 100_000;

/// 2^61 - 1.
const PRIME: u64 = (1 << 61) - 1;

/// The value of `expr` at the point that `trial` names; `None` where it is no rational function or has a pole.
pub(crate) fn residue(expr: &Expr, reading: Reading, trial: u64, work: &Work) -> Option<u64> {
    work.spend(1)?;
    Some(match expr {
        Expr::Number(number) => {
            let top = reduced(number.value.numer());
            if number.value.denom().is_one() {
                top
            } else {
                times(top, inverse(reduced(number.value.denom()))?)
            }
        }
        Expr::Constant(Constant::Pi) => point("\\pi", trial),
        Expr::Constant(Constant::E) => point("\\e", trial),
        Expr::Constant(_) => return None,
        Expr::Symbol(name) => {
            let name = reading.name(name);
            if reading.is_imaginary(&name) {
                return None;
            }
            point(&name, trial)
        }
        Expr::Add(terms) => {
            let mut sum = 0;
            for term in terms {
                sum = plus(sum, residue(term, reading, trial, work)?);
            }
            sum
        }
        Expr::Mul(factors) => {
            let mut product = 1;
            for factor in factors {
                product = times(product, residue(factor, reading, trial, work)?);
            }
            product
        }
        Expr::Pow(base, power) => {
            let base = residue(base, reading, trial, work)?;
            let power = exact::integer(power, work)?;
            work.spend_bits(power.bits())?;
            let order = BigInt::from(PRIME - 1);
            let times = power.abs().mod_floor(&order).to_u64()?;
            if base == 0 {
                return power.is_positive().then_some(0);
            }
            let value = raised(base, times);
            if power.is_negative() {
                inverse(value)?
            } else {
                value
            }
        }
        Expr::Percent(inner) => times(residue(inner, reading, trial, work)?, inverse(100)?),
        Expr::Degrees(inner) => residue(inner, reading, trial, work)?,
        Expr::Call(name, arguments) => {
            let values: Option<Vec<u64>> = arguments
                .iter()
                .map(|argument| residue(argument, reading, trial, work))
                .collect();
            let values = values?;
            if reading.products && values.len() == 1 {
                return Some(times(point(&reading.name(name), trial), values[0]));
            }
            point(&(reading.name(name), values), trial)
        }
        Expr::Apply(Function::Factorial, arguments) => {
            let n = exact::integer(arguments.first()?, work)?.to_u64()?;
            if n > MOST_FACTORS {
                return None;
            }
            work.spend(n)?;
            (1..=n).fold(1, times)
        }
        Expr::Apply(
            Function::Root
            | Function::Log
            | Function::Binomial
            | Function::Abs
            | Function::Floor
            | Function::Ceiling
            | Function::Gcd
            | Function::Lcm
            | Function::Max
            | Function::Min
            | Function::Mod,
            _,
        ) => {
            let value = exact::rational(expr, work)?;
            times(reduced(value.numer()), inverse(reduced(value.denom()))?)
        }
        _ => return None,
    })
}

/// A letter's value.
fn point<T: Hash + ?Sized>(name: &T, trial: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    trial.hash(&mut hasher);
    hasher.finish() % PRIME
}

fn reduced(value: &BigInt) -> u64 {
    match value.to_i64() {
        Some(small) => {
            let positive = small.unsigned_abs() % PRIME;
            if small < 0 {
                (PRIME - positive) % PRIME
            } else {
                positive
            }
        }
        None => value
            .mod_floor(&BigInt::from(PRIME))
            .to_u64()
            .unwrap_or_default(),
    }
}

fn plus(a: u64, b: u64) -> u64 {
    (a + b) % PRIME
}

fn times(a: u64, b: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(PRIME)) as u64
}

fn raised(mut base: u64, mut power: u64) -> u64 {
    let mut result = 1;
    while power > 0 {
        if power & 1 == 1 {
            result = times(result, base);
        }
        base = times(base, base);
        power >>= 1;
    }
    result
}

fn inverse(value: u64) -> Option<u64> {
    (value != 0).then(|| raised(value, PRIME - 2))
}
