//! Images from addresses that strangers give: fetched only from public hosts, bounded in bytes and time.
//!
//! A server that fetches what it is told to can be made to speak to machines that only it can reach. So an
//! address must be plain http or https to a web port; every address that its name stands for must be public,
//! and the connection goes to the very addresses that were vetted; a redirect is a new address, vetted anew.
//! **Invariants:** proxies that the environment names are not used, since they would look names up themselves,
//! unvetted. No cookie, referer or key is sent. Answers are taken as they are, never decompressed. What is
//! said about an address that is refused does not depend on whether there is something behind it.

mod address;
mod lookup;
mod target;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{ACCEPT, LOCATION};
use reqwest::{Client, Response, StatusCode};

use lookup::{Lookup, Vetting};
use target::{AllowedHost, Target, Targets, not_public};

/// How far a fetch may go.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchConfig {
    /// Hosts that are fetched from although their addresses are private: `name` on the ports 80 and 443,
    /// `name:port` on that one.
    pub allow_hosts: Vec<String>,
    /// Bytes of an answer.
    pub max_bytes: usize,
    /// From the first name looked up to the last byte.
    pub time: Duration,
    /// How often an answer may point elsewhere.
    pub redirects: usize,
}

/// Fetches images.
pub struct Fetcher {
    config: FetchConfig,
    targets: Targets,
    /// Speaks to vetted addresses.
    public: Client,
    /// Speaks to the hosts that the user has allowed.
    allowed: Client,
}

/// Why an image was not fetched; tells the client nothing about hosts it may not reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The address is none, or may not be fetched from.
    #[error("{0}")]
    Refused(String),
    /// The other server failed, or was too slow.
    #[error("{0}")]
    Failed(String),
    /// More bytes than allowed.
    #[error("the image has more than {0} bytes")]
    TooLarge(usize),
}

impl Default for FetchConfig {
    fn default() -> FetchConfig {
        FetchConfig {
            allow_hosts: Vec::new(),
            max_bytes: 20 << 20,
            time: Duration::from_secs(15),
            redirects: 3,
        }
    }
}

/// What is given from outside, so that tests, which have only the loopback, can call a part of it public.
struct World {
    lookup: Arc<Lookup>,
    is_public: fn(IpAddr) -> bool,
    is_open: fn(u16) -> bool,
    /// Whether https is spoken, for which the system's certificates are read.
    https: bool,
}

impl Fetcher {
    /// A fetcher with connections of its own.
    ///
    /// # Errors
    /// Where TLS cannot be set up, or `allow_hosts` names what is no host.
    pub fn new(config: FetchConfig) -> Result<Fetcher, FetchError> {
        let world = World {
            lookup: Arc::new(lookup::system),
            is_public: address::is_public,
            is_open: target::is_web_port,
            https: true,
        };
        Fetcher::within(world, config)
    }

    fn within(world: World, config: FetchConfig) -> Result<Fetcher, FetchError> {
        let mut allowed = Vec::with_capacity(config.allow_hosts.len());
        for text in &config.allow_hosts {
            let host = AllowedHost::parse(text).ok_or_else(|| {
                let detail = "is no host to fetch images from; write `name` or `name:port`";
                FetchError::Failed(format!("`{text}` {detail}"))
            })?;
            allowed.push(host);
        }
        let vetting = Vetting::new(world.lookup.clone(), world.is_public);
        Ok(Fetcher {
            config,
            targets: Targets {
                allowed,
                is_public: world.is_public,
                is_open: world.is_open,
            },
            public: client(vetting, world.https)?,
            allowed: client(Vetting::new(world.lookup, |_| true), world.https)?,
        })
    }

    /// Fetches one file.
    ///
    /// # Errors
    /// As [`FetchError`] says.
    pub async fn fetch(&self, url: &str) -> Result<Bytes, FetchError> {
        let fetched = tokio::time::timeout(self.config.time, self.follow(url)).await;
        fetched.unwrap_or_else(|_| {
            let seconds = self.config.time.as_secs_f64();
            Err(failed(format!("did not give it within {seconds} s")))
        })
    }

    async fn follow(&self, url: &str) -> Result<Bytes, FetchError> {
        let mut target = self.targets.first(url)?;
        for _ in 0..=self.config.redirects {
            let response = self.ask(&target).await?;
            let status = response.status();
            if status == StatusCode::OK {
                return self.collect(response).await;
            }
            let location = response.headers().get(LOCATION);
            let Some(location) = location.filter(|_| is_redirect(status)) else {
                return Err(failed(format!("answered {}", status.as_u16())));
            };
            let location = location.to_str();
            let location = location.map_err(|_| failed("points to an address that is none"))?;
            target = self.targets.next(&target, location)?;
        }
        let most = self.config.redirects;
        Err(failed(format!("pointed elsewhere more than {most} times")))
    }

    async fn ask(&self, target: &Target) -> Result<Response, FetchError> {
        let client = if target.allowed {
            &self.allowed
        } else {
            &self.public
        };
        let sent = client.get(target.url.clone()).header(ACCEPT, "image/*");
        sent.send().await.map_err(|error| {
            // The resolver's reasons are one to the client: a name without an address, one with a private one.
            if error.is_dns() {
                not_public()
            } else {
                failed("cannot be reached")
            }
        })
    }

    async fn collect(&self, mut response: Response) -> Result<Bytes, FetchError> {
        let most = self.config.max_bytes;
        if response
            .content_length()
            .is_some_and(|length| length > most as u64)
        {
            return Err(FetchError::TooLarge(most));
        }
        // Grows with what comes, not with what is promised.
        let mut body = BytesMut::new();
        loop {
            let chunk = response.chunk().await;
            let Some(bytes) = chunk.map_err(|_| failed("broke off"))? else {
                return Ok(body.freeze());
            };
            if body.len() + bytes.len() > most {
                return Err(FetchError::TooLarge(most));
            }
            body.extend_from_slice(&bytes);
        }
    }
}

fn client(vetting: Vetting, https: bool) -> Result<Client, FetchError> {
    crate::http::install_tls();
    let mut builder = Client::builder()
        .user_agent(concat!("math-llava/", env!("CARGO_PKG_VERSION")))
        .dns_resolver(Arc::new(vetting))
        // Each hop is vetted before it is taken.
        .redirect(reqwest::redirect::Policy::none())
        // A proxy would look names up on its own.
        .no_proxy()
        .referer(false)
        .http1_only()
        // Strangers' servers hold no connection open here.
        .pool_max_idle_per_host(0);
    if !https {
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|e| {
        let causes = crate::http::causes(&e);
        FetchError::Failed(format!("images cannot be fetched from addresses: {causes}"))
    })
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn failed(what: impl std::fmt::Display) -> FetchError {
    FetchError::Failed(format!("the image's server {what}"))
}
