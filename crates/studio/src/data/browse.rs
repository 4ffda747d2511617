//! A table as a list: filters with counts, a search, rows that come as one scrolls.
//!
//! All of it works without a script; with one, filters apply as they are chosen and the list goes on by
//! itself.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};

use super::address::{Asked, Cursor};
use super::index::{Facet, Index, Line, Matches, Order};
use super::listing::{self, Kind, Listed};
use super::opened::Halt;
use super::provenance::hex;
use super::{LONG, Opening, PATIENCE, blocking, count, page_or_wait, shortened, style};
use crate::runs::segment;
use crate::shell::parts::missing;
use crate::shell::{Page, Place};
use crate::{Error, Studio};

/// Rows that come at a time.
pub(super) const ROWS: usize = 50;
/// Values of a column that are offered, the frequent ones; those that are chosen are shown in any case.
const VALUES: usize = 24;
/// Characters of a text that a list shows.
const SHOWN: usize = 320;

/// A table as it was asked for.
pub(super) struct List {
    pub opening: Opening,
    pub index: Arc<Index>,
    pub asked: Asked,
    pub matches: Arc<Matches>,
}

impl List {
    /// Opens what is asked for, on a thread that may wait.
    pub fn open(
        studio: &Studio,
        run: &str,
        pairs: &[(String, String)],
        patience: std::time::Duration,
    ) -> Result<List, Halt> {
        let mut asked = Asked::parse(pairs)?;
        let opening = studio.open_run(run, patience)?;
        let listed = listing::choose(&opening.run, &opening.tables, asked.table.as_deref())?;
        let index = studio.index(&opening, &listed, patience)?;
        let keys: Vec<&str> = index.facets.iter().map(|facet| facet.key).collect();
        asked.keep(&keys);
        let matches = index.matches(&asked.wanted);
        if let Some(after) = asked.after
            && Cursor::new(opening.stamp, after.place) != after
        {
            return Err(Error::Invalid(
                "the run has been written to since this list was loaded; load the list again"
                    .to_owned(),
            )
            .into());
        }
        Ok(List {
            opening,
            index,
            asked,
            matches,
        })
    }

    /// The rows from the asked place on, and whether there are more.
    fn rows(&self) -> (&[u32], Option<Cursor>) {
        let all = &self.matches.rows;
        let from = self
            .asked
            .after
            .map_or(0, |after| after.place)
            .min(all.len());
        let to = from.saturating_add(ROWS).min(all.len());
        let next = (to < all.len()).then(|| Cursor::new(self.opening.stamp, to));
        (&all[from..to], next)
    }

    fn address(&self) -> String {
        format!("/data/{}", self.opening.run.segment())
    }
}

/// A table as a page.
pub(super) async fn page(
    State(studio): State<Arc<Studio>>,
    Path(run): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Response {
    let made = blocking(move || {
        let opening = studio.open_run(&run, PATIENCE)?;
        if opening.tables.is_empty() {
            return Ok(nothing(&opening));
        }
        let list = List::open(&studio, &run, &pairs, PATIENCE)?;
        let page = Page {
            title: "Data",
            place: Place::Data,
            run: Some(&list.opening.run),
            scripts: &["data.js", "math.js"],
            body: body(&list),
        };
        Ok(page.into_response())
    });
    page_or_wait(made.await)
}

/// The next rows of a list, as a piece of its page.
pub(super) async fn rows(
    State(studio): State<Arc<Studio>>,
    Path(run): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, Halt> {
    blocking(move || {
        let list = List::open(&studio, &run, &pairs, LONG)?;
        Ok(Html(fragment(&list).into_string()).into_response())
    })
    .await
}

/// The page of a run that is only begun.
fn nothing(opening: &Opening) -> Response {
    let page = Page {
        title: "Data",
        place: Place::Data,
        run: Some(&opening.run),
        scripts: &[],
        body: missing(
            "No stage of this run has finished a table yet. What is begun is under Runs.",
        ),
    };
    page.into_response()
}

fn body(list: &List) -> Markup {
    let found = list.matches.rows.len() as u64;
    let all = list.index.len() as u64;
    html! {
        (style())
        div.browse {
            (form(list))
            section #results.results aria-label="Rows" {
                p #found.found {
                    @if found == all {
                        strong { (count(all)) } " rows in " code { (list.index.listed.name) }
                    } @else {
                        strong { (count(found)) } " of " (count(all)) " rows in "
                        code { (list.index.listed.name) }
                    }
                }
                (chosen(list))
                @if list.matches.rows.is_empty() {
                    p.missing {
                        @if all == 0 { "This table is empty." }
                        @else { "No row is like that. Take a filter away." }
                    }
                }
                ol #rows.rows start=(list.asked.after.map_or(1, |after| after.place + 1)) { (fragment(list)) }
            }
        }
    }
}

/// What is filtered by, each with a way to take it away.
fn chosen(list: &List) -> Markup {
    let asked = &list.asked;
    let words = &asked.wanted.words;
    if words.is_empty() && asked.wanted.values.is_empty() {
        return html! {};
    }
    let address = list.address();
    let chip = |label: &str, value: &str, rest: Asked| {
        html! {
            li {
                a.chip href={ (address) (rest.query()) } {
                    (label) ": " (shortened(value, 60)) " "
                    span aria-hidden="true" { "×" } span.hidden-text { " (take away)" }
                }
            }
        }
    };
    html! {
        ul.chips aria-label="Filters" {
            @if !words.is_empty() {
                @let mut rest = asked.clone();
                @let () = rest.wanted.words.clear();
                (chip("text", words, rest))
            }
            @for facet in &list.index.facets {
                @for value in asked.wanted.values.get(facet.key).into_iter().flatten() {
                    (chip(facet.label, value, asked.without(facet.key, value)))
                }
            }
        }
    }
}

fn form(list: &List) -> Markup {
    let asked = &list.asked;
    let sql = format!("{}/sql", list.address());
    html! {
        form #filters.finder method="get" action=(list.address()) {
            p.field {
                label for="table" { "Table" }
                select #table name="table" {
                    @for table in &list.opening.tables {
                        option value=(table.name) selected[table.name == list.index.listed.name] {
                            (table.name)
                        }
                    }
                }
            }
            p.field {
                label for="q" { (searched(list.index.listed.kind)) }
                input #q type="search" name="q" value=(asked.wanted.words) maxlength="500"
                    autocomplete="off" spellcheck="false" aria-describedby="q-says";
                small #q-says { "Any part of it, capitals or not; a row's whole name finds that row." }
            }
            p.field {
                label for="order" { "Order" }
                select #order name="order" {
                    @for (order, key, label) in Order::ALL {
                        @if list.index.facet("level").is_some() || !matches!(order, Order::Hardest | Order::Easiest) {
                            option value=(key) selected[order == asked.wanted.order] { (label) }
                        }
                    }
                }
            }
            @for (facet, counts) in list.index.facets.iter().zip(&list.matches.counts) {
                (facet_field(facet, counts, asked))
            }
            p.buttons {
                button.primary type="submit" { "Apply" }
                " " a href=(list.address()) { "Reset" }
                " " a href=(sql) { "SQL" }
            }
        }
    }
}

fn searched(kind: Kind) -> &'static str {
    match kind {
        Kind::Samples | Kind::Pairs => "Text in question, choices or answer",
        Kind::Rejects => "Text in the detail",
    }
}

fn facet_field(facet: &Facet, counts: &[u32], asked: &Asked) -> Markup {
    let none = Vec::new();
    let chosen = asked.wanted.values.get(facet.key).unwrap_or(&none);
    let is_chosen = |value: &str| chosen.iter().any(|kept| kept == value);
    let mut values: Vec<(&str, u32)> = facet
        .values
        .iter()
        .map(String::as_str)
        .zip(counts.iter().copied())
        .collect();
    if facet.key == "level" {
        values.sort_unstable();
    } else {
        values.sort_unstable_by_key(|(value, count)| (std::cmp::Reverse(*count), *value));
    }
    let hidden = values.len().saturating_sub(VALUES);
    let shown = values.iter().enumerate();
    let shown = shown.filter(|(at, (value, _))| *at < VALUES || is_chosen(value));
    html! {
        details.facet open {
            summary { (facet.label) }
            ul {
                @for (at, (value, n)) in shown {
                    @let id = format!("{}-{at}", facet.key);
                    li {
                        input type="checkbox" id=(id) name=(facet.key) value=(value) checked[is_chosen(value)];
                        label for=(id) { (shortened(value, 60)) }
                        span.n { (count(u64::from(*n))) }
                    }
                }
            }
            @if hidden > 0 {
                p.more-values { (count(hidden as u64)) " rarer values; find them with SQL" }
            }
        }
    }
}

/// Rows, and the way to the next ones.
fn fragment(list: &List) -> Markup {
    let (rows, next) = list.rows();
    html! {
        @for row in rows { (line(list, *row as usize)) }
        @if let Some(next) = next {
            @let query = list.asked.query_after(Some(next));
            li.more {
                a.next href={ (list.address()) (query) } data-rows={ (list.address()) "/rows" (query) } {
                    "The next " (ROWS.min(list.matches.rows.len() - next.place)) " rows"
                }
            }
        }
    }
}

fn line(list: &List, row: usize) -> Markup {
    let index = &list.index;
    let listed = index.line(row);
    let query = list.asked.query();
    let own = match index.listed.kind {
        Kind::Samples | Kind::Pairs => Some(format!(
            "{}/sample/{}{query}",
            list.address(),
            segment(listed.id)
        )),
        // A rejected question is known by its name, an image by its path.
        Kind::Rejects if is_name(&index.listed, &listed) => {
            Some(format!("{}/sample/{}", list.address(), segment(listed.id)))
        }
        Kind::Rejects => None,
    };
    html! {
        li.row {
            @if let Some(digest) = index.image(row) {
                img.thumb src={ (list.address()) "/image/" (hex(&digest)) "?side=160" } alt="" loading="lazy"
                    width="96" height="72";
            }
            div.text {
                p.question.math-text {
                    @let text = shortened(listed.text, SHOWN);
                    @let text = if text.trim().is_empty() { "(no text)".to_owned() } else { text };
                    @match own {
                        Some(own) => a href=(own) { (text) },
                        None => (text),
                    }
                }
                @if !listed.choices.is_empty() {
                    p.choices.math-text {
                        @for (at, choice) in listed.choices.iter().take(8).enumerate() {
                            span { "(" (sample::Answer::Choice(at).text()) ") " (shortened(choice, 80)) } " "
                        }
                    }
                }
                p.meta {
                    @if !listed.answer.is_empty() {
                        span.answer.math-text {
                            "→ " (shortened(listed.answer, 120))
                            @if !listed.unit.is_empty() { " " (shortened(listed.unit, 30)) }
                        }
                    }
                    @for facet in &index.facets {
                        @let value = facet.value(row);
                        @if !matches!(facet.key, "form" | "language") && value != super::index::NONE {
                            span.value title=(facet.label) {
                                @if facet.key == "level" { "level " }
                                (shortened(value, 60))
                            }
                        }
                    }
                    code { (shortened(listed.id, 120)) }
                }
            }
        }
    }
}

/// Whether a reject is of a sample: those are named `source:row`, images by paths.
fn is_name(listed: &Listed, line: &Line<'_>) -> bool {
    !listed.stage.name.starts_with("import")
        && line
            .id
            .split_once(':')
            .is_some_and(|(source, _)| !source.contains('/'))
}
