//! Signs of life: how a rank that is lost is told from one that is late, and named.
//!
//! libtorch says at best which connection broke, and a rank that waits for a third hears nothing at all. So each rank
//! has a thread that, with a connection of its own, once a second writes into the store how many collectives it has
//! entered, and reads what the others wrote. A rank whose collective fails says so there, which ends the waiting of
//! all others; then they look for a while who is still writing.
//!
//! Silence is counted in readings and not in seconds: a process that was stopped for a minute must not take the others
//! for dead when it goes on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::binding::Store;
use crate::error::{Error, Name};
use crate::record::Record;
use crate::verdict::{Case, SILENT, Seen};

/// Between two signs.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long the reasons of a failure are looked for.
const LOOK: Duration = Duration::from_secs(7);
/// How long the host of the store stays for the others to read what it last wrote.
const LINGER: Duration = Duration::from_secs(8);
/// Between two looks at what others have read or written.
pub(crate) const SLICE: Duration = Duration::from_millis(200);
/// So many slices without an answer of the store, and it counts as lost.
const STUCK: u32 = 100;

/// Who the ranks are and where they meet.
pub(crate) struct Ranks {
    pub(crate) rank: usize,
    pub(crate) names: Vec<Name>,
    pub(crate) address: String,
    /// Whether rank 0 hosts the store.
    pub(crate) by_first: bool,
    pub(crate) timeout: Duration,
}

/// What is known of the ranks, kept by a thread of its own.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    ranks: Ranks,
    entered: AtomicU64,
    state: Mutex<State>,
    /// Told of every reading, and of everything that is to be written at once.
    changed: Condvar,
}

struct State {
    seen: Vec<Seen>,
    readings: u64,
    /// When silence was counted last: what is read in a hurry does not count.
    counted: Instant,
    store_lost: Option<String>,
    /// What this rank met; empty while it looks for the reason.
    failed: Option<String>,
    left: bool,
    /// Something is to be written before the second is over.
    urgent: bool,
    /// The thread is to write once more and end.
    stopping: bool,
    /// It has ended.
    ended: bool,
}

/// How long one wait has heard nothing of the store.
#[derive(Default)]
pub(crate) struct Patience {
    readings: u64,
    slices: u32,
}

impl Watch {
    /// Begins. Every rank must have written a record under its key before; `keys` are theirs, by rank.
    pub(crate) fn start(ranks: Ranks, store: Store, keys: Vec<String>) -> Watch {
        let unseen = |_: &Name| Seen {
            record: Record::default(),
            silent: 0,
            since: Instant::now(),
        };
        let shared = Arc::new(Shared {
            entered: AtomicU64::new(0),
            state: Mutex::new(State {
                seen: ranks.names.iter().map(unseen).collect(),
                readings: 0,
                counted: Instant::now(),
                store_lost: None,
                failed: None,
                left: false,
                urgent: false,
                stopping: false,
                ended: false,
            }),
            changed: Condvar::new(),
            ranks,
        });
        let keeper = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("signs-of-life".to_owned())
            .spawn(move || keeper.keep(&store, &keys))
            .ok();
        shared.state().ended = thread.is_none();
        Watch { shared, thread }
    }

    /// Counts a collective that this rank enters.
    ///
    /// # Errors
    /// [`Error::Ended`] where the group has failed before.
    pub(crate) fn enter(&self) -> Result<u64, Error> {
        if let Some(cause) = &self.shared.state().failed {
            return Err(Error::Ended {
                cause: cause.clone(),
            });
        }
        Ok(self.shared.entered.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// Whether there is no use in waiting for the `nth` collective any longer; asked once a slice.
    pub(crate) fn hopeless(&self, nth: u64, patience: &mut Patience) -> bool {
        let state = self.shared.state();
        if state.readings == patience.readings && !state.ended {
            patience.slices += 1;
        } else {
            *patience = Patience {
                readings: state.readings,
                slices: 0,
            };
        }
        patience.slices > STUCK || self.shared.case(&state, nth, None, false).hopeless()
    }

    /// The reason why the `nth` collective ended; `cause` is libtorch's, none where the waiting was given up.
    /// Tells the others first, so that they stop waiting, then looks who is silent.
    pub(crate) fn explain(&self, nth: u64, cause: Option<&str>, timed_out: bool) -> Error {
        let shared = &self.shared;
        let began = Instant::now();
        let mut state = shared.state();
        state.failed.get_or_insert_default();
        shared.hurry(&mut state);
        while began.elapsed() < LOOK && !shared.case(&state, nth, cause, timed_out).settled() {
            state = shared.wait(state, SLICE);
        }
        let error = shared.case(&state, nth, cause, timed_out).error();
        state.failed = Some(error.to_string());
        shared.hurry(&mut state);
        error
    }

    /// Writes that this rank leaves, and waits a moment for that to be read where this process hosts the store.
    pub(crate) fn leave(&mut self, hosts: bool) {
        let shared = &self.shared;
        let mut state = shared.state();
        state.left = true;
        shared.hurry(&mut state);
        if hosts {
            // The store ends with this process: whoever has not read the last words could not tell why.
            let began = Instant::now();
            let rank = shared.ranks.rank;
            let here = |(other, seen): (usize, &Seen)| {
                other != rank && !seen.record.left && seen.silent < SILENT
            };
            while began.elapsed() < LINGER
                && !state.ended
                && state.seen.iter().enumerate().any(here)
            {
                state = shared.wait(state, SLICE);
            }
        }
        state.stopping = true;
        shared.hurry(&mut state);
        let asked = Instant::now();
        while !state.ended && asked.elapsed() < Duration::from_secs(2) {
            state = shared.wait(state, SLICE);
        }
        // A thread that waits for a store that does not answer is left to itself.
        let ended = state.ended;
        drop(state);
        if let Some(thread) = self.thread.take()
            && ended
        {
            let _ = thread.join();
        }
    }
}

impl State {
    fn read(&mut self, values: &[Vec<u8>]) {
        self.readings += 1;
        let counts = self.counted.elapsed() >= INTERVAL.mul_f32(0.9);
        if counts {
            self.counted = Instant::now();
        }
        for (seen, value) in self.seen.iter_mut().zip(values) {
            match Record::decode(value) {
                Some(record) if record.tick != seen.record.tick => {
                    *seen = Seen {
                        record,
                        silent: 0,
                        since: Instant::now(),
                    };
                }
                _ => seen.silent = seen.silent.saturating_add(u32::from(counts)),
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // What is guarded is never half written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, time);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn hurry(&self, state: &mut State) {
        state.urgent = true;
        self.changed.notify_all();
    }

    fn case<'a>(
        &'a self,
        state: &'a State,
        nth: u64,
        cause: Option<&'a str>,
        timed_out: bool,
    ) -> Case<'a> {
        Case {
            rank: self.ranks.rank,
            names: &self.ranks.names,
            seen: &state.seen,
            nth,
            store_lost: state.store_lost.as_deref(),
            by_first: self.ranks.by_first,
            address: &self.ranks.address,
            cause,
            timed_out: timed_out.then_some(self.ranks.timeout.as_secs()),
        }
    }

    /// The thread: writes, reads, sleeps.
    fn keep(&self, store: &Store, keys: &Vec<String>) {
        let key = keys.get(self.ranks.rank).map_or("", String::as_str);
        // The first tick is the record that was written before all came.
        for tick in 2.. {
            let mut state = self.state();
            state.urgent = false;
            let last = state.stopping;
            let record = Record {
                tick,
                entered: self.entered.load(Ordering::SeqCst),
                left: state.left,
                failed: state.failed.clone(),
            };
            drop(state);
            let read = store.set(key, &record.encode());
            let read = read.and_then(|()| store.get_all(keys));
            let mut state = self.state();
            match read {
                Ok(values) => state.read(&values),
                Err(failure) => state.store_lost = Some(failure.what().to_owned()),
            }
            state.ended = last || state.store_lost.is_some();
            self.changed.notify_all();
            if state.ended {
                return;
            }
            let slept = Instant::now();
            while !state.urgent && slept.elapsed() < INTERVAL {
                let rest = INTERVAL.saturating_sub(slept.elapsed());
                state = self.wait(state, rest);
            }
        }
    }
}
