//! Which checkpoints are kept, and when a run ends early.

use fit::checkpoint;

use crate::toy::{Toy, checkpoints, key, options, records, run};

#[test]
fn the_best_is_kept_while_the_last_rotate_and_can_be_gone_back_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut toy = Toy::new();
    toy.scores = vec![0.1, 0.7, 0.3, 0.7];
    let options = fit::Options {
        checkpoint_steps: 5,
        ..options()
    };
    let summary = run(&mut toy, &options, dir.path()).unwrap();
    // After 20, 40, 60, 80 and the last step; as good is not better.
    assert_eq!(toy.evaluations, [20, 40, 60, 80, 90]);
    let best = summary.best.unwrap();
    assert_eq!((best.step, best.score), (40, 0.7));
    assert!(!summary.stopped_early);
    let kept = ["best", "step-00000040", "step-00000085", "step-00000090"];
    assert_eq!(checkpoints(dir.path()), kept);
    let name = std::fs::read_to_string(dir.path().join("checkpoint/best")).unwrap();
    assert_eq!(name, "step-00000040\n");
    let shards = std::fs::read_dir(dir.path().join("checkpoint/step-00000040")).unwrap();
    assert!(shards.count() > 3);

    let mut other = Toy::new();
    let back = fit::restore_best(&mut other, dir.path(), &key()).unwrap();
    assert_eq!((back, other.seen), (Some(best), 160));
    let mut short = Toy::new();
    let fresh = tempfile::tempdir().unwrap();
    let forty = fit::Options {
        eval_steps: 0,
        ..options.clone()
    };
    // The schedule is the whole run's, so the same run is made and left after 40 steps.
    short.bad_gradient = Some(40);
    run(&mut short, &forty, fresh.path()).unwrap_err();
    assert_eq!(other.weights(), short.weights());

    checkpoint::remove(dir.path()).unwrap();
    assert!(!dir.path().join("checkpoint").exists());
    let none = fit::restore_best(&mut Toy::new(), dir.path(), &key()).unwrap();
    assert_eq!(none, None);
}

#[test]
fn a_run_ends_after_so_many_evaluations_without_a_better_one_also_when_resumed() {
    let options = fit::Options {
        eval_steps: 10,
        early_stop: 2,
        ..options()
    };
    let dir = tempfile::tempdir().unwrap();
    let mut toy = Toy::new();
    toy.scores = vec![0.5, 0.4, 0.6, f64::NAN, 0.6, 0.9];
    let summary = run(&mut toy, &options, dir.path()).unwrap();
    assert!(summary.stopped_early);
    assert_eq!((summary.steps, summary.best.unwrap().step), (50, 30));
    let weights = toy.weights();
    // Started again, it is still over.
    let mut again = Toy::new();
    let summary = run(&mut again, &options, dir.path()).unwrap();
    assert!(summary.stopped_early && again.evaluations.is_empty());
    assert_eq!(again.weights(), weights);

    // Stopped between the evaluations that count, the count goes on.
    let other = tempfile::tempdir().unwrap();
    let mut first = Toy::new();
    first.scores = vec![0.5, 0.4, 0.6, 0.1];
    first.bad_gradient = Some(45);
    run(&mut first, &options, other.path()).unwrap_err();
    let mut second = Toy::new();
    second.scores = vec![0.6];
    let summary = run(&mut second, &options, other.path()).unwrap();
    assert_eq!((summary.first, second.evaluations), (45, vec![50]));
    assert!(summary.stopped_early);
    assert_eq!(summary.best.unwrap().score, 0.6);
}

#[test]
fn what_a_step_computed_is_on_record_apart_from_how_long_it_took() {
    let dir = tempfile::tempdir().unwrap();
    let options = fit::Options {
        peak_flops: Some(1e12),
        ..options()
    };
    run(&mut Toy::new(), &options, dir.path()).unwrap();
    let lines = fit::metrics::read(&dir.path().join("metrics.jsonl")).unwrap();
    assert_eq!(lines.len(), 90);
    let last = &lines[89];
    assert_eq!((last.step, last.epoch, last.samples), (89, 2, 4));
    assert_eq!((last.tokens, last.labels, last.skipped), (24, 12, false));
    assert!(last.loss < lines[0].loss && lines[0].lr == 0.0);
    let timing = std::fs::read_to_string(dir.path().join("timing.jsonl")).unwrap();
    let one: fit::metrics::StepTiming =
        serde_json::from_str(timing.lines().last().unwrap()).unwrap();
    let share = one.peak_share.unwrap();
    assert!((share - 1e6 / one.seconds / 1e12).abs() < 1e-9);
    let evaluations = String::from_utf8(records(dir.path())[1].clone()).unwrap();
    let first: fit::metrics::EvaluationLine =
        serde_json::from_str(evaluations.lines().next().unwrap()).unwrap();
    assert!(first.best && first.step == 20);
    assert_eq!(first.evaluation.answers[0]["answer"], 20);
    assert_eq!(
        first.evaluation.values["accuracy"],
        first.evaluation.score / 2.0
    );
}
