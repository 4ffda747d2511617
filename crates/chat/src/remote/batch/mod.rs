//! Batches: requests that a server works off in its own time, at a lower price.
//!
//! The same requests, the same ledger, another way to the server. A batch is written down before
//! its file is uploaded, and its file's name before the batch is created; so after a kill it is
//! found again by that name, and never created twice. What came back failed, or did not come back,
//! goes into the next batch.

mod create;
mod fetch;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Receiver;

use super::Remote;
use super::breaker::{Breaker, Health};
use super::config::seconds;
use super::pull::{self, Pulled, Work};
use crate::ledger::BatchStage;
use crate::money::{Forecast, Rates};
use crate::transport::{BatchTransport, Fault, FaultKind};
use crate::{ChatModel, Error, Ledger, Reply, Request, Stopped, Tally};

/// How requests are put into batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Requests in one batch at most. OpenAI takes 50,000.
    pub requests: usize,
    /// Bytes of its file at most. OpenAI takes 200 MB.
    pub bytes: u64,
    /// Batches that a server works on at once.
    pub open: usize,
    /// Seconds between two looks at a batch.
    pub poll_s: f64,
    /// Where files lie until they are uploaded; the system's folder for such files if empty.
    pub folder: PathBuf,
}

impl Default for BatchConfig {
    fn default() -> BatchConfig {
        BatchConfig {
            requests: 10_000,
            bytes: 150_000_000,
            open: 4,
            poll_s: 30.0,
            folder: PathBuf::new(),
        }
    }
}

/// A model that is asked by the batch.
pub struct Batched<T> {
    remote: Remote<T>,
    config: BatchConfig,
}

impl<T: BatchTransport + 'static> Batched<T> {
    /// `remote`, asked by the batch.
    ///
    /// # Errors
    /// Where the configuration makes no sense.
    pub fn new(remote: Remote<T>, config: BatchConfig) -> Result<Batched<T>, Error> {
        let positive = config.requests > 0 && config.bytes > 0 && config.open > 0;
        if !positive || !config.poll_s.is_finite() || config.poll_s <= 0.0 {
            return Err(Error::Failed {
                model: remote.name.to_string(),
                detail: "batch: requests, bytes, open and poll_s must be more than 0".into(),
            });
        }
        Ok(Batched { remote, config })
    }

    /// What answers.
    pub fn transport(&self) -> &T {
        self.remote.transport()
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
        self.remote.forecast_at(requests, ledger, true)
    }
}

impl<T: BatchTransport + 'static> ChatModel for Batched<T> {
    fn name(&self) -> &str {
        &self.remote.name
    }

    fn reply(&self, batch: &[Request]) -> Vec<Result<Reply, Error>> {
        super::replies(self, batch)
    }

    fn converse(
        &self,
        requests: &mut (dyn Iterator<Item = Request> + Send),
        ledger: &Ledger,
        heard: &mut (dyn FnMut(&Tally) + Send),
    ) -> Result<Tally, Error> {
        let rates = self.remote.config.rates(true);
        pull::beside(self, requests, ledger, &rates, |pulled| {
            let run = Run::new(self, ledger, rates.clone(), heard)?;
            self.remote.runtime.block_on(run.work(pulled))
        })
    }
}

struct Server {
    name: Arc<str>,
    breaker: Breaker,
    last_fault: Option<String>,
}

struct Open {
    server: usize,
    /// The server's name for it; `None` where it is not known whether it was created.
    id: Option<String>,
    input_file: String,
    look_at: Instant,
    /// How often it was not found.
    not_found: u32,
    works: HashMap<Arc<str>, Work>,
}

struct Run<'a, T> {
    batched: &'a Batched<T>,
    ledger: &'a Ledger,
    rates: Rates,
    worst_seen: f64,
    heard: &'a mut (dyn FnMut(&Tally) + Send),
    tally: Tally,
    servers: Vec<Server>,
    next_server: usize,
    ready: VecDeque<Work>,
    open: BTreeMap<i64, Open>,
    /// Requests in the next batch at most; halved when a server takes none of a batch.
    together: usize,
    stopped: bool,
}

/// How often a stop that was asked for is looked for.
const LOOK: Duration = Duration::from_millis(100);

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

impl<'a, T: BatchTransport + 'static> Run<'a, T> {
    fn new(
        batched: &'a Batched<T>,
        ledger: &'a Ledger,
        rates: Rates,
        heard: &'a mut (dyn FnMut(&Tally) + Send),
    ) -> Result<Self, Error> {
        let remote = &batched.remote;
        let servers: Vec<Server> = remote
            .transport
            .servers()
            .into_iter()
            .map(|name| Server {
                name: name.into(),
                breaker: Breaker::new(remote.config.breaker()),
                last_fault: None,
            })
            .collect();
        let mut run = Run {
            batched,
            ledger,
            rates,
            worst_seen: ledger.calibration(&remote.name)?.worst,
            heard,
            tally: Tally::default(),
            servers,
            next_server: 0,
            ready: VecDeque::new(),
            open: BTreeMap::new(),
            together: batched.config.requests,
            stopped: false,
        };
        run.resume()?;
        Ok(run)
    }

    /// Takes up the batches of earlier runs.
    fn resume(&mut self) -> Result<(), Error> {
        for batch in self.ledger.open_batches(&self.batched.remote.name)? {
            let server = self.servers.iter().position(|s| *s.name == *batch.server);
            match (batch.state, batch.input_file, server) {
                // Nobody was asked to work on it.
                (BatchStage::New, ..) | (_, None, _) => {
                    let why = "its file was not sent";
                    self.ledger.end_batch(batch.row, "not_sent", why, false)?;
                }
                (_, Some(input_file), Some(server)) => {
                    let open = Open {
                        server,
                        id: batch.id,
                        input_file,
                        look_at: now(),
                        not_found: 0,
                        works: HashMap::new(),
                    };
                    self.open.insert(batch.row, open);
                }
                (_, Some(_), None) => sample::progress::note(&format!(
                    "batch {} waits at {}, which is not configured: its requests stay open",
                    batch.row, batch.server
                )),
            }
        }
        Ok(())
    }

    async fn work(mut self, mut pulled: Receiver<Pulled>) -> Result<Tally, Error> {
        let limit = self.batched.remote.config.stage_timeout_s;
        let end = (limit > 0.0).then(|| now() + seconds(limit));
        let (mut more, mut fresh) = (true, Vec::new());
        loop {
            if sample::interrupt::requested() {
                self.stop(Stopped::Interrupted);
            } else if end.is_some_and(|end| now() >= end) {
                self.stop(Stopped::OutOfTime { seconds: limit });
            }
            self.look().await?;
            let most = self.batched.config.open * self.servers.len();
            while !self.stopped
                && self.open.len() < most
                && !self.ready.is_empty()
                && (!more || self.ready.len() >= self.together)
            {
                if !self.start().await? {
                    break;
                }
            }
            if !self.stopped
                && let Some(why) = self.dead()
            {
                self.stop(Stopped::Dead(why));
            }
            if self.stopped || (!more && self.ready.is_empty() && self.open.is_empty()) {
                return Ok(self.finish());
            }
            let room = self.together.saturating_sub(self.ready.len());
            let looks = self.open.values().map(|open| open.look_at);
            let wake = looks.fold(now() + LOOK, Instant::min);
            tokio::select! {
                came = pulled.recv_many(&mut fresh, room), if more && room > 0 => {
                    more = came > 0;
                    for pulled in fresh.drain(..) {
                        self.take(pulled)?;
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
    }

    fn stop(&mut self, why: Stopped) {
        if !self.stopped {
            self.stopped = true;
            self.tally.stopped = Some(why);
        }
    }

    fn take(&mut self, pulled: Pulled) -> Result<(), Error> {
        match pulled {
            Pulled::Failed(error) => return Err(error),
            Pulled::Known => {
                self.tally.requests += 1;
                self.tally.known += 1;
                (self.heard)(&self.tally);
            }
            Pulled::Open(work) => {
                self.tally.requests += 1;
                self.ready.push_back(work);
            }
            Pulled::InBatch(row, mut work) => {
                self.tally.requests += 1;
                if let Some(open) = self.open.get_mut(&row) {
                    work.tries -= 1;
                    open.works.insert(Arc::clone(&work.digest), work);
                    return Ok(());
                }
                // The batch may have ended since it was looked up.
                let standing = self.ledger.standing(&work.digest)?;
                if standing.settled {
                    self.tally.known += 1;
                    (self.heard)(&self.tally);
                } else if standing.batch.is_some() {
                    self.miss("waits in a batch of a server that is not configured");
                } else {
                    work.tries = standing.tries;
                    self.ready.push_back(work);
                }
            }
        }
        Ok(())
    }

    fn miss(&mut self, why: &str) {
        self.tally.missing += 1;
        self.tally
            .first_missing
            .get_or_insert_with(|| why.to_owned());
    }

    /// Keeps the server's health.
    fn heard_from<V>(&mut self, server: usize, said: Result<V, Fault>) -> Result<V, Fault> {
        let server = &mut self.servers[server];
        let health = match &said {
            Ok(_) => Health::Well,
            Err(fault) if fault.kind.ends_server() => Health::Ended,
            Err(fault) if fault.kind.settles() => Health::Well,
            Err(_) => Health::Unwell,
        };
        server.breaker.end(now(), health);
        if let Err(fault) = &said {
            let said = format!("{}: {}: {}", server.name, fault.kind.word(), fault.detail);
            server.last_fault = Some(said);
        }
        said
    }

    /// Its requests go into another batch.
    fn again(&mut self, open: Open, fault: &Fault) {
        let most = self.batched.remote.config.max_tries;
        let counts = !fault.kind.ends_server() && fault.kind != FaultKind::RateLimited;
        let mut works: Vec<Work> = open.works.into_values().collect();
        works.sort_by(|a, b| a.request.id.cmp(&b.request.id));
        for mut work in works {
            work.tries += 1;
            work.faults += u32::from(counts);
            if work.faults >= most {
                let said = format!("{}: {}", fault.kind.word(), fault.detail);
                self.miss(&format!("request {}: {said}", work.request.id));
            } else {
                self.ready.push_back(work);
            }
        }
    }

    /// Looks at the batches whose time has come.
    async fn look(&mut self) -> Result<(), Error> {
        let at = now();
        let due: Vec<i64> = self
            .open
            .iter()
            .filter(|(_, open)| open.look_at <= at)
            .map(|(&row, _)| row)
            .collect();
        for row in due {
            if sample::interrupt::requested() {
                return Ok(());
            }
            let Some(mut open) = self.open.remove(&row) else {
                continue;
            };
            open.look_at = now() + seconds(self.batched.config.poll_s);
            let breaker = &mut self.servers[open.server].breaker;
            if breaker.ended() {
                // Another run, with another key, will find it on the ledger.
                for work in open.works.into_values() {
                    self.miss(&format!("request {} waits in a batch", work.request.id));
                }
                continue;
            }
            if breaker.ask(at).is_none_or(|open| open > at) {
                self.open.insert(row, open);
                continue;
            }
            breaker.start();
            if let Some(open) = self.poll(row, open).await? {
                self.open.insert(row, open);
            }
        }
        Ok(())
    }

    /// Asks how far a batch is; gives it back where it has not ended.
    async fn poll(&mut self, row: i64, mut open: Open) -> Result<Option<Open>, Error> {
        let transport = Arc::clone(&self.batched.remote.transport);
        let state = match &open.id {
            Some(id) => transport.poll(open.server, id).await.map(Some),
            None => transport.find(open.server, &open.input_file).await,
        };
        let state = match self.heard_from(open.server, state) {
            Err(_) => return Ok(Some(open)),
            // It may still be on its way there when it is looked for at once.
            Ok(None) if open.not_found == 0 => {
                open.not_found = 1;
                return Ok(Some(open));
            }
            Ok(None) => {
                let fault = Fault {
                    kind: FaultKind::Server,
                    detail: "the batch was not created".into(),
                };
                self.ledger
                    .end_batch(row, "not_created", &fault.detail, false)?;
                self.again(open, &fault);
                return Ok(None);
            }
            Ok(Some(state)) => state,
        };
        if open.id.is_none() {
            self.ledger.created_batch(row, &state.id)?;
            open.id = Some(state.id.clone());
        }
        if !state.status.ended() {
            return Ok(Some(open));
        }
        self.fetch(row, open, state).await
    }

    fn dead(&self) -> Option<String> {
        let patience = seconds(self.batched.remote.config.patience_s);
        let hopeless =
            |server: &Server| server.breaker.ended() || server.breaker.unwell_for() > patience;
        if !self.servers.iter().all(hopeless) {
            return None;
        }
        let said: Vec<&str> = self
            .servers
            .iter()
            .filter_map(|server| server.last_fault.as_deref())
            .collect();
        Some(said.join("; "))
    }

    fn finish(mut self) -> Tally {
        let why = match &self.tally.stopped {
            Some(stopped) => stopped.to_string(),
            None => String::new(),
        };
        for open in std::mem::take(&mut self.open).into_values() {
            for _ in open.works {
                self.miss(&format!("waits in a batch; {why}: run again to fetch it"));
            }
        }
        for _ in std::mem::take(&mut self.ready) {
            self.miss(&why);
        }
        self.tally
    }
}
