//! Requests that nobody can mean, by the ten thousand.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use serde_json::{Value, json};

use super::process::{MODEL, Server, picture};

/// Requests with a wrong body, in all.
const BODIES: u64 = 10_000;
const THREADS: u64 = 4;
/// What the server may keep of them, in MiB: allocators give back in large pieces.
const KEPT: u64 = 64;

/// Numbers that follow from a seed (SplitMix64).
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len())]
    }
}

fn data_url(bytes: &[u8]) -> String {
    format!(
        "data:image/png;base64,{}",
        base64::engine::general_purpose::STANDARD.encode(bytes)
    )
}

/// Requests that are answered as they are.
fn sound(picture: &[u8]) -> [(&'static str, Value); 3] {
    let schema = json!({"type": "object", "properties": {"x": {"enum": ["A", 1]}}, "required": ["x"],
        "additionalProperties": false});
    let chat = json!({
        "model": MODEL,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [
                {"type": "text", "text": "How many bars?"},
                {"type": "image_url", "image_url": {"url": data_url(picture), "detail": "auto"}},
            ]},
        ],
        "max_tokens": 2, "temperature": 0.5, "top_p": 0.9, "n": 2, "stop": ["x", "yz"], "seed": 1,
        "logprobs": true, "top_logprobs": 2, "stream": false, "stream_options": null,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
    });
    let completion = json!({"model": MODEL, "prompt": ["2+3=", "1+1="], "max_tokens": 2, "temperature": 0,
        "logprobs": 1, "stream": true, "stream_options": {"include_usage": true}});
    let score = json!({"pairs": [{"a": "1/2", "b": "0.5"}, {"a": "x^2", "b": "x*x"}]});
    [
        ("/v1/chat/completions", chat),
        ("/v1/completions", completion),
        ("/v1/score", score),
    ]
}

/// A value that stands where another is wanted.
fn odd(draws: &mut Draws) -> Value {
    let nested = |depth| (0..depth).fold(json!(0), |inner, _| json!([inner]));
    match draws.below(16) {
        0 => Value::Null,
        1 => json!(-1),
        2 => json!(1e308),
        3 => json!(u64::MAX),
        4 => json!(i64::MIN),
        5 => json!(0.1),
        6 => json!(""),
        7 => json!("a\u{0}\u{202e}\u{fffd}\u{1f600}"),
        8 => json!("x".repeat(20_000)),
        9 => json!([]),
        10 => json!({}),
        11 => json!(true),
        12 => nested(100),
        13 => json!({"type": ["object", "nonsense"], "$ref": "#"}),
        14 => json!(["user", 3, null, {"type": "text"}]),
        _ => json!({"role": "user", "content": "<script>alert(1)</script>"}),
    }
}

/// Changes one place, at any depth.
fn replaced(value: &mut Value, draws: &mut Draws) {
    match value {
        Value::Object(fields) if !fields.is_empty() && draws.below(6) > 0 => {
            let key = fields
                .keys()
                .nth(draws.below(fields.len()))
                .unwrap()
                .clone();
            match draws.below(8) {
                0 => {
                    fields.remove(&key);
                }
                1 => {
                    let moved = fields.remove(&key).unwrap();
                    fields.insert(format!("{key}_"), moved);
                }
                _ => replaced(&mut fields[&key], draws),
            }
        }
        Value::Array(items) if !items.is_empty() && draws.below(6) > 0 => {
            let at = draws.below(items.len());
            match draws.below(8) {
                0 => {
                    items.remove(at);
                }
                1 => items.insert(at, odd(draws)),
                _ => replaced(&mut items[at], draws),
            }
        }
        other => *other = odd(draws),
    }
}

/// Changes some bytes, whatever they mean.
fn garbled(bytes: &mut Vec<u8>, draws: &mut Draws) {
    for _ in 0..=draws.below(8) {
        let at = draws.below(bytes.len().max(1)).min(bytes.len());
        match draws.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, *draws.of(b"\0\"{}[],:\\e9\xff ")),
            _ if at < bytes.len() => bytes[at] ^= 1 << draws.below(8),
            _ => {}
        }
    }
}

/// A request that differs from a sound one.
fn wrong(
    sound: &[(&'static str, Value)],
    picture: &[u8],
    draws: &mut Draws,
) -> (&'static str, Vec<u8>) {
    let (path, value) = draws.of(sound);
    let mut value = value.clone();
    match draws.below(4) {
        0 => {
            let mut bytes = value.to_string().into_bytes();
            garbled(&mut bytes, draws);
            return (path, bytes);
        }
        1 if value["messages"].is_array() => {
            let mut image = picture.to_vec();
            garbled(&mut image, draws);
            value["messages"][1]["content"][1]["image_url"]["url"] = json!(data_url(&image));
        }
        _ => {
            for _ in 0..=draws.below(3) {
                replaced(&mut value, draws);
            }
        }
    }
    (path, value.to_string().into_bytes())
}

#[test]
fn ten_thousand_malformed_bodies_are_told_so_and_nothing_is_kept_of_them() {
    let server = Server::start(&["--parallel", "16"]);
    let picture = picture();
    let sound = sound(&picture);
    for (path, body) in &sound {
        let answer = server.post(path, body);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    let refused = AtomicU64::new(0);
    let answered = AtomicU64::new(0);
    let round = |seeds: std::ops::Range<u64>| {
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (server, sound, picture, seeds) = (&server, &sound, &picture, seeds.clone());
                let (refused, answered) = (&refused, &answered);
                scope.spawn(move || {
                    let mut wire = server.wire();
                    for seed in seeds.filter(|seed| seed % THREADS == thread) {
                        let (path, body) = wrong(sound, picture, &mut Draws(seed));
                        let shown =
                            String::from_utf8_lossy(&body[..body.len().min(2_000)]).into_owned();
                        wire.request("POST", path, &body).unwrap();
                        let answer = wire.answer();
                        let answer = answer.unwrap_or_else(|e| panic!("seed {seed}: {e}: {shown}"));
                        if answer.status == 200 {
                            answered.fetch_add(1, Ordering::Relaxed);
                        } else {
                            refused.fetch_add(1, Ordering::Relaxed);
                            assert!(
                                (400..500).contains(&answer.status),
                                "seed {seed}: {answer:?}: {shown}"
                            );
                            let message = answer.json()["error"]["message"].as_str().map(str::len);
                            assert!(message > Some(0), "seed {seed}: {answer:?}: {shown}");
                        }
                        if answer.header("connection") == Some("close") {
                            wire = server.wire();
                        }
                    }
                });
            }
        });
        server.idle();
        server.memory()
    };
    let (early, late) = server.undisturbed(|| (round(0..BODIES / 4), round(BODIES / 4..BODIES)));
    assert!(late <= early + KEPT, "{early} MiB became {late} MiB");
    // Neither is everything refused at the door nor does anything go.
    let (refused, answered) = (refused.into_inner(), answered.into_inner());
    assert!(
        refused > BODIES / 2 && answered > BODIES / 100,
        "{refused} refused, {answered} answered"
    );
}

/// Heads and framings that are wrong, each with the statuses that are right; 0 stands for no answer at all.
fn framings() -> Vec<(Vec<u8>, &'static [u16])> {
    let post = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n";
    let json = "content-type: application/json\r\n";
    let mut cases: Vec<(Vec<u8>, &'static [u16])> = Vec::new();
    let mut case = |bytes: String, statuses| cases.push((bytes.into_bytes(), statuses));
    case("\r\n\r\n\r\n".into(), &[0, 400]);
    case("GET\r\n\r\n".into(), &[0, 400]);
    case("GET /health\r\n\r\n".into(), &[0, 400]);
    case("GET /health HTTP/9.9\r\n\r\n".into(), &[0, 400, 505]);
    case("GET /health HTTP/1.1\r\nhost\r\n\r\n".into(), &[400]);
    case(
        "GET /health HTTP/1.1\r\nhost: a b\r\n\r\n".into(),
        &[400, 403, 421],
    );
    case("GET /v1/models HTTP/1.1\r\n\r\n".into(), &[400, 403, 421]);
    case(
        "GET /v1/models HTTP/1.1\r\nhost: evil.example\r\n\r\n".into(),
        &[400, 403, 421],
    );
    case(
        "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n".into(),
        &[400, 403, 421],
    );
    case(
        "GET http://evil.example/v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        &[400, 403, 421],
    );
    case(
        "GET /v1/none HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        &[404],
    );
    case(
        "DELETE /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        &[405],
    );
    case(
        "CONNECT example.com:443 HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        &[400, 403, 404, 405, 421],
    );
    case(
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
        &[0, 400, 404, 405, 421, 505],
    );
    case(
        format!(
            "GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n",
            "a".repeat(100_000)
        ),
        &[0, 400, 404, 414, 431],
    );
    case(
        format!(
            "GET /health HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
            "a".repeat(1 << 20)
        ),
        &[0, 400, 431],
    );
    case(
        format!(
            "GET /health HTTP/1.1\r\nhost: localhost\r\n{}\r\n",
            "x: y\r\n".repeat(5_000)
        ),
        &[0, 400, 431],
    );
    case(
        "GET /health HTTP/1.1\r\nhost: localhost\r\nx: \0\r\n\r\n".into(),
        &[400],
    );
    case(
        "GET /health HTTP/1.1\r\nhost: localhost\r\n\u{e9}: x\r\n\r\n".into(),
        &[400],
    );
    case(format!("{post}content-length: 2\r\n\r\n{{}}"), &[415]);
    case(
        format!("{post}content-type: text/plain\r\ncontent-length: 2\r\n\r\n{{}}"),
        &[415],
    );
    case(
        format!("{post}{json}origin: http://evil.example\r\ncontent-length: 2\r\n\r\n{{}}"),
        &[403],
    );
    case(format!("{post}{json}\r\n"), &[400]);
    case(format!("{post}{json}content-length: -1\r\n\r\n"), &[400]);
    case(
        format!("{post}{json}content-length: 99999999999999999999\r\n\r\n"),
        &[400, 413],
    );
    case(
        format!("{post}{json}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"),
        &[400],
    );
    case(
        format!("{post}{json}content-length: 9\r\n\r\n{{}}"),
        &[0, 400],
    );
    case(
        format!("{post}{json}transfer-encoding: gzip\r\n\r\n{{}}"),
        &[400, 501],
    );
    case(
        format!("{post}{json}transfer-encoding: chunked\r\n\r\nzz\r\n"),
        &[0, 400],
    );
    case(
        format!("{post}{json}transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n"),
        &[0, 400, 413],
    );
    case(
        format!("{post}{json}transfer-encoding: chunked\r\n\r\n2\r\n{{}}"),
        &[0, 400],
    );
    case(
        format!(
            "{post}{json}transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"
        ),
        &[400],
    );
    cases.push((
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        &[0, 400],
    ));
    cases.push((vec![0xff; 100_000], &[0, 400, 431]));
    cases
}

#[test]
fn heads_and_framings_that_are_wrong_are_told_so_and_the_connection_ends() {
    let server = Server::start(&[]);
    server.undisturbed(|| {
        for (bytes, expected) in framings() {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
            let mut wire = server.wire();
            // The server may have ended already.
            let _ = wire.send(&bytes);
            if expected.contains(&0) {
                // It waits for more, until there can be none.
                let _ = wire.half_close();
            }
            let status = wire.head().map_or(0, |answer| answer.status);
            assert!(
                expected.contains(&status),
                "{status}, not of {expected:?}: {shown:?}"
            );
        }
    });
}

#[test]
fn random_bytes_after_a_sound_request_do_not_reach_its_answer() {
    let server = Server::start(&[]);
    let mut draws = Draws(7);
    server.undisturbed(|| {
        for _ in 0..200 {
            let mut wire = server.wire();
            let mut sent = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec();
            sent.extend((0..1 + draws.below(300)).map(|_| draws.next() as u8));
            wire.send(&sent).unwrap();
            assert_eq!(wire.answer().unwrap().status, 200);
            let _ = wire.half_close();
            let rest = String::from_utf8_lossy(&wire.rest().unwrap_or_default()).into_owned();
            assert!(rest.is_empty() || rest.starts_with("HTTP/1.1 4"), "{rest}");
        }
    });
}
