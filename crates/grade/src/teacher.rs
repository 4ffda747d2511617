//! Labels from a teacher: a multimodal model, asked once per image with the paper's prompt.
//!
//! Replies may have cost money, so each is written to a ledger before it is used; a stage that goes
//! on after a stop asks nothing twice. What a reply is worth is decided anew from the ledger each
//! time.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use chat::{ChatModel, Image, Request, Role, Tag, Turn};
use sample::{ImageRow, Reject, interrupt, progress, seed, sha256_hex};
use serde::{Deserialize, Serialize};

use crate::rubric::{PROMPT, PROMPT_NAME, parse};
use crate::{Error, Label};

/// The ledger's file in the stage folder: one line of JSON per reply.
pub const LEDGER: &str = "replies.jsonl";
/// Requests between two looks at the interrupt flag, and at most this many replies lost in a crash.
const BATCH: usize = 32;
/// A verdict with its reasons.
const MAX_TOKENS: u32 = 512;

/// One line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    image_sha256: String,
    teacher: String,
    prompt: String,
    attempt: u32,
    reply: String,
}

/// An image to label, with its file.
pub struct Question<'a> {
    /// Its row.
    pub row: &'a ImageRow,
    /// Its file.
    pub file: PathBuf,
}

/// Asks the teacher about every image; where a reply cannot be used, up to `retries` times again
/// with another seed and some temperature. Images without a usable reply are rejected with the last
/// reason.
///
/// # Errors
/// A ledger that cannot be read or written; a teacher that fails altogether; a stop.
pub fn label(
    teacher: &dyn ChatModel,
    questions: &[Question<'_>],
    retries: u32,
    run_seed: u64,
    folder: &Path,
) -> Result<(Vec<Label>, Vec<Reject>), Error> {
    let path = folder.join(LEDGER);
    let prompt = format!("{PROMPT_NAME} {}", sha256_hex(PROMPT.as_bytes()));
    let mut known = read(&path, teacher.name(), &prompt)?;
    let mut ledger = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|e| sample::Error::io(&path, e))?;
    let bar = progress::bar("labels", questions.len() as u64, "images");
    let (mut labels, mut rejects) = (Vec::new(), Vec::new());
    let mut open: Vec<(&Question<'_>, Option<(&'static str, String)>)> =
        questions.iter().map(|q| (q, None)).collect();
    for attempt in 0..=retries {
        let mut still = Vec::new();
        for batch in open.chunks(BATCH) {
            interrupt::check()?;
            let asked: Vec<Request> = batch
                .iter()
                .filter(|(q, _)| !known.contains_key(&(q.row.image.sha256.clone(), attempt)))
                .map(|(q, _)| request(q, attempt, run_seed))
                .collect();
            let ids: Vec<String> = asked.iter().map(|r| r.id.clone()).collect();
            let mut refused: HashMap<String, (&'static str, String)> = HashMap::new();
            let replies = if asked.is_empty() {
                Vec::new()
            } else {
                teacher.reply(&asked)
            };
            for (sha256, reply) in ids.into_iter().zip(replies) {
                match reply {
                    Ok(reply) => {
                        let entry = Entry {
                            image_sha256: sha256.clone(),
                            teacher: teacher.name().to_owned(),
                            prompt: prompt.clone(),
                            attempt,
                            reply: reply.text,
                        };
                        write(&mut ledger, &path, &entry)?;
                        known.insert((sha256, attempt), entry.reply);
                    }
                    Err(chat::Error::Unanswerable { detail, .. }) => {
                        refused.insert(sha256, ("teacher_unanswerable", detail));
                    }
                    Err(chat::Error::Interrupted) => return Err(sample::Error::Interrupted.into()),
                    Err(failed) => return Err(failed.into()),
                }
            }
            for (question, _) in batch {
                let row = question.row;
                let key = (row.image.sha256.clone(), attempt);
                let verdict = match known.get(&key) {
                    Some(reply) => parse(reply),
                    None => Err(refused.remove(&key.0).unwrap_or_else(|| {
                        let detail = "it gave fewer replies than it was asked for".to_owned();
                        ("teacher_no_reply", detail)
                    })),
                };
                match verdict {
                    Ok(verdict) => {
                        bar.inc(1);
                        labels.push(Label {
                            clarity: Some(verdict.clarity),
                            complexity: Some(verdict.complexity),
                            ..Label::of(row, teacher.name())
                        });
                    }
                    // Asking again does not help.
                    Err(refusal) if refusal.0 == "teacher_unanswerable" => {
                        bar.inc(1);
                        rejects.push(reject(row, refusal));
                    }
                    Err(refusal) => still.push((*question, Some(refusal))),
                }
            }
        }
        open = still;
    }
    for (question, refusal) in open {
        if let Some(refusal) = refusal {
            rejects.push(reject(question.row, refusal));
        }
    }
    bar.finish();
    Ok((labels, rejects))
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

/// The replies that this teacher gave to this prompt. A last line that a crash cut short is left
/// out.
fn read(path: &Path, teacher: &str, prompt: &str) -> Result<HashMap<(String, u32), String>, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(e) => return Err(sample::Error::io(path, e).into()),
    };
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    if whole < text.len() {
        sample::write_atomic(path, &text.as_bytes()[..whole])?;
    }
    let mut known = HashMap::new();
    for (number, line) in text[..whole].lines().enumerate() {
        let entry: Entry = serde_json::from_str(line)
            .map_err(|e| sample::Error::format(path, format!("line {}: {e}", number + 1)))?;
        if entry.teacher == teacher && entry.prompt == prompt {
            known.insert((entry.image_sha256, entry.attempt), entry.reply);
        }
    }
    Ok(known)
}

fn write(ledger: &mut std::fs::File, path: &Path, entry: &Entry) -> Result<(), Error> {
    let mut line = serde_json::to_string(entry).map_err(|e| sample::Error::format(path, e))?;
    line.push('\n');
    ledger
        .write_all(line.as_bytes())
        .and_then(|()| ledger.sync_data())
        .map_err(|e| sample::Error::io(path, e).into())
}
