//! A server behind a server: requests handed on as they came, answers as they come.

use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;

/// Where requests are handed on to.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamConfig {
    /// The name that our clients give.
    pub model: String,
    /// The name that the other server knows it by.
    pub upstream_model: String,
    /// Its address, up to and with `/v1`.
    pub url: String,
    /// Name of the environment variable that has its key.
    pub key_env: Option<String>,
}

/// Another server that answers for a model.
pub struct Upstream {}

/// An answer as it comes.
pub struct Relayed {
    /// HTTP status.
    pub status: u16,
    /// The `Content-Type` it said.
    pub content_type: Option<String>,
    /// Its `Retry-After`, as it was.
    pub retry_after: Option<String>,
    /// The bytes; dropping it closes the connection.
    pub body: Pin<Box<dyn Stream<Item = Result<Bytes, RelayError>> + Send>>,
}

/// Why there is no answer, or no more of it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct RelayError(pub String);

impl Upstream {
    /// A relay as `config` says.
    ///
    /// # Errors
    /// An address or a variable that cannot be used.
    pub fn new(config: UpstreamConfig) -> Result<Upstream, RelayError> {
        let _ = config;
        todo!()
    }

    /// The name that our clients give.
    pub fn model(&self) -> &str {
        todo!()
    }

    /// Hands a POST on: `path` is below the address (`chat/completions`), `body` is a JSON object, whose
    /// `model` becomes the upstream's name.
    ///
    /// # Errors
    /// Where the other server does not answer.
    pub async fn post(&self, path: &str, body: serde_json::Value) -> Result<Relayed, RelayError> {
        let _ = (path, body);
        todo!()
    }
}
