//! The card as Markdown, for a repository or a data set's page.

use std::fmt::Write;

use sample::Answer;

use super::facts::Facts;
use super::losses::Losses;
use super::provenance::Source;
use super::{histogram, synthesis};
use crate::markdown::plain;

/// `level 2`, or that there is none.
pub(crate) fn level(level: Option<u64>) -> String {
    level.map_or_else(|| "not graded".to_owned(), |l| format!("level {l}"))
}

pub(crate) fn text(facts: &Facts) -> String {
    let tally = &facts.tally;
    let mut text = format!(
        "# Data card\n\n{} question-answer pairs about {} images, as {} left them; run seed {}.\n",
        tally.pairs,
        tally.images(),
        plain(&facts.pairs_of.join(", ")),
        facts.seed
    );
    for (caption, counts) in tally.shares() {
        let rows = counts
            .iter()
            .map(|(name, n)| vec![name.clone(), n.to_string(), share(*n, tally.pairs)]);
        table(&mut text, caption, &["", "pairs", "%"], rows);
    }
    let rows = tally.lengths().into_iter().filter_map(|(name, unit, l)| {
        let s = histogram::summary(l)?;
        Some(vec![
            format!("{name}, {unit}"),
            format!("{:.1}", s.mean),
            s.median.to_string(),
            s.p95.to_string(),
            s.longest.to_string(),
        ])
    });
    let heads = ["", "mean", "median", "95% at most", "longest"];
    table(&mut text, "Lengths and sizes", &heads, rows);
    examples(&mut text, facts);
    if !facts.plan.is_empty() {
        let rows = facts.plan.iter().map(|row| {
            let mut cells = vec![level(row.level), row.source.clone()];
            cells.extend([row.available, row.quota, row.taken].map(|n| n.to_string()));
            cells
        });
        let heads = ["level", "source", "available", "quota", "taken"];
        table(&mut text, "Selection", &heads, rows);
    }
    if let Some(found) = &facts.synthesis {
        let (kinds, sources) = found.lines();
        table(&mut text, "Synthesis", &synthesis::HEADS, kinds.into_iter());
        let heads = &synthesis::HEADS;
        table(&mut text, "Synthesis by source", heads, sources.into_iter());
        let heads = ["reason", "AskImg", "CompQ", "RephQ", "SimpQ"];
        let reasons = found.reasons().into_iter();
        table(&mut text, "Made pairs that went", &heads, reasons);
    }
    losses(&mut text, &facts.losses);
    sources(&mut text, &facts.sources);
    text
}

fn share(n: u64, of: u64) -> String {
    format!("{:.1}", 100.0 * n as f64 / of.max(1) as f64)
}

/// A heading and a table below it; cells are text.
fn table(
    text: &mut String,
    heading: &str,
    heads: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) {
    let _ = write!(text, "\n## {heading}\n\n| {} |\n|", heads.join(" | "));
    for (i, _) in heads.iter().enumerate() {
        text.push_str(if i == 0 { " --- |" } else { " ---: |" });
    }
    text.push('\n');
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| plain(cell)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
}

fn examples(text: &mut String, facts: &Facts) {
    text.push_str("\n## Examples\n\nDrawn by the seed, not picked.\n\n");
    for sample in &facts.examples {
        let choices: Vec<String> = (sample.choices.iter().enumerate())
            .map(|(i, choice)| format!("({}) {choice}", Answer::Choice(i).text()))
            .collect();
        let _ = writeln!(
            text,
            "- {} · {} · {} {} → {}",
            sample.task.name(),
            plain(&sample.image.path),
            plain(&sample.question),
            plain(&choices.join(" ")),
            plain(&sample.answer.text())
        );
    }
}

fn losses(text: &mut String, losses: &Losses) {
    let rows = losses.rejected.iter().map(|r| {
        let example = format!(
            "{} {}: {}",
            r.example.source, r.example.row, r.example.detail
        );
        vec![
            r.stage.clone(),
            r.reason.clone(),
            r.rows.to_string(),
            example,
        ]
    });
    let heads = ["stage", "reason", "rows", "example"];
    table(text, "Rejected rows", &heads, rows);
    let Some(inspected) = &losses.inspected else {
        text.push_str(
            "\nNo inspection in this run: images were not compared with each other, nor with any \
             benchmark.\n",
        );
        return;
    };
    let _ = writeln!(
        text,
        "\nOf {} images, {} have the bytes of an earlier one, and {} pairs are nearly the same.",
        inspected.images, inspected.copies, inspected.near_pairs
    );
    match &inspected.benchmarks {
        None => text.push_str(
            "\nNo benchmark was given: whether these pairs overlap with one is not known.\n",
        ),
        Some(benchmarks) => {
            let rows = benchmarks.iter().map(|(name, o)| {
                let mut cells = vec![name.clone()];
                let counts = [o.exact_images, o.near_images, o.questions, o.listed_only];
                cells.extend(counts.map(|n| n.to_string()));
                cells
            });
            let heads = [
                "benchmark",
                "same images",
                "nearly the same images",
                "questions",
                "questions listed only",
            ];
            table(text, "Overlap with benchmarks", &heads, rows);
        }
    }
}

fn sources(text: &mut String, sources: &[Source]) {
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let rows = sources.iter().map(|s| {
        vec![
            s.title.clone(),
            number(s.expected),
            number(s.found),
            s.imported.to_string(),
            s.rejected.to_string(),
            s.pairs.to_string(),
            s.images.to_string(),
            s.licence.clone().unwrap_or_else(|| "not stated".to_owned()),
        ]
    });
    let heads = [
        "source",
        "published",
        "found",
        "imported",
        "rejected",
        "pairs here",
        "images here",
        "licence",
    ];
    table(text, "Sources and licences", &heads, rows);
    text.push('\n');
    for source in sources {
        let citation = source.citation.as_deref().unwrap_or("No citation stated.");
        let url = source.url.as_deref().unwrap_or_default();
        let _ = writeln!(
            text,
            "- {}: {} {}",
            plain(&source.title),
            plain(citation),
            plain(url)
        );
    }
}
