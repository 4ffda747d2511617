//! `POST /v1/completions`: text that the model goes on with, one or several.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::answers::{Answers, Written, collected};
use super::error::ApiError;
use super::field::Field;
use super::forms::form;
use super::parameters::{Parameters, TOP_LOGPROBS, flag, parameters, refuse_unsupported};
use super::parts::text_within;
use super::reply::{Head, Object, UsageObject, finish_reason, logprob, written};
use super::stream::{self, Dialect, Streamed};
use super::{Api, ApiLimits, Asker, Served, Shared, body, proxy};
use crate::ask::{Ask, Finish, Form, Prompt, TokenLogprob, TokenText};

/// Tokens of a reply where the request names no number; OpenAI's.
const MAX_TOKENS: usize = 16;

/// A request, checked.
#[derive(Debug, PartialEq)]
pub(super) struct Completion {
    pub prompts: Vec<String>,
    pub parameters: Parameters,
    pub logprobs: Option<usize>,
    pub form: Form,
}

/// Reads a request.
pub(super) fn completion(value: &Value, api: &Api) -> Result<Completion, ApiError> {
    let body = Field::body(value)?;
    refuse_unsupported(&body)?;
    let prompts = prompts(&body, &api.limits)?;
    let mut parameters = parameters(&body, &api.limits)?;
    parameters.max_tokens.get_or_insert(MAX_TOKENS);
    refuse_variants(&body, parameters.n)?;
    Ok(Completion {
        prompts,
        logprobs: body
            .get("logprobs")
            .map(|top| top.count(0, TOP_LOGPROBS))
            .transpose()?,
        form: form(&body)?,
        parameters,
    })
}

/// The prompts of a request.
pub(super) fn prompts(body: &Field, limits: &ApiLimits) -> Result<Vec<String>, ApiError> {
    let prompt = body.need("prompt")?;
    let mut bytes = 0;
    let mut text = |field: &Field| {
        let text = field.text()?;
        bytes += text.len();
        text_within(bytes, field.place(), limits)?;
        Ok(text.to_owned())
    };
    if prompt.is_text() {
        return Ok(vec![text(&prompt)?]);
    }
    let Value::Array(entries) = prompt.value() else {
        return Err(prompt.not_a("a string or a list of strings"));
    };
    if matches!(entries.first(), Some(Value::Number(_) | Value::Array(_))) {
        return Err(ApiError::unsupported(
            prompt.place(),
            "`prompt` cannot be a list of token ids: give text",
        ));
    }
    if entries.is_empty() {
        return Err(prompt.wrong("`prompt` is empty: give at least one text"));
    }
    if entries.len() > limits.prompts {
        let message = format!(
            "`prompt` has {} texts: give no more than {}",
            entries.len(),
            limits.prompts
        );
        return Err(ApiError::limit(prompt.place(), message));
    }
    prompt.list()?.map(|entry| text(&entry)).collect()
}

/// `echo`, `suffix` and `best_of` change what is written, unless they ask for nothing.
fn refuse_variants(body: &Field, n: usize) -> Result<(), ApiError> {
    if flag(body, "echo")? {
        let message = "`echo` is not supported: leave it out";
        return Err(ApiError::unsupported("echo", message));
    }
    if let Some(suffix) = body.get("suffix")
        && !suffix.text()?.is_empty()
    {
        let message = "`suffix` is not supported: leave it out";
        return Err(ApiError::unsupported("suffix", message));
    }
    if let Some(best_of) = body.get("best_of")
        && best_of.count(1, usize::MAX)? != n
    {
        let message = "`best_of` is not supported beyond `n`: leave it out";
        return Err(ApiError::unsupported("best_of", message));
    }
    Ok(())
}

/// Answers a completion.
pub(super) async fn complete(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let asker = Asker::of(&request);
    let json = body::read(&shared.room, request).await?;
    let at = shared.model(&Field::body(&json.value)?)?;
    let schedule = match &shared.api.models[at] {
        Served::Own(schedule) => schedule,
        Served::Upstream(upstream) => return proxy::completion(&shared, upstream, json).await,
    };
    let Completion {
        prompts,
        parameters,
        logprobs,
        form,
    } = completion(&json.value, &shared.api)?;
    let Parameters {
        sampling,
        max_tokens,
        stop,
        n,
        stream,
        include_usage,
    } = parameters;
    let head = Head::new("cmpl-", schedule.card());
    let mut replies = Vec::with_capacity(prompts.len());
    for prompt in prompts {
        let ask = Ask {
            prompt: Prompt::Text(prompt),
            max_tokens,
            sampling,
            stop: stop.clone(),
            logprobs,
            form: form.clone(),
            n,
        };
        replies.push(Shared::ask(schedule, &asker.client, ask).await?);
    }
    drop(json);
    let answers = Answers::new(replies, n);
    if stream {
        let offsets = vec![0; answers.choices()];
        return stream::respond(Streamed {
            head,
            answers,
            dialect: Text { offsets },
            include_usage,
            keep_alive: shared.api.limits.keep_alive,
            spent: asker.spent,
        })
        .await;
    }
    let (replies, usage) = collected(answers).await?;
    asker.spent.add(usage);
    let choice = |(index, reply)| choice(index, reply, logprobs.is_some());
    let choices: Vec<Choice> = replies.into_iter().enumerate().map(choice).collect();
    let usage = Some(Some(UsageObject::from(usage)));
    let object = Object::new(&head, Text::OBJECT, choices, usage);
    Ok((super::JSON, written(&object)).into_response())
}

#[derive(Serialize)]
struct Choice {
    text: String,
    index: usize,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
}

/// Four lists of the same length.
#[derive(Default, Serialize)]
struct Logprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<f32>,
    top_logprobs: Vec<Likely>,
    /// Where each token begins, in characters of the reply.
    text_offset: Vec<usize>,
}

/// Names with their log-probabilities, the likeliest first; an object in JSON.
struct Likely(Vec<(String, f32)>);

impl Serialize for Likely {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, logprob)| (name, logprob)))
    }
}

impl Logprobs {
    fn push(&mut self, token: &TokenText, offset: usize) {
        self.tokens.push(name(&token.chosen));
        self.token_logprobs.push(logprob(&token.chosen));
        let mut likely: Vec<(String, f32)> = Vec::new();
        for token in token.top.iter().chain([&token.chosen]) {
            let name = name(token);
            if likely.iter().all(|(known, _)| *known != name) {
                likely.push((name, logprob(token)));
            }
        }
        self.top_logprobs.push(Likely(likely));
        self.text_offset.push(offset);
    }
}

/// A token's text; of bytes that are none by themselves, their numbers, so that no two have the same name.
fn name(token: &TokenLogprob) -> String {
    match std::str::from_utf8(&token.bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let bytes = token.bytes.iter().map(|byte| format!("\\x{byte:02x}"));
            format!("bytes:{}", bytes.collect::<String>())
        }
    }
}

/// The characters that begin in a token: bytes that go on with one are not counted.
fn characters(token: &TokenText) -> usize {
    let begins = |byte: &&u8| **byte & 0xc0 != 0x80;
    token.chosen.bytes.iter().filter(begins).count()
}

fn choice(index: usize, reply: Written, with_logprobs: bool) -> Choice {
    let logprobs = with_logprobs.then(|| {
        let mut logprobs = Logprobs::default();
        let mut offset = 0;
        for token in &reply.tokens {
            logprobs.push(token, offset);
            offset += characters(token);
        }
        logprobs
    });
    Choice {
        text: reply.text,
        index,
        logprobs,
        finish_reason: Some(finish_reason(reply.finish)),
    }
}

/// Chunks of a plain completion.
struct Text {
    /// By reply, the characters of its tokens.
    offsets: Vec<usize>,
}

impl Dialect for Text {
    type Choice = Choice;
    const OBJECT: &'static str = "text_completion";

    fn first(&self, _index: usize) -> Option<Choice> {
        None
    }

    fn more(&mut self, index: usize, text: String, token: Option<TokenText>) -> Choice {
        let logprobs = token.map(|token| {
            let mut logprobs = Logprobs::default();
            let offset = self.offsets.get_mut(index);
            logprobs.push(&token, offset.as_deref().copied().unwrap_or(0));
            if let Some(offset) = offset {
                *offset += characters(&token);
            }
            logprobs
        });
        Choice {
            text,
            index,
            logprobs,
            finish_reason: None,
        }
    }

    fn last(&self, index: usize, finish: Finish) -> Choice {
        Choice {
            text: String::new(),
            index,
            logprobs: None,
            finish_reason: Some(finish_reason(finish)),
        }
    }
}
