//! Text and numbers as HTML.

use sample::scores::{Accuracy, Difference, Verdict};

/// Text that may stand anywhere in HTML, attributes in quotes included.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Control characters are not allowed in HTML and show nothing.
            c if c.is_control() && c != '\n' && c != '\t' => {}
            // These reorder the text around them.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c => escaped.push(c),
        }
    }
    escaped
}

/// Escaped, and cut after `most` characters.
pub fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", escape(text[..end].trim_end())),
        None => escape(text),
    }
}

/// `12,345`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `41.2 [38.0, 44.5]`, or a dash where nothing was asked.
pub fn accuracy(a: Accuracy) -> String {
    if a.total == 0 {
        return "–".to_owned();
    }
    format!(
        "{:.1} <span class=\"range\">[{:.1}, {:.1}]</span>",
        100.0 * a.value,
        100.0 * a.low,
        100.0 * a.high
    )
}

/// `+22.1 [18.3, 25.9]`.
pub fn difference(d: &Difference) -> String {
    if d.items == 0 {
        return "–".to_owned();
    }
    let range = match d.interval {
        Some((low, high)) => format!("[{:+.1}, {:+.1}]", 100.0 * low, 100.0 * high),
        None => "[too few images]".to_owned(),
    };
    format!(
        "{:+.1} <span class=\"range\">{range}</span>",
        100.0 * d.value
    )
    .replace('-', "−")
}

/// The verdict as a badge that says it in words, not by colour alone.
pub fn verdict(v: Verdict) -> &'static str {
    match v {
        Verdict::Beats => "<span class=\"badge beats\">beats</span>",
        Verdict::Unclear => "<span class=\"badge unclear\">unclear</span>",
        Verdict::Loses => "<span class=\"badge loses\">loses</span>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text_and_reordering_marks_vanish() {
        assert_eq!(
            escape("<script>alert(\"1\")</script> & 'x'\u{202e}\u{0}"),
            "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39;"
        );
        assert_eq!(shortened("<<<<", 2), "&lt;&lt;…");
        assert_eq!(shortened("ééé", 3), "ééé");
    }

    #[test]
    fn counts_have_separators() {
        for (n, wanted) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(n), wanted);
        }
    }
}
