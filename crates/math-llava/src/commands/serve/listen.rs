//! Listening: who may ask and where, until a stop is asked for.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use axum::http::uri::Authority;
use sample::interrupt;
use serve::guard::{Guard, guarded};
use serve::{Server, ServerLimits};

use crate::args::Listen;

/// The variable with keys, separated by commas.
const KEYS: &str = "MATH_LLAVA_KEYS";
/// How often it is looked whether a stop was asked for.
const LOOK: Duration = Duration::from_millis(50);

/// A bound socket, and who may come in.
pub struct Door {
    server: Server,
    guard: Guard,
}

/// Checks who may ask and binds: before models are loaded, which takes its time.
pub async fn open(arguments: &Listen) -> Result<Door> {
    let guard = Guard {
        keys: keys(arguments, std::env::var(KEYS).ok())?,
        hosts: hosts(arguments)?,
        max_body: arguments.max_body.saturating_mul(1 << 20),
    };
    let address = SocketAddr::new(arguments.host, arguments.port);
    let limits = ServerLimits {
        connections: arguments.connections.max(1),
        ..ServerLimits::default()
    };
    let server = Server::bind(address, limits)
        .await
        .with_context(|| format!("cannot listen on {address}; --port chooses another port"))?;
    Ok(Door { server, guard })
}

impl Door {
    /// Serves `router` until Ctrl-C or SIGTERM; `stopping` is told of that before live connections are waited for.
    pub async fn serve(self, router: Router, stopping: impl FnOnce()) {
        // For those who started it, and for programs that look for the port.
        println!("listening on http://{}", self.server.address());
        let stop = async move {
            while interrupt::requests() == 0 {
                tokio::time::sleep(LOOK).await;
            }
            stopping();
        };
        let router = guarded(router, Arc::new(self.guard));
        self.server.serve(router, stop).await;
    }
}

/// The keys that open the server.
fn keys(arguments: &Listen, variable: Option<String>) -> Result<Vec<String>> {
    let written = match &arguments.keys {
        Some(file) => read(file)?,
        None => variable.unwrap_or_default().replace(',', "\n"),
    };
    let keys: Vec<String> = written
        .lines()
        .map(str::trim)
        .filter(|key| !key.is_empty())
        .map(str::to_owned)
        .collect();
    if keys.is_empty() && arguments.keys.is_some() {
        bail!("--keys: there is no key in the file; write one a line");
    }
    if keys.is_empty() && !arguments.host.is_loopback() && !arguments.no_keys {
        bail!(
            "--host {}: whoever reaches this address could ask and read; set keys (--keys FILE, or the \
             variable {KEYS}), or say --no-keys",
            arguments.host
        );
    }
    Ok(keys)
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("--keys {}", file.display()))
}

/// Names that requests may give for this host.
fn hosts(arguments: &Listen) -> Result<Vec<String>> {
    for name in &arguments.allow_host {
        if name.contains('@') || name.parse::<Authority>().is_err() {
            bail!(
                "--allow-host {name:?}: write the name of this host, as in my-machine or my-machine:8080"
            );
        }
    }
    let mut hosts = arguments.allow_host.clone();
    if !arguments.host.is_unspecified() {
        hosts.push(match arguments.host {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        });
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Arguments, Verb};
    use clap::Parser;

    fn listen(flags: &[&str]) -> Listen {
        let line = ["math-llava", "studio", "--runs", "runs"];
        let arguments = Arguments::try_parse_from(line.iter().chain(flags)).unwrap();
        match arguments.verb {
            Verb::Studio(studio) => studio.listen,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn strangers_need_a_key_unless_told_otherwise() {
        let open = |flags: &[&str], variable: Option<&str>| {
            keys(&listen(flags), variable.map(str::to_owned)).map_err(|e| e.to_string())
        };
        assert_eq!(open(&[], None).unwrap(), Vec::<String>::new());
        assert_eq!(open(&["--host", "::1"], None).unwrap().len(), 0);
        let refused = open(&["--host", "0.0.0.0"], None).unwrap_err();
        assert!(refused.contains("--no-keys"), "{refused}");
        assert!(open(&["--host", "0.0.0.0", "--no-keys"], None).is_ok());
        let two = open(&["--host", "0.0.0.0"], Some(" a, ,b ")).unwrap();
        assert_eq!(two, ["a", "b"]);
    }

    #[test]
    fn what_is_no_name_of_a_host_is_refused_at_the_start() {
        for wrong in ["a b", "", "me@host", "http://host", "host/path"] {
            let flags = ["--allow-host", wrong];
            assert!(hosts(&listen(&flags)).is_err(), "{wrong}");
        }
        let flags = ["--allow-host", "my-machine:80", "--host", "::1"];
        assert_eq!(hosts(&listen(&flags)).unwrap(), ["my-machine:80", "[::1]"]);
    }

    #[test]
    fn a_file_of_keys_without_a_key_opens_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let flags = ["--keys", path.as_str()];
        assert!(keys(&listen(&flags), Some("k".into())).is_err());
        std::fs::write(file.path(), "one\n\n two \n").unwrap();
        assert_eq!(keys(&listen(&flags), None).unwrap(), ["one", "two"]);
    }
}
