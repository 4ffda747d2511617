//! A run that was stopped or killed ends in the bytes of one that never was.

use std::time::{Duration, Instant};

use crate::child::{STOPPED, command};
use crate::toy::{Toy, checkpoints, options, records, run, whole};

#[test]
fn a_run_killed_again_and_again_ends_in_the_bytes_of_one_that_never_stopped() {
    let (weights, expected) = whole(&options());
    let dir = tempfile::tempdir().unwrap();
    let metrics = dir.path().join("metrics.jsonl");
    let mut kills = 0;
    // With a checkpoint each step, most of these fall into the saving of one or the removal of another.
    for (lines, wait) in [
        (1, 0),
        (9, 300),
        (21, 700),
        (22, 100),
        (40, 1500),
        (41, 500),
        (77, 900),
    ] {
        let mut child = command(dir.path(), "train").spawn().unwrap();
        let count = || std::fs::read_to_string(&metrics).map_or(0, |t| t.lines().count());
        while count() < lines && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::thread::sleep(Duration::from_micros(wait));
        child.kill().unwrap();
        kills += usize::from(!child.wait().unwrap().success());
    }
    assert_eq!(kills, 7, "the child was done before it was killed");
    let mut toy = Toy::new();
    let summary = run(&mut toy, &options(), dir.path()).unwrap();
    assert!(summary.first >= 70, "{summary:?}");
    assert_eq!(toy.weights(), weights);
    assert_eq!(toy.seen, 4 * 90);
    assert!(records(dir.path()) == expected);
    let left = checkpoints(dir.path());
    assert!(!left.iter().any(|name| name.ends_with(".tmp")), "{left:?}");
}

#[test]
fn a_stop_saves_a_checkpoint_wherever_it_comes() {
    let few = fit::Options {
        checkpoint_steps: 0,
        ..options()
    };
    let (weights, expected) = whole(&few);
    for (what, step) in [
        ("stop", 34),
        // The step that waited was not made, the evaluation not finished.
        ("stop while waiting", 33),
        ("stop while evaluating", 40),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let stopped = command(dir.path(), what).status().unwrap();
        assert_eq!(stopped.code(), Some(STOPPED), "{what}");
        let mut toy = Toy::new();
        let summary = run(&mut toy, &few, dir.path()).unwrap();
        assert_eq!(summary.first, step, "{what}");
        assert_eq!(toy.weights(), weights, "{what}");
        assert_eq!(toy.evaluations[0], 40, "{what}");
        assert!(records(dir.path()) == expected, "{what}");
    }
}

#[test]
fn sigterm_saves_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(dir.path(), "slowly").spawn().unwrap();
    let metrics = dir.path().join("metrics.jsonl");
    while std::fs::metadata(&metrics).map_or(0, |m| m.len()) < 1000 {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    let id = i32::try_from(child.id()).unwrap();
    // SAFETY: a plain system call, to a child that was not waited for yet.
    assert_eq!(unsafe { libc::kill(id, libc::SIGTERM) }, 0);
    assert_eq!(child.wait().unwrap().code(), Some(STOPPED));
    let steps = std::fs::read_to_string(&metrics).unwrap().lines().count();
    assert_eq!(checkpoints(dir.path()), [format!("step-{steps:08}")]);
}

#[test]
fn a_finished_run_is_not_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Toy::new();
    run(&mut first, &options(), dir.path()).unwrap();
    let before = records(dir.path());
    let mut again = Toy::new();
    let summary = run(&mut again, &options(), dir.path()).unwrap();
    assert_eq!((summary.first, summary.steps), (90, 90));
    assert!(again.evaluations.is_empty());
    assert_eq!(again.weights(), first.weights());
    assert!(records(dir.path()) == before);

    // Checkpoints by the clock alone: the run ends without one, unless it is asked for.
    let other = tempfile::tempdir().unwrap();
    let none = fit::Options {
        checkpoint_steps: 0,
        checkpoint_seconds: 3600,
        checkpoint_end: false,
        eval_steps: 0,
        ..options()
    };
    let started = Instant::now();
    run(&mut Toy::new(), &none, other.path()).unwrap();
    if started.elapsed() < Duration::from_secs(3600) {
        assert!(!other.path().join("checkpoint").exists());
    }
}
