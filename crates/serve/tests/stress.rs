//! Many clients at once through all of the server, from the socket to a scripted engine.
//!
//! `MATH_LLAVA_STRESS=N` makes everything N times as much, and `--nocapture` shows what was measured.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serve::api::{Api, ApiLimits, Served};
use serve::guard::{Guard, guarded};
use serve::scripted::{Faults, ScriptedEngine, ScriptedModel, ScriptedQuestion, Watch};
use serve::{Driver, Metrics, Schedule, ScheduleLimits, Server, ServerLimits};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Far more than anything here takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(120);

/// How many times as much as usual is asked.
fn times() -> usize {
    std::env::var("MATH_LLAVA_STRESS").map_or(1, |times| times.parse().unwrap())
}

/// Each test here measures, and would measure the others.
static ALONE: Mutex<()> = Mutex::const_new(());

struct Running {
    address: SocketAddr,
    watch: Arc<Watch>,
    metrics: Arc<Metrics>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    api: Arc<Api>,
}

impl Running {
    /// A server of the model `echo` with the keys `key 0` to `key 63`, each a client of its own.
    async fn start(limits: ScheduleLimits, step_time: Duration) -> Running {
        let (watch, metrics) = (Arc::<Watch>::default(), Arc::<Metrics>::default());
        let seen = Arc::clone(&watch);
        let body = move |mut driver: Driver<ScriptedQuestion>| {
            let faults = Faults {
                step_time,
                ..Faults::default()
            };
            driver
                .drive(&mut ScriptedEngine::watched(faults, seen))
                .unwrap();
        };
        let model = Arc::new(ScriptedModel::echo("echo"));
        let api = Arc::new(Api {
            models: vec![Served::Own(Schedule::start(
                model,
                limits,
                Arc::clone(&metrics),
                body,
            ))],
            fetcher: None,
            limits: ApiLimits::default(),
            metrics: Arc::clone(&metrics),
        });
        let guard = Guard {
            keys: (0..64).map(|i| format!("key-{i}")).collect(),
            hosts: Vec::new(),
            max_body: 1 << 20,
        };
        let router = guarded(serve::api::router(Arc::clone(&api)), Arc::new(guard));
        let limits = ServerLimits {
            connections: 4096,
            ..ServerLimits::default()
        };
        let server = Server::bind(([127, 0, 0, 1], 0).into(), limits)
            .await
            .unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.serve(router, async {
            let _ = stopped.await;
        }));
        Running {
            address,
            watch,
            metrics,
            stop,
            task,
            api,
        }
    }

    /// Asks for a streamed echo of `text` and returns the connection.
    async fn ask(&self, key: usize, text: &str) -> BufReader<TcpStream> {
        ask(self.address, key, text).await
    }

    fn metric(&self, start: &str) -> f64 {
        let text = self.metrics.text();
        let line = text.lines().find(|line| line.starts_with(start)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Waits until nothing is live or waiting any more.
    async fn until_quiet(&self) {
        let start = Instant::now();
        loop {
            let live = self.watch.live.load(SeqCst);
            let waiting = self.metric("math_llava_waiting_requests");
            if live == 0 && waiting == 0.0 {
                return;
            }
            assert!(start.elapsed() < LONG, "{live} live, {waiting} waiting");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

async fn ask(address: SocketAddr, key: usize, text: &str) -> BufReader<TcpStream> {
    let body = serde_json::json!({
        "model": "echo", "stream": true, "messages": [{"role": "user", "content": text}],
    })
    .to_string();
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer key-{key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    BufReader::new(stream)
}

/// The next event's data; `None` when the server closes.
async fn event(stream: &mut BufReader<TcpStream>) -> Option<String> {
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap() == 0 {
            return None;
        }
        if let Some(data) = line.strip_prefix("data: ") {
            return Some(data.trim_end().to_owned());
        }
    }
}

/// The text of a stream to its end.
async fn read(mut stream: BufReader<TcpStream>) -> String {
    let mut text = String::new();
    while let Some(data) = event(&mut stream).await {
        if data == "[DONE]" {
            return text;
        }
        let chunk: serde_json::Value = serde_json::from_str(&data).unwrap();
        assert!(chunk.get("error").is_none(), "{chunk}");
        text.push_str(
            chunk["choices"][0]["delta"]["content"]
                .as_str()
                .unwrap_or(""),
        );
    }
    panic!("a stream without an end after {text:?}");
}

fn words(start: usize, count: usize) -> String {
    (start..start + count).map(|i| format!("w{i} ")).collect()
}

/// Memory of this process that is in use, in MiB, and its open files.
#[cfg(target_os = "linux")]
fn footprint() -> (u64, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    (
        kib >> 10,
        std::fs::read_dir("/proc/self/fd").unwrap().count(),
    )
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cancelled_streams_leave_nothing_and_disturb_nobody() {
    let _alone = ALONE.lock().await;
    let limits = ScheduleLimits {
        slots: 16,
        queue: 1000,
        ..ScheduleLimits::default()
    };
    let running = Arc::new(Running::start(limits, Duration::from_millis(1)).await);
    let steady = (0..4).map(|key| {
        let running = Arc::clone(&running);
        tokio::spawn(async move {
            for round in 0..5 * times() {
                let text = words(1000 * key + round, 100);
                assert_eq!(read(running.ask(key, &text).await).await, text);
            }
        })
    });
    let steady: Vec<_> = steady.collect();
    let mut seen = Vec::new();
    for _ in 0..5 * times() {
        let streams = (0..200).map(|i: usize| {
            let running = Arc::clone(&running);
            tokio::spawn(async move {
                let mut stream = running.ask(4 + i % 60, &words(i, 2000)).await;
                // Some leave at once, some after a few tokens.
                for _ in 0..i % 4 {
                    event(&mut stream).await.unwrap();
                }
            })
        });
        for stream in streams.collect::<Vec<_>>() {
            stream.await.unwrap();
        }
        seen.push(footprint());
    }
    for client in steady {
        timeout(LONG, client).await.unwrap().unwrap();
    }
    running.until_quiet().await;
    let after = footprint();
    eprintln!("MiB and open files after each round: {seen:?}, at the end: {after:?}");
    assert!(
        after.0 < seen[0].0 + 32,
        "memory grew from {} to {} MiB",
        seen[0].0,
        after.0
    );
    let cancelled = running.metric("math_llava_cancelled_requests_total");
    assert!(
        cancelled > 500.0 * times() as f64,
        "{cancelled} were seen to be cancelled"
    );
    let still = words(0, 10);
    assert_eq!(read(running.ask(0, &still).await).await, still);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_clients_have_whole_answers_and_no_others() {
    let _alone = ALONE.lock().await;
    let limits = ScheduleLimits {
        slots: 8,
        ..ScheduleLimits::default()
    };
    // Slow enough that it is the slots that are waited for, and not the clients.
    let running = Arc::new(Running::start(limits, Duration::from_millis(2)).await);
    let begun = Instant::now();
    let done: Arc<Vec<AtomicU64>> = Arc::new((0..64).map(|_| AtomicU64::new(0)).collect());
    // The first client asks sixteen things at a time, the others one.
    let askers = (0..64).flat_map(|key| std::iter::repeat_n(key, if key == 0 { 16 } else { 1 }));
    let time = Duration::from_millis(1000 * times() as u64);
    let tasks: Vec<_> = askers
        .enumerate()
        .map(|(number, key)| {
            let (running, done) = (Arc::clone(&running), Arc::clone(&done));
            tokio::spawn(async move {
                let mut round = 0;
                while begun.elapsed() < time {
                    let text = words(10_000 * number + round, 10);
                    assert_eq!(read(running.ask(key, &text).await).await, text);
                    // What the greedy client has waiting at the end is answered too, and no share.
                    if begun.elapsed() < time {
                        done[key].fetch_add(1, SeqCst);
                    }
                    round += 1;
                }
            })
        })
        .collect();
    for task in tasks {
        timeout(LONG, task).await.unwrap().unwrap();
    }
    let done: Vec<u64> = done.iter().map(|done| done.load(SeqCst)).collect();
    let others = &done[1..];
    let (least, most) = (others.iter().min().unwrap(), others.iter().max().unwrap());
    eprintln!(
        "requests done: the greedy client {}, the others {least} to {most}; {:.0} tokens/s in all",
        done[0],
        running.metric("math_llava_completion_tokens_total") / begun.elapsed().as_secs_f64(),
    );
    // The shares are shown and not asserted: on a busy machine it is clients and not slots that are waited
    // for. The queue's own tests settle whose turn it is.
    running.until_quiet().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_ends_live_streams_whole_and_refuses_the_rest() {
    let _alone = ALONE.lock().await;
    let limits = ScheduleLimits {
        slots: 8,
        ..ScheduleLimits::default()
    };
    let running = Running::start(limits, Duration::from_millis(2)).await;
    let mut live = Vec::new();
    for key in 0..8 {
        let mut stream = running.ask(key, &words(0, 100)).await;
        event(&mut stream).await.unwrap();
        live.push(stream);
    }
    let waits = words(0, 5);
    let mut waiting = Vec::new();
    for key in 0..8 {
        waiting.push(running.ask(key, &waits).await);
    }
    let start = Instant::now();
    while running.metric("math_llava_waiting_requests") < 8.0 {
        assert!(start.elapsed() < LONG);
        sleep(Duration::from_millis(1)).await;
    }
    for served in &running.api.models {
        if let Served::Own(schedule) = served {
            schedule.stop();
        }
    }
    running.stop.send(()).unwrap();
    for mut stream in waiting {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    }
    for stream in live {
        // The first event named the role, or was the first word.
        let text = timeout(LONG, read(stream)).await.unwrap();
        assert!(text.ends_with(&words(1, 99)), "{text}");
    }
    timeout(LONG, running.task).await.expect("it ends").unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}
