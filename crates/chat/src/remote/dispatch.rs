//! The dispatcher: which request goes to which server, and when.
//!
//! One task decides, over state machines that know no clock but the one they are told; each try is a
//! task of its own ([`super::flight`]). So slots come free as replies come, whatever the disk does.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use super::Remote;
use super::backoff;
use super::breaker::{Breaker, Health};
use super::config::{RemoteConfig, seconds};
use super::flight::{Flight, News, Outcome};
use super::limits::{Gate, Permit};
use super::pull::{Pulled, Work};
use crate::ledger::Recorder;
use crate::money::{Budget, Rates};
use crate::transport::{Announced, Fault, FaultKind, Transport};
use crate::{Error, Ledger, Stopped, Tally};

struct Server {
    name: Arc<str>,
    gate: Gate,
    breaker: Breaker,
    last_fault: Option<String>,
}

struct InFlight {
    work: Work,
    server: usize,
    worst: f64,
    task: AbortHandle,
}

/// A request that waits before it is tried again; the earliest first.
struct Waiting {
    due: Instant,
    ticket: u64,
    work: Work,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Waiting) -> bool {
        (self.due, self.ticket) == (other.due, other.ticket)
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Waiting) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Waiting) -> std::cmp::Ordering {
        (self.due, self.ticket).cmp(&(other.due, other.ticket))
    }
}

/// How often a stop that was asked for is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Pulled requests that lie ready beside those in the channel.
const READY: usize = 256;

/// Requests that wait to be tried again; more are not pulled before these have gone.
const MOST_WAITING: usize = 20_000;

pub(super) struct Dispatch<'a, T> {
    transport: Arc<T>,
    runtime: tokio::runtime::Handle,
    model: Arc<str>,
    config: &'a RemoteConfig,
    rates: Rates,
    /// Tokens that a prompt had at most, as a multiple of those that were estimated.
    worst_seen: f64,
    ledger: &'a Ledger,
    recorder: Recorder,
    budget: Budget,
    servers: Vec<Server>,
    ready: VecDeque<Work>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    in_flight: HashMap<u64, InFlight>,
    /// Tries whose end is not on the ledger yet.
    unrecorded: usize,
    tickets: u64,
    news: UnboundedSender<News>,
    heard_news: UnboundedReceiver<News>,
    tally: Tally,
    failed: Option<Error>,
    /// From here on nothing is sent; in-flight requests are waited for until then.
    stopping: Option<Instant>,
}

fn now() -> Instant {
    // Tokio's clock is the monotonic one, and stands still where a test wants it to.
    tokio::time::Instant::now().into_std()
}

impl<'a, T: Transport + 'static> Dispatch<'a, T> {
    pub(super) fn new(
        remote: &'a Remote<T>,
        ledger: &'a Ledger,
        rates: Rates,
    ) -> Result<Self, Error> {
        let config = &remote.config;
        let start = now();
        let spent = ledger.spent(&remote.name)?;
        let (news, heard_news) = unbounded_channel();
        let servers = remote.transport.servers();
        Ok(Dispatch {
            transport: Arc::clone(&remote.transport),
            runtime: remote.runtime.handle().clone(),
            model: Arc::clone(&remote.name),
            config,
            rates,
            worst_seen: ledger.calibration(&remote.name)?.worst,
            ledger,
            recorder: ledger.recorder()?,
            budget: Budget::new(config.max_budget, spent.cost + spent.reserved),
            servers: servers
                .into_iter()
                .zip(&remote.limits)
                .map(|(name, &limits)| Server {
                    name: name.into(),
                    gate: Gate::new(limits, start),
                    breaker: Breaker::new(config.breaker()),
                    last_fault: None,
                })
                .collect(),
            ready: VecDeque::new(),
            waiting: BinaryHeap::new(),
            in_flight: HashMap::new(),
            unrecorded: 0,
            tickets: 0,
            news,
            heard_news,
            tally: Tally::default(),
            failed: None,
            stopping: None,
        })
    }

    /// Works `pulled` off.
    pub(super) async fn run(
        mut self,
        mut pulled: Receiver<Pulled>,
        heard: &mut (dyn FnMut(&Tally) + Send),
    ) -> Result<Tally, Error> {
        let start = now();
        let end = (self.config.stage_timeout_s > 0.0)
            .then(|| start + seconds(self.config.stage_timeout_s));
        let mut more = true;
        let mut fresh = Vec::with_capacity(READY);
        loop {
            let at = now();
            if sample::interrupt::requested() {
                self.stop(at, Stopped::Interrupted);
            } else if end.is_some_and(|end| at >= end) {
                let seconds = self.config.stage_timeout_s;
                self.stop(at, Stopped::OutOfTime { seconds });
            }
            let wake = self.launch(at).min(at + LOOK);
            let idle = self.in_flight.is_empty() && self.unrecorded == 0;
            let rest = self.ready.len() + self.waiting.len();
            let finished = !more && rest == 0;
            if idle && (finished || self.stopping.is_some())
                || self.stopping.is_some_and(|until| at >= until)
            {
                break;
            }
            let room = READY.saturating_sub(self.ready.len());
            let pull =
                more && room > 0 && self.stopping.is_none() && self.waiting.len() < MOST_WAITING;
            tokio::select! {
                biased;
                Some(news) = self.heard_news.recv() => {
                    self.hear(news, heard);
                    while let Ok(news) = self.heard_news.try_recv() {
                        self.hear(news, heard);
                    }
                }
                came = pulled.recv_many(&mut fresh, room), if pull => {
                    more = came > 0;
                    for pulled in fresh.drain(..) {
                        self.take(pulled, heard);
                    }
                }
                () = tokio::time::sleep_until(wake.into()) => {}
            }
        }
        self.finish()
    }

    fn stop(&mut self, at: Instant, why: Stopped) {
        if self.stopping.is_none() {
            self.stopping = Some(at + seconds(self.config.grace_s));
            self.tally.stopped = Some(why);
        }
    }

    fn take(&mut self, pulled: Pulled, heard: &mut (dyn FnMut(&Tally) + Send)) {
        match pulled {
            Pulled::Failed(error) => self.fail(error),
            Pulled::Known => {
                self.tally.requests += 1;
                self.tally.known += 1;
                heard(&self.tally);
            }
            Pulled::InBatch(..) => {
                self.tally.requests += 1;
                self.miss("waits in a batch of an earlier run; run with batches to fetch it");
            }
            Pulled::Open(work) => {
                self.tally.requests += 1;
                self.ready.push_back(work);
            }
        }
    }

    fn fail(&mut self, error: Error) {
        self.failed.get_or_insert(error);
        self.stopping
            .get_or_insert(now() + seconds(self.config.grace_s));
    }

    fn miss(&mut self, why: &str) {
        self.tally.missing += 1;
        self.tally
            .first_missing
            .get_or_insert_with(|| why.to_owned());
    }

    /// Sends whatever may go; gives when to look again.
    fn launch(&mut self, at: Instant) -> Instant {
        let far = at + Duration::from_secs(3600);
        while self.stopping.is_none() {
            let again = self.waiting.peek().is_some_and(|next| next.0.due <= at);
            let next = if again {
                self.waiting.peek().map(|next| &next.0.work)
            } else {
                self.ready.front()
            };
            let Some(work) = next else { break };
            let tokens = work.prompt.total() + u64::from(work.request.max_tokens);
            let server = match choose(&mut self.servers, at, tokens, work.failed_at) {
                Ok(server) => server,
                Err(later) => {
                    if self.in_flight.is_empty()
                        && let Some(why) = self.dead(at)
                    {
                        self.stop(at, Stopped::Dead(why));
                    }
                    return later.unwrap_or(far);
                }
            };
            let worst = self
                .rates
                .worst(work.prompt, self.worst_seen, work.request.max_tokens);
            if !self.budget.reserve(worst) {
                if self.in_flight.is_empty() {
                    let (spent, max) = (self.budget.spent(), self.budget.max().unwrap_or(0.0));
                    self.stop(at, Stopped::Budget { spent, max });
                }
                return far;
            }
            let work = if again {
                self.waiting.pop().map(|next| next.0.work)
            } else {
                self.ready.pop_front()
            };
            if let Some(work) = work {
                self.send(at, work, server, tokens, worst);
            }
        }
        self.waiting.peek().map_or(far, |next| next.0.due)
    }

    fn send(&mut self, at: Instant, work: Work, server: usize, tokens: u64, worst: f64) {
        let to = &mut self.servers[server];
        to.gate.start(at, tokens);
        to.breaker.start();
        self.tickets += 1;
        let flight = Flight {
            ticket: self.tickets,
            transport: Arc::clone(&self.transport),
            recorder: self.recorder.clone(),
            news: self.news.clone(),
            price: self.rates.price.clone(),
            server,
            sent: work.sent(&self.model, &to.name, worst),
        };
        self.unrecorded += 1;
        let task = self.runtime.spawn(flight.fly()).abort_handle();
        let flying = InFlight {
            work,
            server,
            worst,
            task,
        };
        self.in_flight.insert(self.tickets, flying);
    }

    fn hear(&mut self, news: News, heard: &mut (dyn FnMut(&Tally) + Send)) {
        match news {
            News::Ended {
                ticket,
                fault,
                announced,
                gone,
                prompt_tokens,
            } => {
                if let Some(flying) = self.in_flight.remove(&ticket) {
                    let estimate = flying.work.prompt.total().max(1) as f64;
                    self.worst_seen = self.worst_seen.max(f64::from(prompt_tokens) / estimate);
                    self.budget.settle(flying.worst, gone);
                    self.came_back(now(), ticket, flying, fault, &announced);
                }
            }
            News::Recorded {
                written,
                settled,
                cost,
            } => {
                self.unrecorded -= 1;
                if let Err(error) = written {
                    self.fail(error.into());
                    return;
                }
                self.tally.cost += cost;
                match settled {
                    Some(Outcome::Answered) => self.tally.answered += 1,
                    Some(Outcome::Refused) => self.tally.refused += 1,
                    None => return,
                }
                heard(&self.tally);
            }
        }
    }

    fn came_back(
        &mut self,
        at: Instant,
        ticket: u64,
        flying: InFlight,
        fault: Option<Fault>,
        announced: &Announced,
    ) {
        let kind = fault.as_ref().map(|fault| fault.kind);
        let server = &mut self.servers[flying.server];
        let health = health(kind);
        let too_many = kind == Some(FaultKind::RateLimited);
        server
            .gate
            .end(at, announced, too_many, health == Health::Well);
        server.breaker.end(at, health);
        let Some(fault) = fault else { return };
        if fault.kind.settles() {
            return;
        }
        let said = format!("{}: {}: {}", server.name, fault.kind.word(), fault.detail);
        server.last_fault = Some(said.clone());
        let mut work = flying.work;
        work.tries += 1;
        work.failed_at = Some(flying.server);
        // A server that is busy or has ended says nothing about the request.
        let counts = !too_many && !fault.kind.ends_server();
        work.faults += u32::from(counts);
        if work.faults >= self.config.max_tries {
            let why = format!("request {}: {said}", work.request.id);
            self.miss(&why);
            return;
        }
        let wait = if counts {
            let first = seconds(self.config.retry_first_s);
            let longest = seconds(self.config.retry_longest_s);
            backoff::wait(&work.digest, work.faults, first, longest)
        } else {
            Duration::ZERO
        };
        work.last_fault = Some(said);
        self.waiting.push(Reverse(Waiting {
            due: at + wait,
            ticket,
            work,
        }));
    }

    /// Why no server is worth waiting for, where none is.
    fn dead(&self, at: Instant) -> Option<String> {
        let patience = seconds(self.config.patience_s);
        let hopeless = |server: &Server| {
            server.breaker.ended()
                || server.breaker.unwell_for() > patience
                || server
                    .gate
                    .not_before()
                    .is_some_and(|until| until.saturating_duration_since(at) > patience)
        };
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

    fn finish(mut self) -> Result<Tally, Error> {
        if !self.in_flight.is_empty() {
            for flying in self.in_flight.values() {
                flying.task.abort();
            }
            self.ledger.lose_in_flight()?;
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        let why = match &self.tally.stopped {
            Some(stopped) => stopped.to_string(),
            None => String::new(),
        };
        let lost = std::mem::take(&mut self.in_flight).into_values();
        let rest = std::mem::take(&mut self.waiting);
        let first = lost
            .map(|flying| flying.work)
            .chain(rest.into_iter().map(|waiting| waiting.0.work))
            .chain(std::mem::take(&mut self.ready));
        for work in first {
            match &work.last_fault {
                Some(said) => self.miss(&format!("request {}: {said}", work.request.id)),
                None => self.miss(&why),
            }
        }
        Ok(self.tally)
    }
}

fn health(kind: Option<FaultKind>) -> Health {
    match kind {
        Some(FaultKind::RateLimited) => Health::Busy,
        Some(FaultKind::Quota | FaultKind::Forbidden | FaultKind::NotFound) => Health::Ended,
        Some(FaultKind::Server | FaultKind::Connection | FaultKind::Timeout) => Health::Unwell,
        Some(FaultKind::Image) => Health::Unknown,
        // Something came: a word, a refusal, half a reply.
        None
        | Some(FaultKind::Reset | FaultKind::BadReply | FaultKind::Invalid | FaultKind::Refused) => {
            Health::Well
        }
    }
}

/// The least loaded server that may be sent so many tokens, another than `failed_at` if there is
/// one; else when one of them may, where that is known.
fn choose(
    servers: &mut [Server],
    at: Instant,
    tokens: u64,
    failed_at: Option<usize>,
) -> Result<usize, Option<Instant>> {
    let mut best: Option<(bool, f64, usize)> = None;
    let mut later: Option<Instant> = None;
    for (n, server) in servers.iter_mut().enumerate() {
        let Some(open) = server.breaker.ask(at) else {
            continue;
        };
        let when = match server.gate.ask(at, tokens) {
            Permit::Full => continue,
            Permit::Now => open,
            Permit::At(then) => then.max(open),
        };
        if when > at {
            later = Some(later.map_or(when, |other| other.min(when)));
            continue;
        }
        let rank = (failed_at == Some(n), server.gate.load(), n);
        if best.is_none_or(|best| rank < best) {
            best = Some(rank);
        }
    }
    best.map(|(_, _, n)| n).ok_or(later)
}
