//! The studio's pages beside the API: names that lead out of the runs, texts that are scripts, queries that
//! write.

use std::fs;
use std::path::Path;

use sample::{
    Answer, IMAGES, ImageRef, ImageRow, Manifest, Origin, SAMPLES, Sample, Stage, StageKey, Task,
    sha256_hex, write_table,
};

use super::process::{Server, picture};

const SECRET: &str = "the-secret-beside-the-runs";
const SCRIPT: &str = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&";

/// A folder of runs with one run, whose samples speak HTML wherever they can, and a secret beside it.
fn runs(folder: &Path) {
    let root = folder.join("images");
    fs::create_dir_all(&root).unwrap();
    fs::write(root.join("a.png"), picture()).unwrap();
    fs::write(folder.join("secret.txt"), SECRET).unwrap();
    let image = ImageRef {
        path: "evil/a.png".into(),
        sha256: sha256_hex(&picture()),
        width: 0,
        height: 0,
    };
    let (width, height) = sample::pixels::size(&picture()).unwrap();
    let image = ImageRef {
        width,
        height,
        ..image
    };
    let sample = Sample {
        id: "evil:1".into(),
        image: image.clone(),
        question: format!("{SCRIPT} How many?"),
        choices: vec![SCRIPT.into(), "two".into()],
        answer: Answer::Text(SCRIPT.into()),
        unit: Some(SCRIPT.into()),
        rationale: Some(SCRIPT.into()),
        task: Task::Gps,
        language: "en".into(),
        origin: Origin::Synth {
            source: "evil".into(),
            augmentation: "askimg".into(),
            parent: SCRIPT.into(),
            teacher: SCRIPT.into(),
            prompt_digest: "ab".into(),
        },
        template: None,
    };
    let row = ImageRow {
        image,
        source: "evil".into(),
        family: Some(SCRIPT.into()),
        clarity: None,
        clarity_score: None,
        complexity: None,
        complexity_score: None,
        scene: None,
    };
    let key = StageKey::new("import", 0, serde_json::Value::Null);
    let stage = Stage::begin(&folder.join("runs/evil/import/evil"), key.clone(), false).unwrap();
    write_table(&stage.path(SAMPLES), &[sample]).unwrap();
    write_table(&stage.path(IMAGES), &[row]).unwrap();
    let mut manifest = Manifest::new(key);
    manifest.image_roots = [("evil".to_owned(), root)].into();
    stage.finish(manifest, &[SAMPLES, IMAGES]).unwrap();
    std::os::unix::fs::symlink(folder, folder.join("runs/evil/import/out")).unwrap();
}

#[test]
fn no_address_of_a_page_leads_out_of_the_runs_and_no_text_becomes_a_script() {
    let folder = tempfile::tempdir().unwrap();
    runs(folder.path());
    let runs = folder.path().join("runs");
    let server = Server::start(&["--runs", runs.to_str().unwrap()]);

    let out = [
        "..",
        "../..",
        "..%2f..",
        "%2e%2e",
        "%2e%2e%2f%2e%2e",
        "..%5c..",
        "....//",
        "%252e%252e%252f",
        "%00",
        "evil%00",
        "evil/../..",
        "evil%2f..%2f..",
        "import/out",
        "evil%2Fimport%2Fout",
        "/etc",
        "%2fetc",
        "~",
        ".",
        "",
    ];
    let below = ["secret.txt", "etc/passwd", "import/out/secret.txt"];
    let places = [
        "/assets/",
        "/runs/",
        "/data/",
        "/selection/",
        "/evaluation/",
        "/data/evil/image/",
        "/data/evil/sample/",
    ];
    for place in places {
        for step in out {
            for file in below {
                for path in [
                    format!("{place}{step}/{file}"),
                    format!("{place}{step}%2f{file}"),
                    format!("{place}{step}"),
                ] {
                    let answer = server.get(&path);
                    let text = answer.text();
                    assert!(answer.status < 500, "{path}: {} {text}", answer.status);
                    assert!(
                        !text.contains(SECRET) && !text.contains("root:x:"),
                        "{path}: {text}"
                    );
                }
            }
        }
    }
    for path in [
        "/assets/../../secret.txt",
        "/data/evil/../../secret.txt",
        "/../secret.txt",
        "//etc/passwd",
    ] {
        let answer = server.get(path);
        assert!(
            (300..500).contains(&answer.status),
            "{path}: {}",
            answer.status
        );
        assert!(!answer.text().contains(SECRET));
    }

    let question = "/data/evil?q=%3Cscript%3Ealert(1)%3C/script%3E";
    let pages = [
        "/runs",
        "/runs/evil",
        "/data/evil",
        "/data/evil/rows",
        "/data/evil/sample/evil%3A1",
        question,
    ];
    let mut shown = 0;
    for path in pages {
        let answer = server.get(path);
        let text = answer.text();
        assert_eq!(answer.status, 200, "{path}: {text}");
        let kind = answer.header("content-type").unwrap();
        assert_eq!(
            answer.header("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        if kind.starts_with("text/html") {
            assert!(
                !text.contains("<script>alert") && !text.contains("<img src=x"),
                "{path}: {text}"
            );
            shown += usize::from(text.contains("&lt;script&gt;alert"));
            let policy = answer.header("content-security-policy").unwrap();
            assert!(
                policy.contains("script-src 'self'") && policy.contains("default-src 'none'"),
                "{policy}"
            );
        }
    }
    assert!(shown >= 2, "the text is on no page: the test sees nothing");
    let image = server.get(&format!("/data/evil/image/{}", sha256_hex(&picture())));
    assert_eq!(image.status, 200, "{}", image.text());
}

#[test]
fn queries_read_the_tables_of_their_run_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    runs(folder.path());
    let runs = folder.path().join("runs");
    let server = Server::start(&["--runs", runs.to_str().unwrap()]);
    let query = |sql: &str| {
        let encoded: String = sql.bytes().map(|byte| format!("%{byte:02x}")).collect();
        server.get(&format!("/data/evil/sql?format=json&q={encoded}"))
    };
    let count = query("select count(*) as n from samples");
    assert_eq!(count.status, 200, "{}", count.text());
    assert!(count.text().contains('1'), "{}", count.text());
    let secret = folder.path().join("secret.txt").display().to_string();
    let written = folder.path().join("written.csv").display().to_string();
    for sql in [
        format!("copy samples to '{written}'"),
        format!("copy (select 1) to '{written}' stored as csv"),
        format!("create external table t stored as csv location '{secret}'"),
        format!("select * from '{secret}'"),
        "create table t as select * from samples".to_owned(),
        "create view v as select 1".to_owned(),
        "drop table samples".to_owned(),
        "insert into samples select * from samples".to_owned(),
        "delete from samples".to_owned(),
        "update samples set question = ''".to_owned(),
        "set datafusion.execution.batch_size = 1".to_owned(),
        "select 1; drop table samples".to_owned(),
        "explain analyze insert into samples select * from samples".to_owned(),
    ] {
        let answer = query(&sql);
        assert!(
            (400..500).contains(&answer.status),
            "{sql}: {} {}",
            answer.status,
            answer.text()
        );
        assert!(!answer.text().contains(SECRET), "{sql}");
    }
    assert!(!Path::new(&written).exists());
    assert_eq!(
        query("select count(*) as n from samples").text(),
        count.text()
    );
}
