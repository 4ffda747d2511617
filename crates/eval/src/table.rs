//! The table: our scores beside published ones, by task and skill.
//!
//! [`scoreboard`] makes it and [`Format`] says how it is written: Markdown for people, CSV for
//! spreadsheets, JSON for programs. Ours have Wilson's 95% interval; published rows have none, since
//! papers print none, and say where they come from.

mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;

use sample::benchmark::scoreboard::{BoardColumn, BoardRow, Breakdown, Cell, Scoreboard, Standing};
use sample::benchmark::{BenchmarkScore, Share};

use crate::published::{self, PublishedRow, PublishedTable, plain};
use crate::{Error, statistics};

pub use write::Format;

/// Without a published table, a dimension with more groups than this is not made columns of.
const MOST_GROUPS: usize = 16;
/// Nor are there more columns than this.
const MOST_COLUMNS: usize = 40;

/// What a table has besides our runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// Without the published rows.
    pub alone: bool,
    /// With the published rows of ablations, which are left out else.
    pub ablations: bool,
    /// A user's own rows: the file's name and text, in the form of the published ones.
    pub more: Option<(PathBuf, String)>,
}

/// Puts scores of one split of one benchmark beside the published rows, under the published table's
/// columns; where none is published, under the groups of the dimensions with few.
///
/// # Errors
/// No score, scores of different benchmarks or splits, or a file of rows that cannot be read.
pub fn scoreboard(scores: &[BenchmarkScore], options: &Options) -> Result<Scoreboard, Error> {
    let Some(first) = scores.first() else {
        return Err(Error::Table(
            "no score to print; give the folder of a finished benchmark run".to_owned(),
        ));
    };
    let same = |s: &&BenchmarkScore| {
        plain(&s.benchmark) == plain(&first.benchmark) && plain(&s.split) == plain(&first.split)
    };
    if let Some(other) = scores.iter().find(|s| !same(s)) {
        return Err(Error::Table(format!(
            "{} {} and {} {} do not compare; print a table of each",
            first.benchmark, first.split, other.benchmark, other.split
        )));
    }
    let table = published::find(&first.benchmark, &first.split);
    let columns = match table {
        Some(table) if !table.columns.is_empty() => published_columns(table, scores),
        _ => own_columns(scores),
    };
    let mut rows: Vec<BoardRow> = scores.iter().map(|s| our_row(s, &columns)).collect();
    let mut others: Vec<PublishedRow> = Vec::new();
    if let (Some(table), false) = (table, options.alone) {
        others.extend(table.rows()?);
    }
    if let Some((path, text)) = &options.more {
        // Without a published table a user's rows have the score over all questions alone.
        let (all, columns) = table.map_or(("ALL", &[][..]), |t| (t.all, t.columns));
        others.extend(published::rows(path, text, all, columns)?);
    }
    others.retain(|row| options.ablations || row.standing != Standing::Ablation);
    let order = |s: Standing| Standing::ALL.iter().position(|o| *o == s);
    others.sort_by_key(|row| order(row.standing));
    rows.extend(others.into_iter().map(|row| {
        BoardRow {
            cells: (0..columns.len())
                .map(|i| row.values.get(i).copied().flatten().map(Cell::published))
                .collect(),
            model: row.model,
            standing: row.standing,
            source: row.source,
            all: row.all.map(Cell::published),
            counts: String::new(),
            measures: BTreeMap::new(),
        }
    }));
    Ok(Scoreboard {
        benchmark: first.benchmark.clone(),
        split: first.split.clone(),
        columns,
        rows,
    })
}

/// The published columns; a dimension that our benchmark calls otherwise is found by its groups' names.
fn published_columns(table: &PublishedTable, scores: &[BenchmarkScore]) -> Vec<BoardColumn> {
    let columns = table.columns.iter();
    columns
        .map(|column| BoardColumn {
            code: column.code.to_owned(),
            dimension: scores
                .iter()
                .find_map(|s| dimension(s, column.dimension, column.name))
                .unwrap_or(column.dimension)
                .to_owned(),
            name: column.name.to_owned(),
        })
        .collect()
}

/// The dimension of a score that has the group: `wanted`, or another where `wanted` has none such.
fn dimension<'a>(score: &'a BenchmarkScore, wanted: &str, name: &str) -> Option<&'a str> {
    let has =
        |groups: &BTreeMap<String, Share>| groups.keys().any(|group| plain(group) == plain(name));
    let preferred = score.groups.get_key_value(wanted).filter(|(_, g)| has(g));
    preferred
        .or_else(|| score.groups.iter().find(|(_, g)| has(g)))
        .map(|(dimension, _)| dimension.as_str())
}

fn own_columns(scores: &[BenchmarkScore]) -> Vec<BoardColumn> {
    let mut columns: Vec<BoardColumn> = Vec::new();
    for (dimension, groups) in scores.iter().flat_map(|s| &s.groups) {
        if groups.len() > MOST_GROUPS || columns.len() + groups.len() > MOST_COLUMNS {
            continue;
        }
        for name in groups.keys() {
            let column = BoardColumn {
                code: name.clone(),
                dimension: dimension.clone(),
                name: name.clone(),
            };
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
    }
    columns
}

fn our_row(score: &BenchmarkScore, columns: &[BoardColumn]) -> BoardRow {
    let cell = |share: &Share| Cell::from(statistics::accuracy(share.correct, share.total));
    BoardRow {
        model: if score.model.is_empty() {
            "this run".to_owned()
        } else {
            score.model.clone()
        },
        standing: Standing::Ours,
        source: format!(
            "this run; extraction {}, dialect {}, rules {}",
            score.extraction, score.dialect, score.version
        ),
        all: Some(cell(&Share::new(score.correct, score.total))),
        cells: columns
            .iter()
            .map(|column| {
                let groups = score.groups.get(&column.dimension)?;
                let mut found = groups
                    .iter()
                    .filter(|(g, _)| plain(g) == plain(&column.name));
                found.next().map(|(_, share)| cell(share))
            })
            .collect(),
        counts: score.counts(),
        measures: score.measures.clone(),
    }
}

/// All of a score's groups with their intervals.
pub fn breakdown(score: &BenchmarkScore) -> Breakdown {
    let groups = |groups: &BTreeMap<String, Share>| {
        groups
            .iter()
            .map(|(name, s)| (name.clone(), statistics::accuracy(s.correct, s.total)))
            .collect()
    };
    Breakdown {
        overall: statistics::accuracy(score.correct, score.total),
        dimensions: score
            .groups
            .iter()
            .map(|(dimension, found)| (dimension.clone(), groups(found)))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
