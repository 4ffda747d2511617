//! Python's `int(str)` and `float(str)`: which texts are numbers.
//!
//! Both read decimal digits of any script, single underscores between digits, one sign, and white
//! space around. Neither reads thousands separators, units, fractions or U+2212.

use std::borrow::Cow;

/// The zeros of Unicode 14's decimal digits (category Nd); nine more digits follow each.
const ZEROS: [u32; 65] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6,
    0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50,
    0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
    0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650,
    0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x16a60, 0x16ac0, 0x16b50,
    0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950, 0x1fbf0,
];

/// Python refuses to read integers of more digits, leading zeros counted.
const MOST_DIGITS: usize = 4300;

/// `int(text)`, as the decimal digits that `str` prints; `None` where Python raises.
pub fn parse_int(text: &str) -> Option<String> {
    let ascii = to_ascii(text);
    let text = blank_ends(&ascii);
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let digits = without_underscores(digits)?;
    let all = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !all || digits.len() > MOST_DIGITS {
        return None;
    }
    let shown = digits.trim_start_matches('0');
    Some(match (shown, negative) {
        ("", _) => "0".to_owned(),
        (shown, true) => format!("-{shown}"),
        (shown, false) => shown.to_owned(),
    })
}

/// `float(text)`; `None` where Python raises. Infinite where the text says so or is too large.
pub fn parse_float(text: &str) -> Option<f64> {
    let ascii = to_ascii(text);
    let text = without_underscores(blank_ends(&ascii))?;
    let (negative, figures) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, &text[..]),
    };
    let named = |name: &str| figures.eq_ignore_ascii_case(name);
    let value = if named("inf") || named("infinity") {
        f64::INFINITY
    } else if named("nan") {
        return Some(f64::NAN);
    } else if is_decimal(figures) {
        // Rust's reading is correctly rounded, as Python's is.
        figures.parse().ok()?
    } else {
        return None;
    };
    Some(if negative { -value } else { value })
}

/// Digits with at most one point among or around them, then an exponent or none.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()) && exponent
}

/// Every digit as an ASCII digit and every blank as a space; other letters beyond ASCII as `?`, which
/// is in no number.
fn to_ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let one = |c: char| match c {
        c if c.is_ascii() => c,
        c if super::is_space(c) => ' ',
        c => digit(c).map_or('?', char::from),
    };
    Cow::Owned(text.chars().map(one).collect())
}

/// The ASCII digit that a digit beyond ASCII stands for.
fn digit(c: char) -> Option<u8> {
    let code = c as u32;
    let after = ZEROS.partition_point(|&zero| zero <= code);
    let offset = code - ZEROS[after.checked_sub(1)?];
    (offset < 10).then(|| b'0' + offset as u8)
}

/// Without C's white space at both ends, which has not the separators U+001C to U+001F.
fn blank_ends(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r'])
}

/// Without underscores, where each stands alone between two digits; else `None`.
fn without_underscores(text: &str) -> Option<Cow<'_, str>> {
    let bytes = text.as_bytes();
    if !bytes.contains(&b'_') {
        return Some(Cow::Borrowed(text));
    }
    let digit_at = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at))
            .is_some_and(u8::is_ascii_digit)
    };
    let well = (0..bytes.len())
        .filter(|&at| bytes[at] == b'_')
        .all(|at| digit_at(at.checked_sub(1)) && digit_at(Some(at + 1)));
    well.then(|| Cow::Owned(text.replace('_', "")))
}
