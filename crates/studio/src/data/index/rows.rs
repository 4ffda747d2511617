//! One row of a Parquet table, read with as little of the file around it as there is.

use std::fs::File;
use std::io::{Cursor, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::reader::{ChunkReader, Length};
use sample::Row;

use crate::Error;

/// A table's file with its footer.
pub(super) struct Reader {
    path: PathBuf,
    file: Shared,
    metadata: ArrowReaderMetadata,
}

impl Reader {
    pub fn open(path: &Path) -> Result<Reader, Error> {
        let file = File::open(path).map_err(|e| sample::Error::io(path, e))?;
        let length = file
            .metadata()
            .map_err(|e| sample::Error::io(path, e))?
            .len();
        let file = Shared {
            file: Arc::new(file),
            length,
        };
        // Where the file says where its pages are, only those with the row are read.
        let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load(&file, options).map_err(|e| {
            sample::Error::format(path, format!("not a readable Parquet table: {e}"))
        })?;
        Ok(Reader {
            path: path.to_owned(),
            file,
            metadata,
        })
    }

    /// One row.
    pub fn row<R: Row>(&self, row: usize) -> Result<R, Error> {
        let wrong = |e: &dyn std::fmt::Display| Error::from(sample::Error::format(&self.path, e));
        let mut within = row;
        for (group, meta) in self.metadata.metadata().row_groups().iter().enumerate() {
            let rows = usize::try_from(meta.num_rows()).unwrap_or(0);
            if within >= rows {
                within -= rows;
                continue;
            }
            let only = vec![RowSelector::skip(within), RowSelector::select(1)];
            let mut batches = ParquetRecordBatchReaderBuilder::new_with_metadata(
                self.file.clone(),
                self.metadata.clone(),
            )
            .with_row_groups(vec![group])
            .with_row_selection(RowSelection::from(only))
            .build()
            .map_err(|e| wrong(&e))?;
            let batch = batches
                .next()
                .ok_or_else(|| wrong(&"a row that its footer counts is not there"))?;
            let batch = batch.map_err(|e| wrong(&e))?;
            let mut found = R::rows(&batch).map_err(|e| wrong(&e))?;
            return found
                .pop()
                .ok_or_else(|| wrong(&"a row that its footer counts is not there"));
        }
        Err(wrong(&format!("there is no row {row}")))
    }
}

/// A file that many threads read at places of their own; it has no position that they could share.
#[derive(Clone)]
struct Shared {
    file: Arc<File>,
    length: u64,
}

impl Length for Shared {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Shared {
    type T = Part;

    fn get_read(&self, start: u64) -> Result<Part, ParquetError> {
        Ok(Part {
            shared: self.clone(),
            at: start,
            ahead: Cursor::default(),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        if start
            .checked_add(length as u64)
            .is_none_or(|end| end > self.length)
        {
            return Err(ParquetError::EOF(
                "the file ends before its footer says".to_owned(),
            ));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// Read ahead by this.
const AHEAD: usize = 8_192;

/// The file from some place on.
struct Part {
    shared: Shared,
    at: u64,
    ahead: Cursor<Vec<u8>>,
}

impl Read for Part {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if out.len() >= AHEAD && self.ahead.position() >= self.ahead.get_ref().len() as u64 {
            let read = self.shared.file.read_at(out, self.at)?;
            self.at += read as u64;
            return Ok(read);
        }
        if self.ahead.position() >= self.ahead.get_ref().len() as u64 {
            let mut bytes = vec![0; AHEAD];
            let read = self.shared.file.read_at(&mut bytes, self.at)?;
            self.at += read as u64;
            bytes.truncate(read);
            self.ahead = Cursor::new(bytes);
        }
        self.ahead.read(out)
    }
}
