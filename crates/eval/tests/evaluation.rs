//! The stage as a whole: what it asks, what it counts, and what is left after a kill.

// A test says what is wrong by panicking.
#![allow(clippy::unwrap_used)]

mod world;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use chat::{ChatModel, Error as ChatError, Finish, Reply, Request};
use eval::heldout::{Family, samples};
use eval::{Config, Error};
use sample::scores::{Condition, Reading, Verdict};
use sample::{Answer, IMAGES, ImageRow, Manifest, Origin, SAMPLES, Stage, StageKey, write_table};
use world::{Student, World, config, contents, key, questions, results, run, said, scores, world};

#[test]
fn a_model_that_looks_beats_swapped_images_and_blind_guesses() {
    let world = world(40);
    let dir = tempfile::tempdir().unwrap();
    let manifest = run(&world, &Student::looking(&world), dir.path()).unwrap();
    let results = results(&manifest);
    assert_eq!(results.overall.model.value, 1.0);
    assert_eq!(results.overall.swapped.correct, 0);
    assert!(results.overall.blind.value > 0.3 && results.overall.blind.value < 0.8);
    assert!(results.overall.beats_both());
    let names = |groups: &[sample::scores::Group]| -> Vec<String> {
        groups.iter().map(|g| g.name.clone()).collect()
    };
    assert_eq!(names(&results.tasks), ["FQA", "MWP"]);
    assert_eq!(names(&results.families), ["figures/bar", "figures/line"]);
    assert_eq!(names(&results.answer_kinds), ["choice", "integer", "text"]);
    assert_eq!(results.templates.len(), 6);
    assert_eq!(results.tasks_won(), 2);
    assert_eq!(manifest.counts["items"], 120);
    assert_eq!(manifest.counts["requests"], 240);
    assert_eq!(results.separation.training_images, 80);
    for name in manifest.files.keys() {
        assert!(dir.path().join(name).is_file(), "{name}");
    }
    assert_eq!(manifest.files.len(), 6);
}

#[test]
fn a_model_that_does_not_look_gains_nothing_over_swapped_images() {
    let world = world(40);
    let dir = tempfile::tempdir().unwrap();
    let student = Student::new(&world, |item, _, _| {
        said(if item.choices.is_empty() {
            "The answer is yes"
        } else {
            "The answer is B"
        })
    });
    let overall = results(&run(&world, &student, dir.path()).unwrap()).overall;
    assert_eq!(overall.over_swapped.value, 0.0);
    assert_eq!(overall.over_swapped.verdict, Verdict::Unclear);
    assert!(!overall.beats_both());
}

#[test]
fn swaps_stay_in_the_family_and_never_show_the_same_picture() {
    let mut world = world(24);
    // Image 2 is a copy of image 0; image 23 is alone of its kind.
    for item in &mut world.items {
        if item.image.path.ends_with("/2.png") {
            item.image.sha256 = "test-0".into();
        }
    }
    let alone = "figures/test/23.png";
    world.families.insert(
        alone.into(),
        Family {
            source: "figures".into(),
            family: Some("clock".into()),
        },
    );
    let dir = tempfile::tempdir().unwrap();
    let manifest = run(&world, &Student::looking(&world), dir.path()).unwrap();
    let sha: BTreeMap<&str, &str> = world
        .items
        .iter()
        .map(|i| (i.image.path.as_str(), i.image.sha256.as_str()))
        .collect();
    let own: BTreeMap<&str, &str> = world
        .items
        .iter()
        .map(|i| (i.id.as_str(), i.image.path.as_str()))
        .collect();
    let mut seen = std::collections::BTreeSet::new();
    let mut swapped = 0;
    for score in scores(dir.path())
        .iter()
        .filter(|s| s.condition == Condition::Swapped)
    {
        let shown = score.shown.as_deref().unwrap();
        let own = own[score.id.as_str()];
        assert_ne!(sha[shown], sha[own], "{}", score.id);
        assert_eq!(score.shown_sha256.as_deref(), Some(sha[shown]));
        assert_eq!(world.families[shown], world.families[own]);
        assert_ne!(own, alone);
        seen.insert(shown.to_owned());
        swapped += 1;
    }
    assert_eq!(swapped, 3 * 23);
    assert!(seen.len() > 15, "{} donors only", seen.len());
    let results = results(&manifest);
    assert_eq!(results.readings[&Condition::Swapped].left_out, 3);
    assert_eq!(results.readings[&Condition::Model].left_out, 0);
    assert_eq!(results.overall.over_swapped.items, 69);
    assert_eq!(results.overall.over_blind.items, 72);
}

#[test]
fn blind_guesses_are_the_most_frequent_answers_of_the_template() {
    let mut world = world(12);
    let mut training = Vec::new();
    // Right options by text: Ash 3, Elm 2; Ash is not offered to the second item below.
    for (i, index) in [2, 2, 2, 1, 1].into_iter().enumerate() {
        let mut pair = questions(200 + 2 * i, "train").swap_remove(0);
        pair.answer = Answer::Choice(index);
        training.push(pair);
    }
    for (i, n) in [4, 8, 8].into_iter().enumerate() {
        let mut pair = questions(200 + 2 * i, "train").swap_remove(1);
        pair.answer = Answer::Integer(n);
        training.push(pair);
    }
    world.training = training;
    let choices = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    world.items.truncate(6);
    let mut other = world.items[0].clone();
    other.id = "figures:other".into();
    other.choices = choices(&["Fir", "Oak", "Elm"]);
    other.answer = Answer::Choice(0);
    let mut unknown = other.clone();
    unknown.id = "figures:unknown".into();
    unknown.choices = choices(&["Box", "Yew", "Bay"]);
    world.items.extend([other, unknown]);
    let dir = tempfile::tempdir().unwrap();
    let manifest = run(&world, &Student::looking(&world), dir.path()).unwrap();
    let guess: BTreeMap<String, Option<String>> = scores(dir.path())
        .into_iter()
        .filter(|s| s.condition == Condition::Blind)
        .map(|s| (s.id, s.extraction))
        .collect();
    for (id, wanted) in [
        // Ash, offered as C.
        ("figures:test/0#0", Some("C")),
        ("figures:test/0#1", Some("8")),
        // Nothing of this kind in training.
        ("figures:test/0#2", None),
        // A template training does not have; its task has no free-form number either.
        ("figures:test/1#1", None),
        ("figures:test/1#0", Some("A")),
        // Elm, offered as C here.
        ("figures:other", Some("C")),
        // No option was ever right: the letter that was most often.
        ("figures:unknown", Some("C")),
    ] {
        assert_eq!(guess[id].as_deref(), wanted, "{id}");
    }
    let grounds = results(&manifest).blind_grounds;
    assert_eq!(
        (grounds.template, grounds.source, grounds.task, grounds.none),
        (4, 0, 0, 4)
    );
}

#[test]
fn blind_guesses_go_back_to_wider_ground_and_count_it() {
    let mut world = world(12);
    for pair in &mut world.training {
        pair.template = None;
    }
    for item in world.items.iter_mut().take(3) {
        item.origin = Origin::Source {
            source: "real".into(),
            row: item.id.clone(),
        };
    }
    let plan = eval::plan(&config(), 5, &world.inputs()).unwrap();
    let grounds = plan.blind_grounds();
    assert_eq!(
        (grounds.template, grounds.source, grounds.task, grounds.none),
        (0, 33, 3, 0)
    );
}

#[test]
fn a_held_out_image_that_training_has_stops_the_evaluation() {
    let mut world = world(10);
    world.training[4].image.sha256 = "test-3".into();
    // The same path with other bytes is another image.
    world.training[9].image.path = "figures/test/5.png".into();
    let error = eval::plan(&config(), 5, &world.inputs()).err().unwrap();
    let text = error.to_string();
    assert!(text.starts_with("1 of 10 held-out images"), "{text}");
    assert!(
        text.contains("figures:test/3#0 and figures:train/101#1"),
        "{text}"
    );
}

#[test]
fn a_run_stopped_anywhere_ends_with_the_same_bytes() {
    let world = world(10);
    let whole = tempfile::tempdir().unwrap();
    run(&world, &Student::looking(&world), whole.path()).unwrap();
    let wanted = contents(whole.path());
    assert!(!wanted.contains_key("asked.json"));
    for stop in [0, 1, 6, 7, 20, 29, 30, 31, 45, 59] {
        let dir = tempfile::tempdir().unwrap();
        let failing = Student::new(&world, |item, own, before| {
            if before >= stop {
                return Err(ChatError::Failed {
                    model: "scripted".into(),
                    detail: "gone".into(),
                });
            }
            said(&if own {
                sample::prompt::response(item)
            } else {
                "The answer is 77".into()
            })
        });
        let error = run(&world, &failing, dir.path()).unwrap_err();
        assert!(matches!(error, Error::Model(_)), "{error}");
        assert!(Manifest::read_if_any(dir.path()).unwrap().is_none());
        // As if the kill had come while a line was written.
        let file = dir.path().join(if stop < 30 {
            "responses.model.jsonl"
        } else {
            "responses.swapped.jsonl"
        });
        let mut torn = std::fs::read(&file).unwrap();
        torn.extend_from_slice(b"{\"id\":\"figures:te");
        std::fs::write(&file, torn).unwrap();

        let student = Student::looking(&world);
        run(&world, &student, dir.path()).unwrap();
        assert_eq!(contents(dir.path()), wanted, "stopped at {stop}");
        let again = student.asked.get();
        assert!(
            again <= 60 - stop + 7,
            "{again} asked again after a stop at {stop}"
        );
    }
}

#[test]
fn a_batch_is_asked_again_whole_so_that_its_company_stays_the_same() {
    /// Says where in its batch a question came; fails after some batches.
    struct Placed(Cell<usize>);
    impl ChatModel for Placed {
        fn name(&self) -> &str {
            "placed"
        }
        fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, ChatError>> {
            if self.0.get() == 0 {
                return batch.iter().map(|_| Err(ChatError::Interrupted)).collect();
            }
            self.0.set(self.0.get() - 1);
            (0..batch.len())
                .map(|place| said(&format!("The answer is {place}")))
                .collect()
        }
    }
    let world = world(10);
    let plan = eval::plan(&config(), 5, &world.inputs()).unwrap();
    let ask = |batches: usize, folder: &Path| {
        eval::run(&plan, &Placed(Cell::new(batches)), folder, key(), false)
    };
    let whole = tempfile::tempdir().unwrap();
    ask(usize::MAX, whole.path()).unwrap();
    for cut in [0, 1, 150, 700, 1_200] {
        let dir = tempfile::tempdir().unwrap();
        ask(3, dir.path()).unwrap_err();
        // A write that the kill cut in two: whole lines of a batch, but not all.
        let file = dir.path().join("responses.model.jsonl");
        let text = std::fs::read(&file).unwrap();
        std::fs::write(&file, &text[..text.len() - cut]).unwrap();
        ask(usize::MAX, dir.path()).unwrap();
        assert_eq!(contents(dir.path()), contents(whole.path()), "cut by {cut}");
    }
}

#[test]
fn the_thread_count_changes_no_byte() {
    let world = world(20);
    let bytes = |threads: usize| {
        let dir = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| run(&world, &Student::looking(&world), dir.path()))
            .unwrap();
        contents(dir.path())
    };
    assert_eq!(bytes(1), bytes(4));
}

#[test]
fn a_finished_evaluation_is_not_asked_again_and_another_is_not_overwritten() {
    let world = world(8);
    let dir = tempfile::tempdir().unwrap();
    let first = run(&world, &Student::looking(&world), dir.path()).unwrap();
    let idle = Student::new(&world, |_, _, _| panic!("asked again"));
    assert_eq!(run(&world, &idle, dir.path()).unwrap(), first);

    let plan = eval::plan(&config(), 6, &world.inputs()).unwrap();
    let other = StageKey { seed: 6, ..key() };
    let error = eval::run(&plan, &idle, dir.path(), other.clone(), false).unwrap_err();
    assert!(error.to_string().contains("seed 5 against 6"), "{error}");
    let student = Student::looking(&world);
    let forced = eval::run(&plan, &student, dir.path(), other.clone(), true).unwrap();
    assert_eq!((forced.key, student.asked.get()), (other, 48));
}

#[test]
fn replies_of_another_model_or_configuration_are_never_taken_over() {
    let world = world(8);
    let dir = tempfile::tempdir().unwrap();
    let failing = Student::new(&world, |_, _, before| {
        if before < 10 {
            return said("The answer is B");
        }
        Err(ChatError::Interrupted)
    });
    let error = run(&world, &failing, dir.path()).unwrap_err();
    assert!(
        matches!(error, Error::Sample(sample::Error::Interrupted)),
        "{error}"
    );
    let plan = eval::plan(&config(), 6, &world.inputs()).unwrap();
    let student = Student::looking(&world);
    let other = StageKey { seed: 6, ..key() };
    let error = eval::run(&plan, &student, dir.path(), other, false).unwrap_err();
    assert!(matches!(error, Error::OtherHalf { .. }), "{error}");
    // Without the note of whose they are, replies are asked again.
    std::fs::remove_file(dir.path().join("asked.json")).unwrap();
    let overall = results(&run(&world, &student, dir.path()).unwrap()).overall;
    assert_eq!(overall.model.value, 1.0);
}

#[test]
fn a_reply_file_that_was_tampered_with_is_an_error_that_names_the_line() {
    let world = world(8);
    for (bad, wanted) in [
        ("{\"id\":3}\n", "not a reply"),
        ("nonsense\n", "not a reply"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let failing = Student::new(&world, |_, _, before| {
            if before < 14 {
                said("12")
            } else {
                Err(ChatError::Interrupted)
            }
        });
        run(&world, &failing, dir.path()).unwrap_err();
        let file = dir.path().join("responses.model.jsonl");
        let text = std::fs::read_to_string(&file).unwrap();
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        lines[3] = bad;
        std::fs::write(&file, lines.concat()).unwrap();
        let error = run(&world, &Student::looking(&world), dir.path())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("responses.model.jsonl, line 4") && error.contains(wanted),
            "{error}"
        );

        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let swapped = [&[lines[1], lines[0]], &lines[2..]].concat().concat();
        std::fs::write(&file, swapped).unwrap();
        let error = run(&world, &Student::looking(&world), dir.path())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("line 1: a reply to \"figures:test/0#1\""),
            "{error}"
        );
    }
}

#[test]
fn replies_without_an_answer_are_counted_by_what_is_wrong_with_them() {
    let world = world(8);
    let dir = tempfile::tempdir().unwrap();
    let prose = "Let me think about this picture for a while, since it is not easy to see";
    let student = Student::new(&world, |item, own, before| match before {
        0 => Err(ChatError::Unanswerable {
            id: item.id.clone(),
            detail: "no such file".into(),
        }),
        1 | 2 => said(" "),
        3..=5 => said(prose),
        6 => Ok(Reply {
            text: prose.into(),
            finish: Finish::Length,
            prompt_tokens: 1,
            completion_tokens: 1,
        }),
        _ => said(&if own {
            sample::prompt::response(item)
        } else {
            "77".into()
        }),
    });
    let results = results(&run(&world, &student, dir.path()).unwrap());
    let counts = results.readings[&Condition::Model];
    assert_eq!(
        (
            counts.asked,
            counts.parsed,
            counts.unparsed,
            counts.empty,
            counts.failed,
            counts.truncated
        ),
        (24, 17, 4, 2, 1, 1)
    );
    assert_eq!(results.overall.model.correct, 17);
    let first = &scores(dir.path())[0];
    assert_eq!((first.reading, first.correct), (Reading::Failed, false));
}

#[test]
fn a_model_that_drops_replies_is_an_error() {
    struct Short;
    impl ChatModel for Short {
        fn name(&self) -> &str {
            "short"
        }
        fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, ChatError>> {
            batch.iter().skip(1).map(|_| said("1")).collect()
        }
    }
    let world = world(8);
    let dir = tempfile::tempdir().unwrap();
    let plan = eval::plan(&config(), 5, &world.inputs()).unwrap();
    let error = eval::run(&plan, &Short, dir.path(), key(), false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "model short: 6 replies to a batch of 7 requests"
    );
}

#[test]
fn settings_and_data_that_cannot_be_meant_are_refused() {
    let world = world(8);
    let refused = |config: Config, world: &World| {
        eval::plan(&config, 5, &world.inputs())
            .err()
            .map(|e| e.to_string())
            .unwrap_or_default()
    };
    for (config, wanted) in [
        (
            Config {
                batch_size: 0,
                ..config()
            },
            "eval.batch_size: must be at least 1",
        ),
        (
            Config {
                max_new_tokens: 0,
                ..config()
            },
            "eval.max_new_tokens: must be at least 1",
        ),
        (
            Config {
                limit: Some(0),
                ..config()
            },
            "eval.limit: must be at least 1",
        ),
    ] {
        assert!(refused(config, &world).contains(wanted));
    }
    let empty = World {
        items: vec![],
        ..self::world(8)
    };
    assert!(refused(config(), &empty).contains("no held-out questions"));
    let mut twice = self::world(8);
    twice.items[1].id = twice.items[0].id.clone();
    assert!(refused(config(), &twice).contains("occurs twice"));
    let mut lost = self::world(8);
    lost.images.remove("figures/test/3.png");
    let mut two = self::world(8);
    two.items[0].image.sha256 = "other".into();
    assert!(refused(config(), &two).contains("two different held-out images"));
    assert!(refused(config(), &lost).contains("no file is known"));
    assert!(serde_json::from_str::<Config>("{\"batchsize\": 3}").is_err());
    assert_eq!(
        serde_json::from_str::<Config>("{}").unwrap(),
        Config::default()
    );
}

#[test]
fn a_limit_draws_questions_from_all_over_and_the_same_each_time() {
    let world = world(60);
    let limited = Config {
        limit: Some(30),
        ..config()
    };
    let ids = || {
        let dir = tempfile::tempdir().unwrap();
        let plan = eval::plan(&limited, 5, &world.inputs()).unwrap();
        let student = Student::looking(&world);
        eval::run(&plan, &student, dir.path(), key(), false).unwrap();
        assert_eq!(student.asked.get(), 60);
        scores(dir.path())
            .into_iter()
            .map(|s| s.id)
            .collect::<Vec<_>>()
    };
    let drawn = ids();
    assert_eq!(drawn, ids());
    let late = world.items[90..]
        .iter()
        .filter(|i| drawn.contains(&i.id))
        .count();
    assert!(
        (6..=24).contains(&late),
        "{late} of 30 from the second half"
    );
}

#[test]
fn a_stage_folder_has_its_samples_and_their_files() {
    let world = world(4);
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::begin(
        dir.path(),
        StageKey::new("import", 5, serde_json::Value::Null),
        false,
    );
    let stage = stage.unwrap();
    write_table(&stage.path(SAMPLES), &world.items).unwrap();
    let rows: Vec<ImageRow> = world
        .items
        .iter()
        .step_by(3)
        .take(3)
        .map(|i| ImageRow {
            image: i.image.clone(),
            source: "figures".into(),
            family: Some("bar".into()),
            clarity: None,
            clarity_score: None,
            complexity: None,
            complexity_score: None,
            scene: None,
        })
        .collect();
    write_table(&stage.path(IMAGES), &rows).unwrap();
    let mut manifest = Manifest::new(stage.key().clone());
    manifest
        .image_roots
        .insert("figures".into(), "images".into());
    stage.finish(manifest, &[SAMPLES]).unwrap();

    let items = samples::items(dir.path()).unwrap();
    assert_eq!(items.samples, world.items);
    assert_eq!(
        items.images["figures/test/2.png"],
        dir.path().join("images/test/2.png")
    );
    let family = |n: usize| {
        items.families[&format!("figures/test/{n}.png")]
            .family
            .clone()
    };
    assert_eq!((family(0).as_deref(), family(3)), (Some("bar"), None));

    let empty = tempfile::tempdir().unwrap();
    let error = samples::items(empty.path()).unwrap_err();
    assert!(
        error.to_string().contains("not a finished stage"),
        "{error}"
    );
}
