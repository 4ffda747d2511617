//! From an image file to a tower's input, as LLaVA's code and transformers' processors do it.
//!
//! LLaVA: square pad with CLIP's mean colour (`expand2square` in LLaVA's `mm_utils.py`), PIL's
//! bicubic resize (a = -0.5, antialiased, horizontal pass first, 8-bit between the passes), then
//! CLIP's normalisation. CLIP and DINOv2: the shorter side scaled, the middle cut out. SigLIP and
//! ViT: the whole image stretched to the square. Pixels are kept as bytes until they are used: a
//! quarter of the memory.

mod file;
mod resample;

use std::path::{Path, PathBuf};

use file::ProcessorFile;
use image::RgbImage;
use rayon::prelude::*;
use sample::pixels::Fault;
use tch::{Device, Tensor};

use crate::tokenizer::special::json_file;
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
    /// Its middle, as in CLIP.
    Crop {
        /// Pixels along the shorter side before the middle is cut out.
        shortest: usize,
    },
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
    /// CLIP's preprocessing at the tower's size, padded or cropped as the configuration says.
    pub fn new(config: &LlavaConfig) -> Preprocessor {
        let side = config
            .vision_config
            .as_ref()
            .map_or(1, |vision| usize::try_from(vision.image_size).unwrap_or(1));
        Preprocessor {
            side,
            mean: config.image_mean,
            std: config.image_std,
            fit: if config.image_aspect_ratio == "pad" {
                Fit::Pad
            } else {
                Fit::Crop { shortest: side }
            },
            resample: Resample::Bicubic,
        }
    }

    /// The preprocessing of a folder: what its `preprocessor_config.json` says, read as
    /// transformers' processors read it, and padded where that file or `config.json` says so.
    /// [`Preprocessor::new`] where the file is absent.
    ///
    /// # Errors
    /// A file that asks for what is not computed here, or for another size than the tower's.
    pub fn load(dir: &Path, config: &LlavaConfig) -> Result<Preprocessor, Error> {
        // As it is written: the default of an absent field is to pad, a published folder's is not.
        let written = json_file(&dir.join("config.json"))?;
        Preprocessor::load_tower(dir, config, written["image_aspect_ratio"] == "pad")
    }

    /// The preprocessing of a tower's own folder, padded where the model that it is part of says so.
    pub(crate) fn load_tower(
        dir: &Path,
        config: &LlavaConfig,
        pad: bool,
    ) -> Result<Preprocessor, Error> {
        match ProcessorFile::read(dir)? {
            Some(file) => file.preprocessor(config, pad),
            None => Ok(Preprocessor::new(config)),
        }
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
        // Truncated, as `int(x * 255)` in LLaVA.
        let pad = self.mean.map(|mean| (mean * 255.0) as u8);
        let resized = resample::square(image, to, self.fit, self.resample, pad)?;
        let mut bytes = vec![0; 3 * side * side];
        let (red, rest) = bytes.split_at_mut(side * side);
        let (green, blue) = rest.split_at_mut(side * side);
        let planes = red.iter_mut().zip(green).zip(blue);
        for (((red, green), blue), pixel) in planes.zip(resized.as_chunks::<3>().0) {
            [*red, *green, *blue] = *pixel;
        }
        Ok(Pixels { side, bytes })
    }

    /// Reads one file and makes it square.
    pub fn open(&self, path: &Path) -> Result<Pixels, Fault> {
        self.square(&sample::pixels::open_as_pil(path)?)
    }

    /// Reads many files on all cores; the results are in the files' order.
    pub fn open_all(&self, paths: &[PathBuf]) -> Vec<Result<Pixels, Fault>> {
        paths.par_iter().map(|path| self.open(path)).collect()
    }

    /// Normalised pixel values, [images, 3, side, side] in f32.
    pub fn normalise(&self, images: &[&Pixels], device: Device) -> Result<Tensor, Error> {
        let plane = self.side * self.side;
        let tables: [[f32; 256]; 3] = std::array::from_fn(|channel| {
            let (mean, std) = (self.mean[channel], self.std[channel]);
            std::array::from_fn(|value| ((value as f64 / 255.0 - mean) / std) as f32)
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
}
