//! Keys: kept and compared as digests, all of them each time, in constant time.
//!
//! Comparing SHA-256 of both sides has every comparison read the same number of bytes, whatever the lengths; going
//! through all keys says nothing about which one was nearly right.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::api::error::ApiError;

/// The keys that open the server.
pub(super) struct Keys {
    digests: Vec<[u8; 32]>,
}

impl Keys {
    /// Of these keys, no more than their digests.
    pub fn new(keys: &[String]) -> Keys {
        Keys {
            digests: keys.iter().map(|key| Sha256::digest(key).into()).collect(),
        }
    }

    /// The number of the key that a request brings, from 1; `None` where none is needed.
    ///
    /// # Errors
    /// 401 for no key or a wrong one.
    pub fn owner(&self, headers: &HeaderMap) -> Result<Option<u32>, ApiError> {
        if self.digests.is_empty() {
            return Ok(None);
        }
        let Some(key) = presented(headers) else {
            return Err(refused(
                "missing_api_key",
                "this server needs a key: send the header `Authorization: Bearer KEY`",
            ));
        };
        let digest: [u8; 32] = Sha256::digest(&key).into();
        let mut owner = 0_u32;
        for (number, known) in (1_u32..).zip(&self.digests) {
            owner.conditional_assign(&number, digest.ct_eq(known));
        }
        // An empty key is a mistake of the configuration, and opens nothing.
        if owner == 0 || key.is_empty() {
            return Err(refused(
                "invalid_api_key",
                "the key is not known to this server",
            ));
        }
        Ok(Some(owner))
    }
}

fn refused(code: &'static str, message: &str) -> ApiError {
    ApiError::invalid(StatusCode::UNAUTHORIZED, code, message)
}

/// The key in `Authorization`, if there is exactly one such header.
fn presented(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(only), None) = (given.next(), given.next()) else {
        return None;
    };
    let (scheme, rest) = only.to_str().ok()?.trim().split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.as_bytes().to_vec());
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let both = STANDARD.decode(rest).ok()?;
        // RFC 7617: a name has no colon, a password may.
        let colon = both.iter().position(|&byte| byte == b':')?;
        return Some(both[colon + 1..].to_vec());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::new(&["one-key".to_owned(), "other:key".to_owned()])
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_key_opens_in_either_form_and_is_known_by_its_number() {
        for (given, owner) in [
            ("Bearer one-key", 1),
            ("bearer   one-key ", 1),
            ("Bearer other:key", 2),
            // name:one-key, :one-key, and name:other:key
            ("Basic bmFtZTpvbmUta2V5", 1),
            ("BASIC Om9uZS1rZXk=", 1),
            ("Basic bmFtZTpvdGhlcjprZXk=", 2),
        ] {
            let found = keys().owner(&headers(&[given])).unwrap();
            assert_eq!(found, Some(owner), "{given}");
        }
    }

    #[test]
    fn whatever_is_no_key_is_refused() {
        for given in [
            &[][..],
            &["one-key"],
            &["Bearer"],
            &["Bearer "],
            &["Bearer one-ke"],
            &["Bearer one-key2"],
            &["Bearer One-key"],
            &["Bearer key"],
            &["Token one-key"],
            &["Basic one-key"],
            &["Basic !!!!"],
            // one-key without a colon; one-key: as the name
            &["Basic b25lLWtleQ=="],
            &["Basic b25lLWtleTo="],
            &["Bearer one-key", "Bearer one-key"],
        ] {
            let refused = keys().owner(&headers(given)).unwrap_err();
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{given:?}");
            assert!(!refused.json().contains("one-ke"), "{given:?}");
        }
    }

    #[test]
    fn without_keys_all_may_ask_and_with_an_empty_one_nobody() {
        assert_eq!(Keys::new(&[]).owner(&headers(&[])).unwrap(), None);
        let empty = Keys::new(&[String::new()]);
        for given in [&[][..], &["Bearer "], &["Basic Og=="]] {
            assert!(empty.owner(&headers(given)).is_err(), "{given:?}");
        }
    }
}
