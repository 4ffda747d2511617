//! Queries: what is answered, and what is not.

use super::*;
use crate::runs::segment;

#[tokio::test]
async fn sql_is_answered_on_the_page_and_as_files() {
    let page = SHARED.page("/data/r/sql").await;
    for words in [
        "<code>select_samples</code>",
        "question",
        "Questions by source and task",
        "made pairs",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let ask = |sql: &str| format!("/data/r/sql?q={}", segment(sql));
    let page = SHARED
        .page(&ask("select count(*) as n from import_samples"))
        .await;
    assert!(
        page.contains("<th scope=\"col\">n</th>") && page.contains("<td>130</td>"),
        "{page}"
    );
    let page = SHARED
        .page(&ask("select id from samples order by id"))
        .await;
    assert!(page.contains("href=\"/data/r/sample/a%3A100\""), "{page}");
    let many = "select a.id from import_samples a, import_samples b";
    let page = SHARED.page(&ask(many)).await;
    assert!(page.contains("200 rows of more"), "{page}");
    assert_eq!(page.matches("<tr>").count(), 201);
    let (status, csv) = SHARED.text(&format!("{}&format=csv", ask(many))).await;
    assert_eq!(
        (status, csv.lines().count()),
        (StatusCode::OK, 130 * 130 + 1)
    );
    let (_, json) = SHARED
        .text(&format!(
            "{}&format=json",
            ask("select id from samples where id = 'a:101'")
        ))
        .await;
    assert_eq!(json, "{\"id\":\"a:101\"}\n");
}

#[tokio::test]
async fn sql_that_writes_reads_files_or_takes_too_much_is_refused() {
    let run = SHARED.run();
    let file = run.join("select/samples.parquet").display().to_string();
    let out = SHARED
        .folder
        .path()
        .join("written.csv")
        .display()
        .to_string();
    let statements = [
        format!("copy samples to '{out}'"),
        format!("copy (select 1) to '{out}' stored as csv"),
        format!("create external table t stored as parquet location '{file}'"),
        "create table t as select 1".to_owned(),
        "create view v as select 1".to_owned(),
        "insert into samples select * from samples".to_owned(),
        "delete from samples".to_owned(),
        "update samples set id = 'x'".to_owned(),
        "drop table samples".to_owned(),
        "truncate table samples".to_owned(),
        "set datafusion.execution.batch_size = 1".to_owned(),
        "reset datafusion.execution.batch_size".to_owned(),
        format!("explain analyze copy samples to '{out}'"),
        "select 1; drop table samples".to_owned(),
        format!("select * from '{file}'"),
        "select * from '/etc/passwd'".to_owned(),
        format!("select * from read_parquet('{file}')"),
        format!("select * from read_csv('{file}')"),
        "select * from read_json('/etc/passwd')".to_owned(),
        format!("select * from parquet_metadata('{file}')"),
        "select * from generate_series(1, 1000000000000)".to_owned(),
        "select * from range(1, 1000000000000)".to_owned(),
        "select repeat('x', 1000000000)".to_owned(),
        "select lpad('x', 1000000000)".to_owned(),
        "select array_repeat(1, 1000000000)".to_owned(),
        "select * from nothing".to_owned(),
        "not a query".to_owned(),
        format!("select '{}'", "x".repeat(10_000)),
    ];
    for sql in statements {
        let (status, text) = SHARED
            .text(&format!("/data/r/sql?q={}", segment(&sql)))
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{sql}: {text}");
    }
    assert!(!SHARED.folder.path().join("written.csv").exists());
    // What is longer than a page may be is refused and not held.
    let wide = "select string_agg(a.question || b.question, ' ') from import_samples a, import_samples b, \
                (select 1 from samples limit 3) c";
    let (status, text) = SHARED
        .text(&format!("/data/r/sql?q={}", segment(wide)))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("longer than 1 MiB"), "{text}");
    assert!(
        SHARED
            .page("/data/r/sql?q=select+count(*)+from+samples")
            .await
            .contains("<td>31</td>")
    );
}
