//! Making an image square, by PIL's arithmetic.
//!
//! PIL resizes rows first, rounds and clips to bytes, then columns (`Resample.c`). In one call the
//! library here would take the columns first, which at hard edges differs by several levels, so the
//! passes are called apart. A padded square is never made: where the padding lies above and below,
//! its rows stay what they are in the first pass, and where it lies at the sides the rows are put
//! between it a few at a time.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ImageView, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use sample::pixels::Fault;

use super::{Fit, Resample};

/// Rows that are padded at a time: they stay in the processor's cache.
const STRIP: u32 = 32;

/// The image as a square of `side` pixels, row by row.
pub(super) fn square(
    image: &RgbImage,
    side: u32,
    fit: Fit,
    resample: Resample,
    pad: [u8; 3],
) -> Result<Vec<U8x3>, Fault> {
    let (width, height) = image.dimensions();
    let from = TypedImageRef::<U8x3>::from_buffer(width, height, image.as_raw()).map_err(broken)?;
    let mut passes = Passes::new(resample);
    let rows = match fit {
        Fit::Crop { shortest } => {
            let shortest = u32::try_from(shortest).unwrap_or(u32::MAX);
            let (across, down) = scaled(width, height, shortest);
            let (across, down) = (Middle::of(across, side), Middle::of(down, side));
            let rows = passes.cut_rows(&from, across)?;
            let middle = passes.cut_columns(&rows, down)?;
            return Ok(between(middle.pixels(), across, down, side));
        }
        Fit::Stretch => passes.rows(&from, side)?,
        Fit::Pad if width >= height => {
            let above = (width - height) / 2;
            let mut rows = vec![U8x3::new(pad); side as usize * width as usize];
            let start = above as usize * side as usize;
            let end = start + height as usize * side as usize;
            let middle = rows.get_mut(start..end).unwrap_or_default();
            let mut middle =
                TypedImage::from_pixels_slice(side, height, middle).map_err(broken)?;
            passes.resize(&from, &mut middle)?;
            TypedImage::from_pixels(side, width, rows).map_err(broken)?
        }
        Fit::Pad => passes.rows_between(&from, side, (height - width) / 2, height, pad)?,
    };
    Ok(passes.columns(&rows, side)?.pixels().to_vec())
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
        Middle { scaled, from, to, count }
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
fn between(pixels: &[U8x3], across: Middle, down: Middle, side: u32) -> Vec<U8x3> {
    if across.count == side && down.count == side {
        return pixels.to_vec();
    }
    let mut out = vec![U8x3::new([0; 3]); side as usize * side as usize];
    let rows = pixels.chunks_exact(across.count.max(1) as usize);
    let below = out.chunks_exact_mut(side.max(1) as usize).skip(down.to as usize);
    for (to, from) in below.zip(rows) {
        if let Some(to) = to.get_mut(across.to as usize..across.to as usize + from.len()) {
            to.copy_from_slice(from);
        }
    }
    out
}

fn broken(error: impl std::fmt::Display) -> Fault {
    Fault::Broken(error.to_string())
}

struct Passes {
    resizer: Resizer,
    options: ResizeOptions,
}

impl Passes {
    fn new(resample: Resample) -> Passes {
        let filter = match resample {
            Resample::Bilinear => FilterType::Bilinear,
            // The cubic with a = -0.5.
            Resample::Bicubic => FilterType::CatmullRom,
        };
        Passes {
            resizer: Resizer::new(),
            options: ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)),
        }
    }

    fn resize(
        &mut self,
        from: &impl ImageView<Pixel = U8x3>,
        to: &mut TypedImage<U8x3>,
    ) -> Result<(), Fault> {
        self.resizer
            .resize_typed(from, to, &self.options)
            .map_err(broken)
    }

    fn rows(
        &mut self,
        from: &TypedImageRef<U8x3>,
        width: u32,
    ) -> Result<TypedImage<'static, U8x3>, Fault> {
        let mut to = TypedImage::new(width, from.height());
        self.resize(from, &mut to)?;
        Ok(to)
    }

    fn columns(
        &mut self,
        from: &TypedImage<U8x3>,
        height: u32,
    ) -> Result<TypedImage<'static, U8x3>, Fault> {
        let mut to = TypedImage::new(from.width(), height);
        self.resize(from, &mut to)?;
        Ok(to)
    }

    fn cut_rows(
        &mut self,
        from: &TypedImageRef<U8x3>,
        part: Middle,
    ) -> Result<TypedImage<'static, U8x3>, Fault> {
        let (width, height) = (from.width(), from.height());
        let (start, length) = part.source(width);
        let options = self.options.crop(start, 0.0, length, f64::from(height));
        let mut to = TypedImage::new(part.count, height);
        let done = self.resizer.resize_typed(from, &mut to, &options);
        done.map(|()| to).map_err(broken)
    }

    fn cut_columns(
        &mut self,
        from: &TypedImage<U8x3>,
        part: Middle,
    ) -> Result<TypedImage<'static, U8x3>, Fault> {
        let (width, height) = (from.width(), from.height());
        let (start, length) = part.source(height);
        let options = self.options.crop(0.0, start, f64::from(width), length);
        let mut to = TypedImage::new(width, part.count);
        let done = self.resizer.resize_typed(from, &mut to, &options);
        done.map(|()| to).map_err(broken)
    }

    /// [`Passes::rows`] of an image that has `before` pixels of padding to its left, and as many or
    /// one more to its right, to be `width` pixels wide.
    fn rows_between(
        &mut self,
        from: &TypedImageRef<U8x3>,
        side: u32,
        before: u32,
        width: u32,
        pad: [u8; 3],
    ) -> Result<TypedImage<'static, U8x3>, Fault> {
        let (own, height) = (from.width() as usize, from.height() as usize);
        let (before, across, side_) = (before as usize, width as usize, side as usize);
        let mut rows = vec![U8x3::new(pad); side_ * height];
        let mut strip = vec![U8x3::new(pad); across * STRIP as usize];
        let chunks = from.pixels().chunks(own * STRIP as usize);
        for (chunk, to) in chunks.zip(rows.chunks_mut(side_ * STRIP as usize)) {
            let count = chunk.len() / own;
            for (row, padded) in chunk.chunks(own).zip(strip.chunks_mut(across)) {
                if let Some(middle) = padded.get_mut(before..before + own) {
                    middle.copy_from_slice(row);
                }
            }
            let count = u32::try_from(count).unwrap_or(STRIP);
            let strip = TypedImageRef::new(width, count, &strip).map_err(broken)?;
            let mut to = TypedImage::from_pixels_slice(side, count, to).map_err(broken)?;
            self.resize(&strip, &mut to)?;
        }
        TypedImage::from_pixels(side, from.height(), rows).map_err(broken)
    }
}
