//! The socket: time limits on slow clients, a bound on connections, and an orderly end.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;

/// What a connection may take.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerLimits {
    /// Connections at the same time.
    pub connections: usize,
    /// For a request's head to come.
    pub head_time: Duration,
    /// After a stop was asked for, for what is being answered to end.
    pub grace: Duration,
}

impl Default for ServerLimits {
    fn default() -> ServerLimits {
        ServerLimits {
            connections: 1024,
            head_time: Duration::from_secs(10),
            grace: Duration::from_secs(30),
        }
    }
}

/// A bound socket.
pub struct Server {}

impl Server {
    /// Binds; port 0 takes a free one.
    ///
    /// # Errors
    /// The system's reason, with the address.
    pub async fn bind(address: SocketAddr, limits: ServerLimits) -> std::io::Result<Server> {
        let _ = (address, limits);
        todo!()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        todo!()
    }

    /// Answers with `router` until `stop` is done, then for no longer than the grace. Handlers find the peer's address
    /// as `axum::extract::ConnectInfo<SocketAddr>`.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>) {
        let _ = (router, stop);
        todo!()
    }
}
