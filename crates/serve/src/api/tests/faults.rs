//! What clients are told when something is full, slow, broken or about to end, and what happens when they go.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use http_body::Body as _;

use super::*;
use crate::model::{Refusal, RefusalKind};
use crate::scripted::Watch;

#[test]
fn each_kind_of_refusal_has_its_status() {
    for (kind, status, code, retry) in [
        (RefusalKind::Invalid, 400, "invalid_value", false),
        (
            RefusalKind::ContextLength,
            400,
            "context_length_exceeded",
            false,
        ),
        (RefusalKind::TooLarge, 400, "limit_exceeded", false),
        (RefusalKind::Busy, 429, "rate_limit_exceeded", true),
        (RefusalKind::Stopping, 503, "stopping", true),
        (RefusalKind::TimedOut, 504, "timeout", false),
        (RefusalKind::Failed, 500, "internal_error", false),
    ] {
        let refusal = Refusal::new(kind, "why").about("messages[0]");
        let error = crate::api::error::ApiError::from(refusal);
        assert_eq!(error.status.as_u16(), status, "{kind:?}");
        assert_eq!(error.code, Some(code));
        assert_eq!(error.param.as_deref(), Some("messages[0]"));
        assert_eq!(error.message, "why");
        assert_eq!(error.retry_after.is_some(), retry);
    }
}

fn watched(faults: Faults, limits: ScheduleLimits) -> (Arc<Watch>, Router) {
    let watch = Arc::<Watch>::default();
    let seen = watch.clone();
    let schedule = Schedule::start(
        Arc::new(ScriptedModel::echo("echo")),
        limits,
        Arc::default(),
        move |mut driver| {
            let _ = driver.drive(&mut ScriptedEngine::watched(faults, seen));
        },
    );
    (watch, served(vec![Served::Own(schedule)]))
}

fn slow() -> Faults {
    Faults {
        step_time: Duration::from_millis(2),
        ..Faults::default()
    }
}

/// A conversation whose reply takes thousands of steps.
fn long(stream: bool) -> Value {
    let words = vec!["word"; 1500].join(" ");
    asking(json!({ "messages": [{ "role": "user", "content": words }], "stream": stream }))
}

/// Waits for what must come; a test that hangs has failed.
async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_the_engine() {
    let (watch, router) = watched(slow(), ScheduleLimits::default());
    let live = || watch.live.load(Ordering::SeqCst);

    // One that waits for the whole answer: its handler is dropped.
    let waiting = tokio::spawn({
        let router = router.clone();
        async move { posted(&router, CHAT, &long(false)).await }
    });
    until(|| live() == 1).await;
    waiting.abort();
    until(|| live() == 0).await;

    // One that reads a stream: the body is dropped.
    let request = post(CHAT, long(true).to_string());
    let response = router.clone().oneshot(request).await.unwrap();
    until(|| live() == 1).await;
    let mut body: Body = response.into_body();
    let first = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context));
    assert!(first.await.is_some());
    drop(body);
    until(|| live() == 0).await;
    assert_eq!(watch.cancelled.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn one_request_too_many_is_told_to_come_back() {
    let limits = ScheduleLimits {
        slots: 1,
        queue: 1,
        ..ScheduleLimits::default()
    };
    let (watch, router) = watched(slow(), limits);
    let ask = || {
        let router = router.clone();
        tokio::spawn(async move { posted(&router, CHAT, &long(false)).await })
    };
    let live = ask();
    until(|| watch.live.load(Ordering::SeqCst) == 1).await;
    // Of two more one waits, and the other has no place.
    let (one, other) = (ask(), ask());
    let (refused, waiting) = match futures::future::select(one, other).await {
        futures::future::Either::Left((refused, waiting))
        | futures::future::Either::Right((refused, waiting)) => (refused.unwrap(), waiting),
    };
    let (status, code, _) = refused.error();
    assert_eq!((status, code.as_str()), (429, "rate_limit_exceeded"));
    let seconds: u64 = refused.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    live.abort();
    waiting.abort();
}

#[tokio::test]
async fn a_request_over_its_time_has_the_status_for_that() {
    let limits = ScheduleLimits {
        request_time: Duration::from_millis(30),
        ..ScheduleLimits::default()
    };
    let (_, router) = watched(slow(), limits);
    let (status, code, _) = posted(&router, CHAT, &long(false)).await.error();
    assert_eq!((status, code.as_str()), (504, "timeout"));
    // A stream that has begun by then says so in its place.
    let answer = posted(&router, CHAT, &long(true)).await;
    if answer.status != 200 {
        assert_eq!(answer.error(), (504, "timeout".to_owned(), None));
        return;
    }
    let events: Vec<&str> = answer.text.split_terminator("\n\n").collect();
    let [.., error, "data: [DONE]"] = events[..] else {
        panic!("{}", answer.text);
    };
    let error: Value = serde_json::from_str(error.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "timeout");
    assert_eq!(error["error"]["type"], "server_error");
}

#[tokio::test]
async fn an_engine_that_breaks_before_the_first_word_is_a_failure_of_the_server() {
    let faults = |breaks_at, panics_at, room| Faults {
        breaks_at,
        panics_at,
        room,
        ..Faults::default()
    };
    for (faults, expected) in [
        (faults(Some(1), None, usize::MAX), (500, "internal_error")),
        (faults(None, Some(1), usize::MAX), (500, "internal_error")),
        // No memory now is none for ever only to those who never come again.
        (faults(None, None, 0), (429, "rate_limit_exceeded")),
    ] {
        for stream in [false, true] {
            let (_, router) = watched(faults.clone(), ScheduleLimits::default());
            let (status, code, _) = posted(&router, CHAT, &long(stream)).await.error();
            assert_eq!((status, code.as_str()), expected, "{faults:?}");
        }
    }
}

#[tokio::test]
async fn an_engine_that_breaks_in_mid_stream_ends_it_with_an_error() {
    let faults = Faults {
        breaks_at: Some(3),
        ..Faults::default()
    };
    let (_, router) = watched(faults, ScheduleLimits::default());
    let answer = posted(&router, CHAT, &asking(json!({ "stream": true }))).await;
    let events: Vec<&str> = answer.text.split_terminator("\n\n").collect();
    assert_eq!(events.len(), 5, "{}", answer.text);
    assert!(
        events[3].starts_with("data: {\"error\":{\"message\":"),
        "{}",
        events[3]
    );
    assert_eq!(events[4], "data: [DONE]");
}

#[tokio::test]
async fn a_server_about_to_end_says_so() {
    let model = echo();
    let Served::Own(schedule) = &model else {
        unreachable!("echo is our own");
    };
    schedule.stop();
    let router = served(vec![model]);
    let refused = posted(&router, CHAT, &asking(json!({}))).await;
    let (status, code, _) = refused.error();
    assert_eq!((status, code.as_str()), (503, "stopping"));
    assert!(refused.headers.contains_key("retry-after"));
    let health = answer(&router, get("/health")).await;
    assert_eq!(health.status, 503);
    assert_eq!(health.json()["status"], "stopping");
}
