//! A column of few different values, held as small numbers: what a list is filtered and counted by.

use std::collections::HashMap;

/// Of a column with more different values than this, the later ones are one: [`REST`].
const MOST_VALUES: usize = 1_000;
/// Stands for all values beyond [`MOST_VALUES`].
pub(crate) const REST: &str = "(all others)";
/// Stands for no value.
pub(crate) const NONE: &str = "(none)";

/// A column by which rows are filtered.
#[derive(Debug)]
pub(crate) struct Facet {
    /// Its name in addresses: `source`.
    pub key: &'static str,
    /// Its name for people: `Source`.
    pub label: &'static str,
    /// The different values, in the order in which they were first met.
    pub values: Vec<String>,
    /// Each row's value, as a place in `values`.
    pub codes: Vec<u16>,
    by_value: HashMap<String, u16>,
}

impl Facet {
    pub fn new(key: &'static str, label: &'static str) -> Facet {
        Facet {
            key,
            label,
            values: Vec::new(),
            codes: Vec::new(),
            by_value: HashMap::new(),
        }
    }

    /// Adds the next row's value.
    pub fn push(&mut self, value: Option<&str>) {
        let value = value.unwrap_or(NONE);
        let code = match self.by_value.get(value) {
            Some(code) => *code,
            None if self.values.len() < MOST_VALUES => self.add(value),
            None => match self.by_value.get(REST) {
                Some(code) => *code,
                None => self.add(REST),
            },
        };
        self.codes.push(code);
    }

    fn add(&mut self, value: &str) -> u16 {
        let code = u16::try_from(self.values.len()).unwrap_or(u16::MAX);
        self.values.push(value.to_owned());
        self.by_value.insert(value.to_owned(), code);
        code
    }

    /// The value's number.
    pub fn code(&self, value: &str) -> Option<u16> {
        self.by_value.get(value).copied()
    }

    /// A row's value.
    pub fn value(&self, row: usize) -> &str {
        let code = self.codes.get(row).copied().unwrap_or(u16::MAX);
        self.values
            .get(usize::from(code))
            .map_or(NONE, String::as_str)
    }

    /// Bytes of memory.
    pub fn size(&self) -> usize {
        self.codes.capacity() * size_of::<u16>() + self.values.len() * 128
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_beyond_the_limit_are_counted_together() {
        let mut facet = Facet::new("source", "Source");
        for i in 0..MOST_VALUES + 50 {
            facet.push(Some(&format!("s{i}")));
        }
        facet.push(None);
        assert_eq!(facet.values.len(), MOST_VALUES + 1);
        assert_eq!(facet.value(3), "s3");
        assert_eq!(facet.value(MOST_VALUES + 7), REST);
        assert_eq!(facet.value(MOST_VALUES + 50), REST);
        assert_eq!((facet.code("s2"), facet.code("other")), (Some(2), None));
    }
}
