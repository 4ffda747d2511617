//! How graders saw the images, and what was held out, counted from tables a few columns at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::UInt8Type;
use sample::scan::Table;

use crate::pipeline::StageFolder;
use crate::{Error, Studio};

/// No more sources are told apart; the others are counted together.
const MOST_SOURCES: usize = 40;
/// What those are called.
const OTHERS: &str = "other sources";

/// Name to count.
pub(super) type Counts = BTreeMap<String, u64>;

/// Images by source: how clear they are, and how complex.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Grades {
    pub images: u64,
    pub clarity: BTreeMap<String, Counts>,
    pub complexity: BTreeMap<String, Counts>,
}

/// Questions that were set aside.
#[derive(Debug, Default, PartialEq)]
pub(super) struct HeldOut {
    pub questions: u64,
    pub sources: Counts,
    pub tasks: Counts,
}

impl Studio {
    /// The grades of a run's images before the selection: of the grading, else of the imports, whose sources
    /// may know.
    pub(super) fn grades(&self, stages: &[StageFolder]) -> Result<std::sync::Arc<Grades>, Error> {
        let of = |verb: &str| -> Vec<PathBuf> {
            let stages = stages
                .iter()
                .filter(|s| s.verb == verb && s.is_training_data());
            let stages = stages.filter(|s| s.manifest().is_some());
            let tables = stages.map(|s| s.path.join(sample::IMAGES));
            tables.filter(|table| table.is_file()).collect()
        };
        let graded = of("grade");
        let tables = if graded.is_empty() {
            of("import")
        } else {
            graded
        };
        let name: Vec<String> = tables.iter().map(|t| t.display().to_string()).collect();
        self.kept
            .of(&name.join(" "), &crate::kept::borrowed(&tables), || {
                let mut grades = Grades::default();
                for table in &tables {
                    add_grades(table, &mut grades)?;
                }
                Ok(grades)
            })
    }

    /// What a selection held out.
    pub(super) fn held_out(&self, select: &Path) -> Result<std::sync::Arc<HeldOut>, Error> {
        let table = select.join(select::HELDOUT);
        self.kept.of(&table.display().to_string(), &[&table], || {
            let mut found = HeldOut::default();
            if !table.is_file() {
                return Ok(found);
            }
            for batch in Table::open(&table)?.batches(&["source", "task"])? {
                let batch = batch?;
                found.questions += batch.num_rows() as u64;
                for row in 0..batch.num_rows() {
                    add(&mut found.sources, text(&batch, "source", row));
                    add(&mut found.tasks, text(&batch, "task", row));
                }
            }
            Ok(found)
        })
    }
}

fn add(counts: &mut Counts, name: &str) {
    let name = match counts.len() >= MOST_SOURCES && !counts.contains_key(name) {
        true => OTHERS,
        false => name,
    };
    *counts.entry(name.to_owned()).or_default() += 1;
}

fn add_grades(table: &Path, grades: &mut Grades) -> Result<(), Error> {
    for batch in Table::open(table)?.batches(&["source", "clarity", "complexity"])? {
        let batch = batch?;
        grades.images += batch.num_rows() as u64;
        for row in 0..batch.num_rows() {
            let source = text(&batch, "source", row);
            let clarity = match level(&batch, "clarity", row) {
                Some(0) => "not clear".to_owned(),
                Some(_) => "clear".to_owned(),
                None => "not graded".to_owned(),
            };
            let complexity = match level(&batch, "complexity", row) {
                Some(level) => format!("level {level}"),
                None => "not graded".to_owned(),
            };
            for (by_source, name) in [
                (&mut grades.clarity, clarity),
                (&mut grades.complexity, complexity),
            ] {
                let full = by_source.len() >= MOST_SOURCES && !by_source.contains_key(source);
                let source = if full { OTHERS } else { source };
                let counts = by_source.entry(source.to_owned()).or_default();
                *counts.entry(name).or_default() += 1;
            }
        }
    }
    Ok(())
}

fn text<'a>(batch: &'a RecordBatch, column: &str, row: usize) -> &'a str {
    let column = batch
        .column_by_name(column)
        .and_then(|c| c.as_string_opt::<i32>());
    match column {
        Some(column) if column.is_valid(row) => column.value(row),
        _ => "unnamed",
    }
}

fn level(batch: &RecordBatch, column: &str, row: usize) -> Option<u8> {
    let column = batch
        .column_by_name(column)?
        .as_primitive_opt::<UInt8Type>()?;
    column.is_valid(row).then(|| column.value(row))
}
