//! What a server's answer means: a reply, or which kind of trouble.

use serde_json::Value;

use crate::transport::{Fault, FaultKind};
use crate::{Finish, Reply};

/// Details are for one line of a table.
const DETAIL: usize = 300;

/// A fault whose detail is one line. Only [`shortened`] cuts it, after it was scrubbed: a key must not
/// be cut in two and then pass.
pub(super) fn fault(kind: FaultKind, detail: impl AsRef<str>) -> Fault {
    let mut line = String::new();
    for word in detail.as_ref().split_whitespace() {
        if line.len() > 16 * DETAIL {
            break;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    Fault { kind, detail: line }
}

/// A detail short enough for a table.
pub(super) fn shortened(mut line: String) -> String {
    if let Some((end, _)) = line.char_indices().nth(DETAIL) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// The reply in the body of a chat completion.
pub(super) fn read(body: &[u8]) -> Result<Reply, Fault> {
    let value: Value = serde_json::from_slice(body)
        .map_err(|e| fault(FaultKind::BadReply, format!("the body is no JSON: {e}")))?;
    of_value(&value)
}

pub(super) fn of_value(value: &Value) -> Result<Reply, Fault> {
    if let Some(error) = inner_error(value) {
        return Err(error);
    }
    let Some(choice) = value["choices"].get(0) else {
        return Err(fault(FaultKind::BadReply, "the reply has no choices"));
    };
    let message = &choice["message"];
    let said = Said {
        text: content(&message["content"]),
        refusal: message["refusal"].as_str().map(str::to_owned),
        finish: choice["finish_reason"].as_str().map(str::to_owned),
        usage: value["usage"].clone(),
    };
    said.reply()
}

/// An error that came under the status of a success, as gateways and streams give it.
pub(super) fn inner_error(value: &Value) -> Option<Fault> {
    let error = value.get("error").filter(|error| !error.is_null())?;
    let status = error["code"].as_u64().and_then(|code| code.try_into().ok());
    Some(of_error(status.unwrap_or(500), value))
}

/// The content of a message: a string, or parts of which the texts count.
pub(super) fn content(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => Some(parts.iter().filter_map(|p| p["text"].as_str()).collect()),
        _ => None,
    }
}

/// What a model said, in one piece or collected from a stream.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub text: Option<String>,
    pub refusal: Option<String>,
    pub finish: Option<String>,
    pub usage: Value,
}

impl Said {
    pub(super) fn reply(self) -> Result<Reply, Fault> {
        if let Some(refusal) = self.refusal.filter(|refusal| !refusal.is_empty()) {
            return Err(fault(FaultKind::Refused, refusal));
        }
        let finish = match self.finish.as_deref() {
            Some("content_filter") => {
                return Err(fault(FaultKind::Refused, "stopped by the content filter"));
            }
            Some("error") => {
                return Err(fault(FaultKind::BadReply, "the reply ended in an error"));
            }
            Some("length" | "max_tokens") => Finish::Length,
            // Servers that leave the reason out, or have words of their own, were done.
            _ => Finish::Stop,
        };
        let tokens = |name: &str| {
            let number = self.usage[name].as_u64().unwrap_or_default();
            u32::try_from(number).unwrap_or(u32::MAX)
        };
        let text = match (self.text, finish) {
            (Some(text), _) => text,
            // All tokens went into reasoning.
            (None, Finish::Length) => String::new(),
            (None, Finish::Stop) => {
                return Err(fault(FaultKind::BadReply, "the reply has no content"));
            }
        };
        Ok(Reply {
            text,
            finish,
            prompt_tokens: tokens("prompt_tokens"),
            completion_tokens: tokens("completion_tokens"),
        })
    }
}

/// What an answer that is no success means.
pub(super) fn of_status(status: u16, body: &[u8]) -> Fault {
    let text = String::from_utf8_lossy(body);
    let value = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text.trim()));
    of_error(status, &value)
}

fn of_error(status: u16, value: &Value) -> Fault {
    // OpenAI: {"error": {"message", "code", "type"}}; vLLM: the same without the envelope, or a
    // bare string; FastAPI: {"detail"}.
    let error = value.get("error").unwrap_or(value);
    let message = [error, &error["message"], &error["detail"]]
        .into_iter()
        .find_map(Value::as_str);
    let message = match message {
        Some("") => "no explanation".to_owned(),
        Some(message) => message.to_owned(),
        None => error.to_string(),
    };
    let words: Vec<&str> = ["code", "type"]
        .iter()
        .filter_map(|name| error[*name].as_str())
        .collect();
    let says = |known: &[&str]| words.iter().any(|word| known.contains(word));
    let kind = match status {
        _ if says(&["insufficient_quota", "billing_hard_limit_reached"]) => FaultKind::Quota,
        402 => FaultKind::Quota,
        400 if says(&[
            "content_policy_violation",
            "content_filter",
            "moderation_blocked",
        ]) =>
        {
            FaultKind::Refused
        }
        429 => FaultKind::RateLimited,
        401 | 403 => FaultKind::Forbidden,
        300..400 | 404 | 405 | 410 => FaultKind::NotFound,
        408 | 409 | 425 | 500.. => FaultKind::Server,
        400..500 => FaultKind::Invalid,
        _ => FaultKind::BadReply,
    };
    let code = words.first().map(|word| format!(" {word}"));
    fault(
        kind,
        format!("{status}{}: {message}", code.unwrap_or_default()),
    )
}

/// Whether a server refuses a request because it cannot hold a reply to the form asked for.
pub(super) fn refuses_form(fault: &Fault) -> bool {
    const WORDS: [&str; 5] = [
        "response_format",
        "json_schema",
        "json_object",
        "structured output",
        "guided",
    ];
    let detail = fault.detail.to_ascii_lowercase();
    fault.kind == FaultKind::Invalid && WORDS.iter().any(|word| detail.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn completion(message: Value, finish: Value) -> Value {
        json!({"choices": [{"message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 5}})
    }

    #[test]
    fn replies_are_read_in_every_form_servers_give_them() {
        let text = json!({"content": "hi"});
        let parts =
            json!({"content": [{"type": "text", "text": "h"}, {"type": "x"}, {"text": "i"}]});
        let empty = json!({"content": ""});
        let none = json!({"content": null});
        let cases = [
            (completion(text.clone(), "stop".into()), "hi", Finish::Stop),
            (completion(text.clone(), Value::Null), "hi", Finish::Stop),
            (completion(text.clone(), "eos".into()), "hi", Finish::Stop),
            (completion(text, "length".into()), "hi", Finish::Length),
            (completion(parts, "stop".into()), "hi", Finish::Stop),
            (completion(empty, "stop".into()), "", Finish::Stop),
            (completion(none, "length".into()), "", Finish::Length),
        ];
        for (value, text, finish) in cases {
            let reply = of_value(&value).unwrap();
            assert_eq!(
                (reply.text.as_str(), reply.finish),
                (text, finish),
                "{value}"
            );
            assert_eq!((reply.prompt_tokens, reply.completion_tokens), (7, 5));
        }
        let without_usage = json!({"choices": [{"message": {"content": "hi"}}]});
        assert_eq!(of_value(&without_usage).unwrap().prompt_tokens, 0);
        let absurd = json!({"choices": [{"message": {"content": "hi"}}],
            "usage": {"prompt_tokens": u64::MAX}});
        assert_eq!(of_value(&absurd).unwrap().prompt_tokens, u32::MAX);
    }

    #[test]
    fn what_is_no_reply_has_a_kind() {
        let refusal = json!({"content": null, "refusal": "I cannot."});
        let said = json!({"content": "x"});
        let cases = [
            (completion(refusal, "stop".into()), FaultKind::Refused),
            (
                completion(said.clone(), "content_filter".into()),
                FaultKind::Refused,
            ),
            (completion(said, "error".into()), FaultKind::BadReply),
            (
                completion(json!({"content": null}), "stop".into()),
                FaultKind::BadReply,
            ),
            (completion(json!("x"), "stop".into()), FaultKind::BadReply),
            (json!({"choices": []}), FaultKind::BadReply),
            (json!({"choices": "x"}), FaultKind::BadReply),
            (json!([]), FaultKind::BadReply),
            (json!(null), FaultKind::BadReply),
            (
                json!({"error": {"message": "busy", "code": 429}}),
                FaultKind::RateLimited,
            ),
            (json!({"error": "broken"}), FaultKind::Server),
        ];
        for (value, kind) in cases {
            assert_eq!(of_value(&value).unwrap_err().kind, kind, "{value}");
        }
    }

    #[test]
    fn statuses_and_codes_tell_the_kind_of_trouble() {
        let error = |code: &str| json!({"error": {"message": "m", "code": code}}).to_string();
        let cases = [
            (429, error("rate_limit_exceeded"), FaultKind::RateLimited),
            (429, error("insufficient_quota"), FaultKind::Quota),
            (400, error("billing_hard_limit_reached"), FaultKind::Quota),
            (402, String::new(), FaultKind::Quota),
            (401, error("invalid_api_key"), FaultKind::Forbidden),
            (403, "<html>no</html>".into(), FaultKind::Forbidden),
            (404, error("model_not_found"), FaultKind::NotFound),
            (301, String::new(), FaultKind::NotFound),
            (408, String::new(), FaultKind::Server),
            (409, String::new(), FaultKind::Server),
            (500, String::new(), FaultKind::Server),
            (529, String::new(), FaultKind::Server),
            (400, error("content_policy_violation"), FaultKind::Refused),
            (400, error("context_length_exceeded"), FaultKind::Invalid),
            (413, String::new(), FaultKind::Invalid),
            (
                422,
                r#"{"detail": [{"loc": ["body"]}]}"#.into(),
                FaultKind::Invalid,
            ),
        ];
        for (status, body, kind) in cases {
            let fault = of_status(status, body.as_bytes());
            assert_eq!(fault.kind, kind, "{status} {body}");
            assert!(
                fault.detail.starts_with(&status.to_string()),
                "{}",
                fault.detail
            );
        }
    }

    #[test]
    fn a_detail_is_one_short_line_in_the_servers_words() {
        let cases = [
            (
                r#"{"error": {"message": "too\n long", "code": "c"}}"#,
                "400 c: too long",
            ),
            (
                r#"{"object": "error", "message": "m", "type": "T"}"#,
                "400 T: m",
            ),
            (r#"{"error": "just this"}"#, "400: just this"),
            (r#"{"detail": "Not OK"}"#, "400: Not OK"),
            ("plain", "400: plain"),
            ("", "400: no explanation"),
        ];
        for (body, detail) in cases {
            assert_eq!(of_status(400, body.as_bytes()).detail, detail);
        }
        let long = of_status(400, "é ".repeat(100_000).as_bytes()).detail;
        assert!(long.len() < 20 * DETAIL);
        assert_eq!(shortened(long).chars().count(), DETAIL + 1);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(status: u16, body: Vec<u8>) {
            of_status(status, &body);
            let _ = read(&body);
        }
    }
}
