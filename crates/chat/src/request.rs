//! What is asked, and what comes back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One conversation that wants a reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Names the request in messages and logs.
    pub id: String,
    /// What the request is for, to count by.
    pub tag: Tag,
    /// The system prompt, where one is wanted.
    pub system: Option<String>,
    /// What was said so far; the last turn is the user's.
    pub turns: Vec<Turn>,
    /// The images, shown before the first turn's text.
    pub images: Vec<Image>,
    /// What the request is about, in a form programs can read; language models are not shown it.
    pub subject: Value,
    /// The form that the reply must have, where one is wanted.
    pub schema: Option<Schema>,
    /// No more than this many new tokens.
    pub max_tokens: u32,
    /// 0 is greedy.
    pub temperature: f32,
    /// For sampling.
    pub seed: u64,
}

/// What a request is for. The tables of a ledger count by it; no reply depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tag {
    /// The stage that asks: `synth`, `grade`.
    pub stage: String,
    /// What is asked for: `askimg`, `verify`, `judge`, `labels`.
    pub kind: String,
    /// The data set it is about.
    pub source: String,
}

/// An image of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its file; may lead through an archive ([`sample::pixels::read_bytes`]).
    pub path: PathBuf,
    /// Of its bytes, in hex.
    pub sha256: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

impl Image {
    /// The image of a sample, whose file is `path`.
    pub fn new(path: PathBuf, image: &sample::ImageRef) -> Image {
        Image {
            path,
            sha256: image.sha256.clone(),
            width: image.width,
            height: image.height,
        }
    }
}

/// A JSON schema that a reply must have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Its name, as servers want one.
    pub name: String,
    /// The schema itself.
    pub schema: Value,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// What was said.
    pub text: String,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The one who asks.
    User,
    /// The one who answers.
    Assistant,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The text.
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Tokens read.
    pub prompt_tokens: u32,
    /// Tokens written.
    pub completion_tokens: u32,
}

/// Why a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// The model was done.
    Stop,
    /// `max_tokens` was reached.
    Length,
}

impl Request {
    /// SHA-256, in hex, of everything that settles a reply: the model, what it is told and shown,
    /// and how it samples. Where an image lies is not part of it, its bytes are; the subject is only
    /// where `model_reads_subject`.
    pub fn digest(&self, model: &str, model_reads_subject: bool) -> String {
        let mut content = self.content();
        content["model"] = model.into();
        if model_reads_subject {
            content["subject"] = self.subject.clone();
        }
        sample::sha256_hex(canonical(&content).as_bytes())
    }

    /// What a model is told and shown and how it samples, images by their digests: what the ledger
    /// keeps of a request.
    pub fn content(&self) -> Value {
        let images: Vec<&str> = self.images.iter().map(|i| i.sha256.as_str()).collect();
        let mut content = serde_json::json!({
            "turns": self.turns,
            "images": images,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
        });
        if let Some(system) = &self.system {
            content["system"] = system.as_str().into();
        }
        if let Some(schema) = &self.schema {
            content["schema"] = schema.schema.clone();
        }
        content
    }
}

/// JSON with sorted keys: whether `serde_json` keeps an object's order is a feature that any crate
/// of a build can switch on.
fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, String> = map
                .iter()
                .map(|(key, value)| (key, canonical(value)))
                .collect();
            let fields: Vec<String> = sorted
                .into_iter()
                .map(|(key, value)| format!("{}:{value}", Value::from(key.as_str())))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Request {
        Request {
            id: "x".into(),
            tag: Tag::default(),
            system: None,
            turns: Vec::new(),
            images: vec![Image {
                path: "here.png".into(),
                sha256: "sha".into(),
                width: 1,
                height: 1,
            }],
            subject: serde_json::json!({"kind": "askimg"}),
            schema: None,
            max_tokens: 9,
            temperature: 0.0,
            seed: 1,
        }
    }

    #[test]
    fn the_digest_covers_what_settles_a_reply_and_not_where_the_image_lies() {
        let of = |request: &Request| request.digest("model", false);
        let mut moved = base();
        moved.images[0].path = "there.png".into();
        moved.id = "y".into();
        moved.tag.kind = "z".into();
        moved.subject = serde_json::json!({});
        assert_eq!(of(&base()), of(&moved));
        assert_ne!(base().digest("model", true), moved.digest("model", true));
        assert_ne!(of(&base()), base().digest("other", false));
        let changes: [fn(&mut Request); 7] = [
            |r| r.seed = 2,
            |r| r.max_tokens = 8,
            |r| r.temperature = 0.5,
            |r| r.system = Some("s".into()),
            |r| r.images[0].sha256 = "other".into(),
            |r| {
                r.turns.push(Turn {
                    role: Role::User,
                    text: "t".into(),
                });
            },
            |r| {
                r.schema = Some(Schema {
                    name: "n".into(),
                    schema: serde_json::json!({"type": "object"}),
                });
            },
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut changed = base();
            change(&mut changed);
            assert_ne!(of(&base()), of(&changed), "change {n}");
        }
    }

    #[test]
    fn the_order_of_an_objects_keys_leaves_no_trace() {
        let sorted = canonical(&serde_json::json!({"b": [1, {"d": 1, "c": "\""}], "a": null}));
        assert_eq!(sorted, r#"{"a":null,"b":[1,{"c":"\"","d":1}]}"#);
    }
}
