//! Streams, byte for byte.

use std::time::Duration;

use super::*;

/// The events of a stream, with what differs from call to call put aside.
fn events(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.headers["content-type"], "text/event-stream");
    assert_eq!(answer.headers["x-accel-buffering"], "no");
    let mut events: Vec<String> = answer.text.split("\n\n").map(str::to_owned).collect();
    assert_eq!(
        events.pop().as_deref(),
        Some(""),
        "the last event is cut off"
    );
    let first: Value = serde_json::from_str(events[0].strip_prefix("data: ").unwrap()).unwrap();
    let id = first["id"].as_str().unwrap();
    let created = first["created"].as_u64().unwrap().to_string();
    let fingerprint = first["system_fingerprint"].as_str().unwrap();
    let steady = |event: &String| {
        event
            .replace(id, "ID")
            .replace(&created, "0")
            .replace(fingerprint, "FP")
    };
    events.iter().map(steady).collect()
}

fn chunk(choice: &str, usage: &str) -> String {
    format!(
        "data: {{\"id\":\"ID\",\"object\":\"chat.completion.chunk\",\"created\":0,\"model\":\"echo\",\
         \"system_fingerprint\":\"FP\",\"choices\":[{choice}]{usage}}}"
    )
}

fn piece(index: usize, delta: &str, finish: &str) -> String {
    format!("{{\"index\":{index},\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}")
}

const FIRST: &str = r#"{"role":"assistant","content":"","refusal":null}"#;

#[tokio::test]
async fn a_conversation_streams_byte_for_byte_in_openais_form() {
    let router = served(vec![echo()]);
    let answer = posted(&router, CHAT, &asking(json!({ "stream": true }))).await;
    let expected = [
        chunk(&piece(0, FIRST, "null"), ""),
        chunk(&piece(0, r#"{"content":"one "}"#, "null"), ""),
        chunk(&piece(0, r#"{"content":"two"}"#, "null"), ""),
        chunk(&piece(0, "{}", r#""stop""#), ""),
        "data: [DONE]".to_owned(),
    ];
    assert_eq!(events(&answer), expected);
}

#[tokio::test]
async fn usage_comes_last_with_no_choices_where_it_is_asked_for() {
    let router = served(vec![echo()]);
    let body = asking(json!({
        "stream": true,
        "max_tokens": 1,
        "stream_options": { "include_usage": true },
    }));
    let null = ",\"usage\":null";
    let usage = concat!(
        r#","usage":{"prompt_tokens":2,"completion_tokens":1,"total_tokens":3,"#,
        r#""prompt_tokens_details":{"cached_tokens":0}}"#
    );
    let expected = [
        chunk(&piece(0, FIRST, "null"), null),
        chunk(&piece(0, r#"{"content":"one "}"#, "null"), null),
        chunk(&piece(0, "{}", r#""length""#), null),
        chunk("", usage),
        "data: [DONE]".to_owned(),
    ];
    assert_eq!(events(&posted(&router, CHAT, &body).await), expected);
}

#[tokio::test]
async fn a_completion_streams_byte_for_byte_in_openais_form() {
    let router = served(vec![echo()]);
    let body = json!({ "prompt": "one two", "stream": true, "logprobs": 0 });
    let chunk = |choice: &str| {
        format!(
            "data: {{\"id\":\"ID\",\"object\":\"text_completion\",\"created\":0,\"model\":\"echo\",\
             \"system_fingerprint\":\"FP\",\"choices\":[{choice}]}}"
        )
    };
    let piece = |text: &str, offset: usize| {
        format!(
            "{{\"text\":\"{text}\",\"index\":0,\"logprobs\":{{\"tokens\":[\"{text}\"],\
             \"token_logprobs\":[-0.25],\"top_logprobs\":[{{\"{text}\":-0.25}}],\
             \"text_offset\":[{offset}]}},\"finish_reason\":null}}"
        )
    };
    let expected = [
        chunk(&piece("one ", 0)),
        chunk(&piece("two", 4)),
        chunk(r#"{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}"#),
        "data: [DONE]".to_owned(),
    ];
    assert_eq!(events(&posted(&router, PLAIN, &body).await), expected);
}

/// The texts of a stream's replies, each put together.
fn joined(
    events: &[String],
    text: &str,
) -> std::collections::BTreeMap<u64, (String, Option<String>)> {
    let mut replies = std::collections::BTreeMap::<u64, (String, Option<String>)>::new();
    for event in events {
        let data = event.strip_prefix("data: ").unwrap();
        if data == "[DONE]" {
            continue;
        }
        let json: Value = serde_json::from_str(data).unwrap();
        for choice in json["choices"].as_array().unwrap() {
            let reply = replies
                .entry(choice["index"].as_u64().unwrap())
                .or_default();
            assert_eq!(reply.1, None, "a reply goes on after its end");
            reply.0 += choice
                .pointer(text)
                .and_then(Value::as_str)
                .unwrap_or_default();
            reply.1 = choice["finish_reason"].as_str().map(str::to_owned);
        }
    }
    replies
}

#[tokio::test]
async fn several_replies_share_a_stream_and_each_ends_once() {
    let model = ScriptedModel::new("echo", |heard| {
        format!("{} {}", heard.text, "x ".repeat(heard.choice))
    });
    let limits = ScheduleLimits::default();
    let router = served(vec![own(model, limits, Faults::default())]);
    let stop = Some("stop".to_owned());

    let body = asking(json!({ "stream": true, "n": 3 }));
    let chat = joined(
        &events(&posted(&router, CHAT, &body).await),
        "/delta/content",
    );
    let said = ["one two ", "one two x ", "one two x x "];
    let expected = said.map(|text| (text.to_owned(), stop.clone()));
    assert_eq!(chat.into_values().collect::<Vec<_>>(), expected);

    let body = json!({ "prompt": ["a", "b", "c"], "n": 2, "stream": true });
    let plain = joined(&events(&posted(&router, PLAIN, &body).await), "/text");
    let said = ["a ", "a x ", "b ", "b x ", "c ", "c x "];
    let expected = said.map(|text| (text.to_owned(), stop.clone()));
    assert_eq!(plain.into_values().collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_token_without_text_keeps_its_probability() {
    let router = served(vec![echo()]);
    let body = asking(json!({ "stream": true, "logprobs": true, "top_logprobs": 1 }));
    let tokens: Vec<String> = events(&posted(&router, CHAT, &body).await)
        .iter()
        .filter_map(|event| serde_json::from_str(event.strip_prefix("data: ")?).ok())
        .filter_map(|chunk: Value| {
            let logprobs = chunk["choices"][0]["logprobs"].as_object()?;
            Some(logprobs["content"][0]["token"].as_str()?.to_owned())
        })
        .collect();
    assert_eq!(tokens, ["one ", "two"]);
}

#[tokio::test]
async fn a_stream_that_has_nothing_to_say_sends_comments() {
    let slow = Faults {
        step_time: Duration::from_millis(200),
        ..Faults::default()
    };
    let model = own(ScriptedModel::echo("echo"), ScheduleLimits::default(), slow);
    let mut api = api_of(vec![model]);
    api.limits.keep_alive = Duration::from_millis(10);
    let router = router(Arc::new(api));
    let answer = posted(&router, CHAT, &asking(json!({ "stream": true }))).await;
    let (comments, said): (Vec<&str>, Vec<&str>) = answer
        .text
        .split_terminator("\n\n")
        .partition(|event| event.starts_with(':'));
    assert!(!comments.is_empty(), "{}", answer.text);
    assert_eq!(said.len(), 5, "{}", answer.text);
}
