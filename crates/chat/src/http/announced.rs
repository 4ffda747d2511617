//! The limits that a server announces in its headers.
//!
//! **Invariant:** no time is taken from this machine's clock. A date in `Retry-After` is measured
//! against the same response's own `Date`, so a clock that jumps, here or there, moves nothing.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use crate::transport::{Announced, Window};

/// Longer waits are none: some servers give the moment in seconds since 1970 instead.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// What these headers announce.
pub(super) fn announced(headers: &HeaderMap) -> Announced {
    Announced {
        retry_after: retry_after(headers),
        requests: window(headers, "requests"),
        tokens: window(headers, "tokens"),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn window(headers: &HeaderMap, kind: &str) -> Window {
    let number = |part: &str| {
        text(headers, &format!("x-ratelimit-{part}-{kind}"))?
            .parse()
            .ok()
    };
    Window {
        limit: number("limit"),
        remaining: number("remaining"),
        reset: text(headers, &format!("x-ratelimit-reset-{kind}")).and_then(duration),
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let milliseconds: Option<f64> =
        text(headers, "retry-after-ms").and_then(|text| text.parse().ok());
    if let Some(milliseconds) = milliseconds {
        return bounded(milliseconds / 1000.0);
    }
    let after = text(headers, RETRY_AFTER.as_str())?;
    if let Some(wait) = duration(after) {
        return Some(wait);
    }
    let then = httpdate::parse_http_date(after).ok()?;
    let now = httpdate::parse_http_date(text(headers, DATE.as_str())?).ok()?;
    let wait = then.duration_since(now).unwrap_or_default();
    (wait <= LONGEST).then_some(wait)
}

fn bounded(seconds: f64) -> Option<Duration> {
    let wait = Duration::try_from_secs_f64(seconds).ok()?;
    (wait <= LONGEST).then_some(wait)
}

/// `1s`, `6m0s`, `20ms`, `1h2m3.5s`, or plain seconds.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return bounded(seconds);
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(rest.len());
        seconds += number
            * match &rest[..letters] {
                "d" => 86_400.0,
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    (!text.is_empty()).then(|| bounded(seconds)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_bytes(name.as_bytes()).unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn durations_are_read_in_every_spelling_servers_use() {
        let cases = [
            ("1s", Some(1.0)),
            ("6m0s", Some(360.0)),
            ("20ms", Some(0.02)),
            ("1h2m3.5s", Some(3723.5)),
            ("1d", Some(86_400.0)),
            ("12", Some(12.0)),
            ("0.25", Some(0.25)),
            ("1764000000", None),
            ("-3", None),
            ("NaN", None),
            ("inf", None),
            ("", None),
            ("s", None),
            ("1", Some(1.0)),
            ("1s2", None),
            ("1x", None),
            ("1..2s", None),
        ];
        for (text, seconds) in cases {
            let read = duration(text).map(|d| d.as_secs_f64());
            assert_eq!(read, seconds, "{text}");
        }
    }

    #[test]
    fn a_date_to_retry_after_counts_from_the_servers_own_date() {
        let then = "Sun, 06 Nov 1994 08:49:37 GMT";
        let with = |pairs: &[(&str, &str)]| announced(&headers(pairs)).retry_after;
        let seconds = |n| Some(Duration::from_secs(n));
        let date = ("date", "Sun, 06 Nov 1994 08:49:30 GMT");
        assert_eq!(with(&[("retry-after", then), date]), seconds(7));
        let late = ("date", "Sun, 06 Nov 1994 08:50:00 GMT");
        assert_eq!(with(&[("retry-after", then), late]), seconds(0));
        assert_eq!(with(&[("retry-after", then)]), None);
        assert_eq!(with(&[("retry-after", "3"), date]), seconds(3));
        let both = [("retry-after", "3"), ("retry-after-ms", "2500")];
        assert_eq!(with(&both), Some(Duration::from_millis(2500)));
        assert_eq!(with(&[("retry-after", "soon"), date]), None);
    }

    #[test]
    fn both_windows_are_read_and_nonsense_is_nothing() {
        let read = announced(&headers(&[
            ("x-ratelimit-limit-requests", "60"),
            ("x-ratelimit-remaining-requests", "59"),
            ("x-ratelimit-reset-requests", "1s"),
            ("x-ratelimit-limit-tokens", "150000"),
            ("x-ratelimit-remaining-tokens", "-1"),
            ("x-ratelimit-reset-tokens", "later"),
        ]));
        let requests = Window {
            limit: Some(60),
            remaining: Some(59),
            reset: Some(Duration::from_secs(1)),
        };
        let tokens = Window {
            limit: Some(150_000),
            remaining: None,
            reset: None,
        };
        assert_eq!((read.requests, read.tokens), (requests, tokens));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(text in "[0-9a-z.\\- µ]{0,40}") {
            duration(&text);
        }
    }
}
