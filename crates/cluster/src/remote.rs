//! The side that asks: plans that run on a cluster in place of this process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ballista_core::extension::{SessionConfigExt, SessionStateExt};
use ballista_core::planner::BallistaQueryPlanner;
use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::error::{DataFusionError, Result as PlanResult};
use datafusion::execution::{FunctionRegistry, SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, col, lit};
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use sample::interrupt;
use select::session::Remote;
use tokio::runtime::Runtime;

use crate::functions::Functions;
use crate::jobs::{self, Jobs};
use crate::sent::{Planner, Sent};
use crate::{Error, address, session, versions};

/// How long a stop may go unseen.
pub(crate) const POLL: Duration = Duration::from_millis(100);
/// How long a scheduler may take to answer.
const ANSWER: Duration = Duration::from_secs(10);

/// Whom to ask, and how.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// The scheduler, `HOST:PORT`.
    pub address: String,
    /// What is asked for, and the version that all must be of.
    pub functions: Functions,
    /// Pieces of work that are given out and not handed on yet: at least the slots of all executors. Each is
    /// held in memory, with its result.
    pub in_flight: usize,
    /// How long to wait for an executor that takes the first task.
    pub patience: Duration,
}

impl ConnectOptions {
    /// For the scheduler at `address`.
    pub fn new(address: &str, functions: Functions) -> ConnectOptions {
        ConnectOptions {
            address: address.to_owned(),
            functions,
            in_flight: 128,
            patience: Duration::from_secs(30),
        }
    }
}

/// A cluster that answered, of this version.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) client: Client,
    pub(crate) in_flight: usize,
    pub(crate) runtime: Runtime,
}

impl Cluster {
    /// Finds the scheduler, and an executor that runs a first task for it, which names every function: so
    /// whoever is of another version is found out before there is any work.
    ///
    /// # Errors
    /// Where nobody answers, no executor takes the task, or one of them is of another version.
    pub fn connect(options: &ConnectOptions) -> Result<Cluster, Error> {
        let client = Client::reach(&options.address, &options.functions)?;
        let failed = |e: std::io::Error| Error::ballista("connecting to the cluster", e);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(failed)?;
        runtime.block_on(client.probe(Until::Result(options.patience)))?;
        Ok(Cluster {
            client,
            in_flight: options.in_flight.max(1),
            runtime,
        })
    }

    /// The scheduler, `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.client.address
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.client.jobs.flush();
    }
}

#[async_trait]
impl Remote for Cluster {
    async fn context(&self, state: SessionState) -> PlanResult<SessionContext> {
        self.client.context(state)
    }
}

/// Shows a scheduler what version this process is of, as an executor does before it joins.
pub(crate) fn show_version(address: &str, functions: &Functions) -> Result<(), Error> {
    let client = Client::reach(address, functions)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::ballista("connecting to the scheduler", e))?;
    let shown = runtime.block_on(client.probe(Until::Taken));
    client.jobs.flush();
    shown
}

/// When a first task has shown enough.
enum Until {
    /// The scheduler accepts it.
    Taken,
    /// An executor has run it, within this time.
    Result(Duration),
}

/// One who asks a scheduler.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub address: Arc<str>,
    pub place: (String, u16),
    pub functions: Functions,
    pub jobs: Jobs,
}

impl Client {
    fn reach(address: &str, functions: &Functions) -> Result<Client, Error> {
        let place = address::parse(address)?;
        address::reach(&place.0, place.1, Duration::from_secs(5)).map_err(|detail| {
            Error::Unreachable {
                address: address.to_owned(),
                detail,
            }
        })?;
        let address = format!("{}:{}", place.0, place.1);
        Ok(Client {
            jobs: Jobs::of(&address).map_err(|e| Error::ballista("starting a thread", e))?,
            address: address.into(),
            place,
            functions: functions.clone(),
        })
    }

    /// A context with the settings of `state` whose plans run there.
    pub fn context(&self, state: SessionState) -> PlanResult<SessionContext> {
        let url = format!("http://{}", self.address);
        let config = session::asking(state.config().clone(), &self.functions);
        let explaining = BallistaQueryPlanner::with_extension(
            url.clone(),
            config.ballista_config(),
            config.ballista_logical_extension_codec(),
        );
        let planner = Planner::new(explaining, self.jobs.clone());
        let config = config.with_ballista_query_planner(Arc::new(planner));
        let mut state = SessionStateBuilder::new_from_existing(state)
            .with_config(config)
            .build()
            .upgrade_for_ballista(url)?;
        for (function, _) in self.functions.iter() {
            state.register_udf(function.clone())?;
        }
        Ok(SessionContext::new_with_state(state))
    }

    /// A context of its own, for plans of one partition.
    pub fn narrow(&self) -> PlanResult<SessionContext> {
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_config(SessionConfig::new().with_target_partitions(1))
            .build();
        self.context(state)
    }

    /// Sends a task that names every function and calls none.
    async fn probe(&self, until: Until) -> Result<(), Error> {
        let doing = "asking the cluster for its version";
        let frame = self
            .narrow()
            .and_then(|context| Ok(DataFrame::new(context.state(), self.first()?)))
            .map_err(|e| Error::ballista(doing, e))?;
        let task = Arc::new(frame.task_ctx());
        let plan = frame
            .create_physical_plan()
            .await
            .map_err(|e| Error::ballista(doing, e))?;
        let mut stream =
            execute_stream(plan.clone(), task).map_err(|e| Error::ballista(doing, e))?;
        let begun = Instant::now();
        loop {
            interrupt::check()?;
            match tokio::time::timeout(POLL, stream.next()).await {
                Ok(Some(Ok(_))) => {}
                Ok(None) => return Ok(()),
                Ok(Some(Err(error))) => return Err(self.failed(&error)),
                Err(_) => {}
            }
            let taken = plan.downcast_ref::<Sent>().is_some_and(Sent::taken);
            match until {
                Until::Taken if taken => return Ok(()),
                Until::Result(patience) if taken && begun.elapsed() >= patience => {
                    return Err(Error::Idle {
                        address: self.address.to_string(),
                        seconds: patience.as_secs(),
                    });
                }
                _ if !taken && begun.elapsed() >= ANSWER => {
                    return Err(Error::Unreachable {
                        address: self.address.to_string(),
                        detail: "something accepts connections there and says nothing".into(),
                    });
                }
                _ => {}
            }
        }
    }

    fn failed(&self, error: &DataFusionError) -> Error {
        let message = jobs::text(error);
        if message.contains(versions::REMEDY) {
            return Error::Refused(message);
        }
        if jobs::lost(&message) || message.contains(jobs::GONE) {
            return Error::Unreachable {
                address: self.address.to_string(),
                detail: "what listens there is no scheduler, or went away".into(),
            };
        }
        Error::ballista("asking the cluster for its version", message)
    }

    /// One row, with each function called on nothing.
    fn first(&self) -> PlanResult<datafusion::logical_expr::LogicalPlan> {
        let nothing = || lit(ScalarValue::Utf8(None));
        let calls = self
            .functions
            .iter()
            .enumerate()
            .map(|(at, (function, _))| {
                let call = match function.name() {
                    "seeded_rank" => function.call(vec![lit(0u64), col("column1"), col("column1")]),
                    "text_key" => function.call(vec![lit(0u64), col("column1")]),
                    "asked" => col("column1"),
                    _ => function.call(vec![nothing(), col("column1")]),
                };
                call.alias(format!("f{at}"))
            });
        let calls: Vec<Expr> = calls.collect();
        LogicalPlanBuilder::values(vec![vec![cast(
            lit("probe"),
            datafusion::arrow::datatypes::DataType::Utf8,
        )]])?
        .project(calls)?
        .build()
    }
}
