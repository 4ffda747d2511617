//! Which texts are addresses that may be asked at all, before any name is looked up.

use std::net::IpAddr;

use url::{Host, Url};

use super::FetchError;

/// Longer addresses are not read, in bytes. Browsers and servers stop at about as much.
const MAX_URL: usize = 8 << 10;

/// An address whose form is in order.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub url: Url,
    /// Whether the user has allowed the host, whatever its addresses are.
    pub allowed: bool,
}

/// A host that the user has allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AllowedHost {
    host: String,
    /// Without it, the ports of http and https.
    port: Option<u16>,
}

/// What a target must be.
pub(super) struct Targets {
    pub allowed: Vec<AllowedHost>,
    pub is_public: fn(IpAddr) -> bool,
    pub is_open: fn(u16) -> bool,
}

/// The ports of http and https. On others stand databases, mail servers and consoles, which can be harmed by
/// the first line of a request.
pub(super) fn is_web_port(port: u16) -> bool {
    matches!(port, 80 | 443)
}

/// What is said of every address that is not public, whatever the reason: a name that is not there must look
/// like one that leads inside.
pub(super) fn not_public() -> FetchError {
    refused("the image's address does not lead to a public server, or its name is not known")
}

fn refused(why: &str) -> FetchError {
    FetchError::Refused(why.to_owned())
}

impl AllowedHost {
    /// Reads `name`, `name:port`, `10.0.0.1`, `[::1]:8080`.
    pub fn parse(text: &str) -> Option<AllowedHost> {
        // Each scheme leaves out its own port, so only both together tell whether one is written.
        let http = Url::parse(&format!("http://{text}/")).ok()?;
        let https = Url::parse(&format!("https://{text}/")).ok()?;
        let bare = http.path() == "/"
            && http.query().is_none()
            && http.fragment().is_none()
            && !text.contains(['/', '\\', '@']);
        bare.then(|| AllowedHost {
            host: http.host_str().unwrap_or_default().to_owned(),
            port: http.port().or(https.port()),
        })
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        self.host == host && self.port.map_or(is_web_port(port), |own| own == port)
    }
}

impl Targets {
    /// The address that a client gave.
    pub fn first(&self, text: &str) -> Result<Target, FetchError> {
        if text.len() > MAX_URL {
            return Err(refused("the image's address is too long"));
        }
        let url = Url::parse(text);
        let url =
            url.map_err(|_| refused("the image's address is none; it begins with https://"))?;
        self.vet(url, text)
    }

    /// Where an answer from `from` points to.
    pub fn next(&self, from: &Target, location: &str) -> Result<Target, FetchError> {
        if location.len() > MAX_URL {
            return Err(refused("the image's address leads to one that is too long"));
        }
        let url = from.url.join(location);
        let url = url.map_err(|_| refused("the image's address leads to one that is none"))?;
        if url.host_str() == from.url.host_str() {
            // Its form was in order where it was written out.
            let host = from.url.host_str().unwrap_or_default();
            return self.vet(url.clone(), &format!("//{host}"));
        }
        self.vet(url, location)
    }

    fn vet(&self, url: Url, written: &str) -> Result<Target, FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refused(
                "images are fetched from http:// and https:// addresses only",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("the image's address holds a user or password"));
        }
        let host = url.host_str().unwrap_or_default();
        let port = url.port_or_known_default().unwrap_or_default();
        let allowed = self.allowed.iter().any(|entry| entry.covers(host, port));
        if allowed {
            return Ok(Target { url, allowed });
        }
        if !(self.is_open)(port) {
            return Err(refused("images are fetched from the ports 80 and 443 only"));
        }
        // Literals pass no resolver, so they are vetted here.
        let public = match url.host() {
            // Octal, hexadecimal and whole-number forms were read as addresses by now. Nobody writes them but
            // to be misread.
            Some(Host::Ipv4(literal)) => {
                (self.is_public)(literal.into()) && is_plain(written, &literal.to_string())
            }
            Some(Host::Ipv6(literal)) => (self.is_public)(literal.into()),
            Some(Host::Domain(_)) => true,
            None => false,
        };
        if !public {
            return Err(not_public());
        }
        Ok(Target { url, allowed })
    }
}

/// Whether the host stands in an address as `host`, letter by letter.
fn is_plain(written: &str, host: &str) -> bool {
    let after = written.split_once("//").map(|(_, after)| after);
    let rest = after.and_then(|after| after.strip_prefix(host));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::super::address;
    use super::*;
    use proptest::prelude::*;

    fn targets(allowed: &[&str]) -> Targets {
        Targets {
            allowed: allowed
                .iter()
                .map(|text| AllowedHost::parse(text).unwrap())
                .collect(),
            is_public: address::is_public,
            is_open: is_web_port,
        }
    }

    #[test]
    fn an_address_must_be_plain_http_to_a_name_or_a_public_host() {
        let good = [
            "http://example.com/a.png",
            "https://example.com:443/a.png?x=1#y",
            "HTTPS://EXAMPLE.com:80/",
            "http://8.8.8.8/a",
            "http://8.8.8.8:80",
            "https://[2606:4700::1]/a",
            "http://localhost.example.com/",
        ];
        for text in good {
            let target = targets(&[]).first(text);
            assert!(target.is_ok_and(|target| !target.allowed), "{text}");
        }
        let bad = [
            "",
            "a.png",
            "//example.com/a",
            "file:///etc/passwd",
            "FILE:///etc/passwd",
            "ftp://example.com/a",
            "gopher://example.com/",
            "data:image/png;base64,AA",
            "unix:/run/docker.sock",
            "jar:http://example.com/",
            "http://",
            "http://user@example.com/",
            "http://user:word@example.com/",
            "http://:word@example.com/",
            "http://example.com@127.0.0.1/",
            "http://example.com:22/",
            "http://example.com:8080/",
            "http://example.com:0/",
            "https://example.com:65535/",
            "http://127.0.0.1/",
            "http://127.0.0.1./",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://0/",
            "http://169.254.169.254/latest/meta-data/",
            "http://１２７.0.0.1/",
            "http://127。0。0。1/",
            "http://134744072/",
            "http://0x8.8.8.8/",
            "http://8.8.2056/",
            "http:8.8.8.8/",
            "http:\\\\127.0.0.1\\",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:8.8.8.8]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[fe80::1%25eth0]/",
            "http://[fd00::1]/",
            "http://256.1.1.1/",
            "http://1.2.3.4.5/",
        ];
        for text in bad {
            let refused = targets(&[]).first(text);
            assert!(matches!(refused, Err(FetchError::Refused(_))), "{text}");
        }
        let long = format!("http://example.com/{}", "a".repeat(MAX_URL));
        assert!(targets(&[]).first(&long).is_err());
    }

    #[test]
    fn every_hop_is_vetted_like_the_first() {
        let vetted = targets(&[]);
        let from = vetted.first("https://example.com/a/b.png").unwrap();
        for (location, to) in [
            ("c.png", "https://example.com/a/c.png"),
            ("/c.png", "https://example.com/c.png"),
            ("//other.example/c", "https://other.example/c"),
            ("http://8.8.8.8/c", "http://8.8.8.8/c"),
        ] {
            assert_eq!(vetted.next(&from, location).unwrap().url.as_str(), to);
        }
        for location in [
            "http://127.0.0.1/",
            "//127.0.0.1/",
            "//0x7f.1/",
            "http://134744072/",
            "file:///etc/passwd",
            "https://example.com:8080/",
            "https://user@example.com/",
            "http://[::1]/",
        ] {
            assert!(vetted.next(&from, location).is_err(), "{location}");
        }
        let literal = vetted.first("http://8.8.8.8/a").unwrap();
        assert!(vetted.next(&literal, "b").is_ok());
    }

    #[test]
    fn an_allowed_host_is_open_on_its_own_port_alone() {
        let some = targets(&[
            "inside",
            "10.0.0.1:8080",
            "[::1]:9000",
            "Web.example:80",
            "deep:443",
        ]);
        let cases = [
            ("http://inside/", true),
            ("https://INSIDE/", true),
            ("http://inside:8080/", false),
            ("http://10.0.0.1:8080/", true),
            ("http://10.0.0.1/", false),
            ("http://[::1]:9000/", true),
            ("http://[::1]:9001/", false),
            ("http://web.example/", true),
            ("https://deep/", true),
        ];
        for (text, allowed) in cases {
            let target = some.first(text);
            assert_eq!(target.is_ok_and(|target| target.allowed), allowed, "{text}");
        }
        // The port of one scheme is not that of the other.
        assert!(!some.first("https://web.example/").unwrap().allowed);
        assert!(!some.first("http://deep/").unwrap().allowed);
        for wrong in [
            "", "http://x", "x/y", "x?y", "x#y", "u@x", "x:99999", "a b", "x\\",
        ] {
            assert_eq!(AllowedHost::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_leads_to_a_private_literal(text in "(https?|file)?:?/{0,2}[0-9a-fx.@:\\[\\]%/]{0,24}") {
            if let Ok(target) = targets(&[]).first(&text) {
                let literal = match target.url.host() {
                    Some(Host::Ipv4(literal)) => Some(IpAddr::from(literal)),
                    Some(Host::Ipv6(literal)) => Some(IpAddr::from(literal)),
                    _ => None,
                };
                prop_assert!(literal.is_none_or(address::is_public));
            }
        }
    }
}
