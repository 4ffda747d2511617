//! What flipped between two runs.

use std::collections::HashMap;
use std::fmt::Write;

use sample::benchmark::paired::Paired;

use super::article::anchor;
use super::gallery::Shown;
use super::questions::Question;
use crate::html::{count, escape, shortened};

/// No more flips are listed either way.
const MOST: usize = 400;

/// The comparison as a card.
pub(super) fn card(paired: &Paired, questions: &[Question], shown: &Shown<'_>) -> String {
    let (first, second) = (shortened(&paired.first, 60), shortened(&paired.second, 60));
    let places: HashMap<&str, usize> = questions
        .iter()
        .enumerate()
        .map(|(place, q)| (q.record.id.as_str(), place))
        .collect();
    let mut html = format!(
        "<div class=\"card\"><h3 style=\"margin-top:0\">{second} against {first}</h3><p>{}</p>",
        sentence(paired)
    );
    for remark in &paired.remarks {
        let _ = write!(html, "<p class=\"missing\">{}</p>", escape(remark));
    }
    for (title, ids) in [
        ("Wrong before, right now", &paired.flips.gained),
        ("Right before, wrong now", &paired.flips.lost),
    ] {
        let _ = write!(
            html,
            "<h4>{title} ({})</h4><p class=\"ids\">",
            count(ids.len() as u64)
        );
        for id in ids.iter().take(MOST) {
            let text = shortened(id, 40);
            let _ = match places.get(id.as_str()).filter(|p| shown.on_page[**p]) {
                Some(place) => {
                    write!(
                        html,
                        "<a href=\"#{}\">{text}</a> ",
                        anchor(&shown.prefix, *place)
                    )
                }
                None => write!(html, "<span>{text}</span> "),
            };
        }
        if ids.len() > MOST {
            let _ = write!(html, "and {} more", count((ids.len() - MOST) as u64));
        }
        html.push_str("</p>");
    }
    html.push_str(&groups(paired));
    html.push_str("</div>");
    html
}

/// What the test says, in words, as HTML.
pub fn sentence(paired: &Paired) -> String {
    let (gained, lost) = (
        paired.flips.gained.len() as u64,
        paired.flips.lost.len() as u64,
    );
    if paired.items == 0 {
        return "The runs share no question.".to_owned();
    }
    let range = paired.interval.map_or(String::new(), |(low, high)| {
        format!(" [{:+.1}, {:+.1}]", 100.0 * low, 100.0 * high).replace('-', "−")
    });
    let alone = match (paired.only_first, paired.only_second) {
        (0, 0) => String::new(),
        (first, second) => format!(
            " {} questions are in the first run alone and {} in the second alone; they are not \
             compared.",
            count(first),
            count(second)
        ),
    };
    format!(
        "Of {} questions both answered, {} became right and {} wrong: {} points <span \
         class=\"range\">{range}</span>. McNemar's exact two-sided p is {}, mid-p {}.{alone}",
        count(paired.items),
        count(gained),
        count(lost),
        format!("{:+.1}", 100.0 * paired.difference).replace('-', "−"),
        chance(paired.p_exact),
        chance(paired.p_mid),
    )
}

/// `0.046`, `1.4e-7`.
fn chance(p: f64) -> String {
    if p < 1e-300 {
        "below 1e-300".to_owned()
    } else if p < 0.001 {
        format!("{p:.1e}")
    } else {
        format!("{p:.3}")
    }
}

/// Flips by group, as a table behind its heading; nothing where the runs know no groups.
pub fn groups(paired: &Paired) -> String {
    if paired.groups.is_empty() {
        return String::new();
    }
    let mut html = String::from(
        "<details><summary>Flips by group</summary><div class=\"scroll\" role=\"region\" \
         tabindex=\"0\" aria-label=\"Flips by group\"><table><caption>Flips by group; no test is made \
         of each, since among many some look uneven by chance</caption><thead><tr>\
         <th scope=\"col\">group</th><th scope=\"col\" class=\"left\">of</th>\
         <th scope=\"col\">questions</th><th scope=\"col\">became right</th>\
         <th scope=\"col\">became wrong</th><th scope=\"col\">net</th></tr></thead><tbody>",
    );
    for group in paired.groups.iter().take(MOST) {
        let net = i128::from(group.gained) - i128::from(group.lost);
        let _ = write!(
            html,
            "<tr><th scope=\"row\" class=\"wrap\">{}</th><td class=\"left\">{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td></tr>",
            shortened(&group.name, 120),
            shortened(&group.dimension, 60),
            count(group.items),
            count(group.gained),
            count(group.lost),
            format!("{net:+}").replace('-', "−")
        );
    }
    html.push_str("</tbody></table></div></details>");
    html
}
