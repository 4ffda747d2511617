//! Matrices: worked out as far as sums, products, transposes and determinants go, then compared by entry.

use num_traits::ToPrimitive;

use crate::compare;
use crate::exact;
use crate::tree::{Expr, Function};
use crate::work::Work;

/// Rows or columns beyond which no product or determinant is worked out.
const LARGEST: usize = 12;

/// Compares two answers of which at least one has a matrix in it; `None` where neither has.
pub(crate) fn same(gold: &Expr, prediction: &Expr, work: &Work) -> Option<bool> {
    let has = |expr: &Expr| match expr {
        Expr::Matrix(_) => true,
        Expr::Add(_) | Expr::Mul(_) | Expr::Pow(..) | Expr::Apply(..) => {
            expr.any(&mut |part| matches!(part, Expr::Matrix(_)))
        }
        _ => false,
    };
    if !has(gold) && !has(prediction) {
        return None;
    }
    Some(match (worked(gold, work), worked(prediction, work)) {
        (Some(Expr::Matrix(a)), Some(Expr::Matrix(b))) => {
            a.len() == b.len()
                && a.iter().zip(&b).all(|(x, y)| {
                    x.len() == y.len()
                        && x.iter()
                            .zip(y)
                            .all(|(x, y)| compare::same(x, y, work).is_some())
                })
        }
        // A column or a row is the vector that the other side wrote as a tuple.
        (Some(Expr::Matrix(rows)), Some(other)) => vector(&rows).is_some_and(|vector| {
            other.is_collection() && compare::same(&vector, &other, work).is_some()
        }),
        (Some(other), Some(Expr::Matrix(rows))) => vector(&rows).is_some_and(|vector| {
            other.is_collection() && compare::same(&other, &vector, work).is_some()
        }),
        (Some(a), Some(b)) if !has(&a) && !has(&b) => compare::same(&a, &b, work).is_some(),
        _ => gold == prediction,
    })
}

fn vector(rows: &[Vec<Expr>]) -> Option<Expr> {
    let single = rows.len() == 1 || rows.iter().all(|row| row.len() == 1);
    let entries: Vec<Expr> = rows.concat();
    if entries.len() == 1 {
        return None;
    }
    single.then_some(Expr::Tuple(entries))
}

/// `expr` as one matrix, or as a quantity without any.
fn worked(expr: &Expr, work: &Work) -> Option<Expr> {
    work.spend(5)?;
    Some(match expr {
        Expr::Matrix(_) => expr.clone(),
        Expr::Add(terms) => {
            let mut terms = terms.iter().map(|term| worked(term, work));
            let mut sum = terms.next()??;
            for term in terms {
                sum = match (sum, term?) {
                    (Expr::Matrix(a), Expr::Matrix(b)) => {
                        if a.len() != b.len() || a[0].len() != b[0].len() {
                            return None;
                        }
                        Expr::Matrix(
                            a.into_iter()
                                .zip(b)
                                .map(|(x, y)| {
                                    x.into_iter()
                                        .zip(y)
                                        .map(|(x, y)| Expr::Add(vec![x, y]))
                                        .collect()
                                })
                                .collect(),
                        )
                    }
                    (Expr::Matrix(_), _) | (_, Expr::Matrix(_)) => return None,
                    (a, b) => Expr::Add(vec![a, b]),
                };
            }
            sum
        }
        Expr::Mul(factors) => {
            let mut product = Expr::integer(1);
            for factor in factors {
                product = times(product, worked(factor, work)?, work)?;
            }
            product
        }
        Expr::Pow(base, power) => {
            let base = worked(base, work)?;
            let Expr::Matrix(rows) = &base else {
                return Some(Expr::Pow(Box::new(base), power.clone()));
            };
            match power.plain_integer()?.to_i64()? {
                times_taken @ 1..=8 => {
                    let mut result = base.clone();
                    for _ in 1..times_taken {
                        result = times(result, base.clone(), work)?;
                    }
                    result
                }
                -1 => inverse(rows, work)?,
                _ => return None,
            }
        }
        Expr::Apply(Function::Transpose, arguments) => match worked(arguments.first()?, work)? {
            Expr::Matrix(rows) => Expr::Matrix(
                (0..rows[0].len())
                    .map(|column| rows.iter().map(|row| row[column].clone()).collect())
                    .collect(),
            ),
            other => other,
        },
        Expr::Apply(Function::Determinant | Function::Abs, arguments)
            if matches!(worked(arguments.first()?, work), Some(Expr::Matrix(_))) =>
        {
            match worked(arguments.first()?, work)? {
                Expr::Matrix(rows) => determinant(&rows, work)?,
                _ => return None,
            }
        }
        Expr::Apply(Function::Trace, arguments) => match worked(arguments.first()?, work)? {
            Expr::Matrix(rows) if rows.len() == rows[0].len() => Expr::Add(
                rows.iter()
                    .enumerate()
                    .map(|(at, row)| row[at].clone())
                    .collect(),
            ),
            _ => return None,
        },
        Expr::Apply(Function::Norm, arguments) => match worked(arguments.first()?, work)? {
            Expr::Matrix(rows) => Expr::Apply(
                Function::Root,
                vec![
                    Expr::Add(
                        rows.concat()
                            .into_iter()
                            .map(|x| Expr::Pow(Box::new(x), Box::new(Expr::integer(2))))
                            .collect(),
                    ),
                    Expr::integer(2),
                ],
            ),
            other => Expr::Apply(Function::Norm, vec![other]),
        },
        other => other.clone(),
    })
}

fn times(a: Expr, b: Expr, work: &Work) -> Option<Expr> {
    match (a, b) {
        (Expr::Matrix(a), Expr::Matrix(b)) => {
            if a[0].len() != b.len() || b.len() > LARGEST || a.len() > LARGEST {
                return None;
            }
            work.spend((a.len() * b.len() * b[0].len()) as u64 * 20)?;
            let mut out = Vec::with_capacity(a.len());
            for row in &a {
                let mut entries = Vec::with_capacity(b[0].len());
                for column in 0..b[0].len() {
                    let terms = row
                        .iter()
                        .zip(&b)
                        .map(|(x, other)| Expr::product(vec![x.clone(), other[column].clone()]));
                    entries.push(reduced(Expr::Add(terms.collect()), work)?);
                }
                out.push(entries);
            }
            Some(Expr::Matrix(out))
        }
        (Expr::Matrix(rows), scalar) | (scalar, Expr::Matrix(rows)) => {
            work.spend(rows.len() as u64 * 10)?;
            Some(Expr::Matrix(
                rows.into_iter()
                    .map(|row| {
                        row.into_iter()
                            .map(|x| Expr::product(vec![scalar.clone(), x]))
                            .collect()
                    })
                    .collect(),
            ))
        }
        (a, b) => Some(Expr::product(vec![a, b])),
    }
}

/// `entry` as one number where it is one, so that powers of matrices do not grow; else its size is paid for.
fn reduced(entry: Expr, work: &Work) -> Option<Expr> {
    if let Some(value) = exact::rational(&entry, work) {
        return Some(Expr::exact(value));
    }
    let mut nodes = 0;
    entry.any(&mut |_| {
        nodes += 1;
        false
    });
    work.spend(nodes * 20)?;
    Some(entry)
}

/// By minors: entries may be letters, and determinants in answers are small.
fn determinant(rows: &[Vec<Expr>], work: &Work) -> Option<Expr> {
    let size = rows.len();
    if rows.iter().any(|row| row.len() != size) || size > 5 {
        return None;
    }
    if size == 1 {
        return Some(rows[0][0].clone());
    }
    let mut terms = Vec::with_capacity(size);
    for column in 0..size {
        work.spend(50)?;
        let term = Expr::product(vec![
            rows[0][column].clone(),
            determinant(&minor(rows, 0, column), work)?,
        ]);
        terms.push(if column % 2 == 1 {
            term.negated()
        } else {
            term
        });
    }
    Some(Expr::Add(terms))
}

fn minor(rows: &[Vec<Expr>], row: usize, column: usize) -> Vec<Vec<Expr>> {
    rows.iter()
        .enumerate()
        .filter(|(at, _)| *at != row)
        .map(|(_, entries)| {
            entries
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != column)
                .map(|(_, entry)| entry.clone())
                .collect()
        })
        .collect()
}

fn inverse(rows: &[Vec<Expr>], work: &Work) -> Option<Expr> {
    let size = rows.len();
    let whole = determinant(rows, work)?;
    if !(2..=4).contains(&size) {
        return None;
    }
    let mut out = Vec::with_capacity(size);
    for row in 0..size {
        let mut entries = Vec::with_capacity(size);
        for column in 0..size {
            // The adjugate is transposed.
            let cofactor = determinant(&minor(rows, column, row), work)?;
            let signed = if (row + column) % 2 == 1 {
                cofactor.negated()
            } else {
                cofactor
            };
            entries.push(signed.over(whole.clone()));
        }
        out.push(entries);
    }
    Some(Expr::Matrix(out))
}
