//! What may be asked of a run, and what may not.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sample::{Manifest, Stage, StageKey, progress};

use super::*;
use crate::tests::{FilesOnly, Found, import, inputs, plain};
use crate::{Error, SelectConfig, select};

/// A run with two imports, an inspection and a selection of ten images.
fn run(dir: &Path) -> PathBuf {
    progress::set_quiet(true);
    let imports = [
        import(dir, "a", &plain(0..8)),
        import(dir, "b-2", &plain(8..20)),
    ];
    let config = SelectConfig {
        total: 10,
        ..SelectConfig::default()
    };
    let inputs = inputs(dir, &imports, &Found::default());
    select(&config, 7, &inputs, &dir.join("select"), false).unwrap();
    dir.to_owned()
}

fn resources() -> Resources {
    Resources {
        memory: 64 << 20,
        threads: 2,
        batch_rows: 4,
        remote: None,
    }
}

fn open(run: &Path) -> Tables {
    Tables::open(run, &resources()).unwrap()
}

fn ask_as(tables: &Tables, sql: &str, format: Format, limit: Option<usize>) -> (String, Answer) {
    let mut out = Vec::new();
    let answer = tables.query(sql, format, limit, &mut out).unwrap();
    (String::from_utf8(out).unwrap(), answer)
}

fn ask(tables: &Tables, sql: &str) -> String {
    ask_as(tables, sql, Format::Csv, None).0
}

fn refusal(tables: &Tables, sql: &str) -> String {
    let mut out = Vec::new();
    let error = tables.query(sql, Format::Csv, None, &mut out).unwrap_err();
    assert!(out.is_empty(), "{sql} wrote something");
    error.to_string()
}

#[test]
fn every_stage_has_its_tables_and_a_plain_name_is_the_furthest_stages() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(&run(dir.path()));
    let counts = [
        ("images", 10),
        ("select_images", 10),
        ("import_images", 20),
        ("import_a_images", 8),
        ("import_b_2_images", 12),
        ("import_samples", 40),
        ("import_b_2_samples", 24),
        ("samples", 20),
        ("fingerprints", 20),
        ("inspect_fingerprints", 20),
        ("inspect_near", 0),
        ("rejects", 0),
    ];
    for (table, rows) in counts {
        assert_eq!(
            ask(&tables, &format!("select count(*) as n from {table}")),
            format!("n\n{rows}\n")
        );
        let entry = tables.entries().iter().find(|e| e.name == table).unwrap();
        assert_eq!(entry.rows, rows, "{table}");
    }
    let by_level =
        "select source, complexity, count(*) as n from images group by 1, 2 order by 1, 2";
    assert!(ask(&tables, by_level).starts_with("source,complexity,n\na,0,"));
    let joined = "select count(*) as n from samples s join import_samples i using (id)";
    assert_eq!(ask(&tables, joined), "n\n20\n");
    assert_eq!(ask(&tables, "select sum(taken) as n from plan"), "n\n10\n");
    let entry = tables.entries().iter().find(|e| e.name == "plan").unwrap();
    assert_eq!(entry.columns[0], ("level".into(), "UInt8".into()));
    assert_eq!(entry.files, [Path::new("select/plan.parquet")]);
}

#[test]
fn a_stages_own_folder_is_enough() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(&run(dir.path()).join("select"));
    assert_eq!(ask(&tables, "select count(*) as n from images"), "n\n10\n");
}

#[test]
fn nothing_but_a_query_of_the_runs_tables_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let tables = open(&run);
    let file = run.join("select/images.parquet");
    let file = file.display();
    let out = dir.path().join("written.csv");
    let out = out.display();
    let statements = [
        "create table t as select 1".to_owned(),
        "create view v as select * from images".to_owned(),
        format!("create external table t stored as parquet location '{file}'"),
        "drop table images".to_owned(),
        "insert into images select * from images".to_owned(),
        "delete from images".to_owned(),
        "update images set complexity = 1".to_owned(),
        format!("copy images to '{out}'"),
        format!("explain analyze copy images to '{out}'"),
        "set datafusion.runtime.memory_limit = '64G'".to_owned(),
        "prepare p as select 1".to_owned(),
        "create function f() returns int return 1".to_owned(),
    ];
    for sql in statements {
        let said = refusal(&tables, &sql);
        assert!(
            said.contains("not changed") || said.contains("not supported"),
            "{sql}: {said}"
        );
    }
    for name in [
        format!("'{file}'"),
        "'/etc/passwd'".to_owned(),
        "'file:///etc/passwd'".to_owned(),
    ] {
        let said = refusal(&tables, &format!("select * from {name}"));
        assert!(said.contains("there is no table"), "{name}: {said}");
    }
    assert!(!dir.path().join("written.csv").exists());
    // The tables are as they were.
    assert_eq!(ask(&tables, "select count(*) as n from images"), "n\n10\n");
}

#[test]
fn mistakes_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    std::fs::create_dir(run.join("synth")).unwrap();
    std::fs::copy(
        run.join("select/samples.parquet"),
        run.join("synth/samples.parquet"),
    )
    .unwrap();
    let tables = open(&run);
    assert_eq!(tables.unfinished(), ["synth"]);
    let said = refusal(&tables, "select * from import_sample");
    let words = [
        "no table \"import_sample\"",
        "mean \"import_samples\"",
        "select_images",
        "synth",
    ];
    assert!(words.iter().all(|w| said.contains(w)), "{said}");
    let said = refusal(&tables, "select colour from images");
    assert!(
        said.contains("colour") && said.contains("complexity"),
        "{said}"
    );
    let said = refusal(&tables, "selct 1");
    assert!(said.contains("selct"), "{said}");
    let said = refusal(&tables, "select 1; select 2");
    assert!(
        said.contains("one query") || said.contains("statement"),
        "{said}"
    );
    let said = refusal(&tables, "");
    assert!(!said.is_empty());
}

#[test]
fn folders_without_tables_and_broken_tables_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let message = |path: &Path| match Tables::open(path, &resources()) {
        Ok(_) => panic!("{} was opened", path.display()),
        Err(e) => e.to_string(),
    };
    assert!(message(dir.path()).contains("no table of a finished stage"));
    assert!(message(&dir.path().join("gone")).contains("gone"));
    let select = dir.path().join("select");
    let stage = Stage::begin(&select, StageKey::new("select", 0, "".into()), true).unwrap();
    std::fs::write(select.join("images.parquet"), b"no table").unwrap();
    assert!(message(dir.path()).contains("not finished: select"));
    let manifest = Manifest::new(stage.key().clone());
    stage.finish(manifest, &[]).unwrap();
    let said = message(dir.path());
    assert!(
        said.contains("images.parquet: not a readable Parquet table"),
        "{said}"
    );
}

#[test]
fn rows_come_as_a_table_as_json_and_as_csv() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(&run(dir.path()));
    let sql = "select id, choices, unit, 'a\nb\u{1b}[31m' as odd from import_a_samples order by id";
    let (text, answer) = ask_as(&tables, sql, Format::Table, Some(2));
    assert_eq!((answer.rows, answer.more), (2, true));
    assert!(
        text.contains("| a:000.png/0 | []      |      | a b [31m |"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 6);
    let (text, answer) = ask_as(&tables, sql, Format::Json, Some(16));
    assert_eq!(
        (answer.rows, answer.more, text.lines().count()),
        (16, false, 16)
    );
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(
        (first["id"].as_str(), &first["choices"]),
        (Some("a:000.png/0"), &serde_json::json!([]))
    );
    let (text, _) = ask_as(
        &tables,
        "select id, choices from import_a_samples order by 1",
        Format::Csv,
        Some(1),
    );
    assert_eq!(text, "id,choices\na:000.png/0,[]\n");
    // Columns are named where there is no row.
    let none = "select id, choices from samples where false";
    assert_eq!(ask_as(&tables, none, Format::Csv, None).0, "id,choices\n");
    assert_eq!(ask_as(&tables, none, Format::Json, None).0, "");
    assert!(
        ask_as(&tables, none, Format::Table, None)
            .0
            .contains("| id | choices |")
    );
}

#[test]
fn a_query_that_needs_too_much_memory_is_refused_and_not_run_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let resources = Resources {
        memory: 1 << 14,
        ..resources()
    };
    let tables = Tables::open(&run, &resources).unwrap();
    let sql =
        "select a.image, count(distinct b.id) from import_images a, import_samples b group by 1";
    let mut out = Vec::new();
    match tables.query(sql, Format::Csv, None, &mut out).unwrap_err() {
        Error::Plan { source, .. } => assert!(source.to_string().contains("memory"), "{source}"),
        other => panic!("{other}"),
    }
}

#[test]
fn queries_that_run_elsewhere_are_answered_the_same_and_see_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path());
    let resources = Resources {
        remote: Some(Arc::new(FilesOnly::default())),
        ..resources()
    };
    let (here, there) = (open(&run), Tables::open(&run, &resources).unwrap());
    assert_eq!(here.entries(), there.entries());
    for sql in [
        "select source, count(*) from import_images group by 1 order by 1",
        "select i.image, s.id, s.choices from images i join samples s on i.image = s.image order by s.id",
        "select seeded_rank(7, 'select', image_sha256) as rank from images order by 1",
        "select * from near",
    ] {
        assert_eq!(ask(&here, sql), ask(&there, sql), "{sql}");
    }
    let private = dir.path().join("private.csv");
    std::fs::write(&private, "a\n1\n").unwrap();
    for sql in [
        format!("select * from '{}'", private.display()),
        "select * from samples_files".to_owned(),
        "create table t as select 1".to_owned(),
    ] {
        refusal(&there, &sql);
    }
    let said = refusal(&there, "select * from information_schema.tables");
    assert!(said.contains("without the cluster"), "{said}");
    assert!(ask(&here, "select count(*) from information_schema.tables").contains('\n'));
}

#[test]
fn a_query_that_takes_too_long_is_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(&run(dir.path()));
    let forever = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 1000000000) \
        select count(*) from n";
    let mut out = Vec::new();
    let until = Instant::now() + std::time::Duration::from_millis(50);
    let stopped = tables.query_until(forever, Format::Csv, None, Some(until), &mut out);
    let said = stopped.unwrap_err().to_string();
    assert!(said.contains("took longer"), "{said}");
    // The next one is answered.
    assert_eq!(ask(&tables, "select count(*) as n from images"), "n\n10\n");
}

#[test]
fn functions_that_are_taken_away_are_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(&run(dir.path()));
    assert_eq!(ask(&tables, "select repeat('ab', 2) as x"), "x\nabab\n");
    tables.forget(&["repeat", "no such function"]);
    assert!(refusal(&tables, "select repeat('ab', 2) as x").contains("repeat"));
}

#[test]
fn words_are_as_far_apart_as_the_edits_between_them() {
    let cases = [
        ("", "", 0),
        ("a", "", 1),
        ("image", "images", 1),
        ("kitten", "sitting", 3),
    ];
    for (a, b, far) in cases {
        assert_eq!((edits(a, b), edits(b, a)), (far, far));
    }
}
