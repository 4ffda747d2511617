//! A server behind a server: requests handed on as they came, answers as they come.
//!
//! Nothing is kept: a piece of an answer is handed on when it is there, and when nobody wants the rest, the
//! connection is closed, which is how servers of this kind learn that they may stop.
//! **Invariant:** the key is sent to the one address that the user named, and is in no message and no answer.

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use reqwest::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER};
use reqwest::{Client, Response, Url};
use serde_json::Value;

use crate::http::{Endpoint, below, builder, causes, scrubbed};

/// Explanations of errors are not read further, in bytes.
const MAX_ERROR: usize = 64 << 10;

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
pub struct Upstream {
    config: UpstreamConfig,
    url: Url,
    client: Client,
    secrets: Arc<[String]>,
}

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

/// How long the other server may be silent.
struct Patience {
    /// Until a connection stands.
    connect: Duration,
    /// Until the answer begins, and between its pieces.
    idle: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            connect: Duration::from_secs(10),
            // An answer in one piece begins when all of it is written: as long as a request may take.
            idle: Duration::from_secs(600),
        }
    }
}

impl Upstream {
    /// A relay as `config` says.
    ///
    /// # Errors
    /// An address or a variable that cannot be used.
    pub fn new(config: UpstreamConfig) -> Result<Upstream, RelayError> {
        Upstream::within(
            config,
            &|name| std::env::var(name).ok(),
            &Patience::default(),
        )
    }

    fn within(
        config: UpstreamConfig,
        env: &impl Fn(&str) -> Option<String>,
        patience: &Patience,
    ) -> Result<Upstream, RelayError> {
        for (name, value) in [
            ("model", &config.model),
            ("upstream_model", &config.upstream_model),
        ] {
            if value.is_empty() {
                return Err(RelayError(format!(
                    "upstream.{name} is empty; name the model"
                )));
            }
        }
        let endpoint = Endpoint {
            url: config.url.clone(),
            key_env: config.key_env.clone(),
            ..Endpoint::default()
        };
        let wrong = |e: crate::http::ConfigError| RelayError(e.to_string());
        let checked = endpoint.check("upstream", env).map_err(wrong)?;
        let (builder, secrets) = builder(&checked, "upstream").map_err(wrong)?;
        let builder = builder
            .connect_timeout(patience.connect)
            .read_timeout(patience.idle);
        let client = builder.build();
        Ok(Upstream {
            config,
            url: checked.url,
            client: client.map_err(|e| {
                RelayError(format!(
                    "no client for the upstream can be made: {}",
                    causes(&e)
                ))
            })?,
            secrets: secrets.into(),
        })
    }

    /// The name that our clients give.
    pub fn model(&self) -> &str {
        &self.config.model
    }

    /// Hands a POST on: `path` is below the address (`chat/completions`), `body` is a JSON object, whose
    /// `model` becomes the upstream's name. What the other server says of a request, errors included, is
    /// handed back; what it says of this server (a key that it refuses, an address that has moved) is an
    /// error of the relay.
    ///
    /// # Errors
    /// Where the other server does not answer, or answers what is not for the client.
    pub async fn post(&self, path: &str, body: Value) -> Result<Relayed, RelayError> {
        let Value::Object(mut fields) = body else {
            return Err(RelayError(
                "a request to hand on must be a JSON object".to_owned(),
            ));
        };
        fields.insert(
            "model".to_owned(),
            Value::from(self.config.upstream_model.as_str()),
        );
        let sent = self
            .client
            .post(below(&self.url, path))
            .header(CONTENT_TYPE, "application/json")
            .body(Value::Object(fields).to_string())
            .send()
            .await;
        let response = sent.map_err(|e| broken(&self.secrets, e))?;
        let status = response.status();
        if status.is_redirection() || status.is_informational() {
            let detail = "it points elsewhere; is its address right, up to /v1?";
            return Err(RelayError(format!(
                "the upstream server answers {}: {detail}",
                status.as_u16()
            )));
        }
        if matches!(status.as_u16(), 401 | 407) {
            // To our client this would look like its own key being wrong.
            let detail = "it refuses the key that this server has for it";
            return Err(RelayError(format!(
                "the upstream server answers {}: {detail}",
                status.as_u16()
            )));
        }
        let header = |name: HeaderName| {
            let value = response.headers().get(name)?.to_str().ok()?;
            Some(value.to_owned())
        };
        Ok(Relayed {
            status: status.as_u16(),
            content_type: header(CONTENT_TYPE),
            retry_after: header(RETRY_AFTER),
            body: if status.is_success() {
                let secrets = self.secrets.clone();
                let pieces = response.bytes_stream();
                pieces
                    .map(move |piece| piece.map_err(|e| broken(&secrets, e)))
                    .boxed()
            } else {
                let said = self.explanation(response).await;
                futures::stream::iter([Ok(said)]).boxed()
            },
        })
    }

    /// What an error says, without the key, should it repeat it.
    async fn explanation(&self, mut response: Response) -> Bytes {
        let mut said = Vec::new();
        // The status says enough where the explanation breaks off or is endless.
        while let Ok(Some(bytes)) = response.chunk().await {
            let room = MAX_ERROR - said.len();
            said.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if said.len() == MAX_ERROR {
                break;
            }
        }
        let cut = said.len() == MAX_ERROR;
        let mut said = scrubbed(&self.secrets, String::from_utf8_lossy(&said).into_owned());
        if cut {
            // The first letters of a key may stand last.
            let longest = self
                .secrets
                .iter()
                .map(String::len)
                .max()
                .unwrap_or_default();
            said.truncate(said.floor_char_boundary(said.len().saturating_sub(longest)));
        }
        said.into()
    }
}

fn broken(secrets: &[String], error: reqwest::Error) -> RelayError {
    let what = if error.is_timeout() {
        "is too slow"
    } else if error.is_connect() {
        "cannot be reached"
    } else {
        "broke off"
    };
    let causes = scrubbed(secrets, causes(&error.without_url()));
    RelayError(format!("the upstream server {what}: {causes}"))
}
