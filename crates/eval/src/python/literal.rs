//! Python's literals: `ast.literal_eval`, and the text that `str` prints for them.
//!
//! Benchmarks keep lists as Python prints them (`[([161, 39], 'k')]`), and their authors read them
//! back with `eval`. Here they are read as data: numbers, texts, `True`, `False`, `None`, lists,
//! tuples, sets and dictionaries of them; anything else is an error. Line ends and comments around the
//! value are passed over more freely than Python's grammar would.

use std::fmt;

use super::{float_to_str, parse_float, parse_int, repr};

/// A value that a literal stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// A whole number of any size, as its decimal digits.
    Int(String),
    /// A floating-point number.
    Float(f64),
    /// A text.
    Str(String),
    /// `[...]`
    List(Vec<Literal>),
    /// `(...)`
    Tuple(Vec<Literal>),
    /// `{...}` without keys.
    Set(Vec<Literal>),
    /// `{key: value}`; keys may repeat, the last counts.
    Dict(Vec<(Literal, Literal)>),
}

/// Why a text is no literal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a Python literal at byte {at}: {detail}")]
pub struct LiteralError {
    /// Where in the text, in bytes.
    pub at: usize,
    /// What was found or expected.
    pub detail: &'static str,
}

/// Brackets within brackets: CPython stops at 200 too.
const DEEPEST: usize = 200;

/// Reads a text that is one literal.
///
/// # Errors
/// Where Python raises, and for complex numbers, bytes and texts with half a surrogate pair, which
/// have no place here.
pub fn literal_eval(text: &str) -> Result<Literal, LiteralError> {
    let mut reader = Reader {
        text,
        at: 0,
        depth: 0,
    };
    reader.blank(true);
    let first = reader.value()?;
    reader.blank(false);
    let value = if reader.take(b',') {
        reader.blank(false);
        let mut items = vec![first];
        while !reader.at_end() {
            items.push(reader.value()?);
            reader.blank(false);
            if !reader.take(b',') {
                break;
            }
            reader.blank(false);
        }
        Literal::Tuple(items)
    } else {
        first
    };
    reader.blank(true);
    if reader.at_end() {
        Ok(value)
    } else {
        Err(reader.error("more text after the value"))
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn error(&self, detail: &'static str) -> LiteralError {
        LiteralError {
            at: self.at,
            detail,
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.byte() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn at_end(&self) -> bool {
        matches!(self.byte(), None | Some(b'\n' | b'\r' | b'#'))
            && self
                .rest()
                .lines()
                .all(|line| matches!(line.trim_start().bytes().next(), None | Some(b'#')))
    }

    /// Skips blanks and comments; line ends only where `lines`.
    fn blank(&mut self, lines: bool) {
        while let Some(byte) = self.byte() {
            match byte {
                b' ' | b'\t' | b'\x0c' => self.at += 1,
                b'\n' | b'\r' if lines => self.at += 1,
                b'\\' if self.rest()[1..].starts_with(['\n', '\r']) => self.at += 2,
                b'#' => self.at += self.rest().find(['\n', '\r']).unwrap_or(self.rest().len()),
                _ => return,
            }
        }
    }

    fn value(&mut self) -> Result<Literal, LiteralError> {
        match self.byte() {
            None => Err(self.error("a value is missing")),
            Some(b'[') => {
                let (items, _) = self.items(b']')?;
                Ok(Literal::List(items))
            }
            Some(b'(') => {
                let (mut items, comma) = self.items(b')')?;
                Ok(match (items.len(), comma) {
                    (1, false) => items.remove(0),
                    _ => Literal::Tuple(items),
                })
            }
            Some(b'{') => self.braces(),
            Some(b'+' | b'-') => self.signed(),
            Some(b'0'..=b'9' | b'.') => self.number(),
            Some(_) => self.word(),
        }
    }

    /// Enters a bracket.
    fn open(&mut self) -> Result<(), LiteralError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error("brackets are nested too deeply"));
        }
        self.at += 1;
        self.blank(true);
        Ok(())
    }

    /// The values up to `close`, and whether a comma followed the last.
    fn items(&mut self, close: u8) -> Result<(Vec<Literal>, bool), LiteralError> {
        self.open()?;
        let (mut items, mut comma) = (Vec::new(), false);
        while !self.take(close) {
            if !items.is_empty() && !comma {
                return Err(self.error("a comma or the closing bracket is missing"));
            }
            items.push(self.value()?);
            self.blank(true);
            comma = self.take(b',');
            self.blank(true);
        }
        self.depth -= 1;
        Ok((items, comma))
    }

    fn braces(&mut self) -> Result<Literal, LiteralError> {
        self.open()?;
        let (mut pairs, mut items, mut comma) = (Vec::new(), Vec::new(), true);
        while !self.take(b'}') {
            if !comma {
                return Err(self.error("a comma or the closing bracket is missing"));
            }
            let key = self.value()?;
            self.blank(true);
            if self.take(b':') {
                self.blank(true);
                pairs.push((key, self.value()?));
                self.blank(true);
            } else {
                items.push(key);
            }
            comma = self.take(b',');
            self.blank(true);
        }
        self.depth -= 1;
        match (pairs.is_empty(), items.is_empty()) {
            (false, false) => Err(self.error("a key without a value")),
            (true, false) => Ok(Literal::Set(items)),
            _ => Ok(Literal::Dict(pairs)),
        }
    }

    fn signed(&mut self) -> Result<Literal, LiteralError> {
        let negative = self.byte() == Some(b'-');
        self.at += 1;
        self.blank(self.depth > 0);
        if matches!(self.byte(), Some(b'+' | b'-')) {
            return Err(self.error("two signs"));
        }
        match self.value()? {
            Literal::Int(digits) if negative && digits != "0" => {
                Ok(Literal::Int(format!("-{digits}")))
            }
            Literal::Float(value) if negative => Ok(Literal::Float(-value)),
            number @ (Literal::Int(_) | Literal::Float(_)) => Ok(number),
            _ => Err(self.error("a sign before what is no number")),
        }
    }

    fn number(&mut self) -> Result<Literal, LiteralError> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut end = start;
        while let Some(&byte) = bytes.get(end) {
            let exponent_sign = matches!(byte, b'+' | b'-')
                && matches!(bytes[end - 1], b'e' | b'E')
                && !matches!(bytes.get(start + 1), Some(b'x' | b'X'));
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || exponent_sign) {
                break;
            }
            end += 1;
        }
        let text = &self.text[start..end];
        self.at = end;
        let lower = text.to_ascii_lowercase();
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            if let Some(digits) = lower.strip_prefix(prefix) {
                if digits.ends_with('_') || digits.contains("__") {
                    return Err(self.error("an underscore that is not between digits"));
                }
                return u128::from_str_radix(&digits.replace('_', ""), radix)
                    .map(|value| Literal::Int(value.to_string()))
                    .map_err(|_| self.error("no such number"));
            }
        }
        if text.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
            let zeros = text.bytes().all(|b| matches!(b, b'0' | b'_'));
            return match parse_int(text) {
                Some(digits) if zeros || !text.starts_with('0') => Ok(Literal::Int(digits)),
                Some(_) => Err(self.error("zeros before a whole number")),
                None => Err(self.error("no such number")),
            };
        }
        parse_float(text)
            .map(Literal::Float)
            .ok_or_else(|| self.error("no such number"))
    }

    /// A name, or a text with or without letters before its quotes.
    fn word(&mut self) -> Result<Literal, LiteralError> {
        let length = self
            .rest()
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(self.rest().len());
        let word = &self.rest()[..length];
        if matches!(self.rest()[length..].bytes().next(), Some(b'\'' | b'"')) {
            return self.texts();
        }
        let value = match word {
            "None" => Literal::None,
            "True" => Literal::Bool(true),
            "False" => Literal::Bool(false),
            "set" if self.rest().starts_with("set()") => {
                self.at += "()".len();
                Literal::Set(Vec::new())
            }
            _ => return Err(self.error("a name or a sign that is no value")),
        };
        self.at += length;
        Ok(value)
    }

    /// One text, or several side by side, which Python joins.
    fn texts(&mut self) -> Result<Literal, LiteralError> {
        let mut out = String::new();
        loop {
            let quote = self.rest().find(['\'', '"']).unwrap_or_default();
            let raw = match self.rest()[..quote].to_ascii_lowercase().as_str() {
                "" | "u" => false,
                "r" => true,
                _ => return Err(self.error("only plain and raw texts are read")),
            };
            self.at += quote;
            self.text_body(raw, &mut out)?;
            let end = self.at;
            self.blank(self.depth > 0);
            let more = self.rest().trim_start_matches(['u', 'U', 'r', 'R']);
            if self.rest().len() - more.len() > 1 || !more.starts_with(['\'', '"']) {
                self.at = end;
                return Ok(Literal::Str(out));
            }
        }
    }

    fn text_body(&mut self, raw: bool, out: &mut String) -> Result<(), LiteralError> {
        let quote = self.rest().chars().next().unwrap_or('\'');
        let triple = self.rest().starts_with(&quote.to_string().repeat(3));
        let close = if triple { 3 } else { 1 };
        self.at += close;
        loop {
            let Some(c) = self.rest().chars().next() else {
                return Err(self.error("a text without its closing quote"));
            };
            if c == quote {
                let closes = self
                    .rest()
                    .bytes()
                    .take(close)
                    .filter(|&b| b == quote as u8);
                if closes.count() == close {
                    self.at += close;
                    return Ok(());
                }
            }
            match c {
                '\n' | '\r' if !triple => return Err(self.error("a line end in a text")),
                '\r' => {
                    self.at += if self.rest().starts_with("\r\n") {
                        2
                    } else {
                        1
                    };
                    out.push('\n');
                }
                '\\' if raw => {
                    // A raw text keeps its backslashes, and what follows one does not close it.
                    let pair: String = self.rest().chars().take(2).collect();
                    self.at += pair.len();
                    out.push_str(&pair);
                }
                '\\' => self.escape(out)?,
                c => {
                    self.at += c.len_utf8();
                    out.push(c);
                }
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), LiteralError> {
        self.at += 1;
        let Some(c) = self.rest().chars().next() else {
            return Err(self.error("a text without its closing quote"));
        };
        self.at += c.len_utf8();
        let hex = match c {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        if hex > 0 {
            let code = self
                .rest()
                .get(..hex)
                .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|digits| u32::from_str_radix(digits, 16).ok())
                .and_then(char::from_u32);
            out.push(code.ok_or_else(|| self.error("no such character"))?);
            self.at += hex;
            return Ok(());
        }
        match c {
            '\n' => {}
            '\r' => drop(self.take(b'\n')),
            '\\' | '\'' | '"' => out.push(c),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            'N' => return Err(self.error("characters by name are not read")),
            '0'..='7' => {
                self.at -= 1;
                let mut code = 0;
                for _ in 0..3 {
                    let Some(byte @ b'0'..=b'7') = self.byte() else {
                        break;
                    };
                    code = code * 8 + u32::from(byte - b'0');
                    self.at += 1;
                }
                out.extend(char::from_u32(code));
            }
            // Python keeps the backslash of an escape that it does not know.
            c => out.extend(['\\', c]),
        }
        Ok(())
    }
}

impl fmt::Display for Literal {
    /// What Python's `repr` prints.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[Literal]| {
            for (at, item) in items.iter().enumerate() {
                let comma = if at > 0 { ", " } else { "" };
                write!(f, "{comma}{item}")?;
            }
            Ok(())
        };
        match self {
            Literal::None => f.write_str("None"),
            Literal::Bool(true) => f.write_str("True"),
            Literal::Bool(false) => f.write_str("False"),
            Literal::Int(digits) => f.write_str(digits),
            Literal::Float(value) => f.write_str(&float_to_str(*value)),
            Literal::Str(text) => f.write_str(&repr(text)),
            Literal::List(items) => {
                f.write_str("[")?;
                list(f, items)?;
                f.write_str("]")
            }
            Literal::Tuple(items) => {
                f.write_str("(")?;
                list(f, items)?;
                f.write_str(if items.len() == 1 { ",)" } else { ")" })
            }
            Literal::Set(items) if items.is_empty() => f.write_str("set()"),
            Literal::Set(items) => {
                f.write_str("{")?;
                list(f, items)?;
                f.write_str("}")
            }
            Literal::Dict(pairs) => {
                f.write_str("{")?;
                for (at, (key, value)) in pairs.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(f, "{comma}{key}: {value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

impl Literal {
    /// `str(value)`: a text as it is, everything else as [`repr`] prints it.
    pub fn to_str(&self) -> String {
        match self {
            Literal::Str(text) => text.clone(),
            other => other.to_string(),
        }
    }
}
