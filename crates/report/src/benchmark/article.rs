//! One question on the page: image, choices, what was expected, and what each run said.

use std::fmt::Write;

use sample::benchmark::ItemScore;

use super::questions::{Fate, Question};
use crate::html::{escape, shortened};
use crate::picture::Pictures;

/// No more of a question, query or reply is shown, in characters.
const LONGEST: usize = 3000;
/// Nor of an answer, a choice or a group's name.
const SHORT: usize = 240;
/// No more choices, images or groups of a question are shown.
const MOST: usize = 24;

/// The address of a question on the page.
pub(super) fn anchor(prefix: &str, place: usize) -> String {
    format!("{prefix}-q{place}")
}

/// A question as an article; `names` are the runs'.
pub fn article(
    question: &Question,
    id: &str,
    names: &[String],
    pictures: &mut Pictures<'_>,
) -> String {
    let record = &question.record;
    let mut html = format!("<article class=\"item\" id=\"{id}\">");
    if !question.images.is_empty() {
        html.push_str("<div class=\"pictures\">");
        for path in question.images.iter().take(MOST) {
            let path = path.to_string_lossy();
            let picture = pictures.element(&path, &path, "the question's image");
            let _ = write!(html, "<figure>{picture}</figure>");
        }
        html.push_str("</div>");
    }
    let heading = if record.question.is_empty() {
        format!("Question {}", shortened(&record.id, SHORT))
    } else {
        shortened(&record.question, LONGEST)
    };
    let _ = write!(
        html,
        "<div class=\"body\"><h4 class=\"math-text\">{heading}</h4><p class=\"meta\"><a href=\"#{id}\">{}</a>",
        shortened(&record.id, SHORT)
    );
    for (dimension, name) in record.groups.iter().take(MOST) {
        let _ = write!(
            html,
            " · {} {}",
            shortened(dimension, SHORT),
            shortened(name, SHORT)
        );
    }
    html.push_str("</p>");
    if !record.choices.is_empty() {
        html.push_str("<ol>");
        for (i, choice) in record.choices.iter().take(MOST).enumerate() {
            let letter = char::from(b'A' + u8::try_from(i).unwrap_or(25).min(25));
            let _ = write!(
                html,
                "<li class=\"math-text\">({letter}) {}</li>",
                shortened(choice, SHORT)
            );
        }
        html.push_str("</ol>");
    }
    let expected = question
        .said
        .iter()
        .flatten()
        .find_map(|s| s.expected.as_ref());
    let expected = expected.or(record.answer.as_ref());
    let expected = expected.map_or("<em>not published</em>".to_owned(), |e| shortened(e, SHORT));
    let _ = write!(html, "<dl><dt>expected</dt><dd>{expected}</dd></dl>");
    for (name, said) in names.iter().zip(&question.said) {
        if let Some(score) = said {
            html.push_str(&reply(name, score));
        }
    }
    if let Some(query) = &record.query {
        let _ = write!(
            html,
            "<details><summary>What was asked</summary><pre tabindex=\"0\">{}</pre></details>",
            shortened(query, LONGEST)
        );
    }
    html.push_str("</div></article>");
    html
}

fn reply(name: &str, score: &ItemScore) -> String {
    let fate = Fate::of(score);
    let class = if score.correct { "right" } else { "wrong" };
    let mark = if score.correct { "✓" } else { "✗" };
    let mut html = format!(
        "<dl class=\"said\"><dt>{}</dt><dd><span class=\"{class}\">{mark} {}</span>",
        shortened(name, SHORT),
        fate.word()
    );
    // What the word does not say already.
    if score.fallback && fate != Fate::Fallback {
        html.push_str(" · guessed");
    }
    if score.truncated && fate != Fate::Truncated {
        html.push_str(" · cut at the token limit");
    }
    html.push_str("</dd>");
    // What is compared is most often what was found.
    let compared = score
        .prediction
        .as_ref()
        .filter(|p| score.extraction.as_ref() != Some(*p));
    for (what, text) in [("found", score.extraction.as_ref()), ("compared", compared)] {
        if let Some(text) = text {
            let _ = write!(html, "<dt>{what}</dt><dd>{}</dd>", shortened(text, SHORT));
        }
    }
    html.push_str("</dl>");
    match score.response.as_deref() {
        None => html.push_str("<p class=\"reply\"><em>no reply</em></p>"),
        Some(text) if text.trim().is_empty() => {
            html.push_str("<p class=\"reply\"><em>an empty reply</em></p>");
        }
        Some(text) => {
            let rest = text.chars().count().saturating_sub(LONGEST);
            let rest = if rest > 0 {
                format!(
                    " <em>({} characters more)</em>",
                    crate::html::count(rest as u64)
                )
            } else {
                String::new()
            };
            let shown = text
                .char_indices()
                .nth(LONGEST)
                .map_or(text, |(end, _)| &text[..end]);
            // What may be longer than its box is scrolled by keyboard too.
            let long = shown.len() > 300 || shown.lines().count() > 8;
            let reached = if long { " tabindex=\"0\"" } else { "" };
            let _ = write!(
                html,
                "<p class=\"reply math-text\"{reached}>{}{rest}</p>",
                escape(shown)
            );
        }
    }
    html
}
