//! The dispatcher over HTTP against servers that do everything wrong at once: every request ends with
//! one reply or a reason, none is answered twice, and the replies are those of a good day.
#![allow(clippy::unwrap_used, clippy::panic)]

mod server;

use std::collections::BTreeMap;
use std::time::Duration;

use chat::http::{Endpoint, Http, HttpConfig};
use chat::remote::{Limits, Remote, RemoteConfig};
use chat::{ChatModel, Ledger, Request, Role, Settled, Tag, Tally, Turn};
use server::{Script, Server, Trouble};

const REQUESTS: usize = 200;

fn request(n: usize) -> Request {
    Request {
        id: format!("r{n}"),
        tag: Tag::default(),
        system: None,
        turns: vec![Turn {
            role: Role::User,
            text: format!("question {n}"),
        }],
        images: Vec::new(),
        subject: serde_json::Value::Null,
        schema: None,
        max_tokens: 16,
        temperature: 0.0,
        seed: 0,
    }
}

fn remote(servers: &[Server]) -> Remote<Http> {
    let endpoints = servers.iter().map(|server| Endpoint {
        url: server.url(),
        ..Endpoint::default()
    });
    let config = HttpConfig {
        model: "test".into(),
        endpoints: endpoints.collect(),
        // Longer than any machine is busy: a timeout would be paid twice.
        timeout_s: 60.0,
        ..HttpConfig::default()
    };
    let patient = RemoteConfig {
        max_tries: 100,
        retry_first_s: 0.001,
        retry_longest_s: 0.01,
        breaker_pause_s: 0.005,
        breaker_longest_s: 0.02,
        patience_s: 60.0,
        ..RemoteConfig::default()
    };
    let limits = Limits {
        concurrency: 16,
        ..Limits::default()
    };
    let http = Http::new(config).unwrap();
    Remote::new("test", http, vec![limits; servers.len()], patient).unwrap()
}

/// What became of every request, by its id.
fn outcomes(remote: &Remote<Http>, ledger: &Ledger) -> (Tally, BTreeMap<String, Option<Settled>>) {
    let mut requests = (0..REQUESTS).map(request);
    let tally = remote.converse(&mut requests, ledger, &mut |_| {}).unwrap();
    let settled = (0..REQUESTS).map(|n| {
        let digest = remote.digest(&request(n));
        (request(n).id, ledger.settled(&digest).unwrap())
    });
    (tally, settled.collect())
}

#[test]
fn a_bad_day_gives_the_replies_of_a_good_one_and_none_twice() {
    let good = Server::start(Script::default());
    let (_, expected) = outcomes(&remote(&[good]), &Ledger::in_memory().unwrap());

    let bad = |seed, refused| Script {
        seed,
        // What a model declines, it declines on every server.
        faults: vec![
            // Each stops its server for half a second.
            (Trouble::Limited, 0.004),
            (Trouble::LimitedAfter, 0.04),
            (Trouble::Broken, 0.08),
            (Trouble::Burst, 0.02),
            (Trouble::Reset, 0.08),
            (Trouble::Refuse, 0.08),
            (Trouble::Slow, 0.04),
            (Trouble::Truncated, 0.08),
            (Trouble::WrongType, 0.08),
            (Trouble::Empty, 0.08),
            (Trouble::Duplicate, 0.08),
            (Trouble::Refusal, refused),
        ],
        most_faults: u64::MAX,
        slow: Duration::from_millis(20),
        retry_after: 0,
        clock_off: Some(-40_000_000),
        ..Script::default()
    };
    for refused in [0.0, 0.1] {
        let servers = [
            Server::start(bad(3, refused)),
            Server::start(bad(3, refused)),
        ];
        let remote = remote(&servers);
        let ledger = Ledger::in_memory().unwrap();
        let (tally, settled) = outcomes(&remote, &ledger);
        assert_eq!(tally.missing, 0, "{tally:?}");
        assert_eq!(tally.answered + tally.refused, REQUESTS as u64);
        assert_eq!(tally.refused > 0, refused > 0.0);
        for (id, settled) in &settled {
            match settled.as_ref().unwrap() {
                Settled::Refused { reason, .. } => assert_eq!(reason, "refused", "{id}"),
                replied => assert_eq!(Some(replied), expected[id].as_ref(), "{id}"),
            }
        }

        let mut answered: BTreeMap<String, u64> = BTreeMap::new();
        let mut befell: BTreeMap<&str, u64> = BTreeMap::new();
        for server in &servers {
            let counts = server.counts();
            for (key, count) in &counts.keys {
                *answered.entry(key.clone()).or_default() += count.answered;
            }
            for (trouble, count) in &counts.faults {
                *befell.entry(trouble).or_default() += count;
            }
        }
        assert_eq!(
            answered.len(),
            REQUESTS,
            "one key for all tries of a request"
        );
        assert!(answered.values().all(|times| *times == 1), "{answered:?}");
        assert!(befell.len() >= 9, "{befell:?}");

        let asked: Vec<u64> = servers.iter().map(|s| s.counts().asked()).collect();
        let (again, _) = outcomes(&remote, &ledger);
        assert_eq!(again.known, REQUESTS as u64);
        let after: Vec<u64> = servers.iter().map(|s| s.counts().asked()).collect();
        assert_eq!(asked, after, "what is settled is not asked again");
    }
}
