//! The page of a training, or of several to be compared.

use std::fmt::Write;

use super::curve::{COLOURS, chart};
use super::records::{Records, Series};
use crate::html::{count, escape, shortened};

/// Nothing but its own styles: no script, no request.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";
/// Seconds after which a browser reads the page of a run that is at it again.
const AGAIN: u32 = 10;

pub(super) fn page(runs: &[Records], live: bool) -> String {
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let title = escape(&names.join(", "));
    let refresh = if live {
        format!("<meta http-equiv=\"refresh\" content=\"{AGAIN}\">")
    } else {
        String::new()
    };
    let mut body = String::new();
    body.push_str(&now(runs, live));
    if runs.len() > 1 {
        body.push_str("<ul class=\"legend\">");
        for (i, run) in runs.iter().enumerate() {
            let _ = write!(
                body,
                "<li><span class=\"swatch\" style=\"background:{}\"></span>{}</li>",
                COLOURS[i % COLOURS.len()],
                escape(&run.name)
            );
        }
        body.push_str("</ul>");
    }
    body.push_str("<div class=\"curves\">");
    type Quantity = (&'static str, fn(&Records) -> &Series, bool);
    let quantities: [Quantity; 9] = [
        ("Loss", |r| &r.loss, true),
        ("Held-out score", |r| &r.scores, false),
        ("Gradient norm, before clipping", |r| &r.grad_norm, true),
        ("Learning rate", |r| &r.lr, false),
        ("Tokens a second", |r| &r.tokens_per_second, true),
        ("Samples a second", |r| &r.samples_per_second, true),
        ("Share of the machine's peak", |r| &r.peak_share, true),
        ("Memory, MiB", |r| &r.memory_mib, false),
        (
            "Seconds that a step waited for data",
            |r| &r.data_seconds,
            true,
        ),
    ];
    for (name, of, smooth) in quantities {
        let series: Vec<(&str, &Series)> = runs
            .iter()
            .map(|run| (run.name.as_str(), of(run)))
            .collect();
        if series.iter().any(|(_, series)| !series.is_empty()) {
            let _ = write!(
                body,
                "<div class=\"card\"><h2>{name}</h2>{}</div>",
                chart(&format!("{name} by step"), &series, smooth)
            );
        }
    }
    body.push_str("</div>");
    for run in runs {
        body.push_str(&answers(run, runs.len() > 1));
    }
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">{refresh}\
         <title>Training: {title}</title><style>{}</style></head><body><header class=\"top\">\
         <h1>Training</h1><p class=\"lead\">{title}</p></header><main>{body}</main></body></html>\n",
        include_str!("../style.css"),
    )
}

/// Where each run is.
fn now(runs: &[Records], live: bool) -> String {
    let mut rows = String::new();
    for run in runs {
        let last = |series: &Series, digits: usize| match series.last() {
            Some((_, value)) => format!("{value:.digits$}"),
            None => "–".to_owned(),
        };
        let state = match (run.finished, live) {
            (true, _) => "done",
            (false, true) => "training",
            (false, false) => "not finished",
        };
        let steps = run.loss.last().map_or(0, |(step, _)| *step as u64 + 1);
        let hours: f64 = run.seconds.iter().map(|(_, s)| s).sum::<f64>() / 3600.0;
        let best = run.scores.iter().map(|s| s.1).reduce(f64::max);
        let _ = write!(
            rows,
            "<tr><th scope=\"row\">{}</th><td>{state}</td><td>{}</td><td>{hours:.2}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&run.name),
            count(steps),
            last(&run.loss, 4),
            last(&run.samples_per_second, 2),
            last(&run.tokens_per_second, 0),
            run.peak_share
                .last()
                .map_or("–".to_owned(), |s| format!("{:.0}%", 100.0 * s.1)),
            best.map_or("–".to_owned(), |score| format!("{:.1}%", 100.0 * score)),
        );
    }
    format!(
        "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Run</th><th scope=\"col\">State</th>\
         <th scope=\"col\">Steps</th><th scope=\"col\">Hours</th><th scope=\"col\">Loss</th>\
         <th scope=\"col\">Samples/s</th><th scope=\"col\">Tokens/s</th><th scope=\"col\">Of peak</th>\
         <th scope=\"col\">Best score</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )
}

/// What the model said when it was last asked.
fn answers(run: &Records, named: bool) -> String {
    if run.answers.is_empty() {
        return String::new();
    }
    let step = run.scores.last().map_or(0, |(step, _)| *step as u64);
    let mut rows = String::new();
    for answer in &run.answers {
        let text = |name: &str| shortened(answer[name].as_str().unwrap_or(""), 300);
        let right = answer["correct"].as_bool() == Some(true);
        let _ = write!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            text("question"),
            text("reference"),
            text("reply"),
            if right { "right" } else { "wrong" }
        );
    }
    let of = match named {
        true => format!(" of {}", escape(&run.name)),
        false => String::new(),
    };
    format!(
        "<section><h2>Replies{of} after {} steps</h2><div class=\"scroll\"><table class=\"replies\">\
         <thead><tr><th scope=\"col\">Question</th><th scope=\"col\">Should say</th>\
         <th scope=\"col\">Says</th><th scope=\"col\"></th></tr></thead><tbody>{rows}</tbody></table>\
         </div></section>",
        count(step)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_escapes_what_models_and_data_say() {
        let run = Records {
            name: "a<b".to_owned(),
            loss: vec![(0.0, 2.0)],
            scores: vec![(1.0, 0.5)],
            answers: vec![serde_json::json!({
                "question": "<script>", "reference": "&", "reply": "</td>", "correct": true
            })],
            ..Records::default()
        };
        let html = page(&[run], true);
        assert!(!html.contains("<script>") && html.contains("&lt;/td&gt;"));
        assert!(html.contains("http-equiv=\"refresh\"") && html.contains("a&lt;b"));
        assert!(html.contains("50.0%") && html.contains("training"));
    }
}
