//! Which addresses a redirect may lead to.
//!
//! An answer from outside must not make this program talk to what only this machine can reach: a
//! router's page, a cloud's metadata service. Names are looked up once, and the connection is made to
//! the very addresses that were checked, so a name cannot change its meaning in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use url::{Host, Url};

/// Whether anybody on the internet would reach the same host there.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => public_v4(v4),
        IpAddr::V6(v6) => public_v6(v6),
    }
}

/// Without the special-purpose blocks of IANA's IPv4 registry.
fn public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    !(v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19)))
}

/// Global unicast, and of it not what carries an IPv4 address that is not public.
fn public_v6(v6: Ipv6Addr) -> bool {
    let parts = v6.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        public_v4(Ipv4Addr::new(a, b, c, d))
    };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return public_v4(v4);
    }
    match parts {
        // NAT64 and 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo and documentation.
        [0x2001, 0, ..] | [0x2001, 0xdb8, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

/// Whether a host is written as, or looked up to be, one that only this network reaches.
pub(crate) fn is_private_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(v4)) => !public_v4(v4),
        Some(Host::Ipv6(v6)) => !public_v6(v6),
        Some(Host::Domain(name)) => {
            let port = url.port_or_known_default().unwrap_or(443);
            name == "localhost"
                || (name, port)
                    .to_socket_addrs()
                    .is_ok_and(|mut found| found.any(|found| !is_public(found.ip())))
        }
        None => false,
    }
}

/// Whether a host is this machine, by the way it is written.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(v4)) => v4.is_loopback(),
        Some(Host::Ipv6(v6)) => v6.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// Looks names up and passes on public addresses only.
#[derive(Debug, Default)]
pub(crate) struct PublicOnly;

impl Resolver for PublicOnly {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        // The user's own proxy may be anywhere. What is asked of it is looked up by it.
        let is_proxy = config
            .proxy()
            .is_some_and(|proxy| proxy.uri().authority() == uri.authority());
        if is_proxy {
            return Ok(found);
        }
        let mut public = self.empty();
        for address in found.iter().filter(|address| is_public(address.ip())) {
            public.push(*address);
        }
        if public.is_empty() {
            return Err(ureq::Error::Other(
                "it is on a private network, where a redirect from outside may not lead".into(),
            ));
        }
        Ok(public)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_only_this_network_reaches_are_known() {
        let private = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "203.0.113.5",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
        ];
        for address in private {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        let public = [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ];
        for address in public {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn hosts_are_judged_however_they_are_spelled() {
        let url = |text: &str| Url::parse(text).unwrap();
        for text in [
            "http://localhost/",
            "http://127.0.0.1:1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://[::1]/",
        ] {
            assert!(
                is_private_host(&url(text)) && is_loopback(&url(text)),
                "{text}"
            );
        }
        assert!(is_private_host(&url("http://10.0.0.1/")));
        assert!(!is_loopback(&url("http://10.0.0.1/")));
        assert!(!is_private_host(&url("https://1.1.1.1/")));
    }
}
