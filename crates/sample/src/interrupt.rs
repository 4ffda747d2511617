//! Ctrl-C and SIGTERM, seen by every stage at its next safe point.

use std::sync::atomic::{AtomicBool, Ordering};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Asks every stage to stop at its next safe point. The binary calls this from its signal handler.
pub fn request() {
    REQUESTED.store(true, Ordering::SeqCst);
}

/// Whether a stop was asked for.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// Takes the request back, where a stop ends one reply and not the program.
pub fn clear() {
    REQUESTED.store(false, Ordering::SeqCst);
}

/// [`crate::Error::Interrupted`] once a stop was asked for; loops call it once per item.
pub fn check() -> Result<(), crate::Error> {
    if requested() {
        Err(crate::Error::Interrupted)
    } else {
        Ok(())
    }
}
