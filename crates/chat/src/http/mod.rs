//! Teachers behind HTTP: every server that speaks OpenAI's chat completions, be it a vendor's, vLLM,
//! SGLang, llama.cpp or Ollama.
//!
//! [`Http`] makes one try at one request and says exactly what came of it; when to try again, and
//! with which server, is the dispatcher's. **Invariant:** no key leaves in a message: every detail is
//! scrubbed, and the header that carries it is marked as sensitive.

mod announced;
pub mod batch;
mod body;
mod config;
mod connection;
mod images;
pub mod json;
mod reply;
mod stream;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, Response, Url};

pub use config::{ConfigError, Endpoint, HttpConfig, JsonMode, MaxTokensField};
pub(crate) use connection::{below, builder, causes, install_tls, scrubbed};

use crate::transport::{Attempt, Fault, FaultKind, Sending, Transport};
use crate::{Reply, Request};
use body::{Pieces, Sent};
use config::{Checked, wrong};
use images::DataUrls;
use reply::{fault, of_status, refuses_form, shortened};
use stream::Events;

/// Longer answers to a chat completion are not read, in bytes.
const MAX_REPLY: usize = 16 << 20;
/// Explanations of errors are not read further, in bytes.
const MAX_ERROR: usize = 64 << 10;

/// One model on one or more servers.
pub struct Http {
    config: HttpConfig,
    servers: Vec<Server>,
    images: DataUrls,
}

struct Server {
    /// The address without its query.
    name: String,
    url: Url,
    client: Client,
    secrets: Vec<String>,
    /// How many steps weaker than configured it must be asked for a form.
    weaker: AtomicU8,
}

impl Http {
    /// A transport as `config` says, with keys from the environment.
    ///
    /// # Errors
    /// Where the configuration cannot work, or a variable is not set.
    pub fn new(config: HttpConfig) -> Result<Http, ConfigError> {
        Http::with_keys(config, |name| std::env::var(name).ok())
    }

    /// The same with keys from `env`.
    ///
    /// # Errors
    /// Where the configuration cannot work, or `env` lacks a name.
    pub fn with_keys(
        config: HttpConfig,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Http, ConfigError> {
        let checked = config.check(env)?;
        let servers = checked
            .into_iter()
            .enumerate()
            .map(|(n, checked)| Server::new(&config, n, checked))
            .collect::<Result<Vec<_>, _>>()?;
        let mut names = HashSet::new();
        for (n, server) in servers.iter().enumerate() {
            if !names.insert(server.name.as_str()) {
                let detail = "the same server stands above; write it once";
                return Err(wrong(format!("endpoints[{n}].url"), detail));
            }
        }
        Ok(Http {
            images: DataUrls::new(config.max_image_bytes, config.image_cache_bytes),
            config,
            servers,
        })
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.config.model
    }

    async fn attempt(&self, server: usize, request: &Request, key: &str) -> Attempt {
        let data_urls = match self.data_urls(request).await {
            Ok(data_urls) => data_urls,
            Err(fault) => return failed(fault),
        };
        let Some(server) = self.servers.get(server) else {
            let detail = format!("there is no server {server}");
            return failed(fault(FaultKind::NotFound, detail));
        };
        loop {
            let weaker = server.weaker.load(Ordering::Relaxed);
            let mode = weakened(self.config.json, weaker);
            let mut pieces = Pieces::default();
            let stream = self.config.stream;
            if !body::write(
                &mut pieces,
                &self.config,
                mode,
                stream,
                request,
                data_urls.clone(),
            ) {
                return failed(fault(FaultKind::Invalid, "no user speaks in the request"));
            }
            let attempt = self.complete(server, pieces.finish(), key).await;
            let form_refused = request.schema.is_some()
                && mode != JsonMode::None
                && matches!(&attempt.outcome, Some(Err(fault)) if refuses_form(fault));
            if !form_refused {
                return attempt;
            }
            // Others on their way may have learnt the same meanwhile.
            server.weaker.fetch_max(weaker + 1, Ordering::Relaxed);
        }
    }

    async fn data_urls(&self, request: &Request) -> Result<Vec<Bytes>, Fault> {
        let mut data_urls = Vec::with_capacity(request.images.len());
        for image in &request.images {
            data_urls.push(self.images.get(image).await?);
        }
        Ok(data_urls)
    }

    async fn complete(&self, server: &Server, body: Vec<Bytes>, key: &str) -> Attempt {
        let sent = server
            .request(Method::POST, "chat/completions")
            .header("idempotency-key", key)
            .header(CONTENT_TYPE, "application/json")
            .body(reqwest::Body::wrap(Sent::new(body)))
            .send()
            .await;
        let response = match sent {
            Ok(response) => response,
            Err(e) => return failed(server.broken(e)),
        };
        Attempt {
            status: Some(response.status().as_u16()),
            announced: announced::announced(response.headers()),
            outcome: Some(server.read(response).await),
        }
    }
}

impl Transport for Http {
    fn servers(&self) -> Vec<String> {
        self.servers.iter().map(|s| s.name.clone()).collect()
    }

    fn send<'a>(&'a self, server: usize, request: &'a Arc<Request>, key: &'a str) -> Sending<'a> {
        Box::pin(self.attempt(server, request, key))
    }
}

fn failed(fault: Fault) -> Attempt {
    Attempt {
        outcome: Some(Err(fault)),
        ..Attempt::default()
    }
}

fn weakened(mode: JsonMode, steps: u8) -> JsonMode {
    match (mode, steps) {
        (mode, 0) => mode,
        (JsonMode::Schema, 1) => JsonMode::Object,
        _ => JsonMode::None,
    }
}

impl Server {
    fn new(config: &HttpConfig, n: usize, checked: Checked) -> Result<Server, ConfigError> {
        let at = format!("endpoints[{n}]");
        let (builder, secrets) = builder(&checked, &at)?;
        let builder = builder
            .connect_timeout(Duration::from_secs_f64(config.connect_timeout_s))
            .timeout(Duration::from_secs_f64(config.timeout_s));
        let client = builder
            .build()
            .map_err(|e| wrong(&at, format!("no client can be made: {}", causes(&e))))?;
        let mut bare = checked.url.clone();
        bare.set_query(None);
        Ok(Server {
            name: bare.as_str().trim_end_matches('/').to_owned(),
            url: checked.url,
            client,
            secrets,
            weaker: AtomicU8::new(0),
        })
    }

    /// A request to this path under the address; the address's query is kept.
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.request_with(method, path, &[])
    }

    fn request_with(&self, method: Method, path: &str, query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = below(&self.url, path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.client.request(method, url)
    }

    async fn read(&self, response: Response) -> Result<Reply, Fault> {
        let response = self.accepted(response).await?;
        let kind = content_type(&response);
        let read = match kind.as_str() {
            "text/event-stream" => self.collect(response).await,
            // Some servers name no type.
            "" | "application/json" => {
                let body = self.bounded(response, MAX_REPLY).await?;
                reply::read(&body)
            }
            kind if kind.starts_with("application/") && kind.ends_with("+json") => {
                let body = self.bounded(response, MAX_REPLY).await?;
                reply::read(&body)
            }
            other => Err(fault(
                FaultKind::BadReply,
                format!("the reply is {other}, not JSON; is the url right, up to /v1?"),
            )),
        };
        read.map_err(|fault| self.scrubbed(fault))
    }

    /// The response, where it is a success; else what it says.
    async fn accepted(&self, response: Response) -> Result<Response, Fault> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let moved = response.headers().get("location").cloned();
        let body = self.bounded(response, MAX_ERROR).await;
        // The status says enough where the explanation broke off or is endless.
        let mut said = of_status(status.as_u16(), &body.unwrap_or_default());
        if let Some(moved) = moved.as_ref().and_then(|to| to.to_str().ok()) {
            let detail = format!("{} (moved to {moved}; write that url)", said.detail);
            said = fault(said.kind, detail);
        }
        Err(self.scrubbed(said))
    }

    async fn bounded(&self, mut response: Response, most: usize) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(|e| self.broken(e))? {
            if body.len() + bytes.len() > most {
                let detail = format!("the answer is longer than {most} bytes");
                return Err(fault(FaultKind::BadReply, detail));
            }
            body.extend_from_slice(&bytes);
        }
        Ok(body)
    }

    async fn collect(&self, mut response: Response) -> Result<Reply, Fault> {
        let mut events = Events::default();
        let mut length = 0;
        while !events.done() {
            match response.chunk().await {
                Ok(Some(bytes)) => {
                    length += bytes.len();
                    if length > MAX_REPLY {
                        let detail = format!("the stream is longer than {MAX_REPLY} bytes");
                        return Err(fault(FaultKind::BadReply, detail));
                    }
                    events.push(&bytes)?;
                }
                Ok(None) => break,
                Err(_) if events.is_whole() => break,
                Err(e) => return Err(self.broken(e)),
            }
        }
        events.finish()
    }

    /// What a connection's trouble means.
    fn broken(&self, error: reqwest::Error) -> Fault {
        let kind = if error.is_connect() {
            FaultKind::Connection
        } else if error.is_timeout() {
            FaultKind::Timeout
        } else if error.is_builder() {
            FaultKind::Invalid
        } else {
            FaultKind::Reset
        };
        self.scrubbed(fault(kind, causes(&error.without_url())))
    }

    fn scrubbed(&self, said: Fault) -> Fault {
        Fault {
            kind: said.kind,
            detail: shortened(scrubbed(&self.secrets, said.detail)),
        }
    }
}

/// The media type of an answer, without parameters.
fn content_type(response: &Response) -> String {
    let value = response.headers().get(CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok());
    let kind = value.and_then(|value| value.split(';').next());
    kind.unwrap_or_default().trim().to_ascii_lowercase()
}
