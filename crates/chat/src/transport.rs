//! One try at one request with one server: what the dispatcher needs to know of HTTP.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::{Reply, Request};

/// What came of one try.
#[derive(Debug, Clone, Default)]
pub struct Attempt {
    /// The reply, or what went wrong.
    pub outcome: Option<Result<Reply, Fault>>,
    /// The HTTP status, where one came.
    pub status: Option<u16>,
    /// What the server announced about its limits.
    pub announced: Announced,
}

/// Limits that a server announces in its headers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Announced {
    /// Wait so long before the next request (`Retry-After`, relative to the server's own clock).
    pub retry_after: Option<Duration>,
    /// Requests.
    pub requests: Window,
    /// Tokens.
    pub tokens: Window,
}

/// `x-ratelimit-{limit,remaining,reset}-*` of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Window {
    /// So many in a minute.
    pub limit: Option<u64>,
    /// So many are left.
    pub remaining: Option<u64>,
    /// All are back after this time.
    pub reset: Option<Duration>,
}

/// What went wrong with one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which kind of trouble, which settles whether to try again.
    pub kind: FaultKind,
    /// The exact trouble; never holds a secret.
    pub detail: String,
}

/// Kinds of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// 429: too many requests or tokens; the server is well. Try again later.
    RateLimited,
    /// 429 with `insufficient_quota`, 402: no money left. Nothing will be answered.
    Quota,
    /// 401, 403: the key is missing or wrong. Nothing will be answered.
    Forbidden,
    /// 404 on the whole: no such model or address. Nothing will be answered.
    NotFound,
    /// 408, 409, 5xx: the server is not well. Try again.
    Server,
    /// No connection.
    Connection,
    /// The connection broke while the reply came.
    Reset,
    /// No reply in time.
    Timeout,
    /// A reply that is none: broken JSON, another content type, no choices.
    BadReply,
    /// 400, 413, 422: the request itself is refused. Asking again does not help.
    Invalid,
    /// The model declines, or a filter does. Asking again does not help.
    Refused,
    /// The image cannot be read here. Nothing was sent.
    Image,
}

impl FaultKind {
    /// The word by which ledgers count it.
    pub fn word(self) -> &'static str {
        match self {
            FaultKind::RateLimited => "rate_limited",
            FaultKind::Quota => "no_quota",
            FaultKind::Forbidden => "forbidden",
            FaultKind::NotFound => "not_found",
            FaultKind::Server => "server_error",
            FaultKind::Connection => "no_connection",
            FaultKind::Reset => "reset",
            FaultKind::Timeout => "timeout",
            FaultKind::BadReply => "bad_reply",
            FaultKind::Invalid => "invalid_request",
            FaultKind::Refused => "refused",
            FaultKind::Image => "image_unreadable",
        }
    }

    /// Whether the request is settled by it: asking again gives the same.
    pub fn settles(self) -> bool {
        matches!(
            self,
            FaultKind::Invalid | FaultKind::Refused | FaultKind::Image
        )
    }

    /// Whether no other request of this server will fare better.
    pub fn ends_server(self) -> bool {
        matches!(
            self,
            FaultKind::Quota | FaultKind::Forbidden | FaultKind::NotFound
        )
    }

    /// Whether the server may have done, and billed, the work although no reply is here.
    pub fn may_be_billed(self) -> bool {
        matches!(
            self,
            FaultKind::Reset | FaultKind::Timeout | FaultKind::BadReply | FaultKind::Refused
        )
    }
}

/// A try on its way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Attempt> + Send + 'a>>;

/// Servers that answer requests, one at a time.
pub trait Transport: Send + Sync {
    /// The servers' names, for messages and the ledger; without secrets.
    fn servers(&self) -> Vec<String>;

    /// Sends `request` to the server with this index. `key` is the same for each try of one request,
    /// so that a server that knows idempotency keys bills it once.
    fn send<'a>(&'a self, server: usize, request: &'a Arc<Request>, key: &'a str) -> Sending<'a>;
}

/// A call on its way whose trouble is a fault.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// Servers that also answer requests by the file, later and cheaper.
///
/// The order of a batch: lines are written to a file, the file is uploaded, a batch is created of it
/// under a label, polled until it has ended, and its output and error files are fetched. A label that
/// is on record before `create` makes a batch findable whose creation was not heard back from.
pub trait BatchTransport: Transport {
    /// The line that asks `request` in a batch for this server, with its line break, in pieces.
    fn line<'a>(
        &'a self,
        server: usize,
        request: &'a Request,
        custom_id: &'a str,
    ) -> Doing<'a, Vec<Bytes>>;

    /// Uploads a file of lines; the file's id.
    fn upload<'a>(&'a self, server: usize, lines: &'a Path) -> Doing<'a, String>;

    /// Starts a batch of an uploaded file.
    fn create<'a>(
        &'a self,
        server: usize,
        file_id: &'a str,
        label: &'a str,
    ) -> Doing<'a, BatchState>;

    /// The batch that was created under this label, where there is one.
    fn find<'a>(&'a self, server: usize, label: &'a str) -> Doing<'a, Option<BatchState>>;

    /// How far a batch is.
    fn poll<'a>(&'a self, server: usize, batch_id: &'a str) -> Doing<'a, BatchState>;

    /// Stops a batch; what it did so far is billed and can be fetched once it has ended.
    fn cancel<'a>(&'a self, server: usize, batch_id: &'a str) -> Doing<'a, BatchState>;

    /// Reads a batch's output or error file; `heard` is told of each line, also of those that cannot
    /// be read. A file that breaks off is a fault after the lines that came.
    fn fetch<'a>(
        &'a self,
        server: usize,
        file_id: &'a str,
        heard: &'a mut (dyn FnMut(Result<BatchLine, Fault>) + Send),
    ) -> Doing<'a, ()>;
}

/// A line of a batch's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchLine {
    /// The request, by the id that its line gave it.
    pub custom_id: String,
    /// What became of it.
    pub outcome: Result<Reply, Fault>,
}

/// How far a batch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchState {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub status: BatchStatus,
    /// The file of replies, once there is one.
    pub output_file_id: Option<String>,
    /// The file of requests that failed, once there is one.
    pub error_file_id: Option<String>,
    /// Requests in it.
    pub total: u64,
    /// Of those, answered.
    pub completed: u64,
    /// Of those, failed.
    pub failed: u64,
    /// When it will be given up, in seconds since 1970 by the server's clock.
    pub expires_at: Option<u64>,
    /// Why it was not taken, in the server's words.
    pub errors: Vec<String>,
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchStatus {
    /// Its file is being checked.
    Validating,
    /// It is being worked on.
    InProgress,
    /// Its files are being written.
    Finalizing,
    /// All was tried; single requests may have failed.
    Completed,
    /// Its file was not taken; nothing was done.
    Failed,
    /// Time ran out; what was done until then can be fetched.
    Expired,
    /// It is being stopped.
    Cancelling,
    /// It was stopped; what was done until then can be fetched.
    Cancelled,
}

impl BatchStatus {
    /// Whether nothing more will come.
    pub fn ended(self) -> bool {
        matches!(
            self,
            BatchStatus::Completed
                | BatchStatus::Failed
                | BatchStatus::Expired
                | BatchStatus::Cancelled
        )
    }
}
