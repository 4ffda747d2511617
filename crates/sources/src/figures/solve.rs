//! The way back from words to a question: which of a scene's questions a text asks.

use sample::Answer;

use super::question::Question;
use super::scene::read_scene;
use super::teach::{Operation, combine, measured, multiple, sum_of_three};

/// The answer to a question about a drawn figure; `None` for scenes of other sources.
pub(crate) fn solve_scene(scene: &str, text: &str) -> Option<Answer> {
    solve(&read_scene(scene).ok()?.questions, text)
}

/// The answer that every question of this wording has, among `questions` and those composed of
/// them; `None` where there is none, or where two of the same words have different answers.
pub(crate) fn solve(questions: &[Question], text: &str) -> Option<Answer> {
    let wanted = normal(text);
    let is = |q: &Question| q.texts().any(|t| !t.is_empty() && normal(t) == wanted);
    let own: Vec<Answer> = questions
        .iter()
        .filter(|q| is(q))
        .map(|q| q.answer.clone())
        .collect();
    if let Some(first) = own.first() {
        return own.iter().all(|a| a == first).then(|| first.clone());
    }
    // Only quantities that the text names can be in it.
    let named: Vec<&Question> = measured(questions)
        .into_iter()
        .filter(|q| {
            let quantity = q.quantity.as_deref().map(normal);
            quantity.is_some_and(|name| !name.is_empty() && wanted.contains(&name))
        })
        .take(MOST_NAMED)
        .collect();
    let mut found: Vec<Answer> = Vec::new();
    let mut hear = |made: Option<Question>| {
        if let Some(made) = made.filter(|made| is(made)) {
            found.push(made.answer);
        }
    };
    for a in &named {
        for b in &named {
            for operation in Operation::ALL {
                hear(combine(operation, a, b));
            }
            for k in 2..=4 {
                hear(multiple(k, a, b));
            }
            for c in &named {
                hear(sum_of_three(a, b, c));
            }
        }
    }
    let first = found.first()?;
    found.iter().all(|a| a == first).then(|| first.clone())
}

/// A text names three quantities at most, and those that are parts of their names.
const MOST_NAMED: usize = 12;

/// One spelling for texts that differ in case, space or the mark at the end.
fn normal(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.trim_end_matches(['.', '?', '!', ' ']).to_lowercase()
}
