//! Labels from a teacher: asked once, asked again where a reply is no use, never asked twice.

use std::cell::{Cell, RefCell};

use chat::{ChatModel, Error, Finish, Ledger, Reply, Request};
use grade::rubric::PROMPT;
use grade::teacher::Teacher;
use grade::{GradeConfig, LABELS, Label, LabelSource, run};

use super::{import, rejects, small};

/// Answers from the picture's brightness and colour; misbehaves for some of them.
struct Painter {
    asked: Cell<usize>,
    seen: RefCell<Vec<Request>>,
    /// Stops working after so many replies.
    lasts: usize,
}

impl Painter {
    fn new(lasts: usize) -> Painter {
        Painter {
            asked: Cell::new(0),
            seen: RefCell::default(),
            lasts,
        }
    }

    fn answer(&self, request: &Request) -> Result<Reply, Error> {
        self.asked.set(self.asked.get() + 1);
        self.seen.borrow_mut().push(request.clone());
        if self.asked.get() > self.lasts {
            return Err(Error::Failed {
                model: "painter".to_owned(),
                detail: "out of credit".to_owned(),
            });
        }
        let name = request.images[0]
            .path
            .file_stem()
            .unwrap()
            .to_string_lossy()
            .into_owned();
        let (_, clarity, complexity) = super::picture(name.parse().unwrap());
        let good = format!("Seen. The label is [{clarity}]\nThe ranking is [{complexity}]");
        let text = match name.as_str() {
            "001" => "I cannot say.".to_owned(),
            "002" if request.temperature == 0.0 => "The label is [0 or 1]".to_owned(),
            "003" => {
                return Err(Error::Unanswerable {
                    id: request.id.clone(),
                    detail: "no eyes".to_owned(),
                });
            }
            _ => good,
        };
        Ok(Reply {
            text,
            finish: Finish::Stop,
            prompt_tokens: 1,
            completion_tokens: 1,
        })
    }
}

impl ChatModel for Painter {
    fn name(&self) -> &str {
        "painter"
    }

    fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, Error>> {
        batch.iter().map(|r| self.answer(r)).collect()
    }
}

fn with<'a>(model: &'a Painter, ledger: &'a Ledger) -> Option<Teacher<'a>> {
    Some(Teacher { model, ledger })
}

fn config(label_images: usize) -> GradeConfig {
    GradeConfig {
        labels: LabelSource::Teacher,
        label_images,
        epochs: 1,
        retries: 2,
        ..small()
    }
}

#[test]
fn useless_replies_are_asked_for_again_and_then_rejected_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let from = import(dir.path(), 40, false);
    let out = dir.path().join("out");
    let teacher = Painter::new(usize::MAX);
    let ledger = Ledger::in_memory().unwrap();
    let asked = with(&teacher, &ledger);
    let manifest = run(&config(40), 3, &[from], &out, asked, false).unwrap();
    // 001 three times, 002 twice, the others once.
    assert_eq!(teacher.asked.get(), 40 + 2 + 1);
    assert_eq!(manifest.counts["labels"], 38);
    assert_eq!(manifest.results["labels"]["painter"], 38);
    let why: Vec<(String, String)> = rejects(&out)
        .into_iter()
        .map(|r| (r.row, r.reason))
        .collect();
    assert_eq!(
        why,
        [
            ("paint/001.png".to_owned(), "teacher_unparsed".to_owned()),
            (
                "paint/003.png".to_owned(),
                "teacher_unanswerable".to_owned()
            ),
        ]
    );
    let labels: Vec<Label> = sample::read_table(&out.join(LABELS)).unwrap();
    for label in labels {
        let n: usize = label.image[6..9].parse().unwrap();
        let (_, clarity, complexity) = super::picture(n);
        assert_eq!(
            (label.clarity, label.complexity),
            (Some(clarity), Some(complexity))
        );
    }
    let seen = teacher.seen.borrow();
    assert!(
        seen.iter()
            .all(|r| r.turns[0].text == PROMPT.trim_end() && r.images.len() == 1)
    );
    // The same image asked again is asked with another seed.
    let again: Vec<u64> = seen
        .iter()
        .filter(|r| r.images[0].path.ends_with("001.png"))
        .map(|r| r.seed)
        .collect();
    assert!(again[0] != again[1] && again[1] != again[2]);
}

#[test]
fn replies_that_were_paid_for_are_not_asked_for_again_after_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let from = import(dir.path(), 60, false);
    let out = dir.path().join("out");
    let poor = Painter::new(25);
    let path = dir.path().join("ledger.sqlite");
    let ledger = Ledger::open(&path).unwrap();
    let imports = std::slice::from_ref(&from);
    let failed = run(&config(60), 3, imports, &out, with(&poor, &ledger), false);
    let message = failed.unwrap_err().to_string();
    assert!(message.contains("out of credit"), "{message}");
    drop(ledger);
    let ledger = Ledger::open(&path).unwrap();
    let rich = Painter::new(usize::MAX);
    run(&config(60), 3, imports, &out, with(&rich, &ledger), false).unwrap();
    let whole = Painter::new(usize::MAX);
    let other = dir.path().join("other");
    let fresh = Ledger::in_memory().unwrap();
    run(&config(60), 3, imports, &other, with(&whole, &fresh), false).unwrap();
    // 003 gives no reply, but that is settled too.
    assert_eq!(rich.asked.get() + 25, whole.asked.get());
    let read = |folder: &std::path::Path| -> Vec<Label> {
        sample::read_table(&folder.join(LABELS)).unwrap()
    };
    assert_eq!(read(&out), read(&other));
}

#[test]
fn only_as_many_images_are_shown_to_the_teacher_as_were_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let from = import(dir.path(), 60, false);
    let teacher = Painter::new(usize::MAX);
    let mut config = config(20);
    config.retries = 0;
    let (out, ledger) = (dir.path().join("out"), Ledger::in_memory().unwrap());
    run(&config, 3, &[from], &out, with(&teacher, &ledger), false).unwrap();
    assert_eq!(teacher.asked.get(), 20);
}
