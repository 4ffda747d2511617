//! From a reply to the answer in it, by named modes.
//!
//! A mode is part of the score's identity: two scores compare only if their answers were found in
//! the same way. No mode falls back on another.

use serde::{Deserialize, Serialize};

/// How answers are found in replies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What follows the last "The answer is" on its line; without that phrase, the whole reply where
    /// it is a short line; else there is no answer. The paper's rule for replies in its own form.
    #[default]
    Rule,
}

impl Mode {
    /// As configurations and results name it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Rule => "rule",
        }
    }
}

/// The phrase that training teaches the model to answer with.
const MARKER: &str = "the answer is";
/// A reply without the phrase is an answer itself up to this length, in characters.
const SHORT: usize = 40;
/// No answer is longer, in characters; more is prose.
const LONGEST: usize = 400;

/// The answer in `response`, without the final full stop; `None` where there is none.
pub fn extract(mode: Mode, response: &str) -> Option<String> {
    match mode {
        Mode::Rule => rule(response),
    }
}

fn rule(response: &str) -> Option<String> {
    // ASCII lower-casing keeps byte positions.
    let found = match response.to_ascii_lowercase().rfind(MARKER) {
        Some(at) => {
            let rest = response[at + MARKER.len()..]
                .trim_start_matches(':')
                .trim_start();
            rest.lines().next().unwrap_or_default()
        }
        None => {
            let text = response.trim();
            let short = text.chars().take(SHORT + 1).count() <= SHORT && text.lines().count() <= 1;
            if short { text } else { return None }
        }
    };
    let found = strip(found);
    let fits = found.chars().take(LONGEST + 1).count() <= LONGEST;
    (!found.is_empty() && fits).then(|| found.to_owned())
}

/// Without white space, end-of-sequence marks and full stops at the end.
fn strip(mut text: &str) -> &str {
    loop {
        let shorter = text.trim();
        let shorter = shorter.strip_suffix("</s>").unwrap_or(shorter);
        let shorter = shorter.strip_suffix(['.', '。']).unwrap_or(shorter);
        if shorter.len() == text.len() {
            return text;
        }
        text = shorter;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rule_reads_these_replies_so() {
        let long = format!("The answer is {}", "x".repeat(LONGEST + 1));
        for (reply, wanted) in [
            ("The answer is B", Some("B")),
            ("The answer is 3.50.</s>", Some("3.50")),
            ("The answer is: 12 cm.", Some("12 cm")),
            ("the answer is 7\nbecause it is", Some("7")),
            ("The answer is 4. No: the answer is 5", Some("5")),
            ("12", Some("12")),
            (" Yes. ", Some("Yes")),
            ("", None),
            (" </s> ", None),
            (".", None),
            ("The answer is", None),
            ("The answer is  .</s>", None),
            (
                "I look at the bars and think that the one on the left is taller",
                None,
            ),
            ("one\ntwo", None),
            (&long, None),
        ] {
            assert_eq!(extract(Mode::Rule, reply).as_deref(), wanted, "{reply:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_after_the_phrase_is_found_again(before: String, answer in "[A-Za-z0-9][ A-Za-z0-9,%]{0,20}") {
            prop_assume!(!answer.to_ascii_lowercase().contains(MARKER));
            let reply = format!("{before} The answer is {answer}.");
            prop_assert_eq!(extract(Mode::Rule, &reply), Some(answer.trim().to_owned()));
        }

        #[test]
        fn no_reply_makes_it_panic_and_no_answer_has_loose_ends(reply: String) {
            if let Some(answer) = extract(Mode::Rule, &reply) {
                prop_assert!(!answer.is_empty());
                prop_assert_eq!(strip(&answer), answer.as_str());
            }
        }
    }
}
