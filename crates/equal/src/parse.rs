//! Tokens as a tree: expressions. Commands are in `commands` and `ranges`, lists,
//! sets and relations in `elements`.
//!
//! A recursive descent of limited depth that reads every token once (an element with `\pm` twice). Where
//! LaTeX leaves open what is meant, the reading is Math-Verify's: an implied product binds tighter than a
//! slash, `2\frac12` is a mixed number, `\log` is to base ten. `None` is "not mathematics that we know".

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::Signed;

use crate::commands::{STOPS, function};
use crate::numeral::number;
use crate::token::{Lexed, Token, tokens};
use crate::tree::{Constant, Expr, Function, NamedSet};

/// Brackets, fractions and exponents inside each other.
pub(crate) const DEEPEST: usize = 48;

/// Signs behind one atom, or operators in a row that nest to the left: each is a level of the tree too.
pub(crate) const MOST_SIGNS: usize = 16;

/// `text` as an answer: an expression, a relation, a set or a list of those.
pub(crate) fn answer(text: &str) -> Option<Expr> {
    let tokens = tokens(text)?;
    let mut parser = Parser::new(&tokens, 0);
    let answer = parser.answer()?;
    (parser.at == tokens.len()).then_some(answer)
}

pub(crate) struct Parser<'a> {
    pub tokens: &'a [Lexed<'a>],
    pub at: usize,
    pub depth: usize,
    /// Whether `\pm` reads as plus.
    pub plus: bool,
    /// Whether a `\pm` was met.
    pub forked: bool,
    /// How many entries were read twice for one.
    pub forks: usize,
    /// Inside a group, where a `\pm` makes two of the entry around.
    pub held: bool,
    /// Open absolute bars.
    bars: usize,
    /// Whether a colon may divide here; in `\{x : x > 0\}` it does not.
    pub colon: bool,
    /// Inside a function's argument without brackets, where another function ends it.
    pub in_argument: bool,
}

impl<'a> Parser<'a> {
    /// The one factor that two parts of an angle make: 75 degrees 30 minutes.
    fn angle(factors: &mut Vec<Expr>, minutes: Expr) {
        match (factors.pop(), minutes) {
            (Some(Expr::Degrees(whole)), Expr::Degrees(part)) => {
                factors.push(Expr::Degrees(Box::new(Expr::Add(vec![*whole, *part]))));
            }
            (last, part) => {
                factors.extend(last);
                factors.push(part);
            }
        }
    }

    pub fn new(tokens: &'a [Lexed<'a>], depth: usize) -> Self {
        Self {
            tokens,
            at: 0,
            depth,
            plus: true,
            forked: false,
            forks: 0,
            held: false,
            bars: 0,
            colon: true,
            in_argument: false,
        }
    }

    pub fn peek(&self) -> Option<&'a Token<'a>> {
        self.tokens.get(self.at).map(|lexed| &lexed.token)
    }

    pub fn ahead(&self, by: usize) -> Option<&'a Token<'a>> {
        self.tokens.get(self.at + by).map(|lexed| &lexed.token)
    }

    pub fn take(&mut self, sign: u8) -> bool {
        let found = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(found);
        found
    }

    /// Runs `read` one level deeper with bars, colons and arguments forgotten, if there is depth left.
    pub fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.depth >= DEEPEST {
            return None;
        }
        self.depth += 1;
        let outer = (self.bars, self.colon, self.in_argument, self.held);
        (self.bars, self.colon, self.in_argument) = (0, true, false);
        let result = read(self);
        (self.bars, self.colon, self.in_argument, self.held) = outer;
        self.depth -= 1;
        result
    }

    /// Sums and differences.
    pub fn sum(&mut self) -> Option<Expr> {
        let mut terms = Vec::new();
        loop {
            let negative = match self.peek() {
                Some(Token::Sign(b'+')) => {
                    self.at += 1;
                    false
                }
                Some(Token::Sign(b'-')) => {
                    self.at += 1;
                    true
                }
                Some(Token::PlusMinus(upper)) => {
                    self.at += 1;
                    self.forked = true;
                    *upper != self.plus
                }
                _ if terms.is_empty() => false,
                _ => break,
            };
            let term = self.term()?;
            terms.push(if negative { term.negated() } else { term });
        }
        Some(if terms.len() == 1 {
            terms.swap_remove(0)
        } else {
            Expr::Add(terms)
        })
    }

    /// Products and quotients.
    pub fn term(&mut self) -> Option<Expr> {
        let mut left = self.signed()?;
        let mut ratio = Vec::new();
        let mut nested = 0;
        loop {
            match self.peek() {
                Some(Token::Sign(b'*')) => {
                    self.at += 1;
                    let right = self.signed()?;
                    left = Expr::product(vec![left, right]);
                }
                Some(Token::Sign(b'/')) => {
                    self.at += 1;
                    left = left.over(self.signed()?);
                }
                Some(Token::Sign(b':')) if self.colon => {
                    self.at += 1;
                    let right = self.signed()?;
                    ratio.push(std::mem::replace(&mut left, right));
                }
                Some(Token::Command("mod" | "bmod" | "pmod")) => {
                    self.at += 1;
                    let modulus = self.signed()?;
                    nested += 1;
                    if nested > MOST_SIGNS {
                        return None;
                    }
                    left = Expr::Apply(Function::Mod, vec![left, modulus]);
                }
                Some(Token::Command("circ")) => {
                    self.at += 1;
                    let right = self.signed()?;
                    left = Expr::product(vec![left, right]);
                }
                _ => break,
            }
        }
        if ratio.is_empty() {
            return Some(left);
        }
        ratio.push(left);
        if ratio.len() == 2 {
            let (right, left) = (ratio.pop()?, ratio.pop()?);
            return Some(left.over(right));
        }
        Some(Expr::Ratio(ratio))
    }

    /// A run of factors with signs before it.
    pub fn signed(&mut self) -> Option<Expr> {
        let mut negative = false;
        loop {
            match self.peek() {
                Some(Token::Sign(b'-')) => negative = !negative,
                Some(Token::Sign(b'+')) => {}
                _ => break,
            }
            self.at += 1;
        }
        let run = self.run()?;
        Some(if negative { run.negated() } else { run })
    }

    /// Factors side by side.
    pub fn run(&mut self) -> Option<Expr> {
        let mut factors: Vec<Expr> = Vec::new();
        loop {
            let fraction = matches!(
                self.peek(),
                Some(Token::Command("frac" | "dfrac" | "tfrac" | "cfrac"))
            );
            let number = matches!(self.peek(), Some(Token::Number(..)));
            let mut factor = self.postfix()?;
            let whole = factors.last().and_then(Expr::plain_integer).cloned();
            if let (Some(whole), 1) = (whole, factors.len()) {
                // 2\frac12, 2 1/2
                if number
                    && self.peek() == Some(&Token::Sign(b'/'))
                    && let Some(Token::Number(..)) = self.ahead(1)
                {
                    self.at += 1;
                    factor = factor.over(self.postfix()?);
                    factors.pop();
                    factors.push(mixed(whole, &factor)?);
                    if self.starts_factor() {
                        return None;
                    }
                    break;
                }
                if fraction
                    && let Some(part) = factor.number()
                    && part.value.is_positive()
                {
                    factors.pop();
                    factors.push(mixed(whole, &factor)?);
                    if self.starts_factor() {
                        continue;
                    }
                    break;
                }
            }
            // `2 3` says neither six nor twenty-three.
            if number
                && matches!(factors.last(), Some(Expr::Number(_)))
                && matches!(factor, Expr::Number(_))
            {
                return None;
            }
            Self::angle(&mut factors, factor);
            if !self.starts_factor() {
                break;
            }
        }
        Some(Expr::product(factors))
    }

    /// Whether what comes next can stand beside a factor as another.
    pub fn starts_factor(&self) -> bool {
        match self.peek() {
            Some(Token::Number(..) | Token::Letter(_) | Token::Text(_) | Token::SetOpen) => true,
            Some(Token::Norm) => self.bars == 0,
            Some(Token::Sign(b'|')) => self.bars == 0 && self.colon,
            // The bracket that closes [0, 1[ stands before nothing, or before another set.
            Some(Token::Sign(b'[')) => !matches!(
                self.ahead(1),
                None | Some(Token::Sign(b',' | b')' | b'}' | b';'))
                    | Some(Token::Command("cup" | "cap" | "setminus") | Token::Relation(_))
            ),
            Some(Token::Sign(sign)) => matches!(sign, b'(' | b'{'),
            Some(Token::Begin(_)) => true,
            Some(Token::Command(name)) => {
                !STOPS.contains(name) && (!self.in_argument || function(name).is_none())
            }
            _ => false,
        }
    }

    /// An atom with exponents, factorials, percent and degree signs behind it.
    pub fn postfix(&mut self) -> Option<Expr> {
        let mut base = self.nested_atom()?;
        for _ in 0..MOST_SIGNS {
            match self.peek() {
                Some(Token::Sign(b'^')) => {
                    self.at += 1;
                    base = self.raised(base)?;
                }
                Some(Token::Sign(b'!')) => {
                    self.at += 1;
                    base = Expr::Apply(Function::Factorial, vec![base]);
                }
                Some(Token::Sign(b'%')) => {
                    self.at += 1;
                    base = Expr::Percent(Box::new(base));
                }
                Some(Token::Command("degree" | "circ"))
                    if matches!(base, Expr::Number(_))
                        && !matches!(self.ahead(1), Some(Token::Letter(_) | Token::Number(..))) =>
                {
                    self.at += 1;
                    base = Expr::Degrees(Box::new(base));
                }
                Some(Token::Sign(b'\'')) => {
                    self.at += 1;
                    match &mut base {
                        Expr::Symbol(name) => name.push('\''),
                        Expr::Matrix(_) => base = Expr::Apply(Function::Transpose, vec![base]),
                        // Minutes of arc.
                        Expr::Number(_) => {
                            base = Expr::Degrees(Box::new(base.over(Expr::integer(60))));
                        }
                        _ => return None,
                    }
                    base = self.called(base)?;
                }
                // The base of a numeral, and an index on a bracket, are not read.
                Some(Token::Sign(b'_')) => {
                    self.index()?;
                }
                _ => return Some(base),
            }
        }
        None
    }

    pub fn raised(&mut self, base: Expr) -> Option<Expr> {
        let (first, second) = (self.peek()?, self.ahead(1));
        let braced = *first == Token::Sign(b'{') && self.ahead(2) == Some(&Token::Sign(b'}'));
        let inner = if braced { second? } else { first };
        let length = if braced { 3 } else { 1 };
        match inner {
            Token::Command("circ" | "degree") => {
                self.at += length;
                return Some(Expr::Degrees(Box::new(base)));
            }
            Token::Command("prime") | Token::Sign(b'\'') => {
                self.at += length;
                let Expr::Symbol(name) = base else {
                    return None;
                };
                return self.called(Expr::Symbol(name + "'"));
            }
            // 90^{\text{th}}
            Token::Text("th" | "st" | "nd" | "rd") if braced => {
                self.at += length;
                return Some(base);
            }
            Token::Command("top") | Token::Letter('T') if matches!(base, Expr::Matrix(_)) => {
                self.at += length;
                return Some(Expr::Apply(Function::Transpose, vec![base]));
            }
            Token::Sign(sign @ (b'+' | b'*' | b'-'))
                if matches!(base, Expr::Named(_)) || braced =>
            {
                self.at += length;
                return signed_part(base, *sign);
            }
            _ => {}
        }
        let exponent = self.exponent()?;
        Some(Expr::Pow(Box::new(base), Box::new(exponent)))
    }

    /// What follows a caret: a group, a bracket, or one token with a sign.
    pub fn exponent(&mut self) -> Option<Expr> {
        let negative = self.take(b'-');
        let exponent = self.nested_atom()?;
        Some(if negative {
            exponent.negated()
        } else {
            exponent
        })
    }

    pub fn nested_atom(&mut self) -> Option<Expr> {
        if self.depth >= DEEPEST {
            return None;
        }
        self.depth += 1;
        let atom = self.atom();
        self.depth -= 1;
        atom
    }

    pub fn atom(&mut self) -> Option<Expr> {
        let token = self.peek()?;
        self.at += 1;
        match token {
            Token::Number(digits, period, power) => number(digits, *period, *power),
            Token::Letter(letter) => self.symbol(letter.to_string()),
            Token::Text(text) => {
                let word: String = text
                    .chars()
                    .filter(|c| !c.is_whitespace() && !matches!(c, '(' | ')' | '.'))
                    .collect();
                if word.is_empty() {
                    return None;
                }
                if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && text.len() < 40 {
                    return number(text.trim_end_matches('.'), None, None);
                }
                self.symbol(word)
            }
            Token::Command(name) => self.command(name),
            Token::Sign(b'{') => self.group(),
            Token::Sign(sign @ (b'(' | b'[')) => self.bracket(*sign),
            // ]a, b[
            Token::Sign(b']') => self.bracket(b']'),
            Token::SetOpen => self.set(),
            Token::Sign(b'|') => {
                self.bars += 1;
                let inner = self.sum();
                self.bars -= 1;
                self.take(b'|').then_some(())?;
                inner.map(|inner| Expr::Apply(Function::Abs, vec![inner]))
            }
            Token::Norm => {
                self.bars += 1;
                let inner = self.sum();
                self.bars -= 1;
                (self.peek() == Some(&Token::Norm)).then(|| self.at += 1)?;
                inner.map(|inner| Expr::Apply(Function::Norm, vec![inner]))
            }
            Token::Begin(environment) => self.environment(environment),
            Token::Dots => Some(Expr::Symbol("…".to_owned())),
            _ => None,
        }
    }

    /// A letter or a word, with its index, and what it is called with.
    pub fn symbol(&mut self, name: String) -> Option<Expr> {
        let mut name = name;
        if self.peek() == Some(&Token::Sign(b'_')) {
            name = format!("{name}_{}", self.index()?);
        } else if name == "e" {
            return Some(Expr::Constant(Constant::E));
        }
        self.called(Expr::Symbol(name))
    }

    /// `f(x)` where `symbol` is f.
    pub fn called(&mut self, symbol: Expr) -> Option<Expr> {
        let Expr::Symbol(name) = symbol else {
            return Some(symbol);
        };
        if self.peek() != Some(&Token::Sign(b'(')) || name.starts_with('…') {
            return Some(Expr::Symbol(name));
        }
        let start = self.at;
        self.at += 1;
        match self.bracket(b'(') {
            Some(Expr::Tuple(arguments)) => Some(Expr::Call(name, arguments)),
            Some(Expr::Interval { from, to, .. }) => Some(Expr::Call(name, vec![*from, *to])),
            Some(argument) if !argument.is_collection() => Some(Expr::Call(name, vec![argument])),
            _ => {
                self.at = start;
                None
            }
        }
    }

    /// An index as text: `_1`, `_{n-k}`.
    pub fn index(&mut self) -> Option<String> {
        self.take(b'_').then_some(())?;
        let mut text = String::new();
        if !self.take(b'{') {
            raw(self.peek()?, &mut text);
            self.at += 1;
            return Some(text);
        }
        let mut depth = 1;
        loop {
            let token = self.peek()?;
            self.at += 1;
            match token {
                Token::Sign(b'{') => depth += 1,
                Token::Sign(b'}') => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(text);
                    }
                }
                token => raw(token, &mut text),
            }
        }
    }
}

/// A whole number and a fraction beside it.
fn mixed(whole: BigInt, fraction: &Expr) -> Option<Expr> {
    let part = fraction.number()?.value.clone();
    let whole = BigRational::from_integer(whole);
    Some(Expr::exact(if whole.is_negative() {
        whole - part
    } else {
        whole + part
    }))
}

/// `\mathbb{R}^+` and the like.
fn signed_part(base: Expr, sign: u8) -> Option<Expr> {
    let Expr::Named(set) = base else {
        return None;
    };
    Some(match (set, sign) {
        (NamedSet::Integers | NamedSet::Naturals, b'+' | b'*') => Expr::Named(NamedSet::Naturals),
        (NamedSet::Reals, b'+') => Expr::Interval {
            from: Box::new(Expr::integer(0)),
            to: Box::new(Expr::Constant(Constant::Infinity)),
            from_open: true,
            to_open: true,
        },
        (NamedSet::Reals, b'-') => Expr::Interval {
            from: Box::new(Expr::Constant(Constant::Infinity).negated()),
            to: Box::new(Expr::integer(0)),
            from_open: true,
            to_open: true,
        },
        _ => return None,
    })
}

/// A token as text, for indices and accents.
pub(crate) fn raw(token: &Token<'_>, out: &mut String) {
    match token {
        Token::Number(digits, ..) => out.push_str(digits),
        Token::Letter(letter) => out.push(*letter),
        Token::Command(name) => out.push_str(name),
        Token::Text(text) => out.extend(text.chars().filter(|c| !c.is_whitespace())),
        Token::Sign(sign) => out.push(char::from(*sign)),
        other => out.push_str(&format!("{other:?}")),
    }
}
