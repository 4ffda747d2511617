//! Killed at any moment, a run goes on where it was: nothing that was settled is asked again.

#![allow(clippy::unwrap_used, clippy::panic)]

mod scripted;

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chat::remote::{Limits, Remote, RemoteConfig};
use chat::transport::{Attempt, Fault, FaultKind, Sending, Transport};
use chat::{ChatModel, Finish, Ledger, Reply, Request, Settled};
use rand::Rng;
use scripted::{answer, fault, request};

const FOLDER: &str = "MATH_LLAVA_CRASH_TEST_FOLDER";
const REQUESTS: usize = 1500;

/// Servers whose memory of what they were asked is a file, which no kill takes away.
struct Remembering {
    asked: File,
    calls: AtomicUsize,
}

impl Transport for Remembering {
    fn servers(&self) -> Vec<String> {
        vec!["first".into(), "second".into()]
    }

    fn send<'a>(&'a self, _: usize, request: &'a Arc<Request>, key: &'a str) -> Sending<'a> {
        let mut asked = &self.asked;
        asked.write_all(format!("{key}\n").as_bytes()).unwrap();
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            let process = u64::from(std::process::id());
            let mut rng = sample::seed::rng(process, &[key, &call.to_string()]);
            tokio::time::sleep(Duration::from_micros(rng.random_range(200..4000))).await;
            match rng.random_range(0..20) {
                0 => fault(FaultKind::Server),
                1 => fault(FaultKind::Reset),
                // Which requests are refused is the requests' own matter.
                _ if request.id.ends_with("13") => Attempt {
                    outcome: Some(Err(Fault {
                        kind: FaultKind::Refused,
                        detail: "declined".into(),
                    })),
                    ..Attempt::default()
                },
                _ => Attempt {
                    outcome: Some(Ok(Reply {
                        text: answer(request),
                        finish: Finish::Stop,
                        prompt_tokens: 9,
                        completion_tokens: 9,
                    })),
                    ..Attempt::default()
                },
            }
        })
    }
}

fn remote(folder: &Path) -> Remote<Remembering> {
    let asked = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("asked"))
        .unwrap();
    let config = RemoteConfig {
        retry_first_s: 0.001,
        retry_longest_s: 0.01,
        breaker_faults: 1000,
        max_tries: 100,
        ..RemoteConfig::default()
    };
    let limits = vec![Limits::default(); 2];
    Remote::new(
        "teacher",
        Remembering {
            asked,
            calls: AtomicUsize::new(0),
        },
        limits,
        config,
    )
    .unwrap()
}

/// What the killed process does; a test of its own binary only where it was started for that.
#[test]
fn a_run_that_the_other_test_kills() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let folder = Path::new(&folder);
    let ledger = Ledger::open(&folder.join("ledger.db")).unwrap();
    let mut requests = (0..REQUESTS).map(request);
    let tally = remote(folder)
        .converse(&mut requests, &ledger, &mut |_| {})
        .unwrap();
    assert_eq!(tally.missing, 0, "{tally:?}");
    File::create(folder.join("done")).unwrap();
}

fn asked(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("asked")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn column(ledger: &Ledger, sql: &str) -> Vec<String> {
    let rows = ledger.query(sql, usize::MAX).unwrap().rows;
    rows.iter()
        .map(|row| row[0].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn twenty_kills_at_random_moments_cost_nothing_that_was_settled() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let path = folder.join("ledger.db");
    let mut moments = sample::seed::rng(u64::from(std::process::id()), &["kills"]);
    let (mut settled, mut before, mut kills) = (HashSet::new(), 0, 0);
    while !folder.join("done").exists() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_run_that_the_other_test_kills"])
            .env(FOLDER, folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if kills < 20 {
            // The first milliseconds go to starting, and may be killed too.
            let wait = moments.random_range(0..40_000);
            std::thread::sleep(Duration::from_micros(wait));
            child.kill().unwrap();
            kills += 1;
            child.wait().unwrap();
        } else {
            assert!(child.wait().unwrap().success());
        }
        let asked = asked(folder);
        for key in &asked[before..] {
            assert!(
                !settled.contains(key),
                "{key} was settled and is asked again"
            );
        }
        before = asked.len();
        if let Ok(ledger) = Ledger::read_only(&path) {
            settled = column(
                &ledger,
                "SELECT digest FROM replies UNION ALL SELECT digest FROM refusals",
            )
            .into_iter()
            .collect();
        }
    }
    let ledger = Ledger::open(&path).unwrap();
    let model = remote(folder);
    for n in 0..REQUESTS {
        let request = request(n);
        match ledger.settled(&model.digest(&request)).unwrap() {
            Some(Settled::Replied(reply)) => assert_eq!(reply.text, answer(&request)),
            Some(Settled::Refused { .. }) => assert!(request.id.ends_with("13")),
            None => panic!("{n} is open"),
        }
    }
    // Whatever was asked is on the ledger as sent, each time.
    let mut tries: HashMap<String, usize> = HashMap::new();
    for digest in column(&ledger, "SELECT digest FROM tries") {
        *tries.entry(digest).or_default() += 1;
    }
    for key in asked(folder) {
        let left = tries.get_mut(&key).unwrap();
        *left = left.checked_sub(1).unwrap();
    }
    let status = ledger.status().unwrap();
    assert_eq!(status.groups[0].in_flight, 0);
    assert!(
        kills < 20 || status.groups[0].lost > 0,
        "no kill met a request on its way"
    );
}
