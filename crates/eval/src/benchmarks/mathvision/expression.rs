//! Expressions as the official evaluator builds them, ready to be given a value.
//!
//! The official code turns an answer into a SymPy expression with latex2sympy2 1.9.1, prints it, and
//! runs the print as Python. This is the same grammar, read by recursive descent, with the few
//! simplifications that SymPy makes while building; [`super::value`] then has Python's arithmetic.
//! Nothing is run as code. Three properties of the official grammar decide verdicts and are kept:
//!
//! - There is no end of text in it: what cannot go on with an expression ends it, and is ignored, so
//!   "5. So there are" is 5. A comma or semicolon there makes a list, which has no value.
//! - Factors without a sign between them are multiplied: `2\frac{1}{2}` is 1.
//! - Names have no value, but `x=3` is 3.
//!
//! Work is bounded by the text's length and [`DEEPEST`] levels.

use num_traits::{One, Signed, Zero};

use super::node::{Node, Valueless, binomial, exponential, gcd, product, rational, sum};
use super::rewrite::rewritten;
use super::token::{self, Bracket, Function, Relation, Token};

/// Levels of nesting that are read. No answer has a tenth of them; the official code fails at twice
/// as many, at Python's limit of nested calls.
const DEEPEST: usize = 64;

/// Words in one expression, which bounds how deep it is as well: powers, factorials and quotients pile
/// up without brackets. The official code fails at 200 to 600 of those.
const LONGEST: usize = 400;

/// Reads `text` as the official code does.
pub(super) fn parse(text: &str) -> Result<Node, Valueless> {
    let text = rewritten(text);
    let mut parser = Parser {
        text: &text,
        at: 0,
        next: Token::End,
        depth: 0,
        words: 0,
    };
    parser.fetch()?;
    let relation = parser.relation()?;
    match parser.next {
        Token::Comma | Token::Semicolon => Err(Valueless),
        _ => Ok(relation),
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    /// The word after those that were read; it has been made, so its characters are known.
    next: Token<'a>,
    depth: usize,
    words: usize,
}

impl<'a> Parser<'a> {
    /// Makes the next word.
    fn fetch(&mut self) -> Result<(), Valueless> {
        self.words += 1;
        if self.words > LONGEST {
            return Err(Valueless);
        }
        let (token, length) = token::next(&self.text[self.at..])?;
        self.at += length;
        self.next = token;
        Ok(())
    }

    fn take(&mut self, token: Token<'_>) -> Result<bool, Valueless> {
        if self.next == token {
            self.fetch()?;
            return Ok(true);
        }
        Ok(false)
    }

    fn expect(&mut self, token: Token<'_>) -> Result<(), Valueless> {
        if self.take(token)? {
            Ok(())
        } else {
            Err(Valueless)
        }
    }

    /// One level deeper, for everything that may hold an expression.
    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, Valueless>,
    ) -> Result<T, Valueless> {
        if self.depth == DEEPEST {
            return Err(Valueless);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn relation(&mut self) -> Result<Node, Valueless> {
        let mut left = self.expression()?;
        while let Token::Relation(relation) = self.next {
            self.fetch()?;
            let right = self.expression()?;
            left = match (relation, left) {
                (Relation::Assign, Node::Symbol | Node::Tau) => right,
                // Equations that are not assignments are solved, or stay; neither has a value.
                (Relation::Assign | Relation::Other, _) => Node::Undefined,
                (relation, left) => Node::Compare(relation, Box::new(left), Box::new(right)),
            };
        }
        Ok(left)
    }

    fn expression(&mut self) -> Result<Node, Valueless> {
        self.nested(Self::additive)
    }

    fn additive(&mut self) -> Result<Node, Valueless> {
        let mut left = self.multiplicative(false)?;
        loop {
            if self.take(Token::Add)? {
                left = sum(left, self.multiplicative(false)?);
            } else if self.take(Token::Subtract)? {
                left = sum(left, self.multiplicative(false)?.negated());
            } else {
                return Ok(left);
            }
        }
    }

    /// Products and quotients; `argument` is one of a function without brackets, in which no other
    /// function may follow another factor.
    fn multiplicative(&mut self, argument: bool) -> Result<Node, Valueless> {
        let mut left = self.unary(argument)?;
        loop {
            if self.take(Token::Multiply)? {
                left = product(left, self.unary(argument)?);
            } else if self.take(Token::Divide)? {
                left = Node::Product(vec![left, self.unary(argument)?.inverse()]);
            } else if self.take(Token::Mod)? {
                self.unary(argument)?;
                left = Node::Undefined;
            } else {
                return Ok(left);
            }
        }
    }

    fn unary(&mut self, argument: bool) -> Result<Node, Valueless> {
        let mut negations = 0;
        loop {
            if self.take(Token::Subtract)? {
                negations += 1;
            } else if !self.take(Token::Add)? {
                break;
            }
        }
        let mut node = self.postfix()?;
        while self.begins_factor(argument) {
            node = product(node, self.postfix()?);
        }
        for _ in 0..negations {
            node = node.negated();
        }
        Ok(node)
    }

    fn begins_factor(&self, argument: bool) -> bool {
        match self.next {
            Token::Number(_)
            | Token::Percent(_)
            | Token::Open(_)
            | Token::Bar
            | Token::Vert
            | Token::Norm
            | Token::Left
            | Token::MiddleLeft
            | Token::Letter
            | Token::Tau
            | Token::Differential
            | Token::Pi
            | Token::Infinity
            | Token::Partial
            | Token::Accent
            | Token::Mathit
            | Token::Frac
            | Token::Binom
            | Token::Valueless => true,
            Token::ExpE
            | Token::Call(_)
            | Token::Divisor(_)
            | Token::Extremum
            | Token::OperatorName
            | Token::Sqrt => !argument,
            _ => false,
        }
    }

    fn postfix(&mut self) -> Result<Node, Valueless> {
        let mut node = self.part()?;
        while self.take(Token::Caret)? {
            let exponent = self.script()?;
            if self.next == Token::Underscore {
                self.subscript()?;
            }
            node = node.power(exponent);
        }
        loop {
            if self.take(Token::Bang)? {
                node = Node::Call(Function::Factorial, Box::new(node), None);
            } else if !self.take(Token::Transpose)? {
                // A number transposed is itself. A bar would open an absolute value, which has no
                // value, or lack its other half.
                return Ok(node);
            }
        }
    }

    /// What stands behind `^` or `_`: one atom, or an expression in braces.
    fn script(&mut self) -> Result<Node, Valueless> {
        if self.take(Token::Open(Bracket::Brace))? {
            let node = self.expression()?;
            self.expect(Token::Close(Bracket::Brace))?;
            return Ok(node);
        }
        self.atom()
    }

    /// A subscript, which may be a list; only its being there matters.
    fn subscript(&mut self) -> Result<Node, Valueless> {
        self.expect(Token::Underscore)?;
        if self.take(Token::Open(Bracket::Brace))? {
            let node = self.expression()?;
            while self.take(Token::Comma)? {
                self.expression()?;
            }
            self.expect(Token::Close(Bracket::Brace))?;
            return Ok(node);
        }
        self.nested(Self::atom)
    }

    fn atom(&mut self) -> Result<Node, Valueless> {
        let token = self.next;
        if token == Token::Accent {
            return self.accent();
        }
        self.fetch()?;
        match token {
            Token::Number(digits) => rational(digits, 0),
            Token::Percent(digits) => rational(digits, 2),
            Token::Pi => Ok(Node::Pi),
            Token::Infinity => Ok(Node::Undefined),
            Token::Differential => Ok(Node::Symbol),
            Token::Letter => self.scripts(Node::Symbol),
            Token::Tau => self.scripts(Node::Tau),
            Token::Mathit => {
                self.expect(Token::Open(Bracket::Brace))?;
                let mut letters = 0;
                while matches!(self.next, Token::Letter | Token::ExpE) {
                    self.fetch()?;
                    letters += 1;
                }
                if letters == 0 {
                    return Err(Valueless);
                }
                self.expect(Token::Close(Bracket::Brace))?;
                Ok(Node::Symbol)
            }
            _ => Err(Valueless),
        }
    }

    fn accent(&mut self) -> Result<Node, Valueless> {
        self.expect(Token::Accent)?;
        self.expect(Token::Open(Bracket::Brace))?;
        self.expression()?;
        self.expect(Token::Close(Bracket::Brace))?;
        self.scripts(Node::Symbol)
    }

    /// A name's subscript and superscript, in either order.
    fn scripts(&mut self, name: Node) -> Result<Node, Valueless> {
        let mut node = name;
        let (mut below, mut above) = (false, false);
        loop {
            if self.next == Token::Underscore && !below {
                self.subscript()?;
                below = true;
                node = match node {
                    Node::Tau => Node::Symbol,
                    other => other,
                };
            } else if self.next == Token::Caret && !above {
                self.fetch()?;
                let exponent = self.nested(Self::script)?;
                above = true;
                node = node.power(exponent);
            } else {
                return Ok(node);
            }
        }
    }

    fn part(&mut self) -> Result<Node, Valueless> {
        match self.next {
            Token::Open(bracket) => {
                self.fetch()?;
                self.group(bracket, None)
            }
            Token::Left | Token::MiddleLeft => {
                let closing = match self.next {
                    Token::Left => Token::Right,
                    _ => Token::MiddleRight,
                };
                self.fetch()?;
                let opening = self.next;
                self.fetch()?;
                match opening {
                    Token::Open(bracket) => self.group(bracket, Some(closing)),
                    Token::Bar | Token::Vert | Token::Norm => {
                        self.expression()?;
                        self.expect(closing)?;
                        self.expect(opening)?;
                        Ok(Node::Undefined)
                    }
                    _ => Err(Valueless),
                }
            }
            // Absolute values print as a name that Python does not have; norms are of matrices.
            Token::Bar | Token::Vert | Token::Norm | Token::Valueless | Token::Partial => {
                Err(Valueless)
            }
            Token::Frac => {
                self.fetch()?;
                let (over, under) = (self.braced()?, self.braced()?);
                Ok(Node::Product(vec![over, under.inverse()]))
            }
            Token::Binom => {
                self.fetch()?;
                let (n, k) = (self.braced()?, self.braced()?);
                Ok(binomial(&n, &k))
            }
            Token::Sqrt => self.root(),
            Token::ExpE => {
                self.fetch()?;
                if self.take(Token::Caret)? {
                    Ok(exponential(self.nested(Self::script)?))
                } else {
                    Ok(Node::Undefined)
                }
            }
            Token::Call(function) => {
                self.fetch()?;
                self.call(function)
            }
            Token::Divisor(greatest) => {
                self.fetch()?;
                self.divisor(Some(greatest))
            }
            Token::Extremum => {
                self.fetch()?;
                self.divisor(None)
            }
            Token::OperatorName => self.operator(),
            _ => self.atom(),
        }
    }

    fn braced(&mut self) -> Result<Node, Valueless> {
        self.expect(Token::Open(Bracket::Brace))?;
        let node = self.expression()?;
        self.expect(Token::Close(Bracket::Brace))?;
        Ok(node)
    }

    /// The rest of a bracket that has been opened.
    fn group(&mut self, bracket: Bracket, closing: Option<Token<'_>>) -> Result<Node, Valueless> {
        let inner = self.expression()?;
        if bracket == Bracket::Brace && closing.is_none() && self.take(Token::Choose)? {
            let below = self.expression()?;
            self.expect(Token::Close(bracket))?;
            return Ok(binomial(&inner, &below));
        }
        if let Some(closing) = closing {
            self.expect(closing)?;
        }
        self.expect(Token::Close(bracket))?;
        Ok(match bracket {
            Bracket::Floor | Bracket::LowerCorner => {
                Node::Call(Function::Floor, Box::new(inner), None)
            }
            Bracket::Ceil | Bracket::UpperCorner | Bracket::Vert => Node::Undefined,
            _ => inner,
        })
    }

    fn root(&mut self) -> Result<Node, Valueless> {
        self.expect(Token::Sqrt)?;
        let degree = if self.take(Token::Open(Bracket::Square))? {
            let degree = self.expression()?;
            self.expect(Token::Close(Bracket::Square))?;
            degree
        } else {
            Node::integer(2)
        };
        let inner = self.braced()?;
        let exponent = match degree {
            Node::Rational(p, _) if p.is_zero() => Node::Undefined,
            Node::Rational(p, q) if p.is_negative() => Node::Rational(-q, -p),
            Node::Rational(p, q) => Node::Rational(q, p),
            other => other.inverse(),
        };
        Ok(inner.power(exponent))
    }

    /// The rest of a function: scripts, then an argument in brackets or without.
    fn call(&mut self, function: Function) -> Result<Node, Valueless> {
        let (mut base, mut power) = (None, None);
        loop {
            if self.next == Token::Underscore && base.is_none() {
                base = Some(self.subscript()?);
            } else if self.next == Token::Caret && power.is_none() {
                self.fetch()?;
                power = Some(self.nested(Self::script)?);
            } else {
                break;
            }
        }
        let argument = match self.argument_bracket()? {
            Some(closing) => {
                let argument = self.expression()?;
                if let Some(closing) = closing {
                    self.take(closing)?;
                }
                self.expect(Token::Close(Bracket::Paren))?;
                argument
            }
            None => self.nested(|parser| parser.multiplicative(true))?,
        };
        let inverse = |function| match function {
            Function::Sin => Some(Function::Asin),
            Function::Cos => Some(Function::Acos),
            Function::Tan => Some(Function::Atan),
            Function::Sinh => Some(Function::Asinh),
            Function::Cosh => Some(Function::Acosh),
            Function::Tanh => Some(Function::Atanh),
            _ => None,
        };
        if power.as_ref().is_some_and(|p| p.is_integer(-1))
            && let Some(inverse) = inverse(function)
        {
            return Ok(Node::Call(inverse, Box::new(argument), None));
        }
        let node = match function {
            Function::Undefined => Node::Undefined,
            Function::Exp => exponential(argument),
            Function::Log | Function::Ln => match base {
                Some(base) => Node::Call(Function::Log, Box::new(argument), Some(Box::new(base))),
                None => Node::Call(function, Box::new(argument), None),
            },
            _ => Node::Call(function, Box::new(argument), None),
        };
        Ok(match power {
            // A power of 0 is not applied: it is false in Python.
            Some(power) if !power.is_integer(0) => node.power(power),
            _ => node,
        })
    }

    /// Whether an argument in round brackets begins here, and the word that may stand before the
    /// closing one.
    fn argument_bracket(&mut self) -> Result<Option<Option<Token<'static>>>, Valueless> {
        let closing = match self.next {
            Token::Open(Bracket::Paren) => {
                self.fetch()?;
                return Ok(Some(None));
            }
            Token::Left => Token::Right,
            Token::MiddleLeft => Token::MiddleRight,
            _ => return Ok(None),
        };
        let (opening, at, words) = (self.next, self.at, self.words);
        self.fetch()?;
        if self.take(Token::Open(Bracket::Paren))? {
            return Ok(Some(Some(closing)));
        }
        // Another bracket: the argument is a factor like any other.
        (self.next, self.at, self.words) = (opening, at, words);
        Ok(None)
    }

    /// The rest of `\gcd`, `\lcm`, `\max` or `\min`, whose arguments are a list in round brackets.
    fn divisor(&mut self, greatest: Option<bool>) -> Result<Node, Valueless> {
        let mut power = None;
        loop {
            if self.next == Token::Underscore {
                self.subscript()?;
            } else if self.next == Token::Caret && power.is_none() {
                self.fetch()?;
                power = Some(self.nested(Self::script)?);
            } else {
                break;
            }
        }
        let closing = self.argument_bracket()?.ok_or(Valueless)?;
        let mut arguments = vec![self.expression()?];
        while self.take(Token::Comma)? {
            arguments.push(self.expression()?);
        }
        if let Some(closing) = closing {
            self.take(closing)?;
        }
        self.expect(Token::Close(Bracket::Paren))?;
        let node = match (greatest, arguments.as_slice()) {
            (Some(greatest), [Node::Rational(a, p), Node::Rational(b, q)])
                if p.is_one() && q.is_one() =>
            {
                let gcd = gcd(a, b);
                match greatest {
                    true => Node::integer(gcd),
                    false if gcd.is_zero() => Node::integer(0),
                    false => Node::integer((a * b).abs() / gcd),
                }
            }
            _ => Node::Undefined,
        };
        Ok(match power {
            Some(power) if !power.is_integer(0) => node.power(power),
            _ => node,
        })
    }

    fn operator(&mut self) -> Result<Node, Valueless> {
        self.expect(Token::OperatorName)?;
        self.expect(Token::Open(Bracket::Brace))?;
        let Token::Name(name) = self.next else {
            return Err(Valueless);
        };
        self.fetch()?;
        self.expect(Token::Close(Bracket::Brace))?;
        match name {
            "arsinh" => self.call(Function::Asinh),
            "arcosh" => self.call(Function::Acosh),
            "artanh" => self.call(Function::Atanh),
            "floor" => self.call(Function::Floor),
            "gcd" => self.divisor(Some(true)),
            "lcm" => self.divisor(Some(false)),
            // The others are of matrices, or have no value.
            _ => Err(Valueless),
        }
    }
}
