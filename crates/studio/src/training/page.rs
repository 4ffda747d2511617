//! The page of trainings, and the curves that its script asks for.

use std::sync::Arc;

use axum::extract::{Query, State as Shared};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use maud::{Markup, PreEscaped, html};
use report::components::{COLOURS, training_chart};
use serde_json::json;

use super::answers::Evaluations;
use super::curves::{QUANTITIES, Series, curves as curves_of, thinned};
use super::log::Log;
use super::{MOST_RUNS, State, has_log, state};
use crate::kept::blocking;
use crate::runs::{RunFolder, segment};
use crate::shell::parts::{Tone, badge, count, math, missing, scroll};
use crate::shell::{Page, Place};
use crate::{Error, Studio};

/// No more runs are offered.
const MOST_OFFERED: usize = 400;
/// No more of a question or reply is shown, in characters.
const LONGEST: usize = 600;

/// A query's names with their values: `run` may stand in it several times.
type Pairs = Vec<(String, String)>;

fn runs_of(pairs: &Pairs) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (name, value) in pairs {
        if name == "run" && !value.is_empty() && !names.contains(value) {
            names.push(value.clone());
        }
    }
    names
}

/// A run's log as the page shows it.
struct Shown {
    run: RunFolder,
    state: State,
    generation: u64,
    steps: u64,
    hours: f64,
    loss: Option<f64>,
    samples_per_second: Option<f64>,
    tokens_per_second: Option<f64>,
    memory_mib: Option<f64>,
    unread: u64,
    series: Vec<Series>,
    evaluations: Arc<Evaluations>,
}

fn shown(studio: &Studio, run: RunFolder) -> Result<Shown, Error> {
    let evaluations = studio.evaluations(&run)?;
    let at = run.clone();
    studio.with_log(&at, |log| {
        let finite = |value: Option<f64>| value.filter(|v| v.is_finite());
        let timing = log.timings.last();
        Shown {
            state: state(&run, log),
            generation: log.generation,
            steps: log
                .steps
                .last()
                .map_or(0, |s| (s.step.max(0.0) as u64).saturating_add(1)),
            hours: timing.map_or(0.0, |t| t.elapsed / 3600.0),
            loss: finite(log.steps.last().map(|s| s.loss)),
            samples_per_second: finite(timing.map(|t| t.samples_per_second)),
            tokens_per_second: finite(timing.map(|t| t.tokens_per_second)),
            memory_mib: finite(timing.map(|t| t.memory_mib)),
            unread: log.unread,
            series: QUANTITIES.iter().map(|q| q.all(log)).collect(),
            evaluations,
            run,
        }
    })
}

pub(super) async fn show(
    Shared(studio): Shared<Arc<Studio>>,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Error> {
    let (run, body) = blocking(move || {
        let all: Vec<RunFolder> = studio.runs();
        let offered: Vec<&RunFolder> = all.iter().filter(|r| has_log(r)).take(MOST_OFFERED).collect();
        let wanted = runs_of(&pairs);
        let mut runs = Vec::new();
        for name in wanted.iter().take(MOST_RUNS) {
            runs.push(studio.run(name)?);
        }
        // Without a choice it is the run that was at it last.
        if runs.is_empty() {
            let changed = |run: &&&RunFolder| {
                let log = super::folder(run).join("metrics.jsonl");
                std::fs::metadata(log).and_then(|m| m.modified()).ok()
            };
            runs.extend(offered.iter().max_by_key(changed).map(|r| (**r).clone()));
        }
        let only = match &runs[..] {
            [run] => Some(run.clone()),
            _ => None,
        };
        let names: Vec<String> = runs.iter().map(|r| r.name.clone()).collect();
        let mut trainings = Vec::new();
        let mut without = Vec::new();
        for run in runs {
            match has_log(&run) {
                true => trainings.push(shown(&studio, run)?),
                false => without.push(run.name),
            }
        }
        let left_out = wanted.len().saturating_sub(MOST_RUNS);
        let body = html! {
            (form(&offered, &names))
            @if left_out > 0 {
                (missing(format!("{left_out} runs are left out: {MOST_RUNS} are told apart by colour.")))
            }
            @for name in &without { (missing(format!("{name} has no training log yet."))) }
            @if trainings.is_empty() && without.is_empty() { (missing("No run has a training log yet.")) }
            @if !trainings.is_empty() { (trainings_body(&trainings)) }
        };
        Ok((only, body))
    })
    .await?;
    let page = Page {
        title: "Training",
        place: Place::Training,
        run: run.as_ref(),
        scripts: &["training.js", "math.js"],
        body,
    };
    Ok(page.into_response())
}

fn form(offered: &[&RunFolder], chosen: &[String]) -> Markup {
    html! {
        details.runs open[offered.len() <= 12] {
            summary { "Runs (" (count(offered.len() as u64)) ")" }
            form method="get" action="/training" {
                fieldset {
                    legend { "Shown over each other, at most " (MOST_RUNS) }
                    div.checks {
                        @for run in offered {
                            label.check {
                                input type="checkbox" name="run" value=(run.name) checked[chosen.contains(&run.name)];
                                (run.name)
                            }
                        }
                    }
                }
                p { button type="submit" { "Show" } }
            }
        }
    }
}

fn trainings_body(trainings: &[Shown]) -> Markup {
    let any = trainings.iter().any(|t| t.state == State::AtIt);
    html! {
        (now(trainings))
        div #training data-live=(any.to_string()) {
            div.curves-controls #controls hidden {}
            div.curves {
                @for (at, quantity) in QUANTITIES.iter().enumerate() {
                    @let series: Vec<(&str, &Series)> = trainings.iter().map(|t| (t.run.name.as_str(), &t.series[at])).collect();
                    @if series.iter().any(|(_, s)| !s.is_empty()) {
                        div.card.curve data-quantity=(quantity.name) data-smooth=(quantity.smooth.to_string()) {
                            h2 #{ "q-" (quantity.name) } { (quantity.title) }
                            div.drawn { (PreEscaped(training_chart(&format!("{} by step", quantity.title), &series, quantity.smooth))) }
                        }
                    }
                }
                (scores(trainings))
            }
        }
        @for training in trainings { (answers(training, trainings.len() > 1)) }
    }
}

/// Where each run is.
fn now(trainings: &[Shown]) -> Markup {
    let number = |value: Option<f64>, digits: usize| match value {
        Some(value) => format!("{value:.digits$}"),
        None => "–".to_owned(),
    };
    html! {
        div.card {
            (scroll("Where each run is", &html! {
                table #now {
                    thead { tr {
                        th scope="col" { "run" }
                        th scope="col" { "state" }
                        th scope="col" { "steps" }
                        th scope="col" { "hours" }
                        th scope="col" { "loss" }
                        th scope="col" { "samples/s" }
                        th scope="col" { "tokens/s" }
                        th scope="col" { "memory, MiB" }
                        th scope="col" { "best score" }
                    } }
                    tbody {
                        @for (i, training) in trainings.iter().enumerate() {
                            @let tone = match training.state { State::Done => Tone::Good, _ => Tone::Even };
                            @let best = training.evaluations.scores.iter().map(|s| s.1).reduce(f64::max);
                            tr data-run=(training.run.name) data-colour=(COLOURS[i % COLOURS.len()]) data-generation=(training.generation) {
                                th scope="row" {
                                    span.swatch style={ "background:" (COLOURS[i % COLOURS.len()]) } {}
                                    a href={ "/runs/" (training.run.segment()) } { (training.run.name) }
                                    @if training.unread > 0 { " " span.range { (count(training.unread)) " lines unread" } }
                                }
                                td data-cell="state" { (badge(tone, training.state.word())) }
                                td data-cell="steps" { (count(training.steps)) }
                                td data-cell="hours" { (format!("{:.2}", training.hours)) }
                                td data-cell="loss" { (number(training.loss, 4)) }
                                td data-cell="samples_per_second" { (number(training.samples_per_second, 2)) }
                                td data-cell="tokens_per_second" { (number(training.tokens_per_second, 0)) }
                                td data-cell="memory_mib" { (number(training.memory_mib, 0)) }
                                td { (best.map_or("–".to_owned(), |b| format!("{:.1}%", 100.0 * b))) }
                            }
                        }
                    }
                }
            }))
        }
    }
}

/// The held-out scores, which are few and not asked for again.
fn scores(trainings: &[Shown]) -> Markup {
    let series: Vec<(&str, Series)> = trainings
        .iter()
        .map(|t| (t.run.name.as_str(), thinned(&t.evaluations.scores, 1000)))
        .collect();
    let borrowed: Vec<(&str, &Series)> = series.iter().map(|(name, s)| (*name, s)).collect();
    html! {
        @if borrowed.iter().any(|(_, s)| !s.is_empty()) {
            div.card {
                h2 { "Held-out score" }
                (PreEscaped(training_chart("Held-out score by step", &borrowed, false)))
            }
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// What the model said over time.
fn answers(training: &Shown, named: bool) -> Markup {
    let evaluations = &training.evaluations;
    if evaluations.asked.is_empty() {
        return html! {};
    }
    let run = training.run.segment();
    html! {
        section {
            h2 { "Answers over time" @if named { ", " (training.run.name) } }
            p.lead { "The same held-out questions, asked again as the model learns; the last evaluation is open." }
            div.gallery {
                @for asked in &evaluations.asked {
                    article.item {
                        @if let Some(image) = &asked.image {
                            div.pictures { figure {
                                img loading="lazy" alt="the question's image" src={ "/data/" (run) "/image/" (segment(image)) "?side=320" };
                            } }
                        }
                        div.body {
                            h4 { (math(&shortened(&asked.question))) }
                            p.meta {
                                @if asked.image.is_some() {
                                    a href={ "/data/" (run) "/sample/" (segment(&asked.id)) } { (shortened(&asked.id)) }
                                } @else { (shortened(&asked.id)) }
                            }
                            dl { dt { "expected" } dd { (math(&shortened(&asked.reference))) } }
                            @let last = asked.replies.len().saturating_sub(1);
                            @for (i, reply) in asked.replies.iter().enumerate().rev() {
                                details open[i == last] {
                                    summary {
                                        "after step " (reply.step.to_string()) " "
                                        @if reply.correct { span.right { "✓ right" } } @else { span.wrong { "✗ wrong" } }
                                    }
                                    p.reply tabindex=[(reply.text.len() > 300 || reply.text.lines().count() > 8).then_some("0")] { (math(&shortened(&reply.text))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The curves after a step, as JSON. `after` is one number for all runs that are asked for.
pub(super) async fn curves(
    Shared(studio): Shared<Arc<Studio>>,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Error> {
    let answer = blocking(move || {
        let given = pairs.iter().find(|(name, _)| name == "after");
        let after = match given {
            Some((_, text)) => text.parse().map_err(|_| {
                Error::Invalid(format!(
                    "after={text:?} is no step; write a number such as 120"
                ))
            })?,
            None => f64::NEG_INFINITY,
        };
        let names = runs_of(&pairs);
        if names.is_empty() || names.len() > MOST_RUNS {
            return Err(Error::Invalid(format!(
                "curves are asked for with run=NAME, once to {MOST_RUNS} times"
            )));
        }
        let mut runs = Vec::new();
        for name in names {
            let run = studio.run(&name)?;
            if !has_log(&run) {
                return Err(Error::NotFound(format!("run {name:?} has no training log")));
            }
            runs.push(studio.with_log(&run, |log: &Log| {
                let mut found = curves_of(log, after);
                found["run"] = json!(run.name);
                found["state"] = json!(state(&run, log).word());
                found
            })?);
        }
        serde_json::to_string(&json!({ "runs": runs })).map_err(|e| Error::Failed(e.to_string()))
    })
    .await?;
    Ok(([(CONTENT_TYPE, "application/json")], answer).into_response())
}
