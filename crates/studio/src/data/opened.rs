//! What was read once and is kept for those who ask next, within a bound of memory.
//!
//! Reading goes on a thread of its own, so that who asks first can be told how far it is, and who
//! comes meanwhile waits for the same reading.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Error;

/// How much memory something takes.
pub(crate) trait Weight: Send + Sync + 'static {
    /// In bytes, roughly.
    fn bytes(&self) -> usize;
}

/// How far a reading is, in rows.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    /// There are so many more rows to read.
    pub fn expect(&self, rows: u64) {
        self.total.fetch_add(rows, Ordering::Relaxed);
    }

    /// So many more rows are read.
    pub fn add(&self, rows: u64) {
        self.done.fetch_add(rows, Ordering::Relaxed);
    }
}

/// Why there is nothing to show yet, or at all.
#[derive(Debug)]
pub(crate) enum Halt {
    /// It is being read: rows done, and in all.
    Reading(u64, u64),
    /// It cannot be shown.
    Error(Error),
}

impl<E: Into<Error>> From<E> for Halt {
    fn from(error: E) -> Halt {
        Halt::Error(error.into())
    }
}

enum State<T> {
    Reading,
    Ready(Arc<T>),
    Failed(String),
}

struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    progress: Progress,
}

/// Name, stamp, and what was opened.
type Entry<T> = (String, u64, Arc<Slot<T>>);

/// Things by name and stamp, those used last at the end.
pub(crate) struct Opened<T> {
    slots: Mutex<Vec<Entry<T>>>,
    /// Bytes that may be kept; the one used last is kept in any case.
    limit: usize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Weight> Opened<T> {
    pub fn new(limit: usize) -> Opened<T> {
        Opened {
            slots: Mutex::default(),
            limit,
        }
    }

    /// What has that name and stamp, read now where it is not kept; waits no longer than `patience`.
    /// Only for threads that may wait. Another stamp of the same name is forgotten.
    ///
    /// # Errors
    /// [`Halt::Reading`] where it takes longer, else why it cannot be read.
    pub fn get(
        &self,
        name: &str,
        stamp: u64,
        patience: Duration,
        read: impl FnOnce(&Progress) -> Result<T, Error> + Send + 'static,
    ) -> Result<Arc<T>, Halt> {
        let mut slots = locked(&self.slots);
        let known = slots.iter().position(|(n, s, _)| n == name && *s == stamp);
        let slot = match known {
            Some(at) => {
                let entry = slots.remove(at);
                let slot = Arc::clone(&entry.2);
                slots.push(entry);
                slot
            }
            None => {
                slots.retain(|(other, ..)| other != name);
                let slot = Arc::new(Slot {
                    state: Mutex::new(State::Reading),
                    changed: Condvar::new(),
                    progress: Progress::default(),
                });
                slots.push((name.to_owned(), stamp, Arc::clone(&slot)));
                let reading = Arc::clone(&slot);
                let thread = std::thread::Builder::new().name("studio-read".to_owned());
                let started = thread.spawn(move || {
                    // A reading that panics has failed, for those who wait too.
                    let failed = FailedUnlessDone(&reading);
                    let state = match read(&reading.progress) {
                        Ok(value) => State::Ready(Arc::new(value)),
                        Err(error) => State::Failed(error.to_string()),
                    };
                    failed.done(state);
                });
                if let Err(error) = started {
                    slots.pop();
                    return Err(
                        Error::Failed(format!("no thread for reading {name}: {error}")).into(),
                    );
                }
                slot
            }
        };
        drop(slots);
        let state = locked(&slot.state);
        let (state, _) = slot
            .changed
            .wait_timeout_while(state, patience, |state| matches!(state, State::Reading))
            .unwrap_or_else(PoisonError::into_inner);
        match &*state {
            State::Reading => {
                let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
                Err(Halt::Reading(
                    count(&slot.progress.done),
                    count(&slot.progress.total),
                ))
            }
            State::Ready(value) => {
                let value = Arc::clone(value);
                drop(state);
                self.trim();
                Ok(value)
            }
            State::Failed(why) => {
                let error = Error::Failed(why.clone());
                drop(state);
                // It is tried again when it is asked for again.
                locked(&self.slots).retain(|(.., other)| !Arc::ptr_eq(other, &slot));
                Err(error.into())
            }
        }
    }

    /// Forgets what was not used for longest, until the rest is within the limit.
    fn trim(&self) {
        let mut slots = locked(&self.slots);
        let bytes = |slot: &Slot<T>| match &*locked(&slot.state) {
            State::Ready(value) => value.bytes(),
            _ => 0,
        };
        let mut total: usize = slots.iter().map(|(.., slot)| bytes(slot)).sum();
        while total > self.limit && slots.len() > 1 {
            let (.., slot) = slots.remove(0);
            total = total.saturating_sub(bytes(&slot));
        }
    }
}

struct FailedUnlessDone<'a, T>(&'a Slot<T>);

impl<T> FailedUnlessDone<'_, T> {
    fn done(self, state: State<T>) {
        *locked(&self.0.state) = state;
    }
}

impl<T> Drop for FailedUnlessDone<'_, T> {
    fn drop(&mut self) {
        let mut state = locked(&self.0.state);
        if matches!(*state, State::Reading) {
            *state = State::Failed("reading the table ended in a fault of this program".to_owned());
        }
        drop(state);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    const LONG: Duration = Duration::from_secs(60);

    impl Weight for String {
        fn bytes(&self) -> usize {
            self.len()
        }
    }

    fn get(opened: &Opened<String>, name: &str, stamp: u64, value: &str) -> String {
        let value = value.to_owned();
        opened
            .get(name, stamp, LONG, move |_| Ok(value))
            .unwrap()
            .to_string()
    }

    #[test]
    fn a_thing_is_read_once_until_its_stamp_changes_or_others_need_the_room() {
        let opened = Opened::new(10);
        assert_eq!(get(&opened, "a", 1, "first"), "first");
        assert_eq!(get(&opened, "a", 1, "second"), "first");
        assert_eq!(get(&opened, "a", 2, "second"), "second");
        assert_eq!(get(&opened, "b", 1, "other"), "other");
        // Together they are over the limit: the one that was used last stays.
        assert_eq!(get(&opened, "a", 2, "third"), "third");
        assert_eq!(get(&opened, "a", 2, "fourth"), "third");
    }

    #[test]
    fn who_has_no_patience_is_told_how_far_it_is_and_all_get_the_same_reading() {
        let opened = Opened::<String>::new(100);
        let (begun, has_begun) = channel();
        let (go_on, may_go_on) = channel::<()>();
        let first = opened.get("a", 1, Duration::ZERO, move |progress| {
            progress.expect(10);
            progress.add(4);
            begun.send(()).unwrap();
            may_go_on.recv().unwrap();
            Ok("read".to_owned())
        });
        assert!(matches!(first, Err(Halt::Reading(..))));
        has_begun.recv().unwrap();
        let unread = |_: &Progress| -> Result<String, Error> { panic!("it is read twice") };
        let second = opened.get("a", 1, Duration::ZERO, unread);
        assert!(matches!(second, Err(Halt::Reading(4, 10))));
        go_on.send(()).unwrap();
        assert_eq!(*opened.get("a", 1, LONG, unread).unwrap(), "read");
    }

    #[test]
    fn a_failure_is_told_and_tried_again() {
        let opened = Opened::<String>::new(100);
        let failed = opened.get("a", 1, LONG, |_| Err(Error::Failed("no".into())));
        assert!(matches!(failed, Err(Halt::Error(e)) if e.to_string() == "no"));
        let panicked = opened.get("a", 1, LONG, |_| panic!("a fault"));
        assert!(matches!(panicked, Err(Halt::Error(e)) if e.to_string().contains("fault")));
        assert_eq!(get(&opened, "a", 1, "now"), "now");
    }
}
