//! `POST /v1/chat/completions`: conversations.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::answers::{Answers, Written, collected};
use super::error::ApiError;
use super::field::Field;
use super::forms::form;
use super::parameters::{Parameters, TOP_LOGPROBS, flag, parameters, refuse_unsupported};
use super::parts::{Messages, messages};
use super::reply::{ChatLogprobs, Head, Object, UsageObject, finish_reason, written};
use super::stream::{self, Dialect, Streamed};
use super::{Api, Asker, Served, Shared, body, proxy, remote};
use crate::ask::{Ask, Finish, Form, Part, Prompt, TokenText};

/// A request, checked. Images that are to be fetched are not there yet.
#[derive(Debug, PartialEq)]
pub(super) struct Conversation {
    pub messages: Messages,
    pub parameters: Parameters,
    pub logprobs: Option<usize>,
    pub form: Form,
}

/// Reads a request.
pub(super) fn conversation(value: &Value, api: &Api) -> Result<Conversation, ApiError> {
    let body = Field::body(value)?;
    refuse_unsupported(&body)?;
    Ok(Conversation {
        messages: messages(&body, &api.limits, api.fetcher.is_some())?,
        parameters: parameters(&body, &api.limits)?,
        logprobs: logprobs(&body)?,
        form: form(&body)?,
    })
}

fn logprobs(body: &Field) -> Result<Option<usize>, ApiError> {
    let wanted = flag(body, "logprobs")?;
    let top = body
        .get("top_logprobs")
        .map(|top| top.count(0, TOP_LOGPROBS))
        .transpose()?;
    match (wanted, top) {
        (false, Some(1..)) => Err(ApiError::value(
            "top_logprobs",
            "`top_logprobs` needs `logprobs` to be true",
        )),
        (false, _) => Ok(None),
        (true, top) => Ok(Some(top.unwrap_or(0))),
    }
}

/// Answers a conversation.
pub(super) async fn complete(
    State(shared): State<Shared>,
    request: Request,
) -> Result<Response, ApiError> {
    let asker = Asker::of(&request);
    let json = body::read(&shared.room, request).await?;
    let at = shared.model(&Field::body(&json.value)?)?;
    let schedule = match &shared.api.models[at] {
        Served::Own(schedule) => schedule,
        Served::Upstream(upstream) => return proxy::chat(&shared, upstream, json).await,
    };
    let api = shared.api.clone();
    let bytes = json.bytes;
    let (conversation, json) =
        body::off_thread_if_large(bytes, move || (conversation(&json.value, &api), json)).await?;
    let mut conversation = conversation?;
    let messages = &mut conversation.messages;
    let images = remote::fetched(&shared, &messages.remote, messages.image_bytes).await?;
    for (place, bytes) in messages.remote.iter().zip(images) {
        if let Some(turn) = messages.turns.get_mut(place.turn)
            && let Some(Part::Image(image)) = turn.parts.get_mut(place.part)
        {
            image.bytes = bytes;
        }
    }
    let Parameters {
        sampling,
        max_tokens,
        stop,
        n,
        stream,
        include_usage,
    } = conversation.parameters;
    let with_logprobs = conversation.logprobs.is_some();
    let ask = Ask {
        prompt: Prompt::Chat(conversation.messages.turns),
        max_tokens,
        sampling,
        stop,
        logprobs: conversation.logprobs,
        form: conversation.form,
        n,
    };
    let head = Head::new("chatcmpl-", schedule.card());
    let replies = Shared::ask(schedule, &asker.client, ask).await?;
    // The prompt is the schedule's now.
    drop(json);
    let answers = Answers::new(vec![replies], n);
    if stream {
        return stream::respond(Streamed {
            head,
            answers,
            dialect: Chat,
            include_usage,
            keep_alive: shared.api.limits.keep_alive,
            spent: asker.spent,
        })
        .await;
    }
    let (replies, usage) = collected(answers).await?;
    asker.spent.add(usage);
    let choice = |(index, reply)| choice(index, reply, with_logprobs);
    let choices = replies.into_iter().enumerate().map(choice).collect();
    let usage = Some(Some(UsageObject::from(usage)));
    let object = Object::new(&head, "chat.completion", choices, usage);
    Ok((super::JSON, written(&object)).into_response())
}

#[derive(Serialize)]
struct Choice {
    index: usize,
    message: Message,
    logprobs: Option<ChatLogprobs>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: String,
    refusal: (),
}

fn choice(index: usize, reply: Written, with_logprobs: bool) -> Choice {
    Choice {
        index,
        message: Message {
            role: "assistant",
            content: reply.text,
            refusal: (),
        },
        logprobs: with_logprobs.then(|| ChatLogprobs::new(&reply.tokens)),
        finish_reason: finish_reason(reply.finish),
    }
}

/// Chunks of a conversation's reply.
struct Chat;

/// A piece of a reply.
#[derive(Serialize)]
struct ChunkChoice {
    index: usize,
    delta: Delta,
    logprobs: Option<ChatLogprobs>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Delta {
    First {
        role: &'static str,
        content: &'static str,
        refusal: (),
    },
    More {
        content: String,
    },
    Last {},
}

impl Dialect for Chat {
    type Choice = ChunkChoice;
    const OBJECT: &'static str = "chat.completion.chunk";

    fn first(&self, index: usize) -> Option<ChunkChoice> {
        Some(ChunkChoice {
            index,
            delta: Delta::First {
                role: "assistant",
                content: "",
                refusal: (),
            },
            logprobs: None,
            finish_reason: None,
        })
    }

    fn more(&mut self, index: usize, text: String, token: Option<TokenText>) -> ChunkChoice {
        ChunkChoice {
            index,
            delta: Delta::More { content: text },
            logprobs: token.map(|token| ChatLogprobs::new(&[token])),
            finish_reason: None,
        }
    }

    fn last(&self, index: usize, finish: Finish) -> ChunkChoice {
        ChunkChoice {
            index,
            delta: Delta::Last {},
            logprobs: None,
            finish_reason: Some(finish_reason(finish)),
        }
    }
}
