//! The judge: one last opinion on a pair that passed everything else.

use chat::{Request, Role, Tag, Turn};
use sample::{Answer, seed};
use serde_json::json;

use super::Verifier;
use crate::augmentation::question_place;
use crate::candidate::Candidate;
use crate::check;
use crate::prompts::JUDGE;
use crate::reply;
use crate::request::{Subject, images};

/// The verdict in a reply: yes or no after the last `The verdict is`.
pub fn read(reply: &str) -> Option<bool> {
    let said = reply::last_after(reply, "the verdict is")?;
    match said.trim_end_matches('.').to_lowercase().as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

impl Verifier<'_> {
    /// The request for a judgement of the candidate with this answer.
    pub(crate) fn judge_request(
        &self,
        candidate: &Candidate<'_>,
        subject: &Subject,
        answer: &Answer,
    ) -> Request {
        let checked = &candidate.checked;
        let value = check::value(answer, &checked.choices);
        let text = self.prompts.fill(JUDGE, |name| match name {
            "answer" => Some(value.clone()),
            _ => question_place(
                name,
                &checked.question,
                &checked.choices,
                checked.unit.as_deref(),
            ),
        });
        Request {
            id: format!("{}?judge", candidate.id),
            tag: Tag {
                stage: "synth".into(),
                kind: "judge".into(),
                source: candidate.parent.origin.source().to_owned(),
            },
            system: None,
            turns: vec![Turn {
                role: Role::User,
                text,
            }],
            images: images(subject),
            subject: json!({
                "kind": "judge", "question": checked.question, "answer": value,
            }),
            schema: None,
            max_tokens: self.config.max_tokens,
            temperature: 0.0,
            seed: seed::derive(self.run_seed, &["judge", &candidate.id]),
        }
    }
}
