//! The inspection: every image of the imports looked at once, and what the looks tell.
//!
//! - `fingerprints.parquet`: each image's size, digest and perceptual hash, or why it cannot be used;
//! - `near.parquet`: files of different bytes that show the same picture, across sources too;
//! - `contaminated_images.parquet` and `contaminated_questions.parquet`: what a benchmark has too,
//!   where benchmark folders are given;
//! - `benchmark_questions.parquet`: what those benchmarks ask, for the questions that are made later;
//! - `decontamination.html` and `.md`: the same for a person, with both sides of every match.
//!
//! The selection reads these tables and opens no image.

pub mod benchmark;
mod contamination;
mod fingerprint;
mod grid;
mod hamming;
mod images;
mod near;
mod ngram;
mod page;
mod report;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sample::workers::Workers;
use sample::{
    BENCHMARK_QUESTIONS, BenchmarkQuestion, Manifest, Stage, StageKey, TableWriter, progress,
    rebase_root, write_table,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use contamination::Count;
pub use fingerprint::{Fingerprint, FingerprintImage, PerceptualHasher, look};
pub use grid::picture_distance;
pub use tables::{
    CONTAMINATED_IMAGES, CONTAMINATED_QUESTIONS, ContaminatedImage, ContaminatedQuestion,
    FINGERPRINTS, NEAR, NearPair, near_families,
};

use crate::Error;
use benchmark::{Benchmark, Listing};
use contamination::{Counts, ImageMatches};
use images::Images;

/// File name of the report as a page.
pub const REPORT: &str = "decontamination.html";
/// File name of the report in short.
pub const REPORT_SHORT: &str = "decontamination.md";
/// The folder of what is needed while the inspection runs, and to go on with it.
const UNFINISHED: &str = "unfinished";

/// What is said, and kept in the manifest, where no benchmark is given.
const NO_BENCHMARK: &str = "no benchmark folder is given: questions and images of MathVista, MMMU, \
    MATH-V, MathVerse or any other benchmark may be in the training data, and scores on them would \
    then say nothing. Give the folder of each benchmark you will score on";

/// The `[inspect]` part of a run's configuration.
///
/// The paper checks no images and removes nothing that benchmarks have; the limits were set by
/// measurement (`bench/runs`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InspectConfig {
    /// Two images are compared where their 64-bit perceptual hashes differ in at most so many bits.
    pub max_hamming: u32,
    /// They show the same picture where they look no more different than this, 0 to 255.
    pub max_distance: f64,
    /// Words in the n-grams by which questions are compared; questions of 5 words and more, but
    /// fewer than these, must be equal.
    pub ngram: usize,
    /// The share of a benchmark question's n-grams that make a question the same.
    pub min_overlap: f64,
    /// A wording that the data asks about more images than this is how a source asks, and no copy of
    /// the benchmark's problem: it is listed, and goes only where the image matches too. So is a
    /// wording of fewer words than an n-gram where the question's form (the sample's `template`) is
    /// that common.
    pub common_wording: usize,
    /// Matches of each kind that the report shows; the tables have all.
    pub report_pairs: usize,
}

impl Default for InspectConfig {
    fn default() -> Self {
        InspectConfig {
            max_hamming: 10,
            max_distance: 22.0,
            ngram: 8,
            min_overlap: 0.8,
            common_wording: 20,
            report_pairs: 40,
        }
    }
}

impl InspectConfig {
    fn check(&self) -> Result<(), Error> {
        let wrong = |what: String| Err(Error::Config(format!("inspect.{what}")));
        if self.max_hamming > 32 {
            return wrong(format!(
                "max_hamming = {}: unrelated images differ in about 32 of 64 bits; choose 0 to 32",
                self.max_hamming
            ));
        }
        if !(0.0..=255.0).contains(&self.max_distance) {
            return wrong(format!(
                "max_distance = {}: choose 0 to 255",
                self.max_distance
            ));
        }
        if !(2..=64).contains(&self.ngram) {
            return wrong(format!("ngram = {}: choose 2 to 64 words", self.ngram));
        }
        if !(self.min_overlap > 0.0 && self.min_overlap <= 1.0) {
            return wrong(format!(
                "min_overlap = {}: choose a share above 0, up to 1",
                self.min_overlap
            ));
        }
        Ok(())
    }
}

/// Inspects the images of the import folders, and compares them and their questions with the
/// benchmark folders, into the stage folder `out`.
///
/// # Errors
/// Where an import is not finished, a benchmark folder holds nothing that can be read, a setting
/// cannot be right, or `out` cannot be written. Single images become rows with a fault.
pub fn inspect(
    config: &InspectConfig,
    imports: &[PathBuf],
    benchmarks: &[PathBuf],
    out: &Path,
    force: bool,
) -> Result<Manifest, Error> {
    inspect_with(None, config, imports, benchmarks, out, force)
}

/// As [`inspect`]; the imports' images are looked at by `workers`, where there are some, which must find
/// them under the same paths. What is found is the same.
///
/// # Errors
/// As [`inspect`], and those of the workers; what they finished is kept.
pub fn inspect_with(
    workers: Option<&dyn Workers>,
    config: &InspectConfig,
    imports: &[PathBuf],
    benchmarks: &[PathBuf],
    out: &Path,
    force: bool,
) -> Result<Manifest, Error> {
    config.check()?;
    if imports.is_empty() {
        return Err(Error::Config("inspect: no import folder is given".into()));
    }
    if benchmarks.is_empty() {
        progress::note(&format!("warning: {NO_BENCHMARK}"));
    }
    let listings = list(benchmarks)?;
    let key = stage_key(config, imports, &listings)?;
    let unfinished = out.join(UNFINISHED);
    if !force && let Some(done) = Stage::finished(out, &key)? {
        remove_folder(&unfinished)?;
        return Ok(done);
    }
    let stage = Stage::begin(out, key, force)?;
    if force {
        remove_folder(&unfinished)?;
    }
    for table in [
        CONTAMINATED_IMAGES,
        CONTAMINATED_QUESTIONS,
        BENCHMARK_QUESTIONS,
    ] {
        remove_file(&stage.path(table))?;
    }
    let images = Images::read(imports)?;
    let benchmarks = listings
        .iter()
        .map(|listing| benchmark::read(listing, &unfinished.join("pictures")))
        .collect::<Result<Vec<_>, _>>()?;
    for benchmark in &benchmarks {
        for warning in &benchmark.warnings {
            progress::note(&format!("warning: {}: {warning}", benchmark.name));
        }
    }
    let looks = images.fingerprint(workers, &unfinished, &stage.path(FINGERPRINTS))?;
    let firsts = near::first_copies(&images, &looks);
    let pairs = near::pairs(config, &images, &looks, &firsts)?;
    let mut manifest = Manifest::new(stage.key().clone());
    manifest.image_roots = image_roots(&images, out)?;
    manifest.count("images", images.wanted.len() as u64);
    manifest.count("faults", looks.faults.values().sum());
    manifest.count("near", write_table(&stage.path(NEAR), &pairs.pairs)?);
    let mut files = vec![FINGERPRINTS, NEAR, REPORT, REPORT_SHORT];
    let mut counts = Counts::default();
    let mut undecided = pairs.undecided;
    let mut unreadable = BTreeMap::new();
    if !benchmarks.is_empty() {
        let matches = contamination::images(config, &benchmarks, &images, &looks)?;
        undecided += matches.undecided;
        write_matches(
            config,
            &stage,
            &benchmarks,
            &images,
            &matches,
            &mut counts,
            &mut manifest,
        )?;
        for (name, pictures) in matches.unreadable {
            unreadable.insert(name.to_owned(), pictures);
        }
        write_questions(&stage, &benchmarks)?;
        files.extend([
            CONTAMINATED_IMAGES,
            CONTAMINATED_QUESTIONS,
            BENCHMARK_QUESTIONS,
        ]);
    }
    manifest.count("undecided", undecided);
    manifest.results = results(&looks.faults, &benchmarks, &counts, &unreadable);
    report::write(&stage, config, &images, &benchmarks, &manifest)?;
    let done = stage.finish(manifest, &files)?;
    remove_folder(&unfinished)?;
    Ok(done)
}

fn write_matches(
    config: &InspectConfig,
    stage: &Stage,
    benchmarks: &[Benchmark],
    images: &Images,
    matches: &ImageMatches,
    counts: &mut Counts,
    manifest: &mut Manifest,
) -> Result<(), Error> {
    manifest.count(
        "contaminated_images",
        matches.write(images, &stage.path(CONTAMINATED_IMAGES), counts)?,
    );
    let table = stage.path(CONTAMINATED_QUESTIONS);
    manifest.count(
        "contaminated_questions",
        contamination::questions(config, benchmarks, images, matches, &table, counts)?,
    );
    let dropped = counts.0.values().map(|c| c.questions_dropped).sum();
    manifest.count("contaminated_questions_dropped", dropped);
    Ok(())
}

/// What the benchmarks ask, for stages that make questions.
fn write_questions(stage: &Stage, benchmarks: &[Benchmark]) -> Result<(), Error> {
    let mut table = TableWriter::create(&stage.path(BENCHMARK_QUESTIONS))?;
    for benchmark in benchmarks {
        for question in &benchmark.questions {
            table.push(BenchmarkQuestion {
                benchmark: benchmark.name.clone(),
                item: question.item.clone(),
                question: question.text.clone(),
            })?;
        }
    }
    table.finish()?;
    Ok(())
}

fn list(benchmarks: &[PathBuf]) -> Result<Vec<Listing>, Error> {
    let mut names = BTreeSet::new();
    let mut listings = Vec::new();
    for folder in benchmarks {
        let listing = Listing::read(folder)?;
        if !names.insert(listing.name.clone()) {
            return Err(Error::Config(format!(
                "two benchmark folders are called {}: results name them by their folder; rename one",
                listing.name
            )));
        }
        listings.push(listing);
    }
    listings.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listings)
}

fn stage_key(
    config: &InspectConfig,
    imports: &[PathBuf],
    listings: &[Listing],
) -> Result<StageKey, Error> {
    let config = serde_json::to_value(config).map_err(|e| Error::Config(e.to_string()))?;
    // Nothing here is drawn at random.
    let mut key = StageKey::new("inspect", 0, config);
    for (i, folder) in imports.iter().enumerate() {
        let name = folder
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let name = if key.inputs.contains_key(&name) {
            format!("{name}-{i}")
        } else {
            name
        };
        // Its own error says how to make a manifest where there is none.
        Manifest::read(folder)?;
        key = key.input(&name, &Manifest::digest(folder)?);
    }
    for listing in listings {
        key = key.input(&format!("benchmark {}", listing.name), &listing.digest());
    }
    Ok(key)
}

fn image_roots(images: &Images, out: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut roots = BTreeMap::new();
    for import in &images.imports {
        for (source, root) in &import.manifest.image_roots {
            roots.insert(source.clone(), rebase_root(&import.folder, root, out)?);
        }
    }
    Ok(roots)
}

fn results(
    faults: &BTreeMap<(String, String), u64>,
    benchmarks: &[Benchmark],
    counts: &Counts,
    unreadable: &BTreeMap<String, Vec<String>>,
) -> serde_json::Value {
    let mut by_reason: BTreeMap<&str, u64> = BTreeMap::new();
    for ((_, reason), n) in faults {
        *by_reason.entry(reason).or_default() += n;
    }
    let read: Vec<_> = benchmarks
        .iter()
        .map(|b| {
            let mut warnings = b.warnings.clone();
            if let Some(pictures) = unreadable.get(&b.name) {
                warnings.push(format!(
                    "{} images cannot be decoded and were compared by their bytes alone, {} the first",
                    pictures.len(),
                    pictures.first().map_or("", String::as_str)
                ));
            }
            json!({
                "name": b.name,
                "layouts": b.layouts,
                "questions": b.questions.len(),
                "images": b.pictures.len(),
                "warnings": warnings,
            })
        })
        .collect();
    let found: Vec<_> = counts
        .0
        .iter()
        .map(|((source, benchmark), count)| {
            json!({ "source": source, "benchmark": benchmark, "count": count })
        })
        .collect();
    let faults: Vec<_> = faults
        .iter()
        .map(|((source, reason), n)| json!({ "source": source, "reason": reason, "images": n }))
        .collect();
    json!({
        "faults_by_reason": by_reason,
        "faults": faults,
        "benchmarks": read,
        "contamination": found,
        "warning": if benchmarks.is_empty() { Some(NO_BENCHMARK) } else { None },
    })
}

fn remove_folder(folder: &Path) -> Result<(), Error> {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(sample::Error::io(folder, e).into()),
    }
}

fn remove_file(file: &Path) -> Result<(), Error> {
    match std::fs::remove_file(file) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(sample::Error::io(file, e).into()),
    }
}

#[cfg(test)]
mod tests;
