//! The card as a page.

use std::fmt::Write;

use sample::{Answer, Sample, Task, pixels, resolve_image, sha256_hex};

use super::facts::{Facts, Stages};
use super::losses::{Inspected, Losses};
use super::provenance::{PlanRow, Source};
use super::tally::Tally;
use super::{SHOWN, SIDE, histogram, synthesis};
use crate::html::{count, escape, shortened};
use crate::page::{document, missing, shares};
use crate::picture::Pictures;

/// No more of a question or answer is shown, in characters.
const LONGEST: usize = 360;

pub(crate) fn page(facts: &Facts, found: &Stages) -> String {
    let roots = found.pairs();
    // Two stages may have different files of one path: the digest tells them apart.
    let mut pictures = Pictures::new(
        |path, sha256| {
            roots
                .iter()
                .filter_map(|s| resolve_image(&s.folder, &s.manifest.image_roots, path).ok())
                .filter_map(|file| pixels::read_bytes(&file).ok())
                .find(|bytes| sha256_hex(bytes) == sha256)
        },
        SIDE,
    );
    let mut sections = vec![
        ("composition", "What there is", composition(&facts.tally)),
        ("lengths", "Lengths and sizes", lengths(&facts.tally)),
        (
            "examples",
            "Examples",
            examples(&facts.examples, &mut pictures),
        ),
    ];
    if !facts.plan.is_empty() {
        sections.push(("selection", "Selection", plan(&facts.plan)));
    }
    if let Some(found) = &facts.synthesis {
        let made = synthesis::section(found, &mut pictures);
        sections.push(("synthesis", "Synthesis", made));
    }
    sections.push(("left-out", "Left out", losses(&facts.losses)));
    sections.push(("sources", "Sources and licences", sources(&facts.sources)));
    let lead = format!(
        "{} question-answer pairs about {} images, as {} left them; run seed {}. Examples are drawn \
         by the seed, not picked.",
        count(facts.tally.pairs),
        count(facts.tally.images()),
        escape(&facts.pairs_of.join(", ")),
        facts.seed
    );
    let version = env!("CARGO_PKG_VERSION");
    document("Data card", &lead, &tiles(facts), &sections, version)
}

fn tiles(facts: &Facts) -> String {
    let tally = &facts.tally;
    let per_image = tally.pairs as f64 / tally.images().max(1) as f64;
    let rejected: u64 = facts.losses.rejected.iter().map(|r| r.rows).sum();
    let made: u64 = (tally.origins.iter())
        .filter(|(name, _)| *name != "published")
        .map(|(_, n)| n)
        .sum();
    let tiles = [
        (
            "Pairs",
            count(tally.pairs),
            format!("{} made by synthesis", count(made)),
        ),
        (
            "Images",
            count(tally.images()),
            format!("{per_image:.1} pairs each"),
        ),
        (
            "Sources",
            count(tally.sources.len() as u64),
            languages(tally),
        ),
        (
            "Rows rejected",
            count(rejected),
            "over all stages".to_owned(),
        ),
    ];
    let mut html = String::from("<dl class=\"tiles\">");
    for (name, big, note) in tiles {
        let _ = write!(
            html,
            "<div class=\"tile\"><dt>{name}</dt><dd class=\"big\">{big}</dd><dd class=\"note\">{}\
             </dd></div>",
            escape(&note)
        );
    }
    html.push_str("</dl>");
    html
}

fn languages(tally: &Tally) -> String {
    let names: Vec<&str> = tally.languages.keys().map(String::as_str).collect();
    match names.len() {
        0 => "no language".to_owned(),
        1..=4 => format!("in {}", names.join(", ")),
        n => format!("in {n} languages"),
    }
}

fn composition(tally: &Tally) -> String {
    let mut html = String::from("<div class=\"card\"><div class=\"fifths\">");
    for (caption, counts) in tally.shares() {
        let named = counts.iter().map(|(name, n)| (name.clone(), *n)).collect();
        html.push_str(&shares(caption, named));
    }
    html.push_str("</div></div>");
    html
}

fn lengths(tally: &Tally) -> String {
    let mut html = String::from("<div class=\"split\">");
    for (caption, unit, lengths) in tally.lengths() {
        let Some(summary) = histogram::summary(lengths) else {
            continue;
        };
        let _ = write!(
            html,
            "<div class=\"card\"><h3 style=\"margin-top:0\">{caption}</h3>\
             <p class=\"lead\">Mean {:.1}, median {}, 95% at most {}, longest {} {unit}.</p>{}</div>",
            summary.mean,
            count(summary.median.into()),
            count(summary.p95.into()),
            count(summary.longest.into()),
            histogram::chart(lengths, caption, unit)
        );
    }
    html.push_str("</div>");
    html
}

fn examples(examples: &[Sample], pictures: &mut Pictures<'_>) -> String {
    let mut html = String::new();
    for task in Task::ALL {
        let shown: Vec<&Sample> = (examples.iter())
            .filter(|s| s.task == task)
            .take(SHOWN)
            .collect();
        if shown.is_empty() {
            continue;
        }
        let _ = write!(html, "<h3>{}</h3><div class=\"gallery\">", task.name());
        for sample in shown {
            html.push_str(&example(sample, pictures));
        }
        html.push_str("</div>");
    }
    html
}

fn example(sample: &Sample, pictures: &mut Pictures<'_>) -> String {
    let image = &sample.image;
    let mut html = format!(
        "<article class=\"item\"><div class=\"pictures\"><figure>{}</figure></div>\
         <div class=\"body\"><h4>{}{}</h4><p class=\"meta\">{} · {} · {}×{}</p>",
        pictures.element(&image.path, &image.sha256, "the question's image"),
        shortened(&sample.question, LONGEST),
        (sample.unit.as_ref())
            .map(|u| format!(" ({})", shortened(u, 40)))
            .unwrap_or_default(),
        escape(sample.origin.source()),
        match &sample.origin {
            sample::Origin::Source { .. } => "published".to_owned(),
            sample::Origin::Synth { augmentation, .. } => escape(augmentation),
        },
        image.width,
        image.height,
    );
    if !sample.choices.is_empty() {
        html.push_str("<ol>");
        for (i, choice) in sample.choices.iter().enumerate() {
            let letter = Answer::Choice(i).text();
            let _ = write!(html, "<li>({letter}) {}</li>", shortened(choice, LONGEST));
        }
        html.push_str("</ol>");
    }
    let answer = match &sample.answer {
        Answer::Choice(_) => format!("{} ({})", sample.answer.text(), sample.answer_value()),
        other => other.text(),
    };
    let _ = write!(
        html,
        "<dl><dt>answer</dt><dd>{}</dd></dl></div></article>",
        shortened(&answer, LONGEST)
    );
    html
}

/// A table that scrolls by itself where the screen is narrow. Heads and cells are HTML; the first of
/// each row is its name, columns whose head begins with `<` are words, and with `<<` sentences, which
/// are broken into lines.
pub(crate) fn table(caption: &str, heads: &[&str], rows: &[Vec<String>]) -> String {
    let text = |column: usize| column == 0 || heads[column].starts_with('<');
    let mut html = format!(
        "<div class=\"card\"><div class=\"scroll\" role=\"region\" tabindex=\"0\" \
         aria-label=\"{caption}\"><table><caption>{caption}</caption><thead><tr>"
    );
    for (i, head) in heads.iter().enumerate() {
        let class = if text(i) { " class=\"left\"" } else { "" };
        let _ = write!(
            html,
            "<th scope=\"col\"{class}>{}</th>",
            head.trim_start_matches('<')
        );
    }
    html.push_str("</tr></thead><tbody>");
    for row in rows {
        html.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            let _ = match i {
                0 => write!(html, "<th scope=\"row\">{cell}</th>"),
                _ if heads[i].starts_with("<<") => {
                    write!(html, "<td class=\"left wrap\">{cell}</td>")
                }
                _ if text(i) => write!(html, "<td class=\"left\">{cell}</td>"),
                _ => write!(html, "<td>{cell}</td>"),
            };
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div></div>");
    html
}

fn plan(rows: &[PlanRow]) -> String {
    let taken: u64 = rows.iter().map(|r| r.taken).sum();
    let available: u64 = rows.iter().map(|r| r.available).sum();
    let cells: Vec<Vec<String>> = (rows.iter())
        .map(|row| {
            vec![
                super::markdown::level(row.level),
                escape(&row.source),
                count(row.available),
                count(row.quota),
                count(row.taken),
            ]
        })
        .collect();
    format!(
        "<p class=\"lead\">{} of {} images were taken: by level of complexity, and within a level the \
         same quota from each source.</p><div class=\"card\">{}</div>{}",
        count(taken),
        count(available),
        crate::flows::sankey(rows),
        table(
            "Images by level and source",
            &["level", "<source", "available", "quota", "taken"],
            &cells
        )
    )
}

fn losses(losses: &Losses) -> String {
    let mut html = match &losses.inspected {
        None => missing(
            "No inspection in this run: images were not compared with each other, nor with any \
             benchmark.",
        ),
        Some(inspected) => inspection(inspected),
    };
    if losses.rejected.is_empty() {
        html.push_str("<p class=\"lead\">No row was rejected.</p>");
        return html;
    }
    let cells: Vec<Vec<String>> = (losses.rejected.iter())
        .map(|r| {
            vec![
                escape(&r.stage),
                escape(&r.reason),
                count(r.rows),
                format!(
                    "{} {}: {}",
                    escape(&r.example.source),
                    shortened(&r.example.row, 60),
                    shortened(&r.example.detail, 160)
                ),
            ]
        })
        .collect();
    let heads = ["stage", "<reason", "rows", "<<example"];
    html.push_str(&table("Rejected rows by reason", &heads, &cells));
    html
}

fn inspection(inspected: &Inspected) -> String {
    let mut html = format!(
        "<p class=\"lead\">Of {} images, {} have the bytes of an earlier one, and {} pairs are nearly \
         the same.</p>",
        count(inspected.images),
        count(inspected.copies),
        count(inspected.near_pairs)
    );
    if !inspected.faults.is_empty() {
        let faults: Vec<String> = (inspected.faults.iter())
            .map(|(reason, n)| format!("{} {}", escape(reason), count(*n)))
            .collect();
        let _ = write!(
            html,
            "<p class=\"lead\">Images that cannot be used: {}.</p>",
            faults.join(", ")
        );
    }
    let Some(benchmarks) = &inspected.benchmarks else {
        html.push_str(&missing(
            "No benchmark was given: whether these pairs overlap with one is not known.",
        ));
        return html;
    };
    if benchmarks.is_empty() {
        html.push_str("<p class=\"lead\">Nothing overlaps with the benchmarks given.</p>");
        return html;
    }
    let cells: Vec<Vec<String>> = (benchmarks.iter())
        .map(|(name, o)| {
            let mut row = vec![escape(name)];
            row.extend([o.exact_images, o.near_images, o.questions, o.listed_only].map(count));
            row
        })
        .collect();
    let heads = [
        "benchmark",
        "same images",
        "nearly the same",
        "questions",
        "questions listed only",
    ];
    html.push_str(&table("Overlap with benchmarks", &heads, &cells));
    html
}

fn sources(sources: &[Source]) -> String {
    let number = |n: Option<u64>| n.map_or_else(|| "–".to_owned(), count);
    let cells: Vec<Vec<String>> = (sources.iter())
        .map(|s| {
            vec![
                escape(&s.title),
                number(s.expected),
                number(s.found),
                count(s.imported),
                count(s.rejected),
                count(s.pairs),
                count(s.images),
                escape(s.licence.as_deref().unwrap_or("not stated")),
            ]
        })
        .collect();
    let heads = [
        "source",
        "published",
        "found",
        "imported",
        "rejected",
        "pairs here",
        "images here",
        "<<licence",
    ];
    let mut html = table(
        "Questions by source, from its files to this run",
        &heads,
        &cells,
    );
    html.push_str("<div class=\"card\"><dl class=\"cited\">");
    for source in sources {
        let _ = write!(
            html,
            "<dt><strong>{}</strong></dt><dd>{}{}</dd>",
            escape(&source.title),
            shortened(
                source.citation.as_deref().unwrap_or("No citation stated."),
                1_000
            ),
            (source.url.as_deref())
                .map(|url| format!(" <code>{}</code>", escape(url)))
                .unwrap_or_default()
        );
    }
    html.push_str("</dl></div>");
    html
}
