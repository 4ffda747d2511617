//! Questions computed from a scene, and how some of them are chosen and put.
//!
//! A family lists *every* question it can ask about a scene, with its answer. Choosing comes after,
//! here, in one place: by template, then by answer, then by instance. So within a template each
//! possible answer has the same chance as far as scenes allow, and what a guesser who sees no image
//! can win from a template stays small.

use rand::seq::SliceRandom;
use sample::Answer;

use super::random::{Rng8, chance, count, pick};

/// Share of questions that a small copy of the figure is enough for.
const PERCEPTUAL_SHARE: f64 = 0.72;
/// Share of multiple choice among the questions that have wrong answers to offer.
const CHOICE_SHARE: f64 = 0.3;

/// One question about a scene, in all its forms.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Question {
    /// Names the form of the question within its family.
    pub template: &'static str,
    /// The same question in different words.
    pub forms: Vec<String>,
    /// The same question in few words.
    pub concise: String,
    /// Never [`Answer::Choice`]: choices are made when the question is put.
    pub answer: Answer,
    /// Plausible wrong answers; a question without any is never multiple choice.
    pub distractors: Vec<String>,
    pub unit: Option<String>,
    /// Readings and calculations needed.
    pub steps: u8,
    /// What a numeric answer measures, "the number of bars", so that it can be calculated with.
    pub quantity: Option<String>,
    /// Whether a small copy of the figure, without its small print, is enough.
    pub perceptual: bool,
}

fn ask<S: Into<String>, const N: usize>(
    template: &'static str,
    answer: Answer,
    forms: [S; N],
) -> Question {
    let mut forms: Vec<String> = forms
        .into_iter()
        .map(|form| capitalised(form.into()))
        .collect();
    let concise = forms.pop().unwrap_or_default();
    Question {
        template,
        forms,
        concise,
        answer,
        distractors: Vec::new(),
        unit: None,
        steps: 1,
        quantity: None,
        perceptual: false,
    }
}

/// Forms may begin with a name or a colour from the scene.
fn capitalised(mut text: String) -> String {
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

/// A question that marks and colours answer; the last of `forms` is the concise one.
pub(crate) fn seen<S: Into<String>, const N: usize>(
    template: &'static str,
    answer: Answer,
    forms: [S; N],
) -> Question {
    Question {
        perceptual: true,
        ..ask(template, answer, forms)
    }
}

/// A question that needs the small print read; the last of `forms` is the concise one.
pub(crate) fn read<S: Into<String>, const N: usize>(
    template: &'static str,
    answer: Answer,
    forms: [S; N],
) -> Question {
    ask(template, answer, forms)
}

impl Question {
    /// Needs this many readings and calculations.
    pub fn steps(mut self, steps: u8) -> Self {
        self.steps = steps;
        self
    }

    /// The numeric answer measures this.
    pub fn measures(mut self, quantity: impl Into<String>) -> Self {
        self.quantity = Some(quantity.into());
        self
    }

    /// The answer is in this unit.
    pub fn unit(mut self, unit: &str) -> Self {
        self.unit = Some(unit.to_owned());
        self
    }

    /// May be put as multiple choice, with wrong answers from `pool`.
    pub fn among(mut self, pool: Vec<String>) -> Self {
        let right = self.answer.text();
        self.distractors = pool;
        self.distractors.retain(|d| *d != right);
        let mut seen = std::collections::BTreeSet::new();
        self.distractors.retain(|d| seen.insert(d.clone()));
        self
    }

    /// May be put as multiple choice, with wrong numbers close to the right one.
    pub fn near_misses(self) -> Self {
        let pool = match &self.answer {
            Answer::Integer(n) => [1, -1, 2, -2, 3, 5, 10, -3]
                .into_iter()
                .map(|d| n + d)
                .filter(|v| *v >= 0)
                .map(|v| v.to_string())
                .collect(),
            Answer::Decimal { value, places } => {
                let places = usize::from(*places);
                [0.5, 2.0, 1.1, 0.9, 1.25]
                    .into_iter()
                    .map(|f| format!("{:.places$}", value * f))
                    .collect()
            }
            _ => Vec::new(),
        };
        self.among(pool)
    }

    /// The forms and the concise form.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.forms
            .iter()
            .map(String::as_str)
            .chain([self.concise.as_str()])
    }
}

pub(crate) fn int(n: impl TryInto<i64>) -> Answer {
    Answer::Integer(n.try_into().unwrap_or(i64::MAX))
}

pub(crate) fn word(text: impl Into<String>) -> Answer {
    Answer::Text(text.into())
}

pub(crate) fn yes(is: bool) -> Answer {
    Answer::Text(if is { "yes" } else { "no" }.to_owned())
}

pub(crate) fn decimal(value: f64, places: u8) -> Answer {
    Answer::Decimal { value, places }
}

pub(crate) fn list(items: impl IntoIterator<Item = impl Into<String>>) -> Answer {
    Answer::List(items.into_iter().map(Into::into).collect())
}

/// `A`, `B`, ... for 0, 1, ...
pub(crate) fn letter(index: usize) -> String {
    char::from(b'A' + u8::try_from(index % 26).unwrap_or(0)).to_string()
}

/// `first`, `second`, ... for 0, 1, ...
pub(crate) fn ordinal(index: usize) -> &'static str {
    const ALL: [&str; 9] = [
        "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth",
    ];
    ALL.get(index).copied().unwrap_or("last")
}

/// A question as it is put: one of its forms, with choices or without.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Posed {
    /// Ends in `_choice` for multiple choice: another form of question, another guess.
    pub template: String,
    pub question: String,
    pub choices: Vec<String>,
    pub answer: Answer,
    pub unit: Option<String>,
}

/// Puts `question` in one of its forms.
pub(crate) fn pose(question: &Question, rng: &mut Rng8) -> Posed {
    let text = pick(rng, &question.forms);
    if question.distractors.is_empty() || !chance(rng, CHOICE_SHARE) {
        return Posed {
            template: question.template.to_owned(),
            question: text,
            choices: Vec::new(),
            answer: question.answer.clone(),
            unit: question.unit.clone(),
        };
    }
    let mut choices = question.distractors.clone();
    choices.shuffle(rng);
    choices.truncate(3);
    let right = count(rng, 0, choices.len());
    choices.insert(right, question.answer.text());
    Posed {
        template: format!("{}_choice", question.template),
        question: text,
        choices,
        answer: Answer::Choice(right),
        unit: question.unit.clone(),
    }
}

/// Up to `n` of `questions`, different templates first; none whose text `avoid` has.
pub(crate) fn select<'a>(
    questions: &'a [Question],
    n: usize,
    avoid: &dyn Fn(&str) -> bool,
    rng: &mut Rng8,
) -> Vec<&'a Question> {
    let mut left: Vec<&Question> = questions.iter().filter(|q| !q.texts().any(avoid)).collect();
    let mut taken: Vec<&Question> = Vec::new();
    while taken.len() < n && !left.is_empty() {
        let perceptual = chance(rng, PERCEPTUAL_SHARE);
        let fresh = |q: &&Question| !taken.iter().any(|t| t.template == q.template);
        let wanted = |q: &&&Question| q.perceptual == perceptual && fresh(q);
        let mut pool: Vec<&Question> = left.iter().filter(wanted).copied().collect();
        if pool.is_empty() {
            pool = left.iter().filter(|q| fresh(q)).copied().collect();
        }
        if pool.is_empty() {
            pool.clone_from(&left);
        }
        let mut templates: Vec<&str> = pool.iter().map(|q| q.template).collect();
        templates.sort_unstable();
        templates.dedup();
        let template = pick(rng, &templates);
        pool.retain(|q| q.template == template);
        let mut answers: Vec<String> = pool.iter().map(|q| q.answer.text()).collect();
        answers.sort_unstable();
        answers.dedup();
        let answer = pick(rng, &answers);
        pool.retain(|q| q.answer.text() == answer);
        let question = pick(rng, &pool);
        left.retain(|q| q.template != question.template || q.forms != question.forms);
        taken.push(question);
    }
    taken
}
