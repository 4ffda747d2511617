//! Tokens as a tree: what commands stand for, and the functions among them.

use num_bigint::BigInt;

use crate::numeral::number;
use crate::parse::{DEEPEST, Parser, raw};
use crate::token::Token;
use crate::tree::{Constant, Expr, Function, NamedSet, Range};

impl<'a> Parser<'a> {
    /// An argument in braces, or the next single token; of a number its first digit alone.
    pub fn argument(&mut self) -> Option<Expr> {
        if self.take(b'{') {
            return self.group();
        }
        self.nested_atom()
    }

    pub fn fraction(&mut self) -> Option<Expr> {
        if let Some(derivative) = self.derivative() {
            return derivative;
        }
        // \frac12, and \frac123 as one over twenty-three.
        if let Some(Token::Number(digits, None, None)) = self.peek()
            && digits.len() > 1
            && digits.is_ascii()
            && !digits.contains('.')
        {
            let (top, bottom) = digits.split_at(1);
            self.at += 1;
            return Some(number(top, None, None)?.over(number(bottom, None, None)?));
        }
        let top = self.argument()?;
        self.take(b'/');
        let bottom = self.argument()?;
        Some(top.over(bottom))
    }

    pub fn command(&mut self, name: &'a str) -> Option<Expr> {
        if let Some(function) = function(name) {
            return self.function(name, function);
        }
        match name {
            "frac" | "dfrac" | "tfrac" | "cfrac" => self.fraction(),
            "binom" | "dbinom" | "tbinom" => {
                let (top, bottom) = (self.argument()?, self.argument()?);
                Some(Expr::Apply(Function::Binomial, vec![top, bottom]))
            }
            "sqrt" => {
                let mut index = Expr::integer(2);
                if self.take(b'[') {
                    index = self.nested(Self::sum)?;
                    self.take(b']').then_some(())?;
                }
                // \sqrt12 is the root of one, times two.
                if let Some(Token::Number(digits, None, None)) = self.peek()
                    && digits.len() > 1
                    && !digits.contains('.')
                    && digits.is_ascii()
                {
                    let (first, rest) = digits.split_at(1);
                    self.at += 1;
                    let root = Expr::Apply(Function::Root, vec![number(first, None, None)?, index]);
                    return Some(Expr::product(vec![root, number(rest, None, None)?]));
                }
                let radicand = self.argument()?;
                Some(Expr::Apply(Function::Root, vec![radicand, index]))
            }
            "cbrt" => {
                let radicand = self.argument()?;
                Some(Expr::Apply(
                    Function::Root,
                    vec![radicand, Expr::integer(3)],
                ))
            }
            "pi" => {
                if self.peek() == Some(&Token::Sign(b'_')) {
                    return self.symbol("pi".to_owned());
                }
                Some(Expr::Constant(Constant::Pi))
            }
            "infty" => Some(Expr::Constant(Constant::Infinity)),
            "lfloor" => self.enclosed("rfloor", Function::Floor),
            "lceil" => self.enclosed("rceil", Function::Ceiling),
            "emptyset" | "varnothing" => Some(Expr::Named(NamedSet::Empty)),
            "Naturals" => Some(Expr::Named(NamedSet::Naturals)),
            "Integers" => Some(Expr::Named(NamedSet::Integers)),
            "Rationals" => Some(Expr::Named(NamedSet::Rationals)),
            "Reals" => Some(Expr::Named(NamedSet::Reals)),
            "Complexes" => Some(Expr::Named(NamedSet::Complexes)),
            "Primes" => Some(Expr::Named(NamedSet::Primes)),
            "sum" | "prod" => self.over_range(if name == "sum" {
                Range::Sum
            } else {
                Range::Product
            }),
            "int" => self.integral(),
            "lim" => self.limit(),
            "overline" | "bar" | "vec" | "overrightarrow" | "hat" | "widehat" | "tilde"
            | "widetilde" | "dot" | "ddot" | "underline" | "overarc" => {
                let accent = match name {
                    "overline" => "bar",
                    "overrightarrow" => "vec",
                    "widehat" => "hat",
                    "widetilde" => "tilde",
                    other => other,
                };
                let mut inner = String::new();
                if self.peek() == Some(&Token::Sign(b'{')) {
                    // An index is read up to its brace in the same way.
                    let mut depth = 0;
                    loop {
                        let token = self.peek()?;
                        self.at += 1;
                        match token {
                            Token::Sign(b'{') => depth += 1,
                            Token::Sign(b'}') => depth -= 1,
                            token => raw(token, &mut inner),
                        }
                        if depth == 0 {
                            break;
                        }
                    }
                } else {
                    raw(self.peek()?, &mut inner);
                    self.at += 1;
                }
                self.symbol(format!("{accent}({inner})"))
            }
            _ if STOPS.contains(&name) => None,
            other => self.symbol(other.to_owned()),
        }
    }

    pub fn enclosed(&mut self, close: &str, function: Function) -> Option<Expr> {
        let inner = self.nested(Self::sum)?;
        match self.peek() {
            Some(Token::Command(name)) if *name == close => {
                self.at += 1;
                Some(Expr::Apply(function, vec![inner]))
            }
            _ => None,
        }
    }

    pub fn function(&mut self, name: &str, function: Function) -> Option<Expr> {
        let (mut index, mut power) = (None, None);
        loop {
            match self.peek() {
                Some(Token::Sign(b'_')) if index.is_none() => {
                    self.at += 1;
                    index = Some(self.argument()?);
                }
                Some(Token::Sign(b'^')) if power.is_none() => {
                    self.at += 1;
                    power = Some(self.exponent()?);
                }
                _ => break,
            }
        }
        let mut arguments = if self.take(b'(') {
            match self.bracket(b'(')? {
                Expr::Tuple(arguments) => arguments,
                Expr::Interval { from, to, .. } => vec![*from, *to],
                other => vec![other],
            }
        } else if let (Some(Token::SetOpen), true) = (self.peek(), several(function)) {
            self.at += 1;
            match self.set()? {
                Expr::Set(arguments) => arguments,
                other => vec![other],
            }
        } else {
            vec![self.bare_argument()?]
        };
        if function == Function::Log {
            let base = match (index, name) {
                (Some(base), _) => base,
                (None, "ln") => Expr::Constant(Constant::E),
                (None, _) => Expr::integer(10),
            };
            arguments.truncate(1);
            arguments.push(base);
        }
        let mut inverse = None;
        if let Some(power) = &power
            && power.plain_integer() == Some(&BigInt::from(-1))
        {
            inverse = inverse_of(function);
        }
        if let Some(inverse) = inverse {
            return Some(Expr::Apply(inverse, arguments));
        }
        let applied = Expr::Apply(function, arguments);
        Some(match power {
            Some(power) => Expr::Pow(Box::new(applied), Box::new(power)),
            None => applied,
        })
    }

    /// `\sin 2x`: factors up to the next function, and what divides them.
    pub fn bare_argument(&mut self) -> Option<Expr> {
        if self.depth >= DEEPEST {
            return None;
        }
        self.depth += 1;
        let outer = std::mem::replace(&mut self.in_argument, true);
        let negative = self.take(b'-');
        let mut argument = self.run();
        while argument.is_some()
            && self.peek() == Some(&Token::Sign(b'/'))
            && matches!(self.ahead(1), Some(Token::Number(..) | Token::Letter(_)))
        {
            self.at += 1;
            argument = argument.and_then(|top| Some(top.over(self.run()?)));
        }
        self.in_argument = outer;
        self.depth -= 1;
        argument.map(|a| if negative { a.negated() } else { a })
    }
}

/// Commands that stand between factors or end them.
pub(crate) const STOPS: &[&str] = &[
    "cup",
    "cap",
    "setminus",
    "backslash",
    "mod",
    "bmod",
    "pmod",
    "choose",
    "over",
    "atop",
    "to",
    "rightarrow",
    "Rightarrow",
    "implies",
    "iff",
    "Leftrightarrow",
    "longrightarrow",
    "therefore",
    "because",
    "rfloor",
    "rceil",
    "circ",
    "degree",
    "supset",
    "supseteq",
];

fn several(function: Function) -> bool {
    matches!(
        function,
        Function::Max | Function::Min | Function::Gcd | Function::Lcm
    )
}

fn inverse_of(function: Function) -> Option<Function> {
    Some(match function {
        Function::Sin => Function::Arcsin,
        Function::Cos => Function::Arccos,
        Function::Tan => Function::Arctan,
        Function::Csc => Function::Arccsc,
        Function::Sec => Function::Arcsec,
        Function::Cot => Function::Arccot,
        Function::Sinh => Function::Arsinh,
        Function::Cosh => Function::Arcosh,
        Function::Tanh => Function::Artanh,
        _ => return None,
    })
}

/// The function that a command names.
pub(crate) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "sin" => Function::Sin,
        "cos" => Function::Cos,
        "tan" | "tg" => Function::Tan,
        "csc" => Function::Csc,
        "sec" => Function::Sec,
        "cot" | "ctg" => Function::Cot,
        "arcsin" | "asin" => Function::Arcsin,
        "arccos" | "acos" => Function::Arccos,
        "arctan" | "atan" | "arctg" => Function::Arctan,
        "arccsc" => Function::Arccsc,
        "arcsec" => Function::Arcsec,
        "arccot" | "arcctg" => Function::Arccot,
        "sinh" => Function::Sinh,
        "cosh" => Function::Cosh,
        "tanh" => Function::Tanh,
        "arsinh" | "arcsinh" => Function::Arsinh,
        "arcosh" | "arccosh" => Function::Arcosh,
        "artanh" | "arctanh" => Function::Artanh,
        "log" | "ln" | "lg" => Function::Log,
        "exp" => Function::Exp,
        "gcd" => Function::Gcd,
        "lcm" => Function::Lcm,
        "max" => Function::Max,
        "min" => Function::Min,
        "floor" => Function::Floor,
        "ceil" => Function::Ceiling,
        "abs" => Function::Abs,
        "det" => Function::Determinant,
        "tr" | "trace" => Function::Trace,
        "Re" => Function::Real,
        "Im" => Function::Imaginary,
        "arg" => Function::Argument,
        "conj" => Function::Conjugate,
        _ => return None,
    })
}
