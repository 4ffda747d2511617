//! Tokens as a tree: expressions. Lists, sets and relations are in `elements`.
//!
//! A recursive descent of limited depth that reads every token once (an element with `\pm` twice). Where
//! LaTeX leaves open what is meant, the reading is Math-Verify's: an implied product binds tighter than a
//! slash, `2\frac12` is a mixed number, `\log` is to base ten. `None` is "not mathematics that we know".

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Num, One, Signed};

use crate::token::{Lexed, Token, tokens};
use crate::tree::{Constant, Expr, Function, NamedSet, Number, Range};

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
    in_argument: bool,
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
    fn term(&mut self) -> Option<Expr> {
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
    fn signed(&mut self) -> Option<Expr> {
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
    fn run(&mut self) -> Option<Expr> {
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
    fn starts_factor(&self) -> bool {
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
    fn postfix(&mut self) -> Option<Expr> {
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

    fn raised(&mut self, base: Expr) -> Option<Expr> {
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
    fn exponent(&mut self) -> Option<Expr> {
        let negative = self.take(b'-');
        let exponent = self.nested_atom()?;
        Some(if negative {
            exponent.negated()
        } else {
            exponent
        })
    }

    fn nested_atom(&mut self) -> Option<Expr> {
        if self.depth >= DEEPEST {
            return None;
        }
        self.depth += 1;
        let atom = self.atom();
        self.depth -= 1;
        atom
    }

    fn atom(&mut self) -> Option<Expr> {
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
    fn symbol(&mut self, name: String) -> Option<Expr> {
        let mut name = name;
        if self.peek() == Some(&Token::Sign(b'_')) {
            name = format!("{name}_{}", self.index()?);
        } else if name == "e" {
            return Some(Expr::Constant(Constant::E));
        }
        self.called(Expr::Symbol(name))
    }

    /// `f(x)` where `symbol` is f.
    fn called(&mut self, symbol: Expr) -> Option<Expr> {
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
    fn index(&mut self) -> Option<String> {
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

    /// An argument in braces, or the next single token; of a number its first digit alone.
    fn argument(&mut self) -> Option<Expr> {
        if self.take(b'{') {
            return self.group();
        }
        self.nested_atom()
    }

    fn fraction(&mut self) -> Option<Expr> {
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

    fn command(&mut self, name: &'a str) -> Option<Expr> {
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

    fn enclosed(&mut self, close: &str, function: Function) -> Option<Expr> {
        let inner = self.nested(Self::sum)?;
        match self.peek() {
            Some(Token::Command(name)) if *name == close => {
                self.at += 1;
                Some(Expr::Apply(function, vec![inner]))
            }
            _ => None,
        }
    }

    fn function(&mut self, name: &str, function: Function) -> Option<Expr> {
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
    fn bare_argument(&mut self) -> Option<Expr> {
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

    /// Sums and products over an index.
    fn over_range(&mut self, range: Range) -> Option<Expr> {
        let (mut from, mut to, mut variable) = (None, None, String::new());
        loop {
            match self.peek() {
                Some(Token::Sign(b'_')) if from.is_none() => {
                    self.at += 1;
                    self.take(b'{').then_some(())?;
                    let Expr::Symbol(name) = self.nested_atom()? else {
                        return None;
                    };
                    variable = name;
                    match self.peek() {
                        Some(Token::Relation(crate::tree::Relation::Equal)) => self.at += 1,
                        _ => return None,
                    }
                    from = Some(Box::new(self.nested(Self::sum)?));
                    self.take(b'}').then_some(())?;
                }
                Some(Token::Sign(b'^')) if to.is_none() => {
                    self.at += 1;
                    to = Some(Box::new(self.exponent()?));
                }
                _ => break,
            }
        }
        from.as_ref()?;
        to.as_ref()?;
        let body = self.nested(Self::term)?;
        Some(Expr::Range(range, Box::new(body), variable, from, to))
    }

    fn integral(&mut self) -> Option<Expr> {
        let (mut from, mut to) = (None, None);
        loop {
            match self.peek() {
                Some(Token::Sign(b'_')) if from.is_none() => {
                    self.at += 1;
                    let negative = self.take(b'-');
                    let bound = self.argument()?;
                    from = Some(Box::new(if negative { bound.negated() } else { bound }));
                }
                Some(Token::Sign(b'^')) if to.is_none() => {
                    self.at += 1;
                    to = Some(Box::new(self.exponent()?));
                }
                _ => break,
            }
        }
        // The first d with a letter behind it, outside of groups, closes the integrand.
        let mut depth = 0i32;
        let end = (self.at..self.tokens.len()).find(|&at| {
            let token = &self.tokens[at].token;
            match token {
                Token::Sign(b'{' | b'(') => depth += 1,
                Token::Sign(b'}' | b')') => depth -= 1,
                _ => {}
            }
            let differential = matches!(token, Token::Letter('d') | Token::Text("d"));
            let named = matches!(
                self.tokens.get(at + 1).map(|l| &l.token),
                Some(Token::Letter(_) | Token::Command(_))
            );
            depth == 0 && differential && named
        })?;
        let body = if end == self.at {
            Expr::integer(1)
        } else {
            if self.depth >= DEEPEST {
                return None;
            }
            let mut inner = Parser::new(&self.tokens[self.at..end], self.depth + 1);
            let body = inner.sum()?;
            (inner.at == end - self.at).then_some(body)?
        };
        let variable = match &self.tokens[end + 1].token {
            Token::Letter(letter) => letter.to_string(),
            Token::Command(name) => (*name).to_owned(),
            _ => return None,
        };
        self.at = end + 2;
        Some(Expr::Range(
            Range::Integral,
            Box::new(body),
            variable,
            from,
            to,
        ))
    }

    /// `\frac{d}{dx}` with what follows, and `\frac{dy}{dx}` as a letter of its own.
    fn derivative(&mut self) -> Option<Option<Expr>> {
        let letter = |by: usize| match self.ahead(by) {
            Some(Token::Letter(letter)) => Some(*letter),
            _ => None,
        };
        let sign = |by: usize, sign: u8| self.ahead(by) == Some(&Token::Sign(sign));
        if !sign(0, b'{') || letter(1) != Some('d') {
            return None;
        }
        let function = letter(2);
        let after = if function.is_some() { 3 } else { 2 };
        let variable = letter(after + 3)?;
        let bottom = sign(after, b'}')
            && sign(after + 1, b'{')
            && letter(after + 2) == Some('d')
            && sign(after + 4, b'}');
        if !bottom {
            return None;
        }
        self.at += after + 5;
        if let Some(function) = function {
            return Some(Some(Expr::Symbol(format!("d{function}/d{variable}"))));
        }
        let body = self.nested(Self::run);
        Some(body.map(|body| {
            Expr::Range(
                Range::Derivative,
                Box::new(body),
                variable.to_string(),
                None,
                None,
            )
        }))
    }

    fn limit(&mut self) -> Option<Expr> {
        self.take(b'_').then_some(())?;
        self.take(b'{').then_some(())?;
        let Expr::Symbol(variable) = self.nested_atom()? else {
            return None;
        };
        match self.peek() {
            Some(Token::Command("to" | "rightarrow" | "Rightarrow" | "longrightarrow")) => {
                self.at += 1;
            }
            _ => return None,
        }
        let to = self.nested(Self::sum)?;
        self.take(b'}').then_some(())?;
        let body = self.nested(Self::term)?;
        Some(Expr::Range(
            Range::Limit,
            Box::new(body),
            variable,
            None,
            Some(Box::new(to)),
        ))
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

/// The exact value of written digits.
pub(crate) fn number(digits: &str, period: Option<&str>, power: Option<i32>) -> Option<Expr> {
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let ten = |n: usize| BigInt::from(10).pow(u32::try_from(n).unwrap_or(u32::MAX));
    let mut value = if decimals.is_empty() {
        BigRational::from_integer(integer(whole)?)
    } else {
        let all = integer(&[whole, decimals].concat())?;
        BigRational::new(all, ten(decimals.len()))
    };
    if let Some(period) = period {
        let cycle = ten(period.len()) - BigInt::one();
        value += BigRational::new(integer(period)?, cycle * ten(decimals.len()));
        return Some(Expr::exact(value));
    }
    let decimal = digits.contains('.');
    let Some(power) = power else {
        return Some(Expr::Number(Number { value, decimal }));
    };
    if power.unsigned_abs() <= 400 {
        let factor = BigRational::from_integer(ten(power.unsigned_abs() as usize));
        value = if power < 0 {
            value / factor
        } else {
            value * factor
        };
        return Some(Expr::Number(Number { value, decimal }));
    }
    Some(Expr::product(vec![
        Expr::Number(Number { value, decimal }),
        Expr::Pow(
            Box::new(Expr::integer(10)),
            Box::new(Expr::integer(i64::from(power))),
        ),
    ]))
}

fn integer(digits: &str) -> Option<BigInt> {
    if digits.len() <= 18 {
        return digits.parse::<i64>().ok().map(BigInt::from);
    }
    BigInt::from_str_radix(digits, 10).ok()
}

/// A token as text, for indices and accents.
fn raw(token: &Token<'_>, out: &mut String) {
    match token {
        Token::Number(digits, ..) => out.push_str(digits),
        Token::Letter(letter) => out.push(*letter),
        Token::Command(name) => out.push_str(name),
        Token::Text(text) => out.extend(text.chars().filter(|c| !c.is_whitespace())),
        Token::Sign(sign) => out.push(char::from(*sign)),
        other => out.push_str(&format!("{other:?}")),
    }
}

/// Commands that stand between factors or end them.
const STOPS: &[&str] = &[
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
fn function(name: &str) -> Option<Function> {
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
