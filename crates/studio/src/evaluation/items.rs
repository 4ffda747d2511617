//! The questions of an evaluation by kind of error, a page at a time.

use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::response::{IntoResponse, Response};
use maud::{Markup, PreEscaped, html};
use report::components::{Fate, benchmark_item};
use serde::Deserialize;

use super::sheet::{Sheet, find};
use crate::kept::blocking;
use crate::runs::{RunFolder, segment};
use crate::shell::parts::{count, missing, pager, tabs};
use crate::shell::{Page, Place};
use crate::{Error, Studio};

/// Questions on a page.
const PER_PAGE: usize = 24;

#[derive(Deserialize)]
pub(super) struct Wanted {
    /// The evaluation, by its folder below the run.
    of: String,
    /// The kind of error, `wrong`; all where it is empty.
    #[serde(default)]
    kind: String,
    /// From 1.
    #[serde(default)]
    page: usize,
}

/// All kinds, errors first.
pub(super) fn kinds() -> impl Iterator<Item = Fate> {
    Fate::ERRORS.into_iter().chain([Fate::Right])
}

/// The address of the questions of one kind.
pub(super) fn address(run: &RunFolder, label: &str, kind: &str) -> String {
    format!(
        "/evaluation/{}/items?of={}&kind={}",
        run.segment(),
        segment(label),
        segment(kind)
    )
}

pub(super) async fn show(
    Shared(studio): Shared<Arc<Studio>>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Error> {
    let (run, title, body) = blocking(move || {
        let run = studio.run(&name)?;
        let stages = studio.stages(&run);
        let (stage, manifest) = find(&stages, &wanted.of)?;
        let sheet = studio.sheet(stage, manifest)?;
        let kind = match wanted.kind.as_str() {
            "" => None,
            word => Some(kinds().find(|k| k.word() == word).ok_or_else(|| {
                let words: Vec<&str> = kinds().map(Fate::word).collect();
                Error::Invalid(format!(
                    "there is no kind of error {word:?}; there are: {}",
                    words.join(", ")
                ))
            })?),
        };
        let body = body(&run, &sheet, &wanted, kind);
        let title = format!("{} {}: questions", sheet.score.benchmark, sheet.score.split);
        Ok((run, title, body))
    })
    .await?;
    let page = Page {
        title: &title,
        place: Place::Evaluation,
        run: Some(&run),
        scripts: &["math.js"],
        body,
    };
    Ok(page.into_response())
}

fn body(run: &RunFolder, sheet: &Sheet, wanted: &Wanted, kind: Option<Fate>) -> Markup {
    let ids = sheet.ids_of(kind);
    let mut parts = vec![(
        format!("all ({})", count(sheet.ids_of(None).len() as u64)),
        address(run, &wanted.of, ""),
        kind.is_none(),
    )];
    for fate in kinds() {
        let n = sheet.ids_of(Some(fate)).len();
        if n > 0 {
            let name = format!("{} ({})", fate.word(), count(n as u64));
            parts.push((
                name,
                address(run, &wanted.of, fate.word()),
                kind == Some(fate),
            ));
        }
    }
    let pages = ids.len().div_ceil(PER_PAGE).max(1);
    let page = wanted.page.saturating_sub(1).min(pages - 1);
    let link = |page: usize| {
        let base = address(run, &wanted.of, kind.map_or("", Fate::word));
        format!("{base}&page={}", page + 1)
    };
    let previous = page.checked_sub(1).map(link);
    let next = (page + 1 < pages).then(|| link(page + 1));
    html! {
        p.lead { a href={ "/evaluation/" (run.segment()) } { "Back to the scores" } " of " (wanted.of) }
        (tabs("Kinds of error", &parts))
        @if ids.is_empty() { (missing("No question is of this kind.")) }
        div.gallery {
            @for id in ids.iter().skip(page * PER_PAGE).take(PER_PAGE) { (article(run, sheet, &wanted.of, id, None)) }
        }
        @if pages > 1 {
            (pager("Pages of questions", &format!("page {} of {}", page + 1, count(pages as u64)), previous.as_deref(), next.as_deref()))
        }
    }
}

/// A question, with what was said to it here and in the other sheet.
pub(super) fn article(
    run: &RunFolder,
    sheet: &Sheet,
    label: &str,
    id: &str,
    other: Option<&Sheet>,
) -> Markup {
    let Some(question) = sheet.question(id, other) else {
        return html! {};
    };
    let names = match other {
        Some(other) => {
            let first = |sheet: &Sheet| sheet.names.first().cloned().unwrap_or_default();
            vec![first(sheet), first(other)]
        }
        None => sheet.names.clone(),
    };
    let mut pictures = sheet.pictures(run, label, id);
    PreEscaped(benchmark_item(
        &question,
        &anchor(id),
        &names,
        &mut pictures,
    ))
}

/// A question's name as an address on its page: ids may have any letters.
fn anchor(id: &str) -> String {
    let digest = sample::sha256_hex(id.as_bytes());
    format!("q-{}", digest.get(..12).unwrap_or_default())
}
