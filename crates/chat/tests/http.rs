//! The HTTP transport against a server that does wrong on demand: what each trouble becomes, what a
//! body holds, and that no key shows anywhere.
#![allow(clippy::unwrap_used, clippy::panic)]

mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chat::http::{Endpoint, Http, HttpConfig, JsonMode};
use chat::transport::{
    Attempt, BatchLine, BatchStatus, BatchTransport, Fault, FaultKind, Transport,
};
use chat::{Finish, Image, Reply, Request, Role, Schema, Tag, Turn};
use serde_json::json;
use server::{Answer, Script, Server, Trouble};

const KEY: &str = "sk-very-secret-0123456789";

fn request(text: &str) -> Arc<Request> {
    Arc::new(Request {
        id: text.into(),
        tag: Tag::default(),
        system: None,
        turns: vec![Turn {
            role: Role::User,
            text: text.into(),
        }],
        images: Vec::new(),
        subject: serde_json::Value::Null,
        schema: None,
        max_tokens: 64,
        temperature: 0.0,
        seed: 7,
    })
}

fn config(server: &Server) -> HttpConfig {
    HttpConfig {
        model: "test".into(),
        endpoints: vec![Endpoint {
            url: server.url(),
            key_env: Some("TEACHER_KEY".into()),
            ..Endpoint::default()
        }],
        timeout_s: 60.0,
        ..HttpConfig::default()
    }
}

fn http(config: HttpConfig) -> Http {
    Http::with_keys(config, |_| Some(KEY.into())).unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}

async fn send(http: &Http, text: &str) -> Attempt {
    http.send(0, &request(text), text).await
}

fn fixed(text: &str) -> Script {
    Script {
        answer: Answer::Fixed(text.into()),
        ..Script::default()
    }
}

fn always(trouble: Trouble) -> Script {
    Script {
        faults: vec![(trouble, 1.0)],
        most_faults: u64::MAX,
        ..Script::default()
    }
}

fn fault(attempt: Attempt) -> Fault {
    attempt.outcome.unwrap().unwrap_err()
}

fn reply(attempt: Attempt) -> Reply {
    attempt.outcome.unwrap().unwrap()
}

#[test]
fn a_reply_is_the_same_whole_and_streamed() {
    let server = Server::start(Script {
        answer: Answer::Of(Arc::new(|body| format!("{} is two words", body["seed"]))),
        ..Script::default()
    });
    for stream in [false, true] {
        let mut config = config(&server);
        config.stream = stream;
        let attempt = run(send(&http(config), "what?"));
        assert_eq!(attempt.status, Some(200));
        let expected = Reply {
            text: "7 is two words".into(),
            finish: Finish::Stop,
            prompt_tokens: 100,
            completion_tokens: 4,
        };
        assert_eq!(reply(attempt), expected, "stream: {stream}");
        assert_eq!(server.counts().last_asked["stream"] == true, stream);
    }
}

#[test]
fn every_trouble_becomes_its_kind() {
    let cases = [
        (Trouble::Limited, FaultKind::RateLimited, Some(429)),
        (Trouble::LimitedAfter, FaultKind::RateLimited, Some(429)),
        (Trouble::Broken, FaultKind::Server, Some(500)),
        (Trouble::Burst, FaultKind::Server, Some(503)),
        (Trouble::Reset, FaultKind::Reset, Some(200)),
        (Trouble::Refuse, FaultKind::Reset, None),
        (Trouble::Slow, FaultKind::Timeout, Some(200)),
        (Trouble::Hang, FaultKind::Timeout, None),
        (Trouble::Truncated, FaultKind::BadReply, Some(200)),
        (Trouble::WrongType, FaultKind::BadReply, Some(200)),
        (Trouble::Empty, FaultKind::BadReply, Some(200)),
        (Trouble::Refusal, FaultKind::Refused, Some(200)),
    ];
    for (trouble, kind, status) in cases {
        let mut script = always(trouble);
        script.slow = Duration::from_secs(30);
        let server = Server::start(script);
        let mut config = config(&server);
        if kind == FaultKind::Timeout {
            config.timeout_s = 1.0;
        }
        let attempt = run(send(&http(config), "x"));
        assert_eq!(attempt.status, status, "{trouble:?}");
        let fault = fault(attempt);
        assert_eq!(fault.kind, kind, "{trouble:?}: {}", fault.detail);
        assert!(!fault.detail.is_empty() && !fault.detail.contains('\n'));
    }
}

#[test]
fn a_slow_reply_in_time_is_a_reply_and_so_is_one_about_something_else() {
    let mut script = always(Trouble::Slow);
    script.slow = Duration::from_millis(20);
    let server = Server::start(script);
    let slow = reply(run(send(&http(config(&server)), "x")));
    server.change(|script| script.faults.clear());
    assert_eq!(slow, reply(run(send(&http(config(&server)), "x"))));
    server.change(|script| script.faults = vec![(Trouble::OtherQuestion, 1.0)]);
    let other = reply(run(send(&http(config(&server)), "x")));
    assert!(other.text.contains("sky"), "{}", other.text);
}

#[test]
fn a_reply_that_comes_twice_is_not_taken_for_the_next_requests() {
    let server = Server::start(always(Trouble::Duplicate));
    let http = http(config(&server));
    let replies = run(async {
        let mut replies = Vec::new();
        for n in 0..20 {
            replies.push(reply(send(&http, &n.to_string()).await).text);
        }
        replies
    });
    server.change(|script| script.faults.clear());
    for (n, text) in replies.iter().enumerate() {
        let right = reply(run(send(&http, &n.to_string()))).text;
        assert_eq!(*text, right, "request {n}");
    }
}

#[test]
fn no_server_is_no_connection() {
    let server = Server::start(Script::default());
    let config = config(&server);
    drop(server);
    assert_eq!(
        fault(run(send(&http(config), "x"))).kind,
        FaultKind::Connection
    );
}

#[test]
fn a_server_that_does_not_speak_tls_is_no_connection() {
    let server = Server::start(Script::default());
    let mut config = config(&server);
    config.endpoints[0].url = format!("https://{}/v1", server.address);
    let fault = fault(run(send(&http(config), "x")));
    assert_eq!(fault.kind, FaultKind::Connection, "{}", fault.detail);
    assert!(server.counts().keys.is_empty());
}

#[test]
fn waits_are_read_whatever_the_servers_clock_says() {
    let mut script = always(Trouble::LimitedAfter);
    script.retry_after = 17;
    let server = Server::start(script);
    for off in [None, Some(0), Some(-100_000_000), Some(100_000_000)] {
        server.change(|script| script.clock_off = off);
        let attempt = run(send(&http(config(&server)), "x"));
        let wait = Some(Duration::from_secs(17));
        assert_eq!(attempt.announced.retry_after, wait, "{off:?}");
    }
}

#[test]
fn announced_limits_come_with_a_reply() {
    let mut script = fixed("ok");
    script.requests_per_minute = Some(500);
    let server = Server::start(script);
    let announced = run(send(&http(config(&server)), "x")).announced;
    assert_eq!(announced.requests.limit, Some(500));
    assert_eq!(announced.requests.remaining, Some(250));
    assert_eq!(announced.requests.reset, Some(Duration::from_secs(360)));
    assert_eq!(announced.retry_after, None);
}

#[test]
fn a_key_shows_in_no_message() {
    let script = Script {
        key: Some("another".into()),
        ..Script::default()
    };
    // The server repeats the key it was given.
    let server = Server::start(script);
    let http = http(config(&server));
    let fault = fault(run(send(&http, "x")));
    assert_eq!(fault.kind, FaultKind::Forbidden);
    assert_eq!(fault.detail, "401 invalid_api_key: wrong key: Bearer ***");
    assert!(http.servers().iter().all(|name| !name.contains(KEY)));
    server.change(|script| script.key = Some(KEY.into()));
    reply(run(send(&http, "x")));
}

#[test]
fn headers_tell_the_key_the_idempotency_key_and_an_exact_length() {
    let server = Server::start(Script::default());
    let mut config = config(&server);
    config.endpoints[0]
        .headers_env
        .insert("X-Team".into(), "TEAM".into());
    reply(run(send(&http(config), "the-key")));
    let counts = server.counts();
    let header = |name: &str| {
        let found = counts.last_headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    assert_eq!(header("authorization"), format!("Bearer {KEY}"));
    assert_eq!(header("x-team"), KEY);
    assert_eq!(header("idempotency-key"), "the-key");
    assert_eq!(header("content-length"), counts.bodies.to_string());
    assert_eq!(header("transfer-encoding"), "");
}

#[test]
fn a_redirect_is_not_followed() {
    let server = Server::start(Script::default());
    let mut config = config(&server);
    config.endpoints[0].url = format!("http://{}/moved/v1", server.address);
    let fault = fault(run(send(&http(config), "x")));
    assert_eq!(fault.kind, FaultKind::NotFound);
    assert!(
        fault.detail.contains("moved to /v1/chat/completions"),
        "{}",
        fault.detail
    );
    assert!(server.counts().keys.is_empty());
}

#[test]
fn connections_are_kept_for_the_next_request() {
    let server = Server::start(fixed("ok"));
    let http = http(config(&server));
    run(async {
        for n in 0..50 {
            reply(send(&http, &n.to_string()).await);
        }
    });
    assert_eq!(server.counts().connections, 1);
}

#[test]
fn a_server_without_schemas_is_asked_for_objects_then_by_the_prompt_alone_and_remembered() {
    let mut formed = (*request("x")).clone();
    formed.schema = Some(Schema {
        name: "n".into(),
        schema: json!({"type": "object"}),
    });
    let formed = Arc::new(formed);
    for (refused, tries, form) in [
        (vec![], 1, json!("json_schema")),
        (vec!["json_schema"], 2, json!("json_object")),
        (vec!["json_schema", "json_object"], 3, json!(null)),
    ] {
        let script = Script {
            refused_forms: refused.iter().map(|form| (*form).to_owned()).collect(),
            ..Script::default()
        };
        let server = Server::start(script);
        let http = http(config(&server));
        for (key, tries) in [("first", tries), ("second", 1)] {
            reply(run(http.send(0, &formed, key)));
            assert_eq!(server.counts().keys[key].asked, tries, "{refused:?}");
            assert_eq!(server.counts().last_asked["response_format"]["type"], form);
        }
    }
    let script = Script {
        refused_forms: vec!["json_object".into()],
        ..Script::default()
    };
    let server = Server::start(script);
    let mut config = config(&server);
    config.json = JsonMode::None;
    reply(run(http(config).send(0, &formed, "x")));
}

#[test]
fn an_endless_answer_is_cut() {
    let server = Server::start(fixed(&"x".repeat(20 << 20)));
    let fault = fault(run(send(&http(config(&server)), "x")));
    assert_eq!(fault.kind, FaultKind::BadReply);
    assert!(fault.detail.contains("longer than"), "{}", fault.detail);
}

fn png(folder: &Path) -> Image {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(16, 16)
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    let path = folder.join("a.png");
    std::fs::write(&path, bytes.get_ref()).unwrap();
    Image {
        path,
        sha256: sample::sha256_hex(bytes.get_ref()),
        width: 16,
        height: 16,
    }
}

#[test]
fn an_image_is_sent_as_the_bytes_of_its_file() {
    use base64::Engine as _;
    let folder = tempfile::tempdir().unwrap();
    let mut shown = (*request("What is it?")).clone();
    shown.images = vec![png(folder.path())];
    let server = Server::start(Script::default());
    let http = http(config(&server));
    reply(run(http.send(0, &Arc::new(shown.clone()), "x")));
    let asked = server.counts().last_asked.clone();
    let parts = &asked["messages"][0]["content"];
    assert_eq!(parts[1]["text"], "What is it?");
    let url = parts[0]["image_url"]["url"].as_str().unwrap();
    let sent = url.strip_prefix("data:image/png;base64,").unwrap();
    let sent = base64::engine::general_purpose::STANDARD
        .decode(sent)
        .unwrap();
    assert_eq!(sent, std::fs::read(&shown.images[0].path).unwrap());

    shown.images[0].sha256 = "0".repeat(64);
    let fault = fault(run(http.send(0, &Arc::new(shown), "y")));
    assert_eq!(fault.kind, FaultKind::Image);
    assert!(!server.counts().keys.contains_key("y"));
}

/// Uploads these requests, polls until the end, and gives all lines of both files.
fn batch(
    http: &Http,
    requests: &[Arc<Request>],
) -> (BatchStatus, Vec<Result<BatchLine, Fault>>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("requests.jsonl");
    run(async {
        let mut lines = Vec::new();
        for request in requests {
            lines.extend(http.line(0, request, &request.id).await.unwrap().concat());
        }
        std::fs::write(&file, lines).unwrap();
        let file_id = http.upload(0, &file).await.unwrap();
        let created = http.create(0, &file_id, "label-1").await.unwrap();
        assert_eq!(created.status, BatchStatus::Validating);
        let mut state = created;
        while !state.status.ended() {
            state = http.poll(0, &state.id).await.unwrap();
        }
        let mut heard = Vec::new();
        for file in [&state.output_file_id, &state.error_file_id]
            .into_iter()
            .flatten()
        {
            http.fetch(0, file, &mut |line| heard.push(line))
                .await
                .unwrap();
        }
        (state.status, heard, state.errors)
    })
}

#[test]
fn a_batch_answers_as_single_requests_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Script::default());
    let http = http(config(&server));
    let requests: Vec<Arc<Request>> = (0..50)
        .map(|n| {
            let mut request = (*request(&format!("question\n{n}"))).clone();
            request.images = vec![png(folder.path())];
            Arc::new(request)
        })
        .collect();
    let (status, lines, _) = batch(&http, &requests);
    assert_eq!(status, BatchStatus::Completed);
    assert_eq!(lines.len(), 50);
    for line in lines {
        let line = line.unwrap();
        let request = requests.iter().find(|r| r.id == line.custom_id).unwrap();
        let single = reply(run(http.send(0, request, "single")));
        assert_eq!(line.outcome.unwrap(), single);
    }
}

#[test]
fn requests_that_fail_in_a_batch_or_come_too_late_have_a_kind_each() {
    let requests: Vec<Arc<Request>> = (0..40).map(|n| request(&n.to_string())).collect();
    for (failures, expires, status) in [
        (0.3, None, BatchStatus::Completed),
        (0.0, Some(25), BatchStatus::Expired),
    ] {
        let script = Script {
            batch_failures: failures,
            batch_expires_after: expires,
            ..Script::default()
        };
        let server = Server::start(script);
        let (ended, lines, _) = batch(&http(config(&server)), &requests);
        assert_eq!(ended, status);
        let lines: Vec<BatchLine> = lines.into_iter().map(Result::unwrap).collect();
        assert_eq!(lines.len(), 40);
        let failed: Vec<&BatchLine> = lines.iter().filter(|l| l.outcome.is_err()).collect();
        assert!((5..20).contains(&failed.len()), "{}", failed.len());
        for line in failed {
            assert_eq!(line.outcome.as_ref().unwrap_err().kind, FaultKind::Server);
        }
    }
}

#[test]
fn a_batch_is_found_by_its_label_stopped_and_refused_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broken.jsonl");
    std::fs::write(&file, "{}\nno json\n").unwrap();
    let server = Server::start(Script::default());
    let http = http(config(&server));
    run(async {
        let file_id = http.upload(0, &file).await.unwrap();
        let mut ids = Vec::new();
        for label in ["a", "b", "c", "d", "e"] {
            ids.push(http.create(0, &file_id, label).await.unwrap().id);
        }
        let found = http.find(0, "a").await.unwrap().unwrap();
        assert_eq!(found.id, ids[0]);
        assert_eq!(http.find(0, "z").await.unwrap(), None);

        let mut state = found;
        while !state.status.ended() {
            state = http.poll(0, &state.id).await.unwrap();
        }
        assert_eq!(state.status, BatchStatus::Failed);
        assert_eq!(
            state.errors,
            ["line 2: This line is not parseable as valid JSON."]
        );

        let gone = http.poll(0, "batch_99").await.unwrap_err();
        assert_eq!(gone.kind, FaultKind::NotFound);
        for id in ["", "../files", "a/b", "a?b"] {
            let wrong = http.poll(0, id).await.unwrap_err();
            assert_eq!(wrong.kind, FaultKind::Invalid, "{id}");
        }
        let missing = http
            .upload(0, &folder.path().join("none"))
            .await
            .unwrap_err();
        assert_eq!(missing.kind, FaultKind::Invalid);
    });
    let whole = folder.path().join("whole.jsonl");
    run(async {
        let lines = http.line(0, &request("q"), "q").await.unwrap().concat();
        std::fs::write(&whole, lines).unwrap();
        let file_id = http.upload(0, &whole).await.unwrap();
        let batch = http.create(0, &file_id, "stopped").await.unwrap();
        let stopped = http.cancel(0, &batch.id).await.unwrap();
        assert_eq!(stopped.status, BatchStatus::Cancelled);
        assert_eq!(
            (stopped.total, stopped.completed, stopped.failed),
            (1, 0, 1)
        );
    });
}

#[test]
fn what_befalls_a_request_depends_on_seed_key_and_try_alone() {
    let script = Script {
        faults: vec![
            (Trouble::Limited, 0.2),
            (Trouble::Reset, 0.2),
            (Trouble::Refusal, 0.1),
        ],
        ..Script::default()
    };
    let draws = |script: &Script| -> Vec<Option<Trouble>> {
        let tries = (0..200).flat_map(|key| (1..5).map(move |n| (key, n)));
        tries
            .map(|(key, n)| script.trouble(&key.to_string(), n))
            .collect()
    };
    let drawn = draws(&script);
    assert_eq!(drawn, draws(&script));
    let share = |trouble| drawn.iter().filter(|t| **t == Some(trouble)).count() as f64 / 800.0;
    assert!((0.08..0.22).contains(&share(Trouble::Limited)));
    assert!((0.04..0.18).contains(&share(Trouble::Refusal)));
    for key in 0..200 {
        let last = script.trouble(&key.to_string(), 4);
        assert!(
            matches!(last, None | Some(Trouble::Refusal)),
            "{key}: {last:?}"
        );
    }
}
