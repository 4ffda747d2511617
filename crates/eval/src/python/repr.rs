//! Python's `repr(str)`: a text in quotes, with everything unprintable escaped.

use std::fmt::Write;

/// `repr(text)`: in single quotes, or in double ones where the text has single but no double quotes.
pub fn repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if is_printable(c) => out.push(c),
            c => escape(&mut out, c as u32),
        }
    }
    out.push(quote);
    out
}

fn escape(out: &mut String, code: u32) {
    // Writing to a String cannot fail.
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// `str.isprintable` for one character: no control, format, surrogate, private or unassigned one, and
/// no separator but the space. The standard library decides by the same categories (of a Unicode
/// version a little later than Python 3.11's) whether a character inside a text is escaped; at a
/// text's start it would also escape combining marks, hence the letter before.
fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        c if c.is_ascii() => false,
        c => {
            let mut text = [b'a', 0, 0, 0, 0];
            let length = 1 + c.encode_utf8(&mut text[1..]).len();
            std::str::from_utf8(&text[..length])
                .is_ok_and(|text| text.escape_debug().nth(1) != Some('\\'))
        }
    }
}
