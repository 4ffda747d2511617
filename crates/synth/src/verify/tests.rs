//! Whole syntheses with verification, by models that follow a script.

use std::path::Path;
use std::sync::Mutex;

use chat::{ChatModel, Finish, Ledger, Reply, Request};
use sample::{Answer, MadePair, Manifest, PAIRS, SAMPLES, Sample, read_table};

use crate::tests::{config, selection, unverified};
use crate::verify::Prover;
use crate::{Balance, Inputs, Roles, SynthConfig, VerifyConfig, synthesise};

/// Answers by what is asked: pairs, blind answers, judgements.
struct Model<F: Fn(&Request, &str) -> String>(F, Mutex<Vec<String>>);

fn model<F: Fn(&Request, &str) -> String>(script: F) -> Model<F> {
    Model(script, Mutex::new(Vec::new()))
}

impl<F: Fn(&Request, &str) -> String> ChatModel for Model<F> {
    fn name(&self) -> &str {
        "scripted"
    }

    fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, chat::Error>> {
        let reply = |request: &Request| {
            self.1.lock().unwrap().push(request.id.clone());
            Ok(Reply {
                text: (self.0)(request, request.subject["kind"].as_str().unwrap()),
                finish: Finish::Stop,
                prompt_tokens: 1,
                completion_tokens: 1,
            })
        };
        batch.iter().map(reply).collect()
    }
}

fn pair(question: &str, answer: &str) -> String {
    format!("The question is [{question}]. The answer is [{answer}].")
}

/// One pair of each kind for one image, all with the answer 3, which is the parent's too.
fn one_of_each(kind: &str) -> Option<String> {
    Some(match kind {
        "askimg" => pair("How many red ones are shown?", "3"),
        "compq" => pair("What is twice the count, less three?", "3"),
        "rephq" => pair("Please count them.", "3"),
        "simpq" => pair("Count?", "3"),
        _ => return None,
    })
}

fn settings(verify: VerifyConfig) -> SynthConfig {
    SynthConfig {
        counts: [("askimg".to_owned(), 1)].into(),
        verify,
        ..config()
    }
}

struct Run {
    manifest: Manifest,
    pairs: Vec<MadePair>,
    samples: Vec<Sample>,
}

impl Run {
    /// Kind, verdict or reason, answer, of every pair.
    fn told(&self) -> Vec<(&str, &str, &str)> {
        let told = self.pairs.iter().map(|p| {
            let word = p.reason.as_deref().unwrap_or(&p.verdict);
            (p.kind.as_str(), word, p.answer.as_str())
        });
        told.collect()
    }
}

fn run(dir: &Path, images: usize, config: &SynthConfig, roles: Roles<'_>) -> Run {
    let select = selection(dir, images);
    let out = dir.join("synth");
    let inputs = Inputs {
        select: &select,
        inspect: None,
    };
    let ledger = Ledger::in_memory().unwrap();
    let manifest = synthesise(config, 7, inputs, roles, &ledger, &out, false).unwrap();
    Run {
        manifest,
        pairs: read_table(&out.join(PAIRS)).unwrap(),
        samples: read_table(&out.join(SAMPLES)).unwrap(),
    }
}

fn teacher(model: &dyn ChatModel) -> Roles<'_> {
    Roles {
        teacher: Some(model),
        ..Roles::default()
    }
}

#[test]
fn agreement_keeps_what_a_majority_answers_blind_and_asks_no_more_than_it_must() {
    let dir = tempfile::tempdir().unwrap();
    let scripted = model(|request, kind| {
        one_of_each(kind).unwrap_or_else(|| {
            let question = request.subject["question"].as_str().unwrap();
            assert!(!request.turns[0].text.contains("The answer is [3]"));
            // Blind answers: the first to AskImg is wrong, CompQ's solutions agree on 4.
            let round = request.id.rsplit('?').next().unwrap();
            let answer = match (question, round) {
                ("How many red ones are shown?", "0") => "five",
                ("What is twice the count, less three?", _) => "4.0",
                ("Count?", _) => "7",
                _ => "3",
            };
            format!("I count.\nThe answer is [{answer}].")
        })
    });
    let verify = VerifyConfig {
        answers: 3,
        inherited_answers: 1,
        ..unverified()
    };
    let run = run(dir.path(), 1, &settings(verify), teacher(&scripted));
    let expected = [
        ("askimg", "agreed", "3"),
        ("compq", "agreed", "4.0"),
        ("rephq", "agreed", "3"),
        ("simpq", "not_agreed", "3"),
    ];
    assert_eq!(run.told(), expected);
    let compq = &run.pairs[1];
    assert_eq!((compq.given.as_deref(), compq.votes.len()), (Some("3"), 2));
    assert_eq!(run.pairs[0].votes, ["five", "3", "3"]);
    assert_eq!(run.samples.len(), 2 + 3);
    assert_eq!(run.samples[3].answer.text(), "4.0");
    assert!(run.pairs[3].detail.as_ref().unwrap().contains('7'));
    // Four pairs, three votes for AskImg, two for CompQ, one each for the others.
    assert_eq!(scripted.1.lock().unwrap().len(), 4 + 3 + 2 + 1 + 1);
    let yields = &run.manifest.results["yields"];
    assert_eq!(yields["askimg"]["verdicts"]["agreed"], 1);
    assert_eq!(yields["simpq"]["rejected"]["not_agreed"], 1);
    assert_eq!(
        run.manifest.results["by_source"]["simpq"]["a"]["rejected"]["not_agreed"],
        1
    );
}

#[test]
fn solutions_that_do_not_agree_give_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let scripted = model(|request, kind| {
        one_of_each(kind).unwrap_or_else(|| {
            let round = request.id.rsplit('?').next().unwrap();
            match request.subject["question"].as_str().unwrap() {
                "How many red ones are shown?" => "I cannot tell.".to_owned(),
                _ => format!("The answer is {round}."),
            }
        })
    });
    let verify = VerifyConfig {
        answers: 3,
        inherited_answers: 0,
        ..unverified()
    };
    let run = run(dir.path(), 1, &settings(verify), teacher(&scripted));
    let expected = [
        ("askimg", "not_agreed", "3"),
        ("compq", "no_majority", "3"),
        ("rephq", "inherited", "3"),
        ("simpq", "inherited", "3"),
    ];
    assert_eq!(run.told(), expected);
    assert_eq!(run.pairs[1].votes, ["0", "1", "2"]);
}

#[test]
fn a_judge_has_the_last_word_on_what_passed() {
    let dir = tempfile::tempdir().unwrap();
    let makes = model(|_, kind| one_of_each(kind).unwrap());
    let judges = model(|request, kind| {
        assert_eq!(kind, "judge");
        match request.subject["question"].as_str().unwrap() {
            "Count?" => "Unclear. The verdict is [no].".into(),
            "Please count them." => "Hm.".into(),
            _ => "Fine. The verdict is [yes].".into(),
        }
    });
    let roles = Roles {
        judge: Some(&judges),
        ..teacher(&makes)
    };
    let run = run(dir.path(), 1, &settings(unverified()), roles);
    let expected = [
        ("askimg", "form", "3"),
        ("compq", "form", "3"),
        ("rephq", "judgement_unreadable", "3"),
        ("simpq", "judged_unfit", "3"),
    ];
    assert_eq!(run.told(), expected);
}

/// Knows that there are three red ones, and that twice the count less three is five.
struct Scene;

impl Prover for Scene {
    fn prove(&self, scene: &str, question: &str, _: &[String]) -> Option<Answer> {
        assert!(scene.contains("\"n\""));
        match question {
            "How many red ones are shown?" => Some(Answer::Integer(3)),
            "What is twice the count, less three?" => Some(Answer::Integer(5)),
            "Count?" => Some(Answer::Integer(8)),
            _ => None,
        }
    }
}

#[test]
fn what_a_program_computes_needs_no_votes_and_beats_the_teacher() {
    let dir = tempfile::tempdir().unwrap();
    let scripted = model(|_, kind| one_of_each(kind).unwrap_or_else(|| "The answer is 3".into()));
    let verify = VerifyConfig {
        proofs: true,
        answers: 1,
        inherited_answers: 1,
        ..unverified()
    };
    let roles = Roles {
        prover: Some(&Scene),
        ..teacher(&scripted)
    };
    let run = run(dir.path(), 1, &settings(verify), roles);
    let expected = [
        ("askimg", "proven", "3"),
        ("compq", "proven", "5"),
        ("rephq", "agreed", "3"),
        ("simpq", "disproved", "3"),
    ];
    assert_eq!(run.told(), expected);
    assert_eq!(scripted.1.lock().unwrap().len(), 4 + 1);
}

#[test]
fn trimming_restores_the_proportions_after_rejects() {
    let dir = tempfile::tempdir().unwrap();
    let scripted = model(|request, kind| match kind {
        "rephq" if request.id.starts_with("a:000") => "I will not.".into(),
        _ => one_of_each(kind).unwrap(),
    });
    let config = SynthConfig {
        balance: Balance::Trim,
        ..settings(unverified())
    };
    let run = run(dir.path(), 4, &config, teacher(&scripted));
    let yields = &run.manifest.results["yields"];
    for kind in ["askimg", "compq", "rephq", "simpq"] {
        assert_eq!(yields[kind]["kept"], 3, "{kind}");
    }
    assert_eq!(yields["askimg"]["rejected"]["trimmed"], 1);
    assert_eq!(run.samples.len(), 8 + 12);
}
