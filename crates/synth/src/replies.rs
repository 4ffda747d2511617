//! Replies on record, so that nothing is asked twice.
//!
//! One JSON line for each reply, by the digest of the request that it answers, appended and synced
//! after every batch. A stage that was stopped reads them back and asks only the rest; a line that a
//! kill cut in half is cut off and asked again. The record outlives `--force`: delete the file to
//! have everything asked anew.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use chat::Reply;
use serde::{Deserialize, Serialize};

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
}
