//! Whether two parsed answers say the same.
//!
//! Gold and prediction are not treated alike: an assignment on one side is laid open for a bare value on the
//! other (`x = 5` and `5`), a gold inequality may be answered by its set, a gold tuple by a list in its order,
//! but a gold set not by an inequality. These are Math-Verify's rules; `docs/equality.md` lists them.

use crate::elements::is_name;
use crate::matrix;
use crate::quantity;
use crate::relations;
use crate::sets;
use crate::tree::{Expr, NamedSet, Relation};
use crate::verdict::Rule;
use crate::work::Work;

/// Which rule shows that `prediction` says what `gold` says, if any does.
pub(crate) fn same(gold: &Expr, prediction: &Expr, work: &Work) -> Option<Rule> {
    work.spend(5)?;
    // What most answers are needs none of what follows.
    if let (Expr::Number(_), Expr::Number(_)) = (gold, prediction) {
        return quantity::same(gold, prediction, work);
    }
    let (gold, prediction) = (settled(gold), settled(prediction));
    let (mut gold, mut prediction) = (gold.as_ref(), prediction.as_ref());
    let (gold_equation, prediction_equation) = (is_equation(gold), is_equation(prediction));
    if prediction_equation && !gold_equation {
        prediction = last(prediction);
    } else if is_assignment(gold) && !prediction_equation {
        gold = last(gold);
    }
    if let Some(found) = words(gold, prediction) {
        return found.then_some(Rule::Word);
    }
    match (gold, prediction) {
        (Expr::Chain(..), Expr::Chain(..)) => relations::same(gold, prediction, work),
        (Expr::Chain(..), other) if sets::is_set(other) => {
            sets::same_members(gold, other, work).then_some(Rule::Solution)
        }
        (Expr::Chain(..), _) => None,
        (other, Expr::Chain(..)) => {
            // x < 1 or x > 2: the list is on one side only when the other was written as one chain.
            let _ = other;
            None
        }
        _ => {
            if let Some(found) = matrix::same(gold, prediction, work) {
                return found.then_some(Rule::Matrix);
            }
            if gold.is_collection() || prediction.is_collection() {
                return sets::same(gold, prediction, work);
            }
            quantity::same(gold, prediction, work)
        }
    }
}

/// `expr` with what has only one reading written that way: chains of equations by their ends, `x \notin S`
/// as `x \in R \setminus S`, `A(1,2)` as the point it names.
fn settled(expr: &Expr) -> std::borrow::Cow<'_, Expr> {
    use std::borrow::Cow;
    let Expr::Chain(first, rest) = expr else {
        return Cow::Borrowed(expr);
    };
    if let [(Relation::NotIn, set)] = rest.as_slice() {
        let rest_of = Expr::Difference(
            Box::new(Expr::Named(NamedSet::Reals)),
            Box::new(set.clone()),
        );
        return Cow::Owned(Expr::Chain(first.clone(), vec![(Relation::In, rest_of)]));
    }
    if rest.len() > 1
        && is_assignment(expr)
        && let Some(end) = rest.last()
    {
        return Cow::Owned(Expr::Chain(first.clone(), vec![end.clone()]));
    }
    Cow::Borrowed(expr)
}

fn last(expr: &Expr) -> &Expr {
    match expr {
        Expr::Chain(_, rest) => rest.last().map_or(expr, |(_, value)| value),
        other => other,
    }
}

/// A chain of equalities alone; membership counts, as it gives a set for a name.
pub(crate) fn is_equation(expr: &Expr) -> bool {
    match expr {
        Expr::Chain(_, rest) => rest
            .iter()
            .all(|(relation, _)| matches!(relation, Relation::Equal | Relation::In)),
        _ => false,
    }
}

/// An equation with a name on its left.
pub(crate) fn is_assignment(expr: &Expr) -> bool {
    match expr {
        Expr::Chain(first, _) => is_equation(expr) && is_name(first),
        _ => false,
    }
}

/// Compares words, where both sides are: `\text{odd}` and `odd`. `None` where a side is none, or where they
/// are products that may still be equal in another order.
fn words(gold: &Expr, prediction: &Expr) -> Option<bool> {
    let plain = |e: &Expr| matches!(e, Expr::Symbol(_) | Expr::Constant(_));
    if !plain(gold) && !plain(prediction) {
        return None;
    }
    let (left, right) = (word(gold)?, word(prediction)?);
    if left.eq_ignore_ascii_case(&right) {
        return Some(true);
    }
    // `i` and `\sqrt{-1}` go on to their values.
    (plain(gold) && plain(prediction)).then_some(false)
}

/// The letters of a symbol or of a product of symbols, in the order written.
fn word(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Symbol(name) => Some(name.clone()),
        Expr::Constant(crate::tree::Constant::E) => Some("e".to_owned()),
        Expr::Constant(crate::tree::Constant::Pi) => Some("\\pi".to_owned()),
        Expr::Constant(crate::tree::Constant::Infinity) => Some("\\infty".to_owned()),
        Expr::Mul(factors) => factors.iter().map(word).collect(),
        _ => None,
    }
}
