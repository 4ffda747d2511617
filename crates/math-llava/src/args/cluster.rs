//! The verb that makes a machine part of a cluster: `cluster scheduler` and `cluster executor`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `math-llava cluster`.
#[derive(Debug, Args)]
#[command(after_help = "\
Needs a build with `--features cluster`; docs/cluster.md says how to run one by hand, under Slurm and Kubernetes. Examples:
  math-llava cluster scheduler --bind 10.0.0.1
  math-llava cluster executor --scheduler 10.0.0.1:50050 --bind 10.0.0.2
  math-llava inspect --run /shared/runs/big --cluster 10.0.0.1:50050

Each prints its address once it is ready. Ctrl-C or SIGTERM ends it.
Nobody is authenticated: whoever reaches these ports can read what these processes read.")]
pub struct Cluster {
    #[command(subcommand)]
    pub role: ClusterRole,
}

/// What a machine does in a cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterRole {
    /// Take plans and hand their tasks to executors: one for a cluster
    Scheduler(ClusterScheduler),
    /// Do tasks: one on each machine
    Executor(ClusterExecutor),
}

/// `math-llava cluster scheduler`.
#[derive(Debug, Args)]
#[cfg_attr(not(feature = "cluster"), allow(dead_code))]
pub struct ClusterScheduler {
    /// The address to listen on; others than this machine reach only an address of theirs
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// The port to listen on, 0 for any
    #[arg(long, value_name = "PORT", default_value_t = 50_050)]
    pub port: u16,
    /// Seconds without a word from an executor after which others do its tasks (they say one every 5 s)
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(7..))]
    pub executor_timeout: u64,
}

/// `math-llava cluster executor`.
#[derive(Debug, Args)]
#[cfg_attr(not(feature = "cluster"), allow(dead_code))]
pub struct ClusterExecutor {
    /// The scheduler to work for
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50050")]
    pub scheduler: String,
    /// The address to listen on; results are fetched from it
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// The port to listen on, 0 for any
    #[arg(long, value_name = "PORT", default_value_t = 50_051)]
    pub port: u16,
    /// The name that others reach this machine by (default: the address that the scheduler sees it come from)
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,
    /// Tasks at the same time (default: as many as processors)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub slots: Option<u32>,
    /// Memory for sorts, joins and groups of all tasks, in GiB; what does not fit goes to --work-dir
    #[arg(long, value_name = "GIB", default_value_t = 1.5)]
    pub memory: f64,
    /// Where tasks keep results and what does not fit in memory (default: a temporary folder, removed at the end)
    #[arg(long, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,
    /// Seconds to wait for a scheduler that is not there yet
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub wait: u64,
}
