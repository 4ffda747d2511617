//! The import stage: a published data set's rows to samples, images and rejects.
//!
//! Rows stream through in chunks, so that memory holds a few chunks and one entry per image and id.
//! Reading, understanding and writing go on at the same time, on threads of their own.
//! Each image is read once: its header is checked and its bytes are hashed (inspection decodes it
//! in full). What cannot be used becomes a reject that names the file, the row and the trouble.
//! Images that lie inside rows are written below the stage's own `images/`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};

use rayon::prelude::*;
use sample::{
    IMAGES, ImageRow, Manifest, Origin, REJECTS, Reject, SAMPLES, Sample, Stage, StageKey,
    TableWriter, interrupt, progress,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::adapters::{Fault, Part, Raw, Record, Source, find_parts};
use crate::pictures::{Pictures, Read as ReadPicture};
use crate::rows::{Row, rows};
use crate::tree::Tree;

/// Rows that are read together, and at most so many bytes of them.
const CHUNK: usize = 4096;
const CHUNK_BYTES: u64 = 32 << 20;

/// What of a source to import.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImportOptions {
    /// The splits to read; empty reads all that are found (of TabMWP, no part of another).
    pub splits: Vec<String>,
    /// No more than this many questions, in the order of the files.
    pub limit: Option<usize>,
}

/// Imports `source` from `root`, a folder or an archive, into the stage folder `out`.
///
/// An import that is already there, of the same rows from the same place, is returned as it is.
///
/// # Errors
/// Where the folder is not of this data set, a file is not of its format at all, or `out` cannot be
/// written. Single rows never fail an import; no usable row at all is a warning and a manifest of
/// noughts.
pub fn import(
    source: &dyn Source,
    options: &ImportOptions,
    root: &Path,
    out: &Path,
    force: bool,
) -> Result<Manifest, Error> {
    let tree = Tree::open(root)?;
    let parts = chosen(source, options, &tree)?;
    let about = source.about();
    let config = serde_json::json!({
        "source": about.name, "splits": options.splits, "limit": options.limit,
        // Counts up when images come to carry more.
        "scenes": 1,
    });
    let mut key = StageKey::new("import", 0, config);
    for part in &parts {
        key = key.input(part.rows.name(), &digest(&tree, part)?);
    }
    if !force
        && let Some(done) = Stage::finished(out, &key)?
        && done.results["root"].as_str() == tree.root().to_str()
    {
        return Ok(done);
    }
    let stage = Stage::begin(out, key, force)?;
    let mut tables = Tables::create(&stage, source, &tree)?;
    tables.warnings.extend(tree.warnings.iter().cloned());
    read_parts(&parts, options.limit, &mut tables)?;
    let (manifest, warnings) = tables.finish(&stage, &parts, options.limit.is_some())?;
    for warning in warnings {
        progress::note(&format!("warning: {}: {warning}", about.title));
    }
    Ok(stage.finish(manifest, &[SAMPLES, IMAGES, REJECTS])?)
}

/// SHA-256 over the part's files, as they are after unpacking.
fn digest(tree: &Tree, part: &Part) -> Result<String, Error> {
    let mut all = Sha256::new();
    for file in part.rows.files() {
        interrupt::check()?;
        let mut sum = Sha256::new();
        let mut stream = match tree.stream(file) {
            Ok(stream) => stream,
            // The row's own reading says what is wrong with it.
            Err(_) if matches!(part.rows, crate::rows::Rows::Files { .. }) => continue,
            Err(error) => return Err(error),
        };
        let mut buffer = vec![0; 1 << 18];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(n) => sum.update(&buffer[..n]),
            }
        }
        all.update(sum.finalize());
    }
    Ok(format!("{:x}", all.finalize()))
}

/// The parts that `options` ask for.
fn chosen(source: &dyn Source, options: &ImportOptions, tree: &Tree) -> Result<Vec<Part>, Error> {
    if options.limit == Some(0) {
        return Err(Error::Config(
            "limit = 0 imports nothing; leave it out for all rows".into(),
        ));
    }
    let mut parts = find_parts(source, tree)?;
    for wanted in &options.splits {
        if !parts.iter().any(|p| p.split == *wanted) {
            let mut found: Vec<&str> = parts.iter().map(|p| p.split.as_str()).collect();
            found.dedup();
            return Err(Error::NoSplit {
                root: tree.root().to_owned(),
                title: source.about().title.to_owned(),
                wanted: wanted.clone(),
                found: found.join(", "),
            });
        }
    }
    parts.retain(|p| {
        if options.splits.is_empty() {
            p.by_default
        } else {
            options.splits.contains(&p.split)
        }
    });
    Ok(parts)
}

/// What the reading thread hands over.
enum Cut<'a> {
    Rows(&'a Part, Vec<Row>),
    /// The file stops being of its format after so many rows.
    Broken(&'a Part, PathBuf, u64, String),
}

/// Chunks that may wait for their turn.
const AHEAD: usize = 2;

/// One thread cuts the files into rows while the others say what the rows mean.
fn read_parts(parts: &[Part], limit: Option<usize>, tables: &mut Tables<'_>) -> Result<(), Error> {
    let tree = tables.tree;
    let sizes = parts.iter().flat_map(|p| p.rows.files());
    let bytes: u64 = sizes.map(|file| tree.size(file)).sum();
    let whole = progress::bar("import", bytes >> 10, "KB of rows");
    let bar = &whole;
    tables.left = limit.unwrap_or(usize::MAX);
    let limit = tables.left;
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        let reader = scope.spawn(move || cut(tree, parts, limit, bar, &sender));
        let mut outcome = Ok(());
        for cut in &receiver {
            outcome = match cut {
                Cut::Rows(part, rows) => tables.add(part, &rows),
                Cut::Broken(part, path, rows, detail) => tables.broken(part, &path, rows, &detail),
            };
            if outcome.is_err() || tables.left == 0 {
                break;
            }
        }
        // The reader stops where nobody takes its rows any more.
        drop(receiver);
        match reader.join() {
            Ok(read) => outcome.and(read),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    whole.finish();
    Ok(())
}

/// Cuts the parts into rows, a chunk at a time.
fn cut<'a>(
    tree: &Tree,
    parts: &'a [Part],
    limit: usize,
    bar: &progress::Bar,
    sender: &SyncSender<Cut<'a>>,
) -> Result<(), Error> {
    let mut seen_bytes = 0u64;
    for part in parts {
        let mut chunk: Vec<Row> = Vec::with_capacity(CHUNK);
        let (mut chunk_bytes, mut is_wanted) = (0, true);
        let outcome = rows(tree, part, &mut |row| {
            let before = seen_bytes >> 10;
            seen_bytes += row.bytes;
            chunk_bytes += row.bytes;
            bar.inc((seen_bytes >> 10) - before);
            chunk.push(row);
            // A row may hold no question of ours, or several, and a limit is of questions: the
            // receiver says when there are enough.
            if chunk.len() >= CHUNK.min(limit) || chunk_bytes > CHUNK_BYTES {
                interrupt::check()?;
                let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK));
                is_wanted = sender.send(Cut::Rows(part, full)).is_ok();
                chunk_bytes = 0;
            }
            Ok(if is_wanted {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        });
        let broken = match outcome {
            Ok(()) => None,
            Err(Error::Broken { path, rows, detail }) if rows > 0 => {
                Some(Cut::Broken(part, path, rows, detail))
            }
            Err(other) => return Err(other),
        };
        let rest = std::iter::once(Cut::Rows(part, chunk)).chain(broken);
        if !is_wanted || !rest.into_iter().all(|cut| sender.send(cut).is_ok()) {
            return Ok(());
        }
    }
    Ok(())
}

/// A picture that some row named before.
struct Known {
    read: Result<ReadPicture, Fault>,
    /// What it shows, until it is listed.
    scene: Option<String>,
    is_listed: bool,
}

/// A row's question, ready but for what only the rows before it can tell.
struct Ready {
    digest: u128,
    picture: usize,
    sample: Sample,
    family: Option<String>,
}

/// A record with its picture's [`crate::pictures::key`].
type Keyed = Result<(u128, Record), Fault>;

/// The stage's tables while they are written, and what must be remembered between chunks.
struct Tables<'a> {
    source: &'a dyn Source,
    tree: &'a Tree,
    pictures: Pictures<'a>,
    samples: TableWriter<Sample>,
    images: TableWriter<ImageRow>,
    rejects: TableWriter<Reject>,
    /// Positions in `read` by [`crate::pictures::key`].
    known: HashMap<u128, usize>,
    read: Vec<Known>,
    roots: BTreeMap<String, PathBuf>,
    /// Those of them that would have to be two folders.
    torn: BTreeSet<String>,
    listed: HashSet<String>,
    /// Digests of the ids that came before: the ids themselves would fill memory.
    ids: HashSet<u128>,
    /// How many more questions to take.
    left: usize,
    /// Questions by part, those that were rejected among them.
    seen: BTreeMap<String, u64>,
    by_split: BTreeMap<String, u64>,
    by_reason: BTreeMap<&'static str, u64>,
    warnings: Vec<String>,
}

/// What is wrong with a question, and the digest of its id where it has one.
type Faulty = (Option<u128>, Fault);

impl<'a> Tables<'a> {
    fn create(stage: &'a Stage, source: &'a dyn Source, tree: &'a Tree) -> Result<Self, Error> {
        let name = source.about().name;
        Ok(Tables {
            source,
            tree,
            pictures: Pictures::new(name, tree, stage.folder()),
            samples: TableWriter::create(&stage.path(SAMPLES))?,
            images: TableWriter::create(&stage.path(IMAGES))?,
            rejects: TableWriter::create(&stage.path(REJECTS))?,
            known: HashMap::new(),
            read: Vec::new(),
            roots: BTreeMap::from([(name.to_owned(), tree.root().to_owned())]),
            torn: BTreeSet::new(),
            listed: HashSet::new(),
            ids: HashSet::new(),
            left: usize::MAX,
            seen: BTreeMap::new(),
            by_split: BTreeMap::new(),
            by_reason: BTreeMap::new(),
            warnings: Vec::new(),
        })
    }

    /// Adds a chunk of rows, in order.
    fn add(&mut self, part: &Part, chunk: &[Row]) -> Result<(), Error> {
        let source = self.source;
        let records: Vec<Vec<Keyed>> = chunk
            .par_iter()
            .map(|row| match &row.text {
                Err(fault) => vec![Err(fault.clone())],
                Ok(text) => {
                    let raw = Raw {
                        key: &row.key,
                        text,
                        joined: row.joined.as_deref(),
                        image: row.image.as_deref(),
                    };
                    let records = source.records(part, &raw).into_iter();
                    records
                        .map(|r| r.map(|r| (crate::pictures::key(&r), r)))
                        .collect()
                }
            })
            .collect();
        self.read_pictures(&records)?;
        let (known, read) = (&self.known, &self.read);
        let questions: Vec<Vec<Result<Ready, Faulty>>> = records
            .into_par_iter()
            .map(|records| {
                let ready = |(key, record): (u128, Record)| {
                    let picture = known.get(&key).copied();
                    ready(source, record, picture.map(|at| (at, &read[at].read)))
                };
                records
                    .into_iter()
                    .map(|record| record.map_err(|fault| (None, fault)).and_then(ready))
                    .collect()
            })
            .collect();
        let (mut seen, mut accepted) = (0, 0);
        'chunk: for (row, questions) in chunk.iter().zip(questions) {
            for question in questions {
                if self.left == 0 {
                    break 'chunk;
                }
                self.left -= 1;
                seen += 1;
                let digest = match &question {
                    Ok(ready) => Some(ready.digest),
                    Err((digest, _)) => *digest,
                };
                if digest.is_some_and(|digest| self.ids.contains(&digest)) {
                    let detail = "a row of this name came before; that one is kept";
                    let fault = Fault::new("duplicate_id", detail);
                    self.reject(part, &row.key, fault)?;
                    continue;
                }
                match question {
                    Ok(ready) => {
                        accepted += 1;
                        self.accept(ready)?;
                    }
                    Err((_, fault)) => self.reject(part, &row.key, fault)?,
                }
            }
        }
        if seen > 0 {
            *self.seen.entry(part.label()).or_default() += seen;
        }
        if accepted > 0 {
            *self.by_split.entry(part.split.clone()).or_default() += accepted;
        }
        Ok(())
    }

    /// Reads the pictures that no row before named.
    fn read_pictures(&mut self, records: &[Vec<Keyed>]) -> Result<(), Error> {
        let fresh: BTreeMap<u128, &Record> = records
            .iter()
            .flatten()
            .filter_map(|r| r.as_ref().ok())
            .filter(|(key, _)| !self.known.contains_key(key))
            .map(|(key, record)| (*key, record))
            .collect();
        let pictures = &self.pictures;
        let tree = self.tree;
        let read: Vec<(u128, Result<ReadPicture, Fault>, Option<String>)> = fresh
            .into_par_iter()
            .map(|(key, record)| {
                // A stop must not wait for a chunk of large images.
                interrupt::check()?;
                let read = pictures.read(record)?;
                let scene = record.scene.as_ref().filter(|_| read.is_ok());
                Ok((key, read, scene.and_then(|told| told.scene(tree))))
            })
            .collect::<Result<_, Error>>()?;
        for (key, read, scene) in read {
            if let Ok(picture) = &read
                && let Some((component, root)) = &picture.root
            {
                match self.roots.get(component) {
                    None => drop(self.roots.insert(component.clone(), root.clone())),
                    Some(other) if other != root => drop(self.torn.insert(component.clone())),
                    Some(_) => {}
                }
            }
            self.known.insert(key, self.read.len());
            self.read.push(Known {
                read,
                scene,
                is_listed: false,
            });
        }
        Ok(())
    }

    fn accept(&mut self, ready: Ready) -> Result<(), Error> {
        let sample = ready.sample;
        self.ids.insert(ready.digest);
        let known = &mut self.read[ready.picture];
        if !known.is_listed {
            known.is_listed = true;
            if self.listed.insert(sample.image.path.clone()) {
                self.images.push(ImageRow {
                    image: sample.image.clone(),
                    source: sample.origin.source().to_owned(),
                    family: ready.family,
                    clarity: None,
                    clarity_score: None,
                    complexity: None,
                    complexity_score: None,
                    scene: known.scene.take(),
                })?;
            }
        }
        Ok(self.samples.push(sample)?)
    }

    fn broken(&mut self, part: &Part, path: &Path, rows: u64, detail: &str) -> Result<(), Error> {
        let detail = format!("the rest of the file cannot be read: {detail}");
        self.warnings.push(format!("{}: {detail}", path.display()));
        let fault = Fault::new("file_broken", detail);
        self.reject(part, &format!("after {rows} rows"), fault)
    }

    fn reject(&mut self, part: &Part, key: &str, fault: Fault) -> Result<(), Error> {
        *self.by_reason.entry(fault.reason).or_default() += 1;
        let file = part.rows.name();
        let detail = if file == key || matches!(part.rows, crate::rows::Rows::Files { .. }) {
            format!("{key}: {}", fault.detail)
        } else {
            format!("{file} row {key}: {}", fault.detail)
        };
        Ok(self.rejects.push(Reject {
            source: self.source.about().name.to_owned(),
            row: key.to_owned(),
            reason: fault.reason.to_owned(),
            detail,
        })?)
    }

    fn finish(
        self,
        stage: &Stage,
        parts: &[Part],
        limited: bool,
    ) -> Result<(Manifest, Vec<String>), Error> {
        let mut roots = self.roots;
        for component in self.torn {
            let read = self
                .read
                .iter()
                .filter_map(|known| known.read.as_ref().ok());
            let own = self.pictures.gather(&component, read)?;
            roots.insert(component, own);
        }
        let about = self.source.about();
        let mut manifest = Manifest::new(stage.key().clone());
        manifest.image_roots = roots;
        let samples = self.samples.finish()?;
        manifest.count("samples", samples);
        manifest.count("images", self.images.finish()?);
        manifest.count("rejects", self.rejects.finish()?);
        let mut warnings = self.warnings;
        if samples == 0 && self.by_reason.is_empty() {
            warnings.push(format!(
                "{} has files of rows, but no row in them",
                self.tree.root().display()
            ));
        } else if samples == 0 {
            let why: Vec<String> = self
                .by_reason
                .iter()
                .map(|(r, n)| format!("{n} {r}"))
                .collect();
            warnings.push(format!(
                "no row can be used ({}); {} says why for each",
                why.join(", "),
                stage.path(REJECTS).display()
            ));
        }
        let expected: BTreeMap<&str, u64> = about.expected.iter().copied().collect();
        let (mut short, mut published, mut here) = (Vec::new(), 0, 0);
        for part in parts {
            let label = part.label();
            let seen = self.seen.get(&label).copied().unwrap_or(0);
            if let Some(expected) = expected.get(label.as_str()).copied().filter(|n| seen < *n) {
                short.push(label);
                published += expected;
                here += seen;
            }
        }
        if !short.is_empty() && !limited {
            short.dedup();
            warnings.push(format!(
                "{here} of the {published} questions that {} {} published with are here",
                short.join(", "),
                if short.len() == 1 { "is" } else { "are" }
            ));
        }
        manifest.results = serde_json::json!({
            "root": self.tree.root().to_string_lossy(),
            "title": about.title,
            "task": about.task.name(),
            "samples_by_split": self.by_split,
            "questions_found": self.seen,
            "questions_expected": expected,
            "rejects_by_reason": self.by_reason,
            "licence": about.licence,
            "url": about.url,
            "citation": about.citation,
            "warnings": warnings,
        });
        Ok((manifest, warnings))
    }
}

/// The sample that a record is, with its picture where that was read. A fault keeps the digest of
/// the id, since the row may be a second one of its name.
fn ready(
    source: &dyn Source,
    record: Record,
    picture: Option<(usize, &Result<ReadPicture, Fault>)>,
) -> Result<Ready, Faulty> {
    let about = source.about();
    let id = match &record.whole {
        Some(whole) => whole.id.clone(),
        None => format!("{}:{}", about.name, record.row),
    };
    let digest = crate::pictures::digest(b"id:", &id);
    let (picture, read) = match picture {
        Some((at, Ok(read))) => (at, read),
        Some((_, Err(fault))) => return Err((Some(digest), fault.clone())),
        None => {
            let fault = Fault::new("image_unreadable", format!("{id}: not read"));
            return Err((Some(digest), fault));
        }
    };
    let image = read.image.clone();
    let family = record.family;
    let sample = match record.whole {
        Some(whole) => Sample { image, ..*whole },
        None => Sample {
            id,
            image,
            question: record.question,
            choices: record.choices,
            answer: record.answer,
            unit: record.unit,
            rationale: record.rationale,
            task: record.task.unwrap_or(about.task),
            language: record.language.into(),
            origin: Origin::Source {
                source: about.name.to_owned(),
                row: record.row,
            },
            template: Some(format!("{}/{}", about.name, record.template)),
        },
    };
    Ok(Ready {
        digest,
        picture,
        sample,
        family,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageFormat, RgbImage, RgbaImage};
    use sample::{Answer, read_table, sha256_hex};

    use super::*;
    use crate::find_source;

    fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn write(path: &Path, bytes: impl AsRef<[u8]>) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn run(
        name: &str,
        root: &Path,
        out: &Path,
        options: &ImportOptions,
    ) -> Result<Manifest, Error> {
        progress::set_quiet(true);
        import(find_source(name).unwrap(), options, root, out, false)
    }

    fn rejects(out: &Path) -> Vec<Reject> {
        read_table(&out.join(REJECTS)).unwrap()
    }

    fn problem(question: &str) -> String {
        format!(r#"{{"question": "{question}", "choices": null, "answer": "5", "unit": null}}"#)
    }

    #[test]
    fn every_kind_of_bad_row_is_a_reject_that_names_file_and_row() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        let good = png(RgbImage::new(20, 10));
        let images: Vec<(&str, Vec<u8>)> = vec![
            ("good", good.clone()),
            ("rgba", png(RgbaImage::new(20, 10))),
            (
                "deep",
                png(image::ImageBuffer::<image::Rgb<u16>, _>::new(20, 10)),
            ),
            ("cut", good[..good.len() - 20].to_vec()),
            ("empty", Vec::new()),
            ("dot", png(RgbImage::new(1, 1))),
            ("words", b"no image".to_vec()),
        ];
        let mut rows = String::from("{");
        for (name, bytes) in &images {
            write(&root.join(format!("tables/{name}.png")), bytes);
            rows.push_str(&format!("\"{name}\": {},", problem("How many?")));
        }
        write(&dir.path().join("out.png"), &good);
        for (name, row) in [
            ("gone", problem("How many?")),
            ("../../out", problem("How many?")),
            ("good", problem("Again?")),
            ("untyped", r#"{"question": 5, "answer": "5"}"#.into()),
            ("bare", r#"{"question": "How many?"}"#.into()),
            ("list", "[1]".into()),
        ] {
            rows.push_str(&format!("\"{name}\": {row},"));
        }
        let mut bytes = rows.into_bytes();
        bytes.extend_from_slice(b"\"latin\": {\"question\": \"caf\xE9\", \"answer\": \"5\"}}");
        write(&root.join("problems_train.json"), &bytes);
        let out = dir.path().join("out");
        let manifest = run("tabmwp", &root, &out, &ImportOptions::default()).unwrap();
        let expected = [
            ("cut", "image_broken"),
            ("empty", "image_empty"),
            ("dot", "image_too_small"),
            ("words", "image_broken"),
            ("gone", "image_missing"),
            ("../../out", "path_outside_root"),
            ("good", "duplicate_id"),
            ("untyped", "field_mistyped"),
            ("bare", "field_missing"),
            ("list", "row_not_object"),
            ("latin", "not_utf8"),
        ];
        let found = rejects(&out);
        let pairs: Vec<(&str, &str)> = found
            .iter()
            .map(|r| (r.row.as_str(), r.reason.as_str()))
            .collect();
        assert_eq!(pairs, expected);
        for reject in &found {
            assert!(reject.detail.contains("problems_train.json"), "{reject:?}");
            assert!(reject.detail.contains(&reject.row), "{reject:?}");
        }
        assert_eq!(manifest.counts["samples"], 3);
        assert_eq!(manifest.counts["images"], 3);
        assert_eq!(manifest.counts["rejects"], expected.len() as u64);
        let samples: Vec<Sample> = read_table(&out.join(SAMPLES)).unwrap();
        assert_eq!(samples[0].id, "tabmwp:good");
        assert_eq!(samples[0].answer, Answer::Integer(5));
        assert_eq!(samples[0].image.sha256, sha256_hex(&good));
        let file = sample::resolve_image(&out, &manifest.image_roots, &samples[0].image.path);
        assert_eq!(std::fs::read(file.unwrap()).unwrap(), good);
    }

    #[test]
    fn a_file_cut_short_keeps_the_rows_before_the_cut() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("tables/1.png"), png(RgbImage::new(20, 10)));
        let rows = format!("{{\"1\": {}, \"2\": {{\"quest", problem("How many?"));
        write(&dir.path().join("problems_dev.json"), rows);
        let out = dir.path().join("out");
        let manifest = run("tabmwp", dir.path(), &out, &ImportOptions::default()).unwrap();
        assert_eq!(
            (manifest.counts["samples"], manifest.counts["rejects"]),
            (1, 1)
        );
        assert_eq!(rejects(&out)[0].reason, "file_broken");
        assert!(!manifest.results["warnings"].as_array().unwrap().is_empty());

        write(&dir.path().join("problems_dev.json"), "[]");
        let error = run(
            "tabmwp",
            dir.path(),
            &dir.path().join("other"),
            &ImportOptions::default(),
        );
        let message = error.unwrap_err().to_string();
        assert!(
            message.contains("problems_dev.json") && message.contains("line 1"),
            "{message}"
        );
    }

    #[test]
    fn an_empty_source_gives_a_warning_and_noughts() {
        let dir = tempfile::tempdir().unwrap();
        write(
            &dir.path().join("data/train1/qa_pairs.json"),
            r#"{"qa_pairs": []}"#,
        );
        let out = dir.path().join("out");
        let manifest = run(
            "figureqa",
            &dir.path().join("data"),
            &out,
            &ImportOptions::default(),
        )
        .unwrap();
        assert_eq!(manifest.counts["samples"], 0);
        assert!(
            manifest.results["warnings"][0]
                .as_str()
                .unwrap()
                .contains("no row in them")
        );
    }

    #[test]
    fn splits_and_limits_choose_rows_and_unknown_splits_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        for split in ["train", "val"] {
            write(
                &root.join(split).join("png/a.png"),
                png(RgbImage::new(20, 10)),
            );
            for kind in ["human", "augmented"] {
                let row = r#"{"imgname": "a.png", "query": "How many?", "label": "4"}"#;
                write(
                    &root.join(split).join(format!("{split}_{kind}.json")),
                    format!("[{row},{row}]"),
                );
            }
        }
        let count = |out: &str, options: &ImportOptions| {
            run("chartqa", &root, &dir.path().join(out), options)
                .unwrap()
                .counts["samples"]
        };
        let val = ImportOptions {
            splits: vec!["val".into()],
            limit: None,
        };
        assert_eq!(count("all", &ImportOptions::default()), 8);
        assert_eq!(count("val", &val), 4);
        assert_eq!(
            count(
                "three",
                &ImportOptions {
                    splits: Vec::new(),
                    limit: Some(3)
                }
            ),
            3
        );
        let other = ImportOptions {
            splits: vec!["test".into()],
            limit: None,
        };
        let message = run("chartqa", &root, &dir.path().join("x"), &other)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("\"test\"") && message.contains("train, val"),
            "{message}"
        );
    }

    #[test]
    fn a_second_import_is_the_first_and_other_options_are_a_conflict() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("data");
        write(&root.join("tables/1.png"), png(RgbImage::new(20, 10)));
        write(
            &root.join("problems_dev.json"),
            format!("{{\"1\": {}}}", problem("How many?")),
        );
        let out = dir.path().join("out");
        let first = run("tabmwp", &root, &out, &ImportOptions::default()).unwrap();
        let bytes = std::fs::read(out.join(SAMPLES)).unwrap();
        std::fs::remove_file(out.join(REJECTS)).unwrap();
        let again = run("tabmwp", &root, &out, &ImportOptions::default()).unwrap();
        assert_eq!(again, first);
        assert!(
            !out.join(REJECTS).exists(),
            "a finished import must not be written again"
        );
        let limited = ImportOptions {
            splits: Vec::new(),
            limit: Some(1),
        };
        assert!(
            run("tabmwp", &root, &out, &limited)
                .unwrap_err()
                .to_string()
                .contains("--force")
        );

        // The same rows at another place: the manifest must say where they are now.
        let moved = dir.path().join("moved");
        std::fs::rename(&root, &moved).unwrap();
        let manifest = run("tabmwp", &moved, &out, &ImportOptions::default()).unwrap();
        assert_eq!(
            manifest.image_roots["tabmwp"],
            moved.canonicalize().unwrap()
        );
        assert_eq!(std::fs::read(out.join(SAMPLES)).unwrap(), bytes);
    }

    #[test]
    fn an_output_that_cannot_be_written_is_an_error_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("problems_dev.json"), "{}");
        write(&dir.path().join("file"), "");
        let out = dir.path().join("file/out");
        let message = run("tabmwp", dir.path(), &out, &ImportOptions::default())
            .unwrap_err()
            .to_string();
        assert!(message.contains("file/out"), "{message}");
    }

    #[test]
    fn published_rows_are_read_in_full() {
        let shared = std::env::var_os("MATH_LLAVA_SHARED").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
            std::path::PathBuf::from,
        );
        for (name, samples, images, rejects) in [
            ("figureqa", 7625, 596, 0),
            ("tabmwp", 800, 800, 0),
            ("chartqa", 660, 400, 0),
            ("super_clevr", 463, 5, 0),
            // One question has a character that was lost before publication.
            ("vqa_rad", 3063, 314, 1),
            ("iconqa", 120, 120, 0),
            ("geometry3k", 7, 7, 0),
            ("scienceqa", 130, 130, 0),
        ] {
            let root = shared.join("data/sources").join(name);
            if !root.is_dir() {
                println!("skipped: {} is not there", root.display());
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let manifest = run(name, &root, dir.path(), &ImportOptions::default()).unwrap();
            assert_eq!(
                manifest.counts["samples"], samples,
                "{name}: {:?}",
                manifest.results
            );
            assert_eq!(manifest.counts["images"], images, "{name}");
            assert_eq!(manifest.counts["rejects"], rejects, "{name}");
        }
    }
}
