//! A campaign as a whole: what is asked in which order, what a kill leaves, what is done again alone,
//! what a judge adds.

// A test says what is wrong by panicking.
#![allow(clippy::unwrap_used)]

mod sums;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use chat::Ledger;
use eval::campaign::{
    self, Again, BenchmarkConfig, BenchmarkItem, Extracted, Judge, Plan, RESPONSES, Response, Step,
    Through,
};
use eval::{Error, Extraction, Scoring};
use sample::benchmark::BenchmarkScore;
use serde_json::Value;
use sums::{Adder, LastWord, Sums, candidate, config, data, files, lines, planned, run, write};

#[test]
fn a_run_leaves_three_stages_and_a_score_with_all_that_it_rests_on() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let plan = planned(&config(data.path()), out.path());
    assert_eq!(
        (plan.questions(), plan.images(), plan.unaskable()),
        (6, 4, 0)
    );
    let folder = out.path().join(plan.folder()).join("adder");
    assert!(folder.ends_with("sums.test/adder"));
    let adder = Adder::new();
    let score = run(&plan, &adder, Through::Batches(3), &folder).unwrap();

    assert_eq!((score.correct, score.total), (2, 6));
    assert_eq!((score.unparsed, score.failed, score.truncated), (2, 1, 1));
    assert_eq!((score.missing, score.empty, score.fallbacks), (0, 0, 0));
    assert_eq!(score.groups["parity"]["even"].correct, 1);
    assert_eq!(score.groups["parity"]["odd"].total, 3);
    assert_eq!(score.model, "adder");
    for name in [
        "benchmark",
        "data",
        "images",
        "model",
        "prompt",
        "sampling",
        "code",
    ] {
        assert!(!score.provenance[name].is_empty(), "{name}");
    }
    assert_eq!(score.provenance["model"], "sha-of-adder");
    let remarks = score.remarks.join("\n");
    assert!(
        remarks.contains("1 questions have several images"),
        "{remarks}"
    );
    assert!(
        remarks.contains(
            "official and extended rules: of 3 replies that both read, 3 the same; 0 read by the \
             first alone, 2 by the second alone"
        ),
        "{remarks}"
    );

    let responses: Vec<Response> = lines(&folder.join(RESPONSES));
    assert_eq!(responses.len(), 6);
    let failed = responses.iter().find(|r| r.id == "2").unwrap();
    assert_eq!(failed.failed.as_deref(), Some("no twos"));
    let found: Vec<Extracted> = lines(&folder.join("extractions.jsonl"));
    assert_eq!(found[3].extraction.as_deref(), Some("7"));
    assert_eq!(found[3].mode, "official");
    assert_eq!(found[4].extraction, None);
    let items: Vec<BenchmarkItem> = lines(&folder.join("items.jsonl"));
    assert_eq!(items[5].images.len(), 2);
    assert!(items[5].images.iter().all(|path| Path::new(path).is_file()));
    assert_eq!(items[0].query, "Question: 0 + 0?");
    let manifest = sample::Manifest::read(&folder).unwrap();
    assert_eq!(
        serde_json::from_value::<BenchmarkScore>(manifest.results).unwrap(),
        score
    );
    assert_eq!(manifest.counts["prompt_tokens"], 50);

    // Finished is finished.
    let again = run(&plan, &Adder::dying_after(0), Through::Batches(3), &folder).unwrap();
    assert_eq!(again, score);
}

#[test]
fn questions_of_one_image_are_asked_together_and_batches_do_not_part_them() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let plan = planned(&config(data.path()), out.path());
    let asked = |size: usize| {
        let adder = Adder::new();
        let folder = out.path().join(size.to_string());
        run(&plan, &adder, Through::Batches(size), &folder).unwrap();
        adder.batches.into_inner()
    };
    assert_eq!(asked(6), [vec!["0", "2", "4", "1", "3", "5"]]);
    assert_eq!(asked(4), [vec!["0", "2", "4"], vec!["1", "3", "5"]]);
    // An image with more questions than a batch holds is parted after all.
    let two = asked(2);
    assert_eq!(two[..2], [vec!["0", "2"], vec!["4"]]);
}

#[test]
fn a_kill_costs_no_reply_doubles_none_and_leaves_no_trace() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let plan = planned(&config(data.path()), out.path());
    let whole = out.path().join("whole");
    run(&plan, &Adder::new(), Through::Batches(2), &whole).unwrap();
    let want = files(&whole);

    for dies_after in 0..4 {
        let folder = out.path().join(format!("dies-after-{dies_after}"));
        let first = Adder::dying_after(dies_after);
        let error = run(&plan, &first, Through::Batches(2), &folder).unwrap_err();
        assert!(matches!(error, Error::Model(_)), "{error}");
        // A line that was being written when the power went.
        let path = folder.join(RESPONSES);
        let mut bytes = fs::read(&path).unwrap_or_default();
        bytes.extend(b"{\"id\":\"4\",\"resp");
        fs::write(&path, bytes).unwrap();
        let second = Adder::new();
        run(&plan, &second, Through::Batches(2), &folder).unwrap();
        let mut ids: Vec<String> = [first, second]
            .into_iter()
            .flat_map(|adder| adder.batches.into_inner().into_iter().flatten())
            .collect();
        ids.sort();
        assert_eq!(ids, ["0", "1", "2", "3", "4", "5"], "after {dies_after}");
        assert!(files(&folder) == want, "after {dies_after} batches");
    }
}

#[test]
fn over_a_ledger_nothing_is_asked_twice_and_the_replies_are_the_same() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let plan = planned(&config(data.path()), out.path());
    let ledger = Ledger::open(&out.path().join("ledger.sqlite")).unwrap();
    let direct = out.path().join("direct");
    run(&plan, &Adder::new(), Through::Batches(6), &direct).unwrap();

    let folder = out.path().join("server");
    let dead = Adder::dying_after(0);
    let error = run(&plan, &dead, Through::Ledger(&ledger), &folder).unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
    assert!(!folder.join(RESPONSES).exists());
    let adder = Adder::new();
    let score = run(&plan, &adder, Through::Ledger(&ledger), &folder).unwrap();
    assert_eq!((score.correct, score.failed), (2, 1));
    let replies = |folder: &Path| {
        let mut lines: Vec<Response> = lines(&folder.join(RESPONSES));
        for line in &mut lines {
            // The ledger says in a word of its own that a request was refused.
            line.failed = line.failed.take().map(|_| String::new());
        }
        lines
    };
    assert_eq!(replies(&folder), replies(&direct));

    // Asked for again from the start, the ledger has them all.
    fs::remove_dir_all(&folder).unwrap();
    let nobody = Adder::dying_after(0);
    assert_eq!(
        run(&plan, &nobody, Through::Ledger(&ledger), &folder).unwrap(),
        score
    );
}

#[test]
fn stages_are_done_again_alone_and_other_settings_are_refused_until_then() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let mut settings = config(data.path());
    let folder = out.path().join("adder");
    let plan = planned(&settings, out.path());
    let official = run(&plan, &Adder::new(), Through::Batches(2), &folder).unwrap();
    let kept = fs::read(folder.join(RESPONSES)).unwrap();

    settings.extraction = Extraction::Extended;
    let plan = planned(&settings, out.path());
    let nobody = Adder::dying_after(0);
    let candidate = candidate(&nobody, Through::Batches(2));
    let again = |plan: &Plan<'_>, from, force| {
        campaign::run(plan, &candidate, None, &folder, Again { force, from })
    };
    let error = again(&plan, None, false).unwrap_err().to_string();
    assert!(
        error.contains("extraction") && error.contains("--from extractions"),
        "{error}"
    );
    let extended = again(&plan, Some(Step::Extractions), false).unwrap();
    assert_eq!((official.correct, extended.correct), (2, 4));
    assert_eq!(fs::read(folder.join(RESPONSES)).unwrap(), kept);

    // What a person put right by hand counts, and the rest is scored as before.
    let path = folder.join("extractions.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"7\"", "\"6\"")).unwrap();
    let mended = again(&plan, Some(Step::Scores), false).unwrap();
    assert_eq!(mended.correct, 5);
    fs::write(&path, "").unwrap();
    let error = again(&plan, Some(Step::Scores), false).unwrap_err();
    assert!(error.to_string().contains("--from extractions"), "{error}");

    // Other questions, another model, another prompt: the replies are not theirs.
    settings.after = "\nBe brief.".into();
    let plan = planned(&settings, out.path());
    for from in [None, Some(Step::Extractions), Some(Step::Scores)] {
        let error = again(&plan, from, false).unwrap_err().to_string();
        assert!(
            error.contains("input prompt") && error.contains("--force"),
            "{error}"
        );
        assert_eq!(fs::read(folder.join(RESPONSES)).unwrap(), kept);
    }
    assert!(matches!(again(&plan, None, true), Err(Error::Model(_))));
    assert!(fs::read(folder.join(RESPONSES)).unwrap().is_empty());
    // Half of the replies are no ground to read from.
    let error = again(&plan, Some(Step::Extractions), false).unwrap_err();
    assert!(error.to_string().contains("0 of 6 replies"), "{error}");
}

#[test]
fn a_judge_reads_what_rules_leave_open_once_and_its_agreement_is_told() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let mut settings = config(data.path());
    settings.extraction = Extraction::Judge;
    let plan = planned(&settings, out.path());
    let folder = out.path().join("adder");
    let adder = Adder::new();
    let error = run(&plan, &adder, Through::Batches(2), &folder).unwrap_err();
    assert!(error.to_string().contains("[judge]"), "{error}");
    assert!(!folder.exists(), "nothing is asked before that is known");

    let ledger = Ledger::in_memory().unwrap();
    let last_word = LastWord(Cell::new(0));
    let judge = Judge {
        model: &last_word,
        ledger: &ledger,
        identity: "judge-1 of 2024".into(),
        max_new_tokens: 16,
    };
    let candidate = candidate(&adder, Through::Batches(2));
    let judged = |from| {
        let again = Again { force: false, from };
        campaign::run(&plan, &candidate, Some(&judge), &folder, again).unwrap()
    };
    let score = judged(None);
    // "that makes 2" is read rightly, "that makes 8" as 9; the three with "is" are not shown.
    assert_eq!((score.correct, score.unparsed), (3, 0));
    assert_eq!(last_word.0.get(), 2);
    assert!(score.provenance["judge"].contains("judge-1 of 2024"));
    assert!(score.provenance["judge"].contains("temperature 0"));
    assert_eq!(score.extraction, "judge");
    let remarks = score.remarks.join("\n");
    assert!(
        remarks.contains("2 replies were read by the judge"),
        "{remarks}"
    );
    assert!(
        remarks.contains("extended rules and judge: of 2 replies that both read, 1 the same"),
        "{remarks}"
    );
    let found: Vec<Extracted> = lines(&folder.join("extractions.jsonl"));
    let modes: Vec<&str> = found.iter().map(|line| line.mode.as_str()).collect();
    assert_eq!(
        modes,
        [
            "official", "judge", "official", "official", "judge", "official"
        ]
    );
    // Asked for again, the ledger answers for it.
    assert_eq!(judged(Some(Step::Extractions)), score);
    assert_eq!(last_word.0.get(), 2);
}

#[test]
fn images_that_cannot_be_shown_are_counted_and_none_at_all_is_an_error() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    fs::write(data.path().join("a.png"), b"no picture").unwrap();
    let settings = config(data.path());
    let plan = planned(&settings, out.path());
    assert_eq!(plan.unaskable(), 3);
    let score = run(
        &plan,
        &Adder::new(),
        Through::Batches(2),
        &out.path().join("x"),
    )
    .unwrap();
    assert_eq!((score.failed, score.total), (3, 6));
    let remarks = score.remarks.join("\n");
    assert!(
        remarks.contains("3 questions could not be asked") && remarks.contains("a.png"),
        "{remarks}"
    );

    let rows: Vec<Value> = (0..2)
        .map(|n| {
            serde_json::json!({
                "id": n.to_string(), "question": "1 + 1?", "answer": "2", "images": ["gone.png"],
                "parity": "even",
            })
        })
        .collect();
    write(data.path(), &rows);
    let plan = |settings: &BenchmarkConfig| {
        campaign::plan(&Sums, settings, data.path(), 7, out.path()).map(|plan| plan.images())
    };
    let error = plan(&settings).unwrap_err().to_string();
    assert!(
        error.contains("gone.png") && error.contains("Unpack"),
        "{error}"
    );
    let blind = BenchmarkConfig {
        images: campaign::Shown::None,
        ..settings
    };
    assert_eq!(plan(&blind).unwrap(), 0);
}

#[test]
fn settings_and_data_that_cannot_be_meant_are_refused() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let good = config(data.path());
    let plan = |settings: BenchmarkConfig, data: PathBuf| {
        let plan = campaign::plan(&Sums, &settings, &data, 7, out.path());
        plan.err().map(|e| e.to_string()).unwrap_or_default()
    };
    let with = |change: fn(&mut BenchmarkConfig)| {
        let mut settings = good.clone();
        change(&mut settings);
        plan(settings, good.data.clone())
    };
    assert_eq!(with(|_| {}), "");
    assert!(with(|c| c.limit = Some(0)).contains("limit must be at least 1"));
    assert!(with(|c| c.max_new_tokens = 0).contains("max_new_tokens"));
    assert!(with(|c| c.split = Some("val".into())).contains("it has test, train"));
    assert!(plan(good.clone(), "nowhere".into()).contains("nowhere"));
    let row = serde_json::json!({
        "id": "1", "question": "1 + 1?", "answer": "2", "images": ["a.png"], "parity": "even",
    });
    write(data.path(), &[row.clone(), row]);
    assert!(with(|_| {}).contains("\"1\" is there twice"));
    write(data.path(), &[]);
    assert!(with(|_| {}).contains("no questions"));
    let unknown = serde_json::json!({"name": "sums", "data": "d", "max_tokens": 3});
    let said = serde_json::from_value::<BenchmarkConfig>(unknown).unwrap_err();
    assert!(said.to_string().contains("max_tokens"), "{said}");
}

#[test]
fn queries_come_from_a_file_and_text_around_them_from_the_settings() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let mut settings = config(data.path());
    settings.queries = Some("query.json".into());
    settings.before = "Hello. ".into();
    settings.after = " Bye.".into();
    settings.system = Some("You add.".into());
    let path = data.path().join("query.json");
    let plan = || campaign::plan(&Sums, &settings, data.path(), 7, out.path());
    for (text, word) in [
        ("[]", "not an object"),
        ("{\"0\": 3}", "not an object"),
        ("{\"0\": \"a\"}", "no query for question \"1\""),
    ] {
        fs::write(&path, text).unwrap();
        let error = plan().err().unwrap().to_string();
        assert!(
            error.contains(word) && error.contains("query.json"),
            "{error}"
        );
    }
    let queries: BTreeMap<String, String> = (0..6)
        .map(|n| (n.to_string(), format!("number {n}")))
        .collect();
    fs::write(&path, serde_json::to_vec(&queries).unwrap()).unwrap();
    let plan = plan().unwrap();
    let request = plan.requests(0.5).next().unwrap();
    assert_eq!(request.turns[0].text, "Hello. number 0 Bye.");
    assert_eq!(request.system.as_deref(), Some("You add."));
    assert_eq!(
        (request.temperature, request.max_tokens, request.seed),
        (0.5, 512, 7)
    );
}

#[test]
fn a_limit_draws_the_same_questions_each_time_into_a_folder_of_their_own() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let mut settings = config(data.path());
    settings.limit = Some(3);
    let plan = planned(&settings, out.path());
    assert_eq!(
        (plan.questions(), plan.folder().as_str()),
        (3, "sums.test.3-questions")
    );
    let ids = |plan: &Plan<'_>| -> Vec<String> { plan.requests(0.0).map(|r| r.id).collect() };
    assert_eq!(ids(&plan), ids(&planned(&settings, out.path())));
    let score = run(
        &plan,
        &Adder::new(),
        Through::Batches(2),
        &out.path().join("x"),
    )
    .unwrap();
    assert!(
        score.remarks[0].contains("3 of 6 questions"),
        "{:?}",
        score.remarks
    );
}

#[test]
fn a_campaigns_replies_and_other_programs_outputs_are_scored_alike() {
    let (data, out) = (data(), tempfile::tempdir().unwrap());
    let plan = planned(&config(data.path()), out.path());
    let folder = out.path().join("sums.test/adder");
    let asked = run(&plan, &Adder::new(), Through::Batches(2), &folder).unwrap();
    let how = Scoring::default();
    let score = |outputs: &Path| {
        eval::rescore::rescore(&Sums, data.path(), Some("test"), outputs, &how)
            .unwrap()
            .0
    };
    for outputs in [folder.clone(), folder.join(RESPONSES)] {
        let again = score(&outputs);
        assert_eq!(again.groups, asked.groups);
        assert_eq!((again.failed, again.unparsed, again.truncated), (1, 2, 1));
        assert_eq!(again.provenance["data"], asked.provenance["data"]);
        assert_eq!(again.model, "adder");
    }
    let tabs = out.path().join("outputs.tsv");
    fs::write(&tabs, "0\tit is 0\n4\tit is 8\n4\tit is 9\nx\tit is 1\n").unwrap();
    let other = score(&tabs);
    assert_eq!((other.correct, other.total, other.missing), (1, 6, 4));
    assert_eq!(other.remarks.len(), 2, "{:?}", other.remarks);

    // Lines of ours that are none are counted, and the rest stands.
    let path = folder.join(RESPONSES);
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("{\"id\": 3}\nnot json\n{\"id\":\"3\",\"response\":5}\n\n");
    fs::write(&path, text).unwrap();
    let bent = score(&path);
    assert_eq!(bent.correct, asked.correct);
    assert!(
        bent.remarks[0].starts_with("3 lines are no replies"),
        "{:?}",
        bent.remarks
    );
}
