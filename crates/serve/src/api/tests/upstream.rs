//! Models of another server, which is a small one on loopback here.

use std::sync::Mutex;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chat::relay::{Upstream, UpstreamConfig};

use super::*;

/// What the other server was sent.
#[derive(Default)]
struct Mailbox {
    got: Mutex<Vec<(String, Value)>>,
}

/// What it answers with: status, media type, body.
type Reply = (u16, &'static str, &'static str);

async fn hear(State((mailbox, reply)): State<(Arc<Mailbox>, Reply)>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let body = to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap();
    mailbox.got.lock().unwrap().push((path, body));
    let (status, media, text) = reply;
    let headers = [
        ("content-type", media),
        ("retry-after", "7"),
        ("location", "/secret"),
    ];
    (StatusCode::from_u16(status).unwrap(), headers, text).into_response()
}

/// A server that answers so, and a router that hands requests for `far` on to it.
async fn far(reply: Reply) -> (Arc<Mailbox>, Router) {
    let mailbox = Arc::<Mailbox>::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Router::new()
        .fallback(hear)
        .with_state((mailbox.clone(), reply));
    tokio::spawn(async move { axum::serve(listener, server).await });
    let config = UpstreamConfig {
        model: "far".to_owned(),
        upstream_model: "theirs".to_owned(),
        url: format!("http://{address}/v1"),
        key_env: None,
    };
    let upstream = Upstream::new(config).unwrap();
    (mailbox, served(vec![echo(), Served::Upstream(upstream)]))
}

const OK: Reply = (200, "application/json", r#"{"object":"chat.completion"}"#);

fn asking_far(more: Value) -> Value {
    let mut body = asking(more);
    body["model"] = "far".into();
    body
}

#[tokio::test]
async fn what_is_known_is_handed_on_and_nothing_else() {
    let (mailbox, router) = far(OK).await;
    let body = asking_far(json!({
        "messages": [
            { "role": "system", "content": "short" },
            { "role": "user", "name": "ann", "content": [
                { "type": "text", "text": "look", "image_url": { "url": "http://169.254.169.254/" } },
                { "type": "image_url", "image_url": {
                    "url": picture(), "detail": "low", "path": "/etc/passwd",
                } },
            ], "documents": ["file:///etc/passwd"] },
            { "role": "tool", "tool_call_id": "a", "content": "5" },
        ],
        "temperature": 0.5,
        "tools": [{ "type": "function" }],
        "chat_template": "{{ 1 }}",
        "mm_processor_kwargs": {},
        "stop": null,
    }));
    let answer = posted(&router, CHAT, &body).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, OK.2));
    let got = mailbox.got.lock().unwrap();
    let (path, got) = &got[0];
    assert_eq!(path, "/v1/chat/completions");
    let expected = json!({
        "model": "theirs",
        "messages": [
            { "role": "system", "content": "short" },
            { "role": "user", "name": "ann", "content": [
                { "type": "text", "text": "look" },
                { "type": "image_url", "image_url": { "url": picture(), "detail": "low" } },
            ] },
            { "role": "tool", "tool_call_id": "a", "content": "5" },
        ],
        "temperature": 0.5,
        "tools": [{ "type": "function" }],
    });
    assert_eq!(*got, expected);
}

#[tokio::test]
async fn completions_are_handed_on_as_texts() {
    let (mailbox, router) = far(OK).await;
    let body = json!({ "model": "far", "prompt": "x", "echo": true, "prompt_embeds": "AAAA" });
    assert_eq!(posted(&router, PLAIN, &body).await.status, 200);
    let expected = json!({ "model": "theirs", "prompt": ["x"], "echo": true });
    let got = mailbox.got.lock().unwrap();
    assert_eq!(*got, [("/v1/completions".to_owned(), expected)]);
}

#[tokio::test]
async fn our_limits_hold_for_the_other_server_too() {
    let (mailbox, router) = far(OK).await;
    let image = |url: &str| {
        let part = json!({ "type": "image_url", "image_url": { "url": url } });
        json!({ "messages": [{ "role": "user", "content": [part] }] })
    };
    let url = Some("messages[0].content[0].image_url.url".to_owned());
    for (more, code, place) in [
        (
            image("http://example.org/a.png"),
            "invalid_value",
            url.clone(),
        ),
        (image("file:///etc/passwd"), "invalid_value", url.clone()),
        (image("data:image/png;base64,?"), "invalid_value", url),
        (json!({ "n": 17 }), "invalid_value", Some("n".to_owned())),
        (
            json!({ "messages": [] }),
            "invalid_value",
            Some("messages".to_owned()),
        ),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "video_url" }] }] }),
            "unsupported_parameter",
            Some("messages[0].content[0].type".to_owned()),
        ),
    ] {
        let answer = posted(&router, CHAT, &asking_far(more.clone())).await;
        assert_eq!(answer.error(), (400, code.to_owned(), place), "{more}");
    }
    assert!(mailbox.got.lock().unwrap().is_empty());
}

#[tokio::test]
async fn answers_come_back_as_they_are_but_no_pages_and_no_redirects() {
    let json = "application/json";
    let stream = (
        200,
        "text/event-stream; charset=utf-8",
        "data: {}\n\ndata: [DONE]\n\n",
    );
    for (reply, status, media) in [
        (OK, 200, json),
        (stream, 200, "text/event-stream"),
        ((429, json, "{\"error\":{}}"), 429, json),
        ((400, json, "{\"error\":{}}"), 400, json),
        (
            (200, "text/html", "<script>alert(1)</script>"),
            200,
            "text/plain; charset=utf-8",
        ),
    ] {
        let (_, router) = far(reply).await;
        let answer = posted(&router, CHAT, &asking_far(json!({}))).await;
        assert_eq!(answer.status, status, "{reply:?}");
        assert_eq!(answer.headers["content-type"], media, "{reply:?}");
        assert_eq!(answer.text, reply.2);
        assert!(!answer.headers.contains_key("location"));
        assert_eq!(answer.headers["retry-after"], "7");
    }
    for status in [301, 307, 401, 403] {
        let (_, router) = far((status, json, "{}")).await;
        let answer = posted(&router, CHAT, &asking_far(json!({}))).await;
        let (status, code, _) = answer.error();
        assert_eq!((status, code.as_str()), (502, "upstream_error"));
    }
}

#[tokio::test]
async fn a_stream_that_the_other_server_cuts_off_ends_with_an_error() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = [0; 4096];
        let _ = socket.read(&mut head).await.unwrap();
        let half = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
            8\r\ndata: {\"\r\n";
        socket.write_all(half).await.unwrap();
    });
    let config = UpstreamConfig {
        model: "far".to_owned(),
        upstream_model: "far".to_owned(),
        url: format!("http://{address}/v1"),
        key_env: None,
    };
    let router = served(vec![Served::Upstream(Upstream::new(config).unwrap())]);
    let answer = posted(&router, CHAT, &asking_far(json!({ "stream": true }))).await;
    let events: Vec<&str> = answer.text.split_terminator("\n\n").collect();
    let [cut, error, done] = events[..] else {
        panic!("{}", answer.text);
    };
    assert_eq!((cut, done), ("data: {\"", "data: [DONE]"));
    assert!(error.contains("\"code\":\"upstream_error\""), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_not_named_to_clients() {
    let config = UpstreamConfig {
        model: "far".to_owned(),
        upstream_model: "far".to_owned(),
        // Nothing listens on this port of loopback.
        url: "http://127.0.0.1:1/v1".to_owned(),
        key_env: None,
    };
    let router = served(vec![Served::Upstream(Upstream::new(config).unwrap())]);
    let answer = posted(&router, CHAT, &asking_far(json!({}))).await;
    let (status, code, _) = answer.error();
    assert_eq!((status, code.as_str()), (502, "upstream_error"));
    assert!(!answer.text.contains("127.0.0.1"), "{}", answer.text);
    let list = super::answer(&router, get("/v1/models")).await.json();
    assert_eq!(list["data"][0]["id"], "far");
}
