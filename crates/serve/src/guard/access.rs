//! Who asks, and a line on standard error for each request once it is over: method, route, status, time, client,
//! tokens. Nothing that a client made up is in it: neither path nor key nor content.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use http_body::{Body as _, Frame, SizeHint};

use crate::ask::Usage;
use crate::schedule::Client;

/// The tokens that a request took, written down by its handler as far as it knows.
#[derive(Debug, Default)]
pub struct Spent {
    prompt: AtomicUsize,
    completion: AtomicUsize,
}

impl Spent {
    /// More of them.
    pub fn add(&self, usage: Usage) {
        self.prompt
            .fetch_add(usage.prompt_tokens, Ordering::Relaxed);
        self.completion
            .fetch_add(usage.completion_tokens, Ordering::Relaxed);
    }
}

/// The client by its address. Of version 6 the first half, which is what one network has: whoever has one address
/// there has all of them.
pub(super) fn peer(request: &Request) -> Client {
    let Some(ConnectInfo(peer)) = request.extensions().get::<ConnectInfo<SocketAddr>>() else {
        return Client("unknown".to_owned());
    };
    Client(match peer.ip().to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() >> 64 << 64);
            format!("{network}/64")
        }
    })
}

/// A request that is being answered.
pub(super) struct Visit {
    method: &'static str,
    route: Option<MatchedPath>,
    client: Client,
    started: Instant,
    spent: Arc<Spent>,
}

impl Visit {
    /// Of this request, once it is known who asks.
    pub fn new(request: &Request, started: Instant, spent: Arc<Spent>) -> Visit {
        let extensions = request.extensions();
        let client = extensions.get::<Client>().cloned();
        Visit {
            method: match *request.method() {
                Method::GET => "GET",
                Method::HEAD => "HEAD",
                Method::POST => "POST",
                Method::PUT => "PUT",
                Method::DELETE => "DELETE",
                Method::OPTIONS => "OPTIONS",
                _ => "OTHER",
            },
            route: extensions.get::<MatchedPath>().cloned(),
            client: client.unwrap_or_else(|| Client("unknown".to_owned())),
            started,
            spent,
        }
    }

    /// The answer, with a line in the log when it is over.
    pub fn follow(self, response: Response) -> Response {
        // Those are asked for all the time, by machines.
        let route = self.route.as_ref().map(MatchedPath::as_str);
        let quiet = route.is_some_and(|route| {
            matches!(route, "/health" | "/metrics") || route.starts_with("/assets/")
        });
        if quiet && response.status().is_success() {
            return response;
        }
        let status = response.status();
        response.map(|body| {
            Body::new(Followed {
                body,
                whole: false,
                status,
                visit: self,
            })
        })
    }

    fn line(&self, status: StatusCode, whole: bool) -> String {
        let route = self.route.as_ref().map_or("-", MatchedPath::as_str);
        let mut line = format!(
            "{} {route} {} {} ms, {}",
            self.method,
            status.as_u16(),
            self.started.elapsed().as_millis(),
            self.client.0
        );
        let prompt = self.spent.prompt.load(Ordering::Relaxed);
        let completion = self.spent.completion.load(Ordering::Relaxed);
        if prompt + completion > 0 {
            line += &format!(", {prompt} + {completion} tokens");
        }
        if !whole {
            line += ", cut off";
        }
        line
    }
}

/// A body that is watched to its end.
struct Followed {
    body: Body,
    whole: bool,
    status: StatusCode,
    visit: Visit,
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None)) {
            self.whole = true;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        // A body of known length is not asked again after its last byte, one to a HEAD not at all.
        let whole = self.whole || self.body.is_end_stream() || self.visit.method == "HEAD";
        sample::progress::note(&self.visit.line(self.status, whole));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_its_address_or_its_network() {
        for (address, client) in [
            ("10.1.2.3:4000", "10.1.2.3"),
            ("[::ffff:10.1.2.3]:4000", "10.1.2.3"),
            ("[2001:db8:1:2:3:4:5:6]:4000", "2001:db8:1:2::/64"),
            ("[::1]:4000", "::/64"),
        ] {
            let mut request = Request::new(Body::empty());
            let address: SocketAddr = address.parse().unwrap();
            request.extensions_mut().insert(ConnectInfo(address));
            assert_eq!(peer(&request), Client(client.to_owned()));
        }
        assert_eq!(peer(&Request::new(Body::empty())).0, "unknown");
    }

    #[test]
    fn a_line_has_nothing_that_the_client_made_up() {
        let request = Request::builder()
            .method("SMUGGLE")
            .uri("/v1/secret?key=secret")
            .header("authorization", "Bearer secret")
            .body(Body::from("secret"))
            .unwrap();
        let visit = Visit::new(&request, Instant::now(), Arc::default());
        visit.spent.add(Usage {
            prompt_tokens: 5,
            cached_tokens: 1,
            completion_tokens: 7,
        });
        let line = visit.line(StatusCode::OK, false);
        assert!(line.starts_with("OTHER - 200 "), "{line}");
        assert!(
            line.ends_with(" ms, unknown, 5 + 7 tokens, cut off"),
            "{line}"
        );
    }
}
