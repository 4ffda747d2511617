//! The pages of an evaluation as readers get them.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::made_run::{HOSTILE, Made, benchmark, sample_of, stage, table, training};

/// A held-out evaluation: question `n` is right where `right` holds.
fn held_out(made: &Made, run: &str, right: impl Fn(usize) -> bool) {
    let accuracy = |correct: u64| json!({"correct": correct, "total": 6, "value": correct as f64 / 6.0, "low": 0.1, "high": 0.9});
    let correct = (0..6).filter(|n| right(*n)).count() as u64;
    let difference = json!({"items": 6, "images": 6, "value": 0.1, "interval": [-0.1, 0.3], "verdict": "unclear"});
    let group = json!({"name": HOSTILE, "model": accuracy(correct), "swapped": accuracy(1), "blind": accuracy(2),
        "over_swapped": difference, "over_blind": difference});
    let results = json!({
        "benchmark": "heldout", "benchmark_version": 1, "model": HOSTILE, "extraction": "exact", "readings": {},
        "blind_grounds": {"template": 1, "source": 0, "task": 0, "none": 0},
        "separation": {"items": 6, "images": 6, "training_items": 9, "training_images": 9},
        "overall": group, "tasks": [group], "sources": [], "families": [], "templates": [], "answer_kinds": [],
    });
    let folder = made.run(run).join("eval");
    stage(&folder, "eval", &[("items", 6)], results, |folder| {
        table(folder, sample::SAMPLES, (0..6).map(sample_of));
        let mut text = String::new();
        for n in 0..6 {
            for condition in ["model", "swapped", "blind"] {
                text.push_str(&format!("{}\n", json!({
                    "id": sample_of(n).id, "condition": condition, "shown": null, "shown_sha256": null,
                    "response": format!("{condition} said {HOSTILE}"), "reading": "parsed", "truncated": false,
                    "extraction": "3", "expected": n.to_string(), "correct": condition == "model" && right(n),
                })));
            }
        }
        std::fs::write(folder.join("scores.jsonl"), text).unwrap();
    });
}

#[tokio::test]
async fn scores_stand_beside_published_ones_with_ways_to_the_questions() {
    let made = Made::new();
    held_out(&made, "a", |n| n < 3);
    benchmark(&made.run("a"), "llava", 8, |n| n % 2 == 0);
    benchmark(&made.run("a"), "other", 8, |n| n % 4 == 0);
    let page = made.get("/evaluation/a").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.is_clean(), "{}", page.text);
    for wanted in [
        "three ways",
        "mathvista testmini",
        "Closed models",
        "/evaluation/a/items?of=eval&amp;kind=wrong",
        "/evaluation/a/items?of=benchmarks%2Fmathvista.testmini%2Fllava&amp;kind=right",
        "a:benchmarks/mathvista.testmini/other",
    ] {
        assert!(page.text.contains(wanted), "{wanted}: {}", page.text);
    }
}

#[tokio::test]
async fn questions_come_by_kind_of_error_in_pages() {
    let made = Made::new();
    benchmark(&made.run("a"), "llava", 60, |n| n % 2 == 0);
    let of = "of=benchmarks%2Fmathvista.testmini%2Fllava";
    let wrong = made
        .get(&format!("/evaluation/a/items?{of}&kind=wrong&page=2"))
        .await;
    assert_eq!(wrong.status, StatusCode::OK);
    assert!(
        wrong.is_clean() && wrong.text.contains("page 2 of 2"),
        "{}",
        wrong.text
    );
    assert!(wrong.text.contains("question 59 ") && !wrong.text.contains("question 58 "));
    assert!(wrong.text.contains("picture?of="), "{}", wrong.text);
    let all = made.get(&format!("/evaluation/a/items?{of}")).await.text;
    assert!(all.contains("page 1 of 3"), "{all}");
    held_out(&made, "b", |n| n == 2);
    let three = made.get("/evaluation/b/items?of=eval&kind=right").await;
    assert!(three.is_clean(), "{}", three.text);
    for wanted in [
        "swapped said",
        "blind said",
        &format!("/data/b/image/{:064x}?side=320", 2),
    ] {
        assert!(three.text.contains(wanted), "{wanted}: {}", three.text);
    }
}

#[tokio::test]
async fn flips_are_those_between_the_runs_that_were_chosen() {
    let made = Made::new();
    held_out(&made, "a", |n| n < 3);
    held_out(&made, "b", |n| n > 0);
    let page = made.get("/evaluation/a/flips?of=eval&with=b%3Aeval").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.is_clean(), "{}", page.text);
    for wanted in [
        "1 became right and 3 wrong",
        "McNemar",
        "right now (1)",
        "wrong now (3)",
    ] {
        assert!(page.text.contains(wanted), "{wanted}: {}", page.text);
    }
    let lost = made
        .get("/evaluation/a/flips?of=eval&with=b%3Aeval&way=lost")
        .await
        .text;
    assert_eq!(lost.matches("<article").count(), 3);
    benchmark(&made.run("a"), "llava", 3, |_| true);
    for (with, status) in [
        ("none%3Aeval", StatusCode::NOT_FOUND),
        ("b%3Atrain", StatusCode::NOT_FOUND),
        ("beval", StatusCode::BAD_REQUEST),
        (
            "a%3Abenchmarks%2Fmathvista.testmini%2Fllava",
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let answer = made
            .get(&format!("/evaluation/a/flips?of=eval&with={with}"))
            .await;
        assert_eq!(answer.status, status, "{with}");
    }
}

#[tokio::test]
async fn pictures_of_the_run_are_shown_and_paths_out_of_it_are_not() {
    let made = Made::new();
    benchmark(&made.run("a"), "llava", 3, |_| true);
    let picture = |query: &str| {
        format!("/evaluation/a/picture?of=benchmarks%2Fmathvista.testmini%2Fllava&{query}")
    };
    assert_eq!(made.get(&picture("id=q1&n=0")).await.status, StatusCode::OK);
    for query in ["id=q1&n=1", "id=q1&n=2", "id=q9&n=0", "id=..%2Fq1"] {
        let answer = made.get(&picture(query)).await;
        assert_eq!(
            answer.status,
            StatusCode::NOT_FOUND,
            "{query}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn what_is_not_there_or_broken_is_said() {
    let made = Made::new();
    training(&made.run("a"), 2, true);
    let page = made.get("/evaluation/a").await;
    assert!(page.text.contains("Nothing is evaluated"), "{}", page.text);
    held_out(&made, "b", |_| true);
    for (address, status) in [
        ("/evaluation/none", StatusCode::NOT_FOUND),
        ("/evaluation/a/items?of=eval", StatusCode::NOT_FOUND),
        (
            "/evaluation/a/items?of=..%2Fb%2Feval",
            StatusCode::NOT_FOUND,
        ),
        ("/evaluation/a/items", StatusCode::BAD_REQUEST),
        (
            "/evaluation/b/items?of=eval&kind=odd",
            StatusCode::BAD_REQUEST,
        ),
        (
            "/evaluation/b/items?of=eval&page=x",
            StatusCode::BAD_REQUEST,
        ),
    ] {
        let answer = made.get(address).await;
        assert_eq!(answer.status, status, "{address}: {}", answer.text);
    }
    // A line that is being written, and one that is none.
    for broken in ["{\"id\":\"", "null", "{}"] {
        std::fs::write(made.run("b/eval/scores.jsonl"), broken).unwrap();
        let page = made.get("/evaluation/b/items?of=eval").await;
        assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR, "{broken}");
        assert!(page.text.contains("line 1"), "{}", page.text);
        let scores = made.get("/evaluation/b").await;
        assert_eq!(
            scores.status,
            StatusCode::OK,
            "the scores are in the manifest"
        );
    }
    let odd = made.run("c/eval");
    stage(&odd, "eval", &[], Value::Null, |_| ());
    let page = made.get("/evaluation/c").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.text.contains("not of an evaluation of this version"),
        "{}",
        page.text
    );
}
