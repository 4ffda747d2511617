//! The program as a process: started, asked, measured, told to end.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::wire::{Answer, Wire};

/// The name that the model is served under.
pub const MODEL: &str = "tiny";

/// For what must happen soon, on a machine that is busy.
const SOON: Duration = Duration::from_secs(30);

/// The model's folder.
pub fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden/grouped")
}

/// A picture that is one.
pub fn picture() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/golden/picture_0.png");
    std::fs::read(path).unwrap()
}

/// The program, about to serve on a free port.
pub fn serve() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_math-llava"));
    command
        .args(["serve", "--device", "cpu", "--dtype", "f32", "--port", "0"])
        // What a test measures must not depend on the machine's processors.
        .env("OMP_NUM_THREADS", "1")
        .env_remove("MATH_LLAVA_KEYS")
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// A served model.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    // Open, so that the program may go on talking.
    _said: BufReader<ChildStdout>,
}

impl Server {
    /// Serves the tests' model with these further arguments.
    pub fn start(arguments: &[&str]) -> Server {
        Server::of(&model(), arguments)
    }

    /// Serves the model of a folder.
    pub fn of(model: &Path, arguments: &[&str]) -> Server {
        let named = format!("{MODEL}={}", model.display());
        Server::run(serve().args(["--quiet", "--model", &named]).args(arguments))
    }

    /// Runs the program until it says where it listens.
    pub fn run(command: &mut Command) -> Server {
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let address = loop {
            line.clear();
            if said.read_line(&mut line).unwrap() == 0 {
                let _ = child.kill();
                panic!(
                    "the server ended before it said where it listens: {:?}",
                    child.wait()
                );
            }
            let words = line.split(|c: char| c.is_whitespace() || c == '/');
            if let Some(address) = words.filter_map(|word| word.parse().ok()).next() {
                break address;
            }
        };
        Server {
            child,
            address,
            _said: said,
        }
    }

    /// A new connection.
    pub fn wire(&self) -> Wire {
        Wire::to(self.address).unwrap()
    }

    /// Sends a request over a connection of its own.
    pub fn get(&self, path: &str) -> Answer {
        let mut wire = self.wire();
        wire.request("GET", path, b"").unwrap();
        wire.answer().unwrap()
    }

    /// The same with a body.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let mut wire = self.wire();
        wire.request("POST", path, body.to_string().as_bytes())
            .unwrap();
        wire.answer().unwrap()
    }

    /// Asks what is answered the same whoever else asks what.
    pub fn well_known_answer(&self) -> String {
        let asked = json!({"model": MODEL, "temperature": 0, "max_tokens": 12,
            "messages": [{"role": "user", "content": "What is 2+3?"}]});
        let answer = self.post("/v1/chat/completions", &asked);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["choices"][0]["message"]["content"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Does `work` while another client asks the same thing all the time, and checks that it is always told
    /// the same.
    pub fn undisturbed<T>(&self, work: impl FnOnce() -> T) -> T {
        let expected = self.well_known_answer();
        let done = AtomicBool::new(false);
        /// Also where `work` panics, or the scope would wait for ever.
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    assert_eq!(self.well_known_answer(), expected);
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
            let result = {
                let _done = Done(&done);
                work()
            };
            other.join().unwrap();
            assert_eq!(self.well_known_answer(), expected);
            result
        })
    }

    /// A number of `/metrics`, summed over labels.
    pub fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").text();
        let lines = text.lines().filter(|line| line.starts_with(name));
        let values: Vec<f64> = lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse().ok())
            .collect();
        assert!(!values.is_empty(), "no {name} in {text}");
        values.iter().sum::<f64>() as u64
    }

    /// Waits until nothing is being answered and nothing waits.
    pub fn idle(&self) {
        eventually("nothing is live", || {
            self.metric("math_llava_live_replies") == 0
                && self.metric("math_llava_waiting_requests") == 0
        });
    }

    /// Memory that it has now, in MiB.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that it ever had, in MiB.
    pub fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    }

    /// Tells it to end.
    pub fn terminate(&self) {
        let id = i32::try_from(self.child.id()).unwrap();
        // SAFETY: plain system call; the child is not waited for yet, so the id is its own.
        assert_eq!(unsafe { libc::kill(id, libc::SIGTERM) }, 0);
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the server ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `holds`, and panics when that is not soon.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < SOON, "not so after {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
