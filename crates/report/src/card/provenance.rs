//! What went in: the sources with their licences, and the plan by which images were taken.

use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{UInt8Type, UInt64Type};
use sample::Manifest;
use sample::scan::Table;
use serde_json::Value;

use super::facts::{DataStage, Stages};
use super::tally::Tally;
use crate::Error;

/// One source, as its import's manifest and the tally have it.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    /// As it is printed.
    pub(crate) title: String,
    pub(crate) licence: Option<String>,
    pub(crate) url: Option<String>,
    pub(crate) citation: Option<String>,
    /// Questions its authors count, where the manifest says.
    pub(crate) expected: Option<u64>,
    /// Questions that were found in its files.
    pub(crate) found: Option<u64>,
    pub(crate) imported: u64,
    pub(crate) rejected: u64,
    /// Pairs and images that are in the run's last data stage.
    pub(crate) pairs: u64,
    pub(crate) images: u64,
}

/// A source that no import of the run speaks for has no licence here, and says so.
pub(crate) fn sources(found: &Stages, tally: &Tally) -> Vec<Source> {
    let mut sources: Vec<Source> = found.imports.iter().map(|s| source(s, tally)).collect();
    for (name, pairs) in &tally.sources {
        if !sources.iter().any(|s| s.name == *name) {
            sources.push(Source {
                name: name.clone(),
                title: name.clone(),
                licence: None,
                url: None,
                citation: None,
                expected: None,
                found: None,
                imported: 0,
                rejected: 0,
                pairs: *pairs,
                images: tally.source_images.get(name).copied().unwrap_or(0),
            });
        }
    }
    sources
}

fn source(stage: &DataStage, tally: &Tally) -> Source {
    let name = stage.label.rsplit('/').next().unwrap_or(&stage.label);
    let results = &stage.manifest.results;
    let said = |key: &str| {
        let text = results[key].as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let count = |key: &str| stage.manifest.counts.get(key).copied().unwrap_or(0);
    // Figures are no published data, so there is nobody to ask or to cite.
    let is_drawn = stage.manifest.key.config.get("figures").is_some();
    let drawn = |words: &str| is_drawn.then(|| words.to_owned());
    let pairs = |counts: &super::tally::Counts| counts.get(name).copied().unwrap_or(0);
    Source {
        name: name.to_owned(),
        title: said("title").unwrap_or_else(|| name.to_owned()),
        licence: said("licence").or_else(|| drawn("none needed: drawn by math-llava")),
        url: said("url"),
        citation: said("citation").or_else(|| drawn("Drawn by math-llava.")),
        expected: total(&results["questions_expected"]).or_else(|| total(&results["expected"])),
        found: total(&results["questions_found"]),
        imported: count("samples"),
        rejected: count("rejects"),
        pairs: pairs(&tally.sources),
        images: pairs(&tally.source_images),
    }
}

/// A count, or the sum of counts by split.
fn total(value: &Value) -> Option<u64> {
    match value {
        Value::Number(n) => n.as_u64(),
        Value::Object(parts) if !parts.is_empty() => parts.values().map(Value::as_u64).sum(),
        _ => None,
    }
}

/// What is taken of one level of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanRow {
    /// Missing for images without a grade.
    pub level: Option<u64>,
    /// The source.
    pub source: String,
    /// Images there are.
    pub available: u64,
    /// Images asked for.
    pub quota: u64,
    /// Images that were taken.
    pub taken: u64,
}

/// The selection's plan, from its table, or from its manifest where it has none.
pub(crate) fn plan(found: &Stages) -> Result<Vec<PlanRow>, Error> {
    match found.get("select") {
        Some(select) => plan_rows(&select.folder, &select.manifest),
        None => Ok(Vec::new()),
    }
}

/// The plan of the selection in `folder`, from its table, or from its manifest where it has none.
///
/// # Errors
/// Where the table cannot be read.
pub fn plan_rows(folder: &Path, manifest: &Manifest) -> Result<Vec<PlanRow>, Error> {
    let path = folder.join("plan.parquet");
    if !path.is_file() {
        let rows = manifest.results["plan"]["rows"].as_array();
        return Ok(rows.into_iter().flatten().filter_map(from_json).collect());
    }
    let mut plan = Vec::new();
    for batch in Table::open(&path)?.batches(&[])? {
        let batch = batch?;
        let missing = |name: &str| {
            sample::Error::format(
                &path,
                format!("has no column {name:?} of the kind it should be"),
            )
        };
        let number = |name: &str| {
            (batch.column_by_name(name))
                .and_then(|c| c.as_primitive_opt::<UInt64Type>())
                .ok_or_else(|| missing(name))
        };
        let level = (batch.column_by_name("level"))
            .and_then(|c| c.as_primitive_opt::<UInt8Type>())
            .ok_or_else(|| missing("level"))?;
        let source = (batch.column_by_name("source"))
            .and_then(|c| c.as_string_opt::<i32>())
            .ok_or_else(|| missing("source"))?;
        let (available, quota, taken) = (number("available")?, number("quota")?, number("taken")?);
        plan.extend((0..batch.num_rows()).map(|i| PlanRow {
            level: level.is_valid(i).then(|| level.value(i).into()),
            source: source.value(i).to_owned(),
            available: available.value(i),
            quota: quota.value(i),
            taken: taken.value(i),
        }));
    }
    Ok(plan)
}

fn from_json(row: &Value) -> Option<PlanRow> {
    Some(PlanRow {
        level: row["level"].as_u64(),
        source: row["source"].as_str()?.to_owned(),
        available: row["available"].as_u64()?,
        quota: row["quota"].as_u64()?,
        taken: row["taken"].as_u64()?,
    })
}
