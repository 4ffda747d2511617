//! Models and data sets from the Hugging Face hub, or from a mirror that speaks its protocol.
//!
//! [`plan`] asks what a repository holds, chooses what a model needs, and looks at what is already
//! here; [`fetch`] gets the rest. What was fetched lies where `huggingface_hub` would have put it
//! (or in a folder of the user's), so Python tools find it and do not fetch it again.
//!
//! **Invariants:**
//! 1. No byte gets its final name before its checksum is right: SHA-256 for large files, git's blob
//!    SHA-1 for small ones, both as the repository's listing states them.
//! 2. The token goes to the endpoint's own origin and nowhere else, however often it redirects.
//! 3. No name that a server sent leads out of the folder.
//! 4. A transfer that was cut, killed or interrupted goes on from its last byte.
//!
//! # Which client, and why
//! `hf-hub` 0.5 gives the names of things (repositories, their folders in the cache) and the request
//! for the listing. Its downloads are not used. As released, they verify no checksum, set no
//! timeout, append to a partial file without looking whether the server honoured `Range`, join
//! server-given names to paths unchecked, read no token from the environment, and, asking for a
//! file's size, send the token to the host that the endpoint redirects to. So bytes come through
//! `ureq`, the client below `hf-hub`, with the redirects followed here. `hf-hub` 1.0 would bring
//! Xet's client and aws-lc, which needs cmake, and an asynchronous runtime of its own set of
//! features; the plain transfers that this uses are what every endpoint and mirror still serves.

mod address;
mod client;
mod listing;
mod place;
mod plan;
mod refusal;
mod repository;
mod retry;
mod selection;
mod settings;
mod space;
mod sum;
mod transfer;

use std::path::PathBuf;

pub use listing::RemoteFile;
pub use plan::{Entry, Plan, Presence, Pulled, Wanted, fetch, plan};
pub use repository::{RepoKind, Repository};
pub use retry::Patience;
pub use settings::{Settings, Token};
pub use space::human_bytes;
pub use sum::Sum;

/// Where the files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The cache that all Hugging Face tools share.
    Cache,
    /// A folder with the repository's files as they are named.
    Folder(PathBuf),
}

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for cannot be: a name, a revision, a pattern, an endpoint.
    #[error("{0}")]
    Asked(String),
    /// The server will not give it.
    #[error("{0}")]
    Refused(String),
    /// The network or the server failed, also when asked again.
    #[error("{what}: {detail}; gave up after {tries} tries. The same command goes on from here")]
    Unreachable {
        /// What was being done.
        what: String,
        /// The last failure.
        detail: String,
        /// How often it was tried without a byte gained.
        tries: u32,
    },
    /// The server's answer is not that of a hub, or is not one to be followed.
    #[error("{0}")]
    Answer(String),
    /// A file came twice with other bytes than the repository states.
    #[error(
        "{file}: its checksum is {found}, the repository states {expected}, and so it was the second \
         time; the file was removed. A proxy or mirror may be changing it: try another HF_ENDPOINT"
    )]
    Checksum {
        /// The file's name in the repository.
        file: String,
        /// What the repository states.
        expected: String,
        /// What came.
        found: String,
    },
    /// The disk is too small for what is missing.
    #[error(
        "{folder}: {needed} are needed and {available} are free. Free some space, or name another \
         place with --out or HF_HOME"
    )]
    Space {
        /// Where it was to go.
        folder: PathBuf,
        /// How much is missing, for people.
        needed: String,
        /// How much is free, for people.
        available: String,
    },
    /// Files, and interruption.
    #[error(transparent)]
    Sample(#[from] sample::Error),
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Error {
        Error::Sample(sample::Error::io(path, source))
    }
}
