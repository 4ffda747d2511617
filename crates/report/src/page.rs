//! The page: its sections, in the order a reader asks.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::flow::{self, FlowPart};
use crate::html::{count, escape, shortened};
use crate::picture::Pictures;
use crate::stages::Run;
use crate::{Config, Error, chart, examples, scores};

/// Nothing but its own styles and the images inside it: no script, no request.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
/// No more rows in a table of shares; the rest is summed up.
const SHARES: usize = 12;

pub(crate) fn page(config: &Config, run_seed: u64, run: &Run) -> Result<String, Error> {
    let mut pictures = Pictures::new(|path, sha256| run.image(path, sha256), config.image_side);
    let mut sections: Vec<(&str, &str, String)> = vec![("pipeline", "Pipeline", pipeline(run))];
    sample::interrupt::check()?;
    sections.push(("training", "Training", training(run)));
    sections.push((
        "evaluation",
        "Evaluation",
        match &run.results {
            Some(results) => scores::section(results),
            None => missing("There is no evaluation in this run yet."),
        },
    ));
    sample::interrupt::check()?;
    let gallery = examples::gallery(run, run_seed, config.gallery, &mut pictures);
    if !gallery.is_empty() {
        sections.push(("gallery", "Answers", gallery));
    }
    sample::interrupt::check()?;
    let pairs = examples::pairs(run, run_seed, config.pairs_per_kind, &mut pictures);
    if !pairs.is_empty() {
        sections.push(("synthesis", "Synthesised pairs", pairs));
    }
    sections.push(("settings", "Settings", settings(run)));
    Ok(assemble(config, run, run_seed, &sections))
}

fn assemble(
    config: &Config,
    run: &Run,
    run_seed: u64,
    sections: &[(&str, &str, String)],
) -> String {
    let version = run
        .stages
        .first()
        .map(|s| s.manifest.key.version.clone())
        .unwrap_or_default();
    let tiles = run.results.as_ref().map(scores::tiles).unwrap_or_default();
    document(
        &config.title,
        &headline(run, run_seed),
        &tiles,
        sections,
        &version,
    )
}

/// A whole page: `title` and `version` as text, the rest as HTML; sections are id, name and body.
pub(crate) fn document(
    title: &str,
    lead: &str,
    tiles: &str,
    sections: &[(&str, &str, String)],
    version: &str,
) -> String {
    let title = escape(title);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title}</title><style>{}</style></head><body>\
         <a class=\"skip\" href=\"#main\">Skip to the content</a>\
         <header class=\"top\"><h1>{title}</h1><p class=\"lead\">{lead}</p>{tiles}",
        include_str!("style.css"),
    );
    html.push_str("</header><nav aria-label=\"Sections\"><ul>");
    for (id, name, _) in sections {
        let _ = write!(html, "<li><a href=\"#{id}\">{name}</a></li>");
    }
    html.push_str("</ul></nav><main id=\"main\">");
    for (id, name, body) in sections {
        let _ = write!(
            html,
            "<section id=\"{id}\" aria-labelledby=\"{id}-title\"><h2 id=\"{id}-title\">{name}</h2>\
             {body}</section>"
        );
    }
    let _ = writeln!(
        html,
        "</main><footer>Made by math-llava {} from the manifests and tables of this run. \
         Everything on this page is in the file itself.</footer></body></html>",
        escape(version)
    );
    html
}

fn headline(run: &Run, run_seed: u64) -> String {
    match &run.results {
        Some(results) => format!(
            "Model <strong>{}</strong> on benchmark {} (version {}), answers found by {}; run seed \
             {run_seed}.",
            shortened(&results.model, 120),
            escape(&results.benchmark),
            results.benchmark_version,
            escape(&results.extraction)
        ),
        None => format!("{} finished stages; run seed {run_seed}.", run.stages.len()),
    }
}

pub(crate) fn missing(what: &str) -> String {
    format!("<p class=\"missing\">{what}</p>")
}

fn pipeline(run: &Run) -> String {
    let parts = run.stages.iter().map(|stage| {
        let verb = &stage.manifest.key.stage;
        let counts = flow::shown_counts(&stage.manifest.counts);
        let part = FlowPart {
            name: (stage.name != *verb).then(|| stage.name.clone()),
            counts,
            ..FlowPart::default()
        };
        (verb.clone(), part)
    });
    let mut html = format!(
        "<p class=\"lead\">What each stage took in and gave out, from its manifest.</p>{}",
        flow::flow(parts)
    );
    if let Some((stage, samples)) = &run.pairs {
        let tally = |name: &dyn Fn(&sample::Sample) -> String| {
            let mut tally: BTreeMap<String, u64> = BTreeMap::new();
            for sample in samples {
                *tally.entry(name(sample)).or_default() += 1;
            }
            tally.into_iter().collect::<Vec<_>>()
        };
        let _ = write!(
            html,
            "<div class=\"card\"><h3 style=\"margin-top:0\">{} pairs in {}</h3>\
             <div class=\"fifths\">",
            count(samples.len() as u64),
            escape(stage)
        );
        html.push_str(&shares("By task", tally(&|s| s.task.name().to_owned())));
        html.push_str(&shares(
            "By source",
            tally(&|s| s.origin.source().to_owned()),
        ));
        html.push_str(&shares("By kind", tally(&|s| s.origin.kind().to_owned())));
        html.push_str(&shares(
            "By answer kind",
            tally(&|s| s.answer.kind().to_owned()),
        ));
        html.push_str(&shares(
            "By complexity of the image",
            tally(&|s| match run.complexity.get(&s.image.sha256) {
                Some(level) => format!("level {level}"),
                None => "not graded".to_owned(),
            }),
        ));
        html.push_str("</div></div>");
    }
    html.push_str(&rejects(run));
    html
}

/// Names with their counts and bars, the greatest first where there are many.
pub fn shares(caption: &str, mut tally: Vec<(String, u64)>) -> String {
    if tally.len() > SHARES {
        tally.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let rest: u64 = tally[SHARES - 1..].iter().map(|(_, n)| n).sum();
        let others = tally.len() + 1 - SHARES;
        tally.truncate(SHARES - 1);
        tally.push((format!("{others} others"), rest));
    }
    let most = tally.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1);
    let mut html = format!("<table class=\"shares\"><caption>{caption}</caption><tbody>");
    for (name, n) in tally {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td class=\"bar\"><div style=\"width:{:.1}%\"></div></td>\
             <td class=\"count\">{}</td></tr>",
            shortened(&name, 60),
            100.0 * n as f64 / most as f64,
            count(n)
        );
    }
    html.push_str("</tbody></table>");
    html
}

fn rejects(run: &Run) -> String {
    // Stage and reason to count and one example.
    let mut reasons: BTreeMap<(&str, &str), (u64, &sample::Reject)> = BTreeMap::new();
    for (stage, rows) in &run.rejects {
        for row in rows {
            reasons.entry((stage, &row.reason)).or_insert((0, row)).0 += 1;
        }
    }
    if reasons.is_empty() {
        return "<p class=\"lead\">No row was rejected.</p>".to_owned();
    }
    let mut html = String::from(
        "<div class=\"card\"><div class=\"scroll\" role=\"region\" tabindex=\"0\" \
         aria-label=\"Rejected rows by reason\"><table><caption>Rejected rows by reason</caption>\
         <thead><tr><th scope=\"col\">stage</th><th scope=\"col\" class=\"left\">reason</th>\
         <th scope=\"col\">rows</th><th scope=\"col\" class=\"left\">example</th></tr></thead><tbody>",
    );
    for ((stage, reason), (n, example)) in reasons {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td class=\"left\">{}</td><td>{}</td>\
             <td class=\"left wrap\">{} {}: {}</td></tr>",
            escape(stage),
            escape(reason),
            count(n),
            escape(&example.source),
            shortened(&example.row, 60),
            shortened(&example.detail, 160)
        );
    }
    html.push_str("</tbody></table></div></div>");
    html
}

fn training(run: &Run) -> String {
    if run.losses.is_empty() {
        return missing("There is no training log in this run yet.");
    }
    let mut html = String::from(
        "<div class=\"card\"><h3 style=\"margin-top:0\">Loss by step</h3><ul class=\"legend\">\
         <li><i class=\"bg-model\"></i>smoothed</li><li><i class=\"bg-model faint\"></i>each step\
         </li></ul>",
    );
    html.push_str(&chart::losses(&run.losses));
    let logged: Vec<(f64, f64)> = run.losses.iter().map(|p| (p.step, p.loss)).collect();
    let smooth = chart::smoothed(&logged);
    if let (Some(first), Some(last)) = (logged.first(), smooth.last()) {
        let _ = write!(
            html,
            "<p class=\"lead\">From {:.3} at the first step to {:.3} (smoothed) at step {}.</p>",
            first.1, last.1, last.0
        );
    }
    if run.unread_metrics > 0 {
        let _ = write!(
            html,
            "<p class=\"lead\">Lines of the log that could not be read: {}.</p>",
            run.unread_metrics
        );
    }
    html.push_str("</div>");
    html
}

fn settings(run: &Run) -> String {
    let mut html = String::from(
        "<p class=\"lead\">The same settings, seed and inputs give the same bytes.</p>\
         <div class=\"card\"><div class=\"scroll\" role=\"region\" tabindex=\"0\" \
         aria-label=\"Stages\"><table><caption>Stages</caption><thead><tr>\
         <th scope=\"col\">folder</th><th scope=\"col\" class=\"left\">stage</th>\
         <th scope=\"col\" class=\"left\">version</th><th scope=\"col\">seed</th>\
         <th scope=\"col\" class=\"left\">SHA-256 of its manifest</th></tr></thead><tbody>",
    );
    for stage in &run.stages {
        let key = &stage.manifest.key;
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td class=\"left\">{}</td><td class=\"left\">{}</td>\
             <td>{}</td><td class=\"left\"><code>{}</code></td></tr>",
            escape(&stage.name),
            escape(&key.stage),
            escape(&key.version),
            key.seed,
            stage.digest.get(..16).unwrap_or_default()
        );
    }
    html.push_str("</tbody></table></div></div>");
    for stage in &run.stages {
        let config = serde_json::to_string_pretty(&stage.manifest.key.config).unwrap_or_default();
        let counts = serde_json::to_string_pretty(&stage.manifest.counts).unwrap_or_default();
        let _ = write!(
            html,
            "<details><summary>Configuration and counts of {}</summary><pre tabindex=\"0\">{}\n{}\
             </pre></details>",
            escape(&stage.name),
            escape(&config),
            escape(&counts)
        );
    }
    html
}
