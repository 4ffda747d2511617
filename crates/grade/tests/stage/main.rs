//! The stage as others use it: labels in, grades out, on pictures a small ViT can learn in seconds.

// A panic is how a test fails; clippy allows it only inside `#[test]` functions.
#![allow(clippy::unwrap_used, clippy::panic)]

mod grades;
mod labels;
mod teachers;

use std::path::{Path, PathBuf};

use grade::{FreshVit, GradeConfig, Heads};
use image::{Rgb, RgbImage};
use model::Precision;
use sample::{IMAGES, ImageRef, ImageRow, Manifest, REJECTS, Stage, StageKey, sha256_hex};

/// The four levels' colours: what complexity is in these tests.
const COLOURS: [[f32; 3]; 4] = [
    [1.0, 0.1, 0.1],
    [0.1, 1.0, 0.1],
    [0.1, 0.1, 1.0],
    [1.0, 1.0, 1.0],
];

/// Picture `n`: bright is clear, dark is unclear; each has pixels of its own.
pub fn picture(n: usize) -> (RgbImage, u8, u8) {
    let (clarity, complexity) = (n % 2, n / 2 % 4);
    let light = if clarity == 1 { 230.0 } else { 90.0 };
    let mut image = RgbImage::from_fn(20, 16, |x, y| {
        let wave = ((x as usize * 7 + y as usize * 13 + n * 29) % 20) as f32;
        Rgb(COLOURS[complexity].map(|c| (c * (light + wave)) as u8))
    });
    image.put_pixel(0, 0, Rgb([(n % 256) as u8, (n / 256) as u8, 0]));
    (image, clarity as u8, complexity as u8)
}

/// An import of `count` pictures, labelled by their source or not.
pub fn import(dir: &Path, count: usize, labelled: bool) -> PathBuf {
    let folder = dir.join("paint");
    let key = StageKey::new("import", 0, serde_json::json!({ "count": count }));
    let stage = Stage::begin(&folder, key, true).unwrap();
    std::fs::create_dir_all(folder.join("images")).unwrap();
    let rows: Vec<ImageRow> = (0..count)
        .map(|n| {
            let (image, clarity, complexity) = picture(n);
            let path = folder.join(format!("images/{n:03}.png"));
            image.save(&path).unwrap();
            ImageRow {
                image: ImageRef {
                    path: format!("paint/{n:03}.png"),
                    sha256: sha256_hex(&std::fs::read(&path).unwrap()),
                    width: 20,
                    height: 16,
                },
                source: "paint".to_owned(),
                family: None,
                clarity: labelled.then_some(clarity),
                clarity_score: None,
                complexity: labelled.then_some(complexity),
                complexity_score: None,
                scene: (clarity == 0).then(|| {
                    let kind = if n % 4 == 0 { "blur" } else { "noise" };
                    format!(r#"{{"family":"paint","degradation":{{"kind":"{kind}"}}}}"#)
                }),
            }
        })
        .collect();
    finish(stage, &rows);
    folder
}

/// Writes the tables and the manifest of an import.
pub fn finish(stage: Stage, rows: &[ImageRow]) {
    sample::write_table(&stage.path(IMAGES), rows).unwrap();
    let mut manifest = Manifest::new(stage.key().clone());
    manifest
        .image_roots
        .insert("paint".to_owned(), "images".into());
    stage.finish(manifest, &[IMAGES]).unwrap();
}

/// The images table of a stage.
pub fn rows(folder: &Path) -> Vec<ImageRow> {
    sample::read_table(&folder.join(IMAGES)).unwrap()
}

/// The rejects table of a stage.
pub fn rejects(folder: &Path) -> Vec<sample::Reject> {
    sample::read_table(&folder.join(REJECTS)).unwrap()
}

/// Seconds of training.
pub fn small() -> GradeConfig {
    GradeConfig {
        heads: Heads::Shared,
        epochs: 12,
        batch_size: 16,
        grading_batch: 8,
        holdout: 0.2,
        precision: Precision::Float32,
        threads: 1,
        fresh: FreshVit {
            image_size: 16,
            patch_size: 8,
            hidden: 24,
            layers: 1,
            heads: 2,
            mlp: 48,
            initializer_range: 0.05,
            lr: 5e-3,
        },
        ..GradeConfig::default()
    }
}

/// All files of a folder with the digests of their bytes.
pub fn contents(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            // What says how long things took differs from run to run.
            if path.ends_with("timing.jsonl") || path.ends_with("tensorboard") {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_owned();
                found.push((name, sample::file_sha256(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
