//! The program as a user meets it: whole runs, stops, other settings, bad input.

#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// A run that takes seconds: a few figures, a model that is too small to learn.
const MICRO: &str = r#"
seed = 11
out = "unused"

[figures]
count = 60
size = 160
families = ["bar", "counting", "triangle"]
questions_per_figure = 1

[heldout]
count = 12
size = 160
families = ["bar", "counting", "triangle"]
questions_per_figure = 1
degraded = 0.0
split = "heldout"

[select]
total = 30

[synth]
teacher = "program"

[train]
lr = 1e-3
batch_images = 4
epochs = 2.0
checkpoint_steps = 3

[train.tower]
steps = 6
batch_images = 8
min_images = 4

[train.model.vision]
image_size = 32
patch_size = 16
hidden = 32
layers = 2
heads = 2
mlp = 64

[train.model.text]
hidden = 32
layers = 2
heads = 2
kv_heads = 2
mlp = 64
vocab_size = 400
max_length = 512

[eval]
max_new_tokens = 6
"#;

/// Every file a user may rely on to be the same for the same seed.
const PROMISED: [&str; 12] = [
    "import/figures/samples.parquet",
    "import/figures/images.parquet",
    "import/figures/manifest.json",
    "select/manifest.json",
    "select/samples.parquet",
    "synth/train.json",
    "synth/manifest.json",
    "train/metrics.jsonl",
    "train/model/model.safetensors",
    "eval/scores.jsonl",
    "eval/manifest.json",
    "report/report.html",
];

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_math-llava"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn says(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn config(folder: &Path, text: &str) -> String {
    let path = folder.join("micro.toml");
    fs::write(&path, text).unwrap();
    path.to_string_lossy().into_owned()
}

fn same_bytes(a: &Path, b: &Path) {
    for name in PROMISED {
        assert!(
            fs::read(a.join(name)).unwrap() == fs::read(b.join(name)).unwrap(),
            "{name}"
        );
    }
}

fn path(folder: &Path) -> &str {
    folder.to_str().unwrap()
}

#[test]
fn a_run_gives_the_same_bytes_on_other_threads_after_a_kill_and_when_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let micro = config(dir.path(), MICRO);
    let (one, two, killed) = (
        dir.path().join("one"),
        dir.path().join("two"),
        dir.path().join("killed"),
    );

    let output = program(&["--threads", "1", "run", &micro, "--out", path(&one)])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", says(&output));
    let text = says(&output);
    assert!(
        text.contains("report.html") && text.contains("overall"),
        "{text}"
    );

    let output = program(&["--threads", "3", "run", &micro, "--out", path(&two)])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", says(&output));
    same_bytes(&one, &two);

    // Killed as soon as training has saved a checkpoint, then gone on with.
    let mut child = program(&["run", &micro, "--out", path(&killed)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let metrics = killed.join("train/metrics.jsonl");
    for _ in 0..2_000 {
        let lines = fs::read_to_string(&metrics)
            .unwrap_or_default()
            .lines()
            .count();
        if lines >= 4 || child.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let output = program(&["run", &micro, "--out", path(&killed)])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", says(&output));
    same_bytes(&one, &killed);

    // A repeated command does nothing anew.
    let model = one.join("train/model/model.safetensors");
    let before = fs::metadata(&model).unwrap().modified().unwrap();
    let output = program(&["run", &micro, "--out", path(&one)])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", says(&output));
    assert_eq!(fs::metadata(&model).unwrap().modified().unwrap(), before);

    // Another configuration does not overwrite it unless told to.
    let other = dir.path().join("other.toml");
    fs::write(&other, MICRO.replace("total = 30", "total = 20")).unwrap();
    let other = path(&other);
    let output = program(&["run", other, "--out", path(&one)])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = says(&output);
    assert!(
        text.contains("total: 30 against 20") && text.contains("--force"),
        "{text}"
    );
    assert_eq!(fs::metadata(&model).unwrap().modified().unwrap(), before);
    let output = program(&["select", "--config", other, "--out", path(&one), "--force"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", says(&output));
    assert!(says(&output).contains("20 images"), "{}", says(&output));

    // A threshold that is not reached is exit status 1, and everything is still written.
    let arguments = ["run", &micro, "--out", path(&two), "--min-accuracy", "101"];
    let output = program(&arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", says(&output));
}

#[test]
fn a_dry_run_says_what_would_be_done_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let micro = config(dir.path(), MICRO);
    let out = dir.path().join("out");
    let output = program(&["run", &micro, "--out", path(&out), "--dry-run"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", says(&output));
    let text = says(&output);
    for stage in ["import", "select", "synth", "train", "eval", "total"] {
        assert!(text.contains(stage), "{stage} is not in {text}");
    }
    assert!(!out.exists());
}

/// What is tried, the arguments, and words that the message must have.
type Case<'a> = (&'a str, Vec<&'a str>, &'a [&'a str]);

#[test]
fn what_cannot_be_done_is_said_with_status_2() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| -> String {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let micro = at("micro.toml", MICRO);
    let unknown = at("unknown.toml", &MICRO.replace("total = 30", "totl = 30"));
    let nothing = at("nothing.toml", "seed = 1\nout = \"x\"\n");
    let same = at(
        "same.toml",
        &MICRO.replace("split = \"heldout\"", "split = \"train\""),
    );
    let real = at(
        "real.toml",
        "seed = 1\nout = \"x\"\n[[source]]\nname = \"tabmwp\"\n",
    );
    let twice = at(
        "twice.toml",
        "seed = 1\nout = \"x\"\n[[source]]\nname = \"tabmwp\"\n[[source]]\nname = \"tabmwp\"\n",
    );
    let teacher = at("teacher.toml", &MICRO.replace("\"program\"", "\"oracle\""));
    let garbage = at("garbage.toml", "seed = = 1");
    let file = at("file", "not a folder");
    let blocked = PathBuf::from(&file)
        .join("out")
        .to_string_lossy()
        .into_owned();
    let out = dir.path().join("out").to_string_lossy().into_owned();
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let empty = empty.to_string_lossy().into_owned();

    let cases: Vec<Case<'_>> = vec![
        (
            "no such file",
            vec!["run", "/no/such.toml"],
            &["/no/such.toml"],
        ),
        (
            "a misspelt setting",
            vec!["run", &unknown],
            &["totl", "unknown.toml"],
        ),
        ("broken TOML", vec!["run", &garbage], &["garbage.toml"]),
        (
            "nothing to train on",
            vec!["run", &nothing],
            &["nothing to train on"],
        ),
        (
            "the same figures held out",
            vec!["run", &same],
            &["split", "held-out"],
        ),
        ("no root", vec!["run", &real, "--out", &out], &["--root"]),
        (
            "one source twice",
            vec!["run", &twice, "--out", &out],
            &["twice"],
        ),
        (
            "an unknown teacher",
            vec!["run", &teacher, "--out", &out],
            &["oracle", "program"],
        ),
        (
            "out is below a file",
            vec!["run", &micro, "--out", &blocked],
            &["file"],
        ),
        (
            "an unknown source",
            vec![
                "import", "--source", "imagenet", "--root", &empty, "--out", &out,
            ],
            &["imagenet", "tabmwp"],
        ),
        (
            "the folder of another data set",
            vec![
                "import", "--source", "tabmwp", "--root", &empty, "--out", &out,
            ],
            &["TabMWP", "problems_"],
        ),
        (
            "a stage before its time",
            vec!["train", "--config", &micro, "--out", &empty],
            &["synth"],
        ),
        (
            "no model",
            vec![
                "logits", "--model", &empty, "--image", &file, "--prompt", "x", "--out", &out,
            ],
            &["config.json"],
        ),
        (
            "a report of nothing",
            vec!["report", "--run", &empty],
            &["empty"],
        ),
    ];
    for (what, arguments, words) in cases {
        let output = program(&arguments).output().unwrap();
        let text = says(&output);
        assert_eq!(output.status.code(), Some(2), "{what}: {text}");
        for word in words {
            assert!(text.contains(word), "{what}: {word:?} is not in: {text}");
        }
        assert!(!text.contains("panicked"), "{what}: {text}");
    }
}
