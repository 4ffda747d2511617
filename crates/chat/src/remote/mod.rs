//! Models behind servers: many requests on their way at once, none paid for twice.
//!
//! [`Remote`] is a [`ChatModel`] over any [`Transport`]. It pulls requests as slots come free,
//! writes each down before it is sent and its reply before it is counted, keeps to each server's
//! limits ([`limits`]), leaves dead ones alone ([`breaker`]), tries again what may pass
//! ([`backoff`]), and stops before its budget is passed ([`crate::money::Budget`]).

pub mod backoff;
pub mod batch;
pub mod breaker;
mod config;
mod dispatch;
mod flight;
pub mod limits;
mod pull;

use std::sync::Arc;

use tokio::runtime::Runtime;

pub use batch::{BatchConfig, Batched};
pub use config::RemoteConfig;
pub use limits::Limits;

use crate::money::{self, Forecast};
use crate::transport::Transport;
use crate::{ChatModel, Error, Ledger, Reply, Request, Settled, Stopped, Tally};

/// A model that servers answer for.
pub struct Remote<T> {
    name: Arc<str>,
    transport: Arc<T>,
    limits: Vec<Limits>,
    config: RemoteConfig,
    runtime: Runtime,
}

impl<T: Transport + 'static> Remote<T> {
    /// The model `name` behind the servers of `transport`; `limits` has one entry for each of them.
    ///
    /// # Errors
    /// Where the configuration makes no sense.
    pub fn new(
        name: &str,
        transport: T,
        limits: Vec<Limits>,
        config: RemoteConfig,
    ) -> Result<Remote<T>, Error> {
        let failed = |detail: String| Error::Failed {
            model: name.to_owned(),
            detail,
        };
        let servers = transport.servers().len();
        if servers == 0 {
            return Err(failed("no server is configured".into()));
        }
        if limits.len() != servers {
            let detail = format!("{} limits for {servers} servers", limits.len());
            return Err(failed(detail));
        }
        if let Some(limits) = limits.iter().find(|limits| limits.concurrency == 0) {
            return Err(failed(format!("{limits:?}: concurrency must be 1 or more")));
        }
        if let Some(wrong) = config.wrong() {
            return Err(failed(wrong));
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(std::thread::available_parallelism().map_or(2, |n| n.get().min(8)))
            .thread_name("requests")
            .enable_all()
            .build()
            .map_err(|e| failed(format!("no threads to send requests: {e}")))?;
        Ok(Remote {
            name: name.into(),
            transport: Arc::new(transport),
            limits,
            config,
            runtime,
        })
    }

    /// What answers.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// What `requests` would cost.
    ///
    /// # Errors
    /// Where the ledger cannot be read.
    pub fn forecast(
        &self,
        requests: &mut dyn Iterator<Item = Request>,
        ledger: &Ledger,
    ) -> Result<Forecast, Error> {
        self.forecast_at(requests, ledger, false)
    }

    fn forecast_at(
        &self,
        requests: &mut dyn Iterator<Item = Request>,
        ledger: &Ledger,
        batch: bool,
    ) -> Result<Forecast, Error> {
        let digest = |request: &Request| self.digest(request);
        let rates = self.config.rates(batch);
        Ok(money::forecast(
            requests, digest, &self.name, ledger, &rates,
        )?)
    }
}

/// Answers to requests on a ledger of their own, which goes away with them.
fn replies<M: ChatModel>(model: &M, batch: &[Request]) -> Vec<Result<Reply, Error>> {
    let answer = || -> Result<Vec<Result<Reply, Error>>, Error> {
        let ledger = Ledger::in_memory()?;
        let tally = model.converse(&mut batch.iter().cloned(), &ledger, &mut |_| {})?;
        let missing = match (tally.stopped, tally.first_missing) {
            (Some(Stopped::Interrupted), _) => Error::Interrupted,
            (stopped, first) => Error::Failed {
                model: model.name().to_owned(),
                detail: first
                    .or_else(|| stopped.map(|stopped| stopped.to_string()))
                    .unwrap_or_else(|| "no reply".into()),
            },
        };
        let of = |request: &Request| {
            Ok(match ledger.settled(&model.digest(request))? {
                Some(Settled::Replied(reply)) => Ok(reply),
                Some(Settled::Refused { reason, detail }) => Err(Error::Unanswerable {
                    id: request.id.clone(),
                    detail: format!("{reason}: {detail}"),
                }),
                None => Err(missing.clone()),
            })
        };
        batch.iter().map(of).collect()
    };
    answer().unwrap_or_else(|error| batch.iter().map(|_| Err(error.clone())).collect())
}

impl<T: Transport + 'static> ChatModel for Remote<T> {
    fn name(&self) -> &str {
        &self.name
    }

    fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, Error>> {
        replies(self, batch)
    }

    fn converse(
        &self,
        requests: &mut (dyn Iterator<Item = Request> + Send),
        ledger: &Ledger,
        heard: &mut (dyn FnMut(&Tally) + Send),
    ) -> Result<Tally, Error> {
        let rates = self.config.rates(false);
        pull::beside(self, requests, ledger, &rates, |pulled| {
            self.runtime.block_on(async {
                dispatch::Dispatch::new(self, ledger, rates.clone())?
                    .run(pulled, heard)
                    .await
            })
        })
    }
}
