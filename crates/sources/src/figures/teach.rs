//! The program teacher: new questions about a figure, answered from its scene.
//!
//! It plays the part that a large model plays for real images, for the four kinds of augmentation:
//! other questions (`askimg`), harder ones (`compq`), the same in other words (`rephq`), the same in
//! few words (`simpq`). It only ever says what it can compute, so without a scene it says nothing.

use std::collections::BTreeSet;

use sample::{Answer, seed};
use serde_json::Value;

use super::question::{Posed, Question, int, pose, read, select, yes};
use super::random::{Rng8, chance, pick, several, whole};
use super::scene::read_scene;

/// Compositions tried for one question.
const PAIRS: usize = 60;

/// Answers a request for new pairs: one line per pair,
/// `The question is [..]. The choices are [(A) ..; (B) ..]. The answer is [..]. The unit is [..].
/// The form is [..].`, choices and unit only where there are some.
///
/// `subject` has `kind` (`askimg`, `compq`, `rephq` or `simpq`), `scene` (JSON as a string),
/// `question`, `choices`, `answer`, `template`, `unit`, `count` (how many, for `askimg`), `avoid`
/// (questions not to repeat) and `seed`.
///
/// # Errors
/// A sentence that says why there is no answer: no scene, a scene or question of another source, or
/// nothing left to ask.
pub fn teach(subject: &Value) -> Result<String, String> {
    let scene = match subject.get("scene") {
        Some(Value::String(scene)) => scene,
        None | Some(Value::Null) => {
            return Err(
                "this teacher answers from a figure's scene only, and this image has none; \
                        real images need a configured teacher"
                    .to_owned(),
            );
        }
        Some(_) => return Err("the scene must be JSON in a string".to_owned()),
    };
    let scene = read_scene(scene)?;
    teach_from(scene.family, &scene.questions, subject, &|_| None)
}

/// Answers the request from all `questions` about a scene of `family`; `understood` knows what is
/// asked in words that are none of theirs.
pub(crate) fn teach_from(
    family: &str,
    questions: &[Question],
    subject: &Value,
    understood: &dyn Fn(&str) -> Option<Question>,
) -> Result<String, String> {
    let text = |name: &str| {
        subject
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (kind, question) = (text("kind"), text("question"));
    let find = |question: &str| find(questions, question).or_else(|| understood(question));
    let mut avoid: BTreeSet<&str> = match subject.get("avoid") {
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect(),
        _ => BTreeSet::new(),
    };
    avoid.insert(question);
    let avoided = |text: &str| avoid.contains(text);
    let number = subject.get("seed").and_then(Value::as_u64).unwrap_or(0);
    let mut rng = seed::rng(number, &["teach", kind, question]);
    match kind {
        "askimg" => {
            let count = subject.get("count").and_then(Value::as_u64).unwrap_or(1);
            let count = usize::try_from(count)
                .unwrap_or(usize::MAX)
                .min(questions.len());
            let chosen = select(questions, count, &avoided, &mut rng);
            if chosen.is_empty() {
                return Err("there is nothing left to ask about this figure".to_owned());
            }
            let lines: Vec<String> = chosen
                .into_iter()
                .map(|q| line(family, &pose(q, &mut rng)))
                .collect();
            Ok(lines.join("\n"))
        }
        "compq" => {
            let original = find(question);
            let harder = compose(questions, original.as_ref(), &avoided, &mut rng)
                .ok_or("no harder question can be made from this figure")?;
            Ok(line(family, &pose(&harder, &mut rng)))
        }
        "rephq" | "simpq" => {
            let original = find(question)
                .ok_or("the question is not one that this teacher can compute from the scene")?;
            let new = if kind == "simpq" {
                Some(original.concise).filter(|c| !c.is_empty() && !avoided(c))
            } else {
                let other: Vec<String> =
                    original.forms.into_iter().filter(|f| !avoided(f)).collect();
                (!other.is_empty()).then(|| pick(&mut rng, &other))
            };
            let new = new.ok_or("there are no other words left for this question")?;
            Ok(reworded(subject, &new, text("answer"), text("template")))
        }
        other => Err(format!(
            "{other:?} is not a kind: askimg, compq, rephq or simpq"
        )),
    }
}

fn line(family: &str, posed: &Posed) -> String {
    format_line(
        &posed.question,
        &posed.choices,
        &posed.answer.text(),
        posed.unit.as_deref(),
        &format!("{family}/{}", posed.template),
    )
}

/// The pair of the subject with another question text.
fn reworded(subject: &Value, question: &str, answer: &str, template: &str) -> String {
    let choices: Vec<String> = match subject.get("choices") {
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    };
    let unit = subject.get("unit").and_then(Value::as_str);
    format_line(question, &choices, answer, unit, template)
}

fn format_line(
    question: &str,
    choices: &[String],
    answer: &str,
    unit: Option<&str>,
    template: &str,
) -> String {
    let mut line = format!("The question is [{question}].");
    if !choices.is_empty() {
        let list: Vec<String> = choices
            .iter()
            .enumerate()
            .map(|(i, c)| format!("({}) {c}", super::question::letter(i)))
            .collect();
        line.push_str(&format!(" The choices are [{}].", list.join("; ")));
    }
    line.push_str(&format!(" The answer is [{answer}]."));
    if let Some(unit) = unit {
        line.push_str(&format!(" The unit is [{unit}]."));
    }
    line.push_str(&format!(" The form is [{template}]."));
    line
}

/// The question with this text, whether the family asks it or it is composed.
fn find(questions: &[Question], text: &str) -> Option<Question> {
    let is = |q: &Question| q.texts().any(|t| t == text);
    if let Some(found) = questions.iter().find(|q| is(q)) {
        return Some(found.clone());
    }
    let measured = measured(questions);
    for a in &measured {
        for b in &measured {
            for operation in Operation::ALL {
                if let Some(made) = combine(operation, a, b)
                    && is(&made)
                {
                    return Some(made);
                }
            }
        }
    }
    None
}

/// Questions whose answers can be calculated with.
pub(super) fn measured(questions: &[Question]) -> Vec<&Question> {
    questions.iter().filter(|q| q.quantity.is_some()).collect()
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Operation {
    Sum,
    Difference,
    Compare,
}

impl Operation {
    pub(super) const ALL: [Operation; 3] =
        [Operation::Sum, Operation::Difference, Operation::Compare];
}

fn whole_answer(q: &Question) -> Option<i64> {
    match q.answer {
        Answer::Integer(n) => Some(n),
        _ => None,
    }
}

/// The sum of three different quantities.
pub(super) fn sum_of_three(a: &Question, b: &Question, c: &Question) -> Option<Question> {
    let (x, y, z) = (
        a.quantity.as_ref()?,
        b.quantity.as_ref()?,
        c.quantity.as_ref()?,
    );
    let sum = whole_answer(a)?
        .checked_add(whole_answer(b)?)?
        .checked_add(whole_answer(c)?)?;
    if x == y || y == z || x == z || a.unit != b.unit || b.unit != c.unit {
        return None;
    }
    let mut made = read(
        "sum_of_three",
        int(sum),
        [
            format!("What is the sum of {x}, {y} and {z}?"),
            format!("What do you get when you add {x}, {y} and {z}?"),
            format!("{x} plus {y} plus {z}?"),
        ],
    );
    made.unit.clone_from(&a.unit);
    Some(
        made.steps(
            a.steps
                .saturating_add(b.steps)
                .saturating_add(c.steps)
                .saturating_add(2),
        ),
    )
}

/// `k` times the sum of two different quantities.
pub(super) fn multiple(k: i64, a: &Question, b: &Question) -> Option<Question> {
    let (x, y) = (a.quantity.as_ref()?, b.quantity.as_ref()?);
    let product = whole_answer(a)?
        .checked_add(whole_answer(b)?)?
        .checked_mul(k)?;
    if x == y || a.unit != b.unit {
        return None;
    }
    let mut made = read(
        "multiple_of_sum",
        int(product),
        [
            format!("What is {k} times the sum of {x} and {y}?"),
            format!("Add {x} and {y}, then multiply by {k}. What do you get?"),
            format!("{k} times the sum of {x} and {y}?"),
        ],
    );
    made.unit.clone_from(&a.unit);
    Some(made.steps(a.steps.saturating_add(b.steps).saturating_add(2)))
}

/// A question about two measured quantities together.
pub(super) fn combine(operation: Operation, a: &Question, b: &Question) -> Option<Question> {
    let (Some(x), Some(y)) = (&a.quantity, &b.quantity) else {
        return None;
    };
    let (Answer::Integer(m), Answer::Integer(n)) = (&a.answer, &b.answer) else {
        return None;
    };
    if x == y || a.unit != b.unit {
        return None;
    }
    let made = match operation {
        Operation::Sum => read(
            "sum_of_two",
            int(m.checked_add(*n)?),
            [
                format!("What is the sum of {x} and {y}?"),
                format!("What do you get when you add {x} and {y}?"),
                format!("{x} plus {y}?"),
            ],
        ),
        Operation::Difference => read(
            "difference_of_two",
            int(m.checked_sub(*n)?.checked_abs()?),
            [
                format!("What is the difference between {x} and {y}?"),
                format!("How far apart are {x} and {y}?"),
                format!("Difference of {x} and {y}?"),
            ],
        ),
        Operation::Compare if m == n => return None,
        Operation::Compare => read(
            "compare_two",
            yes(m > n),
            [
                format!("Is {x} greater than {y}?"),
                format!("Compare the two: is {x} more than {y}?"),
                format!("{x} more than {y}?"),
            ],
        ),
    };
    let mut made = made.steps(a.steps.saturating_add(b.steps).saturating_add(1));
    if !matches!(operation, Operation::Compare) {
        made.unit.clone_from(&a.unit);
    }
    Some(made)
}

/// A question that needs more steps than `original`: one of the family's own, or one about two
/// quantities, with that of `original` among them where it has one.
fn compose(
    questions: &[Question],
    original: Option<&Question>,
    avoided: &dyn Fn(&str) -> bool,
    rng: &mut Rng8,
) -> Option<Question> {
    let steps = original.map_or(1, |q| q.steps);
    let own: Vec<&Question> = questions
        .iter()
        .filter(|q| q.steps > steps && q.steps > 2 && !q.texts().any(avoided))
        .collect();
    let composed = |rng: &mut Rng8| {
        let all = measured(questions);
        let first: Vec<&Question> = match original {
            Some(q) if q.quantity.is_some() => vec![q],
            _ => all.clone(),
        };
        for round in 0..PAIRS {
            if first.is_empty() || all.len() < 2 {
                return None;
            }
            let (mut a, mut b) = (pick(rng, &first), pick(rng, &all));
            // Either order, so that comparisons have both answers.
            if chance(rng, 0.5) {
                std::mem::swap(&mut a, &mut b);
            }
            let operation = pick(rng, &Operation::ALL);
            let made = if round < PAIRS / 2 {
                combine(operation, a, b)
            } else {
                // The original takes many steps already: a product of the sum, or three terms.
                let (c, k) = (pick(rng, &all), whole(rng, 2, 4));
                if chance(rng, 0.5) {
                    sum_of_three(a, b, c)
                } else {
                    multiple(k, a, b)
                }
            };
            if let Some(made) = made
                && made.steps > steps
                && !made.texts().any(avoided)
            {
                return Some(made);
            }
        }
        None
    };
    let from_own = |rng: &mut Rng8| several(rng, &own, 1).first().map(|q| (*q).clone());
    if chance(rng, 0.4) {
        from_own(rng).or_else(|| composed(rng))
    } else {
        composed(rng).or_else(|| from_own(rng))
    }
}
