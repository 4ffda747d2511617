//! Messages and the parts they are made of: texts and images.
//!
//! An image comes as a data URL, or as an http(s) address where the operator allows that servers of strangers
//! are asked. An address is only noted here and fetched later, off this thread. No other address is followed,
//! least of all a file's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::ApiLimits;
use super::error::ApiError;
use super::field::Field;
use crate::ask::{ImageBytes, Part, Role, Turn};

/// Messages as they were read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Messages {
    /// Where an image is to be fetched, its bytes are missing still.
    pub turns: Vec<Turn>,
    pub remote: Vec<RemoteImage>,
    /// Of all images that are here.
    pub image_bytes: usize,
}

/// An image that is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteImage {
    pub turn: usize,
    pub part: usize,
    pub url: String,
    /// For errors.
    pub place: String,
}

/// What an image's address gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Data(Bytes),
    Remote(String),
}

/// Reads the messages of a conversation.
pub(super) fn messages(
    body: &Field,
    limits: &ApiLimits,
    remote_allowed: bool,
) -> Result<Messages, ApiError> {
    let list = body.need("messages")?;
    let mut read = Messages {
        turns: Vec::new(),
        remote: Vec::new(),
        image_bytes: 0,
    };
    let mut images = 0;
    let mut text_bytes = 0;
    for (at, message) in list.list()?.enumerate() {
        let message = message.object()?;
        let role = role(&message)?;
        refuse_calls(&message)?;
        let mut parts = Vec::new();
        for shown in content(&message, role)? {
            parts.push(match shown {
                Shown::Text(text) => {
                    text_bytes += text.len();
                    text_within(text_bytes, message.place(), limits)?;
                    Part::Text(text)
                }
                Shown::Image(url) => {
                    if role != Role::User {
                        return Err(url.wrong(format!(
                            "`{}` is an image: only messages of the role \"user\" may have images",
                            url.place()
                        )));
                    }
                    let bytes = match address(&url, limits, remote_allowed)? {
                        Address::Data(bytes) => bytes,
                        Address::Remote(address) => {
                            read.remote.push(RemoteImage {
                                turn: at,
                                part: parts.len(),
                                url: address,
                                place: url.place().to_owned(),
                            });
                            Bytes::new()
                        }
                    };
                    read.image_bytes += bytes.len();
                    images += 1;
                    if images > limits.images {
                        return Err(too_many_images(url.place(), limits));
                    }
                    Part::Image(ImageBytes { bytes })
                }
            });
        }
        read.turns.push(Turn { role, parts });
    }
    if read.turns.is_empty() {
        return Err(list.wrong("`messages` is empty: give at least one message"));
    }
    Ok(read)
}

/// Refuses a request with more text than one may have.
pub(super) fn text_within(bytes: usize, place: &str, limits: &ApiLimits) -> Result<(), ApiError> {
    if bytes > limits.text_bytes {
        let message = format!(
            "the texts of the request have more than {} bytes",
            limits.text_bytes
        );
        return Err(ApiError::limit(place, message));
    }
    Ok(())
}

/// More images than a request may show.
pub(super) fn too_many_images(place: &str, limits: &ApiLimits) -> ApiError {
    let message = format!("there are more than {} images", limits.images);
    ApiError::limit(place, message)
}

fn role(message: &Field) -> Result<Role, ApiError> {
    let role = message.need("role")?;
    match role.text()? {
        // OpenAI's newer name for it.
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        "tool" | "function" => Err(ApiError::unsupported(
            role.place(),
            format!("`{}`: the models served here call no tools", role.place()),
        )),
        _ => Err(role.wrong(format!(
            "`{}` must be \"system\", \"developer\", \"user\" or \"assistant\"",
            role.place()
        ))),
    }
}

fn refuse_calls(message: &Field) -> Result<(), ApiError> {
    for name in ["tool_calls", "function_call"] {
        if let Some(calls) = message.get(name)
            && calls
                .value()
                .as_array()
                .is_none_or(|calls| !calls.is_empty())
        {
            return Err(ApiError::unsupported(
                calls.place(),
                format!("`{}`: the models served here call no tools", calls.place()),
            ));
        }
    }
    Ok(())
}

/// A part before its image is looked at.
enum Shown<'a> {
    Text(String),
    Image(Field<'a>),
}

fn content<'a>(message: &Field<'a>, role: Role) -> Result<Vec<Shown<'a>>, ApiError> {
    let text = |field: &Field<'a>| -> Result<Shown<'a>, ApiError> {
        Ok(Shown::Text(field.text()?.to_owned()))
    };
    let content = match (message.get("content"), message.get("refusal")) {
        // What the model said when it would not: OpenAI's clients send it back in place of content.
        (None, Some(refusal)) if role == Role::Assistant => return Ok(vec![text(&refusal)?]),
        _ => message.need("content")?,
    };
    if content.is_text() {
        return Ok(vec![text(&content)?]);
    }
    if !matches!(content.value(), Value::Array(_)) {
        return Err(content.not_a("a string or a list of parts"));
    }
    let mut parts = Vec::new();
    for part in content.list()? {
        let part = part.object()?;
        let kind = part.need("type")?;
        parts.push(match kind.text()? {
            "text" => text(&part.need("text")?)?,
            "refusal" if role == Role::Assistant => text(&part.need("refusal")?)?,
            "image_url" => Shown::Image(image_url(&part)?),
            "input_audio" | "file" | "video_url" | "audio_url" | "input_image" | "image" => {
                return Err(ApiError::unsupported(
                    kind.place(),
                    format!(
                        "`{}` is not supported: send \"text\" and \"image_url\"",
                        kind.place()
                    ),
                ));
            }
            _ => {
                return Err(kind.wrong(format!(
                    "`{}` must be \"text\" or \"image_url\"",
                    kind.place()
                )));
            }
        });
    }
    if parts.is_empty() {
        return Err(content.wrong(format!(
            "`{}` is empty: give at least one part",
            content.place()
        )));
    }
    Ok(parts)
}

/// The address in an `image_url` part. `detail` is checked and has no effect: a model here has one size.
pub(super) fn image_url<'a>(part: &Field<'a>) -> Result<Field<'a>, ApiError> {
    let image = part.need("image_url")?.object()?;
    if let Some(detail) = image.get("detail")
        && !matches!(detail.text()?, "auto" | "low" | "high" | "original")
    {
        return Err(detail.wrong(format!(
            "`{}` must be \"auto\", \"low\", \"high\" or \"original\"",
            detail.place()
        )));
    }
    image.need("url")
}

/// What an image's address leads to.
///
/// # Errors
/// A scheme that is not followed, data that is no base64 or too much, remote images where they are off.
pub(super) fn address(
    url: &Field,
    limits: &ApiLimits,
    remote_allowed: bool,
) -> Result<Address, ApiError> {
    let text = url.text()?;
    let scheme = text.split(':').next().unwrap_or_default();
    match scheme.to_ascii_lowercase().as_str() {
        "data" => Ok(Address::Data(data(url, text, limits)?)),
        "http" | "https" if remote_allowed => Ok(Address::Remote(text.to_owned())),
        "http" | "https" => Err(url.wrong(format!(
            "`{}` is an address elsewhere, and this server fetches no images: send the image itself as \
             data:image/png;base64,... (whoever runs the server may allow it with --allow-remote-images)",
            url.place()
        ))),
        _ => Err(url.wrong(format!(
            "`{}` must be a data URL, as data:image/png;base64,...",
            url.place()
        ))),
    }
}

/// The bytes of a `data:` URL (RFC 2397) that says it is an image, in base64.
fn data(url: &Field, text: &str, limits: &ApiLimits) -> Result<Bytes, ApiError> {
    let wrong = |what: &str| {
        url.wrong(format!(
            "`{}` {what}: give data:image/png;base64,...",
            url.place()
        ))
    };
    let rest = text.get("data:".len()..).unwrap_or_default();
    let (head, encoded) = rest
        .split_once(',')
        .ok_or_else(|| wrong("is a data URL without data"))?;
    let mut fields = head.split(';');
    let media = fields.next().unwrap_or_default().trim();
    let image = media
        .get(..6)
        .is_some_and(|start| start.eq_ignore_ascii_case("image/"));
    if !image {
        return Err(wrong("is no image by its media type"));
    }
    if !fields
        .next_back()
        .is_some_and(|last| last.trim().eq_ignore_ascii_case("base64"))
    {
        return Err(wrong("is not said to be in base64"));
    }
    // Four characters are three bytes; the last may be padding.
    if encoded.len() / 4 * 3 > limits.image_bytes.saturating_add(2) {
        return Err(too_large(url.place(), limits));
    }
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|error| wrong(&format!("is not valid base64 ({error})")))?;
    if bytes.is_empty() {
        return Err(wrong("is an image of no bytes"));
    }
    if bytes.len() > limits.image_bytes {
        return Err(too_large(url.place(), limits));
    }
    Ok(bytes.into())
}

/// An image file of too many bytes.
pub(super) fn too_large(place: &str, limits: &ApiLimits) -> ApiError {
    let message = format!(
        "the image at `{place}` has more than {} bytes",
        limits.image_bytes
    );
    ApiError::limit(place, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_address_is_read_or_refused(text in "(data:)?(image/)?[a-z;,:/=+é]{0,30}(;base64)?,?.{0,30}") {
            let value = Value::from(text);
            let body = serde_json::json!({ "url": value });
            let field = Field::body(&body).unwrap().get("url");
            if let Some(Err(error)) = field.map(|url| address(&url, &ApiLimits::default(), true)) {
                prop_assert_eq!(error.param.as_deref(), Some("url"));
            }
        }

        #[test]
        fn what_is_encoded_comes_out_as_it_was(bytes in proptest::collection::vec(any::<u8>(), 1..300)) {
            let text = format!("data:image/jpeg;base64,{}", STANDARD.encode(&bytes));
            let body = serde_json::json!({ "url": text });
            let url = Field::body(&body).unwrap().need("url").unwrap();
            let read = address(&url, &ApiLimits::default(), false).unwrap();
            prop_assert_eq!(read, Address::Data(bytes.into()));
        }

        #[test]
        fn the_limit_on_an_image_holds_to_the_byte(bytes in 1_usize..40, limit in 1_usize..40) {
            let text = format!("data:image/png;base64,{}", STANDARD.encode(vec![7; bytes]));
            let body = serde_json::json!({ "url": text });
            let url = Field::body(&body).unwrap().need("url").unwrap();
            let limits = ApiLimits { image_bytes: limit, ..ApiLimits::default() };
            prop_assert_eq!(address(&url, &limits, false).is_ok(), bytes <= limit);
        }
    }
}
