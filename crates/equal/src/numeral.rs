//! Written digits as exact numbers.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Num, One};

use crate::tree::{Expr, Number};

/// The exact value of written digits.
pub(crate) fn number(digits: &str, period: Option<&str>, power: Option<i32>) -> Option<Expr> {
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let ten = |n: usize| BigInt::from(10).pow(u32::try_from(n).unwrap_or(u32::MAX));
    let mut value = if decimals.is_empty() {
        BigRational::from_integer(integer(whole)?)
    } else {
        let all = integer(&[whole, decimals].concat())?;
        BigRational::new(all, ten(decimals.len()))
    };
    if let Some(period) = period {
        let cycle = ten(period.len()) - BigInt::one();
        value += BigRational::new(integer(period)?, cycle * ten(decimals.len()));
        return Some(Expr::exact(value));
    }
    let decimal = digits.contains('.');
    let Some(power) = power else {
        return Some(Expr::Number(Number { value, decimal }));
    };
    if power.unsigned_abs() <= 400 {
        let factor = BigRational::from_integer(ten(power.unsigned_abs() as usize));
        value = if power < 0 {
            value / factor
        } else {
            value * factor
        };
        return Some(Expr::Number(Number { value, decimal }));
    }
    Some(Expr::product(vec![
        Expr::Number(Number { value, decimal }),
        Expr::Pow(
            Box::new(Expr::integer(10)),
            Box::new(Expr::integer(i64::from(power))),
        ),
    ]))
}

fn integer(digits: &str) -> Option<BigInt> {
    if digits.len() <= 18 {
        return digits.parse::<i64>().ok().map(BigInt::from);
    }
    BigInt::from_str_radix(digits, 10).ok()
}
