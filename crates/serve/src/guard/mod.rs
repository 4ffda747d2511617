//! What keeps strangers out: keys, names of hosts, headers, sizes.
//!
//! A server on loopback is not out of reach: any web page that its user opens can send requests to it. So a
//! request must name this host ([DNS rebinding](https://en.wikipedia.org/wiki/DNS_rebinding) makes pages same-origin
//! with us under a foreign name), must not change anything when it comes from another site, and no answer says that
//! other sites may read it. Keys come on top, and are what counts when strangers can reach the socket.
//!
//! **Invariants:** every answer passes here and has the security headers, also those to panics and to unknown
//! paths; keys are compared in constant time and are written nowhere, neither are paths nor anything else that a
//! client made up.

mod access;
mod headers;
mod hosts;
mod keys;
mod panics;
mod size;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

pub use self::access::Spent;
pub use self::size::BodyTooLarge;

use self::access::Visit;
use self::hosts::Hosts;
use self::keys::Keys;
use crate::api::error::ApiError;
use crate::schedule::Client;

/// Who may ask, and under which name of the host.
#[derive(Default)]
pub struct Guard {
    /// Keys, of which a request must bring one; without any, all may ask. As `Bearer`, or as the password of
    /// `Basic`, which browsers ask people for. An empty key opens nothing.
    pub keys: Vec<String>,
    /// Names of this host that requests may give beside localhost and plain addresses, as `name` or `name:port`:
    /// another page's script that had its own name resolved to this machine is refused.
    pub hosts: Vec<String>,
    /// Bytes of a request's body.
    pub max_body: usize,
}

/// A guard at its post: keys as digests only.
struct Post {
    keys: Keys,
    hosts: Hosts,
    max_body: usize,
}

/// The router behind the guard: every answer has the security headers; `/health` needs no key.
///
/// Handlers find who asks as the extension [`Client`], and may write down in the extension `Arc<`[`Spent`]`>` what
/// a request took. Put this around a router once all its routes are there.
pub fn guarded(router: Router, guard: Arc<Guard>) -> Router {
    let post = Post {
        keys: Keys::new(&guard.keys),
        hosts: Hosts::new(&guard.hosts),
        max_body: guard.max_body,
    };
    router.layer(from_fn_with_state(Arc::new(post), pass))
}

async fn pass(State(post): State<Arc<Post>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let spent = Arc::new(Spent::default());
    let admitted = admit(&post, &mut request, &spent);
    let visit = Visit::new(&request, started, spent);
    let mut response = match admitted {
        Ok(()) => {
            let request = size::limited(request, post.max_body);
            panics::caught(next.run(request)).await
        }
        Err(error) => refused(error),
    };
    if headers::is_bare(&response) {
        response = in_form(response, &method);
    }
    headers::dress(&mut response, &path);
    visit.follow(response)
}

/// Lets a request in, with the name of its client, or says why not.
fn admit(post: &Post, request: &mut Request, spent: &Arc<Spent>) -> Result<(), ApiError> {
    // Until it is known who asks, for the log.
    let peer = access::peer(request);
    request.extensions_mut().insert(peer.clone());
    post.hosts.check(request)?;
    hosts::same_site(request)?;
    if request.uri().path() != "/health" {
        let client = match post.keys.owner(request.headers())? {
            Some(key) => Client(format!("key {key}")),
            None => peer,
        };
        request.extensions_mut().insert(client);
    }
    size::announced(request, post.max_body)?;
    request.extensions_mut().insert(spent.clone());
    Ok(())
}

/// Why a request was not let in. Where a key is missing, both ways to bring one: programs send it unasked, browsers
/// ask people for it.
fn refused(error: ApiError) -> Response {
    let mut response = error.into_response();
    if response.status() == StatusCode::UNAUTHORIZED {
        for way in [
            "Bearer realm=\"math-llava\"",
            "Basic realm=\"math-llava\", charset=\"UTF-8\"",
        ] {
            let way = HeaderValue::from_static(way);
            response.headers_mut().append(WWW_AUTHENTICATE, way);
        }
    }
    response
}

/// The router's own answer to what nobody handles, in the form of all other errors.
fn in_form(bare: Response, method: &Method) -> Response {
    let error = match bare.status() {
        StatusCode::NOT_FOUND => crate::api::unknown(),
        _ => crate::api::wrong_method(method),
    };
    let (parts, _) = bare.into_parts();
    let mut response = error.into_response();
    for (name, value) in &parts.headers {
        if !response.headers().contains_key(name) && !headers::is_of_body(name) {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}
