//! A run as the stages would leave it, for tests of pages: small tables, logs and manifests, with markup
//! wherever data or users bring text.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use sample::{
    Answer, IMAGES, ImageRef, ImageRow, Manifest, Origin, REJECTS, Reject, Row, SAMPLES, Sample,
    Stage, StageKey, Task, write_table,
};
use select::inspect::{ContaminatedImage, ContaminatedQuestion, NearPair};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::{Studio, StudioOptions};

/// Markup that does harm wherever it is not escaped.
pub(crate) const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;";

/// A folder with runs, and the studio on it.
pub(crate) struct Made {
    pub root: tempfile::TempDir,
    router: axum::Router,
}

/// What a page answered.
pub(crate) struct Answered {
    pub status: StatusCode,
    pub text: String,
}

impl Answered {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// Refuses markup from data, and numbers that no page should show.
    pub(crate) fn is_clean(&self) -> bool {
        ["<script>alert", "<img src=x", "NaN", ">inf<"]
            .iter()
            .all(|bad| !self.text.contains(bad))
    }
}

impl Made {
    /// No run yet.
    pub(crate) fn new() -> Made {
        let root = tempfile::tempdir().unwrap();
        let studio = Studio::open(StudioOptions {
            runs: Some(root.path().to_owned()),
            ..StudioOptions::default()
        });
        let router = crate::router(Arc::new(studio.unwrap()));
        Made { root, router }
    }

    pub(crate) fn run(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) async fn get(&self, address: &str) -> Answered {
        let request = Request::builder()
            .uri(address)
            .header("accept", "text/html")
            .body(Body::empty());
        let response = self.router.clone().oneshot(request.unwrap()).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 1 << 26).await.unwrap();
        Answered {
            status,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}

/// A stage's folder with these counts and results; its tables are made by `write` before it is finished.
pub(crate) fn stage(
    folder: &Path,
    verb: &str,
    counts: &[(&str, u64)],
    results: Value,
    write: impl FnOnce(&Path),
) {
    let key = StageKey::new(verb, 7, json!({ "note": HOSTILE })).input("before", "00ff");
    let stage = Stage::begin(folder, key, true).unwrap();
    write(folder);
    let mut manifest = Manifest::new(stage.key().clone());
    for (name, n) in counts {
        manifest.count(name, *n);
    }
    manifest.results = results;
    stage.finish(manifest, &[]).unwrap();
}

pub(crate) fn sample_of(n: usize) -> Sample {
    Sample {
        id: format!("figures/{n}{HOSTILE}"),
        image: image(n),
        question: format!("How many? {HOSTILE}"),
        choices: Vec::new(),
        answer: Answer::Text(format!("{n}")),
        unit: None,
        rationale: None,
        task: Task::Vqa,
        language: "en".to_owned(),
        origin: Origin::Source {
            source: "figures".to_owned(),
            row: n.to_string(),
        },
        template: None,
    }
}

fn image(n: usize) -> ImageRef {
    ImageRef {
        path: format!("figures/{n}.png"),
        sha256: format!("{n:064x}"),
        width: 8,
        height: 8,
    }
}

pub(crate) fn image_row(n: usize) -> ImageRow {
    ImageRow {
        image: image(n),
        source: if n.is_multiple_of(2) {
            "figures".to_owned()
        } else {
            HOSTILE.to_owned()
        },
        family: None,
        clarity: (n % 3 < 2).then_some((n % 3) as u8),
        clarity_score: None,
        complexity: (n % 5 < 4).then_some((n % 5) as u8),
        complexity_score: None,
        scene: None,
    }
}

/// The data stages of a run: an import, an inspection that found pairs, a selection.
pub(crate) fn data_stages(run: &Path, near: usize) {
    let import = |folder: &Path| {
        table(folder, SAMPLES, (0..30).map(sample_of));
        table(folder, IMAGES, (0..30).map(image_row));
        let reject = Reject {
            source: HOSTILE.to_owned(),
            row: "1".to_owned(),
            reason: "image_missing".to_owned(),
            detail: HOSTILE.to_owned(),
        };
        table(folder, REJECTS, [reject]);
    };
    let results = json!({ "rejects_by_reason": { format!("image_{HOSTILE}"): 4, "none": 0 } });
    let counts = [("samples", 30), ("images", 30), ("rejects", 4)];
    stage(
        &run.join("import/figures"),
        "import",
        &counts,
        results,
        import,
    );
    let inspect = |folder: &Path| {
        table(folder, "near.parquet", (0..near).map(near_pair));
        table(
            folder,
            "contaminated_images.parquet",
            (0..2).map(contaminated_image),
        );
        table(
            folder,
            "contaminated_questions.parquet",
            (0..2).map(contaminated_question),
        );
        std::fs::write(folder.join("decontamination.html"), "<p>pairs</p>").unwrap();
    };
    stage(
        &run.join("inspect"),
        "inspect",
        &[("images", 30)],
        json!({}),
        inspect,
    );
    let select = |folder: &Path| {
        table(folder, SAMPLES, (0..20).map(sample_of));
        table(folder, "heldout.parquet", (20..25).map(sample_of));
    };
    let plan = json!({ "plan": { "rows": [
        { "level": 0, "source": "figures", "available": 12, "quota": 10, "taken": 10 },
        { "level": null, "source": HOSTILE, "available": 9, "quota": 30, "taken": 9 },
    ] }, "notes": [HOSTILE] });
    let counts = [
        ("samples", 20),
        ("images", 19),
        ("heldout", 5),
        ("rejects", 3),
    ];
    stage(&run.join("select"), "select", &counts, plan, select);
}

pub(crate) fn table<R: Row>(folder: &Path, name: &str, rows: impl IntoIterator<Item = R>) {
    let rows: Vec<R> = rows.into_iter().collect();
    write_table(&folder.join(name), &rows).unwrap();
}

fn near_pair(n: usize) -> NearPair {
    NearPair {
        image: format!("figures/{n}{HOSTILE}.png"),
        image_sha256: format!("{n:064x}"),
        other: format!("figures/{}.png", n + 1),
        other_sha256: format!("{:064x}", n + 1),
        hamming: 3,
        distance: 1.25,
    }
}

fn contaminated_image(n: usize) -> ContaminatedImage {
    ContaminatedImage {
        image: format!("figures/{n}.png"),
        image_sha256: format!("{n:064x}"),
        benchmark: HOSTILE.to_owned(),
        item: Some(HOSTILE.to_owned()),
        benchmark_image: HOSTILE.to_owned(),
        kind: if n == 0 { "exact" } else { "near" }.to_owned(),
        hamming: 2,
        distance: 0.5,
    }
}

fn contaminated_question(n: usize) -> ContaminatedQuestion {
    ContaminatedQuestion {
        id: format!("figures/{n}"),
        image: format!("figures/{n}.png"),
        question: HOSTILE.to_owned(),
        benchmark: "mathvista".to_owned(),
        item: "17".to_owned(),
        benchmark_question: HOSTILE.to_owned(),
        overlap: 0.9,
        dropped: n == 0,
    }
}

/// A training of so many steps, finished or at it.
pub(crate) fn training(run: &Path, steps: usize, finished: bool) {
    let folder = run.join("train");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |folder: &Path| {
        let (mut metrics, mut timing) = (String::new(), String::new());
        for step in 0..steps {
            let loss = 3.0 / (1.0 + step as f64);
            metrics.push_str(&format!(
                "{}\n",
                json!({"step": step, "loss": loss, "lr": 1e-4, "grad_norm": 1.0, "tokens": 100})
            ));
            timing.push_str(&format!(
                "{}\n",
                json!({"step": step, "seconds": 2.0, "tokens_per_second": 50.0, "memory_mib": 700})
            ));
        }
        std::fs::write(folder.join("metrics.jsonl"), metrics).unwrap();
        std::fs::write(folder.join("timing.jsonl"), timing).unwrap();
    };
    let results = json!({ "first_loss": 3.0, "final_loss": 0.5 });
    match finished {
        true => stage(
            &folder,
            "train",
            &[("samples", 20), ("steps", steps as u64)],
            results,
            write,
        ),
        false => write(&folder),
    }
}

/// A benchmark run of which every question whose number `right` holds for is right.
pub(crate) fn benchmark(run: &Path, model: &str, items: usize, right: impl Fn(usize) -> bool) {
    let folder = run.join("benchmarks/mathvista.testmini").join(model);
    let correct = (0..items).filter(|n| right(*n)).count();
    let write = |folder: &Path| {
        let (mut scores, mut questions) = (String::new(), String::new());
        for n in 0..items {
            scores.push_str(&format!("{}\n", json!({
                "id": format!("q{n}"), "response": format!("reply {n} {HOSTILE}"), "reading": "parsed",
                "extraction": "3", "prediction": "3", "expected": "4", "correct": right(n),
                "fallback": false, "truncated": false,
            })));
            questions.push_str(&format!("{}\n", json!({
                "id": format!("q{n}"), "question": format!("question {n} {HOSTILE}"), "groups": {"task": HOSTILE},
                "images": ["images/1.png", "/etc/passwd"],
            })));
        }
        std::fs::write(folder.join("scores.jsonl"), scores).unwrap();
        std::fs::write(folder.join("items.jsonl"), questions).unwrap();
        std::fs::create_dir_all(folder.join("images")).unwrap();
        image::RgbImage::from_pixel(9, 7, image::Rgb([9, 90, 200]))
            .save(folder.join("images/1.png"))
            .unwrap();
    };
    let share =
        json!({ "correct": correct, "total": items, "accuracy": correct as f64 / items as f64 });
    let results = json!({
        "benchmark": "mathvista", "split": "testmini", "version": "1", "model": format!("{model}{HOSTILE}"),
        "extraction": "official", "dialect": "head", "correct": correct, "total": items,
        "accuracy": correct as f64 / items as f64, "groups": { "task": { HOSTILE: share } },
        "fallbacks": 0, "unparsed": 0, "empty": 0, "truncated": 0, "failed": 0, "missing": 0,
        "remarks": [HOSTILE],
    });
    stage(&folder, "benchmark", &[], results, write);
}
