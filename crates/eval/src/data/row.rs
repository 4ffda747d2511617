//! A row of a published table: its values, and its images apart from them.
//!
//! Images are most of what a benchmark weighs, and come as structs of bytes and path (Parquet of
//! Hugging Face) or as base64 text (VLMEvalKit). Here they are the bytes of an image file either
//! way, shared and not copied when a question takes them.
//!
//! **Invariant:** a file has no more rows, fields and bytes than the limits here; beyond them it is an
//! error with the row's number, not memory.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::Error;

/// No table has more rows.
pub(super) const MOST_ROWS: usize = 1_000_000;
/// No value but an image is longer, in bytes.
pub(super) const LONGEST_FIELD: usize = 16 << 20;
/// No image file is larger, in bytes.
pub(super) const LARGEST_IMAGE: usize = 64 << 20;
/// All rows that are kept together are no larger, in bytes. The largest published split with images
/// (MMMU's test) has about 3 GiB.
pub(super) const LARGEST_TABLE: u64 = 8 << 30;

/// One row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// Its values by column, without its images; empty cells of text tables are left out.
    pub fields: Map<String, Value>,
    /// Its images with their columns' names, in the columns' order; a column of lists occurs once for
    /// each image in it.
    pub images: Vec<(String, Arc<[u8]>)>,
}

impl Row {
    /// A text value; none where there is no such column, it is empty, or it is no text.
    pub fn text(&self, column: &str) -> Option<&str> {
        self.fields.get(column).and_then(Value::as_str)
    }

    /// The images of a column.
    pub fn images_of<'a>(&'a self, column: &'a str) -> impl Iterator<Item = Arc<[u8]>> + 'a {
        self.images
            .iter()
            .filter(move |(name, _)| name == column)
            .map(|(_, bytes)| Arc::clone(bytes))
    }
}

/// Where a table breaks a limit or its own form; `row` counts from 1.
pub(super) fn broken(path: &Path, row: usize, detail: impl std::fmt::Display) -> Error {
    Error::Data {
        path: path.to_owned(),
        detail: format!("row {row}: {detail}"),
    }
}

/// What has been read so far, held against the limits.
pub(super) struct Weighed<'a> {
    path: &'a Path,
    rows: usize,
    bytes: u64,
}

impl<'a> Weighed<'a> {
    pub(super) fn new(path: &'a Path) -> Weighed<'a> {
        Weighed {
            path,
            rows: 0,
            bytes: 0,
        }
    }

    /// Counts one more row with these images.
    pub(super) fn add(&mut self, row: &Row) -> Result<(), Error> {
        self.rows += 1;
        if self.rows > MOST_ROWS {
            return Err(broken(
                self.path,
                self.rows,
                format!("a table has no more than {MOST_ROWS} rows; split it"),
            ));
        }
        for (column, image) in &row.images {
            if image.len() > LARGEST_IMAGE {
                return Err(broken(
                    self.path,
                    self.rows,
                    format!("the image in {column:?} is larger than {LARGEST_IMAGE} bytes"),
                ));
            }
            self.bytes += image.len() as u64;
        }
        self.bytes += row.fields.values().map(weight).sum::<u64>();
        if self.bytes > LARGEST_TABLE {
            return Err(broken(
                self.path,
                self.rows,
                format!("the table is larger than {LARGEST_TABLE} bytes; evaluate it in parts"),
            ));
        }
        if self.rows.is_multiple_of(256) {
            sample::interrupt::check()?;
        }
        Ok(())
    }

    /// The number of the row that is read next, from 1.
    pub(super) fn next(&self) -> usize {
        self.rows + 1
    }
}

fn weight(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(weight).sum::<u64>() + 16,
        Value::Object(map) => map.values().map(weight).sum::<u64>() + 16,
        _ => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_image(bytes: usize) -> Row {
        Row {
            images: vec![("image".to_owned(), vec![0; bytes].into())],
            ..Row::default()
        }
    }

    #[test]
    fn a_table_beyond_a_limit_is_an_error_with_its_row() {
        let path = Path::new("a.tsv");
        let full = |rows, bytes| Weighed { path, rows, bytes };
        for (mut weighed, row, wanted) in [
            (
                full(0, 0),
                with_image(LARGEST_IMAGE + 1),
                "row 1: the image",
            ),
            (full(MOST_ROWS, 0), Row::default(), "row 1000001: a table"),
            (
                full(6, LARGEST_TABLE - 9),
                with_image(10),
                "row 7: the table",
            ),
        ] {
            let error = weighed.add(&row).unwrap_err().to_string();
            assert!(
                error.starts_with("a.tsv: ") && error.contains(wanted),
                "{error}"
            );
        }
        assert!(full(6, LARGEST_TABLE - 10).add(&with_image(10)).is_ok());
        assert!(full(MOST_ROWS - 1, 0).add(&Row::default()).is_ok());
    }

    #[test]
    fn texts_count_toward_the_limit_however_deep_they_lie() {
        let mut row = Row::default();
        let value = serde_json::json!({"a": ["12345", {"b": "678"}]});
        row.fields.insert("x".to_owned(), value);
        let mut weighed = Weighed::new(Path::new("a"));
        weighed.add(&row).unwrap();
        assert!((8..100).contains(&weighed.bytes), "{}", weighed.bytes);
    }
}
