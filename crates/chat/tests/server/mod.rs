//! A server that speaks as much of OpenAI's API as the tests need, answers by a script, and does
//! wrong on demand, by seed. It counts what every request was asked, answered and billed, which is how
//! tests know that nothing was paid twice.
#![allow(
    dead_code,
    reason = "each test and example that includes it uses a part"
)]

mod batches;
mod script;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use batches::Batches;
pub use script::{Answer, Script, Trouble};
use wire::{Answered, Asked, Wire};

/// A server on a port of the loopback; it ends with the value.
pub struct Server {
    pub address: SocketAddr,
    state: Arc<State>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

struct State {
    script: Mutex<Arc<Script>>,
    slots: Semaphore,
    counts: Mutex<Counts>,
    burst: AtomicU64,
    batches: Mutex<Batches>,
}

/// What happened to one key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Tries that came.
    pub asked: u64,
    /// Replies that were sent whole.
    pub answered: u64,
    /// Times that the work was done, and its price due.
    pub billed: u64,
}

/// What happened in all.
#[derive(Default)]
pub struct Counts {
    pub keys: BTreeMap<String, Count>,
    pub faults: BTreeMap<&'static str, u64>,
    pub bodies: u64,
    pub connections: u64,
    busy: Duration,
    first: Option<Instant>,
    last: Option<Instant>,
    working: u64,
    pub peak: u64,
    /// The last chat completion that was asked.
    pub last_asked: Value,
    pub last_headers: Vec<(String, String)>,
}

impl Counts {
    /// Tries that came in all.
    pub fn asked(&self) -> u64 {
        self.keys.values().map(|count| count.asked).sum()
    }
}

impl Server {
    /// Starts on any free port.
    #[allow(clippy::panic, reason = "for tests")]
    pub fn start(script: Script) -> Server {
        Server::on(0, script).unwrap_or_else(|e| panic!("no server can be started: {e}"))
    }

    pub fn on(port: u16, script: Script) -> io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            slots: Semaphore::new(script.slots),
            script: Mutex::new(Arc::new(script)),
            counts: Mutex::default(),
            burst: AtomicU64::new(0),
            batches: Mutex::default(),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let shared = state.clone();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let serving = async {
                    let Ok(listener) = TcpListener::from_std(listener) else {
                        return;
                    };
                    while let Ok((stream, _)) = listener.accept().await {
                        tokio::spawn(connection(stream, shared.clone()));
                    }
                };
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
        });
        Ok(Server {
            address,
            state,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The address of the API.
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Changes what it does from now on.
    pub fn change(&self, change: impl FnOnce(&mut Script)) {
        change(Arc::make_mut(&mut lock(&self.state.script)));
    }

    pub fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.state.counts)
    }

    /// What `GET /stats` says.
    pub fn stats(&self) -> Value {
        self.state.stats()
    }

    /// Waits until the server ends, which is never.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a connection does next.
enum Next {
    Answer(Answered),
    /// The first part, a pause, the rest.
    Slowly(Answered, Duration),
    Twice(Answered),
    /// So much of the answer, and a break.
    Break(Answered, bool),
    Hang(Duration),
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    lock(&state.counts).connections += 1;
    let mut wire = Wire::new(stream);
    loop {
        let asked = match wire.next().await {
            Ok(Some(asked)) => asked,
            Ok(None) => return,
            Err(e) => {
                let told = Answered::text(411, "text/plain", e.to_string());
                let _ = wire.write(&told.bytes()).await;
                return;
            }
        };
        let written = match state.answer(asked).await {
            Next::Answer(answered) => wire.write(&answered.bytes()).await,
            Next::Twice(answered) => wire.write(&answered.bytes().repeat(2)).await,
            Next::Slowly(answered, pause) => {
                let bytes = answered.bytes();
                let middle = bytes.len() - answered.body.len() / 2;
                let begun = wire.write(&bytes[..middle]).await;
                tokio::time::sleep(pause).await;
                begun.and(wire.write(&bytes[middle..]).await)
            }
            Next::Break(answered, begun) => {
                let bytes = answered.bytes();
                if begun {
                    let _ = wire
                        .write(&bytes[..bytes.len() - answered.body.len() / 2])
                        .await;
                    // What is not read yet would be lost to the reset.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                return wire.reset();
            }
            Next::Hang(pause) => {
                tokio::time::sleep(pause).await;
                return;
            }
        };
        if written.is_err() {
            return;
        }
    }
}

impl State {
    async fn answer(&self, asked: Asked) -> Next {
        let script = lock(&self.script).clone();
        let bearer = script.key.as_ref().map(|key| format!("Bearer {key}"));
        if let Some(bearer) = bearer
            && asked.header("authorization") != Some(bearer.as_str())
        {
            let got = asked.header("authorization").unwrap_or("nothing");
            return Next::Answer(error(401, "invalid_api_key", &format!("wrong key: {got}")));
        }
        match (asked.method.as_str(), asked.path.as_str()) {
            ("POST", "/v1/chat/completions") => self.complete(&script, asked).await,
            ("GET", "/v1/models") => Next::Answer(Answered::json(
                200,
                &json!({"object": "list", "data": [{"id": "test", "object": "model"}]}),
            )),
            ("GET", "/stats") => Next::Answer(Answered::json(200, &self.stats())),
            ("POST", "/moved/v1/chat/completions") => Next::Answer(
                Answered::text(302, "text/html", "moved").with("location", "/v1/chat/completions"),
            ),
            (_, path) if path.starts_with("/v1/files") || path.starts_with("/v1/batches") => {
                Next::Answer(batches::answer(self, &script, &asked))
            }
            _ => Next::Answer(error(404, "not_found", "no such address")),
        }
    }

    async fn complete(&self, script: &Script, asked: Asked) -> Next {
        let key = asked
            .header("idempotency-key")
            .unwrap_or_default()
            .to_owned();
        let body = match script.answer {
            Answer::Fixed(_) => Value::Null,
            Answer::Of(_) => match serde_json::from_slice(&asked.body) {
                Ok(body) => body,
                Err(e) => {
                    return Next::Answer(error(400, "invalid_json", &e.to_string()));
                }
            },
        };
        let form = body["response_format"]["type"].as_str().unwrap_or_default();
        let refused = script.refused_forms.iter().any(|refused| refused == form);
        let (tries, known) = {
            let mut counts = lock(&self.counts);
            counts.bodies += asked.body.len() as u64;
            counts.last_headers = asked.headers;
            counts.last_asked = body.clone();
            counts.first.get_or_insert_with(Instant::now);
            let count = counts.keys.entry(key.clone()).or_default();
            count.asked += 1;
            (count.asked, count.billed > 0)
        };
        if refused {
            let detail = format!("response_format `{form}` is not supported by this model");
            return Next::Answer(error(400, "unsupported_value", &detail));
        }
        let (next, usable) = if known && script.honours_keys {
            (Next::Answer(self.reply(script, &body)), true)
        } else {
            self.troubled(script, &key, tries, &body).await
        };
        let mut counts = lock(&self.counts);
        counts.last = Some(Instant::now());
        if usable && let Some(count) = counts.keys.get_mut(&key) {
            count.answered += 1;
        }
        next
    }

    /// The next try of a request, which may go wrong; whether a reply is sent whole.
    async fn troubled(&self, script: &Script, key: &str, tries: u64, body: &Value) -> (Next, bool) {
        if self.burst.load(Ordering::Relaxed) > 0 {
            self.burst.fetch_sub(1, Ordering::Relaxed);
            self.fault(Trouble::Burst);
            return (Next::Answer(error(503, "overloaded", "too busy")), false);
        }
        let trouble = script.trouble(key, tries);
        if let Some(trouble) = trouble {
            self.fault(trouble);
        }
        if let Some(next) = trouble.and_then(|trouble| self.unworked(script, trouble)) {
            return (next, false);
        }
        let reply = self.worked(script, key, body).await;
        let next = match trouble {
            Some(Trouble::Reset) => Next::Break(reply, true),
            Some(Trouble::Slow) => Next::Slowly(reply, script.slow),
            Some(Trouble::Hang) => Next::Hang(script.slow),
            Some(Trouble::Truncated) => {
                let mut reply = reply;
                reply.body.truncate(reply.body.len() * 2 / 3);
                Next::Answer(reply)
            }
            Some(Trouble::WrongType) => {
                Next::Answer(Answered::text(200, "text/html", "<html>Welcome</html>"))
            }
            Some(Trouble::Empty) => Next::Answer(Answered::json(
                200,
                &json!({"id": "x", "object": "chat.completion", "choices": []}),
            )),
            Some(Trouble::Refusal) => Next::Answer(Answered::json(
                200,
                &json!({"choices": [{"finish_reason": "stop",
                    "message": {"content": null, "refusal": "I cannot help with that."}}]}),
            )),
            Some(Trouble::OtherQuestion) => Next::Answer(Answered::json(
                200,
                &completion(r#"{"question": "Which colour has the sky?", "answer": "blue"}"#),
            )),
            Some(Trouble::Duplicate) => Next::Twice(reply),
            _ => Next::Answer(reply),
        };
        let lost = matches!(
            trouble,
            Some(
                Trouble::Reset
                    | Trouble::Hang
                    | Trouble::Truncated
                    | Trouble::WrongType
                    | Trouble::Empty
            )
        );
        (next, !lost)
    }

    /// Troubles that come before any work is done.
    fn unworked(&self, script: &Script, trouble: Trouble) -> Option<Next> {
        let answered = match trouble {
            Trouble::Limited => error(429, "rate_limit_exceeded", "slow down"),
            Trouble::LimitedAfter => {
                let answered = error(429, "rate_limit_exceeded", "slow down");
                match script.clock_off {
                    None => answered.with("retry-after", script.retry_after.to_string()),
                    Some(off) => {
                        let by = Duration::from_secs(off.unsigned_abs());
                        let now = SystemTime::now();
                        let now = if off < 0 { now - by } else { now + by };
                        let then = now + Duration::from_secs(script.retry_after);
                        let date = httpdate::fmt_http_date;
                        answered
                            .with("date", date(now))
                            .with("retry-after", date(then))
                    }
                }
            }
            Trouble::Broken => Answered::text(500, "text/plain", "Internal Server Error"),
            Trouble::Burst => {
                self.burst.store(script.burst, Ordering::Relaxed);
                error(503, "overloaded", "too busy")
            }
            Trouble::Refuse => {
                return Some(Next::Break(Answered::text(200, "text/plain", ""), false));
            }
            _ => return None,
        };
        Some(Next::Answer(answered))
    }

    /// The reply, when a slot was free and the time of the work is over.
    async fn worked(&self, script: &Script, key: &str, body: &Value) -> Answered {
        let slot = self.slots.acquire().await;
        let begun = Instant::now();
        {
            let mut counts = lock(&self.counts);
            counts.working += 1;
            counts.peak = counts.peak.max(counts.working);
            counts.keys.entry(key.to_owned()).or_default().billed += 1;
        }
        if !script.latency.is_zero() {
            tokio::time::sleep(script.latency).await;
        }
        let mut reply = self.reply(script, body);
        if let Some(most) = script.requests_per_minute {
            reply = reply
                .with("x-ratelimit-limit-requests", most.to_string())
                .with("x-ratelimit-remaining-requests", (most / 2).to_string())
                .with("x-ratelimit-reset-requests", "6m0s");
        }
        let mut counts = lock(&self.counts);
        counts.working -= 1;
        counts.busy += begun.elapsed();
        drop(slot);
        reply
    }

    fn reply(&self, script: &Script, body: &Value) -> Answered {
        let text = match &script.answer {
            Answer::Fixed(text) => text.clone(),
            Answer::Of(answer) => answer(body),
        };
        if body["stream"] == true {
            return Answered::text(200, "text/event-stream", events(&text));
        }
        Answered::json(200, &completion(&text))
    }

    fn fault(&self, trouble: Trouble) {
        *lock(&self.counts).faults.entry(trouble.word()).or_default() += 1;
    }

    fn stats(&self) -> Value {
        let counts = lock(&self.counts);
        let sum = |of: fn(&Count) -> u64| counts.keys.values().map(of).sum::<u64>();
        let span = match (counts.first, counts.last) {
            (Some(first), Some(last)) => last.duration_since(first).as_secs_f64(),
            _ => 0.0,
        };
        json!({
            "keys": counts.keys.len(),
            "asked": sum(|count| count.asked),
            "answered": sum(|count| count.answered),
            "billed": sum(|count| count.billed),
            "answered_twice": counts.keys.values().filter(|count| count.answered > 1).count(),
            "billed_twice": counts.keys.values().filter(|count| count.billed > 1).count(),
            "faults": counts.faults,
            "connections": counts.connections,
            "body_bytes": counts.bodies,
            "busy_s": counts.busy.as_secs_f64(),
            "span_s": span,
            "peak": counts.peak,
        })
    }
}

pub fn error(status: u16, code: &str, message: &str) -> Answered {
    Answered::json(
        status,
        &json!({"error": {"message": message, "type": code, "code": code}}),
    )
}

/// A chat completion with this text; tokens are its words.
pub fn completion(text: &str) -> Value {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "test",
        "choices": [{"index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 100, "completion_tokens": text.split_whitespace().count()},
    })
}

fn events(text: &str) -> String {
    let mut events = String::from(": hello\n\n");
    let mut event = |chunk: Value| events.push_str(&format!("data: {chunk}\n\n"));
    for word in text.split_inclusive(' ') {
        event(json!({"choices": [{"index": 0, "delta": {"content": word}}]}));
    }
    event(json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}));
    event(json!({"choices": [], "usage": completion(text)["usage"]}));
    events.push_str("data: [DONE]\n\n");
    events
}
