//! A hub made of a folder: `ROOT/owner/name/..` are models, `ROOT/datasets/owner/name/..` data sets.
//!
//! It speaks the part of the protocol that fetching needs (listing, `resolve`, redirects to a store
//! on another origin, `Range`, sums in headers), and breaks the rules where a test tells it to. By
//! hand on sockets, since a server that must misbehave cannot be built on one that behaves.

#![allow(dead_code, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// Files that end so are large ones, which the store holds.
const LARGE: &[&str] = &[".safetensors", ".bin", ".gguf", ".parquet"];

/// What goes wrong with one answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, with these header lines.
    Status(u16, &'static str),
    /// The connection ends after so many bytes of the body.
    Cut(u64),
    /// Nothing more comes after so many bytes of the body, and the connection stays.
    Stall(u64),
    /// A pause after every so many bytes.
    Slow(u64, Duration),
    /// The first byte is another.
    Corrupt,
    /// The whole file whatever range was asked for.
    IgnoreRange,
    /// The range begins a byte later than was asked.
    WrongRange,
    /// More bytes than the file has, without a length.
    TooLong,
    /// A redirect to there.
    Redirect(String),
    /// This body.
    Body(String),
}

/// What was asked, and by whom.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `hub` or `store`.
    pub who: &'static str,
    pub method: String,
    pub path: String,
    pub authorization: Option<String>,
    pub range: Option<String>,
}

#[derive(Default)]
struct State {
    root: PathBuf,
    store: String,
    faults: Mutex<Vec<(String, Fault, usize)>>,
    asked: Mutex<Vec<Asked>>,
    /// The token without which nothing is given.
    token: Mutex<Option<String>>,
    /// The listing leaves sizes and sums out.
    bare: Mutex<bool>,
    /// Files that are listed and not there.
    ghosts: Mutex<Vec<String>>,
    sums: Mutex<BTreeMap<PathBuf, (u64, String)>>,
}

pub struct Server {
    pub endpoint: String,
    state: Arc<State>,
}

impl Server {
    /// Serves `root` at a free port of this machine.
    pub fn new(root: &Path) -> Server {
        Server::at(root, "127.0.0.1:0")
    }

    pub fn at(root: &Path, address: &str) -> Server {
        let hub = TcpListener::bind(address).unwrap();
        let store = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Arc::new(State {
            root: root.to_owned(),
            // Another name and another port: another origin.
            store: format!("http://localhost:{}", store.local_addr().unwrap().port()),
            ..State::default()
        });
        let endpoint = format!("http://{}", hub.local_addr().unwrap());
        for (listener, who) in [(hub, "hub"), (store, "store")] {
            let state = state.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let state = state.clone();
                    std::thread::spawn(move || {
                        let _ = converse(&state, who, stream);
                    });
                }
            });
        }
        Server { endpoint, state }
    }

    /// The next `times` answers to paths that contain `part` go wrong.
    pub fn fault(&self, part: &str, fault: Fault, times: usize) {
        let mut faults = self.state.faults.lock().unwrap();
        faults.push((part.to_owned(), fault, times));
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    pub fn forget(&self) {
        self.state.asked.lock().unwrap().clear();
    }

    pub fn require_token(&self, token: &str) {
        *self.state.token.lock().unwrap() = Some(token.to_owned());
    }

    pub fn list_nothing_but_names(&self) {
        *self.state.bare.lock().unwrap() = true;
    }

    pub fn list_also(&self, path: &str) {
        self.state.ghosts.lock().unwrap().push(path.to_owned());
    }
}

struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

enum Body {
    Text(String),
    File(PathBuf),
}

impl Reply {
    fn text(status: u16, text: impl ToString) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: Body::Text(text.to_string()),
        }
    }

    fn header(mut self, name: &str, value: impl ToString) -> Reply {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }
}

fn converse(state: &State, who: &'static str, stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let mut words = first.split_whitespace();
        let method = words.next().unwrap_or_default().to_owned();
        let path = words.next().unwrap_or_default().to_owned();
        let asked = Asked {
            who,
            method,
            path,
            authorization: headers.remove("authorization"),
            range: headers.remove("range"),
        };
        state.asked.lock().unwrap().push(asked.clone());
        let fault = next_fault(state, &asked.path);
        let reply = match &fault {
            Some(Fault::Status(status, lines)) => {
                let mut reply = Reply::text(*status, "no");
                for line in lines.split('|').filter(|line| !line.is_empty()) {
                    let (name, value) = line.split_once(": ").unwrap();
                    reply = reply.header(name, value);
                }
                reply
            }
            Some(Fault::Redirect(to)) => Reply::text(302, "").header("Location", to),
            Some(Fault::Body(text)) => Reply::text(200, text),
            _ if who == "store" => from_store(state, &asked),
            _ => from_hub(state, &asked),
        };
        if !send(&mut stream, &asked, reply, fault)? {
            return Ok(());
        }
    }
}

fn next_fault(state: &State, path: &str) -> Option<Fault> {
    let mut faults = state.faults.lock().unwrap();
    let at = faults
        .iter()
        .position(|(part, _, times)| *times > 0 && path.contains(part.as_str()))?;
    faults[at].2 -= 1;
    Some(faults[at].1.clone())
}

fn from_hub(state: &State, asked: &Asked) -> Reply {
    let path = decoded(asked.path.split('?').next().unwrap_or_default());
    if let Some(token) = state.token.lock().unwrap().as_ref()
        && asked.authorization.as_deref() != Some(&format!("Bearer {token}"))
    {
        return Reply::text(401, "").header("X-Error-Message", "Invalid username or password.");
    }
    let (api, rest) = match path.strip_prefix("/api/") {
        Some(rest) => (true, rest.strip_prefix("models/").unwrap_or(rest)),
        None => (false, path.trim_start_matches('/')),
    };
    let marker = if api { "/revision/" } else { "/resolve/" };
    let Some((repository, rest)) = rest.split_once(marker) else {
        return Reply::text(404, "no such page");
    };
    let folder = state.root.join(repository);
    if repository.contains("..") || !folder.is_dir() {
        return Reply::text(404, "").header("X-Error-Code", "RepoNotFound");
    }
    let commit = commit(state, &folder);
    let (revision, file) = match (api, rest.split_once('/')) {
        (true, _) => (rest, ""),
        (false, Some(found)) => found,
        _ => return Reply::text(404, "no such page"),
    };
    if revision != "main" && revision != commit {
        return Reply::text(404, "").header("X-Error-Code", "RevisionNotFound");
    }
    if api {
        return Reply::text(200, listing(state, &folder, &commit))
            .header("Content-Type", "application/json");
    }
    let there = folder.join(file);
    if file.contains("..") || !there.is_file() {
        return Reply::text(404, "").header("X-Error-Code", "EntryNotFound");
    }
    let (size, sum) = sum(state, &there);
    let reply = if is_large(file) {
        let name = there.strip_prefix(&state.root).unwrap().display();
        // The path, so that faults can name the file; the signature, so that it is seen to be unshown.
        let place = format!("{}/{name}?sum={sum}&signature=secret", state.store);
        Reply::text(302, "")
            .header("Location", place)
            .header("X-Linked-Size", size)
            .header("X-Linked-Etag", format!("\"{sum}\""))
    } else {
        Reply {
            status: 200,
            headers: vec![("ETag".into(), format!("\"{sum}\""))],
            body: Body::File(there),
        }
    };
    reply.header("X-Repo-Commit", commit)
}

fn from_store(state: &State, asked: &Asked) -> Reply {
    if asked.authorization.is_some() {
        return Reply::text(400, "only one auth mechanism allowed");
    }
    let path = decoded(asked.path.split('?').next().unwrap_or_default());
    Reply {
        status: 200,
        headers: Vec::new(),
        body: Body::File(state.root.join(path.trim_start_matches('/'))),
    }
}

/// Whether the connection can be used again.
fn send(
    stream: &mut TcpStream,
    asked: &Asked,
    reply: Reply,
    fault: Option<Fault>,
) -> std::io::Result<bool> {
    let mut reply = reply;
    let (mut reader, size): (Box<dyn Read>, u64) = match &reply.body {
        Body::Text(text) => {
            let text = text.clone().into_bytes();
            let size = text.len() as u64;
            (Box::new(std::io::Cursor::new(text)), size)
        }
        Body::File(path) => {
            let mut file = File::open(path)?;
            let size = file.metadata()?.len();
            let range = asked.range.as_deref().and_then(|range| {
                let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
                let last = last.parse().unwrap_or(size - 1);
                Some((first.parse::<u64>().ok()?, last))
            });
            match range {
                Some((mut first, last)) if !matches!(fault, Some(Fault::IgnoreRange)) => {
                    if first >= size {
                        reply.status = 416;
                        reply
                            .headers
                            .push(("Content-Range".into(), format!("bytes */{size}")));
                        (Box::new(std::io::empty()), 0)
                    } else {
                        if matches!(fault, Some(Fault::WrongRange)) {
                            first += 1;
                        }
                        reply.status = 206;
                        let place = format!("bytes {first}-{last}/{size}");
                        reply.headers.push(("Content-Range".into(), place));
                        file.seek(SeekFrom::Start(first))?;
                        (Box::new(file.take(last + 1 - first)), last + 1 - first)
                    }
                }
                _ => (Box::new(file), size),
            }
        }
    };
    let too_long = matches!(fault, Some(Fault::TooLong));
    let mut head = format!("HTTP/1.1 {} whatever\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if too_long {
        head.push_str("Connection: close\r\n\r\n");
    } else {
        head.push_str(&format!("Content-Length: {size}\r\n\r\n"));
    }
    stream.write_all(head.as_bytes())?;
    if asked.method == "HEAD" {
        return Ok(true);
    }
    let step = match fault {
        Some(Fault::Slow(step, _)) => step as usize,
        _ => 64 << 10,
    };
    let mut sent = 0;
    let mut block = vec![0; step];
    loop {
        let mut read = reader.read(&mut block)?;
        if read == 0 {
            break;
        }
        if sent == 0 && matches!(fault, Some(Fault::Corrupt)) {
            block[0] ^= 1;
        }
        if let Some(Fault::Cut(end) | Fault::Stall(end)) = fault {
            read = read.min((end - sent) as usize);
        }
        stream.write_all(&block[..read])?;
        sent += read as u64;
        match fault {
            Some(Fault::Cut(end)) if sent == end => return Ok(false),
            Some(Fault::Stall(end)) if sent == end => {
                // Until the client has had enough.
                let _ = stream.read(&mut [0]);
                return Ok(false);
            }
            Some(Fault::Slow(_, pause)) => std::thread::sleep(pause),
            _ => {}
        }
    }
    if too_long {
        stream.write_all(b"and more")?;
        return Ok(false);
    }
    Ok(true)
}

fn is_large(path: &str) -> bool {
    LARGE.iter().any(|end| path.ends_with(end))
}

/// The files below a folder, sorted, by their names below it.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(at).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

fn listing(state: &State, folder: &Path, commit: &str) -> Value {
    let bare = *state.bare.lock().unwrap();
    let mut siblings: Vec<Value> = files(folder)
        .iter()
        .map(|name| {
            let (size, sum) = sum(state, &folder.join(name));
            match (bare, is_large(name)) {
                (true, _) => json!({"rfilename": name}),
                (_, true) => json!({"rfilename": name, "size": size, "blobId": "0".repeat(40),
                    "lfs": {"sha256": sum, "size": size, "pointerSize": 134}}),
                _ => json!({"rfilename": name, "size": size, "blobId": sum}),
            }
        })
        .collect();
    for name in state.ghosts.lock().unwrap().iter() {
        siblings.push(json!({"rfilename": name, "size": 1, "blobId": "1".repeat(40)}));
    }
    let id = folder
        .strip_prefix(&state.root)
        .unwrap()
        .display()
        .to_string();
    json!({"id": id, "sha": commit, "private": false, "siblings": siblings})
}

/// Length and sum: git's of small files, SHA-256 of large ones. Remembered, since `listing` asks for
/// all of them.
fn sum(state: &State, path: &Path) -> (u64, String) {
    let size = path.metadata().unwrap().len();
    if let Some((known, sum)) = state.sums.lock().unwrap().get(path)
        && *known == size
    {
        return (size, sum.clone());
    }
    let mut file = File::open(path).unwrap();
    let sum = if is_large(&path.display().to_string()) {
        let mut state = Sha256::new();
        std::io::copy(&mut file, &mut state).unwrap();
        hex(&state.finalize())
    } else {
        let mut state = Sha1::new();
        state.update(format!("blob {size}\0"));
        std::io::copy(&mut file, &mut state).unwrap();
        hex(&state.finalize())
    };
    let mut sums = state.sums.lock().unwrap();
    sums.insert(path.to_owned(), (size, sum.clone()));
    (size, sum)
}

/// A name for what the folder holds: it changes when a file does.
fn commit(state: &State, folder: &Path) -> String {
    let mut digest = Sha1::new();
    for name in files(folder) {
        digest.update(&name);
        digest.update(sum(state, &folder.join(&name)).1);
    }
    hex(&digest.finalize())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decoded(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = std::str::from_utf8(after.get(..2).unwrap_or_default()).unwrap_or_default();
        match (first, u8::from_str_radix(hex, 16)) {
            (b'%', Ok(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
