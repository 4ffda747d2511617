//! The stage as its neighbours meet it: tables in, tables out. The tables of the inspection are
//! written here by hand, in the columns that the two sides agreed on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt8Array, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{Field, Schema};
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::exec_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::listing::ListingTable;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result as PlanResult;
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionContext;
use sample::{
    Answer, IMAGES, ImageRef, ImageRow, Origin, Reject, SAMPLES, Sample, StageKey, Task,
    read_table, resolve_image, write_table,
};

use super::*;
use crate::session::Remote;

/// File name, shade (images of one shade are copies), clarity, complexity, and questions.
type Picture = (String, u8, Option<u8>, Option<u8>, Vec<&'static str>);

fn sha256(shade: u8) -> String {
    sample::sha256_hex(&[shade])
}

/// An import folder `name` below `run`, with these pictures.
pub(crate) fn import(run: &Path, name: &str, pictures: &[Picture]) -> PathBuf {
    let folder = run.join("import").join(name);
    std::fs::create_dir_all(folder.join("images")).unwrap();
    let (mut rows, mut samples) = (Vec::new(), Vec::new());
    for (file, shade, clarity, complexity, questions) in pictures {
        let image = ImageRef {
            path: format!("{name}/{file}"),
            sha256: sha256(*shade),
            width: 9,
            height: 9,
        };
        for (i, question) in questions.iter().enumerate() {
            let row = format!("{file}/{i}");
            samples.push(Sample {
                id: format!("{name}:{row}"),
                image: image.clone(),
                question: (*question).to_owned(),
                choices: Vec::new(),
                answer: Answer::Integer(question.len() as i64 % 3),
                unit: None,
                rationale: None,
                task: Task::Fqa,
                language: "en".into(),
                origin: Origin::Source {
                    source: name.to_owned(),
                    row,
                },
                template: None,
            });
        }
        rows.push(ImageRow {
            image,
            source: name.to_owned(),
            family: None,
            clarity: *clarity,
            clarity_score: None,
            complexity: *complexity,
            complexity_score: None,
            scene: Some(format!("{{\"shade\":{shade}}}")),
        });
    }
    finish(&folder, "import", &rows, &samples);
    folder
}

fn finish(folder: &Path, stage: &str, rows: &[ImageRow], samples: &[Sample]) {
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    let stage = Stage::begin(folder, StageKey::new(stage, 0, name.clone().into()), true).unwrap();
    write_table(&folder.join(IMAGES), rows).unwrap();
    write_table(&folder.join(SAMPLES), samples).unwrap();
    let mut manifest = Manifest::new(stage.key().clone());
    manifest.image_roots.insert(name, "images".into());
    stage.finish(manifest, &[SAMPLES, IMAGES]).unwrap();
}

pub(crate) fn plain(shades: std::ops::Range<u8>) -> Vec<Picture> {
    let questions = vec!["How many?", "Which one?"];
    shades
        .map(|s| {
            (
                format!("{s:03}.png"),
                s,
                None,
                Some(s % 4),
                questions.clone(),
            )
        })
        .collect()
}

/// What the inspection found; images it says nothing of are without fault.
#[derive(Default)]
pub(crate) struct Found {
    /// Path and reason.
    faults: Vec<(&'static str, &'static str)>,
    /// Two shades.
    near: Vec<(u8, u8)>,
    /// A shade, and how it is the benchmark's.
    images: Vec<(u8, &'static str)>,
    /// A sample's id and its image, and whether it is more than a common template.
    questions: Vec<(&'static str, &'static str, bool)>,
}

fn text<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn table(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, values)| Field::new(*name, values.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let columns = columns.into_iter().map(|(_, values)| values).collect();
    let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
    let mut writer = write::BatchWriter::create(path, schema).unwrap();
    writer.push(&batch).unwrap();
    writer.finish().unwrap();
}

/// The inspection of these imports.
fn inspect(run: &Path, imports: &[PathBuf], found: &Found) -> PathBuf {
    let folder = run.join("inspect");
    let stage = Stage::begin(&folder, StageKey::new("inspect", 0, "".into()), true).unwrap();
    let mut images: Vec<ImageRow> = imports
        .iter()
        .flat_map(|i| read_table::<ImageRow>(&i.join(IMAGES)).unwrap())
        .collect();
    images.sort_by(|a, b| a.image.path.cmp(&b.image.path));
    let fault = |i: &ImageRow| {
        let known = found.faults.iter().find(|(path, _)| *path == i.image.path);
        known.map(|(_, reason)| *reason)
    };
    let faults: StringArray = images.iter().map(fault).collect();
    let details: StringArray = images
        .iter()
        .map(|i| fault(i).map(|r| format!("it is {r}")))
        .collect();
    let sides = |f: fn(&ImageRow) -> u32| -> ArrayRef {
        Arc::new(images.iter().map(|i| Some(f(i))).collect::<UInt32Array>())
    };
    let hashes: UInt64Array = images
        .iter()
        .map(|i| fault(i).is_none().then_some(7))
        .collect();
    table(
        &folder.join("fingerprints.parquet"),
        vec![
            ("image", text(images.iter().map(|i| &i.image.path))),
            ("image_sha256", text(images.iter().map(|i| &i.image.sha256))),
            ("source", text(images.iter().map(|i| &i.source))),
            ("width", sides(|i| i.image.width)),
            ("height", sides(|i| i.image.height)),
            ("fault", Arc::new(faults)),
            ("detail", Arc::new(details)),
            ("phash", Arc::new(hashes)),
        ],
    );
    let n = found.near.len();
    table(
        &folder.join("near.parquet"),
        vec![
            ("image", text(found.near.iter().map(|(a, _)| a.to_string()))),
            (
                "image_sha256",
                text(found.near.iter().map(|(a, _)| sha256(*a))),
            ),
            ("other", text(found.near.iter().map(|(_, b)| b.to_string()))),
            (
                "other_sha256",
                text(found.near.iter().map(|(_, b)| sha256(*b))),
            ),
            ("hamming", Arc::new(UInt8Array::from(vec![2; n]))),
            ("distance", Arc::new(Float64Array::from(vec![0.5; n]))),
        ],
    );
    if !found.images.is_empty() {
        let n = found.images.len();
        table(
            &folder.join("contaminated_images.parquet"),
            vec![
                (
                    "image",
                    text(found.images.iter().map(|(a, _)| a.to_string())),
                ),
                (
                    "image_sha256",
                    text(found.images.iter().map(|(a, _)| sha256(*a))),
                ),
                ("benchmark", text(vec!["mathvista"; n])),
                ("item", text(vec!["17"; n])),
                ("benchmark_image", text(vec!["images/17.jpg"; n])),
                ("kind", text(found.images.iter().map(|(_, kind)| kind))),
                ("hamming", Arc::new(UInt8Array::from(vec![2; n]))),
                ("distance", Arc::new(Float64Array::from(vec![0.5; n]))),
            ],
        );
    }
    if !found.questions.is_empty() {
        let n = found.questions.len();
        let dropped: Vec<bool> = found.questions.iter().map(|q| q.2).collect();
        table(
            &folder.join("contaminated_questions.parquet"),
            vec![
                ("id", text(found.questions.iter().map(|q| q.0))),
                ("image", text(found.questions.iter().map(|q| q.1))),
                ("question", text(vec!["How many?"; n])),
                ("benchmark", text(vec!["mathvista"; n])),
                ("item", text(vec!["17"; n])),
                ("benchmark_question", text(vec!["how many"; n])),
                ("overlap", Arc::new(Float64Array::from(vec![1.0; n]))),
                ("dropped", Arc::new(BooleanArray::from(dropped))),
            ],
        );
    }
    let manifest = Manifest::new(stage.key().clone());
    stage
        .finish(manifest, &["fingerprints.parquet", "near.parquet"])
        .unwrap();
    folder
}

pub(crate) fn inputs(run: &Path, imports: &[PathBuf], found: &Found) -> Inputs {
    Inputs {
        imports: imports.to_vec(),
        inspect: inspect(run, imports, found),
        grade: None,
    }
}

fn run(config: &SelectConfig, inputs: &Inputs, out: &Path) -> Result<Manifest, Error> {
    progress::set_quiet(true);
    select(config, 7, inputs, out, true)
}

fn samples(out: &Path, table: &str) -> Vec<Sample> {
    read_table(&out.join(table)).unwrap()
}

fn images(out: &Path) -> Vec<ImageRow> {
    read_table(&out.join(IMAGES)).unwrap()
}

fn reasons(out: &Path) -> Vec<(String, String)> {
    let rejects: Vec<Reject> = read_table(&out.join(REJECTS)).unwrap();
    rejects.into_iter().map(|r| (r.row, r.reason)).collect()
}

fn said(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[test]
fn unusable_images_are_rejected_with_their_reason_and_no_image_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let mut pictures = plain(0..8);
    pictures[0].2 = Some(0);
    pictures[1].4.clear();
    let folder = import(dir.path(), "a", &pictures);
    let found = Found {
        faults: vec![
            ("a/002.png", "image_missing"),
            ("a/003.png", "image_changed"),
        ],
        images: vec![(4, "near")],
        ..Found::default()
    };
    let out = dir.path().join("select");
    let inputs = inputs(dir.path(), &[folder], &found);
    let manifest = run(&SelectConfig::default(), &inputs, &out).unwrap();
    let expected = [
        ("a/000.png", "unclear"),
        ("a/001.png", "no_question"),
        ("a/002.png", "image_missing"),
        ("a/003.png", "image_changed"),
        ("a/004.png", "benchmark_image"),
    ];
    assert_eq!(reasons(&out), said(&expected));
    let rejects: Vec<Reject> = read_table(&out.join(REJECTS)).unwrap();
    assert_eq!(
        rejects[2].detail,
        "a/002.png: it is image_missing (2 questions)"
    );
    assert!(
        rejects[4]
            .detail
            .contains("shows the same as 17 of mathvista")
    );
    let counts = |name: &str| manifest.counts[name];
    assert_eq!(
        (counts("images"), counts("samples"), counts("rejects")),
        (3, 6, 5)
    );
    assert_eq!(manifest.results["rejects_by_reason"]["unclear"], 1);
    assert!(!out.join("scratch.tmp").exists());
}

#[test]
fn unclear_images_stay_where_they_may() {
    let dir = tempfile::tempdir().unwrap();
    let mut pictures = plain(0..4);
    pictures[0].2 = Some(0);
    let folder = import(dir.path(), "a", &pictures);
    let config = SelectConfig {
        drop_unclear: false,
        ..SelectConfig::default()
    };
    let out = dir.path().join("select");
    let inputs = inputs(dir.path(), &[folder], &Found::default());
    assert_eq!(run(&config, &inputs, &out).unwrap().counts["images"], 4);
}

#[test]
fn copies_over_sources_become_one_image_with_all_questions() {
    let dir = tempfile::tempdir().unwrap();
    let image = |q: Vec<&'static str>| vec![("x.png".to_owned(), 5, None, Some(1), q)];
    let a = import(
        dir.path(),
        "a",
        &image(vec!["How many bars?", "Same  question"]),
    );
    let b = import(
        dir.path(),
        "b",
        &image(vec!["Another one", "same question", "HOW MANY BARS?"]),
    );
    // Of b's questions the first is new, the second repeats one of a, and the third contradicts
    // one of a, so that neither can be believed.
    let mut rows: Vec<Sample> = read_table(&b.join(SAMPLES)).unwrap();
    rows[2].answer = Answer::Integer(99);
    rows[1].answer = Answer::Integer(14 % 3);
    write_table(&b.join(SAMPLES), &rows).unwrap();
    let out = dir.path().join("select");
    run(
        &SelectConfig::default(),
        &inputs(dir.path(), &[b, a], &Found::default()),
        &out,
    )
    .unwrap();
    let kept = samples(&out, SAMPLES);
    let ids: Vec<&str> = kept.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["a:x.png/1", "b:x.png/0"]);
    assert!(kept.iter().all(|s| s.image.path == "a/x.png"));
    // Questions that are the same stand together.
    let expected = [
        ("b/x.png", "duplicate_image"),
        ("a:x.png/0", "contradicting_answer"),
        ("b:x.png/2", "contradicting_answer"),
        ("b:x.png/1", "duplicate_question"),
    ];
    assert_eq!(reasons(&out), said(&expected));
    let rejects: Vec<Reject> = read_table(&out.join(REJECTS)).unwrap();
    assert_eq!(
        rejects[1].detail,
        "answers \"2\"; b:x.png/2 asks the same, \"99\""
    );
    assert_eq!(rejects[3].detail, "a:x.png/1 asks the same");
}

#[test]
fn answers_differ_by_kind_value_and_items_and_not_by_what_is_around_them() {
    let decimal = |value, places| Answer::Decimal { value, places };
    let list = |items: &[&str]| Answer::List(items.iter().map(|i| (*i).to_owned()).collect());
    let cases = [
        (Answer::Integer(3), Answer::Integer(3), true),
        (Answer::Integer(3), Answer::Text("3".into()), false),
        (decimal(3.5, 2), decimal(3.5, 2), true),
        (decimal(3.501, 2), decimal(3.499, 2), false),
        (decimal(3.5, 1), decimal(3.5, 2), false),
        (list(&["a", "b"]), list(&["a", "b"]), true),
        (list(&["a, b"]), list(&["a", "b"]), false),
    ];
    for (one, other, same) in cases {
        let dir = tempfile::tempdir().unwrap();
        let picture = ("x.png".to_owned(), 5, None, Some(1), vec!["Q?", "q?", "R?"]);
        let a = import(dir.path(), "a", &[picture]);
        let mut rows: Vec<Sample> = read_table(&a.join(SAMPLES)).unwrap();
        rows[0].answer = one.clone();
        rows[1].answer = other.clone();
        rows[1].rationale = Some("because".into());
        write_table(&a.join(SAMPLES), &rows).unwrap();
        let out = dir.path().join("select");
        let inputs = inputs(dir.path(), &[a], &Found::default());
        run(&SelectConfig::default(), &inputs, &out).unwrap();
        let left = samples(&out, SAMPLES).len();
        assert_eq!(left, if same { 2 } else { 1 }, "{one:?} {other:?}");
    }
}

#[test]
fn ids_that_are_taken_and_images_that_are_not_listed_are_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let a = import(dir.path(), "a", &plain(0..3));
    let mut rows: Vec<Sample> = read_table(&a.join(SAMPLES)).unwrap();
    rows[2].id = rows[0].id.clone();
    rows[4].image.path = "a/elsewhere.png".into();
    write_table(&a.join(SAMPLES), &rows).unwrap();
    let out = dir.path().join("select");
    let inputs = inputs(dir.path(), &[a], &Found::default());
    run(&SelectConfig::default(), &inputs, &out).unwrap();
    let expected = [
        ("a:002.png/0", "image_not_listed"),
        ("a:000.png/0", "duplicate_id"),
    ];
    assert_eq!(reasons(&out), said(&expected));
    let rejects: Vec<Reject> = read_table(&out.join(REJECTS)).unwrap();
    assert!(rejects[1].detail.ends_with("a/000.png"), "{:?}", rejects[1]);
    assert_eq!(samples(&out, SAMPLES).len(), 4);
}

#[test]
fn a_row_that_occurs_twice_is_taken_once() {
    let dir = tempfile::tempdir().unwrap();
    let a = import(dir.path(), "a", &plain(0..3));
    let mut rows: Vec<Sample> = read_table(&a.join(SAMPLES)).unwrap();
    rows.push(rows[0].clone());
    write_table(&a.join(SAMPLES), &rows).unwrap();
    let mut listed: Vec<ImageRow> = read_table(&a.join(IMAGES)).unwrap();
    listed.push(listed[2].clone());
    write_table(&a.join(IMAGES), &listed).unwrap();
    let out = dir.path().join("select");
    let inputs = inputs(dir.path(), &[a], &Found::default());
    run(&SelectConfig::default(), &inputs, &out).unwrap();
    let expected = [
        ("a/002.png", "duplicate_row"),
        ("a:000.png/0", "duplicate_question"),
    ];
    assert_eq!(reasons(&out), said(&expected));
    assert_eq!((images(&out).len(), samples(&out, SAMPLES).len()), (3, 6));
}

#[test]
fn an_image_whose_questions_all_go_goes_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut pictures = plain(0..3);
    pictures[1].4 = vec!["Same?", "same?"];
    let a = import(dir.path(), "a", &pictures);
    let mut rows: Vec<Sample> = read_table(&a.join(SAMPLES)).unwrap();
    rows[2].answer = Answer::Integer(99);
    write_table(&a.join(SAMPLES), &rows).unwrap();
    let out = dir.path().join("select");
    let inputs = inputs(dir.path(), &[a], &Found::default());
    let manifest = run(&SelectConfig::default(), &inputs, &out).unwrap();
    let last = reasons(&out).pop().unwrap();
    assert_eq!(last, ("a/001.png".into(), "no_question".into()));
    assert_eq!(manifest.counts["images"], 2);
    // What went is not in the plan either.
    assert_eq!(
        manifest.results["plan"]["rows"].as_array().unwrap().len(),
        2
    );
}

#[test]
fn near_duplicates_go_with_their_questions_or_stay_as_the_configuration_says() {
    let dir = tempfile::tempdir().unwrap();
    let a = import(dir.path(), "a", &plain(0..6));
    let b = import(dir.path(), "b", &plain(4..8));
    // b's 4 and 5 are a's. A chain 1 - 4 - 7 and a pair 2 - 3; 5 is alike an image that is gone.
    let found = Found {
        faults: vec![("a/000.png", "image_broken")],
        near: vec![(1, 4), (4, 7), (2, 3), (0, 5)],
        ..Found::default()
    };
    let out = dir.path().join("select");
    let inputs = inputs(dir.path(), &[a, b], &found);
    run(&SelectConfig::default(), &inputs, &out).unwrap();
    let near: Vec<(String, String)> = reasons(&out)
        .into_iter()
        .filter(|(_, reason)| reason == "near_duplicate_image")
        .collect();
    let expected = ["a/003.png", "a/004.png", "b/007.png"].map(|p| (p, "near_duplicate_image"));
    assert_eq!(near, said(&expected));
    let paths: Vec<String> = images(&out).into_iter().map(|i| i.image.path).collect();
    assert_eq!(paths, ["a/001.png", "a/002.png", "a/005.png", "b/006.png"]);
    // The questions of b's copy of 4 go with a's 4; those of b's copy of 5 are repeated.
    assert_eq!(samples(&out, SAMPLES).len(), 8);
    let rejects: Vec<Reject> = read_table(&out.join(REJECTS)).unwrap();
    let third = rejects.iter().find(|r| r.row == "b/007.png").unwrap();
    assert!(third.detail.contains("the same as a/001.png"), "{third:?}");

    let config = SelectConfig {
        near_duplicates: NearDuplicates::Keep,
        ..SelectConfig::default()
    };
    assert_eq!(run(&config, &inputs, &out).unwrap().counts["images"], 7);
}

#[test]
fn kept_near_duplicates_are_held_out_together() {
    let dir = tempfile::tempdir().unwrap();
    let a = import(dir.path(), "a", &plain(0..100));
    let found = Found {
        near: (0..50).map(|i| (i, i + 50)).collect(),
        ..Found::default()
    };
    let inputs = inputs(dir.path(), &[a], &found);
    for most in [None, Some(13)] {
        let config = SelectConfig {
            near_duplicates: NearDuplicates::Keep,
            holdout: Some(Holdout {
                fraction: 0.5,
                max_images: most,
                questions_per_image: None,
            }),
            ..SelectConfig::default()
        };
        let out = dir.path().join("select");
        run(&config, &inputs, &out).unwrap();
        let rows: Vec<ImageRow> = read_table(&out.join(HELDOUT_IMAGES)).unwrap();
        let number = |i: &ImageRow| i.image.path[2..5].parse::<u8>().unwrap();
        let held: BTreeSet<u8> = rows.iter().map(number).collect();
        assert!(
            held.len() >= 12 && held.len() <= most.unwrap_or(80),
            "{held:?}"
        );
        assert!(
            held.iter().all(|i| held.contains(&((i + 50) % 100))),
            "{held:?}"
        );
    }
}

#[test]
fn benchmark_questions_go_and_common_templates_stay() {
    let dir = tempfile::tempdir().unwrap();
    let a = import(dir.path(), "a", &plain(0..3));
    let found = Found {
        questions: vec![
            ("a:001.png/0", "a/001.png", true),
            ("a:001.png/0", "a/001.png", true),
            ("a:001.png/1", "a/001.png", false),
            ("a:002.png/0", "a/001.png", true),
        ],
        ..Found::default()
    };
    let out = dir.path().join("select");
    let inputs = inputs(dir.path(), &[a], &found);
    run(&SelectConfig::default(), &inputs, &out).unwrap();
    assert_eq!(
        reasons(&out),
        said(&[("a:001.png/0", "benchmark_question")])
    );
    let rejects: Vec<Reject> = read_table(&out.join(REJECTS)).unwrap();
    assert_eq!(
        rejects[0].detail,
        "asks the same as 17 of mathvista: \"how many\""
    );
    assert_eq!(samples(&out, SAMPLES).len(), 5);
}

#[test]
fn the_graders_grades_are_used_and_kept_where_there_are_any() {
    let dir = tempfile::tempdir().unwrap();
    let a = import(dir.path(), "a", &plain(0..4));
    let mut rows: Vec<ImageRow> = read_table(&a.join(IMAGES)).unwrap();
    for row in &mut rows {
        (row.clarity, row.clarity_score) = (Some(1), Some(0.75));
        (row.complexity, row.complexity_score) = (Some(3), Some(0.5));
        row.scene = None;
    }
    rows[2].clarity = Some(0);
    let grade = dir.path().join("grade");
    finish(&grade, "grade", &rows, &[]);
    let out = dir.path().join("select");
    let mut inputs = inputs(dir.path(), &[a], &Found::default());
    inputs.grade = Some(grade.clone());
    let manifest = run(&SelectConfig::default(), &inputs, &out).unwrap();
    assert_eq!(reasons(&out), said(&[("a/002.png", "unclear")]));
    let left = images(&out);
    assert_eq!(left.len(), 3);
    assert!(left.iter().all(|i| i.complexity == Some(3)
        && i.complexity_score == Some(0.5)
        && i.clarity_score == Some(0.75)
        && i.scene.is_some()));
    assert_eq!(manifest.results["plan"]["rows"][0]["level"], 3);

    rows.remove(1);
    finish(&grade, "grade", &rows, &[]);
    let error = run(&SelectConfig::default(), &inputs, &out)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("grade stage has not seen a/001.png"),
        "{error}"
    );
}

#[test]
fn selected_images_follow_the_plan_and_keep_all_their_questions() {
    let dir = tempfile::tempdir().unwrap();
    let imports = [
        import(dir.path(), "a", &plain(0..40)),
        import(dir.path(), "b", &plain(40..60)),
    ];
    let inputs = inputs(dir.path(), &imports, &Found::default());
    let out = dir.path().join("select");
    let config = SelectConfig {
        total: 20,
        ..SelectConfig::default()
    };
    let manifest = run(&config, &inputs, &out).unwrap();
    let taken = images(&out);
    let of_level = |l| taken.iter().filter(|i| i.complexity == Some(l)).count();
    assert_eq!([0, 1, 2, 3].map(of_level), [4, 6, 8, 2]);
    let of_source = |s: &str| taken.iter().filter(|i| i.source == s).count();
    assert_eq!([of_source("a"), of_source("b")], [10, 10]);
    assert_eq!(manifest.counts["samples"], 40);
    let plan: Plan = serde_json::from_value(manifest.results["plan"].clone()).unwrap();
    assert_eq!(plan.taken(), 20);
    assert_eq!(preview(&config, 7, &inputs).unwrap(), plan);
    // The plan is a table too.
    let footer = tables::footer(&out.join(PLAN)).unwrap();
    assert_eq!(
        (footer.rows, &footer.schema),
        (plan.rows.len(), &plan::schema())
    );
    // The images are found from the new folder, and by relative paths.
    assert_eq!(manifest.image_roots["a"], Path::new("../import/a/images"));
    let path = resolve_image(&out, &manifest.image_roots, &taken[0].image.path).unwrap();
    assert!(path.starts_with(dir.path()), "{path:?}");
}

#[test]
fn a_preview_needs_no_inspection_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut pictures = plain(0..6);
    pictures[3].2 = Some(0);
    let inputs = Inputs {
        imports: vec![import(dir.path(), "a", &pictures)],
        inspect: dir.path().join("inspect"),
        grade: None,
    };
    let plan = preview(&SelectConfig::default(), 7, &inputs).unwrap();
    assert_eq!(plan.taken(), 5);
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
    let error = run(
        &SelectConfig::default(),
        &inputs,
        &dir.path().join("select"),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("not a finished stage"),
        "{error}"
    );
}

#[test]
fn inputs_threads_memory_and_batches_leave_no_trace_and_tables_are_as_other_stages_write_them() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (
        import(dir.path(), "a", &plain(0..60)),
        import(dir.path(), "b", &plain(30..120)),
    );
    let found = Found {
        near: vec![(1, 2), (100, 110)],
        questions: vec![("a:005.png/0", "a/005.png", true)],
        ..Found::default()
    };
    let config = SelectConfig {
        total: 60,
        questions_per_image: Some(1),
        holdout: Some(Holdout {
            fraction: 0.3,
            ..Holdout::default()
        }),
        ..SelectConfig::default()
    };
    let written = [SAMPLES, IMAGES, REJECTS, HELDOUT, HELDOUT_IMAGES, PLAN];
    let bytes = |name: &str, imports: &[PathBuf], threads: usize, batch_rows: usize| {
        progress::set_quiet(true);
        let out = dir.path().join(name);
        let inputs = inputs(dir.path(), imports, &found);
        let resources = Resources {
            memory: 64 << 20,
            threads,
            batch_rows,
            remote: None,
        };
        select_within(&config, 7, &inputs, &out, false, &resources).unwrap();
        written.map(|t| std::fs::read(out.join(t)).unwrap())
    };
    let one = bytes("one", &[a.clone(), b.clone()], 1, 8192);
    assert_eq!(one, bytes("two", &[b, a], 5, 7));
    assert!(!samples(&dir.path().join("one"), HELDOUT).is_empty());
    let again = dir.path().join("again.parquet");
    write_table(&again, &samples(&dir.path().join("one"), SAMPLES)).unwrap();
    assert!(std::fs::read(&again).unwrap() == one[0]);
    write_table(&again, &images(&dir.path().join("one"))).unwrap();
    assert!(std::fs::read(&again).unwrap() == one[1]);
}

/// Other machines, as far as they know nothing but files: plans that scan anything else are refused.
#[derive(Debug, Default)]
pub(crate) struct FilesOnly {
    plans: AtomicUsize,
}

#[async_trait]
impl Remote for FilesOnly {
    async fn context(&self, state: SessionState) -> PlanResult<SessionContext> {
        self.plans.fetch_add(1, Ordering::SeqCst);
        let config = state
            .config()
            .clone()
            .with_target_partitions(3)
            .with_batch_size(5);
        let state = SessionStateBuilder::new_from_existing(state)
            .with_config(config)
            .with_query_planner(Arc::new(FilesOnly::default()))
            .build();
        Ok(SessionContext::new_with_state(state))
    }
}

#[async_trait]
impl QueryPlanner for FilesOnly {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        state: &dyn Session,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                let table = source_as_provider(&scan.source)?;
                if table.downcast_ref::<ListingTable>().is_none() {
                    return exec_err!("{} is no table of files", scan.table_name);
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        DefaultPhysicalPlanner::default()
            .create_physical_plan(plan, state)
            .await
    }
}

#[test]
fn plans_that_run_elsewhere_are_given_files_alone_and_leave_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("a run [1] 50%?#.parquet");
    std::fs::create_dir(&run).unwrap();
    let imports = [
        import(&run, "a", &plain(0..60)),
        import(&run, "b", &plain(30..120)),
    ];
    let found = Found {
        near: vec![(1, 2), (100, 110)],
        questions: vec![("a:005.png/0", "a/005.png", true)],
        ..Found::default()
    };
    let holdout = Some(Holdout {
        fraction: 0.3,
        ..Holdout::default()
    });
    let limited = SelectConfig {
        total: 60,
        questions_per_image: Some(1),
        holdout,
        ..SelectConfig::default()
    };
    for (name, config) in [("all", SelectConfig::default()), ("limited", limited)] {
        progress::set_quiet(true);
        let remote = Arc::new(FilesOnly::default());
        let inputs = inputs(&run, &imports, &found);
        let folder = |remote: Option<Arc<dyn Remote>>| {
            let out = run.join(format!("{name} {}", remote.is_some()));
            let resources = Resources {
                memory: 64 << 20,
                threads: 2,
                batch_rows: 8192,
                remote,
            };
            select_within(&config, 7, &inputs, &out, false, &resources).unwrap();
            let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(&out)
                .unwrap()
                .map(|entry| entry.unwrap())
                .map(|entry| {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    (name, std::fs::read(entry.path()).unwrap())
                })
                .collect();
            files.sort();
            files
        };
        let own = folder(None);
        assert!(own.len() >= 5);
        assert!(own == folder(Some(remote.clone())), "{name}");
        assert_eq!(remote.plans.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_selection_that_is_done_is_not_done_again_and_a_stopped_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let a = import(dir.path(), "a", &plain(0..10));
    let inputs = inputs(dir.path(), &[a], &Found::default());
    let out = dir.path().join("select");
    let config = SelectConfig::default();
    let first = run(&config, &inputs, &out).unwrap();
    let bytes = std::fs::read(out.join(SAMPLES)).unwrap();
    std::fs::write(out.join(SAMPLES), b"untouched").unwrap();
    assert_eq!(select(&config, 7, &inputs, &out, false).unwrap(), first);
    assert_eq!(std::fs::read(out.join(SAMPLES)).unwrap(), b"untouched");
    // As a kill leaves it: no manifest, tables half written, old scratch.
    std::fs::remove_file(out.join("manifest.json")).unwrap();
    std::fs::create_dir(out.join("scratch.tmp")).unwrap();
    std::fs::write(out.join("scratch.tmp/keys.parquet"), b"half").unwrap();
    assert_eq!(select(&config, 7, &inputs, &out, false).unwrap(), first);
    assert_eq!(std::fs::read(out.join(SAMPLES)).unwrap(), bytes);
    assert!(!out.join("scratch.tmp").exists());
    let other = SelectConfig { total: 5, ..config };
    let error = select(&other, 7, &inputs, &out, false)
        .unwrap_err()
        .to_string();
    assert!(error.contains("total: 40000 against 5"), "{error}");
}

#[test]
fn a_draw_stays_when_its_source_grows_unless_new_images_rank_before() {
    let dir = tempfile::tempdir().unwrap();
    let drawn = |name: &str, shades: std::ops::Range<u8>| -> BTreeSet<String> {
        let run_dir = dir.path().join(name);
        let mut rows = plain(shades);
        rows.iter_mut().for_each(|row| row.3 = None);
        let folder = import(&run_dir, "a", &rows);
        let config = SelectConfig {
            total: 10,
            ..SelectConfig::default()
        };
        let out = run_dir.join("select");
        run(
            &config,
            &inputs(&run_dir, &[folder], &Found::default()),
            &out,
        )
        .unwrap();
        images(&out).into_iter().map(|i| i.image.path).collect()
    };
    let (small, large) = (drawn("small", 0..40), drawn("large", 0..50));
    let left: Vec<&String> = small.difference(&large).collect();
    let new: Vec<&String> = large.difference(&small).collect();
    assert_eq!((left.len(), small.len()), (new.len(), 10));
    assert!(
        new.iter().all(|path| path.as_str() >= "a/040.png"),
        "{new:?}"
    );
    assert!(small.intersection(&large).count() >= 5);
}

#[test]
fn held_out_images_are_disjoint_and_their_number_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let folder = import(dir.path(), "a", &plain(0..100));
    let out = dir.path().join("select");
    let config = SelectConfig {
        holdout: Some(Holdout {
            fraction: 0.4,
            max_images: Some(12),
            questions_per_image: Some(1),
        }),
        ..SelectConfig::default()
    };
    let inputs = inputs(dir.path(), &[folder], &Found::default());
    let manifest = run(&config, &inputs, &out).unwrap();
    let counts = ["heldout_images", "heldout", "images", "samples"].map(|n| manifest.counts[n]);
    assert_eq!(counts, [12, 12, 88, 176]);
    let sha = |table| -> BTreeSet<String> {
        let rows = samples(&out, table);
        rows.into_iter().map(|s| s.image.sha256).collect()
    };
    assert!(sha(SAMPLES).is_disjoint(&sha(HELDOUT)));
}

#[test]
fn inputs_that_cannot_be_selected_from_are_errors_that_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("select");
    let good = import(dir.path(), "good", &plain(0..2));
    let inspected = inspect(dir.path(), std::slice::from_ref(&good), &Found::default());
    let message = |imports: &[PathBuf]| {
        let inputs = Inputs {
            imports: imports.to_vec(),
            inspect: inspected.clone(),
            grade: None,
        };
        run(&SelectConfig::default(), &inputs, &out)
            .unwrap_err()
            .to_string()
    };
    assert!(message(&[]).contains("no import folder"));
    assert!(message(&[dir.path().join("gone")]).contains("gone"));
    std::fs::create_dir(dir.path().join("unfinished")).unwrap();
    assert!(message(&[dir.path().join("unfinished")]).contains("not a finished stage"));
    assert!(message(&[good.clone(), good.clone()]).contains("both hold images of good"));
    let other = import(dir.path(), "other", &plain(5..7));
    let text = message(&[good.clone(), other]);
    assert!(
        text.contains("inspect stage has not seen other/005.png"),
        "{text}"
    );

    // Tables that are none, or lack a column, or have it in another type.
    let table_path = good.join(SAMPLES);
    let whole = std::fs::read(&table_path).unwrap();
    std::fs::write(&table_path, &whole[..whole.len() / 2]).unwrap();
    let text = message(std::slice::from_ref(&good));
    assert!(
        text.contains("samples.parquet: not a readable Parquet table"),
        "{text}"
    );
    std::fs::remove_file(&table_path).unwrap();
    assert!(message(std::slice::from_ref(&good)).contains("samples.parquet"));
    table(&table_path, vec![("id", text_of(&["a"]))]);
    let said = message(std::slice::from_ref(&good));
    assert!(
        said.contains("column \"image\" is missing") && said.contains("--force"),
        "{said}"
    );
    table(
        &table_path,
        vec![("id", Arc::new(UInt8Array::from(vec![1])))],
    );
    let said = message(std::slice::from_ref(&good));
    assert!(said.contains("\"id\" is UInt8 and not Utf8"), "{said}");
}

fn text_of(values: &[&str]) -> ArrayRef {
    text(values.iter().copied())
}

#[test]
fn where_nothing_is_left_the_reasons_are_named_and_listed() {
    let dir = tempfile::tempdir().unwrap();
    let mut pictures = plain(0..2);
    pictures.iter_mut().for_each(|row| row.2 = Some(0));
    let unclear = import(dir.path(), "unclear", &pictures);
    let out = dir.path().join("select");
    let inputs = inputs(dir.path(), &[unclear], &Found::default());
    let error = run(&SelectConfig::default(), &inputs, &out)
        .unwrap_err()
        .to_string();
    assert!(error.contains("2 unclear"), "{error}");
    assert_eq!(reasons(&out).len(), 2);
    assert!(!out.join("manifest.json").exists());
}
