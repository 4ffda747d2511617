//! SQL over the tables of a run: read only, and of nothing but the run.
//!
//! Every finished stage's tables are there under the stage's name, `select_images`; those of the
//! imports under the source's, `import_tabmwp_samples`, and all imports' together, `import_samples`.
//! A name without a stage is the table of the furthest stage that has one: after the selection
//! `images` is `select_images`.
//!
//! **Invariant:** a query can neither write a file nor read one that is no table of the run: there
//! is no statement but a query, and no table but the registered ones.

mod catalogue;
mod print;

use std::io::Write;
use std::path::Path;
use std::time::Instant;

use datafusion::common::TableReference;
use datafusion::prelude::SQLOptions;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;

use crate::Error;
use crate::session::{Engine, Resources};

pub use catalogue::TableEntry;
pub use print::Format;

/// The tables of a run, ready for queries.
pub struct Tables {
    engine: Engine,
    entries: Vec<TableEntry>,
    unfinished: Vec<String>,
}

/// What came out of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Rows that were written.
    pub rows: usize,
    /// Whether there are more, which `limit` left out.
    pub more: bool,
}

impl Tables {
    /// Finds the tables below the run's folder, or those of one stage's folder.
    ///
    /// # Errors
    /// Where there is no finished stage, or one of its tables is no Parquet file.
    pub fn open(run: &Path, resources: &Resources) -> Result<Tables, Error> {
        let engine = Engine::interactive(resources)?;
        let (entries, unfinished) = catalogue::register(&engine, run)?;
        Ok(Tables {
            engine,
            entries,
            unfinished,
        })
    }

    /// The tables, by name.
    pub fn entries(&self) -> &[TableEntry] {
        &self.entries
    }

    /// Stages whose folder is there and not finished; their tables are not registered.
    pub fn unfinished(&self) -> &[String] {
        &self.unfinished
    }

    /// Takes functions away from queries, by name; those that are not there are left alone. For
    /// queries of strangers: a function that makes a long text of a short one is not counted against
    /// the memory that a query may have.
    pub fn forget(&self, functions: &[&str]) {
        for name in functions {
            self.engine.context.deregister_udf(name);
        }
    }

    /// Answers one query, writing its rows as they come; at most `limit` of them.
    ///
    /// # Errors
    /// Where it is not one query, names a table that is not there, cannot be planned or run, needs
    /// more memory than it may have, or `out` cannot be written.
    pub fn query(
        &self,
        sql: &str,
        format: Format,
        limit: Option<usize>,
        out: &mut dyn Write,
    ) -> Result<Answer, Error> {
        self.query_until(sql, format, limit, None, out)
    }

    /// As [`Tables::query`]; a query that is not answered by `until` is stopped.
    ///
    /// # Errors
    /// As [`Tables::query`], and where it takes longer.
    pub fn query_until(
        &self,
        sql: &str,
        format: Format,
        limit: Option<usize>,
        until: Option<Instant>,
        out: &mut dyn Write,
    ) -> Result<Answer, Error> {
        let context = &self.engine.context;
        let state = context.state();
        let dialect = state.config().options().sql_parser.dialect;
        let wrong = |e| Error::plan("the query", e);
        let statement = state.sql_to_statement(sql, &dialect).map_err(wrong)?;
        // Of other statements it would be beside the point: they are refused below.
        if matches!(&statement, Statement::Statement(s) if matches!(**s, ast::Statement::Query(_)))
        {
            for table in state.resolve_table_references(&statement).map_err(wrong)? {
                self.check_name(&table)?;
            }
        }
        let read_only = SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false);
        let plan = self
            .engine
            .wait("the query", state.statement_to_plan(statement))?;
        read_only.verify_plan(&plan).map_err(|e| {
            Error::Query(format!(
                "a run's tables can be queried and not changed ({}); write a SELECT",
                e.strip_backtrace()
            ))
        })?;
        let frame = self
            .engine
            .wait("the query", context.execute_logical_plan(plan))?;
        // One row over the limit tells whether there are more.
        let frame = match limit {
            Some(limit) => frame
                .limit(0, Some(limit.saturating_add(1)))
                .map_err(wrong)?,
            None => frame,
        };
        let mut printer = print::Printer::new(format, limit.unwrap_or(usize::MAX), out);
        let schema = self
            .engine
            .stream_until("the query", frame, until, |batch| printer.push(&batch))?;
        printer.finish(&schema)
    }

    /// Refuses a table that is not there, and says which are.
    fn check_name(&self, table: &TableReference) -> Result<(), Error> {
        let name = table.table();
        let known = |n: &str| self.entries.iter().any(|e| e.name == n);
        if table.schema() == Some("information_schema") && self.engine.here().is_some() {
            return Err(Error::Query(
                "the cluster knows nothing of information_schema, which is of this process: ask without \
                 the cluster, or list the tables"
                    .into(),
            ));
        }
        if known(name) || table.schema() == Some("information_schema") {
            return Ok(());
        }
        let mut message = format!("there is no table {name:?}");
        let distance = |e: &TableEntry| edits(name, &e.name);
        let nearest = self.entries.iter().min_by_key(|e| distance(e));
        if let Some(near) = nearest.filter(|e| distance(e) <= 3.max(name.len() / 3)) {
            message.push_str(&format!("; did you mean {:?}?", near.name));
        } else {
            message.push('.');
        }
        let names: Vec<&str> = self.entries.iter().map(|e| e.name.as_str()).collect();
        message.push_str(&format!(" There are: {}", names.join(", ")));
        if !self.unfinished.is_empty() {
            let unfinished = self.unfinished.join(", ");
            message.push_str(&format!(". Not finished, and so left out: {unfinished}"));
        }
        Err(Error::Query(message))
    }
}

/// How many letters must be put in, left out or replaced to make one word the other.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
