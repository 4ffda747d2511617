//! Parquet files, as Hugging Face publishes data sets: images are structs of `bytes` and `path`, or
//! lists of these, or plain binary values.

use std::fs::File;
use std::path::Path;

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use serde_json::{Map, Value};

use super::row::{LONGEST_FIELD, Row, Weighed, broken};
use crate::Error;

/// Rows that are decoded together; images make rows large.
const BATCH: usize = 16;
/// Lists and structs deeper than this are left out.
const DEEPEST: usize = 6;

/// Reads all rows of a file.
///
/// # Errors
/// Where the file cannot be read, is no Parquet file, or breaks a limit of [`super::row`].
pub fn read(path: &Path) -> Result<Vec<Row>, Error> {
    let file = File::open(path).map_err(|e| sample::Error::io(path, e))?;
    let whole = |e: &dyn std::fmt::Display| Error::Data {
        path: path.to_owned(),
        detail: format!("not a readable Parquet file: {e}. Download it again"),
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(BATCH).build())
        .map_err(|e| whole(&e))?;
    let (mut rows, mut weighed) = (Vec::new(), Weighed::new(path));
    for batch in reader {
        let batch = batch.map_err(|e| broken(path, weighed.next(), &e))?;
        for at in 0..batch.num_rows() {
            let row = row(&batch, at).map_err(|detail| broken(path, weighed.next(), detail))?;
            weighed.add(&row)?;
            rows.push(row);
        }
    }
    Ok(rows)
}

fn row(batch: &RecordBatch, at: usize) -> Result<Row, String> {
    let mut row = Row::default();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let name = field.name();
        let before = row.images.len();
        images(column, at, DEEPEST, &mut |bytes| {
            row.images.push((name.clone(), bytes.into()));
        });
        if row.images.len() > before || is_binary(column.data_type()) {
            continue;
        }
        if let Some(value) = value(column, at, DEEPEST) {
            if value
                .as_str()
                .is_some_and(|text| text.len() > LONGEST_FIELD)
            {
                return Err(format!("{name:?} is longer than {LONGEST_FIELD} bytes"));
            }
            row.fields.insert(name.clone(), value);
        }
    }
    Ok(row)
}

fn is_binary(kind: &DataType) -> bool {
    matches!(
        kind,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    )
}

/// The images in a value: binary, a struct with binary `bytes`, or a list of either.
fn images(column: &ArrayRef, at: usize, depth: usize, each: &mut dyn FnMut(&[u8])) {
    if depth == 0 || column.is_null(at) {
        return;
    }
    let mut image = |bytes: &[u8]| {
        if !bytes.is_empty() {
            each(bytes);
        }
    };
    let items = match column.data_type() {
        DataType::Binary => return image(column.as_binary::<i32>().value(at)),
        DataType::LargeBinary => return image(column.as_binary::<i64>().value(at)),
        DataType::BinaryView => return image(column.as_binary_view().value(at)),
        DataType::Struct(_) => {
            if let Some(bytes) = column.as_struct().column_by_name("bytes")
                && is_binary(bytes.data_type())
            {
                images(bytes, at, depth - 1, each);
            }
            return;
        }
        DataType::List(_) => column.as_list::<i32>().value(at),
        DataType::LargeList(_) => column.as_list::<i64>().value(at),
        _ => return,
    };
    for at in 0..items.len() {
        images(&items, at, depth - 1, each);
    }
}

/// A value as JSON; `None` for what has no JSON form here.
fn value(column: &ArrayRef, at: usize, depth: usize) -> Option<Value> {
    if depth == 0 {
        return None;
    }
    if column.is_null(at) {
        return Some(Value::Null);
    }
    let one = |kind: &DataType| cast(&column.slice(at, 1), kind).ok();
    let list = |items: ArrayRef| {
        let values = (0..items.len()).map(|i| value(&items, i, depth - 1));
        values.collect::<Option<Vec<Value>>>().map(Value::Array)
    };
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(at).into()),
        DataType::LargeUtf8 => Some(column.as_string::<i64>().value(at).into()),
        DataType::Utf8View => Some(column.as_string_view().value(at).into()),
        DataType::Boolean => Some(column.as_boolean().value(at).into()),
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let one = one(&DataType::Int64)?;
            Some(one.as_primitive::<Int64Type>().value(0).into())
        }
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => {
            let one = one(&DataType::UInt64)?;
            Some(one.as_primitive::<UInt64Type>().value(0).into())
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let one = one(&DataType::Float64)?;
            Some(one.as_primitive::<Float64Type>().value(0).into())
        }
        DataType::Dictionary(_, values) => value(&one(values)?, 0, depth - 1),
        DataType::List(_) => list(column.as_list::<i32>().value(at)),
        DataType::LargeList(_) => list(column.as_list::<i64>().value(at)),
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(column.as_struct().columns());
            let object: Map<String, Value> = columns
                .filter_map(|(field, inner)| {
                    Some((field.name().clone(), value(inner, at, depth - 1)?))
                })
                .collect();
            Some(Value::Object(object))
        }
        _ => None,
    }
}

/// Writes a small file in the published layout, for tests of benchmarks that read it.
#[cfg(test)]
pub(crate) fn write(
    path: &Path,
    texts: &[(&str, Vec<Option<&str>>)],
    images: &[(&str, Vec<Option<&[u8]>>)],
) {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, StringArray, StructArray};
    use arrow::datatypes::Field;

    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for (name, values) in texts {
        columns.push((
            (*name).to_owned(),
            Arc::new(StringArray::from(values.clone())),
        ));
    }
    for (name, values) in images {
        let paths: Vec<Option<&str>> = values.iter().map(|v| v.map(|_| "a.png")).collect();
        let bytes = BinaryArray::from_opt_vec(values.clone());
        let parts: Vec<(Arc<Field>, ArrayRef)> = vec![
            (
                Arc::new(Field::new("bytes", DataType::Binary, true)),
                Arc::new(bytes),
            ),
            (
                Arc::new(Field::new("path", DataType::Utf8, true)),
                Arc::new(StringArray::from(paths)),
            ),
        ];
        columns.push(((*name).to_owned(), Arc::new(StructArray::from(parts))));
    }
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = File::create(path).unwrap();
    let properties = ::parquet::file::properties::WriterProperties::builder()
        .set_compression(::parquet::basic::Compression::SNAPPY)
        .build();
    let mut writer =
        ::parquet::arrow::ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, ListArray, StructArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::{Field, Int32Type};

    use super::*;

    #[test]
    fn images_of_structs_come_apart_from_the_values() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        write(
            &path,
            &[("id", vec![Some("one"), None])],
            &[
                ("image_1", vec![Some(b"PNG1"), Some(b"PNG2")]),
                ("image_2", vec![Some(b"PNG3"), None]),
            ],
        );
        let rows = read(&path).unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].text("id"), Some("one"));
        let names: Vec<&str> = rows[0]
            .images
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["image_1", "image_2"]);
        assert_eq!(
            rows[0].images_of("image_2").next().as_deref(),
            Some(&b"PNG3"[..])
        );
        assert_eq!(rows[1].fields["id"], Value::Null);
        assert_eq!(rows[1].images.len(), 1);
    }

    #[test]
    fn lists_numbers_and_lists_of_images_are_read() {
        let bytes: ArrayRef = Arc::new(arrow::array::BinaryArray::from_vec(vec![b"x", b"y", b"z"]));
        let field = Arc::new(Field::new("bytes", DataType::Binary, true));
        let images = StructArray::from(vec![(field, bytes)]);
        let item = Arc::new(Field::new("item", images.data_type().clone(), true));
        let images = ListArray::new(
            item,
            OffsetBuffer::from_lengths([2, 1]),
            Arc::new(images),
            None,
        );
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
            Some(vec![Some(1), Some(2)]),
            None,
        ]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("n", Arc::new(Int32Array::from(vec![Some(7), None]))),
            ("list", Arc::new(lists)),
            ("images", Arc::new(images)),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let first = row(&batch, 0).unwrap();
        assert_eq!(
            Value::Object(first.fields.clone()).to_string(),
            r#"{"n":7,"list":[1,2]}"#
        );
        let seen: Vec<Arc<[u8]>> = first.images_of("images").collect();
        assert_eq!(seen, [Arc::from(&b"x"[..]), Arc::from(&b"y"[..])]);
        assert_eq!(row(&batch, 1).unwrap().images.len(), 1);
    }

    #[test]
    fn what_is_no_parquet_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.parquet");
        for content in ["", "no parquet", "PAR1\u{0}\u{0}\u{0}\u{0}PAR1"] {
            std::fs::write(&path, content).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("b.parquet"), "{error}");
        }
        assert!(read(&dir.path().join("none.parquet")).is_err());
    }
}
