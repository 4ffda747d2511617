//! The training stage as a whole, on pictures of two colours: results, resumption, bad input.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod halves;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fit::metrics::METRICS;
use halves::{config, samples, with_data};
use sample::{Manifest, Sample, StageKey};
use train::{TowerConfig, TrainConfig};

fn train(
    folder: &Path,
    samples: &[Sample],
    config: &TrainConfig,
) -> Result<Manifest, train::Error> {
    sample::progress::set_quiet(true);
    let key = StageKey::new("train", 5, serde_json::to_value(config).unwrap());
    with_data(folder, samples, |data| {
        train::run(config, 5, data, &folder.join("train"), key, false)
    })
}

fn bytes(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join("train").join(name)).unwrap()
}

#[test]
fn it_learns_counts_what_it_did_and_gives_the_same_bytes_again() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = TrainConfig {
        epochs: 40.0,
        ..config()
    };
    let data = samples(one.path(), 32);
    let manifest = train(one.path(), &data, &config).unwrap();
    assert_eq!(manifest.counts["steps"], 320);
    assert_eq!(
        (manifest.counts["samples"], manifest.counts["images"]),
        (64, 32)
    );
    assert!(manifest.counts["tokens"] * 4 < manifest.counts["tokens_unpacked"] * 3);
    let loss = |name: &str| manifest.results[name].as_f64().unwrap();
    // Guessing among four colours alone costs ln 4 a pair, 0.15 a token here.
    assert!(
        loss("final_loss") < 0.08 * loss("first_loss"),
        "{:?}",
        manifest.results
    );

    assert_eq!(data, samples(two.path(), 32));
    train(two.path(), &data, &config).unwrap();
    for name in [
        METRICS,
        "model/model.safetensors",
        "model/tokenizer.json",
        "manifest.json",
    ] {
        assert_eq!(bytes(one.path(), name), bytes(two.path(), name), "{name}");
    }
    assert!(!one.path().join("train/checkpoint").exists());
    assert!(!one.path().join("train/tower/checkpoint").exists());
    assert_eq!(
        bytes(one.path(), "tower/metrics.jsonl"),
        bytes(two.path(), "tower/metrics.jsonl")
    );
}

/// Runs in a process of its own, which the tests below start and stop.
#[test]
#[ignore = "started by other tests"]
fn child_process() {
    let Ok(folder) = std::env::var("TRAIN_TEST_FOLDER") else {
        return;
    };
    let folder = PathBuf::from(folder);
    let config = TrainConfig {
        checkpoint_steps: 1,
        ..config()
    };
    if let Ok(step) = std::env::var("TRAIN_TEST_STOP") {
        let step: usize = step.parse().unwrap();
        let metrics = folder.join("train").join(METRICS);
        std::thread::spawn(move || {
            loop {
                let done = std::fs::read_to_string(&metrics).map_or(0, |t| t.lines().count());
                if done >= step {
                    return sample::interrupt::request();
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let error = train(&folder, &samples(&folder, 32), &config).unwrap_err();
        assert!(
            matches!(error, train::Error::Sample(sample::Error::Interrupted)),
            "{error}"
        );
        return;
    }
    train(&folder, &samples(&folder, 32), &config).unwrap();
}

fn child(folder: &Path, stop: Option<usize>) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child_process", "--ignored"])
        .env("TRAIN_TEST_FOLDER", folder);
    if let Some(step) = stop {
        command.env("TRAIN_TEST_STOP", step.to_string());
    }
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_run_killed_again_and_again_ends_in_the_bytes_of_one_that_never_stopped() {
    let (whole, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = TrainConfig {
        checkpoint_steps: 1,
        ..config()
    };
    train(whole.path(), &samples(whole.path(), 32), &config).unwrap();

    let metrics = killed.path().join("train").join(METRICS);
    let mut stops = 0;
    // Once while the tower learns alone.
    let tower = killed.path().join("train/tower/checkpoint");
    let mut first = child(killed.path(), None);
    while !tower.exists() && first.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_micros(300));
    }
    first.kill().unwrap();
    stops += usize::from(!first.wait().unwrap().success());
    // With a checkpoint each step, most of these fall into the saving of one.
    for step in [2, 7, 8, 15] {
        let mut child = child(killed.path(), None);
        while std::fs::read_to_string(&metrics).map_or(0, |t| t.lines().count()) < step {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        child.kill().unwrap();
        stops += usize::from(!child.wait().unwrap().success());
    }
    assert_eq!(stops, 5, "the child was not stopped before it was done");
    train(killed.path(), &samples(killed.path(), 32), &config).unwrap();
    for name in [METRICS, "model/model.safetensors", "manifest.json"] {
        assert_eq!(
            bytes(whole.path(), name),
            bytes(killed.path(), name),
            "{name}"
        );
    }
}

#[test]
fn a_stop_saves_a_checkpoint_from_which_the_run_goes_on() {
    let (whole, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // The same key as the child's, in whose process the stop is asked for.
    let config = TrainConfig {
        checkpoint_steps: 1,
        ..config()
    };
    train(whole.path(), &samples(whole.path(), 32), &config).unwrap();
    assert!(child(stopped.path(), Some(5)).wait().unwrap().success());
    assert!(stopped.path().join("train/checkpoint").exists());
    assert!(!stopped.path().join("train/manifest.json").exists());
    train(stopped.path(), &samples(stopped.path(), 32), &config).unwrap();
    assert_eq!(bytes(whole.path(), METRICS), bytes(stopped.path(), METRICS));
    // Another configuration must not go on from it, nor overwrite what is finished.
    let other = TrainConfig { lr: 1e-4, ..config };
    let error = train(stopped.path(), &samples(stopped.path(), 32), &other).unwrap_err();
    assert!(
        error.to_string().contains("lr: 0.003 against 0.0001"),
        "{error}"
    );
}

#[test]
fn images_that_cannot_be_read_and_pairs_that_are_too_long_are_left_out_and_listed() {
    let folder = tempfile::tempdir().unwrap();
    let mut data = samples(folder.path(), 8);
    std::fs::remove_file(folder.path().join("images/0.png")).unwrap();
    std::fs::write(folder.path().join("images/1.png"), b"not an image").unwrap();
    data[4].image.path = "halves/../../etc/passwd".to_owned();
    data[5].image.path = data[4].image.path.clone();
    data[6].question = "why? ".repeat(300);
    let manifest = train(folder.path(), &data, &config()).unwrap();
    assert_eq!(
        (manifest.counts["images"], manifest.counts["rejects"]),
        (5, 7)
    );
    let rejects: Vec<sample::Reject> =
        sample::read_table(&folder.path().join("train").join(sample::REJECTS)).unwrap();
    let reasons: Vec<&str> = rejects.iter().map(|r| r.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "image_missing",
            "image_missing",
            "image_broken",
            "image_broken",
            "image_path",
            "image_path",
            "too_long"
        ]
    );

    std::fs::remove_dir_all(folder.path().join("images")).unwrap();
    std::fs::remove_dir_all(folder.path().join("train")).unwrap();
    let error = train(folder.path(), &data, &config()).unwrap_err();
    assert!(
        error.to_string().contains("none of 16 samples can be used"),
        "{error}"
    );
    assert!(train(folder.path(), &[], &config()).is_err());
}

#[test]
fn a_learning_rate_that_blows_up_is_an_error_that_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = TrainConfig {
        lr: 10.0,
        weight_decay: 10.0,
        ..config()
    };
    let error = train(folder.path(), &samples(folder.path(), 32), &config).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("Lower the learning rate"), "{message}");
    assert!(message.contains("halves:"), "{message}");
}

#[test]
fn a_frozen_tower_keeps_its_weights_while_the_rest_learns() {
    let (frozen, free) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let data = samples(frozen.path(), 8);
    samples(free.path(), 8);
    let tower = |folder: &Path, config: &TrainConfig| {
        train(folder, &data, config).unwrap();
        let tensors =
            tch::Tensor::read_safetensors(folder.join("train/model/model.safetensors")).unwrap();
        let at = |part: &str| {
            tensors
                .iter()
                .find(|(name, _)| name.ends_with(part))
                .map(|(_, t)| t.copy())
                .unwrap()
        };
        (at("patch_embedding.weight"), at("linear_1.weight"))
    };
    let short = TrainConfig {
        max_steps: 2,
        ..config()
    };
    let longer = TrainConfig {
        max_steps: 4,
        ..config()
    };
    let (a, p) = tower(
        frozen.path(),
        &TrainConfig {
            freeze_tower: true,
            ..short
        },
    );
    let (b, q) = tower(
        free.path(),
        &TrainConfig {
            freeze_tower: true,
            ..longer.clone()
        },
    );
    assert!(a == b && p != q);
    std::fs::remove_dir_all(free.path().join("train")).unwrap();
    assert!(tower(free.path(), &longer).0 != a);
    // What is frozen is the tower that learned alone, not the one it began as.
    std::fs::remove_dir_all(free.path().join("train")).unwrap();
    let unschooled = TrainConfig {
        freeze_tower: true,
        tower: TowerConfig::default(),
        ..longer
    };
    assert!(tower(free.path(), &unschooled).0 != a);
}

#[test]
fn a_forecast_writes_nothing_and_counts_the_steps_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let data = samples(folder.path(), 32);
    let forecast = with_data(folder.path(), &data, |data| {
        train::forecast(&config(), 5, data, 3).unwrap()
    });
    assert_eq!(forecast.steps, 24);
    assert!(forecast.seconds_per_step > 0.0 && forecast.tokens < forecast.tokens_unpacked);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
