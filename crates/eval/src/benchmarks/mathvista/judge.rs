//! What a judge is asked: to find the answer in a reply that the rules do not settle.
//!
//! The official prompt is an instruction and worked examples, then the query and the reply, then
//! `Extracted answer: `. Its text belongs to the benchmark's authors under CC BY-SA 4.0; where the
//! data folder is a checkout of their repository, it is read from there. Else the examples are ours,
//! in the same form, and the score's provenance says so.

use std::path::Path;

use crate::Error;
use crate::data::json;
use crate::python::{Literal, literal_eval};

/// Where the authors keep their prompt.
const OFFICIAL: &str = "evaluation/prompts/ext_ans.py";
/// Where a user may keep another.
const GIVEN: &str = "prompts/extract.txt";

/// Our instruction and examples, one for each form of answer.
pub(super) const OURS: &str = "\
Read the examples below. Then read the last question and the reply to it, and write only the answer \
that the reply gives, in the form that the hint asks for. Do not solve the question yourself. If the \
reply gives no answer, write nothing.

Hint: Please answer the question requiring an integer answer and provide the final value, e.g., 1, 2, 3, at the end.
Question: How many bars are taller than 40?

Model response: Three of the bars reach above the line at 40, so there are 3.

Extracted answer: 3

Hint: Please answer the question requiring a floating-point number with one decimal place and provide the final value, e.g., 1.2, 1.3, 1.4, at the end.
Question: What is the mean of the four readings?

Model response: (2.0 + 2.5 + 3.1 + 2.8) / 4 = 10.4 / 4, which makes 2.6 volts.

Extracted answer: 2.6

Hint: Please answer the question requiring a floating-point number with two decimal places and provide the final value, e.g., 1.23, 1.34, 1.45, at the end.
Question: What share of the circle is shaded?

Model response: I cannot see the circle, so I am unable to tell.

Extracted answer:

Hint: Please answer the question requiring a Python list as an answer and provide the final list, e.g., [1, 2, 3], [1.2, 1.3, 1.4], at the end.
Question: In which two months was the rainfall equal?

Model response: The fourth and the ninth month have the same rainfall.

Extracted answer: [4, 9]

Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.
Question: Which shape has the most corners?
Choices:
(A) the triangle
(B) the hexagon
(C) the square

Model response: A hexagon has six corners, more than the others, so the answer is (B).

Extracted answer: B";

/// The instruction and examples in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Whose text it is, for a score's provenance: `official`, `given` or `ours`.
    pub name: &'static str,
    /// The text, without white space around.
    pub text: String,
}

impl Default for Prompt {
    fn default() -> Prompt {
        Prompt {
            name: "ours",
            text: OURS.to_owned(),
        }
    }
}

/// The prompt for the benchmark in `folder`: the user's in `prompts/extract.txt`, else the authors' in
/// `evaluation/prompts/ext_ans.py` (read as data, never run), else ours.
///
/// # Errors
/// Where a file is there and cannot be read.
pub fn prompt(folder: &Path) -> Result<Prompt, Error> {
    let given = folder.join(GIVEN);
    if given.is_file() {
        let text = json::read_text(&given)?;
        return Ok(Prompt {
            name: "given",
            text: text.trim().to_owned(),
        });
    }
    let official = folder.join(OFFICIAL);
    if !official.is_file() {
        return Ok(Prompt::default());
    }
    let code = json::read_text(&official)?;
    let text = assigned(&code, "demo_prompt").and_then(|value| match value {
        Literal::Str(text) => Some(text),
        _ => None,
    });
    match text {
        Some(text) => Ok(Prompt {
            name: "official",
            text: text.trim().to_owned(),
        }),
        None => Err(Error::Data {
            path: official,
            detail: format!(
                "has no text called demo_prompt; write the prompt to {GIVEN} in the data folder"
            ),
        }),
    }
}

/// The whole question to the judge.
pub fn ask(prompt: &str, query: &str, response: &str) -> String {
    format!("{prompt}\n\n{query}\n\n{response}\n\nExtracted answer: ")
}

/// The literal that a Python file assigns to a name at the start of a line.
pub(super) fn assigned(code: &str, name: &str) -> Option<Literal> {
    let mut at = 0;
    while let Some(found) = code[at..].find(name) {
        let start = at + found;
        at = start + name.len();
        let own_line = start == 0 || code[..start].ends_with('\n');
        let value = code[at..].trim_start_matches(' ').strip_prefix('=');
        if let (true, Some(value)) = (own_line, value) {
            return leading_literal(value.trim_start_matches(' '));
        }
    }
    None
}

/// The literal that a text starts with. What comes after it in a file is code, so the end is where
/// the text up to a line's end reads.
fn leading_literal(text: &str) -> Option<Literal> {
    // The value's own brackets or quotes close at one of these line ends; few are tried.
    const TRIES: usize = 64;
    let close = match text.chars().next()? {
        '[' => "\n]",
        '"' if text.starts_with("\"\"\"") => "\"\"\"",
        '\'' if text.starts_with("'''") => "'''",
        _ => "\n",
    };
    text.match_indices(close)
        .filter(|(at, _)| *at > 0)
        .take(TRIES)
        .find_map(|(at, _)| literal_eval(&text[..at + close.len()]).ok())
}
