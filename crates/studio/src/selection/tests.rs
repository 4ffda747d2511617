//! The page of a selection as readers get it.

use axum::http::StatusCode;

use crate::made_run::{Made, data_stages, training};

#[tokio::test]
async fn plan_grades_and_pairs_are_shown_with_all_text_escaped() {
    let made = Made::new();
    data_stages(&made.run("a"), 2);
    let page = made.get("/selection/a").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.is_clean(), "{}", page.text);
    for wanted in [
        "class=\"ribbon kept",
        "12 available, 10 asked for, 10 taken",
        "not clear",
        "level 3",
        "Questions held out",
        "2 verified pairs",
        "3 bits of their perceptual hashes",
        "/data/a/image/0000000000000000000000000000000000000000000000000000000000000001?side=320",
        "same bytes",
        "listed only",
        "/selection/a/decontamination",
    ] {
        assert!(page.text.contains(wanted), "{wanted}: {}", page.text);
    }
    let report = made.get("/selection/a/decontamination").await;
    assert_eq!(
        (report.status, report.text.as_str()),
        (StatusCode::OK, "<p>pairs</p>")
    );
}

#[tokio::test]
async fn pairs_come_in_pages_and_pages_beyond_the_last_are_the_last() {
    let made = Made::new();
    data_stages(&made.run("a"), 30);
    let first = made.get("/selection/a").await.text;
    assert!(
        first.contains("page 1 of 3")
            && first.contains("?near=2&amp;images=1&amp;questions=1#near"),
        "{first}"
    );
    let last = made.get("/selection/a?near=3").await.text;
    assert!(
        last.contains("page 3 of 3") && last.contains("figures/30.png"),
        "{last}"
    );
    let beyond = made
        .get("/selection/a?near=18446744073709551615")
        .await
        .text;
    assert!(beyond.contains("page 3 of 3"));
    let zero = made.get("/selection/a?near=0").await.text;
    assert!(zero.contains("page 1 of 3"));
    for refused in ["near=-1", "near=x", "images=1e9"] {
        let answer = made.get(&format!("/selection/a?{refused}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{refused}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let made = Made::new();
    training(&made.run("a"), 2, true);
    let page = made.get("/selection/a").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text.contains("Nothing is selected") && page.text.contains("were not inspected"));
    for nowhere in [
        "/selection/none",
        "/selection/a/decontamination",
        "/selection/none/decontamination",
    ] {
        assert_eq!(
            made.get(nowhere).await.status,
            StatusCode::NOT_FOUND,
            "{nowhere}"
        );
    }
}

#[tokio::test]
async fn a_table_that_is_none_is_an_error_with_its_name() {
    let made = Made::new();
    data_stages(&made.run("a"), 1);
    std::fs::write(made.run("a/inspect/near.parquet"), "PAR1 no").unwrap();
    let page = made.get("/selection/a").await;
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(page.text.contains("near.parquet"), "{}", page.text);
}
