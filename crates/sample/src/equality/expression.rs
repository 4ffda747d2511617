//! Arithmetic and algebra, read into a tree and computed.
//!
//! Two expressions are compared by computing both at fixed points, so nothing has to be simplified.
//! Text and depth are bounded, and everything is computed in floating point: no input makes the work
//! grow.

use std::collections::BTreeMap;

use super::number::Printed;
use crate::seed;

/// Deeper nesting is no answer.
const MAX_DEPTH: usize = 24;
/// Points that expressions with variables are compared at.
const POINTS: usize = 8;
/// Fewer defined points say nothing.
const MIN_POINTS: usize = 3;
/// The rounding of some hundred operations, relative.
const ROUNDING: f64 = 1e-11;

/// An expression.
#[derive(Debug, Clone)]
pub(super) enum Expression {
    Number(Printed),
    Constant(f64),
    Variable(String),
    Negative(Box<Expression>),
    Percent(Box<Expression>),
    Sum(Vec<Expression>),
    Product(Box<Expression>, Box<Expression>),
    Quotient(Box<Expression>, Box<Expression>),
    Power(Box<Expression>, Box<Expression>),
    Function(Function, Box<Expression>),
}

/// A function of one argument.
#[derive(Debug, Clone, Copy)]
pub(super) enum Function {
    Named(fn(f64) -> f64),
    Factorial,
}

use Expression::{Negative, Percent, Power, Product, Quotient, Sum};

/// Reads the whole of `plain`; `None` for what is no expression.
pub(super) fn parse(plain: &str) -> Option<Expression> {
    // Letters alone are words, not products.
    let mathematical = |c: char| c.is_ascii_digit() || "+-*/^=\\\u{3c0}|".contains(c);
    if !plain.contains(mathematical) || is_range(plain) {
        return None;
    }
    let letters_multiply = plain.contains(|c: char| c.is_ascii_digit() || "+^=".contains(c));
    let mut parser = Parser {
        chars: plain.chars().collect(),
        at: 0,
        depth: 0,
        letters_multiply,
    };
    let expression = parser.sum()?;
    parser.space();
    (parser.at == parser.chars.len()).then_some(expression)
}

/// `5-10`, `2010-2011`, `2020-01-02`: a range, a score or a date, not a difference.
fn is_range(plain: &str) -> bool {
    let mut parts = plain.split('-');
    let whole = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    plain.contains('-') && parts.all(whole)
}

struct Parser {
    chars: Vec<char>,
    at: usize,
    depth: usize,
    letters_multiply: bool,
}

impl Parser {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    /// Skips spaces; true where there were any.
    fn space(&mut self) -> bool {
        let start = self.at;
        while self.peek() == Some(' ') {
            self.at += 1;
        }
        self.at > start
    }

    fn take(&mut self, c: char) -> bool {
        self.space();
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }

    fn starts(&self, with: &str) -> bool {
        let rest = &self.chars[self.at..];
        with.chars()
            .enumerate()
            .all(|(i, c)| rest.get(i) == Some(&c))
    }

    fn sum(&mut self) -> Option<Expression> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let mut terms = Vec::new();
        let mut negative = self.take('-');
        if !negative {
            self.take('+');
        }
        loop {
            let term = self.product()?;
            terms.push(if negative {
                Negative(Box::new(term))
            } else {
                term
            });
            negative = self.take('-');
            if !negative && !self.take('+') {
                break;
            }
        }
        self.depth -= 1;
        match terms.len() {
            1 => terms.pop(),
            _ => Some(Sum(terms)),
        }
    }

    fn product(&mut self) -> Option<Expression> {
        let mut left = self.power()?;
        loop {
            let apart = self.space();
            match self.peek() {
                Some('*') => {
                    self.at += 1;
                    left = Product(Box::new(left), Box::new(self.power()?));
                }
                Some('/' | ':') => {
                    self.at += 1;
                    left = Quotient(Box::new(left), Box::new(self.power()?));
                }
                Some(c) if c.is_ascii_digit() || c == '.' => {
                    // Two numbers side by side are a mixed number or nothing.
                    let Expression::Number(whole) = &left else {
                        return None;
                    };
                    if !apart || !whole.is_whole() {
                        return None;
                    }
                    let numerator = self.number()?;
                    if !numerator.is_whole() || !self.take('/') {
                        return None;
                    }
                    self.space();
                    let denominator = self.number()?;
                    left = mixed(
                        left,
                        Expression::Number(numerator),
                        Expression::Number(denominator),
                    );
                }
                Some('\\') if self.starts("\\frac") => {
                    let fraction = self.power()?;
                    left = match (left, fraction) {
                        (whole @ Expression::Number(_), Quotient(above, below))
                            if is_whole(&whole) && is_whole(&above) && is_whole(&below) =>
                        {
                            mixed(whole, *above, *below)
                        }
                        (left, fraction) => Product(Box::new(left), Box::new(fraction)),
                    };
                }
                Some(c) if c.is_alphabetic() || "({[\\".contains(c) => {
                    left = Product(Box::new(left), Box::new(self.power()?));
                }
                _ => return Some(left),
            }
        }
    }

    fn power(&mut self) -> Option<Expression> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        self.space();
        if self.take('-') {
            let inner = self.power()?;
            self.depth -= 1;
            return Some(Negative(Box::new(inner)));
        }
        let mut base = self.atom()?;
        loop {
            match self.peek() {
                Some('!') => {
                    self.at += 1;
                    base = Expression::Function(Function::Factorial, Box::new(base));
                }
                Some('%') => {
                    self.at += 1;
                    base = Percent(Box::new(base));
                }
                Some('\u{b0}') => {
                    self.at += 1;
                    let degree = Expression::Constant(std::f64::consts::PI / 180.0);
                    base = Product(Box::new(base), Box::new(degree));
                }
                _ => break,
            }
        }
        let end = self.at;
        if self.take('^') {
            base = Power(Box::new(base), Box::new(self.power()?));
        } else {
            // The space counts: `1 1/2` is a mixed number.
            self.at = end;
        }
        self.depth -= 1;
        Some(base)
    }

    fn atom(&mut self) -> Option<Expression> {
        self.space();
        let c = self.peek()?;
        if c.is_ascii_digit() || c == '.' {
            return self.number().map(Expression::Number);
        }
        let closing = match c {
            '(' => Some(')'),
            '{' => Some('}'),
            '[' => Some(']'),
            '|' => Some('|'),
            _ => None,
        };
        if let Some(closing) = closing {
            self.at += 1;
            let inner = self.sum()?;
            if !self.take(closing) {
                return None;
            }
            return Some(match c {
                '|' => Expression::Function(Function::Named(f64::abs), Box::new(inner)),
                _ => inner,
            });
        }
        if self.starts("\\frac") {
            self.at += 5;
            let above = self.argument()?;
            let below = self.argument()?;
            return Some(Quotient(Box::new(above), Box::new(below)));
        }
        if self.starts("\\sqrt") {
            self.at += 5;
            return self.root();
        }
        if c.is_alphabetic() {
            return self.letters();
        }
        None
    }

    fn root(&mut self) -> Option<Expression> {
        if self.take('[') {
            let degree = self.sum()?;
            if !self.take(']') {
                return None;
            }
            let inner = self.argument()?;
            let one = Expression::Constant(1.0);
            let exponent = Quotient(Box::new(one), Box::new(degree));
            return Some(Power(Box::new(inner), Box::new(exponent)));
        }
        self.space();
        let inner = match self.peek()? {
            // `√12`, unlike `\frac12`, reaches over the whole number.
            c if c.is_ascii_digit() => Expression::Number(self.number()?),
            _ => self.argument()?,
        };
        Some(Expression::Function(
            Function::Named(f64::sqrt),
            Box::new(inner),
        ))
    }

    /// An argument in braces or parentheses, or a single sign as in `\frac12`.
    fn argument(&mut self) -> Option<Expression> {
        self.space();
        match self.peek()? {
            c if c.is_ascii_digit() => {
                self.at += 1;
                Printed::read(c.to_string().as_str()).map(Expression::Number)
            }
            c if c.is_alphabetic() => {
                self.at += 1;
                Some(symbol(c.to_string()))
            }
            _ => self.atom(),
        }
    }

    fn number(&mut self) -> Option<Printed> {
        let start = self.at;
        let digit = |c: Option<&char>| c.is_some_and(char::is_ascii_digit);
        while let Some(c) = self.peek() {
            let next = self.chars.get(self.at + 1);
            let part = c.is_ascii_digit() || (",.".contains(c) && digit(next));
            if !part {
                break;
            }
            self.at += 1;
        }
        // `1e3`, `2.5E-4`.
        if matches!(self.peek(), Some('e' | 'E')) && self.at > start {
            let signed = matches!(self.chars.get(self.at + 1), Some('+' | '-'));
            let first = self.at + 1 + usize::from(signed);
            if digit(self.chars.get(first)) {
                self.at = first;
                while digit(self.chars.get(self.at)) {
                    self.at += 1;
                }
            }
        }
        let text: String = self.chars[start..self.at].iter().collect();
        Printed::read(&text)
    }

    /// A variable, a constant, a function with its argument, or a product of letters.
    fn letters(&mut self) -> Option<Expression> {
        let start = self.at;
        let greek = self.peek().is_some_and(|c| !c.is_ascii());
        while self.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
            self.at += 1;
        }
        if greek {
            let c = self.peek()?;
            self.at += 1;
            // Other scripts are words.
            return ('\u{3b1}'..='\u{3c9}')
                .contains(&c)
                .then(|| symbol(c.to_string()));
        }
        let run: String = self.chars[start..self.at].iter().collect();
        if let Some(function) = named(&run) {
            return self.application(&run, function);
        }
        let single = run.len() == 1;
        if single && self.peek() == Some('_') {
            self.at += 1;
            let braced = self.take('{');
            let from = self.at;
            while self.peek().is_some_and(|c| c.is_ascii_alphanumeric()) {
                self.at += 1;
                if !braced {
                    break;
                }
            }
            let index: String = self.chars[from..self.at].iter().collect();
            if index.is_empty() || (braced && !self.take('}')) {
                return None;
            }
            return Some(Expression::Variable(format!("{run}_{index}")));
        }
        match run.as_str() {
            "pi" => Some(Expression::Constant(std::f64::consts::PI)),
            _ if single => Some(symbol(run)),
            // A side or an angle, named by its points.
            _ if run.len() <= 3 && run.bytes().all(|b| b.is_ascii_uppercase()) => {
                Some(Expression::Variable(run))
            }
            _ if run.len() == 2 && self.letters_multiply => {
                let mut letters = run.chars().map(|c| Box::new(symbol(c.to_string())));
                Some(Product(letters.next()?, letters.next()?))
            }
            _ => None,
        }
    }

    fn application(&mut self, name: &str, function: fn(f64) -> f64) -> Option<Expression> {
        let mut base = None;
        if name == "log" && self.take('_') {
            base = Some(self.argument()?);
        }
        let exponent = if self.take('^') {
            Some(self.argument()?)
        } else {
            None
        };
        self.space();
        let mut argument = self.power()?;
        let bracketed = |c: char| c.is_alphanumeric() && named(&c.to_string()).is_none();
        while self.chars.get(self.at).is_some_and(|c| bracketed(*c)) {
            argument = Product(Box::new(argument), Box::new(self.power()?));
        }
        let mut value = Expression::Function(Function::Named(function), Box::new(argument));
        if let Some(base) = base {
            let scale = Expression::Function(Function::Named(function), Box::new(base));
            value = Quotient(Box::new(value), Box::new(scale));
        }
        Some(match exponent {
            Some(exponent) => Power(Box::new(value), Box::new(exponent)),
            None => value,
        })
    }
}

fn symbol(name: String) -> Expression {
    match name.as_str() {
        "e" => Expression::Constant(std::f64::consts::E),
        "\u{3c0}" => Expression::Constant(std::f64::consts::PI),
        _ => Expression::Variable(name),
    }
}

fn is_whole(expression: &Expression) -> bool {
    matches!(expression, Expression::Number(n) if n.is_whole())
}

fn mixed(whole: Expression, above: Expression, below: Expression) -> Expression {
    Sum(vec![whole, Quotient(Box::new(above), Box::new(below))])
}

fn named(name: &str) -> Option<fn(f64) -> f64> {
    let function: fn(f64) -> f64 = match name {
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "cot" => |x| 1.0 / x.tan(),
        "sec" => |x| 1.0 / x.cos(),
        "csc" => |x| 1.0 / x.sin(),
        "arcsin" => f64::asin,
        "arccos" => f64::acos,
        "arctan" => f64::atan,
        "ln" => f64::ln,
        "log" => f64::log10,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "abs" => f64::abs,
        _ => return None,
    };
    Some(function)
}

impl Expression {
    /// The number that this is as it is printed, sign and percent included.
    pub(super) fn printed(&self) -> Option<Printed> {
        match self {
            Expression::Number(number) => Some(number.clone()),
            Negative(inner) => inner.printed().map(Printed::negated),
            Percent(inner) => inner.printed().map(Printed::percent),
            _ => None,
        }
    }

    pub(super) fn variables<'a>(&'a self, into: &mut BTreeMap<&'a str, f64>) {
        match self {
            Expression::Number(_) | Expression::Constant(_) => {}
            Expression::Variable(name) => {
                into.insert(name, 0.0);
            }
            Negative(a) | Percent(a) | Expression::Function(_, a) => a.variables(into),
            Sum(terms) => terms.iter().for_each(|term| term.variables(into)),
            Product(a, b) | Quotient(a, b) | Power(a, b) => {
                a.variables(into);
                b.variables(into);
            }
        }
    }

    fn value(&self, at: &BTreeMap<&str, f64>) -> f64 {
        match self {
            Expression::Number(number) => number.value(),
            Expression::Constant(value) => *value,
            Expression::Variable(name) => at.get(name.as_str()).copied().unwrap_or(f64::NAN),
            Negative(a) => -a.value(at),
            Percent(a) => a.value(at) / 100.0,
            Sum(terms) => terms.iter().map(|term| term.value(at)).sum(),
            Product(a, b) => a.value(at) * b.value(at),
            Quotient(a, b) => a.value(at) / b.value(at),
            Power(a, b) => a.value(at).powf(b.value(at)),
            Expression::Function(Function::Named(function), a) => function(a.value(at)),
            Expression::Function(Function::Factorial, a) => factorial(a.value(at)),
        }
    }
}

/// Of whole numbers up to 170, past which it is no finite number.
fn factorial(n: f64) -> f64 {
    if n.fract() != 0.0 || !(0.0..=170.0).contains(&n) {
        return f64::NAN;
    }
    (1..=n as u32).map(f64::from).product()
}

/// Whether the two have the same value: printed numbers by their digits, others at fixed points,
/// where those at which either is undefined do not count.
pub(super) fn same(a: &Expression, b: &Expression) -> bool {
    let mut point = BTreeMap::new();
    a.variables(&mut point);
    b.variables(&mut point);
    if point.is_empty() {
        let (x, y) = (a.value(&point), b.value(&point));
        return match (a.printed(), b.printed()) {
            (Some(p), Some(q)) => p.same(&q),
            (Some(p), None) => close(x, y) || p.stands_for(y),
            (None, Some(q)) => close(x, y) || q.stands_for(x),
            (None, None) => close(x, y),
        };
    }
    let mut defined = 0;
    for n in 0..POINTS {
        for (name, value) in &mut point {
            let drawn = seed::derive(n as u64, &["equality", name]) >> 11;
            let unit = drawn as f64 / (1_u64 << 53) as f64;
            // Away from 0 and 1, where different things agree; every third point below 0.
            *value = if n % 3 == 2 {
                -0.3 - 2.0 * unit
            } else {
                0.3 + 2.4 * unit
            };
        }
        let (x, y) = (a.value(&point), b.value(&point));
        if x.is_finite() && y.is_finite() {
            if !close(x, y) {
                return false;
            }
            defined += 1;
        }
    }
    defined >= MIN_POINTS
}

fn close(x: f64, y: f64) -> bool {
    // An absolute part for what should be 0, as sin π.
    x.is_finite() && y.is_finite() && (x - y).abs() <= ROUNDING * x.abs().max(y.abs()) + 1e-14
}
