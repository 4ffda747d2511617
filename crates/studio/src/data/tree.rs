//! A lineage as a tree: each step below what it was made from.

use maud::{Markup, html};
use sample::MadePair;

use super::ledger::Request;
use super::lineage::{Lineage, Made, Step};
use super::provenance::Contaminated;
use super::{Opening, shortened};
use crate::runs::segment;

/// Characters of a text in the tree.
const SHOWN: usize = 400;
/// Characters of a reply.
const REPLY: usize = 20_000;

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
