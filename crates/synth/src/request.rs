//! From selected images to requests for a teacher.
//!
//! A request has the prompt for models that read and look, and a *subject* for teachers that are
//! programs: the scene, where the source knows it, and what is asked of it. Both hold the same
//! question, so the digest of the request is the lineage of what comes back.

use std::path::PathBuf;

use chat::{Image, Request, Role, Schema, Tag, Turn};
use sample::{ImageRow, Sample, seed};
use serde_json::json;

use crate::Error;
use crate::augmentation::{AUGMENTATIONS, Asked, Augmentation, fill};
use crate::config::{ReplyForm, SynthConfig};
use crate::demonstrations::Bank;
use crate::plan::Plan;
use crate::prompts::Prompts;

/// An image with its questions.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The image.
    pub image: ImageRow,
    /// Its questions, in order.
    pub samples: Vec<Sample>,
    /// Its file, or why it has none.
    pub file: Result<PathBuf, String>,
}

impl Subject {
    /// The question that new ones are made from: one of the image's own, drawn by seed.
    pub fn parent(&self, run_seed: u64) -> Option<&Sample> {
        self.samples
            .iter()
            .min_by_key(|s| (seed::derive(run_seed, &["parent", &s.id]), &s.id))
    }
}

/// A request with what it is for.
#[derive(Clone)]
pub struct Ask<'a> {
    /// What is asked for.
    pub kind: &'static dyn Augmentation,
    /// How many pairs.
    pub count: usize,
    /// The pair they are made from.
    pub parent: &'a Sample,
    /// The request itself; without an image where that has no file.
    pub request: Request,
}

/// What requests are made from.
pub struct Requests<'a> {
    /// The settings.
    pub config: &'a SynthConfig,
    /// The run's seed.
    pub run_seed: u64,
    /// The prompts.
    pub prompts: &'a Prompts,
    /// Where demonstrations come from.
    pub bank: &'a Bank,
    /// The images.
    pub subjects: &'a [Subject],
    /// How many pairs of each.
    pub plan: &'a Plan,
}

impl<'a> Requests<'a> {
    /// The requests about image `at`, by kind.
    pub fn of(&self, at: usize) -> Vec<Ask<'a>> {
        let subject = &self.subjects[at];
        let Some(parent) = subject.parent(self.run_seed) else {
            return Vec::new();
        };
        let kinds = AUGMENTATIONS.iter().zip(self.plan.counts[at]);
        kinds
            .filter(|(_, count)| *count > 0)
            .map(|(&kind, count)| Ask {
                kind,
                count,
                parent,
                request: self.request(kind, count, subject, parent),
            })
            .collect()
    }

    /// The request for `count` pairs of this kind, made from `parent`.
    pub fn request(
        &self,
        kind: &'static dyn Augmentation,
        count: usize,
        subject: &Subject,
        parent: &Sample,
    ) -> Request {
        let run_seed = self.run_seed;
        let own = subject.samples.iter().map(|s| s.question.as_str());
        let asked = Asked {
            parent,
            count,
            demonstrations: self
                .bank
                .draw(parent.task, &parent.image.sha256, &parent.id, run_seed),
            avoid: own.clone().collect(),
        };
        let id = format!("{}#{}", parent.id, kind.name());
        let request_seed = seed::derive(run_seed, &["synth", &id]);
        let about = json!({
            "kind": kind.name(),
            "scene": subject.image.scene,
            "question": parent.question,
            "choices": parent.choices,
            "answer": parent.answer.text(),
            "template": parent.template,
            "unit": parent.unit,
            "count": count,
            "avoid": asked.avoid,
            "seed": request_seed,
        });
        let mut text = fill(self.prompts, kind, &asked);
        let json = self.config.reply == ReplyForm::Json;
        if json {
            text.push_str(JSON_FORM);
        }
        Request {
            id,
            tag: Tag {
                stage: "synth".into(),
                kind: kind.name().to_owned(),
                source: parent.origin.source().to_owned(),
            },
            system: None,
            turns: vec![Turn {
                role: Role::User,
                text,
            }],
            images: images(subject),
            subject: about,
            schema: json.then(pairs_schema),
            max_tokens: self.config.max_tokens,
            temperature: self.config.temperature,
            seed: request_seed,
        }
    }
}

/// The image of a subject, where it has a file.
pub fn images(subject: &Subject) -> Vec<Image> {
    let file = subject.file.as_ref().ok();
    file.map(|file| Image::new(file.clone(), &subject.image.image))
        .into_iter()
        .collect()
}

const JSON_FORM: &str = "\nIn place of such lines, reply with JSON of this form; leave out choices \
    and unit where there are none:\n{\"pairs\": [{\"question\": \"..\", \"choices\": [\"..\", \
    \"..\"], \"answer\": \"..\", \"unit\": \"..\"}]}\n";

fn pairs_schema() -> Schema {
    let text = json!({"type": "string"});
    let maybe = json!({"type": ["string", "null"]});
    Schema {
        name: "pairs".into(),
        schema: json!({
            "type": "object",
            "properties": {"pairs": {"type": "array", "items": {
                "type": "object",
                "properties": {
                    "question": text,
                    "choices": {"type": "array", "items": text},
                    "answer": text,
                    "unit": maybe,
                },
                "required": ["question", "choices", "answer", "unit"],
                "additionalProperties": false,
            }}},
            "required": ["pairs"],
            "additionalProperties": false,
        }),
    }
}

/// Images with their questions, in the selection's order, and where their files lie.
pub fn subjects(input: &std::path::Path) -> Result<Vec<Subject>, Error> {
    use std::collections::HashMap;

    use sample::{IMAGES, Manifest, SAMPLES, read_table, resolve_image};

    let roots = Manifest::read(input)?.image_roots;
    let images: Vec<ImageRow> = read_table(&input.join(IMAGES))?;
    let mut by_path: HashMap<String, Vec<Sample>> = HashMap::new();
    for sample in read_table::<Sample>(&input.join(SAMPLES))? {
        by_path
            .entry(sample.image.path.clone())
            .or_default()
            .push(sample);
    }
    let with_samples = |image: ImageRow| {
        let samples = by_path.remove(&image.image.path).unwrap_or_default();
        let file = resolve_image(input, &roots, &image.image.path).map_err(|e| e.to_string());
        Subject {
            image,
            samples,
            file,
        }
    };
    let subjects = images.into_iter().map(with_samples).collect();
    match by_path.keys().min() {
        None => Ok(subjects),
        Some(path) => {
            let detail = format!("{path} is not in the images table beside it");
            Err(sample::Error::format(input.join(SAMPLES), detail).into())
        }
    }
}
