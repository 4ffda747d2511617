//! Ranks as processes: the test binary starts itself again, once a rank, with a role to play.
//!
//! A role prints what it found, line by line; the test that started it reads that. Everything is on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic, and ranks speak by printing"
)]
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use c10d::{Error, Group, Rendezvous};

/// The variable that makes a process a rank.
pub const ROLE: &str = "C10D_TEST_ROLE";

/// A hang is a failure; nothing here takes a tenth of it.
const HANG: Duration = Duration::from_secs(120);

/// A process that is one rank.
pub struct Rank {
    child: Child,
    output: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

/// How a rank ended.
#[derive(Debug)]
pub struct Ended {
    /// Whether its exit status was 0.
    pub success: bool,
    /// What it printed.
    pub output: String,
}

impl Ended {
    /// The rest of the first line that has `key`; the test harness may have begun the line.
    pub fn said(&self, key: &str) -> &str {
        let mut lines = self.output.lines();
        let line = lines.find_map(|line| Some(line.split_once(key)?.1));
        line.unwrap_or_else(|| panic!("no {key:?} in {self:?}"))
            .trim()
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Starts one rank in `role`.
pub fn start(
    role: &str,
    rank: usize,
    world: usize,
    port: u16,
    timeout: u64,
    more: &[(&str, &str)],
) -> Rank {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "as_a_rank", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env("RANK", rank.to_string())
        .env("WORLD_SIZE", world.to_string())
        .env("LOCAL_RANK", rank.to_string())
        .env("MASTER_ADDR", "127.0.0.1")
        .env("MASTER_PORT", port.to_string())
        .env("MATH_LLAVA_RANK_TIMEOUT", timeout.to_string())
        // Ranks on few cores must not fight for them.
        .env("OMP_NUM_THREADS", "1")
        .envs(more.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let pipe = BufReader::new(child.stdout.take().unwrap());
    let output = Arc::new(Mutex::new(String::new()));
    let written = Arc::clone(&output);
    let reader = std::thread::spawn(move || {
        for line in pipe.lines() {
            *written.lock().unwrap() += &(line.unwrap() + "\n");
        }
    });
    Rank {
        child,
        output,
        reader: Some(reader),
    }
}

/// Starts all ranks of a group in one role.
pub fn start_all(role: &str, world: usize, timeout: u64, more: &[(&str, &str)]) -> Vec<Rank> {
    let port = free_port();
    let ranks = 0..world;
    ranks
        .map(|rank| start(role, rank, world, port, timeout, more))
        .collect()
}

/// Waits for all of them.
pub fn end_all(ranks: Vec<Rank>) -> Vec<Ended> {
    ranks.into_iter().map(Rank::end).collect()
}

impl Rank {
    /// Waits until it has said something.
    pub fn says(&self, words: &str) {
        let began = Instant::now();
        while !self.output.lock().unwrap().contains(words) {
            assert!(began.elapsed() < HANG, "a rank never says {words:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it ends, and panics where it hangs.
    pub fn end(mut self) -> Ended {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > HANG {
                let output = self.output.lock().unwrap();
                panic!("a rank hangs; it printed:\n{output}");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        self.reader.take().unwrap().join().unwrap();
        Ended {
            success: status.success(),
            output: self.output.lock().unwrap().clone(),
        }
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }
}

impl Drop for Rank {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a rank: joins as the environment says.
pub fn join() -> Result<Group, Error> {
    Group::join(&Rendezvous::from_env()?.expect("the environment names a rank"))
}

/// In a rank: sends itself a signal, such as `KILL`.
pub fn signal_self(signal: &str) {
    let pid = std::process::id().to_string();
    let sent = Command::new("kill")
        .args([&format!("-{signal}"), &pid])
        .status();
    assert!(sent.unwrap().success());
}

/// In a rank: says how something ended.
pub fn report(key: &str, result: Result<(), Error>) {
    match result {
        Ok(()) => println!("{key} ok"),
        Err(error) => println!("{key} {error}"),
    }
}
