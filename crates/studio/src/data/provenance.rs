//! What a run's stages found out about its images, together: where each lies, how it was graded, whether
//! it was held out, what looks the same, which benchmark has it too.
//!
//! A digest names an image; two stages may have different files of one path, so an image is shown only
//! where the file's bytes have the digest that was asked for.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, UInt8Type};
use sample::scan::Table;
use sample::{Manifest, PAIRS, SAMPLES, pixels, safe_join, sha256_hex};
use select::inspect::{CONTAMINATED_IMAGES, CONTAMINATED_QUESTIONS, NEAR};

use super::index::{Columns, value};
use super::listing::{self, StageFolder};
use super::opened::{Progress, Weight};
use crate::Error;

/// SHA-256 of an image's file.
pub(crate) type Digest = [u8; 32];

/// Reads a digest from hex.
pub(crate) fn digest(hex: &str) -> Option<Digest> {
    let bytes = hex.as_bytes();
    let mut out = [0; 32];
    let (pairs, rest) = bytes.as_chunks::<2>();
    if pairs.len() != out.len() || !rest.is_empty() {
        return None;
    }
    for (to, [high, low]) in out.iter_mut().zip(pairs) {
        let digit = |c: u8| {
            char::from(c)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        *to = digit(*high)? * 16 + digit(*low)?;
    }
    Some(out)
}

/// A digest in hex.
pub(crate) fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is known of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Facts {
    /// 1 clear, 0 not.
    pub clarity: Option<u8>,
    /// 0 (easy) to 3.
    pub level: Option<u8>,
    /// Set aside by the selection.
    pub held_out: bool,
    /// Taken by the selection.
    pub selected: bool,
    /// The last of its places.
    place: Option<u32>,
}

impl Facts {
    /// Its clarity for people.
    pub fn clarity_word(&self) -> Option<&'static str> {
        self.clarity
            .map(|clarity| if clarity == 0 { "unclear" } else { "clear" })
    }
}

/// Where an image may lie.
#[derive(Debug)]
struct Place {
    root: u16,
    path: Box<str>,
    before: Option<u32>,
}

/// Another file that shows the same picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Near {
    /// The other file.
    pub other: Digest,
    /// In how many bits of their perceptual hashes they differ.
    pub hamming: u8,
    /// How different they look, 0 to 255.
    pub distance: f64,
}

/// A benchmark that has it too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contaminated {
    /// The benchmark.
    pub benchmark: String,
    /// Its item, or its image.
    pub item: String,
    /// How it is the same: `exact`, `near`; for questions what the benchmark asks.
    pub how: String,
}

/// For the names of made pairs what speaks for them.
#[derive(Debug, Default)]
pub(crate) struct Verdicts(HashMap<String, &'static str>);

impl Verdicts {
    /// What speaks for a pair.
    pub fn of(&self, id: &str) -> Option<&'static str> {
        self.0.get(id).copied()
    }
}

/// What is known of a run's images.
#[derive(Debug, Default)]
pub(crate) struct Provenance {
    images: HashMap<Digest, Facts>,
    places: Vec<Place>,
    roots: Vec<PathBuf>,
    near: HashMap<Digest, Vec<Near>>,
    benchmark_images: HashMap<Digest, Vec<Contaminated>>,
    benchmark_questions: HashMap<String, Vec<Contaminated>>,
}

impl Weight for Provenance {
    fn bytes(&self) -> usize {
        let image = size_of::<Digest>() + size_of::<Facts>() + 16;
        let paths: usize = self
            .places
            .iter()
            .map(|place| place.path.len() + size_of::<Place>())
            .sum();
        let near: usize = self
            .near
            .values()
            .map(|near| 48 + near.len() * size_of::<Near>())
            .sum();
        self.images.len() * image
            + paths
            + near
            + (self.benchmark_questions.len() + self.benchmark_images.len()) * 300
    }
}

impl Provenance {
    /// Reads what the stages have.
    ///
    /// # Errors
    /// Where a table cannot be read.
    pub fn read(stages: &[StageFolder], progress: &Progress) -> Result<Provenance, Error> {
        let mut known = Provenance::default();
        for stage in stages {
            known.findings(&stage.path)?;
            let mut tables = listing::image_tables(stage);
            // An evaluation has questions and no table of their images.
            if tables.is_empty() {
                tables.extend(Some(stage.path.join(SAMPLES)).filter(|path| path.is_file()));
            }
            if tables.is_empty() {
                continue;
            }
            let mut roots = known.roots_of(stage)?;
            for path in tables {
                let table = Table::open(&path)?;
                progress.expect(table.rows());
                let columns = ["image", "image_sha256", "clarity", "complexity"];
                for batch in table.batches(&columns)? {
                    let batch = batch?;
                    known
                        .add(&batch, &path, stage, &mut roots)
                        .map_err(|e| sample::Error::format(&path, e))?;
                    progress.add(batch.num_rows() as u64);
                }
            }
        }
        Ok(known)
    }

    /// For each source the number of its folder of images; folders are the same where their paths are.
    fn roots_of(&mut self, stage: &StageFolder) -> Result<HashMap<String, u16>, Error> {
        let mut numbers = HashMap::new();
        for (source, root) in Manifest::read(&stage.path)?.image_roots {
            let root = stage.path.join(root);
            let root = root.canonicalize().unwrap_or(root);
            let at = match self.roots.iter().position(|known| *known == root) {
                Some(at) => at,
                None => {
                    self.roots.push(root);
                    self.roots.len() - 1
                }
            };
            if let Ok(at) = u16::try_from(at) {
                numbers.insert(source, at);
            }
        }
        Ok(numbers)
    }

    fn add(
        &mut self,
        batch: &RecordBatch,
        path: &Path,
        stage: &StageFolder,
        roots: &mut HashMap<String, u16>,
    ) -> Result<(), String> {
        let columns = Columns(batch);
        let (images, digests) = (columns.text("image")?, columns.text("image_sha256")?);
        let number = |name: &str| {
            let column = batch
                .column_by_name(name)?
                .as_primitive_opt::<UInt8Type>()?;
            Some(column)
        };
        let (clarity, level) = (number("clarity"), number("complexity"));
        let held_out = path.ends_with(select::HELDOUT_IMAGES);
        let selected = stage.name == "select" && !held_out;
        for row in 0..batch.num_rows() {
            let Some(digest) = value(Some(digests), row).and_then(digest) else {
                continue;
            };
            let facts = self.images.entry(digest).or_default();
            // A later stage knows more of an image than an earlier one.
            let said = |column: Option<&arrow::array::UInt8Array>| {
                let column = column.filter(|column| column.is_valid(row));
                column.map(|column| column.value(row))
            };
            facts.clarity = said(clarity).or(facts.clarity);
            facts.level = said(level).or(facts.level);
            facts.held_out |= held_out;
            facts.selected |= selected;
            let Some((source, below)) =
                value(Some(images), row).and_then(|path| path.split_once('/'))
            else {
                continue;
            };
            let Some(&root) = roots.get(source) else {
                continue;
            };
            let mut place = facts.place;
            while let Some(known) = place.and_then(|at| self.places.get(at as usize)) {
                if known.root == root && *known.path == *below {
                    break;
                }
                place = known.before;
            }
            if place.is_none() {
                let before = facts.place;
                facts.place = u32::try_from(self.places.len()).ok();
                self.places.push(Place {
                    root,
                    path: below.into(),
                    before,
                });
            }
        }
        Ok(())
    }

    /// What an inspection found, where the folder is one.
    fn findings(&mut self, folder: &Path) -> Result<(), Error> {
        each(&folder.join(NEAR), |batch| {
            let columns = Columns(batch);
            let (one, other) = (columns.text("image_sha256")?, columns.text("other_sha256")?);
            let hamming = batch
                .column_by_name("hamming")
                .and_then(|c| c.as_primitive_opt::<UInt8Type>());
            let distance = batch
                .column_by_name("distance")
                .and_then(|c| c.as_primitive_opt::<Float64Type>());
            let (hamming, distance) = hamming
                .zip(distance)
                .ok_or("has no columns \"hamming\" and \"distance\" of numbers")?;
            for row in 0..batch.num_rows() {
                let pair = value(Some(one), row)
                    .and_then(digest)
                    .zip(value(Some(other), row).and_then(digest));
                let Some((one, other)) = pair else {
                    continue;
                };
                for (from, to) in [(one, other), (other, one)] {
                    self.near.entry(from).or_default().push(Near {
                        other: to,
                        hamming: hamming.value(row),
                        distance: distance.value(row),
                    });
                }
            }
            Ok(())
        })?;
        each(&folder.join(CONTAMINATED_IMAGES), |batch| {
            let columns = Columns(batch);
            let (digests, benchmark) = (columns.text("image_sha256")?, columns.text("benchmark")?);
            let (item, image, kind) = (
                columns.text("item")?,
                columns.text("benchmark_image")?,
                columns.text("kind")?,
            );
            for row in 0..batch.num_rows() {
                let text = |column| value(Some(column), row).unwrap_or_default().to_owned();
                if let Some(digest) = value(Some(digests), row).and_then(digest) {
                    self.benchmark_images
                        .entry(digest)
                        .or_default()
                        .push(Contaminated {
                            benchmark: text(benchmark),
                            item: value(Some(item), row).map_or_else(|| text(image), str::to_owned),
                            how: text(kind),
                        });
                }
            }
            Ok(())
        })?;
        each(&folder.join(CONTAMINATED_QUESTIONS), |batch| {
            let columns = Columns(batch);
            let (id, benchmark) = (columns.text("id")?, columns.text("benchmark")?);
            let (item, asks) = (columns.text("item")?, columns.text("benchmark_question")?);
            for row in 0..batch.num_rows() {
                let text = |column| value(Some(column), row).unwrap_or_default().to_owned();
                self.benchmark_questions
                    .entry(text(id))
                    .or_default()
                    .push(Contaminated {
                        benchmark: text(benchmark),
                        item: text(item),
                        how: text(asks),
                    });
            }
            Ok(())
        })
    }

    /// What is known of the image.
    pub fn image(&self, digest: &Digest) -> Option<&Facts> {
        self.images.get(digest)
    }

    /// Files that show the same picture.
    pub fn near(&self, digest: &Digest) -> &[Near] {
        self.near.get(digest).map_or(&[], Vec::as_slice)
    }

    /// Benchmarks that have the image, and those that ask the question, by the sample's name.
    pub fn benchmarks(
        &self,
        image: Option<&Digest>,
        id: &str,
    ) -> (&[Contaminated], &[Contaminated]) {
        let images = image.and_then(|digest| self.benchmark_images.get(digest));
        let questions = self.benchmark_questions.get(id);
        (
            images.map_or(&[], Vec::as_slice),
            questions.map_or(&[], Vec::as_slice),
        )
    }

    /// The image's bytes, from the first place where a file has that digest.
    ///
    /// # Errors
    /// What is wrong with the image, for a person.
    pub fn bytes(&self, digest: &Digest) -> Result<Vec<u8>, String> {
        let facts = self
            .image(digest)
            .ok_or("no stage of this run has an image of that digest")?;
        let mut why = "no stage says where its file lies".to_owned();
        let mut place = facts.place;
        while let Some(here) = place.and_then(|at| self.places.get(at as usize)) {
            place = here.before;
            let Some(root) = self.roots.get(usize::from(here.root)) else {
                continue;
            };
            // The folder's place on this machine is nobody's business who only looks at pages.
            let Ok(file) = safe_join(root, &here.path) else {
                why = format!("its path {:?} leads out of its folder", here.path);
                continue;
            };
            match pixels::read_bytes(&file) {
                Ok(bytes) if sha256_hex(&bytes) == hex(digest) => return Ok(bytes),
                Ok(_) => {
                    why = format!("the file {:?} has changed since it was imported", here.path)
                }
                Err(fault) => why = format!("{:?}: {fault}", here.path),
            }
        }
        Err(why)
    }

    /// What speaks for each pair of a stage.
    ///
    /// # Errors
    /// Where its table of pairs cannot be read.
    pub fn verdicts(&self, stage: &StageFolder) -> Result<Verdicts, Error> {
        const WORDS: [&str; 5] = ["proven", "agreed", "inherited", "form", "rejected"];
        let mut verdicts = Verdicts::default();
        each_of(&stage.path.join(PAIRS), &["id", "verdict"], |batch| {
            let columns = Columns(batch);
            let (ids, words) = (columns.text("id")?, columns.text("verdict")?);
            for row in 0..batch.num_rows() {
                let word = value(Some(words), row).unwrap_or_default();
                let word = WORDS
                    .into_iter()
                    .find(|known| *known == word)
                    .unwrap_or("other");
                verdicts
                    .0
                    .insert(value(Some(ids), row).unwrap_or_default().to_owned(), word);
            }
            Ok(())
        })?;
        Ok(verdicts)
    }
}

fn each(path: &Path, read: impl FnMut(&RecordBatch) -> Result<(), String>) -> Result<(), Error> {
    each_of(path, &[], read)
}

/// Reads a table where there is one.
fn each_of(
    path: &Path,
    columns: &[&str],
    mut read: impl FnMut(&RecordBatch) -> Result<(), String>,
) -> Result<(), Error> {
    if !path.is_file() {
        return Ok(());
    }
    for batch in Table::open(path)?.batches(columns)? {
        read(&batch?).map_err(|e| sample::Error::format(path, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_sixty_four_hex_digits_and_nothing_else() {
        let text = "00ff".repeat(16);
        assert_eq!(hex(&digest(&text).unwrap()), text);
        for bad in [
            "",
            "00",
            &"0".repeat(63),
            &"0".repeat(65),
            &"g0".repeat(32),
            &"é".repeat(32),
        ] {
            assert_eq!(digest(bad), None, "{bad}");
        }
    }
}
