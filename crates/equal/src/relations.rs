//! Equations and inequalities.

use num_bigint::BigInt;

use crate::compare;
use crate::quantity;
use crate::sets;
use crate::tree::{Expr, Relation};
use crate::verdict::Rule;
use crate::work::Work;

/// Which rule shows that two relations say the same.
pub(crate) fn same(gold: &Expr, prediction: &Expr, work: &Work) -> Option<Rule> {
    let (Expr::Chain(first, rest), Expr::Chain(other_first, other_rest)) = (gold, prediction)
    else {
        return None;
    };
    if let ([(a, right)], [(b, other_right)]) = (rest.as_slice(), other_rest.as_slice())
        && (a == b || (compare::is_equation(gold) && compare::is_equation(prediction)))
    {
        let prediction_right = with_name(first, other_first, other_right);
        if alike(first, other_first, work)
            && compare::same(right, &prediction_right, work).is_some()
        {
            return Some(Rule::Relation);
        }
    }
    let (ours, theirs) = (
        conditions(first, rest)?,
        conditions(other_first, other_rest)?,
    );
    if ours.len() == theirs.len() && paired(&ours, &theirs, work) {
        return Some(Rule::Relation);
    }
    // Inequalities about one letter, by what satisfies them.
    let inequality = |conditions: &[Condition]| conditions.iter().any(|c| c.kind != Kind::Zero);
    if (inequality(&ours) || inequality(&theirs)) && sets::same_members(gold, prediction, work) {
        return Some(Rule::Solution);
    }
    None
}

/// Whether the left sides name the same. In `f(x) = ..` and `f(t) = ..` the letter is bound: it may differ.
fn alike(a: &Expr, b: &Expr, work: &Work) -> bool {
    if let (Expr::Call(f, x), Expr::Call(g, y)) = (a, b)
        && let ([Expr::Symbol(_)], [Expr::Symbol(_)]) = (x.as_slice(), y.as_slice())
    {
        return f == g;
    }
    compare::same(a, b, work).is_some()
}

/// `right` in the letter that `gold` defines its function with.
fn with_name(gold: &Expr, prediction: &Expr, right: &Expr) -> Expr {
    if let (Expr::Call(_, x), Expr::Call(_, y)) = (gold, prediction)
        && let ([Expr::Symbol(new)], [Expr::Symbol(old)]) = (x.as_slice(), y.as_slice())
        && new != old
    {
        return renamed(right, old, new);
    }
    right.clone()
}

fn renamed(expr: &Expr, old: &str, new: &str) -> Expr {
    let each = |parts: &[Expr]| parts.iter().map(|part| renamed(part, old, new)).collect();
    match expr {
        Expr::Symbol(name) if name == old => Expr::Symbol(new.to_owned()),
        Expr::Add(parts) => Expr::Add(each(parts)),
        Expr::Mul(parts) => Expr::Mul(each(parts)),
        Expr::Set(parts) => Expr::Set(each(parts)),
        Expr::Tuple(parts) => Expr::Tuple(each(parts)),
        Expr::Apply(f, parts) => Expr::Apply(*f, each(parts)),
        Expr::Call(f, parts) => Expr::Call(f.clone(), each(parts)),
        Expr::Pow(a, b) => Expr::Pow(
            Box::new(renamed(a, old, new)),
            Box::new(renamed(b, old, new)),
        ),
        other => other.clone(),
    }
}

/// What a condition says of its difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Zero,
    NotZero,
    Negative,
    NotPositive,
}

/// `difference` stands to zero as `kind` says.
struct Condition {
    kind: Kind,
    difference: Expr,
}

/// A chain as its single conditions; greater is written as less. `None` where sets take part.
fn conditions(first: &Expr, rest: &[(Relation, Expr)]) -> Option<Vec<Condition>> {
    let mut left = first;
    let mut out = Vec::with_capacity(rest.len());
    for (relation, right) in rest {
        if left.is_collection() || right.is_collection() {
            return None;
        }
        let (kind, flipped) = match relation {
            Relation::Equal => (Kind::Zero, false),
            Relation::Unequal => (Kind::NotZero, false),
            Relation::Less => (Kind::Negative, false),
            Relation::LessEqual => (Kind::NotPositive, false),
            Relation::Greater => (Kind::Negative, true),
            Relation::GreaterEqual => (Kind::NotPositive, true),
            Relation::In | Relation::NotIn | Relation::Subset => return None,
        };
        let difference = if flipped {
            right.clone().minus(left.clone())
        } else {
            left.clone().minus(right.clone())
        };
        out.push(Condition { kind, difference });
        left = right;
    }
    Some(out)
}

/// Whether each condition has its own partner.
fn paired(ours: &[Condition], theirs: &[Condition], work: &Work) -> bool {
    let mut free: Vec<&Condition> = theirs.iter().collect();
    ours.iter().all(|one| {
        let found = free.iter().position(|other| {
            one.kind == other.kind
                && match quantity::proportion(&one.difference, &other.difference, work) {
                    Some(factor) => {
                        factor > 0.0
                            || (factor < 0.0 && matches!(one.kind, Kind::Zero | Kind::NotZero))
                    }
                    None => one.kind == Kind::Zero && same_roots(one, other, work),
                }
        });
        found.map(|at| free.swap_remove(at)).is_some()
    })
}

/// Equations that differ by a power: `(x-2)^2 = 0` and `x = 2`.
fn same_roots(a: &Condition, b: &Condition, work: &Work) -> bool {
    let base = |condition: &Condition| -> Option<Expr> {
        let Expr::Add(terms) = &condition.difference else {
            return None;
        };
        let power = terms.iter().find(|term| matches!(term, Expr::Pow(..)))?;
        let rest_zero = terms.iter().all(|term| {
            std::ptr::eq(term, power)
                || term
                    .number()
                    .is_some_and(|n| *n.value.numer() == BigInt::ZERO)
        });
        match power {
            Expr::Pow(base, exponent) if rest_zero => {
                let positive = exponent.plain_integer()? > &BigInt::ZERO;
                positive.then(|| (**base).clone())
            }
            _ => None,
        }
    };
    let (left, right) = (base(a), base(b));
    if left.is_none() && right.is_none() {
        return false;
    }
    let left = left.unwrap_or_else(|| a.difference.clone());
    let right = right.unwrap_or_else(|| b.difference.clone());
    quantity::proportion(&left, &right, work).is_some_and(|factor| factor != 0.0)
}
