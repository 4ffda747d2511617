//! Ends: of clients, of the server, of the folder that it serves.

use std::sync::Barrier;

use serde_json::{Value, json};

use super::process::{MODEL, Server, model};
use super::wire::Wire;

/// Streams that are given up, in all, and the threads that do so.
const CANCELLED: usize = 1_000;
const THREADS: usize = 8;
/// What the server may keep of them, in MiB: allocators give back in large pieces.
const KEPT: u64 = 48;

/// Asks for a long stream and reads its beginning.
fn begun(server: &Server, number: usize, tokens: usize) -> Wire {
    let body = json!({"model": MODEL, "stream": true, "temperature": 1, "seed": number, "max_tokens": tokens,
        "messages": [{"role": "user", "content": format!("Question {number}")}]});
    let mut wire = server.wire();
    wire.request("POST", "/v1/chat/completions", body.to_string().as_bytes())
        .unwrap();
    assert_eq!(wire.head().unwrap().status, 200);
    assert!(wire.piece().unwrap().is_some());
    wire
}

#[test]
fn a_thousand_streams_given_up_leave_nothing_behind() {
    let server = Server::start(&["--parallel", "16"]);
    let round = |numbers: std::ops::Range<usize>| {
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (server, numbers) = (&server, numbers.clone());
                scope.spawn(move || {
                    for number in numbers.filter(|number| number % THREADS == thread) {
                        let mut wire = begun(server, number, 400);
                        // Some are given up at once, some later.
                        for _ in 0..number % 5 {
                            let _ = wire.piece();
                        }
                    }
                });
            }
        });
        server.idle();
        server.memory()
    };
    let (early, late) =
        server.undisturbed(|| (round(0..CANCELLED / 4), round(CANCELLED / 4..CANCELLED)));
    assert!(late <= early + KEPT, "{early} MiB became {late} MiB");
    assert!(server.metric("math_llava_cancelled_requests_total") > CANCELLED as u64 / 2);
}

#[test]
fn a_server_told_to_end_finishes_what_it_writes_refuses_what_waits_and_ends_well() {
    const LIVE: usize = 6;
    let mut server = Server::start(&["--parallel", "6"]);
    let alone = |number: usize| {
        let mut wire = begun(&server, number, 300);
        let mut text = Vec::new();
        while let Some(piece) = wire.piece().unwrap() {
            text.extend(piece);
        }
        last_words(&text)
    };
    let expected: Vec<_> = (0..LIVE).map(alone).collect();
    let live = Barrier::new(LIVE + 1);
    std::thread::scope(|scope| {
        let streams: Vec<_> = (0..LIVE)
            .map(|number| {
                let (server, live) = (&server, &live);
                scope.spawn(move || {
                    let mut wire = begun(server, number, 300);
                    live.wait();
                    let mut text = Vec::new();
                    while let Some(piece) = wire.piece().unwrap() {
                        text.extend(piece);
                    }
                    last_words(&text)
                })
            })
            .collect();
        // One connection that is idle, one in the middle of a request's head: neither may hold the end up.
        let idle = server.wire();
        let mut half = server.wire();
        half.send(b"POST /v1/chat/compl").unwrap();
        live.wait();
        // All places are taken, so this one waits.
        let mut waits = server.wire();
        let body = json!({"model": MODEL, "max_tokens": 300, "messages": [{"role": "user", "content": "late"}]});
        waits
            .request("POST", "/v1/chat/completions", body.to_string().as_bytes())
            .unwrap();
        server.terminate();
        for (stream, expected) in streams.into_iter().zip(&expected) {
            assert_eq!(&stream.join().unwrap(), expected);
        }
        // It may have come to its turn before the end was asked for.
        if let Ok(answer) = waits.answer() {
            assert!([200, 503].contains(&answer.status), "{}", answer.text());
            assert!(answer.status == 200 || answer.json()["error"]["message"].is_string());
        }
        drop((idle, half));
    });
    let status = server.ended();
    assert!(status.success(), "{status}");
    assert!(Wire::to(server.address).is_err());
}

/// How a stream ended, after its seed's last words.
fn last_words(text: &[u8]) -> (Vec<String>, bool) {
    let text = String::from_utf8_lossy(text);
    let events: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect();
    let said = |event: &Value| {
        let choice = &event["choices"][0];
        assert!(event["error"].is_null(), "{event}");
        choice["delta"]["content"]
            .as_str()
            .or(choice["finish_reason"].as_str())
            .map(str::to_owned)
    };
    (
        events.iter().filter_map(said).collect(),
        text.trim_end().ends_with("data: [DONE]"),
    )
}

#[test]
fn a_model_whose_folder_is_gone_goes_on_answering() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("model");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(model()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let mut server = Server::of(&copy, &[]);
    let before = server.well_known_answer();
    std::fs::remove_dir_all(&copy).unwrap();
    assert_eq!(server.well_known_answer(), before);
    assert_eq!(server.get("/health").status, 200);
    assert!(server.get("/v1/models").text().contains(MODEL));
    server.terminate();
    assert!(server.ended().success());
}
