//! The records as Parquet tables, with flat columns that SQL can use.
//!
//! **Invariant:** the same rows give the same bytes: rows keep their order, row groups have a fixed
//! size, and nothing about the machine or the time goes into the file.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    UInt8Array, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef, UInt8Type, UInt32Type};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::record::{Answer, ImageRef, ImageRow, Origin, Reject, Sample};
use crate::view::Samples;
use crate::{Error, interrupt};

/// File name of the samples table in a stage folder.
pub const SAMPLES: &str = "samples.parquet";
/// File name of the images table in a stage folder.
pub const IMAGES: &str = "images.parquet";
/// File name of the rejects table in a stage folder.
pub const REJECTS: &str = "rejects.parquet";

const ROWS_PER_GROUP: usize = 65_536;
const ROWS_PER_BATCH: usize = 8_192;

/// A record that has a table.
pub trait Row: Sized + Clone + Send + 'static {
    /// The columns.
    fn schema() -> SchemaRef;
    /// Rows to columns.
    fn columns(rows: &[Self]) -> Vec<ArrayRef>;
    /// Columns to rows; the string says what is wrong.
    fn rows(batch: &RecordBatch) -> Result<Vec<Self>, String>;
}

/// Batches that may wait to be encoded.
const AHEAD: usize = 2;

/// The thread that encodes, with the way to it; it ends with the file, or what went wrong.
type Encoder<R> = (SyncSender<Vec<R>>, JoinHandle<Result<File, String>>);

/// Writes a table in pieces, under a temporary name until [`TableWriter::finish`]. Rows are encoded
/// and compressed on a thread of their own, which takes about as long as making them.
pub struct TableWriter<R: Row> {
    path: PathBuf,
    temporary: PathBuf,
    waiting: Vec<R>,
    written: u64,
    /// Both are there until the thread has failed.
    encoder: Option<Encoder<R>>,
}

impl<R: Row> TableWriter<R> {
    /// Starts a table at `path`.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let temporary = path.with_extension("parquet.tmp");
        let file = File::create(&temporary).map_err(|e| Error::io(&temporary, e))?;
        let writer = ArrowWriter::try_new(file, R::schema(), Some(table_properties(path)?))
            .map_err(|e| Error::format(path, e))?;
        let (sender, receiver) = sync_channel(AHEAD);
        let encoder = std::thread::Builder::new()
            .name("table".to_owned())
            .spawn(move || encode(writer, &receiver))
            .map_err(|e| Error::io(path, e))?;
        Ok(TableWriter {
            path: path.to_owned(),
            temporary,
            waiting: Vec::with_capacity(ROWS_PER_BATCH),
            written: 0,
            encoder: Some((sender, encoder)),
        })
    }

    /// Adds one row.
    pub fn push(&mut self, row: R) -> Result<(), Error> {
        self.waiting.push(row);
        if self.waiting.len() >= ROWS_PER_BATCH {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.written += self.waiting.len() as u64;
        let rows = std::mem::replace(&mut self.waiting, Vec::with_capacity(ROWS_PER_BATCH));
        match &self.encoder {
            Some((sender, _)) if sender.send(rows).is_ok() => Ok(()),
            _ => Err(self.failure()),
        }
    }

    /// Why the encoder takes no more rows.
    fn failure(&mut self) -> Error {
        match self.end() {
            Err(error) => error,
            Ok(_) => Error::format(&self.path, "its writer stopped early"),
        }
    }

    /// Waits until all rows are in the file.
    fn end(&mut self) -> Result<File, Error> {
        let Some((sender, encoder)) = self.encoder.take() else {
            return Err(Error::format(&self.path, "its writer has failed before"));
        };
        drop(sender);
        match encoder.join() {
            Ok(file) => file.map_err(|e| Error::format(&self.path, e)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Ends the table, syncs it and gives it its name; returns the count of rows.
    pub fn finish(mut self) -> Result<u64, Error> {
        self.flush()?;
        let file = self.end()?;
        file.sync_all().map_err(|e| Error::io(&self.temporary, e))?;
        std::fs::rename(&self.temporary, &self.path).map_err(|e| Error::io(&self.path, e))?;
        Ok(self.written)
    }
}

/// How every table is written, so that those made row by row and those made by a plan are the same
/// bytes for the same rows.
pub fn table_properties(path: &Path) -> Result<WriterProperties, Error> {
    // Encoding is a large part of an import; higher levels cost time for little.
    let level = ZstdLevel::try_new(1).map_err(|e| Error::format(path, e))?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_max_row_group_row_count(Some(ROWS_PER_GROUP))
        .set_created_by(format!("math-llava {}", env!("CARGO_PKG_VERSION")));
    // Hardly two rows have the same: a dictionary would be made and thrown away.
    for name in ["id", "question", "source_row", "rationale", "parent"] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(name), false);
    }
    Ok(properties.build())
}

fn encode<R: Row>(
    mut writer: ArrowWriter<File>,
    batches: &Receiver<Vec<R>>,
) -> Result<File, String> {
    for rows in batches {
        let batch =
            RecordBatch::try_new(R::schema(), R::columns(&rows)).map_err(|e| e.to_string())?;
        writer.write(&batch).map_err(|e| e.to_string())?;
    }
    writer.into_inner().map_err(|e| e.to_string())
}

/// Writes a whole table.
pub fn write_table<R: Row>(path: &Path, rows: &[R]) -> Result<u64, Error> {
    let mut writer = TableWriter::create(path)?;
    for row in rows {
        writer.push(row.clone())?;
    }
    writer.finish()
}

/// Reads a whole table.
pub fn read_table<R: Row>(path: &Path) -> Result<Vec<R>, Error> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|b| b.with_batch_size(ROWS_PER_BATCH).build())
        .map_err(|e| Error::format(path, format!("not a readable Parquet table: {e}")))?;
    let mut all = Vec::new();
    for batch in reader {
        interrupt::check()?;
        let batch = batch.map_err(|e| Error::format(path, e))?;
        all.extend(R::rows(&batch).map_err(|e| Error::format(path, e))?);
    }
    Ok(all)
}

pub(crate) fn field(name: &str, kind: DataType, nullable: bool) -> Field {
    Field::new(name, kind, nullable)
}

pub(crate) fn strings<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub(crate) fn optional<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

pub(crate) fn lists<'a>(values: impl Iterator<Item = &'a [String]>) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for list in values {
        for item in list {
            builder.values().append_value(item);
        }
        builder.append(true);
    }
    Arc::new(builder.finish())
}

/// A list of text.
pub(crate) fn list_type() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)))
}

/// A column of the batch, by name, so that tables with more columns still load.
pub(crate) struct Columns<'a>(pub(crate) &'a RecordBatch);

impl Columns<'_> {
    fn column(&self, name: &str) -> Result<&ArrayRef, String> {
        self.0.column_by_name(name).ok_or_else(|| {
            format!("has no column {name:?}; was it written by another version or tool?")
        })
    }

    fn text(&self, name: &str) -> Result<&StringArray, String> {
        self.column(name)?
            .as_string_opt::<i32>()
            .ok_or_else(|| format!("column {name:?} is not text"))
    }

    pub(crate) fn optional(&self, name: &str, row: usize) -> Result<Option<String>, String> {
        let column = self.text(name)?;
        Ok(column.is_valid(row).then(|| column.value(row).to_owned()))
    }

    pub(crate) fn required(&self, name: &str, row: usize) -> Result<String, String> {
        self.optional(name, row)?
            .ok_or_else(|| format!("row {row}: column {name:?} must not be empty"))
    }

    /// The items of a list of text.
    pub(crate) fn list(&self, name: &str, row: usize) -> Result<Vec<String>, String> {
        let wrong = || format!("column {name:?} is not a list of text");
        let list = self
            .column(name)?
            .as_list_opt::<i32>()
            .ok_or_else(wrong)?
            .value(row);
        let items = list.as_string_opt::<i32>().ok_or_else(wrong)?;
        Ok(items.iter().flatten().map(str::to_owned).collect())
    }

    fn u32(&self, name: &str, row: usize) -> Result<u32, String> {
        self.column(name)?
            .as_primitive_opt::<UInt32Type>()
            .map(|c| c.value(row))
            .ok_or_else(|| format!("column {name:?} is not u32"))
    }

    fn u8(&self, name: &str, row: usize) -> Result<Option<u8>, String> {
        self.column(name)?
            .as_primitive_opt::<UInt8Type>()
            .map(|c| c.is_valid(row).then(|| c.value(row)))
            .ok_or_else(|| format!("column {name:?} is not u8"))
    }

    fn f64(&self, name: &str, row: usize) -> Result<Option<f64>, String> {
        self.column(name)?
            .as_primitive_opt::<Float64Type>()
            .map(|c| c.is_valid(row).then(|| c.value(row)))
            .ok_or_else(|| format!("column {name:?} is not f64"))
    }

    fn image(&self, row: usize) -> Result<ImageRef, String> {
        Ok(ImageRef {
            path: self.required("image", row)?,
            sha256: self.required("image_sha256", row)?,
            width: self.u32("width", row)?,
            height: self.u32("height", row)?,
        })
    }
}

fn image_fields() -> [Field; 4] {
    [
        field("image", DataType::Utf8, false),
        field("image_sha256", DataType::Utf8, false),
        field("width", DataType::UInt32, false),
        field("height", DataType::UInt32, false),
    ]
}

fn image_columns<'a>(images: impl Iterator<Item = &'a ImageRef> + Clone) -> [ArrayRef; 4] {
    [
        strings(images.clone().map(|i| i.path.as_str())),
        strings(images.clone().map(|i| i.sha256.as_str())),
        Arc::new(UInt32Array::from_iter_values(
            images.clone().map(|i| i.width),
        )),
        Arc::new(UInt32Array::from_iter_values(images.map(|i| i.height))),
    ]
}

impl Row for Sample {
    fn schema() -> SchemaRef {
        let mut fields = vec![field("id", DataType::Utf8, false)];
        fields.extend(image_fields());
        fields.extend([
            field("question", DataType::Utf8, false),
            field("choices", list_type(), false),
            field("answer_kind", DataType::Utf8, false),
            field("answer", DataType::Utf8, false),
            field("answer_items", list_type(), false),
            field("answer_value", DataType::Float64, true),
            field("answer_places", DataType::UInt8, true),
            field("unit", DataType::Utf8, true),
            field("rationale", DataType::Utf8, true),
            field("task", DataType::Utf8, false),
            field("language", DataType::Utf8, false),
            field("source", DataType::Utf8, false),
            field("source_row", DataType::Utf8, true),
            field("augmentation", DataType::Utf8, true),
            field("parent", DataType::Utf8, true),
            field("teacher", DataType::Utf8, true),
            field("prompt_digest", DataType::Utf8, true),
            field("template", DataType::Utf8, true),
        ]);
        Arc::new(Schema::new(fields))
    }

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        let origin = |pick: fn(&Origin) -> Option<&str>| -> ArrayRef {
            optional(rows.iter().map(|s| pick(&s.origin)))
        };
        let texts: Vec<String> = rows.iter().map(|s| s.answer.text()).collect();
        let items = rows.iter().map(|s| match &s.answer {
            Answer::List(items) => items.as_slice(),
            _ => &[],
        });
        let mut columns = vec![strings(rows.iter().map(|s| s.id.as_str()))];
        columns.extend(image_columns(rows.iter().map(|s| &s.image)));
        columns.extend([
            strings(rows.iter().map(|s| s.question.as_str())),
            lists(rows.iter().map(|s| s.choices.as_slice())),
            strings(rows.iter().map(|s| s.answer.kind())),
            strings(texts.iter().map(String::as_str)),
            lists(items),
            Arc::new(
                rows.iter()
                    .map(|s| match s.answer {
                        Answer::Decimal { value, .. } => Some(value),
                        Answer::Integer(n) => Some(n as f64),
                        _ => None,
                    })
                    .collect::<Float64Array>(),
            ) as ArrayRef,
            Arc::new(
                rows.iter()
                    .map(|s| match s.answer {
                        Answer::Decimal { places, .. } => Some(places),
                        _ => None,
                    })
                    .collect::<UInt8Array>(),
            ),
            optional(rows.iter().map(|s| s.unit.as_deref())),
            optional(rows.iter().map(|s| s.rationale.as_deref())),
            strings(rows.iter().map(|s| s.task.name())),
            strings(rows.iter().map(|s| s.language.as_str())),
            strings(rows.iter().map(|s| s.origin.source())),
            origin(|o| match o {
                Origin::Source { row, .. } => Some(row),
                Origin::Synth { .. } => None,
            }),
            origin(|o| match o {
                Origin::Synth { augmentation, .. } => Some(augmentation),
                Origin::Source { .. } => None,
            }),
            origin(|o| match o {
                Origin::Synth { parent, .. } => Some(parent),
                Origin::Source { .. } => None,
            }),
            origin(|o| match o {
                Origin::Synth { teacher, .. } => Some(teacher),
                Origin::Source { .. } => None,
            }),
            origin(|o| match o {
                Origin::Synth { prompt_digest, .. } => Some(prompt_digest),
                Origin::Source { .. } => None,
            }),
            optional(rows.iter().map(|s| s.template.as_deref())),
        ]);
        columns
    }

    fn rows(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let views = Samples::new(batch)?;
        (0..views.len())
            .map(|row| Ok(views.row(row)?.to_sample()))
            .collect()
    }
}

impl Row for ImageRow {
    fn schema() -> SchemaRef {
        let mut fields = image_fields().to_vec();
        fields.extend([
            field("source", DataType::Utf8, false),
            field("family", DataType::Utf8, true),
            field("clarity", DataType::UInt8, true),
            field("clarity_score", DataType::Float64, true),
            field("complexity", DataType::UInt8, true),
            field("complexity_score", DataType::Float64, true),
            field("scene", DataType::Utf8, true),
        ]);
        Arc::new(Schema::new(fields))
    }

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        let mut columns = image_columns(rows.iter().map(|r| &r.image)).to_vec();
        columns.extend([
            strings(rows.iter().map(|r| r.source.as_str())),
            optional(rows.iter().map(|r| r.family.as_deref())),
            Arc::new(rows.iter().map(|r| r.clarity).collect::<UInt8Array>()) as ArrayRef,
            Arc::new(
                rows.iter()
                    .map(|r| r.clarity_score)
                    .collect::<Float64Array>(),
            ),
            Arc::new(rows.iter().map(|r| r.complexity).collect::<UInt8Array>()),
            Arc::new(
                rows.iter()
                    .map(|r| r.complexity_score)
                    .collect::<Float64Array>(),
            ),
            optional(rows.iter().map(|r| r.scene.as_deref())),
        ]);
        columns
    }

    fn rows(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let c = Columns(batch);
        (0..batch.num_rows())
            .map(|row| {
                Ok(ImageRow {
                    image: c.image(row)?,
                    source: c.required("source", row)?,
                    family: c.optional("family", row)?,
                    clarity: c.u8("clarity", row)?,
                    clarity_score: c.f64("clarity_score", row)?,
                    complexity: c.u8("complexity", row)?,
                    complexity_score: c.f64("complexity_score", row)?,
                    scene: c.optional("scene", row)?,
                })
            })
            .collect()
    }
}

impl Row for Reject {
    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            field("source", DataType::Utf8, false),
            field("row", DataType::Utf8, false),
            field("reason", DataType::Utf8, false),
            field("detail", DataType::Utf8, false),
        ]))
    }

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        vec![
            strings(rows.iter().map(|r| r.source.as_str())),
            strings(rows.iter().map(|r| r.row.as_str())),
            strings(rows.iter().map(|r| r.reason.as_str())),
            strings(rows.iter().map(|r| r.detail.as_str())),
        ]
    }

    fn rows(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let c = Columns(batch);
        (0..batch.num_rows())
            .map(|row| {
                Ok(Reject {
                    source: c.required("source", row)?,
                    row: c.required("row", row)?,
                    reason: c.required("reason", row)?,
                    detail: c.required("detail", row)?,
                })
            })
            .collect()
    }
}
