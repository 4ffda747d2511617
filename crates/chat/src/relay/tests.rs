//! The relay against servers on the loopback.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::{MAX_ERROR, Patience, Relayed, Upstream, UpstreamConfig};
use crate::loopback::Loopback;

const KEY: &str = "top-secret-key-of-the-upstream";

fn upstream(server: &Loopback, patience: Patience) -> Upstream {
    let config = UpstreamConfig {
        model: "ours".into(),
        upstream_model: "theirs".into(),
        url: format!("http://{}/v1", server.address),
        key_env: Some("THE_KEY".into()),
    };
    let env = |name: &str| (name == "THE_KEY").then(|| KEY.to_owned());
    Upstream::within(config, &env, &patience).unwrap()
}

async fn say(stream: &mut TcpStream, text: impl AsRef<[u8]>) {
    let _ = stream.write_all(text.as_ref()).await;
}

async fn always(head: &'static str, body: String) -> Loopback {
    Loopback::start("127.0.0.1", move |_, mut stream| {
        let whole = format!(
            "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        async move { say(&mut stream, whole).await }
    })
    .await
}

async fn text(relayed: Relayed) -> String {
    let pieces: Vec<_> = relayed.body.collect().await;
    let bytes: Vec<u8> = pieces
        .into_iter()
        .flat_map(|piece| piece.unwrap())
        .collect();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_request_arrives_as_it_came_but_for_the_models_name_and_the_key() {
    let server = always(
        "200 OK\r\ncontent-type: application/json",
        "{\"id\": 1}".into(),
    )
    .await;
    let upstream = upstream(&server, Patience::default());
    assert_eq!(upstream.model(), "ours");
    let body = json!({"messages": [{"role": "user", "content": "hé"}], "model": "ours", "odd": [1.5, null]});
    let relayed = upstream
        .post("chat/completions", body.clone())
        .await
        .unwrap();
    assert_eq!((relayed.status, relayed.retry_after.clone()), (200, None));
    assert_eq!(relayed.content_type.as_deref(), Some("application/json"));
    assert_eq!(text(relayed).await, "{\"id\": 1}");
    let asked = server.last();
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/v1/chat/completions")
    );
    assert_eq!(
        asked.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    assert_eq!(asked.header("content-type"), Some("application/json"));
    let mut expected = body;
    expected["model"] = "theirs".into();
    assert_eq!(
        serde_json::from_slice::<Value>(&asked.body).unwrap(),
        expected
    );
}

#[tokio::test]
async fn a_piece_is_handed_on_before_the_next_is_written() {
    let go_on = Arc::new(Notify::new());
    let waits = go_on.clone();
    let server = Loopback::start("127.0.0.1", move |_, mut stream| {
        let waits = waits.clone();
        async move {
            say(
                &mut stream,
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\n",
            )
            .await;
            waits.notified().await;
            say(&mut stream, "data: 2\n\n").await;
        }
    })
    .await;
    let mut body = upstream(&server, Patience::default())
        .post("chat/completions", json!({}))
        .await
        .unwrap()
        .body;
    assert_eq!(body.next().await.unwrap().unwrap(), "data: 1\n\n");
    go_on.notify_one();
    assert_eq!(body.next().await.unwrap().unwrap(), "data: 2\n\n");
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn the_connection_is_closed_when_nobody_wants_the_rest() {
    let closed = Arc::new(Notify::new());
    let tells = closed.clone();
    let server = Loopback::start("127.0.0.1", move |_, mut stream| {
        let tells = tells.clone();
        async move {
            say(&mut stream, "HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n").await;
            // Nothing more comes from the client, so this ends when the connection does.
            let _ = stream.read(&mut [0; 16]).await;
            tells.notify_one();
        }
    })
    .await;
    let upstream = upstream(&server, Patience::default());
    let mut relayed = upstream.post("chat/completions", json!({})).await.unwrap();
    assert!(relayed.body.next().await.is_some());
    drop(relayed);
    closed.notified().await;
}

#[tokio::test]
async fn errors_about_a_request_are_handed_back_bounded_and_without_the_key() {
    let echo = format!("{{\"error\": {{\"message\": \"key {KEY} may not\"}}}}");
    let cases = [
        (
            "400 Bad\r\ncontent-type: application/json",
            echo.clone(),
            400,
            echo.replace(KEY, "***"),
        ),
        (
            "429 Slow\r\nretry-after: 7",
            "later".to_owned(),
            429,
            "later".to_owned(),
        ),
        (
            "500 Broken",
            "x".repeat(MAX_ERROR * 3),
            500,
            "x".repeat(MAX_ERROR - KEY.len()),
        ),
        (
            "500 Broken",
            "x".repeat(MAX_ERROR - 5) + KEY,
            500,
            "x".repeat(MAX_ERROR - KEY.len()),
        ),
        ("503 Busy", String::new(), 503, String::new()),
    ];
    for (head, body, status, expected) in cases {
        let server = always(head, body).await;
        let relayed = upstream(&server, Patience::default())
            .post("completions", json!({}))
            .await
            .unwrap();
        assert_eq!(relayed.status, status);
        assert_eq!(relayed.retry_after.is_some(), status == 429);
        assert_eq!(text(relayed).await, expected, "{head}");
    }
}

#[tokio::test]
async fn what_is_not_for_the_client_is_an_error_that_names_no_key() {
    let cases = [
        ("401 No", "401"),
        ("407 No", "407"),
        ("302 Found\r\nlocation: http://127.0.0.1:1/", "302"),
        ("304 Same", "304"),
    ];
    for (head, word) in cases {
        let server = always(head, format!("wrong key {KEY}")).await;
        let error = upstream(&server, Patience::default())
            .post("completions", json!({}))
            .await
            .err()
            .unwrap();
        assert!(error.to_string().contains(word), "{error}");
        assert!(!error.to_string().contains(KEY), "{error}");
        assert_eq!(server.count(), 1, "it must not follow");
    }
    let server = always("200 OK", String::new()).await;
    for body in [json!([]), json!("x"), Value::Null] {
        assert!(
            upstream(&server, Patience::default())
                .post("completions", body)
                .await
                .is_err()
        );
    }
    assert_eq!(server.count(), 0);
}

#[tokio::test]
async fn a_server_that_is_away_silent_or_breaks_off_is_an_error() {
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let config = UpstreamConfig {
        model: "m".into(),
        upstream_model: "m".into(),
        url: format!("http://{gone}/v1"),
        key_env: None,
    };
    let away = Upstream::new(config)
        .unwrap()
        .post("completions", json!({}))
        .await;
    assert!(
        away.err()
            .unwrap()
            .to_string()
            .contains("cannot be reached")
    );

    let short = || Patience {
        idle: Duration::from_millis(50),
        ..Patience::default()
    };
    let silent = Loopback::start("127.0.0.1", |_, stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let error = upstream(&silent, short())
        .post("completions", json!({}))
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("too slow"), "{error}");

    let stalls = Loopback::start("127.0.0.1", |_, mut stream| async move {
        say(&mut stream, "HTTP/1.1 200 OK\r\n\r\ndata: 1\n\n").await;
        std::future::pending::<()>().await;
    })
    .await;
    let mut body = upstream(&stalls, short())
        .post("completions", json!({}))
        .await
        .unwrap()
        .body;
    assert!(body.next().await.unwrap().is_ok());
    assert!(body.next().await.unwrap().is_err());

    let breaks = Loopback::start("127.0.0.1", |_, mut stream| async move {
        say(
            &mut stream,
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        )
        .await;
    })
    .await;
    let relayed = upstream(&breaks, short())
        .post("completions", json!({}))
        .await
        .unwrap();
    let pieces: Vec<_> = relayed.body.collect().await;
    let error = pieces.last().unwrap().as_ref().unwrap_err();
    assert!(error.to_string().contains("broke off"), "{error}");
}

#[test]
fn a_configuration_that_cannot_work_is_refused_without_repeating_a_key() {
    let good = UpstreamConfig {
        model: "m".into(),
        upstream_model: "m".into(),
        url: "http://host:8000/v1".into(),
        key_env: None,
    };
    type Change = fn(&mut UpstreamConfig);
    let cases: [(&str, Change); 6] = [
        ("upstream.model", |c| c.model.clear()),
        ("upstream.upstream_model", |c| c.upstream_model.clear()),
        ("upstream.url", |c| c.url = "host".into()),
        ("upstream.url", |c| c.url = "file:///v1".into()),
        ("upstream.url", |c| {
            c.url = "http://u:0123456789abcdef@host/v1".into()
        }),
        ("upstream.key_env", |c| {
            c.key_env = Some("sk-0123456789abcdef".into())
        }),
    ];
    for (field, change) in cases {
        let mut changed = good.clone();
        change(&mut changed);
        let error = Upstream::within(changed, &|_| None, &Patience::default())
            .err()
            .unwrap();
        assert!(error.to_string().starts_with(field), "{error}");
        assert!(!error.to_string().contains("0123456789"), "{error}");
    }
    assert!(Upstream::within(good, &|_| None, &Patience::default()).is_ok());
}
