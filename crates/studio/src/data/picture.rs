//! Images of a run by digest, decoded within limits and encoded again, in the size that is asked for.
//!
//! No byte of a data set's file reaches a browser as it is. What a digest names never changes, so a
//! browser may keep an image for good.

use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat};
use sample::pixels;

use super::opened::Halt;
use super::provenance::{self, Digest, Provenance};
use super::{LONG, blocking};
use crate::{Error, Studio};

/// The longer sides that images are made in, in pixels; what is asked for is rounded up to one.
const SIDES: [u32; 5] = [160, 320, 640, 1024, 2048];
/// Memory for images that were made, in bytes.
const KEPT: usize = 64 << 20;
/// JPEG quality: photographs look right, and drawings go as PNG where that is shorter.
const QUALITY: u8 = 86;
/// A year, and nobody needs to ask again; private, since runs may be behind a key.
const FOR_GOOD: &str = "private, max-age=31536000, immutable";

/// An image as it is sent.
#[derive(Debug, Clone)]
struct Picture {
    kind: &'static str,
    bytes: Bytes,
}

/// Images that were made, those used last at the end.
#[derive(Debug, Default)]
pub(super) struct Pictures(Mutex<Vec<((Digest, u32), Picture)>>);

impl Pictures {
    fn get(&self, digest: &Digest, side: u32) -> Option<Picture> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|(key, _)| *key == (*digest, side))?;
        let entry = kept.remove(at);
        let picture = entry.1.clone();
        kept.push(entry);
        Some(picture)
    }

    fn keep(&self, digest: Digest, side: u32, picture: Picture) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(key, _)| *key != (digest, side));
        kept.push(((digest, side), picture));
        let mut total: usize = kept
            .iter()
            .map(|(_, picture)| picture.bytes.len() + 128)
            .sum();
        while total > KEPT && kept.len() > 1 {
            let (_, gone) = kept.remove(0);
            total -= gone.bytes.len() + 128;
        }
    }
}

/// An image of a run.
pub(super) async fn image(
    State(studio): State<Arc<Studio>>,
    Path((run, sha256)): Path<(String, String)>,
    Query(pairs): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Halt> {
    let Some(digest) = provenance::digest(&sha256) else {
        return Err(Error::NotFound(
            "an image is named by the 64 hex digits of its SHA-256".into(),
        )
        .into());
    };
    let side = side(&pairs)?;
    let tag = format!("\"{sha256}-{side}\"");
    let held = blocking({
        let (studio, run) = (Arc::clone(&studio), run.clone());
        move || {
            // Only of a run that is there, and only an image of that run.
            let opening = studio.open_run(&run, LONG)?;
            match opening.known.image(&digest) {
                Some(_) => Ok(opening),
                None => Err(Error::NotFound(format!("the run {run} has no such image")).into()),
            }
        }
    })
    .await?;
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut known = known
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    if known.any(|value| value.trim().trim_start_matches("W/") == tag) {
        let kept = [
            (header::ETAG, tag),
            (header::CACHE_CONTROL, FOR_GOOD.to_owned()),
        ];
        return Ok((StatusCode::NOT_MODIFIED, kept).into_response());
    }
    let picture = match studio.data.pictures.get(&digest, side) {
        Some(picture) => picture,
        None => {
            let turn = Arc::clone(&studio.data.decoding).acquire_owned().await;
            blocking(move || {
                // Held until it is made, also where the asker is gone.
                let _turn = turn;
                let made = make(&held.known, &digest, side).map_err(Error::NotFound)?;
                studio.data.pictures.keep(digest, side, made.clone());
                Ok(made)
            })
            .await?
        }
    };
    let headers = [
        (header::CONTENT_TYPE, picture.kind.to_owned()),
        (header::ETAG, tag),
        (header::CACHE_CONTROL, FOR_GOOD.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ];
    Ok((headers, picture.bytes).into_response())
}

fn side(pairs: &[(String, String)]) -> Result<u32, Error> {
    let asked = pairs
        .iter()
        .find(|(key, _)| key == "side")
        .map(|(_, value)| value.as_str());
    let largest = SIDES[SIDES.len() - 1];
    let Some(asked) = asked else {
        return Ok(1024);
    };
    let number = asked
        .parse::<u32>()
        .ok()
        .filter(|side| (1..=largest).contains(side));
    let number = number.ok_or_else(|| {
        Error::Invalid(format!(
            "side={asked:?}: give a number of pixels, 1 to {largest}"
        ))
    })?;
    Ok(SIDES
        .into_iter()
        .find(|side| *side >= number)
        .unwrap_or(largest))
}

fn make(known: &Provenance, digest: &Digest, side: u32) -> Result<Picture, String> {
    let bytes = known.bytes(digest)?;
    let image = DynamicImage::ImageRgb8(pixels::decode(&bytes).map_err(|fault| fault.to_string())?);
    let image = match image.width().max(image.height()) {
        longer if longer <= side => image,
        // Far smaller ones by averages, which is faster and looks the same.
        longer if longer >= side * 3 => image.thumbnail(side, side),
        _ => image.resize(side, side, FilterType::CatmullRom),
    };
    let failed = |e: image::ImageError| format!("it cannot be encoded again: {e}");
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png).map_err(failed)?;
    let png = png.into_inner();
    let mut jpeg = Vec::new();
    image
        .write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, QUALITY))
        .map_err(failed)?;
    let (kind, bytes) = if png.len() <= jpeg.len() {
        ("image/png", png)
    } else {
        ("image/jpeg", jpeg)
    };
    Ok(Picture {
        kind,
        bytes: bytes.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_rounded_up_to_one_that_is_made() {
        let of = |text: &str| side(&[("side".to_owned(), text.to_owned())]);
        for (asked, wanted) in [("1", 160), ("160", 160), ("161", 320), ("2048", 2048)] {
            assert_eq!(of(asked).unwrap(), wanted);
        }
        for bad in ["0", "-1", "2049", "99999999999", "x", ""] {
            assert!(of(bad).is_err(), "{bad}");
        }
        assert_eq!(side(&[]).unwrap(), 1024);
    }

    #[test]
    fn images_that_were_not_used_for_longest_go_when_the_room_is_needed() {
        let pictures = Pictures::default();
        let picture = Picture {
            kind: "image/png",
            bytes: vec![0; KEPT / 2 - 1000].into(),
        };
        for n in 0..2 {
            pictures.keep([n; 32], 160, picture.clone());
        }
        assert!(pictures.get(&[0; 32], 160).is_some());
        pictures.keep([2; 32], 160, picture);
        let kept = [0, 1, 2].map(|n| pictures.get(&[n; 32], 160).is_some());
        assert_eq!(kept, [true, false, true]);
        assert!(pictures.get(&[0; 32], 320).is_none());
    }
}
