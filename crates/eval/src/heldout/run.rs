//! The stage: ask, read, score, sum up.

use std::collections::HashMap;
use std::path::Path;

use chat::{ChatModel, Image, Request, Role, Tag, Turn};
use sample::scores::{Condition, Reading, Results, Score};
use sample::{
    Error as SampleError, Manifest, SAMPLES, Stage, StageKey, progress, write_atomic, write_table,
};
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::responses::{self, Question, Response};
use super::{answer, extract as extraction, summary};
use crate::Error;

/// What a half-finished folder's replies belong to; there while the evaluation runs.
const ASKED: &str = "asked.json";
const EXTRACTIONS: &str = "extractions.jsonl";
const SCORES: &str = "scores.jsonl";

/// One line of `extractions.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Extraction {
    id: String,
    condition: Condition,
    mode: String,
    reading: Reading,
    extraction: Option<String>,
}

/// Runs a planned evaluation of `student` into `folder`.
///
/// A folder that holds the finished result of `key` is left as it is; a half-finished one is gone on
/// with. With `force`, everything is asked again.
///
/// # Errors
/// Where the folder holds something else, or the model fails; replies that came before are kept.
pub fn run(
    plan: &Plan,
    student: &dyn ChatModel,
    folder: &Path,
    key: StageKey,
    force: bool,
) -> Result<Manifest, Error> {
    if !force && let Some(manifest) = Stage::finished(folder, &key)? {
        return Ok(manifest);
    }
    let stage = Stage::begin(folder, key, force)?;
    claim(&stage, student.name(), force)?;

    let bar = progress::bar("eval", plan.requests() as u64, "replies");
    let mut all = Vec::new();
    for condition in Condition::ALL {
        let path = stage.path(&responses_file(condition));
        let replies = match condition {
            Condition::Blind => guesses(plan, &path)?,
            Condition::Model | Condition::Swapped => {
                bar.message(condition.name());
                let asked = questions(plan, condition);
                responses::ask(&path, &asked, plan.config.batch_size, student, &bar)?
            }
        };
        all.push((condition, replies));
    }
    bar.finish();

    let extractions = extract(plan, &all);
    write_lines(&stage.path(EXTRACTIONS), &extractions)?;
    let scores = score(plan, &all, &extractions);
    write_lines(&stage.path(SCORES), &scores)?;
    write_table(&stage.path(SAMPLES), &plan.items)?;
    let results = summary::results(plan, student.name(), &scores)?;
    finish(plan, stage, &results)
}

fn finish(plan: &Plan, stage: Stage, results: &Results) -> Result<Manifest, Error> {
    let mut manifest = Manifest::new(stage.key().clone());
    manifest.count("items", plan.items.len() as u64);
    manifest.count("images", plan.separation.images);
    manifest.count("requests", plan.requests() as u64);
    for condition in Condition::ALL {
        let accuracy = results.overall.accuracy(condition);
        manifest.count(&format!("{}_correct", condition.name()), accuracy.correct);
        manifest.count(&format!("{}_asked", condition.name()), accuracy.total);
    }
    manifest.results =
        serde_json::to_value(results).map_err(|e| SampleError::format(stage.folder(), e))?;
    let responses = Condition::ALL.map(responses_file);
    let mut files: Vec<&str> = responses.iter().map(String::as_str).collect();
    files.extend([EXTRACTIONS, SCORES, SAMPLES]);
    let asked = stage.path(ASKED);
    let manifest = stage.finish(manifest, &files)?;
    std::fs::remove_file(&asked).map_err(|e| SampleError::io(asked, e))?;
    Ok(manifest)
}

fn responses_file(condition: Condition) -> String {
    format!("responses.{}.jsonl", condition.name())
}

/// Takes the folder for this key and model: replies of a stopped run are kept if they are theirs.
///
/// **Invariant:** replies are trusted only beside an `asked.json` that says whose they are.
fn claim(stage: &Stage, model: &str, force: bool) -> Result<(), Error> {
    let asked = serde_json::json!({ "key": stage.key(), "model": model });
    let path = stage.path(ASKED);
    match std::fs::read(&path) {
        Ok(bytes) if !force => {
            let found: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
            if found == asked {
                return Ok(());
            }
            return Err(Error::OtherHalf {
                folder: stage.folder().to_owned(),
            });
        }
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(SampleError::io(path, e).into());
        }
        _ => {}
    }
    for condition in Condition::ALL {
        let old = stage.path(&responses_file(condition));
        match std::fs::remove_file(&old) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(SampleError::io(old, e).into());
            }
            _ => {}
        }
    }
    let mut text = serde_json::to_vec_pretty(&asked).map_err(|e| SampleError::format(&path, e))?;
    text.push(b'\n');
    Ok(write_atomic(&path, &text)?)
}

fn questions(plan: &Plan, condition: Condition) -> Vec<Question> {
    let mut questions = Vec::with_capacity(plan.items.len());
    for (i, item) in plan.items.iter().enumerate() {
        let Some(Some(shown)) = plan.shown(condition, i) else {
            continue;
        };
        questions.push(Question {
            shown: shown.path.clone(),
            request: Request {
                id: item.id.clone(),
                tag: Tag {
                    stage: "eval".into(),
                    kind: "answer".into(),
                    source: item.origin.source().to_owned(),
                },
                system: None,
                turns: vec![Turn {
                    role: Role::User,
                    text: sample::prompt::query(item),
                }],
                images: plan
                    .files
                    .get(&shown.path)
                    .map(|file| Image::new(file.clone(), shown))
                    .into_iter()
                    .collect(),
                subject: serde_json::json!({
                    "sample": item.id, "condition": condition, "image": shown.path,
                }),
                schema: None,
                max_tokens: plan.config.max_new_tokens,
                temperature: 0.0,
                seed: plan.seed,
            },
        });
    }
    questions
}

/// The blind condition's replies, in the form the model is taught, so that they are read and scored
/// in the same way.
fn guesses(plan: &Plan, path: &Path) -> Result<Vec<Response>, Error> {
    let replies: Vec<Response> = plan
        .items
        .iter()
        .zip(&plan.guesses)
        .map(|(item, guess)| Response {
            id: item.id.clone(),
            shown: None,
            text: if guess.is_empty() {
                String::new()
            } else {
                format!("The answer is {guess}")
            },
            truncated: false,
            prompt_tokens: 0,
            completion_tokens: 0,
            failed: None,
        })
        .collect();
    write_lines(path, &replies)?;
    Ok(replies)
}

fn extract(plan: &Plan, all: &[(Condition, Vec<Response>)]) -> Vec<Extraction> {
    let mode = plan.config.extraction;
    all.iter()
        .flat_map(|(condition, replies)| replies.iter().map(move |reply| (*condition, reply)))
        .map(|(condition, reply)| {
            let extraction = extraction::extract(mode, &reply.text);
            let reading = match &extraction {
                _ if reply.failed.is_some() => Reading::Failed,
                Some(_) => Reading::Parsed,
                None if reply.text.trim().is_empty() => Reading::Empty,
                None => Reading::Unparsed,
            };
            Extraction {
                id: reply.id.clone(),
                condition,
                mode: mode.name().to_owned(),
                reading,
                extraction: extraction.filter(|_| reading == Reading::Parsed),
            }
        })
        .collect()
}

fn score(
    plan: &Plan,
    all: &[(Condition, Vec<Response>)],
    extractions: &[Extraction],
) -> Vec<Score> {
    let index: HashMap<&str, usize> = plan
        .items
        .iter()
        .enumerate()
        .map(|(i, item)| (item.id.as_str(), i))
        .collect();
    all.iter()
        .flat_map(|(_, replies)| replies)
        .zip(extractions)
        .filter_map(|(reply, found)| {
            let at = *index.get(reply.id.as_str())?;
            let item = &plan.items[at];
            let shown = plan.shown(found.condition, at).flatten();
            let correct = found
                .extraction
                .as_deref()
                .is_some_and(|text| answer::matches(item, text));
            Some(Score {
                id: reply.id.clone(),
                condition: found.condition,
                shown: reply.shown.clone(),
                shown_sha256: shown.map(|image| image.sha256.clone()),
                response: reply.text.clone(),
                reading: found.reading,
                truncated: reply.truncated,
                extraction: found.extraction.clone(),
                expected: item.answer.text(),
                correct,
            })
        })
        .collect()
}

fn write_lines<T: Serialize>(path: &Path, rows: &[T]) -> Result<(), Error> {
    let mut text = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut text, row).map_err(|e| SampleError::format(path, e))?;
        text.push(b'\n');
    }
    Ok(write_atomic(path, &text)?)
}
