//! Batches: requests that a server works off in its own time, at a lower price.
//!
//! The same requests, the same ledger, another way to the server. A batch is written down before
//! its file is uploaded, and its file's name before the batch is created; so after a kill it is
//! found again by that name, and never created twice. What came back failed, or did not come back,
//! goes into the next batch.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::Receiver;

use super::Remote;
use super::breaker::{Breaker, Health};
use super::config::seconds;
use super::flight::{self, Outcome};
use super::pull::{self, Pulled, Work};
use crate::ledger::{BatchStage, Ended, Waiting};
use crate::money::{Budget, Forecast, Rates};
use crate::transport::{
    Attempt, BatchLine, BatchState, BatchStatus, BatchTransport, Fault, FaultKind,
};
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

/// Files of this process so far: no two share a name.
static FILES: AtomicU64 = AtomicU64::new(0);

/// How often a stop that was asked for is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Results that are recorded together.
const RECORDED_TOGETHER: usize = 256;

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

    /// Makes a batch of what is ready; `false` where none can be made now.
    async fn start(&mut self) -> Result<bool, Error> {
        let at = now();
        let servers = self.servers.len();
        let next = (0..servers)
            .map(|n| (self.next_server + n) % servers)
            .find(|&n| {
                self.servers[n]
                    .breaker
                    .ask(at)
                    .is_some_and(|open| open <= at)
            });
        let Some(server) = next else { return Ok(false) };
        let spent = self.ledger.spent(&self.batched.remote.name)?;
        let max = self.batched.remote.config.max_budget;
        let mut budget = Budget::new(max, spent.cost + spent.reserved);
        let Some((path, works)) = self.write(server, &mut budget).await? else {
            return Ok(false);
        };
        self.next_server = (server + 1) % servers;
        let name = Arc::clone(&self.servers[server].name);
        let model = &self.batched.remote.name;
        let sent = works
            .iter()
            .map(|work| work.sent(model, &name, self.worst(work)))
            .collect();
        let row = self.ledger.start_batch(&name, sent)?;
        let transport = Arc::clone(&self.batched.remote.transport);
        self.servers[server].breaker.start();
        let uploaded = transport.upload(server, &path).await;
        // A file that stays costs space and nothing else.
        let _ = std::fs::remove_file(&path);
        let mut open = Open {
            server,
            id: None,
            input_file: String::new(),
            look_at: now() + seconds(self.batched.config.poll_s),
            not_found: 0,
            works: works
                .into_iter()
                .map(|work| (Arc::clone(&work.digest), work))
                .collect(),
        };
        let file = match self.heard_from(server, uploaded) {
            Ok(file) => file,
            Err(fault) => {
                self.ledger
                    .end_batch(row, "not_sent", &fault.detail, false)?;
                self.again(open, &fault);
                return Ok(false);
            }
        };
        self.ledger.creating_batch(row, &file)?;
        open.input_file = file;
        let created = transport
            .create(server, &open.input_file, &open.input_file)
            .await;
        match self.heard_from(server, created) {
            Ok(state) => {
                self.ledger.created_batch(row, &state.id)?;
                open.id = Some(state.id);
            }
            // The server said no.
            Err(fault)
                if fault.kind.settles()
                    || fault.kind.ends_server()
                    || fault.kind == FaultKind::RateLimited =>
            {
                self.ledger
                    .end_batch(row, "not_taken", &fault.detail, false)?;
                self.again(open, &fault);
                return Ok(false);
            }
            // It may have heard.
            Err(_) => {}
        }
        self.open.insert(row, open);
        Ok(true)
    }

    fn worst(&self, work: &Work) -> f64 {
        self.rates
            .worst(work.prompt, self.worst_seen, work.request.max_tokens)
    }

    /// Writes the file of the next batch: as many requests as fit it and the budget.
    async fn write(
        &mut self,
        server: usize,
        budget: &mut Budget,
    ) -> Result<Option<(PathBuf, Vec<Work>)>, Error> {
        let config = &self.batched.config;
        let folder = if config.folder.as_os_str().is_empty() {
            std::env::temp_dir()
        } else {
            config.folder.clone()
        };
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let name = format!("batch-{}-{number}.jsonl", std::process::id());
        let path = folder.join(name);
        let failed = |e: std::io::Error| Error::Failed {
            model: self.batched.remote.name.to_string(),
            detail: format!("{}: {e}", path.display()),
        };
        let file = std::fs::File::create(&path).map_err(failed)?;
        let mut file = std::io::BufWriter::new(file);
        let (mut works, mut bytes, mut full) = (Vec::new(), 0, false);
        while works.len() < self.together
            && let Some(work) = self.ready.pop_front()
        {
            let transport = &self.batched.remote.transport;
            let line = match transport.line(server, &work.request, &work.digest).await {
                Ok(line) => line,
                Err(fault) => {
                    self.unsendable(server, work, fault).await?;
                    continue;
                }
            };
            let length: u64 = line.iter().map(|piece| piece.len() as u64).sum();
            let fits = works.is_empty() || bytes + length <= self.batched.config.bytes;
            full = fits && !budget.reserve(self.worst(&work));
            if !fits || full {
                self.ready.push_front(work);
                break;
            }
            for piece in line {
                file.write_all(&piece).map_err(failed)?;
            }
            bytes += length;
            works.push(work);
        }
        file.flush().map_err(failed)?;
        if !works.is_empty() {
            return Ok(Some((path, works)));
        }
        // Nothing is in it.
        let _ = std::fs::remove_file(&path);
        if full && self.open.is_empty() {
            let (spent, max) = (budget.spent(), budget.max().unwrap_or(0.0));
            self.stop(Stopped::Budget { spent, max });
        }
        Ok(None)
    }

    /// A request of which no line can be made.
    async fn unsendable(&mut self, server: usize, work: Work, fault: Fault) -> Result<(), Error> {
        let recorder = self.ledger.recorder()?;
        let name = &self.servers[server].name;
        let sent = work.sent(&self.batched.remote.name, name, 0.0);
        recorder.sent(sent.clone()).await?;
        let said = format!("request {}: {}", work.request.id, fault.detail);
        let settles = fault.kind.settles();
        let attempt = Attempt {
            outcome: Some(Err(fault)),
            ..Attempt::default()
        };
        let named = (&sent.digest, sent.attempt, 0.0, 0);
        let ended = flight::ended(&attempt, named, &self.rates.price, true, 0.0);
        recorder.ended(ended).await?;
        if settles {
            self.tally.refused += 1;
            (self.heard)(&self.tally);
        } else {
            self.miss(&said);
        }
        Ok(())
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

    /// Reads what an ended batch has brought.
    async fn fetch(
        &mut self,
        row: i64,
        mut open: Open,
        state: BatchState,
    ) -> Result<Option<Open>, Error> {
        let (output, errors) = (&state.output_file_id, &state.error_file_id);
        self.ledger
            .batch_files(row, output.as_deref(), errors.as_deref())?;
        let mut waiting: HashMap<Arc<str>, Waiting> = HashMap::new();
        for one in self.ledger.waiting(row)? {
            waiting.insert(Arc::clone(&one.digest), one);
        }
        let transport = Arc::clone(&self.batched.remote.transport);
        let mut results = Results {
            ledger: self.ledger,
            rates: &self.rates,
            waiting,
            ended: Vec::new(),
            settled: HashMap::new(),
            stray: 0,
            failed: None,
            cost: 0.0,
        };
        let mut whole = Ok(());
        for file in [output, errors].into_iter().flatten() {
            let fetched = transport
                .fetch(open.server, file, &mut |line| results.hear(line))
                .await;
            whole = whole.and(fetched);
        }
        results.record();
        let (settled, stray) = (results.settled, results.stray);
        self.tally.cost += results.cost;
        if let Some(error) = results.failed {
            return Err(error.into());
        }
        for (digest, outcome) in settled {
            // The others are counted as known, should this run be asked for them.
            if open.works.remove(&digest).is_some() {
                match outcome {
                    Outcome::Answered => self.tally.answered += 1,
                    Outcome::Refused => self.tally.refused += 1,
                }
                (self.heard)(&self.tally);
            }
        }
        if stray > 0 {
            sample::progress::note(&format!(
                "batch {row}: left out {stray} lines that cannot be read, are of no request of \
                 it, or of one that had its line already"
            ));
        }
        if self.heard_from(open.server, whole).is_err() {
            return Ok(Some(open));
        }
        let (outcome, detail, billed) = match state.status {
            BatchStatus::Failed => {
                self.together = (self.together / 2).max(1);
                ("not_taken", state.errors.join("; "), false)
            }
            BatchStatus::Expired => ("expired", "the batch expired".to_owned(), false),
            BatchStatus::Cancelled => ("cancelled", "the batch was cancelled".to_owned(), false),
            _ => ("no_line", "the batch has no line for it".to_owned(), true),
        };
        self.ledger.end_batch(row, outcome, &detail, billed)?;
        let fault = Fault {
            kind: FaultKind::Server,
            detail: format!("batch: {detail}"),
        };
        self.again(open, &fault);
        Ok(None)
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

/// The lines of a batch's files, as they come.
struct Results<'a> {
    ledger: &'a Ledger,
    rates: &'a Rates,
    waiting: HashMap<Arc<str>, Waiting>,
    ended: Vec<Ended>,
    settled: HashMap<Arc<str>, Outcome>,
    /// Lines of no request, or of one that had its line.
    stray: u64,
    failed: Option<crate::ledger::Error>,
    cost: f64,
}

impl Results<'_> {
    fn hear(&mut self, line: Result<BatchLine, Fault>) {
        let Ok(line) = line else {
            self.stray += 1;
            return;
        };
        let Some((digest, waiting)) = self.waiting.remove_entry(line.custom_id.as_str()) else {
            self.stray += 1;
            return;
        };
        let attempt = Attempt {
            outcome: Some(line.outcome),
            ..Attempt::default()
        };
        let named = (
            &digest,
            waiting.attempt,
            waiting.reserved,
            waiting.estimated_tokens,
        );
        let ended = flight::ended(&attempt, named, &self.rates.price, true, 0.0);
        if let Some(settled) = &ended.settled {
            self.settled.insert(digest, Outcome::of(settled));
        }
        self.cost += ended.cost;
        self.ended.push(ended);
        if self.ended.len() >= RECORDED_TOGETHER {
            self.record();
        }
    }

    fn record(&mut self) {
        if let Err(error) = self.ledger.end_tries(&self.ended) {
            self.failed.get_or_insert(error);
        }
        self.ended.clear();
    }
}
