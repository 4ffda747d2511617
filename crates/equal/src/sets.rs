//! Sets, lists, tuples and intervals.
//!
//! Finite collections are matched entry by entry. Sets of real numbers built of intervals, points, unions,
//! differences and inequalities are compared by who belongs to them: at every end that either side mentions, a
//! hair beside each, between any two, and far out. For unions of intervals with known ends that decides; for
//! inequalities, whose ends are not known, many more points make a coincidence unlikely.

use crate::compare;
use crate::complex::Complex;
use crate::quantity;
use crate::sampling::{Point, Reading};
use crate::tree::{Expr, Function, NamedSet, Relation};
use crate::verdict::Rule;
use crate::wide::Wide;
use crate::work::Work;

/// Entries of a finite collection that are matched with each other.
const MOST_ENTRIES: usize = 400;

/// Ends that are looked at.
const MOST_ENDS: usize = 200;

/// Whether `expr` is a set of numbers rather than a point or a list of points.
pub(crate) fn is_set(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Interval { .. }
            | Expr::Union(_)
            | Expr::Intersection(_)
            | Expr::Difference(..)
            | Expr::Named(_)
            | Expr::Set(_)
    )
}

/// Compares two answers of which at least one is a collection.
pub(crate) fn same(gold: &Expr, prediction: &Expr, work: &Work) -> Option<Rule> {
    work.spend(20)?;
    let (gold, prediction) = (pointed(gold, work), pointed(prediction, work));
    if let (
        Expr::Interval {
            from: a,
            to: b,
            from_open: a_open,
            to_open: b_open,
        },
        Expr::Interval {
            from: c,
            to: d,
            from_open: c_open,
            to_open: d_open,
        },
    ) = (&gold, &prediction)
    {
        let alike = |x: &Expr, y: &Expr, x_open: &bool, y_open: &bool| {
            compare::same(x, y, work).is_some() && (x_open == y_open || infinite(x, work))
        };
        return (alike(a, c, a_open, c_open) && alike(b, d, b_open, d_open))
            .then_some(Rule::Interval);
    }
    let (left, right) = (entries(&gold), entries(&prediction));
    if let (Some((left, left_ordered)), Some((right, _))) = (&left, &right) {
        let rule = if *left_ordered {
            ordered(left, right, work).then_some(Rule::Order)
        } else {
            unordered(left, right, work).then_some(Rule::Set)
        };
        // A list of intervals may still be the union that the other side wrote.
        if rule.is_some() || !(any_set(left) || any_set(right)) {
            return rule;
        }
    }
    if same_members(&gold, &prediction, work) {
        return Some(Rule::Membership);
    }
    same_parts(&gold, &prediction, work).then_some(Rule::Set)
}

/// An open interval that holds nothing was meant as a point: `(2, 1)`.
fn pointed(expr: &Expr, work: &Work) -> Expr {
    if let Expr::Interval {
        from,
        to,
        from_open,
        to_open,
    } = expr
        && from_open == to_open
        && let (Some(a), Some(b)) = (quantity::real(from, work), quantity::real(to, work))
        && (b < a || (*from_open && b == a))
    {
        return Expr::Tuple(vec![(**from).clone(), (**to).clone()]);
    }
    match expr {
        // The point A(1, 2).
        Expr::Call(_, arguments) if arguments.len() > 1 => Expr::Tuple(arguments.clone()),
        Expr::Union(parts) if parts.iter().all(|p| matches!(p, Expr::Set(_))) => Expr::Set(
            parts
                .iter()
                .flat_map(|p| p.parts().into_iter().cloned())
                .collect(),
        ),
        other => other.clone(),
    }
}

fn infinite(expr: &Expr, work: &Work) -> bool {
    quantity::real(expr, work).is_some_and(|value| !value.is_finite())
}

/// The entries of a finite collection, and whether their order counts.
fn entries(expr: &Expr) -> Option<(Vec<&Expr>, bool)> {
    match expr {
        Expr::Set(entries) => Some((entries.iter().collect(), false)),
        Expr::Tuple(entries) => Some((entries.iter().collect(), true)),
        Expr::Interval {
            from,
            to,
            from_open: true,
            to_open: true,
        } => Some((vec![from, to], true)),
        Expr::Interval { .. }
        | Expr::Union(_)
        | Expr::Intersection(_)
        | Expr::Difference(..)
        | Expr::Named(_) => None,
        other => Some((vec![other], false)),
    }
}

fn any_set(entries: &[&Expr]) -> bool {
    entries.iter().any(|entry| {
        matches!(
            entry,
            Expr::Interval { .. } | Expr::Union(_) | Expr::Chain(..) | Expr::Difference(..)
        )
    })
}

fn ordered(gold: &[&Expr], prediction: &[&Expr], work: &Work) -> bool {
    gold.len() == prediction.len()
        && gold
            .iter()
            .zip(prediction)
            .all(|(a, b)| compare::same(a, b, work).is_some())
}

/// Whether the entries can be paired off, repetitions apart.
fn unordered(gold: &[&Expr], prediction: &[&Expr], work: &Work) -> bool {
    let (gold, prediction) = (distinct(gold), distinct(prediction));
    if gold.len() != prediction.len() || gold.len() > MOST_ENTRIES {
        return false;
    }
    // Sameness is no equivalence (`x = 1` is `1`, and `y = 1` is), so a first fit may have to move.
    let mut taken: Vec<Option<usize>> = vec![None; prediction.len()];
    let mut known: Vec<Vec<Option<bool>>> = vec![vec![None; prediction.len()]; gold.len()];
    for start in 0..gold.len() {
        let mut seen = vec![false; prediction.len()];
        if !placed(
            start,
            &gold,
            &prediction,
            &mut taken,
            &mut known,
            &mut seen,
            work,
        ) {
            return false;
        }
    }
    true
}

/// Finds a partner for the gold entry `at`, moving others where that helps (Kuhn's augmenting paths).
fn placed(
    at: usize,
    gold: &[&Expr],
    prediction: &[&Expr],
    taken: &mut [Option<usize>],
    known: &mut [Vec<Option<bool>>],
    seen: &mut [bool],
    work: &Work,
) -> bool {
    if work.spend(1).is_none() {
        return false;
    }
    // Where it stands in the other list is the likeliest partner.
    let order = std::iter::once(at).chain((0..prediction.len()).filter(|other| *other != at));
    for other in order {
        let fits = *known[at][other]
            .get_or_insert_with(|| compare::same(gold[at], prediction[other], work).is_some());
        if !fits || seen[other] {
            continue;
        }
        seen[other] = true;
        let free = match taken[other] {
            None => true,
            Some(holder) => placed(holder, gold, prediction, taken, known, seen, work),
        };
        if free {
            taken[other] = Some(at);
            return true;
        }
    }
    false
}

/// Without entries that are written twice.
fn distinct<'a>(entries: &[&'a Expr]) -> Vec<&'a Expr> {
    let mut kept: Vec<&Expr> = Vec::with_capacity(entries.len());
    for entry in entries.iter().take(MOST_ENTRIES + 1) {
        if !kept.contains(entry) {
            kept.push(entry);
        }
    }
    kept
}

/// Unions and the like with ends that are letters: part by part.
fn same_parts(gold: &Expr, prediction: &Expr, work: &Work) -> bool {
    match (gold, prediction) {
        (Expr::Named(a), Expr::Named(b)) => a == b,
        (Expr::Union(a), Expr::Union(b)) | (Expr::Intersection(a), Expr::Intersection(b)) => {
            unordered(
                &a.iter().collect::<Vec<_>>(),
                &b.iter().collect::<Vec<_>>(),
                work,
            )
        }
        (Expr::Difference(a, b), Expr::Difference(c, d)) => {
            compare::same(a, c, work).is_some() && compare::same(b, d, work).is_some()
        }
        _ => false,
    }
}

/// Whether the same real numbers belong to both, as far as the points show that are tried.
pub(crate) fn same_members(gold: &Expr, prediction: &Expr, work: &Work) -> bool {
    members_agree(gold, prediction, work).unwrap_or(false)
}

fn members_agree(gold: &Expr, prediction: &Expr, work: &Work) -> Option<bool> {
    let (gold, prediction) = (named(gold), named(prediction));
    let variable = variable_of(&gold, &prediction)?;
    let mut ends = vec![Wide::ZERO, Wide::ONE, -Wide::ONE];
    collect_ends(&gold, &mut ends, work);
    collect_ends(&prediction, &mut ends, work);
    ends.retain(|end| end.is_finite());
    ends.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    ends.dedup();
    if ends.len() > MOST_ENDS {
        return None;
    }
    let mut points = Vec::with_capacity(ends.len() * 10);
    for (at, end) in ends.iter().enumerate() {
        points.push(*end);
        for step in [1e-15, 1e-6, 1e-3, 0.11, 1.3] {
            points.push(*end + Wide::new(step));
            points.push(*end - Wide::new(step));
        }
        if let Some(next) = ends.get(at + 1) {
            points.push((*end + *next) / Wide::new(2.0));
            points.push(*end + (*next - *end) / Wide::new(3.7));
        }
    }
    for size in [2.0, 5.5, 17.3, 101.7, 1003.1, 1e5 + 0.3, 1e9 + 0.7] {
        points.push(Wide::new(size));
        points.push(Wide::new(-size));
    }
    let mut defined = 0usize;
    for point in &points {
        let (a, b) = (
            holds(&gold, *point, &variable, work)?,
            holds(&prediction, *point, &variable, work)?,
        );
        if a != b {
            return Some(false);
        }
        defined += 1;
    }
    Some(defined > 0)
}

/// `expr` with `f(x)` as a letter of its own, as in `0 < f(x) < 1`.
fn named(expr: &Expr) -> Expr {
    match expr {
        Expr::Call(name, arguments) => Expr::Symbol(format!("{name}({arguments:?})")),
        Expr::Add(parts) => Expr::Add(parts.iter().map(named).collect()),
        Expr::Mul(parts) => Expr::Mul(parts.iter().map(named).collect()),
        Expr::Set(parts) => Expr::Set(parts.iter().map(named).collect()),
        Expr::Apply(f, parts) => Expr::Apply(*f, parts.iter().map(named).collect()),
        Expr::Pow(a, b) => Expr::Pow(Box::new(named(a)), Box::new(named(b))),
        Expr::Chain(first, rest) => Expr::Chain(
            Box::new(named(first)),
            rest.iter().map(|(r, e)| (*r, named(e))).collect(),
        ),
        other => other.clone(),
    }
}

/// The one letter that the inequalities are about; any name where there are none.
fn variable_of(gold: &Expr, prediction: &Expr) -> Option<String> {
    let mut letters: Vec<String> = Vec::new();
    for expr in [gold, prediction] {
        expr.any(&mut |part| {
            if let Expr::Symbol(name) = part
                && !letters.contains(name)
            {
                letters.push(name.clone());
            }
            false
        });
    }
    match letters.len() {
        0 => Some("x".to_owned()),
        1 => letters.pop(),
        _ => None,
    }
}

/// The constants in `expr`: ends of intervals, entries, sides of inequalities.
fn collect_ends(expr: &Expr, ends: &mut Vec<Wide>, work: &Work) {
    if ends.len() > MOST_ENDS {
        return;
    }
    if !expr.is_collection() && !matches!(expr, Expr::Chain(..)) {
        if let Some(value) = quantity::real(expr, work) {
            ends.push(value);
            ends.push(-value);
            return;
        }
        // |x - 3| < 2 turns at what its constants add up to.
        if let Expr::Apply(Function::Abs, _) | Expr::Add(_) | Expr::Mul(_) | Expr::Pow(..) = expr {
            for part in expr.parts() {
                collect_ends(part, ends, work);
            }
        }
        return;
    }
    for part in expr.parts() {
        collect_ends(part, ends, work);
    }
}

/// Whether `x` belongs to `set`, or satisfies it where it is a relation in `variable`.
fn holds(set: &Expr, x: Wide, variable: &str, work: &Work) -> Option<bool> {
    work.spend(10)?;
    let value = |expr: &Expr| quantity::real(expr, work);
    Some(match set {
        Expr::Named(NamedSet::Empty) => false,
        Expr::Named(NamedSet::Reals | NamedSet::Complexes) => true,
        Expr::Named(NamedSet::Integers) => x.round() == x,
        Expr::Named(NamedSet::Naturals) => x.round() == x && x > Wide::ZERO,
        Expr::Named(NamedSet::Rationals | NamedSet::Primes) => return None,
        Expr::Interval {
            from,
            to,
            from_open,
            to_open,
        } => {
            let (from, to) = (value(from)?, value(to)?);
            let above = if equal(x, from) { !from_open } else { x > from };
            let below = if equal(x, to) { !to_open } else { x < to };
            above && below
        }
        Expr::Set(entries) => {
            for entry in entries {
                let found = if is_set(entry) || matches!(entry, Expr::Chain(..)) {
                    holds(entry, x, variable, work)?
                } else {
                    equal(value(entry)?, x)
                };
                if found {
                    return Some(true);
                }
            }
            false
        }
        Expr::Union(parts) => {
            for part in parts {
                if holds(part, x, variable, work)? {
                    return Some(true);
                }
            }
            false
        }
        Expr::Intersection(parts) => {
            for part in parts {
                if !holds(part, x, variable, work)? {
                    return Some(false);
                }
            }
            true
        }
        Expr::Difference(a, b) => holds(a, x, variable, work)? && !holds(b, x, variable, work)?,
        Expr::Chain(first, rest) => {
            let mut left = &**first;
            for (relation, right) in rest {
                if !related(left, *relation, right, x, variable, work)? {
                    return Some(false);
                }
                left = right;
            }
            true
        }
        _ => return None,
    })
}

fn related(
    left: &Expr,
    relation: Relation,
    right: &Expr,
    x: Wide,
    variable: &str,
    work: &Work,
) -> Option<bool> {
    let at = |expr: &Expr| {
        Point::new(Reading::default(), 0, work)
            .with(variable, Complex::real(x))
            .value(expr)
    };
    if right.is_collection() {
        let value = at(left)?;
        let inside = value.is_real() && holds(right, value.re, variable, work)?;
        return match relation {
            Relation::Equal | Relation::In => Some(inside),
            Relation::NotIn | Relation::Unequal => Some(!inside),
            _ => None,
        };
    }
    let (a, b) = (at(left)?, at(right)?);
    if !a.is_real() || !b.is_real() || a.re.to_f64().is_nan() || b.re.to_f64().is_nan() {
        return Some(false);
    }
    let (a, b) = (a.re, b.re);
    let alike = equal(a, b);
    Some(match relation {
        Relation::Equal => alike,
        Relation::Unequal => !alike,
        Relation::Less => !alike && a < b,
        Relation::LessEqual => alike || a < b,
        Relation::Greater => !alike && a > b,
        Relation::GreaterEqual => alike || a > b,
        Relation::In | Relation::NotIn | Relation::Subset => return None,
    })
}

/// Equal but for rounding.
fn equal(a: Wide, b: Wide) -> bool {
    a == b
        || (a.is_finite()
            && b.is_finite()
            && (a - b).abs() < Wide::new(1e-24) * (a.abs() + Wide::ONE))
}
