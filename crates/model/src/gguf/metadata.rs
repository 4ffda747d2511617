//! Metadata by key, in the type that a reader expects.
//!
//! Writers differ in the integer types they choose, so any that holds the value will do.

use super::header::{Array, Header, Type, Value, elements};

/// The metadata of one file.
#[derive(Clone, Copy)]
pub(crate) struct Metadata<'a> {
    pub file: &'a [u8],
    pub header: &'a Header,
}

impl<'a> Metadata<'a> {
    fn get(self, key: &str) -> Option<&'a Value> {
        self.header.metadata.get(key)
    }

    /// A whole number that is not negative.
    pub fn unsigned(self, key: &str) -> Result<Option<u64>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match unsigned(value) {
                Some(n) => Ok(Some(n)),
                None => Err(wrong(key, "no whole number from zero up")),
            },
        }
    }

    /// A size of the model.
    pub fn size(self, key: &str) -> Result<Option<i64>, String> {
        match self.unsigned(key)? {
            None => Ok(None),
            Some(n) => i64::try_from(n)
                .map(Some)
                .map_err(|_| wrong(key, "beyond any size")),
        }
    }

    /// One number for all layers; some writers give the same number per layer.
    pub fn size_of_all_layers(self, key: &str) -> Result<Option<i64>, String> {
        let Some(Value::Array(array)) = self.get(key) else {
            return self.size(key);
        };
        let mut same = None;
        for value in elements(self.file, array) {
            let value = unsigned(&value?)
                .and_then(|n| i64::try_from(n).ok())
                .ok_or_else(|| wrong(key, "no list of sizes"))?;
            if *same.get_or_insert(value) != value {
                return Err(wrong(
                    key,
                    "another for each layer, which is not computed here",
                ));
            }
        }
        Ok(same)
    }

    pub fn float(self, key: &str) -> Result<Option<f64>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Float(x)) => Ok(Some(*x)),
            Some(value) => match unsigned(value) {
                Some(n) => Ok(Some(n as f64)),
                None => Err(wrong(key, "no number")),
            },
        }
    }

    pub fn flag(self, key: &str) -> Result<Option<bool>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(wrong(key, "neither true nor false")),
        }
    }

    pub fn text(self, key: &str) -> Result<Option<&'a str>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => self.text_of(key, value).map(Some),
        }
    }

    /// A list of texts.
    pub fn texts(self, key: &str) -> Result<Option<Vec<&'a str>>, String> {
        self.list(key, Type::Text, |value| self.text_of(key, value))
    }

    /// A list of numbers.
    pub fn floats(self, key: &str) -> Result<Option<Vec<f32>>, String> {
        self.list(key, Type::F32, |value| match value {
            Value::Float(x) => Ok(*x as f32),
            _ => Err(wrong(key, "no list of numbers")),
        })
    }

    /// A list of whole numbers from zero up.
    pub fn integers(self, key: &str) -> Result<Option<Vec<u64>>, String> {
        let Some(Value::Array(array)) = self.get(key) else {
            return self.absent(key);
        };
        elements(self.file, array)
            .map(|value| unsigned(&value?).ok_or_else(|| wrong(key, "no list of whole numbers")))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn list<T>(
        self,
        key: &str,
        element: Type,
        take: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<Option<Vec<T>>, String> {
        match self.get(key) {
            Some(Value::Array(array)) if array.element == element => {
                self.collect(array, take).map(Some)
            }
            _ => self.absent(key),
        }
    }

    fn collect<T>(
        self,
        array: &Array,
        take: impl Fn(&Value) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        elements(self.file, array)
            .map(|value| take(&value?))
            .collect()
    }

    fn absent<T>(self, key: &str) -> Result<Option<T>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(_) => Err(wrong(key, "no list of the type it should be")),
        }
    }

    fn text_of(self, key: &str, value: &Value) -> Result<&'a str, String> {
        match value {
            Value::Text(range) => {
                std::str::from_utf8(&self.file[range.clone()]).map_err(|_| wrong(key, "not UTF-8"))
            }
            _ => Err(wrong(key, "no text")),
        }
    }
}

fn unsigned(value: &Value) -> Option<u64> {
    match value {
        Value::Unsigned(n) => Some(*n),
        Value::Signed(n) => u64::try_from(*n).ok(),
        _ => None,
    }
}

fn wrong(key: &str, what: &str) -> String {
    format!("metadata {key} is {what}")
}
