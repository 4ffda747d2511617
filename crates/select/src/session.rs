//! Where the plans run: a DataFusion session with bounded memory on a runtime of its own.
//!
//! A plan that needs more memory than it is given sorts and groups on disk, below the folder the
//! session was given for that. Neither memory nor threads show in a result: what depends on order
//! is always ordered by something unique.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use sample::interrupt;
use tokio::runtime::Runtime;

use crate::write::BatchWriter;
use crate::{Error, functions, tables};

/// What a plan may use. Results never depend on it.
#[derive(Debug, Clone)]
pub struct Resources {
    /// Bytes that sorts, joins and groups may hold together; what is over goes to disk. Reading and
    /// writing tables takes some hundred MiB on top.
    pub memory: usize,
    /// Threads, and partitions of each plan.
    pub threads: usize,
    /// Rows handed on at a time.
    pub batch_rows: usize,
    /// Machines that run the plans in place of this process; they have their own memory and threads.
    pub remote: Option<Arc<dyn Remote>>,
}

impl Default for Resources {
    fn default() -> Self {
        Resources {
            memory: 3 << 29,
            threads: rayon::current_num_threads(),
            batch_rows: 8_192,
            remote: None,
        }
    }
}

/// Machines that run plans in place of this process.
#[async_trait]
pub trait Remote: std::fmt::Debug + Send + Sync {
    /// A context with the settings of `state` whose plans run there. Tables must be files that those
    /// machines find under the same paths.
    ///
    /// # Errors
    /// Where nobody answers, or one of another version.
    async fn context(&self, state: SessionState) -> Result<SessionContext, DataFusionError>;
}

/// A DataFusion session that knows this crate's [`functions`], with at most `memory_limit` bytes
/// for its operators and `threads` partitions; what does not fit is spilled below `spill_to`, or
/// the system's temporary folder.
///
/// # Errors
/// Where `spill_to` cannot be used.
pub fn session(
    memory_limit: Option<usize>,
    threads: usize,
    spill_to: Option<&Path>,
) -> Result<SessionContext, Error> {
    session_with(config(threads), memory_limit, spill_to)
}

fn config(threads: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(threads.max(1))
        .with_information_schema(true);
    let options = config.options_mut();
    // Text stays `Utf8`, as the tables of this toolkit have it.
    options.execution.parquet.schema_force_view_types = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    // A dimension of some hundred thousand images is built once and probed where the rows are read,
    // rather than both sides being shuffled.
    options.optimizer.hash_join_single_partition_threshold = 256 << 20;
    options.optimizer.hash_join_single_partition_threshold_rows = 4 << 20;
    config
}

fn session_with(
    config: SessionConfig,
    memory_limit: Option<usize>,
    spill_to: Option<&Path>,
) -> Result<SessionContext, Error> {
    let mut runtime = RuntimeEnvBuilder::new();
    if let Some(limit) = memory_limit {
        // A refusal names the operators that hold most.
        let pool = TrackConsumersPool::new(FairSpillPool::new(limit), NonZeroUsize::MIN);
        runtime = runtime.with_memory_pool(Arc::new(pool));
    }
    if let Some(folder) = spill_to {
        runtime = runtime.with_temp_file_path(folder);
    }
    let runtime = runtime
        .build_arc()
        .map_err(|e| Error::plan("making the plan engine", e))?;
    let context = SessionContext::new_with_config_rt(config, runtime);
    functions::register(&context);
    Ok(context)
}

/// A session with the runtime that its plans run on.
pub(crate) struct Engine {
    pub context: SessionContext,
    runtime: Runtime,
    /// Where plans run elsewhere.
    elsewhere: Option<Elsewhere>,
}

/// What it takes to have plans run on other machines: they know files, and nothing of this process.
struct Elsewhere {
    /// A session here, for what only this process can read.
    here: SessionContext,
    /// The folder of the tables that plans are given, which those machines see too.
    folder: Option<PathBuf>,
    tables: AtomicUsize,
}

/// How long a stop may go unseen.
const POLL: Duration = Duration::from_millis(200);

impl Engine {
    /// An engine that spills below `scratch`, and keeps there the tables that other machines are to read.
    pub fn new(resources: &Resources, scratch: &Path) -> Result<Engine, Error> {
        let mut config = config(resources.threads).with_batch_size(resources.batch_rows.max(1));
        // Bounds that a join learns while it runs cannot be pushed into row numbers, which no
        // column chunk has.
        let optimizer = &mut config.options_mut().optimizer;
        optimizer.enable_join_dynamic_filter_pushdown = false;
        // The plans of this crate are written with the small side on the left, and know better than
        // an estimate which that is.
        optimizer.join_reordering = false;
        Engine::on(config, resources, Some(scratch))
    }

    /// An engine for questions that a user asks.
    pub fn interactive(resources: &Resources) -> Result<Engine, Error> {
        let config = config(resources.threads).with_batch_size(resources.batch_rows.max(1));
        Engine::on(config, resources, None)
    }

    fn on(
        config: SessionConfig,
        resources: &Resources,
        scratch: Option<&Path>,
    ) -> Result<Engine, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(resources.threads.max(1))
            .enable_all()
            .build()
            .map_err(|e| Error::plan("starting threads", e.into()))?;
        let here = session_with(config, Some(resources.memory), scratch)?;
        let Some(remote) = &resources.remote else {
            return Ok(Engine {
                context: here,
                runtime,
                elsewhere: None,
            });
        };
        let context = runtime
            .block_on(remote.context(here.state()))
            .map_err(|e| Error::plan("connecting to the cluster", e))?;
        functions::register(&context);
        let absolute = |path| std::path::absolute(path).map_err(|e| sample::Error::io(path, e));
        Ok(Engine {
            context,
            runtime,
            elsewhere: Some(Elsewhere {
                here,
                folder: scratch.map(absolute).transpose()?,
                tables: AtomicUsize::new(0),
            }),
        })
    }

    /// The session that reads what only this process can, where plans run on other machines.
    pub fn here(&self) -> Option<&SessionContext> {
        self.elsewhere.as_ref().map(|elsewhere| &elsewhere.here)
    }

    /// A writer for a table that other machines are to read, where plans run there.
    fn shared(&self, name: &str) -> Option<Result<Shared, Error>> {
        let elsewhere = self.elsewhere.as_ref()?;
        let Some(folder) = &elsewhere.folder else {
            let detail =
                format!("the table {name} is in this process, which the cluster cannot read");
            return Some(Err(Error::Query(detail)));
        };
        // A new file each time: machines may remember what they saw of an old one.
        let number = elsewhere.tables.fetch_add(1, Ordering::Relaxed);
        Some(Ok(Shared {
            path: folder.join(format!("{number}-{name}.parquet")),
            writer: None,
        }))
    }

    /// Waits for something of DataFusion's.
    pub fn wait<T>(
        &self,
        doing: &str,
        future: impl Future<Output = Result<T, DataFusionError>>,
    ) -> Result<T, Error> {
        self.runtime
            .block_on(future)
            .map_err(|e| Error::plan(doing, e))
    }

    /// Runs a query, handing on its batches as they come.
    pub fn each(
        &self,
        doing: &str,
        sql: &str,
        on_batch: impl FnMut(RecordBatch) -> Result<(), Error>,
    ) -> Result<SchemaRef, Error> {
        let frame = self.wait(doing, self.context.sql(sql))?;
        self.stream(doing, frame, on_batch)
    }

    /// Runs a plan, handing on its batches as they come.
    pub fn stream(
        &self,
        doing: &str,
        frame: DataFrame,
        on_batch: impl FnMut(RecordBatch) -> Result<(), Error>,
    ) -> Result<SchemaRef, Error> {
        self.stream_until(doing, frame, None, on_batch)
    }

    /// As [`Engine::stream`]; a plan that is not done by `until` is stopped.
    pub fn stream_until(
        &self,
        doing: &str,
        frame: DataFrame,
        until: Option<Instant>,
        mut on_batch: impl FnMut(RecordBatch) -> Result<(), Error>,
    ) -> Result<SchemaRef, Error> {
        self.runtime.block_on(async {
            let mut stream = frame
                .execute_stream()
                .await
                .map_err(|e| Error::plan(doing, e))?;
            loop {
                interrupt::check()?;
                if until.is_some_and(|until| Instant::now() >= until) {
                    return Err(Error::Query(format!(
                        "{doing} was stopped: it took longer than it may; ask for less, or add a WHERE"
                    )));
                }
                match tokio::time::timeout(POLL, stream.next()).await {
                    Ok(Some(batch)) => on_batch(batch.map_err(|e| Error::plan(doing, e))?)?,
                    Ok(None) => return Ok(stream.schema()),
                    Err(_) => {}
                }
            }
        })
    }

    /// Runs a query and keeps its rows as the table `name`, in memory or where other machines find them;
    /// returns their count.
    pub fn keep(&self, doing: &str, name: &str, sql: &str) -> Result<usize, Error> {
        if let Some(shared) = self.shared(name) {
            let frame = self.wait(doing, self.context.sql(sql))?;
            return self.keep_shared(doing, name, shared?, frame);
        }
        let mut batches = Vec::new();
        let schema = self.each(doing, sql, |batch| {
            batches.push(batch);
            Ok(())
        })?;
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        self.table(name, schema, batches)?;
        Ok(rows)
    }

    /// Writes the rows of a plan that this process runs where other machines find them, as the table `name`;
    /// returns their count. Only where plans run elsewhere.
    pub fn copy(&self, name: &str, frame: DataFrame) -> Result<usize, Error> {
        match self.shared(name) {
            Some(shared) => self.keep_shared(name, name, shared?, frame),
            None => Err(Error::Query(format!(
                "there is nobody to copy the table {name} for"
            ))),
        }
    }

    fn keep_shared(
        &self,
        doing: &str,
        name: &str,
        mut shared: Shared,
        frame: DataFrame,
    ) -> Result<usize, Error> {
        let schema = self.stream(doing, frame, |batch| shared.push(&batch))?;
        let (path, rows) = shared.finish(&schema)?;
        self.provide(name, tables::listing(&[path], &plain(&schema))?)?;
        Ok(rows)
    }

    /// Makes rows in memory the table `name`.
    pub fn table(
        &self,
        name: &str,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
    ) -> Result<(), Error> {
        if let Some(shared) = self.shared(name) {
            let mut shared = shared?;
            batches.iter().try_for_each(|batch| shared.push(batch))?;
            let (path, _) = shared.finish(&schema)?;
            return self.provide(name, tables::listing(&[path], &plain(&schema))?);
        }
        let table = MemTable::try_new(schema, vec![batches]).map_err(|e| Error::plan(name, e))?;
        self.provide(name, Arc::new(table))
    }

    /// Makes a provider the table `name`, in place of one that was there.
    pub fn provide(&self, name: &str, table: Arc<dyn TableProvider>) -> Result<(), Error> {
        let wrong = |e| Error::plan(name, e);
        self.context.deregister_table(name).map_err(wrong)?;
        self.context.register_table(name, table).map_err(wrong)?;
        Ok(())
    }

    /// Makes a query the view `name`.
    pub fn view(&self, name: &str, sql: &str) -> Result<(), Error> {
        let frame = self.wait(name, self.context.sql(sql))?;
        self.provide(name, frame.into_view())
    }
}

/// A table that other machines are to read, while it is written.
struct Shared {
    path: PathBuf,
    writer: Option<BatchWriter>,
}

impl Shared {
    fn push(&mut self, batch: &RecordBatch) -> Result<(), Error> {
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(BatchWriter::passing(&self.path, plain(&batch.schema()))?),
        };
        writer.push(batch)
    }

    /// Ends it; where no batch came, it is a table without rows. Gives its file and its count of rows.
    fn finish(self, schema: &SchemaRef) -> Result<(PathBuf, usize), Error> {
        let writer = match self.writer {
            Some(writer) => writer,
            None => BatchWriter::passing(&self.path, plain(schema))?,
        };
        let rows = writer.finish()?;
        Ok((self.path, usize::try_from(rows).unwrap_or(0)))
    }
}

/// The columns alone, without what a plan says about the schema as a whole.
fn plain(schema: &SchemaRef) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().clone()))
}

/// A folder for what a plan keeps on disk while it runs; it goes away with the value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes the folder, empty.
    pub fn new(path: &Path) -> Result<Scratch, Error> {
        // What a killed run left there is of no use.
        if path.exists() {
            std::fs::remove_dir_all(path).map_err(|e| sample::Error::io(path, e))?;
        }
        std::fs::create_dir_all(path).map_err(|e| sample::Error::io(path, e))?;
        Ok(Scratch(path.to_owned()))
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is removed by the next run.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
