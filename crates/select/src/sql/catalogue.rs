//! Which tables a run has, and by what names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};

use crate::Error;
use crate::session::Engine;
use crate::tables::{Footer, footer, provider};

/// A table that a query can name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableEntry {
    /// Its name.
    pub name: String,
    /// How many rows it has.
    pub rows: usize,
    /// Its columns, with their types.
    pub columns: Vec<(String, String)>,
    /// The files it reads, below the run's folder.
    pub files: Vec<PathBuf>,
}

/// The stages in the order in which they follow each other; a name without a stage is that of the
/// last of these that has the table.
const ORDER: [&str; 8] = [
    "import", "inspect", "grade", "select", "synth", "train", "eval", "report",
];

/// How many folders below the run's a stage may lie: `import/tabmwp` is two.
const DEPTH: usize = 3;

/// Registers the tables of all finished stages below `run`; returns them by name, and the stages
/// that are not finished.
pub(super) fn register(
    engine: &Engine,
    run: &Path,
) -> Result<(Vec<TableEntry>, Vec<String>), Error> {
    let mut found = Found::default();
    let folder = run.canonicalize().map_err(|e| sample::Error::io(run, e))?;
    look(&folder, &mut Vec::new(), &mut found)?;
    if found.tables.is_empty() {
        let unfinished = match found.unfinished.as_slice() {
            [] => String::new(),
            some => format!("; not finished: {}", some.join(", ")),
        };
        return Err(Error::Query(format!(
            "{} has no table of a finished stage{unfinished}. Give the folder of a run, or of one \
             stage",
            run.display()
        )));
    }
    let mut by_name: BTreeMap<String, Vec<(PathBuf, Footer)>> = BTreeMap::new();
    let mut furthest: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (stage, table, path) in found.tables {
        let below = path.strip_prefix(&folder).unwrap_or(&path).to_owned();
        let first = stage.first().map_or("", String::as_str);
        let mut names = vec![name(&stage, &table)];
        // All imports together; a stage's own folder has its tables without a prefix.
        if first == "import" && stage.len() > 1 {
            names.push(format!("import_{table}"));
        }
        let order = ORDER.iter().position(|s| *s == first);
        if let Some(order) = order {
            let whole = format!("{first}_{table}");
            let at = furthest
                .entry(table.clone())
                .or_insert((order, whole.clone()));
            if order > at.0 {
                *at = (order, whole);
            }
        }
        for name in names {
            let read = (below.clone(), footer(&path)?);
            by_name.entry(name).or_default().push(read);
        }
    }
    let mut entries = Vec::new();
    for (name, files) in by_name {
        let (files, footers): (Vec<PathBuf>, Vec<Footer>) = files.into_iter().unzip();
        let schema = merged(&footers)?;
        let table = provider(engine, &footers, &schema)?;
        let rows = footers.iter().map(|f| f.rows).sum();
        let mut names = vec![name.clone()];
        names.extend(
            furthest
                .iter()
                .filter(|(_, (_, whole))| *whole == name)
                .map(|(plain, _)| plain.clone()),
        );
        for name in names {
            engine.provide(&name, table.clone())?;
            entries.push(TableEntry {
                name,
                rows,
                columns: columns(&schema),
                files: files.clone(),
            });
        }
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok((entries, found.unfinished))
}

#[derive(Default)]
struct Found {
    /// The names of the folders below the run's, the table, the file.
    tables: Vec<(Vec<String>, String, PathBuf)>,
    unfinished: Vec<String>,
}

/// Looks into a folder and those below it.
fn look(folder: &Path, stage: &mut Vec<String>, found: &mut Found) -> Result<(), Error> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| sample::Error::io(folder, e))? {
        paths.push(entry.map_err(|e| sample::Error::io(folder, e))?.path());
    }
    paths.sort();
    let tables: Vec<&PathBuf> = paths
        .iter()
        .filter(|p| p.is_file() && p.extension().is_some_and(|e| e == "parquet"))
        .collect();
    if !tables.is_empty() {
        if sample::Manifest::read_if_any(folder)?.is_some() {
            for path in tables {
                let table = path.file_stem().unwrap_or_default().to_string_lossy();
                found
                    .tables
                    .push((stage.clone(), word(&table), path.clone()));
            }
        } else if !stage.is_empty() {
            found.unfinished.push(stage.join("/"));
        }
    }
    if stage.len() == DEPTH {
        return Ok(());
    }
    for path in paths.iter().filter(|p| p.is_dir() && !p.is_symlink()) {
        let folder_name = path.file_name().unwrap_or_default().to_string_lossy();
        stage.push(word(&folder_name));
        look(path, stage, found)?;
        stage.pop();
    }
    Ok(())
}

/// A name as SQL takes it without quotes: small letters, digits and `_`.
fn word(name: &str) -> String {
    let letter = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '_'
        }
    };
    name.chars().map(letter).collect()
}

fn name(stage: &[String], table: &str) -> String {
    let parts: Vec<&str> = stage.iter().map(String::as_str).chain([table]).collect();
    parts.join("_")
}

/// The columns of all files; what only some have is empty in the others.
fn merged(footers: &[Footer]) -> Result<SchemaRef, Error> {
    let mut fields: Vec<FieldRef> = Vec::new();
    for footer in footers {
        for field in footer.schema.fields() {
            match fields.iter().find(|f| f.name() == field.name()) {
                None => fields.push(field.clone()),
                Some(known) if known.data_type() == field.data_type() => {}
                Some(known) => {
                    return Err(sample::Error::format(
                        &footer.path,
                        format!(
                            "column {:?} is {} here and {} in {}; do one of the imports again",
                            field.name(),
                            field.data_type(),
                            known.data_type(),
                            footers[0].path.display()
                        ),
                    )
                    .into());
                }
            }
        }
    }
    let everywhere = |name: &str| {
        footers.iter().all(|f| {
            let field = f.schema.field_with_name(name);
            field.is_ok_and(|field| !field.is_nullable())
        })
    };
    let fields: Vec<Field> = fields
        .iter()
        .map(|f| Field::new(f.name(), f.data_type().clone(), !everywhere(f.name())))
        .collect();
    Ok(Arc::new(Schema::new(fields)))
}

fn columns(schema: &SchemaRef) -> Vec<(String, String)> {
    let fields = schema.fields().iter();
    fields
        .map(|f| (f.name().clone(), f.data_type().to_string()))
        .collect()
}
