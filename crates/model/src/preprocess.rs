//! From an image file to a tower's input, as LLaVA's training code and ViT's processor do it.
//!
//! LLaVA: square pad with CLIP's mean colour (`expand2square` in LLaVA's `mm_utils.py`), PIL's
//! bicubic resize (a = -0.5, antialiased, horizontal pass first, 8-bit between the passes), then
//! CLIP's normalisation. ViT: the whole image stretched to the square, as a rule bilinear. Pixels
//! are kept as bytes until they are used: a quarter of the memory.

use std::path::{Path, PathBuf};

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;
use rayon::prelude::*;
use sample::pixels::Fault;
use tch::{Device, Tensor};

use crate::{Error, LlavaConfig};

/// Mean of each channel, from OpenAI's CLIP.
pub const CLIP_MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
/// Standard deviation of each channel, from OpenAI's CLIP.
pub const CLIP_STD: [f64; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// A square image of the tower's size, as bytes: all red values, then green, then blue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Pixels along a side.
    pub side: usize,
    /// `3 * side * side` values.
    pub bytes: Vec<u8>,
}

/// How images become pixel values.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocessor {
    /// Pixels along a side of the result.
    pub side: usize,
    /// Subtracted from values in 0 to 1.
    pub mean: [f64; 3],
    /// Divided by afterwards.
    pub std: [f64; 3],
    /// How an image that is not square becomes so.
    pub fit: Fit,
    /// How pixels are averaged.
    pub resample: Resample,
}

/// How an image becomes square.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// In the middle of a square of the mean colour, as in LLaVA.
    Pad,
    /// Stretched, as in ViT.
    Stretch,
}

/// PIL's filters that published towers use, antialiased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resample {
    /// PIL's 2.
    Bilinear,
    /// PIL's 3, a = -0.5.
    Bicubic,
}

impl Preprocessor {
    /// CLIP's preprocessing at the tower's size.
    pub fn new(config: &LlavaConfig) -> Preprocessor {
        Preprocessor {
            side: config
                .vision_config
                .as_ref()
                .map_or(1, |vision| usize::try_from(vision.image_size).unwrap_or(1)),
            mean: config.image_mean,
            std: config.image_std,
            fit: Fit::Pad,
            resample: Resample::Bicubic,
        }
    }

    /// Preprocessing with the mean and deviation of a folder's `preprocessor_config.json`; CLIP's
    /// where the file is absent.
    pub fn load(dir: &Path, config: &LlavaConfig) -> Result<Preprocessor, Error> {
        let mut preprocessor = Preprocessor::new(config);
        if let Some(file) = ProcessorFile::read(dir)? {
            file.normalisation(&mut preprocessor)?;
        }
        Ok(preprocessor)
    }

    /// The preprocessing of a ViT folder's `preprocessor_config.json`, read as transformers'
    /// `ViTImageProcessor` reads it; that class's defaults at `side` pixels where the file, or a
    /// field of it, is absent.
    ///
    /// # Errors
    /// A file that asks for steps that are not computed here, such as a crop.
    pub fn load_vit(dir: &Path, side: usize) -> Result<Preprocessor, Error> {
        let mut preprocessor = Preprocessor {
            side,
            mean: [0.5; 3],
            std: [0.5; 3],
            fit: Fit::Stretch,
            resample: Resample::Bilinear,
        };
        if let Some(file) = ProcessorFile::read(dir)? {
            file.vit(&mut preprocessor)?;
        }
        Ok(preprocessor)
    }

    /// What [`Preprocessor::load_vit`] reads back.
    pub(crate) fn vit_json(&self) -> serde_json::Value {
        serde_json::json!({
            "image_processor_type": "ViTImageProcessor",
            "do_convert_rgb": true,
            "do_resize": true,
            "size": {"height": self.side, "width": self.side},
            "resample": match self.resample { Resample::Bilinear => 2, Resample::Bicubic => 3 },
            "do_rescale": true,
            "rescale_factor": 1.0 / 255.0,
            "do_normalize": true,
            "image_mean": self.mean,
            "image_std": self.std,
        })
    }

    /// Makes one image square, at the tower's size.
    pub fn square(&self, image: &RgbImage) -> Result<Pixels, Fault> {
        let side = self.side;
        let to = u32::try_from(side).unwrap_or(u32::MAX);
        let resized = match self.fit {
            Fit::Pad => resize(&self.pad(image), to, self.resample)?,
            Fit::Stretch => resize(image, to, self.resample)?,
        };
        let plane = side * side;
        let mut bytes = vec![0; 3 * plane];
        for (index, pixel) in resized.iter().enumerate() {
            for channel in 0..3 {
                bytes[channel * plane + index] = pixel[channel];
            }
        }
        Ok(Pixels { side, bytes })
    }

    /// Reads one file and makes it square.
    pub fn open(&self, path: &Path) -> Result<Pixels, Fault> {
        self.square(&sample::pixels::open(path)?)
    }

    /// Reads many files on all cores; the results are in the files' order.
    pub fn open_all(&self, paths: &[PathBuf]) -> Vec<Result<Pixels, Fault>> {
        paths.par_iter().map(|path| self.open(path)).collect()
    }

    /// Normalised pixel values, [images, 3, side, side] in f32.
    pub fn normalise(&self, images: &[&Pixels], device: Device) -> Result<Tensor, Error> {
        let plane = self.side * self.side;
        let tables: [Vec<f32>; 3] = std::array::from_fn(|channel| {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            (0..=255u8)
                .map(|v| ((f64::from(v) / 255.0 - mean) / std) as f32)
                .collect()
        });
        let mut values = vec![0f32; images.len() * 3 * plane];
        if let Some(wrong) = images.iter().find(|i| i.bytes.len() != 3 * plane) {
            return Err(Error::Shape(format!(
                "an image of {} pixels a side for a tower of {}",
                wrong.side, self.side
            )));
        }
        values
            .par_chunks_mut(3 * plane)
            .zip(images)
            .for_each(|(to, image)| {
                for (channel, table) in tables.iter().enumerate() {
                    let range = channel * plane..(channel + 1) * plane;
                    for (value, byte) in to[range.clone()].iter_mut().zip(&image.bytes[range]) {
                        *value = table[usize::from(*byte)];
                    }
                }
            });
        let side = self.side as i64;
        let shape = [images.len() as i64, 3, side, side];
        Ok(Tensor::f_from_slice(&values)?
            .f_reshape(shape)?
            .f_to_device(device)?)
    }

    /// The image in the middle of a square of the mean colour.
    fn pad(&self, image: &RgbImage) -> RgbImage {
        let (width, height) = image.dimensions();
        if width == height {
            return image.clone();
        }
        // Truncated, as `int(x * 255)` in LLaVA.
        let colour = self.mean.map(|mean| (mean * 255.0) as u8);
        let side = width.max(height);
        let mut square = RgbImage::from_pixel(side, side, image::Rgb(colour));
        let (x, y) = ((side - width) / 2, (side - height) / 2);
        image::imageops::replace(&mut square, image, i64::from(x), i64::from(y));
        square
    }
}

/// A folder's `preprocessor_config.json`.
struct ProcessorFile {
    path: PathBuf,
    value: serde_json::Value,
}

impl ProcessorFile {
    /// `None` where the folder has none.
    fn read(dir: &Path) -> Result<Option<ProcessorFile>, Error> {
        let path = dir.join("preprocessor_config.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(sample::Error::io(path, e).into()),
        };
        let value = serde_json::from_str(&text).map_err(|e| sample::Error::format(&path, e))?;
        Ok(Some(ProcessorFile { path, value }))
    }

    fn wrong(&self, detail: impl ToString) -> Error {
        sample::Error::format(&self.path, detail).into()
    }

    fn normalisation(&self, to: &mut Preprocessor) -> Result<(), Error> {
        for (field, to) in [("image_mean", &mut to.mean), ("image_std", &mut to.std)] {
            if !self.value[field].is_null() {
                *to = serde_json::from_value(self.value[field].clone())
                    .map_err(|e| self.wrong(format!("{field}: {e}")))?;
            }
        }
        if to.std.iter().any(|&s| s.is_nan() || s <= 0.0) {
            return Err(self.wrong("image_std must be positive"));
        }
        Ok(())
    }

    fn vit(&self, to: &mut Preprocessor) -> Result<(), Error> {
        let flag = |name: &str, default: bool| self.value[name].as_bool().unwrap_or(default);
        if !flag("do_resize", true) || !flag("do_rescale", true) || flag("do_center_crop", false) {
            return Err(self.wrong(
                "asks for images that are not resized, not rescaled or cropped: a ViT sees the \
                 whole image, stretched to its square",
            ));
        }
        // Older files write one number for both sides.
        let size = &self.value["size"];
        let sides = match size {
            serde_json::Value::Null => None,
            serde_json::Value::Number(_) => Some([size, size]),
            other => Some([&other["height"], &other["width"]]),
        };
        if let Some(sides) = sides
            && sides.iter().any(|s| s.as_u64() != Some(to.side as u64))
        {
            return Err(self.wrong(format!(
                "size is {size}, but config.json has image_size {0}: give both sides as {0}",
                to.side
            )));
        }
        to.resample = match self.value["resample"].as_i64() {
            None | Some(2) => Resample::Bilinear,
            Some(3) => Resample::Bicubic,
            Some(other) => {
                return Err(self.wrong(format!(
                    "resample is {other}: only 2 (bilinear) and 3 (bicubic) are computed"
                )));
            }
        };
        let factor = &self.value["rescale_factor"];
        if let Some(factor) = factor.as_f64()
            && (factor * 255.0 - 1.0).abs() > 1e-6
        {
            return Err(self.wrong(format!("rescale_factor is {factor}, not 1/255")));
        }
        if flag("do_normalize", true) {
            return self.normalisation(to);
        }
        (to.mean, to.std) = ([0.0; 3], [1.0; 3]);
        Ok(())
    }
}

/// As PIL's `resize`: all rows first, rounded to bytes and clipped, then all columns. In one call the
/// library would take the columns first, which at hard edges differs by several levels.
fn resize(image: &RgbImage, side: u32, resample: Resample) -> Result<Vec<[u8; 3]>, Fault> {
    let broken = |e: &dyn std::fmt::Display| Fault::Broken(e.to_string());
    let (width, height) = image.dimensions();
    let filter = match resample {
        Resample::Bilinear => FilterType::Bilinear,
        // The cubic with a = -0.5.
        Resample::Bicubic => FilterType::CatmullRom,
    };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    let mut resizer = Resizer::new();
    let from = TypedImageRef::<U8x3>::from_buffer(width, height, image.as_raw())
        .map_err(|e| broken(&e))?;
    let mut rows = TypedImage::<U8x3>::new(side, height);
    resizer
        .resize_typed(&from, &mut rows, &options)
        .map_err(|e| broken(&e))?;
    let mut square = TypedImage::<U8x3>::new(side, side);
    resizer
        .resize_typed(&rows, &mut square, &options)
        .map_err(|e| broken(&e))?;
    Ok(square.pixels().iter().map(|pixel| pixel.0).collect())
}
