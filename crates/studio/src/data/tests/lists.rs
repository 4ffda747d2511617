//! Lists: what is in them, in which order, and how they go on.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::runs::segment;

#[tokio::test]
async fn the_last_data_stages_samples_are_listed_with_counts_and_a_table_can_be_chosen() {
    let page = SHARED.page("/data/r").await;
    assert!(
        page.contains("<strong>31</strong> rows in <code>synth/samples</code>"),
        "{page}"
    );
    assert!(
        page.contains(">askimg</label><span class=\"n\">1</span>"),
        "{page}"
    );
    assert!(
        page.contains(">agreed</label><span class=\"n\">1</span>"),
        "{page}"
    );
    let page = SHARED.page("/data/r?table=import%2Fa%2Fsamples").await;
    assert!(page.contains("<strong>130</strong> rows"), "{page}");
    for table in [
        "select/samples",
        "synth/pairs",
        "import/a/rejects",
        "select/rejects",
    ] {
        assert!(
            page.contains(&format!("<option value=\"{table}\"")),
            "{table}"
        );
    }
    let page = SHARED.page("/data/r?table=select/rejects").await;
    assert!(
        page.contains("duplicate_question") && page.contains("/data/r/sample/a%3A7\""),
        "{page}"
    );
    assert!(!page.contains("/sample/a%2F2.png"), "{page}");
}

#[tokio::test]
async fn filters_leave_the_rows_that_have_one_of_the_values_of_each_column() {
    let table = "/data/r?table=import/a/samples";
    let cases: [(&str, usize); 9] = [
        ("&source=a", 33),
        ("&source=a&source=b", 130),
        ("&task=FQA&source=a", 7),
        ("&level=3", 43),
        ("&level=(none)", 43),
        ("&clarity=clear", 87),
        ("&q=NUMBER%2017%20OF", 1),
        ("&q=oak", 44),
        ("&nonsense=1", 130),
    ];
    for (filter, wanted) in cases {
        let page = SHARED.page(&format!("{table}{filter}")).await;
        let says = format!("<strong>{wanted}</strong>");
        assert!(
            page.contains(&says),
            "{filter}: {}",
            page.split("id=\"found\"").nth(1).unwrap()
        );
    }
    // The counts of a column are those that another choice in it would give.
    let page = SHARED.page(&format!("{table}&source=a")).await;
    assert!(
        page.contains(">b</label><span class=\"n\">97</span>"),
        "{page}"
    );
    let page = SHARED
        .page(&format!("{table}&source=nothing&q=zebra"))
        .await;
    assert!(page.contains("No row is like that"), "{page}");
    // A whole name finds its row, though names are not searched.
    let page = SHARED.page(&format!("{table}&q=a%3A17")).await;
    assert_eq!(names(&page), ["a:17"]);
}

#[tokio::test]
async fn orders_are_orders_of_the_same_rows() {
    let mut lists = BTreeMap::new();
    for (_, key, _) in crate::data::index::Order::ALL {
        let page = SHARED
            .page(&format!("/data/r/rows?table=select/samples&order={key}"))
            .await;
        lists.insert(key, names(&page));
    }
    let sorted = |key: &str| lists[key].iter().cloned().collect::<BTreeSet<_>>();
    for key in lists.keys() {
        assert_eq!(
            (lists[key].len(), sorted(key)),
            (30, sorted("table")),
            "{key}"
        );
    }
    // Of the three images the second is level 3, the first 0, the third has none.
    assert_eq!(
        (lists["hardest"][0].as_str(), lists["easiest"][0].as_str()),
        ("a:100", "a:102")
    );
    assert_ne!(lists["shuffled"], lists["table"]);
}

async fn walk(filter: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut address = format!("/data/r/rows?table=import/a/samples{filter}");
    loop {
        let fragment = SHARED.page(&address).await;
        assert!(!fragment.contains("<html"), "{fragment}");
        let rows = names(&fragment);
        assert!(rows.len() <= crate::data::browse::ROWS && (!rows.is_empty() || all.is_empty()));
        all.extend(rows);
        let Some(next) = fragment.split("data-rows=\"").nth(1) else {
            return all;
        };
        address = next.split('"').next().unwrap().replace("&amp;", "&");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn going_on_with_a_list_meets_every_row_once(
        sources in prop::collection::vec(prop_oneof!["a", "b", "c"], 0..3),
        tasks in prop::collection::vec(prop_oneof!["FQA", "GPS", "VQA"], 0..3),
        words in prop_oneof!["", "number 1", "oak", "cm"],
        order in 0..crate::data::index::Order::ALL.len(),
    ) {
        let mut filter = format!("&q={}&order={}", segment(&words), crate::data::index::Order::ALL[order].1);
        sources.iter().for_each(|s| filter.push_str(&format!("&source={s}")));
        tasks.iter().for_each(|t| filter.push_str(&format!("&task={t}")));
        let wanted: BTreeSet<String> = (0..130)
            .map(|n| sample(n, &ImageRef { path: String::new(), sha256: String::new(), width: 0, height: 0 }))
            .filter(|s| sources.is_empty() || sources.iter().any(|x| x == s.origin.source()))
            .filter(|s| tasks.is_empty() || tasks.iter().any(|x| x == s.task.name()))
            .filter(|s| {
                let unit = s.unit.clone().unwrap_or_default();
                let text = format!("{}\n{}\n{unit}\n{}", s.question, s.answer.text(), s.choices.join("\n"));
                text.to_lowercase().contains(&words)
            })
            .map(|s| s.id)
            .collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let met = runtime.block_on(walk(&filter));
        prop_assert_eq!(met.len(), wanted.len());
        prop_assert_eq!(met.into_iter().collect::<BTreeSet<_>>(), wanted);
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_what_cannot_be_meant_is_refused() {
    let digest = "0".repeat(64);
    let cases = [
        ("/data/nothing".to_owned(), 404),
        ("/data/..%2Fr".to_owned(), 404),
        ("/data/r?table=gone/samples".to_owned(), 404),
        ("/data/r?table=..%2F..%2Fetc%2Fpasswd".to_owned(), 404),
        ("/data/r/sample/a%3A9999".to_owned(), 404),
        ("/data/r/sample/..%2F..%2Fetc%2Fpasswd".to_owned(), 404),
        (format!("/data/r/image/{digest}"), 404),
        ("/data/r/image/..%2F..%2Fetc%2Fpasswd".to_owned(), 404),
        ("/data/r/image/abc".to_owned(), 404),
        ("/data/nothing/sql".to_owned(), 404),
        ("/data/nothing/rows".to_owned(), 404),
        ("/data/r?order=sideways".to_owned(), 400),
        ("/data/r/rows?after=00000000.50".to_owned(), 400),
        ("/data/r/rows?after=x".to_owned(), 400),
        (format!("/data/r?q={}", "x".repeat(501)), 400),
        ("/data/r/sql?q=select%201&format=exe".to_owned(), 400),
    ];
    for (address, wanted) in cases {
        let (status, text) = SHARED.text(&address).await;
        assert_eq!(status.as_u16(), wanted, "{address}: {text}");
    }
}

#[tokio::test]
async fn a_stage_that_is_begun_is_absent_and_one_that_is_written_again_is_seen() {
    let runs = Runs::new(run);
    assert!(
        runs.page("/data/r")
            .await
            .contains("<strong>31</strong> rows")
    );
    let next = runs.page("/data/r/rows?table=import/a/samples").await;
    let next = next
        .split("data-rows=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .replace("&amp;", "&");
    let synth = runs.run().join("synth");
    let stage = Stage::begin(
        &synth,
        StageKey::new("synth", 2, serde_json::Value::Null),
        true,
    )
    .unwrap();
    let page = runs.page("/data/r").await;
    assert!(
        page.contains("select/samples</code>") && !page.contains("synth/samples"),
        "{page}"
    );
    write_table(
        &synth.join(SAMPLES),
        &[sample(5, &image(&runs.run(), "0.png", &png(0)))],
    )
    .unwrap();
    let mut manifest = Manifest::new(stage.key().clone());
    manifest
        .image_roots
        .insert("a".into(), "../import/a/images".into());
    stage.finish(manifest, &[]).unwrap();
    assert!(
        runs.page("/data/r")
            .await
            .contains("<strong>1</strong> rows")
    );
    // A list that was loaded before does not go on in another one.
    let (status, text) = runs.text(&next).await;
    assert_eq!(
        (status, text.contains("load the list again")),
        (StatusCode::BAD_REQUEST, true),
        "{text}"
    );
    // The older list's place is only good for what it was made of; the new one goes on.
    let fresh = runs.page("/data/r/rows?table=import/a/samples").await;
    assert!(fresh.contains("data-rows="));
}

#[tokio::test]
async fn a_run_that_is_only_begun_says_so() {
    let runs = Runs::new(|run| {
        let import = run.join("import");
        std::fs::create_dir_all(&import).unwrap();
        let key = StageKey::new("import", 1, serde_json::Value::Null);
        let _ = Stage::begin(&import.join("a"), key, false).unwrap();
        write_table(
            &import.join("a").join(REJECTS),
            &[reject("row 1", "image_missing")],
        )
        .unwrap();
    });
    assert!(
        runs.page("/data/r")
            .await
            .contains("No stage of this run has finished")
    );
    assert_eq!(runs.text("/data/r/rows").await.0, StatusCode::NOT_FOUND);
    assert_eq!(runs.text("/data/r/sql").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_table_that_is_broken_is_a_fault_with_its_name() {
    let runs = Runs::new(run);
    let file = runs.run().join("select").join(SAMPLES);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    let (status, text) = runs.text("/data/r?table=select/samples").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("samples.parquet"), "{text}");
    // Others are still shown.
    runs.page("/data/r").await;
    // Mended, it is read again.
    std::fs::write(&file, bytes).unwrap();
    assert!(
        runs.page("/data/r?table=select/samples")
            .await
            .contains("<strong>30</strong>")
    );
}
