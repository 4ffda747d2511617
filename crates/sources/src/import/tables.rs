//! The tables of an import while they are written, and what must be remembered between chunks of rows.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sample::workers::{Workers, ask};
use sample::{
    IMAGES, ImageRow, Manifest, Origin, REJECTS, Reject, SAMPLES, Sample, Stage, TableWriter,
    interrupt,
};

use crate::Error;
use crate::adapters::{Fault, Part, Picture, Raw, Record, Source};
use crate::headers::{self, Header};
use crate::pictures::{Pictures, Read as ReadPicture};
use crate::rows::Row;
use crate::tree::Tree;

/// Workers get about so many pieces of a chunk, enough that the last ones do not wait for one.
const PIECES: usize = 64;
/// Files in a piece: asking takes some milliseconds, and so does looking at some dozens of files.
const SHORTEST_PIECE: usize = 64;
const LONGEST_PIECE: usize = 1024;

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
pub(super) struct Tables<'a> {
    source: &'a dyn Source,
    pub tree: &'a Tree,
    /// Who looks at image files, where it is not this process.
    workers: Option<&'a dyn Workers>,
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
    pub left: usize,
    /// Questions by part, those that were rejected among them.
    seen: BTreeMap<String, u64>,
    by_split: BTreeMap<String, u64>,
    by_reason: BTreeMap<&'static str, u64>,
    pub warnings: Vec<String>,
}

/// What is wrong with a question, and the digest of its id where it has one.
type Faulty = (Option<u128>, Fault);

impl<'a> Tables<'a> {
    pub fn create(
        stage: &'a Stage,
        source: &'a dyn Source,
        tree: &'a Tree,
        workers: Option<&'a dyn Workers>,
    ) -> Result<Self, Error> {
        let name = source.about().name;
        Ok(Tables {
            source,
            tree,
            workers,
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
    pub fn add(&mut self, part: &Part, chunk: &[Row]) -> Result<(), Error> {
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
        let mut fresh: BTreeMap<u128, &Record> = BTreeMap::new();
        for (key, record) in records.iter().flatten().filter_map(|r| r.as_ref().ok()) {
            if !self.known.contains_key(key) {
                // The first that names it, so that what is kept of it does not depend on the chunks.
                fresh.entry(*key).or_insert(record);
            }
        }
        let looked = match self.workers {
            Some(workers) => self.look_elsewhere(workers, &fresh)?,
            None => HashMap::new(),
        };
        let pictures = &self.pictures;
        let tree = self.tree;
        let read: Vec<(u128, Result<ReadPicture, Fault>, Option<String>)> = fresh
            .into_par_iter()
            .map(|(key, record)| {
                // A stop must not wait for a chunk of large images.
                interrupt::check()?;
                let read = pictures.read(record, looked.get(&key).cloned())?;
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

    /// Has workers look at the pictures that are files.
    fn look_elsewhere(
        &self,
        workers: &dyn Workers,
        fresh: &BTreeMap<u128, &Record>,
    ) -> Result<HashMap<u128, Result<Header, Fault>>, Error> {
        let files: Vec<(u128, &Record, String)> = fresh
            .iter()
            .filter_map(|(key, record)| Some((*key, *record, self.pictures.item(record)?)))
            .collect();
        let length = (files.len() / PIECES).clamp(SHORTEST_PIECE, LONGEST_PIECE);
        let pieces: Vec<&[(u128, &Record, String)]> = files.chunks(length).collect();
        let mut looked = HashMap::with_capacity(files.len());
        ask(
            workers,
            "import",
            &headers::ReadPicture,
            "",
            pieces.len(),
            &|piece| {
                Ok(pieces[piece]
                    .iter()
                    .map(|(.., file)| file.clone())
                    .collect())
            },
            &mut |piece, results| {
                for ((key, record, _), result) in pieces[piece].iter().zip(results) {
                    let shown = match &record.image {
                        Picture::File(path) => path.as_str(),
                        Picture::Bytes(name, _) | Picture::Choices(name, ..) => name.as_str(),
                    };
                    looked.insert(*key, headers::found(&result, shown)?);
                }
                Ok(())
            },
        )?;
        Ok(looked)
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

    pub fn broken(
        &mut self,
        part: &Part,
        path: &Path,
        rows: u64,
        detail: &str,
    ) -> Result<(), Error> {
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

    pub fn finish(
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
