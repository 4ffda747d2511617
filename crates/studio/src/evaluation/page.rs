//! The page of a run's scores.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::response::{IntoResponse, Response};
use maud::{Markup, PreEscaped, html};
use report::components::{board, heldout_section, heldout_tiles, subgroup_charts, subgroup_tables};
use sample::benchmark::BenchmarkScore;

use super::items::{address, kinds};
use super::sheet::{benchmark_score, heldout_results, is_evaluation};
use crate::kept::blocking;
use crate::pipeline::StageFolder;
use crate::runs::RunFolder;
use crate::shell::parts::{count, missing, tabs};
use crate::shell::{Page, Place};
use crate::{Error, Studio};

/// Evaluations of other runs that are offered for comparison.
const MOST_OFFERED: usize = 200;
/// Benchmark runs that are told apart by colour.
const MOST_RUNS: usize = 6;

pub(super) async fn show(
    Shared(studio): Shared<Arc<Studio>>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    let (run, body) = blocking(move || {
        let run = studio.run(&name)?;
        let body = body(&studio, &run)?;
        Ok((run, body))
    })
    .await?;
    let page = Page {
        title: "Evaluation",
        place: Place::Evaluation,
        run: Some(&run),
        scripts: &[],
        body,
    };
    Ok(page.into_response())
}

/// A benchmark run of this run.
struct Scored<'a> {
    stage: &'a StageFolder,
    score: BenchmarkScore,
}

fn body(studio: &Studio, run: &RunFolder) -> Result<Markup, Error> {
    let stages = studio.stages(run);
    let others = others(studio);
    let mut html = html! {};
    let mut any = false;
    for stage in stages.iter().filter(|s| s.verb == "eval") {
        let Some(manifest) = stage.manifest() else {
            html.0
                .push_str(&missing(format!("{}: not finished yet.", stage.label)).0);
            continue;
        };
        any = true;
        let results = match heldout_results(stage, manifest) {
            Ok(results) => results,
            Err(error) => {
                html.0.push_str(&missing(error.to_string()).0);
                continue;
            }
        };
        let same: Vec<&Other> = others
            .iter()
            .filter(|o| o.benchmark == results.benchmark && o.split == "held out")
            .collect();
        let shown = html! {
            section aria-labelledby="heldout-title" {
                h2 #heldout-title { "Held-out questions, three ways" }
                (PreEscaped(heldout_tiles(&results)))
                (more(studio, run, stage, &same))
                (PreEscaped(heldout_section(&results)))
            }
        };
        html.0.push_str(&shown.0);
    }
    let mut scored: Vec<Scored<'_>> = Vec::new();
    for stage in stages.iter().filter(|s| s.verb == "benchmark") {
        match stage.manifest().map(benchmark_score) {
            Some(Some(score)) => scored.push(Scored { stage, score }),
            Some(None) => html
                .0
                .push_str(&missing(format!("{}: its manifest holds no score.", stage.label)).0),
            None => html
                .0
                .push_str(&missing(format!("{}: not finished yet.", stage.label)).0),
        }
    }
    let mut groups: Vec<Vec<&Scored<'_>>> = Vec::new();
    for one in &scored {
        let same = |g: &&mut Vec<&Scored<'_>>| {
            g[0].score.benchmark == one.score.benchmark && g[0].score.split == one.score.split
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(one),
            None => groups.push(vec![one]),
        }
    }
    for (number, group) in groups.iter().enumerate() {
        any = true;
        html.0
            .push_str(&benchmark(studio, run, number, group, &others)?.0);
    }
    if !any {
        let nothing = missing(
            "Nothing is evaluated in this run yet: `math-llava eval` asks its model, `math-llava score` scores outputs that exist already.",
        );
        html.0.push_str(&nothing.0);
    }
    Ok(html)
}

/// The runs of this run over one benchmark.
fn benchmark(
    studio: &Studio,
    run: &RunFolder,
    number: usize,
    group: &[&Scored<'_>],
    others: &[Other],
) -> Result<Markup, Error> {
    let scores: Vec<BenchmarkScore> = group.iter().map(|s| s.score.clone()).collect();
    let board_of = eval::table::scoreboard(&scores, &eval::table::Options::default())?;
    let drawn = &group[..group.len().min(MOST_RUNS)];
    let breakdowns: Vec<_> = drawn
        .iter()
        .map(|s| eval::table::breakdown(&s.score))
        .collect();
    let breakdowns: Vec<&_> = breakdowns.iter().collect();
    let names: Vec<String> = drawn
        .iter()
        .map(|s| match s.score.model.as_str() {
            "" => s.stage.label.clone(),
            model => model.to_owned(),
        })
        .collect();
    let (name, split) = (&group[0].score.benchmark, &group[0].score.split);
    let same: Vec<&Other> = others
        .iter()
        .filter(|o| o.benchmark == *name && o.split == *split)
        .collect();
    let id = format!("b{number}-title");
    Ok(html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (name) " " (split) }
            @for one in group {
                p.lead {
                    strong { (one.score.model) } ": " (format!("{:.1}%", 100.0 * one.score.accuracy))
                    " (" (count(one.score.correct)) " of " (count(one.score.total)) "); " (one.score.counts()) "."
                }
                @for remark in one.score.remarks.iter().take(20) { (missing(remark)) }
                (more(studio, run, one.stage, &same))
            }
            (PreEscaped(board(&board_of)))
            (PreEscaped(subgroup_charts(&breakdowns, &names, Some(&board_of))))
            (PreEscaped(subgroup_tables(&breakdowns, &names)))
        }
    })
}

/// An evaluation of any run, to be compared with.
struct Other {
    run: String,
    label: String,
    benchmark: String,
    split: String,
}

/// All finished evaluations, of all runs.
fn others(studio: &Studio) -> Vec<Other> {
    let mut found = Vec::new();
    for run in studio.runs() {
        for stage in studio.stages(&run).into_iter().filter(is_evaluation) {
            let Some(results) = stage.manifest().map(|m| &m.results) else {
                continue;
            };
            let split = match stage.verb.as_str() {
                "eval" => Some("held out"),
                _ => results["split"].as_str(),
            };
            if let (Some(benchmark), Some(split)) = (results["benchmark"].as_str(), split) {
                found.push(Other {
                    run: run.name.clone(),
                    label: stage.label.clone(),
                    benchmark: benchmark.to_owned(),
                    split: split.to_owned(),
                });
            }
        }
    }
    found
}

/// The ways on from an evaluation: its questions by kind of error, and comparisons.
fn more(studio: &Studio, run: &RunFolder, stage: &StageFolder, others: &[&Other]) -> Markup {
    let Some(manifest) = stage.manifest() else {
        return html! {};
    };
    let sheet = match studio.sheet(stage, manifest) {
        Ok(sheet) => sheet,
        Err(error) => return missing(error.to_string()),
    };
    let mut parts = Vec::new();
    for fate in kinds() {
        let n = sheet.ids_of(Some(fate)).len();
        if n > 0 {
            let name = format!("{} ({})", fate.word(), count(n as u64));
            parts.push((name, address(run, &stage.label, fate.word()), false));
        }
    }
    let others: Vec<&&Other> = others
        .iter()
        .filter(|o| o.run != run.name || o.label != stage.label)
        .take(MOST_OFFERED)
        .collect();
    html! {
        @if parts.is_empty() { p.lead { "Its verdicts are not there any more." } }
        @else { (tabs("Questions by kind of error", &parts)) }
        @if !others.is_empty() {
            form.filters method="get" action={ "/evaluation/" (run.segment()) "/flips" } {
                input type="hidden" name="of" value=(stage.label);
                label.field {
                    span { "Flips against" }
                    select name="with" {
                        @for other in others {
                            option value={ (other.run) ":" (other.label) } { (other.run) " · " (other.label) }
                        }
                    }
                }
                button type="submit" { "Compare" }
            }
        }
    }
}
