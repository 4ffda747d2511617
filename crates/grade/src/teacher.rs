//! Labels from a teacher: a multimodal model, asked once per image with the paper's prompt.
//!
//! Replies may have cost money, so they lie on the [ledger](chat::ledger) before they are used, and
//! nothing is asked twice. What a reply is worth is decided anew from the ledger each time.

use std::path::PathBuf;

use chat::{ChatModel, Image, Ledger, Request, Role, Settled, Stopped, Tag, Turn};
use sample::{ImageRow, Reject, seed};

use crate::rubric::{PROMPT, parse};
use crate::{Error, Label};

/// A verdict with its reasons.
const MAX_TOKENS: u32 = 512;

/// An image to label, with its file.
pub struct Question<'a> {
    /// Its row.
    pub row: &'a ImageRow,
    /// Its file.
    pub file: PathBuf,
}

/// Who labels, and where its replies are kept.
#[derive(Clone, Copy)]
pub struct Teacher<'a> {
    /// The model.
    pub model: &'a dyn ChatModel,
    /// Its replies.
    pub ledger: &'a Ledger,
}

/// Asks the teacher about every image; where a reply cannot be used, up to `retries` times again
/// with another seed and some temperature. Images without a usable reply are rejected with the last
/// reason.
///
/// # Errors
/// A ledger that cannot be read or written; requests without a reply; a stop.
pub fn label(
    teacher: Teacher<'_>,
    questions: &[Question<'_>],
    retries: u32,
    run_seed: u64,
) -> Result<(Vec<Label>, Vec<Reject>), Error> {
    let name = teacher.model.name();
    let (mut labels, mut rejects) = (Vec::new(), Vec::new());
    let mut open: Vec<&Question<'_>> = questions.iter().collect();
    for attempt in 0..=retries {
        ask(teacher, &open, attempt, run_seed)?;
        let mut still = Vec::new();
        for question in open {
            let row = question.row;
            let digest = teacher.model.digest(&request(question, attempt, run_seed));
            let settled = teacher.ledger.settled(&digest).map_err(chat::Error::from)?;
            let refusal = match settled {
                Some(Settled::Replied(reply)) => match parse(&reply.text) {
                    Ok(verdict) => {
                        labels.push(Label {
                            clarity: Some(verdict.clarity),
                            complexity: Some(verdict.complexity),
                            ..Label::of(row, name)
                        });
                        continue;
                    }
                    Err(refusal) if attempt < retries => {
                        drop(refusal);
                        still.push(question);
                        continue;
                    }
                    Err(refusal) => refusal,
                },
                // Asking again does not help.
                Some(Settled::Refused { detail, .. }) => ("teacher_unanswerable", detail),
                None => ("teacher_no_reply", "there is no reply".to_owned()),
            };
            rejects.push(reject(row, refusal));
        }
        open = still;
    }
    Ok((labels, rejects))
}

/// Has the requests answered that are not on the ledger.
fn ask(
    teacher: Teacher<'_>,
    questions: &[&Question<'_>],
    attempt: u32,
    run_seed: u64,
) -> Result<(), Error> {
    let mut requests = questions.iter().map(|q| request(q, attempt, run_seed));
    let bar = ("labels", questions.len() as u64, "images");
    let tally = chat::converse_with_bar(teacher.model, &mut requests, teacher.ledger, bar)?;
    let detail = match (tally.stopped, tally.missing) {
        (Some(Stopped::Interrupted), _) => return Err(sample::Error::Interrupted.into()),
        (Some(stopped), _) => stopped.to_string(),
        (None, 0) => return Ok(()),
        (None, _) => tally.first_missing.unwrap_or_default(),
    };
    let detail = format!(
        "{} of {} requests have no reply: {detail}. The replies that came are on the ledger; the \
         same command goes on from there",
        tally.missing.max(1),
        questions.len()
    );
    let model = teacher.model.name().to_owned();
    Err(chat::Error::Failed { model, detail }.into())
}

fn reject(row: &ImageRow, (reason, detail): (&'static str, String)) -> Reject {
    Reject {
        source: row.source.clone(),
        row: row.image.path.clone(),
        reason: reason.to_owned(),
        detail,
    }
}

fn request(question: &Question<'_>, attempt: u32, run_seed: u64) -> Request {
    let row = question.row;
    let sha256 = &row.image.sha256;
    // A scene that is no JSON is no scene.
    let scene: serde_json::Value = row
        .scene
        .as_deref()
        .and_then(|scene| serde_json::from_str(scene).ok())
        .unwrap_or_default();
    Request {
        id: sha256.clone(),
        tag: Tag {
            stage: "grade".into(),
            kind: "labels".into(),
            source: row.source.clone(),
        },
        system: None,
        turns: vec![Turn {
            role: Role::User,
            text: PROMPT.trim_end().to_owned(),
        }],
        images: vec![Image::new(question.file.clone(), &row.image)],
        subject: serde_json::json!({ "task": "grade", "scene": scene }),
        schema: None,
        max_tokens: MAX_TOKENS,
        // The first reply is the model's most likely one; asking the same again needs chance.
        temperature: if attempt == 0 { 0.0 } else { 0.7 },
        seed: seed::derive(
            run_seed,
            &["grade", "teacher", sha256, &attempt.to_string()],
        ),
    }
}
