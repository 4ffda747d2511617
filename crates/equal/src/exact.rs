//! The exact value of an expression of rational numbers.
//!
//! `None` says that it has none, or that finding it would take too long: then residues and samples decide.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use crate::tree::{Expr, Function};
use crate::work::Work;

/// Bits of a numerator or denominator beyond which nothing is worked out exactly.
const MOST_BITS: u64 = 16_384;

/// The rational value of `expr`; a percentage is so many hundredths, degrees are their number.
pub(crate) fn rational(expr: &Expr, work: &Work) -> Option<BigRational> {
    work.spend(1)?;
    let value = match expr {
        Expr::Number(number) => number.value.clone(),
        Expr::Add(terms) => {
            let mut sum = BigRational::zero();
            for term in terms {
                sum += checked(rational(term, work)?, work)?;
                paid(&sum, work)?;
            }
            sum
        }
        Expr::Mul(factors) => {
            let mut product = BigRational::one();
            for factor in factors {
                product *= rational(factor, work)?;
                paid(&product, work)?;
            }
            product
        }
        Expr::Pow(base, power) => {
            let base = rational(base, work)?;
            let power = rational(power, work)?;
            raised(&base, &power, work)?
        }
        Expr::Percent(inner) => rational(inner, work)? / BigInt::from(100),
        Expr::Degrees(inner) => rational(inner, work)?,
        Expr::Apply(function, arguments) => applied(*function, arguments, work)?,
        _ => return None,
    };
    checked(value, work)
}

/// The integer value of `expr`, where it has one.
pub(crate) fn integer(expr: &Expr, work: &Work) -> Option<BigInt> {
    let value = rational(expr, work)?;
    value.denom().is_one().then(|| value.to_integer())
}

fn bits(value: &BigRational) -> u64 {
    value.numer().bits().max(value.denom().bits())
}

fn paid(value: &BigRational, work: &Work) -> Option<()> {
    work.spend_bits(bits(value))
}

fn checked(value: BigRational, work: &Work) -> Option<BigRational> {
    paid(&value, work)?;
    (bits(&value) <= MOST_BITS).then_some(value)
}

/// `base` to the `power`, roots among them where they are exact.
fn raised(base: &BigRational, power: &BigRational, work: &Work) -> Option<BigRational> {
    let mut base = base.clone();
    if !power.denom().is_one() {
        base = root(&base, power.denom().to_u32()?, work)?;
    }
    let times = power.numer().abs().to_u32();
    if base.is_one() || (base.is_zero() && power.is_positive()) {
        return Some(base);
    }
    if base == -BigRational::one() {
        return Some(if power.numer().is_even() { -base } else { base });
    }
    let times = times?;
    if base.is_zero() && !power.is_positive() {
        return None;
    }
    let size = bits(&base).checked_mul(u64::from(times))?;
    if size > MOST_BITS {
        return None;
    }
    work.spend_bits(size)?;
    let result = BigRational::new(
        num_traits::pow(base.numer().clone(), times as usize),
        num_traits::pow(base.denom().clone(), times as usize),
    );
    Some(if power.is_negative() {
        result.recip()
    } else {
        result
    })
}

/// The exact root, where there is one; of a negative number the real odd one.
fn root(value: &BigRational, index: u32, work: &Work) -> Option<BigRational> {
    if index == 0 || (value.is_negative() && index.is_multiple_of(2)) {
        return None;
    }
    work.spend_bits(bits(value).saturating_mul(4))?;
    let (top, bottom) = (value.numer().nth_root(index), value.denom().nth_root(index));
    let exact = num_traits::pow(top.clone(), index as usize) == *value.numer()
        && num_traits::pow(bottom.clone(), index as usize) == *value.denom();
    exact.then(|| BigRational::new(top, bottom))
}

fn applied(function: Function, arguments: &[Expr], work: &Work) -> Option<BigRational> {
    let first = || rational(arguments.first()?, work);
    let whole = |at: usize| integer(arguments.get(at)?, work);
    Some(match function {
        Function::Abs => first()?.abs(),
        Function::Real | Function::Conjugate => first()?,
        Function::Floor => first()?.floor(),
        Function::Ceiling => first()?.ceil(),
        Function::Root => {
            let index = whole(1)?.to_u32()?;
            root(&first()?, index, work)?
        }
        Function::Factorial => {
            let n = whole(0)?.to_u32().filter(|n| *n <= 1500)?;
            work.spend(u64::from(n) * 40)?;
            BigRational::from_integer((1..=n).map(BigInt::from).product())
        }
        Function::Binomial => {
            let (n, k) = (whole(0)?, whole(1)?);
            let (n, k) = (n.to_u32()?, k.to_u32()?);
            if k > n {
                return Some(BigRational::zero());
            }
            let k = k.min(n - k);
            if k > 1500 {
                return None;
            }
            work.spend(u64::from(k) * 80)?;
            let mut value = BigInt::one();
            for i in 0..k {
                value = value * (n - i) / (i + 1);
            }
            BigRational::from_integer(value)
        }
        Function::Gcd | Function::Lcm => {
            let mut value = whole(0)?;
            for at in 1..arguments.len() {
                let other = whole(at)?;
                work.spend_bits(value.bits() + other.bits())?;
                value = match function {
                    Function::Gcd => value.gcd(&other),
                    _ if value.is_zero() && other.is_zero() => value,
                    _ => value.lcm(&other),
                };
                if value.bits() > MOST_BITS {
                    return None;
                }
            }
            BigRational::from_integer(value)
        }
        Function::Max | Function::Min => {
            let mut value = first()?;
            for other in &arguments[1..] {
                let other = rational(other, work)?;
                value = if function == Function::Max {
                    value.max(other)
                } else {
                    value.min(other)
                };
            }
            value
        }
        Function::Mod => {
            let (value, modulus) = (first()?, rational(arguments.get(1)?, work)?);
            if modulus.is_zero() {
                return None;
            }
            // The sign of the modulus, as in Python.
            &value - (&value / &modulus).floor() * modulus
        }
        Function::Log => {
            // log_2 8, exactly where it is a whole number.
            let (value, base) = (first()?, rational(arguments.get(1)?, work)?);
            if !value.is_positive() || !base.is_positive() || base.is_one() {
                return None;
            }
            let guess = (approximate_log(&value)? / approximate_log(&base)?).round();
            if guess.abs() > 5000.0 {
                return None;
            }
            let power = BigRational::from_integer(BigInt::from(guess as i64));
            (raised(&base, &power, work)? == value).then_some(power)?
        }
        _ => return None,
    })
}

/// The natural logarithm to a few digits, of any size of number.
fn approximate_log(value: &BigRational) -> Option<f64> {
    let log = |n: &BigInt| {
        let shift = n.bits().saturating_sub(60);
        let top = (n >> shift).to_f64()?;
        Some(top.ln() + shift as f64 * std::f64::consts::LN_2)
    };
    let result = log(value.numer())? - log(value.denom())?;
    (result != 0.0 || value.is_one()).then_some(result)
}
