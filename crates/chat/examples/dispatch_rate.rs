//! How fast requests go through the dispatcher and the ledger, against servers in this process that
//! answer at once or after a while: `dispatch_rate REQUESTS SLOTS LATENCY_MS LEDGER`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chat::remote::{Limits, Remote, RemoteConfig};
use chat::transport::{Attempt, Sending, Transport};
use chat::{ChatModel, Finish, Ledger, Reply, Request, Role, Tag, Turn};

struct Instantly {
    latency: Duration,
    busy_us: AtomicU64,
}

impl Transport for Instantly {
    fn servers(&self) -> Vec<String> {
        vec!["here".into()]
    }

    fn send<'a>(&'a self, _: usize, request: &'a Arc<Request>, _: &'a str) -> Sending<'a> {
        Box::pin(async move {
            let began = Instant::now();
            if !self.latency.is_zero() {
                tokio::time::sleep(self.latency).await;
            }
            let busy = began.elapsed().as_micros() as u64;
            self.busy_us.fetch_add(busy, Ordering::Relaxed);
            Attempt {
                outcome: Some(Ok(Reply {
                    text: format!("{{\"questions\": [\"{}\"]}}", request.turns[0].text),
                    finish: Finish::Stop,
                    prompt_tokens: 900,
                    completion_tokens: 120,
                })),
                status: Some(200),
                ..Attempt::default()
            }
        })
    }
}

fn request(n: usize) -> Request {
    let question =
        "What is the area of the region between the two circles in the figure? ".repeat(8);
    Request {
        id: format!("geometry/{n}"),
        tag: Tag {
            stage: "synth".into(),
            kind: "askimg".into(),
            source: "geometry".into(),
        },
        system: Some("You write questions about images.".into()),
        turns: vec![Turn {
            role: Role::User,
            text: format!("{n}: {question}"),
        }],
        images: Vec::new(),
        subject: serde_json::Value::Null,
        schema: None,
        max_tokens: 512,
        temperature: 0.0,
        seed: 0,
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [requests, slots, latency, path] = &arguments[..] else {
        return Err("wanted: REQUESTS SLOTS LATENCY_MS LEDGER".into());
    };
    let (requests, slots): (usize, usize) = (requests.parse()?, slots.parse()?);
    let transport = Instantly {
        latency: Duration::from_millis(latency.parse()?),
        busy_us: AtomicU64::new(0),
    };
    let limits = Limits {
        concurrency: slots,
        ..Limits::default()
    };
    let remote = Remote::new("teacher", transport, vec![limits], RemoteConfig::default())?;
    let ledger = Ledger::open(Path::new(path))?;
    let began = Instant::now();
    let tally = remote.converse(&mut (0..requests).map(request), &ledger, &mut |_| {})?;
    let seconds = began.elapsed().as_secs_f64();
    let busy = remote.transport().busy_us.load(Ordering::Relaxed) as f64 / 1e6;
    let memory = std::fs::read_to_string("/proc/self/status")?;
    let peak = memory.lines().find(|line| line.starts_with("VmHWM"));
    let line = format!(
        "{} answered, {} known in {seconds:.2} s: {:.0}/s; slots busy {:.1}%; {}\n",
        tally.answered,
        tally.known,
        tally.requests as f64 / seconds,
        100.0 * busy / (seconds * slots as f64),
        peak.unwrap_or_default()
    );
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes())?;
    Ok(())
}
