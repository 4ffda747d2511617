//! How a server that the user has named is connected to, whatever is then said to it.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Url};

use super::config::{Checked, ConfigError, wrong};

/// Idle connections are closed before servers close them: uvicorn, under vLLM and SGLang, does so
/// after 5 s, and a request sent at that moment is lost.
const IDLE: Duration = Duration::from_secs(4);

/// Makes rustls use ring.
pub(crate) fn install_tls() {
    // A second call finds the first one's provider, which is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A client without time limits that sends the keys along, and what must be scrubbed from messages. `at` is where
/// the server stands in the configuration.
pub(crate) fn builder(
    checked: &Checked,
    at: &str,
) -> Result<(ClientBuilder, Vec<String>), ConfigError> {
    install_tls();
    let mut headers = HeaderMap::new();
    let mut secrets = Vec::new();
    for (name, value) in &checked.headers {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
            let detail = format!("`{name}` is no header");
            wrong(format!("{at}.headers_env"), detail)
        })?;
        let mut sent = HeaderValue::from_str(value).map_err(|_| {
            let detail = format!("the value for `{name}` has characters no header can hold");
            wrong(at, detail)
        })?;
        sent.set_sensitive(true);
        headers.insert(header, sent);
        secrets.push(value.strip_prefix("Bearer ").unwrap_or(value).to_owned());
    }
    let mut builder = Client::builder()
        .user_agent(concat!("math-llava/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        // A redirected request would take the key along, or come without its body.
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .tcp_nodelay(true)
        .pool_idle_timeout(IDLE);
    if checked.url.scheme() == "http" {
        // Nor are certificates looked for, which not every machine has.
        builder = builder.tls_certs_only([]);
    }
    if is_loopback(&checked.url) {
        builder = builder.no_proxy();
    }
    Ok((builder, secrets))
}

/// The address of a path under `url`, whose query is kept.
pub(crate) fn below(url: &Url, path: &str) -> Url {
    let mut below = url.clone();
    below.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
    below
}

/// A text without keys.
pub(crate) fn scrubbed(secrets: &[String], mut text: String) -> String {
    for secret in secrets {
        if text.contains(secret.as_str()) {
            text = text.replace(secret.as_str(), "***");
        }
    }
    text
}

/// Whether the server is this machine, which no proxy stands before.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// An error with everything that lies behind it.
pub(crate) fn causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}
