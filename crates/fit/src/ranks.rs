//! Keeping several ranks on one path.
//!
//! Every rank must come to the same collectives in the same order. A rank that fails at something of its own
//! (a file that cannot be read, a full disk, a stop) must therefore not just return: the others would
//! wait for it. So what may fail on one rank is followed by [`together`], after which all ranks go on or
//! none does, and what only the first rank can know is [`shared`].

use std::fmt::Display;

use c10d::Group;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Error;

/// Longest message of another rank that is handed on, in bytes.
const LONGEST: usize = 4096;

/// Goes on with `own` where every rank has succeeded. Otherwise ranks that failed give their own error, and the
/// others [`Error::Elsewhere`] with that of the first one that did; a rank that was interrupted counts
/// as failed only for those that were not, which are interrupted too.
///
/// # Errors
/// As said; and where a rank is lost.
pub fn together<T, E>(group: &Group, own: Result<T, E>) -> Result<T, E>
where
    E: From<Error> + Display,
{
    if group.world() == 1 {
        return own;
    }
    let failed = f64::from(u8::from(own.is_err()));
    let stopped = f64::from(u8::from(own.is_err() && sample::interrupt::requested()));
    let found = group.largest(&[failed, stopped]).map_err(Error::from)?;
    if found.first() != Some(&1.0) {
        return own;
    }
    let stopped = found.get(1) == Some(&1.0);
    if stopped && !sample::interrupt::requested() {
        // The stop is everybody's from here on.
        sample::interrupt::request();
    }
    let text = own.as_ref().err().map(ToString::to_string);
    let mut text = text.unwrap_or_default();
    if text.len() > LONGEST {
        text.truncate(
            (0..=LONGEST)
                .rev()
                .find(|&at| text.is_char_boundary(at))
                .unwrap_or(0),
        );
    }
    let said = group.gather(text.as_bytes()).map_err(Error::from)?;
    let error = match own {
        Err(error) => return Err(error),
        Ok(_) if stopped => Error::from(sample::Error::Interrupted),
        Ok(_) => {
            let first = said.iter().enumerate().find(|(_, text)| !text.is_empty());
            let (rank, text) = first.map_or((0, &[][..]), |(rank, text)| (rank, text.as_slice()));
            Error::Elsewhere {
                rank,
                text: String::from_utf8_lossy(text).into_owned(),
            }
        }
    };
    Err(error.into())
}

/// What the first rank has, on every rank; the others' `own` is not looked at.
///
/// # Errors
/// Those of the first rank, on every rank; and where a rank is lost.
pub fn shared<T, E>(group: &Group, own: Result<Option<T>, E>) -> Result<Option<T>, E>
where
    T: Serialize + DeserializeOwned,
    E: From<Error> + Display,
{
    if group.world() == 1 {
        return own;
    }
    let first = group.is_first();
    let own = together(group, if first { own } else { Ok(None) })?;
    let text = match first {
        true => serde_json::to_vec(&own).map_err(|e| Error::Config(e.to_string()))?,
        false => Vec::new(),
    };
    let told = group.tell(&text).map_err(Error::from)?;
    if first {
        return Ok(own);
    }
    let told = serde_json::from_slice(&told);
    Ok(told.map_err(|e| Error::Config(format!("what rank 0 says cannot be read: {e}")))?)
}
