//! RephQ: the same question in other words.
//!
//! The answer is the old one. A teacher that gives another has changed the question, and its pair
//! is rejected.

use crate::augmentation::Augmentation;
use crate::form::Numbers;

/// The kind.
pub struct RephQ;

impl Augmentation for RephQ {
    fn name(&self) -> &'static str {
        "rephq"
    }

    fn pairs_per_image(&self) -> usize {
        1
    }

    fn prompt_file(&self) -> &'static str {
        include_str!("../../prompts/rephq.txt")
    }

    fn inherits_answer(&self) -> bool {
        true
    }

    fn numbers(&self) -> Option<Numbers> {
        Some(Numbers::AllKept)
    }
}
