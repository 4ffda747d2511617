//! `math-llava cluster`: a scheduler or an executor, until it is told to stop.

use anyhow::Result;

use crate::args::{Cluster, ClusterRole};

/// Runs one.
#[cfg(feature = "cluster")]
pub fn run(arguments: &Cluster) -> Result<bool> {
    use crate::args::{ClusterExecutor, ClusterScheduler};
    use cluster::{ExecutorOptions, Functions, SchedulerOptions};

    fn scheduler(arguments: &ClusterScheduler, functions: Functions) -> Result<()> {
        let options = SchedulerOptions {
            bind: arguments.bind,
            port: arguments.port,
            executor_timeout: arguments.executor_timeout,
            ..SchedulerOptions::new(functions)
        };
        cluster::scheduler(&options, |address| {
            println!(
                "scheduler of math-llava {} listening on {address}",
                env!("CARGO_PKG_VERSION")
            );
        })?;
        Ok(())
    }

    fn executor(arguments: &ClusterExecutor, functions: Functions) -> Result<()> {
        anyhow::ensure!(
            arguments.memory > 0.0 && arguments.memory < 1e6,
            "--memory {} must be above 0",
            arguments.memory
        );
        let options = ExecutorOptions::new(&arguments.scheduler, functions);
        let options = ExecutorOptions {
            bind: arguments.bind,
            port: arguments.port,
            advertise: arguments.advertise.clone(),
            work_dir: arguments.work_dir.clone(),
            slots: arguments.slots.map_or(options.slots, |n| n as usize),
            memory: (arguments.memory * f64::from(1 << 30)) as u64,
            wait: std::time::Duration::from_secs(arguments.wait),
            ..options
        };
        cluster::executor(&options, |address| {
            println!(
                "executor of math-llava {} listening on {address}, {} slots, working for {}",
                env!("CARGO_PKG_VERSION"),
                options.slots,
                arguments.scheduler
            );
        })?;
        Ok(())
    }

    let functions = Functions::new(env!("CARGO_PKG_VERSION"), crate::machines::functions());
    match &arguments.role {
        ClusterRole::Scheduler(arguments) => scheduler(arguments, functions)?,
        ClusterRole::Executor(arguments) => executor(arguments, functions)?,
    }
    Ok(true)
}

/// Says why not.
#[cfg(not(feature = "cluster"))]
pub fn run(arguments: &Cluster) -> Result<bool> {
    let role = match arguments.role {
        ClusterRole::Scheduler(_) => "scheduler",
        ClusterRole::Executor(_) => "executor",
    };
    anyhow::bail!(
        "this build can be no {role} of a cluster: build it with `cargo build --release -p math-llava \
         --features cluster`"
    )
}
