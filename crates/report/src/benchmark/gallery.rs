//! Questions by kind of error, and then all of them, each once.
//!
//! Which ones a kind shows is drawn by the questions' ids, not picked and not the first, which in most
//! benchmarks are of one source.

use std::fmt::Write;

use super::BenchmarkOptions;
use super::article::{anchor, article};
use super::questions::{Fate, Question};
use crate::html::{count, shortened};
use crate::picture::Pictures;

/// What has been put on the page already.
pub(super) struct Shown<'a> {
    pub(super) prefix: String,
    pub(super) names: &'a [String],
    /// Whether each question is on the page.
    pub(super) on_page: Vec<bool>,
    /// Bytes of questions that may still be added.
    pub(super) left: usize,
}

impl Shown<'_> {
    /// The question's article, once, while there is room.
    fn add(
        &mut self,
        place: usize,
        question: &Question,
        pictures: &mut Pictures<'_>,
    ) -> Option<String> {
        if self.on_page[place] || self.left == 0 {
            return None;
        }
        let html = article(question, &anchor(&self.prefix, place), self.names, pictures);
        self.on_page[place] = true;
        self.left = self.left.saturating_sub(html.len());
        Some(html)
    }
}

/// Some questions of each kind of error, and some that were right.
pub(super) fn by_kind(
    questions: &[Question],
    options: &BenchmarkOptions,
    shown: &mut Shown<'_>,
    pictures: &mut Pictures<'_>,
) -> Result<String, sample::Error> {
    let mut html = String::new();
    for fate in Fate::ERRORS.into_iter().chain([Fate::Right]) {
        let mut of_kind: Vec<(u64, usize)> = Vec::new();
        for (place, question) in questions.iter().enumerate() {
            // Right only where all are.
            let holds = match fate {
                Fate::Right => question.fates().all(|f| f == fate),
                _ => question.fates().any(|f| f == fate),
            };
            if holds {
                let order = sample::seed::derive(0, &["benchmark page", &question.record.id]);
                of_kind.push((order, place));
            }
        }
        if of_kind.is_empty() {
            continue;
        }
        of_kind.sort_unstable();
        let (mut cards, mut added) = (String::new(), 0);
        for (_, place) in &of_kind {
            sample::interrupt::check()?;
            if added == options.per_kind {
                break;
            }
            if let Some(card) = shown.add(*place, &questions[*place], pictures) {
                cards.push_str(&card);
                added += 1;
            }
        }
        let rest = of_kind.len() - added;
        let _ = write!(
            html,
            "<h3>{} ({})</h3><div class=\"gallery\">{cards}</div>",
            fate.title(),
            count(of_kind.len() as u64)
        );
        if rest > 0 {
            let _ = write!(
                html,
                "<p class=\"lead\">{} more are under another heading or among all questions \
                 below.</p>",
                count(rest as u64)
            );
        }
    }
    Ok(html)
}

/// Every question: an index of them all, and those that are not on the page yet.
pub(super) fn all(
    questions: &[Question],
    shown: &mut Shown<'_>,
    pictures: &mut Pictures<'_>,
) -> Result<String, sample::Error> {
    let mut articles = String::new();
    let bar = sample::progress::bar("page", questions.len() as u64, "questions");
    for (place, question) in questions.iter().enumerate() {
        sample::interrupt::check()?;
        bar.inc(1);
        if let Some(article) = shown.add(place, question, pictures) {
            let fates: Vec<&str> = question.fates().map(Fate::word).collect();
            let _ = write!(
                articles,
                "<details class=\"one\"><summary>{} <span class=\"meta\">{}</span></summary>{article}\
                 </details>",
                shortened(&question.record.id, 80),
                fates.join(", ")
            );
        }
    }
    bar.finish();
    let left_out = shown.on_page.iter().filter(|on| !**on).count();
    let mut html = String::from(
        "<p class=\"lead\">Each mark is a question: ✓ right in all runs, ✗ in none, ± in some.</p>\
         <p class=\"marks\">",
    );
    for (place, question) in questions.iter().enumerate() {
        let right = question.said.iter().flatten().filter(|s| s.correct).count();
        let runs = question.said.iter().flatten().count();
        let (class, mark) = match right {
            0 => ("wrong", "✗"),
            n if n == runs => ("right", "✓"),
            _ => ("some", "±"),
        };
        let id = shortened(&question.record.id, 40);
        // An index longer than a page's questions can be helps nobody.
        if place >= 20_000 {
            break;
        }
        let _ = if shown.on_page[place] {
            let anchor = anchor(&shown.prefix, place);
            write!(
                html,
                "<a class=\"{class}\" href=\"#{anchor}\" title=\"{id}\">{mark}</a>"
            )
        } else {
            write!(html, "<span class=\"{class}\" title=\"{id}\">{mark}</span>")
        };
    }
    html.push_str("</p>");
    if left_out > 0 {
        let _ = write!(
            html,
            "<p class=\"missing\">{} questions are left out to keep this page small; the run's \
             scores.jsonl has them.</p>",
            count(left_out as u64)
        );
    }
    html.push_str(&articles);
    Ok(html)
}
