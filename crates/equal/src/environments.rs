//! Where LaTeX stands in a text: dollars, brackets, boxes.
//!
//! The patterns are Math-Verify's, found by one scan from left to right and without backtracking, so that a
//! megabyte of dollar signs costs what a megabyte costs.

use std::ops::Range;

/// One piece of LaTeX in a text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Environment {
    /// With its delimiters, and a percent sign behind them.
    pub outer: Range<usize>,
    pub inner: Range<usize>,
    pub percent: bool,
}

/// Environments that belong together: joined by commas, `and`, `or`.
pub(crate) type Group = Vec<Environment>;

/// Environments that one answer may be spread over.
const MOST_JOINED: usize = 6;

/// All groups of environments, from left to right.
pub(crate) fn groups(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for environment in environments(text) {
        if let Some(group) = groups.last_mut()
            && group.len() < MOST_JOINED
            && let Some(last) = group.last()
            && joins(&text[last.outer.end..environment.outer.start])
        {
            group.push(environment);
        } else {
            groups.push(vec![environment]);
        }
    }
    groups
}

/// `, `, ` and `, `, or `.
fn joins(between: &str) -> bool {
    let between = between.trim();
    matches!(
        between,
        "," | "and" | "or" | ",and" | ",or" | ", and" | ", or"
    )
}

fn environments(text: &str) -> Vec<Environment> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    // Once a closing delimiter is missing from here on, it is missing from all later places.
    let (mut no_double, mut no_square) = (false, false);
    let mut line = 0;
    while at < bytes.len() {
        if at >= line {
            line = text[at..]
                .find('\n')
                .map_or(bytes.len(), |end| at + end)
                .max(at + 1);
        }
        let escaped = at > 0 && bytes[at - 1] == b'\\';
        let range = match bytes[at] {
            b'$' if !escaped && bytes.get(at + 1) == Some(&b'$') => {
                let closed = if no_double {
                    None
                } else {
                    closing(text, at + 2, "$$", bytes.len())
                };
                no_double |= closed.is_none();
                closed.map(|end| (at + 2..end, 2))
            }
            b'$' if !escaped && (at == 0 || !bytes[at - 1].is_ascii_digit()) => {
                closing(text, at + 1, "$", line).map(|end| (at + 1..end, 1))
            }
            b'\\' if !escaped && bytes.get(at + 1) == Some(&b'[') => {
                let closed = if no_square {
                    None
                } else {
                    closing(text, at + 2, "\\]", bytes.len())
                };
                no_square |= closed.is_none();
                closed.map(|end| (at + 2..end, 2))
            }
            b'\\' if !escaped && bytes.get(at + 1) == Some(&b'(') => {
                closing(text, at + 2, "\\)", line).map(|end| (at + 2..end, 2))
            }
            b'[' if at > 0 && bytes[at - 1].is_ascii_whitespace() => {
                let end = text[at + 1..]
                    .find(['\n', '[', ']'])
                    .map(|offset| at + 1 + offset)
                    .filter(|end| bytes[*end] == b']');
                end.filter(|end| {
                    *end > at + 1 && bytes.get(end + 1).is_some_and(u8::is_ascii_whitespace)
                })
                // The brackets stay: they make the interval.
                .map(|end| (at..end + 1, 0))
            }
            b'\\' | b'-' => fraction(text, at).map(|end| (at..end, 0)),
            _ => None,
        };
        let Some((inner, delimiter)) = range else {
            at += 1;
            continue;
        };
        let mut end = inner.end + delimiter;
        let after = text[end..].trim_start();
        let percent = ["\\%", "%", "percentage", "percent", "Percent", "pct", "Pct"]
            .iter()
            .find(|sign| after.starts_with(**sign));
        let start = at;
        if let Some(sign) = percent {
            end += text[end..].len() - after.len() + sign.len();
        }
        found.push(Environment {
            outer: start..end,
            inner,
            percent: percent.is_some(),
        });
        at = end;
    }
    found
}

/// Where `delimiter`, not escaped, follows something before `limit`.
fn closing(text: &str, from: usize, delimiter: &str, limit: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < limit {
        let end = at + text[at..limit].find(delimiter)?;
        if end > from && bytes[end - 1] != b'\\' {
            return Some(end);
        }
        at = end + 1;
    }
    None
}

/// Where a bare `-\frac{1}{2}` of numbers ends.
fn fraction(text: &str, at: usize) -> Option<usize> {
    let rest = &text[at..];
    let body = rest.strip_prefix('-').unwrap_or(rest);
    let mut left = body.strip_prefix("\\frac")?;
    for _ in 0..2 {
        let inner = left.strip_prefix('{')?;
        let close = inner.find('}')?;
        let digits = inner[..close].strip_prefix('-').unwrap_or(&inner[..close]);
        let plain = digits
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b','));
        if digits.is_empty() || !plain || digits.len() > 40 {
            return None;
        }
        left = &inner[close + 1..];
    }
    Some(text.len() - left.len())
}

/// How many boxes are joined to one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boxes {
    /// All of them: within one environment.
    All,
    /// The last, and those that lead up to it: in a whole text.
    Last,
}

/// What the boxes in `text` hold, joined by commas; `None` without a box.
pub(crate) fn boxed(text: &str, boxes: Boxes) -> Option<String> {
    let mut found: Vec<(&str, usize, usize)> = Vec::new();
    let mut at = 0;
    while let Some((start, open)) = next_box(text, at) {
        let inner = text[open..].trim_start();
        let from = text.len() - inner.len();
        if !inner.starts_with('{') {
            // \boxed 5
            let rest = inner.split(['$', '\n']).next().unwrap_or(inner);
            found.push((rest, start, from + rest.len()));
            at = open;
            continue;
        }
        let end = matching(text, from).unwrap_or(text.len());
        found.push((text[from + 1..end].trim(), start, (end + 1).min(text.len())));
        at = end.min(text.len());
    }
    let (last, earlier) = found.split_last()?;
    let mut kept = vec![last.0];
    let mut next = last;
    for this in earlier.iter().rev() {
        if boxes == Boxes::Last {
            let between = text.get(this.2..next.1).unwrap_or_default();
            let separated = between
                .split(|c: char| !c.is_ascii_alphabetic())
                .any(|word| matches!(word, "and" | "or"))
                || between.contains([',', ';']);
            let near = between.len() < 10 || (between.len() < 70 && separated && this.0 != next.0);
            if !near {
                break;
            }
        }
        if kept.last() != Some(&this.0) {
            kept.push(this.0);
        }
        next = this;
    }
    kept.reverse();
    Some(kept.join(","))
}

fn next_box(text: &str, from: usize) -> Option<(usize, usize)> {
    let mut at = from;
    loop {
        let start = at + text.get(at..)?.find('\\')?;
        for name in ["\\boxed", "\\fbox"] {
            if text[start..].starts_with(name) {
                return Some((start, start + name.len()));
            }
        }
        at = start + 1;
    }
}

/// Where the brace at `open` is closed.
fn matching(text: &str, open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (offset, byte) in text.as_bytes()[open..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return Some(open + offset);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inner(text: &str) -> Vec<Vec<&str>> {
        groups(text)
            .iter()
            .map(|group| group.iter().map(|e| &text[e.inner.clone()]).collect())
            .collect()
    }

    #[test]
    fn environments_are_found_and_joined() {
        assert_eq!(inner("is $1$ and $2$ or $3$"), [["1", "2", "3"]]);
        assert_eq!(inner("\\(x\\) then \\[ y \\]"), [["x"], [" y "]]);
        assert_eq!(inner("$$a\nb$$"), [["a\nb"]]);
        assert_eq!(inner("costs 5$ and 6$").len(), 0);
        assert_eq!(inner("-\\frac{1}{2}"), [["-\\frac{1}{2}"]]);
        assert_eq!(inner("$a\nb$").len(), 0);
    }

    #[test]
    fn boxes_near_each_other_are_one_answer() {
        assert_eq!(
            boxed("\\boxed{1} and \\boxed{2}", Boxes::Last).as_deref(),
            Some("1,2")
        );
        let far = "\\boxed{1} which is what everybody finds at first; but then, after some more thought and care, \\boxed{2}";
        assert_eq!(boxed(far, Boxes::Last).as_deref(), Some("2"));
        assert_eq!(boxed(far, Boxes::All).as_deref(), Some("1,2"));
        assert_eq!(
            boxed("\\boxed{\\frac{1}{2}", Boxes::Last).as_deref(),
            Some("\\frac{1}{2}")
        );
        assert_eq!(boxed("none", Boxes::Last), None);
    }
}
