//! SimpQ: the question made concise, even underspecified, where the image still settles it.
//!
//! The answer is the old one, as in RephQ.

use crate::augmentation::Augmentation;
use crate::form::Numbers;

/// The kind.
pub struct SimpQ;

impl Augmentation for SimpQ {
    fn name(&self) -> &'static str {
        "simpq"
    }

    fn pairs_per_image(&self) -> usize {
        1
    }

    fn prompt_file(&self) -> &'static str {
        include_str!("../../prompts/simpq.txt")
    }

    fn inherits_answer(&self) -> bool {
        true
    }

    fn numbers(&self) -> Option<Numbers> {
        Some(Numbers::NoneAdded)
    }
}
