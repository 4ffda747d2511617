//! The letter in a reply to a multiple-choice question, as the official code finds it.
//!
//! MMMU and MMMU-Pro look in nearly the same places, and where they differ verdicts do: MMMU-Pro
//! takes what follows the last `Answer:`, sees a letter before a blank even at the end of a word
//! (`DNA is` says A), and letters before a full stop.

use super::extended;
use crate::python::{is_space, strip};

/// Whose rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// `parse_multi_choice_response` of MMMU's `eval_utils.py`.
    Mmmu,
    /// The same of MMMU-Pro's `evaluate.py`.
    Pro,
    /// Ours, which find more and never guess.
    Extended,
}

/// The place of the answer's letter among `letters`; none where the official code would guess.
///
/// `options` are the options' texts, one for each letter. Time grows with the reply's length times
/// the number of options.
pub fn find(response: &str, letters: &[String], options: &[String], rules: Rules) -> Option<usize> {
    if rules == Rules::Extended {
        return extended::find(response, letters, options);
    }
    if rules == Rules::Pro
        && let Some(found) = after_answer(response, letters)
    {
        return Some(found);
    }
    let mut text = response;
    for mark in [',', '.', '!', '?', ';', ':', '\''] {
        text = text.trim_matches(mark);
    }
    // Blanks at both ends, so that a letter there stands between blanks too.
    let text = format!(" {text} ");
    let with = |form: &dyn Fn(&str) -> String| -> Vec<usize> {
        let there = |at: &usize| text.contains(&form(&letters[*at]));
        (0..letters.len()).filter(there).collect()
    };
    let bracketed = |letter: &str| format!("({letter})");
    let spaced = |letter: &str| format!(" {letter} ");
    let candidates = with(&bracketed);
    if !candidates.is_empty() {
        return last(&candidates, |at| text.rfind(&bracketed(&letters[at])));
    }
    let candidates = if rules == Rules::Mmmu {
        with(&spaced)
    } else {
        let ends = with(&|letter| format!("{letter} "));
        if ends.is_empty() {
            with(&|letter| format!("{letter}."))
        } else {
            ends
        }
    };
    if !candidates.is_empty() {
        // MMMU-Pro, too, ranks them by where they stand between blanks, which may be nowhere.
        return last(&candidates, |at| text.rfind(&spaced(&letters[at])));
    }
    if words(&text) > 5 {
        let text = text.to_lowercase();
        let options: Vec<String> = options.iter().map(|o| o.to_lowercase()).collect();
        let there = |at: &usize| options.get(*at).is_some_and(|o| text.contains(o));
        let candidates: Vec<usize> = (0..letters.len()).filter(there).collect();
        return last(&candidates, |at| text.rfind(&options[at]));
    }
    None
}

/// MMMU-Pro's chain-of-thought replies end in `Answer: X`; the only letter there is the answer.
fn after_answer(response: &str, letters: &[String]) -> Option<usize> {
    const MARKER: &str = "Answer:";
    let at = response.rfind(MARKER)?;
    let rest = strip(&response[at + MARKER.len()..]);
    let mut found = (0..letters.len()).filter(|at| rest.contains(&letters[*at]));
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// `len(text.split())`.
fn words(text: &str) -> usize {
    text.split(is_space).filter(|word| !word.is_empty()).count()
}

/// The candidate with the greatest place; nowhere is before the first place, and of equals the first
/// counts, as for `np.argmax`.
fn last(candidates: &[usize], place: impl Fn(usize) -> Option<usize>) -> Option<usize> {
    let mut best: Option<(usize, Option<usize>)> = None;
    for &candidate in candidates {
        let at = if candidates.len() > 1 {
            place(candidate)
        } else {
            None
        };
        if best.is_none_or(|(_, furthest)| at > furthest) {
            best = Some((candidate, at));
        }
    }
    best.map(|(candidate, _)| candidate)
}

/// Up to how many options a question may have; the published ones have up to 12.
pub const MOST_OPTIONS: usize = 256;

/// The letters of so many options: A, B, C, ... and on through Unicode, as `chr(ord("A") + i)`.
pub fn letters(options: usize) -> Vec<String> {
    (0..options.min(MOST_OPTIONS) as u32)
        .filter_map(|i| char::from_u32(u32::from('A') + i))
        .map(String::from)
        .collect()
}
