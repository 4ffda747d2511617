//! A stage's manifest: what it was asked for, what it took in, what came out.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use sample::Manifest;
use serde_json::Value;

use super::page::address;
use super::stages::{StageFolder, State};
use crate::kept::blocking;
use crate::runs::RunFolder;
use crate::shell::parts::{count, facts, missing, scroll};
use crate::shell::{Page, Place};
use crate::{Error, Studio, when};

/// No more of a value is shown, in bytes of JSON; the manifest itself is linked.
const LONGEST: usize = 64 << 10;
/// No more inputs or files are listed.
const MOST: usize = 200;
/// No manifest is sent that is longer, in bytes.
const LONGEST_SENT: u64 = 128 << 20;

pub(super) async fn show(
    Shared(studio): Shared<Arc<Studio>>,
    Path((run, label)): Path<(String, String)>,
) -> Result<Response, Error> {
    let (run, label, body) = blocking(move || {
        let run = studio.run(&run)?;
        let stages = studio.stages(&run);
        let stage = find(&stages, &label)?;
        let body = match &stage.state {
            State::Finished(manifest) => finished(&run, &stages, stage, manifest),
            State::Begun => missing("This stage is not finished: it has no manifest yet. What it has written so far lies in its folder."),
            State::Broken(why) => missing(why),
        };
        let label = label.clone();
        Ok((run, label, body))
    })
    .await?;
    let page = Page {
        title: &label,
        place: Place::Runs,
        run: Some(&run),
        scripts: &[],
        body,
    };
    Ok(page.into_response())
}

/// The manifest as it lies on disk.
pub(super) async fn manifest(
    Shared(studio): Shared<Arc<Studio>>,
    Path((run, label)): Path<(String, String)>,
) -> Result<Response, Error> {
    let text = blocking(move || {
        let run = studio.run(&run)?;
        let stages = studio.stages(&run);
        let path = find(&stages, &label)?.path.join("manifest.json");
        crate::kept::text(&path, LONGEST_SENT)?.ok_or_else(|| {
            Error::NotFound(format!("stage {label} is not finished: it has no manifest"))
        })
    })
    .await?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}

/// Only what the run has is found, so no label leads elsewhere.
fn find<'a>(stages: &'a [StageFolder], label: &str) -> Result<&'a StageFolder, Error> {
    stages.iter().find(|s| s.label == label).ok_or_else(|| {
        let labels: Vec<&str> = stages.iter().take(40).map(|s| s.label.as_str()).collect();
        Error::NotFound(format!(
            "there is no stage {label:?} in this run; there are: {}",
            labels.join(", ")
        ))
    })
}

fn finished(
    run: &RunFolder,
    stages: &[StageFolder],
    stage: &StageFolder,
    manifest: &Manifest,
) -> Markup {
    let raw = address(run, stage).replacen("/stage/", "/manifest/", 1);
    html! {
        (facts(&[
            ("stage", html! { (manifest.key.stage) }),
            ("made by", html! { "math-llava " (manifest.key.version) }),
            ("seed", html! { (manifest.key.seed) }),
            ("finished", html! {
                @match stage.finished {
                    Some(time) => { (when::utc(time)) " UTC, " (when::ago(time)) }
                    None => "–",
                }
            }),
            ("manifest", html! { a href=(raw) { "as it lies on disk" } }),
        ]))
        section aria-labelledby="counts-title" {
            h2 #counts-title { "Counts" }
            @if manifest.counts.is_empty() { p.lead { "None." } }
            dl.facts {
                @for (name, n) in manifest.counts.iter().take(MOST) { dt { (name) } dd { (count(*n)) } }
            }
        }
        section aria-labelledby="settings-title" {
            h2 #settings-title { "Settings" }
            (json(&manifest.key.config))
        }
        section aria-labelledby="inputs-title" {
            h2 #inputs-title { "Inputs" }
            (digests("Inputs by their SHA-256", &manifest.key.inputs, |name| input(run, stages, name)))
        }
        section aria-labelledby="results-title" {
            h2 #results-title { "Results" }
            (json(&manifest.results))
        }
        section aria-labelledby="files-title" {
            h2 #files-title { "Files it vouches for" }
            (digests("Files by their SHA-256", &manifest.files, |_| None))
        }
    }
}

/// The page of the stage that an input names.
fn input(run: &RunFolder, stages: &[StageFolder], name: &str) -> Option<String> {
    let import = format!("import/{name}");
    let stage = stages
        .iter()
        .find(|s| s.label == name || s.label == import)?;
    Some(address(run, stage))
}

fn digests(
    label: &str,
    digests: &std::collections::BTreeMap<String, String>,
    link: impl Fn(&str) -> Option<String>,
) -> Markup {
    if digests.is_empty() {
        return html! { p.lead { "None." } };
    }
    html! {
        div.card {
            (scroll(label, &html! {
                table {
                    thead { tr { th scope="col" { "name" } th.left scope="col" { "SHA-256" } } }
                    tbody {
                        @for (name, digest) in digests.iter().take(MOST) {
                            tr {
                                th.wrap scope="row" {
                                    @match link(name) {
                                        Some(address) => a href=(address) { (name) },
                                        None => (name),
                                    }
                                }
                                td.left { code title=(digest) { (shortened(digest)) } }
                            }
                        }
                    }
                }
            }))
            @if digests.len() > MOST {
                p.lead { (count((digests.len() - MOST) as u64)) " more are in the manifest." }
            }
        }
    }
}

fn shortened(digest: &str) -> String {
    digest.chars().take(16).collect()
}

fn json(value: &Value) -> Markup {
    if value.is_null() {
        return html! { p.lead { "None." } };
    }
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    let long = text.len() > LONGEST;
    if long {
        let end = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    html! {
        pre tabindex="0" { (text) @if long { "…" } }
        @if long { p.lead { "The rest is in the manifest." } }
    }
}
