//! The pages of runs as readers get them.

use axum::http::StatusCode;

use crate::made_run::{HOSTILE, Made, benchmark, data_stages, stage, training};

#[tokio::test]
async fn the_list_has_every_run_with_its_stages_samples_and_score_and_filters() {
    let made = Made::new();
    data_stages(&made.run("first"), 1);
    training(&made.run("second"), 5, true);
    benchmark(&made.run("second"), "llava", 4, |n| n == 0);
    let all = made.get("/runs").await;
    assert_eq!(all.status, StatusCode::OK);
    assert!(all.is_clean(), "{}", all.text);
    for wanted in [
        "2 of 2 runs",
        "import, inspect, select",
        ">20<",
        "25.0%",
        "mathvista testmini",
    ] {
        assert!(all.text.contains(wanted), "{wanted}: {}", all.text);
    }
    let some = made.get("/runs?q=MATHVISTA%20second").await.text;
    assert!(
        some.contains("1 of 2 runs") && !some.contains("/runs/first"),
        "{some}"
    );
    let none = Made::new().get("/runs").await;
    assert!(none.text.contains("There is no run"), "{}", none.text);
}

#[tokio::test]
async fn a_run_shows_its_stages_counts_and_reasons_with_all_text_escaped() {
    let made = Made::new();
    data_stages(&made.run("a/b"), 0);
    training(&made.run("a/b"), 5, true);
    let page = made.get("/runs/a%2Fb").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.is_clean(), "{}", page.text);
    for wanted in [
        "/runs/a%2Fb/stage/import/figures",
        "34",
        "loss 3.000 to 0.500",
        "rows of the sources",
        "image &lt;script&gt;",
    ] {
        assert!(page.text.contains(wanted), "{wanted}: {}", page.text);
    }
    assert!(!page.text.contains("not finished"), "{}", page.text);
}

#[tokio::test]
async fn a_stage_shows_its_manifest_and_only_stages_of_the_run_are_found() {
    let made = Made::new();
    data_stages(&made.run("a"), 0);
    let page = made.get("/runs/a/stage/import/figures").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(
        page.is_clean() && page.text.contains("&lt;script&gt;"),
        "{}",
        page.text
    );
    assert!(page.text.contains("00ff"), "its inputs: {}", page.text);
    let raw = made.get("/runs/a/manifest/import/figures").await.json();
    assert_eq!(raw["config"]["note"], HOSTILE);
    for nowhere in [
        "/runs/none",
        "/runs/none/live",
        "/runs/a/stage/train",
        "/runs/a/stage/../../a/import/figures",
        "/runs/a/manifest/import",
        "/runs/..%2Fa/manifest/select",
        "/runs/%2Fetc",
    ] {
        let answer = made.get(nowhere).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{nowhere}");
    }
}

#[tokio::test]
async fn what_is_begun_is_shown_with_what_it_writes_and_changes_the_state_when_it_ends() {
    let made = Made::new();
    let run = made.run("a");
    data_stages(&run, 0);
    training(&run, 3, false);
    std::fs::create_dir_all(run.join("import/next")).unwrap();
    std::fs::write(run.join("import/next/samples.parquet.tmp"), "x").unwrap();
    let page = made.get("/runs/a").await.text;
    assert!(page.contains("not finished"), "{page}");
    let live = made.get("/runs/a/live").await.json();
    let lines = live["lines"].to_string();
    assert!(
        lines.contains("step 2, loss 1.0000, 50 tokens/s"),
        "{lines}"
    );
    assert!(
        lines.contains("import/next") && lines.contains("samples.parquet.tmp 1 B"),
        "{lines}"
    );
    assert_eq!(live["again"], 2);
    let same = made.get("/runs/a/live").await.json();
    assert_eq!(same["state"], live["state"]);
    training(&run, 3, true);
    let then = made.get("/runs/a/live").await.json();
    assert_ne!(then["state"], live["state"]);
}

#[tokio::test]
async fn broken_manifests_are_said_and_break_nothing_else() {
    let made = Made::new();
    let run = made.run("a");
    data_stages(&run, 0);
    let deep = "[".repeat(100_000);
    for (name, text) in [
        ("train", "{\"stage\": \"train\""),
        ("synth", ""),
        ("eval", "[]"),
        ("grade", &deep),
    ] {
        std::fs::create_dir_all(run.join(name)).unwrap();
        std::fs::write(run.join(name).join("manifest.json"), text).unwrap();
    }
    for address in [
        "/runs",
        "/runs/a",
        "/runs/a/live",
        "/runs/a/stage/train",
        "/selection/a",
        "/evaluation/a",
    ] {
        let page = made.get(address).await;
        assert_eq!(page.status, StatusCode::OK, "{address}: {}", page.text);
    }
    let page = made.get("/runs/a").await.text;
    assert!(
        page.contains("manifest unreadable") && page.contains("manifest.json"),
        "{page}"
    );
}

#[tokio::test]
async fn results_of_other_shapes_than_ours_are_left_out() {
    let made = Made::new();
    for (n, results) in [
        serde_json::json!(null),
        serde_json::json!([1, 2]),
        serde_json::json!({"overall": 3, "yields": [], "plan": "x", "rejects_by_reason": [1]}),
        serde_json::json!({"overall": {"model": {"value": "x", "total": -1}}, "yields": {"a": 3}}),
    ]
    .into_iter()
    .enumerate()
    {
        let run = made.run(&format!("run{n}"));
        for verb in [
            "import",
            "inspect",
            "grade",
            "select",
            "synth",
            "train",
            "eval",
            "benchmark",
        ] {
            stage(
                &run.join(verb),
                verb,
                &[("samples", u64::MAX), ("rejects", u64::MAX)],
                results.clone(),
                |_| (),
            );
        }
        let page = made.get(&format!("/runs/run{n}")).await;
        assert_eq!(
            (page.status, page.is_clean()),
            (StatusCode::OK, true),
            "{}",
            page.text
        );
    }
    assert_eq!(made.get("/runs").await.status, StatusCode::OK);
}
