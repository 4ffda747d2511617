//! Making an image square, by PIL's arithmetic.
//!
//! PIL resizes rows first, rounds and clips to bytes, then columns (`Resample.c`). In one call the
//! library that resizes rows here would take the columns first, which at hard edges differs by
//! several levels. Its weights have 16 bits, PIL's 22: rounding twice with the former puts some
//! bytes two levels off, so the columns are summed here, with PIL's weights.
//!
//! A padded square is never made: where the padding lies above and below, its rows stay what they
//! are in the first pass, and where it lies at the sides the rows are put between it a few at a
//! time.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use sample::pixels::Fault;

use super::{Fit, Resample};

/// Rows that are padded at a time: they stay in the processor's cache.
const STRIP: usize = 32;
/// Bits of PIL's weights: what 32 leave when a byte's 8 and a sign and a carry are taken off.
const WEIGHT_BITS: u32 = 22;

/// The image as a square of `side` pixels: bytes of rows, red, green and blue by turns.
pub(super) fn square(
    image: &RgbImage,
    side: u32,
    fit: Fit,
    resample: Resample,
    pad: [u8; 3],
) -> Result<Vec<u8>, Fault> {
    let (width, height) = image.dimensions();
    let stride = 3 * side as usize;
    let whole = Middle::of(side, side);
    match fit {
        Fit::Crop { shortest } => {
            let shortest = u32::try_from(shortest).unwrap_or(u32::MAX);
            let (across, down) = scaled(width, height, shortest);
            let (across, down) = (Middle::of(across, side), Middle::of(down, side));
            let rows = rows(image.as_raw(), width, height, across, resample)?;
            let middle = columns(&rows, 3 * across.count as usize, down, resample);
            Ok(between(middle, across, down, side))
        }
        Fit::Stretch => {
            let rows = rows(image.as_raw(), width, height, whole, resample)?;
            Ok(columns(&rows, stride, whole, resample))
        }
        Fit::Pad => {
            let rows = if width >= height {
                let above = (width - height) / 2;
                let middle = rows(image.as_raw(), width, height, whole, resample)?;
                let start = stride * above as usize;
                let mut padded = vec![0; stride * width as usize];
                let (before, rest) = padded.split_at_mut(start.min(stride * width as usize));
                let (own, after) = rest.split_at_mut(middle.len().min(rest.len()));
                own.copy_from_slice(&middle);
                fill(before, pad);
                fill(after, pad);
                padded
            } else {
                rows_between(image, whole, pad, resample)?
            };
            Ok(columns(&rows, stride, whole, resample))
        }
    }
}

fn fill(bytes: &mut [u8], colour: [u8; 3]) {
    let (pixels, _) = bytes.as_chunks_mut::<3>();
    pixels.fill(colour);
}

/// Width and height with the shorter one as given: `get_resize_output_image_size` of transformers.
fn scaled(width: u32, height: u32, shortest: u32) -> (u32, u32) {
    let (short, long) = (width.min(height), width.max(height));
    let scaled = u64::from(shortest) * u64::from(long) / u64::from(short.max(1));
    let long = u32::try_from(scaled).unwrap_or(u32::MAX);
    if width <= height {
        (shortest, long)
    } else {
        (long, shortest)
    }
}

/// The middle `side` pixels of a scaled length: `center_crop` of transformers.
#[derive(Clone, Copy)]
struct Middle {
    /// Pixels of the scaled image along this side.
    scaled: u32,
    /// The first of them that is wanted.
    from: u32,
    /// Where it stands in the result.
    to: u32,
    /// How many are wanted.
    count: u32,
}

impl Middle {
    fn of(scaled: u32, side: u32) -> Middle {
        let (from, to) = if scaled >= side {
            ((scaled - side) / 2, 0)
        } else {
            // Of a border that is odd, the larger half is before the image.
            (0, (side - scaled).div_ceil(2))
        };
        let count = scaled.min(side);
        Middle {
            scaled,
            from,
            to,
            count,
        }
    }

    /// What of an image's side becomes the middle: where it begins, and its length.
    fn source(self, length: u32) -> (f64, f64) {
        let scale = f64::from(length) / f64::from(self.scaled.max(1));
        let start = f64::from(self.from) * scale;
        let most = f64::from(length) - start;
        (start, (f64::from(self.count) * scale).min(most))
    }
}

/// The middle of an image with black around it where it is smaller than the square.
fn between(pixels: Vec<u8>, across: Middle, down: Middle, side: u32) -> Vec<u8> {
    if across.count == side && down.count == side {
        return pixels;
    }
    let stride = 3 * side as usize;
    let mut out = vec![0; stride * side as usize];
    let rows = pixels.chunks_exact(3 * across.count.max(1) as usize);
    let below = out.chunks_exact_mut(stride.max(1)).skip(down.to as usize);
    for (to, from) in below.zip(rows) {
        let start = 3 * across.to as usize;
        if let Some(to) = to.get_mut(start..start + from.len()) {
            to.copy_from_slice(from);
        }
    }
    out
}

fn broken(error: impl std::fmt::Display) -> Fault {
    Fault::Broken(error.to_string())
}

/// Every row of an image of `width` x `height`, scaled.
fn rows(
    image: &[u8],
    width: u32,
    height: u32,
    part: Middle,
    resample: Resample,
) -> Result<Vec<u8>, Fault> {
    let from = TypedImageRef::<U8x3>::from_buffer(width, height, image).map_err(broken)?;
    let filter = match resample {
        Resample::Bilinear => FilterType::Bilinear,
        // The cubic with a = -0.5.
        Resample::Bicubic => FilterType::CatmullRom,
    };
    let (start, length) = part.source(width);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(filter))
        .crop(start, 0.0, length, f64::from(height));
    let mut out = vec![0; 3 * part.count as usize * height as usize];
    let mut to = TypedImage::<U8x3>::from_buffer(part.count, height, &mut out).map_err(broken)?;
    Resizer::new()
        .resize_typed(&from, &mut to, &options)
        .map_err(broken)?;
    Ok(out)
}

/// [`rows`] of a tall image in the middle of a square.
fn rows_between(
    image: &RgbImage,
    part: Middle,
    pad: [u8; 3],
    resample: Resample,
) -> Result<Vec<u8>, Fault> {
    let (width, height) = image.dimensions();
    let (own, across) = (3 * width as usize, 3 * height as usize);
    let before = 3 * ((height - width) / 2) as usize;
    let mut strip = vec![0; across * STRIP];
    fill(&mut strip, pad);
    let mut out = Vec::with_capacity(3 * part.count as usize * height as usize);
    for chunk in image.as_raw().chunks(own.max(1) * STRIP) {
        let count = chunk.len() / own.max(1);
        for (row, padded) in chunk
            .chunks_exact(own.max(1))
            .zip(strip.chunks_exact_mut(across))
        {
            if let Some(middle) = padded.get_mut(before..before + own) {
                middle.copy_from_slice(row);
            }
        }
        let count_of_rows = u32::try_from(count).unwrap_or(0);
        let padded = &strip[..across * count];
        out.extend(rows(padded, height, count_of_rows, part, resample)?);
    }
    Ok(out)
}

/// The weights of the source rows that make one row of the result.
struct Weights {
    first: usize,
    weights: Vec<i32>,
}

/// `precompute_coeffs` and `normalize_coeffs_8bpc` of PIL, for the wanted rows.
fn weights(length: usize, part: Middle, resample: Resample) -> Vec<Weights> {
    let (support, filter): (f64, fn(f64) -> f64) = match resample {
        Resample::Bilinear => (1.0, |x| (1.0 - x).max(0.0)),
        Resample::Bicubic => (2.0, |x| {
            const A: f64 = -0.5;
            if x < 1.0 {
                ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
            } else if x < 2.0 {
                (((x - 5.0) * x + 8.0) * x - 4.0) * A
            } else {
                0.0
            }
        }),
    };
    let scale = length as f64 / f64::from(part.scaled.max(1));
    let stretch = scale.max(1.0);
    let support = support * stretch;
    (part.from..part.from + part.count)
        .map(|place| {
            let centre = (f64::from(place) + 0.5) * scale;
            // Casts of negative numbers give zero.
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(length);
            let raw: Vec<f64> = (first..end)
                .map(|row| filter(((row as f64 - centre + 0.5) / stretch).abs()))
                .collect();
            let sum: f64 = raw.iter().sum();
            let weights = raw
                .iter()
                .map(|&weight| {
                    let weight = if sum == 0.0 { weight } else { weight / sum };
                    (weight * f64::from(1 << WEIGHT_BITS)).round() as i32
                })
                .collect();
            Weights { first, weights }
        })
        .collect()
}

/// The columns of rows of `stride` bytes, scaled.
fn columns(rows: &[u8], stride: usize, part: Middle, resample: Resample) -> Vec<u8> {
    let height = rows.len() / stride.max(1);
    if height == part.scaled as usize {
        let start = stride * part.from as usize;
        return rows[start..start + stride * part.count as usize].to_vec();
    }
    let mut out = vec![0; stride * part.count as usize];
    let weights = weights(height, part, resample);
    for (to, weights) in out.chunks_exact_mut(stride.max(1)).zip(&weights) {
        let from = &rows[weights.first * stride..];
        sum_rows(from, stride, &weights.weights, to);
    }
    out
}

/// One row of the result: the weighted sum of the rows that begin at `from`.
fn sum_rows(from: &[u8], stride: usize, weights: &[i32], to: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { sum_rows_avx2(from, stride, weights, to) };
    }
    sum_rows_of(from, stride, weights, to);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_rows_avx2(from: &[u8], stride: usize, weights: &[i32], to: &mut [u8]) {
    sum_rows_of(from, stride, weights, to);
}

#[inline(always)]
fn sum_rows_of(from: &[u8], stride: usize, weights: &[i32], to: &mut [u8]) {
    /// Sums that fit into registers.
    const LANES: usize = 32;
    const HALF: i32 = 1 << (WEIGHT_BITS - 1);
    let (blocks, rest) = to.as_chunks_mut::<LANES>();
    let first_left = blocks.len() * LANES;
    for (index, block) in blocks.iter_mut().enumerate() {
        let mut sums = [HALF; LANES];
        for (row, &weight) in from[index * LANES..].chunks(stride).zip(weights) {
            if let Some(bytes) = row.first_chunk::<LANES>() {
                for (sum, &byte) in sums.iter_mut().zip(bytes) {
                    // At most 255 times weights whose absolute values sum to less than 2.
                    *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(byte)));
                }
            }
        }
        for (to, sum) in block.iter_mut().zip(sums) {
            *to = (sum >> WEIGHT_BITS).clamp(0, 255) as u8;
        }
    }
    for (index, to) in rest.iter_mut().enumerate() {
        let column = from[first_left + index..].iter().step_by(stride);
        let sum = column.zip(weights).fold(HALF, |sum, (&byte, &weight)| {
            sum.wrapping_add(weight.wrapping_mul(i32::from(byte)))
        });
        *to = (sum >> WEIGHT_BITS).clamp(0, 255) as u8;
    }
}
