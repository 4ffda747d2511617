//! How the official code finds the answer in a reply, step by step as it does it.
//!
//! Its steps are many and some look odd (a single slash becomes a fraction only between whole
//! numbers in plain form; fractions without braces are mended only beside a square root). They are
//! kept, since another order gives other scores.

use std::borrow::Cow;

/// Python's `str.strip()`, which takes the four separators of ASCII for white space too.
pub(super) fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// What the official code keeps as `model_answer` of a reply; empty where nothing is left.
pub(super) fn extract(response: &str) -> String {
    let mut text = Cow::Borrowed(strip(response));
    for letter in ["A", "B", "C", "D", "E"] {
        if text.ends_with(&format!(" {letter}."))
            || text.ends_with(&format!(" ({letter})."))
            || text.starts_with(&format!("{letter}\n"))
            || text.starts_with(&format!("({letter})\n"))
            || text.starts_with(&format!("({letter}) {letter}\n"))
        {
            text = Cow::Borrowed(letter);
        }
    }
    let last = after_last(&text, "is ").trim_end_matches('.');
    if float(last).is_some() {
        text = Cow::Owned(last.to_owned());
    }
    match text.matches("oxed{").count() {
        0 => {
            for (flag, start) in [
                ("the final answer is", "The final answer is"),
                ("the answer is", "The answer is"),
                ("the correct answer is", "The correct answer is"),
                ("the answer should be", "The answer should be"),
            ] {
                for flag in [flag, start] {
                    let found = text.contains(flag);
                    let mut kept = strip(after_last(&text, flag));
                    if found {
                        kept = before(before(kept, "\n"), ". ");
                    }
                    if kept.len() != text.len() {
                        text = Cow::Owned(kept.to_owned());
                    }
                }
            }
        }
        1 => {}
        _ => text = Cow::Owned(format!("\\boxed{{{}", after_last(&text, "oxed{"))),
    }
    let mut answer = find(&text);
    for letter in ["a", "b", "c", "d", "e"] {
        answer = answer.replace(&format!("({letter})"), letter);
    }
    for letter in ["a", "b", "c", "d", "e"] {
        answer = answer.replace(&format!("{{{letter}}}"), letter);
    }
    strip(answer.trim_end_matches('.').trim_start_matches(':')).to_owned()
}

fn after_last<'a>(text: &'a str, mark: &str) -> &'a str {
    text.rsplit(mark).next().unwrap_or(text)
}

fn before<'a>(text: &'a str, mark: &str) -> &'a str {
    text.split(mark).next().unwrap_or(text)
}

/// Python's `float(text)`: digits in groups joined by single underscores, a point, an exponent;
/// `inf`, `infinity` and `nan`; white space around it.
pub(in super::super) fn float(text: &str) -> Option<f64> {
    let text = strip(text);
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let lower = unsigned.to_ascii_lowercase();
    if matches!(lower.as_str(), "inf" | "infinity" | "nan") {
        return text.parse().ok();
    }
    let group = |part: &str| {
        part.split('_')
            .all(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
    };
    let (mantissa, exponent) = match lower.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (lower.as_str(), None),
    };
    let mantissa = match mantissa.split_once('.') {
        Some(("", decimals)) => group(decimals),
        Some((whole, "")) => group(whole),
        Some((whole, decimals)) => group(whole) && group(decimals),
        None => group(mantissa),
    };
    if mantissa && exponent.is_none_or(|e| group(e.strip_prefix(['+', '-']).unwrap_or(e))) {
        text.replace('_', "").parse().ok()
    } else {
        None
    }
}

/// The official `find_math_answer`: what the last `\boxed{}` holds, or all of it, cleaned.
fn find(text: &str) -> String {
    let text = text.to_lowercase().replace("{}", "");
    // From the first box to the last brace of the whole text: the official pattern is greedy.
    let mut answer = match text.find("oxed{").map(|at| at + "oxed{".len()) {
        Some(start) => match text[start..].rfind('}') {
            Some(end) => &text[start..start + end],
            None => &text,
        },
        None => &text,
    };
    if let Some(close) = answer.find('}')
        && answer.find('{').is_none_or(|open| close < open)
    {
        answer = &answer[..close];
    }
    let mut answer = after_last(after_last(answer, "="), "\\approx").to_owned();
    for (from, to) in [
        (" ", ""),
        ("\\,", ""),
        ("∞", "\\infty"),
        ("+\\infty", "\\infty"),
        ("\\\\", "\\"),
        ("\n", ""),
        ("\\text", ""),
        ("\\mbox", ""),
        ("bmatrix", "pmatrix"),
        ("\\left", ""),
        ("\\right", ""),
        ("^{\\circ}", ""),
        ("^\\circ", ""),
        ("{m}^3", ""),
        ("m^3", ""),
        ("{units}", ""),
        ("units", ""),
        ("{km}", ""),
        ("km", ""),
    ] {
        if answer.contains(from) {
            answer = answer.replace(from, to);
        }
    }
    cleaned(answer)
}

/// The official `_strip_string`.
fn cleaned(mut text: String) -> String {
    for (from, to) in [
        ("\n", ""),
        ("\\!", ""),
        ("\\\\", "\\"),
        ("tfrac", "frac"),
        ("dfrac", "frac"),
        ("\\left", ""),
        ("\\right", ""),
        ("^{\\circ}", ""),
        ("^\\circ", ""),
        ("\\$", ""),
        ("$", ""),
    ] {
        if text.contains(from) {
            text = text.replace(from, to);
        }
    }
    if let Some(unit) = text.find("\\text{ ") {
        text.truncate(unit);
    }
    text = text
        .replace("\\%", "")
        .replace(" .", " 0.")
        .replace("{.", "{0.");
    if text.is_empty() {
        return text;
    }
    if text.starts_with('.') {
        text.insert(0, '0');
    }
    for mark in ["=", "\\approx"] {
        if text.matches(mark).count() == 1 {
            text = after_last(&text, mark).to_owned();
        }
    }
    let rooted = text.contains("sqrt");
    if rooted {
        text = braced_roots(&text);
    }
    text = text.replace(' ', "");
    if rooted {
        text = braced_fractions(&text);
    }
    if text == "0.5" {
        text = "\\frac{1}{2}".to_owned();
    }
    slashed(&text).unwrap_or(text)
}

/// `\sqrt3` becomes `\sqrt{3}`.
fn braced_roots(text: &str) -> String {
    let mut parts = text.split("\\sqrt");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("\\sqrt");
        match part.chars().next() {
            Some(first) if first != '{' => {
                out.push('{');
                out.push(first);
                out.push('}');
                out.push_str(&part[first.len_utf8()..]);
            }
            _ => out.push_str(part),
        }
    }
    out
}

/// `\frac12` becomes `\frac{1}{2}`, and `\frac1{23}` `\frac{1}{23}`; text with a fraction that has
/// less than two characters behind it is left alone.
fn braced_fractions(text: &str) -> String {
    let mut parts = text.split("\\frac");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("\\frac");
        if part.starts_with('{') {
            out.push_str(part);
            continue;
        }
        let mut characters = part.chars();
        let (Some(over), Some(under)) = (characters.next(), characters.next()) else {
            return text.to_owned();
        };
        let rest = characters.as_str();
        if under == '{' {
            out.push_str(&format!("{{{over}}}{{{rest}"));
        } else {
            out.push_str(&format!("{{{over}}}{{{under}}}{rest}"));
        }
    }
    out
}

/// `a/b` of two whole numbers in their plain form as a fraction.
fn slashed(text: &str) -> Option<String> {
    let (over, under) = text.split_once('/')?;
    let plain = |side: &str| {
        let digits = side.strip_prefix('-').unwrap_or(side);
        digits.bytes().all(|b| b.is_ascii_digit())
            && (digits == side || digits != "0")
            && (digits == "0" || !digits.starts_with('0'))
            && !digits.is_empty()
            // More digits Python does not read.
            && digits.len() <= super::node::DIGITS
    };
    (plain(over) && plain(under)).then(|| format!("\\frac{{{over}}}{{{under}}}"))
}
