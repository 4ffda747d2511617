//! One way of writing for expressions that differ in the order of their terms and factors only.
//!
//! The last resort where neither residues nor samples can tell: towers of powers, sines of huge numbers.

use num_traits::{One, Zero};

use crate::tree::Expr;
use crate::work::Work;

/// Whether `a` and `b` are written alike but for order, zeros and ones.
pub(crate) fn alike(a: &Expr, b: &Expr, work: &Work) -> Option<bool> {
    Some(canonical(a, work)? == canonical(b, work)?)
}

/// `a` and `b` without the terms that they share; `None` where they share none.
///
/// Digits do not reach to the 1 in `N + 1` beside `N` when N has thirty; without N they do.
pub(crate) fn without_shared_terms(a: &Expr, b: &Expr, work: &Work) -> Option<(Expr, Expr)> {
    if !matches!(a, Expr::Add(_)) && !matches!(b, Expr::Add(_)) {
        return None;
    }
    let terms = |expr: &Expr| -> Option<Vec<(String, Expr)>> {
        let mut terms = Vec::new();
        laid_open(expr, &mut terms);
        terms
            .into_iter()
            .map(|term| Some((canonical(term, work)?, term.clone())))
            .collect()
    };
    let (mut left, mut right) = (terms(a)?, terms(b)?);
    let before = left.len();
    left.retain(|(text, _)| {
        let shared = right.iter().position(|(other, _)| other == text);
        if let Some(at) = shared {
            right.swap_remove(at);
        }
        shared.is_none()
    });
    let sum = |terms: Vec<(String, Expr)>| match terms.len() {
        0 => Expr::integer(0),
        _ => Expr::Add(terms.into_iter().map(|(_, term)| term).collect()),
    };
    (left.len() < before).then(|| (sum(left), sum(right)))
}

fn laid_open<'a>(expr: &'a Expr, out: &mut Vec<&'a Expr>) {
    match expr {
        Expr::Add(parts) => parts.iter().for_each(|part| laid_open(part, out)),
        other => out.push(other),
    }
}

/// `expr` as text, its terms and factors in order.
fn canonical(expr: &Expr, work: &Work) -> Option<String> {
    let text = match expr {
        Expr::Add(_) | Expr::Mul(_) => {
            let sum = matches!(expr, Expr::Add(_));
            let mut parts = Vec::new();
            flattened(expr, sum, work, &mut parts)?;
            parts.sort();
            match parts.len() {
                0 if sum => "0".to_owned(),
                0 => "1".to_owned(),
                1 => parts.swap_remove(0),
                _ => format!("{}({})", if sum { '+' } else { '*' }, parts.join(",")),
            }
        }
        Expr::Number(number) => number.value.to_string(),
        Expr::Pow(a, b) => format!("^({},{})", canonical(a, work)?, canonical(b, work)?),
        Expr::Apply(function, parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(|part| canonical(part, work)).collect();
            format!("{function:?}({})", parts?.join(","))
        }
        other => format!("{other:?}"),
    };
    // Every level copies what is below it.
    work.spend(text.len() as u64)?;
    Some(text)
}

fn flattened(expr: &Expr, sum: bool, work: &Work, out: &mut Vec<String>) -> Option<()> {
    match expr {
        Expr::Add(parts) if sum => parts.iter().try_for_each(|p| flattened(p, sum, work, out)),
        Expr::Mul(parts) if !sum => parts.iter().try_for_each(|p| flattened(p, sum, work, out)),
        Expr::Number(n) if sum && n.value.is_zero() => Some(()),
        Expr::Number(n) if !sum && n.value.is_one() => Some(()),
        other => {
            out.push(canonical(other, work)?);
            Some(())
        }
    }
}
