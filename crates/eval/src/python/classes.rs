//! The character classes of Python's `re`: what `\d` and `\w` match in a text.

use std::sync::LazyLock;

use fancy_regex::Regex;

/// Whether `\d` matches: a decimal digit of any script.
pub(crate) fn is_digit(c: char) -> bool {
    static DIGIT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\p{Nd}").ok());
    c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric() && among(&DIGIT, c))
}

/// Whether `\w` matches: letters, numbers of all kinds and the underscore; not the combining marks
/// and circled letters that Rust, too, takes for alphabetic.
pub(crate) fn is_word(c: char) -> bool {
    static WORD: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"[\p{L}\p{N}]").ok());
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    c.is_alphanumeric() && among(&WORD, c)
}

/// A character beyond ASCII in a class that std has no test for. The patterns are constants that
/// compile, and one character needs no backtracking.
fn among(class: &LazyLock<Option<Regex>>, c: char) -> bool {
    class
        .as_ref()
        .is_some_and(|class| class.is_match(c.encode_utf8(&mut [0; 4])).unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Held against `bool(re.match(r'\d', c))` and `bool(re.match(r'\w', c))` of CPython 3.11.
    #[test]
    fn digits_are_decimal_ones_of_every_script() {
        for c in "09٣९７𝟘𝟿".chars() {
            assert!(is_digit(c), "{c}");
        }
        for c in "²½①五Ⅷa-_ \u{10ffff}".chars() {
            assert!(!is_digit(c), "{c}");
        }
    }

    #[test]
    fn a_word_has_letters_and_numbers_but_no_marks() {
        for c in "aZ_0é中²½Ⅷ９ß".chars() {
            assert!(is_word(c), "{c}");
        }
        for c in "- .€Ⓐ\u{903}\u{301}\u{200d}".chars() {
            assert!(!is_word(c), "{c}");
        }
    }
}
