//! LaTeX or plain text as a row of tokens.
//!
//! What has no meaning (spaces, sizes, fonts, dollar signs, `\displaystyle`) is gone after this, and what is
//! often written wrongly is mended where the intention is plain: doubled backslashes before commands, commands
//! without a backslash, unbalanced braces, thousands separators in their many forms.

use crate::tree::Relation;

/// No answer needs more; longer text is compared as a string.
const MOST_TOKENS: usize = 4_000;

/// Digits beyond this are not read as a number: powers of that size take time.
const MOST_DIGITS: usize = 2_000;

/// One token, and whether white space stood before it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lexed<'a> {
    pub token: Token<'a>,
    pub spaced: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token<'a> {
    /// Digits with at most one point, the repeating digits after them, and the power of ten after an E.
    Number(String, Option<&'a str>, Option<i32>),
    Letter(char),
    /// A command's name without its backslash; also `sqrt`, `sin` and such without one.
    Command(&'a str),
    /// What `\text{..}` and upright fonts hold.
    Text(&'a str),
    Sign(u8),
    /// `\{` and `\}`.
    SetOpen,
    SetClose,
    /// `\\` in a matrix.
    Row,
    Begin(&'a str),
    End(&'a str),
    Relation(Relation),
    /// `\approx`, which gives a value rather than a relation.
    Approximately,
    /// `\pm`, or with `false` `\mp`.
    PlusMinus(bool),
    /// `|..|` doubled.
    Norm,
    /// `\ldots`.
    Dots,
}

/// The tokens of `text`, or `None` where something in it is not mathematics.
pub(crate) fn tokens(text: &str) -> Option<Vec<Lexed<'_>>> {
    let mut lexer = Lexer {
        text,
        bytes: text.as_bytes(),
        at: 0,
        out: Vec::with_capacity(text.len().min(64)),
        spaced: false,
        rows: text.contains("matrix}") || text.contains("{array}") || text.contains("cases}"),
        brackets: 0,
    };
    lexer.run()?;
    Some(balanced(lexer.out))
}

struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    out: Vec<Lexed<'a>>,
    spaced: bool,
    /// Whether `\\` ends rows here.
    rows: bool,
    /// Open round and square brackets and set braces: inside, a comma never groups digits.
    brackets: i32,
}

impl<'a> Lexer<'a> {
    fn push(&mut self, token: Token<'a>) {
        self.out.push(Lexed {
            token,
            spaced: std::mem::take(&mut self.spaced),
        });
    }

    fn run(&mut self) -> Option<()> {
        while let Some(&byte) = self.bytes.get(self.at) {
            if self.out.len() > MOST_TOKENS {
                return None;
            }
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' | b'~' => {
                    self.spaced = true;
                    self.at += 1;
                }
                b'$' | b'"' | b'`' => self.at += 1,
                b'0'..=b'9' => self.number()?,
                b'.' => self.point()?,
                b'\\' => self.command()?,
                b'a'..=b'z' | b'A'..=b'Z' => self.word(),
                b'<' | b'>' | b'=' | b'!' => self.relation(),
                b'(' | b'[' => {
                    self.brackets += 1;
                    self.at += 1;
                    self.push(Token::Sign(byte));
                }
                b')' | b']' => {
                    self.brackets -= 1;
                    self.at += 1;
                    self.push(Token::Sign(byte));
                }
                b'*' => {
                    // Python's power, and Markdown's bold.
                    let power = self.bytes.get(self.at + 1) == Some(&b'*');
                    self.at += 1 + usize::from(power);
                    self.push(Token::Sign(if power { b'^' } else { b'*' }));
                }
                b'+' | b'-' | b'/' | b'^' | b'_' | b'{' | b'}' | b'|' | b',' | b';' | b':'
                | b'%' | b'&' | b'\'' => {
                    self.at += 1;
                    self.push(Token::Sign(byte));
                }
                128.. => {
                    let letter = self.text.get(self.at..)?.chars().next()?;
                    if !letter.is_alphabetic() && !letter.is_whitespace() {
                        return None;
                    }
                    self.at += letter.len_utf8();
                    if letter.is_whitespace() {
                        self.spaced = true;
                    } else {
                        self.push(Token::Letter(letter));
                    }
                }
                _ => return None,
            }
        }
        Some(())
    }

    fn digits(&self, mut at: usize) -> usize {
        while self.bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    }

    /// Where a thousands separator of any form that stands at `at` ends, if three digits and no more follow.
    fn separator(&self, at: usize) -> Option<usize> {
        let rest = &self.bytes[at..];
        let comma: &[&[u8]] = if self.brackets <= 0 { &[b","] } else { &[] };
        let forms: [&[u8]; 7] = [b"{,}", b",\\!", b"\\,", b"\\ ", b"\\;", b" ", b"~"];
        let length = forms
            .iter()
            .chain(comma)
            .find(|form| rest.starts_with(form))?
            .len();
        let start = at + length;
        (self.digits(start) == start + 3).then_some(start)
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        let mut end = self.digits(start);
        let mut digits = self.text[start..end].to_owned();
        // Groups of three after one to three digits; all of the run has to be grouped the same way.
        if end - start <= 3 {
            let (mut grouped, mut at) = (digits.clone(), end);
            let mut kind = None;
            while let Some(group) = self.separator(at) {
                let this = (&self.bytes[at], group - at);
                if *kind.get_or_insert(this) != this {
                    break;
                }
                grouped.push_str(&self.text[group..group + 3]);
                at = group + 3;
            }
            // `10,100,1000` is a list: its last comma has four digits behind it.
            let list = self.bytes.get(at) == Some(&b',')
                && self.bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
                && self.bytes.get(end) == Some(&b',');
            if !list {
                digits = grouped;
                end = at;
            }
        }
        // The decimal comma as LaTeX writes it, or point.
        let point = if self.bytes[end..].starts_with(b"{,}") {
            3
        } else {
            usize::from(self.bytes.get(end) == Some(&b'.'))
        };
        if point > 0 {
            let decimals = self.digits(end + point);
            if decimals > end + point {
                digits.push('.');
                digits.push_str(&self.text[end + point..decimals]);
                end = decimals;
            } else if self.repeating(end + 1).is_some() {
                digits.push('.');
                end += 1;
            }
        }
        self.at = end;
        self.finish_number(digits)
    }

    /// `.5`, a full stop, or three dots.
    fn point(&mut self) -> Option<()> {
        let end = self.digits(self.at + 1);
        if end > self.at + 1 {
            let digits = format!("0{}", &self.text[self.at..end]);
            self.at = end;
            return self.finish_number(digits);
        }
        if self.bytes[self.at..].starts_with(b"...") {
            self.at += 3;
            self.push(Token::Dots);
            return Some(());
        }
        self.at += 1;
        // A full stop may only end the text.
        self.text[self.at..]
            .trim_matches(|c: char| c.is_whitespace() || "})]$.".contains(c))
            .is_empty()
            .then_some(())
    }

    /// The digits of `\overline{..}` or `\dot{..}` at `at`, and where it ends.
    fn repeating(&self, at: usize) -> Option<(&'a str, usize)> {
        let rest = self.text.get(at..)?;
        let inner = ["\\overline{", "\\bar{", "\\dot{"]
            .iter()
            .find_map(|command| rest.strip_prefix(command))?;
        let close = inner.find('}')?;
        let digits = &inner[..close];
        (!digits.is_empty() && digits.len() <= 40 && digits.bytes().all(|b| b.is_ascii_digit()))
            .then(|| (digits, at + (rest.len() - inner.len()) + close + 1))
    }

    fn finish_number(&mut self, digits: String) -> Option<()> {
        if digits.len() > MOST_DIGITS {
            return None;
        }
        let mut period = None;
        if digits.contains('.')
            && let Some((repeated, end)) = self.repeating(self.at)
        {
            period = Some(repeated);
            self.at = end;
        }
        let mut power = None;
        if period.is_none() && matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.bytes.get(self.at + 1), Some(b'+' | b'-')));
            let start = self.at + 1 + sign;
            let end = self.digits(start);
            if end > start && end - start <= 6 {
                power = self.text[self.at + 1..end]
                    .trim_start_matches('+')
                    .parse()
                    .ok();
                self.at = end;
            }
        }
        self.push(Token::Number(digits, period, power));
        Some(())
    }

    fn relation(&mut self) {
        let rest = &self.bytes[self.at..];
        let (length, relation) = match rest {
            [b'<', b'=', b'>', ..] => (3, Some(Relation::Equal)),
            [b'<', b'=', ..] => (2, Some(Relation::LessEqual)),
            [b'>', b'=', ..] => (2, Some(Relation::GreaterEqual)),
            [b'!', b'=', ..] => (2, Some(Relation::Unequal)),
            [b'=', b'=', ..] => (2, Some(Relation::Equal)),
            [b'=', b'<', ..] => (2, Some(Relation::LessEqual)),
            [b'<', b'>', ..] => (2, Some(Relation::Unequal)),
            [b'<', ..] => (1, Some(Relation::Less)),
            [b'>', ..] => (1, Some(Relation::Greater)),
            [b'=', ..] => (1, Some(Relation::Equal)),
            _ => (1, None),
        };
        self.at += length;
        match relation {
            Some(relation) => self.push(Token::Relation(relation)),
            None => self.push(Token::Sign(b'!')),
        }
    }

    /// Letters without a backslash: a known word or so many symbols.
    fn word(&mut self) {
        let start = self.at;
        let mut end = start;
        while self.bytes.get(end).is_some_and(u8::is_ascii_alphabetic) {
            end += 1;
        }
        let word = &self.text[start..end];
        self.at = end;
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "and" | "or" if self.brackets <= 0 || lower == "and" => {
                return self.push(Token::Sign(b','));
            }
            "infinity" | "inf" | "infty" | "oo" => return self.push(Token::Command("infty")),
            "pi" => return self.push(Token::Command("pi")),
            "union" | "cup" => return self.push(Token::Command("cup")),
            _ => {}
        }
        if NAKED.contains(&word) {
            return self.push(Token::Command(word));
        }
        if matches!(word, "frac" | "dfrac" | "text" | "boxed") && self.bytes.get(end) == Some(&b'{')
        {
            self.at = start;
            return self.named(word);
        }
        // `1orW(x)=-1`
        let mut letters = word;
        if let Some(rest) = word.strip_prefix("or")
            && rest.len() == 1
            && matches!(
                self.out.last(),
                Some(Lexed {
                    token: Token::Number(..),
                    ..
                })
            )
        {
            self.push(Token::Sign(b','));
            letters = rest;
        }
        for letter in letters.chars() {
            self.push(Token::Letter(letter));
        }
    }

    /// What `{..}` at the next position holds, and past it.
    fn group(&self, mut at: usize) -> Option<(&'a str, usize)> {
        while self.bytes.get(at) == Some(&b' ') {
            at += 1;
        }
        if self.bytes.get(at) != Some(&b'{') {
            return None;
        }
        let mut depth = 0usize;
        for (offset, byte) in self.bytes[at..].iter().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some((&self.text[at + 1..at + offset], at + offset + 1));
                    }
                }
                _ => {}
            }
        }
        Some((&self.text[at + 1..], self.bytes.len()))
    }

    fn command(&mut self) -> Option<()> {
        let mut start = self.at + 1;
        if self.bytes.get(start) == Some(&b'\\') {
            let letter = self
                .bytes
                .get(start + 1)
                .is_some_and(u8::is_ascii_alphabetic);
            if self.rows || !letter {
                self.at += 2;
                self.spaced = true;
                // \\[5pt]
                if self.rows
                    && self.bytes.get(self.at) == Some(&b'[')
                    && let Some(close) = self.text[self.at..].find("pt]")
                    && close < 8
                {
                    self.at += close + 3;
                }
                self.push(Token::Row);
                return Some(());
            }
            // A backslash too many before a command.
            start += 1;
        }
        let end = start
            + self.bytes[start..]
                .iter()
                .take_while(|b| b.is_ascii_alphabetic())
                .count();
        if end == start {
            let sign = self.bytes.get(start).copied();
            self.at = (start + 1).min(self.bytes.len());
            match sign {
                None => {}
                Some(b',' | b';' | b':' | b'!' | b' ' | b'/' | b'\n' | b'\t' | b'>') => {
                    self.spaced = true;
                }
                Some(b'$' | b'(' | b')' | b'[' | b']') => {}
                Some(b'{') => {
                    self.brackets += 1;
                    self.push(Token::SetOpen);
                }
                Some(b'}') => {
                    self.brackets -= 1;
                    self.push(Token::SetClose);
                }
                Some(b'%') => self.push(Token::Sign(b'%')),
                Some(b'|') => self.push(Token::Norm),
                Some(b'_' | b'&' | b'#' | b'-' | b'\'') => {}
                Some(_) => return None,
            }
            return Some(());
        }
        self.at = start;
        self.named(&self.text[start..end]);
        Some(())
    }

    /// The command `name`, which stands at the current position.
    fn named(&mut self, name: &'a str) {
        self.at += name.len();
        let token = match name {
            "left" | "right" | "mleft" | "mright" | "middle" => {
                if self.bytes.get(self.at) == Some(&b'.') {
                    self.at += 1;
                }
                return;
            }
            "big" | "Big" | "bigg" | "Bigg" | "bigl" | "bigr" | "Bigl" | "Bigr" | "biggl"
            | "biggr" | "Biggl" | "Biggr" | "displaystyle" | "textstyle" | "scriptstyle"
            | "limits" | "nolimits" | "rm" | "bf" | "it" | "sf" | "tt" | "boxed" | "fbox"
            | "quad" | "qquad" | "thinspace" | "medspace" | "thickspace" | "negthinspace"
            | "enspace" | "space" | "nonumber" | "hfill" | "hfil" | "noindent" => {
                self.spaced = true;
                return;
            }
            "hspace" | "vspace" | "phantom" | "hphantom" | "vphantom" | "label" | "tag"
            | "color" => {
                if let Some((_, end)) = self.group(self.at) {
                    self.at = end;
                }
                return;
            }
            "begin" | "end" => {
                let Some((environment, end)) = self.group(self.at) else {
                    return;
                };
                self.at = end;
                if name == "end" {
                    Token::End(environment)
                } else {
                    // The columns of \begin{array}{cc}.
                    if environment == "array"
                        && let Some((_, end)) = self.group(self.at)
                    {
                        self.at = end;
                    }
                    Token::Begin(environment)
                }
            }
            "text" | "textrm" | "textbf" | "textit" | "textnormal" | "texttt" | "textsf"
            | "mbox" | "hbox" | "mathrm" | "mathit" | "mathsf" | "mathtt" | "mathbf"
            | "boldsymbol" | "bm" | "operatorname" | "mathnormal" | "mathop" => {
                let Some((inner, end)) = self.group(self.at) else {
                    return;
                };
                self.at = end;
                let word = inner.trim();
                match word {
                    "and" | "or" | ", and" | ", or" | "," | "and," => Token::Sign(b','),
                    "" => {
                        self.spaced = true;
                        return;
                    }
                    "i" if name != "mathbf" => Token::Letter('i'),
                    _ if NAKED.contains(&word) => Token::Command(word),
                    "tr" | "trace" | "rank" | "Re" | "Im" | "lcm" | "gcd" | "arg" | "tg"
                    | "ctg" | "arctg" | "arcctg" => Token::Command(word),
                    _ => Token::Text(inner),
                }
            }
            "mathbb" | "mathcal" | "mathfrak" | "mathscr" | "Bbb" => {
                let Some((inner, end)) = self.group(self.at) else {
                    return;
                };
                self.at = end;
                match inner.trim() {
                    "N" => Token::Command("Naturals"),
                    "Z" => Token::Command("Integers"),
                    "Q" => Token::Command("Rationals"),
                    "R" => Token::Command("Reals"),
                    "C" => Token::Command("Complexes"),
                    "P" => Token::Command("Primes"),
                    _ => Token::Text(inner),
                }
            }
            "le" | "leq" | "leqslant" | "leqq" => Token::Relation(Relation::LessEqual),
            "ge" | "geq" | "geqslant" | "geqq" => Token::Relation(Relation::GreaterEqual),
            "lt" => Token::Relation(Relation::Less),
            "gt" => Token::Relation(Relation::Greater),
            "ne" | "neq" => Token::Relation(Relation::Unequal),
            "not" => {
                let rest = self.text[self.at..].trim_start();
                let skipped = self.text.len() - self.at - rest.len();
                for (form, relation) in [
                    ("=", Relation::Unequal),
                    ("\\equiv", Relation::Unequal),
                    ("\\in", Relation::NotIn),
                ] {
                    if rest.starts_with(form) {
                        self.at += skipped + form.len();
                        return self.push(Token::Relation(relation));
                    }
                }
                return;
            }
            "equiv" | "coloneqq" | "doteq" => Token::Relation(Relation::Equal),
            "in" => Token::Relation(Relation::In),
            "notin" => Token::Relation(Relation::NotIn),
            "subset" | "subseteq" | "subsetneq" => Token::Relation(Relation::Subset),
            "approx" | "simeq" | "cong" | "thickapprox" => Token::Approximately,
            "pm" => Token::PlusMinus(true),
            "mp" => Token::PlusMinus(false),
            "times" | "cdot" | "ast" | "bullet" | "star" => Token::Sign(b'*'),
            "div" => Token::Sign(b'/'),
            "colon" => Token::Sign(b':'),
            "mid" | "vert" | "lvert" | "rvert" => Token::Sign(b'|'),
            "Vert" | "lVert" | "rVert" => Token::Norm,
            "lbrace" => Token::SetOpen,
            "rbrace" => Token::SetClose,
            "lbrack" => Token::Sign(b'['),
            "rbrack" => Token::Sign(b']'),
            "langle" | "lgroup" => Token::Sign(b'('),
            "rangle" | "rgroup" => Token::Sign(b')'),
            "ldots" | "dots" | "cdots" | "dotsc" | "dotsb" => Token::Dots,
            "percent" => Token::Sign(b'%'),
            "exponentialE" => Token::Letter('e'),
            "land" | "wedge" | "lor" | "vee" => Token::Sign(b','),
            "newline" => Token::Row,
            other => Token::Command(other),
        };
        if matches!(token, Token::SetOpen) {
            self.brackets += 1;
        }
        if matches!(token, Token::SetClose) {
            self.brackets -= 1;
        }
        self.push(token);
    }
}

/// Commands that people write without a backslash.
const NAKED: &[&str] = &[
    "sqrt", "sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "lg", "exp", "arcsin", "arccos",
    "arctan", "arccot", "arcsec", "arccsc", "asin", "acos", "atan", "sinh", "cosh", "tanh",
    "arsinh", "arcosh", "artanh", "arcsinh", "arccosh", "arctanh", "cbrt", "floor", "ceil", "gcd",
    "lcm", "abs", "det", "max", "min", "binom",
];

/// Braces that have no partner are dropped or closed at the end.
fn balanced(tokens: Vec<Lexed<'_>>) -> Vec<Lexed<'_>> {
    let mut out = Vec::with_capacity(tokens.len());
    let mut open = 0usize;
    for lexed in tokens {
        match lexed.token {
            Token::Sign(b'{') => open += 1,
            Token::Sign(b'}') if open == 0 => continue,
            Token::Sign(b'}') => open -= 1,
            _ => {}
        }
        out.push(lexed);
    }
    for _ in 0..open {
        out.push(Lexed {
            token: Token::Sign(b'}'),
            spaced: false,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<String> {
        tokens(text)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|lexed| match lexed.token {
                Token::Number(digits, ..) => Some(digits),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn digits_are_grouped_only_where_all_groups_have_three() {
        for (text, expected) in [
            ("1,000", &["1000"][..]),
            ("7,425,000.5", &["7425000.5"]),
            ("1 000", &["1000"]),
            ("1\\,000\\,000", &["1000000"]),
            ("1{,}000", &["1000"]),
            ("2{,}74", &["2.74"]),
            ("10,100,1000", &["10", "100", "1000"]),
            ("1, 200", &["1", "200"]),
            ("(1,200)", &["1", "200"]),
            ("12,34", &["12", "34"]),
            (".5", &["0.5"]),
            ("3.", &["3"]),
        ] {
            assert_eq!(numbers(text), expected, "{text}");
        }
    }

    #[test]
    fn braces_are_balanced_and_doubled_backslashes_mended() {
        let names: Vec<_> = tokens("\\\\frac{1}{2")
            .unwrap_or_default()
            .into_iter()
            .map(|lexed| lexed.token)
            .collect();
        assert_eq!(names.first(), Some(&Token::Command("frac")));
        assert_eq!(names.last(), Some(&Token::Sign(b'}')));
        assert_eq!(tokens("2}").map(|t| t.len()), Some(1));
    }
}
