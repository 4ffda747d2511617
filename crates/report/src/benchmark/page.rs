//! The page of benchmark runs: its sections, in the order a reader asks.

use std::fmt::Write;

use sample::benchmark::scoreboard::{Breakdown, Scoreboard};
use sample::pixels;

use super::gallery::{self, Shown};
use super::questions::{self, Question};
use super::{BenchmarkOptions, BenchmarkRun, ComparedRuns, chart, flips, table};
use crate::Error;
use crate::html::{count, escape, shortened};
use crate::page::document;
use crate::picture::Pictures;

/// Runs of one benchmark's split, by their places in the list of runs.
struct Group {
    benchmark: String,
    split: String,
    places: Vec<usize>,
}

pub(super) fn page(
    runs: &[BenchmarkRun],
    boards: &[Scoreboard],
    compared: &[ComparedRuns],
    options: &BenchmarkOptions,
) -> Result<String, Error> {
    let mut groups: Vec<Group> = Vec::new();
    for (place, run) in runs.iter().enumerate() {
        let (benchmark, split) = (&run.score.benchmark, &run.score.split);
        match groups
            .iter_mut()
            .find(|g| g.benchmark == *benchmark && g.split == *split)
        {
            Some(group) => group.places.push(place),
            None => groups.push(Group {
                benchmark: benchmark.clone(),
                split: split.clone(),
                places: vec![place],
            }),
        }
    }
    let mut sections: Vec<(String, String, String)> = Vec::new();
    let mut left = options.most_bytes;
    for (number, group) in groups.iter().enumerate() {
        let of: Vec<&BenchmarkRun> = group.places.iter().map(|p| &runs[*p]).collect();
        let names = names(&of);
        let title = if groups.len() > 1 {
            format!("{} {}: ", escape(&group.benchmark), escape(&group.split))
        } else {
            String::new()
        };
        let mut add = |id: &str, name: &str, body: String| {
            sections.push((format!("b{number}-{id}"), format!("{title}{name}"), body));
        };
        let board = boards
            .iter()
            .find(|b| b.benchmark == group.benchmark && b.split == group.split);
        add("scores", "Scores", scores(&of, board));
        let breakdowns: Vec<&Breakdown> = of.iter().map(|r| &r.breakdown).collect();
        let mut body = chart::charts(&breakdowns, &names, board);
        body.push_str(&table::groups(&breakdowns, &names));
        add("groups", "By subgroup", body);
        let questions = questions::read(&of)?;
        let mut pictures = Pictures::new(
            |path, _| pixels::read_bytes(std::path::Path::new(path)).ok(),
            options.image_side,
        );
        let mut shown = Shown {
            prefix: format!("b{number}"),
            names: &names,
            on_page: vec![false; questions.len()],
            left,
        };
        let by_kind = gallery::by_kind(&questions, options, &mut shown, &mut pictures)?;
        let all = gallery::all(&questions, &mut shown, &mut pictures)?;
        left = shown.left;
        // The links of flips need to know which questions are on the page.
        let flipped = comparisons(group, compared, &questions, &shown);
        if !flipped.is_empty() {
            add("flips", "Flips", flipped);
        }
        add("gallery", "By kind of error", by_kind);
        add("all", "All questions", all);
        add(
            "provenance",
            "What the scores rest on",
            provenance(&of, &names),
        );
    }
    let sections: Vec<(&str, &str, String)> = sections
        .iter_mut()
        .map(|(id, name, body)| (&**id, &**name, std::mem::take(body)))
        .collect();
    Ok(document(
        "Benchmark runs",
        &lead(runs),
        &tiles(runs),
        &sections,
        env!("CARGO_PKG_VERSION"),
    ))
}

/// What went wrong in each run: nothing on the page comes before it.
fn lead(runs: &[BenchmarkRun]) -> String {
    let lines: Vec<String> = runs
        .iter()
        .map(|run| {
            let score = &run.score;
            format!(
                "<strong>{}</strong> on {} {}: {}.",
                shortened(&score.model, 80),
                escape(&score.benchmark),
                escape(&score.split),
                escape(&score.counts())
            )
        })
        .collect();
    lines.join("<br>")
}

fn tiles(runs: &[BenchmarkRun]) -> String {
    let mut html = String::from("<dl class=\"tiles\">");
    for run in runs {
        let a = run.breakdown.overall;
        let _ = write!(
            html,
            "<div class=\"tile\"><dt>{}, {}</dt><dd class=\"big\">{:.1}%</dd><dd class=\"note\">{} of \
             {} right; 95% interval {:.1} to {:.1}</dd></div>",
            shortened(&run.score.model, 60),
            shortened(&run.score.benchmark, 40),
            100.0 * a.value,
            count(a.correct),
            count(a.total),
            100.0 * a.low,
            100.0 * a.high
        );
    }
    html.push_str("</dl>");
    html
}

/// Models' names; of two runs of one model, with what else differs.
fn names(runs: &[&BenchmarkRun]) -> Vec<String> {
    let full = |run: &BenchmarkRun| {
        format!(
            "{} ({}, {})",
            run.score.model, run.score.extraction, run.score.dialect
        )
    };
    let same = |a: &str, name: &dyn Fn(&BenchmarkRun) -> String| {
        runs.iter().filter(|r| name(r) == a).count() > 1
    };
    let short = |run: &BenchmarkRun| run.score.model.clone();
    runs.iter()
        .map(|run| {
            if !same(&short(run), &short) {
                short(run)
            } else if !same(&full(run), &full) {
                full(run)
            } else {
                format!("{} in {}", full(run), run.folder.display())
            }
        })
        .collect()
}

fn scores(runs: &[&BenchmarkRun], board: Option<&Scoreboard>) -> String {
    let mut html = board.map(table::board).unwrap_or_default();
    for run in runs {
        for remark in run.score.remarks.iter().take(20) {
            let _ = write!(
                html,
                "<p class=\"missing\">{}: {}</p>",
                shortened(&run.score.model, 60),
                shortened(remark, 400)
            );
        }
    }
    if runs.iter().any(|r| !r.score.measures.is_empty()) {
        html.push_str("<div class=\"card\"><table><caption>Other measures</caption><tbody>");
        for run in runs {
            for (name, value) in run.score.measures.iter().take(100) {
                let _ = write!(
                    html,
                    "<tr><th scope=\"row\">{}</th><td class=\"left\">{}</td><td>{value:.4}</td></tr>",
                    shortened(name, 80),
                    shortened(&run.score.model, 60)
                );
            }
        }
        html.push_str("</tbody></table></div>");
    }
    html
}

fn comparisons(
    group: &Group,
    compared: &[ComparedRuns],
    questions: &[Question],
    shown: &Shown<'_>,
) -> String {
    compared
        .iter()
        .filter(|c| group.places.contains(&c.first) && group.places.contains(&c.second))
        .map(|c| flips::card(&c.paired, questions, shown))
        .collect()
}

fn provenance(runs: &[&BenchmarkRun], names: &[String]) -> String {
    let mut html = String::new();
    for (run, name) in runs.iter().zip(names) {
        let score = &run.score;
        let mut rows: Vec<(&str, &str)> = vec![
            ("rules", &score.version),
            ("extraction", &score.extraction),
            ("dialect", &score.dialect),
        ];
        rows.extend(
            score
                .provenance
                .iter()
                .take(100)
                .map(|(k, v)| (k.as_str(), v.as_str())),
        );
        let _ = write!(
            html,
            "<div class=\"card\"><div class=\"scroll\"><table><caption>{}</caption><tbody>",
            shortened(name, 120)
        );
        for (key, value) in rows {
            let _ = write!(
                html,
                "<tr><th scope=\"row\">{}</th><td class=\"left wrap\">{}</td></tr>",
                shortened(key, 60),
                shortened(value, 400)
            );
        }
        html.push_str("</tbody></table></div></div>");
    }
    html
}
