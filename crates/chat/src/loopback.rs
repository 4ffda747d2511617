//! A server on the loopback that answers by hand, for tests of what speaks to servers.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpStream};

#[allow(dead_code, reason = "the tests of the dispatcher use the rest")]
#[path = "../tests/server/wire.rs"]
mod wire;

pub(crate) use wire::Asked;

/// A listening server; it ends with the test's runtime.
pub(crate) struct Loopback {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Loopback {
    /// Answers every connection's one request with `answer`, which is given the number of the request.
    pub async fn start<F, A>(on: &str, answer: F) -> Loopback
    where
        F: Fn(usize, TcpStream) -> A + Send + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let on: IpAddr = on.parse().unwrap();
        let listener = TcpListener::bind((on, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let heard = asked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut wire = wire::Wire::new(stream);
                let Ok(Some(request)) = wire.next().await else {
                    continue;
                };
                let number = {
                    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                    heard.push(request);
                    heard.len() - 1
                };
                tokio::spawn(answer(number, wire.stream));
            }
        });
        Loopback { address, asked }
    }

    /// How many requests came.
    pub fn count(&self) -> usize {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// The last request.
    pub fn last(&self) -> Asked {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap()
    }
}
