//! The stage: labels, training, measuring, grading; each kept where a stop would lose it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use sample::workers::Workers;
use sample::{
    IMAGES, ImageRow, Manifest, REJECTS, Reject, Stage, StageKey, file_sha256, progress,
    sha256_hex, write_atomic, write_table,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::grading::{By, JOURNAL, Outcome, grade_files};
use crate::label::Part;
use crate::measure::{Measured, Scored, grade, measure};
use crate::pool::Pool;
use crate::teacher::Teacher;
use crate::train::{Summary, remove_checkpoints, train};
use crate::worker::{Arguments, folder_sha256};
use crate::{Criterion, Error, GradeConfig, Grader, Grades, Label, LabelSource};
use crate::{csv_labels, grader, label, split, teacher};

/// File name of the labels table in the stage folder.
pub const LABELS: &str = "labels.parquet";
/// The trained grader's folder in the stage folder.
pub const MODEL: &str = "model";
/// What was trained and how good it is, in the grader's folder; written last.
const CARD: &str = "grader.json";

/// `grader.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Card {
    /// Digest of what the training depends on.
    key: String,
    /// Whether one tower serves both heads.
    shared_tower: bool,
    /// What was done.
    training: Summary,
    /// Counts of labels by origin.
    labels: BTreeMap<String, u64>,
    /// On held-out images.
    heldout: BTreeMap<String, Measured>,
    /// On images degraded in ways that training has not seen.
    heldout_kinds: BTreeMap<String, Measured>,
    /// Labelled images that could not be read.
    unreadable: Vec<Reject>,
}

/// Grades every image of the `imports` into the stage folder `out`: `images.parquet` holds their
/// rows, sorted by path, with both grades and scores. Trains the grader first (into `out/model`,
/// labels in `labels.parquet`), unless `config.model` names one.
///
/// A grade that a source states of its own image stays, unless `config.regrade`; its score is then
/// the probability that the grader gives it. An image that cannot be read has no grades, and a row
/// in `rejects.parquet`.
///
/// A finished stage with the same configuration, seed and inputs is returned as it is; one that was
/// stopped goes on, in training as in grading, and ends with the same bytes. `force` starts anew.
///
/// The manifest counts `images`, `graded`, `rejects`, `labels`, `heldout`.
///
/// # Errors
/// Settings or folders that cannot work; labels that cannot be learned from; a `teacher` that is
/// needed and missing, or fails; a stop.
pub fn run(
    config: &GradeConfig,
    seed: u64,
    imports: &[PathBuf],
    out: &Path,
    teacher: Option<Teacher<'_>>,
    force: bool,
) -> Result<Manifest, Error> {
    run_with(None, config, seed, imports, out, teacher, force)
}

/// As [`run`]; `workers`, where there are some, grade the images with the grader that this process trained or
/// was given. They must find its folder and the images under the same paths. The tables are the same.
///
/// # Errors
/// As [`run`], and those of the workers; what they finished is kept.
pub fn run_with(
    workers: Option<&dyn Workers>,
    config: &GradeConfig,
    seed: u64,
    imports: &[PathBuf],
    out: &Path,
    teacher: Option<Teacher<'_>>,
    force: bool,
) -> Result<Manifest, Error> {
    config.check()?;
    let key = stage_key(config, seed, imports, teacher)?;
    if !force && let Some(done) = Stage::finished(out, &key)? {
        return Ok(done);
    }
    let stage = Stage::begin(out, key, force)?;
    if force {
        remove_checkpoints(out)?;
        for leftover in [JOURNAL, &format!("{MODEL}/{CARD}")] {
            remove(&stage.path(leftover))?;
        }
    }
    let pool = Pool::read(imports, out)?;
    let key_text = serde_json::to_string(stage.key()).map_err(|e| Error::Config(e.to_string()))?;
    let digest = sha256_hex(key_text.as_bytes());
    let mut rejects: Vec<Reject> = Vec::new();
    let mut files = vec![IMAGES, REJECTS];
    let (mut results, mut labels) = (json!({}), Vec::new());
    let folder = match &config.model {
        Some(model) => {
            tch::set_num_threads(i32::try_from(config.threads).unwrap_or(i32::MAX));
            model.clone()
        }
        None => {
            let (found, refused) = gather(config, seed, &pool, teacher)?;
            labels = found;
            rejects.extend(refused);
            write_table(&stage.path(LABELS), &labels)?;
            files.push(LABELS);
            let card = trained(config, seed, &pool, &labels, &stage, &digest)?;
            rejects.extend(card.unreadable.iter().cloned());
            results = serde_json::to_value(&card).map_err(|e| Error::Config(e.to_string()))?;
            stage.path(MODEL)
        }
    };
    let (grader, arguments);
    let by = match workers {
        None => {
            grader = Grader::load(&folder, config.precision)?;
            By::Own(&grader)
        }
        Some(workers) => {
            arguments = Arguments::new(&folder, config.precision, config.threads)?;
            By::Workers(workers, &arguments)
        }
    };
    let rows = grade_pool(
        config,
        &pool,
        by,
        &stage,
        &digest,
        &mut rejects,
        &mut results,
    )?;
    write_table(&stage.path(IMAGES), &rows)?;
    rejects.sort_by(|a, b| (&a.source, &a.row, &a.reason).cmp(&(&b.source, &b.row, &b.reason)));
    rejects.dedup();
    write_table(&stage.path(REJECTS), &rejects)?;

    let mut manifest = Manifest::new(stage.key().clone());
    manifest.image_roots = pool.image_roots.clone();
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for reject in &rejects {
        *reasons.entry(&reject.reason).or_default() += 1;
    }
    results["rejects"] = json!(reasons);
    manifest.results = results;
    manifest.count("images", rows.len() as u64);
    let graded = rows
        .iter()
        .filter(|row| row.clarity_score.is_some())
        .count();
    manifest.count("graded", graded as u64);
    manifest.count("rejects", rejects.len() as u64);
    manifest.count("labels", labels.len() as u64);
    let held = labels.iter().filter(|l| l.part != Part::Train).count();
    manifest.count("heldout", held as u64);
    let weights: Vec<String> = Criterion::ALL
        .iter()
        .map(|c| format!("{MODEL}/{}/model.safetensors", c.name()))
        .collect();
    if config.model.is_none() {
        files.extend(weights.iter().map(String::as_str));
    }
    let manifest = stage.finish(manifest, &files)?;
    // Of no more use, and the states are three times the model's size.
    remove_checkpoints(out)?;
    remove(&out.join(JOURNAL))?;
    Ok(manifest)
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(sample::Error::io(path, e).into())
        }
        _ => Ok(()),
    }
}

fn stage_key(
    config: &GradeConfig,
    seed: u64,
    imports: &[PathBuf],
    teacher: Option<Teacher<'_>>,
) -> Result<StageKey, Error> {
    if imports.is_empty() {
        return Err(Error::Config("no import folder is given".to_owned()));
    }
    let value = serde_json::to_value(config).map_err(|e| Error::Config(e.to_string()))?;
    let mut key = StageKey::new("grade", seed, value);
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
    if let Some(model) = &config.model {
        for criterion in Criterion::ALL {
            let name = format!("model {}", criterion.name());
            key = key.input(&name, &folder_sha256(&model.join(criterion.name()))?);
        }
        return Ok(key);
    }
    if let Some(base) = &config.base {
        key = key.input("base", &folder_sha256(base)?);
    }
    match config.labels {
        LabelSource::Source => {}
        LabelSource::Csv => {
            let csv = config.csv.clone().unwrap_or_default();
            key = key.input("csv", &file_sha256(&csv)?);
        }
        LabelSource::Teacher => {
            let name = teacher.map_or("", |t| t.model.name());
            key = key.input("teacher", &sha256_hex(name.as_bytes()));
        }
    }
    Ok(key)
}

/// The labels, settled and split.
fn gather(
    config: &GradeConfig,
    seed: u64,
    pool: &Pool,
    teacher: Option<Teacher<'_>>,
) -> Result<(Vec<Label>, Vec<Reject>), Error> {
    let (found, mut rejects) = match config.labels {
        LabelSource::Source => {
            let labels = label::from_sources(&pool.distinct(), config.label_images, seed);
            (labels, Vec::new())
        }
        LabelSource::Csv => {
            let csv = config.csv.clone().unwrap_or_default();
            csv_labels::read(&csv, &pool.rows)?
        }
        LabelSource::Teacher => {
            let teacher = teacher.ok_or_else(|| {
                Error::Config("labels = \"teacher\": no teacher is configured".to_owned())
            })?;
            let drawn = label::draw(pool.distinct(), config.label_images, seed);
            let mut questions = Vec::new();
            for row in drawn {
                questions.push(teacher::Question {
                    row,
                    file: pool.file(row)?,
                });
            }
            teacher::label(teacher, &questions, config.retries, seed)?
        }
    };
    let (mut labels, conflicts) = label::settle(found);
    rejects.extend(conflicts);
    split::stratify(&mut labels, config.holdout, &config.heldout_kinds, seed);
    Ok((labels, rejects))
}

/// Trains and measures, unless `model/grader.json` says that this was done.
fn trained(
    config: &GradeConfig,
    seed: u64,
    pool: &Pool,
    labels: &[Label],
    stage: &Stage,
    digest: &str,
) -> Result<Card, Error> {
    let folder = stage.path(MODEL);
    let path = folder.join(CARD);
    if let Ok(text) = std::fs::read_to_string(&path)
        && let Ok(card) = serde_json::from_str::<Card>(&text)
        && card.key == digest
    {
        return Ok(card);
    }
    let trained = train(config, seed, pool, labels, stage.folder(), stage.key())?;
    let preprocessor = trained.preprocessor.clone();
    let grader = Grader::new(
        &trained.clarity,
        &trained.complexity,
        preprocessor.clone(),
        config.precision,
    )?;
    let mut origins: BTreeMap<String, u64> = BTreeMap::new();
    for label in labels {
        *origins.entry(label.origin.clone()).or_default() += 1;
    }
    let card = Card {
        key: digest.to_owned(),
        shared_tower: grader.is_shared(),
        training: trained.summary,
        labels: origins,
        heldout: measured(config, pool, labels, &grader, Part::HeldOut)?,
        heldout_kinds: measured(config, pool, labels, &grader, Part::HeldOutKind)?,
        unreadable: trained.rejects,
    };
    grader::save(
        &folder,
        &trained.clarity,
        &trained.complexity,
        &preprocessor,
    )?;
    let text = serde_json::to_string_pretty(&card).map_err(|e| sample::Error::format(&path, e))?;
    write_atomic(&path, format!("{text}\n").as_bytes())?;
    for (name, one) in &card.heldout {
        progress::note(&format!(
            "{name}: {:.1}% of {} held-out images graded as labelled (all alike: {:.1}%), \
             calibration error {:.3}",
            100.0 * one.accuracy,
            one.images,
            100.0 * one.majority,
            one.calibration_error
        ));
    }
    // Read back, so that what goes into the manifest is what a stage that goes on would put there:
    // numbers may lose their last bit on the way through text.
    serde_json::from_str(&text).map_err(|e| sample::Error::format(&path, e).into())
}

/// How good the grader is on the labels of one part.
fn measured(
    config: &GradeConfig,
    pool: &Pool,
    labels: &[Label],
    grader: &Grader,
    part: Part,
) -> Result<BTreeMap<String, Measured>, Error> {
    let rows: HashMap<&str, &ImageRow> = pool
        .rows
        .iter()
        .map(|row| (row.image.path.as_str(), row))
        .collect();
    let chosen: Vec<&Label> = labels.iter().filter(|l| l.part == part).collect();
    let files: Vec<Result<PathBuf, String>> = chosen
        .iter()
        .map(|label| match rows.get(label.image.as_str()) {
            Some(row) => pool.file(row).map_err(|e| e.to_string()),
            None => Err("no row".to_owned()),
        })
        .collect();
    let outcomes = grade_files(By::Own(grader), &files, config.grading_batch, None)?;
    let mut found = BTreeMap::new();
    for criterion in Criterion::ALL {
        let scored: Vec<Scored> = chosen
            .iter()
            .zip(&outcomes)
            .filter_map(|(label, outcome)| {
                let Outcome::Grades(grades) = outcome else {
                    return None;
                };
                Some(Scored {
                    label: label.get(criterion)?,
                    probabilities: grades.get(criterion).to_vec(),
                    kind: label.kind.clone(),
                })
            })
            .collect();
        if let Some(one) = measure(&scored, criterion.classes()) {
            found.insert(criterion.name().to_owned(), one);
        }
    }
    Ok(found)
}

/// Grades all images, each set of equal bytes once, and fills in the rows.
fn grade_pool(
    config: &GradeConfig,
    pool: &Pool,
    by: By<'_>,
    stage: &Stage,
    digest: &str,
    rejects: &mut Vec<Reject>,
    results: &mut serde_json::Value,
) -> Result<Vec<ImageRow>, Error> {
    let distinct = pool.distinct();
    let files: Vec<Result<PathBuf, String>> = distinct
        .iter()
        .map(|row| pool.file(row).map_err(|e| e.to_string()))
        .collect();
    let journal = stage.path(JOURNAL);
    let batch = config.grading_batch;
    let outcomes = grade_files(by, &files, batch, Some((&journal, digest)))?;
    let of_image: HashMap<&str, &Outcome> = distinct
        .iter()
        .map(|row| row.image.sha256.as_str())
        .zip(&outcomes)
        .collect();
    let mut agreement: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    let mut rows = pool.rows.clone();
    for row in &mut rows {
        match of_image.get(row.image.sha256.as_str()) {
            Some(Outcome::Grades(grades)) => fill(row, grades, config.regrade, &mut agreement),
            Some(Outcome::Fault { reason, detail }) => {
                (row.clarity, row.complexity) = (None, None);
                (row.clarity_score, row.complexity_score) = (None, None);
                rejects.push(Reject {
                    source: row.source.clone(),
                    row: row.image.path.clone(),
                    reason: reason.clone(),
                    detail: detail.clone(),
                });
            }
            None => {}
        }
    }
    let count = |get: fn(&ImageRow) -> Option<u8>, classes: usize| -> Vec<u64> {
        let mut counts = vec![0; classes];
        for class in rows.iter().filter_map(get) {
            if let Some(n) = counts.get_mut(usize::from(class)) {
                *n += 1;
            }
        }
        counts
    };
    results["graded"] = json!({
        "clarity": count(|r| r.clarity, 2),
        "complexity": count(|r| r.complexity, 4),
    });
    // Most of these images were trained on, where the sources' labels were.
    results["agreement_with_sources"] = json!(
        agreement
            .iter()
            .map(|(name, [same, all])| (*name, json!({"images": all, "same": same})))
            .collect::<BTreeMap<_, _>>()
    );
    Ok(rows)
}

fn fill(
    row: &mut ImageRow,
    grades: &Grades,
    regrade: bool,
    agreement: &mut BTreeMap<&str, [u64; 2]>,
) {
    let mut settle = |criterion: Criterion, stated: Option<u8>| -> u8 {
        let given = grade(grades.get(criterion));
        let Some(stated) = stated else { return given };
        let count = agreement.entry(criterion.name()).or_default();
        count[0] += u64::from(stated == given);
        count[1] += 1;
        if regrade { given } else { stated }
    };
    let clarity = settle(Criterion::Clarity, row.clarity);
    let complexity = settle(Criterion::Complexity, row.complexity);
    row.clarity = Some(clarity);
    row.clarity_score = Some(f64::from(grades.clarity[1]));
    row.complexity = Some(complexity);
    let score = grades.complexity.get(usize::from(complexity)).copied();
    row.complexity_score = score.map(f64::from);
}
