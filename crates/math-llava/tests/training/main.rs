//! `math-llava train` as a user has it: the binary on conversations in LLaVA's JSON, stopped, gone on with,
//! from scratch and from a base, and given what it cannot use.

#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod ranks;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_math-llava");

/// Squares of two colours with two questions each, a conversation of two rounds, and one without an
/// image.
fn data(folder: &Path) -> PathBuf {
    let colours = [
        ("red", [220, 20, 20]),
        ("blue", [20, 20, 220]),
        ("grey", [90; 3]),
    ];
    let images = folder.join("images");
    fs::create_dir_all(&images).unwrap();
    let mut rows = Vec::new();
    for n in 0..24 {
        let (name, colour) = colours[n % 3];
        let file = format!("{n}.png");
        let size = 20 + n as u32 % 5;
        image::RgbImage::from_pixel(size, 20, image::Rgb(colour))
            .save(images.join(&file))
            .unwrap();
        for (k, question) in ["What colour is it?", "Name the colour of this."]
            .iter()
            .enumerate()
        {
            let mut said = vec![
                json!({"from": "human", "value": format!("<image>\n{question}")}),
                json!({"from": "gpt", "value": format!("The answer is {name}")}),
            ];
            if n == 0 {
                said.push(json!({"from": "human", "value": "Are you sure?"}));
                said.push(json!({"from": "gpt", "value": "Yes"}));
            }
            rows.push(json!({"id": format!("{n}-{k}"), "image": file, "conversations": said}));
        }
    }
    rows.push(json!({"id": "text", "conversations": [
        {"from": "human", "value": "What is 1 + 1?"}, {"from": "gpt", "value": "The answer is 2"}
    ]}));
    let path = folder.join("pairs.json");
    fs::write(&path, serde_json::to_vec(&rows).unwrap()).unwrap();
    path
}

/// A configuration of a tiny model from scratch.
fn config(folder: &Path) -> PathBuf {
    let path = folder.join("config.toml");
    let data = data(folder);
    let text = format!(
        "seed = 3\nout = '{out}'\n[train]\nlr = 3e-3\nepochs = 8.0\nbatch_images = 4\nthreads = 1\n\
         checkpoint_steps = 1\ncompute = 'float32'\n\
         [train.data]\nconversations = '{data}'\nimages = '{images}'\n\
         [train.model.vision]\nimage_size = 16\npatch_size = 8\nhidden = 32\nlayers = 2\nheads = 2\n\
         mlp = 64\n[train.model.text]\nhidden = 32\nlayers = 2\nheads = 2\nkv_heads = 2\nmlp = 64\n\
         vocab_size = 320\nmax_length = 256\n",
        out = folder.join("run").display(),
        data = data.display(),
        images = folder.join("images").display(),
    );
    fs::write(&path, text).unwrap();
    path
}

fn command(config: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("train").arg(config).args(arguments);
    command
}

fn train(config: &Path, arguments: &[&str]) -> Output {
    command(config, arguments).output().unwrap()
}

fn succeeds(config: &Path, arguments: &[&str]) -> Output {
    let output = train(config, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    output
}

fn steps(folder: &Path) -> usize {
    let text = fs::read_to_string(folder.join("train/metrics.jsonl"));
    text.map_or(0, |text| text.lines().count())
}

fn stop_after(mut child: Child, folder: &Path, wanted: usize, signal: libc::c_int) -> Option<i32> {
    let started = Instant::now();
    while steps(folder) < wanted && child.try_wait().unwrap().is_none() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "no step was made"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    // SAFETY: the child is ours and was not waited for yet.
    unsafe { libc::kill(child.id() as libc::pid_t, signal) };
    child.wait().unwrap().code()
}

#[test]
fn a_training_that_is_terminated_exits_with_0_and_goes_on_to_the_bytes_of_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    let out = |folder: &Path| folder.to_str().unwrap().to_owned();
    succeeds(&config, &["--out", &out(&whole)]);
    for (wanted, signal, code) in [
        (3, libc::SIGTERM, Some(0)),
        (9, libc::SIGKILL, None),
        (20, libc::SIGINT, Some(130)),
    ] {
        let child = command(&config, &["--out", &out(&parts)])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        assert_eq!(
            stop_after(child, &parts, wanted, signal),
            code,
            "signal {signal}"
        );
        assert!(
            !parts.join("train/manifest.json").exists(),
            "it was done before"
        );
    }
    succeeds(&config, &["--out", &out(&parts)]);
    for name in [
        "metrics.jsonl",
        "model/model.safetensors",
        "model/README.md",
        "manifest.json",
    ] {
        let bytes = |folder: &Path| fs::read(folder.join("train").join(name)).unwrap();
        assert_eq!(bytes(&whole), bytes(&parts), "{name}");
    }
    let page = fs::read_to_string(parts.join("train/training.html")).unwrap();
    assert!(page.contains("Loss") && !page.contains("http-equiv=\"refresh\""));
    let card = fs::read_to_string(parts.join("train/model/README.md")).unwrap();
    assert!(
        card.contains("49 question-answer pairs") || card.contains("49 "),
        "{card}"
    );
}

#[test]
fn low_rank_updates_of_a_base_are_trained_whole_and_in_4_bits_and_merged() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    succeeds(&config, &[]);
    let base = dir.path().join("run/train/model");
    for quantise in ["false", "true"] {
        let out = dir.path().join(quantise);
        let settings = [
            format!("train.base.model={}", base.display()),
            format!("train.lora={{rank = 4, alpha = 8, quantise_base = {quantise}}}"),
            "train.freeze_tower=true".to_owned(),
            "train.max_steps=6".to_owned(),
            "train.update=layerwise".to_owned(),
            "train.clip_by=previous".to_owned(),
            "train.gradient_checkpointing=true".to_owned(),
            "train.micro_rows=1".to_owned(),
        ];
        let mut arguments = vec!["--out", out.to_str().unwrap()];
        for setting in &settings {
            arguments.extend(["--set", setting]);
        }
        succeeds(&config, &arguments);
        let trained = out.join("train");
        assert_eq!(steps(&out), 6);
        for file in [
            "adapter/adapter_config.json",
            "adapter/README.md",
            "model/config.json",
        ] {
            assert!(trained.join(file).is_file(), "{file}");
        }
        // Merged, so that it is the base and something more.
        let weights = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
        assert_ne!(weights(&base), weights(&trained.join("model")));
        let peft: Value =
            serde_json::from_slice(&fs::read(trained.join("adapter/adapter_config.json")).unwrap())
                .unwrap();
        assert_eq!(
            (peft["r"].as_i64(), peft["lora_alpha"].as_f64()),
            (Some(4), Some(8.0))
        );
    }
}

#[test]
fn held_out_questions_are_asked_and_the_best_model_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let set = [
        "--set",
        "train.holdout=0.25",
        "--set",
        "train.eval_steps=8",
        "--set",
        "train.lr=0.01",
    ];
    succeeds(&config, &set);
    let folder = dir.path().join("run/train");
    let text = fs::read_to_string(folder.join("evaluations.jsonl")).unwrap();
    let scores: Vec<f64> = text
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["score"]
                .as_f64()
                .unwrap()
        })
        .collect();
    assert!(scores.len() >= 2, "{text}");
    let manifest: Value =
        serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let best = manifest["results"]["best"]["score"].as_f64().unwrap();
    assert_eq!(best, scores.iter().copied().fold(0.0, f64::max));
    let page = fs::read_to_string(folder.join("training.html")).unwrap();
    assert!(page.contains("Should say"));
}

#[test]
fn a_dry_run_says_what_it_takes_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let output = succeeds(&config, &["--dry-run", "--json"]);
    let forecast: Value = serde_json::from_slice(&output.stdout).unwrap();
    // 24 images and one conversation without, four to a step, eight times.
    assert_eq!(forecast["steps"], 56);
    assert_eq!(forecast["pairs"], 49);
    assert!(forecast["seconds_per_step"].as_f64().unwrap() > 0.0);
    assert!(forecast["memory"]["weights"].as_f64().unwrap() > 0.0);
    assert!(!dir.path().join("run").exists());
    let output = succeeds(&config, &["--dry-run"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("memory") && text.contains("Nothing was written"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_trained_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let broken = dir.path().join("broken.json");
    fs::write(&broken, b"[{\"id\": 1, ").unwrap();
    let empty = dir.path().join("empty.json");
    fs::write(&empty, b"[]").unwrap();
    let images = dir.path().join("images").display().to_string();
    let conversations = |path: &Path| format!("train.data.conversations={}", path.display());
    let cases: Vec<(Vec<String>, &str)> = vec![
        (vec!["train.update=layerwise".into()], "clip_by"),
        (vec!["train.packing=forest".into()], "forest"),
        (vec!["train.lr=fast".into()], "lr"),
        (vec!["train.speed=9".into()], "speed"),
        (vec!["train.device=tpu".into()], "tpu"),
        (vec!["train.base.model=no/such/folder".into()], "no such"),
        (vec![format!("train.base.model={images}")], "images"),
        (vec![conversations(&broken)], "broken.json"),
        (vec![conversations(&empty)], "no samples"),
        (
            vec![conversations(&dir.path().join("absent.json"))],
            "there is no file",
        ),
        (
            vec![
                "train.data.images=elsewhere".into(),
                "train.on_missing_image=stop".into(),
            ],
            "on_missing_image",
        ),
        (vec!["train.model.text.max_length=8".into()], "max_length"),
        (
            vec![
                "train.model.text.hidden=131072".into(),
                "train.model.text.heads=64".into(),
                "train.model.text.kv_heads=64".into(),
            ],
            "this run needs",
        ),
        (
            vec![
                "train.freeze_decoder=true".into(),
                "train.freeze_projector=true".into(),
                "train.freeze_tower=true".into(),
            ],
            "nothing to train",
        ),
        (
            vec!["train.lr=9".into(), "train.weight_decay=9".into()],
            "Lower the learning rate",
        ),
    ];
    for (number, (settings, wanted)) in cases.iter().enumerate() {
        let out = dir.path().join(format!("case-{number}"));
        let mut arguments = vec!["--out", out.to_str().unwrap()];
        for setting in settings {
            arguments.extend(["--set", setting]);
        }
        let output = train(&config, &arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{settings:?}: {said}");
        assert!(said.contains(wanted), "{settings:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    // A run whose stages before have not been done.
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/tiny.toml");
    let nowhere = dir.path().join("nowhere");
    let early = train(&tiny, &["--out", nowhere.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(said.contains("no pairs to train on yet"), "{said}");
    assert!(!nowhere.exists());
    // Another configuration's unfinished run, and changed data.
    let out = dir.path().join("unfinished");
    let child = command(&config, &["--out", out.to_str().unwrap()])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    stop_after(child, &out, 2, libc::SIGTERM);
    let other = train(
        &config,
        &["--out", out.to_str().unwrap(), "--set", "train.lr=1e-4"],
    );
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(said.contains("lr: 0.003 against 0.0001"), "{said}");
    let file = dir.path().join("images/5.png");
    image::RgbImage::from_pixel(31, 17, image::Rgb([1; 3]))
        .save(&file)
        .unwrap();
    let changed = train(&config, &["--out", out.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&changed.stderr).into_owned();
    assert!(said.contains("have changed since the checkpoint"), "{said}");
}
