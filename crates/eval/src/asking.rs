//! Asking a model and keeping what it says on disk: one line per question, in the questions' order.
//!
//! Replies are appended batch by batch and go to the operating system with each. After a kill, the
//! whole batches at the front are kept and the rest is asked again, in the same batches as without
//! the kill, so that the file ends up the same even for a model whose replies depend on the company
//! a question has in its batch.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use chat::{ChatModel, Finish, Reply, Request};
use sample::{Error as SampleError, interrupt, progress};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// What became of a question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) text: String,
    /// Whether the reply ran into the token limit.
    pub(crate) truncated: bool,
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
    /// Why there is no reply and never will be.
    pub(crate) failed: Option<String>,
}

impl Said {
    /// Nothing, for this reason.
    pub(crate) fn failed(why: String) -> Said {
        Said {
            failed: Some(why),
            ..Said::default()
        }
    }
}

impl From<Reply> for Said {
    fn from(reply: Reply) -> Said {
        Said {
            truncated: reply.finish == Finish::Length,
            text: reply.text,
            prompt_tokens: reply.prompt_tokens,
            completion_tokens: reply.completion_tokens,
            failed: None,
        }
    }
}

/// A question with a line in a file of replies.
pub(crate) trait Question {
    /// The line.
    type Line: Serialize + DeserializeOwned;

    /// Its id, for messages.
    fn id(&self) -> &str;

    /// What the model is sent, or why it cannot be asked.
    fn request(&self) -> Result<Request, String>;

    /// The line that says what became of it.
    fn line(&self, said: Said) -> Self::Line;

    /// Whether that line is about this question.
    fn owns(&self, line: &Self::Line) -> bool;

    /// The id in a line, for messages.
    fn id_of(line: &Self::Line) -> &str;
}

/// The lines of all questions of a batch, where they are known from elsewhere.
pub(crate) type Known<'k, Q> = &'k dyn Fn(&[Q]) -> Option<Vec<<Q as Question>::Line>>;

/// Asks what neither `path` nor `known` has; returns all lines. `batches` cover the questions in order.
///
/// # Errors
/// Where the model stops answering, or the file holds replies to something else.
pub(crate) fn ask<Q: Question>(
    path: &Path,
    questions: &[Q],
    batches: &[Range<usize>],
    model: &dyn ChatModel,
    known: Known<'_, Q>,
    bar: &progress::Bar,
) -> Result<Vec<Q::Line>, Error> {
    let mut lines = kept(path, questions, batches)?;
    bar.inc(lines.len() as u64);
    let io = |e| SampleError::io(path, e);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(io)?;
    for batch in batches {
        if batch.start < lines.len() {
            continue;
        }
        interrupt::check()?;
        let mut text = Vec::new();
        let batch = &questions[batch.clone()];
        let told = match known(batch) {
            Some(told) => told,
            None => {
                let said = replies(model, batch)?.into_iter();
                batch
                    .iter()
                    .zip(said)
                    .map(|(q, said)| q.line(said))
                    .collect()
            }
        };
        for line in told {
            serde_json::to_writer(&mut text, &line).map_err(|e| SampleError::format(path, e))?;
            text.push(b'\n');
            lines.push(line);
        }
        file.write_all(&text).map_err(io)?;
        bar.inc(batch.len() as u64);
    }
    file.sync_all().map_err(io)?;
    Ok(lines)
}

/// Batches of `size` questions each, the last with what is left.
pub(crate) fn equal_batches(questions: usize, size: usize) -> Vec<Range<usize>> {
    let size = size.max(1);
    (0..questions)
        .step_by(size)
        .map(|start| start..(start + size).min(questions))
        .collect()
}

fn replies<Q: Question>(model: &dyn ChatModel, batch: &[Q]) -> Result<Vec<Said>, Error> {
    let asked: Vec<Result<Request, String>> = batch.iter().map(Question::request).collect();
    let requests: Vec<Request> = asked.iter().flatten().cloned().collect();
    let replies = if requests.is_empty() {
        Vec::new()
    } else {
        model.reply(&requests)
    };
    if replies.len() != requests.len() {
        return Err(Error::ReplyCount {
            model: model.name().to_owned(),
            got: replies.len(),
            wanted: requests.len(),
        });
    }
    let mut replies = replies.into_iter();
    asked
        .into_iter()
        .map(|asked| match asked {
            Err(why) => Ok(Said::failed(why)),
            // As many replies as requests: checked above.
            Ok(_) => replies.next().map_or_else(|| Ok(Said::default()), said),
        })
        .collect()
}

fn said(reply: Result<Reply, chat::Error>) -> Result<Said, Error> {
    match reply {
        Ok(reply) => Ok(reply.into()),
        Err(chat::Error::Unanswerable { detail, .. }) => Ok(Said::failed(detail)),
        Err(chat::Error::Interrupted) => Err(SampleError::Interrupted.into()),
        Err(e @ (chat::Error::Failed { .. } | chat::Error::Ledger(_))) => Err(Error::Model(e)),
    }
}

/// The replies of a stopped run that are whole, cut to whole batches; the file is cut with them.
fn kept<Q: Question>(
    path: &Path,
    questions: &[Q],
    batches: &[Range<usize>],
) -> Result<Vec<Q::Line>, Error> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(SampleError::io(path, e).into()),
    };
    // The last piece is empty, or a line that was being written.
    let mut texts: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
    texts.pop();
    let wrong = |line: usize, detail: String| Error::Responses {
        path: path.to_owned(),
        line: line + 1,
        detail,
    };
    if texts.len() > questions.len() {
        return Err(wrong(
            questions.len(),
            "more replies than questions".to_owned(),
        ));
    }
    let whole = batches.iter().map(|batch| batch.end);
    let whole = whole.take_while(|&end| end <= texts.len()).last();
    texts.truncate(whole.unwrap_or(0));
    let mut lines = Vec::with_capacity(questions.len());
    let mut length = 0;
    for (i, (text, question)) in texts.iter().zip(questions).enumerate() {
        let line: Q::Line =
            serde_json::from_slice(text).map_err(|e| wrong(i, format!("not a reply: {e}")))?;
        if !question.owns(&line) {
            let (found, wanted) = (Q::id_of(&line), question.id());
            let detail = format!("a reply to {found:?}, not to {wanted:?}");
            return Err(wrong(i, detail));
        }
        length += text.len() as u64 + 1;
        lines.push(line);
    }
    let file = File::options()
        .write(true)
        .open(path)
        .map_err(|e| SampleError::io(path, e))?;
    file.set_len(length).map_err(|e| SampleError::io(path, e))?;
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_cover_all_questions_once() {
        let batches = |questions, size| -> Vec<(usize, usize)> {
            let batches = equal_batches(questions, size).into_iter();
            batches.map(|batch| (batch.start, batch.end)).collect()
        };
        assert_eq!(batches(0, 4), []);
        assert_eq!(batches(5, 2), [(0, 2), (2, 4), (4, 5)]);
        assert_eq!(batches(4, 4), [(0, 4)]);
        assert_eq!(batches(2, 0), [(0, 1), (1, 2)]);
    }
}
