//! Listening: who may ask and where, until a stop is asked for.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use axum::Router;
use sample::interrupt;
use serve::guard::{Guard, guarded};
use serve::{Server, ServerLimits};

use crate::args::Listen;

/// The variable with keys, separated by commas.
const KEYS: &str = "MATH_LLAVA_KEYS";
/// How often it is looked whether a stop was asked for.
const LOOK: Duration = Duration::from_millis(50);

/// Serves `router` until Ctrl-C or SIGTERM; `stopping` is told of that before live connections are
/// waited for.
pub async fn listen(arguments: &Listen, router: Router, stopping: impl FnOnce()) -> Result<()> {
    let keys = keys(arguments, std::env::var(KEYS).ok())?;
    let guard = Guard {
        max_body: arguments.max_body.saturating_mul(1 << 20),
        hosts: hosts(arguments),
        keys,
    };
    let address = SocketAddr::new(arguments.host, arguments.port);
    let limits = ServerLimits {
        connections: arguments.connections.max(1),
        ..ServerLimits::default()
    };
    let server = Server::bind(address, limits)
        .await
        .with_context(|| format!("cannot listen on {address}; --port chooses another port"))?;
    // For those who started it, and for programs that look for the port.
    println!("listening on http://{}", server.address());
    let stop = async move {
        while interrupt::requests() == 0 {
            tokio::time::sleep(LOOK).await;
        }
        stopping();
    };
    server.serve(guarded(router, Arc::new(guard)), stop).await;
    Ok(())
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
fn hosts(arguments: &Listen) -> Vec<String> {
    let mut hosts = arguments.allow_host.clone();
    if !arguments.host.is_unspecified() {
        hosts.push(arguments.host.to_string());
    }
    hosts
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
    fn a_file_of_keys_without_a_key_opens_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let flags = ["--keys", path.as_str()];
        assert!(keys(&listen(&flags), Some("k".into())).is_err());
        std::fs::write(file.path(), "one\n\n two \n").unwrap();
        assert_eq!(keys(&listen(&flags), None).unwrap(), ["one", "two"]);
    }
}
