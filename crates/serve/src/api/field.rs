//! A value of a request with the place where it stands, so that an error can name it:
//! `messages[2].content[0].image_url.url`.
//!
//! `null` counts as left out, which is what OpenAI's clients mean by it. Places are made of names that this
//! crate asked for, never of names that a client made up.

use axum::http::StatusCode;
use serde_json::Value;

use super::error::ApiError;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    value: &'a Value,
    place: String,
}

impl<'a> Field<'a> {
    /// The body of a request, an object.
    pub fn body(value: &'a Value) -> Result<Field<'a>, ApiError> {
        Field {
            value,
            place: String::new(),
        }
        .object()
    }

    /// The place, empty for the body.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The value as it is.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// What is below `name`; nothing where it is left out or this is no object.
    pub fn get(&self, name: &str) -> Option<Field<'a>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        let place = if self.place.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.place)
        };
        Some(Field { value, place })
    }

    /// What must be below `name`.
    pub fn need(&self, name: &str) -> Result<Field<'a>, ApiError> {
        self.get(name).ok_or_else(|| {
            let place = if self.place.is_empty() {
                name.to_owned()
            } else {
                format!("{}.{name}", self.place)
            };
            ApiError::invalid(
                StatusCode::BAD_REQUEST,
                "missing_required_parameter",
                format!("`{place}` is missing"),
            )
            .about(&place)
        })
    }

    /// Itself, where it is an object.
    pub fn object(self) -> Result<Field<'a>, ApiError> {
        match self.value {
            Value::Object(_) => Ok(self),
            _ => Err(self.not_a("an object")),
        }
    }

    /// The entries of a list.
    pub fn list(&self) -> Result<impl ExactSizeIterator<Item = Field<'a>> + use<'a>, ApiError> {
        let Value::Array(entries) = self.value else {
            return Err(self.not_a("a list"));
        };
        let place = self.place.clone();
        Ok(entries.iter().enumerate().map(move |(at, value)| Field {
            value,
            place: format!("{place}[{at}]"),
        }))
    }

    /// A text.
    pub fn text(&self) -> Result<&'a str, ApiError> {
        self.value.as_str().ok_or_else(|| self.not_a("a string"))
    }

    /// Whether it is a text.
    pub fn is_text(&self) -> bool {
        self.value.is_string()
    }

    /// True or false.
    pub fn flag(&self) -> Result<bool, ApiError> {
        self.value
            .as_bool()
            .ok_or_else(|| self.not_a("true or false"))
    }

    /// A number from `least` to `most`.
    pub fn number(&self, least: f64, most: f64) -> Result<f64, ApiError> {
        let number = self.value.as_f64().ok_or_else(|| self.not_a("a number"))?;
        if (least..=most).contains(&number) {
            return Ok(number);
        }
        Err(self.wrong(format!(
            "`{}` is {number}: give a number from {least} to {most}",
            self.place
        )))
    }

    /// A whole number from `least` to `most`.
    pub fn whole(&self, least: i64, most: i64) -> Result<i64, ApiError> {
        if !(self.value.is_i64() || self.value.is_u64()) {
            return Err(self.not_a("a whole number"));
        }
        match self.value.as_i64() {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            _ if most == i64::MAX => Err(self.wrong(format!(
                "`{}` is {}: give a whole number of {least} or more",
                self.place, self.value
            ))),
            _ => Err(self.wrong(format!(
                "`{}` is {}: give a whole number from {least} to {most}",
                self.place, self.value
            ))),
        }
    }

    /// As [`Field::whole`], of what is counted.
    pub fn count(&self, least: usize, most: usize) -> Result<usize, ApiError> {
        let bound = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let count = self.whole(bound(least), bound(most))?;
        usize::try_from(count).map_err(|_| self.wrong(format!("`{}` is negative", self.place)))
    }

    /// A value that cannot be meant.
    pub fn wrong(&self, message: impl Into<String>) -> ApiError {
        ApiError::value(&self.place, message)
    }

    /// A value of another type than `wanted`.
    pub fn not_a(&self, wanted: &str) -> ApiError {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(number) if number.is_f64() => "a number with a fraction",
            Value::Number(_) => "a whole number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        let what = if self.place.is_empty() {
            "the body".to_owned()
        } else {
            format!("`{}`", self.place)
        };
        ApiError::invalid(
            StatusCode::BAD_REQUEST,
            "invalid_type",
            format!("{what} must be {wanted}, and is {found}"),
        )
        .about(&self.place)
    }
}
