//! SIGTERM, told apart from Ctrl-C: a training that a scheduler ends is to end well.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Whether SIGTERM came.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// From now on SIGTERM asks for a clean stop, as Ctrl-C does, and is remembered.
#[cfg(unix)]
pub fn watch() {
    extern "C" fn handler(_: libc::c_int) {
        // Nothing but atomics: that is all a signal handler may touch.
        ASKED.store(true, Ordering::SeqCst);
        sample::interrupt::request();
    }
    let handler = handler as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: the handler only stores to atomics, which is safe in a signal handler.
    unsafe { libc::signal(libc::SIGTERM, handler) };
}

/// Other systems have no such signal.
#[cfg(not(unix))]
pub fn watch() {}
