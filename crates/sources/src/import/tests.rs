//! Imports of small folders in the layouts of published data sets, and of those that are at hand.

use std::io::Cursor;

use std::sync::Arc;

use image::{DynamicImage, ImageFormat, RgbImage, RgbaImage};
use sample::workers::{Function, Local};
use sample::{Answer, Reject, Sample, read_table, sha256_hex};

use super::*;
use crate::find_source;

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn run(name: &str, root: &Path, out: &Path, options: &ImportOptions) -> Result<Manifest, Error> {
    progress::set_quiet(true);
    import(find_source(name).unwrap(), options, root, out, false)
}

fn rejects(out: &Path) -> Vec<Reject> {
    read_table(&out.join(REJECTS)).unwrap()
}

fn problem(question: &str) -> String {
    format!(r#"{{"question": "{question}", "choices": null, "answer": "5", "unit": null}}"#)
}

#[test]
fn every_kind_of_bad_row_is_a_reject_that_names_file_and_row() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    let good = png(RgbImage::new(20, 10));
    let images: Vec<(&str, Vec<u8>)> = vec![
        ("good", good.clone()),
        ("rgba", png(RgbaImage::new(20, 10))),
        (
            "deep",
            png(image::ImageBuffer::<image::Rgb<u16>, _>::new(20, 10)),
        ),
        ("cut", good[..good.len() - 20].to_vec()),
        ("empty", Vec::new()),
        ("dot", png(RgbImage::new(1, 1))),
        ("words", b"no image".to_vec()),
    ];
    let mut rows = String::from("{");
    for (name, bytes) in &images {
        write(&root.join(format!("tables/{name}.png")), bytes);
        rows.push_str(&format!("\"{name}\": {},", problem("How many?")));
    }
    write(&dir.path().join("out.png"), &good);
    for (name, row) in [
        ("gone", problem("How many?")),
        ("../../out", problem("How many?")),
        ("good", problem("Again?")),
        ("untyped", r#"{"question": 5, "answer": "5"}"#.into()),
        ("bare", r#"{"question": "How many?"}"#.into()),
        ("list", "[1]".into()),
    ] {
        rows.push_str(&format!("\"{name}\": {row},"));
    }
    let mut bytes = rows.into_bytes();
    bytes.extend_from_slice(b"\"latin\": {\"question\": \"caf\xE9\", \"answer\": \"5\"}}");
    write(&root.join("problems_train.json"), &bytes);
    let out = dir.path().join("out");
    let manifest = run("tabmwp", &root, &out, &ImportOptions::default()).unwrap();
    let expected = [
        ("cut", "image_broken"),
        ("empty", "image_empty"),
        ("dot", "image_too_small"),
        ("words", "image_broken"),
        ("gone", "image_missing"),
        ("../../out", "path_outside_root"),
        ("good", "duplicate_id"),
        ("untyped", "field_mistyped"),
        ("bare", "field_missing"),
        ("list", "row_not_object"),
        ("latin", "not_utf8"),
    ];
    let found = rejects(&out);
    let pairs: Vec<(&str, &str)> = found
        .iter()
        .map(|r| (r.row.as_str(), r.reason.as_str()))
        .collect();
    assert_eq!(pairs, expected);
    for reject in &found {
        assert!(reject.detail.contains("problems_train.json"), "{reject:?}");
        assert!(reject.detail.contains(&reject.row), "{reject:?}");
    }
    assert_eq!(manifest.counts["samples"], 3);
    assert_eq!(manifest.counts["images"], 3);
    assert_eq!(manifest.counts["rejects"], expected.len() as u64);
    let samples: Vec<Sample> = read_table(&out.join(SAMPLES)).unwrap();
    assert_eq!(samples[0].id, "tabmwp:good");
    assert_eq!(samples[0].answer, Answer::Integer(5));
    assert_eq!(samples[0].image.sha256, sha256_hex(&good));
    let file = sample::resolve_image(&out, &manifest.image_roots, &samples[0].image.path);
    assert_eq!(std::fs::read(file.unwrap()).unwrap(), good);
}

#[test]
fn a_file_cut_short_keeps_the_rows_before_the_cut() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("tables/1.png"), png(RgbImage::new(20, 10)));
    let rows = format!("{{\"1\": {}, \"2\": {{\"quest", problem("How many?"));
    write(&dir.path().join("problems_dev.json"), rows);
    let out = dir.path().join("out");
    let manifest = run("tabmwp", dir.path(), &out, &ImportOptions::default()).unwrap();
    assert_eq!(
        (manifest.counts["samples"], manifest.counts["rejects"]),
        (1, 1)
    );
    assert_eq!(rejects(&out)[0].reason, "file_broken");
    assert!(!manifest.results["warnings"].as_array().unwrap().is_empty());

    write(&dir.path().join("problems_dev.json"), "[]");
    let error = run(
        "tabmwp",
        dir.path(),
        &dir.path().join("other"),
        &ImportOptions::default(),
    );
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("problems_dev.json") && message.contains("line 1"),
        "{message}"
    );
}

#[test]
fn an_empty_source_gives_a_warning_and_noughts() {
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir.path().join("data/train1/qa_pairs.json"),
        r#"{"qa_pairs": []}"#,
    );
    let out = dir.path().join("out");
    let manifest = run(
        "figureqa",
        &dir.path().join("data"),
        &out,
        &ImportOptions::default(),
    )
    .unwrap();
    assert_eq!(manifest.counts["samples"], 0);
    assert!(
        manifest.results["warnings"][0]
            .as_str()
            .unwrap()
            .contains("no row in them")
    );
}

#[test]
fn splits_and_limits_choose_rows_and_unknown_splits_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    for split in ["train", "val"] {
        write(
            &root.join(split).join("png/a.png"),
            png(RgbImage::new(20, 10)),
        );
        for kind in ["human", "augmented"] {
            let row = r#"{"imgname": "a.png", "query": "How many?", "label": "4"}"#;
            write(
                &root.join(split).join(format!("{split}_{kind}.json")),
                format!("[{row},{row}]"),
            );
        }
    }
    let count = |out: &str, options: &ImportOptions| {
        run("chartqa", &root, &dir.path().join(out), options)
            .unwrap()
            .counts["samples"]
    };
    let val = ImportOptions {
        splits: vec!["val".into()],
        limit: None,
    };
    assert_eq!(count("all", &ImportOptions::default()), 8);
    assert_eq!(count("val", &val), 4);
    assert_eq!(
        count(
            "three",
            &ImportOptions {
                splits: Vec::new(),
                limit: Some(3)
            }
        ),
        3
    );
    let other = ImportOptions {
        splits: vec!["test".into()],
        limit: None,
    };
    let message = run("chartqa", &root, &dir.path().join("x"), &other)
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("\"test\"") && message.contains("train, val"),
        "{message}"
    );
}

#[test]
fn a_second_import_is_the_first_and_other_options_are_a_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    write(&root.join("tables/1.png"), png(RgbImage::new(20, 10)));
    write(
        &root.join("problems_dev.json"),
        format!("{{\"1\": {}}}", problem("How many?")),
    );
    let out = dir.path().join("out");
    let first = run("tabmwp", &root, &out, &ImportOptions::default()).unwrap();
    let bytes = std::fs::read(out.join(SAMPLES)).unwrap();
    std::fs::remove_file(out.join(REJECTS)).unwrap();
    let again = run("tabmwp", &root, &out, &ImportOptions::default()).unwrap();
    assert_eq!(again, first);
    assert!(
        !out.join(REJECTS).exists(),
        "a finished import must not be written again"
    );
    let limited = ImportOptions {
        splits: Vec::new(),
        limit: Some(1),
    };
    assert!(
        run("tabmwp", &root, &out, &limited)
            .unwrap_err()
            .to_string()
            .contains("--force")
    );

    // The same rows at another place: the manifest must say where they are now.
    let moved = dir.path().join("moved");
    std::fs::rename(&root, &moved).unwrap();
    let manifest = run("tabmwp", &moved, &out, &ImportOptions::default()).unwrap();
    assert_eq!(
        manifest.image_roots["tabmwp"],
        moved.canonicalize().unwrap()
    );
    assert_eq!(std::fs::read(out.join(SAMPLES)).unwrap(), bytes);
}

#[test]
fn an_output_that_cannot_be_written_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir.path().join("problems_dev.json"), "{}");
    write(&dir.path().join("file"), "");
    let out = dir.path().join("file/out");
    let message = run("tabmwp", dir.path(), &out, &ImportOptions::default())
        .unwrap_err()
        .to_string();
    assert!(message.contains("file/out"), "{message}");
}

#[test]
fn published_rows_are_read_in_full() {
    let shared = std::env::var_os("MATH_LLAVA_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        std::path::PathBuf::from,
    );
    for (name, samples, images, rejects) in [
        ("figureqa", 7625, 596, 0),
        ("tabmwp", 800, 800, 0),
        ("chartqa", 660, 400, 0),
        ("super_clevr", 463, 5, 0),
        // One question has a character that was lost before publication.
        ("vqa_rad", 3063, 314, 1),
        ("iconqa", 120, 120, 0),
        ("geometry3k", 7, 7, 0),
        ("scienceqa", 130, 130, 0),
    ] {
        let root = shared.join("data/sources").join(name);
        if !root.is_dir() {
            println!("skipped: {} is not there", root.display());
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let manifest = run(name, &root, dir.path(), &ImportOptions::default()).unwrap();
        assert_eq!(
            manifest.counts["samples"], samples,
            "{name}: {:?}",
            manifest.results
        );
        assert_eq!(manifest.counts["images"], images, "{name}");
        assert_eq!(manifest.counts["rejects"], rejects, "{name}");
    }
}

/// A ChartQA with pictures of all kinds: good, broken, empty, small, missing, outside, some named twice.
fn charts(root: &Path) {
    let mut rows = Vec::new();
    for n in 0..200u32 {
        let name = format!("{n:03}.png");
        let file = root.join("train/png").join(&name);
        match n % 20 {
            3 => write(&file, "no picture"),
            4 => write(&file, ""),
            5 => write(&file, png(RgbImage::new(3, 3))),
            6 => {}
            _ => write(&file, png(RgbImage::new(20 + n, 10))),
        }
        let name = if n % 20 == 7 {
            "../../../outside.png".to_owned()
        } else {
            name
        };
        for question in ["How many?", "Which?"] {
            let row = serde_json::json!({ "imgname": name, "query": question, "label": "4" });
            rows.push(row.to_string());
        }
    }
    let list = format!("[{}]", rows.join(","));
    write(&root.join("train/train_human.json"), list);
}

#[test]
fn workers_give_the_same_tables() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    charts(&root);
    let own = dir.path().join("own");
    let counts = run("chartqa", &root, &own, &ImportOptions::default())
        .unwrap()
        .counts;
    assert_eq!((counts["samples"], counts["images"]), (300, 150));
    let local = Local {
        functions: vec![Arc::new(crate::ReadPicture)],
        at_a_time: 7,
    };
    let shared = dir.path().join("shared");
    let source = find_source("chartqa").unwrap();
    let options = ImportOptions::default();
    import_with(Some(&local), source, &options, &root, &shared, false).unwrap();
    for file in [SAMPLES, IMAGES, REJECTS, "manifest.json"] {
        let [a, b] = [&own, &shared].map(|folder| std::fs::read(folder.join(file)).unwrap());
        assert!(a == b, "{file}");
    }
}

/// Gives these bytes for every item, where it gives any.
struct Gives(Option<&'static str>);

impl Function for Gives {
    fn name(&self) -> &'static str {
        "read_picture"
    }

    fn version(&self) -> u32 {
        1
    }

    fn call(&self, _: &str, items: &[&str]) -> Result<Vec<Vec<u8>>, String> {
        let given = self.0.ok_or("the shared folder is not mounted")?;
        Ok(vec![given.as_bytes().to_vec(); items.len()])
    }
}

#[test]
fn workers_that_fail_or_talk_nonsense_stop_an_import_that_can_be_done_again() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    charts(&root);
    let out = dir.path().join("out");
    let source = find_source("chartqa").unwrap();
    let options = ImportOptions::default();
    let cases = [
        (None, "the shared folder is not mounted"),
        (Some("{}"), "train/png/"),
        (
            Some(r#"{"Err":["moonshine","?"]}"#),
            "\"moonshine\" is no reason",
        ),
    ];
    for (given, wanted) in cases {
        let local = Local {
            functions: vec![Arc::new(Gives(given))],
            at_a_time: 100,
        };
        let failed = import_with(Some(&local), source, &options, &root, &out, false);
        let said = failed.unwrap_err().to_string();
        assert!(said.contains(wanted), "{said}");
        assert!(
            said.contains("import") && said.contains("read_picture"),
            "{said}"
        );
        assert!(!out.join("manifest.json").exists());
    }
    let done = run("chartqa", &root, &out, &options).unwrap();
    assert_eq!(done.counts["images"], 150);
}

#[test]
fn the_length_of_chunks_shows_in_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    charts(&root);
    let read = |rows: usize, out: &str| {
        let out = dir.path().join(out);
        let source = find_source("chartqa").unwrap();
        let tree = Tree::open(&root).unwrap();
        let parts = find_parts(source, &tree).unwrap();
        let stage = Stage::begin(&out, StageKey::new("import", 0, rows.into()), true).unwrap();
        let mut tables = Tables::create(&stage, source, &tree, None).unwrap();
        let size = ChunkSize {
            rows,
            bytes: 1 << 20,
        };
        read_parts(&parts, None, size, &mut tables).unwrap();
        tables.finish(&stage, &parts, false).unwrap();
        [SAMPLES, IMAGES, REJECTS].map(|file| std::fs::read(out.join(file)).unwrap())
    };
    assert!(read(4096, "long") == read(7, "short"));
}
