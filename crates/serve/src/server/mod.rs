//! The socket: time limits on slow clients, a bound on connections, and an orderly end.
//!
//! Every wait for a client has an end: for a request's head (and so for the next request on an open
//! connection), for each piece of a body and for all of it, and for room to write into. A connection over
//! the bound is accepted and told so: left in the system's backlog, its client would wait for as long as
//! the others stay, and a balancer in front could not go to another server.
//!
//! A client that closes its side has gone away, also if it only half-closed: a closed and a half-closed
//! socket look the same from here until something is written, and what was asked for costs too much to
//! be written for nobody.

mod socket;
mod upload;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use socket::Socket;
use upload::Upload;

pub use upload::{UploadError, upload_timed_out};

/// What a connection may take.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerLimits {
    /// Connections at the same time.
    pub connections: usize,
    /// For a request's head to come, the wait for it on an open connection included.
    pub head_time: Duration,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Without a further byte of a request's body.
    pub stall_time: Duration,
    /// For all of a request's body.
    pub body_time: Duration,
    /// In which a client takes nothing of what is written to it.
    pub write_time: Duration,
    /// After a stop was asked for, for what is being answered to end.
    pub grace: Duration,
}

impl Default for ServerLimits {
    fn default() -> ServerLimits {
        ServerLimits {
            connections: 1024,
            head_time: Duration::from_secs(10),
            head_bytes: 32 << 10,
            stall_time: Duration::from_secs(10),
            body_time: Duration::from_secs(120),
            write_time: Duration::from_secs(20),
            grace: Duration::from_secs(30),
        }
    }
}

/// Bytes that a connection buffers each way.
const BUFFER: usize = 128 << 10;

/// Fields of a request's head.
const HEAD_FIELDS: usize = 100;

/// Connections over the bound that are being told so; more are closed without a word.
const TURNED_AWAY: usize = 64;

/// For telling a client that there is no room, and for it to read that.
const TURN_AWAY_TIME: Duration = Duration::from_secs(1);

/// Before the next try where the system gives no connection, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

const NO_ROOM: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/json\r\n\
    content-length: 110\r\n\
    retry-after: 1\r\n\
    connection: close\r\n\
    \r\n\
    {\"error\":{\"message\":\"too many connections; try again later\",\"type\":\"server_error\",\"param\":null,\"code\":\"busy\"}}";

/// A bound socket.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    limits: ServerLimits,
}

impl Server {
    /// Binds; port 0 takes a free one.
    ///
    /// # Errors
    /// The system's reason, with the address.
    pub async fn bind(address: SocketAddr, limits: ServerLimits) -> io::Result<Server> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{address}: {error}"));
        let listener = TcpListener::bind(address).await.map_err(named)?;
        let address = listener.local_addr().map_err(named)?;
        Ok(Server {
            listener,
            address,
            limits,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers with `router` until `stop` is done, then for no longer than the grace. Handlers find the peer's address
    /// as `axum::extract::ConnectInfo<SocketAddr>`.
    ///
    /// When it returns no connection is open: handlers that were not done are dropped.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>) {
        let Server {
            listener, limits, ..
        } = self;
        let limits = Arc::new(limits);
        let places = Arc::new(Semaphore::new(limits.connections));
        let turned_away = Arc::new(Semaphore::new(TURNED_AWAY));
        let graceful = GracefulShutdown::new();
        let mut connections = JoinSet::new();
        let mut stop = pin!(stop);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // The peer's reset is its own affair; anything else is the system's, and would come
                    // again at once.
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                    ) {
                        sleep(ACCEPT_PAUSE).await;
                    }
                    continue;
                }
            };
            if let Ok(place) = Arc::clone(&places).try_acquire_owned() {
                let answering = connection(stream, peer, &limits, router.clone(), &graceful);
                connections.spawn(async move {
                    answering.await;
                    drop(place);
                });
            } else if let Ok(place) = Arc::clone(&turned_away).try_acquire_owned() {
                connections.spawn(async move {
                    let _ = timeout(TURN_AWAY_TIME, turn_away(stream)).await;
                    drop(place);
                });
            }
        }
        drop(listener);
        let _ = timeout(limits.grace, graceful.shutdown()).await;
        connections.shutdown().await;
    }
}

/// Answers a connection with `router` until either side closes it.
fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    limits: &Arc<ServerLimits>,
    router: Router,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + use<> {
    // A token is a few bytes, and the client waits for each. A socket that cannot be set has been closed,
    // which the first read will say.
    let _ = stream.set_nodelay(true);
    let unread = Arc::new(AtomicBool::new(false));
    let socket = Socket::new(stream, limits.write_time, Arc::clone(&unread));
    let limits_here = Arc::clone(limits);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let upload = |body| {
            Upload::new(
                body,
                limits_here.stall_time,
                limits_here.body_time,
                Arc::clone(&unread),
            )
        };
        let mut request = request.map(|body| Body::new(upload(body)));
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_header_size(limits.head_bytes)
        .max_headers(HEAD_FIELDS)
        .half_close(false)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(socket), service);
    let connection = graceful.watch(connection);
    async move {
        // Errors are the client's: it broke off, or was too slow.
        let _ = connection.await;
    }
}

/// Tells a client that there is no room.
async fn turn_away(mut stream: TcpStream) -> io::Result<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream.write_all(NO_ROOM).await?;
    stream.shutdown().await?;
    // Closing with something unread makes the system take back what the client has not read.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_over_the_bound_says_its_length() {
        let text = std::str::from_utf8(NO_ROOM).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["error"]["code"], "busy");
    }
}
