//! What an answer says, as a tree.
//!
//! Nothing is simplified here: products keep the order in which they were written, because `odd` is a word
//! as well as o times d times d, and only the comparison knows which reading the other side has.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero};

/// An exact number, and whether it was written with a decimal point.
///
/// A written decimal stands for a rounded value, so it is compared to six places; a fraction is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Number {
    pub value: BigRational,
    pub decimal: bool,
}

impl Number {
    pub fn integer(value: impl Into<BigInt>) -> Self {
        Self {
            value: BigRational::from_integer(value.into()),
            decimal: false,
        }
    }

    pub fn exact(value: BigRational) -> Self {
        Self {
            value,
            decimal: false,
        }
    }
}

/// Constants that are not rational.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Constant {
    Pi,
    E,
    Infinity,
}

/// Functions whose values are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Function {
    Abs,
    Floor,
    Ceiling,
    Factorial,
    Binomial,
    Root,
    Log,
    Exp,
    Sin,
    Cos,
    Tan,
    Csc,
    Sec,
    Cot,
    Arcsin,
    Arccos,
    Arctan,
    Arccsc,
    Arcsec,
    Arccot,
    Sinh,
    Cosh,
    Tanh,
    Arsinh,
    Arcosh,
    Artanh,
    Gcd,
    Lcm,
    Max,
    Min,
    Mod,
    Real,
    Imaginary,
    Argument,
    Conjugate,
    Determinant,
    Transpose,
    Trace,
    Norm,
}

/// Operators that bind a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Range {
    Sum,
    Product,
    Integral,
    Limit,
    Derivative,
}

/// How two sides of a relation stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Relation {
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
    Subset,
}

/// Sets with a letter of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum NamedSet {
    Empty,
    Naturals,
    Integers,
    Rationals,
    Reals,
    Complexes,
    Primes,
}

/// A parsed answer or a part of one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    Number(Number),
    Constant(Constant),
    /// A letter or an upright word, its index as `x_{1}`; capitals are kept.
    Symbol(String),
    Add(Vec<Expr>),
    Mul(Vec<Expr>),
    Pow(Box<Expr>, Box<Expr>),
    /// So many hundredths.
    Percent(Box<Expr>),
    /// An angle in degrees.
    Degrees(Box<Expr>),
    /// `a:b:c` with three parts or more; two parts are a quotient.
    Ratio(Vec<Expr>),
    Apply(Function, Vec<Expr>),
    /// `f(x)`, or `x(x+1)`: a letter before a bracket, which may be a function or a factor.
    Call(String, Vec<Expr>),
    /// Sum, product, integral or limit: body, variable, from, to.
    Range(
        Range,
        Box<Expr>,
        String,
        Option<Box<Expr>>,
        Option<Box<Expr>>,
    ),
    Matrix(Vec<Vec<Expr>>),
    Tuple(Vec<Expr>),
    /// A finite set, or a list of answers, in the order written.
    Set(Vec<Expr>),
    Interval {
        from: Box<Expr>,
        to: Box<Expr>,
        from_open: bool,
        to_open: bool,
    },
    Named(NamedSet),
    Union(Vec<Expr>),
    Intersection(Vec<Expr>),
    Difference(Box<Expr>, Box<Expr>),
    /// `a < b <= c`, in the order written.
    Chain(Box<Expr>, Vec<(Relation, Expr)>),
}

impl Expr {
    pub fn integer(value: i64) -> Self {
        Self::Number(Number::integer(value))
    }

    pub fn exact(value: BigRational) -> Self {
        Self::Number(Number::exact(value))
    }

    /// `self` with the other sign; numbers stay numbers.
    pub fn negated(self) -> Self {
        match self {
            Self::Number(n) => Self::Number(Number {
                value: -n.value,
                decimal: n.decimal,
            }),
            Self::Percent(e) => Self::Percent(Box::new(e.negated())),
            Self::Degrees(e) => Self::Degrees(Box::new(e.negated())),
            Self::Mul(mut factors) => {
                match factors.first_mut() {
                    Some(Self::Number(n)) => n.value = -n.value.clone(),
                    _ => factors.insert(0, Self::integer(-1)),
                }
                Self::Mul(factors)
            }
            other => Self::Mul(vec![Self::integer(-1), other]),
        }
    }

    /// `self - other`.
    pub fn minus(self, other: Self) -> Self {
        Self::Add(vec![self, other.negated()])
    }

    /// `self / other`; two integers make one number where the quotient exists.
    pub fn over(self, other: Self) -> Self {
        if let (Self::Number(a), Self::Number(b)) = (&self, &other)
            && !a.decimal
            && !b.decimal
            && !b.value.is_zero()
        {
            return Self::exact(&a.value / &b.value);
        }
        Self::product(vec![
            self,
            Self::Pow(Box::new(other), Box::new(Self::integer(-1))),
        ])
    }

    /// The product of `factors`, products among them laid open.
    pub fn product(factors: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(factors.len());
        for factor in factors {
            match factor {
                Self::Mul(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.len() {
            1 => flat.swap_remove(0),
            _ => Self::Mul(flat),
        }
    }

    /// The number, where this is one (a percentage is not).
    pub fn number(&self) -> Option<&Number> {
        match self {
            Self::Number(n) => Some(n),
            _ => None,
        }
    }

    /// An integer that was written as one.
    pub fn plain_integer(&self) -> Option<&BigInt> {
        self.number()
            .filter(|n| !n.decimal && n.value.denom().is_one())
            .map(|n| n.value.numer())
    }

    /// Whether this is a set, a tuple or an interval rather than a quantity.
    pub fn is_collection(&self) -> bool {
        matches!(
            self,
            Self::Set(_)
                | Self::Tuple(_)
                | Self::Interval { .. }
                | Self::Named(_)
                | Self::Union(_)
                | Self::Intersection(_)
                | Self::Difference(..)
        )
    }

    /// The direct parts.
    pub fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Number(_) | Self::Constant(_) | Self::Symbol(_) | Self::Named(_) => Vec::new(),
            Self::Add(v)
            | Self::Mul(v)
            | Self::Ratio(v)
            | Self::Apply(_, v)
            | Self::Call(_, v)
            | Self::Tuple(v)
            | Self::Set(v)
            | Self::Union(v)
            | Self::Intersection(v) => v.iter().collect(),
            Self::Pow(a, b) | Self::Difference(a, b) => vec![a, b],
            Self::Percent(a) | Self::Degrees(a) => vec![a],
            Self::Range(_, body, _, from, to) => {
                let mut parts = vec![&**body];
                parts.extend(from.as_deref());
                parts.extend(to.as_deref());
                parts
            }
            Self::Matrix(rows) => rows.iter().flatten().collect(),
            Self::Interval { from, to, .. } => vec![from, to],
            Self::Chain(first, rest) => {
                let mut parts = vec![&**first];
                parts.extend(rest.iter().map(|(_, e)| e));
                parts
            }
        }
    }

    /// Whether `test` holds for this or any part of it.
    pub fn any(&self, test: &mut dyn FnMut(&Self) -> bool) -> bool {
        test(self) || self.parts().into_iter().any(|part| part.any(test))
    }
}
