//! A plan that runs on a cluster, as a plan that this process can run.
//!
//! Ballista's client has one too. This one knows the job from the moment that the scheduler takes it, so that
//! it can be cancelled when nobody waits for the result any more; and it finds out that a scheduler was
//! started again and knows nothing of the job, where Ballista's would ask for ever.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use ballista_core::BALLISTA_VERSION;
use ballista_core::client::BallistaClient;
use ballista_core::extension::{
    BallistaGrpcMetadataInterceptor, SessionConfigExt, SessionConfigHelperExt,
};
use ballista_core::planner::{BallistaQueryPlanner, scans_only_information_schema};
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::execute_query_result::Result as Taken;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{ExecuteQueryParams, GetJobStatusParams, PartitionLocation};
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_connection};
use ballista_core::version::BALLISTA_VERSION_HEADER;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use datafusion_proto::logical_plan::AsLogicalPlan;
use datafusion_proto::protobuf::LogicalPlanNode;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};

use crate::jobs::{self, Jobs, RESTARTED};

/// The shortest and the longest time between two questions for how far a plan is.
const ASK: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));
/// How long a scheduler may take from taking a plan to knowing of it.
const UNKNOWN: Duration = Duration::from_secs(3);

/// Plans what the scheduler can run for it, and what it cannot for this process.
pub struct Planner {
    explaining: BallistaQueryPlanner<LogicalPlanNode>,
    jobs: Jobs,
}

impl Planner {
    /// Explains how plans were run by `explaining`.
    pub fn new(explaining: BallistaQueryPlanner<LogicalPlanNode>, jobs: Jobs) -> Planner {
        Planner { explaining, jobs }
    }
}

impl std::fmt::Debug for Planner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Planner of {}", self.jobs.address())
    }
}

#[async_trait]
impl QueryPlanner for Planner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if matches!(plan, LogicalPlan::EmptyRelation(_)) || scans_only_information_schema(plan)? {
            // What this process knows, or nothing at all.
            return DefaultPhysicalPlanner::default()
                .create_physical_plan(plan, session)
                .await;
        }
        if matches!(plan, LogicalPlan::Analyze(_)) {
            return self.explaining.create_physical_plan(plan, session).await;
        }
        Ok(Arc::new(Sent::new(plan, session.session_id(), &self.jobs)))
    }
}

/// A plan that the scheduler runs as long as somebody waits for it.
#[derive(Debug)]
pub struct Sent {
    plan: LogicalPlan,
    session: String,
    jobs: Jobs,
    job: Arc<Mutex<Option<String>>>,
    properties: Arc<PlanProperties>,
}

impl Sent {
    fn new(plan: &LogicalPlan, session: &str, jobs: &Jobs) -> Sent {
        let schema: SchemaRef = Arc::new(plan.schema().as_arrow().clone());
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Sent {
            plan: plan.clone(),
            session: session.to_owned(),
            jobs: jobs.clone(),
            job: Arc::default(),
            properties: Arc::new(properties),
        }
    }

    /// Whether the scheduler has taken it.
    pub fn taken(&self) -> bool {
        self.job.lock().is_ok_and(|job| job.is_some())
    }
}

impl DisplayAs for Sent {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        writeln!(f, "Sent to {}:", self.jobs.address())?;
        write!(f, "{}", self.plan.display_indent())
    }
}

impl ExecutionPlan for Sent {
    fn name(&self) -> &str {
        "Sent"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, task: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let config = task.session_config();
        let codec = config.ballista_logical_extension_codec();
        let mut plan = Vec::new();
        LogicalPlanNode::try_from_logical_plan(&self.plan, codec.as_ref())?
            .try_encode(&mut plan)?;
        let query = ExecuteQueryParams {
            session_id: self.session.clone(),
            settings: config.to_key_value_pairs(),
            // Names the request in the scheduler's log.
            operation_id: self.session.clone(),
            query: Some(Query::LogicalPlan(plan)),
        };
        let job = self.job.clone();
        let url = format!("http://{}", self.jobs.address());
        let results = run(url, query, config.clone(), job.clone());
        Ok(Box::pin(Guarded {
            results: stream::once(results).try_flatten().boxed(),
            schema: self.schema(),
            jobs: self.jobs.clone(),
            job,
            over: false,
        }))
    }
}

/// Has a plan run, and fetches its result from the executors that have it.
async fn run(
    url: String,
    query: ExecuteQueryParams,
    config: SessionConfig,
    job: Arc<Mutex<Option<String>>>,
) -> Result<BoxStream<'static, Result<RecordBatch>>, DataFusionError> {
    let settings = GrpcClientConfig::from(&config.ballista_config());
    let connection = create_grpc_client_connection(url, &settings)
        .await
        .map_err(|e| broken(&e))?;
    let header = (
        BALLISTA_VERSION_HEADER.to_owned(),
        BALLISTA_VERSION.to_owned(),
    );
    let interceptor = BallistaGrpcMetadataInterceptor::new(HashMap::from([header]));
    let mut scheduler = SchedulerGrpcClient::with_interceptor(connection, interceptor)
        .max_encoding_message_size(settings.max_message_size)
        .max_decoding_message_size(settings.max_message_size);
    let answer = scheduler
        .execute_query(query)
        .await
        .map_err(|e| broken(&e))?;
    let job_id = match answer.into_inner().result {
        Some(Taken::Success(taken)) => taken.job_id,
        Some(Taken::Failure(why)) => return Err(broken(&why)),
        None => return Err(broken(&"an empty answer")),
    };
    if let Ok(mut job) = job.lock() {
        *job = Some(job_id.clone());
    }
    let mut wait = ASK.0;
    let mut known = Instant::now();
    loop {
        let question = GetJobStatusParams {
            job_id: job_id.clone(),
        };
        let answer = scheduler
            .get_job_status(question)
            .await
            .map_err(|e| broken(&e))?;
        let status = answer.into_inner().status.and_then(|status| status.status);
        match status {
            Some(Status::Successful(done)) => {
                let fetched = done
                    .partition_location
                    .into_iter()
                    .map(move |part| stream::once(fetch(part, settings.clone())).try_flatten());
                return Ok(stream::iter(fetched).flatten().boxed());
            }
            Some(Status::Failed(failed)) => return Err(DataFusionError::Execution(failed.error)),
            Some(Status::Queued(_) | Status::Running(_)) => known = Instant::now(),
            None if known.elapsed() >= UNKNOWN => return Err(broken(&RESTARTED)),
            None => {}
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 3 / 2).min(ASK.1);
    }
}

fn broken(error: &dyn std::fmt::Debug) -> DataFusionError {
    DataFusionError::Execution(format!("{error:?}"))
}

/// One part of a result, from the executor that has it.
async fn fetch(
    part: PartitionLocation,
    settings: GrpcClientConfig,
) -> Result<SendableRecordBatchStream> {
    let layout = part.layout();
    let (Some(executor), Some(id)) = (part.executor_meta, part.partition_id) else {
        return Err(broken(&"a result that is nowhere"));
    };
    let port = u16::try_from(executor.port).map_err(|e| broken(&e))?;
    let mut client = BallistaClient::try_new(
        &executor.host,
        port,
        settings.max_message_size,
        settings.use_tls,
        None,
        settings.io_retries_times,
        settings.io_retry_wait_time_ms,
        0,
        0,
    )
    .await
    .map_err(|e| broken(&e))?;
    client
        .fetch_partition(&executor.id, &id.into(), part.file_id, layout, true)
        .await
        .map_err(|e| broken(&e))
}

/// A result, whose end is its plan's.
struct Guarded {
    results: BoxStream<'static, Result<RecordBatch>>,
    schema: SchemaRef,
    jobs: Jobs,
    job: Arc<Mutex<Option<String>>>,
    over: bool,
}

impl Stream for Guarded {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = self.results.poll_next_unpin(context);
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            self.over = true;
        }
        let address = self.jobs.address();
        let explained =
            |error| DataFusionError::Execution(jobs::explain(address, &jobs::text(&error)));
        next.map(|item| item.map(|batch| batch.map_err(explained)))
    }
}

impl RecordBatchStream for Guarded {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let job = self.job.lock().ok().and_then(|mut job| job.take());
        if let Some(job) = job.filter(|_| !self.over) {
            self.jobs.cancel(job);
        }
    }
}
