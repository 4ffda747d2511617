//! What makes a kind of augmentation: its prompt, how many pairs it makes, whose answer they have.
//!
//! One kind is one file under `kinds/`, one prompt file, and one line in [`AUGMENTATIONS`].

use sample::{Answer, Sample};

use crate::form::Numbers;
use crate::kinds;
use crate::prompts::Prompts;

/// How many kinds there are.
pub const KINDS: usize = 4;

/// Every kind, in the order that pairs of one image are asked for and written.
pub static AUGMENTATIONS: [&dyn Augmentation; KINDS] =
    [&kinds::AskImg, &kinds::CompQ, &kinds::RephQ, &kinds::SimpQ];

/// One kind of augmentation.
pub trait Augmentation: Sync {
    /// Its name in ids and configurations, `askimg`.
    fn name(&self) -> &'static str;
    /// How many pairs of this kind the paper makes of an image.
    fn pairs_per_image(&self) -> usize;
    /// The prompt file: a comment line with its version, then the text with `{places}`.
    fn prompt_file(&self) -> &'static str;
    /// Whether the new question has the old answer, so that the teacher only words it.
    fn inherits_answer(&self) -> bool;
    /// Whether the answer is what reasoned solutions agree on, rather than what the teacher said
    /// when it made the question.
    fn answer_by_agreement(&self) -> bool {
        false
    }
    /// What must become of the original's numbers.
    fn numbers(&self) -> Option<Numbers> {
        None
    }
}

/// What a prompt is about.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// The pair that new ones are made from.
    pub parent: &'a Sample,
    /// How many are wanted.
    pub count: usize,
    /// Questions about other images, as examples of style.
    pub demonstrations: Vec<&'a str>,
    /// Questions that must not come again: all that are asked about the image.
    pub avoid: Vec<&'a str>,
}

/// The kind with this name.
pub fn find(name: &str) -> Option<&'static dyn Augmentation> {
    AUGMENTATIONS.iter().copied().find(|a| a.name() == name)
}

/// The prompt of a kind with its places filled in.
pub fn fill(prompts: &Prompts, kind: &dyn Augmentation, asked: &Asked<'_>) -> String {
    prompts.fill(kind.name(), |name| place(name, asked))
}

fn place(name: &str, asked: &Asked<'_>) -> Option<String> {
    let lines = |texts: &[&str]| {
        texts
            .iter()
            .map(|t| format!("- {}", one_line(t)))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let parent = asked.parent;
    Some(match name {
        "count" => match asked.count {
            1 => "one question".to_owned(),
            n => format!("{n} questions"),
        },
        "answer" => answer_line(parent),
        "demonstrations" => lines(&asked.demonstrations),
        "avoid" => lines(&asked.avoid),
        _ => {
            return question_place(
                name,
                &parent.question,
                &parent.choices,
                parent.unit.as_deref(),
            );
        }
    })
}

/// The places that say a question.
pub(crate) fn question_place(
    name: &str,
    question: &str,
    choices: &[String],
    unit: Option<&str>,
) -> Option<String> {
    Some(match name {
        "question" => question.to_owned(),
        "choices" => match crate::reply::print_choices(choices) {
            choices if choices.is_empty() => String::new(),
            choices => format!("\nChoices: {choices}"),
        },
        "unit" => unit.map_or_else(String::new, |unit| format!("\nUnit: {unit}")),
        _ => return None,
    })
}

fn answer_line(parent: &Sample) -> String {
    match parent.answer {
        Answer::Choice(_) => format!("{} ({})", parent.answer.text(), parent.answer_value()),
        _ => parent.answer.text(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
