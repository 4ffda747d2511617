//! CompQ: a more complex version of the question, that takes more steps.
//!
//! The paper does not say how the new answer is made; here it is what a majority of reasoned
//! solutions agree on, and without verification the teacher's own, from the same reply.

use crate::augmentation::Augmentation;

/// The kind.
pub struct CompQ;

impl Augmentation for CompQ {
    fn name(&self) -> &'static str {
        "compq"
    }

    fn pairs_per_image(&self) -> usize {
        1
    }

    fn prompt_file(&self) -> &'static str {
        include_str!("../../prompts/compq.txt")
    }

    fn inherits_answer(&self) -> bool {
        false
    }

    fn answer_by_agreement(&self) -> bool {
        true
    }
}
