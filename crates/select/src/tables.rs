//! Parquet tables of earlier stages, as a plan reads them: several files as one table, with a
//! number for each row.
//!
//! Ids and paths come from other people's data and may repeat, so a plan that must say "this row"
//! uses `rowid`: the file's place in the list and the row's place in the file. It is the same in
//! every scan, in whatever order and on whatever thread rows are read.
//!
//! Files are checked before any plan is made, so that a missing column is a message about a file
//! and not about a plan.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, ScalarValue, Statistics};
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{
    ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl, PartitionedFile,
};
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::datasource::{TableType, ViewTable};
use datafusion::error::Result as PlanResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{EmptyRelation, Expr, LogicalPlan};
use datafusion::parquet::arrow::RowNumber;
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use datafusion::physical_plan::ExecutionPlan;
use url::Url;

use crate::Error;
use crate::session::Engine;

/// The columns that number rows: what the file's rows count from, and the row in its file.
const BASE: &str = "row_base";
const ROW: &str = "row_number";
/// Rows that a file may have, 2^40, so that a row number and a file fit into 63 bits.
const ROWS_PER_FILE: i64 = 1 << 40;

/// Parquet files as one table.
#[derive(Debug)]
pub(crate) struct Files {
    schema: TableSchema,
    files: FileGroup,
    rows: usize,
}

/// What a Parquet file says of itself.
#[derive(Debug)]
pub(crate) struct Footer {
    /// The file.
    pub path: PathBuf,
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub rows: usize,
    bytes: u64,
}

/// Reads a file's footer.
pub(crate) fn footer(path: &Path) -> Result<Footer, Error> {
    let file = File::open(path).map_err(|e| sample::Error::io(path, e))?;
    let bytes = file
        .metadata()
        .map_err(|e| sample::Error::io(path, e))?
        .len();
    let options = ArrowReaderOptions::default();
    let metadata = ArrowReaderMetadata::load(&file, options).map_err(|e| {
        sample::Error::format(
            path,
            format!("not a readable Parquet table ({e}); do the stage that wrote it again"),
        )
    })?;
    let rows = metadata.metadata().file_metadata().num_rows();
    Ok(Footer {
        path: path.to_owned(),
        schema: metadata.schema().clone(),
        rows: usize::try_from(rows).unwrap_or(0),
        bytes,
    })
}

impl Footer {
    /// Refuses a file without one of the columns that a plan needs.
    fn check(&self, wanted: &Schema) -> Result<(), Error> {
        for field in wanted.fields() {
            let wrong = match self.schema.field_with_name(field.name()) {
                Err(_) => "is missing".to_owned(),
                Ok(found) if !alike(found.data_type(), field.data_type()) => {
                    format!("is {} and not {}", found.data_type(), field.data_type())
                }
                Ok(_) => continue,
            };
            return Err(sample::Error::format(
                &self.path,
                format!(
                    "column {:?} {wrong}; was it written by another version or tool? Do the stage \
                     that wrote it again, with --force",
                    field.name()
                ),
            )
            .into());
        }
        Ok(())
    }
}

/// Whether two types hold the same values; the name of a list's item does not matter.
fn alike(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(a), DataType::List(b)) => alike(a.data_type(), b.data_type()),
        (a, b) => a == b,
    }
}

impl Files {
    /// The files `paths` as one table with the columns `schema`, numbered.
    pub fn open(paths: &[PathBuf], schema: &SchemaRef) -> Result<Files, Error> {
        let mut footers = Vec::with_capacity(paths.len());
        for path in paths {
            let footer = footer(path)?;
            footer.check(schema)?;
            footers.push(footer);
        }
        Files::of(&footers, schema, true)
    }

    /// Files that were looked at, with the columns `schema`; `numbered` adds those that make a `rowid`.
    pub fn of(footers: &[Footer], schema: &SchemaRef, numbered: bool) -> Result<Files, Error> {
        let mut table = TableSchema::builder(schema.clone());
        if numbered {
            let number: FieldRef =
                Arc::new(Field::new(ROW, DataType::Int64, false).with_extension_type(RowNumber));
            table = table
                .with_table_partition_cols(vec![Arc::new(Field::new(BASE, DataType::Int64, false))])
                .with_virtual_columns(vec![number]);
        }
        let mut files = Vec::with_capacity(footers.len());
        for (i, footer) in footers.iter().enumerate() {
            let path = std::path::absolute(&footer.path)
                .map_err(|e| sample::Error::io(&footer.path, e))?;
            let location = datafusion::object_store::path::Path::from_absolute_path(&path)
                .map_err(|e| sample::Error::format(&path, e))?;
            let mut file = PartitionedFile::new(String::new(), footer.bytes);
            file.object_meta.location = location;
            if numbered {
                let base = i64::try_from(i).unwrap_or(0) * ROWS_PER_FILE;
                file = file.with_partition_values(vec![ScalarValue::Int64(Some(base))]);
            }
            files.push(file);
        }
        Ok(Files {
            schema: table.build(),
            files: FileGroup::new(files),
            rows: footers.iter().map(|f| f.rows).sum(),
        })
    }

    /// How many rows the files have together.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Makes the files the view `name`, with their `rowid`. Where plans run elsewhere, it is a copy of them
    /// with the numbers written into it, since only this process can give a row its number.
    pub fn register(self, engine: &Engine, name: &str) -> Result<(), Error> {
        let files = format!("{name}_files");
        let columns: Vec<String> = self
            .schema
            .file_schema()
            .fields()
            .iter()
            .map(|f| format!("{:?}", f.name()))
            .collect();
        let columns = columns.join(", ");
        let numbered = format!("select {BASE} + {ROW} as rowid, {columns} from {files}");
        let Some(here) = engine.here() else {
            engine.provide(&files, Arc::new(self))?;
            return engine.view(name, &numbered);
        };
        let wrong = |e| Error::plan(name, e);
        here.register_table(&files, Arc::new(self)).map_err(wrong)?;
        let frame = engine.wait(name, here.sql(&numbered))?;
        engine.copy(name, frame)?;
        here.deregister_table(&files).map_err(wrong)?;
        Ok(())
    }
}

/// Files that were looked at as one table with the columns `schema`, without numbers.
pub(crate) fn provider(
    engine: &Engine,
    footers: &[Footer],
    schema: &SchemaRef,
) -> Result<Arc<dyn TableProvider>, Error> {
    if engine.here().is_none() {
        return Ok(Arc::new(Files::of(footers, schema, false)?));
    }
    let paths: Vec<PathBuf> = footers.iter().map(|f| f.path.clone()).collect();
    listing(&paths, schema)
}

/// Files as one table that other machines can be told of: by the paths and the columns alone.
pub(crate) fn listing(
    paths: &[PathBuf],
    schema: &SchemaRef,
) -> Result<Arc<dyn TableProvider>, Error> {
    let mut places = Vec::with_capacity(paths.len());
    let mut rows = 0;
    for path in paths {
        rows += footer(path)?.rows;
        let absolute = std::path::absolute(path).map_err(|e| sample::Error::io(path, e))?;
        // As an address, so that no character of a folder's name is taken for a pattern.
        let address = Url::from_file_path(&absolute)
            .map_err(|()| sample::Error::format(path, "has no address as a file"))?;
        let place =
            ListingTableUrl::try_new(address, None).map_err(|e| sample::Error::format(path, e))?;
        places.push(place);
    }
    if rows == 0 {
        // A scan of no rows is a stage of no tasks, for whose end Ballista's scheduler waits for ever.
        let schema = DFSchema::try_from(schema.as_ref().clone());
        let nothing = LogicalPlan::EmptyRelation(EmptyRelation {
            produce_one_row: false,
            schema: Arc::new(schema.map_err(|e| Error::plan("naming tables", e))?),
        });
        return Ok(Arc::new(ViewTable::new(nothing, None)));
    }
    let options = ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension("");
    let config = ListingTableConfig::new_with_multi_paths(places)
        .with_listing_options(options)
        .with_schema(schema.clone());
    let table = ListingTable::try_new(config).map_err(|e| Error::plan("naming tables", e))?;
    Ok(Arc::new(table))
}

#[async_trait]
impl TableProvider for Files {
    fn schema(&self) -> SchemaRef {
        self.schema.table_schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let mut statistics = Statistics::new_unknown(self.schema.table_schema());
        statistics.num_rows = Precision::Exact(self.rows);
        let source = Arc::new(ParquetSource::new(self.schema.clone()));
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), source)
            .with_file_group(self.files.clone())
            .with_statistics(statistics)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
