//! How a batch comes to be: its file, its record, and the two calls, in an order that a kill between
//! any two of them does not turn into a second batch.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::config::seconds;
use super::super::flight;
use super::super::pull::Work;
use super::{Open, Run, now};
use crate::money::Budget;
use crate::transport::{Attempt, BatchTransport, Fault, FaultKind};
use crate::{Error, Stopped};

/// Files of this process so far: no two share a name.
static FILES: AtomicU64 = AtomicU64::new(0);

impl<T: BatchTransport + 'static> Run<'_, T> {
    /// Makes a batch of what is ready; `false` where none can be made now.
    pub(super) async fn start(&mut self) -> Result<bool, Error> {
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
}
