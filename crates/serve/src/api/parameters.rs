//! What chat and plain completions have in common: sampling, limits, streaming, and what is refused.
//!
//! Parameters of OpenAI's that would change the reply and are not done here are refused by name. Those that
//! only hint (`user`, `store`, `metadata`, `service_tier`, `reasoning_effort`, ...) and those that nobody has
//! heard of are left alone, as other servers of this API do: a client library that learns a new field must not
//! stop working. Ranges are OpenAI's; `top_k`, `min_p` and `repetition_penalty` are those of vLLM.

use axum::http::StatusCode;
use serde_json::Value;

use super::ApiLimits;
use super::error::ApiError;
use super::field::Field;
use super::reply::random;
use crate::ask::Sampling;

/// Strings that may end a reply; OpenAI's number.
const STOPS: usize = 4;
/// Bytes of one of them. Each token's text is held back while one may still begin in it.
const STOP_BYTES: usize = 1024;
/// The likeliest tokens that may be asked for.
pub(super) const TOP_LOGPROBS: usize = 20;

/// What both kinds of requests say.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parameters {
    pub sampling: Sampling,
    pub max_tokens: Option<usize>,
    pub stop: Vec<String>,
    pub n: usize,
    pub stream: bool,
    pub include_usage: bool,
}

/// Reads them.
pub(super) fn parameters(body: &Field, limits: &ApiLimits) -> Result<Parameters, ApiError> {
    let stream = flag(body, "stream")?;
    Ok(Parameters {
        sampling: sampling(body)?,
        max_tokens: max_tokens(body)?,
        stop: stop(body)?,
        n: match body.get("n") {
            Some(n) => n.count(1, limits.n)?,
            None => 1,
        },
        stream,
        include_usage: include_usage(body, stream)?,
    })
}

/// True, or else false or left out.
pub(super) fn flag(body: &Field, name: &str) -> Result<bool, ApiError> {
    body.get(name).map_or(Ok(false), |field| field.flag())
}

fn sampling(body: &Field) -> Result<Sampling, ApiError> {
    let number = |name, default, least, most| {
        body.get(name)
            .map_or(Ok(default), |field| field.number(least, most))
    };
    let repetition_penalty = number("repetition_penalty", 1.0, 0.0, 10.0)?;
    if repetition_penalty == 0.0 {
        let message = "`repetition_penalty` is 0: give more than 0; 1 changes nothing";
        return Err(ApiError::value("repetition_penalty", message));
    }
    Ok(Sampling {
        temperature: number("temperature", 1.0, 0.0, 2.0)?,
        // OpenAI takes 0, which leaves the likeliest token alone, as any share does that it alone exceeds.
        top_p: number("top_p", 1.0, 0.0, 1.0)?.max(f64::MIN_POSITIVE),
        // -1 is how some clients say "all".
        top_k: match body.get("top_k") {
            Some(field) => usize::try_from(field.whole(-1, i64::MAX)?).unwrap_or(0),
            None => 0,
        },
        min_p: number("min_p", 0.0, 0.0, 1.0)?,
        repetition_penalty,
        // Any whole number is a seed; its bits are what counts.
        seed: match body.get("seed") {
            Some(field) => match field.value().as_u64() {
                Some(seed) => seed,
                None => field.whole(i64::MIN, i64::MAX)?.cast_unsigned(),
            },
            None => random(),
        },
    })
}

fn max_tokens(body: &Field) -> Result<Option<usize>, ApiError> {
    let limit = |name| {
        body.get(name)
            .map(|field| field.count(1, usize::MAX))
            .transpose()
    };
    let (old, new) = (limit("max_tokens")?, limit("max_completion_tokens")?);
    if let (Some(old), Some(new)) = (old, new)
        && old != new
    {
        return Err(ApiError::invalid(
            StatusCode::BAD_REQUEST,
            "invalid_parameter_combination",
            "`max_tokens` and `max_completion_tokens` differ: give one of them",
        )
        .about("max_tokens"));
    }
    Ok(new.or(old))
}

fn stop(body: &Field) -> Result<Vec<String>, ApiError> {
    let Some(field) = body.get("stop") else {
        return Ok(Vec::new());
    };
    let one = |field: &Field| {
        let text = field.text()?;
        if text.is_empty() {
            return Err(field.wrong(format!(
                "`{}` is empty: every reply would end at once",
                field.place()
            )));
        }
        if text.len() > STOP_BYTES {
            return Err(ApiError::limit(
                field.place(),
                format!("`{}` has more than {STOP_BYTES} bytes", field.place()),
            ));
        }
        Ok(text.to_owned())
    };
    if field.is_text() {
        return Ok(vec![one(&field)?]);
    }
    let Value::Array(entries) = field.value() else {
        return Err(field.not_a("a string or a list of strings"));
    };
    if entries.len() > STOPS {
        return Err(ApiError::limit(
            "stop",
            format!(
                "`stop` has {} strings: give no more than {STOPS}",
                entries.len()
            ),
        ));
    }
    field.list()?.map(|entry| one(&entry)).collect()
}

fn include_usage(body: &Field, stream: bool) -> Result<bool, ApiError> {
    let Some(options) = body.get("stream_options") else {
        return Ok(false);
    };
    let options = options.object()?;
    if !stream {
        return Err(ApiError::value(
            "stream_options",
            "`stream_options` is for streams: set `stream` to true, or leave it out",
        ));
    }
    flag(&options, "include_usage")
}

/// A parameter that is refused unless its value changes nothing.
struct Unsupported {
    name: &'static str,
    harmless: fn(&Value) -> bool,
    why: &'static str,
}

fn never(_: &Value) -> bool {
    false
}

fn zero(value: &Value) -> bool {
    value.as_f64() == Some(0.0)
}

fn empty(value: &Value) -> bool {
    match value {
        Value::Array(entries) => entries.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

fn no_choice(value: &Value) -> bool {
    matches!(value.as_str(), Some("none" | "auto"))
}

fn text_only(value: &Value) -> bool {
    value
        .as_array()
        .is_some_and(|kinds| kinds.len() == 1 && kinds[0] == "text")
}

const NO_TOOLS: &str = "the models served here call no tools";
const NO_PENALTY: &str = "only 0 is supported; `repetition_penalty` is, too";
const NO_AUDIO: &str = "the models served here write text only";

#[rustfmt::skip]
const UNSUPPORTED: &[Unsupported] = &[
    Unsupported { name: "tools", harmless: empty, why: NO_TOOLS },
    Unsupported { name: "tool_choice", harmless: no_choice, why: NO_TOOLS },
    Unsupported { name: "functions", harmless: empty, why: NO_TOOLS },
    Unsupported { name: "function_call", harmless: no_choice, why: NO_TOOLS },
    Unsupported { name: "web_search_options", harmless: never, why: NO_TOOLS },
    Unsupported { name: "audio", harmless: never, why: NO_AUDIO },
    Unsupported { name: "modalities", harmless: text_only, why: NO_AUDIO },
    Unsupported { name: "prediction", harmless: never, why: "predicted output is not supported" },
    Unsupported { name: "logit_bias", harmless: empty, why: "biases of tokens are not supported" },
    Unsupported { name: "presence_penalty", harmless: zero, why: NO_PENALTY },
    Unsupported { name: "frequency_penalty", harmless: zero, why: NO_PENALTY },
];

/// Refuses what is not done here.
pub(super) fn refuse_unsupported(body: &Field) -> Result<(), ApiError> {
    for unsupported in UNSUPPORTED {
        let Some(field) = body.get(unsupported.name) else {
            continue;
        };
        if !(unsupported.harmless)(field.value()) {
            return Err(ApiError::unsupported(
                field.place(),
                format!("`{}` cannot be used: {}", unsupported.name, unsupported.why),
            ));
        }
    }
    Ok(())
}
