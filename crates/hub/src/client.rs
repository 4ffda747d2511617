//! One exchange with the hub: who is told the token, where a redirect may lead, what an answer's
//! status means.
//!
//! **Invariant:** redirects are followed here, one hop at a time, never by the HTTP library: each hop
//! is checked, and only a hop to the endpoint's own origin carries the token.

use std::io::Read;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder};
use sample::progress;
use ureq::config::Config;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body, Proxy};
use url::Url;

use crate::address::{PublicOnly, is_loopback, is_private_host};
use crate::refusal::Refusal;
use crate::retry::{Fault, Patience};
use crate::{Error, RepoKind, Repository, Settings, Token};

/// More redirects than any hub needs: a renamed repository, a bridge, a store.
const MOST_HOPS: usize = 6;
/// No listing is longer: 200,000 files of 300 bytes.
const LONGEST_LISTING: u64 = 64 << 20;
/// How the program calls itself.
const AGENT: &str = concat!("math-llava/", env!("CARGO_PKG_VERSION"));

/// What both clients are held to: no hops of their own, statuses as answers, limits on waiting. A
/// macro, since the bound that an agent's and a request's builders share is private.
macro_rules! careful {
    ($builder:expr, $tls:expr, $proxy:expr, $patience:expr) => {
        $builder
            .tls_config($tls.clone())
            .proxy($proxy.clone())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some($patience.answer))
            .timeout_connect(Some($patience.answer))
            .timeout_send_request(Some($patience.answer))
            .timeout_recv_response(Some($patience.answer))
            .timeout_per_read(Some($patience.silence))
    };
}

/// What talks to one endpoint.
pub(crate) struct Client {
    endpoint: Url,
    token: Option<Token>,
    patience: Patience,
    tls: TlsConfig,
    proxy: Option<Proxy>,
    /// Reaches any address: the user named the endpoint.
    to_endpoint: Agent,
    /// Reaches public addresses only.
    elsewhere: Agent,
    endpoint_is_private: OnceLock<bool>,
    listing: Api,
}

/// A range of a file's bytes, first and last included, as HTTP has it; no last: to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub first: u64,
    pub last: Option<u64>,
}

/// What a server says of a file before it sends it.
pub(crate) struct Head {
    /// The checksum.
    pub etag: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
}

impl Client {
    /// # Errors
    /// [`Error::Asked`] for an endpoint that is no address of a server.
    pub(crate) fn new(settings: &Settings) -> Result<Client, Error> {
        let wrong = |why: &str| {
            Error::Asked(format!(
                "HF_ENDPOINT {:?} {why}: it is a server's address, such as https://huggingface.co",
                settings.endpoint
            ))
        };
        let endpoint = Url::parse(&settings.endpoint).map_err(|e| wrong(&e.to_string()))?;
        if !matches!(endpoint.scheme(), "https" | "http") || endpoint.host().is_none() {
            return Err(wrong("is neither https nor http"));
        }
        if !endpoint.username().is_empty() || endpoint.password().is_some() {
            return Err(wrong("carries a password; the token is set by HF_TOKEN"));
        }
        if endpoint.query().is_some() || endpoint.fragment().is_some() {
            return Err(wrong("has a query"));
        }
        if endpoint.scheme() == "http" && !is_loopback(&endpoint) && settings.token.is_some() {
            progress::note(&format!(
                "warning: {endpoint} is not encrypted, and the token goes there in clear"
            ));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        // No proxy reaches a server of this machine.
        let proxy = Proxy::try_from_env().filter(|_| !is_loopback(&endpoint));
        let patience = settings.patience.clone();
        let config = || -> Config {
            careful!(Agent::config_builder(), tls, proxy, patience)
                .user_agent(AGENT)
                .build()
        };
        let cache = hf_hub::Cache::new(settings.cache.clone());
        let listing = ApiBuilder::from_cache(cache)
            .with_endpoint(settings.endpoint.clone())
            .with_token(settings.token.as_ref().map(|token| token.text().to_owned()))
            .with_user_agent("math-llava", env!("CARGO_PKG_VERSION"))
            .with_progress(false)
            .build()
            .map_err(|e| Error::Asked(format!("{}: {e}", settings.endpoint)))?;
        Ok(Client {
            to_endpoint: config().new_agent(),
            elsewhere: Agent::with_parts(config(), DefaultConnector::default(), PublicOnly),
            endpoint,
            token: settings.token.clone(),
            patience,
            tls,
            proxy,
            endpoint_is_private: OnceLock::new(),
            listing,
        })
    }

    pub(crate) fn patience(&self) -> &Patience {
        &self.patience
    }

    /// The listing of a repository, as the hub writes it.
    pub(crate) fn listing(&self, repository: &Repository) -> Result<Vec<u8>, Fault> {
        let request = self.listing.repo(repository.repo()).info_request();
        let request = request.query("blobs", "true");
        let url = request.uri_ref().map(ToString::to_string);
        let url = url.and_then(|url| Url::parse(&url).ok());
        let url = url.ok_or_else(|| Error::Asked(format!("{repository} makes no address")))?;
        let first = careful!(request.config(), self.tls, self.proxy, self.patience)
            .build()
            .call()
            .map_err(|e| self.broken(&url, &e))?;
        let (url, response) = self.follow(url, first, None)?;
        let mut response = self.accepted(&url, response, repository, None)?;
        let mut body = Vec::new();
        let reader = response.body_mut().as_reader();
        reader
            .take(LONGEST_LISTING + 1)
            .read_to_end(&mut body)
            .map_err(|e| Fault::passing(format!("the listing broke off: {e}")))?;
        if body.len() as u64 > LONGEST_LISTING {
            return Err(Error::Answer(format!(
                "the listing of {repository} is longer than {} MiB",
                LONGEST_LISTING >> 20
            ))
            .into());
        }
        Ok(body)
    }

    /// The address of a file at a commit.
    pub(crate) fn file(
        &self,
        repository: &Repository,
        commit: &str,
        path: &str,
    ) -> Result<Url, Error> {
        let mut url = self.endpoint.clone();
        {
            let mut segments = url
                .path_segments_mut()
                .map_err(|()| Error::Asked(format!("{} has no paths", self.endpoint)))?;
            segments.pop_if_empty();
            if repository.kind() == RepoKind::Dataset {
                segments.push("datasets");
            }
            segments.extend(repository.name().split('/'));
            segments.extend(["resolve", commit]).extend(path.split('/'));
        }
        Ok(url)
    }

    /// Begins to receive a file, or a range of it. The status is 200, 206 or 416.
    pub(crate) fn get(
        &self,
        repository: &Repository,
        url: &Url,
        path: &str,
        range: Option<Range>,
    ) -> Result<Response<Body>, Fault> {
        let first = self.exchange("GET", url, range)?;
        let (url, response) = self.follow(url.clone(), first, range)?;
        self.accepted(&url, response, repository, Some(path))
    }

    /// What the endpoint says of a file. The place to which it redirects is not asked: only the
    /// endpoint knows the repository's checksums.
    pub(crate) fn head(
        &self,
        repository: &Repository,
        url: &Url,
        path: &str,
    ) -> Result<Head, Fault> {
        let mut url = url.clone();
        let mut response = self.exchange("HEAD", &url, None)?;
        for _ in 0..MOST_HOPS {
            match target(&url, &response)? {
                Some(next) if self.is_endpoint(&next) => {
                    response = self.exchange("HEAD", &next, None)?;
                    url = next;
                }
                _ => break,
            }
        }
        if !is_redirect(response.status()) {
            response = self.accepted(&url, response, repository, Some(path))?;
        }
        let headers = response.headers();
        let length = (!is_redirect(response.status())).then_some("content-length");
        let size = text(headers, "x-linked-size").or_else(|| text(headers, length?));
        Ok(Head {
            etag: text(headers, "x-linked-etag")
                .or_else(|| text(headers, "etag"))
                .map(str::to_owned),
            size: size.and_then(|size| size.parse().ok()),
        })
    }

    fn follow(
        &self,
        mut url: Url,
        mut response: Response<Body>,
        range: Option<Range>,
    ) -> Result<(Url, Response<Body>), Fault> {
        for _ in 0..MOST_HOPS {
            let Some(next) = target(&url, &response)? else {
                return Ok((url, response));
            };
            response = self.exchange("GET", &next, range)?;
            url = next;
        }
        Err(Error::Answer(format!(
            "{} redirects on and on, at last to {}",
            self.endpoint,
            shown(&url)
        ))
        .into())
    }

    fn exchange(
        &self,
        method: &str,
        url: &Url,
        range: Option<Range>,
    ) -> Result<Response<Body>, Fault> {
        self.allowed(url)?;
        let home = self.is_endpoint(url);
        let agent = if home || self.private() {
            &self.to_endpoint
        } else {
            &self.elsewhere
        };
        let mut request = match method {
            "HEAD" => agent.head(url.as_str()),
            _ => agent.get(url.as_str()),
        };
        // A compressed body would have other lengths and ranges than the file.
        request = request.header("accept-encoding", "identity");
        if let Some(Range { first, last }) = range {
            let last = last.map_or_else(String::new, |last| last.to_string());
            request = request.header("range", format!("bytes={first}-{last}"));
        }
        if let Some(token) = self.token.as_ref().filter(|_| home) {
            request = request.header("authorization", token.bearer());
        }
        request.call().map_err(|e| self.broken(url, &e))
    }

    /// Whether a hop may be made at all, by the way its address is written.
    fn allowed(&self, url: &Url) -> Result<(), Error> {
        let refuse = |why: &str| {
            Err(Error::Answer(format!(
                "{} redirects to {}, {why}",
                self.endpoint,
                shown(url)
            )))
        };
        match url.scheme() {
            "https" => {}
            "http" if self.endpoint.scheme() == "http" => {}
            _ => return refuse("which is not https"),
        }
        let literal = !matches!(url.host(), Some(url::Host::Domain(_)));
        if literal && !self.is_endpoint(url) && is_private_host(url) && !self.private() {
            return refuse("an address on a private network");
        }
        Ok(())
    }

    fn is_endpoint(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.origin()
    }

    /// Whether the endpoint is itself on a private network, where its redirects may then lead.
    fn private(&self) -> bool {
        *self
            .endpoint_is_private
            .get_or_init(|| is_private_host(&self.endpoint))
    }

    /// The answer, where its status says that the file or the listing follows.
    fn accepted(
        &self,
        url: &Url,
        response: Response<Body>,
        repository: &Repository,
        path: Option<&str>,
    ) -> Result<Response<Body>, Fault> {
        let status = response.status();
        if matches!(status.as_u16(), 200 | 206 | 416) {
            return Ok(response);
        }
        let headers = response.headers();
        let host = url.host_str().unwrap_or_default();
        let detail = format!("{host} answers {status}");
        let passing = matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504);
        // A store refuses an address that has grown too old; the endpoint gives a new one.
        if passing || (!self.is_endpoint(url) && status.is_client_error()) {
            return Err(Fault::Passing {
                detail,
                wait: retry_after(headers),
                gained: false,
            });
        }
        let refusal = Refusal {
            endpoint: self.endpoint.as_str().trim_end_matches('/'),
            has_token: self.token.is_some(),
            status: status.as_u16(),
            code: text(headers, "x-error-code").unwrap_or_default(),
            said: text(headers, "x-error-message").unwrap_or_default(),
            detail: &detail,
        };
        Err(Error::Refused(refusal.advice(repository, path)).into())
    }

    /// An exchange that came to no answer.
    fn broken(&self, url: &Url, error: &ureq::Error) -> Fault {
        let host = url.host_str().unwrap_or_default();
        let detail = format!("{host}: {error}");
        match error {
            ureq::Error::Io(_)
            | ureq::Error::Timeout(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::ConnectProxyFailed(_)
            | ureq::Error::Protocol(_)
            | ureq::Error::BodyStalled => Fault::passing(detail),
            _ => Error::Answer(format!("cannot talk to {detail}")).into(),
        }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where an answer sends on to.
fn target(url: &Url, response: &Response<Body>) -> Result<Option<Url>, Error> {
    if !is_redirect(response.status()) {
        return Ok(None);
    }
    let next = text(response.headers(), "location").and_then(|place| url.join(place).ok());
    next.map(Some)
        .ok_or_else(|| Error::Answer(format!("{} redirects to no address", shown(url))))
}

/// An address without its query, which may be a signature.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.into()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Seconds, or a date, which is measured against the answer's own `Date`, not this machine's clock.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let after = text(headers, "retry-after")?;
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = httpdate::parse_http_date(after).ok()?;
    let now = httpdate::parse_http_date(text(headers, "date")?).ok()?;
    Some(then.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests;
