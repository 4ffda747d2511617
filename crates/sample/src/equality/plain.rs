//! One plain spelling for mathematics in LaTeX, in Unicode and in ASCII.
//!
//! What comes out still has `\frac` and `\sqrt` with their braces; delimiters, spacing and font
//! commands are gone, and operators have one sign each.

/// Commands that only change how their argument looks.
const FONTS: &[&str] = &[
    "text",
    "textbf",
    "textit",
    "textrm",
    "mathrm",
    "mathbf",
    "mathit",
    "mathsf",
    "mbox",
    "boxed",
    "fbox",
    "operatorname",
    "rm",
    "bf",
];

/// Commands that only space or size.
const SPACING: &[&str] = &[
    "left",
    "right",
    "big",
    "Big",
    "bigl",
    "bigr",
    "displaystyle",
    "limits",
    "quad",
    "qquad",
    "thinspace",
];

/// Commands and the sign that stands for them from here on.
const SIGNS: &[(&str, &str)] = &[
    ("frac", "\\frac"),
    ("dfrac", "\\frac"),
    ("tfrac", "\\frac"),
    ("cfrac", "\\frac"),
    ("sqrt", "\\sqrt"),
    ("cdot", "*"),
    ("times", "*"),
    ("ast", "*"),
    ("div", "/"),
    ("circ", "\u{b0}"),
    ("degree", "\u{b0}"),
    ("pi", "\u{3c0}"),
    ("alpha", "\u{3b1}"),
    ("beta", "\u{3b2}"),
    ("gamma", "\u{3b3}"),
    ("delta", "\u{3b4}"),
    ("theta", "\u{3b8}"),
    ("lambda", "\u{3bb}"),
    ("mu", "\u{3bc}"),
    ("rho", "\u{3c1}"),
    ("sigma", "\u{3c3}"),
    ("phi", "\u{3c6}"),
    ("omega", "\u{3c9}"),
    ("infty", "\u{221e}"),
    ("pm", "\u{b1}"),
    ("le", "\u{2264}"),
    ("leq", "\u{2264}"),
    ("leqslant", "\u{2264}"),
    ("ge", "\u{2265}"),
    ("geq", "\u{2265}"),
    ("geqslant", "\u{2265}"),
    ("lt", "<"),
    ("gt", ">"),
    ("ne", "\u{2260}"),
    ("neq", "\u{2260}"),
    ("approx", "\u{2248}"),
];

/// Functions keep their names, apart from what follows.
const FUNCTIONS: &[&str] = &[
    "sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "ln", "log", "exp",
];

/// The plain spelling of `text`.
pub(super) fn plain(text: &str) -> String {
    let text = undelimited(text.trim());
    let text = text
        .replace("^{\\circ}", "\u{b0}")
        .replace("^\\circ", "\u{b0}");
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    // Of each open brace whether it is dropped with the command before it.
    let mut dropped: Vec<bool> = Vec::new();
    let mut at = 0;
    let mut drop_next = false;
    while let Some(&c) = chars.get(at) {
        at += 1;
        if c == '{' {
            dropped.push(drop_next);
            if !drop_next {
                out.push('{');
            }
            drop_next = false;
            continue;
        }
        drop_next = false;
        match c {
            '}' => {
                if dropped.pop() != Some(true) {
                    out.push('}');
                }
            }
            '\\' => {
                let end = chars[at..].iter().position(|c| !c.is_ascii_alphabetic());
                let end = end.map_or(chars.len(), |n| at + n);
                let name: String = chars[at..end].iter().collect();
                if name.is_empty() {
                    let escaped = chars.get(at).copied();
                    at += 1;
                    match escaped {
                        Some(c @ ('{' | '}' | '%' | '$' | '|' | '&' | '#' | '_')) => out.push(c),
                        // Between digits a thin space groups them.
                        Some(',' | '!') => {}
                        Some(_) | None => out.push(' '),
                    }
                } else {
                    at = end;
                    drop_next = command(&name, &mut out) && chars.get(at) == Some(&'{');
                }
            }
            _ => sign(c, digit_between(&chars, at - 1), &mut out),
        }
    }
    let spaced = out.split_whitespace().collect::<Vec<_>>().join(" ");
    ended(&spaced).to_owned()
}

/// Writes what a command stands for; true where the braces of its argument go with it.
fn command(name: &str, out: &mut String) -> bool {
    if FONTS.contains(&name) {
        return true;
    }
    if SPACING.contains(&name) {
        out.push(' ');
    } else if let Some((_, sign)) = SIGNS.iter().find(|(command, _)| *command == name) {
        out.push_str(sign);
    } else if FUNCTIONS.contains(&name) {
        out.push(' ');
        out.push_str(name);
        out.push(' ');
    } else {
        // Not understood: it stays, and the text is compared as words.
        out.push('\\');
        out.push_str(name);
        out.push(' ');
    }
    false
}

fn digit_between(chars: &[char], at: usize) -> bool {
    let digit = |c: Option<&char>| c.is_some_and(char::is_ascii_digit);
    at > 0 && digit(chars.get(at - 1)) && digit(chars.get(at + 1))
}

fn sign(c: char, between_digits: bool, out: &mut String) {
    match c {
        '\u{2212}' | '\u{fe63}' => out.push('-'),
        '\u{d7}' | '\u{b7}' | '\u{22c5}' | '\u{2219}' | '\u{2217}' => out.push('*'),
        '\u{f7}' | '\u{2215}' | '\u{2044}' => out.push('/'),
        '\u{b2}' => out.push_str("^2"),
        '\u{b3}' => out.push_str("^3"),
        '\u{bd}' => out.push_str(" 1/2"),
        '\u{bc}' => out.push_str(" 1/4"),
        '\u{be}' => out.push_str(" 3/4"),
        '\u{221a}' => out.push_str("\\sqrt"),
        '\u{ba}' | '\u{2da}' => out.push('\u{b0}'),
        '\u{3001}' => out.push_str(", "),
        '\u{3002}' => out.push('.'),
        '\u{2019}' | '\u{2018}' => out.push('\''),
        '\u{a0}' | '\u{202f}' | '\u{2009}' if between_digits => {}
        '~' => out.push(' '),
        // Full-width forms lie at a fixed distance from ASCII.
        '\u{ff01}'..='\u{ff5e}' => {
            out.push(char::from_u32(c as u32 - 0xfee0).unwrap_or(c));
        }
        c if c.is_whitespace() || c.is_control() => out.push(' '),
        c => out.push(c),
    }
}

/// Without the delimiters of a formula around the whole.
fn undelimited(text: &str) -> &str {
    for (open, close) in [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")] {
        let inner = text.strip_prefix(open).and_then(|t| t.strip_suffix(close));
        if let Some(inner) = inner
            && !inner.contains(open)
            && !inner.ends_with('\\')
        {
            return inner.trim();
        }
    }
    text
}

/// Without the marks that end a sentence; `!` after a digit is a factorial.
fn ended(text: &str) -> &str {
    let mut text = text;
    while let Some(rest) = text.strip_suffix(['.', ',', ';', ':', '?', '!']) {
        let factorial =
            text.ends_with('!') && rest.ends_with(|c: char| c.is_ascii_digit() || c == ')');
        if factorial {
            break;
        }
        text = rest.trim_end();
    }
    text
}

/// What is left for comparing as words: lower case, marks without meaning dropped, one space where
/// they or spaces stood. Signs of mathematics stay, points and commas between digits too.
pub(super) fn words(plain: &str) -> String {
    let chars: Vec<char> = plain.to_lowercase().chars().collect();
    let letter = |c: Option<&char>| c.is_some_and(|c| c.is_alphabetic());
    let mut out = String::with_capacity(plain.len());
    let mut gap = false;
    for (at, c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|i| chars.get(i));
        let kept = match c {
            '.' | ',' => digit_between(&chars, at),
            '-' => !(letter(before) && letter(chars.get(at + 1))),
            '\'' => continue,
            c => c.is_alphanumeric() || "+*/=<>^%$:|\\!_\u{b0}\u{b1}\u{2260}\u{2264}\u{2265}\u{221e}\u{222a}\u{20ac}\u{a3}\u{a5}".contains(*c),
        };
        if !kept {
            gap = true;
            continue;
        }
        let joins = c.is_alphanumeric() && out.ends_with(char::is_alphanumeric);
        if gap && joins {
            out.push(' ');
        }
        gap = false;
        out.push(*c);
    }
    let out = out.trim_end_matches('!');
    let out = out.strip_prefix("the ").unwrap_or(out);
    match out {
        "true" => "yes".to_owned(),
        "false" => "no".to_owned(),
        _ => out.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latex_unicode_and_ascii_have_one_spelling() {
        let cases = [
            ("$15 \\mathrm{~cm}^{2}$", "15 cm^{2}"),
            ("\\boxed{\\dfrac{1}{2}}", "\\frac{1}{2}"),
            ("\\left( 3 \\cdot x \\right)", "( 3 * x )"),
            ("60^{\\circ}", "60\u{b0}"),
            ("\u{2212}3 \u{d7} 2", "-3 * 2"),
            ("1\u{a0}000", "1000"),
            ("\\text{Yes}.", "Yes"),
            ("5!", "5!"),
            ("Yes!", "Yes"),
            ("\\{1, 2\\}", "{1, 2}"),
            ("\u{ff11}\u{ff12}", "12"),
            ("\\$5", "$5"),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn words_keep_the_signs_that_carry_meaning() {
        let cases = [
            ("New York!", "new york"),
            ("well-known", "well known"),
            ("-5", "-5"),
            ("1.5", "1.5"),
            ("The Dog", "dog"),
            ("(B)", "b"),
            ("TRUE", "yes"),
            ("don't", "dont"),
        ];
        for (text, expected) in cases {
            assert_eq!(words(text), expected, "{text:?}");
        }
    }
}
