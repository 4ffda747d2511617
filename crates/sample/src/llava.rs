//! LLaVA's JSON: a list of `{"id", "image", "conversations": [human, gpt]}`, as MathV360K has it.

use serde::{Deserialize, Serialize};

use crate::prompt::{self, IMAGE_TOKEN};
use crate::record::Sample;

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// `identity_N` in MathV360K; here the sample's id.
    pub id: String,
    /// Below the image folder.
    pub image: String,
    /// One human turn and one gpt turn.
    pub conversations: Vec<Turn>,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// `human` or `gpt`.
    pub from: String,
    /// What was said.
    pub value: String,
}

/// The entry that trains on `sample`.
pub fn entry(sample: &Sample) -> Entry {
    Entry {
        id: sample.id.clone(),
        image: sample.image.path.clone(),
        conversations: vec![
            Turn {
                from: "human".into(),
                value: format!("{IMAGE_TOKEN}\n{}", prompt::query(sample)),
            },
            Turn {
                from: "gpt".into(),
                value: prompt::response(sample),
            },
        ],
    }
}
