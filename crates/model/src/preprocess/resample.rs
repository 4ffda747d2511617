//! Making an image square, by PIL's arithmetic.
//!
//! PIL resizes rows first, rounds and clips to bytes, then columns, with weights of 22 bits
//! (`Resample.c`); so does this, to the bit. Libraries that resize faster use weights of 16 bits,
//! which puts some bytes of drawings two levels off.
//!
//! A padded square is never made: where the padding lies above and below, its rows stay what they
//! are in the first pass, and where it lies at the sides it is put beside a few rows at a time.
//!
//! The first pass works on [`LANES`] rows at once, turned so that the same byte of each lies side
//! by side: sums over neighbouring pixels are then sums of vectors.

use super::{Fit, Resample};

/// Rows resized at once.
const LANES: usize = 8;
/// Bits of PIL's weights: what 32 leave when a byte's 8 and a sign and a carry are taken off.
const WEIGHT_BITS: u32 = 22;
/// Rounds to the nearest.
const HALF: i32 = 1 << (WEIGHT_BITS - 1);

/// The image of `width` x `height` as a square of `side` pixels; both are bytes of rows, red, green
/// and blue by turns.
pub(super) fn square(
    image: &[u8],
    (width, height): (u32, u32),
    side: u32,
    fit: Fit,
    resample: Resample,
    pad: [u8; 3],
) -> Vec<u8> {
    let stride = 3 * side as usize;
    let whole = Middle::of(side, side);
    let own = Row {
        width: width as usize,
        before: 0,
        padded: width as usize,
        pad,
    };
    match fit {
        Fit::Crop { shortest } => {
            let shortest = u32::try_from(shortest).unwrap_or(u32::MAX);
            let (across, down) = scaled(width, height, shortest);
            let (across, down) = (Middle::of(across, side), Middle::of(down, side));
            let rows = rows(image, own, across, resample);
            let middle = columns(&rows, 3 * across.count as usize, down, resample);
            between(middle, across, down, side)
        }
        Fit::Stretch => columns(&rows(image, own, whole, resample), stride, whole, resample),
        Fit::Pad if width >= height => {
            let middle = rows(image, own, whole, resample);
            let mut padded = vec![0; stride * width as usize];
            let above = stride * ((width - height) / 2) as usize;
            let (before, rest) = padded.split_at_mut(above);
            let (own, after) = rest.split_at_mut(middle.len());
            own.copy_from_slice(&middle);
            fill(before, pad);
            fill(after, pad);
            columns(&padded, stride, whole, resample)
        }
        Fit::Pad => {
            let between = Row {
                before: ((height - width) / 2) as usize,
                padded: height as usize,
                ..own
            };
            columns(
                &rows(image, between, whole, resample),
                stride,
                whole,
                resample,
            )
        }
    }
}

/// A row of pixels and the padding around it.
#[derive(Clone, Copy)]
struct Row {
    width: usize,
    /// Pixels of padding to the left.
    before: usize,
    /// Pixels in all.
    padded: usize,
    pad: [u8; 3],
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

/// Every row of an image, scaled.
fn rows(image: &[u8], row: Row, part: Middle, resample: Resample) -> Vec<u8> {
    if row.padded == part.scaled as usize {
        return cut(image, row, part);
    }
    let weights = weights(row.padded, part, resample);
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { rows_avx2(image, row, &weights) };
    }
    rows_of(image, row, &weights, sum_pixels)
}

/// Rows that keep their length.
fn cut(image: &[u8], row: Row, part: Middle) -> Vec<u8> {
    let mut whole = vec![0; 3 * row.padded];
    fill(&mut whole, row.pad);
    let wanted = 3 * part.from as usize..3 * (part.from + part.count) as usize;
    let mut out = Vec::with_capacity(wanted.len() * (image.len() / (3 * row.width).max(1)));
    for pixels in image.chunks_exact((3 * row.width).max(1)) {
        whole[3 * row.before..][..pixels.len()].copy_from_slice(pixels);
        out.extend_from_slice(&whole[wanted.clone()]);
    }
    out
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn rows_avx2(image: &[u8], row: Row, weights: &[Weights]) -> Vec<u8> {
    rows_of(image, row, weights, |pixels, weights| {
        sum_pixels_avx2(pixels, weights)
    })
}

/// The same byte of several rows: red, green and blue of a pixel of each.
type Pixels = [[u8; LANES]; 3];

/// The weighted sum of neighbouring pixels.
fn sum_pixels(pixels: &[Pixels], weights: &[i32]) -> Pixels {
    let mut sums = [[HALF; LANES]; 3];
    for (bytes, &weight) in pixels.iter().zip(weights) {
        for (sums, bytes) in sums.iter_mut().zip(bytes) {
            for (sum, &byte) in sums.iter_mut().zip(bytes) {
                // At most 255 times weights whose absolute values sum to less than 2.
                *sum = sum.wrapping_add(weight.wrapping_mul(i32::from(byte)));
            }
        }
    }
    sums.map(|sums| sums.map(|sum| (sum >> WEIGHT_BITS).clamp(0, 255) as u8))
}

/// [`sum_pixels`]; left to itself the compiler gathers single bytes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn sum_pixels_avx2(pixels: &[Pixels], weights: &[i32]) -> Pixels {
    use std::arch::x86_64::{
        _mm_cvtsi64_si128, _mm_cvtsi128_si32, _mm256_add_epi32, _mm256_castsi256_si128,
        _mm256_cvtepu8_epi32, _mm256_extracti128_si256, _mm256_mullo_epi32, _mm256_packus_epi16,
        _mm256_packus_epi32, _mm256_set1_epi32, _mm256_srai_epi32,
    };
    let mut sums = [_mm256_set1_epi32(HALF); 3];
    for (bytes, &weight) in pixels.iter().zip(weights) {
        let weight = _mm256_set1_epi32(weight);
        for (sum, bytes) in sums.iter_mut().zip(bytes) {
            let bytes = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(*bytes)));
            *sum = _mm256_add_epi32(*sum, _mm256_mullo_epi32(bytes, weight));
        }
    }
    sums.map(|sum| {
        // Packing clips; each half keeps its own four bytes.
        let sum = _mm256_srai_epi32::<{ WEIGHT_BITS as i32 }>(sum);
        let sum = _mm256_packus_epi32(sum, sum);
        let sum = _mm256_packus_epi16(sum, sum);
        let low = _mm_cvtsi128_si32(_mm256_castsi256_si128(sum)).to_le_bytes();
        let high = _mm_cvtsi128_si32(_mm256_extracti128_si256::<1>(sum)).to_le_bytes();
        let [a, b, c, d] = low;
        let [e, f, g, h] = high;
        [a, b, c, d, e, f, g, h]
    })
}

#[inline(always)]
fn rows_of(
    image: &[u8],
    row: Row,
    weights: &[Weights],
    sum: impl Fn(&[Pixels], &[i32]) -> Pixels,
) -> Vec<u8> {
    let (from, to) = (3 * row.width, 3 * weights.len());
    let height = image.len() / from.max(1);
    let mut out = vec![0; to * height];
    // Byte `i` of each row, and what the rows become.
    let mut turned: Vec<[u8; LANES]> = (0..3 * row.padded)
        .map(|byte| [row.pad[byte % 3]; LANES])
        .collect();
    let mut scaled = vec![[0; LANES]; to];
    let strips = image
        .chunks(from.max(1) * LANES)
        .zip(out.chunks_mut(to.max(1) * LANES));
    for (strip, out) in strips {
        turn(strip, from, &mut turned[3 * row.before..][..from]);
        for (pixel, weights) in scaled.as_chunks_mut::<3>().0.iter_mut().zip(weights) {
            let (pixels, _) = turned[3 * weights.first..].as_chunks::<3>();
            *pixel = sum(pixels, &weights.weights);
        }
        turn_back(&scaled, to, out);
    }
    out
}

/// Rows of `stride` bytes, at most [`LANES`] of them, as one array for each byte of a row.
#[inline(always)]
fn turn(rows: &[u8], stride: usize, to: &mut [[u8; LANES]]) {
    let (blocks, rest) = to.as_chunks_mut::<LANES>();
    let left = blocks.len() * LANES;
    for (index, block) in blocks.iter_mut().enumerate() {
        let mut words = [0u64; LANES];
        for (word, row) in words.iter_mut().zip(rows.chunks_exact(stride)) {
            if let Some(bytes) = row[index * LANES..].first_chunk::<LANES>() {
                *word = u64::from_le_bytes(*bytes);
            }
        }
        *block = turned(words).map(u64::to_le_bytes);
    }
    for (index, to) in rest.iter_mut().enumerate() {
        for (to, row) in to.iter_mut().zip(rows.chunks_exact(stride)) {
            *to = row[left + index];
        }
    }
}

/// [`turn`] the other way.
#[inline(always)]
fn turn_back(from: &[[u8; LANES]], stride: usize, rows: &mut [u8]) {
    let (blocks, rest) = from.as_chunks::<LANES>();
    let left = blocks.len() * LANES;
    for (index, block) in blocks.iter().enumerate() {
        let words = turned(block.map(u64::from_le_bytes));
        for (word, row) in words.iter().zip(rows.chunks_exact_mut(stride)) {
            row[index * LANES..][..LANES].copy_from_slice(&word.to_le_bytes());
        }
    }
    for (index, from) in rest.iter().enumerate() {
        for (&from, row) in from.iter().zip(rows.chunks_exact_mut(stride)) {
            row[left + index] = from;
        }
    }
}

/// A square of 8 x 8 bytes, its columns made rows: blocks of four, of two, then single bytes change
/// places across the diagonal.
#[inline(always)]
fn turned(mut words: [u64; LANES]) -> [u64; LANES] {
    let steps = [
        (4, 32, 0x0000_0000_FFFF_FFFF_u64),
        (2, 16, 0x0000_FFFF_0000_FFFF),
        (1, 8, 0x00FF_00FF_00FF_00FF),
    ];
    for (apart, bits, mask) in steps {
        for low in (0..LANES).filter(|row| row & apart == 0) {
            let high = low + apart;
            let changed = ((words[low] >> bits) ^ words[high]) & mask;
            words[low] ^= changed << bits;
            words[high] ^= changed;
        }
    }
    words
}

/// The weights of the source's pixels, or rows, that make one of the result.
struct Weights {
    first: usize,
    weights: Vec<i32>,
}

/// `precompute_coeffs` and `normalize_coeffs_8bpc` of PIL, for the wanted places.
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
    const BLOCK: usize = 32;
    let (blocks, rest) = to.as_chunks_mut::<BLOCK>();
    let first_left = blocks.len() * BLOCK;
    for (index, block) in blocks.iter_mut().enumerate() {
        let mut sums = [HALF; BLOCK];
        for (row, &weight) in from[index * BLOCK..].chunks(stride).zip(weights) {
            if let Some(bytes) = row.first_chunk::<BLOCK>() {
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
