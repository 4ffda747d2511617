//! What was said, on disk: one line per question, in the questions' order.
//!
//! Replies are appended batch by batch and go to the operating system with each. After a kill, the
//! whole batches at the front are kept and the rest is asked again, in the same batches as without
//! the kill, so that the file ends up the same even for a model whose replies depend on the company
//! a question has in its batch.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use chat::{ChatModel, Finish, Reply, Request};
use sample::{Error as SampleError, interrupt, progress};
use serde::{Deserialize, Serialize};

use crate::Error;

/// One line of `responses.*.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Response {
    pub(crate) id: String,
    /// The image that was shown.
    pub(crate) shown: Option<String>,
    pub(crate) text: String,
    /// Whether the reply ran into the token limit.
    pub(crate) truncated: bool,
    pub(crate) prompt_tokens: u32,
    pub(crate) completion_tokens: u32,
    /// Why the model could not answer this request at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
}

/// A question as it will be asked: what is shown, and the request.
pub(crate) struct Question {
    pub(crate) shown: String,
    pub(crate) request: Request,
}

/// Asks what `path` does not have yet; returns all replies.
pub(crate) fn ask(
    path: &Path,
    questions: &[Question],
    batch_size: usize,
    student: &dyn ChatModel,
    bar: &progress::Bar,
) -> Result<Vec<Response>, Error> {
    let mut responses = kept(path, questions, batch_size)?;
    bar.inc(responses.len() as u64);
    let io = |e| SampleError::io(path, e);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(io)?;
    for batch in questions[responses.len()..].chunks(batch_size) {
        interrupt::check()?;
        let requests: Vec<Request> = batch.iter().map(|q| q.request.clone()).collect();
        let replies = student.reply(&requests);
        if replies.len() != batch.len() {
            return Err(Error::ReplyCount {
                model: student.name().to_owned(),
                got: replies.len(),
                wanted: batch.len(),
            });
        }
        let mut lines = Vec::new();
        for (question, reply) in batch.iter().zip(replies) {
            let response = response(question, reply)?;
            serde_json::to_writer(&mut lines, &response)
                .map_err(|e| SampleError::format(path, e))?;
            lines.push(b'\n');
            responses.push(response);
        }
        file.write_all(&lines).map_err(io)?;
        bar.inc(batch.len() as u64);
    }
    file.sync_all().map_err(io)?;
    Ok(responses)
}

fn response(question: &Question, reply: Result<Reply, chat::Error>) -> Result<Response, Error> {
    let mut response = Response {
        id: question.request.id.clone(),
        shown: Some(question.shown.clone()),
        text: String::new(),
        truncated: false,
        prompt_tokens: 0,
        completion_tokens: 0,
        failed: None,
    };
    match reply {
        Ok(reply) => {
            response.truncated = reply.finish == Finish::Length;
            response.text = reply.text;
            response.prompt_tokens = reply.prompt_tokens;
            response.completion_tokens = reply.completion_tokens;
        }
        Err(chat::Error::Unanswerable { detail, .. }) => response.failed = Some(detail),
        Err(chat::Error::Interrupted) => return Err(SampleError::Interrupted.into()),
        Err(e @ (chat::Error::Failed { .. } | chat::Error::Ledger(_))) => {
            return Err(Error::Model(e));
        }
    }
    Ok(response)
}

/// The replies of a stopped run that are whole, cut to whole batches; the file is cut with them.
fn kept(path: &Path, questions: &[Question], batch_size: usize) -> Result<Vec<Response>, Error> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(SampleError::io(path, e).into()),
    };
    // The last piece is empty, or a line that was being written.
    let mut lines: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
    lines.pop();
    let wrong = |line: usize, detail: String| Error::Responses {
        path: path.to_owned(),
        line: line + 1,
        detail,
    };
    if lines.len() > questions.len() {
        return Err(wrong(
            questions.len(),
            "more replies than questions".to_owned(),
        ));
    }
    if lines.len() < questions.len() {
        lines.truncate(lines.len() - lines.len() % batch_size);
    }
    let mut responses = Vec::with_capacity(questions.len());
    let mut length = 0;
    for (i, (line, question)) in lines.iter().zip(questions).enumerate() {
        let response: Response =
            serde_json::from_slice(line).map_err(|e| wrong(i, format!("not a reply: {e}")))?;
        if response.id != question.request.id || response.shown.as_ref() != Some(&question.shown) {
            return Err(wrong(
                i,
                format!(
                    "a reply to {:?}, not to {:?}",
                    response.id, question.request.id
                ),
            ));
        }
        length += line.len() as u64 + 1;
        responses.push(response);
    }
    let file = File::options()
        .write(true)
        .open(path)
        .map_err(|e| SampleError::io(path, e))?;
    file.set_len(length).map_err(|e| SampleError::io(path, e))?;
    Ok(responses)
}
