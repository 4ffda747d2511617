//! The list of runs.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::summary::{Summary, stage_names};
use crate::kept::blocking;
use crate::runs::RunFolder;
use crate::shell::parts::{count, entry, missing, scroll};
use crate::shell::{Page, Place};
use crate::{Error, Studio, when};

/// What the list is asked for.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// Runs with this in their name, their stages or what they were scored on; all where it is empty.
    #[serde(default)]
    q: String,
}

pub(super) async fn show(
    State(studio): State<Arc<Studio>>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Error> {
    let body = blocking(move || {
        let runs = studio.runs();
        let rows: Vec<Markup> = runs
            .iter()
            .filter_map(|run| row(&studio, run, &wanted.q))
            .collect();
        Ok(list(&studio, &runs, &rows, &wanted.q))
    })
    .await?;
    let page = Page {
        title: "Runs",
        place: Place::Runs,
        run: None,
        scripts: &["runs.js"],
        body,
    };
    Ok(page.into_response())
}

fn list(studio: &Studio, runs: &[RunFolder], rows: &[Markup], wanted: &str) -> Markup {
    if runs.is_empty() {
        return match &studio.options.runs {
            Some(_) => missing(
                "There is no run in the folder that the studio was given: a run is made by `math-llava run`, or stage by stage.",
            ),
            None => missing("The studio was given no folder with runs; there is chat alone."),
        };
    }
    html! {
        form.filters method="get" action="/runs" role="search" {
            (entry("search", "q", "Name, stage or benchmark", wanted))
            button type="submit" { "Filter" }
        }
        p.lead #shown aria-live="polite" { (count(rows.len() as u64)) " of " (count(runs.len() as u64)) " runs" }
        div.card {
            (scroll("Runs", &html! {
                table #runs data-all=(runs.len()) {
                    thead { tr {
                        th scope="col" { "run" }
                        th.left scope="col" { "stages" }
                        th scope="col" { "samples" }
                        th scope="col" { "last score" }
                        th scope="col" { "finished" }
                    } }
                    tbody { @for row in rows { (row) } }
                }
            }))
        }
    }
}

/// A run's row, where it is wanted.
fn row(studio: &Studio, run: &RunFolder, wanted: &str) -> Option<Markup> {
    let stages = studio.stages(run);
    let (done, begun) = stage_names(&stages);
    let summary = Summary::of(&stages);
    let of = summary
        .score
        .as_ref()
        .map(|s| s.of.as_str())
        .unwrap_or_default();
    let text = format!("{} {done} {begun} {of}", run.name).to_lowercase();
    let mut words = wanted.split_whitespace();
    if !words.all(|word| text.contains(&word.to_lowercase())) {
        return None;
    }
    Some(html! {
        tr data-text=(text) {
            th.wrap scope="row" { a href={ "/runs/" (run.segment()) } { (run.name) } }
            td.left.wrap {
                (done)
                @if !begun.is_empty() { " " span.badge.unclear { "not finished: " (begun) } }
            }
            td { (summary.last_samples.map_or("–".to_owned(), count)) }
            td {
                @match &summary.score {
                    Some(score) => {
                        (format!("{:.1}%", 100.0 * score.accuracy)) " "
                        span.range { (score.of) ", " (count(score.questions)) }
                    }
                    None => "–",
                }
            }
            td {
                @match summary.finished {
                    Some(time) => time datetime={ (when::utc(time).replace(' ', "T")) "Z" } title={ (when::utc(time)) " UTC" } { (when::ago(time)) },
                    None => "–",
                }
            }
        }
    })
}
