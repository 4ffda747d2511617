//! `--nproc N`: this program N times on this host, each process one rank of a group.
//!
//! What `torchrun --nproc-per-node N` does, without Python: the children find each other by `RANK`, `WORLD_SIZE`,
//! `LOCAL_RANK`, `MASTER_ADDR` and `MASTER_PORT`. Rank 0 speaks for all; what the others say on stderr is marked with
//! their number. A run is as good as its worst rank: when one fails, the others get time to say what they know of it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long ranks may live on after one has failed: they look for who it was, and say so, in some seconds.
const GRACE: Duration = Duration::from_secs(30);

/// Between two looks at the children.
const SLICE: Duration = Duration::from_millis(100);

/// More would be a slip of the finger.
const MOST: usize = 1024;

/// Runs this program's own arguments, less `--nproc`, as `count` ranks, and waits for them. Whether all reached what
/// the user asked for, as the verb itself says it.
///
/// # Errors
/// Where ranks cannot be started, or one of them ended with an error.
pub fn spawn(count: usize) -> Result<bool> {
    if !(1..=MOST).contains(&count) {
        bail!("--nproc {count}: from 1 to {MOST} processes");
    }
    if let Some(name) = ["RANK", "WORLD_SIZE"]
        .iter()
        .find(|name| std::env::var_os(name).is_some())
    {
        bail!(
            "--nproc {count}: {name} is set, so that this process is a rank already; let torchrun or srun start all ranks, or --nproc, not both"
        );
    }
    let program = std::env::current_exe().context("cannot find this program to start it again")?;
    let arguments = without_nproc(std::env::args_os().skip(1));
    let port = free_port().context("cannot find a free port for the ranks to meet at")?;
    let commands = (0..count).map(|rank| {
        let mut command = Command::new(&program);
        command
            .args(&arguments)
            .env("RANK", rank.to_string())
            .env("LOCAL_RANK", rank.to_string())
            .env("WORLD_SIZE", count.to_string())
            .env("LOCAL_WORLD_SIZE", count.to_string())
            .env("MASTER_ADDR", "127.0.0.1")
            .env("MASTER_PORT", port.to_string())
            .env_remove("TORCHELASTIC_USE_AGENT_STORE")
            .env_remove("TORCHELASTIC_RESTART_COUNT");
        command
    });
    let signal = || match sample::interrupt::requests() {
        0 => None,
        _ if crate::terminate::asked() => Some(Signal::Terminate),
        _ => Some(Signal::Interrupt),
    };
    let ended = see_through(commands.collect(), &signal, GRACE)?;
    if ended.is_none_or(|(_, status)| status.code() == Some(1)) {
        return Ok(ended.is_none());
    }
    sample::interrupt::check()?;
    match ended {
        Some((rank, status)) => bail!("rank {rank} ended with {status}; its last words are above"),
        None => Ok(true),
    }
}

/// What is passed on to the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Interrupt,
    Terminate,
}

/// Ranks that end with this process, whatever happens to it.
struct Ranks(Vec<(Child, Option<ExitStatus>)>);

impl Drop for Ranks {
    fn drop(&mut self) {
        for (child, status) in &mut self.0 {
            if status.is_none() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// Starts the ranks and waits until all have ended. `signal` says what this process was asked; it is passed on once.
/// The first rank that failed, if one did.
fn see_through(
    commands: Vec<Command>,
    signal: &dyn Fn() -> Option<Signal>,
    grace: Duration,
) -> Result<Option<(usize, ExitStatus)>> {
    let mut ranks = Ranks(Vec::new());
    let mut printers = Vec::new();
    for (rank, mut command) in commands.into_iter().enumerate() {
        command.stdin(Stdio::null());
        if rank > 0 {
            command.stdout(Stdio::null()).stderr(Stdio::piped());
        }
        apart(&mut command);
        let started = command.spawn();
        let mut child = started.with_context(|| format!("cannot start rank {rank}"))?;
        if let Some(stderr) = child.stderr.take() {
            printers.push(std::thread::spawn(move || {
                mark(rank, stderr, &mut std::io::stderr())
            }));
        }
        ranks.0.push((child, None));
    }
    let mut passed_on = None;
    let mut failed: Option<(usize, ExitStatus)> = None;
    let mut deadline = None;
    while ranks.0.iter().any(|(_, status)| status.is_none()) {
        let asked = signal();
        for (rank, (child, status)) in ranks.0.iter_mut().enumerate() {
            if status.is_some() {
                continue;
            }
            *status = child.try_wait()?;
            match *status {
                Some(ended) if !ended.success() && failed.is_none() => {
                    failed = Some((rank, ended));
                    deadline = Some(Instant::now() + grace);
                }
                None if asked != passed_on => send(child, asked),
                _ => {}
            }
        }
        passed_on = asked;
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            for (rank, (child, status)) in ranks.0.iter_mut().enumerate() {
                if status.is_none() {
                    eprintln!(
                        "rank {rank} does not end by itself after another failed: it is ended"
                    );
                    child.kill()?;
                    *status = Some(child.wait()?);
                }
            }
        }
        std::thread::sleep(SLICE);
    }
    for printer in printers {
        let _ = printer.join();
    }
    Ok(failed)
}

/// A group of its own: Ctrl-C in a terminal reaches every process there, and twice means "now"; so ranks are told by
/// this process alone. Where it dies, of a second Ctrl-C or without a word, they die too.
#[cfg(unix)]
fn apart(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    command.process_group(0);
    #[cfg(target_os = "linux")]
    // SAFETY: between fork and exec this calls nothing but prctl, which touches no memory.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

#[cfg(not(unix))]
fn apart(_: &mut Command) {}

#[cfg(unix)]
fn send(child: &Child, signal: Option<Signal>) {
    let number = match signal {
        Some(Signal::Interrupt) => libc::SIGINT,
        Some(Signal::Terminate) => libc::SIGTERM,
        None => return,
    };
    let Ok(pid) = libc::pid_t::try_from(child.id()) else {
        return;
    };
    // SAFETY: the child is not waited for yet, so the number is its own.
    unsafe { libc::kill(pid, number) };
}

/// Other systems pass Ctrl-C on to all processes of a console.
#[cfg(not(unix))]
fn send(_: &Child, _: Option<Signal>) {}

/// Passes on what a rank says, line by line and never more than some of it at once.
fn mark(rank: usize, from: impl Read, to: &mut impl Write) {
    const LONGEST: u64 = 1 << 16;
    let mut from = BufReader::new(from);
    loop {
        let mut line = Vec::new();
        match from.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                // One write, so that ranks' lines do not mix.
                let marked = format!("[rank {rank}] {}\n", text.trim_end_matches(['\n', '\r']));
                let _ = to.write_all(marked.as_bytes());
            }
        }
    }
}

/// The arguments without `--nproc N` and `--nproc=N`.
fn without_nproc(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        if argument == "--nproc" {
            arguments.next();
        } else if !argument.to_string_lossy().starts_with("--nproc=") {
            kept.push(argument);
        }
    }
    kept
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        // What runs in the background of a script ignores SIGINT, which a shell cannot take back.
        // SAFETY: between fork and exec this sets a signal's default action and nothing else.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        command
    }

    fn run(scripts: &[&str], signal: &dyn Fn() -> Option<Signal>) -> Option<(usize, Option<i32>)> {
        let commands = scripts.iter().map(|script| shell(script)).collect();
        let failed = see_through(commands, signal, Duration::from_secs(1)).unwrap();
        failed.map(|(rank, status)| (rank, status.code()))
    }

    #[test]
    fn all_good_ranks_are_a_good_run() {
        assert_eq!(run(&["exit 0", "sleep 0.3"], &|| None), None);
    }

    #[test]
    fn the_first_rank_that_fails_gives_the_status_and_the_others_are_waited_for_and_then_ended() {
        let ended = run(&["sleep 0.5; exit 3", "exit 7", "exec sleep 600"], &|| None);
        assert_eq!(ended, Some((1, Some(7))));
    }

    #[test]
    fn a_signal_is_passed_on_once_and_as_what_it_was() {
        let folder = tempfile::tempdir().unwrap();
        for (signal, name) in [(Signal::Interrupt, "INT"), (Signal::Terminate, "TERM")] {
            let (ready, count) = (
                folder.path().join(format!("{name}.ready")),
                folder.path().join(name),
            );
            let script = format!(
                "trap 'echo {name} >> {count}' {name}; echo > {ready}; i=0; while [ $i -lt 40 ]; do sleep 0.05; i=$((i+1)); done",
                count = count.display(),
                ready = ready.display(),
            );
            let asked = || ready.exists().then_some(signal);
            assert_eq!(run(&["exit 0", &script], &asked), None);
            assert_eq!(
                std::fs::read_to_string(&count).unwrap(),
                format!("{name}\n")
            );
        }
    }

    #[test]
    fn lines_of_other_ranks_are_marked_and_long_ones_cut() {
        let mut text = Vec::new();
        mark(3, b"one\ntwo\r\n\nlast".as_slice(), &mut text);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "[rank 3] one\n[rank 3] two\n[rank 3] \n[rank 3] last\n"
        );
        let mut text = Vec::new();
        mark(1, vec![b'x'; 100_000].as_slice(), &mut text);
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 2);
    }

    #[test]
    fn the_ranks_get_the_arguments_without_the_count() {
        let arguments = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        for words in [
            ["train", "--nproc", "4", "x.toml", "--set", "a=1"].as_slice(),
            &["train", "--nproc=4", "x.toml", "--set", "a=1"],
            &["train", "x.toml", "--set", "a=1", "--nproc", "4"],
        ] {
            let kept = without_nproc(arguments(words).into_iter());
            assert_eq!(kept, arguments(&["train", "x.toml", "--set", "a=1"]));
        }
    }
}
