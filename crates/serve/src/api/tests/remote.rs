//! Images elsewhere, where the operator allows them: elsewhere is a small server on loopback here.

use std::sync::Mutex;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chat::fetch::{FetchConfig, Fetcher};
use chat::relay::{Upstream, UpstreamConfig};

use super::*;

type Heard = Arc<Mutex<Vec<(String, Value)>>>;

/// Gives a picture for `/picture.png`, text for `/text`, and remembers what is posted.
async fn hear(State(heard): State<Heard>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    match path.as_str() {
        "/picture.png" => STANDARD.decode(PNG).unwrap().into_response(),
        "/text" => "no picture".into_response(),
        "/v1/chat/completions" => {
            let body = to_bytes(request.into_body(), usize::MAX).await.unwrap();
            let body = serde_json::from_slice(&body).unwrap();
            heard.lock().unwrap().push((path, body));
            ([("content-type", "application/json")], "{}").into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

struct Elsewhere {
    heard: Heard,
    address: String,
    router: Router,
}

/// A router that fetches from elsewhere, and has a model there as well.
async fn elsewhere(limits: ApiLimits) -> Elsewhere {
    let heard = Heard::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = Router::new().fallback(hear).with_state(heard.clone());
    tokio::spawn(async move { axum::serve(listener, server).await });
    let upstream = Upstream::new(UpstreamConfig {
        model: "far".to_owned(),
        upstream_model: "far".to_owned(),
        url: format!("http://{address}/v1"),
        key_env: None,
    });
    let model = ScriptedModel::new("counts", |heard| heard.images.to_string());
    let model = own(model, ScheduleLimits::default(), Faults::default());
    let config = FetchConfig {
        allow_hosts: vec![address.clone()],
        ..FetchConfig::default()
    };
    let api = Api {
        fetcher: Some(Fetcher::new(config).unwrap()),
        limits,
        ..api_of(vec![model, Served::Upstream(upstream.unwrap())])
    };
    Elsewhere {
        heard,
        address,
        router: router(Arc::new(api)),
    }
}

fn showing(model: &str, urls: &[&str]) -> Value {
    let part = |url: &&str| json!({ "type": "image_url", "image_url": { "url": url } });
    let mut parts: Vec<Value> = urls.iter().map(part).collect();
    parts.insert(1, json!({ "type": "text", "text": "look" }));
    let system = json!({ "role": "system", "content": "short" });
    json!({ "model": model, "messages": [system, { "role": "user", "content": parts }] })
}

#[tokio::test]
async fn images_elsewhere_are_fetched_for_our_models() {
    let there = elsewhere(ApiLimits::default()).await;
    let url = format!("http://{}/picture.png", there.address);
    let body = showing("counts", &[&url, &picture(), &url]);
    let json = posted(&there.router, CHAT, &body).await.json();
    assert_eq!(json["choices"][0]["message"]["content"], "3");
}

#[tokio::test]
async fn another_server_is_handed_the_image_and_not_the_address() {
    let there = elsewhere(ApiLimits::default()).await;
    let url = format!("http://{}/picture.png", there.address);
    let body = showing("far", &[&url, &url]);
    assert_eq!(posted(&there.router, CHAT, &body).await.status, 200);
    let heard = there.heard.lock().unwrap();
    let (_, got) = &heard[0];
    assert_eq!(*got, showing("far", &[&picture(), &picture()]));
}

#[tokio::test]
async fn an_image_that_is_not_fetched_is_named_by_its_place() {
    let there = elsewhere(ApiLimits::default()).await;
    let here = |path: &str| format!("http://{}{path}", there.address);
    for model in ["counts", "far"] {
        for (url, code) in [
            (here("/nothing.png"), "invalid_image_url"),
            (
                "http://127.0.0.1:1/picture.png".to_owned(),
                "invalid_image_url",
            ),
            (
                "http://169.254.169.254/latest".to_owned(),
                "invalid_image_url",
            ),
            ("http://".to_owned(), "invalid_image_url"),
            ("file:///etc/passwd".to_owned(), "invalid_value"),
        ] {
            let body = showing(model, &[&picture(), &url]);
            let answer = posted(&there.router, CHAT, &body).await;
            let place = Some("messages[1].content[2].image_url.url".to_owned());
            assert_eq!(
                answer.error(),
                (400, code.to_owned(), place),
                "{model} {url}"
            );
        }
        // A file that is no image is nothing for either of them.
        let body = showing(model, &[&here("/text")]);
        assert_eq!(posted(&there.router, CHAT, &body).await.error().0, 400);
    }
    assert!(there.heard.lock().unwrap().is_empty());
}

#[tokio::test]
async fn images_elsewhere_count_against_the_limits() {
    let bytes = STANDARD.decode(PNG).unwrap().len();
    for (limits, images, fits) in [
        (
            ApiLimits {
                image_bytes: bytes,
                ..ApiLimits::default()
            },
            1,
            true,
        ),
        (
            ApiLimits {
                image_bytes: bytes - 1,
                ..ApiLimits::default()
            },
            1,
            false,
        ),
        (
            ApiLimits {
                all_image_bytes: 2 * bytes,
                ..ApiLimits::default()
            },
            2,
            true,
        ),
        (
            ApiLimits {
                all_image_bytes: 2 * bytes - 1,
                ..ApiLimits::default()
            },
            2,
            false,
        ),
        (
            ApiLimits {
                images: 2,
                ..ApiLimits::default()
            },
            2,
            true,
        ),
        (
            ApiLimits {
                images: 1,
                ..ApiLimits::default()
            },
            2,
            false,
        ),
    ] {
        let there = elsewhere(limits.clone()).await;
        let url = format!("http://{}/picture.png", there.address);
        for model in ["counts", "far"] {
            let body = showing(model, &vec![url.as_str(); images]);
            let answer = posted(&there.router, CHAT, &body).await;
            if fits {
                assert_eq!(answer.status, 200, "{limits:?}: {}", answer.text);
            } else {
                assert_eq!(answer.error().1, "limit_exceeded", "{limits:?}");
            }
        }
    }
}
