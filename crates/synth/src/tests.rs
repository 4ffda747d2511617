//! The whole stage with a scripted teacher.

use std::path::PathBuf;
use std::sync::Mutex;

use chat::Request;
use sample::{Answer, ImageRef, Task, llava, write_table};

use super::*;

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
struct Scripted<F: Fn(&Request) -> Result<String, chat::Error>> {
    script: F,
    asked: Mutex<Vec<Request>>,
}

impl<F: Fn(&Request) -> Result<String, chat::Error>> Scripted<F> {
    fn new(script: F) -> Self {
        Scripted {
            script,
            asked: Mutex::new(Vec::new()),
        }
    }

    fn ids(&self) -> Vec<String> {
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
fn selection(run: &Path, images: usize) -> PathBuf {
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
            image: samples[2 * i].image.clone(),
            source: "a".into(),
            family: None,
            clarity: None,
            clarity_score: None,
            complexity: None,
            complexity_score: None,
            scene: Some(format!("{{\"n\": {i}}}")),
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

fn config() -> SynthConfig {
    SynthConfig {
        teacher: "scripted".into(),
        ..SynthConfig::default()
    }
}

/// As many pairs as are wanted, all in good form.
fn good(request: &Request) -> Result<String, chat::Error> {
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

fn files(out: &Path) -> Vec<Vec<u8>> {
    [SAMPLES, IMAGES, REJECTS, TRAIN_JSON, "manifest.json"]
        .map(|name| std::fs::read(out.join(name)).unwrap())
        .into()
}

#[test]
fn each_image_gets_the_papers_pairs_with_their_lineage() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (selection(dir.path(), 3), dir.path().join("synth"));
    let teacher = Scripted::new(good);
    let manifest = synthesise(&config(), 7, &input, Some(&teacher), &out, false).unwrap();
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
    synthesise(&config(), 7, &input, Some(&teacher), &out, false).unwrap();
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
        assert!(request.subject["scene"].as_str().unwrap().contains("\"n\""));
    }
    let askimg = &asked[0];
    assert_eq!(askimg.subject["count"], 5);
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
        synthesise(&config(), seed, &input, Some(&teacher), &out, false).unwrap();
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
fn batch_size_leaves_no_trace_and_a_second_run_asks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let input = selection(dir.path(), 9);
    let run = |name: &str, batch: usize| {
        let out = dir.path().join(name);
        let teacher = Scripted::new(good);
        synthesise_in_batches(&config(), 7, &input, Some(&teacher), &out, false, batch).unwrap();
        (files(&out), std::fs::read(out.join(REPLIES)).unwrap())
    };
    assert_eq!(run("one", 1), run("many", 1000));
    let teacher = Scripted::new(good);
    let out = dir.path().join("one");
    synthesise(&config(), 7, &input, Some(&teacher), &out, false).unwrap();
    assert_eq!(teacher.ids().len(), 0);
    // With force the folder is written again, from the replies on record.
    let before = files(&out);
    synthesise(&config(), 7, &input, Some(&teacher), &out, true).unwrap();
    assert_eq!((teacher.ids().len(), files(&out) == before), (0, true));
}

#[test]
fn a_synthesis_that_was_stopped_goes_on_without_asking_again() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (selection(dir.path(), 8), dir.path().join("synth"));
    let whole = dir.path().join("whole");
    synthesise(
        &config(),
        7,
        &input,
        Some(&Scripted::new(good)),
        &whole,
        false,
    )
    .unwrap();
    let teacher = Scripted::new(|request| {
        if request.id.starts_with("a:005") {
            return Err(chat::Error::Failed {
                model: "m".into(),
                detail: "no line".into(),
            });
        }
        good(request)
    });
    let error = synthesise_in_batches(&config(), 7, &input, Some(&teacher), &out, false, 8);
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("4 of 8") && message.contains("no line"),
        "{message}"
    );
    assert!(!out.join("manifest.json").exists());
    let rest = Scripted::new(good);
    synthesise_in_batches(&config(), 7, &input, Some(&rest), &out, false, 8).unwrap();
    assert_eq!(rest.ids().len(), 4 * 3, "{:?}", rest.ids());
    assert!(rest.ids().iter().all(|id| id.as_str() >= "a:005"));
    assert_eq!(files(&out), files(&whole));
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
    let manifest = synthesise(&config(), 7, &input, Some(&teacher), &out, false).unwrap();
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
    let error = synthesise(
        &config(),
        7,
        &input,
        Some(&Scripted::new(refuse)),
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
    let manifest = synthesise(
        &config(),
        7,
        &input,
        Some(&Scripted::new(half)),
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
    let manifest = synthesise(&none, 7, &input, None, &out, false).unwrap();
    assert_eq!(
        (manifest.counts["samples"], manifest.counts["made"]),
        (4, 0)
    );
    let before: Vec<Sample> = read_table(&input.join(SAMPLES)).unwrap();
    assert_eq!(read_table::<Sample>(&out.join(SAMPLES)).unwrap(), before);
    let other = dir.path().join("other");
    let message = synthesise(&config(), 7, &input, None, &other, false)
        .unwrap_err()
        .to_string();
    assert!(message.contains("\"scripted\""), "{message}");
}

#[test]
fn every_prompt_names_its_version_and_the_reply_form_that_is_read() {
    for kind in AUGMENTATIONS {
        let first = kind.prompt_file().lines().next().unwrap();
        assert!(first.starts_with("# version "), "{}: {first}", kind.name());
        let body = augmentation::prompt_body(kind.prompt_file());
        assert!(
            body.contains("The question is [..]. The answer is [..]."),
            "{}",
            kind.name()
        );
        assert!(body.contains("{count}"), "{}", kind.name());
        assert_eq!(
            kind.inherits_answer(),
            !body.contains("The choices are ["),
            "{}",
            kind.name()
        );
    }
}

#[test]
fn questions_about_an_image_that_is_not_listed_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (input, out) = (selection(dir.path(), 2), dir.path().join("synth"));
    write_table(&input.join(SAMPLES), &[sample("a:9", "a/gone.png")]).unwrap();
    let error = synthesise(
        &config(),
        7,
        &input,
        Some(&Scripted::new(good)),
        &out,
        false,
    );
    let message = error.unwrap_err().to_string();
    assert!(
        message.contains("a/gone.png") && message.contains(SAMPLES),
        "{message}"
    );
}
