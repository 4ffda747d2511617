//! The worked examples before a query: where they come from, and how they are shown.
//!
//! The authors' examples are theirs, under CC BY-SA 4.0, and are not kept here. They are read, as data,
//! from a checkout of their repository (`evaluation/build_query.py`), from a file of the user's in the
//! same shape (`prompts/demonstrations.json`: a list of objects with question, choices, caption, ocr,
//! solution and code), or out of queries that published outputs repeat.

use std::path::Path;

use super::judge::assigned;
use super::query::{self, Form, Shot, Texts};
use crate::data::json;
use crate::python::{Literal, strip};
use crate::{Error, Item};

/// Where the authors keep their examples.
const OFFICIAL: &str = "evaluation/build_query.py";
/// Where a user may keep others.
const GIVEN: &str = "prompts/demonstrations.json";

/// One worked example. A part that is `None` is not known; an empty one is known to be none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demonstration {
    /// The question.
    pub question: String,
    /// Its choices.
    pub choices: Vec<String>,
    /// What its image shows.
    pub caption: Option<String>,
    /// The text in its image, as it is printed.
    pub ocr: Option<String>,
    /// Its solution in words.
    pub solution: Option<String>,
    /// Its solution as a program.
    pub code: Option<String>,
}

impl Demonstration {
    /// The example as a query shows it.
    pub(super) fn shown(&self, form: &Form) -> Result<String, Error> {
        let known = |part: &Option<String>, name: &str| {
            part.clone().ok_or_else(|| Error::Config {
                setting: "demonstrations",
                detail: format!(
                    "the {name} of the example {:?} is not known; give it in {GIVEN}, or take the \
                     examples from a checkout of the benchmark's repository",
                    self.question
                ),
            })
        };
        let mut lines = vec![format!("Question: {}", self.question)];
        lines.extend(query::choices(&self.choices));
        if form.captions {
            let caption = known(&self.caption, "caption")?;
            lines.extend((!caption.is_empty()).then(|| format!("Image description: {caption}")));
        }
        if form.ocr {
            let ocr = known(&self.ocr, "detected text")?;
            lines.extend((!ocr.is_empty()).then(|| format!("Image detected text: {ocr}")));
        }
        lines.push(match form.shot {
            Shot::Solution => format!("Solution: {}", strip(&known(&self.solution, "solution")?)),
            Shot::Code => format!("Python code: {}", strip(&known(&self.code, "code")?)),
        });
        Ok(lines.join("\n"))
    }

    /// Takes over the parts that only `other` knows.
    fn complete(&mut self, other: Demonstration) {
        let Demonstration {
            caption,
            ocr,
            solution,
            code,
            ..
        } = other;
        self.caption = self.caption.take().or(caption);
        self.ocr = self.ocr.take().or(ocr);
        self.solution = self.solution.take().or(solution);
        self.code = self.code.take().or(code);
    }
}

/// The examples for the benchmark in `folder`: the user's, else the authors'; none where it has
/// neither.
///
/// # Errors
/// Where a file is there and does not hold examples.
pub fn load(folder: &Path) -> Result<Vec<Demonstration>, Error> {
    let (given, official) = (folder.join(GIVEN), folder.join(OFFICIAL));
    let (path, examples) = if given.is_file() {
        let file = json::read(&given)?;
        (given, Some(file.to_python()))
    } else if official.is_file() {
        let code = json::read_text(&official)?;
        (official, assigned(&code, "shot_examples"))
    } else {
        return Ok(Vec::new());
    };
    let examples = match examples {
        Some(Literal::List(items)) => items.iter().map(demonstration).collect(),
        _ => None,
    };
    examples.ok_or_else(|| Error::Data {
        path,
        detail: "has no list of examples with question, choices, caption, ocr, solution and code"
            .to_owned(),
    })
}

fn demonstration(example: &Literal) -> Option<Demonstration> {
    let Literal::Dict(entries) = example else {
        return None;
    };
    let part = |name: &str| {
        let named = |key: &Literal| matches!(key, Literal::Str(key) if key == name);
        entries.iter().rev().find(|(key, _)| named(key))
    };
    // An example that has no caption or detected text shows none.
    let text = |name: &str| match part(name) {
        Some((_, Literal::Str(text))) => Some(text.clone()),
        _ => None,
    };
    let choices = match part("choices") {
        Some((_, Literal::List(items))) => items.iter().map(Literal::to_str).collect(),
        _ => Vec::new(),
    };
    Some(Demonstration {
        question: text("question")?,
        choices,
        caption: Some(text("caption").unwrap_or_default()),
        ocr: Some(text("ocr").unwrap_or_default()),
        solution: text("solution"),
        code: text("code"),
    })
}

/// The examples that a published query repeats before its question; `None` where the query does not
/// end with the question in this form. Parts that the form leaves out are not known.
pub fn from_query(
    query: &str,
    item: &Item,
    form: &Form,
    texts: &Texts,
) -> Option<Vec<Demonstration>> {
    let own = query::asked(item, form, texts);
    let before = query.strip_suffix(own.trim_end())?.strip_suffix("\n\n")?;
    before
        .strip_prefix("Question: ")?
        .split("\n\nQuestion: ")
        .map(|example| split(example, form))
        .collect()
}

/// Takes one example apart.
fn split(example: &str, form: &Form) -> Option<Demonstration> {
    let last = match form.shot {
        Shot::Solution => "\nSolution: ",
        Shot::Code => "\nPython code: ",
    };
    let (mut head, worked) = example.split_once(last)?;
    let mut cut = |mark: &str| {
        let (before, part) = head.split_once(mark)?;
        head = before;
        Some(part.to_owned())
    };
    let ocr = form
        .ocr
        .then(|| cut("\nImage detected text: ").unwrap_or_default());
    let caption = form
        .captions
        .then(|| cut("\nImage description: ").unwrap_or_default());
    let choices = cut("\nChoices:\n").unwrap_or_default();
    let choices = choices
        .split('\n')
        .filter_map(|line| Some(line.get(4..)?.to_owned()))
        .collect();
    let worked = Some(worked.to_owned());
    let (solution, code) = match form.shot {
        Shot::Solution => (worked, None),
        Shot::Code => (None, worked),
    };
    Some(Demonstration {
        question: head.to_owned(),
        choices,
        caption,
        ocr,
        solution,
        code,
    })
}

/// Examples that are known from several places, made one: the parts that `known` lacks are taken from
/// the example in `more` with the same question.
pub fn merge(known: &mut Vec<Demonstration>, more: Vec<Demonstration>) {
    for example in more {
        match known.iter_mut().find(|k| k.question == example.question) {
            Some(same) => same.complete(example),
            None => known.push(example),
        }
    }
}
