//! Requests for a model of another server: checked against our limits, handed on, answered as it answers.
//!
//! Only what is known is handed on, and messages are put together anew from known parts: a field that the other
//! server understands and this one does not could name an address or a file for it to open. For the same
//! reason images elsewhere are fetched here, under this server's rules, and handed on as data.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chat::relay::{Relayed, Upstream};
use futures::StreamExt;
use sample::progress::note;
use serde_json::{Map, Value, json};

use super::body::{Json, off_thread_if_large};
use super::completions::prompts;
use super::error::ApiError;
use super::field::Field;
use super::parts::{Address, RemoteImage, address, image_url, too_many_images};
use super::{Api, ApiLimits, Shared, remote};

/// What is handed on of either kind of request, beside the prompt.
const SHARED: &[&str] = &[
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "min_p",
    "n",
    "presence_penalty",
    "repetition_penalty",
    "response_format",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "top_k",
    "top_p",
    "user",
];

/// Of conversations alone.
const CHAT: &[&str] = &[
    "function_call",
    "functions",
    "max_completion_tokens",
    "parallel_tool_calls",
    "reasoning_effort",
    "tool_choice",
    "tools",
    "top_logprobs",
    "verbosity",
];

/// Of plain completions alone.
const COMPLETION: &[&str] = &["best_of", "echo", "suffix"];

/// A request that can be handed on once its images are there.
#[derive(Debug, PartialEq)]
struct HandedOn {
    body: Map<String, Value>,
    remote: Vec<RemoteImage>,
    image_bytes: usize,
}

/// Hands a conversation on.
pub(super) async fn chat(
    shared: &Shared,
    upstream: &Upstream,
    json: Json,
) -> Result<Response, ApiError> {
    let api = shared.api.clone();
    let bytes = json.bytes;
    let (read, json) =
        off_thread_if_large(bytes, move || (conversation(&json.value, &api), json)).await?;
    let mut read = read?;
    let images = remote::fetched(shared, &read.remote, read.image_bytes).await?;
    for (place, image) in read.remote.iter().zip(images) {
        let media = media_type(&image).ok_or_else(|| {
            let message = format!("the file at `{}` is no image of a known kind", place.place);
            ApiError::value(&place.place, message)
        })?;
        let url = format!("data:{media};base64,{}", STANDARD.encode(&image));
        let pointer = format!(
            "/messages/{}/content/{}/image_url/url",
            place.turn, place.part
        );
        let messages = read.body.get_mut("messages");
        // Within "messages" the pointer has no such first step.
        let below = pointer.strip_prefix("/messages").unwrap_or_default();
        if let Some(slot) = messages.and_then(|messages| messages.pointer_mut(below)) {
            *slot = Value::String(url);
        }
    }
    drop(json);
    hand_on(upstream, "chat/completions", read.body).await
}

/// Hands a plain completion on.
pub(super) async fn completion(
    shared: &Shared,
    upstream: &Upstream,
    json: Json,
) -> Result<Response, ApiError> {
    let body = Field::body(&json.value)?;
    let mut handed = known(&body, COMPLETION, &shared.api.limits)?;
    let prompts = prompts(&body, &shared.api.limits)?;
    handed.insert("prompt".to_owned(), json!(prompts));
    drop(json);
    hand_on(upstream, "completions", handed).await
}

fn conversation(value: &Value, api: &Api) -> Result<HandedOn, ApiError> {
    let body = Field::body(value)?;
    let mut handed = HandedOn {
        body: known(&body, CHAT, &api.limits)?,
        remote: Vec::new(),
        image_bytes: 0,
    };
    let mut images = 0;
    let list = body.need("messages")?;
    let mut messages = Vec::new();
    for (turn, message) in list.list()?.enumerate() {
        let message = message.object()?;
        let mut copy = Map::new();
        copy.insert("role".to_owned(), json!(message.need("role")?.text()?));
        for name in [
            "name",
            "refusal",
            "tool_call_id",
            "tool_calls",
            "function_call",
        ] {
            if let Some(field) = message.get(name) {
                copy.insert(name.to_owned(), field.value().clone());
            }
        }
        if let Some(content) = message.get("content") {
            let content = if content.is_text() {
                content.value().clone()
            } else {
                let mut parts = Vec::new();
                for (at, part) in content.list()?.enumerate() {
                    let (part, image) = copied(&part.object()?, api)?;
                    images += usize::from(image.is_some());
                    match image {
                        Some((Address::Remote(url), place)) => handed.remote.push(RemoteImage {
                            turn,
                            part: at,
                            url,
                            place,
                        }),
                        Some((Address::Data(bytes), _)) => handed.image_bytes += bytes.len(),
                        None => {}
                    }
                    if images > api.limits.images {
                        return Err(too_many_images(content.place(), &api.limits));
                    }
                    parts.push(part);
                }
                Value::Array(parts)
            };
            copy.insert("content".to_owned(), content);
        }
        messages.push(Value::Object(copy));
    }
    if messages.is_empty() {
        return Err(list.wrong("`messages` is empty: give at least one message"));
    }
    handed.body.insert("messages".to_owned(), messages.into());
    Ok(handed)
}

/// A part made anew of what is known of it, and the image in it.
type Copied = (Value, Option<(Address, String)>);

fn copied(part: &Field, api: &Api) -> Result<Copied, ApiError> {
    let kind = part.need("type")?;
    let plain = |name: &str, value: Value| Ok((json!({ "type": name, name: value }), None));
    match kind.text()? {
        "text" => plain("text", json!(part.need("text")?.text()?)),
        "refusal" => plain("refusal", json!(part.need("refusal")?.text()?)),
        "image_url" => {
            let url = image_url(part)?;
            let image = address(&url, &api.limits, api.fetcher.is_some())?;
            let mut copy = Map::new();
            copy.insert("url".to_owned(), url.value().clone());
            let given = part.get("image_url");
            if let Some(detail) = given.and_then(|given| given.get("detail")) {
                copy.insert("detail".to_owned(), detail.value().clone());
            }
            let copy = json!({ "type": "image_url", "image_url": copy });
            Ok((copy, Some((image, url.place().to_owned()))))
        }
        _ => Err(ApiError::unsupported(
            kind.place(),
            format!("`{}` must be \"text\" or \"image_url\"", kind.place()),
        )),
    }
}

fn known(body: &Field, own: &[&str], limits: &ApiLimits) -> Result<Map<String, Value>, ApiError> {
    if let Some(n) = body.get("n") {
        n.count(1, limits.n)?;
    }
    let names = SHARED.iter().chain(own);
    let given =
        names.filter_map(|name| Some(((*name).to_owned(), body.get(name)?.value().clone())));
    Ok(given.collect())
}

async fn hand_on(
    upstream: &Upstream,
    path: &str,
    body: Map<String, Value>,
) -> Result<Response, ApiError> {
    match upstream.post(path, Value::Object(body)).await {
        Ok(relayed) => answer(relayed),
        Err(error) => {
            // Its address is the operator's business.
            note(&format!("upstream of {}: {error}", upstream.model()));
            Err(failed(StatusCode::BAD_GATEWAY))
        }
    }
}

fn failed(status: StatusCode) -> ApiError {
    let message = "the server behind this model did not answer as it should";
    ApiError::server(status, "upstream_error", message)
}

/// The other server's answer. That it would not have our key is nothing that our client could mend; pages of
/// its are not to be shown under our name.
fn answer(relayed: Relayed) -> Result<Response, ApiError> {
    let status = StatusCode::from_u16(relayed.status)
        .ok()
        .filter(|status| *status != StatusCode::FORBIDDEN)
        .ok_or_else(|| {
            note(&format!("upstream answered {}", relayed.status));
            failed(StatusCode::BAD_GATEWAY)
        })?;
    let given = relayed.content_type.as_deref().unwrap_or_default();
    let media = match given.split(';').next().unwrap_or_default().trim() {
        "application/json" => "application/json",
        "text/event-stream" => "text/event-stream",
        _ => "text/plain; charset=utf-8",
    };
    let events = media == "text/event-stream";
    let body = relayed.body.map(move |piece| match piece {
        // The status is sent: clients find an error as an event, and the end of the stream. A piece that was
        // cut off is closed before it.
        Err(error) if events => {
            note(&error.to_string());
            let error = failed(StatusCode::BAD_GATEWAY).json();
            Ok(Bytes::from(format!(
                "\n\ndata: {error}\n\ndata: [DONE]\n\n"
            )))
        }
        piece => piece,
    });
    let mut response = Response::new(Body::from_stream(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    if let Some(after) = relayed.retry_after
        && let Ok(after) = HeaderValue::from_str(&after)
    {
        headers.insert(RETRY_AFTER, after);
    }
    Ok(response)
}

/// An image file's media type, by how it begins.
fn media_type(file: &[u8]) -> Option<&'static str> {
    let webp = |file: &[u8]| file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WEBP");
    match file {
        _ if file.starts_with(b"\x89PNG\r\n\x1a\n") => Some("image/png"),
        _ if file.starts_with(b"\xff\xd8\xff") => Some("image/jpeg"),
        _ if file.starts_with(b"GIF8") => Some("image/gif"),
        _ if file.starts_with(b"BM") => Some("image/bmp"),
        _ if webp(file) => Some("image/webp"),
        _ => None,
    }
}
