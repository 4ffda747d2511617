//! What the official parser rewrites in a text before it parses it.

/// The replacements that latex2sympy makes before it parses.
pub(super) fn rewritten(text: &str) -> String {
    let mut text = text.to_owned();
    for (from, to) in [
        ("\\dfrac", "\\frac"),
        ("\\tfrac", "\\frac"),
        ("\\mathrm{d}", "d"),
        ("{\\rm d}", "d"),
        ("\\left[\\begin{matrix}", "\\begin{bmatrix}"),
        ("\\end{matrix}\\right]", "\\end{bmatrix}"),
    ] {
        if text.contains(from) {
            text = text.replace(from, to);
        }
    }
    text = permutations(text);
    for from in ["\\displaystyle", "\\quad", "\\qquad", "~", "\\,", "$"] {
        if text.contains(from) {
            text = text.replace(from, " ");
        }
    }
    text
}

/// `(n)_{k}` is written out as `\frac{(n)!}{((n)-(k))!}`.
fn permutations(text: String) -> String {
    if !text.contains(")_{") {
        return text;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-*/\\ ".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    // What is in the brackets has no bracket in it, so the last one before ")_{" opens.
    while let Some(close) = rest.find(")_{") {
        let (open, tail) = (rest[..close].rfind('('), &rest[close + 3..]);
        let below = tail
            .find(|c| !plain(c))
            .filter(|&end| end > 0 && tail[end..].starts_with('}'));
        match (open, below) {
            (Some(open), Some(end))
                if open + 1 < close && rest[open + 1..close].chars().all(plain) =>
            {
                let (n, k) = (&rest[open + 1..close], &tail[..end]);
                out.push_str(&rest[..open]);
                out.push_str(&format!("\\frac{{({n})!}}{{(({n})-({k}))!}}"));
                rest = &tail[end + 1..];
            }
            _ => {
                out.push_str(&rest[..close + 3]);
                rest = tail;
            }
        }
    }
    out.push_str(rest);
    out
}
