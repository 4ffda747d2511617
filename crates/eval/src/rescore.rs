//! Outputs that exist already, scored: files that a benchmark's authors or other programs wrote, and
//! our own runs' replies.
//!
//! A campaign's `responses.jsonl` is read here for every benchmark; all other forms are the benchmark's
//! own ([`Benchmark::outputs`]).

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use sample::benchmark::{BenchmarkScore, ItemScore};
use sample::{Error as SampleError, file_sha256, interrupt, shard};
use serde_json::Value;

use crate::campaign::RESPONSES;
use crate::digest;
use crate::{Answer, Benchmark, Error, Item, Outputs, Scoring};

/// No line of a file of replies is longer, in bytes: a reply of a megabyte is 6 MiB where every letter
/// is escaped.
const LONGEST_LINE: u64 = 64 << 20;

/// The split of that name; the usual one where none is given.
///
/// # Errors
/// Where the benchmark has no such split; the message names those it has.
pub fn split(benchmark: &dyn Benchmark, name: Option<&str>) -> Result<&'static str, Error> {
    let splits = benchmark.splits();
    let found = match name {
        None => splits.first(),
        Some(name) => splits.iter().find(|s| s.eq_ignore_ascii_case(name)),
    };
    found.copied().ok_or_else(|| Error::UnknownSplit {
        benchmark: benchmark.name(),
        split: name.unwrap_or_default().to_owned(),
        known: splits.join(", "),
    })
}

/// A split with its questions and the outputs as they were read beside them.
type Found = (&'static str, Vec<Item>, Outputs);

/// The split that the rows of `outputs` are about: the first that has all their questions, else the one
/// that has most of them. A file for all of MATH-V is not scored on its testmini.
fn split_of(benchmark: &dyn Benchmark, data: &Path, outputs: &Path) -> Option<Found> {
    let mut best: Option<(usize, Found)> = None;
    for &split in benchmark.splits() {
        let Ok(items) = benchmark.load(data, split) else {
            continue;
        };
        let Ok(read) = read(benchmark, outputs, &items) else {
            continue;
        };
        let known: HashSet<&str> = items.iter().map(|item| item.id.as_str()).collect();
        let rows = &read.answers;
        let found = rows.iter().filter(|a| known.contains(&*a.id)).count();
        if found == rows.len() {
            return Some((split, items, read));
        }
        if best.as_ref().is_none_or(|(most, _)| found > *most) {
            best = Some((found, (split, items, read)));
        }
    }
    best.map(|(_, found)| found)
}

/// Scores the outputs in the file (or folder) `outputs` on a split of the benchmark in the folder
/// `data`: the one of that name, or the one that the outputs are about. Where `data` does not have the
/// questions, those that the outputs repeat are taken.
///
/// # Errors
/// Where neither has the questions, there is no such split, or the outputs are in no known form.
pub fn rescore(
    benchmark: &dyn Benchmark,
    data: &Path,
    name: Option<&str>,
    outputs: &Path,
    how: &Scoring,
) -> Result<(BenchmarkScore, Vec<ItemScore>), Error> {
    let found = match name {
        None => split_of(benchmark, data, outputs),
        Some(_) => None,
    };
    let (split, items, outputs_read) = match found {
        Some(found) => found,
        None => of_split(benchmark, data, self::split(benchmark, name)?, outputs)?,
    };
    let (mut total, scored) = crate::score(benchmark, split, &items, &outputs_read, how);
    let mut put = |name: &str, value: String| drop(total.provenance.insert(name.into(), value));
    put("benchmark", benchmark.version().to_owned());
    put("data", digest::items(&items));
    put("outputs", outputs_digest(outputs)?);
    put("code", digest::code());
    Ok((total, scored))
}

/// The questions of a split, or those that the outputs repeat, with the outputs.
fn of_split(
    benchmark: &dyn Benchmark,
    data: &Path,
    split: &'static str,
    outputs: &Path,
) -> Result<Found, Error> {
    match benchmark.load(data, split) {
        Ok(items) => {
            let read = read(benchmark, outputs, &items)?;
            Ok((split, items, read))
        }
        Err(error) => {
            // Where the outputs cannot be read either, the data are what to mend first.
            let Ok(mut read) = read(benchmark, outputs, &[]) else {
                return Err(error);
            };
            if read.items.is_empty() {
                return Err(error);
            }
            read.remarks.push(format!(
                "the questions are those that the outputs repeat, since the data have none: {error}"
            ));
            Ok((split, std::mem::take(&mut read.items), read))
        }
    }
}

/// Reads outputs in whatever form they are.
///
/// # Errors
/// As [`Benchmark::outputs`].
pub fn read(benchmark: &dyn Benchmark, path: &Path, items: &[Item]) -> Result<Outputs, Error> {
    match own(path)? {
        Some(file) => replies(&file),
        None => benchmark.outputs(path, items),
    }
}

/// The file of a campaign's replies at `path`, where it is one.
fn own(path: &Path) -> Result<Option<PathBuf>, Error> {
    let inside = path.join(RESPONSES);
    if inside.is_file() {
        return Ok(Some(inside));
    }
    if path.is_dir()
        && let Some((_, file)) = shard::left(&inside)?.into_iter().next()
    {
        return Err(Error::Data {
            path: path.to_owned(),
            detail: format!(
                "has replies of shards only, such as {}: join them with math-llava eval, without --shard, \
                 or name one of those files",
                file.display()
            ),
        });
    }
    if !path.is_file() {
        return Ok(None);
    }
    let file = File::open(path).map_err(|e| SampleError::io(path, e))?;
    let mut first = Vec::new();
    BufReader::new(file)
        .take(LONGEST_LINE)
        .read_until(b'\n', &mut first)
        .map_err(|e| SampleError::io(path, e))?;
    let row: Option<Value> = serde_json::from_slice(&first).ok();
    let ours = row.is_some_and(|row| {
        let has = |name: &str| row.get(name).is_some();
        has("id") && has("response") && has("truncated") && has("completion_tokens")
    });
    Ok(ours.then(|| path.to_owned()))
}

fn replies(path: &Path) -> Result<Outputs, Error> {
    let file = File::open(path).map_err(|e| SampleError::io(path, e))?;
    let mut outputs = rows(BufReader::new(file), path)?;
    outputs.model = model_of(path);
    Ok(outputs)
}

/// Reads `{id, response, truncated, failed}`, one a line; what is not such a line is a remark.
fn rows(mut reader: impl BufRead, path: &Path) -> Result<Outputs, Error> {
    let mut outputs = Outputs::default();
    let (mut number, mut faults): (u64, u64) = (0, 0);
    let mut first = None;
    loop {
        if number.is_multiple_of(1024) {
            interrupt::check()?;
        }
        let mut line = Vec::new();
        let length = reader
            .by_ref()
            .take(LONGEST_LINE)
            .read_until(b'\n', &mut line)
            .map_err(|e| SampleError::io(path, e))?;
        if length == 0 {
            break;
        }
        number += 1;
        if length as u64 == LONGEST_LINE && line.last() != Some(&b'\n') {
            return Err(Error::Data {
                path: path.to_owned(),
                detail: format!("line {number} is longer than {LONGEST_LINE} bytes"),
            });
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match answer(&line) {
            Ok(answer) => outputs.answers.push(answer),
            Err(detail) => {
                faults += 1;
                first.get_or_insert_with(|| format!("line {number}: {detail}"));
            }
        }
    }
    if let Some(first) = first {
        outputs
            .remarks
            .push(format!("{faults} lines are no replies (first: {first})"));
    }
    Ok(outputs)
}

fn answer(line: &[u8]) -> Result<Answer, String> {
    let row: Value = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    let text = |name: &str| match row.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{name} is not text")),
    };
    Ok(Answer {
        id: text("id")?.ok_or("it has no id")?,
        response: text("response")?,
        extraction: None,
        truncated: row.get("truncated").and_then(Value::as_bool) == Some(true),
        failed: text("failed")?,
    })
}

/// The model of a campaign's folder, which has its name.
fn model_of(path: &Path) -> Option<String> {
    let folder = path.parent()?;
    folder.join("asked.json").is_file().then_some(())?;
    Some(folder.file_name()?.to_string_lossy().into_owned())
}

fn outputs_digest(path: &Path) -> Result<String, Error> {
    let inside = path.join(RESPONSES);
    if inside.is_file() {
        return Ok(file_sha256(&inside)?);
    }
    if path.is_file() {
        return Ok(file_sha256(path)?);
    }
    digest::folder(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &[u8]) -> Outputs {
        rows(text, Path::new("responses.jsonl")).unwrap()
    }

    #[test]
    fn a_line_is_a_reply_or_is_counted_as_none() {
        let text = concat!(
            "{\"id\":\"1\",\"response\":\"4\",\"truncated\":true,\"failed\":null}\n",
            "\r\n",
            "{\"id\":\"2\",\"response\":null,\"failed\":\"too long\"}\n",
            "{\"id\":2,\"response\":\"x\"}\n",
            "{\"id\":\"3\",\"response\":[\"x\"]}\n",
            "[]\n",
            "{\"id\":\"3\",\"resp",
        );
        let outputs = read(text.as_bytes());
        let rows: Vec<_> = outputs
            .answers
            .iter()
            .map(|a| (a.id.as_str(), a.response.as_deref(), a.truncated))
            .collect();
        assert_eq!(rows, [("1", Some("4"), true), ("2", None, false)]);
        assert_eq!(outputs.answers[1].failed.as_deref(), Some("too long"));
        assert_eq!(
            outputs.remarks,
            ["4 lines are no replies (first: line 4: id is not text)"]
        );
    }

    #[test]
    fn outputs_are_scored_on_the_split_that_they_are_about() {
        let data = tempfile::tempdir().unwrap();
        let row = |n: usize, field: &str| {
            format!(
                "{{\"id\":\"{n}\",\"question\":\"?\",\"options\":[],\"answer\":\"{n}\",\"image\":\"images/{n}.jpg\",\
                 \"level\":1,\"subject\":\"counting\",\"{field}\":\"{n}\"}}\n"
            )
        };
        let write = |name: &str, ids: &[usize], field: &str| {
            let text: String = ids.iter().map(|&n| row(n, field)).collect();
            std::fs::write(data.path().join(name), text).unwrap();
        };
        write("testmini.jsonl", &[2, 3], "solution");
        write("test.jsonl", &[1, 2, 3, 4], "solution");
        let benchmark = crate::find("MATH-V").unwrap();
        let how = Scoring::default();
        for (ids, name, wanted, total) in [
            (&[2, 3][..], None, "testmini", 2),
            (&[3], None, "testmini", 2),
            (&[4, 1, 3, 2], None, "test", 4),
            (&[4, 9], None, "test", 4),
            (&[4, 1, 3, 2], Some("testmini"), "testmini", 2),
        ] {
            write("outputs.jsonl", ids, "response");
            let outputs = data.path().join("outputs.jsonl");
            let (score, _) = rescore(benchmark, data.path(), name, &outputs, &how).unwrap();
            assert_eq!(
                (score.split.as_str(), score.total),
                (wanted, total),
                "{ids:?}"
            );
        }
        let outputs = data.path().join("outputs.jsonl");
        let error = rescore(benchmark, data.path(), Some("val"), &outputs, &how).unwrap_err();
        assert!(error.to_string().contains("testmini, test"), "{error}");
    }

    #[test]
    fn deep_nesting_and_a_megabyte_are_read_in_bounded_depth() {
        let deep = format!("{{\"id\":\"1\",\"response\":{}1\n", "[".repeat(1 << 20));
        let long = format!(
            "{{\"id\":\"2\",\"response\":\"{}\"}}\n",
            "{".repeat(1 << 20)
        );
        let outputs = read(format!("{deep}{long}").as_bytes());
        assert_eq!(outputs.answers.len(), 1);
        assert!(
            outputs.remarks[0].starts_with("1 lines"),
            "{:?}",
            outputs.remarks
        );
    }

    proptest! {
        #[test]
        fn every_line_of_any_file_is_a_reply_a_remark_or_blank(
            lines in proptest::collection::vec(
                prop_oneof![
                    "\\PC{0,40}",
                    ("[a-z0-9]{0,3}", "\\PC{0,20}").prop_map(|(id, said)| {
                        serde_json::json!({"id": id, "response": said}).to_string()
                    }),
                ],
                0..20,
            ),
        ) {
            let outputs = read(lines.join("\n").as_bytes());
            let blank = |line: &&String| !line.bytes().all(|b| b.is_ascii_whitespace());
            let written = lines.iter().filter(blank).count();
            let faults: usize = outputs.remarks.first().map_or(0, |remark| {
                remark.split(' ').next().unwrap().parse().unwrap()
            });
            prop_assert_eq!(outputs.answers.len() + faults, written);
        }
    }
}
