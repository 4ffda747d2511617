//! What a page of the data is asked for, as it stands in an address, and back.
//!
//! Everything that a list shows is in its address, so that it can be kept, shared, and gone back to
//! without any script.

use std::collections::BTreeMap;

use super::index::{Order, Wanted};
use crate::Error;
use crate::runs::segment;

/// No search is longer, in characters.
const LONGEST: usize = 500;
/// No address asks for more things.
const MOST: usize = 200;
/// What an address asks for beside columns.
const OWN: [&str; 4] = ["table", "q", "order", "after"];

/// What a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Asked {
    /// The table's name.
    pub table: Option<String>,
    /// Which rows of it.
    pub wanted: Wanted,
    /// The place in the list after which it goes on.
    pub after: Option<Cursor>,
}

/// A place in a list of one state of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The stage's stamp, shortened.
    pub stamp: u32,
    /// How many rows come before.
    pub place: usize,
}

impl Cursor {
    /// The place in the table of that stamp.
    pub fn new(stamp: u64, place: usize) -> Cursor {
        Cursor {
            stamp: (stamp >> 32) as u32,
            place,
        }
    }

    fn parse(text: &str) -> Option<Cursor> {
        let (stamp, place) = text.split_once('.')?;
        let stamp = u32::from_str_radix(stamp, 16).ok()?;
        Some(Cursor {
            stamp,
            place: place.parse().ok()?,
        })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}.{}", self.stamp, self.place)
    }
}

impl Asked {
    /// Reads what stands in an address; columns that a table does not have are left alone.
    ///
    /// # Errors
    /// Where it cannot be meant.
    pub fn parse(pairs: &[(String, String)]) -> Result<Asked, Error> {
        if pairs.len() > MOST {
            return Err(Error::Invalid(format!(
                "{} parameters; give at most {MOST}",
                pairs.len()
            )));
        }
        let mut asked = Asked::default();
        let mut values: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
            match key.as_str() {
                "table" => asked.table = Some(value.clone()),
                "q" => {
                    let words: String = value.trim().chars().take(LONGEST + 1).collect();
                    if words.chars().count() > LONGEST {
                        return Err(Error::Invalid(format!(
                            "the search is longer than {LONGEST} characters; search for a part of it"
                        )));
                    }
                    asked.wanted.words = words;
                }
                "order" => {
                    asked.wanted.order = Order::parse(value).ok_or_else(|| {
                        let names = Order::ALL.map(|(_, key, _)| key).join(", ");
                        Error::Invalid(format!("there is no order {value:?}; there are: {names}"))
                    })?;
                }
                "after" => {
                    asked.after = Some(Cursor::parse(value).ok_or_else(|| {
                        Error::Invalid(format!(
                            "{value:?} is no place in a list; load the list again"
                        ))
                    })?);
                }
                key => values
                    .entry(key.to_owned())
                    .or_default()
                    .push(value.clone()),
            }
        }
        for list in values.values_mut() {
            list.sort();
            list.dedup();
        }
        asked.wanted.values = values;
        Ok(asked)
    }

    /// The same list in an address, `?` included where there is anything to say; `after` left out.
    pub fn query(&self) -> String {
        self.query_after(None)
    }

    /// The same list from another place on.
    pub fn query_after(&self, after: Option<Cursor>) -> String {
        let mut parts: Vec<(&str, String)> = Vec::new();
        parts.extend(self.table.clone().map(|table| ("table", table)));
        if !self.wanted.words.is_empty() {
            parts.push(("q", self.wanted.words.clone()));
        }
        for (key, values) in &self.wanted.values {
            parts.extend(values.iter().map(|value| (key.as_str(), value.clone())));
        }
        if self.wanted.order != Order::default() {
            parts.push(("order", self.wanted.order.key().to_owned()));
        }
        parts.extend(after.map(|after| ("after", after.to_string())));
        query(&parts)
    }

    /// Keeps only the columns that the table has, so that the same list always is the same.
    pub fn keep(&mut self, keys: &[&str]) {
        let known = |key: &str| keys.contains(&key) && !OWN.contains(&key);
        self.wanted.values.retain(|key, _| known(key));
    }

    /// The same without one value of a column.
    pub fn without(&self, key: &str, value: &str) -> Asked {
        let mut other = self.clone();
        if let Some(values) = other.wanted.values.get_mut(key) {
            values.retain(|kept| kept != value);
            if values.is_empty() {
                other.wanted.values.remove(key);
            }
        }
        other.after = None;
        other
    }
}

/// Parameters of an address, `?` included where there are any.
pub(crate) fn query(parts: &[(&str, String)]) -> String {
    let parts: Vec<String> = parts
        .iter()
        .map(|(key, value)| format!("{}={}", segment(key), segment(value)))
        .collect();
    if parts.is_empty() {
        String::new()
    } else {
        format!("?{}", parts.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let cases = [
            ("order", "sideways", "hardest"),
            ("after", "3", "load the list again"),
            ("after", "xyz.3", "load the list again"),
            ("after", "00000000.-1", "load the list again"),
        ];
        for (key, value, wanted) in cases {
            let said = Asked::parse(&pairs(&[(key, value)]))
                .unwrap_err()
                .to_string();
            assert!(said.contains(wanted), "{key}={value}: {said}");
        }
        assert!(Asked::parse(&pairs(&[("q", &"x".repeat(501))])).is_err());
        assert!(Asked::parse(&vec![("source".into(), "a".into()); 201]).is_err());
        let empty = Asked::parse(&pairs(&[("q", ""), ("source", ""), ("table", "")])).unwrap();
        assert_eq!((empty.query(), empty), (String::new(), Asked::default()));
    }

    proptest! {
        #[test]
        fn an_address_says_what_was_asked(
            words in "[^ ]{0,9}",
            table in "[a-z/&=?#%é<]{1,9}",
            values in prop::collection::btree_map("[f-m&=]{1,4}", prop::collection::btree_set(".{1,6}", 1..4), 0..4),
            order in 0..Order::ALL.len(),
            place in 0usize..1000,
        ) {
            let values = values.into_iter().map(|(k, v)| (k, v.into_iter().collect())).collect();
            let order = Order::ALL[order].0;
            let words = words.trim().to_owned();
            let asked = Asked { table: Some(table), wanted: Wanted { words, values, order }, after: None };
            let after = Cursor::new(0xabcd_ef01_2345_6789, place);
            let text = asked.query_after(Some(after));
            let uri: axum::http::Uri = format!("/x{text}").parse().unwrap();
            let axum::extract::Query(read) =
                axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri).unwrap();
            prop_assert_eq!(Asked::parse(&read).unwrap(), Asked { after: Some(after), ..asked });
        }
    }
}
