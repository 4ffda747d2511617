//! Under which name a request came, and from which site.
//!
//! A plain address as the host is no danger: what a browser resolved itself cannot be rebound. So names alone are
//! held against a list.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::extract::Request;
use axum::http::header::{HOST, HeaderMap, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{Method, StatusCode};

use sample::progress::note;

use crate::api::error::ApiError;

/// The names that this host answers to.
pub(super) struct Hosts {
    known: Vec<Place>,
}

/// A host, and a port where one is named.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// In small letters; without brackets and without a dot at the end.
    host: String,
    port: Option<u16>,
}

impl Hosts {
    /// These, beside localhost and plain addresses. What is no name is said and left out: it could never be
    /// the host of a request.
    pub fn new(hosts: &[String]) -> Hosts {
        let mut known = Vec::with_capacity(hosts.len());
        for host in hosts {
            match place(host) {
                Some(place) => known.push(place),
                // Plain addresses are let pass as they are, and this one needs brackets in a request only.
                None if host.parse::<Ipv6Addr>().is_ok() => {}
                None => note(&format!(
                    "{host:?} is no name of a host and allows nothing: write `name` or `name:port`"
                )),
            }
        }
        Hosts { known }
    }

    /// Lets pass what names this host.
    pub fn check(&self, request: &Request) -> Result<(), ApiError> {
        let given = host(request)?;
        // A whole address in the first line is what counts then (RFC 9112), and must not differ.
        if let Some(authority) = request.uri().authority()
            && place(authority.as_str()).as_ref() != Some(&given)
        {
            return Err(misdirected());
        }
        let plain =
            given.host.parse::<Ipv4Addr>().is_ok() || given.host.parse::<Ipv6Addr>().is_ok();
        let known = |known: &Place| {
            known.host == given.host && (known.port.is_none() || known.port == given.port)
        };
        if plain || given.host == "localhost" || self.known.iter().any(known) {
            return Ok(());
        }
        Err(misdirected())
    }
}

fn misdirected() -> ApiError {
    ApiError::invalid(
        StatusCode::MISDIRECTED_REQUEST,
        "unknown_host",
        "this server does not answer under this name; whoever runs it may allow the name with --allow-host",
    )
}

fn host(request: &Request) -> Result<Place, ApiError> {
    let mut given = request.headers().get_all(HOST).iter();
    let only = match (given.next(), given.next()) {
        (Some(only), None) => only.to_str().ok(),
        _ => None,
    };
    only.and_then(place).ok_or_else(|| {
        ApiError::invalid(
            StatusCode::BAD_REQUEST,
            "invalid_host",
            "send one header `Host` with the name or address of this server",
        )
    })
}

/// `name`, `name:port`, `1.2.3.4:port`, `[::1]:port`.
fn place(text: &str) -> Option<Place> {
    if text.contains('@') {
        return None;
    }
    let authority: Authority = text.parse().ok()?;
    let port = match authority.as_str().strip_prefix(authority.host())? {
        "" => None,
        rest => Some(rest.strip_prefix(':')?.parse().ok()?),
    };
    let host = authority.host();
    let host = match host.strip_prefix('[') {
        Some(inner) => inner
            .strip_suffix(']')
            .filter(|inner| inner.parse::<Ipv6Addr>().is_ok())?,
        None => host.strip_suffix('.').unwrap_or(host),
    };
    if host.contains(['[', ']']) {
        return None;
    }
    (!host.is_empty()).then(|| Place {
        host: host.to_ascii_lowercase(),
        port,
    })
}

/// Refuses what changes something, or costs something, and comes from a page of another site.
///
/// Browsers send `Origin` with every such request, and no script can leave it out; programs send none.
pub(super) fn same_site(request: &Request) -> Result<(), ApiError> {
    if matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS
    ) {
        return Ok(());
    }
    let foreign = || {
        ApiError::invalid(
            StatusCode::FORBIDDEN,
            "cross_site_request",
            "requests from pages of other sites are refused",
        )
    };
    let headers = request.headers();
    if let Some(site) = one(headers, "sec-fetch-site").map_err(|()| foreign())?
        && !matches!(site, "same-origin" | "none")
    {
        return Err(foreign());
    }
    let Some(origin) = one(headers, ORIGIN.as_str()).map_err(|()| foreign())? else {
        return Ok(());
    };
    let (scheme, rest) = origin.split_once("://").ok_or_else(foreign)?;
    let default = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err(foreign()),
    };
    let origin = place(rest).ok_or_else(foreign)?;
    let host = host(request)?;
    // Behind a proxy that ends TLS we see neither its scheme nor its port, but the name.
    let same_port = origin.port.unwrap_or(default) == host.port.unwrap_or(default);
    if origin.host == host.host && same_port {
        return Ok(());
    }
    Err(foreign())
}

/// A header that may be there once, as text.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ()> {
    let mut given = headers.get_all(name).iter();
    match (given.next(), given.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => only.to_str().map(Some).map_err(|_| ()),
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn request(method: Method, uri: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn only_names_of_this_host_are_answered() {
        let hosts = Hosts::new(&["box.lan".to_owned(), "Proxy.Example:8443".to_owned()]);
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "localhost.",
            "127.0.0.1",
            "127.8.9.10:80",
            "[::1]",
            "[::1]:8000",
            "192.168.1.7:8000",
            "[fe80::1]:8000",
            "box.lan",
            "box.lan:1234",
            "BOX.lan.",
            "proxy.example:8443",
        ] {
            let request = request(Method::GET, "/", &[("host", host)]);
            assert!(hosts.check(&request).is_ok(), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "box.lan.evil.example",
            "xbox.lan",
            "proxy.example",
            "proxy.example:8444",
            // Forms of addresses that a resolver understands are names all the same.
            "2130706433",
            "0x7f.1",
            "127.1",
            "0177.0.0.1",
        ] {
            let request = request(Method::GET, "/", &[("host", host)]);
            let refused = hosts.check(&request).unwrap_err();
            assert_eq!(refused.status, StatusCode::MISDIRECTED_REQUEST, "{host}");
        }
    }

    #[test]
    fn a_host_that_cannot_be_read_is_refused() {
        let hosts = Hosts::new(&[]);
        for headers in [
            &[][..],
            &[("host", "")],
            &[("host", "localhost"), ("host", "localhost")],
            &[("host", "evil@localhost")],
            &[("host", "localhost:")],
            &[("host", "localhost:x")],
            &[("host", "localhost:99999")],
            &[("host", "[::1")],
            &[("host", "a b")],
            &[("host", ".")],
        ] {
            let refused = hosts
                .check(&request(Method::GET, "/", headers))
                .unwrap_err();
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{headers:?}");
        }
    }

    #[test]
    fn an_address_in_the_first_line_must_be_the_hosts() {
        let hosts = Hosts::new(&[]);
        let check = |uri| hosts.check(&request(Method::GET, uri, &[("host", "localhost:8000")]));
        assert!(check("http://localhost:8000/v1/models").is_ok());
        assert!(check("http://evil.example/v1/models").is_err());
        assert!(check("http://localhost:8001/v1/models").is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_host_is_read_or_refused(text in "[a-z0-9.:@\\[\\]%-]{0,20}") {
            if let Some(place) = place(&text) {
                proptest::prop_assert!(text.to_ascii_lowercase().contains(&place.host));
                proptest::prop_assert!(!place.host.contains(['@', '[', ']']));
            }
        }
    }

    #[test]
    fn other_sites_change_nothing() {
        for (origin, host, allowed) in [
            ("http://localhost:8000", "localhost:8000", true),
            ("http://LOCALHOST:8000", "localhost:8000", true),
            ("http://[::1]:8000", "[::1]:8000", true),
            ("https://box.lan", "box.lan", true),
            ("https://box.lan", "box.lan:443", true),
            ("http://box.lan:80", "box.lan", true),
            ("null", "localhost:8000", false),
            ("", "localhost:8000", false),
            ("file://", "localhost:8000", false),
            ("http://evil.example", "localhost:8000", false),
            ("http://localhost:3000", "localhost:8000", false),
            ("http://127.0.0.1:8000", "localhost:8000", false),
            ("chrome-extension://localhost:8000", "localhost:8000", false),
            (
                "http://localhost:8000.evil.example",
                "localhost:8000",
                false,
            ),
        ] {
            let headers = [("origin", origin), ("host", host)];
            let from = |method| same_site(&request(method, "/v1/score", &headers));
            assert_eq!(from(Method::POST).is_ok(), allowed, "{origin} to {host}");
            assert_eq!(from(Method::DELETE).is_ok(), allowed, "{origin} to {host}");
            assert!(from(Method::GET).is_ok());
        }
    }

    #[test]
    fn what_the_browser_says_about_the_site_counts_too() {
        for (site, allowed) in [
            ("same-origin", true),
            ("none", true),
            ("same-site", false),
            ("cross-site", false),
            ("", false),
        ] {
            let headers = [("host", "localhost"), ("sec-fetch-site", site)];
            let request = request(Method::POST, "/v1/score", &headers);
            assert_eq!(same_site(&request).is_ok(), allowed, "{site}");
        }
        let programs = request(Method::POST, "/v1/score", &[("host", "localhost")]);
        assert!(same_site(&programs).is_ok());
    }
}
