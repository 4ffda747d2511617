//! What a ledger promises: to itself after a kill, and to people who look.

use super::*;
use crate::{Finish, Tag};

fn request(n: u32) -> Arc<Request> {
    Arc::new(Request {
        id: format!("r{n}"),
        tag: Tag {
            stage: "synth".into(),
            kind: if n.is_multiple_of(2) {
                "askimg"
            } else {
                "verify"
            }
            .into(),
            source: "geometry".into(),
        },
        system: None,
        turns: vec![crate::Turn {
            role: crate::Role::User,
            text: format!("question, \"{n}\""),
        }],
        images: Vec::new(),
        subject: serde_json::Value::Null,
        schema: None,
        max_tokens: 9,
        temperature: 0.0,
        seed: 0,
    })
}

pub(super) fn digest(n: u32) -> Arc<str> {
    request(n).digest("teacher", false).into()
}

pub(super) fn sent(n: u32, attempt: u32) -> Sent {
    Sent {
        digest: digest(n),
        request: request(n),
        model: "teacher".into(),
        attempt,
        server: "s0".into(),
        batch: None,
        reserved: 0.5,
        estimated_tokens: 50,
    }
}

pub(super) fn reply(n: u32) -> Settled {
    Settled::Replied(Reply {
        text: format!("answer {n}"),
        finish: Finish::Length,
        prompt_tokens: 100,
        completion_tokens: 10,
    })
}

pub(super) fn ended(
    n: u32,
    attempt: u32,
    outcome: &'static str,
    settled: Option<Settled>,
) -> Ended {
    Ended {
        digest: digest(n),
        attempt,
        outcome,
        status: Some(200),
        detail: None,
        cost: if settled.is_some() { 0.2 } else { 0.0 },
        reserved: 0.0,
        latency_s: 2.0,
        settled,
    }
}

pub(super) fn refused() -> Settled {
    Settled::Refused {
        reason: "invalid_request".into(),
        detail: "too long, by far".into(),
    }
}

/// r0 answered at the second try, r1 refused, r2 failed once and open, r3 on its way.
pub(super) fn filled(ledger: &Ledger) {
    let recorder = ledger.recorder().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        for (n, attempt, outcome) in [
            (0, 1, Some(("timeout", None))),
            (0, 2, Some(("answered", Some(reply(0))))),
            (1, 1, Some(("invalid_request", Some(refused())))),
            (2, 1, Some(("server_error", None))),
            (3, 1, None),
        ] {
            recorder.sent(sent(n, attempt)).await.unwrap();
            if let Some((word, settled)) = outcome {
                let ended = ended(n, attempt, word, settled);
                recorder.ended(ended).await.unwrap();
            }
        }
    });
}

pub(super) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

pub(super) fn rows(ledger: &Ledger, sql: &str) -> String {
    serde_json::to_string(&ledger.query(sql, 100).unwrap().rows).unwrap()
}

#[test]
fn what_was_on_its_way_when_a_process_ended_is_lost_and_all_else_is_kept() {
    let folder = folder();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&path).unwrap();
    filled(&ledger);
    let waiting = Sent {
        attempt: 1,
        ..sent(4, 1)
    };
    let row = ledger.start_batch("s0", vec![waiting]).unwrap();
    drop(ledger);

    let ledger = Ledger::open(&path).unwrap();
    let at = |n| ledger.standing(&digest(n)).unwrap();
    let stands = |settled, tries, batch| Standing {
        settled,
        tries,
        batch,
    };
    assert_eq!(at(0), stands(true, 2, None));
    assert_eq!(at(1), stands(true, 1, None));
    assert_eq!(at(2), stands(false, 1, None));
    assert_eq!(at(3), stands(false, 1, None));
    assert_eq!(
        at(4),
        stands(false, 1, Some(row)),
        "a batch goes on without us"
    );
    assert_eq!(at(5), Standing::default());
    assert_eq!(ledger.settled(&digest(0)).unwrap(), Some(reply(0)));
    assert_eq!(ledger.settled(&digest(1)).unwrap(), Some(refused()));
    assert_eq!(ledger.settled(&digest(3)).unwrap(), None);
    assert_eq!(
        rows(
            &ledger,
            "SELECT outcome, reserved FROM tries WHERE outcome = 'lost'"
        ),
        r#"[["lost",0.5]]"#
    );
    let spent = ledger.spent("teacher").unwrap();
    assert_eq!((spent.cost, spent.reserved), (0.4, 1.0));
    assert_eq!(ledger.spent("another").unwrap(), Spent::default());
}

#[test]
fn the_first_settlement_of_a_request_stands() {
    let ledger = Ledger::in_memory().unwrap();
    filled(&ledger);
    let later = Settled::Replied(Reply {
        text: "another".into(),
        finish: Finish::Stop,
        prompt_tokens: 1,
        completion_tokens: 1,
    });
    for n in [0, 1] {
        let again = vec![(digest(n).to_string(), (*request(n)).clone(), later.clone())];
        ledger.settle_at_once("teacher", again).unwrap();
        ledger
            .end_tries(&[ended(n, 1, "answered", Some(later.clone()))])
            .unwrap();
    }
    assert_eq!(ledger.settled(&digest(0)).unwrap(), Some(reply(0)));
    assert_eq!(ledger.settled(&digest(1)).unwrap(), Some(refused()));
    assert_eq!(rows(&ledger, "SELECT count(*) FROM replies"), "[[1]]");
}

#[test]
fn one_process_writes_and_others_look() {
    let folder = folder();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&path).unwrap();
    filled(&ledger);
    let second = Ledger::open(&path).err().unwrap().to_string();
    assert!(
        second.contains("another process") && second.contains("ledger.db"),
        "{second}"
    );
    let looking = Ledger::read_only(&path).unwrap();
    assert_eq!(looking.status().unwrap(), ledger.status().unwrap());
    assert!(looking.recorder().is_err());
    assert!(looking.verdicts(&[]).is_err());
    drop(ledger);
    assert!(
        Ledger::open(&path).is_ok(),
        "the lock goes with its process"
    );
}

#[test]
fn files_that_are_no_ledger_are_refused_with_their_path_and_left_as_they_were() {
    let folder = folder();
    let text = folder.path().join("text.db");
    std::fs::write(&text, "no database at all ".repeat(100)).unwrap();
    let foreign = folder.path().join("foreign.db");
    let connection = Connection::open(&foreign).unwrap();
    connection.execute_batch("CREATE TABLE other (x)").unwrap();
    let newer = folder.path().join("newer.db");
    drop(Ledger::open(&newer).unwrap());
    let connection = Connection::open(&newer).unwrap();
    connection
        .execute_batch("UPDATE meta SET value = '999'")
        .unwrap();
    drop(connection);
    let nowhere = folder.path().join("missing/ledger.db");
    for (path, says) in [
        (&text, "not a database"),
        (&foreign, "something else"),
        (&newer, "version 999"),
        (&nowhere, "cannot make"),
        (&folder.path().to_owned(), "unable to open"),
    ] {
        let before = std::fs::read(path).ok();
        let error = Ledger::open(path).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
        assert!(error.contains(&*path.display().to_string()), "{error}");
        assert_eq!(std::fs::read(path).ok(), before);
        assert!(Ledger::read_only(path).is_err());
    }
}

#[test]
fn a_full_disk_is_a_message_for_whoever_writes_and_loses_nothing_that_was_acknowledged() {
    let folder = folder();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&path).unwrap();
    filled(&ledger);
    {
        let connection = locked(ledger.writing.as_ref().unwrap());
        let pages: i64 = connection
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .unwrap();
        connection
            .pragma_update(None, "max_page_count", pages)
            .unwrap();
    }
    let recorder = ledger.recorder().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut acknowledged = 0;
    let error = (10..1000).find_map(|n| {
        let mut large = (*request(n)).clone();
        large.turns[0].text = "x".repeat(10_000);
        let sent = Sent {
            request: Arc::new(large),
            ..sent(n, 1)
        };
        let written = runtime.block_on(recorder.sent(sent));
        acknowledged += u32::from(written.is_ok());
        written.err()
    });
    let error = error.unwrap().to_string();
    assert!(
        error.contains("full") && error.contains("ledger.db"),
        "{error}"
    );
    drop(ledger);
    let ledger = Ledger::open(&path).unwrap();
    let count = rows(&ledger, "SELECT count(*) FROM requests");
    assert_eq!(count, format!("[[{}]]", 4 + acknowledged));
}

#[test]
fn queries_read_and_do_nothing_else() {
    let folder = folder();
    let ledger = Ledger::open(&folder.path().join("ledger.db")).unwrap();
    filled(&ledger);
    let other = folder.path().join("other.db");
    let attach = format!("ATTACH '{}' AS other", other.display());
    for sql in [
        "DELETE FROM replies",
        "UPDATE tries SET cost = 0",
        "CREATE TABLE mine (x)",
        "PRAGMA query_only = 0; DELETE FROM replies",
        attach.as_str(),
        "VACUUM INTO 'copy.db'",
        "SELECT nonsense FROM tries",
        "",
    ] {
        assert!(ledger.query(sql, 10).is_err(), "{sql}");
    }
    assert!(!other.exists());
    let all = ledger.query("SELECT * FROM tries", 10).unwrap();
    assert_eq!((all.rows.len(), all.cut), (5, false));
    let cut = ledger.query("SELECT digest FROM tries", 2).unwrap();
    assert_eq!((cut.rows.len(), cut.cut), (2, true));
    assert!(cut.to_string().ends_with("the first 2 rows\n"));
    assert_eq!(
        rows(
            &ledger,
            "SELECT kind, requests, answered, refused, open FROM progress"
        ),
        r#"[["askimg",2,1,0,1],["verify",2,0,1,1]]"#
    );
    assert_eq!(
        rows(&ledger, "SELECT model, kind, tries, cost FROM spend"),
        r#"[["teacher","askimg",3,0.2],["teacher","verify",2,0.2]]"#
    );
}

#[test]
fn the_status_counts_what_the_tables_hold() {
    let ledger = Ledger::in_memory().unwrap();
    assert_eq!(ledger.status().unwrap(), Status::default());
    filled(&ledger);
    let verdict = |pair, verdict: &str, reason: &str| Verdict {
        digest: digest(0).to_string(),
        pair,
        sample_id: "s".into(),
        verdict: verdict.into(),
        reason: reason.into(),
        detail: String::new(),
    };
    let first = [
        verdict(0, "rejected", "leak"),
        verdict(1, "rejected", "leak"),
    ];
    ledger.verdicts(&first).unwrap();
    ledger.verdicts(&[verdict(1, "kept", "")]).unwrap();
    let status = ledger.status().unwrap();
    let askimg = &status.groups[0];
    assert_eq!(
        (askimg.requests, askimg.settled, askimg.answered),
        (2, 1, 1)
    );
    assert_eq!((askimg.tries, askimg.in_flight, askimg.lost), (3, 0, 0));
    assert_eq!((askimg.prompt_tokens, askimg.completion_tokens), (100, 10));
    assert_eq!((askimg.cost, askimg.mean_latency_s), (0.2, 2.0));
    assert_eq!(
        (status.groups[1].refused, status.groups[1].in_flight),
        (1, 1)
    );
    assert_eq!(status.models[0].reserved, 0.5);
    let verdicts: Vec<(&str, &str, u64)> = status
        .verdicts
        .iter()
        .map(|v| (v.verdict.as_str(), v.reason.as_str(), v.pairs))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("kept", "", 1),
            ("rejected", "leak", 1),
            ("refused", "invalid_request", 1)
        ]
    );
    let shown = status.to_string();
    for word in ["askimg", "teacher", "server_error", "leak", "at risk"] {
        assert!(shown.contains(word), "{shown}");
    }
}

#[test]
fn an_export_is_whole_or_not_there() {
    let folder = folder();
    let ledger = Ledger::in_memory().unwrap();
    filled(&ledger);
    let path = folder.path().join("ledger.jsonl");
    assert_eq!(ledger.export(&path).unwrap(), 4);
    let lines: Vec<serde_json::Value> = std::fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["reply"]["text"], "answer 0");
    assert_eq!(lines[0]["request"]["turns"][0]["text"], "question, \"0\"");
    assert_eq!(lines[0]["tries"], 2);
    assert_eq!(lines[1]["refused"]["reason"], "invalid_request");
    assert_eq!(lines[2]["state"], "open");
    let tries = folder.path().join("tries.csv");
    assert_eq!(ledger.export_tries(&tries).unwrap(), 5);
    assert!(
        std::fs::read_to_string(&tries)
            .unwrap()
            .starts_with("digest,try,server")
    );
    assert!(
        ledger
            .export(&folder.path().join("no/ledger.jsonl"))
            .is_err()
    );
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "no half files");
}
