//! The process that takes plans, cuts them into stages and hands tasks to executors.
//!
//! It keeps what it knows in memory: where it dies, plans that were at work are gone, and whoever asked for
//! them asks again. Executors find a scheduler that was started again by themselves.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use sample::{interrupt, progress};

use crate::functions::Functions;
use crate::{Error, SCHEDULER_PORT, address, codec, session};

/// Called this in what it refuses.
const HERE: &str = "this scheduler";
/// How long a stop may go unseen.
const POLL: Duration = Duration::from_millis(200);

/// How a scheduler is run.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// The address to listen on.
    pub bind: IpAddr,
    /// The port, or 0 for any.
    pub port: u16,
    /// Seconds without a word from an executor after which its tasks are given to others. An executor says
    /// something every 5 s at least.
    pub executor_timeout: u64,
    /// What plans may name, and the version they must be of.
    pub functions: Functions,
}

impl SchedulerOptions {
    /// On this machine alone, on [`SCHEDULER_PORT`].
    pub fn new(functions: Functions) -> SchedulerOptions {
        SchedulerOptions {
            bind: IpAddr::from([127, 0, 0, 1]),
            port: SCHEDULER_PORT,
            executor_timeout: 20,
            functions,
        }
    }

    fn config(&self, port: u16) -> SchedulerConfig {
        let (producing, beginning) = (self.functions.clone(), self.functions.clone());
        SchedulerConfig {
            bind_host: self.bind.to_string(),
            external_host: self.bind.to_string(),
            bind_port: port,
            scheduling_policy: TaskSchedulingPolicy::PullStaged,
            executor_timeout_seconds: self.executor_timeout,
            expire_dead_executor_interval_seconds: 2,
            no_executors_grace_period_seconds: self.executor_timeout,
            executor_termination_grace_period: 5,
            // Results are fetched as soon as they are there; for whoever is slow there is time enough.
            finished_job_data_clean_up_interval_seconds: 120,
            finished_job_state_clean_up_interval_seconds: 600,
            grpc_server_max_decoding_message_size: session::LARGEST_MESSAGE,
            grpc_server_max_encoding_message_size: session::LARGEST_MESSAGE,
            grpc_client_max_message_size: session::LARGEST_MESSAGE,
            override_config_producer: Some(Arc::new(move || session::serving(&producing, HERE))),
            override_session_builder: Some(Arc::new(move |config| {
                session::begin(config, &beginning, HERE)
            })),
            override_logical_codec: Some(codec::logical(&self.functions, HERE)),
            override_physical_codec: Some(codec::physical(&self.functions, HERE)),
            ..SchedulerConfig::default()
        }
    }
}

/// Runs a scheduler until a stop is asked for ([`interrupt`]); `started` is told where it listens.
///
/// # Errors
/// Where the port cannot be had, or Ballista fails.
pub fn scheduler(
    options: &SchedulerOptions,
    started: impl FnOnce(SocketAddr),
) -> Result<(), Error> {
    if let Some(warning) = address::warning(options.bind) {
        progress::note(&warning);
    }
    let listener = address::bind(options.bind, options.port)?;
    let failed = |e: std::io::Error| Error::ballista("starting the scheduler", e);
    listener.set_nonblocking(true).map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let outcome = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
        let config = Arc::new(options.config(at.port()));
        let failed = |e| Error::ballista("starting the scheduler", e);
        config.validate().map_err(failed)?;
        let cluster = BallistaCluster::new_from_config(&config)
            .await
            .map_err(failed)?;
        let server = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, config)
            .await
            .map_err(failed)?;
        let mut serving = std::pin::pin!(start_grpc_service_with_listener(listener, server));
        started(at);
        loop {
            if interrupt::requests() > 0 {
                return Ok(());
            }
            match tokio::time::timeout(POLL, &mut serving).await {
                Ok(Ok(())) => return Err(Error::ballista("running the scheduler", "it ended")),
                Ok(Err(e)) => return Err(Error::ballista("running the scheduler", e)),
                Err(_) => {}
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}
