//! What a user writes about a teacher behind HTTP, and what is checked of it before anything is sent.
//!
//! **Invariant:** no secret is written in a configuration. A key is named by the environment variable
//! that holds it; what looks like the key itself is refused, without repeating it.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};

/// A teacher: one model on one or more servers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// The model's name, as the servers know it.
    pub model: String,
    /// The servers that offer it.
    pub endpoints: Vec<Endpoint>,
    /// Seconds for one try, from the connection to the reply's last byte.
    pub timeout_s: f64,
    /// Seconds until a connection must stand.
    pub connect_timeout_s: f64,
    /// How a reply's form is asked for. A server that refuses one is asked for the next weaker.
    pub json: JsonMode,
    /// Whether replies are streamed: keeps connections alive behind proxies that cut silent ones.
    pub stream: bool,
    /// Further fields of each request's body; they win over the ones set here.
    pub extra: serde_json::Map<String, serde_json::Value>,
    /// The name of the field that bounds the reply.
    pub max_tokens_field: MaxTokensField,
    /// Whether the seed is sent.
    pub send_seed: bool,
    /// Whether the temperature is sent; some reasoning models refuse it.
    pub send_temperature: bool,
    /// `low`, `high` or `auto`, where the server knows levels of detail.
    pub image_detail: Option<String>,
    /// Longer image files are not sent, in bytes.
    pub max_image_bytes: u64,
    /// Encoded images kept for the next request about them, in bytes.
    pub image_cache_bytes: usize,
}

/// A server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoint {
    /// Its address, up to and with the version: `http://localhost:8000/v1`.
    pub url: String,
    /// The environment variable that holds its key.
    pub key_env: Option<String>,
    /// Further headers, each with the environment variable that holds its value.
    pub headers_env: BTreeMap<String, String>,
}

/// How a reply's form is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JsonMode {
    /// `response_format` with the schema.
    Schema,
    /// `response_format` with any JSON object.
    Object,
    /// By the prompt alone.
    None,
}

/// The name of the field that bounds the reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensField {
    /// The field that every server knows.
    MaxTokens,
    /// What OpenAI's reasoning models want instead.
    MaxCompletionTokens,
}

impl Default for HttpConfig {
    fn default() -> HttpConfig {
        HttpConfig {
            model: String::new(),
            endpoints: Vec::new(),
            timeout_s: 120.0,
            connect_timeout_s: 10.0,
            json: JsonMode::Schema,
            stream: false,
            extra: serde_json::Map::new(),
            max_tokens_field: MaxTokensField::MaxTokens,
            send_seed: true,
            send_temperature: true,
            image_detail: None,
            max_image_bytes: 20 << 20,
            image_cache_bytes: 32 << 20,
        }
    }
}

/// What is wrong with a configuration of a teacher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct ConfigError {
    /// Where it stands.
    pub field: String,
    /// What is wrong, and what to do.
    pub detail: String,
}

pub(super) fn wrong(field: impl Into<String>, detail: impl Into<String>) -> ConfigError {
    ConfigError {
        field: field.into(),
        detail: detail.into(),
    }
}

/// An endpoint that was checked, with the values of its environment variables.
pub(crate) struct Checked {
    /// Of the API, without a trailing slash.
    pub url: Url,
    /// Header names and values; all values are secrets.
    pub headers: Vec<(String, String)>,
}

impl HttpConfig {
    /// Checks everything and looks keys up by `env`.
    pub(super) fn check(
        &self,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Vec<Checked>, ConfigError> {
        if self.model.is_empty() {
            return Err(wrong("model", "is empty; name the model that answers"));
        }
        if self.endpoints.is_empty() {
            let detail = "there is none; write at least one with its url";
            return Err(wrong("endpoints", detail));
        }
        seconds("timeout_s", self.timeout_s)?;
        seconds("connect_timeout_s", self.connect_timeout_s)?;
        for (name, value) in &self.extra {
            if is_secret_name(name) || value.as_str().is_some_and(looks_like_a_key) {
                let detail = "keys belong into the environment (key_env, headers_env)";
                return Err(wrong(format!("extra.{name}"), detail));
            }
            if matches!(name.as_str(), "messages" | "stream" | "model") {
                let detail = "this field of the body is not for `extra`";
                return Err(wrong(format!("extra.{name}"), detail));
            }
        }
        self.endpoints
            .iter()
            .enumerate()
            .map(|(n, endpoint)| endpoint.check(&format!("endpoints[{n}]"), &env))
            .collect()
    }
}

impl Endpoint {
    /// Checks one server, which stands at `field`, and looks its keys up by `env`.
    pub(crate) fn check(
        &self,
        field: &str,
        env: &impl Fn(&str) -> Option<String>,
    ) -> Result<Checked, ConfigError> {
        let at = format!("{field}.url");
        // What cannot be read may hold a key, so it is not repeated.
        let mut url = Url::parse(&self.url).map_err(|e| {
            wrong(
                &at,
                format!("is no address ({e}); like http://host:8000/v1"),
            )
        })?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(wrong(&at, "must begin with http:// or https:// and a host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            let detail = "holds a user or password; name an environment variable in key_env";
            return Err(wrong(&at, detail));
        }
        for (name, value) in url.query_pairs() {
            if is_secret_name(&name) || looks_like_a_key(&value) {
                let detail = format!(
                    "`{name}` looks like a key; name an environment variable in key_env or \
                     headers_env"
                );
                return Err(wrong(&at, detail));
            }
        }
        url.set_fragment(None);
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);

        let mut headers = Vec::new();
        if let Some(name) = &self.key_env {
            let key = variable(&format!("{field}.key_env"), name, env)?;
            headers.push(("authorization".to_owned(), format!("Bearer {key}")));
        }
        for (header, name) in &self.headers_env {
            let at = format!("{field}.headers_env.{header}");
            headers.push((header.to_ascii_lowercase(), variable(&at, name, env)?));
        }
        Ok(Checked { url, headers })
    }
}

fn variable(
    at: &str,
    name: &str,
    env: &impl Fn(&str) -> Option<String>,
) -> Result<String, ConfigError> {
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name || looks_like_a_key(name) {
        let detail = "must be the name of an environment variable, not the key itself";
        return Err(wrong(at, detail));
    }
    match env(name) {
        Some(value) if !value.trim().is_empty() => Ok(value.trim().to_owned()),
        _ => Err(wrong(
            at,
            format!("the environment variable {name} is not set; export it with the key"),
        )),
    }
}

fn seconds(field: &str, value: f64) -> Result<Duration, ConfigError> {
    match Duration::try_from_secs_f64(value) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(wrong(field, "must be a number of seconds over 0")),
    }
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace('-', "_");
    const NAMES: [&str; 8] = [
        "key",
        "api_key",
        "apikey",
        "token",
        "access_token",
        "secret",
        "authorization",
        "password",
    ];
    NAMES.contains(&name.as_str())
}

/// Keys of the vendors whose keys have a form.
fn looks_like_a_key(text: &str) -> bool {
    const STARTS: [&str; 6] = ["sk-", "sk_", "gsk_", "hf_", "AIza", "Bearer "];
    text.len() >= 16 && STARTS.iter().any(|start| text.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> HttpConfig {
        HttpConfig {
            model: "m".into(),
            endpoints: vec![Endpoint {
                url: url.into(),
                ..Endpoint::default()
            }],
            ..HttpConfig::default()
        }
    }

    fn refused(config: &HttpConfig) -> ConfigError {
        config.check(|_| None).err().unwrap()
    }

    #[test]
    fn a_key_in_the_address_is_refused_and_not_repeated() {
        let key = "sk-0123456789abcdef";
        for url in [
            format!("https://user:{key}@host/v1"),
            format!("https://{key}@host/v1"),
            format!("https://host/v1?api_key={key}"),
            format!("https://host/v1?Key={key}"),
            format!("https://host/v1?k={key}"),
            format!("ftp://host/{key}"),
            format!("host/{key}"),
        ] {
            let error = refused(&config(&url)).to_string();
            assert!(error.starts_with("endpoints[0].url: "), "{error}");
            assert!(!error.contains("0123456789"), "{error}");
        }
        let versioned = config("https://host/v1/?api-version=2026-01-01");
        let checked = versioned.check(|_| None).unwrap();
        assert_eq!(checked[0].url.path(), "/v1");
    }

    #[test]
    fn a_key_comes_from_the_environment_and_nowhere_else() {
        let mut keyed = config("http://host/v1");
        keyed.endpoints[0].key_env = Some("sk-0123456789abcdef".into());
        let error = refused(&keyed);
        assert_eq!(error.field, "endpoints[0].key_env");
        assert!(!error.to_string().contains("0123456789"), "{error}");
        keyed.endpoints[0].key_env = Some("sk_0123456789abcdef".into());
        assert!(!refused(&keyed).to_string().contains("0123456789"));
        keyed.endpoints[0].key_env = Some("KEY".into());
        assert!(refused(&keyed).to_string().contains("KEY is not set"));
        keyed.endpoints[0]
            .headers_env
            .insert("Api-Key".into(), "OTHER".into());
        let checked = keyed.check(|name| Some(format!("{name}-value\n"))).unwrap();
        assert_eq!(
            checked[0].headers,
            [
                ("authorization".to_owned(), "Bearer KEY-value".to_owned()),
                ("api-key".to_owned(), "OTHER-value".to_owned()),
            ]
        );
    }

    #[test]
    fn what_cannot_work_is_refused_before_anything_is_sent() {
        type Change = fn(&mut HttpConfig);
        let cases: [(&str, Change); 8] = [
            ("model", |c| c.model.clear()),
            ("endpoints", |c| c.endpoints.clear()),
            ("timeout_s", |c| c.timeout_s = 0.0),
            ("timeout_s", |c| c.timeout_s = f64::NAN),
            ("connect_timeout_s", |c| c.connect_timeout_s = -1.0),
            ("extra.api_key", |c| {
                c.extra.insert("api_key".into(), "x".into());
            }),
            ("extra.user", |c| {
                c.extra.insert("user".into(), "sk-0123456789abcdef".into());
            }),
            ("extra.messages", |c| {
                c.extra.insert("messages".into(), 1.into());
            }),
        ];
        for (field, change) in cases {
            let mut changed = config("http://host/v1");
            change(&mut changed);
            assert_eq!(refused(&changed).field, field);
        }
    }
}
