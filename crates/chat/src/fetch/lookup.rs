//! Names looked up so that only public addresses come out, and are then connected to.
//!
//! The connection asks this resolver and no other, so what was vetted is what is spoken to: a name that
//! changes its address between a check and the connection has no gap to use.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

/// Finds a name's addresses; may block.
pub(super) type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// Names that are looked up at the same time. The system's call cannot be given up, so names that nobody
/// answers for would otherwise take every thread that may block.
const LOOKUPS: usize = 16;

/// Asks the system.
pub(super) fn system(name: &str) -> io::Result<Vec<IpAddr>> {
    Ok((name, 0)
        .to_socket_addrs()?
        .map(|found| found.ip())
        .collect())
}

/// A resolver that gives public addresses only.
pub(super) struct Vetting {
    lookup: Arc<Lookup>,
    is_public: fn(IpAddr) -> bool,
    turns: Arc<Semaphore>,
}

/// A name of which at least one address may not be spoken to, or that has none.
#[derive(Debug, thiserror::Error)]
#[error("no public address")]
struct NotPublic;

impl Vetting {
    pub fn new(lookup: Arc<Lookup>, is_public: fn(IpAddr) -> bool) -> Vetting {
        Vetting {
            lookup,
            is_public,
            turns: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }
}

impl Resolve for Vetting {
    fn resolve(&self, name: Name) -> Resolving {
        let (lookup, turns, is_public) = (self.lookup.clone(), self.turns.clone(), self.is_public);
        Box::pin(async move {
            let turn = turns.acquire_owned().await?;
            let looking = tokio::task::spawn_blocking(move || {
                let found = lookup(name.as_str());
                drop(turn);
                found
            });
            let found = looking.await??;
            // One private address among public ones is a trap, not a server.
            if found.is_empty() || !found.iter().all(|address| is_public(*address)) {
                return Err(NotPublic.into());
            }
            // The port is the url's.
            let found = found.into_iter().map(|address| SocketAddr::new(address, 0));
            let found: Addrs = Box::new(found);
            Ok(found)
        })
    }
}
