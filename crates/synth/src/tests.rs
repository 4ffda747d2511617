//! The whole stage with a scripted teacher.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use chat::{ChatModel, Finish, Ledger, Reply, Request};
use sample::{
    Answer, BENCHMARK_QUESTIONS, BenchmarkQuestion, IMAGES, ImageRef, ImageRow, MadePair, Manifest,
    Origin, PAIRS, REJECTS, Reject, SAMPLES, Sample, Stage, StageKey, Task, llava, progress,
    read_table, write_table,
};

use super::*;
use crate::request::Subject;

pub(crate) fn subject(sample: Sample) -> Subject {
    Subject {
        image: image_row(&sample),
        file: Ok(PathBuf::from(&sample.image.path)),
        samples: vec![sample],
    }
}

fn image_row(sample: &Sample) -> ImageRow {
    ImageRow {
        image: sample.image.clone(),
        source: sample.origin.source().to_owned(),
        family: None,
        clarity: None,
        clarity_score: None,
        complexity: None,
        complexity_score: None,
        scene: None,
    }
}

pub(crate) fn sample(id: &str, image: &str) -> Sample {
    Sample {
        id: id.into(),
        image: ImageRef {
            path: image.into(),
            sha256: sample::sha256_hex(image.as_bytes()),
            width: 9,
            height: 9,
        },
        question: format!("How many are there in {id}?"),
        choices: Vec::new(),
        answer: Answer::Integer(3),
        unit: None,
        rationale: None,
        task: Task::Mwp,
        language: "en".into(),
        origin: Origin::Source {
            source: "a".into(),
            row: id.into(),
        },
        template: Some("count".into()),
    }
}

/// A teacher that answers by a function of the request, and remembers what it was asked.
pub(crate) struct Scripted<F: Fn(&Request) -> Result<String, chat::Error>> {
    script: F,
    asked: Mutex<Vec<Request>>,
}

impl<F: Fn(&Request) -> Result<String, chat::Error>> Scripted<F> {
    pub(crate) fn new(script: F) -> Self {
        Scripted {
            script,
            asked: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.asked
            .lock()
            .unwrap()
            .iter()
            .map(|r| r.id.clone())
            .collect()
    }
}

impl<F: Fn(&Request) -> Result<String, chat::Error>> ChatModel for Scripted<F> {
    fn name(&self) -> &str {
        "scripted"
    }

    fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, chat::Error>> {
        self.asked.lock().unwrap().extend_from_slice(batch);
        let reply = |text| Reply {
            text,
            finish: Finish::Stop,
            prompt_tokens: 1,
            completion_tokens: 1,
        };
        batch
            .iter()
            .map(|request| (self.script)(request).map(reply))
            .collect()
    }
}

/// A selection of `images` images, with two questions each.
pub(crate) fn selection(run: &Path, images: usize) -> PathBuf {
    progress::set_quiet(true);
    let folder = run.join("select");
    let key = StageKey::new("select", 0, serde_json::Value::Null);
    let stage = Stage::begin(&folder, key.clone(), true).unwrap();
    std::fs::create_dir_all(run.join("import/images")).unwrap();
    let (mut rows, mut samples) = (Vec::new(), Vec::new());
    for i in 0..images {
        let path = format!("a/{i:03}.png");
        samples.extend((0..2).map(|q| sample(&format!("a:{i:03}/{q}"), &path)));
        rows.push(ImageRow {
            scene: Some(format!("{{\"n\": {i}}}")),
            ..image_row(&samples[2 * i])
        });
    }
    write_table(&folder.join(IMAGES), &rows).unwrap();
    write_table(&folder.join(SAMPLES), &samples).unwrap();
    let mut manifest = Manifest::new(key);
    manifest
        .image_roots
        .insert("a".into(), "../import/images".into());
    stage.finish(manifest, &[]).unwrap();
    folder
}

pub(crate) fn config() -> SynthConfig {
    SynthConfig {
        teacher: "scripted".into(),
        verify: unverified(),
        ..SynthConfig::default()
    }
}

/// Everything off: what the paper describes.
pub(crate) fn unverified() -> VerifyConfig {
    VerifyConfig {
        form: false,
        proofs: false,
        answers: 0,
        inherited_answers: 0,
        near_duplicates: 0.0,
        decontaminate: 0.0,
        ..VerifyConfig::default()
    }
}

fn run(
    config: &SynthConfig,
    seed: u64,
    select: &Path,
    teacher: Option<&dyn ChatModel>,
    ledger: &Ledger,
    out: &Path,
    force: bool,
) -> Result<Manifest, Error> {
    let inputs = Inputs {
        select,
        inspect: None,
    };
    let roles = Roles {
        teacher,
        ..Roles::default()
    };
    synthesise(config, seed, inputs, roles, ledger, out, force)
}

fn memory() -> Ledger {
    Ledger::in_memory().unwrap()
}

/// As many pairs as are wanted, all in good form.
pub(crate) fn good(request: &Request) -> Result<String, chat::Error> {
    let kind = request.subject["kind"].as_str().unwrap();
    let count = request.subject["count"].as_u64().unwrap();
    let line = |n| {
        let question = format!("{kind} {n} of {}?", request.id);
        reply::print(&reply::Pair {
            question,
            answer: Some("3".into()),
            ..Default::default()
        })
    };
    Ok((0..count).map(line).collect::<Vec<_>>().join("\n"))
}

pub(crate) fn files(out: &Path) -> Vec<Vec<u8>> {
    [SAMPLES, IMAGES, REJECTS, PAIRS, TRAIN_JSON, "manifest.json"]
        .map(|name| std::fs::read(out.join(name)).unwrap())
        .into()
}

#[test]
fn each_image_gets_the_papers_pairs_with_their_lineage() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (selection(dir.path(), 3), dir.path().join("synth"));
    let teacher = Scripted::new(good);
    let manifest = run(&config(), 7, &input, Some(&teacher), &memory(), &out, false).unwrap();
    assert_eq!(
        (manifest.counts["original"], manifest.counts["made"]),
        (6, 24)
    );
    assert_eq!(
        (manifest.counts["samples"], manifest.counts["images"]),
        (30, 3)
    );
    assert_eq!(manifest.results["yields"]["askimg"]["kept"], 15);
    assert_eq!(manifest.image_roots["a"], Path::new("../import/images"));
    let samples: Vec<Sample> = read_table(&out.join(SAMPLES)).unwrap();
    // Ten in a row for each image, the original ones first.
    for (i, group) in samples.chunks(10).enumerate() {
        assert!(
            group
                .iter()
                .all(|s| s.image.path == format!("a/{i:03}.png"))
        );
        let kinds: Vec<&str> = group.iter().map(|s| s.origin.kind()).collect();
        assert_eq!(kinds[..3], ["source", "source", "askimg"]);
        assert_eq!(kinds[7..], ["compq", "rephq", "simpq"]);
    }
    let asked = teacher.asked.lock().unwrap();
    let made = &samples[2];
    let Origin::Synth {
        parent,
        teacher,
        prompt_digest,
        ..
    } = &made.origin
    else {
        panic!()
    };
    assert_eq!(made.id, format!("{parent}#askimg1"));
    assert_eq!(teacher, "scripted");
    assert_eq!(*prompt_digest, asked[0].digest("scripted", false));
    let json: Vec<llava::Entry> =
        serde_json::from_slice(&std::fs::read(out.join(TRAIN_JSON)).unwrap()).unwrap();
    assert_eq!(json.len(), 30);
    assert_eq!(json[2], llava::entry(made));
}

#[test]
fn requests_hold_what_a_model_and_a_program_need() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (selection(dir.path(), 3), dir.path().join("synth"));
    let teacher = Scripted::new(good);
    run(&config(), 7, &input, Some(&teacher), &memory(), &out, false).unwrap();
    let asked = teacher.asked.lock().unwrap();
    assert_eq!(asked.len(), 12);
    for request in asked.iter() {
        let text = &request.turns[0].text;
        assert!(
            !text.starts_with('#') && !text.contains("{question}"),
            "{text}"
        );
        assert!(
            request.images[0].path.ends_with("import/images/000.png")
                || request.images[0].path.ends_with("import/images/001.png")
                || request.images[0].path.ends_with("import/images/002.png")
        );
        let question = request.subject["question"].as_str().unwrap();
        assert!(text.contains(question), "{text}");
        assert!(!text.contains("questions new questions"), "{text}");
        assert!(request.subject["scene"].as_str().unwrap().contains("\"n\""));
    }
    let askimg = &asked[0];
    assert_eq!(askimg.subject["count"], 5);
    assert_eq!(askimg.tag.kind, "askimg");
    // A question about another image is shown; the image's own are only there to be avoided.
    let (before, avoid) = askimg.turns[0]
        .text
        .split_once("do not ask it again")
        .unwrap();
    assert!(before.contains("How many are there in a:00") && !before.contains("a:000/"));
    assert!(avoid.contains("a:000/0") && avoid.contains("a:000/1"));
}

#[test]
fn demonstrations_are_about_other_images() {
    let dir = tempfile::tempdir().unwrap();
    let input = selection(dir.path(), 2);
    for seed in 0..8 {
        let out = dir.path().join(format!("synth{seed}"));
        let teacher = Scripted::new(good);
        run(
            &config(),
            seed,
            &input,
            Some(&teacher),
            &memory(),
            &out,
            false,
        )
        .unwrap();
        for request in teacher.asked.lock().unwrap().iter() {
            let text = &request.turns[0].text;
            if let Some((shown, _)) = text.split_once("do not ask it again") {
                let (own, _) = request.id.split_once('/').unwrap();
                assert!(shown.contains("How many are there in a:00"), "{shown}");
                assert!(!shown.contains(own), "{own}: {shown}");
            }
        }
    }
}

#[test]
fn a_second_run_asks_nobody_even_with_force() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (selection(dir.path(), 9), dir.path().join("synth"));
    let ledger = Ledger::open(&dir.path().join("ledger.sqlite")).unwrap();
    let first = Scripted::new(good);
    run(&config(), 7, &input, Some(&first), &ledger, &out, false).unwrap();
    assert_eq!(first.ids().len(), 36);
    let before = files(&out);
    for force in [false, true] {
        let teacher = Scripted::new(good);
        run(&config(), 7, &input, Some(&teacher), &ledger, &out, force).unwrap();
        assert_eq!((teacher.ids().len(), files(&out) == before), (0, true));
    }
}

#[test]
fn a_synthesis_that_was_stopped_goes_on_without_asking_again() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (selection(dir.path(), 80), dir.path().join("synth"));
    let whole = dir.path().join("whole");
    let teacher = Scripted::new(good);
    run(
        &config(),
        7,
        &input,
        Some(&teacher),
        &memory(),
        &whole,
        false,
    )
    .unwrap();
    let teacher = Scripted::new(|request| {
        if request.id.starts_with("a:07") {
            return Err(chat::Error::Failed {
                model: "m".into(),
                detail: "no line".into(),
            });
        }
        good(request)
    });
    let ledger = Ledger::open(&dir.path().join("ledger.sqlite")).unwrap();
    let error = run(&config(), 7, &input, Some(&teacher), &ledger, &out, false);
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("40 requests to scripted") && message.contains("no line"),
        "{message}"
    );
    assert!(!out.join("manifest.json").exists());
    let rest = Scripted::new(good);
    run(&config(), 7, &input, Some(&rest), &ledger, &out, false).unwrap();
    assert_eq!(rest.ids().len(), 40, "{:?}", rest.ids());
    assert!(rest.ids().iter().all(|id| id.starts_with("a:07")));
    assert_eq!(files(&out), files(&whole));
}

#[test]
fn requests_that_stay_without_a_reply_can_be_rejects() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (selection(dir.path(), 3), dir.path().join("synth"));
    let teacher = Scripted::new(|request| {
        if request.id.starts_with("a:002") {
            return Err(chat::Error::Failed {
                model: "m".into(),
                detail: "no line".into(),
            });
        }
        good(request)
    });
    let config = SynthConfig {
        missing: Missing::Reject,
        ..config()
    };
    let manifest = run(&config, 7, &input, Some(&teacher), &memory(), &out, false).unwrap();
    assert_eq!(manifest.counts["made"], 16);
    assert_eq!(
        manifest.results["yields"]["askimg"]["rejected"]["unanswered"],
        1
    );
}

#[test]
fn pairs_in_bad_form_become_rejects_with_their_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (selection(dir.path(), 1), dir.path().join("synth"));
    let teacher = Scripted::new(|request| {
        let question = request.subject["question"].as_str().unwrap();
        let pair = |q: &str, a: &str| format!("The question is [{q}]. The answer is [{a}]. ");
        Ok(match request.subject["kind"].as_str().unwrap() {
            "askimg" => [
                pair("What is new?", "1"),
                pair("WHAT is new", "1"),
                pair(question, "3"),
                pair("What else?", ""),
                pair("And this?", "2"),
                pair("One too many?", "2"),
            ]
            .concat(),
            "compq" => "I will not.".into(),
            "rephq" => pair("The count?", "4"),
            _ => pair("Count?", "3"),
        })
    });
    let manifest = run(&config(), 7, &input, Some(&teacher), &memory(), &out, false).unwrap();
    let rejects: Vec<Reject> = read_table(&out.join(REJECTS)).unwrap();
    let found: Vec<(&str, &str)> = rejects
        .iter()
        .map(|r| (r.row.split_once('#').unwrap().1, r.reason.as_str()))
        .collect();
    let expected = [
        ("askimg2", "same_as_sibling"),
        ("askimg3", "same_as_original"),
        ("askimg4", "answer_missing"),
        ("askimg6", "surplus"),
        ("compq", "reply_unparsable"),
        ("rephq1", "answer_changed"),
    ];
    assert_eq!(found, expected);
    assert_eq!(manifest.counts["made"], 3);
    let askimg = &manifest.results["yields"]["askimg"];
    assert_eq!((&askimg["read"], &askimg["kept"]), (&6.into(), &2.into()));
    assert_eq!(askimg["rejected"]["surplus"], 1);
}

#[test]
fn a_teacher_that_can_answer_nothing_is_an_error_and_one_that_can_some_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (selection(dir.path(), 2), dir.path().join("synth"));
    let refuse = |request: &Request| {
        let detail = "this image has no scene".to_owned();
        Err(chat::Error::Unanswerable {
            id: request.id.clone(),
            detail,
        })
    };
    let error = run(
        &config(),
        7,
        &input,
        Some(&Scripted::new(refuse)),
        &memory(),
        &out,
        false,
    );
    let message = error.unwrap_err().to_string();
    for word in ["no scene", "8 requests", "teacher = \"none\""] {
        assert!(message.contains(word), "{message}");
    }
    assert!(!out.join("manifest.json").exists());
    let half = |request: &Request| {
        if request.subject["kind"] == "askimg" {
            good(request)
        } else {
            refuse(request)
        }
    };
    let manifest = run(
        &config(),
        7,
        &input,
        Some(&Scripted::new(half)),
        &memory(),
        &out,
        false,
    )
    .unwrap();
    assert_eq!(
        (manifest.counts["made"], manifest.counts["rejects"]),
        (10, 6)
    );
    assert_eq!(manifest.results["yields"]["compq"]["unanswerable"], 2);
}

#[test]
fn without_a_teacher_the_originals_are_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (selection(dir.path(), 2), dir.path().join("synth"));
    let none = SynthConfig::default();
    let manifest = run(&none, 7, &input, None, &memory(), &out, false).unwrap();
    assert_eq!(
        (manifest.counts["samples"], manifest.counts["made"]),
        (4, 0)
    );
    let before: Vec<Sample> = read_table(&input.join(SAMPLES)).unwrap();
    assert_eq!(read_table::<Sample>(&out.join(SAMPLES)).unwrap(), before);
    let other = dir.path().join("other");
    let message = run(&config(), 7, &input, None, &memory(), &other, false)
        .unwrap_err()
        .to_string();
    assert!(message.contains("\"scripted\""), "{message}");
}

#[test]
fn questions_about_an_image_that_is_not_listed_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (selection(dir.path(), 2), dir.path().join("synth"));
    write_table(&input.join(SAMPLES), &[sample("a:9", "a/gone.png")]).unwrap();
    let error = run(
        &config(),
        7,
        &input,
        Some(&Scripted::new(good)),
        &memory(),
        &out,
        false,
    );
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("a/gone.png") && message.contains(SAMPLES),
        "{message}"
    );
}

#[test]
fn near_duplicates_and_benchmark_questions_go_and_common_wordings_stay() {
    let dir = tempfile::tempdir().unwrap();
    let input = selection(dir.path(), 1);
    let inspect = dir.path().join("inspect");
    let key = StageKey::new("inspect", 0, serde_json::Value::Null);
    let stage = Stage::begin(&inspect, key.clone(), false).unwrap();
    let problem = "What is the area of the shaded region between the two circles?";
    let question = BenchmarkQuestion {
        benchmark: "bench".into(),
        item: "41".into(),
        question: problem.into(),
    };
    write_table(&inspect.join(BENCHMARK_QUESTIONS), &[question]).unwrap();
    stage.finish(Manifest::new(key), &[]).unwrap();
    let teacher = Scripted::new(|request| {
        let pair = |q: &str, a: &str| format!("The question is [{q}]. The answer is [{a}]. ");
        Ok(match request.subject["kind"].as_str().unwrap() {
            "askimg" => [
                pair(problem, "9"),
                pair(
                    "How many of the blue bars are taller than the red bar on the left?",
                    "1",
                ),
                pair(
                    "How many of the blue bars are taller than the red bar on the left side?",
                    "1",
                ),
            ]
            .concat(),
            _ => "No.".into(),
        })
    });
    let config = SynthConfig {
        verify: VerifyConfig {
            near_duplicates: 0.8,
            decontaminate: 0.8,
            ..unverified()
        },
        ..config()
    };
    let inputs = Inputs {
        select: &input,
        inspect: Some(&inspect),
    };
    let roles = Roles {
        teacher: Some(&teacher),
        ..Roles::default()
    };
    let out = dir.path().join("synth");
    let manifest = synthesise(&config, 7, inputs, roles, &memory(), &out, false).unwrap();
    let rejected = &manifest.results["yields"]["askimg"]["rejected"];
    assert_eq!(
        (&rejected["benchmark"], &rejected["near_duplicate"]),
        (&1.into(), &1.into())
    );
    let pairs: Vec<MadePair> = read_table(&out.join(PAIRS)).unwrap();
    assert!(pairs[0].detail.as_ref().unwrap().contains("bench 41"));
    assert_eq!(pairs[1].verdict, "form");

    // Ten images of the data that are asked the same make it a template.
    let many = dir.path().join("many");
    std::fs::create_dir_all(&many).unwrap();
    let input = selection(&many, 10);
    let mut samples: Vec<Sample> = read_table(&input.join(SAMPLES)).unwrap();
    for sample in samples.iter_mut().step_by(2).skip(1) {
        sample.question = problem.into();
    }
    let common = |from: usize| {
        let mut samples = samples.clone();
        if from == 0 {
            samples[0].question = problem.into();
        }
        let subjects = samples.into_iter().map(subject).collect::<Vec<_>>();
        let found = contamination::Contamination::read(Some(&inspect), 0.8, &subjects).unwrap();
        found.find(problem).is_none()
    };
    assert!(common(0) && !common(1));
}

#[test]
fn what_is_shown_before_sending_is_what_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (selection(dir.path(), 2), dir.path().join("synth"));
    let settings = SynthConfig {
        verify: VerifyConfig {
            answers: 3,
            inherited_answers: 1,
            ..unverified()
        },
        ..config()
    };
    let inputs = Inputs {
        select: &input,
        inspect: None,
    };
    let synthesis = Synthesis::read(&settings, 7, inputs).unwrap();
    let teacher = Scripted::new(good);
    let roles = Roles {
        teacher: Some(&teacher),
        ..Roles::default()
    };
    let making: Vec<Request> = synthesis.making().collect();
    // Of one image: five and one new answers with three votes, two old ones with one.
    let ledger = memory();
    assert_eq!(
        synthesis.verifying(&roles, &ledger).count(),
        2 * (6 * 3 + 2)
    );
    run(&config(), 7, &input, Some(&teacher), &memory(), &out, false).unwrap();
    assert_eq!(making, *teacher.asked.lock().unwrap());
    let parent = making[0].id.split_once('#').unwrap().0;
    let shown = synthesis.show("askimg", parent).unwrap();
    assert_eq!((shown.planned, &shown.request), (5, &making[0]));
    assert!(shown.version.starts_with("version 1"));
    let wrong = |kind: &str, id: &str| synthesis.show(kind, id).unwrap_err().to_string();
    assert!(wrong("askme", parent).contains("simpq"));
    assert!(wrong("askimg", "a:9").contains("a:000/0"));
}
