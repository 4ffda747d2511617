//! Functions on single files, called on the machines of a cluster.
//!
//! Each piece is a plan of its own, of one task, that holds its items: so a piece is handed on as soon as it
//! is done, a machine that dies costs the pieces it was at, and no folder has to be shared for the items
//! (for what they name, it has). A piece that was lost is asked for again, here, since Ballista gives a whole
//! plan up for some of what can go wrong; the function gives the same bytes again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::UInt32Type;
use datafusion::dataframe::DataFrame;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, col, lit};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use sample::workers::Workers;
use sample::{Error, interrupt, progress};
use tokio::task::JoinSet;

use crate::remote::{Client, Cluster, POLL};
use crate::{address, functions, jobs, session, versions};

/// How often a piece is asked for.
const TRIES: u32 = 4;
/// How long a scheduler that is started again may take.
const RETURN: Duration = Duration::from_secs(10);
/// How long nothing may be finished before that is said.
const QUIET: Duration = Duration::from_secs(60);
/// How many of the pieces that are asked for again are told of, in one call.
const MOST_NOTES: usize = 5;

impl Workers for Cluster {
    fn call(
        &self,
        function: &str,
        arguments: &str,
        pieces: usize,
        items: &dyn Fn(usize) -> Result<Vec<String>, Error>,
        done: &mut dyn FnMut(usize, Vec<Vec<u8>>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.client.functions.get(function).is_none() {
            return Err(Error::Workers(format!(
                "no function is named {function}: this program and its cluster know {}",
                self.client.functions.names().join(", ")
            )));
        }
        let context = self
            .client
            .narrow()
            .map_err(|e| Error::Workers(e.to_string()))?;
        let outcome = self.runtime.block_on(async {
            let mut open = JoinSet::new();
            let notes = Arc::new(AtomicUsize::new(0));
            let mut news = Instant::now();
            let outcome = async {
                let mut waiting = 0..pieces;
                loop {
                    interrupt::check()?;
                    while open.len() < self.in_flight
                        && let Some(number) = waiting.next()
                    {
                        interrupt::check()?;
                        let call = Call {
                            client: self.client.clone(),
                            context: context.clone(),
                            function: function.to_owned(),
                            arguments: arguments.to_owned(),
                            number,
                            notes: notes.clone(),
                        };
                        open.spawn(call.run(checked(number, items(number)?)?));
                    }
                    match tokio::time::timeout(POLL, open.join_next()).await {
                        Ok(Some(finished)) => {
                            let finished = finished.map_err(|e| Error::Workers(e.to_string()))?;
                            done(finished.0, finished.1?)?;
                            news = Instant::now();
                        }
                        Ok(None) => return Ok(()),
                        Err(_) if news.elapsed() >= QUIET => {
                            progress::note(&format!(
                                "no piece was finished for {} s; are there executors at {}?",
                                QUIET.as_secs(),
                                self.client.address
                            ));
                            news = Instant::now();
                        }
                        Err(_) => {}
                    }
                }
            }
            .await;
            open.shutdown().await;
            outcome
        });
        if outcome.is_err() {
            self.client.jobs.flush();
        }
        outcome
    }
}

/// Items that fit into a plan.
fn checked(number: usize, items: Vec<String>) -> Result<Vec<String>, Error> {
    // A plan is some tens of bytes an item longer than its text.
    let bytes: usize = items.iter().map(|item| item.len() + 64).sum();
    let most = session::LARGEST_MESSAGE as usize / 2;
    if bytes > most {
        return Err(Error::Workers(format!(
            "piece {number} has {} items of {bytes} bytes together, more than the {most} that go into one \
             message: cut the work into smaller pieces",
            items.len()
        )));
    }
    Ok(items)
}

/// One piece of work.
struct Call {
    client: Client,
    context: SessionContext,
    function: String,
    arguments: String,
    number: usize,
    /// How often something was said of pieces that are asked for again.
    notes: Arc<AtomicUsize>,
}

impl Call {
    async fn run(self, items: Vec<String>) -> (usize, Result<Vec<Vec<u8>>, Error>) {
        if items.is_empty() {
            return (self.number, Ok(Vec::new()));
        }
        let mut tried = 0;
        loop {
            let message = match self.once(&items).await {
                Ok(results) => return (self.number, Ok(results)),
                Err(error) => jobs::text(&error),
            };
            tried += 1;
            // What the function says it would say again.
            let final_word = message.starts_with(functions::SAYS)
                || message.contains(versions::REMEDY)
                || tried == TRIES;
            if final_word || !self.scheduler_returns().await {
                return (self.number, Err(Error::Workers(message)));
            }
            if self.notes.fetch_add(1, Ordering::Relaxed) < MOST_NOTES {
                progress::note(&format!(
                    "piece {} is asked for again: {message}",
                    self.number
                ));
            }
            tokio::time::sleep(Duration::from_millis(500) * tried).await;
        }
    }

    /// Whether there is a scheduler to ask, now or soon.
    async fn scheduler_returns(&self) -> bool {
        let until = tokio::time::Instant::now() + RETURN;
        loop {
            let (host, port) = self.client.place.clone();
            let reached = tokio::task::spawn_blocking(move || {
                address::reach(&host, port, Duration::from_secs(2)).is_ok()
            });
            if reached.await.unwrap_or(false) {
                return true;
            }
            if tokio::time::Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    async fn once(&self, items: &[String]) -> PlanResult<Vec<Vec<u8>>> {
        let plan = self.plan(items)?;
        let frame = DataFrame::new(self.context.state(), plan);
        let mut stream = frame.execute_stream().await?;
        let mut results: Vec<Option<Vec<u8>>> = vec![None; items.len()];
        while let Some(batch) = stream.next().await {
            take(&batch?, &mut results)?;
        }
        results
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| DataFusionError::Execution("results of some items are missing".into()))
    }

    fn plan(&self, items: &[String]) -> PlanResult<LogicalPlan> {
        let Some((function, _)) = self.client.functions.get(&self.function) else {
            return Err(DataFusionError::Plan(format!(
                "no function {}",
                self.function
            )));
        };
        let numbered = items.iter().enumerate();
        let rows = numbered
            .map(|(at, item)| {
                vec![
                    lit(u32::try_from(at).unwrap_or(u32::MAX)),
                    lit(item.as_str()),
                ]
            })
            .collect();
        let call = function.call(vec![lit(self.arguments.as_str()), col("column2")]);
        LogicalPlanBuilder::values(rows)?
            .project(vec![col("column1").alias("at"), call.alias("result")])?
            .build()
    }
}

/// Puts a batch's results where they belong.
fn take(batch: &RecordBatch, results: &mut [Option<Vec<u8>>]) -> PlanResult<()> {
    let wrong = || DataFusionError::Execution("the results are not those of a call".into());
    let (at, bytes) = (
        batch.columns().first().ok_or_else(wrong)?,
        batch.columns().get(1).ok_or_else(wrong)?,
    );
    let at = at.as_primitive_opt::<UInt32Type>().ok_or_else(wrong)?;
    let bytes = bytes.as_binary_opt::<i64>().ok_or_else(wrong)?;
    for row in 0..batch.num_rows() {
        let slot = usize::try_from(at.value(row)).map_err(|_| wrong())?;
        let slot = results.get_mut(slot).ok_or_else(wrong)?;
        if bytes.is_null(row) || slot.is_some() {
            return Err(wrong());
        }
        *slot = Some(bytes.value(row).to_vec());
    }
    Ok(())
}
