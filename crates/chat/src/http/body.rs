//! The body of a chat completion, as the pieces it is sent in.
//!
//! An image's data URL is most of a body's bytes and the same for every request about it; it is a
//! piece of its own, shared and never copied.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use serde_json::{Map, Value, json};

use super::config::{HttpConfig, JsonMode, MaxTokensField};
use crate::{Request, Role};

/// Pieces that make one body.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces {
    done: Vec<Bytes>,
    open: String,
}

impl Pieces {
    pub(super) fn text(&mut self, text: &str) {
        self.open.push_str(text);
    }

    fn json(&mut self, value: &Value) {
        self.open.push_str(&value.to_string());
    }

    fn shared(&mut self, bytes: Bytes) {
        if !self.open.is_empty() {
            self.done.push(std::mem::take(&mut self.open).into());
        }
        self.done.push(bytes);
    }

    /// The pieces in their order.
    pub(super) fn finish(mut self) -> Vec<Bytes> {
        if !self.open.is_empty() {
            self.done.push(self.open.into());
        }
        self.done
    }
}

/// Writes the body of `request`, whose images have these data URLs, to `to`.
///
/// A request without a user's turn has no place for its images and is none: `false`.
pub(super) fn write(
    to: &mut Pieces,
    config: &HttpConfig,
    json_mode: JsonMode,
    stream: bool,
    request: &Request,
    data_urls: Vec<Bytes>,
) -> bool {
    let mut fields = fields(config, json_mode, stream, request).into_iter();
    to.text("{");
    for (name, value) in fields.by_ref() {
        to.json(&name.into());
        to.text(":");
        to.json(&value);
        to.text(",");
    }
    to.text(r#""messages":["#);
    let mut separator = "";
    if let Some(system) = &request.system {
        to.json(&json!({"role": "system", "content": system}));
        separator = ",";
    }
    let mut data_urls = Some(data_urls);
    for turn in &request.turns {
        to.text(separator);
        separator = ",";
        let shown = match turn.role {
            Role::User => data_urls.take().unwrap_or_default(),
            Role::Assistant => Vec::new(),
        };
        if shown.is_empty() {
            to.json(&json!({"role": turn.role, "content": turn.text}));
            continue;
        }
        to.text(r#"{"role":"user","content":["#);
        for data_url in shown {
            to.text(r#"{"type":"image_url","image_url":{"#);
            if let Some(detail) = &config.image_detail {
                to.text(r#""detail":"#);
                to.json(&detail.as_str().into());
                to.text(",");
            }
            to.text(r#""url":""#);
            to.shared(data_url);
            to.text(r#""}},"#);
        }
        to.json(&json!({"type": "text", "text": turn.text}));
        to.text("]}");
    }
    to.text("]}");
    data_urls.is_none()
}

/// All fields but the messages.
fn fields(
    config: &HttpConfig,
    json_mode: JsonMode,
    stream: bool,
    request: &Request,
) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    set("model", config.model.as_str().into());
    let bound = match config.max_tokens_field {
        MaxTokensField::MaxTokens => "max_tokens",
        MaxTokensField::MaxCompletionTokens => "max_completion_tokens",
    };
    set(bound, request.max_tokens.into());
    if config.send_temperature {
        // Through the shortest decimal form: 0.7 as f64 would be 0.699999988079071.
        let temperature: Option<f64> = request.temperature.to_string().parse().ok();
        set("temperature", temperature.into());
    }
    if config.send_seed {
        // The widest number that every server reads.
        set("seed", (request.seed & 0x7fff_ffff).into());
    }
    if let Some(schema) = &request.schema {
        match json_mode {
            JsonMode::Schema => {
                let schema = json!({
                    "type": "json_schema",
                    "json_schema": {"name": schema.name, "strict": true, "schema": schema.schema},
                });
                set("response_format", schema);
            }
            JsonMode::Object => {
                set("response_format", json!({"type": "json_object"}));
            }
            JsonMode::None => {}
        }
    }
    if stream {
        set("stream", true.into());
        set("stream_options", json!({"include_usage": true}));
    }
    for (name, value) in &config.extra {
        set(name, value.clone());
    }
    fields
}

/// Pieces on their way: a body of known length.
pub(super) struct Sent {
    pieces: std::vec::IntoIter<Bytes>,
    left: u64,
}

impl Sent {
    pub(super) fn new(pieces: Vec<Bytes>) -> Sent {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Sent {
            pieces: pieces.into_iter(),
            left,
        }
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let piece = self.pieces.next();
        if let Some(piece) = &piece {
            self.left -= piece.len() as u64;
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Image, Schema, Tag, Turn};

    fn request() -> Request {
        Request {
            id: "r".into(),
            tag: Tag::default(),
            system: Some("Be \"brief\".".into()),
            turns: vec![
                Turn {
                    role: Role::User,
                    text: "What\nis it?".into(),
                },
                Turn {
                    role: Role::Assistant,
                    text: "A cat.".into(),
                },
                Turn {
                    role: Role::User,
                    text: "Sure?".into(),
                },
            ],
            images: vec![Image {
                path: "a.png".into(),
                sha256: String::new(),
                width: 9,
                height: 9,
            }],
            subject: Value::Null,
            schema: Some(Schema {
                name: "labels".into(),
                schema: json!({"type": "object"}),
            }),
            max_tokens: 9,
            temperature: 0.7,
            seed: u64::MAX,
        }
    }

    fn config() -> HttpConfig {
        HttpConfig {
            model: "m".into(),
            ..HttpConfig::default()
        }
    }

    fn written(config: &HttpConfig, mode: JsonMode, request: &Request, urls: Vec<Bytes>) -> Value {
        let mut pieces = Pieces::default();
        assert!(write(
            &mut pieces,
            config,
            mode,
            config.stream,
            request,
            urls
        ));
        serde_json::from_slice(&pieces.finish().concat()).unwrap()
    }

    #[test]
    fn images_stand_before_the_text_of_the_first_users_turn() {
        let urls = vec![Bytes::from("data:a"), Bytes::from("data:b")];
        let body = written(&config(), JsonMode::Schema, &request(), urls);
        assert_eq!(
            body,
            json!({
                "model": "m", "max_tokens": 9, "temperature": 0.7, "seed": 0x7fff_ffffu32,
                "response_format": {"type": "json_schema", "json_schema":
                    {"name": "labels", "strict": true, "schema": {"type": "object"}}},
                "messages": [
                    {"role": "system", "content": "Be \"brief\"."},
                    {"role": "user", "content": [
                        {"type": "image_url", "image_url": {"url": "data:a"}},
                        {"type": "image_url", "image_url": {"url": "data:b"}},
                        {"type": "text", "text": "What\nis it?"},
                    ]},
                    {"role": "assistant", "content": "A cat."},
                    {"role": "user", "content": "Sure?"},
                ],
            })
        );
    }

    #[test]
    fn each_setting_shows_in_the_body() {
        let mut set = config();
        set.max_tokens_field = MaxTokensField::MaxCompletionTokens;
        set.send_seed = false;
        set.send_temperature = false;
        set.stream = true;
        set.image_detail = Some("high".into());
        set.extra.insert("top_p".into(), 0.5.into());
        let body = written(
            &set,
            JsonMode::Object,
            &request(),
            vec![Bytes::from("data:a")],
        );
        assert_eq!(
            body["messages"][1]["content"][0]["image_url"]["detail"],
            "high"
        );
        let mut rest = body.as_object().unwrap().clone();
        rest.remove("messages");
        assert_eq!(
            Value::Object(rest),
            json!({
                "model": "m", "max_completion_tokens": 9, "top_p": 0.5, "stream": true,
                "stream_options": {"include_usage": true}, "response_format": {"type": "json_object"},
            })
        );
        let body = written(&config(), JsonMode::None, &request(), Vec::new());
        assert!(body.get("response_format").is_none());
        let mut plain = request();
        plain.schema = None;
        let body = written(&config(), JsonMode::Schema, &plain, Vec::new());
        assert!(body.get("response_format").is_none());
    }

    #[test]
    fn images_are_shared_and_the_length_is_exact() {
        let url = Bytes::from("data:image/png;base64,AAAA");
        let mut pieces = Pieces::default();
        let shown = vec![url.clone()];
        assert!(write(
            &mut pieces,
            &config(),
            JsonMode::None,
            false,
            &request(),
            shown
        ));
        let pieces = pieces.finish();
        assert!(pieces.iter().any(|piece| piece.as_ptr() == url.as_ptr()));
        let length = pieces.concat().len() as u64;
        assert_eq!(Sent::new(pieces).size_hint().exact(), Some(length));
    }

    #[test]
    fn a_request_in_which_no_user_speaks_is_none() {
        let mut mute = request();
        mute.turns.retain(|turn| turn.role == Role::Assistant);
        let mut pieces = Pieces::default();
        let shown = vec![Bytes::from("data:a")];
        assert!(!write(
            &mut pieces,
            &config(),
            JsonMode::None,
            false,
            &mute,
            shown
        ));
    }
}
