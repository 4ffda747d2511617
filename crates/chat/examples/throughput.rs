//! Requests a second from a queue to a ledger, through the dispatcher and HTTP, with images of 50 KB
//! that four requests each are about.
//!
//! ```text
//! throughput URL REQUESTS CONCURRENCY IMAGES LEDGER
//! ```
//! The server is another process (`fault_server --fixed TEXT`). IMAGES is a folder, filled where it
//! is empty; all requests are made before the first is sent, so that the peak memory includes them.
//! `bench/synth_speed.sh` runs it beside the `openai` client of Python.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use chat::http::{Endpoint, Http, HttpConfig};
use chat::remote::{Limits, Remote, RemoteConfig};
use chat::{ChatModel, Image, Ledger, Request, Role, Tag, Turn};
use rand::RngCore;

/// Of an image's file.
const BYTES: usize = 50_000;
/// Requests about one image.
const SHARED: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, requests, concurrency, folder, ledger] = &arguments[..] else {
        return Err("wanted: URL REQUESTS CONCURRENCY IMAGES LEDGER".into());
    };
    let requests: usize = requests.parse()?;
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder)?;
    let mut queue = Vec::with_capacity(requests);
    for n in 0..requests.div_ceil(SHARED) {
        let image = image(&folder, n)?;
        let about = (0..SHARED).map(|question| request(n, question, image.clone()));
        queue.extend(about.take(requests - queue.len()));
    }
    println!("{} requests queued; {}", queue.len(), peak()?);

    let config = HttpConfig {
        model: "test".into(),
        endpoints: vec![Endpoint {
            url: url.clone(),
            ..Endpoint::default()
        }],
        ..HttpConfig::default()
    };
    let limits = Limits {
        concurrency: concurrency.parse()?,
        ..Limits::default()
    };
    let http = Http::new(config)?;
    let remote = Remote::new("test", http, vec![limits], RemoteConfig::default())?;
    let ledger = Ledger::open(Path::new(ledger))?;
    let began = Instant::now();
    let tally = remote.converse(&mut queue.into_iter(), &ledger, &mut |_| {})?;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} answered, {} refused, {} missing in {seconds:.2} s: {:.0} requests/s; {}",
        tally.answered,
        tally.refused,
        tally.missing,
        tally.answered as f64 / seconds,
        peak()?
    );
    match tally.first_missing {
        Some(missing) => Err(missing.into()),
        None => Ok(()),
    }
}

/// A file that begins like a JPEG and is noise: neither the client nor the server looks into it.
fn image(folder: &Path, n: usize) -> Result<Image, Box<dyn Error>> {
    let path = folder.join(format!("{n}.jpg"));
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(_) => {
            let mut bytes = vec![0; BYTES];
            sample::seed::rng(1, &["image", &n.to_string()]).fill_bytes(&mut bytes);
            bytes[..3].copy_from_slice(b"\xFF\xD8\xFF");
            fs::write(&path, &bytes)?;
            bytes
        }
    };
    Ok(Image {
        path,
        sha256: sample::sha256_hex(&bytes),
        width: 500,
        height: 400,
    })
}

fn request(n: usize, question: usize, image: Image) -> Request {
    let text = "Write up to five new questions about the image, different from the given one and \
                from each other, that can be answered by looking at it. Examples of questions \
                about other images follow. What is the area of the shaded region? "
        .repeat(2);
    Request {
        id: format!("{n}/{question}"),
        tag: Tag {
            stage: "synth".into(),
            kind: "askimg".into(),
            source: "noise".into(),
        },
        system: Some("You write questions for a mathematics examination.".into()),
        turns: vec![Turn {
            role: Role::User,
            text: format!("{text} Question {question} of image {n}."),
        }],
        images: vec![image],
        subject: serde_json::Value::Null,
        schema: None,
        max_tokens: 512,
        temperature: 0.0,
        seed: 0,
    }
}

fn peak() -> Result<String, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM"));
    let kilobytes = peak.and_then(|line| line.split_whitespace().nth(1));
    let kilobytes: u64 = kilobytes.unwrap_or("0").parse()?;
    Ok(format!("peak memory {} MB", kilobytes / 1000))
}
