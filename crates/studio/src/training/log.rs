//! What a training writes down of itself, read on from where it was read before.
//!
//! `metrics.jsonl` and `timing.jsonl` grow by a line each step while pages look at them every other second.
//! So a log is parsed once, and from then on only what was added to it. A last line without its end is left
//! for the next time; what is no line of JSON is counted and left out.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::Value;

use crate::Error;

/// No more steps of a run are held.
const MOST_STEPS: usize = 2_000_000;
/// Read at once, in bytes.
const PIECE: u64 = 4 << 20;
/// No line is longer, in bytes: what is, is no log of a step.
const LONGEST_LINE: usize = 1 << 20;
/// Bytes at a file's start by which it is known again.
const HEAD: usize = 256;

/// A file of lines that grows.
#[derive(Debug, Default)]
struct Growing {
    path: PathBuf,
    /// Up to where its lines were taken.
    offset: u64,
    head: Vec<u8>,
}

/// What has become of a file since it was last looked at.
#[derive(Debug, PartialEq)]
enum Change {
    /// It goes on where it was left, with these whole lines.
    More(Vec<u8>),
    /// It is another file, or there is none any more.
    Other,
}

impl Growing {
    /// The whole lines that were added; at most [`PIECE`] bytes of them.
    fn more(&mut self) -> Result<Change, Error> {
        let fail = |e| Error::from(sample::Error::io(&self.path, e));
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.offset == 0 => {
                return Ok(Change::More(Vec::new()));
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Change::Other),
            Err(e) => return Err(fail(e)),
        };
        let length = file.metadata().map_err(fail)?.len();
        let mut head = Vec::with_capacity(HEAD);
        (&mut file)
            .take(HEAD as u64)
            .read_to_end(&mut head)
            .map_err(fail)?;
        if length < self.offset || !head.starts_with(&self.head) {
            return Ok(Change::Other);
        }
        self.head = head;
        if length == self.offset {
            return Ok(Change::More(Vec::new()));
        }
        file.seek(SeekFrom::Start(self.offset)).map_err(fail)?;
        let mut piece = Vec::new();
        file.take(PIECE).read_to_end(&mut piece).map_err(fail)?;
        match piece.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => piece.truncate(end + 1),
            // A line so long is skipped; one that is shorter is still being written.
            None if piece.len() > LONGEST_LINE => {}
            None => piece.clear(),
        }
        self.offset += piece.len() as u64;
        Ok(Change::More(piece))
    }
}

/// A step as `metrics.jsonl` has it; what it does not say is not a number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Step {
    pub step: f64,
    /// Tokens trained on up to here.
    pub tokens: f64,
    pub loss: f64,
    pub lr: f64,
    pub grad_norm: f64,
}

/// A step as `timing.jsonl` has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Timing {
    pub step: f64,
    /// Seconds of training up to here.
    pub elapsed: f64,
    pub tokens_per_second: f64,
    pub samples_per_second: f64,
    pub memory_mib: f64,
    pub data_seconds: f64,
    pub peak_share: f64,
}

/// A training's log so far.
#[derive(Debug, Default)]
pub(super) struct Log {
    metrics: Growing,
    timing: Growing,
    pub steps: Vec<Step>,
    pub timings: Vec<Timing>,
    /// How often it began anew: who has points of another count has those of another log.
    pub generation: u64,
    /// Lines that could not be read.
    pub unread: u64,
}

impl Log {
    /// The log of the training in `folder`, of which nothing is read yet.
    pub fn of(folder: &Path) -> Log {
        let growing = |name: &str| Growing {
            path: folder.join(name),
            ..Growing::default()
        };
        Log {
            metrics: growing("metrics.jsonl"),
            timing: growing("timing.jsonl"),
            ..Log::default()
        }
    }

    /// Reads what was added.
    pub fn read_on(&mut self) -> Result<(), Error> {
        loop {
            match (self.metrics.more()?, self.timing.more()?) {
                (Change::More(metrics), Change::More(timing)) => {
                    if metrics.is_empty() && timing.is_empty() {
                        return Ok(());
                    }
                    self.add_steps(&metrics);
                    self.add_timings(&timing);
                }
                _ => self.begin_anew(),
            }
        }
    }

    fn begin_anew(&mut self) {
        for file in [&mut self.metrics, &mut self.timing] {
            file.offset = 0;
            file.head.clear();
        }
        self.steps.clear();
        self.timings.clear();
        self.unread = 0;
        self.generation += 1;
    }

    fn add_steps(&mut self, text: &[u8]) {
        for line in lines(text, &mut self.unread) {
            // A step that was left out has a loss that was not trained on.
            if line["skipped"].as_bool() == Some(true) {
                continue;
            }
            let Some(step) = number(&line["step"]) else {
                continue;
            };
            // A training that goes on from a checkpoint writes the steps after it again.
            if self.steps.last().is_some_and(|last| step <= last.step) {
                let kept = self.steps.partition_point(|s| s.step < step);
                self.steps.truncate(kept);
                self.generation += 1;
            }
            if self.steps.len() == MOST_STEPS {
                return;
            }
            let before = self.steps.last().map_or(0.0, |s| s.tokens);
            self.steps.push(Step {
                step,
                tokens: before + number(&line["tokens"]).unwrap_or(0.0).max(0.0),
                loss: value(&line["loss"]),
                lr: value(&line["lr"]),
                grad_norm: value(&line["grad_norm"]),
            });
        }
    }

    fn add_timings(&mut self, text: &[u8]) {
        for line in lines(text, &mut self.unread) {
            let Some(step) = number(&line["step"]) else {
                continue;
            };
            if self.timings.last().is_some_and(|last| step <= last.step) {
                let kept = self.timings.partition_point(|t| t.step < step);
                self.timings.truncate(kept);
                self.generation += 1;
            }
            if self.timings.len() == MOST_STEPS {
                return;
            }
            let before = self.timings.last().map_or(0.0, |t| t.elapsed);
            self.timings.push(Timing {
                step,
                elapsed: before + number(&line["seconds"]).unwrap_or(0.0).max(0.0),
                tokens_per_second: value(&line["tokens_per_second"]),
                samples_per_second: value(&line["samples_per_second"]),
                memory_mib: value(&line["memory_mib"]),
                data_seconds: value(&line["data_seconds"]),
                peak_share: value(&line["peak_share"]),
            });
        }
    }

    /// Tokens trained on up to a step.
    pub fn tokens_at(&self, step: f64) -> f64 {
        let at = self.steps.partition_point(|s| s.step <= step);
        at.checked_sub(1).map_or(0.0, |at| self.steps[at].tokens)
    }

    /// Seconds of training up to a step.
    pub fn elapsed_at(&self, step: f64) -> f64 {
        let at = self.timings.partition_point(|t| t.step <= step);
        at.checked_sub(1).map_or(0.0, |at| self.timings[at].elapsed)
    }

    /// When something was last written into it.
    pub fn changed(&self) -> Option<SystemTime> {
        let files = [&self.metrics.path, &self.timing.path];
        let times = files
            .into_iter()
            .filter_map(|f| std::fs::metadata(f).ok()?.modified().ok());
        times.max()
    }
}

fn lines<'a>(text: &'a [u8], unread: &'a mut u64) -> impl Iterator<Item = Value> + 'a {
    text.split(|byte| *byte == b'\n').filter_map(move |line| {
        if line.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let read = serde_json::from_slice(line).ok();
        *unread += u64::from(read.is_none());
        read
    })
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|v| v.is_finite())
}

fn value(of: &Value) -> f64 {
    number(of).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn append(path: &Path, text: &str) {
        let mut file = File::options()
            .append(true)
            .create(true)
            .open(path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn losses(log: &Log) -> Vec<(f64, f64)> {
        log.steps.iter().map(|s| (s.step, s.loss)).collect()
    }

    #[test]
    fn a_half_written_line_is_read_when_it_is_whole_and_nothing_is_read_twice() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut log = Log::of(dir.path());
        log.read_on().unwrap();
        assert!(log.steps.is_empty());
        append(
            &path,
            "{\"step\":0,\"loss\":3,\"tokens\":10}\n{\"step\":1,\"lo",
        );
        log.read_on().unwrap();
        log.read_on().unwrap();
        assert_eq!(losses(&log), [(0.0, 3.0)]);
        append(&path, "ss\":2,\"tokens\":5}\n");
        log.read_on().unwrap();
        assert_eq!(losses(&log), [(0.0, 3.0), (1.0, 2.0)]);
        assert_eq!(
            (log.steps[1].tokens, log.generation, log.unread),
            (15.0, 0, 0)
        );
        assert_eq!(
            (log.tokens_at(0.5), log.tokens_at(9.0), log.tokens_at(-1.0)),
            (10.0, 15.0, 0.0)
        );
    }

    #[test]
    fn a_log_that_begins_anew_is_read_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut log = Log::of(dir.path());
        append(&path, "{\"step\":0,\"loss\":3}\n{\"step\":1,\"loss\":2}\n");
        log.read_on().unwrap();
        // Shorter, and then as long but of other text, and then gone.
        for (text, wanted) in [
            ("{\"step\":0,\"loss\":9}\n", vec![(0.0, 9.0)]),
            (
                "{\"step\":0,\"loss\":8}\n{\"step\":1,\"loss\":7}\n",
                vec![(0.0, 8.0), (1.0, 7.0)],
            ),
        ] {
            let before = log.generation;
            std::fs::write(&path, text).unwrap();
            log.read_on().unwrap();
            assert_eq!(losses(&log), wanted);
            assert!(log.generation > before, "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        log.read_on().unwrap();
        assert!(log.steps.is_empty());
    }

    #[test]
    fn steps_written_again_after_a_checkpoint_replace_the_first_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut log = Log::of(dir.path());
        append(
            &path,
            "{\"step\":0,\"loss\":3,\"tokens\":1}\n{\"step\":1,\"loss\":2,\"tokens\":1}\n{\"step\":2,\"loss\":1,\"tokens\":1}\n",
        );
        log.read_on().unwrap();
        append(&path, "{\"step\":1,\"loss\":7,\"tokens\":1}\n");
        log.read_on().unwrap();
        assert_eq!(losses(&log), [(0.0, 3.0), (1.0, 7.0)]);
        assert_eq!((log.steps[1].tokens, log.generation), (2.0, 1));
    }

    #[test]
    fn what_is_no_step_is_counted_or_left_out() {
        let dir = tempfile::tempdir().unwrap();
        append(
            &dir.path().join("metrics.jsonl"),
            "[]\n3\nnull\n{\"step\":\"x\"}\n\u{0}\n{\"step\":4,\"loss\":1e999}\n\n{\"step\":5,\"skipped\":true}\n{\"step\":6,\"loss\":null}\n",
        );
        let mut log = Log::of(dir.path());
        log.read_on().unwrap();
        let steps: Vec<f64> = log.steps.iter().map(|s| s.step).collect();
        assert_eq!(steps, [6.0]);
        assert!(log.steps[0].loss.is_nan());
        assert_eq!(log.unread, 2, "a zero byte, and a number that no f64 holds");
    }

    #[test]
    fn a_line_without_an_end_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        append(&path, &"x".repeat(2 * PIECE as usize));
        append(&path, "\n{\"step\":1,\"loss\":2}\n");
        let mut log = Log::of(dir.path());
        log.read_on().unwrap();
        assert_eq!(losses(&log), [(1.0, 2.0)]);
        assert!(log.unread > 0);
    }
}
