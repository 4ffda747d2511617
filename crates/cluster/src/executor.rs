//! The process that runs tasks and gives their results out.
//!
//! It asks the scheduler for tasks, so it needs no port that the scheduler reaches; the one it has is for
//! results, which other executors and whoever asked fetch from it. Before it asks for the first task it
//! shows the scheduler its version and is refused if that is another.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ballista_core::config::TaskSchedulingPolicy;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_executor::health::ExecutorHealth;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use sample::{interrupt, progress};

use crate::functions::Functions;
use crate::{EXECUTOR_PORT, Error, address, codec, remote, session};

/// Called this in what it refuses.
const HERE: &str = "this executor";
/// How long a stop may go unseen.
const POLL: Duration = Duration::from_millis(200);
/// How long an executor that is told to stop may take to say goodbye; what it was doing is done by others.
const GOODBYE: Duration = Duration::from_secs(3);

/// How an executor is run.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// The scheduler, `HOST:PORT`.
    pub scheduler: String,
    /// The address to listen on.
    pub bind: IpAddr,
    /// The port that results are fetched from, or 0 for any.
    pub port: u16,
    /// The name that others reach it by, where it is not the address that the scheduler sees.
    pub advertise: Option<String>,
    /// Where tasks keep their results and what does not fit in memory; a temporary folder that is removed at
    /// the end where none is given.
    pub work_dir: Option<PathBuf>,
    /// Tasks at the same time.
    pub slots: usize,
    /// Bytes that sorts, joins and groups of all tasks may hold together.
    pub memory: u64,
    /// How long to wait for a scheduler that is not there yet.
    pub wait: Duration,
    /// What tasks may name, and the version they must be of.
    pub functions: Functions,
}

impl ExecutorOptions {
    /// For the scheduler at `scheduler`, with a slot for each processor.
    pub fn new(scheduler: &str, functions: Functions) -> ExecutorOptions {
        ExecutorOptions {
            scheduler: scheduler.to_owned(),
            bind: IpAddr::from([127, 0, 0, 1]),
            port: EXECUTOR_PORT,
            advertise: None,
            work_dir: None,
            slots: std::thread::available_parallelism().map_or(1, usize::from),
            memory: 3 << 29,
            wait: Duration::from_secs(10),
            functions,
        }
    }

    fn config(
        &self,
        (host, scheduler_port): (String, u16),
        port: u16,
        work_dir: &Path,
        health: ExecutorHealth,
    ) -> ExecutorProcessConfig {
        let (producing, checking) = (self.functions.clone(), self.functions.clone());
        let spill = work_dir.to_owned();
        ExecutorProcessConfig {
            bind_host: match self.bind {
                IpAddr::V4(bind) => bind.to_string(),
                IpAddr::V6(bind) => format!("[{bind}]"),
            },
            external_host: self.advertise.clone(),
            port,
            scheduler_host: host,
            scheduler_port,
            // It is there: that was waited for.
            scheduler_connect_timeout_seconds: 0,
            vcores: self.slots.max(1),
            task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
            work_dir: Some(work_dir.to_string_lossy().into_owned()),
            job_data_ttl_seconds: 24 * 3_600,
            job_data_clean_up_interval_seconds: 600,
            grpc_max_decoding_message_size: session::LARGEST_MESSAGE,
            grpc_max_encoding_message_size: session::LARGEST_MESSAGE,
            memory_pool_size: Some(self.memory),
            override_function_registry: Some(session::registry(&self.functions)),
            override_config_producer: Some(Arc::new(move || session::serving(&producing, HERE))),
            override_runtime_producer: Some(Arc::new(move |config| {
                session::check(config, &checking, HERE)?;
                RuntimeEnvBuilder::new()
                    .with_temp_file_path(&spill)
                    .build_arc()
            })),
            override_logical_codec: Some(codec::logical(&self.functions, HERE)),
            override_physical_codec: Some(codec::physical(&self.functions, HERE)),
            health,
            ..ExecutorProcessConfig::default()
        }
    }
}

/// Runs an executor until a stop is asked for ([`interrupt`]); `started` is told where it gives results out,
/// once the scheduler has answered it.
///
/// # Errors
/// Where there is no such scheduler or it is of another version, the port cannot be had, the folder cannot
/// be written, or Ballista fails.
pub fn executor(options: &ExecutorOptions, started: impl FnOnce(SocketAddr)) -> Result<(), Error> {
    let scheduler = address::parse(&options.scheduler)?;
    let work_dir = WorkDir::prepare(options.work_dir.as_deref())?;
    if let Some(warning) = address::warning(options.bind) {
        progress::note(&warning);
    }
    // Ballista takes the port itself: this finds out whether it can, and which one is free.
    let at = address::bind(options.bind, options.port)?
        .local_addr()
        .map_err(|e| Error::ballista("starting the executor", e))?;
    await_scheduler(options, &scheduler)?;
    remote::show_version(&options.scheduler, &options.functions)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::ballista("starting the executor", e))?;
    let health = ExecutorHealth::new();
    let config = options.config(scheduler, at.port(), &work_dir.path, health.clone());
    let outcome = runtime.block_on(async {
        let mut running = tokio::spawn(start_executor_process(Arc::new(config)));
        let mut started = Some(started);
        let mut stop_by = None;
        loop {
            if started.is_some()
                && health.is_ready()
                && let Some(tell) = started.take()
            {
                tell(at);
            }
            if interrupt::requests() > 0 {
                // Ballista watches for signals too, and tells the scheduler that this executor leaves.
                let stop_by = *stop_by.get_or_insert_with(|| Instant::now() + GOODBYE);
                if Instant::now() >= stop_by {
                    return Ok(());
                }
            }
            match tokio::time::timeout(POLL, &mut running).await {
                Ok(_) if interrupt::requests() > 0 => return Ok(()),
                Ok(Ok(Ok(()))) => {
                    return Err(Error::ballista(
                        "running the executor",
                        "it ended: another process took its port, or the scheduler told it to go",
                    ));
                }
                Ok(Ok(Err(e))) => return Err(Error::ballista("running the executor", e)),
                Ok(Err(e)) => return Err(Error::ballista("running the executor", e)),
                Err(_) => {}
            }
        }
    });
    runtime.shutdown_background();
    outcome
}

fn await_scheduler(options: &ExecutorOptions, (host, port): &(String, u16)) -> Result<(), Error> {
    let until = Instant::now() + options.wait;
    loop {
        interrupt::check()?;
        match address::reach(host, *port, Duration::from_secs(2)) {
            Ok(()) => return Ok(()),
            Err(_) if Instant::now() < until => std::thread::sleep(POLL),
            Err(detail) => {
                return Err(Error::Unreachable {
                    address: options.scheduler.clone(),
                    detail,
                });
            }
        }
    }
}

/// The folder that tasks write to; one that was made for this process goes away with it.
struct WorkDir {
    path: PathBuf,
    ours: bool,
}

impl WorkDir {
    fn prepare(given: Option<&Path>) -> Result<WorkDir, Error> {
        let path = match given {
            Some(given) => std::path::absolute(given).unwrap_or_else(|_| given.to_owned()),
            None => {
                std::env::temp_dir().join(format!("math-llava-executor-{}", std::process::id()))
            }
        };
        let failed = |source| Error::WorkDir {
            path: path.clone(),
            source,
        };
        // A folder of the same name is of a process that is gone.
        if given.is_none() && path.exists() {
            std::fs::remove_dir_all(&path).map_err(failed)?;
        }
        std::fs::create_dir_all(&path).map_err(failed)?;
        // A page, so that a disk without room for one is found out now.
        let probe = path.join(format!("probe-{}", std::process::id()));
        std::fs::write(&probe, [0; 4096]).map_err(failed)?;
        std::fs::remove_file(&probe).map_err(failed)?;
        Ok(WorkDir {
            ours: given.is_none(),
            path,
        })
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if self.ours {
            // It lies among the system's temporary files, where it is cleared sooner or later.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_written_is_named_and_one_of_ours_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = WorkDir::prepare(Some(&file.join("x")))
            .map(|_| ())
            .unwrap_err();
        assert!(error.to_string().contains("--work-dir"), "{error}");
        let given = dir.path().join("given");
        drop(WorkDir::prepare(Some(&given)).unwrap());
        assert!(given.is_dir());
        let ours = WorkDir::prepare(None).unwrap();
        let path = ours.path.clone();
        assert!(path.is_dir());
        drop(ours);
        assert!(!path.exists());
    }

    #[test]
    fn a_scheduler_that_is_not_there_is_an_error_after_the_time_to_wait() {
        let dir = tempfile::tempdir().unwrap();
        let free = address::bind(IpAddr::from([127, 0, 0, 1]), 0).unwrap();
        let nobody = free.local_addr().unwrap().to_string();
        drop(free);
        let options = ExecutorOptions {
            port: 0,
            work_dir: Some(dir.path().to_owned()),
            wait: Duration::ZERO,
            ..ExecutorOptions::new(&nobody, Functions::new("1", Vec::new()))
        };
        let error = executor(&options, |_| panic!("it has not started")).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    }
}
