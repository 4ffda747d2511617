//! Requests against servers that fail: each ends with one reply or a reason, and none is asked twice.

#![allow(clippy::unwrap_used, clippy::panic)]

mod scripted;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chat::money::Price;
use chat::remote::{Limits, Remote, RemoteConfig};
use chat::transport::FaultKind;
use chat::{ChatModel, Ledger, Request, Settled, Stopped, Tally};
use rand::Rng;
use scripted::{Act, Scripted, answer, request};

fn quick() -> RemoteConfig {
    RemoteConfig {
        retry_first_s: 0.001,
        retry_longest_s: 0.01,
        breaker_pause_s: 0.005,
        breaker_longest_s: 0.02,
        patience_s: 0.1,
        grace_s: 0.2,
        ..RemoteConfig::default()
    }
}

fn slots(concurrency: usize) -> Limits {
    Limits {
        concurrency,
        ..Limits::default()
    }
}

fn remote(transport: Scripted, config: RemoteConfig) -> Remote<Scripted> {
    let limits = vec![slots(16); transport.servers];
    Remote::new("teacher", transport, limits, config).unwrap()
}

fn ask(remote: &Remote<Scripted>, ledger: &Ledger, count: usize) -> Tally {
    remote
        .converse(&mut (0..count).map(request), ledger, &mut |_| {})
        .unwrap()
}

fn number(ledger: &Ledger, sql: &str) -> f64 {
    ledger.query(sql, 1).unwrap().rows[0][0].as_f64().unwrap()
}

#[test]
fn every_request_gets_its_own_answer_once_and_a_second_run_sends_nothing() {
    let ledger = Ledger::in_memory().unwrap();
    let remote = remote(Scripted::new(2, |_, _, _| Act::Answer), quick());
    let mut heard = 0;
    let mut twice = (0..300).chain(0..300).map(request);
    let tally = remote
        .converse(&mut twice, &ledger, &mut |_| heard += 1)
        .unwrap();
    assert_eq!(
        (tally.requests, tally.known, tally.answered),
        (600, 300, 300)
    );
    assert_eq!(heard, 600);
    for n in 0..300 {
        let Some(Settled::Replied(reply)) = ledger.settled(&remote.digest(&request(n))).unwrap()
        else {
            panic!("{n} has no reply");
        };
        assert_eq!(reply.text, answer(&request(n)));
    }
    let again = ask(&remote, &ledger, 300);
    assert_eq!((again.known, again.answered), (300, 0));
    assert_eq!(remote.transport().tries(), 300);
    for server in &remote.transport().by_server {
        assert!(
            server.load(Ordering::SeqCst) > 50,
            "both servers share the work"
        );
    }
}

#[test]
fn faults_at_random_leave_every_request_with_one_reply_or_a_reason() {
    for seed in 0..3 {
        let script = move |_: usize, request: &Request, nth: usize| {
            let mut rng = sample::seed::rng(seed, &[&request.id, &nth.to_string()]);
            match rng.random_range(0..12) {
                0 => Act::TooMany(None),
                1 => Act::TooMany(Some(Duration::from_millis(2))),
                2 => Act::Fail(FaultKind::Server),
                3 => Act::Fail(FaultKind::Reset),
                4 => Act::Fail(FaultKind::BadReply),
                5 => Act::Fail(FaultKind::Connection),
                6 if request.id.ends_with('7') => Act::Fail(FaultKind::Refused),
                7 if request.id.ends_with('8') => Act::Fail(FaultKind::Invalid),
                8 if request.id == "r5" => Act::Panic,
                9 => Act::Late(Duration::from_millis(3)),
                _ => Act::Answer,
            }
        };
        let ledger = Ledger::in_memory().unwrap();
        let mut config = quick();
        config.patience_s = 30.0;
        config.max_tries = 50;
        let remote = remote(Scripted::new(3, script), config);
        let tally = ask(&remote, &ledger, 60);
        assert_eq!(tally.answered + tally.refused, 60, "{tally:?}");
        assert!(tally.refused > 0 && tally.answered > 30, "{tally:?}");
        let answered = remote.transport().answered.lock().unwrap();
        assert!(
            answered.values().all(|&times| times == 1),
            "none was answered twice"
        );
        let tries = number(&ledger, "SELECT count(*) FROM tries");
        assert_eq!(tries as usize, remote.transport().tries());
        assert_eq!(
            number(&ledger, "SELECT count(*) FROM tries WHERE outcome IS NULL"),
            0.0
        );
    }
}

#[test]
fn a_fault_that_may_pass_is_tried_on_another_server_and_given_up_at_max_tries() {
    let script = |server: usize, request: &Request, _: usize| match (server, request.id.as_str()) {
        (_, "r0") => Act::Fail(FaultKind::BadReply),
        (0, _) => Act::Fail(FaultKind::BadReply),
        _ => Act::Answer,
    };
    let ledger = Ledger::in_memory().unwrap();
    let remote = remote(Scripted::new(2, script), quick());
    let tally = ask(&remote, &ledger, 20);
    assert_eq!((tally.answered, tally.missing), (19, 1));
    assert!(tally.first_missing.unwrap().contains("request r0: server"));
    let most = "SELECT max(n) FROM (SELECT count(*) AS n FROM tries GROUP BY digest HAVING sum(outcome = 'answered'))";
    assert!(
        number(&ledger, most) <= 2.0,
        "the second try goes elsewhere"
    );
    // A later run tries again, and numbers its tries on.
    assert_eq!(ask(&remote, &ledger, 20).missing, 1);
    assert_eq!(number(&ledger, "SELECT max(try) FROM tries"), 16.0);
}

#[test]
fn one_server_that_dies_or_has_no_money_left_leaves_its_work_to_the_other() {
    for kind in [
        FaultKind::Connection,
        FaultKind::Quota,
        FaultKind::Forbidden,
    ] {
        let script = move |server: usize, _: &Request, _: usize| match server {
            0 => Act::Fail(kind),
            _ => Act::Late(Duration::from_micros(200)),
        };
        let ledger = Ledger::in_memory().unwrap();
        let remote = remote(Scripted::new(2, script), quick());
        let tally = ask(&remote, &ledger, 400);
        assert_eq!((tally.answered, &tally.stopped), (400, &None), "{kind:?}");
        let asked = remote.transport().by_server[0].load(Ordering::SeqCst);
        assert!(
            asked < 100,
            "{kind:?}: a dead server was asked {asked} times"
        );
    }
}

#[test]
fn servers_that_never_answer_stop_the_run_and_settle_nothing() {
    for kind in [
        FaultKind::Connection,
        FaultKind::Timeout,
        FaultKind::RateLimited,
        FaultKind::Quota,
        FaultKind::NotFound,
    ] {
        let act = match kind {
            FaultKind::RateLimited => Act::TooMany(Some(Duration::from_millis(5))),
            kind => Act::Fail(kind),
        };
        let ledger = Ledger::in_memory().unwrap();
        let mut config = quick();
        config.max_tries = 1000;
        let dead = remote(Scripted::new(2, move |_, _, _| act.clone()), config);
        let tally = ask(&dead, &ledger, 1000);
        assert!(
            matches!(tally.stopped, Some(Stopped::Dead(_))),
            "{kind:?}: {tally:?}"
        );
        assert_eq!(tally.requests, tally.missing);
        assert!(tally.first_missing.unwrap().contains(kind.word()));
        let alive = remote(Scripted::new(1, |_, _, _| Act::Answer), quick());
        assert_eq!(ask(&alive, &ledger, 1000).answered, 1000);
    }
}

#[test]
fn a_wait_longer_than_ones_patience_is_not_begun() {
    let hour = Duration::from_secs(3600);
    let ledger = Ledger::in_memory().unwrap();
    let remote = remote(
        Scripted::new(1, move |_, _, _| Act::TooMany(Some(hour))),
        quick(),
    );
    let tally = ask(&remote, &ledger, 5);
    assert!(matches!(tally.stopped, Some(Stopped::Dead(_))), "{tally:?}");
}

#[test]
fn no_more_than_the_slots_are_on_their_way_and_the_stream_is_pulled_as_they_come_free() {
    let script = |_: usize, _: &Request, _: usize| Act::Late(Duration::from_millis(1));
    let remote = Remote::new("teacher", Scripted::new(1, script), vec![slots(7)], quick()).unwrap();
    let pulled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pulled);
    let mut requests = (0..5000).map(move |n| {
        counted.fetch_add(1, Ordering::SeqCst);
        request(n)
    });
    let mut furthest_ahead = 0;
    let tally = remote
        .converse(&mut requests, &Ledger::in_memory().unwrap(), &mut |tally| {
            let ahead = pulled.load(Ordering::SeqCst) - tally.answered as usize;
            furthest_ahead = furthest_ahead.max(ahead);
        })
        .unwrap();
    assert_eq!(tally.answered, 5000);
    assert_eq!(remote.transport().most_flying.load(Ordering::SeqCst), 7);
    assert!(
        furthest_ahead < 1500,
        "{furthest_ahead} requests lay in memory"
    );
}

#[test]
fn the_budget_is_never_passed_and_all_of_it_is_used() {
    let price = Price {
        input: 1e4,
        output: 1e4,
        ..Price::default()
    };
    // A reply costs 0.62, and may cost 1.17.
    let script = |_: usize, _: &Request, nth: usize| match nth {
        0 => Act::Fail(FaultKind::Timeout),
        _ => Act::Late(Duration::from_millis(1)),
    };
    let config = RemoteConfig {
        max_budget: Some(100.0),
        price,
        max_tries: 3,
        breaker_faults: 1000,
        patience_s: 30.0,
        ..quick()
    };
    let ledger = Ledger::in_memory().unwrap();
    let remote = remote(Scripted::new(1, script), config);
    let tally = ask(&remote, &ledger, 200);
    assert!(
        matches!(tally.stopped, Some(Stopped::Budget { .. })),
        "{tally:?}"
    );
    let spent = ledger.spent("teacher").unwrap();
    let total = spent.cost + spent.reserved;
    assert!(total <= 100.0 && total > 97.0, "{spent:?}");
    assert!(
        spent.reserved > 20.0,
        "timed out tries may have been billed"
    );
    assert!((tally.cost - spent.cost).abs() < 1e-9);
    // What earlier runs spent counts.
    let before = remote.transport().tries();
    let again = ask(&remote, &ledger, 200);
    assert!(matches!(again.stopped, Some(Stopped::Budget { .. })));
    assert!(remote.transport().tries() <= before + 1);
}

#[test]
fn a_stage_that_takes_too_long_stops_and_what_hangs_is_known_as_lost() {
    let script = |_: usize, request: &Request, _: usize| match request.id.as_str() {
        "r3" => Act::Hang,
        _ => Act::Answer,
    };
    let config = RemoteConfig {
        stage_timeout_s: 0.3,
        ..quick()
    };
    let ledger = Ledger::in_memory().unwrap();
    let remote = remote(Scripted::new(1, script), config);
    let tally = ask(&remote, &ledger, 10);
    assert_eq!((tally.answered, tally.missing), (9, 1));
    assert_eq!(tally.stopped, Some(Stopped::OutOfTime { seconds: 0.3 }));
    let status = ledger.status().unwrap();
    assert_eq!((status.groups[0].lost, status.groups[0].in_flight), (1, 0));
}

#[test]
fn a_batch_of_replies_is_in_the_requests_order_with_each_error_in_its_place() {
    let script = |_: usize, request: &Request, _: usize| match request.id.as_str() {
        "r1" => Act::Fail(FaultKind::Refused),
        "r2" => Act::Fail(FaultKind::Server),
        _ => Act::Answer,
    };
    let remote = remote(Scripted::new(1, script), quick());
    let requests: Vec<Request> = [3, 1, 0, 2, 3].map(request).to_vec();
    let replies = remote.reply(&requests);
    assert_eq!(replies[0].as_ref().unwrap().text, answer(&request(3)));
    assert!(matches!(replies[1], Err(chat::Error::Unanswerable { .. })));
    assert_eq!(replies[2].as_ref().unwrap().text, answer(&request(0)));
    assert!(matches!(replies[3], Err(chat::Error::Failed { .. })));
    assert_eq!(replies[4].as_ref().unwrap().text, answer(&request(3)));
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let wrong: [fn(&mut RemoteConfig); 5] = [
        |c| c.max_tries = 0,
        |c| c.patience_s = f64::NAN,
        |c| c.max_budget = Some(-1.0),
        |c| c.prompt_margin = 0.5,
        |c| c.price.output = f64::INFINITY,
    ];
    for change in wrong {
        let mut config = quick();
        change(&mut config);
        let transport = Scripted::new(1, |_, _, _| Act::Answer);
        assert!(Remote::new("teacher", transport, vec![slots(1)], config).is_err());
    }
    for limits in [vec![], vec![slots(0)], vec![slots(1); 2]] {
        let transport = Scripted::new(1, |_, _, _| Act::Answer);
        assert!(Remote::new("teacher", transport, limits, quick()).is_err());
    }
}
