//! The prompt form of MathV360K, which training and evaluation both use.
//!
//! Source: the published data set's `conversations`, one human and one gpt turn each. The human
//! turn is a hint, the question and the choices; the gpt turn is `The answer is B`, with no full
//! stop.

use crate::record::{Sample, choice_letter};

/// Where the image goes in a human turn, as in LLaVA's data.
pub const IMAGE_TOKEN: &str = "<image>";

const HINT_CHOICE: &str = "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end.";
const HINT_FREE: &str = "Hint: Please answer the question and provide the final answer at the end.";

/// The human turn without the image token: hint, question (with its unit) and choices.
pub fn query(sample: &Sample) -> String {
    let mut text = String::new();
    text.push_str(if sample.choices.is_empty() {
        HINT_FREE
    } else {
        HINT_CHOICE
    });
    text.push_str("\nQuestion: ");
    text.push_str(&sample.question);
    if let Some(unit) = &sample.unit {
        text.push_str(&format!(" (Unit: {unit})"));
    }
    if !sample.choices.is_empty() {
        text.push_str("\nChoices:");
        for (i, choice) in sample.choices.iter().enumerate() {
            text.push_str(&format!("\n({}) {choice}", choice_letter(i)));
        }
    }
    text
}

/// The gpt turn: `The answer is 100`.
pub fn response(sample: &Sample) -> String {
    format!("The answer is {}", sample.answer.text())
}
