//! Expressions as SymPy holds them, with the few simplifications that it makes while building.

use num_bigint::BigInt;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::token::{self, Function, Relation};
use super::value::{self, Value};

/// Digits that Python reads into one number.
pub(super) const DIGITS: usize = 4300;

/// An expression without a value, for whatever reason: it cannot be parsed, has names in it, divides
/// by zero, or would take too much work. The official code calls all of these unequal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Valueless;

impl From<token::Unknown> for Valueless {
    fn from(_: token::Unknown) -> Valueless {
        Valueless
    }
}

/// An expression as SymPy holds it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// A number, in lowest terms, as SymPy reads it: `0.50` is one half.
    Rational(BigInt, BigInt),
    Pi,
    Tau,
    /// A name.
    Symbol,
    /// Something that prints as what Python does not know.
    Undefined,
    Sum(Vec<Node>),
    Product(Vec<Node>),
    Power(Box<Node>, Box<Node>),
    /// A function, and a logarithm's base.
    Call(Function, Box<Node>, Option<Box<Node>>),
    Compare(Relation, Box<Node>, Box<Node>),
}

impl Node {
    pub(super) fn integer(n: impl Into<BigInt>) -> Node {
        Node::Rational(n.into(), BigInt::one())
    }

    pub(super) fn is_integer(&self, n: i32) -> bool {
        matches!(self, Node::Rational(p, q) if q.is_one() && *p == BigInt::from(n))
    }

    /// The negative, which SymPy works out for numbers and writes as a product for all else.
    pub(super) fn negated(self) -> Node {
        match self {
            Node::Rational(p, q) => Node::Rational(-p, q),
            other => product(Node::integer(-1), other),
        }
    }

    pub(super) fn power(self, exponent: Node) -> Node {
        Node::Power(Box::new(self), Box::new(exponent))
    }

    /// `1 / self` as SymPy builds a quotient.
    pub(super) fn inverse(self) -> Node {
        self.power(Node::integer(-1))
    }
}

pub(super) fn product(left: Node, right: Node) -> Node {
    Node::Product(flat(left, right, |node| match node {
        Node::Product(parts) => Ok(parts),
        other => Err(other),
    }))
}

pub(super) fn sum(left: Node, right: Node) -> Node {
    Node::Sum(flat(left, right, |node| match node {
        Node::Sum(parts) => Ok(parts),
        other => Err(other),
    }))
}

fn flat(left: Node, right: Node, parts: impl Fn(Node) -> Result<Vec<Node>, Node>) -> Vec<Node> {
    let mut all = parts(left).unwrap_or_else(|one| vec![one]);
    match parts(right) {
        Ok(more) => all.extend(more),
        Err(one) => all.push(one),
    }
    all
}

/// `e` to a power, which SymPy works out where it sees how.
pub(super) fn exponential(exponent: Node) -> Node {
    if exponent.is_integer(0) {
        return Node::integer(1);
    }
    if exponent.is_integer(1) {
        // Prints as `E`, which Python does not know.
        return Node::Undefined;
    }
    let logarithm = |node: &Node| matches!(node, Node::Call(Function::Log | Function::Ln, ..));
    match exponent {
        // Whatever its base.
        Node::Call(Function::Log | Function::Ln, argument, _) => *argument,
        Node::Product(parts) if parts.iter().filter(|part| logarithm(part)).count() == 1 => {
            let (logarithms, factors): (Vec<Node>, Vec<Node>) =
                parts.into_iter().partition(logarithm);
            match logarithms.into_iter().next() {
                Some(Node::Call(_, argument, _)) => argument.power(Node::Product(factors)),
                _ => Node::Undefined,
            }
        }
        other => Node::Call(Function::Exp, Box::new(other), None),
    }
}

/// SymPy works binomial coefficients of whole numbers out.
pub(super) fn binomial(n: &Node, k: &Node) -> Node {
    /// Above it a coefficient may take too much work.
    const LARGEST: i64 = 1000;
    let whole = |node: &Node| match value::of(node) {
        Ok(Value::Whole(n)) => n.to_i64().filter(|n| n.abs() <= LARGEST),
        _ => None,
    };
    if k.is_integer(0) {
        return Node::integer(1);
    }
    let (Some(n), Some(k)) = (whole(n), whole(k)) else {
        return Node::Undefined;
    };
    let mut coefficient = BigInt::from(i32::from(k >= 0));
    for i in 0..k {
        coefficient = coefficient * (n - i) / (i + 1);
    }
    Node::integer(coefficient)
}

pub(super) fn gcd(a: &BigInt, b: &BigInt) -> BigInt {
    let (mut a, mut b) = (a.abs(), b.abs());
    while !b.is_zero() {
        (a, b) = (b.clone(), a % b);
    }
    a
}

/// The number that `digits` spell, divided by `10^shift`.
pub(super) fn rational(digits: &str, shift: u32) -> Result<Node, Valueless> {
    let digits = digits.replace(',', "");
    let (whole, decimals) = digits.split_once('.').unwrap_or((&digits, ""));
    if whole.len() + decimals.len() > DIGITS {
        return Err(Valueless);
    }
    let numerator: BigInt = format!("0{whole}{decimals}")
        .parse()
        .map_err(|_| Valueless)?;
    let places = u32::try_from(decimals.len()).map_err(|_| Valueless)? + shift;
    if places == 0 {
        return Ok(Node::integer(numerator));
    }
    let denominator = BigInt::from(10).pow(places);
    let common = gcd(&numerator, &denominator);
    Ok(Node::Rational(numerator / &common, denominator / &common))
}
