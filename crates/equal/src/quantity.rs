//! Whether two quantities are the same: exact numbers, then residues, then samples.

use std::collections::BTreeSet;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use crate::canonical;
use crate::exact;
use crate::residue::residue;
use crate::sampling::{Point, Reading, counting_letters};
use crate::tree::{Constant, Expr, Function, Number};
use crate::verdict::Rule;
use crate::work::Work;

/// Points at which two expressions are tried.
const TRIALS: u64 = 9;

/// Points that have to agree before letters may be trusted.
const ENOUGH: usize = 3;

/// Digits that have to agree at a point, as a fraction of the larger value.
const CLOSE: f64 = 1e-25;

/// Which rule shows `a` and `b` to be one quantity, if any does.
pub(crate) fn same(a: &Expr, b: &Expr, work: &Work) -> Option<Rule> {
    if let (Some(a), Some(b)) = (written(a), written(b)) {
        return same_numbers(a, b);
    }
    if a == b {
        return (!undefined(a)).then_some(Rule::Written);
    }
    if let (Expr::Ratio(a), Expr::Ratio(b)) = (a, b) {
        return same_ratio(a, b, work);
    }
    if (is_decimal(a) || is_decimal(b))
        && let Some(rule) = same_rounded(a, b, work)
    {
        return Some(rule);
    }
    if is_constant(a)
        && is_constant(b)
        && let (Some(a), Some(b)) = (exact::rational(a, work), exact::rational(b, work))
    {
        return (a == b).then_some(Rule::Exact);
    }
    for reading in readings(a, b) {
        if let Some(rule) = same_read(a, b, reading, work) {
            return Some(rule);
        }
    }
    if canonical::alike(a, b, work)? && !undefined(a) {
        return Some(Rule::Written);
    }
    // 90 degrees and pi/2.
    match (a, b) {
        (Expr::Degrees(inner), other) | (other, Expr::Degrees(inner))
            if !matches!(other, Expr::Degrees(_)) =>
        {
            let radians = Expr::product(vec![
                (**inner).clone(),
                Expr::Constant(Constant::Pi),
                Expr::exact(BigRational::new(BigInt::one(), BigInt::from(180))),
            ]);
            same_read(&radians, other, Reading::default(), work).map(|_| Rule::Degrees)
        }
        _ => None,
    }
}

/// A number as it was written, and whether a percent sign stood behind it.
fn written(expr: &Expr) -> Option<(&Number, bool)> {
    match expr {
        Expr::Number(number) => Some((number, false)),
        Expr::Degrees(inner) => inner.number().map(|number| (number, false)),
        Expr::Percent(inner) => inner.number().map(|number| (number, true)),
        _ => None,
    }
}

/// Numbers with or without percent signs.
///
/// Decimals are compared by value to six places. Otherwise a percent sign may be missing on one side, as a
/// unit may: `9%` is `9`, and as mathematics has it also `0.09` and `9/100`.
fn same_numbers((a, a_percent): (&Number, bool), (b, b_percent): (&Number, bool)) -> Option<Rule> {
    let hundred = BigInt::from(100);
    let value = |n: &Number, percent: bool| {
        if percent {
            &n.value / &hundred
        } else {
            n.value.clone()
        }
    };
    let (left, right) = (value(a, a_percent), value(b, b_percent));
    if left == right {
        return Some(Rule::Exact);
    }
    if a.decimal || b.decimal {
        return rounded_alike(&left, &right).then_some(Rule::Decimals);
    }
    (a_percent != b_percent && a.value == b.value).then_some(Rule::Percent)
}

/// Six decimal places; of numbers too small for that, six digits.
pub(crate) fn rounded_alike(a: &BigRational, b: &BigRational) -> bool {
    let difference = (a - b).abs();
    let million = BigRational::from_integer(BigInt::from(1_000_000));
    if difference > million.recip() {
        return false;
    }
    let places = |value: &BigRational| (value * &million).round();
    let (left, right) = (places(a), places(b));
    if left != right {
        return false;
    }
    if left.is_zero() {
        return difference * million <= a.abs().max(b.abs());
    }
    true
}

fn is_decimal(expr: &Expr) -> bool {
    written(expr).is_some_and(|(number, _)| number.decimal)
}

/// A decimal beside a root or a multiple of pi.
fn same_rounded(a: &Expr, b: &Expr, work: &Work) -> Option<Rule> {
    if !is_constant(a) || !is_constant(b) {
        return None;
    }
    if let (Some(a), Some(b)) = (exact::rational(a, work), exact::rational(b, work)) {
        return rounded_alike(&a, &b).then_some(Rule::Decimals);
    }
    let value = |expr: &Expr| {
        let value = Point::new(Reading::default(), 0, work).value(expr)?;
        (value.is_real() && value.is_finite()).then(|| value.re.to_f64())
    };
    let (a, b) = (value(a)?, value(b)?);
    let places = |x: f64| (x * 1e6).round();
    (places(a) == places(b) && (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1e-300) * 1e6)
        .then_some(Rule::Decimals)
        .filter(|_| places(a) != 0.0)
}

/// Whether no letter stands in `expr`.
pub(crate) fn is_constant(expr: &Expr) -> bool {
    !expr.any(&mut |part| matches!(part, Expr::Symbol(_) | Expr::Call(..) | Expr::Range(..)))
}

/// Division of a written number by zero.
pub(crate) fn undefined(expr: &Expr) -> bool {
    expr.any(&mut |part| match part {
        Expr::Pow(base, power) => {
            base.number().is_some_and(|n| n.value.is_zero())
                && power.number().is_some_and(|n| !n.value.is_positive())
        }
        _ => false,
    })
}

/// The readings worth a try: as written, then with factors for functions, then without capitals.
pub(crate) fn readings(a: &Expr, b: &Expr) -> Vec<Reading> {
    let mut calls = false;
    let (mut names_a, mut names_b) = (BTreeSet::new(), BTreeSet::new());
    for (expr, names) in [(a, &mut names_a), (b, &mut names_b)] {
        expr.any(&mut |part| {
            match part {
                Expr::Symbol(name) => {
                    names.insert(name.clone());
                }
                Expr::Call(name, arguments) => {
                    calls |= arguments.len() == 1;
                    names.insert(name.clone());
                }
                _ => {}
            }
            false
        });
    }
    let mut readings = vec![Reading::default()];
    if calls {
        readings.push(Reading {
            products: true,
            ..Reading::default()
        });
    }
    // R^2 - r^2 is not zero: capitals are forgotten only where no side uses both.
    let injective = |names: &BTreeSet<String>| {
        let folded: BTreeSet<_> = names.iter().map(|n| n.to_ascii_lowercase()).collect();
        folded.len() == names.len()
    };
    if names_a != names_b && injective(&names_a) && injective(&names_b) {
        let folded: Vec<_> = readings
            .iter()
            .map(|reading| Reading {
                folded: true,
                ..*reading
            })
            .collect();
        readings.extend(folded);
    }
    readings
}

fn same_read(a: &Expr, b: &Expr, reading: Reading, work: &Work) -> Option<Rule> {
    if let (Some(x), Some(y)) = (residue(a, reading, 0, work), residue(b, reading, 0, work)) {
        return (x == y && residue(a, reading, 1, work) == residue(b, reading, 1, work))
            .then_some(Rule::Polynomial);
    }
    let mut letters = counting_letters(a);
    letters.extend(counting_letters(b));
    let constant = is_constant(a) && is_constant(b);
    let rest = canonical::without_shared_terms(a, b, work);
    let (a, b) = rest.as_ref().map_or((a, b), |(a, b)| (a, b));
    let mut agreed = 0;
    for trial in 0..TRIALS {
        let mut point = Point::new(reading, trial, work).counting(&letters);
        let x = point.value(a)?;
        let y = point.value(b)?;
        if !x.is_finite() || !y.is_finite() {
            // The one infinity that is a value.
            if constant {
                let both = x.re.to_f64().is_infinite() && x.re == y.re;
                return both.then_some(Rule::Sampled);
            }
            continue;
        }
        let scale = x.size().max(y.size()).max(point.peak);
        if (x - y).size() > CLOSE * scale {
            return None;
        }
        agreed += 1;
        if constant || agreed == ENOUGH + 2 {
            return Some(Rule::Sampled);
        }
    }
    (agreed >= ENOUGH).then_some(Rule::Sampled)
}

/// `a` is `b` times the number returned, at all points that could be tried.
pub(crate) fn proportion(a: &Expr, b: &Expr, work: &Work) -> Option<f64> {
    let mut letters = counting_letters(a);
    letters.extend(counting_letters(b));
    'readings: for reading in readings(a, b) {
        let mut ratio: Option<crate::complex::Complex> = None;
        let mut agreed = 0;
        for trial in 0..TRIALS {
            let mut point = Point::new(reading, trial, work).counting(&letters);
            let (x, y) = (point.value(a)?, point.value(b)?);
            if !x.is_finite() || !y.is_finite() || y.is_zero() || x.is_zero() {
                continue;
            }
            // Both sides cancel to dust where they vanish.
            if x.size().min(y.size()) < CLOSE * point.peak {
                continue;
            }
            let this = x / y;
            let first = *ratio.get_or_insert(this);
            if (this - first).size() > 1e-18 * first.size().max(this.size()) {
                continue 'readings;
            }
            agreed += 1;
        }
        if agreed >= ENOUGH
            && let Some(ratio) = ratio
            && ratio.im.to_f64().abs() < 1e-18 * ratio.size()
        {
            return Some(ratio.re.to_f64());
        }
    }
    None
}

/// 1:2:3 and 2:4:6.
fn same_ratio(a: &[Expr], b: &[Expr], work: &Work) -> Option<Rule> {
    if a.len() != b.len() {
        return None;
    }
    let (first_a, first_b) = (a.first()?, b.first()?);
    for (x, y) in a.iter().zip(b).skip(1) {
        let left = Expr::product(vec![x.clone(), first_b.clone()]);
        let right = Expr::product(vec![y.clone(), first_a.clone()]);
        same(&left, &right, work)?;
    }
    Some(Rule::Exact)
}

/// The real value of a constant `expr`, if it is one.
pub(crate) fn real(expr: &Expr, work: &Work) -> Option<crate::wide::Wide> {
    if !is_constant(expr) && !imaginary_only(expr) {
        return None;
    }
    let value = Point::new(Reading::default(), 0, work).value(expr)?;
    let nan = value.re.to_f64().is_nan();
    (value.is_real() && !nan).then_some(value.re)
}

/// Sums that count with a letter of their own have no free letters.
fn imaginary_only(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Apply(Function::Real | Function::Imaginary | Function::Abs, _)
    ) && !expr.any(&mut |part| {
        matches!(part, Expr::Symbol(name) if name != "i")
            || matches!(part, Expr::Call(..) | Expr::Range(..))
    })
}
