//! Requests that cannot be meant: each has its status, its code and the place of the fault.

use super::*;

/// Route, body, status, code, place.
type Case = (&'static str, String, u16, &'static str, &'static str);

/// A conversation with something in it that is wrong.
fn chat(more: Value, code: &'static str, place: &'static str) -> Case {
    (CHAT, asking(more).to_string(), 400, code, place)
}

fn said(messages: Value, code: &'static str, place: &'static str) -> Case {
    chat(json!({ "messages": messages }), code, place)
}

/// One message of the user with these parts.
fn parts(parts: Value, code: &'static str, place: &'static str) -> Case {
    said(json!([{ "role": "user", "content": parts }]), code, place)
}

fn image(url: Value, code: &'static str, place: &'static str) -> Case {
    let part = json!([{ "type": "image_url", "image_url": { "url": url } }]);
    parts(part, code, place)
}

fn plain(more: Value, code: &'static str, place: &'static str) -> Case {
    let mut body = json!({ "prompt": "one two" });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    (PLAIN, body.to_string(), 400, code, place)
}

fn score(body: Value, code: &'static str, place: &'static str) -> Case {
    (SCORE, body.to_string(), 400, code, place)
}

const TYPE: &str = "invalid_type";
const VALUE: &str = "invalid_value";
const MISSING: &str = "missing_required_parameter";
const UNSUPPORTED: &str = "unsupported_parameter";
const LIMIT: &str = "limit_exceeded";
const URL: &str = "messages[0].content[0].image_url.url";

fn bodies() -> Vec<Case> {
    let raw = |body: &str| (CHAT, body.to_owned(), 400, "invalid_json", "");
    let deep = "[".repeat(100_000);
    let many = format!("[{}1]", "1,".repeat(300_000));
    vec![
        raw(""),
        raw("{"),
        raw("hello"),
        raw("{} {}"),
        raw("{'model': 1}"),
        raw("\u{feff}{}"),
        raw(r#"{"messages": "\ud800"}"#),
        raw(r#"{"temperature": 1e999}"#),
        raw(r#"{"temperature": NaN}"#),
        raw(&deep),
        (CHAT, many, 400, LIMIT, ""),
        (CHAT, "[]".to_owned(), 400, TYPE, ""),
        (CHAT, "\"text\"".to_owned(), 400, TYPE, ""),
        (CHAT, "null".to_owned(), 400, TYPE, ""),
        (CHAT, "{}".to_owned(), 400, MISSING, "messages"),
        (PLAIN, "{}".to_owned(), 400, MISSING, "prompt"),
        (PLAIN, "7".to_owned(), 400, TYPE, ""),
        (SCORE, "{}".to_owned(), 400, VALUE, "pairs"),
    ]
}

fn messages() -> Vec<Case> {
    let calls = json!([{ "role": "assistant", "content": "", "tool_calls": [{ "id": "a" }] }]);
    vec![
        said(json!(null), MISSING, "messages"),
        said(json!([]), VALUE, "messages"),
        said(json!("hi"), TYPE, "messages"),
        said(json!({ "role": "user" }), TYPE, "messages"),
        said(json!(["hi"]), TYPE, "messages[0]"),
        said(json!([null]), TYPE, "messages[0]"),
        said(json!([{ "content": "hi" }]), MISSING, "messages[0].role"),
        said(
            json!([{ "role": 3, "content": "hi" }]),
            TYPE,
            "messages[0].role",
        ),
        said(
            json!([{ "role": "robot", "content": "hi" }]),
            VALUE,
            "messages[0].role",
        ),
        said(
            json!([{ "role": "USER", "content": "hi" }]),
            VALUE,
            "messages[0].role",
        ),
        said(
            json!([{ "role": "tool", "content": "hi" }]),
            UNSUPPORTED,
            "messages[0].role",
        ),
        said(json!([{ "role": "user" }]), MISSING, "messages[0].content"),
        said(
            json!([{ "role": "user", "content": null }]),
            MISSING,
            "messages[0].content",
        ),
        said(
            json!([{ "role": "assistant" }]),
            MISSING,
            "messages[0].content",
        ),
        said(
            json!([{ "role": "user", "content": 5 }]),
            TYPE,
            "messages[0].content",
        ),
        said(
            json!([{ "role": "user", "content": {} }]),
            TYPE,
            "messages[0].content",
        ),
        said(calls, UNSUPPORTED, "messages[0].tool_calls"),
        said(
            json!([{ "role": "user", "content": "a" }, { "role": "user", "content": [[]] }]),
            TYPE,
            "messages[1].content[0]",
        ),
        said(
            json!([
                { "role": "system", "content": "x".repeat(3 << 20) },
                { "role": "user", "content": [{ "type": "text", "text": "y".repeat(3 << 20) }] },
            ]),
            LIMIT,
            "messages[1]",
        ),
        parts(json!([]), VALUE, "messages[0].content"),
        parts(json!(["hi"]), TYPE, "messages[0].content[0]"),
        parts(
            json!([{ "text": "hi" }]),
            MISSING,
            "messages[0].content[0].type",
        ),
        parts(json!([{ "type": 1 }]), TYPE, "messages[0].content[0].type"),
        parts(
            json!([{ "type": "poem" }]),
            VALUE,
            "messages[0].content[0].type",
        ),
        parts(
            json!([{ "type": "input_audio" }]),
            UNSUPPORTED,
            "messages[0].content[0].type",
        ),
        parts(
            json!([{ "type": "file" }]),
            UNSUPPORTED,
            "messages[0].content[0].type",
        ),
        parts(
            json!([{ "type": "refusal", "refusal": "no" }]),
            VALUE,
            "messages[0].content[0].type",
        ),
        parts(
            json!([{ "type": "text" }]),
            MISSING,
            "messages[0].content[0].text",
        ),
        parts(
            json!([{ "type": "text", "text": ["a"] }]),
            TYPE,
            "messages[0].content[0].text",
        ),
    ]
}

fn images() -> Vec<Case> {
    let seventeen: Vec<Value> = (0..17)
        .map(|_| json!({ "type": "image_url", "image_url": { "url": picture() } }))
        .collect();
    let system = json!([{
        "role": "system",
        "content": [{ "type": "image_url", "image_url": { "url": picture() } }],
    }]);
    let large = format!("data:image/png;base64,{}", "A".repeat(28 << 20));
    let with_detail = |detail: Value| json!([{ "type": "image_url", "image_url": { "url": picture(), "detail": detail } }]);
    let part = |image_url: Value| json!([{ "type": "image_url", "image_url": image_url }]);
    vec![
        parts(
            part(json!(null)),
            MISSING,
            "messages[0].content[0].image_url",
        ),
        parts(part(json!("x")), TYPE, "messages[0].content[0].image_url"),
        parts(part(json!({})), MISSING, URL),
        parts(
            with_detail(json!("huge")),
            VALUE,
            "messages[0].content[0].image_url.detail",
        ),
        parts(
            with_detail(json!(2)),
            TYPE,
            "messages[0].content[0].image_url.detail",
        ),
        parts(
            json!(seventeen),
            LIMIT,
            "messages[0].content[16].image_url.url",
        ),
        said(system, VALUE, URL),
        image(json!(5), TYPE, URL),
        image(json!(""), VALUE, URL),
        image(json!("picture.png"), VALUE, URL),
        image(json!("/etc/passwd"), VALUE, URL),
        image(json!("file:///etc/passwd"), VALUE, URL),
        image(json!("FILE:///etc/passwd"), VALUE, URL),
        image(json!("ftp://example.org/a.png"), VALUE, URL),
        image(json!("gopher://example.org/"), VALUE, URL),
        image(json!("javascript:alert(1)"), VALUE, URL),
        image(json!("https://example.org/a.png"), VALUE, URL),
        image(json!("HTTP://169.254.169.254/latest/meta-data"), VALUE, URL),
        image(json!("data:"), VALUE, URL),
        image(json!("data:,"), VALUE, URL),
        image(json!("data:image/png;base64"), VALUE, URL),
        image(json!("data:image/png;base64,"), VALUE, URL),
        image(json!("data:image/png,AAAA"), VALUE, URL),
        image(json!("data:image/png;base64;x,AAAA"), VALUE, URL),
        image(json!("data:text/html;base64,AAAA"), VALUE, URL),
        image(json!("data:imagé;base64,AAAA"), VALUE, URL),
        image(json!("data:;base64,AAAA"), VALUE, URL),
        image(json!("data:image/png;base64,AAA"), VALUE, URL),
        image(json!("data:image/png;base64,AA\nAA"), VALUE, URL),
        image(json!("data:image/png;base64,AA-_"), VALUE, URL),
        image(json!("data:image/png;base64,AAAA===="), VALUE, URL),
        image(json!(large), LIMIT, URL),
    ]
}

fn parameters() -> Vec<Case> {
    let schema =
        |more: Value| json!({ "response_format": { "type": "json_schema", "json_schema": more } });
    vec![
        chat(json!({ "model": 7 }), TYPE, "model"),
        chat(json!({ "temperature": "hot" }), TYPE, "temperature"),
        chat(json!({ "temperature": -0.1 }), VALUE, "temperature"),
        chat(json!({ "temperature": 2.1 }), VALUE, "temperature"),
        chat(json!({ "top_p": 1.5 }), VALUE, "top_p"),
        chat(json!({ "top_p": -1 }), VALUE, "top_p"),
        chat(json!({ "top_k": 1.5 }), TYPE, "top_k"),
        chat(json!({ "top_k": -2 }), VALUE, "top_k"),
        chat(json!({ "min_p": 2 }), VALUE, "min_p"),
        chat(
            json!({ "repetition_penalty": 0 }),
            VALUE,
            "repetition_penalty",
        ),
        chat(
            json!({ "repetition_penalty": 1e9 }),
            VALUE,
            "repetition_penalty",
        ),
        chat(json!({ "n": 0 }), VALUE, "n"),
        chat(json!({ "n": 17 }), VALUE, "n"),
        chat(json!({ "n": -1 }), VALUE, "n"),
        chat(json!({ "n": 18446744073709551615_u64 }), VALUE, "n"),
        chat(json!({ "n": 1.0 }), TYPE, "n"),
        chat(json!({ "n": true }), TYPE, "n"),
        chat(json!({ "max_tokens": 0 }), VALUE, "max_tokens"),
        chat(json!({ "max_tokens": "10" }), TYPE, "max_tokens"),
        chat(
            json!({ "max_completion_tokens": -5 }),
            VALUE,
            "max_completion_tokens",
        ),
        chat(
            json!({ "max_tokens": 1, "max_completion_tokens": 2 }),
            "invalid_parameter_combination",
            "max_tokens",
        ),
        chat(json!({ "seed": 1.5 }), TYPE, "seed"),
        chat(json!({ "seed": "x" }), TYPE, "seed"),
        chat(json!({ "stop": 5 }), TYPE, "stop"),
        chat(json!({ "stop": "" }), VALUE, "stop"),
        chat(json!({ "stop": ["a", 5] }), TYPE, "stop[1]"),
        chat(json!({ "stop": ["a", ""] }), VALUE, "stop[1]"),
        chat(json!({ "stop": ["a", "b", "c", "d", "e"] }), LIMIT, "stop"),
        chat(json!({ "stop": "x".repeat(2000) }), LIMIT, "stop"),
        chat(json!({ "stream": "yes" }), TYPE, "stream"),
        chat(json!({ "stream_options": {} }), VALUE, "stream_options"),
        chat(
            json!({ "stream": true, "stream_options": 1 }),
            TYPE,
            "stream_options",
        ),
        chat(
            json!({ "stream": true, "stream_options": { "include_usage": 1 } }),
            TYPE,
            "stream_options.include_usage",
        ),
        chat(json!({ "logprobs": 5 }), TYPE, "logprobs"),
        chat(
            json!({ "logprobs": true, "top_logprobs": 21 }),
            VALUE,
            "top_logprobs",
        ),
        chat(
            json!({ "logprobs": true, "top_logprobs": -1 }),
            VALUE,
            "top_logprobs",
        ),
        chat(json!({ "top_logprobs": 2 }), VALUE, "top_logprobs"),
        chat(
            json!({ "tools": [{ "type": "function" }] }),
            UNSUPPORTED,
            "tools",
        ),
        chat(
            json!({ "tool_choice": "required" }),
            UNSUPPORTED,
            "tool_choice",
        ),
        chat(json!({ "functions": [{}] }), UNSUPPORTED, "functions"),
        chat(
            json!({ "logit_bias": { "5": 1 } }),
            UNSUPPORTED,
            "logit_bias",
        ),
        chat(
            json!({ "presence_penalty": 0.5 }),
            UNSUPPORTED,
            "presence_penalty",
        ),
        chat(
            json!({ "frequency_penalty": -1 }),
            UNSUPPORTED,
            "frequency_penalty",
        ),
        chat(
            json!({ "modalities": ["text", "audio"] }),
            UNSUPPORTED,
            "modalities",
        ),
        chat(json!({ "audio": { "voice": "x" } }), UNSUPPORTED, "audio"),
        chat(json!({ "prediction": {} }), UNSUPPORTED, "prediction"),
        chat(
            json!({ "web_search_options": {} }),
            UNSUPPORTED,
            "web_search_options",
        ),
        chat(
            json!({ "response_format": "json" }),
            TYPE,
            "response_format",
        ),
        chat(
            json!({ "response_format": {} }),
            MISSING,
            "response_format.type",
        ),
        chat(
            json!({ "response_format": { "type": "xml" } }),
            VALUE,
            "response_format.type",
        ),
        chat(
            json!({ "response_format": { "type": "json_schema" } }),
            MISSING,
            "response_format.json_schema",
        ),
        chat(
            schema(json!({})),
            MISSING,
            "response_format.json_schema.name",
        ),
        chat(
            schema(json!({ "name": "a b" })),
            VALUE,
            "response_format.json_schema.name",
        ),
        chat(
            schema(json!({ "name": "a", "strict": "yes" })),
            TYPE,
            "response_format.json_schema.strict",
        ),
        chat(
            schema(json!({ "name": "a", "schema": true })),
            TYPE,
            "response_format.json_schema.schema",
        ),
    ]
}

fn other_routes() -> Vec<Case> {
    let pair = json!({ "a": "1", "b": "1" });
    let many_pairs: Vec<&Value> = std::iter::repeat_n(&pair, 1001).collect();
    let many_prompts = vec!["x"; 65];
    vec![
        plain(json!({ "prompt": 5 }), TYPE, "prompt"),
        plain(json!({ "prompt": [] }), VALUE, "prompt"),
        plain(json!({ "prompt": [1, 2] }), UNSUPPORTED, "prompt"),
        plain(json!({ "prompt": [[1, 2]] }), UNSUPPORTED, "prompt"),
        plain(json!({ "prompt": ["a", 2] }), TYPE, "prompt[1]"),
        plain(json!({ "prompt": many_prompts }), LIMIT, "prompt"),
        plain(json!({ "prompt": "x".repeat(5 << 20) }), LIMIT, "prompt"),
        plain(
            json!({ "prompt": ["x".repeat(3 << 20), "y", "z".repeat(3 << 20)] }),
            LIMIT,
            "prompt[2]",
        ),
        plain(json!({ "echo": true }), UNSUPPORTED, "echo"),
        plain(json!({ "echo": 1 }), TYPE, "echo"),
        plain(json!({ "suffix": "end" }), UNSUPPORTED, "suffix"),
        plain(json!({ "best_of": 2 }), UNSUPPORTED, "best_of"),
        plain(json!({ "logprobs": true }), TYPE, "logprobs"),
        plain(json!({ "logprobs": 21 }), VALUE, "logprobs"),
        score(json!({ "pairs": {} }), TYPE, "pairs"),
        score(json!({ "pairs": many_pairs }), LIMIT, "pairs"),
        score(json!({ "pairs": [pair, 1] }), TYPE, "pairs[1]"),
        score(json!({ "pairs": [{ "a": "1" }] }), MISSING, "pairs[0].b"),
        score(
            json!({ "pairs": [{ "a": "1", "b": 1 }] }),
            TYPE,
            "pairs[0].b",
        ),
        score(json!({ "reference": "1" }), MISSING, "candidate"),
        score(
            json!({ "reference": 1, "candidate": "1" }),
            TYPE,
            "reference",
        ),
        score(
            json!({ "reference": "1", "candidate": {} }),
            TYPE,
            "candidate",
        ),
        score(
            json!({ "reference": "1", "candidate": ["1", 1] }),
            TYPE,
            "candidate[1]",
        ),
        score(
            json!({ "reference": "1", "candidate": "1".repeat(70_000) }),
            LIMIT,
            "candidate",
        ),
    ]
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_with_its_place() {
    let router = served(vec![echo()]);
    let cases = [bodies(), messages(), images(), parameters(), other_routes()].concat();
    for (path, body, status, code, place) in cases {
        let shown: String = body.chars().take(200).collect();
        let answer = answer(&router, post(path, body)).await;
        let place = (!place.is_empty()).then(|| place.to_owned());
        let expected = (status, code.to_owned(), place);
        assert_eq!(
            answer.error(),
            expected,
            "{path} {shown} gave {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn what_the_model_refuses_has_its_own_code() {
    let small = ScriptedModel::echo("small").with_context(4);
    let blind = ScriptedModel::echo("blind").without_images();
    let models =
        [small, blind].map(|model| own(model, ScheduleLimits::default(), Faults::default()));
    let router = served(models.into());
    let image = |data: &str| {
        let url = format!("data:image/png;base64,{data}");
        json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": url } }] }])
    };
    for (more, code) in [
        (
            json!({ "model": "small", "messages": [{ "role": "user", "content": "1 2 3 4 5" }] }),
            "context_length_exceeded",
        ),
        (
            json!({ "model": "blind", "messages": image(PNG) }),
            "invalid_value",
        ),
        (
            json!({ "model": "small", "messages": image("AAAA") }),
            "invalid_value",
        ),
    ] {
        for stream in [false, true] {
            let mut body = asking(more.clone());
            body["stream"] = stream.into();
            let (status, given, _) = posted(&router, CHAT, &body).await.error();
            assert_eq!((status, given.as_str()), (400, code), "{more}");
        }
    }
}

#[tokio::test]
async fn a_body_of_another_media_type_is_not_read() {
    let router = served(vec![echo()]);
    for media in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
        Some("application/jsonp"),
        Some("text/plain; application/json"),
    ] {
        for path in [CHAT, PLAIN, SCORE] {
            let mut request = post(path, asking(json!({})).to_string());
            request.headers_mut().remove("content-type");
            if let Some(media) = media {
                let media = media.parse().unwrap();
                request.headers_mut().insert("content-type", media);
            }
            let (status, code, _) = answer(&router, request).await.error();
            let expected = (415, "unsupported_media_type");
            assert_eq!((status, code.as_str()), expected, "{media:?}");
        }
    }
    let mut request = post(CHAT, asking(json!({})).to_string());
    let media = "Application/JSON ; charset=utf-8".parse().unwrap();
    request.headers_mut().insert("content-type", media);
    assert_eq!(answer(&router, request).await.status, 200);
}

#[tokio::test]
async fn unknown_models_paths_and_methods_are_named_so() {
    let router = served(vec![echo()]);
    let unknown = posted(&router, CHAT, &asking(json!({ "model": "gpt-4o" }))).await;
    let expected = (404, "model_not_found".to_owned(), Some("model".to_owned()));
    assert_eq!(unknown.error(), expected);
    assert!(unknown.text.contains("these are: echo"), "{}", unknown.text);

    let long = posted(&router, CHAT, &asking(json!({ "model": "x".repeat(5000) }))).await;
    assert!(long.text.len() < 400, "the name is repeated in full");

    for path in ["/v1/models/gpt-4o", "/v1/models/a/b", "/v1/models/a%2Fb"] {
        assert_eq!(answer(&router, get(path)).await.error(), expected, "{path}");
    }
    for path in ["/v1/responses", "/v1/embeddings", "/v1/chat", "/v1/a/b/c/d"] {
        for request in [get(path), post(path, "{}")] {
            let (status, code, _) = answer(&router, request).await.error();
            assert_eq!((status, code.as_str()), (404, "unknown_url"), "{path}");
        }
    }
    for (request, allow) in [
        (get(CHAT), "POST"),
        (get(PLAIN), "POST"),
        (get(SCORE), "POST"),
        (post("/v1/models", "{}"), "GET,HEAD"),
        (post("/health", "{}"), "GET,HEAD"),
        (post("/metrics", "{}"), "GET,HEAD"),
    ] {
        let answer = answer(&router, request).await;
        let (status, code, _) = answer.error();
        assert_eq!((status, code.as_str()), (405, "method_not_allowed"));
        assert_eq!(answer.headers["allow"], allow);
    }
    let nobody = served(Vec::new());
    let (status, code, _) = posted(&nobody, CHAT, &json!({})).await.error();
    assert_eq!((status, code.as_str()), (404, "model_not_found"));
}
