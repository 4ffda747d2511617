//! Single cases: answers the model got right and wrong, and pairs that synthesis made.
//!
//! Which ones are shown is drawn by the run's seed, not picked.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use sample::scores::{Condition, Reading, Score};
use sample::{Answer, Sample, Task, seed};

use crate::html::{escape, shortened};
use crate::picture::Pictures;
use crate::stages::{Run, parent};

/// No more of a question, answer or reply is shown, in characters.
const LONGEST: usize = 360;

/// The verdicts on one question.
type Verdicts<'a> = HashMap<Condition, &'a Score>;

/// Right and wrong answers, `most` in all, from all tasks in turn.
pub(crate) fn gallery(
    run: &Run,
    run_seed: u64,
    most: usize,
    pictures: &mut Pictures<'_>,
) -> String {
    let mut by_id: HashMap<&str, Verdicts<'_>> = HashMap::new();
    for score in &run.scores {
        by_id
            .entry(&score.id)
            .or_default()
            .insert(score.condition, score);
    }
    let mut html = String::new();
    let groups = [true, false].map(|right| {
        let ids = run.items.values().filter(|item| {
            by_id
                .get(item.id.as_str())
                .and_then(|v| v.get(&Condition::Model))
                .is_some_and(|score| score.correct == right)
        });
        (right, drawn(ids, run_seed))
    });
    // Half each; where one side has fewer, the other has its places.
    let (right, wrong) = (groups[0].1.len(), groups[1].1.len());
    let wrong_shown = wrong.min((most / 2).max(most.saturating_sub(right)));
    let right_shown = right.min(most - wrong_shown);
    for (is_right, items) in groups {
        let (title, shown) = if is_right {
            ("Right", right_shown)
        } else {
            ("Wrong", wrong_shown)
        };
        if shown == 0 {
            continue;
        }
        let _ = write!(
            html,
            "<h3>{title} ({shown} of {})</h3><div class=\"gallery\">",
            crate::html::count(items.len() as u64)
        );
        for item in items.into_iter().take(shown) {
            html.push_str(&card(item, &by_id[item.id.as_str()], pictures));
        }
        html.push_str("</div>");
    }
    html
}

/// In an order drawn by seed, one of each task in turn.
fn drawn<'a>(items: impl Iterator<Item = &'a Sample>, run_seed: u64) -> Vec<&'a Sample> {
    let mut tasks: BTreeMap<Task, Vec<(u64, &Sample)>> = BTreeMap::new();
    for item in items {
        let order = seed::derive(run_seed, &["report", "gallery", &item.id]);
        tasks.entry(item.task).or_default().push((order, item));
    }
    let mut turns: Vec<(usize, Task, &Sample)> = Vec::new();
    for (task, mut items) in tasks {
        items.sort_by_key(|(order, item)| (*order, item.id.as_str()));
        turns.extend(
            items
                .into_iter()
                .enumerate()
                .map(|(turn, (_, item))| (turn, task, item)),
        );
    }
    turns.sort_by_key(|(turn, task, _)| (*turn, *task));
    turns.into_iter().map(|(_, _, item)| item).collect()
}

fn card(item: &Sample, verdicts: &Verdicts<'_>, pictures: &mut Pictures<'_>) -> String {
    let mut html = String::from("<article class=\"item\"><div class=\"pictures\">");
    let own = pictures.element(&item.image.path, &item.image.sha256, "the question's image");
    let _ = write!(
        html,
        "<figure>{own}<figcaption>own image</figcaption></figure>"
    );
    let other = verdicts
        .get(&Condition::Swapped)
        .and_then(|s| Some((s.shown.as_deref()?, s.shown_sha256.as_deref()?)));
    if let Some((path, sha256)) = other {
        let other = pictures.element(path, sha256, "the image it was swapped with");
        let _ = write!(
            html,
            "<figure>{other}<figcaption>swapped</figcaption></figure>"
        );
    }
    let _ = write!(
        html,
        "</div><div class=\"body\"><h4 class=\"math-text\">{}{}</h4><p class=\"meta\">{} · {}{}</p>",
        shortened(&item.question, LONGEST),
        item.unit
            .as_ref()
            .map(|u| format!(" ({})", shortened(u, 40)))
            .unwrap_or_default(),
        item.task.name(),
        escape(item.origin.source()),
        item.template
            .as_ref()
            .map(|t| format!(" · {}", shortened(t, 80)))
            .unwrap_or_default(),
    );
    if !item.choices.is_empty() {
        html.push_str("<ol>");
        for (i, choice) in item.choices.iter().enumerate() {
            let letter = Answer::Choice(i).text();
            let _ = write!(html, "<li>({letter}) {}</li>", shortened(choice, LONGEST));
        }
        html.push_str("</ol>");
    }
    let _ = write!(
        html,
        "<dl><dt>expected</dt><dd>{}</dd>",
        shortened(&expected(item), LONGEST)
    );
    for condition in Condition::ALL {
        if let Some(score) = verdicts.get(&condition) {
            let _ = write!(
                html,
                "<dt>{}</dt><dd>{}</dd>",
                condition.name(),
                said(score)
            );
        }
    }
    html.push_str("</dl></div></article>");
    html
}

/// `B (Elm)` for multiple choice.
fn expected(item: &Sample) -> String {
    match &item.answer {
        Answer::Choice(_) => format!("{} ({})", item.answer.text(), item.answer_value()),
        other => other.text(),
    }
}

fn said(score: &Score) -> String {
    let (class, word) = if score.correct {
        ("right", "✓ right")
    } else {
        ("wrong", "✗ wrong")
    };
    let said = match (score.reading, &score.extraction) {
        (Reading::Parsed, Some(answer)) => shortened(answer, LONGEST),
        (Reading::Empty, _) => "<em>nothing</em>".to_owned(),
        (Reading::Failed, _) => "<em>could not be asked</em>".to_owned(),
        _ => format!(
            "<em>no answer in</em> “{}”",
            shortened(&score.response, LONGEST)
        ),
    };
    let cut = if score.truncated {
        " <em>(cut at the token limit)</em>"
    } else {
        ""
    };
    format!("{said}{cut} <span class=\"{class}\">{word}</span>")
}

/// Synthesised pairs, some of each kind, each below the pair it was made from.
pub(crate) fn pairs(
    run: &Run,
    run_seed: u64,
    per_kind: usize,
    pictures: &mut Pictures<'_>,
) -> String {
    let Some((_, samples)) = &run.pairs else {
        return String::new();
    };
    let mut kinds: BTreeMap<&str, Vec<(u64, &Sample)>> = BTreeMap::new();
    for sample in samples.iter().filter(|s| parent(s).is_some()) {
        let order = seed::derive(run_seed, &["report", "pairs", &sample.id]);
        kinds
            .entry(sample.origin.kind())
            .or_default()
            .push((order, sample));
    }
    let mut html = String::new();
    for (kind, mut pairs) in kinds {
        pairs.sort_by_key(|(order, pair)| (*order, pair.id.as_str()));
        let _ = write!(
            html,
            "<div class=\"card\"><h3 style=\"margin-top:0\">{} ({} of {})</h3>",
            escape(kind),
            per_kind.min(pairs.len()),
            crate::html::count(pairs.len() as u64)
        );
        for (_, pair) in pairs.into_iter().take(per_kind) {
            html.push_str(&one(pair, run, pictures));
        }
        html.push_str("</div>");
    }
    html
}

fn one(pair: &Sample, run: &Run, pictures: &mut Pictures<'_>) -> String {
    let from = match parent(pair).map(|id| (id, run.parents.get(id))) {
        Some((_, Some(parent))) => format!("from: {}", question_and_answer(parent)),
        Some((id, None)) => format!("from: {}", escape(id)),
        None => String::new(),
    };
    let teacher = match &pair.origin {
        sample::Origin::Synth { teacher, .. } => format!(" · teacher {}", escape(teacher)),
        sample::Origin::Source { .. } => String::new(),
    };
    format!(
        "<div class=\"pair\">{}<div><p>{}</p><p class=\"from\">{from}{teacher}</p></div></div>",
        pictures.element(&pair.image.path, &pair.image.sha256, "the pair's image"),
        question_and_answer(pair)
    )
}

fn question_and_answer(sample: &Sample) -> String {
    let choices: Vec<String> = sample
        .choices
        .iter()
        .enumerate()
        .map(|(i, choice)| format!("({}) {}", Answer::Choice(i).text(), shortened(choice, 80)))
        .collect();
    format!(
        "{} {} <strong>→ {}</strong>",
        shortened(&sample.question, LONGEST),
        choices.join(" "),
        shortened(&expected(sample), LONGEST)
    )
}
