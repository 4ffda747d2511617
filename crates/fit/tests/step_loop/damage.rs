//! Checkpoints that are not as they were written, not for this run, or do not fit on the disk.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::child::{FAILED, command};
use crate::toy::{Toy, checkpoints, key, options, records, run, whole};

/// A run that was stopped after 45 steps, with checkpoints of 40 (the best), 44 and 45.
fn unfinished(folder: &Path) {
    let mut toy = Toy::new();
    toy.bad_gradient = Some(45);
    run(&mut toy, &options(), folder).unwrap_err();
    assert_eq!(
        checkpoints(folder),
        ["best", "step-00000040", "step-00000044", "step-00000045"]
    );
}

fn of_step(folder: &Path, step: u64) -> PathBuf {
    folder.join(format!("checkpoint/step-{step:08}"))
}

fn shard(folder: &Path, step: u64) -> PathBuf {
    let mut shards: Vec<PathBuf> = fs::read_dir(of_step(folder, step))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
        .collect();
    shards.sort();
    shards.remove(1)
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_an_older_one() {
    let (weights, expected) = whole(&options());
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("a shard is missing", |f| {
            fs::remove_file(shard(f, 45)).unwrap()
        }),
        ("a shard is cut", |f| {
            let bytes = fs::read(shard(f, 45)).unwrap();
            fs::write(shard(f, 45), &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("a bit is turned", |f| {
            let mut bytes = fs::read(shard(f, 45)).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
            fs::write(shard(f, 45), bytes).unwrap();
        }),
        ("the state is missing", |f| {
            fs::remove_file(of_step(f, 45).join("state.json")).unwrap();
        }),
        ("the state is cut", |f| {
            let path = of_step(f, 45).join("state.json");
            let bytes = fs::read(&path).unwrap();
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("the folder is empty", |f| {
            fs::remove_dir_all(of_step(f, 45)).unwrap();
            fs::create_dir(of_step(f, 45)).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        unfinished(dir.path());
        damage(dir.path());
        // The step is made again, and its checkpoint is whole this time.
        let mut broken = Toy::new();
        broken.bad_gradient = Some(45);
        run(&mut broken, &options(), dir.path()).unwrap_err();
        let kept = ["best", "step-00000040", "step-00000044", "step-00000045"];
        assert_eq!(checkpoints(dir.path()), kept, "{what}");
        let mut toy = Toy::new();
        let summary = run(&mut toy, &options(), dir.path()).unwrap();
        assert_eq!((broken.seen, summary.first), (180, 45), "{what}");
        assert_eq!(toy.weights(), weights, "{what}");
        assert!(records(dir.path()) == expected, "{what}");
    }
}

#[test]
fn where_no_checkpoint_is_whole_the_run_does_not_start_over_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    unfinished(dir.path());
    for step in [40, 44, 45] {
        fs::remove_file(shard(dir.path(), step)).unwrap();
    }
    let message = run(&mut Toy::new(), &options(), dir.path())
        .unwrap_err()
        .to_string();
    assert!(message.contains("step-00000045"), "{message}");
    assert!(message.contains("--force"), "{message}");
}

#[test]
fn what_a_kill_left_unfinished_is_removed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    unfinished(dir.path());
    for name in ["step-00000046.tmp", "step-00000043.old.tmp"] {
        let folder = dir.path().join("checkpoint").join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("state-00001-of-00002.safetensors"), b"half").unwrap();
    }
    let summary = run(&mut Toy::new(), &options(), dir.path()).unwrap();
    assert_eq!(summary.first, 45);
    let left = checkpoints(dir.path());
    assert!(!left.iter().any(|name| name.ends_with(".tmp")), "{left:?}");
}

#[test]
fn another_key_or_version_is_refused_and_says_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    unfinished(dir.path());
    let path = of_step(dir.path(), 45).join("state.json");
    let good = fs::read(&path).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&good).unwrap();
        change(&mut value);
        fs::write(&path, serde_json::to_vec(&value).unwrap()).unwrap();
        let error = run(&mut Toy::new(), &options(), dir.path()).unwrap_err();
        error.to_string()
    };
    // A newer one may have fields that this program does not know, and lack others.
    let newer = with(&|v| *v = json!({"version": 3, "new": true}));
    assert!(newer.contains("version 3, this program reads 2"), "{newer}");
    let config = with(&|v| v["key"]["config"]["model"]["width"] = json!(8));
    assert!(config.contains("model.width: 8 against 6"), "{config}");
    let data = with(&|v| v["key"]["inputs"]["data"] = json!("bb"));
    assert!(data.contains("input data"), "{data}");
    let seed = with(&|v| v["key"]["seed"] = json!(4));
    assert!(seed.contains("seed 4 against 3"), "{seed}");
    // Nothing was overwritten by the attempts.
    fs::write(&path, good).unwrap();
    assert_eq!(
        run(&mut Toy::new(), &options(), dir.path()).unwrap().first,
        45
    );

    let other = key().input("data", "cc");
    let error = fit::run(&mut Toy::new(), &options(), dir.path(), &other).unwrap_err();
    assert!(error.to_string().contains("input data"), "{error}");
}

#[test]
fn a_checkpoint_that_does_not_fit_leaves_the_last_one_and_says_what_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    // The ballast and its moments in one file, which is then larger than files may be.
    let large = fit::Options {
        shard_bytes: u64::MAX,
        ..options()
    };
    let mut toy = Toy::new();
    toy.bad_gradient = Some(10);
    run(&mut toy, &large, dir.path()).unwrap_err();
    let before = checkpoints(dir.path());
    let child = command(dir.path(), "small files").output().unwrap();
    let said = String::from_utf8_lossy(&child.stderr).into_owned();
    assert_eq!(child.status.code(), Some(FAILED), "{said}");
    assert!(
        said.contains("the checkpoint of step 11 was not saved"),
        "{said}"
    );
    assert!(said.contains("It needs 1 MiB, and "), "{said}");
    assert!(said.contains("The checkpoint of step 10 is kept"), "{said}");
    assert_eq!(checkpoints(dir.path()), before);
    let mut again = Toy::new();
    let summary = run(&mut again, &options(), dir.path()).unwrap();
    assert_eq!(summary.first, 10);
    assert_eq!(again.weights(), whole(&options()).0);
}
