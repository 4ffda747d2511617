//! Several ranks against one: the same losses, the same bytes again, and on from a checkpoint with another
//! number of ranks. Each rank is a thread here; processes are tried with the program itself.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod halves;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use c10d::{Group, Rendezvous};
use fit::metrics::{EvaluationLine, METRICS, StepMetrics, StepTiming};
use halves::{samples, with_data};
use model::Precision;
use sample::{Manifest, Sample, StageKey, interrupt};
use train::{ClipBy, OptimiserConfig, TrainConfig, Update};

/// A stop is the whole process's.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Lets the test at hand have the process to itself.
fn alone() -> MutexGuard<'static, ()> {
    let guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // libtorch keeps one record of all groups' collectives in a process, and writes it without a lock: fine for
    // one rank a process, a crash for several.
    // SAFETY: no other test runs, and what an earlier one started has ended.
    unsafe { std::env::set_var("TORCH_FR_BUFFER_SIZE", "0") };
    guard
}

type Outcome = Result<Manifest, train::Error>;

/// In f32: in bf16 a sum's order shows in the third digit.
fn config() -> TrainConfig {
    TrainConfig {
        compute: Precision::Float32,
        ..halves::config()
    }
}

/// Runs `rank` on each of `world` threads that have met.
fn ranks<T: Send>(world: usize, rank: impl Fn(Rc<Group>) -> T + Sync) -> Vec<T> {
    sample::progress::set_quiet(true);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    std::thread::scope(|scope| {
        let rank = &rank;
        let threads: Vec<_> = (0..world)
            .map(|own| {
                scope.spawn(move || {
                    let mut at = Rendezvous::local(port, own, world);
                    at.timeout = Duration::from_secs(60);
                    rank(Rc::new(Group::join(&at).unwrap()))
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    })
}

fn train_one(folder: &Path, data: &[Sample], config: &TrainConfig, group: &Rc<Group>) -> Outcome {
    let key = StageKey::new("train", 5, serde_json::to_value(config).unwrap());
    // A rank that does not write has no folder in common with the one that does.
    let out = match group.rank() {
        0 => folder.join("train"),
        rank => folder.join(format!("rank-{rank}/train")),
    };
    with_data(folder, data, |data| {
        train::run_among(config, 5, data, &out, key, false, group)
    })
}

fn train(folder: &Path, data: &[Sample], config: &TrainConfig, world: usize) -> Vec<Outcome> {
    ranks(world, |group| train_one(folder, data, config, &group))
}

/// The first rank's manifest; the others have the same, but for last places of numbers that went through text.
fn done(outcomes: Vec<Outcome>) -> Manifest {
    let mut manifests: Vec<Manifest> = outcomes.into_iter().map(Result::unwrap).collect();
    assert!(
        manifests
            .windows(2)
            .all(|w| (&w[0].counts, &w[0].key) == (&w[1].counts, &w[1].key))
    );
    manifests.swap_remove(0)
}

fn steps(folder: &Path) -> Vec<StepMetrics> {
    fit::metrics::read(&folder.join("train").join(METRICS)).unwrap()
}

fn lines<T: serde::de::DeserializeOwned>(folder: &Path, name: &str) -> Vec<T> {
    let text = std::fs::read_to_string(folder.join("train").join(name)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn bytes(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join("train").join(name)).unwrap()
}

/// `what` of two runs, to `tolerance` of itself.
fn assert_same_curve(one: &[StepMetrics], other: &[StepMetrics], tolerance: f64) {
    assert_eq!(one.len(), other.len());
    for (a, b) in one.iter().zip(other) {
        let step = a.step;
        let counts = |m: &StepMetrics| (m.step, m.epoch, m.samples, m.tokens, m.labels, m.skipped);
        assert_eq!(counts(a), counts(b));
        assert_eq!(a.lr, b.lr);
        for (what, a, b) in [("loss", a.loss, b.loss), ("norm", a.grad_norm, b.grad_norm)] {
            // Norms add up squares of differences that the loss does not show.
            let tolerance = if what == "norm" {
                10.0 * tolerance
            } else {
                tolerance
            };
            assert!(
                (a - b).abs() <= tolerance * b.abs(),
                "{what} of step {}: {a} and {b}",
                step
            );
        }
    }
}

/// The ways of updating.
fn ways() -> [TrainConfig; 3] {
    let way = |update, clip_by| TrainConfig {
        update,
        clip_by,
        micro_rows: 2,
        row_tokens: 64,
        epochs: 2.0,
        eval_steps: 6,
        holdout: 0.2,
        tower: train::TowerConfig {
            steps: 4,
            ..config().tower
        },
        ..config()
    };
    [
        way(Update::Accumulate, ClipBy::Global),
        way(Update::Layerwise, ClipBy::Layer),
        way(Update::Layerwise, ClipBy::Previous),
    ]
}

#[test]
fn one_two_three_and_four_ranks_give_the_same_losses_and_the_same_answers() {
    let _alone = alone();
    for config in ways() {
        let one = tempfile::tempdir().unwrap();
        let data = samples(one.path(), 30);
        let single = done(train(one.path(), &data, &config, 1));
        let curve = steps(one.path());
        assert!(curve.last().unwrap().loss < curve[0].loss);
        for world in [2, 3, 4] {
            let several = tempfile::tempdir().unwrap();
            samples(several.path(), 30);
            let manifest = done(train(several.path(), &data, &config, world));
            assert_same_curve(&curve, &steps(several.path()), 1e-5);
            assert_eq!(manifest.counts, single.counts, "{world} ranks");
            let asked = |folder| lines::<EvaluationLine>(folder, "evaluations.jsonl");
            assert_eq!(asked(several.path()), asked(one.path()), "{world} ranks");
            let timings: Vec<StepTiming> = lines(several.path(), "timing.jsonl");
            assert!(timings.iter().all(|t| t.ranks.len() == world));
            assert!(timings.iter().any(|t| t.waited_seconds > 0.0));
            // Whoever does not write has written nothing.
            assert!(!several.path().join("rank-1/train/manifest.json").exists());
        }
    }
}

#[test]
fn the_mean_that_is_taken_off_the_features_gradient_is_that_of_all_ranks() {
    let _alone = alone();
    let config = TrainConfig {
        centre_features: true,
        tower: train::TowerConfig {
            steps: 0,
            ..config().tower
        },
        epochs: 1.0,
        ..config()
    };
    let curves = [1, 3].map(|world| {
        let folder = tempfile::tempdir().unwrap();
        let data = samples(folder.path(), 24);
        done(train(folder.path(), &data, &config, world));
        steps(folder.path())
    });
    // Later ones differ: the gradient of the projector's last bias is zero but for rounding, of which AdamW makes
    // a step of full length.
    assert_same_curve(&curves[0][..1], &curves[1][..1], 1e-6);
    assert_same_curve(&curves[0], &curves[1], 1e-2);
}

#[test]
fn as_many_ranks_give_the_same_bytes_again_whatever_holds_weights_and_states() {
    let _alone = alone();
    for optimiser in [
        "{\"weights\":\"float32\",\"states\":\"int8\"}",
        "{\"weights\":\"bfloat16\",\"states\":\"int8\"}",
    ] {
        let optimiser: OptimiserConfig = serde_json::from_str(optimiser).unwrap();
        let config = TrainConfig {
            optimiser,
            epochs: 1.0,
            ..config()
        };
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        for folder in &folders {
            let data = samples(folder.path(), 20);
            done(train(folder.path(), &data, &config, 3));
        }
        for name in [METRICS, "model/model.safetensors", "manifest.json"] {
            let [one, other] = &folders;
            assert!(
                bytes(one.path(), name) == bytes(other.path(), name),
                "{name}"
            );
        }
    }
}

/// Trains until `after` steps are recorded, and asks for a stop then.
fn train_until(folder: &Path, data: &[Sample], config: &TrainConfig, world: usize, after: usize) {
    let metrics: PathBuf = folder.join("train").join(METRICS);
    let watch = std::thread::spawn(move || {
        while std::fs::read_to_string(&metrics).map_or(0, |t| t.lines().count()) < after {
            std::thread::sleep(Duration::from_millis(1));
        }
        interrupt::request();
    });
    let outcomes = train(folder, data, config, world);
    watch.join().unwrap();
    interrupt::clear();
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        let stopped = matches!(error, train::Error::Sample(sample::Error::Interrupted));
        assert!(stopped, "{error}");
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    let _alone = alone();
    let config = TrainConfig {
        epochs: 6.0,
        ..config()
    };
    let whole = tempfile::tempdir().unwrap();
    let data = samples(whole.path(), 32);
    done(train(whole.path(), &data, &config, 2));
    for (before, after) in [(2, 2), (2, 1), (2, 4), (1, 3), (4, 2)] {
        let stopped = tempfile::tempdir().unwrap();
        samples(stopped.path(), 32);
        train_until(stopped.path(), &data, &config, before, 9);
        assert!(stopped.path().join("train/checkpoint").exists());
        assert!(!stopped.path().join("rank-1/train/checkpoint").exists());
        done(train(stopped.path(), &data, &config, after));
        assert_same_curve(&steps(whole.path()), &steps(stopped.path()), 1e-5);
        if (before, after) == (2, 2) {
            for name in [METRICS, "model/model.safetensors", "manifest.json"] {
                let same = bytes(whole.path(), name) == bytes(stopped.path(), name);
                assert!(same, "{name}");
            }
        }
    }
}

#[test]
fn ranks_of_other_settings_or_data_are_refused_before_anything_is_written() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let data = samples(folder.path(), 8);
    let other = TrainConfig {
        lr: 1e-4,
        ..config()
    };
    let outcomes = ranks(3, |group| {
        let config = if group.rank() == 1 {
            other.clone()
        } else {
            config()
        };
        train_one(folder.path(), &data, &config, &group)
    });
    for outcome in outcomes {
        let said = outcome.unwrap_err().to_string();
        assert!(
            said.contains("configuration") && said.contains("rank 1"),
            "{said}"
        );
    }
    assert!(!folder.path().join("train").exists());

    let outcomes = ranks(2, |group| {
        let own = if group.rank() == 1 {
            &data[..10]
        } else {
            &data[..]
        };
        train_one(folder.path(), own, &config(), &group)
    });
    for outcome in outcomes {
        let said = outcome.unwrap_err().to_string();
        assert!(said.contains("data"), "{said}");
    }
}

#[test]
fn what_one_rank_cannot_read_is_a_reject_of_the_run() {
    let _alone = alone();
    let config = TrainConfig {
        on_missing_image: train::OnMissingImage::Skip,
        tower: train::TowerConfig {
            steps: 0,
            ..config().tower
        },
        epochs: 1.0,
        ..config()
    };
    let rejects = [1, 2, 3].map(|world| {
        let folder = tempfile::tempdir().unwrap();
        let data = samples(folder.path(), 16);
        // Its size can be read, its pixels cannot.
        let image = folder.path().join("images/5.png");
        let whole = std::fs::read(&image).unwrap();
        std::fs::write(&image, &whole[..whole.len() / 2]).unwrap();
        let manifest = done(train(folder.path(), &data, &config, world));
        manifest.counts["rejects"]
    });
    assert_eq!(rejects, [2; 3]);
}
