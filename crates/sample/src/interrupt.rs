//! Ctrl-C and SIGTERM, seen by every stage at its next safe point.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

static STOPS: AtomicUsize = AtomicUsize::new(0);
static HELD: AtomicBool = AtomicBool::new(false);

/// Asks every stage to stop at its next safe point. The binary calls this from its signal handler, so it touches
/// atomics only.
pub fn request() {
    STOPS.fetch_add(1, Ordering::SeqCst);
}

/// How often a stop was asked for.
pub fn requests() -> usize {
    STOPS.load(Ordering::SeqCst)
}

/// From now on a stop interrupts nothing by itself: the caller looks at [`requests`] and ends in order. A server
/// does so, since what it is answering must not break off in the middle of a step.
pub fn hold() {
    HELD.store(true, Ordering::SeqCst);
}

/// Whether a stop was asked for that is to be heeded at the next safe point.
pub fn requested() -> bool {
    requests() > 0 && !HELD.load(Ordering::SeqCst)
}

/// Takes the request back, where a stop ends one reply and not the program.
pub fn clear() {
    STOPS.store(0, Ordering::SeqCst);
}

/// [`crate::Error::Interrupted`] once a stop was asked for; loops call it once per item.
pub fn check() -> Result<(), crate::Error> {
    if requested() {
        Err(crate::Error::Interrupted)
    } else {
        Ok(())
    }
}
