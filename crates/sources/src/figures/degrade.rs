//! Making a clear figure poor on purpose, in the ways that scans, screenshots and photos are.
//!
//! The kind and its strength are kept with the scene, so that a clarity grader can be tried on
//! kinds of degradation it has not seen.

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{ImageFormat, Rgb, RgbImage};
use rand::Rng;
use serde::{Deserialize, Serialize};

use super::random::{Rng8, count, pick, real};

/// What was done to a figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Degradation {
    /// Out of focus: Gaussian, with this standard deviation in thousandths of the longer side.
    Blur {
        /// Standard deviation.
        sigma: f32,
    },
    /// Sensor noise: uniform, up to this many levels either way.
    Noise {
        /// Levels.
        level: u8,
    },
    /// Compressed far too much.
    Jpeg {
        /// JPEG quality.
        quality: u8,
    },
    /// Scaled down by this factor, and up again.
    DownScale {
        /// The factor.
        factor: f32,
    },
    /// This share of the contrast is left.
    LowContrast {
        /// The share.
        left: f32,
    },
    /// Covered by this many patches.
    Occlusion {
        /// The count.
        patches: u8,
    },
}

impl Degradation {
    pub(crate) fn draw(rng: &mut Rng8) -> Degradation {
        match count(rng, 0, 5) {
            0 => Degradation::Blur {
                sigma: round(real(rng, 11.0, 20.0)),
            },
            1 => Degradation::Noise {
                level: rng.random_range(110..=190),
            },
            2 => Degradation::Jpeg {
                quality: rng.random_range(1..=4),
            },
            3 => Degradation::DownScale {
                factor: round(real(rng, 6.0, 10.0)),
            },
            4 => Degradation::LowContrast {
                left: round(real(rng, 0.06, 0.13)),
            },
            _ => Degradation::Occlusion {
                patches: rng.random_range(3..=5),
            },
        }
    }

    pub(crate) fn apply(&self, image: RgbImage, rng: &mut Rng8) -> RgbImage {
        let (w, h) = image.dimensions();
        let long = w.max(h) as f32;
        match self {
            Degradation::Blur { sigma } => imageops::fast_blur(&image, sigma * long / 1000.0),
            Degradation::Noise { level } => {
                let level = i32::from(*level);
                let mut image = image;
                for channel in image.iter_mut() {
                    let noise = rng.random_range(-level..=level);
                    *channel =
                        u8::try_from((i32::from(*channel) + noise).clamp(0, 255)).unwrap_or(255);
                }
                image
            }
            Degradation::Jpeg { quality } => {
                let mut bytes = Vec::new();
                let mut encoder = JpegEncoder::new_with_quality(&mut bytes, *quality);
                let coded = encoder.encode_image(&image).ok();
                let back = coded.and_then(|()| {
                    image::load_from_memory_with_format(&bytes, ImageFormat::Jpeg).ok()
                });
                back.map_or(image, image::DynamicImage::into_rgb8)
            }
            Degradation::DownScale { factor } => {
                let small = |side: u32| ((side as f32 / factor).round() as u32).max(4);
                let tiny = imageops::resize(&image, small(w), small(h), FilterType::Triangle);
                imageops::resize(&tiny, w, h, FilterType::Triangle)
            }
            Degradation::LowContrast { left } => {
                let base = real(rng, 90.0, 190.0);
                let mut image = image;
                for channel in image.iter_mut() {
                    *channel =
                        (base + (f32::from(*channel) - 128.0) * left).clamp(0.0, 255.0) as u8;
                }
                image
            }
            Degradation::Occlusion { patches } => {
                let mut image = image;
                let colours = [
                    [30, 30, 34],
                    [235, 235, 235],
                    [150, 120, 90],
                    [90, 110, 140],
                ];
                for _ in 0..*patches {
                    let (pw, ph) = (
                        (w as f32 * real(rng, 0.3, 0.5)) as u32,
                        (h as f32 * real(rng, 0.3, 0.5)) as u32,
                    );
                    let (x, y) = (
                        rng.random_range(0..=w - pw.min(w)),
                        rng.random_range(0..=h - ph.min(h)),
                    );
                    let colour = Rgb(pick(rng, &colours));
                    for py in y..(y + ph).min(h) {
                        for px in x..(x + pw).min(w) {
                            image.put_pixel(px, py, colour);
                        }
                    }
                }
                image
            }
        }
    }
}

/// To two places, so that the record is short and exact.
fn round(x: f32) -> f32 {
    (x * 100.0).round() / 100.0
}
