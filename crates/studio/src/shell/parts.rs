//! The pieces that pages are made of: figures, badges, tables in boxes, pagers, forms.
//!
//! Classes are those of the reports' style, or `studio.css`'s.

use std::fmt::Display;

use maud::{Markup, html};

/// A number with separators of thousands.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A figure with its name and what is to be said of it.
pub(crate) struct Tile {
    /// What it is.
    pub name: String,
    /// The figure.
    pub figure: String,
    /// More about it; may be empty.
    pub note: String,
}

impl Tile {
    /// A figure.
    pub(crate) fn new(name: &str, figure: impl Display, note: impl Display) -> Tile {
        Tile {
            name: name.to_owned(),
            figure: figure.to_string(),
            note: note.to_string(),
        }
    }
}

/// Figures in a row.
pub(crate) fn tiles(tiles: &[Tile]) -> Markup {
    html! {
        dl.tiles {
            @for tile in tiles {
                div.tile {
                    dt { (tile.name) }
                    dd.big { (tile.figure) }
                    @if !tile.note.is_empty() { dd.note { (tile.note) } }
                }
            }
        }
    }
}

/// What a badge says by its colour, beside its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Finished, right, kept.
    Good,
    /// Broken, wrong, dropped.
    Bad,
    /// Neither.
    Even,
}

/// A word in colour.
pub(crate) fn badge(tone: Tone, text: &str) -> Markup {
    let class = match tone {
        Tone::Good => "badge beats",
        Tone::Bad => "badge loses",
        Tone::Even => "badge unclear",
    };
    html! { span class=(class) { (text) } }
}

/// Says that there is nothing, and what to do about it.
pub(crate) fn missing(text: impl maud::Render) -> Markup {
    html! { p.missing { (text) } }
}

/// A box that scrolls sideways by itself, where its table is wider than the page. It can be reached and
/// scrolled by keyboard.
pub(crate) fn scroll(label: &str, table: &Markup) -> Markup {
    html! { div.scroll role="region" aria-label=(label) tabindex="0" { (table) } }
}

/// Names with what they have.
pub(crate) fn facts(facts: &[(&str, Markup)]) -> Markup {
    html! {
        dl.facts {
            @for (name, value) in facts { dt { (name) } dd { (value) } }
        }
    }
}

/// Links to parts of the same thing, of which one is shown: name, address, whether it is that one.
pub(crate) fn tabs(label: &str, tabs: &[(String, String, bool)]) -> Markup {
    html! {
        nav.tabs aria-label=(label) {
            ul {
                @for (name, address, shown) in tabs {
                    li { a href=(address) aria-current=[shown.then_some("page")] { (name) } }
                }
            }
        }
    }
}

/// Where one is in a list, and the way to its neighbours.
pub(crate) fn pager(label: &str, here: &str, previous: Option<&str>, next: Option<&str>) -> Markup {
    let link = |address: Option<&str>, relation: &str, name: &str| {
        html! {
            @if let Some(address) = address {
                a.button href=(address) rel=(relation) { (name) }
            } @else {
                span.button aria-disabled="true" { (name) }
            }
        }
    };
    html! {
        nav.pager aria-label=(label) {
            (link(previous, "prev", "← Previous"))
            span { (here) }
            (link(next, "next", "Next →"))
        }
    }
}

/// A form's line of text; `kind` is HTML's (`search`, `number`, `text`).
pub(crate) fn entry(kind: &str, name: &str, label: &str, value: &str) -> Markup {
    html! {
        label.field {
            span { (label) }
            input type=(kind) name=(name) value=(value) autocomplete="off";
        }
    }
}

/// Text that may hold maths: `math.js`, where the page loads it, sets what stands between dollars or
/// backslashed brackets; without it the text is shown as it is.
pub(crate) fn math(text: &str) -> Markup {
    html! { span.math-text { (text) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators() {
        for (n, shown) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (360_000, "360,000"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(count(n), shown);
        }
    }

    #[test]
    fn what_data_says_is_text_in_every_part() {
        let hostile = "<script>\"'&";
        let own = hostile.to_owned();
        let pieces = [
            tiles(&[Tile::new(hostile, hostile, hostile)]),
            badge(Tone::Bad, hostile),
            missing(hostile),
            math(hostile),
            scroll(hostile, &math(hostile)),
            tabs(hostile, &[(own.clone(), own.clone(), true)]),
            pager(hostile, hostile, Some(hostile), None),
            entry("search", "a", hostile, hostile),
        ];
        for piece in pieces {
            let html = piece.into_string();
            assert!(!html.contains("<script"), "{html}");
            assert!(html.contains("&lt;script&gt;"), "{html}");
        }
    }
}
