//! The API as its clients see it: requests in, answers out, with an engine that follows a script.

mod faults;
mod fuzz;
mod guarded;
mod malformed;
mod remote;
mod replies;
mod streams;
mod upstream;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{Api, ApiLimits, Served, router};
use crate::metrics::Metrics;
use crate::schedule::{Schedule, ScheduleLimits};
use crate::scripted::{Faults, ScriptedEngine, ScriptedModel};

/// A picture of eight by eight pixels.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAASElEQVR42mNggANmNk4efiFRBgY2HiEJORUtBgZOIWkVXTN7BgYeCRUDG48QBgZ+OV0b76hMBgYhFTOPqJw6BgZRLfuQzLrJAME4CTEeO27rAAAAAElFTkSuQmCC";

fn picture() -> String {
    format!("data:image/png;base64,{PNG}")
}

/// A model that answers, as it says itself, with faults.
fn own(model: ScriptedModel, limits: ScheduleLimits, faults: Faults) -> Served {
    let metrics = Arc::<Metrics>::default();
    Served::Own(Schedule::start(
        Arc::new(model),
        limits,
        metrics,
        move |mut driver| {
            // After a fault the schedule refuses, which is what the tests of faults ask for.
            let _ = driver.drive(&mut ScriptedEngine::new(faults));
        },
    ))
}

fn echo() -> Served {
    let limits = ScheduleLimits::default();
    own(ScriptedModel::echo("echo"), limits, Faults::default())
}

fn api_of(models: Vec<Served>) -> Api {
    Api {
        models,
        fetcher: None,
        limits: ApiLimits::default(),
        metrics: Arc::default(),
    }
}

fn served(models: Vec<Served>) -> Router {
    router(Arc::new(api_of(models)))
}

/// What came back.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// Status, code and place of an error, whose form is checked.
    fn error(&self) -> (u16, String, Option<String>) {
        let json = self.json();
        let error = json["error"]
            .as_object()
            .unwrap_or_else(|| panic!("{self:?}"));
        let keys: Vec<&str> = error.keys().map(String::as_str).collect();
        assert_eq!(keys, ["message", "type", "param", "code"], "{self:?}");
        assert_eq!(json.as_object().unwrap().len(), 1, "{self:?}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{self:?}");
        let kind = error["type"].as_str().unwrap();
        let expected = match self.status.as_u16() {
            429 => "rate_limit_error",
            400..500 => "invalid_request_error",
            _ => "server_error",
        };
        assert_eq!(kind, expected, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/json");
        (
            self.status.as_u16(),
            error["code"].as_str().unwrap().to_owned(),
            error["param"].as_str().map(str::to_owned),
        )
    }
}

async fn answer(router: &Router, request: Request) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

fn post(path: &str, body: impl Into<Body>) -> Request {
    Request::post(path)
        .header("host", "localhost:8000")
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

fn get(path: &str) -> Request {
    Request::get(path)
        .header("host", "localhost:8000")
        .body(Body::empty())
        .unwrap()
}

async fn posted(router: &Router, path: &str, body: &Value) -> Answer {
    answer(router, post(path, body.to_string())).await
}

/// A valid conversation, with these fields more.
fn asking(more: Value) -> Value {
    let mut body = json!({
        "model": "echo",
        "messages": [{ "role": "user", "content": "one two" }],
    });
    let Value::Object(more) = more else {
        panic!("give an object");
    };
    body.as_object_mut().unwrap().extend(more);
    body
}

const CHAT: &str = "/v1/chat/completions";
const PLAIN: &str = "/v1/completions";
const SCORE: &str = "/v1/score";
