//! What makes a kind of augmentation: its prompt, how many pairs it makes, whose answer they have.
//!
//! One kind is one file under `kinds/`, one prompt file, and one line in [`AUGMENTATIONS`].

use sample::{Answer, Sample};

use crate::kinds;

/// Every kind, in the order that pairs of one image are asked for and written.
pub static AUGMENTATIONS: &[&dyn Augmentation] =
    &[&kinds::AskImg, &kinds::CompQ, &kinds::RephQ, &kinds::SimpQ];

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

/// The prompt's text without its comment line.
pub fn prompt_body(file: &str) -> &str {
    match file.split_once('\n') {
        Some((first, rest)) if first.starts_with('#') => rest,
        _ => file,
    }
}

/// The prompt with its places filled in. Braces in what is filled in stay as they are.
pub fn fill(augmentation: &dyn Augmentation, asked: &Asked<'_>) -> String {
    let mut filled = String::new();
    let mut rest = prompt_body(augmentation.prompt_file());
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        match after
            .split_once('}')
            .and_then(|(name, after)| Some((place(name, asked)?, after)))
        {
            Some((value, after)) => {
                filled.push_str(&value);
                rest = after;
            }
            None => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
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
        "question" => parent.question.clone(),
        "answer" => answer_line(parent),
        "choices" => match crate::reply::print_choices(&parent.choices) {
            choices if choices.is_empty() => String::new(),
            choices => format!("\nChoices: {choices}"),
        },
        "unit" => parent
            .unit
            .as_ref()
            .map_or_else(String::new, |u| format!("\nUnit: {u}")),
        "demonstrations" => lines(&asked.demonstrations),
        "avoid" => lines(&asked.avoid),
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
