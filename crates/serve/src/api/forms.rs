//! `response_format`: the form that a reply must have.
//!
//! A schema is always followed, whatever `strict` says: constrained decoding has no other way. Whether it can
//! be is the model's to say, when it compiles it.

use super::error::ApiError;
use super::field::Field;
use crate::ask::Form;

/// OpenAI's limit on a schema's name.
const NAME: usize = 64;

/// Reads it.
pub(super) fn form(body: &Field) -> Result<Form, ApiError> {
    let Some(format) = body.get("response_format") else {
        return Ok(Form::Free);
    };
    let format = format.object()?;
    let kind = format.need("type")?;
    match kind.text()? {
        "text" => Ok(Form::Free),
        "json_object" => Ok(Form::Json),
        "json_schema" => schema(&format.need("json_schema")?.object()?),
        _ => Err(kind.wrong(format!(
            "`{}` must be \"text\", \"json_object\" or \"json_schema\"",
            kind.place()
        ))),
    }
}

fn schema(named: &Field) -> Result<Form, ApiError> {
    let name = named.need("name")?;
    let text = name.text()?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if text.is_empty() || text.len() > NAME || !text.bytes().all(allowed) {
        return Err(name.wrong(format!(
            "`{}` must have 1 to {NAME} letters, digits, underscores or dashes",
            name.place()
        )));
    }
    if let Some(description) = named.get("description") {
        description.text()?;
    }
    if let Some(strict) = named.get("strict") {
        strict.flag()?;
    }
    match named.get("schema") {
        Some(schema) => Ok(Form::Schema(schema.object()?.value().clone())),
        None => Ok(Form::Json),
    }
}
