//! The pages as a browser asks for them, on small runs that the tests write.

mod lists;
mod samples;
mod sql;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use sample::{
    Answer, IMAGES, ImageRef, ImageRow, MadePair, Manifest, Origin, PAIRS, REJECTS, Reject,
    SAMPLES, Sample, Stage, StageKey, Task, sha256_hex, write_table,
};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::{Studio, StudioOptions};

const SCRIPT: &str = "<script>alert('1')</script> & \"<img src=x onerror=alert(2)>";

/// A folder of runs with the studio on it.
struct Runs {
    folder: TempDir,
    router: Router,
}

impl Runs {
    fn new(write: impl FnOnce(&Path)) -> Runs {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("r"));
        let options = StudioOptions {
            runs: Some(folder.path().to_owned()),
            models: Vec::new(),
        };
        let studio = Arc::new(Studio::open(options).unwrap());
        Runs {
            folder,
            router: crate::router(studio),
        }
    }

    fn run(&self) -> PathBuf {
        self.folder.path().join("r")
    }

    async fn ask(&self, address: &str) -> Response {
        let request = Request::get(address)
            .header(header::ACCEPT, "text/html")
            .body(Body::empty())
            .unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn text(&self, address: &str) -> (StatusCode, String) {
        let response = self.ask(address).await;
        let status = response.status();
        let bytes = to_bytes(response.into_body(), 64 << 20).await.unwrap();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn page(&self, address: &str) -> String {
        let (status, text) = self.text(address).await;
        assert_eq!(status, StatusCode::OK, "{address}: {text}");
        text
    }
}

fn finish(folder: &Path, roots: &[(&str, &str)], files: &[&str], write: impl FnOnce(&Path)) {
    let name = folder.file_name().unwrap().to_string_lossy().into_owned();
    let stage = Stage::begin(
        folder,
        StageKey::new(&name, 1, serde_json::Value::Null),
        true,
    )
    .unwrap();
    write(folder);
    let mut manifest = Manifest::new(stage.key().clone());
    manifest.image_roots = roots
        .iter()
        .map(|(k, v)| ((*k).to_owned(), PathBuf::from(v)))
        .collect();
    manifest.results =
        serde_json::json!({ "title": format!("Title of {SCRIPT}"), "licence": "CC BY 4.0" });
    stage.finish(manifest, files).unwrap();
}

fn png(shade: u8) -> Vec<u8> {
    let image =
        image::RgbImage::from_fn(400, 300, |x, y| image::Rgb([shade, (x / 2) as u8, y as u8]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn image(run: &Path, path: &str, bytes: &[u8]) -> ImageRef {
    let file = run.join("import/a/images").join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, bytes).unwrap();
    ImageRef {
        path: format!("a/{path}"),
        sha256: sha256_hex(bytes),
        width: 400,
        height: 300,
    }
}

fn sample(n: usize, image: &ImageRef) -> Sample {
    let choice = n.is_multiple_of(3);
    Sample {
        id: format!("a:{n}"),
        image: image.clone(),
        question: format!("What is number {n} of the chart in $x^{n}$?"),
        choices: if choice {
            vec!["Elm".into(), "Oak".into()]
        } else {
            Vec::new()
        },
        answer: if choice {
            Answer::Choice(1)
        } else {
            Answer::Integer(n as i64)
        },
        unit: n.is_multiple_of(2).then(|| "cm".into()),
        rationale: None,
        task: Task::ALL[n % 5],
        language: "en".into(),
        origin: Origin::Source {
            source: if n.is_multiple_of(4) { "a" } else { "b" }.into(),
            row: format!("row {n}"),
        },
        template: None,
    }
}

fn made(parent: &Sample, n: usize, kind: &str) -> Sample {
    Sample {
        id: format!("{}#{kind}{n}", parent.id),
        question: format!("A made question {n} of {kind}"),
        origin: Origin::Synth {
            source: parent.origin.source().into(),
            augmentation: kind.into(),
            parent: parent.id.clone(),
            teacher: "the teacher".into(),
            prompt_digest: "ab".repeat(32),
        },
        ..parent.clone()
    }
}

fn pair(made: &Sample, parent: &Sample, reason: Option<&str>) -> MadePair {
    MadePair {
        id: made.id.clone(),
        kind: made.origin.kind().into(),
        source: made.origin.source().into(),
        task: made.task.name().into(),
        image: made.image.path.clone(),
        image_sha256: made.image.sha256.clone(),
        parent: parent.id.clone(),
        parent_question: parent.question.clone(),
        parent_answer: parent.answer_value(),
        question: made.question.clone(),
        choices: made.choices.clone(),
        answer: made.answer.text(),
        given: Some("the teacher's own".into()),
        votes: vec!["vote one".into(), "vote two".into()],
        verdict: if reason.is_some() {
            "rejected"
        } else {
            "agreed"
        }
        .into(),
        reason: reason.map(str::to_owned),
        detail: reason.map(|_| format!("why: {SCRIPT}")),
        digest: "ab".repeat(32),
    }
}

fn image_row(image: &ImageRef, level: Option<u8>, clarity: Option<u8>) -> ImageRow {
    ImageRow {
        image: image.clone(),
        source: "a".into(),
        family: None,
        clarity,
        clarity_score: None,
        complexity: level,
        complexity_score: None,
        scene: None,
    }
}

fn reject(row: &str, reason: &str) -> Reject {
    Reject {
        source: "a".into(),
        row: row.into(),
        reason: reason.into(),
        detail: format!("detail: {SCRIPT}"),
    }
}

/// 130 imported samples of three images, the last of them in the selection too, and two made pairs, one of
/// which was rejected.
fn run(run: &Path) {
    let images: Vec<ImageRef> = (0..3)
        .map(|n| image(run, &format!("{n}.png"), &png(n * 90)))
        .collect();
    let samples: Vec<Sample> = (0..130).map(|n| sample(n, &images[n % 3])).collect();
    let rows: Vec<ImageRow> = images
        .iter()
        .zip([Some(0), Some(3), None])
        .map(|(image, level)| image_row(image, level, level.map(|_| 1)))
        .collect();
    finish(&run.join("import/a"), &[("a", "images")], &[], |folder| {
        write_table(&folder.join(SAMPLES), &samples).unwrap();
        write_table(&folder.join(IMAGES), &rows).unwrap();
        write_table(&folder.join(REJECTS), &[reject("row 900", "image_missing")]).unwrap();
    });
    finish(
        &run.join("select"),
        &[("a", "../import/a/images")],
        &[],
        |folder| {
            write_table(&folder.join(SAMPLES), &samples[100..]).unwrap();
            write_table(&folder.join(IMAGES), &rows[..2]).unwrap();
            write_table(&folder.join(select::HELDOUT_IMAGES), &rows[2..]).unwrap();
            write_table(
                &folder.join(REJECTS),
                &[
                    reject("a:7", "duplicate_question"),
                    reject("a/2.png", "unclear"),
                ],
            )
            .unwrap();
        },
    );
    finish(
        &run.join("synth"),
        &[("a", "../import/a/images")],
        &[],
        |folder| {
            let parent = &samples[100];
            let (kept, gone) = (made(parent, 1, "askimg"), made(parent, 2, "compq"));
            let pairs = [
                pair(&kept, parent, None),
                pair(&gone, parent, Some("same_as_sibling")),
            ];
            write_table(&folder.join(PAIRS), &pairs).unwrap();
            let mut all = samples[100..].to_vec();
            all.push(kept);
            write_table(&folder.join(SAMPLES), &all).unwrap();
            write_table(&folder.join(IMAGES), &rows[..2]).unwrap();
        },
    );
}

/// The run that tests which write nothing share.
static SHARED: LazyLock<Runs> = LazyLock::new(|| Runs::new(run));

fn names(fragment: &str) -> Vec<String> {
    let pieces = fragment.split("<code>").skip(1);
    let names = pieces.map(|piece| piece.split("</code>").next().unwrap().to_owned());
    names.filter(|name| name.contains(':')).collect()
}
