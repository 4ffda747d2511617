//! The value of an expression, in Python's arithmetic.
//!
//! The official code prints SymPy's expression and has Python work the print out. So whole numbers
//! are exact and as large as need be, a quotient is a binary fraction even where it comes out even,
//! and what Python refuses (a division by zero, the root of a negative number, a complex number that
//! cannot be rounded) has no value. Powers and factorials that would take too much work have none
//! either; there the official code does not end.

use std::cmp::Ordering;

use num_bigint::BigInt;
use num_traits::{FromPrimitive, One, Signed, ToPrimitive, Zero};

use super::node::{DIGITS, Node, Valueless};
use super::token::{Function, Relation};

/// Bits of the largest whole number that is worked out.
const BITS: u64 = 1 << 16;

/// The largest number whose factorial is worked out.
const FACTORIAL: u32 = 2000;

/// A number as Python has it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Python's `int`.
    Whole(BigInt),
    /// Python's `float`.
    Binary(f64),
}

use Value::{Binary, Whole};

/// What `node` comes to.
pub(super) fn of(node: &Node) -> Result<Value, Valueless> {
    match node {
        Node::Rational(p, q) if q.is_one() => Ok(Whole(p.clone())),
        Node::Rational(p, q) => quotient(&Whole(p.clone()), &Whole(q.clone())),
        Node::Pi => Ok(Binary(std::f64::consts::PI)),
        Node::Tau => Ok(Binary(std::f64::consts::TAU)),
        Node::Symbol | Node::Undefined => Err(Valueless),
        Node::Sum(terms) => sum(terms),
        Node::Product(factors) => product(factors),
        Node::Power(base, exponent) => match &**exponent {
            Node::Rational(p, q) if half(p.abs(), q) => {
                let root = square_root(&of(base)?)?;
                if p.is_negative() {
                    quotient(&Whole(BigInt::one()), &root)
                } else {
                    Ok(root)
                }
            }
            Node::Rational(p, q) if q.is_one() && *p == BigInt::from(-1) => {
                quotient(&Whole(BigInt::one()), &of(base)?)
            }
            other => power(&of(base)?, &of(other)?),
        },
        Node::Call(function, argument, base) => call(*function, argument, base.as_deref()),
        Node::Compare(relation, left, right) => {
            let order = compare(&of(left)?, &of(right)?);
            let holds = match relation {
                Relation::Less => order == Some(Ordering::Less),
                Relation::LessEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
                Relation::Greater => order == Some(Ordering::Greater),
                Relation::GreaterEqual => {
                    matches!(order, Some(Ordering::Greater | Ordering::Equal))
                }
                Relation::Assign | Relation::Other => return Err(Valueless),
            };
            // A truth value rounds to 0 or 1.
            Ok(Whole(BigInt::from(u8::from(holds))))
        }
    }
}

/// A sum, in the order in which SymPy prints it: the smallest term first.
fn sum(terms: &[Node]) -> Result<Value, Valueless> {
    let mut values = terms.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    values.sort_by(|a, b| compare(a, b).unwrap_or(Ordering::Equal));
    let mut values = values.into_iter();
    let first = values.next().unwrap_or(Whole(BigInt::zero()));
    values.try_fold(first, |total, value| add(&total, &value))
}

fn half(p: BigInt, q: &BigInt) -> bool {
    p.is_one() && *q == BigInt::from(2)
}

/// A product, which SymPy prints as one fraction: factors with negative powers go below the line.
fn product(factors: &[Node]) -> Result<Value, Valueless> {
    let (mut over, mut under) = (None, None);
    let mut divisors = Vec::new();
    for factor in factors {
        let (side, value) = match factor {
            Node::Power(base, exponent) => match &**exponent {
                Node::Rational(p, q) if p.is_negative() => {
                    let value = if half(-p, q) {
                        divisors.push(None);
                        square_root(&of(base)?)?
                    } else if q.is_one() && *p == BigInt::from(-1) {
                        divisors.push(Some(&**base));
                        of(base)?
                    } else {
                        divisors.push(None);
                        power(&of(base)?, &of(&Node::Rational(-p, q.clone()))?)?
                    };
                    (&mut under, value)
                }
                _ => (&mut over, of(factor)?),
            },
            _ => (&mut over, of(factor)?),
        };
        *side = Some(match side.take() {
            Some(so_far) => multiply(&so_far, &value)?,
            None => value,
        });
    }
    let over = over.unwrap_or(Whole(BigInt::one()));
    match (under, divisors.as_slice()) {
        (Some(_), [Some(divisor)]) => below(over, divisor, factors),
        (Some(under), _) => quotient(&over, &under),
        (None, _) => Ok(over),
    }
}

/// Whether SymPy sees a minus sign in a product: its first factor is a negative number.
fn negative(factors: &[Node]) -> bool {
    matches!(factors.first(), Some(Node::Rational(p, _)) if p.is_negative())
}

/// Whether SymPy prints a product factor by factor, as it does for those that it could have worked
/// out, and not in its sorted form.
fn plain(factors: &[Node]) -> bool {
    let whole = |node: &Node| matches!(node, Node::Rational(_, q) if q.is_one());
    matches!(factors.first(), Some(Node::Rational(p, q)) if p.is_one() && q.is_one())
        || factors.iter().skip(1).any(|factor| match factor {
            Node::Rational(..) => true,
            Node::Power(base, exponent) => whole(base) && whole(exponent),
            _ => false,
        })
}

/// `over / divisor` of a product whose only factor below the line is `divisor`. SymPy leaves brackets
/// out there in two cases, and Python then divides from left to right: a product with a minus sign
/// has the precedence of a sum, so minus one divided by three halves is printed `-1/3/2`; and the
/// inverse of a number counts as a power though it is printed as a fraction.
fn below(over: Value, divisor: &Node, all: &[Node]) -> Result<Value, Valueless> {
    let (minus, plain) = (negative(all), plain(all));
    match divisor {
        Node::Rational(p, q) if minus && !q.is_one() && p.is_positive() => {
            quotient(&quotient(&over, &Whole(p.clone()))?, &Whole(q.clone()))
        }
        Node::Power(base, exponent) if plain => match &**exponent {
            Node::Rational(p, q) if p.is_negative() && q.is_one() && (-p).is_one() => {
                quotient(&over, &of(base)?)
            }
            Node::Rational(p, q) if p.is_negative() && half(-p, q) => {
                quotient(&over, &square_root(&of(base)?)?)
            }
            _ => quotient(&over, &of(divisor)?),
        },
        Node::Product(factors) if minus && plain && !negative(factors) => {
            let mut total = over;
            let mut first = true;
            let mut rest = None;
            for factor in factors {
                let below = match factor {
                    Node::Power(base, exponent) => match &**exponent {
                        Node::Rational(p, q) if p.is_negative() => {
                            Some(power(&of(base)?, &of(&Node::Rational(-p, q.clone()))?)?)
                        }
                        _ => None,
                    },
                    _ => None,
                };
                match below {
                    Some(value) => {
                        rest = Some(match rest.take() {
                            Some(so_far) => multiply(&so_far, &value)?,
                            None => value,
                        });
                    }
                    None if first => {
                        total = quotient(&total, &of(factor)?)?;
                        first = false;
                    }
                    None => total = multiply(&total, &of(factor)?)?,
                }
            }
            match rest {
                Some(rest) => quotient(&total, &rest),
                None => Ok(total),
            }
        }
        other => quotient(&over, &of(other)?),
    }
}

/// Python's `float()` of a number: too large a whole number has none.
fn float(value: &Value) -> Result<f64, Valueless> {
    match value {
        Binary(x) => Ok(*x),
        Whole(n) => n.to_f64().filter(|x| x.is_finite()).ok_or(Valueless),
    }
}

fn add(left: &Value, right: &Value) -> Result<Value, Valueless> {
    match (left, right) {
        (Whole(a), Whole(b)) => Ok(Whole(a + b)),
        _ => Ok(Binary(float(left)? + float(right)?)),
    }
}

fn multiply(left: &Value, right: &Value) -> Result<Value, Valueless> {
    match (left, right) {
        (Whole(a), Whole(b)) if a.bits() + b.bits() <= BITS => Ok(Whole(a * b)),
        (Whole(_), Whole(_)) => Err(Valueless),
        _ => Ok(Binary(float(left)? * float(right)?)),
    }
}

/// Python's `/`. Of whole numbers it is the binary fraction nearest to the true quotient.
fn quotient(left: &Value, right: &Value) -> Result<Value, Valueless> {
    /// Whole numbers up to here are binary fractions themselves, so their quotient is rounded once.
    const EXACT: u64 = 53;
    match (left, right) {
        (_, Whole(b)) if b.is_zero() => Err(Valueless),
        (_, Binary(b)) if *b == 0.0 => Err(Valueless),
        (Whole(a), Whole(b)) if a.bits() > EXACT || b.bits() > EXACT => {
            // Scaled so that the whole quotient has two bits more than a fraction keeps; the lower
            // of them also says whether anything was left over, as rounding needs to know.
            let shift = 55 + b.bits() as i64 - a.bits() as i64;
            let (over, under) = if shift >= 0 {
                (a.abs() << shift.unsigned_abs(), b.abs())
            } else {
                (a.abs(), b.abs() << shift.unsigned_abs())
            };
            let whole = &over / &under;
            let odd = whole.bit(0) || !(over % under).is_zero();
            let mantissa = ((whole >> 1u32) << 1u32) + i32::from(odd);
            let mantissa = mantissa.to_f64().ok_or(Valueless)?;
            let sign = if a.is_negative() == b.is_negative() {
                1.0
            } else {
                -1.0
            };
            // In two steps, since the scale alone may be out of range.
            let scale = i32::try_from(-shift).map_err(|_| Valueless)?;
            let value = mantissa * 2f64.powi(scale / 2) * 2f64.powi(scale - scale / 2);
            if value.is_finite() {
                Ok(Binary(sign * value))
            } else {
                Err(Valueless)
            }
        }
        _ => Ok(Binary(float(left)? / float(right)?)),
    }
}

/// Python's `**`.
fn power(base: &Value, exponent: &Value) -> Result<Value, Valueless> {
    if let (Whole(a), Whole(b)) = (base, exponent)
        && !b.is_negative()
    {
        if a.is_zero() || a.is_one() || *a == BigInt::from(-1) {
            let even = !b.bit(0);
            return Ok(Whole(match (a.is_zero(), b.is_zero()) {
                (_, true) => BigInt::one(),
                (true, false) => BigInt::zero(),
                (false, false) if even => BigInt::one(),
                (false, false) => a.clone(),
            }));
        }
        let exponent = b.to_u32().ok_or(Valueless)?;
        if a.bits().saturating_mul(u64::from(exponent)) > BITS {
            return Err(Valueless);
        }
        return Ok(Whole(a.pow(exponent)));
    }
    let (a, b) = (float(base)?, float(exponent)?);
    if a == 0.0 && b < 0.0 {
        return Err(Valueless);
    }
    if a < 0.0 && a.is_finite() && b.is_finite() && b.fract() != 0.0 {
        // A complex number.
        return Err(Valueless);
    }
    checked(a.powf(b), a.is_finite() && b.is_finite())
}

/// A result that is out of range though its operands were not is an error.
fn checked(result: f64, finite: bool) -> Result<Value, Valueless> {
    if (finite && !result.is_finite()) || result.is_nan() {
        return Err(Valueless);
    }
    Ok(Binary(result))
}

fn square_root(value: &Value) -> Result<Value, Valueless> {
    let x = float(value)?;
    if x < 0.0 {
        Err(Valueless)
    } else {
        Ok(Binary(x.sqrt()))
    }
}

fn logarithm(value: &Value) -> Result<f64, Valueless> {
    match value {
        // Python takes logarithms of whole numbers of any size.
        Whole(n) if n.is_positive() && n.bits() > 1000 => {
            let shift = n.bits() - 64;
            let top = (n >> shift).to_f64().ok_or(Valueless)?;
            Ok(top.ln() + shift as f64 * std::f64::consts::LN_2)
        }
        other => match float(other)? {
            x if x > 0.0 => Ok(x.ln()),
            _ => Err(Valueless),
        },
    }
}

fn call(function: Function, argument: &Node, base: Option<&Node>) -> Result<Value, Valueless> {
    let value = of(argument)?;
    match function {
        Function::Log => {
            let base = match base {
                Some(base) => logarithm(&of(base)?)?,
                None => 10f64.ln(),
            };
            if base == 0.0 {
                return Err(Valueless);
            }
            return Ok(Binary(logarithm(&value)? / base));
        }
        Function::Factorial => return factorial(&value),
        Function::Floor => {
            return match value {
                Whole(n) => Ok(Whole(n)),
                Binary(x) => BigInt::from_f64(x.floor()).map(Whole).ok_or(Valueless),
            };
        }
        _ => {}
    }
    let x = float(&value)?;
    let result = match function {
        Function::Sin => x.sin(),
        Function::Cos => x.cos(),
        Function::Tan => x.tan(),
        Function::Asin => x.asin(),
        Function::Acos => x.acos(),
        Function::Atan => x.atan(),
        Function::Sinh => x.sinh(),
        Function::Cosh => x.cosh(),
        Function::Tanh => x.tanh(),
        Function::Asinh => x.asinh(),
        Function::Acosh => x.acosh(),
        Function::Atanh => x.atanh(),
        Function::Exp => x.exp(),
        Function::Log
        | Function::Ln
        | Function::Floor
        | Function::Factorial
        | Function::Undefined => {
            return Err(Valueless);
        }
    };
    checked(result, x.is_finite())
}

fn factorial(value: &Value) -> Result<Value, Valueless> {
    let Whole(n) = value else {
        return Err(Valueless);
    };
    let n = n.to_u32().filter(|n| *n <= FACTORIAL).ok_or(Valueless)?;
    Ok(Whole((2..=n).fold(BigInt::one(), |product, i| product * i)))
}

/// Exact, whatever the kinds; none where one is not a number.
pub(super) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Whole(a), Whole(b)) => Some(a.cmp(b)),
        (Binary(a), Binary(b)) => a.partial_cmp(b),
        (Binary(_), Whole(_)) => compare(right, left).map(Ordering::reverse),
        (Whole(a), Binary(b)) => {
            if b.is_infinite() {
                return 0f64.partial_cmp(b);
            }
            let whole = BigInt::from_f64(b.trunc())?;
            Some(
                a.cmp(&whole)
                    .then_with(|| 0f64.partial_cmp(&b.fract()).unwrap_or(Ordering::Equal)),
            )
        }
    }
}

/// Python's `round(value, 2)`.
pub(super) fn rounded(value: Value) -> Value {
    match value {
        Binary(x) => Binary(round2(x)),
        whole => whole,
    }
}

/// The binary fraction nearest to `x` rounded, exactly, to two decimals; a tie goes to the even one.
fn round2(x: f64) -> f64 {
    if !x.is_finite() {
        return x;
    }
    let eighths = x * 8.0;
    if eighths.fract() == 0.0 && eighths.abs() < 2f64.powi(50) {
        // The only ties are odd eighths; 125 thousandths each is exact.
        let thousandths = eighths as i64 * 125;
        let (down, rest) = (thousandths.div_euclid(10), thousandths.rem_euclid(10));
        let hundredths = down + i64::from(rest > 5 || (rest == 5 && down % 2 != 0));
        let rounded = hundredths as f64 / 100.0;
        return if rounded == 0.0 {
            0f64.copysign(x)
        } else {
            rounded
        };
    }
    format!("{x:.2}").parse().unwrap_or(x)
}

/// Python's `str()` of a rounded value.
pub(super) fn printed(value: &Value) -> Result<String, Valueless> {
    match value {
        Whole(n) => {
            let text = n.to_string();
            let digits = text.trim_start_matches('-').len();
            if digits > DIGITS {
                Err(Valueless)
            } else {
                Ok(text)
            }
        }
        Binary(x) if x.is_nan() => Ok("nan".to_owned()),
        Binary(x) => {
            let text = format!("{x:?}");
            // Rust writes 1e16 where Python writes 1e+16; smaller than 0.01 nothing is.
            Ok(match text.split_once('e') {
                Some((mantissa, exponent)) if !exponent.starts_with('-') => {
                    format!("{mantissa}e+{exponent}")
                }
                _ => even(*x, &text).unwrap_or(text),
            })
        }
    }
}

/// Where `x` lies halfway between two decimals as short as `text`, Python prints the even one.
fn even(x: f64, text: &str) -> Option<String> {
    let exact = format!("{x:.20}");
    let down = exact.trim_end_matches('0').strip_suffix('5')?;
    let last = down.chars().next_back()?.to_digit(10)?;
    (last % 2 == 0 && down.len() == text.len() && down.parse() == Ok(x)).then(|| down.to_owned())
}
