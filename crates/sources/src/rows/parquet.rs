//! Parquet files, as Hugging Face publishes data sets: one row group's batch in memory at a time.

use std::fs::File;
use std::ops::ControlFlow;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde_json::{Map, Value};

use super::json_lines::broken;
use super::{Each, Row};
use crate::Error;
use crate::tree::Tree;

/// Rows that are decoded together; images make rows large.
const BATCH: usize = 64;
/// A Parquet file inside an archive is held in memory; it may be this long, in bytes.
const MAX_MEMBER: u64 = 1 << 30;
/// Lists and structs deeper than this are left out.
const DEPTH: usize = 6;

/// Calls `each` with every row as a JSON object, named by its position. Binary values are left out
/// of it; the first column of images (`{"bytes", "path"}`, or plain binary) gives the row's image.
pub(super) fn rows(tree: &Tree, file: &str, each: &mut Each<'_>) -> Result<(), Error> {
    let reader = open(tree, file)?;
    let mut position = 0u64;
    for batch in reader {
        let batch = batch.map_err(|e| broken(tree, file, position, &e))?;
        for at in 0..batch.num_rows() {
            let row = row(&batch, at, position);
            position += 1;
            if each(row)? == ControlFlow::Break(()) {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn open(tree: &Tree, file: &str) -> Result<ParquetRecordBatchReader, Error> {
    let plain = tree
        .file(file)
        .map(|found| tree.root().join(found))
        .filter(|path| path.is_file());
    let reader = match plain {
        Some(path) => {
            let opened = File::open(&path).map_err(|e| sample::Error::io(&path, e))?;
            ParquetRecordBatchReaderBuilder::try_new(opened)
                .and_then(|b| b.with_batch_size(BATCH).build())
        }
        None => {
            let bytes = bytes::Bytes::from(tree.read(file, MAX_MEMBER)?);
            ParquetRecordBatchReaderBuilder::try_new(bytes)
                .and_then(|b| b.with_batch_size(BATCH).build())
        }
    };
    reader.map_err(|e| broken(tree, file, 0, &e))
}

fn row(batch: &RecordBatch, at: usize, position: u64) -> Row {
    let mut object = Map::new();
    let mut image = None;
    let mut bytes = 0;
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if image.is_none() {
            image = image_bytes(column, at);
        }
        if let Some(value) = value(column, at, DEPTH) {
            object.insert(field.name().clone(), value);
        }
    }
    let text = Value::Object(object).to_string();
    bytes += text.len() as u64 + image.as_ref().map_or(0, |b: &Vec<u8>| b.len() as u64);
    Row {
        key: position.to_string(),
        text: Ok(text),
        joined: None,
        image,
        bytes,
    }
}

/// The image in this column: binary, or a struct with binary `bytes`, or the first of a list of
/// these.
fn image_bytes(column: &ArrayRef, at: usize) -> Option<Vec<u8>> {
    if column.is_null(at) {
        return None;
    }
    let found = match column.data_type() {
        DataType::Binary => column.as_binary::<i32>().value(at).to_vec(),
        DataType::LargeBinary => column.as_binary::<i64>().value(at).to_vec(),
        DataType::BinaryView => column.as_binary_view().value(at).to_vec(),
        DataType::Struct(_) => return image_bytes(column.as_struct().column_by_name("bytes")?, at),
        DataType::List(_) => {
            let items = column.as_list::<i32>().value(at);
            return (!items.is_empty())
                .then(|| image_bytes(&items, 0))
                .flatten();
        }
        _ => return None,
    };
    (!found.is_empty()).then_some(found)
}

/// A value as JSON; `None` for what has no JSON form here.
fn value(column: &ArrayRef, at: usize, depth: usize) -> Option<Value> {
    if depth == 0 {
        return None;
    }
    if column.is_null(at) {
        return Some(Value::Null);
    }
    let list = |items: ArrayRef| -> Option<Value> {
        let values: Option<Vec<Value>> = (0..items.len())
            .map(|i| value(&items, i, depth - 1))
            .collect();
        values.map(Value::Array)
    };
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(at).into()),
        DataType::LargeUtf8 => Some(column.as_string::<i64>().value(at).into()),
        DataType::Utf8View => Some(column.as_string_view().value(at).into()),
        DataType::Boolean => Some(column.as_boolean().value(at).into()),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let one = cast(&column.slice(at, 1), &DataType::Int64).ok()?;
            Some(one.as_primitive::<Int64Type>().value(0).into())
        }
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            let one = cast(&column.slice(at, 1), &DataType::UInt64).ok()?;
            Some(one.as_primitive::<UInt64Type>().value(0).into())
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let one = cast(&column.slice(at, 1), &DataType::Float64).ok()?;
            Some(one.as_primitive::<Float64Type>().value(0).into())
        }
        DataType::Dictionary(..) => {
            let one = cast(&column.slice(at, 1), &DataType::Utf8).ok()?;
            value(&one, 0, depth)
        }
        DataType::List(_) => list(column.as_list::<i32>().value(at)),
        DataType::LargeList(_) => list(column.as_list::<i64>().value(at)),
        DataType::Struct(fields) => {
            let inner = column.as_struct();
            let pairs = fields.iter().zip(inner.columns());
            let object: Map<String, Value> = pairs
                .filter_map(|(field, column)| {
                    Some((field.name().clone(), value(column, at, depth - 1)?))
                })
                .collect();
            Some(Value::Object(object))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Int32Array, ListArray, StringArray, StructArray};
    use arrow::datatypes::{Field, Int32Type, Schema};
    use parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn rows_are_objects_with_their_images_apart() {
        let image = StructArray::from(vec![
            (
                Arc::new(Field::new("bytes", DataType::Binary, true)),
                Arc::new(BinaryArray::from_opt_vec(vec![Some(&b"PNG"[..]), None])) as ArrayRef,
            ),
            (
                Arc::new(Field::new("path", DataType::Utf8, true)),
                Arc::new(StringArray::from(vec![Some("a.png"), None])) as ArrayRef,
            ),
        ]);
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
            Some(vec![Some(1), Some(2)]),
            None,
        ]);
        let batch = RecordBatch::try_from_iter(vec![
            (
                "q",
                Arc::new(StringArray::from(vec!["one?", "two?"])) as ArrayRef,
            ),
            ("n", Arc::new(Int32Array::from(vec![Some(7), None]))),
            ("image", Arc::new(image)),
            ("list", Arc::new(lists)),
        ])
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let schema: Arc<Schema> = batch.schema();
        let mut writer = ArrowWriter::try_new(
            File::create(dir.path().join("a.parquet")).unwrap(),
            schema,
            None,
        )
        .unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        let mut seen = Vec::new();
        rows(&tree, "a.parquet", &mut |row| {
            seen.push((row.text.unwrap(), row.image));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        let first = r#"{"q":"one?","n":7,"image":{"path":"a.png"},"list":[1,2]}"#;
        assert_eq!(seen[0], (first.to_owned(), Some(b"PNG".to_vec())));
        assert_eq!(seen[1].1, None);
        assert!(seen[1].0.contains("\"n\":null"), "{}", seen[1].0);

        std::fs::write(dir.path().join("b.parquet"), "no parquet").unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        let error = rows(&tree, "b.parquet", &mut |_| Ok(ControlFlow::Continue(()))).unwrap_err();
        assert!(error.to_string().contains("b.parquet"), "{error}");
    }
}
