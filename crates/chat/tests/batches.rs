//! Batches that fail in parts, expire, answer twice, and are cut off at every call.

#![allow(clippy::unwrap_used, clippy::panic)]

mod scripted;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chat::money::Price;
use chat::remote::{BatchConfig, Batched, Limits, Remote, RemoteConfig};
use chat::transport::{
    BatchLine, BatchState, BatchStatus, BatchTransport, Doing, Fault, FaultKind, Sending, Transport,
};
use chat::{ChatModel, Finish, Ledger, Reply, Request, Settled, Stopped, Tally};
use scripted::request;

/// What the server remembers, whatever becomes of those who ask.
#[derive(Default)]
struct Memory {
    files: Vec<Vec<String>>,
    /// By id: the file, the label, and how often it was polled.
    batches: BTreeMap<String, (usize, String, usize)>,
    /// Times that each request was put into a batch.
    created: BTreeMap<String, usize>,
    calls: usize,
}

type Lines = dyn Fn(usize, &[String]) -> Vec<BatchLine> + Send + Sync;
type Ends = dyn Fn(usize) -> BatchStatus + Send + Sync;

/// A server that works batches off at the second poll.
struct Desk {
    memory: Arc<Mutex<Memory>>,
    /// The lines of the n-th batch's output.
    lines: Box<Lines>,
    /// How the n-th batch ends.
    ends: Box<Ends>,
    /// Panics at this call, before or after its effect.
    cut: Option<(usize, bool)>,
    /// Calls that fail although they took effect.
    unheard: Vec<usize>,
}

fn answered(key: &String) -> BatchLine {
    BatchLine {
        custom_id: key.clone(),
        outcome: Ok(Reply {
            text: format!("reply to {key}"),
            finish: Finish::Stop,
            prompt_tokens: 10,
            completion_tokens: 10,
        }),
    }
}

fn failed(key: &str, kind: FaultKind) -> BatchLine {
    BatchLine {
        custom_id: key.to_owned(),
        outcome: Err(Fault {
            kind,
            detail: "scripted".into(),
        }),
    }
}

fn desk(memory: &Arc<Mutex<Memory>>) -> Desk {
    Desk {
        memory: Arc::clone(memory),
        lines: Box::new(|_, keys| keys.iter().map(answered).collect()),
        ends: Box::new(|_| BatchStatus::Completed),
        cut: None,
        unheard: Vec::new(),
    }
}

impl Desk {
    fn call<'a, V: Send + 'a>(
        &'a self,
        effect: impl FnOnce(&mut Memory) -> Result<V, Fault> + Send + 'a,
    ) -> Doing<'a, V> {
        Box::pin(async move {
            let mut memory = match self.memory.lock() {
                Ok(memory) => memory,
                Err(poisoned) => poisoned.into_inner(),
            };
            let call = memory.calls;
            memory.calls += 1;
            assert!(self.cut != Some((call, false)), "cut before call {call}");
            let value = effect(&mut memory);
            assert!(self.cut != Some((call, true)), "cut after call {call}");
            if self.unheard.contains(&call) {
                return Err(Fault {
                    kind: FaultKind::Timeout,
                    detail: "scripted".into(),
                });
            }
            value
        })
    }

    fn state(&self, memory: &Memory, id: &str) -> BatchState {
        let (file, _, polls) = &memory.batches[id];
        let number: usize = id["batch".len()..].parse().unwrap();
        let status = if *polls < 2 {
            BatchStatus::InProgress
        } else {
            (self.ends)(number)
        };
        BatchState {
            id: id.to_owned(),
            status,
            output_file_id: status.ended().then(|| format!("output{number}")),
            error_file_id: None,
            total: memory.files[*file].len() as u64,
            completed: 0,
            failed: 0,
            expires_at: None,
            errors: vec!["scripted".into()],
        }
    }
}

impl Transport for Desk {
    fn servers(&self) -> Vec<String> {
        vec!["desk".into()]
    }

    fn send<'a>(&'a self, _: usize, _: &'a Arc<Request>, _: &'a str) -> Sending<'a> {
        panic!("nothing is sent one by one")
    }
}

impl BatchTransport for Desk {
    fn line<'a>(&'a self, _: usize, request: &'a Request, id: &'a str) -> Doing<'a, Vec<Bytes>> {
        Box::pin(async move {
            if request.id == "unreadable" {
                return Err(failed("", FaultKind::Image).outcome.unwrap_err());
            }
            Ok(vec![Bytes::from(id.to_owned()), Bytes::from_static(b"\n")])
        })
    }

    fn upload<'a>(&'a self, _: usize, lines: &'a Path) -> Doing<'a, String> {
        self.call(move |memory| {
            let text = std::fs::read_to_string(lines).unwrap();
            memory.files.push(text.lines().map(str::to_owned).collect());
            Ok(format!("file{}", memory.files.len() - 1))
        })
    }

    fn create<'a>(&'a self, _: usize, file: &'a str, label: &'a str) -> Doing<'a, BatchState> {
        self.call(move |memory| {
            let number: usize = file["file".len()..].parse().unwrap();
            for key in memory.files[number].clone() {
                *memory.created.entry(key).or_default() += 1;
            }
            let id = format!("batch{}", memory.batches.len());
            let batch = (number, label.to_owned(), 0);
            memory.batches.insert(id.clone(), batch);
            Ok(self.state(memory, &id))
        })
    }

    fn find<'a>(&'a self, _: usize, label: &'a str) -> Doing<'a, Option<BatchState>> {
        self.call(move |memory| {
            let found = memory.batches.iter().find(|(_, batch)| batch.1 == label);
            let id = found.map(|(id, _)| id.clone());
            Ok(id.map(|id| self.state(memory, &id)))
        })
    }

    fn poll<'a>(&'a self, _: usize, id: &'a str) -> Doing<'a, BatchState> {
        self.call(move |memory| {
            memory.batches.get_mut(id).unwrap().2 += 1;
            Ok(self.state(memory, id))
        })
    }

    fn cancel<'a>(&'a self, server: usize, id: &'a str) -> Doing<'a, BatchState> {
        self.poll(server, id)
    }

    fn fetch<'a>(
        &'a self,
        _: usize,
        file: &'a str,
        heard: &'a mut (dyn FnMut(Result<BatchLine, Fault>) + Send),
    ) -> Doing<'a, ()> {
        self.call(move |memory| {
            let number: usize = file["output".len()..].parse().unwrap();
            let keys = &memory.files[memory.batches[&format!("batch{number}")].0];
            for line in (self.lines)(number, keys) {
                heard(Ok(line));
            }
            Ok(())
        })
    }
}

fn batched(desk: Desk, change: impl FnOnce(&mut RemoteConfig, &mut BatchConfig)) -> Batched<Desk> {
    let mut config = RemoteConfig {
        breaker_pause_s: 0.005,
        breaker_longest_s: 0.02,
        patience_s: 0.3,
        max_tries: 4,
        price: Price {
            input: 1e6,
            output: 1e6,
            ..Price::default()
        },
        ..RemoteConfig::default()
    };
    let mut batches = BatchConfig {
        requests: 10,
        poll_s: 0.002,
        ..BatchConfig::default()
    };
    change(&mut config, &mut batches);
    let remote = Remote::new("teacher", desk, vec![Limits::default()], config).unwrap();
    Batched::new(remote, batches).unwrap()
}

fn ask(model: &Batched<Desk>, ledger: &Ledger, count: usize) -> Tally {
    model
        .converse(&mut (0..count).map(request), ledger, &mut |_| {})
        .unwrap()
}

fn number(ledger: &Ledger, sql: &str) -> f64 {
    ledger.query(sql, 1).unwrap().rows[0][0].as_f64().unwrap()
}

#[test]
fn requests_go_in_batches_of_the_size_that_is_set_at_half_the_price() {
    let memory = Arc::default();
    let ledger = Ledger::in_memory().unwrap();
    let model = batched(desk(&memory), |_, _| {});
    let twice = (0..35).chain(0..5).map(request);
    let unreadable = Request {
        id: "unreadable".into(),
        ..request(99)
    };
    let mut requests = twice.chain([unreadable]);
    let tally = model.converse(&mut requests, &ledger, &mut |_| {}).unwrap();
    assert_eq!((tally.requests, tally.answered), (41, 35));
    assert_eq!((tally.known, tally.refused), (5, 1));
    assert_eq!(tally.cost, 35.0 * 20.0 * 0.5);
    for n in 0..35 {
        let digest = model.digest(&request(n));
        let Some(Settled::Replied(reply)) = ledger.settled(&digest).unwrap() else {
            panic!("{n} has no reply");
        };
        assert_eq!(reply.text, format!("reply to {digest}"));
    }
    let sizes: Vec<usize> = memory.lock().unwrap().files.iter().map(Vec::len).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 35);
    assert!(sizes.iter().all(|&size| size <= 10));
    assert_eq!(number(&ledger, "SELECT sum(reserved) FROM tries"), 0.0);
    assert_eq!(ask(&model, &ledger, 35).known, 35);
    assert_eq!(memory.lock().unwrap().files.len(), sizes.len());
}

#[test]
fn files_stay_below_their_bytes() {
    let memory = Arc::default();
    let ledger = Ledger::in_memory().unwrap();
    // A line is 65 bytes.
    let model = batched(desk(&memory), |_, batches| batches.bytes = 200);
    assert_eq!(ask(&model, &ledger, 10).answered, 10);
    let memory = memory.lock().unwrap();
    assert!(memory.files.iter().all(|file| file.len() <= 3));
}

#[test]
fn what_fails_expires_or_has_no_line_goes_into_the_next_batch_and_strays_are_left_out() {
    let memory = Arc::default();
    let mut desk = desk(&memory);
    desk.ends = Box::new(|number| match number {
        0 => BatchStatus::Expired,
        1 => BatchStatus::Failed,
        _ => BatchStatus::Completed,
    });
    desk.lines = Box::new(|number, keys| match number {
        // Half of them before it expired, twice, and one of somebody else.
        0 => keys[..5]
            .iter()
            .chain(&keys[..5])
            .chain([&"stranger".to_owned()])
            .map(answered)
            .collect(),
        1 => Vec::new(),
        2 => keys
            .iter()
            .enumerate()
            .filter(|(n, _)| *n != 0)
            .map(|(n, key)| match n {
                1 => failed(key, FaultKind::Server),
                2 => failed(key, FaultKind::Invalid),
                _ => answered(key),
            })
            .collect(),
        _ => keys.iter().map(answered).collect(),
    });
    let ledger = Ledger::in_memory().unwrap();
    let model = batched(desk, |_, batches| batches.open = 1);
    let tally = ask(&model, &ledger, 10);
    assert_eq!((tally.answered, tally.refused, tally.missing), (9, 1, 0));
    assert_eq!(number(&ledger, "SELECT count(*) FROM replies"), 9.0);
    assert_eq!(
        number(&ledger, "SELECT count(*) FROM tries WHERE outcome IS NULL"),
        0.0
    );
    let outcomes =
        "SELECT count(*) FROM tries WHERE outcome IN ('expired', 'not_taken', 'no_line')";
    assert!(number(&ledger, outcomes) >= 10.0);
}

#[test]
fn a_request_that_always_fails_is_given_up_and_tried_again_by_a_later_run() {
    let memory = Arc::default();
    let mut desk = desk(&memory);
    desk.lines = Box::new(|_, keys| keys.iter().map(|k| failed(k, FaultKind::Server)).collect());
    let ledger = Ledger::in_memory().unwrap();
    let model = batched(desk, |_, _| {});
    for run in 1..=2 {
        assert_eq!(ask(&model, &ledger, 3).missing, 3);
        assert_eq!(
            number(&ledger, "SELECT max(try) FROM tries"),
            4.0 * f64::from(run)
        );
    }
}

#[test]
fn a_budget_counts_what_waits_in_batches() {
    let memory = Arc::default();
    let ledger = Ledger::in_memory().unwrap();
    // At worst a request costs some 58, in fact 10.
    let model = batched(desk(&memory), |config, _| config.max_budget = Some(400.0));
    let tally = ask(&model, &ledger, 100);
    assert!(
        matches!(tally.stopped, Some(Stopped::Budget { .. })),
        "{tally:?}"
    );
    let spent = ledger.spent("teacher").unwrap();
    assert!(spent.cost <= 400.0 && spent.cost > 340.0, "{spent:?}");
    assert_eq!(spent.reserved, 0.0);
}

#[test]
fn cut_off_at_any_call_a_run_goes_on_and_no_request_is_in_two_batches() {
    for call in 0..14 {
        for after in [false, true] {
            let memory: Arc<Mutex<Memory>> = Arc::default();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("ledger.db");
            let mut first = desk(&memory);
            first.cut = Some((call, after));
            let cut = catch_unwind(AssertUnwindSafe(|| {
                let ledger = Ledger::open(&path).unwrap();
                ask(&batched(first, |_, _| {}), &ledger, 25)
            }));
            let ledger = Ledger::open(&path).unwrap();
            let model = batched(
                Desk {
                    memory: Arc::clone(&memory),
                    ..desk(&Arc::default())
                },
                |_, _| {},
            );
            let tally = ask(&model, &ledger, 25);
            assert_eq!(tally.answered + tally.known, 25, "call {call}: {tally:?}");
            assert_eq!(tally.missing, 0);
            let memory = match memory.lock() {
                Ok(memory) => memory,
                Err(poisoned) => poisoned.into_inner(),
            };
            assert!(cut.is_err() || memory.calls > call);
            assert_eq!(memory.created.len(), 25);
            let twice: Vec<_> = memory
                .created
                .values()
                .filter(|&&times| times > 1)
                .collect();
            assert!(twice.is_empty(), "call {call}, after {after}: {twice:?}");
            assert_eq!(number(&ledger, "SELECT count(*) FROM replies"), 25.0);
        }
    }
}

#[test]
fn calls_whose_answers_are_not_heard_create_no_second_batch() {
    for call in 0..14 {
        let memory: Arc<Mutex<Memory>> = Arc::default();
        let mut desk = desk(&memory);
        desk.unheard = vec![call];
        let ledger = Ledger::in_memory().unwrap();
        let tally = ask(&batched(desk, |_, _| {}), &ledger, 25);
        assert_eq!((tally.answered, tally.missing), (25, 0), "call {call}");
        let memory = memory.lock().unwrap();
        assert!(
            memory.created.values().all(|&times| times == 1),
            "call {call}"
        );
    }
}
