//! What was said to held-out questions, on disk: one line per question and condition.

use std::path::Path;

use chat::{ChatModel, Request};
use sample::progress;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::asking::{self, Said};

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

impl asking::Question for Question {
    type Line = Response;

    fn id(&self) -> &str {
        &self.request.id
    }

    fn request(&self) -> Result<Request, String> {
        Ok(self.request.clone())
    }

    fn line(&self, said: Said) -> Response {
        Response {
            id: self.request.id.clone(),
            shown: Some(self.shown.clone()),
            text: said.text,
            truncated: said.truncated,
            prompt_tokens: said.prompt_tokens,
            completion_tokens: said.completion_tokens,
            failed: said.failed,
        }
    }

    fn owns(&self, line: &Response) -> bool {
        line.id == self.request.id && line.shown.as_ref() == Some(&self.shown)
    }

    fn id_of(line: &Response) -> &str {
        &line.id
    }
}

/// Asks what `path` does not have yet; returns all replies.
pub(crate) fn ask(
    path: &Path,
    questions: &[Question],
    batch_size: usize,
    student: &dyn ChatModel,
    bar: &progress::Bar,
) -> Result<Vec<Response>, Error> {
    let batches = asking::equal_batches(questions.len(), batch_size);
    asking::ask(path, questions, &batches, student, &|_| None, bar)
}
