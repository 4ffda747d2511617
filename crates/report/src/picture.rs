//! Images inside the page, small enough to mail.

use std::collections::BTreeMap;
use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, RgbImage};
use sample::pixels;

use crate::html::escape;

/// JPEG quality: photographs look right, and drawings go as PNG where that is shorter.
const QUALITY: u8 = 84;

/// The bytes of an image, by its path and digest.
type Find<'a> = Box<dyn Fn(&str, &str) -> Option<Vec<u8>> + 'a>;

/// The address of an image, by its path and digest; none where it has none.
type Address<'a> = Box<dyn Fn(&str, &str) -> Option<String> + 'a>;

/// How a page has its images.
enum How<'a> {
    /// Inside it, each encoded once.
    Inside {
        find: Find<'a>,
        side: u32,
        /// By digest.
        encoded: BTreeMap<String, Option<String>>,
    },
    /// At addresses of their own.
    Linked(Address<'a>),
}

/// The images of a page.
pub struct Pictures<'a>(How<'a>);

impl<'a> Pictures<'a> {
    pub(crate) fn new(
        find: impl Fn(&str, &str) -> Option<Vec<u8>> + 'a,
        side: u32,
    ) -> Pictures<'a> {
        Pictures(How::Inside {
            find: Box::new(find),
            side,
            encoded: BTreeMap::new(),
        })
    }

    /// Images that a page loads from where `address` says.
    pub fn linked(address: impl Fn(&str, &str) -> Option<String> + 'a) -> Pictures<'a> {
        Pictures(How::Linked(Box::new(address)))
    }

    /// An `img` element for an image; a note where the file cannot be shown.
    pub(crate) fn element(&mut self, path: &str, sha256: &str, alt: &str) -> String {
        let place = match &mut self.0 {
            How::Linked(address) => address(path, sha256),
            How::Inside {
                find,
                side,
                encoded,
            } => {
                let uri = encoded.entry(sha256.to_owned()).or_insert_with(|| {
                    let image = pixels::decode(&find(path, sha256)?).ok()?;
                    data_uri(&image, *side)
                });
                uri.clone()
            }
        };
        match place {
            Some(place) => {
                format!(
                    "<img loading=\"lazy\" src=\"{}\" alt=\"{}\">",
                    escape(&place),
                    escape(alt)
                )
            }
            None => format!("<p class=\"missing\">no image at {}</p>", escape(path)),
        }
    }
}

fn data_uri(image: &RgbImage, side: u32) -> Option<String> {
    let (kind, bytes) = encoded(image, side)?;
    Some(format!("data:{kind};base64,{}", STANDARD.encode(bytes)))
}

/// The image for a page, its longer side at most `side` pixels: its media type and its bytes, as PNG or
/// JPEG, whichever is shorter.
pub fn encoded(image: &RgbImage, side: u32) -> Option<(&'static str, Vec<u8>)> {
    let small = fitted(image, side);
    let mut png = Cursor::new(Vec::new());
    small.write_to(&mut png, ImageFormat::Png).ok()?;
    let mut jpeg = Vec::new();
    small
        .write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, QUALITY))
        .ok()?;
    let png = png.into_inner();
    Some(if png.len() <= jpeg.len() {
        ("image/png", png)
    } else {
        ("image/jpeg", jpeg)
    })
}

/// Scaled down until the longer side fits; never up.
fn fitted(image: &RgbImage, side: u32) -> DynamicImage {
    let image = DynamicImage::ImageRgb8(image.clone());
    if image.width().max(image.height()) <= side {
        return image;
    }
    image.resize(side, side, FilterType::CatmullRom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn decoded(uri: &str) -> RgbImage {
        let base64 = uri.split_once(";base64,").unwrap().1;
        pixels::decode(&STANDARD.decode(base64).unwrap()).unwrap()
    }

    #[test]
    fn large_images_shrink_and_keep_their_shape_and_small_ones_stay() {
        let large = RgbImage::from_pixel(800, 400, Rgb([10, 200, 30]));
        let small = decoded(&data_uri(&large, 200).unwrap());
        assert_eq!(small.dimensions(), (200, 100));
        let tiny = RgbImage::from_pixel(20, 10, Rgb([10, 200, 30]));
        assert_eq!(decoded(&data_uri(&tiny, 200).unwrap()), tiny);
        let line = RgbImage::from_pixel(4000, 8, Rgb([0, 0, 0]));
        assert!(data_uri(&line, 100).is_some());
    }

    #[test]
    fn photographs_go_as_jpeg_and_drawings_as_png() {
        let noise = RgbImage::from_fn(120, 120, |x, y| {
            Rgb([
                (x * 7919 + y * 104_729) as u8,
                (x * y * 31) as u8,
                (x * x + 3 * y) as u8,
            ])
        });
        assert!(
            data_uri(&noise, 200)
                .unwrap()
                .starts_with("data:image/jpeg")
        );
        let drawing = RgbImage::from_pixel(120, 120, Rgb([255, 255, 255]));
        assert!(
            data_uri(&drawing, 200)
                .unwrap()
                .starts_with("data:image/png")
        );
    }
}
