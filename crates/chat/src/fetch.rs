//! Images from addresses that strangers give: fetched only from public hosts, bounded in bytes and time.

use std::time::Duration;

use bytes::Bytes;

/// How far a fetch may go.
#[derive(Debug, Clone, PartialEq)]
pub struct FetchConfig {
    /// Hosts (`name` or `name:port`) that are fetched from although their addresses are private.
    pub allow_hosts: Vec<String>,
    /// Bytes of an answer.
    pub max_bytes: usize,
    /// From the first name looked up to the last byte.
    pub time: Duration,
    /// How often an answer may point elsewhere.
    pub redirects: usize,
}

/// Fetches images.
pub struct Fetcher {}

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

impl Fetcher {
    /// A fetcher with connections of its own.
    ///
    /// # Errors
    /// Where TLS cannot be set up.
    pub fn new(config: FetchConfig) -> Result<Fetcher, FetchError> {
        let _ = config;
        todo!()
    }

    /// Fetches one file.
    ///
    /// # Errors
    /// As [`FetchError`] says.
    pub async fn fetch(&self, url: &str) -> Result<Bytes, FetchError> {
        let _ = url;
        todo!()
    }
}
