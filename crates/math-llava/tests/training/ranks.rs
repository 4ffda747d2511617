//! Several processes that train together: one is killed, and the run goes on with fewer; ranks that do not belong
//! together, and commands that cannot be meant.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{command, config, steps, succeeds, train};

/// The process that is rank `rank` of the run into `out`, found by its environment.
fn process_of(rank: usize, out: &Path) -> Option<libc::pid_t> {
    let wanted = format!("RANK={rank}");
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let process = entry.file_name().to_str()?.parse().ok()?;
        let has = |file: &str, word: &[u8]| {
            let bytes = fs::read(entry.path().join(file)).unwrap_or_default();
            bytes.split(|byte| *byte == 0).any(|found| found == word)
        };
        let ours = has("cmdline", out.to_str()?.as_bytes());
        (ours && has("environ", wanted.as_bytes())).then_some(process)
    })
}

fn losses(out: &Path) -> Vec<f64> {
    let text = fs::read_to_string(out.join("train/metrics.jsonl")).unwrap();
    let loss = |line: &str| serde_json::from_str::<Value>(line).unwrap()["loss"].as_f64();
    text.lines().map(|line| loss(line).unwrap()).collect()
}

#[test]
fn a_killed_rank_ends_all_with_its_name_and_the_run_goes_on_with_fewer() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let (whole, parts) = (dir.path().join("whole"), dir.path().join("parts"));
    let out = |folder: &Path| folder.to_str().unwrap().to_owned();
    succeeds(&config, &["--out", &out(&whole)]);

    let started = command(&config, &["--out", &out(&parts), "--nproc", "3"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while steps(&parts) < 6 {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "no step was made"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    let rank = process_of(1, &parts).unwrap();
    // SAFETY: it is a child of a child of ours, which has not waited for it yet.
    unsafe { libc::kill(rank, libc::SIGKILL) };
    let killed = Instant::now();
    let output = started.wait_with_output().unwrap();
    assert!(killed.elapsed() < Duration::from_secs(60));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("rank 1") && said.contains("is lost"),
        "{said}"
    );
    assert!(said.contains(&format!("process {rank}")), "{said}");
    assert!(
        !parts.join("train/manifest.json").exists(),
        "it was done before"
    );

    let output = succeeds(&config, &["--out", &out(&parts), "--nproc", "2"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("going on from the checkpoint"), "{said}");
    let (one, several) = (losses(&whole), losses(&parts));
    assert_eq!(one.len(), several.len());
    for (a, b) in one.iter().zip(&several) {
        assert!((a - b).abs() <= 1e-5 * a, "{a} and {b}");
    }
}

/// Starts rank `rank` of two that meet at `port`.
fn rank_of_two(rank: usize, port: u16, config: &Path, arguments: &[&str]) -> Child {
    command(config, arguments)
        .env("RANK", rank.to_string())
        .env("WORLD_SIZE", "2")
        .env("MASTER_ADDR", "127.0.0.1")
        .env("MASTER_PORT", port.to_string())
        .env("MATH_LLAVA_RANK_TIMEOUT", "60")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn ranks_that_were_started_differently_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let first = rank_of_two(0, port, &config, &[]);
    let second = rank_of_two(1, port, &config, &["--set", "train.lr=1e-4"]);
    for rank in [first, second] {
        let output = rank.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("rank 1") && said.contains("configuration"),
            "{said}"
        );
    }
    assert!(!dir.path().join("run/train").exists());
}

#[test]
fn what_cannot_be_meant_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let refused = |output: Output, word: &str| {
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(word), "{said}");
    };
    refused(train(&config, &["--nproc", "0"]), "--nproc 0");
    let with = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = command(&config, arguments);
        command.envs(variables.iter().copied()).output().unwrap()
    };
    refused(
        with(&[("RANK", "0"), ("WORLD_SIZE", "2")], &[]),
        "MASTER_ADDR",
    );
    let complete = [
        ("RANK", "0"),
        ("WORLD_SIZE", "1"),
        ("MASTER_ADDR", "127.0.0.1"),
        ("MASTER_PORT", "1"),
    ];
    refused(with(&complete, &["--nproc", "2"]), "--nproc");
    assert!(!dir.path().join("run").exists());
}

#[test]
fn a_dry_run_says_what_a_step_takes_on_more_ranks() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let output = succeeds(&config, &["--dry-run", "--ranks", "2,4", "--json"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |at: usize, what: &str| said["scaled"][at][what].as_f64().unwrap();
    assert_eq!((of(0, "ranks"), of(1, "ranks")), (2.0, 4.0));
    assert!(of(1, "efficiency") < of(0, "efficiency") && of(0, "efficiency") < 1.0);
    let output = train(
        &config,
        &["--dry-run", "--ranks", "2", "--network-speed", "0"],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--network-speed"), "{said}");
}
