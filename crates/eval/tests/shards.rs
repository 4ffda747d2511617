//! A campaign by several workers: whatever their number, and whatever is killed, lost, copied or
//! different, what comes out is what one would have made alone, or a message.

// A test says what is wrong by panicking.
#![allow(clippy::unwrap_used, clippy::panic)]

mod sums;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use chat::{ChatModel, Error as ChatError, Finish, Ledger, Reply, Request};
use eval::campaign::{self, Again, Plan, RESPONSES, ShardReport, Step, Through};
use eval::rescore::rescore;
use eval::{Error, Scoring};
use sample::benchmark::BenchmarkScore;
use sample::{Shard, progress};
use serde_json::Value;
use sums::{Adder, Sums, candidate, config, data, files, planned, write};

/// Forty-one questions about fourteen images.
fn many() -> tempfile::TempDir {
    progress::set_quiet(true);
    let folder = data();
    let rows: Vec<Value> = (0..41)
        .map(|n| {
            serde_json::json!({
                "id": format!("q{n}"), "question": format!("{n} + {n}?"),
                "answer": (2 * n).to_string(), "images": [n % 14], "parity": "even",
            })
        })
        .collect();
    write(folder.path(), &rows);
    folder
}

/// Says with whom a question shared its batch, as a model may whose sums depend on it; dies when it has no
/// batches left to live, and remembers what it was asked.
struct Sociable {
    lives: RefCell<usize>,
    asked: RefCell<Vec<String>>,
    mood: &'static str,
}

impl Sociable {
    fn new() -> Sociable {
        Sociable::living(usize::MAX)
    }

    fn living(lives: usize) -> Sociable {
        Sociable {
            lives: RefCell::new(lives),
            asked: RefCell::default(),
            mood: "",
        }
    }
}

impl ChatModel for Sociable {
    fn name(&self) -> &str {
        "sociable-1"
    }

    fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, ChatError>> {
        let left = self.lives.borrow().checked_sub(1);
        let Some(left) = left else {
            let dead = || ChatError::Failed {
                model: "sociable-1".into(),
                detail: "gone".into(),
            };
            return batch.iter().map(|_| Err(dead())).collect();
        };
        *self.lives.borrow_mut() = left;
        let company: Vec<&str> = batch.iter().map(|request| request.id.as_str()).collect();
        let said = |request: &Request| {
            self.asked.borrow_mut().push(request.id.clone());
            Ok(Reply {
                text: format!("{}it is {}", self.mood, company.join(" ")),
                finish: Finish::Stop,
                prompt_tokens: 10,
                completion_tokens: 3,
            })
        };
        batch.iter().map(said).collect()
    }
}

fn shard(text: &str) -> Shard {
    text.parse().unwrap()
}

fn part(
    plan: &Plan<'_>,
    model: &dyn ChatModel,
    through: Through<'_>,
    folder: &Path,
    which: &str,
) -> Result<ShardReport, Error> {
    campaign::run_shard(
        plan,
        &candidate(model, through),
        folder,
        shard(which),
        false,
    )
}

fn whole(
    plan: &Plan<'_>,
    model: &dyn ChatModel,
    through: Through<'_>,
    folder: &Path,
) -> Result<BenchmarkScore, Error> {
    let candidate = candidate(model, through);
    campaign::run(plan, &candidate, None, folder, Again::default())
}

/// What is in the folder beside shards' files.
fn joined(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = files(folder);
    files.retain(|name, _| !name.contains(".shard-"));
    files
}

fn once(ids: impl IntoIterator<Item = String>) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for id in ids {
        *counts.entry(id).or_default() += 1;
    }
    assert_eq!(counts.len(), 41, "{counts:?}");
    assert!(counts.values().all(|&count| count == 1), "{counts:?}");
}

/// Of two images' questions each.
const BATCHES: Through<'static> = Through::Batches(7);

#[test]
fn any_number_of_shards_gives_the_bytes_of_none_and_asks_each_question_once() {
    let (data, out) = (many(), tempfile::tempdir().unwrap());
    let plan = planned(&config(data.path()), out.path());
    let alone = out.path().join("alone");
    let score = whole(&plan, &Sociable::new(), BATCHES, &alone).unwrap();
    for of in [1, 2, 3, 5, 20] {
        let folder = out.path().join(of.to_string());
        let mut asked = Vec::new();
        let mut sizes = Vec::new();
        for which in Shard::new(1, of).unwrap().all() {
            let model = Sociable::new();
            let report = part(&plan, &model, BATCHES, &folder, &which.to_string()).unwrap();
            assert_eq!(report.known, 0);
            sizes.push(report.questions);
            asked.extend(model.asked.into_inner());
        }
        once(asked);
        // Seven batches, dealt like cards.
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        assert!(most - least <= 7, "{sizes:?}");
        let nobody = Sociable::living(0);
        assert_eq!(whole(&plan, &nobody, BATCHES, &folder).unwrap(), score);
        assert!(joined(&folder) == files(&alone), "{of} shards");
    }
}

#[test]
fn over_ledgers_of_their_own_shards_give_the_bytes_of_none() {
    let (data, out) = (many(), tempfile::tempdir().unwrap());
    let plan = planned(&config(data.path()), out.path());
    let alone = out.path().join("alone");
    let ledger = Ledger::in_memory().unwrap();
    whole(&plan, &Adder::new(), Through::Ledger(&ledger), &alone).unwrap();
    for of in [2, 3] {
        let folder = out.path().join(of.to_string());
        let mut asked = Vec::new();
        for which in Shard::new(1, of).unwrap().all() {
            let own = Ledger::in_memory().unwrap();
            let model = Adder::new();
            let through = Through::Ledger(&own);
            let report = part(&plan, &model, through, &folder, &which.to_string()).unwrap();
            let ids: Vec<String> = model.batches.into_inner().into_iter().flatten().collect();
            assert_eq!(ids.len(), report.questions);
            asked.extend(ids);
        }
        once(asked);
        // The replies lie in files; the run's ledger has none of them.
        let empty = Ledger::in_memory().unwrap();
        let nobody = Adder::dying_after(0);
        whole(&plan, &nobody, Through::Ledger(&empty), &folder).unwrap();
        assert!(joined(&folder) == files(&alone), "{of} shards");
    }
}

#[test]
fn a_killed_shard_goes_on_and_one_that_never_ran_is_made_up_for() {
    let (data, out) = (many(), tempfile::tempdir().unwrap());
    let plan = planned(&config(data.path()), out.path());
    let alone = out.path().join("alone");
    whole(&plan, &Sociable::new(), BATCHES, &alone).unwrap();
    for lives in 0..2 {
        let folder = out.path().join(lives.to_string());
        let first = Sociable::living(lives);
        let error = part(&plan, &first, BATCHES, &folder, "2/3").unwrap_err();
        assert!(matches!(error, Error::Model(_)), "{error}");
        // A batch that was being written when the power went.
        let file = shard("2/3").file(&folder.join(RESPONSES));
        let mut bytes = fs::read(&file).unwrap_or_default();
        bytes.extend(b"{\"id\":\"q1\",\"resp");
        fs::write(&file, bytes).unwrap();
        let second = Sociable::new();
        let report = part(&plan, &second, BATCHES, &folder, "2/3").unwrap();
        assert_eq!(report.known, first.asked.borrow().len());
        // 1/3 is killed and stays so, 3/3 is never begun.
        let third = Sociable::living(1);
        part(&plan, &third, BATCHES, &folder, "1/3").unwrap_err();
        let last = Sociable::new();
        whole(&plan, &last, BATCHES, &folder).unwrap();
        let asked = [first, second, third, last].into_iter();
        once(asked.flat_map(|model| model.asked.into_inner()));
        assert!(joined(&folder) == files(&alone), "{lives} lives");
    }
}

#[test]
fn shards_of_another_number_take_over_what_is_there() {
    let (data, out) = (many(), tempfile::tempdir().unwrap());
    let plan = planned(&config(data.path()), out.path());
    let (alone, folder) = (out.path().join("alone"), out.path().join("shards"));
    whole(&plan, &Sociable::new(), BATCHES, &alone).unwrap();
    // One worker began alone, then there were two, of which one was lost, then three.
    let mut asked = Vec::new();
    let model = Sociable::living(3);
    whole(&plan, &model, BATCHES, &folder).unwrap_err();
    asked.extend(model.asked.into_inner());
    let mut known = 0;
    for which in ["1/2", "1/3", "3/3", "2/3"] {
        let model = Sociable::new();
        known += part(&plan, &model, BATCHES, &folder, which).unwrap().known;
        asked.extend(model.asked.into_inner());
    }
    assert!(known > 12, "{known}");
    once(asked);
    whole(&plan, &Sociable::living(0), BATCHES, &folder).unwrap();
    assert!(joined(&folder) == files(&alone));
}

#[test]
fn one_question_answered_twice_is_one_where_both_say_the_same_and_an_error_else() {
    let (data, out) = (many(), tempfile::tempdir().unwrap());
    let plan = planned(&config(data.path()), out.path());
    let folder = out.path().join("shards");
    let elsewhere = out.path().join("elsewhere");
    part(&plan, &Sociable::new(), BATCHES, &folder, "1/2").unwrap();
    part(&plan, &Sociable::new(), BATCHES, &elsewhere, "1/1").unwrap();
    let bring = |which: &str| {
        for name in ["asked.json", RESPONSES] {
            let file = |folder: &Path| shard(which).file(&folder.join(name));
            fs::copy(file(&elsewhere), file(&folder)).unwrap();
        }
    };
    bring("1/1");
    whole(&plan, &Sociable::living(0), BATCHES, &folder).unwrap();

    fs::remove_dir_all(&elsewhere).unwrap();
    let other = Sociable {
        mood: "well, ",
        ..Sociable::new()
    };
    part(&plan, &other, BATCHES, &elsewhere, "1/1").unwrap();
    bring("1/1");
    let before = files(&folder);
    fs::remove_file(folder.join("manifest.json")).unwrap();
    let said = whole(&plan, &Sociable::new(), BATCHES, &folder).unwrap_err();
    let said = said.to_string();
    for word in [
        "shard-1-of-1.jsonl",
        "shard-1-of-2.jsonl",
        "question \"q",
        "Remove",
    ] {
        assert!(said.contains(word), "{said}");
    }
    let mut after = files(&folder);
    after.insert("manifest.json".into(), before["manifest.json"].clone());
    assert!(after == before, "nothing is touched");
}

#[test]
fn shards_that_were_asked_otherwise_are_named_and_left_out_when_that_is_meant() {
    let (data, out) = (many(), tempfile::tempdir().unwrap());
    let plan = planned(&config(data.path()), out.path());
    let (alone, folder) = (out.path().join("alone"), out.path().join("shards"));
    whole(&plan, &Sociable::new(), BATCHES, &alone).unwrap();
    let mut settings = config(data.path());
    settings.max_new_tokens = 9;
    let short = planned(&settings, out.path());
    part(&short, &Sociable::new(), BATCHES, &folder, "1/2").unwrap();
    part(&plan, &Sociable::new(), Through::Batches(5), &folder, "2/2").unwrap();
    let nobody = Sociable::living(0);
    for (which, words) in [
        ("1/2", ["shard-1-of-2", "max_new_tokens: 9 against 512"]),
        ("2/2", ["shard-2-of-2", "batch: 5 against 7"]),
    ] {
        let again = part(&plan, &nobody, BATCHES, &folder, which).unwrap_err();
        let joins = whole(&plan, &nobody, BATCHES, &folder).unwrap_err();
        // The run that joins them comes upon the first.
        let errors = [Some(again), Some(joins).filter(|_| which == "1/2")];
        for said in errors.iter().flatten().map(Error::to_string) {
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
            assert!(said.contains("--force"), "{said}");
        }
    }
    // One of them is run again; the other is left out.
    let second = Sociable::new();
    campaign::run_shard(
        &plan,
        &candidate(&second, BATCHES),
        &folder,
        shard("2/2"),
        true,
    )
    .unwrap();
    let rest = Sociable::new();
    let force = Again {
        force: true,
        from: None,
    };
    campaign::run(&plan, &candidate(&rest, BATCHES), None, &folder, force).unwrap();
    once(
        [second, rest]
            .into_iter()
            .flat_map(|m| m.asked.into_inner()),
    );
    assert!(joined(&folder) == files(&alone));
    let left = |which: &str| shard(which).file(&folder.join(RESPONSES)).exists();
    assert!(!left("1/2") && left("2/2"));
    // Asked anew, everything is.
    let all = Sociable::new();
    let anew = Again {
        force: false,
        from: Some(Step::Responses),
    };
    campaign::run(&plan, &candidate(&all, BATCHES), None, &folder, anew).unwrap();
    once(all.asked.into_inner());
    assert!(!left("2/2"));
    assert!(files(&folder) == files(&alone));

    // Beside a result of something else a shard is not begun unless that is meant.
    let said = part(&short, &nobody, BATCHES, &folder, "1/2").unwrap_err();
    assert!(said.to_string().contains("--force"), "{said}");
}

#[test]
fn a_shard_at_work_is_not_joined_and_not_run_twice() {
    let (data, out) = (many(), tempfile::tempdir().unwrap());
    let plan = planned(&config(data.path()), out.path());
    let folder = out.path().join("shards");
    part(&plan, &Sociable::living(1), BATCHES, &folder, "1/2").unwrap_err();
    let mut name = shard("1/2").file(&folder.join(RESPONSES)).into_os_string();
    name.push(".lock");
    let lock = fs::File::options().write(true).open(&name).unwrap();
    lock.lock().unwrap();
    let said = part(&plan, &Sociable::new(), BATCHES, &folder, "1/2").unwrap_err();
    assert!(
        said.to_string().contains("another process works on it"),
        "{said}"
    );
    let said = whole(&plan, &Sociable::new(), BATCHES, &folder).unwrap_err();
    assert!(
        said.to_string().contains("shard 1/2") && said.to_string().contains("still at work"),
        "{said}"
    );
    // Another shard is free to go on.
    part(&plan, &Sociable::new(), BATCHES, &folder, "2/2").unwrap();
    drop(lock);
    whole(&plan, &Sociable::new(), BATCHES, &folder).unwrap();
}

#[test]
fn replies_of_shards_are_scored_once_they_are_joined_or_one_by_one() {
    let (data, out) = (many(), tempfile::tempdir().unwrap());
    let plan = planned(&config(data.path()), out.path());
    let folder = out.path().join("shards");
    let report = part(&plan, &Adder::new(), BATCHES, &folder, "1/2").unwrap();
    let how = Scoring::default();
    let score = |outputs: &Path| rescore(&Sums, data.path(), Some("test"), outputs, &how);
    let said = score(&folder).unwrap_err().to_string();
    assert!(
        said.contains("shard-1-of-2.jsonl") && said.contains("without --shard"),
        "{said}"
    );
    let (one, _) = score(&report.file).unwrap();
    assert_eq!(one.missing as usize, 41 - report.questions);
    whole(&plan, &Adder::new(), BATCHES, &folder).unwrap();
    assert_eq!(score(&folder).unwrap().0.missing, 0);
}

#[test]
fn files_that_are_no_shards_are_named_and_nothing_is_made_of_them() {
    let (data, out) = (many(), tempfile::tempdir().unwrap());
    let plan = planned(&config(data.path()), out.path());
    let folder = out.path().join("shards");
    part(&plan, &Sociable::new(), BATCHES, &folder, "1/2").unwrap();
    let file = shard("1/2").file(&folder.join(RESPONSES));
    let claim = shard("1/2").file(&folder.join("asked.json"));
    let (good, good_claim) = (fs::read(&file).unwrap(), fs::read(&claim).unwrap());
    let refused = || {
        let said = whole(&plan, &Sociable::new(), BATCHES, &folder).unwrap_err();
        assert!(!folder.join("manifest.json").exists());
        said.to_string()
    };
    for (line, word) in [
        (&b"no json\n"[..], "line 1: is no reply"),
        (b"{\"id\":\"q1\"}\n", "line 1: is no reply"),
        (b"\xff\xfe\n", "line 1: is no reply"),
        (
            b"{\"id\":\"q99\",\"response\":\"\",\"truncated\":false,\"prompt_tokens\":1,\"completion_tokens\":1,\"failed\":null}\n",
            "\"q99\", which is not asked",
        ),
    ] {
        fs::write(&file, line).unwrap();
        let said = refused();
        assert!(said.contains(word) && said.contains("shard-1-of-2.jsonl"), "{said}");
    }
    fs::write(&file, &good).unwrap();
    fs::write(&claim, "[]").unwrap();
    assert!(refused().contains("does not say whose replies"));
    fs::remove_file(&claim).unwrap();
    let said = refused();
    assert!(
        said.contains("asked.shard-1-of-2.json") && said.contains("bring"),
        "{said}"
    );
    fs::write(&claim, &good_claim).unwrap();
    whole(&plan, &Sociable::new(), BATCHES, &folder).unwrap();
}
