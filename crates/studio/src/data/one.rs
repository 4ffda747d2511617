//! One sample: its image, question and answer, everything that is known of it, and where it came from.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use maud::{Markup, html};
use sample::{Answer, MadePair, Sample, pixels};

use super::address::Asked;
use super::browse::List;
use super::index::Index;
use super::lineage::{self, Lineage};
use super::listing::Kind;
use super::opened::Halt;
use super::provenance::{Digest, digest, hex};
use super::{Opening, PATIENCE, blocking, count, page_or_wait, shortened, style, tree};
use crate::runs::segment;
use crate::shell::{Page, Place};
use crate::{Error, Studio};

/// Other samples of the same image that are listed.
const SIBLINGS: usize = 30;
/// Near duplicates that are shown.
const NEAR: usize = 12;
/// Characters of a text that is shown in full.
const SHOWN: usize = 20_000;

/// A sample's page.
pub(super) async fn page(
    State(studio): State<Arc<Studio>>,
    Path((run, id)): Path<(String, String)>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Response {
    page_or_wait(blocking(move || show(&studio, &run, &id, &pairs)).await)
}

fn show(
    studio: &Studio,
    run: &str,
    id: &str,
    pairs: &[(String, String)],
) -> Result<Response, Halt> {
    let list = List::open(studio, run, pairs, PATIENCE)?;
    // In the list that it was opened from, else wherever it is.
    let found = lineage::find(studio, &list.opening, Some(&list.index), id)?;
    let (index, row) = found.ok_or_else(|| {
        Error::NotFound(format!(
            "no table of the run {run} has a sample {:?}",
            shortened(id, 200)
        ))
    })?;
    let in_list = Arc::ptr_eq(&index, &list.index);
    let opening = &list.opening;
    let body = match index.listed.kind {
        Kind::Samples => {
            let sample = index.sample(row)?;
            let lineage = lineage::of_sample(studio, opening, &index, &sample)?;
            html! {
                (sample_part(opening, &index, row, &sample))
                (lineage_part(opening, &lineage))
                (image_part(&list, &index, row))
            }
        }
        Kind::Pairs => {
            let pair = index.pair(row)?;
            let lineage = lineage::of_pair(studio, opening, &index, pair.clone())?;
            html! {
                (pair_part(opening, &pair))
                (lineage_part(opening, &lineage))
                (image_part(&list, &index, row))
            }
        }
        Kind::Rejects => {
            let reject = index.reject(row)?;
            html! { p { (reject.reason) ": " (shortened(&reject.detail, SHOWN)) } }
        }
    };
    let page = Page {
        title: "Sample",
        place: Place::Data,
        run: Some(&opening.run),
        scripts: &["zoom.js", "math.js"],
        body: html! {
            (style())
            (pager(&list, in_list.then_some(row)))
            (body)
        },
    };
    Ok(page.into_response())
}

/// The way back to the list, and to the samples beside it there.
fn pager(list: &List, row: Option<usize>) -> Markup {
    let query = list.asked.query();
    let address = format!("/data/{}", list.opening.run.segment());
    let rows = &list.matches.rows;
    let place = row.and_then(|row| rows.iter().position(|other| *other as usize == row));
    let beside = |place: Option<usize>| {
        let row = *rows.get(place?)? as usize;
        let id = list.index.line(row).id;
        Some(format!("{address}/sample/{}{query}", segment(id)))
    };
    let before = beside(place.and_then(|place| place.checked_sub(1)));
    let after = beside(place.map(|place| place + 1));
    html! {
        nav.pager aria-label="Within the list" {
            a href={ (address) (query) } { "To the list" }
            @if let Some(before) = before { a rel="prev" href=(before) { "← Previous" } }
            @if let Some(place) = place {
                span.n { (count(place as u64 + 1)) " of " (count(rows.len() as u64)) }
            }
            @if let Some(after) = after { a rel="next" href=(after) { "Next →" } }
        }
    }
}

/// The image with ways to look closer, or what is wrong with it.
fn viewer(opening: &Opening, sha256: &str, path: &str) -> Markup {
    let trouble = match digest(sha256) {
        None => Err("its digest is no SHA-256".to_owned()),
        Some(digest) => opening.known.bytes(&digest).and_then(|bytes| {
            let size = pixels::size(&bytes).map_err(|fault| fault.to_string())?;
            Ok((digest, size))
        }),
    };
    match trouble {
        Err(why) => html! { p.missing { "The image " code { (path) } " cannot be shown: " (why) } },
        Ok((digest, (width, height))) => html! {
            figure.viewer data-zoom="" {
                div.stage tabindex="0" role="group" aria-label="The image; plus and minus zoom, arrows move" {
                    img src=(address(opening, &digest, 2048)) width=(width) height=(height)
                        alt="The image that the question is about" draggable="false";
                }
                figcaption { code { (path) } span.fact { (width) " × " (height) } }
            }
        },
    }
}

fn address(opening: &Opening, digest: &Digest, side: u32) -> String {
    format!(
        "/data/{}/image/{}?side={side}",
        opening.run.segment(),
        hex(digest)
    )
}

fn sample_part(opening: &Opening, index: &Index, row: usize, sample: &Sample) -> Markup {
    let facts =
        digest(&sample.image.sha256).and_then(|digest| opening.known.image(&digest).copied());
    let right = match sample.answer {
        Answer::Choice(right) => Some(right),
        _ => None,
    };
    html! {
        div.sample {
            (viewer(opening, &sample.image.sha256, &sample.image.path))
            section.about aria-label="Question and answer" {
                h2.math-text { (shortened(&sample.question, SHOWN)) }
                @if !sample.choices.is_empty() {
                    ol.choices {
                        @for (at, choice) in sample.choices.iter().enumerate() {
                            li.math-text.is-right[right == Some(at)] {
                                "(" (Answer::Choice(at).text()) ") " (shortened(choice, SHOWN))
                                @if right == Some(at) { " " span.right { "✓ the answer" } }
                            }
                        }
                    }
                }
                p { "Answer: " strong.math-text { (shortened(&sample.answer.text(), SHOWN)) }
                    @if let Some(unit) = &sample.unit { " " (shortened(unit, 80)) }
                    span.fact { (sample.answer.kind()) } }
                @if let Some(rationale) = &sample.rationale {
                    details open {
                        summary { "How it comes about" }
                        p.rationale.math-text { (shortened(rationale, SHOWN)) }
                    }
                }
                dl.facts {
                    dt { "Name" } dd { code { (sample.id) } }
                    dt { "Table" } dd { code { (index.listed.name) } ", row " (count(row as u64 + 1)) }
                    dt { "Task" } dd { (sample.task.name()) }
                    dt { "Source" } dd { (sample.origin.source()) }
                    dt { "Kind" } dd { (sample.origin.kind()) }
                    dt { "Language" } dd { (sample.language) }
                    @if let Some(template) = &sample.template { dt { "Form" } dd { (shortened(template, 200)) } }
                    @if let Some(facts) = facts {
                        @if let Some(level) = facts.level { dt { "Complexity" } dd { "level " (level) " of 0 to 3" } }
                        @if let Some(clarity) = facts.clarity_word() { dt { "Clarity" } dd { (clarity) } }
                        dt { "Selection" }
                        dd {
                            @if facts.held_out { "its image is held out" }
                            @else if facts.selected { "its image is selected" }
                            @else { "its image is not selected" }
                        }
                    }
                    dt { "Digest" } dd { code { (sample.image.sha256) } }
                }
            }
        }
    }
}

fn pair_part(opening: &Opening, pair: &MadePair) -> Markup {
    html! {
        div.sample {
            (viewer(opening, &pair.image_sha256, &pair.image))
            section.about aria-label="Question and answer" {
                h2.math-text { (shortened(&pair.question, SHOWN)) }
                @if !pair.choices.is_empty() {
                    ol.choices {
                        @for (at, choice) in pair.choices.iter().enumerate() {
                            li.math-text { "(" (Answer::Choice(at).text()) ") " (shortened(choice, SHOWN)) }
                        }
                    }
                }
                p { "Answer: " strong.math-text { (shortened(&pair.answer, SHOWN)) } }
                dl.facts {
                    dt { "Name" } dd { code { (pair.id) } }
                    dt { "Kind" } dd { (pair.kind) }
                    dt { "Source" } dd { (pair.source) }
                    dt { "Task" } dd { (pair.task) }
                    dt { "Verdict" } dd { (pair.verdict)
                        @if let Some(reason) = &pair.reason { ": " (reason.replace('_', " ")) } }
                }
            }
        }
    }
}

fn lineage_part(opening: &Opening, lineage: &Lineage) -> Markup {
    html! {
        section aria-labelledby="lineage" {
            h2 #lineage { "Where it came from" }
            (tree::tree(opening, lineage))
        }
    }
}

/// What else shows this image, or nearly.
fn image_part(list: &List, index: &Index, row: usize) -> Markup {
    let opening = &list.opening;
    let (siblings, all) = index.sharing_image(row, SIBLINGS);
    let image = index.image(row);
    let near = image
        .as_ref()
        .map_or(&[][..], |image| opening.known.near(image));
    let id = index.line(row).id;
    let (images, questions) = opening.known.benchmarks(image.as_ref(), id);
    let own = Asked {
        table: Some(index.listed.name.clone()),
        ..Asked::default()
    }
    .query();
    html! {
        @if !images.is_empty() || !questions.is_empty() {
            section { h2 { "In benchmarks" } ul { (tree::benchmarks(images, questions)) } }
        }
        @if !near.is_empty() {
            section {
                h2 { "Nearly the same image" }
                ul.near {
                    @for other in near.iter().take(NEAR) {
                        li {
                            a href=(address(opening, &other.other, 2048)) {
                                img src=(address(opening, &other.other, 160)) loading="lazy" width="160" height="120"
                                    alt={ "Image " (hex(&other.other).get(..12).unwrap_or_default()) };
                            }
                            p { (other.hamming) " bits and " (format!("{:.1}", other.distance)) " of 255 apart" }
                            @if opening.known.image(&other.other).is_some_and(|facts| facts.held_out) {
                                p { span.badge.unclear { "held out" } }
                            }
                        }
                    }
                }
                @if near.len() > NEAR { p { "and " (near.len() - NEAR) " more" } }
            }
        }
        @if all > 0 {
            section {
                h2 { "Others about this image (" (count(all as u64)) ")" }
                ul.siblings {
                    @for other in siblings {
                        @let line = index.line(other);
                        li.math-text {
                            a href={ "/data/" (opening.run.segment()) "/sample/" (segment(line.id)) (own) } {
                                (shortened(line.text, 200))
                            }
                            " → " (shortened(line.answer, 60))
                        }
                    }
                }
                @if all > SIBLINGS { p { "and " (count((all - SIBLINGS) as u64)) " more" } }
            }
        }
    }
}
