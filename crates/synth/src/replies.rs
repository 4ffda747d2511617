//! Replies on record, so that nothing is asked twice.
//!
//! One JSON line for each reply, by the digest of the request that it answers, appended and synced
//! after every batch. A stage that was stopped reads them back and asks only the rest; a line that a
//! kill cut in half is cut off and asked again. The record outlives `--force`: delete the file to
//! have everything asked anew.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use chat::{Reply, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// File name of the record in the stage folder.
pub const REPLIES: &str = "replies.jsonl";

#[derive(Serialize, Deserialize)]
struct Line {
    digest: String,
    id: String,
    reply: Reply,
}

/// The record, open for more.
pub struct Replies {
    path: PathBuf,
    file: File,
    known: HashMap<String, Reply>,
}

impl Replies {
    /// Opens the record at `path`, or starts one.
    pub fn open(path: &Path) -> Result<Replies, Error> {
        let io = |e| sample::Error::io(path, e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io)?;
        let mut known = HashMap::new();
        let mut reader = BufReader::new(&file);
        let (mut line, mut good) = (Vec::new(), 0u64);
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(io)?;
            if read == 0 || line.last() != Some(&b'\n') {
                break;
            }
            good += read as u64;
            // A line that is whole but not ours is passed over: its request is asked again.
            if let Ok(line) = serde_json::from_slice::<Line>(&line) {
                known.insert(line.digest, line.reply);
            }
        }
        file.set_len(good).map_err(io)?;
        file.seek(SeekFrom::Start(good)).map_err(io)?;
        Ok(Replies {
            path: path.to_owned(),
            file,
            known,
        })
    }

    /// The reply to the request with this digest.
    pub fn get(&self, digest: &str) -> Option<&Reply> {
        self.known.get(digest)
    }

    /// Adds a batch of replies, and returns when they are on disk.
    pub fn add(&mut self, batch: Vec<(String, String, Reply)>) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        for (digest, id, reply) in batch {
            let line = Line { digest, id, reply };
            serde_json::to_writer(&mut text, &line)
                .map_err(|e| sample::Error::format(&self.path, e))?;
            text.push(b'\n');
            self.known.insert(line.digest, line.reply);
        }
        self.file
            .write_all(&text)
            .and_then(|()| self.file.sync_data())
            .map_err(|e| sample::Error::io(&self.path, e).into())
    }
}

/// SHA-256 of everything that settles a reply: the model, what it is told and shown, and how it
/// samples. Where the image lies is not part of it; its bytes are.
pub fn digest(model: &str, request: &Request, image_sha256: &str) -> String {
    let content = serde_json::json!({
        "model": model,
        "system": request.system,
        "turns": request.turns,
        "images": [image_sha256],
        "subject": request.subject,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "seed": request.seed,
    });
    sample::sha256_hex(canonical(&content).as_bytes())
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
            format!(
                "[{}]",
                items.iter().map(canonical).collect::<Vec<_>>().join(",")
            )
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chat::Finish;

    fn reply(text: &str) -> Reply {
        Reply {
            text: text.into(),
            finish: Finish::Stop,
            prompt_tokens: 1,
            completion_tokens: 2,
        }
    }

    fn entry(digest: &str, text: &str) -> (String, String, Reply) {
        (digest.into(), format!("id of {digest}"), reply(text))
    }

    #[test]
    fn a_record_cut_in_half_keeps_its_whole_lines_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(REPLIES);
        let mut replies = Replies::open(&path).unwrap();
        replies
            .add(vec![entry("a", "one\ntwo"), entry("b", "three")])
            .unwrap();
        drop(replies);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
        let mut replies = Replies::open(&path).unwrap();
        assert_eq!(replies.get("a"), Some(&reply("one\ntwo")));
        assert_eq!(replies.get("b"), None);
        replies.add(vec![entry("b", "three")]).unwrap();
        drop(replies);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert_eq!(
            Replies::open(&path).unwrap().get("b"),
            Some(&reply("three"))
        );
    }

    #[test]
    fn the_digest_covers_what_settles_a_reply_and_not_where_the_image_lies() {
        let base = Request {
            id: "x".into(),
            system: None,
            turns: Vec::new(),
            images: vec!["here.png".into()],
            subject: serde_json::json!({"kind": "askimg"}),
            max_tokens: 9,
            temperature: 0.0,
            seed: 1,
        };
        let of = |request: &Request| digest("model", request, "sha");
        let moved = Request {
            images: vec!["there.png".into()],
            id: "y".into(),
            ..base.clone()
        };
        assert_eq!(of(&base), of(&moved));
        // The same value whether objects keep their order or not.
        let sorted = canonical(&serde_json::json!({"b": [1, {"d": 1, "c": "\""}], "a": null}));
        assert_eq!(sorted, r#"{"a":null,"b":[1,{"c":"\"","d":1}]}"#);
        assert_ne!(of(&base), digest("other", &base, "sha"));
        assert_ne!(of(&base), digest("model", &base, "other"));
        for changed in [
            Request {
                seed: 2,
                ..base.clone()
            },
            Request {
                max_tokens: 8,
                ..base.clone()
            },
            Request {
                temperature: 0.5,
                ..base.clone()
            },
            Request {
                system: Some("s".into()),
                ..base.clone()
            },
            Request {
                subject: serde_json::json!({}),
                ..base.clone()
            },
        ] {
            assert_ne!(of(&base), of(&changed));
        }
    }
}
