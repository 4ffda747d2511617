//! The page of a run's selection.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{Path, Query, State as Shared};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use maud::{Markup, PreEscaped, html};
use report::components::{PlanRow, plan_bars, plan_flows, plan_rows, shares};
use sample::Row;
use select::inspect::{
    CONTAMINATED_IMAGES, CONTAMINATED_QUESTIONS, ContaminatedImage, ContaminatedQuestion, NEAR,
    NearPair, REPORT,
};
use serde::Deserialize;

use super::pairs::{self, PageOf};
use crate::kept::{blocking, text};
use crate::pipeline::StageFolder;
use crate::runs::RunFolder;
use crate::shell::parts::{Tile, count, missing, scroll, tiles};
use crate::shell::{Page, Place};
use crate::{Error, Studio};

/// No longer page of pairs is sent, in bytes.
const LONGEST_REPORT: u64 = 64 << 20;
/// Nothing but that page's own styles and the images inside it.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                             frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
/// Plan rows in the table.
const MOST_ROWS: usize = 400;
/// Sources whose grades are drawn.
const MOST_SOURCES: usize = 24;

/// Which page of each kind of pairs, from 1.
#[derive(Deserialize, Clone, Copy)]
pub(super) struct Wanted {
    #[serde(default = "first")]
    near: u64,
    #[serde(default = "first")]
    images: u64,
    #[serde(default = "first")]
    questions: u64,
}

fn first() -> u64 {
    1
}

pub(super) async fn show(
    Shared(studio): Shared<Arc<Studio>>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Error> {
    let (run, body) = blocking(move || {
        let run = studio.run(&name)?;
        let body = body(&studio, &run, wanted)?;
        Ok((run, body))
    })
    .await?;
    let page = Page {
        title: "Selection",
        place: Place::Selection,
        run: Some(&run),
        scripts: &["math.js"],
        body,
    };
    Ok(page.into_response())
}

/// The page that an inspection wrote, which has the benchmarks' images inside it.
pub(super) async fn decontamination(
    Shared(studio): Shared<Arc<Studio>>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    let html = blocking(move || {
        let run = studio.run(&name)?;
        let path = run.path.join("inspect").join(REPORT);
        text(&path, LONGEST_REPORT)?
            .ok_or_else(|| Error::NotFound("this run's images were not inspected yet".to_owned()))
    })
    .await?;
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, REPORT_POLICY),
    ];
    Ok((headers, html).into_response())
}

fn body(studio: &Studio, run: &RunFolder, wanted: Wanted) -> Result<Markup, Error> {
    let stages = studio.stages(run);
    let of = |verb: &str| {
        let found = stages.iter().find(|s| s.verb == verb);
        found.and_then(|s| Some((s, s.manifest()?)))
    };
    let select = of("select");
    let mut html = match select {
        Some((stage, manifest)) => {
            let rows = plan_rows(&stage.path, manifest)?;
            let held_out = studio.held_out(&stage.path)?;
            let count_of = |name: &str| manifest.counts.get(name).copied();
            let shown: Vec<Tile> = [
                ("Pairs selected", count_of("samples"), ""),
                ("Images selected", count_of("images"), ""),
                (
                    "Questions held out",
                    count_of("heldout"),
                    "never trained on",
                ),
                (
                    "Images held out",
                    count_of("heldout_images"),
                    "with all their questions",
                ),
                (
                    "Rows left out",
                    count_of("rejects"),
                    "the run's page says why",
                ),
            ]
            .into_iter()
            .filter_map(|(name, n, note)| Some(Tile::new(name, count(n?), note)))
            .collect();
            html! {
                (tiles(&shown))
                @for note in manifest.results["notes"].as_array().into_iter().flatten().take(20) {
                    @if let Some(note) = note.as_str() { p.lead { (note) "." } }
                }
                (plan(&rows))
                @if held_out.questions > 0 {
                    section aria-labelledby="heldout-title" {
                        h2 #heldout-title { "Held out" }
                        div.card { div.fifths {
                            (PreEscaped(shares("Questions by source", counts(&held_out.sources))))
                            (PreEscaped(shares("Questions by task", counts(&held_out.tasks))))
                        } }
                    }
                }
            }
        }
        None => missing(
            "Nothing is selected in this run yet: `math-llava select` makes the plan that is shown here.",
        ),
    };
    html.0.push_str(&grades(studio, &stages)?.0);
    let inspect = of("inspect");
    let found = match inspect {
        Some((stage, manifest)) => inspected(run, stage, manifest, wanted)?,
        None => missing(
            "The images of this run were not inspected: whether two of them are alike, or are in a benchmark, is not known.",
        ),
    };
    html.0.push_str(&found.0);
    Ok(html)
}

fn counts(counts: &super::tally::Counts) -> Vec<(String, u64)> {
    counts.iter().map(|(name, n)| (name.clone(), *n)).collect()
}

fn plan(rows: &[PlanRow]) -> Markup {
    html! {
        section aria-labelledby="plan-title" {
            h2 #plan-title { "Plan" }
            @if rows.is_empty() {
                (missing("The selection has no plan by level and source: all images were taken."))
            } @else {
                p.lead {
                    "Images are taken by level of complexity, and within a level the same quota from each source; "
                    "what a source does not have, the others give."
                }
                div.split {
                    div.card {
                        h3 { "From sources to the selection" }
                        (PreEscaped(plan_flows(rows)))
                    }
                    div.card {
                        h3 { "By level and source" }
                        ul.legend {
                            li { i.bg-model {} "taken" }
                            li { i.bg-model.faint {} "available" }
                            li { "line: asked for" }
                        }
                        (PreEscaped(plan_bars(rows)))
                    }
                }
                details {
                    summary { "The plan as a table (" (count(rows.len() as u64)) " rows)" }
                    (scroll("Images by level and source", &html! {
                        table {
                            thead { tr {
                                th scope="col" { "level" } th.left scope="col" { "source" }
                                th scope="col" { "available" } th scope="col" { "quota" } th scope="col" { "taken" }
                            } }
                            tbody { @for row in rows.iter().take(MOST_ROWS) {
                                tr {
                                    th scope="row" { (row.level.map_or("none".to_owned(), |l| l.to_string())) }
                                    td.left { (row.source) }
                                    td { (count(row.available)) } td { (count(row.quota)) } td { (count(row.taken)) }
                                }
                            } }
                        }
                    }))
                }
            }
        }
    }
}

/// How the graders, or the sources, saw the images.
fn grades(studio: &Studio, stages: &[StageFolder]) -> Result<Markup, Error> {
    let grades = studio.grades(stages)?;
    if grades.images == 0 {
        return Ok(html! {});
    }
    let drawn = |by_source: &std::collections::BTreeMap<String, super::tally::Counts>| {
        html! {
            div.fifths {
                @for (source, found) in by_source.iter().take(MOST_SOURCES) {
                    (PreEscaped(shares(&report::components::escape(source), counts(found))))
                }
            }
        }
    };
    Ok(html! {
        section aria-labelledby="grades-title" {
            h2 #grades-title { "Grades" }
            p.lead { (count(grades.images)) " images before the selection, by source." }
            div.card { h3 { "Clarity" } (drawn(&grades.clarity)) }
            div.card { h3 { "Complexity" } (drawn(&grades.complexity)) }
        }
    })
}

/// A page of one kind of pairs; `None` where the stage has no such table.
fn found<R: Row>(stage: &StageFolder, table: &str, page: u64) -> Result<Option<PageOf<R>>, Error> {
    let path: PathBuf = stage.path.join(table);
    pairs::read(&path, page.saturating_sub(1))
}

fn inspected(
    run: &RunFolder,
    stage: &StageFolder,
    manifest: &sample::Manifest,
    wanted: Wanted,
) -> Result<Markup, Error> {
    let near = found::<NearPair>(stage, NEAR, wanted.near)?;
    let images = found::<ContaminatedImage>(stage, CONTAMINATED_IMAGES, wanted.images)?;
    let questions = found::<ContaminatedQuestion>(stage, CONTAMINATED_QUESTIONS, wanted.questions)?;
    let address = |kind: &'static str| {
        let run = run.segment();
        move |page: u64| {
            let mut at = wanted;
            match kind {
                "near" => at.near = page + 1,
                "images" => at.images = page + 1,
                _ => at.questions = page + 1,
            }
            format!(
                "/selection/{run}?near={}&images={}&questions={}#{kind}",
                at.near, at.images, at.questions
            )
        }
    };
    let warning = manifest.results["warning"].as_str();
    Ok(html! {
        section #near aria-labelledby="near-title" {
            h2 #near-title { "Nearly the same images" }
            @match &near {
                Some(page) if page.total > 0 => {
                    p.lead { (count(page.total)) " verified pairs: other bytes, the same picture." }
                    div.gallery { @for pair in &page.rows { (pairs::near(run, pair)) } }
                    (page.pager("Pages of near duplicates", address("near")))
                }
                _ => p.lead { "No two images of different bytes show the same picture." },
            }
        }
        section #images aria-labelledby="images-title" {
            h2 #images-title { "Images that a benchmark has too" }
            @if let Some(warning) = warning { (missing(warning)) }
            @match &images {
                Some(page) if page.total > 0 => {
                    p.lead {
                        (count(page.total)) " images. "
                        @if stage.path.join(REPORT).is_file() {
                            a href={ "/selection/" (run.segment()) "/decontamination" } { "The inspection's own page" }
                            " shows them beside the benchmark's."
                        }
                    }
                    div.gallery { @for one in &page.rows { (pairs::image(run, one)) } }
                    (page.pager("Pages of images in benchmarks", address("images")))
                }
                Some(_) => p.lead { "None." },
                None => { @if warning.is_none() { p.lead { "They were compared with no benchmark." } } }
            }
        }
        section #questions aria-labelledby="questions-title" {
            h2 #questions-title { "Questions that a benchmark asks too" }
            @match &questions {
                Some(page) if page.total > 0 => {
                    p.lead { (count(page.total)) " questions; wording that many share is listed and kept." }
                    div.gallery { @for one in &page.rows { (pairs::question(run, one)) } }
                    (page.pager("Pages of questions in benchmarks", address("questions")))
                }
                Some(_) => p.lead { "None." },
                None => p.lead { "They were compared with no benchmark." },
            }
        }
    })
}
