//! The stage: settings, files, tables, repetition.

use std::collections::{BTreeMap, BTreeSet};

use sample::Answer;
use serde_json::json;

use super::super::*;
use super::read_scene;

#[test]
fn settings_that_cannot_be_used_are_named() {
    let base = FiguresConfig::default;
    for (config, word) in [
        (FiguresConfig { size: 3, ..base() }, "size"),
        (
            FiguresConfig {
                degraded: 1.5,
                ..base()
            },
            "degraded",
        ),
        (
            FiguresConfig {
                degraded: f64::NAN,
                ..base()
            },
            "degraded",
        ),
        (
            FiguresConfig {
                questions_per_figure: 0,
                ..base()
            },
            "questions_per_figure",
        ),
        (
            FiguresConfig {
                split: "../x".into(),
                ..base()
            },
            "split",
        ),
        (
            FiguresConfig {
                families: vec!["bars".into()],
                ..base()
            },
            "grouped_bar",
        ),
        (
            FiguresConfig {
                families: vec!["bar".into(), "bar".into()],
                ..base()
            },
            "twice",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let error = import(&config, 1, folder.path(), false)
            .unwrap_err()
            .to_string();
        assert!(error.contains(word), "{error}");
    }
    assert!(serde_json::from_value::<FiguresConfig>(json!({"counts": 3})).is_err());
}

fn contents(folder: &std::path::Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path
                    .strip_prefix(folder)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                all.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    all
}

#[test]
fn the_same_seed_gives_the_same_bytes_for_any_thread_count_and_after_a_stop() {
    sample::progress::set_quiet(true);
    let config = FiguresConfig {
        count: 45,
        size: 160,
        degraded: 0.3,
        ..FiguresConfig::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, threads: usize, seed: u64| {
        let path = folder.path().join(name);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let manifest = pool
            .install(|| import(&config, seed, &path, false))
            .unwrap();
        (path, manifest)
    };
    let (one, manifest) = run("one", 1, 9);
    assert_eq!(manifest.counts["images"], 45);
    assert_eq!(manifest.counts["samples"], 135);
    assert_eq!(manifest.counts["rejects"], 0);
    let all = contents(&one);
    assert_eq!(contents(&run("two", 2, 9).0), all);
    assert_ne!(contents(&run("other", 2, 10).0), all);
    // As a kill leaves it: no manifest, some files missing, one half written.
    let half = folder.path().join("half");
    std::fs::create_dir_all(half.join("images/bar")).unwrap();
    std::fs::write(half.join("images/bar/0.png"), b"half").unwrap();
    assert_eq!(contents(&run("half", 2, 9).0), all);
    // A finished folder is left as it is, and refused to another configuration.
    assert_eq!(run("one", 2, 9).1, manifest);
    let error = import(&config, 10, &one, false).unwrap_err().to_string();
    assert!(error.contains("seed"), "{error}");
}

#[test]
fn rows_trace_back_and_their_images_are_there() {
    sample::progress::set_quiet(true);
    let folder = tempfile::tempdir().unwrap();
    let config = FiguresConfig {
        count: 40,
        split: "test".into(),
        ..FiguresConfig::default()
    };
    let manifest = import(&config, 2, folder.path(), false).unwrap();
    let samples: Vec<sample::Sample> =
        sample::read_table(&folder.path().join(sample::SAMPLES)).unwrap();
    let images: Vec<sample::ImageRow> =
        sample::read_table(&folder.path().join(sample::IMAGES)).unwrap();
    assert_eq!(samples[0].id, "figures:test:bar:0:q0");
    let ids: BTreeSet<&str> = samples.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids.len(), samples.len());
    for row in &images {
        let path =
            sample::resolve_image(folder.path(), &manifest.image_roots, &row.image.path).unwrap();
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(sample::sha256_hex(&bytes), row.image.sha256);
        let pixels = sample::pixels::decode(&bytes).unwrap();
        assert_eq!(pixels.dimensions(), (row.image.width, row.image.height));
        assert!(row.scene.as_deref().is_some_and(|s| read_scene(s).is_ok()));
    }
    for sample in &samples {
        if let Answer::Choice(right) = sample.answer {
            assert!(right < sample.choices.len() && sample.choices.len() >= 2);
            let distinct: BTreeSet<&String> = sample.choices.iter().collect();
            assert_eq!(distinct.len(), sample.choices.len(), "{sample:?}");
        }
    }
}

#[test]
fn other_splits_are_other_figures() {
    let train = FiguresConfig {
        degraded: 0.0,
        ..FiguresConfig::default()
    };
    let test = FiguresConfig {
        split: "test".into(),
        ..train.clone()
    };
    for (family, _) in families() {
        let digest = |config: &FiguresConfig, n| {
            sample::sha256_hex(draw(config, 1, family, n).unwrap().image.as_raw())
        };
        let seen: BTreeSet<String> = (0..15).map(|n| digest(&train, n)).collect();
        assert_eq!(seen.len(), 15, "{family}: two figures are the same");
        assert!(
            (0..15).all(|n| !seen.contains(&digest(&test, n))),
            "{family}"
        );
    }
}
