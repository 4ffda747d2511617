//! The child process of the other tests: trains in `FIT_TEST_FOLDER` as `FIT_TEST_DO` says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fit::Error;

use crate::toy::{self, Stop, Toy};

/// The exit code of a child that was asked to stop.
pub const STOPPED: i32 = 3;
/// The exit code of a child whose training ended with another error, which is on standard error.
pub const FAILED: i32 = 4;

/// A child that trains in `folder`; `what` is one of the words below.
pub fn command(folder: &Path, what: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child::child", "--ignored", "--nocapture"])
        .env("FIT_TEST_FOLDER", folder)
        .env("FIT_TEST_DO", what)
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

#[test]
#[ignore = "started by other tests"]
fn child() {
    let Ok(folder) = std::env::var("FIT_TEST_FOLDER") else {
        return;
    };
    let folder = PathBuf::from(folder);
    let what = std::env::var("FIT_TEST_DO").unwrap();
    let mut toy = Toy::new();
    let mut options = toy::options();
    match what.as_str() {
        "train" => {}
        "slowly" => {
            // Long enough for a signal to come in the middle.
            options.steps = 1_000_000;
            options.checkpoint_steps = 0;
            options.eval_steps = 0;
        }
        "stop" => toy.stop = Some((33, Stop::Within)),
        "stop while waiting" => toy.stop = Some((33, Stop::Waiting)),
        "stop while evaluating" => toy.stop = Some((40, Stop::Evaluating)),
        "spike" | "spike skipped" => {
            toy.leaps = vec![(70, 1e5)];
            options.spike_deviations = 6.0;
            options.skip_spikes = what == "spike skipped";
        }
        "small files" => {
            options.shard_bytes = u64::MAX;
            small_files();
        }
        other => panic!("{other}"),
    }
    if what == "slowly" {
        ctrlc_handler();
    }
    sample::progress::set_quiet(false);
    let outcome = fit::run(&mut toy, &options, &folder, &toy::key());
    match outcome {
        Ok(_) => {}
        Err(Error::Sample(sample::Error::Interrupted)) => std::process::exit(STOPPED),
        Err(e) => {
            eprintln!("{e}");
            std::process::exit(FAILED);
        }
    }
}

/// As the binary has it: the signal's handler only asks for a stop.
fn ctrlc_handler() {
    extern "C" fn stop(_: libc::c_int) {
        sample::interrupt::request();
    }
    // SAFETY: the handler stores to an atomic, which is all that a signal handler may do.
    unsafe { libc::signal(libc::SIGTERM, stop as *const () as libc::sighandler_t) };
}

/// No file may grow beyond 200,000 bytes, and none may be written beyond that: as on a full disk, a
/// write fails in the middle of a shard.
fn small_files() {
    let limit = libc::rlimit {
        rlim_cur: 200_000,
        rlim_max: 200_000,
    };
    // SAFETY: plain system calls with a structure that lives through them.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}
