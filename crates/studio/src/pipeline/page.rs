//! A run's pipeline: the picture, the figures, why rows went, and what is being written.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Response};
use maud::{Markup, PreEscaped, html};
use report::components::{FlowPart, flow, shares, shown_counts};

use super::live;
use super::stages::{StageFolder, State};
use super::summary::Summary;
use crate::kept::blocking;
use crate::runs::RunFolder;
use crate::shell::parts::{Tile, count, scroll, tiles};
use crate::shell::{Page, Place};
use crate::{Error, Studio, when};

pub(super) async fn show(
    Shared(studio): Shared<Arc<Studio>>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    let (run, body) = blocking(move || {
        let run = studio.run(&name)?;
        let body = body(&studio, &run);
        Ok((run, body))
    })
    .await?;
    let page = Page {
        title: &run.name,
        place: Place::Runs,
        run: Some(&run),
        scripts: &["runs.js"],
        body,
    };
    Ok(page.into_response())
}

fn body(studio: &Studio, run: &RunFolder) -> Markup {
    let stages = studio.stages(run);
    let summary = Summary::of(&stages);
    let live = live::look(studio, run, &stages);
    html! {
        (figures(&summary))
        section #live data-live={ "/runs/" (run.segment()) "/live" } data-state=(live.state) aria-labelledby="live-title"
            hidden[live.lines.is_empty()] {
            h2 #live-title { "Now" }
            ul.live aria-live="polite" { @for line in &live.lines { li { (line) } } }
        }
        section #pipeline aria-labelledby="pipeline-title" {
            h2 #pipeline-title { "Pipeline" }
            p.lead { "What each stage took in and gave out; a stage's name leads to its manifest." }
            (PreEscaped(flow(parts(run, &stages))))
            @for stage in &stages {
                @if let State::Broken(why) = &stage.state {
                    p.missing { (stage.label) ": " (why) }
                }
            }
        }
        @if !summary.samples.is_empty() {
            section #counts aria-labelledby="counts-title" {
                h2 #counts-title { "From rows to training" }
                div.card { (PreEscaped(shares("Samples after each step", summary.samples.clone()))) }
            }
        }
        (rejects(&summary))
    }
}

/// The figures of the first screen.
fn figures(summary: &Summary) -> Markup {
    let mut shown = Vec::new();
    if let Some(rows) = summary.rows {
        let note = match summary.last_samples {
            Some(n) => format!("{} samples came of them", count(n)),
            None => String::new(),
        };
        shown.push(Tile::new("Source rows", count(rows), note));
    }
    if let Some(steps) = summary.steps {
        let note = summary.loss.map_or(String::new(), |(first, last)| {
            format!("loss {first:.3} to {last:.3}")
        });
        shown.push(Tile::new("Training steps", count(steps), note));
    }
    if let Some(score) = &summary.score {
        shown.push(Tile::new(
            "Last score",
            format!("{:.1}%", 100.0 * score.accuracy),
            format!("of {} questions, {}", count(score.questions), score.of),
        ));
    }
    if let Some(finished) = summary.finished {
        let note = format!("{} UTC", when::utc(finished));
        shown.push(Tile::new("Last stage finished", when::ago(finished), note));
    }
    html! { div #figures { @if !shown.is_empty() { (tiles(&shown)) } } }
}

fn parts<'a>(
    run: &'a RunFolder,
    stages: &'a [StageFolder],
) -> impl Iterator<Item = (String, FlowPart)> + 'a {
    stages.iter().map(|stage| {
        let (note, counts) = match &stage.state {
            State::Finished(manifest) => {
                let mut counts = shown_counts(&manifest.counts);
                counts.extend(score(manifest));
                (None, counts)
            }
            State::Begun => (Some("not finished".to_owned()), Vec::new()),
            State::Broken(_) => (Some("manifest unreadable".to_owned()), Vec::new()),
        };
        let part = FlowPart {
            name: (stage.label != stage.verb).then(|| name(stage)),
            link: Some(address(run, stage)),
            note,
            counts,
        };
        (stage.verb.clone(), part)
    })
}

/// `tabmwp` of `import/tabmwp`; whole where the folder says more than the verb.
fn name(stage: &StageFolder) -> String {
    let own = stage.label.strip_prefix(&stage.verb);
    let own = own.and_then(|rest| rest.strip_prefix('/'));
    own.unwrap_or(&stage.label).to_owned()
}

/// What a picture shows beside counts: the last loss, an accuracy.
fn score(manifest: &sample::Manifest) -> Option<(String, String)> {
    let results = &manifest.results;
    let number = |value: &serde_json::Value| value.as_f64().filter(|x| x.is_finite());
    if let Some(loss) = number(&results["final_loss"]) {
        return Some(("loss".to_owned(), format!("{loss:.3}")));
    }
    let accuracy = number(&results["overall"]["model"]["value"]);
    let accuracy = accuracy.or_else(|| number(&results["accuracy"]))?;
    Some(("accuracy".to_owned(), format!("{:.1}%", 100.0 * accuracy)))
}

/// The address of a stage's page.
pub(super) fn address(run: &RunFolder, stage: &StageFolder) -> String {
    let label: Vec<String> = stage.label.split('/').map(crate::runs::segment).collect();
    format!("/runs/{}/stage/{}", run.segment(), label.join("/"))
}

fn rejects(summary: &Summary) -> Markup {
    html! {
        section #rejects aria-labelledby="rejects-title" {
            h2 #rejects-title { "What went, and why" }
            @if summary.rejects.is_empty() {
                p.lead { "No finished stage rejected a row." }
            } @else {
                div.card {
                    (scroll("Rejected rows by stage and reason", &html! {
                        table {
                            thead { tr {
                                th scope="col" { "stage" }
                                th.left scope="col" { "reason" }
                                th scope="col" { "rows" }
                            } }
                            tbody {
                                @for (stage, reason, n) in &summary.rejects {
                                    tr {
                                        th scope="row" { (stage) }
                                        td.left.wrap { (reason.replace('_', " ")) }
                                        td { (count(*n)) }
                                    }
                                }
                            }
                        }
                    }))
                }
            }
        }
    }
}
