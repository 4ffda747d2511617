//! Where a pair came from, step by step: the row of a data set at the root, then each pair that was made of
//! it with the request that made it, down to the one that is looked at.

use std::sync::Arc;

use maud::{Markup, html};
use sample::{MadePair, Manifest, Origin, Sample};

use super::index::Index;
use super::ledger::{self, Request};
use super::listing::Kind;
use super::opened::Halt;
use super::provenance::Contaminated;
use super::{Opening, PATIENCE, shortened};
use crate::Studio;
use crate::runs::segment;

/// Pairs are made of pairs no deeper than this; more is a circle.
const DEEPEST: usize = 16;
/// Characters of a text in the tree.
const SHOWN: usize = 400;
/// Characters of a reply.
const REPLY: usize = 20_000;

/// A step of a lineage.
#[derive(Debug)]
pub(super) struct Step {
    /// The pair's name.
    pub id: String,
    /// What it asks.
    pub question: String,
    /// Its answer.
    pub answer: String,
    /// How it was made, but for the root.
    pub made: Option<Made>,
    /// Whether a page can be made of it.
    pub listed: bool,
}

/// How a pair was made.
#[derive(Debug)]
pub(super) struct Made {
    /// `askimg`, ...
    pub kind: String,
    /// The teacher's name, where the sample says.
    pub teacher: Option<String>,
    /// SHA-256 of the request.
    pub digest: String,
    /// What the ledger says, or why it does not.
    pub request: Result<Option<Request>, String>,
    /// What was found out about it: votes, verdict.
    pub pair: Option<MadePair>,
}

/// A lineage, and what else is known of its end.
#[derive(Debug)]
pub(super) struct Lineage {
    /// The source data set.
    pub source: String,
    /// What its import says of it: title, licence, address.
    pub about: Vec<(&'static str, String)>,
    /// The root's row in the data set.
    pub row: Option<String>,
    /// From the root to the pair that is looked at; the root may not be known.
    pub steps: Vec<Step>,
    /// Where the pair was rejected: stage, reason, detail.
    pub rejected: Vec<[String; 3]>,
}

/// Finds the lineage of a sample, on a thread that may wait.
pub(super) fn of_sample(
    studio: &Studio,
    opening: &Opening,
    index: &Arc<Index>,
    sample: &Sample,
) -> Result<Lineage, Halt> {
    let made = made(studio, opening, sample)?;
    let last = Step {
        id: sample.id.clone(),
        question: sample.question.clone(),
        answer: sample.answer_value(),
        made,
        listed: true,
    };
    let parent = match &sample.origin {
        Origin::Synth { parent, .. } => Some(parent.clone()),
        Origin::Source { .. } => None,
    };
    let row = match &sample.origin {
        Origin::Source { row, .. } => Some(row.clone()),
        Origin::Synth { .. } => None,
    };
    climb(
        studio,
        opening,
        index,
        sample.origin.source(),
        &sample.image.path,
        last,
        parent,
        row,
    )
}

/// Finds the lineage of a pair that may not have become a sample.
pub(super) fn of_pair(
    studio: &Studio,
    opening: &Opening,
    index: &Arc<Index>,
    pair: MadePair,
) -> Result<Lineage, Halt> {
    let (source, parent, image) = (pair.source.clone(), pair.parent.clone(), pair.image.clone());
    let last = Step {
        id: pair.id.clone(),
        question: pair.question.clone(),
        answer: pair.answer.clone(),
        made: Some(Made {
            kind: pair.kind.clone(),
            teacher: None,
            request: ledger::request(&opening.run.path, &pair.digest),
            digest: pair.digest.clone(),
            pair: Some(pair),
        }),
        listed: true,
    };
    climb(
        studio,
        opening,
        index,
        &source,
        &image,
        last,
        Some(parent),
        None,
    )
}

#[allow(clippy::too_many_arguments)]
fn climb(
    studio: &Studio,
    opening: &Opening,
    index: &Arc<Index>,
    source: &str,
    image: &str,
    last: Step,
    mut parent: Option<String>,
    mut row: Option<String>,
) -> Result<Lineage, Halt> {
    let mut rejected = rejects(studio, opening, &last.id)?;
    rejected.extend(rejects(studio, opening, image)?);
    let mut steps = vec![last];
    while let Some(id) = parent.take() {
        if steps.len() == DEEPEST || steps.iter().any(|step| step.id == id) {
            break;
        }
        let step = match find(studio, opening, Some(index), &id)? {
            Some((index, at)) if index.listed.kind == Kind::Samples => {
                let sample = index.sample(at)?;
                match &sample.origin {
                    Origin::Synth { parent: above, .. } => parent = Some(above.clone()),
                    Origin::Source { row: own, .. } => row = Some(own.clone()),
                }
                Step {
                    made: made(studio, opening, &sample)?,
                    answer: sample.answer_value(),
                    question: sample.question,
                    id,
                    listed: true,
                }
            }
            // What the pair's own row says of it.
            _ => {
                let of = steps
                    .last()
                    .and_then(|step| step.made.as_ref()?.pair.as_ref());
                let (question, answer) = of
                    .map(|pair| (pair.parent_question.clone(), pair.parent_answer.clone()))
                    .unwrap_or_default();
                Step {
                    id,
                    question,
                    answer,
                    made: None,
                    listed: false,
                }
            }
        };
        steps.push(step);
    }
    steps.reverse();
    Ok(Lineage {
        source: source.to_owned(),
        about: about(opening, source),
        row,
        steps,
        rejected,
    })
}

/// The row of that name: in this table, else in any table of samples, else among the made pairs.
pub(super) fn find(
    studio: &Studio,
    opening: &Opening,
    first: Option<&Arc<Index>>,
    id: &str,
) -> Result<Option<(Arc<Index>, usize)>, Halt> {
    if let Some(index) = first
        && let Some(row) = index.named(id).first().copied()
    {
        return Ok(Some((Arc::clone(index), row)));
    }
    for kind in [Kind::Samples, Kind::Pairs] {
        // The later the stage, the more is known; and of an import only the source's own can have it.
        for listed in opening
            .tables
            .iter()
            .rev()
            .filter(|table| table.kind == kind)
        {
            let source = id.split_once(':').map_or("", |(source, _)| source);
            let import = listed.stage.name.strip_prefix("import/");
            let elsewhere = import.is_some_and(|import| import != source);
            if elsewhere || first.is_some_and(|index| index.listed.name == listed.name) {
                continue;
            }
            let index = studio.index(opening, listed, PATIENCE)?;
            if let Some(row) = index.named(id).first().copied() {
                return Ok(Some((index, row)));
            }
        }
    }
    Ok(None)
}

fn made(studio: &Studio, opening: &Opening, sample: &Sample) -> Result<Option<Made>, Halt> {
    let Origin::Synth {
        augmentation,
        teacher,
        prompt_digest,
        ..
    } = &sample.origin
    else {
        return Ok(None);
    };
    let mut pair = None;
    for listed in opening
        .tables
        .iter()
        .filter(|table| table.kind == Kind::Pairs)
    {
        let index = studio.index(opening, listed, PATIENCE)?;
        if let Some(row) = index.named(&sample.id).first().copied() {
            pair = Some(index.pair(row)?);
        }
    }
    Ok(Some(Made {
        kind: augmentation.clone(),
        teacher: Some(teacher.clone()),
        digest: prompt_digest.clone(),
        request: ledger::request(&opening.run.path, prompt_digest),
        pair,
    }))
}

/// Where something of that name was rejected after its import.
fn rejects(studio: &Studio, opening: &Opening, name: &str) -> Result<Vec<[String; 3]>, Halt> {
    let mut found = Vec::new();
    let later = |table: &&super::Listed| {
        table.kind == Kind::Rejects && !table.stage.name.starts_with("import")
    };
    for listed in opening.tables.iter().filter(later) {
        let index = studio.index(opening, listed, PATIENCE)?;
        for row in index.named(name).into_iter().take(10) {
            let reject = index.reject(row)?;
            found.push([listed.stage.name.clone(), reject.reason, reject.detail]);
        }
    }
    Ok(found)
}

/// What the import of a source says of it.
fn about(opening: &Opening, source: &str) -> Vec<(&'static str, String)> {
    let name = format!("import/{source}");
    let stage = opening.stages.iter().find(|stage| stage.name == name);
    let Some(manifest) = stage.and_then(|stage| Manifest::read(&stage.path).ok()) else {
        return Vec::new();
    };
    ["title", "licence", "url", "citation"]
        .into_iter()
        .filter_map(|key| {
            let text = manifest.results.get(key)?.as_str()?.trim();
            (!text.is_empty()).then(|| (key, text.to_owned()))
        })
        .collect()
}

/// The tree.
pub(super) fn tree(opening: &Opening, lineage: &Lineage) -> Markup {
    html! {
        ul.tree {
            li {
                div.node {
                    span.badge.unclear { "data set" } " " strong { (lineage.source) }
                    @for (key, text) in &lineage.about {
                        @if *key != "citation" { span.fact { (key) ": " (shortened(text, 160)) } }
                    }
                    @if let Some(row) = &lineage.row { span.fact { "row " code { (shortened(row, 160)) } } }
                }
                (steps(opening, &lineage.steps, &lineage.rejected))
            }
        }
    }
}

fn steps(opening: &Opening, left: &[Step], rejected: &[[String; 3]]) -> Markup {
    let Some((step, below)) = left.split_first() else {
        return html! {};
    };
    let own = html! {
        li {
            div.node aria-current=[below.is_empty().then_some("true")] {
                span.badge.unclear { @if step.made.is_some() { "made pair" } @else { "imported" } } " "
                @if below.is_empty() || !step.listed {
                    code { (step.id) }
                } @else {
                    a href={ "/data/" (opening.run.segment()) "/sample/" (segment(&step.id)) } { code { (step.id) } }
                }
                @if !step.question.is_empty() {
                    p.math-text { (shortened(&step.question, SHOWN)) " → " strong { (shortened(&step.answer, 120)) } }
                } @else if !step.listed {
                    p.lead { "It is in no table of this run." }
                }
                @if let Some(pair) = step.made.as_ref().and_then(|made| made.pair.as_ref()) { (votes(pair)) }
                @if below.is_empty() {
                    @for [stage, reason, detail] in rejected {
                        p { span.badge.loses { "rejected by " (stage) } " " (reason.replace('_', " "))
                            ": " (shortened(detail, SHOWN)) }
                    }
                }
            }
            (steps(opening, below, rejected))
        }
    };
    html! {
        ul {
            @match &step.made {
                None => (own),
                Some(made) => li { (request(made)) ul { (own) } },
            }
        }
    }
}

fn request(made: &Made) -> Markup {
    html! {
        div.node {
            span.badge.unclear { "request" } " " strong { (made.kind) }
            @if let Some(teacher) = &made.teacher { span.fact { "teacher " (teacher) } }
            span.fact title=(made.digest) { "digest " code { (shortened(&made.digest, 12)) } }
            @match &made.request {
                Err(why) => p.wrong { "The ledger cannot be read: " (why) },
                Ok(None) => span.fact { "not on the run's ledger" },
                Ok(Some(request)) => (asked(request)),
            }
        }
    }
}

fn asked(request: &Request) -> Markup {
    html! {
        span.fact { "ledger row " (request.row) }
        span.fact { (request.purpose) " to " (request.model) }
        span.fact { (request.state) " after " (request.tries) @if request.tries == 1 { " try" } @else { " tries" } }
        span.fact {
            "cost " (format!("{:.4}", request.cost))
            @if request.reserved > 0.0 { ", at risk " (format!("{:.4}", request.reserved)) }
        }
        @if let Some((prompt, completion)) = request.tokens {
            span.fact { (prompt) " tokens in, " (completion) " out" }
        }
        @if let Some(latency) = request.latency { span.fact { (format!("{latency:.1}")) " s" } }
        @if let Some(refusal) = &request.refusal { p.wrong { (shortened(refusal, SHOWN)) } }
        @if let Some(reply) = &request.reply {
            details { summary { "Reply" } div.reply { (shortened(reply, REPLY)) } }
        }
        @if request.verdicts.len() > 1 {
            details {
                summary { "The " (request.verdicts.len()) " pairs of this reply" }
                ul {
                    @for [id, verdict, reason, detail] in &request.verdicts {
                        li { code { (id) } " " (verdict) " " (reason) @if !detail.is_empty() { ": " (shortened(detail, 200)) } }
                    }
                }
            }
        }
    }
}

fn votes(pair: &MadePair) -> Markup {
    html! {
        p {
            @match &pair.reason {
                None => span.badge.beats { (pair.verdict) },
                Some(reason) => span.badge.loses { (reason.replace('_', " ")) },
            }
            @if let Some(detail) = &pair.detail { " " (shortened(detail, SHOWN)) }
        }
        @if let Some(given) = &pair.given {
            p { "The teacher said " strong { (shortened(given, 120)) } "." }
        }
        @if !pair.votes.is_empty() {
            p { "Blind answers: "
                @for (at, vote) in pair.votes.iter().enumerate() {
                    @if at > 0 { ", " }
                    span.vote { (shortened(vote, 80)) }
                }
            }
        }
    }
}

/// What benchmarks have of it.
pub(super) fn benchmarks(images: &[Contaminated], questions: &[Contaminated]) -> Markup {
    html! {
        @for found in images {
            li { "Its image is " (found.how) " that of " strong { (found.benchmark) } ", " code { (found.item) } }
        }
        @for found in questions {
            li.math-text {
                "It asks what " strong { (found.benchmark) } ", " code { (found.item) } " asks: "
                (shortened(&found.how, SHOWN))
            }
        }
    }
}
