//! The page of trainings as readers and scripts get it.

use std::io::Write;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::made_run::{HOSTILE, Made, data_stages, sample_of, training};

fn steps(answer: &Value, run: usize, quantity: &str) -> Vec<f64> {
    let points = answer["runs"][run]["quantities"][quantity]
        .as_array()
        .unwrap();
    points.iter().map(|p| p[0].as_f64().unwrap()).collect()
}

#[tokio::test]
async fn several_runs_are_drawn_over_each_other_without_a_script() {
    let made = Made::new();
    training(&made.run("a"), 40, true);
    training(&made.run("b"), 30, false);
    let page = made.get("/training?run=a&run=b").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.is_clean(), "{}", page.text);
    assert!(page.text.contains("Loss by step") && page.text.contains("Memory, MiB by step"));
    assert!(page.text.contains("value=\"a\" checked") && page.text.contains("value=\"b\" checked"));
    assert!(
        page.text.contains(">done<") && page.text.contains(">training<"),
        "{}",
        page.text
    );
    let one = made.get("/training?run=a").await.text;
    assert!(
        one.contains("/selection/a"),
        "the navigation keeps to the only run"
    );
    // Without a choice there is the newest.
    let newest = made.get("/training").await.text;
    assert_eq!(newest.matches("data-run=").count(), 1, "{newest}");
}

#[tokio::test]
async fn curves_come_whole_and_then_from_a_step_on_without_the_line_that_is_being_written() {
    let made = Made::new();
    let run = made.run("a");
    training(&run, 5, false);
    let whole = made.get("/training/curves?run=a").await.json();
    assert_eq!(steps(&whole, 0, "loss"), [0.0, 1.0, 2.0, 3.0, 4.0]);
    assert_eq!(
        whole["runs"][0]["quantities"]["loss"][1],
        json!([1.0, 200.0, 4.0, 1.5, 1.5])
    );
    assert_eq!(
        (&whole["runs"][0]["last"], &whole["runs"][0]["state"]),
        (&json!(4.0), &json!("training"))
    );
    let mut file = std::fs::File::options()
        .append(true)
        .open(run.join("train/metrics.jsonl"))
        .unwrap();
    file.write_all(b"{\"step\":5,\"loss\":0.25}\n{\"step\":6,\"lo")
        .unwrap();
    let more = made.get("/training/curves?run=a&after=4").await.json();
    assert_eq!(steps(&more, 0, "loss"), [5.0]);
    assert_eq!(steps(&more, 0, "lr"), [] as [f64; 0]);
    // Its timing is not there yet, so the step is asked for again.
    assert_eq!(more["runs"][0]["last"], json!(4.0));
    assert_eq!(
        more["runs"][0]["generation"],
        whole["runs"][0]["generation"]
    );
    training(&run, 2, true);
    let anew = made.get("/training/curves?run=a&after=4").await.json();
    assert_ne!(
        anew["runs"][0]["generation"],
        whole["runs"][0]["generation"]
    );
    assert_eq!(anew["runs"][0]["state"], "done");
}

#[tokio::test]
async fn long_logs_are_thinned() {
    let made = Made::new();
    training(&made.run("a"), 20_000, true);
    let answer = made.get("/training/curves?run=a").await;
    let sent = steps(&answer.json(), 0, "loss");
    assert!((900..=1100).contains(&sent.len()), "{}", sent.len());
    assert_eq!((sent[0], sent[sent.len() - 1]), (0.0, 19_999.0));
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused() {
    let made = Made::new();
    training(&made.run("a"), 2, true);
    data_stages(&made.run("b"), 0);
    for (address, status) in [
        ("/training/curves", StatusCode::BAD_REQUEST),
        ("/training/curves?run=a&after=x", StatusCode::BAD_REQUEST),
        ("/training/curves?run=none", StatusCode::NOT_FOUND),
        ("/training/curves?run=b", StatusCode::NOT_FOUND),
        ("/training/curves?run=..%2Fa", StatusCode::NOT_FOUND),
        (
            "/training/curves?run=1&run=2&run=3&run=4&run=5&run=6&run=7",
            StatusCode::BAD_REQUEST,
        ),
        ("/training?run=none", StatusCode::NOT_FOUND),
        ("/training/curves?run=a&after=NaN", StatusCode::OK),
        ("/training/curves?run=a&after=inf", StatusCode::OK),
    ] {
        let answer = made.get(address).await;
        assert_eq!(answer.status, status, "{address}: {}", answer.text);
    }
    let page = made.get("/training?run=b").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text.contains("b has no training log yet"),
        "{}",
        page.text
    );
    let none = Made::new().get("/training").await;
    assert!(
        none.text.contains("No run has a training log"),
        "{}",
        none.text
    );
}

#[tokio::test]
async fn answers_stand_with_their_questions_image_over_time() {
    let made = Made::new();
    let run = made.run("a");
    data_stages(&run, 0);
    training(&run, 5, false);
    let asked = sample_of(21);
    let line = |step: u32, reply: &str, correct: bool| {
        json!({"step": step, "score": 0.5, "answers": [{"id": asked.id, "question": HOSTILE, "reference": "4",
            "reply": format!("{reply}{HOSTILE}"), "correct": correct}]})
    };
    let text = format!(
        "{}\n{}\n{{\"step\":9",
        line(2, "three", false),
        line(4, "four", true)
    );
    std::fs::write(run.join("train/evaluations.jsonl"), text).unwrap();
    let page = made.get("/training?run=a").await;
    assert!(page.is_clean(), "{}", page.text);
    for wanted in [
        "after step 2",
        "after step 4",
        "✗ wrong",
        "✓ right",
        "Held-out score",
        "50.0%",
        &format!("/data/a/image/{:064x}?side=320", 21),
    ] {
        assert!(page.text.contains(wanted), "{wanted}: {}", page.text);
    }
}
