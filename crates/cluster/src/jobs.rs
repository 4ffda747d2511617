//! Plans at work on the scheduler, seen from who asked for them: what went wrong in words, and an end where
//! nobody waits for the result any more.
//!
//! Ballista's own client leaves a plan running when its stream is dropped. Here a dropped stream cancels: no
//! further task of the plan is begun.

use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ballista_core::serde::protobuf::CancelJobParams;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_connection};
use datafusion::error::DataFusionError;

use crate::{functions, versions};

/// What the thread that cancels is told.
enum Order {
    Cancel(String),
    /// Says when all before it is done.
    Flush(mpsc::Sender<()>),
}

/// Plans to be cancelled. The work is done on a thread of its own, since a stream may be dropped anywhere.
#[derive(Debug, Clone)]
pub struct Jobs {
    orders: Arc<Mutex<mpsc::Sender<Order>>>,
    address: Arc<str>,
}

impl std::fmt::Debug for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Order")
    }
}

impl Jobs {
    /// For the scheduler at `address`.
    pub fn of(address: &str) -> std::io::Result<Jobs> {
        let (orders, waiting) = mpsc::channel();
        let url = format!("http://{address}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        std::thread::Builder::new()
            .name("cancel".into())
            .spawn(move || {
                // Ends with the last sender.
                for order in waiting {
                    match order {
                        Order::Flush(done) => drop(done.send(())),
                        Order::Cancel(job) => runtime.block_on(cancel(&url, job)),
                    }
                }
            })?;
        Ok(Jobs {
            orders: Arc::new(Mutex::new(orders)),
            address: address.into(),
        })
    }

    fn order(&self, order: Order) {
        // Nobody panics while holding it; and where the thread is gone there is nothing to be done.
        if let Ok(orders) = self.orders.lock() {
            let _ = orders.send(order);
        }
    }

    /// Waits until everything dropped so far is cancelled, or a second has passed.
    pub fn flush(&self) {
        let (done, wait) = mpsc::channel();
        self.order(Order::Flush(done));
        let _ = wait.recv_timeout(Duration::from_secs(1));
    }

    /// Says that nobody waits for a plan any more.
    pub fn cancel(&self, job: String) {
        self.order(Order::Cancel(job));
    }

    /// The scheduler, `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Best effort: a scheduler that is gone has cancelled everything.
async fn cancel(url: &str, job_id: String) {
    let config = GrpcClientConfig {
        connect_timeout_seconds: 1,
        timeout_seconds: 1,
        ..GrpcClientConfig::default()
    };
    if let Ok(connection) = create_grpc_client_connection(url.to_owned(), &config).await {
        let mut scheduler = SchedulerGrpcClient::new(connection);
        let _ = scheduler.cancel_job(CancelJobParams { job_id }).await;
    }
}

/// What is said of a plan that the scheduler took and does not know any more.
pub const RESTARTED: &str = "the scheduler was started again and knows the plan no more";

/// Says so of who cannot be reached.
pub const GONE: &str = "is gone";

/// Whether a message says that a connection broke, rather than that the work went wrong.
pub fn lost(message: &str) -> bool {
    [
        RESTARTED,
        "transport error",
        "tonic::transport::Error",
        "tcp connect error",
        "error reading a body from connection",
        "h2 protocol error",
        "operation timed out",
        "Timeout expired",
        "ConnectionRefused",
        "GrpcConnectionError",
    ]
    .iter()
    .any(|sign| message.contains(sign))
}

/// An error's message, without the word that DataFusion puts before it.
pub fn text(error: &DataFusionError) -> String {
    match error {
        DataFusionError::Execution(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The operating system's word, where there is one.
fn innermost(message: &str) -> &str {
    let said = message.rsplit_once("message: \"").map(|(_, rest)| rest);
    said.and_then(|rest| rest.split_once('"'))
        .map_or(message, |(said, _)| said)
}

/// What went wrong, without what Ballista wraps around it.
pub fn explain(address: &str, message: &str) -> String {
    if let Some(refusal) = versions::refusal(message) {
        return format!("the cluster at {address} refuses: {refusal}");
    }
    if let Some(said) = functions::said(message) {
        return said;
    }
    if lost(message) {
        return format!(
            "the scheduler at {address}, or an executor whose result was being fetched, {GONE} ({}): \
             start it again and repeat the command; what was finished is kept",
            innermost(message)
        );
    }
    format!("the cluster at {address}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_is_said_without_its_wrapping() {
        for (message, expected) in [
            (
                "Status { message: \"version mismatch: this scheduler is math-llava 2, the plan is math-llava 1: start the same version everywhere\" }",
                "the cluster at a:1 refuses: this scheduler is math-llava 2, the plan is math-llava 1: start the same version everywhere",
            ),
            (
                "Task failed: Execution error: math-llava function f: «no such \\\"model\\\"»\")))",
                "math-llava function f: no such \"model\"",
            ),
            ("disk full", "the cluster at a:1: disk full"),
        ] {
            assert_eq!(explain("a:1", message), expected);
        }
        let gone = explain(
            "a:1",
            "transport error, source: Os { message: \"Connection refused\" }",
        );
        assert!(
            gone.contains("is gone (Connection refused)") && gone.contains("repeat the command"),
            "{gone}"
        );
    }

    #[test]
    fn cancelling_at_a_scheduler_that_is_gone_does_not_keep_anybody_waiting() {
        let jobs = Jobs::of("127.0.0.1:1").unwrap();
        jobs.cancel("x".into());
        jobs.flush();
    }
}
