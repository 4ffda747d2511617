//! The tables of an inspection, with flat columns that the selection's plans read.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringArray, UInt8Array,
    UInt32Array, UInt64Array,
};
use arrow::datatypes::{
    DataType, Field, Float64Type, Schema, SchemaRef, UInt8Type, UInt32Type, UInt64Type,
};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use sample::Row;

use super::fingerprint::Fingerprint;
use crate::groups::Groups;

/// File name of the table with one row for each image.
pub const FINGERPRINTS: &str = "fingerprints.parquet";
/// File name of the table of verified near duplicates.
pub const NEAR: &str = "near.parquet";
/// File name of the table of images that a benchmark has too.
pub const CONTAMINATED_IMAGES: &str = "contaminated_images.parquet";
/// File name of the table of questions that a benchmark has too.
pub const CONTAMINATED_QUESTIONS: &str = "contaminated_questions.parquet";

/// Rows that are read at once.
pub const ROWS_PER_BATCH: usize = 8_192;

/// Two files of different bytes that show the same picture.
#[derive(Debug, Clone, PartialEq)]
pub struct NearPair {
    /// The first by path.
    pub image: String,
    /// Of its bytes, in hex.
    pub image_sha256: String,
    /// The second by path.
    pub other: String,
    /// Of its bytes, in hex.
    pub other_sha256: String,
    /// In how many bits their perceptual hashes differ.
    pub hamming: u8,
    /// How different they look, 0 to 255 ([`super::grid::picture_distance`]).
    pub distance: f64,
}

/// For the digest of each image that shows the same as others, the digest that names them all: the least of
/// those that pairs connect.
pub fn near_families(pairs: &[NearPair]) -> HashMap<String, String> {
    let digests: BTreeSet<&str> = pairs
        .iter()
        .flat_map(|pair| [pair.image_sha256.as_str(), pair.other_sha256.as_str()])
        .collect();
    let digests: Vec<&str> = digests.into_iter().collect();
    let at = |digest: &str| digests.partition_point(|other| *other < digest) as u32;
    let mut groups = Groups::new(digests.len() as u32);
    for pair in pairs {
        groups.join(at(&pair.image_sha256), at(&pair.other_sha256));
    }
    (0..digests.len() as u32)
        .map(|one| {
            let first = groups.first(one) as usize;
            (digests[one as usize].to_owned(), digests[first].to_owned())
        })
        .collect()
}

/// An image that a benchmark has too.
#[derive(Debug, Clone, PartialEq)]
pub struct ContaminatedImage {
    /// The image as tables name it.
    pub image: String,
    /// Of its bytes, in hex.
    pub image_sha256: String,
    /// The benchmark's name: that of its folder.
    pub benchmark: String,
    /// The first of the benchmark's items that shows the picture; none where no row names the file.
    pub item: Option<String>,
    /// The benchmark's file, below its folder.
    pub benchmark_image: String,
    /// `exact` for equal bytes, else `near`.
    pub kind: String,
    /// In how many bits their perceptual hashes differ.
    pub hamming: u8,
    /// How different they look, 0 to 255.
    pub distance: f64,
}

/// A question that a benchmark has too.
#[derive(Debug, Clone, PartialEq)]
pub struct ContaminatedQuestion {
    /// The sample's id.
    pub id: String,
    /// Its image, as tables name it.
    pub image: String,
    /// What it asks.
    pub question: String,
    /// The benchmark's name.
    pub benchmark: String,
    /// The benchmark's item.
    pub item: String,
    /// What the benchmark asks.
    pub benchmark_question: String,
    /// The share of the benchmark's word n-grams that the question has too.
    pub overlap: f64,
    /// Whether it goes; a wording common in the data is only listed.
    pub dropped: bool,
}

fn fields(fields: &[(&str, DataType, bool)]) -> SchemaRef {
    let fields: Vec<Field> = fields
        .iter()
        .map(|(name, kind, nullable)| Field::new(*name, kind.clone(), *nullable))
        .collect();
    Arc::new(Schema::new(fields))
}

fn text<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn optional<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

/// The columns of a batch by name, with their types checked once.
pub struct Columns<'a>(pub &'a RecordBatch);

impl<'a> Columns<'a> {
    fn column(&self, name: &str) -> Result<&'a ArrayRef, String> {
        self.0.column_by_name(name).ok_or_else(|| {
            format!("has no column {name:?}; was it written by another version or tool?")
        })
    }

    /// A column of text.
    pub fn text(&self, name: &str) -> Result<&'a StringArray, String> {
        self.column(name)?
            .as_string_opt::<i32>()
            .ok_or_else(|| format!("column {name:?} is not text"))
    }

    /// The items of a list of text.
    pub fn texts(&self, name: &str, row: usize) -> Result<Vec<String>, String> {
        let list = self
            .column(name)?
            .as_list_opt::<i32>()
            .ok_or_else(|| format!("column {name:?} is not a list"))?;
        let items = list.value(row);
        let items = items
            .as_string_opt::<i32>()
            .ok_or_else(|| format!("column {name:?} is not a list of text"))?;
        Ok(items.iter().flatten().map(str::to_owned).collect())
    }

    /// A column of whole numbers.
    pub fn u32(&self, name: &str) -> Result<&'a UInt32Array, String> {
        self.number::<UInt32Type>(name)
    }

    fn number<T: arrow::datatypes::ArrowPrimitiveType>(
        &self,
        name: &str,
    ) -> Result<&'a arrow::array::PrimitiveArray<T>, String> {
        self.column(name)?
            .as_primitive_opt::<T>()
            .ok_or_else(|| format!("column {name:?} is not {:?}", T::DATA_TYPE))
    }
}

fn owned(column: &StringArray, row: usize) -> String {
    column.value(row).to_owned()
}

fn maybe(column: &StringArray, row: usize) -> Option<String> {
    column.is_valid(row).then(|| owned(column, row))
}

impl Row for Fingerprint {
    fn schema() -> SchemaRef {
        fields(&[
            ("image", DataType::Utf8, false),
            ("image_sha256", DataType::Utf8, false),
            ("source", DataType::Utf8, false),
            ("width", DataType::UInt32, false),
            ("height", DataType::UInt32, false),
            ("fault", DataType::Utf8, true),
            ("detail", DataType::Utf8, true),
            ("phash", DataType::UInt64, true),
        ])
    }

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        vec![
            text(rows.iter().map(|r| r.image.as_str())),
            text(rows.iter().map(|r| r.image_sha256.as_str())),
            text(rows.iter().map(|r| r.source.as_str())),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.width))),
            Arc::new(UInt32Array::from_iter_values(rows.iter().map(|r| r.height))),
            optional(rows.iter().map(|r| r.fault.as_deref())),
            optional(rows.iter().map(|r| r.detail.as_deref())),
            Arc::new(rows.iter().map(|r| r.phash).collect::<UInt64Array>()),
        ]
    }

    fn rows(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let c = Columns(batch);
        let (image, sha256) = (c.text("image")?, c.text("image_sha256")?);
        let (source, fault, detail) = (c.text("source")?, c.text("fault")?, c.text("detail")?);
        let width = c.number::<UInt32Type>("width")?;
        let height = c.number::<UInt32Type>("height")?;
        let phash = c.number::<UInt64Type>("phash")?;
        Ok((0..batch.num_rows())
            .map(|row| Fingerprint {
                image: owned(image, row),
                image_sha256: owned(sha256, row),
                source: owned(source, row),
                width: width.value(row),
                height: height.value(row),
                fault: maybe(fault, row),
                detail: maybe(detail, row),
                phash: phash.is_valid(row).then(|| phash.value(row)),
            })
            .collect())
    }
}

impl Row for NearPair {
    fn schema() -> SchemaRef {
        fields(&[
            ("image", DataType::Utf8, false),
            ("image_sha256", DataType::Utf8, false),
            ("other", DataType::Utf8, false),
            ("other_sha256", DataType::Utf8, false),
            ("hamming", DataType::UInt8, false),
            ("distance", DataType::Float64, false),
        ])
    }

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        vec![
            text(rows.iter().map(|r| r.image.as_str())),
            text(rows.iter().map(|r| r.image_sha256.as_str())),
            text(rows.iter().map(|r| r.other.as_str())),
            text(rows.iter().map(|r| r.other_sha256.as_str())),
            Arc::new(UInt8Array::from_iter_values(rows.iter().map(|r| r.hamming))),
            Arc::new(Float64Array::from_iter_values(
                rows.iter().map(|r| r.distance),
            )),
        ]
    }

    fn rows(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let c = Columns(batch);
        let (image, image_sha256) = (c.text("image")?, c.text("image_sha256")?);
        let (other, other_sha256) = (c.text("other")?, c.text("other_sha256")?);
        let hamming = c.number::<UInt8Type>("hamming")?;
        let distance = c.number::<Float64Type>("distance")?;
        Ok((0..batch.num_rows())
            .map(|row| NearPair {
                image: owned(image, row),
                image_sha256: owned(image_sha256, row),
                other: owned(other, row),
                other_sha256: owned(other_sha256, row),
                hamming: hamming.value(row),
                distance: distance.value(row),
            })
            .collect())
    }
}

impl Row for ContaminatedImage {
    fn schema() -> SchemaRef {
        fields(&[
            ("image", DataType::Utf8, false),
            ("image_sha256", DataType::Utf8, false),
            ("benchmark", DataType::Utf8, false),
            ("item", DataType::Utf8, true),
            ("benchmark_image", DataType::Utf8, false),
            ("kind", DataType::Utf8, false),
            ("hamming", DataType::UInt8, false),
            ("distance", DataType::Float64, false),
        ])
    }

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        vec![
            text(rows.iter().map(|r| r.image.as_str())),
            text(rows.iter().map(|r| r.image_sha256.as_str())),
            text(rows.iter().map(|r| r.benchmark.as_str())),
            optional(rows.iter().map(|r| r.item.as_deref())),
            text(rows.iter().map(|r| r.benchmark_image.as_str())),
            text(rows.iter().map(|r| r.kind.as_str())),
            Arc::new(UInt8Array::from_iter_values(rows.iter().map(|r| r.hamming))),
            Arc::new(Float64Array::from_iter_values(
                rows.iter().map(|r| r.distance),
            )),
        ]
    }

    fn rows(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let c = Columns(batch);
        let (image, sha256) = (c.text("image")?, c.text("image_sha256")?);
        let (benchmark, item) = (c.text("benchmark")?, c.text("item")?);
        let (other, kind) = (c.text("benchmark_image")?, c.text("kind")?);
        let hamming = c.number::<UInt8Type>("hamming")?;
        let distance = c.number::<Float64Type>("distance")?;
        Ok((0..batch.num_rows())
            .map(|row| ContaminatedImage {
                image: owned(image, row),
                image_sha256: owned(sha256, row),
                benchmark: owned(benchmark, row),
                item: maybe(item, row),
                benchmark_image: owned(other, row),
                kind: owned(kind, row),
                hamming: hamming.value(row),
                distance: distance.value(row),
            })
            .collect())
    }
}

impl Row for ContaminatedQuestion {
    fn schema() -> SchemaRef {
        fields(&[
            ("id", DataType::Utf8, false),
            ("image", DataType::Utf8, false),
            ("question", DataType::Utf8, false),
            ("benchmark", DataType::Utf8, false),
            ("item", DataType::Utf8, false),
            ("benchmark_question", DataType::Utf8, false),
            ("overlap", DataType::Float64, false),
            ("dropped", DataType::Boolean, false),
        ])
    }

    fn columns(rows: &[Self]) -> Vec<ArrayRef> {
        vec![
            text(rows.iter().map(|r| r.id.as_str())),
            text(rows.iter().map(|r| r.image.as_str())),
            text(rows.iter().map(|r| r.question.as_str())),
            text(rows.iter().map(|r| r.benchmark.as_str())),
            text(rows.iter().map(|r| r.item.as_str())),
            text(rows.iter().map(|r| r.benchmark_question.as_str())),
            Arc::new(Float64Array::from_iter_values(
                rows.iter().map(|r| r.overlap),
            )),
            Arc::new(
                rows.iter()
                    .map(|r| Some(r.dropped))
                    .collect::<BooleanArray>(),
            ),
        ]
    }

    fn rows(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let c = Columns(batch);
        let (id, image, question) = (c.text("id")?, c.text("image")?, c.text("question")?);
        let (benchmark, item) = (c.text("benchmark")?, c.text("item")?);
        let other = c.text("benchmark_question")?;
        let overlap = c.number::<Float64Type>("overlap")?;
        let dropped = c
            .column("dropped")?
            .as_boolean_opt()
            .ok_or("column \"dropped\" is not true or false")?;
        Ok((0..batch.num_rows())
            .map(|row| ContaminatedQuestion {
                id: owned(id, row),
                image: owned(image, row),
                question: owned(question, row),
                benchmark: owned(benchmark, row),
                item: owned(item, row),
                benchmark_question: owned(other, row),
                overlap: overlap.value(row),
                dropped: dropped.value(row),
            })
            .collect())
    }
}

/// Reads some columns of a table batch by batch; all of them where `columns` is empty.
pub fn batches(path: &Path, columns: &[&str]) -> Result<ParquetRecordBatchReader, sample::Error> {
    let unreadable = |e: parquet::errors::ParquetError| {
        sample::Error::format(path, format!("not a readable Parquet table: {e}"))
    };
    let file = File::open(path).map_err(|e| sample::Error::io(path, e))?;
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(unreadable)?;
    if !columns.is_empty() {
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        builder = builder.with_projection(mask);
    }
    builder
        .with_batch_size(ROWS_PER_BATCH)
        .build()
        .map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_that_pairs_connect_are_one_family() {
        let pair = |a: &str, b: &str| NearPair {
            image: format!("{a}.png"),
            image_sha256: a.to_owned(),
            other: format!("{b}.png"),
            other_sha256: b.to_owned(),
            hamming: 1,
            distance: 0.5,
        };
        let families = near_families(&[pair("d", "c"), pair("x", "y"), pair("c", "b")]);
        let of = |digest: &str| families.get(digest).map(String::as_str);
        assert_eq!(["b", "c", "d"].map(of), [Some("b"); 3]);
        assert_eq!(["x", "y"].map(of), [Some("x"); 2]);
        assert_eq!(of("z"), None);
        assert!(near_families(&[]).is_empty());
    }
}
