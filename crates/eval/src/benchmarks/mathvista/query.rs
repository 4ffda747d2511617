//! How MathVista's questions are put: the published zero-shot form, and the forms with worked
//! examples, captions and detected text of the language models in the paper.
//!
//! The zero-shot form is what `data/query.json` holds: hint, question with its unit, choices. (Some
//! published outputs were asked ten of the questions with other choices, or in another order.)
//!
//! The other forms put the question first, then choices, caption, detected text, hint, and the word
//! that the solution or program is to follow; before it, worked examples
//! ([`super::demonstrations`]).

use std::collections::HashMap;
use std::path::Path;

use super::demonstrations::Demonstration;
use crate::data::json::{self, Json};
use crate::python::{Literal, int_of_float, literal_eval, strip};
use crate::{Error, Item, Kind};

/// What a worked example shows, and the reply is to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Shot {
    /// A solution in words.
    #[default]
    Solution,
    /// A Python program.
    Code,
}

/// A form of query for models that read text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Form {
    /// What the examples show.
    pub shot: Shot,
    /// Worked examples before the question; no more than there are.
    pub shots: usize,
    /// Whether captions stand for the image.
    pub captions: bool,
    /// Whether text that a program detected in the image is given.
    pub ocr: bool,
}

/// Captions and detected texts by question, as the benchmark publishes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    /// Captions by a model, as it wrote them.
    pub captions: HashMap<String, String>,
    /// Detected texts: Python's print of a list of (corners, text, confidence).
    pub ocr: HashMap<String, String>,
}

impl Texts {
    /// Reads `data/texts/captions_bard.json` and `data/texts/ocrs_easyocr.json` of the benchmark in
    /// `folder`, of which only those that `form` needs must be there.
    ///
    /// # Errors
    /// Where one is missing or is not an object with `texts` by question.
    pub fn load(folder: &Path, form: &Form) -> Result<Texts, Error> {
        let read = |wanted: bool, name: &str| {
            if wanted {
                texts(&super::in_data(folder, &format!("texts/{name}")))
            } else {
                Ok(HashMap::new())
            }
        };
        Ok(Texts {
            captions: read(form.captions, "captions_bard.json")?,
            ocr: read(form.ocr, "ocrs_easyocr.json")?,
        })
    }
}

fn texts(path: &Path) -> Result<HashMap<String, String>, Error> {
    let file = json::read(path)?;
    let entries = file.get("texts").and_then(Json::as_object);
    let Some(entries) = entries else {
        return Err(Error::Data {
            path: path.to_owned(),
            detail: "has no object called texts with a text for each question".to_owned(),
        });
    };
    Ok(entries
        .iter()
        .filter_map(|(id, text)| Some((id.clone(), text.as_str()?.to_owned())))
        .collect())
}

/// The published zero-shot query.
pub fn zero_shot(item: &Item) -> String {
    let mut lines = vec![hint(item), question(item)];
    lines.extend(choices(&item.choices));
    strip(&lines.join("\n")).to_owned()
}

/// The query of a form: `form.shots` of the examples, then the question.
///
/// # Errors
/// Where an example lacks what the form shows of it.
pub fn few_shot(
    item: &Item,
    form: &Form,
    examples: &[Demonstration],
    texts: &Texts,
) -> Result<String, Error> {
    let mut parts = Vec::with_capacity(form.shots + 1);
    for example in examples.iter().take(form.shots) {
        parts.push(example.shown(form)?);
    }
    let mut shown = parts.join("\n\n");
    // Official code has the gap even after no examples, and strips the whole.
    shown.push_str("\n\n");
    shown.push_str(&asked(item, form, texts));
    Ok(strip(&shown).to_owned())
}

/// The question's own part of a query.
pub(super) fn asked(item: &Item, form: &Form, texts: &Texts) -> String {
    let mut lines = vec![question(item)];
    lines.extend(choices(&item.choices));
    if form.captions
        && let Some(caption) = texts.captions.get(&item.id).map(|text| refined(text))
        && !caption.is_empty()
    {
        lines.push(format!("Image description: {caption}"));
    }
    if form.ocr {
        // For a question that the texts lack, official code prints its own empty list.
        let found = texts
            .ocr
            .get(&item.id)
            .map_or_else(|| "[]".to_owned(), |text| corners_and_texts(text));
        if !found.is_empty() {
            lines.push(format!("Image detected text: {found}"));
        }
    }
    match form.shot {
        Shot::Solution => lines.extend([hint(item), "Solution: ".to_owned()]),
        Shot::Code => lines.extend([
            "Hint: Please generate a python code to solve the problem".to_owned(),
            "Python code: ".to_owned(),
        ]),
    }
    lines.join("\n")
}

/// What kind of answer is wanted, in the benchmark's words; for the one case that official code has
/// no words for, a float with other places than one or two, in words alike.
fn hint(item: &Item) -> String {
    let wanted = match item.kind {
        Kind::MultiChoice | Kind::Open => {
            return "Hint: Please answer the question and provide the correct option letter, e.g., A, \
                    B, C, D, at the end."
                .to_owned();
        }
        Kind::Integer => "an integer answer and provide the final value, e.g., 1, 2, 3",
        Kind::List => {
            "a Python list as an answer and provide the final list, e.g., [1, 2, 3], [1.2, 1.3, 1.4]"
        }
        Kind::Float => match item.precision {
            Some(1.0) => {
                "a floating-point number with one decimal place and provide the final value, e.g., \
                 1.2, 1.3, 1.4"
            }
            Some(2.0) => {
                "a floating-point number with two decimal places and provide the final value, e.g., \
                 1.23, 1.34, 1.45"
            }
            _ => {
                let places = item.precision.and_then(int_of_float);
                let places = places.map_or(String::new(), |n| format!(" with {n} decimal places"));
                return format!(
                    "Hint: Please answer the question requiring a floating-point number{places} and \
                     provide the final value at the end."
                );
            }
        },
    };
    format!("Hint: Please answer the question requiring {wanted}, at the end.")
}

fn question(item: &Item) -> String {
    match item.unit.as_deref() {
        Some(unit) if !unit.is_empty() => format!("Question: {} (Unit: {unit})", item.question),
        _ => format!("Question: {}", item.question),
    }
}

/// `Choices:` and a line for each; nothing where there are none.
pub(super) fn choices(choices: &[String]) -> Vec<String> {
    let mut lines = Vec::new();
    if !choices.is_empty() {
        lines.push("Choices:".to_owned());
    }
    for (choice, code) in choices.iter().zip('A'..) {
        lines.push(format!("({code}) {choice}"));
    }
    lines
}

/// A caption without the phrases of the assistant that wrote it.
pub(super) fn refined(caption: &str) -> String {
    // In the official order, each gone everywhere and the ends stripped in between.
    const PHRASES: [&str; 9] = [
        "Sure. ",
        "Sure, I can do that.",
        "Sorry, I can't help with images of people yet.",
        "I can't process this file.",
        "I'm unable to help you with that, as I'm only a language model and don't have the necessary \
         information or abilities.",
        "I'm not programmed to assist with that.",
        "Please let me know if you have any other questions.",
        "I hope this is helpful!",
        "I hope this helps!",
    ];
    let mut text = caption.to_owned();
    for phrase in PHRASES {
        text = strip(&text.replace(phrase, "")).to_owned();
    }
    strip(&text.replace("  ", " ")).to_owned()
}

/// A detected text as it is printed: of each piece its first corner, in whole pixels, and its text.
/// Empty where there are no pieces, or where the text is not such a list.
pub(super) fn corners_and_texts(detected: &str) -> String {
    let Ok(Literal::List(pieces)) = literal_eval(detected) else {
        return String::new();
    };
    if pieces.is_empty() {
        return String::new();
    }
    let printed: Option<Vec<String>> = pieces.iter().map(piece).collect();
    printed.map_or_else(String::new, |pieces| format!("[{}]", pieces.join(", ")))
}

fn piece(piece: &Literal) -> Option<String> {
    let at = |value: &Literal, index: usize| match value {
        Literal::List(items) | Literal::Tuple(items) => items.get(index).cloned(),
        _ => None,
    };
    let whole = |value: Literal| match value {
        Literal::Int(digits) => Some(digits),
        Literal::Float(value) => int_of_float(value),
        _ => None,
    };
    let corner = at(&at(piece, 0)?, 0)?;
    let (x, y) = (whole(at(&corner, 0)?)?, whole(at(&corner, 1)?)?);
    Some(format!("([{x}, {y}], {})", at(piece, 1)?))
}
