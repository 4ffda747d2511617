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
