//! What several workers' ledgers are together: nothing lost, nothing twice, and all that was spent.

use std::path::PathBuf;

use super::super::tests::{digest, ended, filled, folder, refused, reply, rows, sent};
use super::*;
use crate::Reply;

/// Sends each of these requests once, and has it answered with the text.
fn answered(ledger: &Ledger, replies: &[(u32, &str)]) {
    let recorder = ledger.recorder().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        for &(n, text) in replies {
            recorder.sent(sent(n, 1)).await.unwrap();
            let Settled::Replied(said) = reply(n) else {
                panic!()
            };
            let text = text.to_owned();
            let said = Settled::Replied(Reply { text, ..said });
            recorder
                .ended(ended(n, 1, "answered", Some(said)))
                .await
                .unwrap();
        }
    });
}

fn text(ledger: &Ledger, n: u32) -> String {
    match ledger.settled(&digest(n)).unwrap() {
        Some(Settled::Replied(reply)) => reply.text,
        other => format!("{other:?}"),
    }
}

/// A ledger's file, written and closed.
fn written(folder: &Path, name: &str, work: impl FnOnce(&Ledger)) -> PathBuf {
    let path = folder.join(name);
    let ledger = Ledger::open(&path).unwrap();
    work(&ledger);
    path
}

fn damage(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn what_workers_asked_is_there_once_and_what_they_spent_adds_up() {
    let folder = folder();
    let a = written(folder.path(), "a", filled);
    let b = written(folder.path(), "b", |b| {
        answered(b, &[(2, "two"), (4, "four")]);
    });
    let into = Ledger::open(&folder.path().join("into")).unwrap();
    let first = into.merge(&a).unwrap();
    assert_eq!((first.requests, first.settled, first.tries), (4, 2, 5));
    let second = into.merge(&b).unwrap();
    assert_eq!((second.requests, second.settled, second.tries), (1, 2, 2));
    assert!((second.cost - 0.4).abs() < 1e-9);

    assert_eq!(into.settled(&digest(0)).unwrap(), Some(reply(0)));
    assert_eq!(into.settled(&digest(1)).unwrap(), Some(refused()));
    assert_eq!(
        (text(&into, 2), text(&into, 4)),
        ("two".into(), "four".into())
    );
    let spent = |path: &Path| Ledger::read_only(path).unwrap().spent("teacher").unwrap();
    let together = into.spent("teacher").unwrap();
    assert!((together.cost - spent(&a).cost - spent(&b).cost).abs() < 1e-9);
    assert!((together.reserved - spent(&a).reserved - spent(&b).reserved).abs() < 1e-9);
    // Nobody waits for what was on its way, and the failed try of the other worker keeps its place.
    let lost = "select count(*) from tries where outcome = 'lost'";
    assert_eq!(rows(&into, lost), "[[1]]");
    let tries = "select try, outcome from tries where digest = (select digest from requests where \
                 id = 'r2') order by try";
    assert_eq!(rows(&into, tries), r#"[[1,"server_error"],[2,"answered"]]"#);
    assert_eq!(
        rows(&into, "select try from replies order by at"),
        "[[2],[2],[1]]"
    );
    assert_eq!(
        rows(&into, "select sum(state = 'open') from requests"),
        "[[1]]"
    );

    // A second time there is nothing to take.
    for path in [&a, &b] {
        assert_eq!(into.merge(path).unwrap(), Merged::default());
    }
    assert_eq!(into.spent("teacher").unwrap(), together);
}

#[test]
fn of_two_settlements_the_one_that_was_there_stands_and_both_are_paid() {
    let folder = folder();
    let same = written(folder.path(), "same", |l| {
        answered(l, &[(0, "yes"), (2, "2")])
    });
    let other = written(folder.path(), "other", |l| {
        answered(l, &[(0, "no"), (2, "2")])
    });
    let into = Ledger::in_memory().unwrap();
    into.merge(&same).unwrap();
    let merged = into.merge(&other).unwrap();
    assert_eq!((merged.settled, merged.differing), (0, 1));
    assert_eq!(merged.first_differing.as_deref(), Some(&*digest(0)));
    assert!(merged.to_string().contains(&*digest(0)), "{merged}");
    assert_eq!(text(&into, 0), "yes");
    assert!((into.spent("teacher").unwrap().cost - 0.8).abs() < 1e-9);
}

#[test]
fn a_ledger_that_went_on_after_it_was_merged_is_merged_on() {
    let folder = folder();
    let path = written(folder.path(), "a", filled);
    let into = Ledger::in_memory().unwrap();
    into.merge(&path).unwrap();
    assert_eq!(into.settled(&digest(3)).unwrap(), None);
    let before = into.spent("teacher").unwrap();
    {
        let ledger = Ledger::open(&path).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let came = ended(3, 1, "answered", Some(reply(3)));
        let recorder = ledger.recorder().unwrap();
        runtime.block_on(recorder.ended(came)).unwrap();
    }
    let merged = into.merge(&path).unwrap();
    assert_eq!((merged.tries, merged.settled), (0, 1));
    assert_eq!(into.settled(&digest(3)).unwrap(), Some(reply(3)));
    let after = into.spent("teacher").unwrap();
    assert!((after.cost - before.cost - 0.2).abs() < 1e-9);
    assert!((before.reserved - after.reserved - 0.5).abs() < 1e-9);
}

#[test]
fn batches_keep_their_requests_and_move_on_with_their_worker() {
    let folder = folder();
    let path = folder.path().join("a");
    let ledger = Ledger::open(&path).unwrap();
    let row = ledger.start_batch("s0", vec![sent(6, 1)]).unwrap();
    drop(ledger);
    let into = Ledger::in_memory().unwrap();
    // So that the numbers differ.
    into.start_batch("s0", vec![sent(8, 1)]).unwrap();
    assert_eq!(into.merge(&path).unwrap().batches, 1);
    let open = into.open_batches("teacher").unwrap();
    assert_eq!(open.len(), 2);
    let waiting = into.waiting(open[1].row).unwrap();
    assert_eq!((waiting.len(), &waiting[0].digest), (1, &digest(6)));
    assert_ne!(open[1].row, row);

    let ledger = Ledger::open(&path).unwrap();
    ledger.creating_batch(row, "file-1").unwrap();
    ledger.created_batch(row, "batch-1").unwrap();
    drop(ledger);
    assert_eq!(into.merge(&path).unwrap(), Merged::default());
    let open = into.open_batches("teacher").unwrap();
    assert_eq!(open[1].id.as_deref(), Some("batch-1"));
    // An earlier copy takes nothing back.
    into.end_batch(open[1].row, "expired", "", false).unwrap();
    into.merge(&path).unwrap();
    assert_eq!(into.open_batches("teacher").unwrap().len(), 1);
}

#[test]
fn what_cannot_be_merged_is_told_and_nothing_of_it_is_taken() {
    let folder = folder();
    let into = Ledger::open(&folder.path().join("into")).unwrap();
    let refused = |path: &Path| {
        let said = into.merge(path).unwrap_err().to_string();
        let asked = rows(&into, "select count(*) from requests");
        assert_eq!(asked, "[[0]]", "{said}");
        said
    };
    assert!(refused(&folder.path().join("into")).contains("into itself"));
    let none = folder.path().join("none");
    assert!(refused(&none).contains("none"));
    assert!(!none.exists());
    let text = folder.path().join("text");
    std::fs::write(
        &text,
        "no database at all, but long enough to have a header",
    )
    .unwrap();
    assert!(refused(&text).contains("text"));
    let open = Ledger::open(&folder.path().join("open")).unwrap();
    assert!(refused(&folder.path().join("open")).contains("another process"));
    drop(open);
    for (sql, word) in [
        ("UPDATE tries SET cost = -1", "cost less than nothing"),
        (
            "UPDATE tries SET reserved = 9e999",
            "cost less than nothing",
        ),
        ("UPDATE tries SET try = 0 WHERE try = 2", "no number"),
        (
            "UPDATE tries SET batch = 7",
            "a batch that it does not have",
        ),
        ("UPDATE tries SET status = 'x'", "status"),
        ("UPDATE requests SET content = x'00'", "content"),
        ("UPDATE meta SET value = '99'", "version 99"),
        ("DROP TABLE replies", "replies"),
        (
            "INSERT INTO batches (server, state, requests, created_at) VALUES ('s', 'x', 1, 0)",
            "no known state",
        ),
    ] {
        let path = written(folder.path(), "damaged", filled);
        damage(&path, sql);
        let said = refused(&path);
        assert!(
            said.contains(word) && said.contains("damaged"),
            "{sql}: {said}"
        );
        std::fs::remove_file(&path).unwrap();
    }
    // What is whole is taken after all that.
    let whole = written(folder.path(), "whole", filled);
    assert_eq!(into.merge(&whole).unwrap().requests, 4);
    let looking = Ledger::read_only(&whole).unwrap();
    assert!(looking.merge(&folder.path().join("into")).is_err());
}

#[test]
fn a_workers_ledger_knows_what_the_runs_has_settled_and_writes_its_own() {
    let folder = folder();
    let run = written(folder.path(), "run", filled);
    let own = folder.path().join("own");
    let ledger = Ledger::open(&own).unwrap().beside_known(&run).unwrap();
    assert_eq!(ledger.settled(&digest(0)).unwrap(), Some(reply(0)));
    assert!(ledger.standing(&digest(0)).unwrap().settled);
    assert!(ledger.standing(&digest(1)).unwrap().settled);
    // What is open there is asked here, from the first try.
    assert_eq!(
        ledger.standing(&digest(2)).unwrap(),
        crate::ledger::Standing::default()
    );
    answered(&ledger, &[(2, "two")]);
    assert_eq!(text(&ledger, 2), "two");
    assert!((ledger.spent("teacher").unwrap().cost - 0.2).abs() < 1e-9);

    // Another worker may look as well; nobody may write the run's meanwhile.
    let second = folder.path().join("second");
    let other = Ledger::open(&second).unwrap().beside_known(&run).unwrap();
    let said = Ledger::open(&run).err().unwrap().to_string();
    assert!(said.contains("another process"), "{said}");
    drop((ledger, other));
    let writing = Ledger::open(&run).unwrap();
    let said = Ledger::open(&own)
        .unwrap()
        .beside_known(&run)
        .err()
        .unwrap();
    assert!(said.to_string().contains("shards start when"), "{said}");
    assert_eq!(writing.merge(&own).unwrap().settled, 1);
    let row = writing.start_batch("s0", vec![sent(6, 1)]).unwrap();
    drop(writing);
    let said = Ledger::open(&own)
        .unwrap()
        .beside_known(&run)
        .err()
        .unwrap();
    assert!(
        said.to_string().contains("1 batches of it are still open"),
        "{said}"
    );
    let writing = Ledger::open(&run).unwrap();
    writing.end_batch(row, "expired", "", false).unwrap();
    drop(writing);
    let absent = folder.path().join("absent");
    let alone = Ledger::open(&own).unwrap().beside_known(&absent).unwrap();
    assert_eq!(alone.settled(&digest(0)).unwrap(), None);
    assert!(!absent.exists());
}

#[test]
fn notes_are_kept_with_their_ledger_and_do_not_travel() {
    let folder = folder();
    let path = written(folder.path(), "a", |ledger| {
        ledger.note("version", "mine").unwrap();
        ledger.note("shard", "1").unwrap();
        ledger.note("shard", "2").unwrap();
    });
    let looking = Ledger::read_only(&path).unwrap();
    assert_eq!(looking.noted("shard").unwrap().as_deref(), Some("2"));
    assert_eq!(looking.noted("version").unwrap().as_deref(), Some("mine"));
    drop(looking);
    let into = Ledger::in_memory().unwrap();
    into.merge(&path).unwrap();
    assert_eq!(into.noted("shard").unwrap(), None);
}
