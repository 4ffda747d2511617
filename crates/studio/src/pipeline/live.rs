//! What is being written in a run at this moment.

use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::{Path, State as Shared};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::stages::{StageFolder, State};
use crate::kept::blocking;
use crate::runs::RunFolder;
use crate::shell::parts::count;
use crate::{Error, Studio, when};

/// A file that was not written for so long is not being written.
const STILL: Duration = Duration::from_secs(10 * 60);
/// Files of a stage that are named.
const MOST_FILES: usize = 3;
/// Files of a stage that are looked at.
const MOST_LOOKED_AT: usize = 2000;
/// Of longer files lines are not counted, in bytes.
const LONGEST_COUNTED: u64 = 64 << 20;
/// Kinds of requests that are named.
const MOST_KINDS: usize = 12;
/// Seconds after which a page asks again: while something is written, and while nothing is.
const SOON: u32 = 2;
const LATER: u32 = 10;

/// What there is to say.
pub(super) struct Live {
    /// Changes whenever a stage begins or ends.
    pub state: String,
    pub lines: Vec<String>,
    /// Whether something was written lately.
    pub at_it: bool,
}

pub(super) async fn show(
    Shared(studio): Shared<Arc<Studio>>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    let text = blocking(move || {
        let run = studio.run(&name)?;
        let stages = studio.stages(&run);
        let live = look(&studio, &run, &stages);
        let again = if live.at_it { SOON } else { LATER };
        let answer = json!({"state": live.state, "lines": live.lines, "again": again});
        Ok(answer.to_string())
    })
    .await?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}

pub(super) fn look(studio: &Studio, run: &RunFolder, stages: &[StageFolder]) -> Live {
    let mut state = String::new();
    let (mut lines, mut at_it) = (Vec::new(), false);
    for stage in stages {
        let finished = match stage.finished {
            Some(time) => when::utc(time),
            None => "begun".to_owned(),
        };
        state.push_str(&format!("{}={finished};", stage.label));
        if stage.state != State::Begun {
            continue;
        }
        let files = written(&stage.path);
        let newest = files.first().map(|file| file.changed);
        let age = newest.map(|time| time.elapsed().unwrap_or_default());
        let is_written = age.is_some_and(|age| age < STILL);
        at_it |= is_written;
        let mut line = match (is_written, age) {
            (true, _) => format!("{}: ", stage.label),
            (false, Some(age)) => format!(
                "{}: stopped or waiting, nothing written for {}; ",
                stage.label,
                when::span(age)
            ),
            (false, None) => format!("{}: nothing written yet", stage.label),
        };
        if stage.verb == "train"
            && let Some(words) = studio.training_now(run)
        {
            line.push_str(&words);
            line.push_str("; ");
        }
        let named: Vec<String> = files.iter().take(MOST_FILES).map(File::words).collect();
        line.push_str(&named.join(", "));
        lines.push(line);
    }
    // A run that is done has its ledger at rest.
    if !lines.is_empty() {
        lines.extend(requests(studio, &run.path.join("ledger.sqlite")));
    }
    state = sample::sha256_hex(state.as_bytes());
    Live {
        state,
        lines,
        at_it,
    }
}

/// A file of a stage that is not finished.
struct File {
    name: String,
    bytes: u64,
    /// Lines, of files that have some.
    rows: Option<u64>,
    changed: SystemTime,
}

impl File {
    fn words(&self) -> String {
        let size = match self.rows {
            Some(rows) => format!("{} lines", count(rows)),
            None => when::bytes(self.bytes),
        };
        format!("{} {size}, {}", self.name, when::ago(self.changed))
    }
}

/// The files directly in a stage's folder, the newest first.
fn written(folder: &FilePath) -> Vec<File> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<File> = entries
        .take(MOST_LOOKED_AT)
        .filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some(File {
                name: entry.file_name().to_string_lossy().into_owned(),
                bytes: metadata.len(),
                rows: None,
                changed: metadata.modified().ok()?,
            })
        })
        .collect();
    files.sort_by(|a, b| b.changed.cmp(&a.changed).then_with(|| a.name.cmp(&b.name)));
    for file in files.iter_mut().take(MOST_FILES) {
        if file.name.ends_with(".jsonl") && file.bytes <= LONGEST_COUNTED {
            let text = std::fs::read(folder.join(&file.name)).ok();
            let ends = |text: Vec<u8>| text.iter().filter(|b| **b == b'\n').count() as u64;
            file.rows = text.map(ends);
        }
    }
    files
}

/// How far the requests to teachers and verifiers are, from the ledger's own view; counted again only
/// when the ledger has changed.
fn requests(studio: &Studio, ledger: &FilePath) -> Vec<String> {
    if !ledger.is_file() {
        return Vec::new();
    }
    let log = ledger.with_file_name("ledger.sqlite-wal");
    let name = ledger.display().to_string();
    let lines = studio.kept.of(&name, &[ledger, &log], || {
        let fail = |e: chat::ledger::Error| Error::Failed(e.to_string());
        let ledger = chat::ledger::Ledger::read_only(ledger).map_err(fail)?;
        let rows = ledger.query(
            "SELECT stage, kind, sum(requests), sum(answered), sum(refused), sum(open) FROM progress \
             GROUP BY 1, 2 ORDER BY 1, 2",
            MOST_KINDS,
        );
        let rows = rows.map_err(fail)?;
        let lines: Vec<String> = rows
            .rows
            .iter()
            .filter_map(|row| match &row[..] {
                [stage, kind, requests, answered, refused, open] => Some(format!(
                    "requests of {} for {}: {answered} of {requests} answered, {refused} refused, {open} \
                     open",
                    stage.as_str().unwrap_or("no stage"),
                    kind.as_str().unwrap_or("no kind"),
                )),
                _ => None,
            })
            .collect();
        Ok(lines)
    });
    match lines {
        Ok(lines) => (*lines).clone(),
        Err(error) => vec![error.to_string()],
    }
}
