//! Tables written as their rows come out of a plan.
//!
//! **Invariant:** the same rows give the same bytes, whatever the sizes of the batches they come
//! in: they are cut anew, as [`sample::write_table`] cuts them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::BatchCoalescer;
use arrow::datatypes::SchemaRef;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::file::properties::WriterProperties;
use sample::{Reject, TableWriter};

use crate::Error;

/// As [`sample::write_table`] cuts them.
const ROWS_PER_BATCH: usize = 8_192;
/// Of tables that are read and deleted.
const ROWS_PER_GROUP: usize = 1 << 17;

/// Writes a Parquet table from batches, under a temporary name until [`BatchWriter::finish`].
pub(crate) struct BatchWriter {
    path: PathBuf,
    temporary: PathBuf,
    schema: SchemaRef,
    cutter: BatchCoalescer,
    writer: ArrowWriter<File>,
    written: u64,
}

impl BatchWriter {
    /// A table that stays.
    pub fn create(path: &Path, schema: SchemaRef) -> Result<Self, Error> {
        BatchWriter::with(path, schema, sample::table_properties(path)?)
    }

    /// A table that is read once or twice and deleted: not worth compressing. In short row groups, which
    /// several machines may read at once.
    pub fn passing(path: &Path, schema: SchemaRef) -> Result<Self, Error> {
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_max_row_group_row_count(Some(ROWS_PER_GROUP));
        BatchWriter::with(path, schema, properties.build())
    }

    fn with(path: &Path, schema: SchemaRef, properties: WriterProperties) -> Result<Self, Error> {
        let temporary = path.with_extension("parquet.tmp");
        let file = File::create(&temporary).map_err(|e| sample::Error::io(&temporary, e))?;
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
            .map_err(|e| sample::Error::format(path, e))?;
        Ok(BatchWriter {
            path: path.to_owned(),
            temporary,
            cutter: BatchCoalescer::new(schema.clone(), ROWS_PER_BATCH),
            schema,
            writer,
            written: 0,
        })
    }

    /// Adds rows; their columns must be those of the table, in its order.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        // A plan knows less about which columns are never empty than the table's schema says.
        let batch = RecordBatch::try_new(self.schema.clone(), batch.columns().to_vec())
            .map_err(|e| sample::Error::format(&self.path, e))?;
        self.cutter
            .push_batch(batch)
            .map_err(|e| sample::Error::format(&self.path, e))?;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Error> {
        while let Some(batch) = self.cutter.next_completed_batch() {
            self.writer
                .write(&batch)
                .map_err(|e| sample::Error::format(&self.path, e))?;
            self.written += batch.num_rows() as u64;
        }
        Ok(())
    }

    /// Ends the table, syncs it and gives it its name; returns the count of rows.
    pub fn finish(mut self) -> Result<u64, Error> {
        self.cutter
            .finish_buffered_batch()
            .map_err(|e| sample::Error::format(&self.path, e))?;
        self.flush()?;
        let file = self
            .writer
            .into_inner()
            .map_err(|e| sample::Error::format(&self.path, e))?;
        file.sync_all()
            .map_err(|e| sample::Error::io(&self.temporary, e))?;
        std::fs::rename(&self.temporary, &self.path)
            .map_err(|e| sample::Error::io(&self.path, e))?;
        Ok(self.written)
    }
}

/// The rejects table, written as rows are dropped, with their count by reason.
pub(crate) struct Rejects {
    path: PathBuf,
    writer: TableWriter<Reject>,
    /// How many were dropped, by reason.
    pub by_reason: BTreeMap<String, u64>,
}

impl Rejects {
    /// Starts the table.
    pub fn create(path: &Path) -> Result<Rejects, Error> {
        Ok(Rejects {
            path: path.to_owned(),
            writer: TableWriter::create(path)?,
            by_reason: BTreeMap::new(),
        })
    }

    /// Adds one row.
    pub fn push(
        &mut self,
        source: &str,
        row: &str,
        reason: &str,
        detail: String,
    ) -> Result<(), Error> {
        match self.by_reason.get_mut(reason) {
            Some(count) => *count += 1,
            None => drop(self.by_reason.insert(reason.to_owned(), 1)),
        }
        Ok(self.writer.push(Reject {
            source: source.to_owned(),
            row: row.to_owned(),
            reason: reason.to_owned(),
            detail,
        })?)
    }

    /// Ends the table; returns where it lies and its count of rows.
    pub fn finish(self) -> Result<(PathBuf, u64), Error> {
        Ok((self.path, self.writer.finish()?))
    }
}
