//! The final answer in a text.
//!
//! Places are tried in Math-Verify's order, and in each order from the right: after "final answer is .. I hope",
//! in a box or after "final answer .. is", after "answer:", after "answer", then anywhere. Beside its places
//! there are two: a text that is one expression as it stands is read whole before numbers are picked out of
//! it, and a text with no mathematics at all is compared as words.

use crate::environments::{self, Boxes, Group};
use crate::numeral;
use crate::parse;
use crate::prose::{self, Kind};
use crate::tree::{Expr, Relation};
use crate::units::{self, Unit};

/// Which forms of answers are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// LaTeX in dollars, brackets and boxes.
    pub latex: bool,
    /// Numbers and expressions in prose.
    pub plain: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            latex: true,
            plain: true,
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub expr: Option<Expr>,
    /// What was read, for the comparison of texts.
    pub text: String,
    pub unit: Option<Unit>,
    /// It was found nowhere in particular: the whole text.
    pub whole: bool,
}

/// Longer answers are compared as texts.
const LONGEST: usize = 20_000;

/// Candidates of a kind that are tried before the next kind is.
const MOST_TRIED: usize = 64;

/// A place where an answer may stand.
struct Candidate<'a> {
    start: usize,
    end: usize,
    source: Source<'a>,
}

enum Source<'a> {
    Group(&'a Group),
    Box,
    Plain(&'a Kind),
}

/// Finds the answer in `text`, whose characters are plain already.
pub(crate) fn find(text: &str, options: Options) -> Found {
    let trimmed = text.trim();
    let has_latex = options.latex
        && (trimmed.contains('$') || trimmed.contains('\\') || trimmed.contains(" ["));
    let words = find_ignoring_case(trimmed, "answer");
    if !has_latex && words.is_empty() {
        // The shortest way for the answers that are only a number or a letter.
        if let Some(found) = bare(trimmed, options) {
            return found;
        }
    }
    let groups = if has_latex {
        environments::groups(text)
    } else {
        Vec::new()
    };
    let boxed = options.latex && (text.contains("\\boxed") || text.contains("\\fbox"));
    if groups.is_empty()
        && !boxed
        && words.is_empty()
        && has_latex
        && let Some(found) = bare(trimmed, options)
    {
        return found;
    }
    let written = if options.plain {
        prose::written(text)
    } else {
        Vec::new()
    };
    let mut first_text = None;
    for stage in 0..5 {
        let mut candidates = candidates(text, stage, &groups, &written, boxed);
        candidates.sort_by(|a, b| b.end.cmp(&a.end).then(a.start.cmp(&b.start)));
        for candidate in candidates.into_iter().take(MOST_TRIED) {
            let found = read(text, &candidate);
            if found.expr.is_some() {
                return Found {
                    text: first_text.unwrap_or(found.text),
                    ..found
                };
            }
            if !found.text.is_empty() {
                first_text.get_or_insert(found.text);
            }
        }
    }
    if let Some(text) = first_text {
        return Found {
            text,
            ..Found::default()
        };
    }
    whole(trimmed, options)
}

fn candidates<'a>(
    text: &str,
    stage: usize,
    groups: &'a [Group],
    written: &'a [prose::Written],
    boxed: bool,
) -> Vec<Candidate<'a>> {
    let group = |group: &'a Group| Candidate {
        start: group.first().map_or(0, |e| e.outer.start),
        end: group.last().map_or(0, |e| e.outer.end),
        source: Source::Group(group),
    };
    let plain = |written: &'a prose::Written| Candidate {
        start: written.outer.start,
        end: written.outer.end,
        source: Source::Plain(&written.kind),
    };
    let mut out = Vec::new();
    match stage {
        // final answer is .. I hope
        0 | 1 => {
            for start in find_ignoring_case(text, "final answer") {
                let limit = start + "final answer".len();
                let is = |at: usize| {
                    let between = text.get(limit..at).unwrap_or_default();
                    let between = between.trim_end().trim_end_matches(':').trim_end();
                    between.ends_with(" is") && (stage == 1 || between.trim() == "is")
                };
                let hope = |end: usize| {
                    stage == 1
                        || text
                            .get(end..)
                            .unwrap_or_default()
                            .trim_start_matches('.')
                            .trim_start()
                            .starts_with("I hope")
                };
                let fits = |c: &Candidate<'_>| is(c.start) && hope(c.end);
                let near = nearby(groups, |g| g[0].outer.start, limit, limit + 110);
                out.extend(near.iter().map(group).find(fits));
                let near = nearby(written, |w| w.outer.start, limit, limit + 110);
                out.extend(near.iter().map(plain).filter(fits).take(2));
            }
            if stage == 1 && boxed {
                let has_box = |g: &&Group| {
                    g.iter().any(|e| {
                        let inner = &text[e.inner.clone()];
                        inner.contains("\\boxed") || inner.contains("\\fbox")
                    })
                };
                out.extend(groups.iter().filter(has_box).map(group));
                out.push(Candidate {
                    start: text
                        .find("\\boxed")
                        .or_else(|| text.find("\\fbox"))
                        .unwrap_or(0),
                    // Boxes outside of environments come after those inside.
                    end: text.rfind('}').map_or(text.len(), |end| end + 1),
                    source: Source::Box,
                });
            }
        }
        2 | 3 => {
            for start in find_ignoring_case(text, "answer") {
                let after = start + "answer".len();
                let colon = text.as_bytes().get(after) == Some(&b':');
                if stage == 2 && !colon {
                    continue;
                }
                let from = after + usize::from(colon);
                let near = nearby(groups, |g| g[0].outer.start, from, from + 50);
                out.extend(near.first().map(group));
                // The answer stands on the same line.
                let line = text.as_bytes()[from..]
                    .iter()
                    .take(102)
                    .position(|b| *b == b'\n');
                let line = line.map_or(from + 102, |end| from + end);
                let follows_equals = |c: &Candidate<'_>| {
                    text[from..c.start].trim_end().ends_with('=') && c.start <= from + 101
                };
                let open = |c: &Candidate<'_>| {
                    c.start >= from
                        && c.start <= line + 1
                        && !text[c.end.min(text.len())..].trim_start().starts_with('=')
                };
                let near: Vec<_> = nearby(written, |w| w.outer.start, from, from + 101)
                    .iter()
                    .map(plain)
                    .filter(open)
                    .collect();
                let last = near.iter().rposition(follows_equals);
                let first = near.iter().position(|c| c.start <= from + 51);
                if let Some(at) = last.or(first) {
                    out.extend(near.into_iter().nth(at));
                }
            }
        }
        _ => {
            out.extend(groups.iter().map(group));
            out.extend(written.iter().map(plain));
        }
    }
    out
}

/// Those of `items`, which are in order, that start from `from` to `to`.
fn nearby<T>(items: &[T], start: impl Fn(&T) -> usize, from: usize, to: usize) -> &[T] {
    let first = items.partition_point(|item| start(item) < from);
    let last = items.partition_point(|item| start(item) <= to);
    &items[first..last.max(first)]
}

/// Reads a candidate.
fn read(text: &str, candidate: &Candidate<'_>) -> Found {
    match &candidate.source {
        Source::Group(group) => joined(text, group),
        Source::Box => match environments::boxed(text, Boxes::Last) {
            Some(inner) => latex(&inner),
            None => Found::default(),
        },
        Source::Plain(kind) => plain(text, kind),
    }
}

/// Environments side by side as one answer.
fn joined(text: &str, group: &Group) -> Found {
    let mut parts = Vec::with_capacity(group.len());
    for environment in group {
        let inner = &text[environment.inner.clone()];
        let unboxed = environments::boxed(inner, Boxes::All);
        let mut part = latex(unboxed.as_deref().unwrap_or(inner));
        if environment.percent {
            part.expr = part.expr.map(|expr| Expr::Percent(Box::new(expr)));
        }
        parts.push(part);
    }
    if parts.len() == 1 {
        return parts.pop().unwrap_or_default();
    }
    let text = parts
        .iter()
        .map(|part| part.text.as_str())
        .collect::<Vec<_>>()
        .join(",");
    if parts.iter().any(|part| part.expr.is_none()) {
        return Found {
            text,
            ..parts.swap_remove(0)
        };
    }
    let mut entries = Vec::new();
    for part in parts {
        match part.expr {
            Some(Expr::Set(inner)) => entries.extend(inner),
            Some(other) => entries.push(other),
            None => {}
        }
    }
    Found {
        expr: Some(Expr::Set(entries)),
        text,
        ..Found::default()
    }
}

/// LaTeX, its unit taken off.
pub(crate) fn latex(text: &str) -> Found {
    let text = text.trim();
    let mut found = Found {
        text: squeezed(text),
        ..Found::default()
    };
    if text.len() > LONGEST {
        return found;
    }
    let text = text.trim_end_matches(['.', ',', ';']).trim_end();
    let (body, unit) = units::stripped(text);
    found.expr = parse::answer(body)
        .inspect(|_| found.unit = unit)
        .or_else(|| {
            (body.len() < text.len())
                .then(|| parse::answer(text))
                .flatten()
        })
        .or_else(|| parse::answer(last_side(text)?));
    // \begin{cases} and the like may give a list of one.
    if let Some(Expr::Chain(first, rest)) = &found.expr
        && rest.is_empty()
    {
        found.expr = Some((**first).clone());
    }
    found
}

/// What stands after the last of several equals signs, in a derivation that does not parse as a whole.
fn last_side(text: &str) -> Option<&str> {
    if text.contains([',', ';']) || text.matches('=').count() < 2 {
        return None;
    }
    text.rsplit('=').next()
}

fn plain(text: &str, kind: &Kind) -> Found {
    match kind {
        Kind::Number { digits, percent } => {
            let unsigned = digits.trim_start_matches('-');
            let expr = (unsigned.len() <= 2_000)
                .then(|| numeral::number(unsigned, None, None))
                .flatten()
                .map(|expr| {
                    if digits.starts_with('-') {
                        expr.negated()
                    } else {
                        expr
                    }
                })
                .map(|expr| {
                    if *percent {
                        Expr::Percent(Box::new(expr))
                    } else {
                        expr
                    }
                });
            Found {
                expr,
                text: digits.clone(),
                ..Found::default()
            }
        }
        Kind::Expression(range) => {
            let written = &text[range.clone()];
            Found {
                expr: (written.len() <= LONGEST)
                    .then(|| parse::answer(written))
                    .flatten(),
                text: squeezed(written),
                ..Found::default()
            }
        }
    }
}

/// A text that is an answer as it stands, without dollars around it.
fn bare(text: &str, options: Options) -> Option<Found> {
    if text.is_empty() || text.len() > 2_000 {
        return None;
    }
    let text = text.trim_end_matches(['.', ',', ';']).trim_end();
    if options.plain {
        let digits = usize::from(text.starts_with('$'));
        if let Some((kind, end)) = prose::number(text, digits) {
            let rest = text[end..].trim();
            if rest.is_empty() || rest == "$" {
                return Some(plain(text, &kind));
            }
            let (body, unit) = units::stripped(text);
            if body.trim_end().len() == end {
                return Some(Found {
                    unit,
                    ..plain(text, &kind)
                });
            }
        }
    }
    if is_prose(text) {
        return None;
    }
    let found = latex(text);
    found.expr.is_some().then_some(Found {
        whole: true,
        ..found
    })
}

/// Whether words stand in `text` that are no names of functions.
fn is_prose(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut words = 0usize;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'\\' {
            at += 1;
            while bytes.get(at).is_some_and(u8::is_ascii_alphabetic) {
                at += 1;
            }
            // What \text{..} holds is an answer's own.
            if bytes.get(at) == Some(&b'{')
                && (text[..at].ends_with("text") || text[..at].ends_with("mathrm"))
            {
                at += text[at..].find('}').unwrap_or(0);
            }
            at += usize::from(bytes.get(at) == Some(&b'\\'));
            continue;
        }
        if !bytes[at].is_ascii_alphabetic() {
            at += 1;
            continue;
        }
        let start = at;
        while bytes.get(at).is_some_and(u8::is_ascii_alphabetic) {
            at += 1;
        }
        let word = &text[start..at];
        let known = matches!(
            word,
            "and"
                | "or"
                | "sqrt"
                | "sin"
                | "cos"
                | "tan"
                | "log"
                | "ln"
                | "exp"
                | "pi"
                | "inf"
                | "infinity"
                | "arcsin"
                | "arccos"
                | "arctan"
                | "cot"
                | "sec"
                | "csc"
                | "frac"
                | "cup"
                | "union"
                | "abs"
                | "floor"
                | "ceil"
                | "max"
                | "min"
                | "gcd"
                | "lcm"
                | "orW"
        );
        let spaced = (start == 0 || bytes[start - 1].is_ascii_whitespace())
            && bytes.get(at).is_none_or(u8::is_ascii_whitespace);
        let name = word.bytes().all(|b| b.is_ascii_uppercase())
            || word.len() == 1
            || (word.len() == 2 && !spaced);
        words += usize::from(!known && !name);
    }
    // One word alone is an answer; words with anything else are a sentence.
    words > 1 || (words == 1 && !bytes.iter().all(u8::is_ascii_alphabetic))
}

/// The text as words, where it holds nothing else.
fn whole(text: &str, options: Options) -> Found {
    let text = match find_ignoring_case(text, "answer").last() {
        Some(at) => {
            let rest = text[at + "answer".len()..].trim_start();
            let rest = rest.strip_prefix("is").unwrap_or(rest);
            rest.trim_start_matches([':', ' '])
                .split(['\n'])
                .next()
                .unwrap_or(rest)
        }
        None => text,
    };
    let text = text
        .trim()
        .trim_matches(['*', '"', '\'', '`'])
        .trim_end_matches(['.', ',', ';', '!', ')'])
        .trim_start_matches('(')
        .trim();
    if let Some(found) = bare(text, options) {
        return Found {
            whole: true,
            ..found
        };
    }
    Found {
        expr: None,
        text: squeezed(text),
        unit: None,
        whole: true,
    }
}

/// `text` without what does not show: spaces, sizes, dollar signs.
pub(crate) fn squeezed(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(64));
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let dropped = ["\\left", "\\right", "\\,", "\\!", "\\;", "\\ ", "$"]
            .iter()
            .find(|form| {
                rest.strip_prefix(**form).is_some_and(|after| {
                    !(form.len() > 3 && after.starts_with(|c: char| c.is_ascii_alphabetic()))
                })
            });
        if let Some(form) = dropped {
            rest = &rest[form.len()..];
            continue;
        }
        if rest.starts_with("\\dfrac") || rest.starts_with("\\tfrac") {
            out.push('\\');
            rest = &rest[2..];
            continue;
        }
        if !c.is_whitespace() {
            out.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// Where `word` stands in `text` in capitals or not, from left to right and without overlap.
fn find_ignoring_case(text: &str, word: &str) -> Vec<usize> {
    let (text, word) = (text.as_bytes(), word.as_bytes());
    let mut found = Vec::new();
    let mut at = 0;
    while at + word.len() <= text.len() {
        if text[at..at + word.len()].eq_ignore_ascii_case(word) {
            found.push(at);
            at += word.len();
        } else {
            at += 1;
        }
    }
    found
}

/// The bare value of an answer, laid open from a name: for `evaluate`.
pub(crate) fn value_of(expr: Expr) -> Expr {
    match expr {
        Expr::Chain(first, mut rest) => match rest.pop() {
            Some((Relation::Equal, value)) => value,
            _ => *first,
        },
        other => other,
    }
}
