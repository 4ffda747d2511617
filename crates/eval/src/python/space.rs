//! What Python calls white space in text.

/// Whether `str.isspace` holds for the character: Unicode's white space and the four ASCII separators
/// U+001C to U+001F, which Unicode does not count.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `str.strip()`: without white space at both ends.
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}
