//! The images to select from, with their questions: read from the import folders, checked, and
//! freed from exact copies.
//!
//! **Invariant:** everything here is in the order of image path and question id, so that neither
//! the order of the inputs nor the thread count shows in the result.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sample::{
    IMAGES, ImageRow, Manifest, Reject, SAMPLES, Sample, interrupt, pixels, progress, read_table,
    rebase_root, resolve_image, sha256_hex,
};

use crate::Error;

/// An image with the questions about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The image.
    pub image: ImageRow,
    /// Its questions, by id.
    pub samples: Vec<Sample>,
}

/// Everything there is to select from.
#[derive(Debug, Default)]
pub struct Pool {
    /// Images by path.
    pub candidates: Vec<Candidate>,
    /// What was dropped on the way.
    pub rejects: Vec<Reject>,
    /// Source name to image folder, as seen from the folder the pool was read for.
    pub image_roots: BTreeMap<String, PathBuf>,
}

/// Reads the tables of the import folders; `seen_from` is the stage folder that image roots are
/// to be relative to.
pub fn read(inputs: &[PathBuf], seen_from: &Path) -> Result<Pool, Error> {
    let mut pool = Pool::default();
    let mut by_path: BTreeMap<String, Candidate> = BTreeMap::new();
    for folder in inputs {
        let manifest = Manifest::read(folder)?;
        for (source, root) in &manifest.image_roots {
            let root = rebase_root(folder, root, seen_from)?;
            if pool.image_roots.insert(source.clone(), root).is_some() {
                return Err(Error::Config(format!(
                    "{} and another input both hold images of {source}: import them into one",
                    folder.display()
                )));
            }
        }
        for image in read_table::<ImageRow>(&folder.join(IMAGES))? {
            let path = image.image.path.clone();
            by_path.insert(
                path,
                Candidate {
                    image,
                    samples: Vec::new(),
                },
            );
        }
        for sample in read_table::<Sample>(&folder.join(SAMPLES))? {
            match by_path.get_mut(&sample.image.path) {
                Some(candidate) => candidate.samples.push(sample),
                None => pool.rejects.push(Reject {
                    source: sample.origin.source().to_owned(),
                    row: sample.id,
                    reason: "image_not_listed".into(),
                    detail: format!(
                        "{}: {} is not in the images table",
                        folder.display(),
                        sample.image.path
                    ),
                }),
            }
        }
    }
    pool.candidates = by_path.into_values().collect();
    for candidate in &mut pool.candidates {
        candidate.samples.sort_by(|a, b| a.id.cmp(&b.id));
    }
    Ok(pool)
}

impl Pool {
    fn drop_image(&mut self, candidate: &Candidate, reason: &str, detail: String) {
        let questions = candidate.samples.len();
        self.rejects.push(Reject {
            source: candidate.image.source.clone(),
            row: candidate.image.image.path.clone(),
            reason: reason.to_owned(),
            detail: format!(
                "{}: {detail} ({questions} questions)",
                candidate.image.image.path
            ),
        });
    }

    /// Keeps the candidates for which `fault` has nothing to say.
    fn keep_without(&mut self, faults: impl Fn(&Candidate) -> Option<(&'static str, String)>) {
        for candidate in std::mem::take(&mut self.candidates) {
            match faults(&candidate) {
                Some((reason, detail)) => self.drop_image(&candidate, reason, detail),
                None => self.candidates.push(candidate),
            }
        }
    }

    /// Drops images that nobody asks anything about.
    pub fn drop_unasked(&mut self) {
        self.keep_without(|c| {
            c.samples
                .is_empty()
                .then(|| ("no_question", "no question is asked about it".into()))
        });
    }

    /// Drops images graded as blurred or poor.
    pub fn drop_unclear(&mut self) {
        self.keep_without(|c| {
            (c.image.clarity == Some(0)).then(|| ("unclear", "graded as not clear".into()))
        });
    }

    /// Decodes every image in full, and drops those that cannot be, or that changed since import.
    pub fn check_images(&mut self, folder: &Path) -> Result<(), Error> {
        let bar = progress::bar("check", self.candidates.len() as u64, "images");
        let roots = &self.image_roots;
        let faults: HashMap<String, (&'static str, String)> = self
            .candidates
            .par_iter()
            .map(|candidate| {
                interrupt::check()?;
                let fault = image_fault(folder, roots, &candidate.image);
                bar.inc(1);
                Ok(fault.map(|fault| (candidate.image.image.path.clone(), fault)))
            })
            .filter_map(Result::transpose)
            .collect::<Result<_, sample::Error>>()?;
        bar.finish();
        self.keep_without(|c| faults.get(&c.image.image.path).cloned());
        Ok(())
    }

    /// Keeps one of each set of images with the same bytes, the first by path. Its copies' questions
    /// are asked of it instead: what is true of the one is true of the other.
    pub fn merge_copies(&mut self) {
        let mut first: HashMap<String, usize> = HashMap::new();
        let mut kept: Vec<Candidate> = Vec::with_capacity(self.candidates.len());
        for candidate in std::mem::take(&mut self.candidates) {
            let sha256 = candidate.image.image.sha256.clone();
            let Some(&at) = first.get(&sha256) else {
                first.insert(sha256, kept.len());
                kept.push(candidate);
                continue;
            };
            let image = kept[at].image.image.clone();
            let detail = format!(
                "the same bytes as {}, which keeps its questions",
                image.path
            );
            self.drop_image(&candidate, "duplicate_image", detail);
            kept[at]
                .samples
                .extend(candidate.samples.into_iter().map(|s| Sample {
                    image: image.clone(),
                    ..s
                }));
            kept[at].samples.sort_by(|a, b| a.id.cmp(&b.id));
        }
        self.candidates = kept;
    }

    /// Of questions that are the same about the same image, keeps the first by id; where their
    /// answers differ, none, since nothing says which is true. Of sample ids that occur twice, the
    /// first is kept.
    pub fn drop_repeated_questions(&mut self) {
        let mut ids: HashMap<String, String> = HashMap::new();
        for candidate in &mut self.candidates {
            let mut same: BTreeMap<Asked, Vec<usize>> = BTreeMap::new();
            for (at, sample) in candidate.samples.iter().enumerate() {
                same.entry(Asked::of(sample)).or_default().push(at);
            }
            let samples = std::mem::take(&mut candidate.samples);
            for (at, sample) in samples.iter().enumerate() {
                let alike = same.get(&Asked::of(sample)).map_or(&[][..], Vec::as_slice);
                let other = alike
                    .iter()
                    .map(|i| &samples[*i])
                    .find(|o| o.answer != sample.answer);
                let (reason, detail) = if let Some(path) = ids.get(&sample.id) {
                    (
                        "duplicate_id",
                        format!("the id is taken by a question about {path}"),
                    )
                } else if let Some(other) = other {
                    let (own, its) = (sample.answer.text(), other.answer.text());
                    let detail = format!("answers {own:?}; {} asks the same, {its:?}", other.id);
                    ("contradicting_answer", detail)
                } else if let Some(first) = alike.first().filter(|first| **first < at) {
                    (
                        "duplicate_question",
                        format!("{} asks the same", samples[*first].id),
                    )
                } else {
                    ids.insert(sample.id.clone(), candidate.image.image.path.clone());
                    candidate.samples.push(sample.clone());
                    continue;
                };
                self.rejects.push(Reject {
                    source: sample.origin.source().to_owned(),
                    row: sample.id.clone(),
                    reason: reason.to_owned(),
                    detail,
                });
            }
        }
    }
}

/// What makes two questions about one image the same: words without their case and spacing,
/// choices and unit.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Asked(String, Vec<String>, Option<String>);

impl Asked {
    fn of(sample: &Sample) -> Asked {
        let words: Vec<&str> = sample.question.split_whitespace().collect();
        Asked(
            words.join(" ").to_lowercase(),
            sample.choices.clone(),
            sample.unit.clone(),
        )
    }
}

fn image_fault(
    folder: &Path,
    roots: &BTreeMap<String, PathBuf>,
    row: &ImageRow,
) -> Option<(&'static str, String)> {
    let file = match resolve_image(folder, roots, &row.image.path) {
        Ok(file) => file,
        Err(e) => return Some(("path_outside_root", e.to_string())),
    };
    let bytes = match pixels::read_bytes(&file) {
        Ok(bytes) => bytes,
        Err(fault) => return Some((fault.reason(), fault.to_string())),
    };
    if sha256_hex(&bytes) != row.image.sha256 {
        return Some((
            "image_changed",
            "its bytes are not those that were imported".into(),
        ));
    }
    pixels::decode(&bytes)
        .err()
        .map(|fault| (fault.reason(), fault.to_string()))
}
