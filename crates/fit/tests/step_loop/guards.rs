//! Losses and gradients that are out of line or no numbers.

use fit::Error;

use crate::child::command;
use crate::toy::{Toy, checkpoints, options, run, whole};

#[test]
fn a_spike_is_reported_with_its_samples_and_left_out_only_if_asked() {
    for (what, words, skipped) in [
        ("spike", "the update was made", 0),
        ("spike skipped", "the update was left out", 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let output = command(dir.path(), what).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        assert_eq!(said.matches("running deviations").count(), 1, "{said}");
        assert!(said.contains("step 70: the loss is"), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(
            said.contains("4 samples: toy:280, toy:281, toy:282, toy:283"),
            "{said}"
        );
        let lines = fit::metrics::read(&dir.path().join("metrics.jsonl")).unwrap();
        let left_out: Vec<u64> = lines.iter().filter(|l| l.skipped).map(|l| l.step).collect();
        assert_eq!(left_out.len(), skipped);
        assert!(left_out.iter().all(|&step| step == 70));
    }
}

#[test]
fn the_guards_running_numbers_survive_a_stop() {
    let options = fit::Options {
        spike_deviations: 6.0,
        skip_spikes: true,
        ..options()
    };
    let spiked = |toy: &mut Toy| toy.leaps = vec![(70, 1e5)];
    let dir = tempfile::tempdir().unwrap();
    let mut toy = Toy::new();
    spiked(&mut toy);
    let summary = run(&mut toy, &options, dir.path()).unwrap();
    assert_eq!(summary.skipped, 1);

    // Less than the warm-up's steps after the stop: from nothing, the guard would see no spike.
    let stopped = tempfile::tempdir().unwrap();
    let mut first = Toy::new();
    first.bad_gradient = Some(60);
    run(&mut first, &options, stopped.path()).unwrap_err();
    let mut second = Toy::new();
    spiked(&mut second);
    let summary = run(&mut second, &options, stopped.path()).unwrap();
    assert_eq!((summary.first, summary.skipped), (60, 1));
    assert_eq!(second.weights(), toy.weights());
}

#[test]
fn what_is_no_number_stops_the_run_with_the_samples_named_and_the_last_checkpoint_kept() {
    let (weights, _) = whole(&options());
    type Break = fn(&mut Toy);
    let cases: [(&str, Break); 2] = [
        ("the loss is NaN", |toy| toy.leaps = vec![(50, f64::NAN)]),
        ("the gradient norm is inf", |toy| {
            toy.bad_gradient = Some(50)
        }),
    ];
    for (what, broken) in cases {
        let dir = tempfile::tempdir().unwrap();
        let mut toy = Toy::new();
        broken(&mut toy);
        let error = run(&mut toy, &options(), dir.path()).unwrap_err();
        assert!(matches!(error, Error::Diverged { step: 50, .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(what), "{message}");
        assert!(
            message.contains("4 samples: toy:200, toy:201, toy:202, toy:203"),
            "{message}"
        );
        assert!(message.contains("Lower the learning rate"), "{message}");
        // Before anything was changed by it.
        assert!(checkpoints(dir.path()).contains(&"step-00000050".to_owned()));
        let mut mended = Toy::new();
        run(&mut mended, &options(), dir.path()).unwrap();
        assert_eq!(mended.weights(), weights);
    }
}
