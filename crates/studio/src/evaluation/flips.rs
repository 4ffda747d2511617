//! What flipped between two evaluations of the same questions, chosen by the reader.

use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::response::{IntoResponse, Response};
use eval::compare::{Run, compare};
use maud::{Markup, PreEscaped, html};
use report::components::{flip_groups, flip_sentence};
use sample::benchmark::paired::Paired;
use serde::Deserialize;

use super::items::article;
use super::sheet::{Sheet, find};
use crate::kept::blocking;
use crate::runs::{RunFolder, segment};
use crate::shell::parts::{count, missing, pager, tabs};
use crate::shell::{Page, Place};
use crate::{Error, Studio};

/// Questions on a page.
const PER_PAGE: usize = 12;

#[derive(Deserialize)]
pub(super) struct Wanted {
    /// The evaluation of the page's run, by its folder.
    of: String,
    /// What it is compared with: a run's name and the evaluation's folder in it, `RUN:FOLDER`.
    with: String,
    /// Which flips: `gained`, or `lost`.
    #[serde(default)]
    way: String,
    /// From 1.
    #[serde(default)]
    page: usize,
}

pub(super) async fn show(
    Shared(studio): Shared<Arc<Studio>>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Error> {
    let (run, body) = blocking(move || {
        let run = studio.run(&name)?;
        let stages = studio.stages(&run);
        let (stage, manifest) = find(&stages, &wanted.of)?;
        let sheet = studio.sheet(stage, manifest)?;
        // A run's name may have a colon, a stage's label of ours has none.
        let (other, label) = wanted.with.rsplit_once(':').ok_or_else(|| {
            Error::Invalid(format!(
                "with={:?}: write RUN:FOLDER, such as tiny:eval",
                wanted.with
            ))
        })?;
        let other_run = studio.run(other)?;
        let other_stages = studio.stages(&other_run);
        let (stage, manifest) = find(&other_stages, label)?;
        let other = studio.sheet(stage, manifest)?;
        if sheet.score.benchmark != other.score.benchmark || sheet.score.split != other.score.split
        {
            return Err(Error::Invalid(format!(
                "{} {} and {} {} share no questions; choose two runs of one benchmark",
                sheet.score.benchmark, sheet.score.split, other.score.benchmark, other.score.split
            )));
        }
        let paired = paired(&other, &sheet);
        let names = (
            format!(
                "{} in {}",
                other.names.first().map_or("", String::as_str),
                wanted.with
            ),
            format!(
                "{} in {}:{}",
                sheet.names.first().map_or("", String::as_str),
                run.name,
                wanted.of
            ),
        );
        let body = body(&run, &sheet, &other, &paired, &wanted, &names);
        Ok((run, body))
    })
    .await?;
    let page = Page {
        title: "Flips",
        place: Place::Evaluation,
        run: Some(&run),
        scripts: &["math.js"],
        body,
    };
    Ok(page.into_response())
}

/// The second evaluation against the first.
fn paired(first: &Sheet, second: &Sheet) -> Paired {
    let (before, after) = (first.verdicts(), second.verdicts());
    let run = |score, items| Run { score, items };
    let mut questions = first.records();
    if questions.is_empty() {
        questions = second.records();
    }
    compare(
        run(&first.score, &before),
        run(&second.score, &after),
        &questions,
    )
}

fn body(
    run: &RunFolder,
    sheet: &Sheet,
    other: &Sheet,
    paired: &Paired,
    wanted: &Wanted,
    names: &(String, String),
) -> Markup {
    let lost = wanted.way == "lost";
    let ids = if lost {
        &paired.flips.lost
    } else {
        &paired.flips.gained
    };
    let link = |way: &str, page: usize| {
        format!(
            "/evaluation/{}/flips?of={}&with={}&way={way}&page={}",
            run.segment(),
            segment(&wanted.of),
            segment(&wanted.with),
            page + 1
        )
    };
    let way = if lost { "lost" } else { "gained" };
    let ways = [
        (
            format!(
                "wrong before, right now ({})",
                count(paired.flips.gained.len() as u64)
            ),
            link("gained", 0),
            !lost,
        ),
        (
            format!(
                "right before, wrong now ({})",
                count(paired.flips.lost.len() as u64)
            ),
            link("lost", 0),
            lost,
        ),
    ];
    let pages = ids.len().div_ceil(PER_PAGE).max(1);
    let page = wanted.page.saturating_sub(1).min(pages - 1);
    let previous = page.checked_sub(1).map(|page| link(way, page));
    let next = (page + 1 < pages).then(|| link(way, page + 1));
    html! {
        p.lead { a href={ "/evaluation/" (run.segment()) } { "Back to the scores" } }
        div.card {
            p { strong { (names.1) } " against " strong { (names.0) } "." }
            p { (PreEscaped(flip_sentence(paired))) }
            p.lead { (count(paired.both_right)) " right in both, " (count(paired.both_wrong)) " wrong in both." }
            @for remark in paired.remarks.iter().take(20) { (missing(remark)) }
            (PreEscaped(flip_groups(paired)))
        }
        (tabs("Which way", &ways))
        @if ids.is_empty() { (missing("No question flipped this way.")) }
        div.gallery {
            @for id in ids.iter().skip(page * PER_PAGE).take(PER_PAGE) {
                (article(run, sheet, &wanted.of, id, Some(other)))
            }
        }
        @if pages > 1 {
            (pager("Pages of flips", &format!("page {} of {}", page + 1, count(pages as u64)), previous.as_deref(), next.as_deref()))
        }
    }
}
