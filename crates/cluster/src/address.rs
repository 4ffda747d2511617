//! Addresses: reading them, taking them, and whether anybody is there.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

use crate::Error;

/// Host and port of `HOST:PORT`; the host may be a name, an IPv4 address or an IPv6 address in brackets.
pub fn parse(text: &str) -> Result<(String, u16), Error> {
    let wrong = || Error::Address(text.to_owned());
    let text = text.strip_prefix("http://").unwrap_or(text);
    let (host, port) = text
        .trim_end_matches('/')
        .rsplit_once(':')
        .ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let name = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let bare = name.unwrap_or(host);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let right = match name {
        Some(name) => name.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !bare.is_empty() && bare.chars().all(allowed),
    };
    if !right || port == 0 {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

/// Takes an address; port 0 is any free one.
pub fn bind(host: IpAddr, port: u16) -> Result<TcpListener, Error> {
    let address = SocketAddr::new(host, port);
    TcpListener::bind(address).map_err(|source| Error::Bind {
        address: address.to_string(),
        source,
    })
}

/// Whether somebody accepts connections there within `patience`; else why not.
pub fn reach(host: &str, port: u16, patience: Duration) -> Result<(), String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let addresses = (bare, port).to_socket_addrs().map_err(|e| e.to_string())?;
    let mut why = "the name has no address".to_owned();
    for address in addresses {
        match std::net::TcpStream::connect_timeout(&address, patience) {
            Ok(_) => return Ok(()),
            Err(e) => why = e.to_string(),
        }
    }
    Err(why)
}

/// What to say to somebody who opens a port to others, or nothing where only this machine sees it.
pub fn warning(host: IpAddr) -> Option<String> {
    (!host.is_loopback()).then(|| {
        format!(
            "warning: listening on {host}, and Ballista authenticates nobody: whoever reaches this port can \
             run plans and read what this process may read. Keep it inside a network that you trust"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_what_is_none_is_refused() {
        for (text, host, port) in [
            ("node1:50050", "node1", 50_050),
            ("10.0.0.7:1", "10.0.0.7", 1),
            ("[::1]:65535", "[::1]", 65_535),
            ("http://a.b-c:80/", "a.b-c", 80),
        ] {
            assert_eq!(parse(text).unwrap(), (host.to_owned(), port), "{text}");
        }
        for text in [
            "", "node1", ":1", "a:", "a:0", "a:65536", "a:-1", "::1:1", "a b:1", "a/b:1", "[x]:1",
            "df://a:1",
        ] {
            assert!(matches!(parse(text), Err(Error::Address(_))), "{text}");
        }
    }

    #[test]
    fn a_port_in_use_is_named_and_one_without_listener_is_not_reached() {
        let host = IpAddr::from([127, 0, 0, 1]);
        let listener = bind(host, 0).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = bind(host, port).unwrap_err().to_string();
        assert!(error.contains(&format!("127.0.0.1:{port}")), "{error}");
        assert!(reach("127.0.0.1", port, Duration::from_secs(5)).is_ok());
        drop(listener);
        assert!(reach("127.0.0.1", port, Duration::from_secs(5)).is_err());
    }

    #[test]
    fn only_an_address_that_others_reach_is_warned_of() {
        assert!(warning(IpAddr::from([127, 0, 0, 1])).is_none());
        assert!(warning(IpAddr::from([0, 0, 0, 0])).is_some());
    }
}
