//! Behind a door and behind another server: keys, and answers that are handed on.

use std::process::Stdio;

use serde_json::{Value, json};

use super::process::{MODEL, Server, eventually, serve};
use super::wire::Answer;

const KEY: &str = "a-key-that-opens";
/// The variable that has the key of the server behind.
const VARIABLE: &str = "MATH_LLAVA_TEST_UPSTREAM_KEY";

fn question(model: &str) -> Value {
    json!({"model": model, "temperature": 0, "max_tokens": 12,
        "messages": [{"role": "user", "content": "What is 2+3?"}]})
}

/// Asks with a key.
fn asked(server: &Server, key: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut wire = server.wire();
    wire.send(head.as_bytes()).unwrap();
    wire.answer().unwrap()
}

/// What is said, without what differs from answer to answer.
fn said(answer: &Answer) -> (u16, Value, Value) {
    let json = answer.json();
    (
        answer.status,
        json["choices"].clone(),
        json["usage"]["completion_tokens"].clone(),
    )
}

fn keyed(log: &std::path::Path) -> Server {
    let named = format!("{MODEL}={}", super::process::model().display());
    let mut command = serve();
    command
        .args(["--model", &named])
        .env("MATH_LLAVA_KEYS", KEY);
    command.stderr(Stdio::from(std::fs::File::create(log).unwrap()));
    Server::run(&mut command)
}

#[test]
fn a_key_opens_when_it_is_whole_and_is_written_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let server = keyed(&log);
    assert_eq!(asked(&server, KEY, &question(MODEL)).status, 200);
    let (upper, twice) = (KEY.to_uppercase(), KEY.repeat(2));
    let almost = [&KEY[1..], &KEY[..KEY.len() - 1], &upper, &twice, ""];
    for wrong in almost {
        let answer = asked(&server, wrong, &question(MODEL));
        let code = if wrong.is_empty() {
            "missing_api_key"
        } else {
            "invalid_api_key"
        };
        assert_eq!(answer.status, 401, "{wrong}");
        assert_eq!(answer.json()["error"]["code"], code, "{}", answer.text());
        assert!(!answer.text().contains(KEY));
    }
    assert_eq!(server.get("/v1/models").status, 401);
    assert_eq!(server.get("/metrics").status, 401);
    assert_eq!(server.get("/health").status, 200);
    // A line a request, so the log is there.
    eventually("the log has its lines", || {
        std::fs::read_to_string(&log)
            .unwrap()
            .matches("401")
            .count()
            > almost.len()
    });
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(!log.contains(KEY) && !log.contains(&KEY[1..]), "{log}");
    assert!(!log.contains("2+3"), "{log}");
}

#[test]
fn a_server_behind_a_server_answers_as_it_does_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mut behind = keyed(&folder.path().join("log"));
    let url = format!("http://{}/v1", behind.address);
    let named = format!("far={url},{MODEL},{VARIABLE}");
    let lost = format!("lost={url},{MODEL}");
    let mut command = serve();
    let front = Server::run(
        command
            .args(["--quiet", "--upstream", &named, "--upstream", &lost])
            .env(VARIABLE, KEY),
    );
    let alone = asked(&behind, KEY, &question(MODEL));
    assert_eq!(alone.status, 200, "{}", alone.text());
    let far = question("far");
    assert_eq!(said(&asked(&front, "", &far)), said(&alone));

    let mut streamed = far.clone();
    streamed["stream"] = true.into();
    let stream = asked(&front, "", &streamed);
    let stream_type = stream.header("content-type").unwrap_or_default();
    assert!(
        stream_type.starts_with("text/event-stream"),
        "{stream_type}"
    );
    let text: String = stream
        .text()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok())
        .filter_map(|event| Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .collect();
    assert_eq!(
        Some(text.as_str()),
        alone.json()["choices"][0]["message"]["content"].as_str()
    );

    let models = front.get("/v1/models").text();
    assert!(
        models.contains("far") && models.contains("lost"),
        "{models}"
    );
    let mut hot = far.clone();
    hot["temperature"] = 9.into();
    assert_eq!(asked(&front, "", &hot).status, 400);
    // Without its key: that is the operator's mistake, not the client's.
    let refused = asked(&front, "", &question("lost"));
    assert!(
        refused.status >= 500,
        "{} {}",
        refused.status,
        refused.text()
    );
    assert!(!refused.text().contains(KEY), "{}", refused.text());

    behind.terminate();
    assert!(behind.ended().success());
    let gone = asked(&front, "", &far);
    assert!(gone.status >= 500, "{} {}", gone.status, gone.text());
    assert!(
        gone.json()["error"]["message"].is_string() && !gone.text().contains(KEY),
        "{}",
        gone.text()
    );
}
