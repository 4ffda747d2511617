//! Training and grading: what is learned, what is kept, what a stop leaves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use grade::grading::{By, Outcome, grade_files};
use grade::worker::Arguments;
use grade::{GradeBatch, GradeConfig, Grader, Heads, MODEL, run, run_with};
use model::Precision;
use sample::Manifest;
use sample::workers::{Function, Local};

use super::{contents, import, picture, rejects, rows, small};

fn graded(config: &GradeConfig, imports: &[PathBuf], out: &Path) -> Manifest {
    run(config, 7, imports, out, None, false).unwrap()
}

#[test]
fn bright_and_dark_and_four_colours_are_learned_in_seconds_with_one_tower_or_two() {
    let dir = tempfile::tempdir().unwrap();
    let from = import(dir.path(), 240, true);
    for heads in [Heads::Shared, Heads::Separate] {
        let out = dir.path().join(format!("{heads:?}"));
        let config = GradeConfig { heads, ..small() };
        let manifest = graded(&config, std::slice::from_ref(&from), &out);
        for criterion in ["clarity", "complexity"] {
            let found = &manifest.results["heldout"][criterion];
            assert!(found["images"].as_u64().unwrap() >= 40, "{found}");
            let accuracy = found["accuracy"].as_f64().unwrap();
            assert!(accuracy > 0.95, "{heads:?} {criterion}: {found}");
        }
        let shared = manifest.results["shared_tower"].as_bool().unwrap();
        assert_eq!(shared, heads == Heads::Shared);
        let grader = Grader::load(&out.join(MODEL), Precision::Float32).unwrap();
        assert_eq!(grader.is_shared(), shared);
        for training in std::fs::read_dir(out.join("training")).unwrap() {
            let folder = training.unwrap().path();
            assert!(folder.join("metrics.jsonl").is_file());
            assert!(!folder.join("checkpoint").exists());
        }
        assert!(!out.join("grades.jsonl").exists());
    }
}

#[test]
fn a_grader_grades_other_images_with_scores_and_one_at_a_time_as_in_a_batch() {
    let dir = tempfile::tempdir().unwrap();
    let trained = dir.path().join("trained");
    let from = import(&dir.path().join("a"), 160, true);
    graded(&small(), std::slice::from_ref(&from), &trained);
    let other = import(&dir.path().join("b"), 40, false);
    let mut config = GradeConfig {
        model: Some(trained.join(MODEL)),
        ..small()
    };
    let mut all = Vec::new();
    for batch in [1, 7, 40] {
        config.grading_batch = batch;
        let out = dir.path().join(format!("out-{batch}"));
        let manifest = graded(&config, std::slice::from_ref(&other), &out);
        assert_eq!(manifest.counts["graded"], 40);
        assert_eq!(manifest.counts["labels"], 0);
        let found = rows(&out);
        assert!(found.windows(2).all(|w| w[0].image.path < w[1].image.path));
        for (n, row) in found.iter().enumerate() {
            let (_, clarity, complexity) = picture(n);
            assert_eq!(
                (row.clarity, row.complexity),
                (Some(clarity), Some(complexity))
            );
            // Clarity's score is the probability of clear, complexity's that of the level.
            assert_eq!(row.clarity_score.unwrap() > 0.5, clarity == 1, "{row:?}");
            assert!(row.complexity_score.unwrap() > 0.5, "{row:?}");
        }
        all.push(found);
    }
    for found in &all[1..] {
        for (one, other) in all[0].iter().zip(found) {
            let off = (one.clarity_score.unwrap() - other.clarity_score.unwrap()).abs();
            assert!(off < 1e-5, "{off}");
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_the_thread_count_and_order_of_imports() {
    let dir = tempfile::tempdir().unwrap();
    let from = import(dir.path(), 64, true);
    let config = GradeConfig {
        epochs: 2,
        degraded_copies: 0.5,
        ..small()
    };
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    graded(&config, std::slice::from_ref(&from), &one);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    pool.install(|| graded(&config, std::slice::from_ref(&from), &two));
    assert_eq!(contents(&one), contents(&two));
    let three = dir.path().join("three");
    run(&config, 8, &[from], &three, None, false).unwrap();
    assert_ne!(contents(&one), contents(&three));
}

#[test]
fn a_journal_and_a_trained_model_are_gone_on_from_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let from = import(dir.path(), 64, true);
    let config = GradeConfig {
        epochs: 2,
        ..small()
    };
    let whole = dir.path().join("whole");
    graded(&config, std::slice::from_ref(&from), &whole);
    let expected = contents(&whole);
    // As if stopped right before the tables were written: the grader is there, the manifest not.
    std::fs::remove_file(whole.join("manifest.json")).unwrap();
    std::fs::remove_file(whole.join("images.parquet")).unwrap();
    let weights = whole.join(MODEL).join("clarity/model.safetensors");
    let written = std::fs::metadata(&weights).unwrap().modified().unwrap();
    graded(&config, std::slice::from_ref(&from), &whole);
    assert_eq!(
        std::fs::metadata(&weights).unwrap().modified().unwrap(),
        written
    );
    assert_eq!(contents(&whole), expected);

    // A journal of some batches, the last line cut short.
    let grader = Grader::load(&whole.join(MODEL), Precision::Float32).unwrap();
    let files: Vec<Result<PathBuf, String>> = (0..64)
        .map(|n| Ok(from.join(format!("images/{n:03}.png"))))
        .collect();
    let path = dir.path().join("journal");
    let all = grade_files(By::Own(&grader), &files, 8, Some((&path, "key"))).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 1 + 8);
    let cut: String = text.split_inclusive('\n').take(4).collect();
    let marked = cut.replacen("0.", "9.", 1);
    std::fs::write(&path, format!("{marked}{{\"batch\":3,\"outc")).unwrap();
    let again = grade_files(By::Own(&grader), &files, 8, Some((&path, "key"))).unwrap();
    // The changed value shows that the journal was read; the rest is as it was.
    assert_ne!(again[..24], all[..24]);
    assert_eq!(again[24..], all[24..]);
    assert_eq!(
        grade_files(By::Own(&grader), &files, 8, Some((&path, "other"))).unwrap(),
        all
    );
}

fn local(function: impl Function + 'static) -> Local {
    Local {
        functions: vec![Arc::new(function)],
        at_a_time: 1,
    }
}

/// A trained grader, and an import with pictures that cannot be read.
fn trained(dir: &Path) -> (GradeConfig, PathBuf) {
    let config = GradeConfig {
        epochs: 2,
        ..small()
    };
    let first = import(&dir.join("first"), 64, true);
    graded(&config, &[first], &dir.join("trained"));
    let config = GradeConfig {
        model: Some(dir.join("trained").join(MODEL)),
        regrade: true,
        ..config
    };
    let from = import(&dir.join("second"), 120, true);
    std::fs::write(from.join("images/003.png"), "no picture").unwrap();
    std::fs::remove_file(from.join("images/050.png")).unwrap();
    for number in 64..72 {
        std::fs::write(from.join(format!("images/{number:03}.png")), "").unwrap();
    }
    (config, from)
}

#[test]
fn workers_grade_with_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (config, from) = trained(dir.path());
    let (own, shared) = (dir.path().join("own"), dir.path().join("shared"));
    let manifest = graded(&config, std::slice::from_ref(&from), &own);
    assert_eq!(manifest.counts["rejects"], 10);
    let workers = local(GradeBatch);
    run_with(Some(&workers), &config, 7, &[from], &shared, None, false).unwrap();
    assert_eq!(contents(&own), contents(&shared));
}

/// The function, until it was called so often.
struct Until(AtomicUsize);

impl Function for Until {
    fn name(&self) -> &'static str {
        GradeBatch.name()
    }

    fn version(&self) -> u32 {
        GradeBatch.version()
    }

    fn call(&self, arguments: &str, items: &[&str]) -> Result<Vec<Vec<u8>>, String> {
        let left = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        left.map_err(|_| "the machine is on fire".to_owned())?;
        GradeBatch.call(arguments, items)
    }
}

#[test]
fn what_workers_graded_before_they_failed_is_not_graded_again() {
    let dir = tempfile::tempdir().unwrap();
    let (config, from) = trained(dir.path());
    let (own, out) = (dir.path().join("own"), dir.path().join("out"));
    graded(&config, std::slice::from_ref(&from), &own);
    let go_on = |calls: usize| {
        let workers = local(Until(AtomicUsize::new(calls)));
        let from = std::slice::from_ref(&from);
        run_with(Some(&workers), &config, 7, from, &out, None, false)
    };
    // 15 batches of 8.
    let said = go_on(9).unwrap_err().to_string();
    assert!(
        said.contains("on fire") && said.contains("grade stage"),
        "{said}"
    );
    let journal = std::fs::read_to_string(out.join("grades.jsonl")).unwrap();
    assert_eq!(journal.lines().count(), 1 + 9);
    go_on(6).unwrap();
    assert_eq!(contents(&own), contents(&out));
}

#[test]
fn workers_that_see_another_grader_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let (config, _) = trained(dir.path());
    let model = config.model.unwrap();
    let arguments = Arguments::new(&model, Precision::Float32, 1).unwrap();
    let arguments = serde_json::to_string(&arguments).unwrap();
    let other = model.join("clarity/model.safetensors");
    std::fs::copy(model.join("complexity/model.safetensors"), other).unwrap();
    let said = GradeBatch.call(&arguments, &["[]"]).unwrap_err();
    assert!(said.contains("another grader"), "{said}");
    for (arguments, item, wanted) in [("{}", "[]", "arguments"), (arguments.as_str(), "{}", "")] {
        let said = GradeBatch.call(arguments, &[item]).unwrap_err();
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn grades_follow_from_the_batch_and_neighbours_move_no_more_than_the_last_bits() {
    let dir = tempfile::tempdir().unwrap();
    let (config, from) = trained(dir.path());
    let grader = Grader::load(&config.model.unwrap(), Precision::Float32).unwrap();
    let files: Vec<Result<PathBuf, String>> = (0..64)
        .map(|n| Ok(from.join(format!("images/{n:03}.png"))))
        .collect();
    let all = grade_files(By::Own(&grader), &files, 8, None).unwrap();
    // A batch alone, after another one.
    let one = grade_files(By::Own(&grader), &files[16..24], 8, None).unwrap();
    assert_eq!(one, all[16..24]);
    // The tensor library sums in another order for batches of other lengths, which is why a batch is what
    // workers are given.
    for batch in [1, 3, 64] {
        let others = grade_files(By::Own(&grader), &files, batch, None).unwrap();
        for (image, (a, b)) in all.iter().zip(&others).enumerate() {
            match (a, b) {
                (Outcome::Grades(a), Outcome::Grades(b)) => {
                    let pairs = a.clarity.iter().chain(&a.complexity);
                    let pairs = pairs.zip(b.clarity.iter().chain(&b.complexity));
                    let most = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(most < 1e-5, "image {image} in batches of {batch}: {most}");
                }
                (a, b) => assert_eq!(a, b),
            }
        }
    }
}

#[test]
fn what_sources_state_of_their_images_stays_unless_regrading_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let trained = dir.path().join("trained");
    let from = import(&dir.path().join("a"), 160, true);
    graded(&small(), std::slice::from_ref(&from), &trained);
    // An import that states the opposite of what is seen.
    let other = import(&dir.path().join("b"), 16, true);
    let mut wrong = rows(&other);
    for row in &mut wrong {
        row.clarity = row.clarity.map(|c| 1 - c);
        row.complexity = row.complexity.map(|c| 3 - c);
    }
    sample::write_table(&other.join(sample::IMAGES), &wrong).unwrap();
    for regrade in [false, true] {
        let config = GradeConfig {
            model: Some(trained.join(MODEL)),
            regrade,
            ..small()
        };
        let out = dir.path().join(format!("{regrade}"));
        let manifest = graded(&config, std::slice::from_ref(&other), &out);
        for (row, stated) in rows(&out).iter().zip(&wrong) {
            assert_eq!(row.clarity == stated.clarity, !regrade, "{row:?}");
            assert_eq!(row.complexity == stated.complexity, !regrade);
            // The score is the grader's either way.
            assert_eq!(row.clarity_score.unwrap() > 0.5, stated.clarity == Some(0));
            assert_eq!(row.complexity_score.unwrap() > 0.5, regrade);
        }
        assert_eq!(
            manifest.results["agreement_with_sources"]["clarity"]["same"],
            0
        );
    }
}

#[test]
fn an_unreadable_image_has_no_grades_and_a_reject_and_costs_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let from = import(dir.path(), 64, true);
    std::fs::write(from.join("images/005.png"), b"not an image").unwrap();
    std::fs::remove_file(from.join("images/006.png")).unwrap();
    let out = dir.path().join("out");
    let config = GradeConfig {
        epochs: 1,
        ..small()
    };
    let manifest = graded(&config, &[from], &out);
    assert_eq!(manifest.counts["graded"], 62);
    let found = rows(&out);
    assert_eq!(found.len(), 64);
    for row in &found {
        let broken = ["paint/005.png", "paint/006.png"].contains(&row.image.path.as_str());
        assert_eq!(row.clarity.is_none(), broken, "{row:?}");
        assert_eq!(row.complexity_score.is_none(), broken);
    }
    let why: Vec<(String, String)> = rejects(&out)
        .into_iter()
        .filter(|r| r.source == "paint")
        .map(|r| (r.row, r.reason))
        .collect();
    let expected = [
        ("paint/005.png", "image_broken"),
        ("paint/006.png", "image_missing"),
    ];
    assert_eq!(why, expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
}

#[test]
fn images_with_the_same_bytes_are_graded_once_and_alike() {
    let dir = tempfile::tempdir().unwrap();
    let from = import(dir.path(), 32, true);
    let mut found = rows(&from);
    // The copy's own file is gone; its bytes are known.
    let mut copy = found[3].clone();
    copy.image.path = "paint/copy.png".to_owned();
    copy.clarity = None;
    found.push(copy);
    sample::write_table(&from.join(sample::IMAGES), &found).unwrap();
    let out = dir.path().join("out");
    let config = GradeConfig {
        epochs: 1,
        ..small()
    };
    let manifest = graded(&config, &[from], &out);
    assert_eq!(manifest.counts["graded"], 33);
    let found = rows(&out);
    let of = |path: &str| found.iter().find(|r| r.image.path == path).unwrap().clone();
    assert_eq!(
        of("paint/copy.png").clarity_score,
        of("paint/003.png").clarity_score
    );
}

#[test]
fn a_published_tower_is_fine_tuned_with_fresh_heads() {
    let dir = tempfile::tempdir().unwrap();
    let from = import(dir.path(), 64, true);
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden/vit");
    let config = GradeConfig {
        base: Some(base.clone()),
        epochs: 1,
        lr: 1e-3,
        ..small()
    };
    let out = dir.path().join("out");
    let manifest = graded(&config, &[from], &out);
    assert_eq!(
        manifest.results["training"]["base"],
        base.display().to_string()
    );
    let grader = Grader::load(&out.join(MODEL), Precision::Float32).unwrap();
    assert_eq!(grader.preprocessor().side, 32);
}

#[test]
fn graders_that_are_none_are_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let from = import(dir.path(), 8, true);
    let try_model = |model: &Path| {
        let config = GradeConfig {
            model: Some(model.to_owned()),
            ..small()
        };
        let out = dir.path().join("refused");
        let refused = run(&config, 7, std::slice::from_ref(&from), &out, None, true);
        refused.unwrap_err().to_string()
    };
    assert!(try_model(&dir.path().join("absent")).contains("absent"));
    let empty = dir.path().join("empty");
    std::fs::create_dir_all(empty.join("clarity")).unwrap();
    std::fs::create_dir_all(empty.join("complexity")).unwrap();
    assert!(try_model(&empty).contains("has no clarity/config.json"));
    // Three classes are no grader of clarity.
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden/vit");
    for name in [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ] {
        std::fs::copy(golden.join(name), empty.join("clarity").join(name)).unwrap();
    }
    let refused = try_model(&empty);
    assert!(
        refused.contains("clarity has 3 classes, not 2"),
        "{refused}"
    );
}

#[test]
fn outcomes_survive_the_journal_exactly() {
    let outcome = Outcome::Grades(grade::Grades {
        clarity: [0.123_456_79, 0.876_543_2],
        complexity: [f32::MIN_POSITIVE, 0.1, 1.0 / 3.0, 0.6],
    });
    let text = serde_json::to_string(&outcome).unwrap();
    assert_eq!(serde_json::from_str::<Outcome>(&text).unwrap(), outcome);
}
