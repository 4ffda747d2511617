//! AskImg: up to five new questions about the image, each with its own answer.
//!
//! The paper makes 200,000 of its 320,000 pairs this way. The questions of each source are clustered,
//! and the teacher is shown one of each cluster of every source of the image's task, drawn by seed
//! ([`crate::demonstrations`]). The answer is the teacher's, within ten words or a number.

use crate::augmentation::Augmentation;

/// The kind.
pub struct AskImg;

impl Augmentation for AskImg {
    fn name(&self) -> &'static str {
        "askimg"
    }

    fn pairs_per_image(&self) -> usize {
        5
    }

    fn prompt_file(&self) -> &'static str {
        include_str!("../../prompts/askimg.txt")
    }

    fn inherits_answer(&self) -> bool {
        false
    }
}
