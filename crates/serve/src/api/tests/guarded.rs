//! The API behind its guard: who gets in, and what every answer says.

use std::net::SocketAddr;

use axum::Extension;
use axum::extract::ConnectInfo;
use axum::routing::get as on_get;
use futures::stream;

use super::*;
use crate::guard::{Guard, guarded};
use crate::schedule::Client;

const LIMIT: usize = 4096;

fn behind(keys: &[&str]) -> Router {
    let guard = Guard {
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        hosts: vec!["box.lan".to_owned()],
        max_body: LIMIT,
    };
    let router = served(vec![echo()])
        .route(
            "/panic",
            on_get(async || -> &'static str { panic!("asked to") }),
        )
        .route(
            "/who",
            on_get(async |Extension(who): Extension<Client>| who.0),
        )
        .route(
            "/page",
            on_get(async || {
                (
                    [
                        ("content-security-policy", "script-src 'self'"),
                        ("cache-control", "max-age=9"),
                    ],
                    "hi",
                )
            }),
        );
    guarded(router, Arc::new(guard))
}

fn with(mut request: Request, headers: &[(&'static str, &str)]) -> Request {
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

#[tokio::test]
async fn only_who_brings_a_key_is_answered_but_health_is_for_all() {
    let router = behind(&["first", "second"]);
    let ask = || post(CHAT, asking(json!({})).to_string());
    for (request, code) in [
        (ask(), "missing_api_key"),
        (get("/v1/models"), "missing_api_key"),
        (get("/metrics"), "missing_api_key"),
        (get("/nowhere"), "missing_api_key"),
        (get("/health/"), "missing_api_key"),
        (
            with(ask(), &[("authorization", "Bearer third")]),
            "invalid_api_key",
        ),
        (
            with(ask(), &[("authorization", "first")]),
            "missing_api_key",
        ),
    ] {
        let path = request.uri().clone();
        let answer = answer(&router, request).await;
        let (status, given, _) = answer.error();
        assert_eq!((status, given.as_str()), (401, code), "{path}");
        let ways: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert_eq!(ways.len(), 2, "{path}");
        assert!(!answer.text.contains("third"));
    }
    assert_eq!(answer(&router, get("/health")).await.status, 200);
    for key in ["Bearer first", "Bearer second", "Basic OmZpcnN0"] {
        let allowed = with(ask(), &[("authorization", key)]);
        assert_eq!(answer(&router, allowed).await.status, 200, "{key}");
    }
}

#[tokio::test]
async fn clients_are_told_apart_by_key_or_else_by_address() {
    let from = |address: &str| {
        let mut request = get("/who");
        let address: SocketAddr = address.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(address));
        request
    };
    let keyless = behind(&[]);
    assert_eq!(answer(&keyless, from("10.0.0.1:1")).await.text, "10.0.0.1");
    assert_eq!(
        answer(&keyless, from("[2001:db8::1]:1")).await.text,
        "2001:db8::/64"
    );
    let keyed = behind(&["first", "second"]);
    let second = with(from("10.0.0.1:1"), &[("authorization", "Bearer second")]);
    assert_eq!(answer(&keyed, second).await.text, "key 2");
}

#[tokio::test]
async fn pages_of_other_sites_can_neither_ask_nor_read() {
    let router = behind(&[]);
    let ask = || post(CHAT, asking(json!({})).to_string());
    let foreign = [("origin", "http://evil.example")];
    for (request, status) in [
        (ask(), 200),
        (with(ask(), &[("origin", "http://localhost:8000")]), 200),
        (with(ask(), &foreign), 403),
        (with(ask(), &[("origin", "null")]), 403),
        (with(ask(), &[("sec-fetch-site", "cross-site")]), 403),
        (with(ask(), &[("content-type", "text/plain")]), 415),
        (with(ask(), &[("host", "evil.example")]), 421),
        (with(ask(), &[("host", "box.lan:1")]), 200),
        (with(get("/v1/models"), &[("host", "evil.example")]), 421),
        (with(get("/health"), &[("host", "evil.example")]), 421),
        (with(get("/v1/models"), &[("host", "")]), 400),
        (with(get("/v1/models"), &foreign), 200),
    ] {
        let answer = answer(&router, request).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        if status != 200 {
            answer.error();
        }
        for name in answer.headers.keys() {
            assert!(!name.as_str().starts_with("access-control-"), "{name}");
        }
    }
    let mut preflight = with(ask(), &foreign);
    *preflight.method_mut() = axum::http::Method::OPTIONS;
    let answer = answer(&router, preflight).await;
    assert_eq!(answer.status, 405);
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_by_its_length_or_when_it_gets_there() {
    let router = behind(&[]);
    let body = |length: usize| {
        let mut body = asking(json!({ "user": "" }));
        let rest = length - body.to_string().len();
        body["user"] = "x".repeat(rest).into();
        body.to_string()
    };
    let told = |length: usize| {
        let request = post(CHAT, body(length));
        with(request, &[("content-length", &length.to_string())])
    };
    let in_pieces = |length: usize| {
        let body = body(length).into_bytes();
        let pieces: Vec<_> = body
            .chunks(100)
            .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
            .collect();
        post(CHAT, Body::from_stream(stream::iter(pieces)))
    };
    for (request, status) in [
        (told(LIMIT), 200),
        (told(LIMIT + 1), 413),
        (in_pieces(LIMIT), 200),
        (in_pieces(LIMIT + 1), 413),
        // What is told is not believed.
        (with(in_pieces(LIMIT + 1), &[("content-length", "10")]), 413),
    ] {
        let answer = answer(&router, request).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        if status == 413 {
            assert_eq!(answer.error().1, "request_too_large");
        }
    }
    // Of a gigabyte, not a byte is read.
    let unread = stream::poll_fn(
        |_| -> std::task::Poll<Option<Result<Vec<u8>, std::io::Error>>> {
            panic!("the body is read")
        },
    );
    let huge = with(
        post(CHAT, Body::from_stream(unread)),
        &[("content-length", "1000000000")],
    );
    assert_eq!(answer(&router, huge).await.status, 413);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_clients_fault() {
    let router = behind(&[]);
    let pieces = stream::iter([
        Ok(b"{\"messages\"".to_vec()),
        Err(std::io::Error::other("gone")),
    ]);
    let answer = answer(&router, post(CHAT, Body::from_stream(pieces))).await;
    assert_eq!(answer.error().1, "incomplete_body");
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn a_panic_costs_its_own_request() {
    let router = behind(&[]);
    let (status, code, _) = answer(&router, get("/panic")).await.error();
    assert_eq!((status, code.as_str()), (500, "internal_error"));
    assert_eq!(answer(&router, get("/v1/models")).await.status, 200);
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let router = behind(&[]);
    let stream = post(CHAT, asking(json!({ "stream": true })).to_string());
    for (request, cache) in [
        (get("/v1/models"), "no-store"),
        (stream, "no-store"),
        (post(CHAT, "{"), "no-store"),
        (get("/v1/nowhere"), "no-store"),
        (get("/v1"), "no-store"),
        (get("/health"), "private, no-cache"),
        (get("/nowhere"), "private, no-cache"),
        (get("/panic"), "private, no-cache"),
        (
            with(get("/who"), &[("host", "evil.example")]),
            "private, no-cache",
        ),
        (get("/page"), "max-age=9"),
    ] {
        let path = request.uri().path().to_owned();
        let answer = answer(&router, request).await;
        let header = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header("x-frame-options"), "DENY", "{path}");
        assert_eq!(header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(
            header("cross-origin-resource-policy"),
            "same-origin",
            "{path}"
        );
        assert_eq!(header("cache-control"), cache, "{path}");
        let policy = header("content-security-policy");
        let own = path == "/page";
        assert_eq!(policy == "script-src 'self'", own, "{path}");
        assert_eq!(policy.contains("frame-ancestors 'none'"), !own, "{path}");
    }
}

#[tokio::test]
async fn what_no_route_answers_has_the_form_of_all_errors() {
    let router = behind(&[]);
    for path in [
        "/",
        "/nowhere",
        "/v1",
        "/v1/",
        "/v1/nowhere",
        "/%2e%2e/etc/passwd",
    ] {
        let (status, code, _) = answer(&router, get(path)).await.error();
        assert_eq!((status, code.as_str()), (404, "unknown_url"), "{path}");
    }
    let answer = answer(&router, post("/who", "{}")).await;
    let (status, code, _) = answer.error();
    assert_eq!((status, code.as_str()), (405, "method_not_allowed"));
    assert_eq!(answer.headers["allow"], "GET,HEAD");
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let api = Arc::new(api_of(vec![echo()]));
    let router = guarded(
        router(api),
        Arc::new(Guard {
            max_body: LIMIT,
            ..Guard::default()
        }),
    );
    posted(&router, CHAT, &asking(json!({}))).await;
    posted(&router, CHAT, &json!({})).await;
    answer(&router, get("/v1/models/echo")).await;
    let text = answer(&router, get("/metrics")).await.text;
    for (route, status) in [
        ("/v1/chat/completions", 200),
        ("/v1/chat/completions", 400),
        ("/v1/models/{*id}", 200),
    ] {
        let counted = text.lines().any(|line| {
            line.contains(&format!("\"{route}\""))
                && line.contains(&format!("\"{status}\""))
                && line.ends_with(" 1")
        });
        assert!(counted, "{route} {status} is not in {text}");
    }
}
