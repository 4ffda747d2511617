//! Pictures of two colours with questions about them, and a small model that learns them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use sample::{Answer, ImageRef, Origin, Sample, Task};
use train::data::Example;
use train::{Facts, ModelConfig, TextConfig, TowerConfig, TrainConfig, TrainingData, VisionConfig};

const COLOURS: [(&str, [u8; 3]); 4] = [
    ("red", [220, 20, 20]),
    ("green", [20, 200, 20]),
    ("blue", [20, 20, 220]),
    ("white", [255; 3]),
];

/// Pictures whose left and right halves have a colour each, with two questions about each.
pub fn samples(folder: &Path, count: usize) -> Vec<Sample> {
    let images = folder.join("images");
    std::fs::create_dir_all(&images).unwrap();
    let mut all = Vec::new();
    for n in 0..count {
        let (left, right) = (n % 4, n / 4 % 4);
        let path = format!("{n}.png");
        RgbImage::from_fn(20, 20, |x, _| {
            Rgb(COLOURS[if x < 10 { left } else { right }].1)
        })
        .save(images.join(&path))
        .unwrap();
        for (side, colour) in [("left", left), ("right", right)] {
            all.push(Sample {
                id: format!("halves:{n}-{side}"),
                image: ImageRef {
                    path: format!("halves/{path}"),
                    sha256: String::new(),
                    width: 20,
                    height: 20,
                },
                question: format!("What colour is the {side} half?"),
                choices: Vec::new(),
                answer: Answer::Text(COLOURS[colour].0.to_owned()),
                unit: None,
                rationale: None,
                task: Task::Vqa,
                language: "en".to_owned(),
                origin: Origin::Source {
                    source: "halves".to_owned(),
                    row: format!("{n}-{side}"),
                },
                template: Some(side.to_owned()),
            });
        }
    }
    all
}

pub fn config() -> TrainConfig {
    TrainConfig {
        model: ModelConfig {
            vision: VisionConfig {
                image_size: 16,
                patch_size: 8,
                hidden: 32,
                layers: 2,
                heads: 2,
                mlp: 64,
                position_amplitude: 0.7,
                ..Default::default()
            },
            text: TextConfig {
                hidden: 32,
                layers: 2,
                heads: 2,
                kv_heads: 2,
                mlp: 64,
                vocab_size: 320,
                max_length: 256,
                ..Default::default()
            },
            template: model::Template::Tiny,
        },
        lr: 3e-3,
        batch_images: 4,
        epochs: 3.0,
        threads: 1,
        checkpoint_seconds: 0,
        tower: TowerConfig {
            steps: 12,
            batch_images: 8,
            min_images: 4,
            ..Default::default()
        },
        ..Default::default()
    }
}

pub fn with_data<T>(
    folder: &Path,
    samples: &[Sample],
    then: impl FnOnce(TrainingData<'_>) -> T,
) -> T {
    let images = folder.join("images");
    let locate = |path: &str| -> Result<PathBuf, sample::Error> {
        sample::safe_join(&images, path.trim_start_matches("halves/"))
    };
    then(TrainingData {
        examples: samples.iter().map(Example::from).collect(),
        samples,
        rejects: Vec::new(),
        near: &HashMap::new(),
        facts: &Facts::new(),
        locate: &locate,
        judge: None,
    })
}
