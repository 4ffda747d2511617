//! Progress on standard error: a bar with rate and time left on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

static QUIET: AtomicBool = AtomicBool::new(false);

/// Turns all progress off, for `--quiet` and for tests.
pub fn set_quiet(quiet: bool) {
    QUIET.store(quiet, Ordering::SeqCst);
}

/// One line of news that is not progress, printed above any bar.
pub fn note(message: &str) {
    if !QUIET.load(Ordering::SeqCst) {
        // A closed standard error is no reason to stop.
        let _ = writeln!(std::io::stderr(), "{message}");
    }
}

/// Progress of one loop. Shared freely between threads.
pub struct Bar {
    name: String,
    total: u64,
    done: AtomicU64,
    started: Instant,
    terminal: Option<ProgressBar>,
    plain: Mutex<Plain>,
    quiet: bool,
}

struct Plain {
    last: Instant,
    printed: bool,
    message: String,
}

/// How often a line is printed where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Starts a bar for `total` items; `unit` is a plural noun, "figures".
pub fn bar(name: &str, total: u64, unit: &str) -> Bar {
    let quiet = QUIET.load(Ordering::SeqCst);
    let terminal = (!quiet && std::io::stderr().is_terminal()).then(|| {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
        let style = ProgressStyle::with_template(&format!(
            "{{prefix:>10}} [{{bar:28}}] {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left {{msg}}"
        ));
        if let Ok(style) = style {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(name.to_owned());
        bar
    });
    Bar {
        name: name.to_owned(),
        total,
        done: AtomicU64::new(0),
        started: Instant::now(),
        terminal,
        plain: Mutex::new(Plain {
            last: Instant::now(),
            printed: false,
            message: String::new(),
        }),
        quiet,
    }
}

impl Bar {
    /// Counts `n` more items as done.
    pub fn inc(&self, n: u64) {
        let done = self.done.fetch_add(n, Ordering::Relaxed) + n;
        if let Some(bar) = &self.terminal {
            bar.inc(n);
        } else if !self.quiet
            && let Ok(mut plain) = self.plain.lock()
            && plain.last.elapsed() >= PLAIN_EVERY
        {
            plain.last = Instant::now();
            plain.printed = true;
            let seconds = self.started.elapsed().as_secs_f64();
            let rate = done as f64 / seconds.max(1e-9);
            let left = self.total.saturating_sub(done) as f64 / rate.max(1e-9);
            note(&format!(
                "{:>10}: {done}/{} ({:.0}%), {rate:.1}/s, {left:.0} s left {}",
                self.name,
                self.total,
                100.0 * done as f64 / self.total.max(1) as f64,
                plain.message
            ));
        }
    }

    /// Shows a short remark beside the numbers, such as the loss.
    pub fn message(&self, text: &str) {
        if let Some(bar) = &self.terminal {
            bar.set_message(text.to_owned());
        } else if let Ok(mut plain) = self.plain.lock() {
            text.clone_into(&mut plain.message);
        }
    }

    /// Ends the bar; says how long it took where that was worth a line.
    pub fn finish(self) {
        let seconds = self.started.elapsed().as_secs_f64();
        let done = self.done.load(Ordering::Relaxed);
        if let Some(bar) = &self.terminal {
            bar.finish_and_clear();
        }
        if !self.quiet && seconds >= 2.0 {
            note(&format!(
                "{:>10}: {done} in {seconds:.1} s ({:.1}/s)",
                self.name,
                done as f64 / seconds
            ));
        }
    }
}
