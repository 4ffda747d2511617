//! Many machines for data: a Ballista scheduler and executors that know this workspace's functions.
//!
//! Plans are DataFusion's, so a machine more changes nothing about what they mean. What this crate adds is
//! what Ballista leaves to its users:
//!
//! - [`scheduler`] and [`executor`], processes that know the functions of this toolkit ([`Functions`]);
//! - that all of them are of one version: whoever is of another is refused when it connects, with both
//!   versions in the message, since two versions of a function would give a table that neither would;
//! - [`Cluster`], the side that asks: it runs plans there ([`select::session::Remote`]) and calls functions on
//!   single files there ([`sample::workers::Workers`]), tries again what died with its machine, and says
//!   within seconds when nobody is left to do the work;
//! - [`store`], images in a store that speaks S3.
//!
//! **Ballista authenticates nobody**: whoever reaches a port of the scheduler or of an executor can read what
//! they read. Both listen on the loopback interface unless they are told another, and say so then.

mod address;
mod codec;
mod executor;
mod functions;
mod jobs;
mod remote;
mod scheduler;
mod sent;
mod session;
pub mod store;
mod versions;
mod work;

use std::path::PathBuf;

pub use executor::{ExecutorOptions, executor};
pub use functions::Functions;
pub use remote::{Cluster, ConnectOptions};
pub use scheduler::{SchedulerOptions, scheduler};

/// The port that a scheduler listens on where none is said.
pub const SCHEDULER_PORT: u16 = 50_050;
/// The port that an executor gives results out on where none is said.
pub const EXECUTOR_PORT: u16 = 50_051;

/// What can go wrong with processes of a cluster and with asking them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that cannot be one.
    #[error("{0:?} is no address: write HOST:PORT, such as node1:50050")]
    Address(String),
    /// A port that cannot be had.
    #[error(
        "cannot listen on {address}: {source}. Is another process there? Take another port, or 0 for any"
    )]
    Bind {
        /// The address.
        address: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Nobody answers.
    #[error(
        "no scheduler answers at {address}: {detail}. Start one with `math-llava cluster scheduler`, or \
         check the address"
    )]
    Unreachable {
        /// The scheduler's address.
        address: String,
        /// Why.
        detail: String,
    },
    /// There is a scheduler, but nothing that works for it.
    #[error(
        "the scheduler at {address} answers, but nobody took work within {seconds} s: start executors with \
         `math-llava cluster executor --scheduler {address}`, or wait until those there have a slot free"
    )]
    Idle {
        /// The scheduler's address.
        address: String,
        /// How long was waited, in seconds.
        seconds: u64,
    },
    /// Processes of different versions, or whatever else they refuse.
    #[error("{0}")]
    Refused(String),
    /// A folder that cannot be worked in.
    #[error("cannot work in {path}: {source}. Give another folder with --work-dir")]
    WorkDir {
        /// The folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Ballista ended or failed.
    #[error("{doing}: {detail}")]
    Ballista {
        /// What it was doing.
        doing: String,
        /// What it says.
        detail: String,
    },
    /// The user asked to stop.
    #[error(transparent)]
    Sample(#[from] sample::Error),
}

impl Error {
    fn ballista(doing: &str, detail: impl std::fmt::Display) -> Error {
        Error::Ballista {
            doing: doing.to_owned(),
            detail: detail.to_string(),
        }
    }
}
