//! From selected images to requests for a teacher.
//!
//! A request has the prompt for models that read and look, and a *subject* for teachers that are
//! programs: the scene, where the source knows it, and what is asked of it. Both hold the same
//! question, so the digest of the request is the lineage of what comes back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use chat::{Image, Request, Role, Tag, Turn};
use sample::{ImageRow, Sample, Task, seed};
use serde_json::json;

use crate::augmentation::{Asked, Augmentation, fill};
use crate::config::SynthConfig;

/// An image with its questions.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The image.
    pub image: ImageRow,
    /// Its questions, in order.
    pub samples: Vec<Sample>,
}

impl Subject {
    /// The question that new ones are made from: one of the image's own, drawn by seed.
    pub fn parent(&self, run_seed: u64) -> Option<&Sample> {
        self.samples
            .iter()
            .min_by_key(|s| (seed::derive(run_seed, &["parent", &s.id]), &s.id))
    }
}

/// Questions by task and source, to draw demonstrations from.
pub type Bank<'a> = BTreeMap<Task, BTreeMap<&'a str, Vec<&'a Sample>>>;

/// All questions of the selection.
pub fn bank(subjects: &[Subject]) -> Bank<'_> {
    let mut bank = Bank::new();
    for sample in subjects.iter().flat_map(|s| &s.samples) {
        let sources = bank.entry(sample.task).or_default();
        sources
            .entry(sample.origin.source())
            .or_default()
            .push(sample);
    }
    bank
}

/// One question of each source of the task, drawn by seed, about other images than this.
fn demonstrations<'a>(bank: &Bank<'a>, parent: &Sample, run_seed: u64) -> Vec<&'a str> {
    let sources = bank.get(&parent.task).into_iter().flatten();
    sources
        .filter_map(|(source, samples)| {
            let drawn = seed::derive(run_seed, &["demonstration", source, &parent.id]);
            let start = usize::try_from(drawn % samples.len() as u64).unwrap_or(0);
            let mut turned = samples[start..].iter().chain(&samples[..start]);
            turned
                .find(|s| s.image.sha256 != parent.image.sha256)
                .map(|s| s.question.as_str())
        })
        .collect()
}

/// The request for `count` pairs of this kind.
pub fn build(
    config: &SynthConfig,
    run_seed: u64,
    (augmentation, count): (&dyn Augmentation, usize),
    subject: &Subject,
    parent: &Sample,
    bank: &Bank<'_>,
    image: PathBuf,
) -> Request {
    let avoid: Vec<&str> = subject
        .samples
        .iter()
        .map(|s| s.question.as_str())
        .collect();
    let demonstrations = demonstrations(bank, parent, run_seed);
    let id = format!("{}#{}", parent.id, augmentation.name());
    let request_seed = seed::derive(run_seed, &["synth", &id]);
    let subject = json!({
        "kind": augmentation.name(),
        "scene": subject.image.scene,
        "question": parent.question,
        "choices": parent.choices,
        "answer": parent.answer.text(),
        "template": parent.template,
        "unit": parent.unit,
        "count": count,
        "avoid": avoid,
        "seed": request_seed,
    });
    let text = fill(
        augmentation,
        &Asked {
            parent,
            count,
            demonstrations,
            avoid,
        },
    );
    Request {
        id,
        tag: Tag {
            stage: "synth".into(),
            kind: augmentation.name().to_owned(),
            source: parent.origin.source().to_owned(),
        },
        system: None,
        turns: vec![Turn {
            role: Role::User,
            text,
        }],
        images: vec![Image::new(image, &parent.image)],
        subject,
        schema: None,
        max_tokens: config.max_tokens,
        temperature: config.temperature,
        seed: request_seed,
    }
}
