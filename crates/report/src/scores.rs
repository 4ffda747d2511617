//! The part of the page that says how well the model does, and whether it looks.

use std::fmt::Write;

use sample::scores::{Condition, Group, Results};

use crate::chart;
use crate::html::{accuracy, count, difference, escape, verdict};
use crate::table::readings;

/// Templates listed as the best and as the worst.
const TEMPLATES: usize = 6;
/// A template with fewer questions says too little to be ranked.
const FEWEST: u64 = 5;

/// What the first screen says.
pub fn tiles(results: &Results) -> String {
    let overall = &results.overall;
    let mut html = String::from("<dl class=\"tiles\">");
    let mut tile = |name: &str, big: &str, note: &str| {
        let _ = write!(
            html,
            "<div class=\"tile\"><dt>{name}</dt><dd class=\"big\">{big}</dd>\
             <dd class=\"note\">{note}</dd></div>"
        );
    };
    let percent = |value: f64| format!("{:.1}%", 100.0 * value);
    let range = |a: sample::scores::Accuracy| {
        format!("95% interval {:.1} to {:.1}", 100.0 * a.low, 100.0 * a.high)
    };
    tile(
        "Model",
        &percent(overall.model.value),
        &range(overall.model),
    );
    tile(
        "With swapped images",
        &percent(overall.swapped.value),
        &format!(
            "{} {}",
            verdict(overall.over_swapped.verdict),
            difference(&overall.over_swapped)
        ),
    );
    tile(
        "Best blind guess",
        &percent(overall.blind.value),
        &format!(
            "{} {}",
            verdict(overall.over_blind.verdict),
            difference(&overall.over_blind)
        ),
    );
    tile(
        "Tasks won",
        &format!("{} of {}", results.tasks_won(), results.tasks.len()),
        "clearly better than both",
    );
    tile(
        "Held out",
        &count(results.separation.items),
        &format!(
            "questions on {} images; none of them among {} training images",
            count(results.separation.images),
            count(results.separation.training_images)
        ),
    );
    html.push_str("</dl>");
    html
}

/// The charts and tables.
pub fn section(results: &Results) -> String {
    let mut html = format!(
        "<p class=\"lead\">{}.</p><p class=\"lead\"><strong>model</strong> sees each question's own \
         image. <strong>swapped</strong> is the same model with another image of the same source and \
         family. <strong>blind</strong> is the most frequent training answer for the question's \
         template and choices. What the model has over both, it read from the image. A verdict is \
         \"beats\" where the whole 95% interval of the difference is above zero.</p>",
        escape(&readings(results))
    );
    html.push_str("<div class=\"card\"><h3 style=\"margin-top:0\">Accuracy by task</h3>");
    html.push_str(
        "<ul class=\"legend\"><li><i class=\"bg-model\"></i>model</li>\
         <li><i class=\"bg-swapped\"></i>swapped</li><li><i class=\"bg-blind\"></i>blind</li>\
         <li>lines: 95% intervals</li></ul>",
    );
    let all = Group {
        name: "overall".to_owned(),
        ..results.overall.clone()
    };
    let groups: Vec<&Group> = results.tasks.iter().chain([&all]).collect();
    html.push_str(&chart::accuracies(&groups));
    html.push_str("</div><div class=\"card\">");
    html.push_str(&numbers(
        "Accuracy in per cent and differences in points, by task",
        &groups,
    ));
    html.push_str("</div>");
    html.push_str(&ranking(results));
    html.push_str("<h3>All groups</h3>");
    for (name, groups) in [
        ("source", &results.sources),
        ("family", &results.families),
        ("answer kind", &results.answer_kinds),
        ("question template", &results.templates),
    ] {
        if !groups.is_empty() {
            let groups: Vec<&Group> = groups.iter().collect();
            let _ = write!(
                html,
                "<details><summary>By {name} ({})</summary>{}</details>",
                groups.len(),
                numbers(
                    &format!("Accuracy in per cent and differences in points, by {name}"),
                    &groups
                )
            );
        }
    }
    html
}

/// A table of groups with all their numbers; an "overall" row stands out.
fn numbers(caption: &str, groups: &[&Group]) -> String {
    let mut html = format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\"><table>\
         <caption>{caption}</caption><thead><tr><th scope=\"col\">group</th>\
         <th scope=\"col\">questions</th><th scope=\"col\">model</th><th scope=\"col\">swapped</th>\
         <th scope=\"col\">blind</th><th scope=\"col\">less swapped</th><th scope=\"col\"></th>\
         <th scope=\"col\">less blind</th><th scope=\"col\"></th></tr></thead><tbody>"
    );
    for group in groups {
        let total = if group.name == "overall" {
            " class=\"total\""
        } else {
            ""
        };
        let _ = write!(
            html,
            "<tr{total}><th scope=\"row\">{}</th><td>{}</td>",
            escape(&group.name),
            count(group.model.total)
        );
        for condition in Condition::ALL {
            let _ = write!(html, "<td>{}</td>", accuracy(group.accuracy(condition)));
        }
        for d in [&group.over_swapped, &group.over_blind] {
            let _ = write!(
                html,
                "<td>{}</td><td>{}</td>",
                difference(d),
                verdict(d.verdict)
            );
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

/// The templates the model is best and worst at.
fn ranking(results: &Results) -> String {
    let mut ranked: Vec<&Group> = results
        .templates
        .iter()
        .filter(|g| g.model.total >= FEWEST)
        .collect();
    if ranked.len() < 2 {
        return String::new();
    }
    ranked.sort_by(|a, b| {
        b.model
            .value
            .total_cmp(&a.model.value)
            .then_with(|| a.name.cmp(&b.name))
    });
    let shown = TEMPLATES.min(ranked.len() / 2);
    let worst: Vec<&Group> = ranked.iter().rev().take(shown).copied().collect();
    format!(
        "<div class=\"split\"><div class=\"card\">{}</div><div class=\"card\">{}</div></div>",
        short("Best question templates", &ranked[..shown]),
        short("Worst question templates", &worst)
    )
}

fn short(caption: &str, groups: &[&Group]) -> String {
    let mut html = format!(
        "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{caption}\"><table>\
         <caption>{caption}</caption><thead><tr><th scope=\"col\">template</th>\
         <th scope=\"col\">n</th><th scope=\"col\">model</th><th scope=\"col\">swapped</th>\
         <th scope=\"col\">blind</th></tr></thead><tbody>"
    );
    for group in groups {
        let _ = write!(
            html,
            "<tr><th scope=\"row\" class=\"wrap\">{}</th><td>{}</td>",
            escape(&group.name),
            count(group.model.total)
        );
        for condition in Condition::ALL {
            let a = group.accuracy(condition);
            let text = if a.total == 0 {
                "–".to_owned()
            } else {
                format!("{:.0}", 100.0 * a.value)
            };
            let _ = write!(html, "<td>{text}</td>");
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}
