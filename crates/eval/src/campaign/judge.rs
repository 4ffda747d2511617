//! A judge: a model that is asked with a benchmark's own prompt for what rules leave open.
//!
//! It is asked at temperature 0 and through a ledger, so the same reply is read the same way however
//! often the stage is done again, and nothing is paid for twice.

use chat::{ChatModel, Ledger, Request, Role, Tag, Turn};
use sample::sha256_hex;

use super::plan::Plan;
use super::responses::{settle, settled};
use crate::Error;

/// Who reads what rules cannot.
pub struct Judge<'m> {
    /// It.
    pub model: &'m dyn ChatModel,
    /// Where its replies are kept.
    pub ledger: &'m Ledger,
    /// Its name and version, as they are stored with the score.
    pub identity: String,
    /// No reply of it is longer, in tokens.
    pub max_new_tokens: u32,
}

/// What a judge was asked, and how it went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sitting {
    /// Prompts it was sent.
    pub(super) asked: usize,
    /// Prompts it would not or could not answer.
    pub(super) refused: usize,
    /// SHA-256 of the prompts.
    pub(super) prompts: String,
}

impl Judge<'_> {
    /// What it says to each of `prompts`, which are about the items with these places; none where it
    /// refuses.
    pub(super) fn ask(
        &self,
        plan: &Plan<'_>,
        kind: &str,
        prompts: &[(usize, String)],
        sitting: &mut Sitting,
    ) -> Result<Vec<Option<String>>, Error> {
        let max_tokens = self.max_new_tokens;
        let request = |(at, prompt): &(usize, String)| Request {
            id: format!("{}#{kind}", plan.items[*at].id),
            tag: Tag {
                stage: "eval".into(),
                kind: kind.to_owned(),
                source: plan.name().to_owned(),
            },
            system: None,
            turns: vec![Turn {
                role: Role::User,
                text: prompt.clone(),
            }],
            images: Vec::new(),
            subject: serde_json::Value::Null,
            schema: None,
            max_tokens,
            temperature: 0.0,
            seed: plan.seed,
        };
        let mut requests = prompts.iter().map(request);
        let label = format!("{} judge", plan.name());
        settle(
            self.model,
            &mut requests,
            prompts.len(),
            self.ledger,
            &label,
        )?;
        let mut said = Vec::with_capacity(prompts.len());
        let mut digests = sitting.prompts.clone();
        for prompt in prompts {
            let reply = settled(self.model, &request(prompt), self.ledger)?;
            sitting.refused += usize::from(reply.failed.is_some());
            said.push(reply.failed.is_none().then_some(reply.text));
            digests.push_str(&serde_json::json!([prompt.0, prompt.1]).to_string());
        }
        sitting.asked += prompts.len();
        sitting.prompts = sha256_hex(digests.as_bytes());
        Ok(said)
    }
}
