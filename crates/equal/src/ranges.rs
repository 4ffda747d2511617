//! Tokens as a tree: sums, products, integrals, limits and derivatives, which bind a letter.

use crate::parse::{DEEPEST, Parser};
use crate::token::Token;
use crate::tree::{Expr, Range, Relation};

impl Parser<'_> {
    /// Sums and products over an index.
    pub fn over_range(&mut self, range: Range) -> Option<Expr> {
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
                        Some(Token::Relation(Relation::Equal)) => self.at += 1,
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

    pub fn integral(&mut self) -> Option<Expr> {
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
    pub fn derivative(&mut self) -> Option<Option<Expr>> {
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

    pub fn limit(&mut self) -> Option<Expr> {
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
