//! Digits in LaTeX: thousands separators in their many forms, decimals, repeating decimals, powers of ten.

use crate::token::{Lexer, Token};

/// Digits beyond this are not read as a number: powers of that size take time.
const MOST_DIGITS: usize = 2_000;

impl<'a> Lexer<'a> {
    pub fn digits(&self, mut at: usize) -> usize {
        while self.bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        at
    }

    /// Where a thousands separator of any form that stands at `at` ends, if three digits and no more follow.
    pub fn separator(&self, at: usize) -> Option<usize> {
        let rest = &self.bytes[at..];
        let comma: &[&[u8]] = if self.brackets <= 0 { &[b","] } else { &[] };
        let forms: [&[u8]; 8] = [
            b"\\text{ }",
            b"{,}",
            b",\\!",
            b"\\,",
            b"\\ ",
            b"\\;",
            b" ",
            b"~",
        ];
        let length = forms
            .iter()
            .chain(comma)
            .find(|form| rest.starts_with(form))?
            .len();
        let start = at + length;
        (self.digits(start) == start + 3).then_some(start)
    }

    pub fn number(&mut self) -> Option<()> {
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
    pub fn point(&mut self) -> Option<()> {
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
    pub fn repeating(&self, at: usize) -> Option<(&'a str, usize)> {
        let rest = self.text.get(at..)?;
        let inner = ["\\overline{", "\\bar{", "\\dot{"]
            .iter()
            .find_map(|command| rest.strip_prefix(command))?;
        let close = inner.find('}')?;
        let digits = &inner[..close];
        (!digits.is_empty() && digits.len() <= 40 && digits.bytes().all(|b| b.is_ascii_digit()))
            .then(|| (digits, at + (rest.len() - inner.len()) + close + 1))
    }

    pub fn finish_number(&mut self, digits: String) -> Option<()> {
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
}
