//! A folder's `preprocessor_config.json`, read as transformers' image processors read it.
//!
//! The class that a file names decides what its absent fields mean: CLIP's (which LLaVA, and
//! DINOv2's, share) scales the shorter side and cuts the middle out, SigLIP's and ViT's stretch the
//! whole image. LLaVA-1.5's own code pads to a square first, which a file says by `do_pad` and a
//! `config.json` by `image_aspect_ratio`.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Fit, Preprocessor, Resample};
use crate::tokenizer::special::json_file;
use crate::{Error, LlavaConfig};

/// What is done where a file does not say.
struct Defaults {
    mean: [f64; 3],
    std: [f64; 3],
    /// Whether the whole image is stretched.
    stretch: bool,
    resample: i64,
    size: u64,
    crop: u64,
}

impl Defaults {
    fn of(class: &str, tower: &str) -> Defaults {
        let clip = Defaults {
            mean: crate::CLIP_MEAN,
            std: crate::CLIP_STD,
            stretch: false,
            resample: 3,
            size: 224,
            crop: 224,
        };
        match class {
            _ if class.starts_with("Siglip")
                || (class.is_empty() && tower.starts_with("siglip")) =>
            {
                Defaults {
                    mean: [0.5; 3],
                    std: [0.5; 3],
                    stretch: true,
                    ..clip
                }
            }
            _ if class.starts_with("ViT") => Defaults {
                mean: [0.5; 3],
                std: [0.5; 3],
                stretch: true,
                resample: 2,
                ..clip
            },
            _ => clip,
        }
    }
}

/// A folder's `preprocessor_config.json`.
pub(super) struct ProcessorFile {
    path: PathBuf,
    value: Value,
}

impl ProcessorFile {
    /// `None` where the folder has none.
    pub fn read(dir: &Path) -> Result<Option<ProcessorFile>, Error> {
        let path = dir.join("preprocessor_config.json");
        match json_file(&path)? {
            Value::Null => Ok(None),
            value => Ok(Some(ProcessorFile { path, value })),
        }
    }

    fn wrong(&self, detail: impl ToString) -> Error {
        sample::Error::format(&self.path, detail).into()
    }

    fn flag(&self, name: &str, default: bool) -> bool {
        self.value[name].as_bool().unwrap_or(default)
    }

    /// How the folder's tower is shown an image.
    pub fn preprocessor(&self, config: &LlavaConfig, pad: bool) -> Result<Preprocessor, Error> {
        let text = |name: &str| self.value[name].as_str().unwrap_or_default();
        let class = match text("image_processor_type") {
            "" => text("feature_extractor_type"),
            class => class,
        };
        let tower = config.vision_config.as_ref();
        let model_type = tower.map_or("", |tower| tower.model_type.as_str());
        let defaults = Defaults::of(class, model_type);
        self.steps(defaults.stretch)?;
        let crop = self.flag("do_center_crop", !defaults.stretch);
        let pad = pad || self.flag("do_pad", false);
        let size = &self.value["size"];
        let fit = match (shortest(size), both(size)) {
            (Some(shortest), _) if !defaults.stretch => Sized::Shortest(shortest),
            (_, Some((height, width))) => Sized::Both(height, width),
            // One number means a square to processors that stretch.
            (Some(side), None) => Sized::Both(side, side),
            (None, None) if size.is_null() && defaults.stretch => {
                Sized::Both(defaults.size, defaults.size)
            }
            (None, None) if size.is_null() => Sized::Shortest(defaults.size),
            (None, None) => return Err(self.wrong(format!("size is {size}"))),
        };
        let cropped = match &self.value["crop_size"] {
            _ if !crop => None,
            Value::Null => Some(defaults.crop),
            value => match (value.as_u64(), both(value), shortest(value)) {
                (Some(side), ..) | (_, _, Some(side)) => Some(side),
                (_, Some((height, width)), _) if height == width => Some(height),
                _ => return Err(self.wrong(format!("crop_size is {value}: give one number"))),
            },
        };
        let (side, fit) = match (fit, cropped) {
            (Sized::Both(height, width), _) if height != width => {
                let detail = format!("size is {height}x{width}: towers take squares");
                return Err(self.wrong(detail));
            }
            (Sized::Both(side, _), None) => (side, Fit::Stretch),
            // A square image is as large as its shorter side; nothing is left to cut.
            (Sized::Shortest(side), None) if pad => (side, Fit::Pad),
            (Sized::Shortest(_), None) => {
                return Err(self
                    .wrong("asks for images that are not square: set do_center_crop, or do_pad"));
            }
            (Sized::Shortest(shortest), Some(side)) => (
                side,
                Fit::Crop {
                    shortest: self.side(shortest)?,
                },
            ),
            (Sized::Both(size, _), Some(side)) if size == side => (side, Fit::Stretch),
            (Sized::Both(size, _), Some(side)) => {
                let detail = format!("stretches to {size} and crops to {side}: set size alone");
                return Err(self.wrong(detail));
            }
        };
        let fit = match fit {
            Fit::Crop { shortest } if pad && shortest as u64 == side => Fit::Pad,
            Fit::Crop { shortest } if pad => {
                let detail = format!("pads, scales to {shortest} and crops to {side}");
                return Err(self.wrong(detail));
            }
            Fit::Stretch if pad => Fit::Pad,
            fit => fit,
        };
        if let Some(tower) = tower {
            let takes = u64::try_from(tower.image_size).unwrap_or(0);
            // DINOv2's positions are interpolated to the size that its file gives.
            if side != takes && !tower.model_type.starts_with("dinov2") {
                return Err(self.wrong(format!(
                    "gives images of {side} pixels a side, but config.json has image_size {takes}"
                )));
            }
        }
        let mut found = Preprocessor {
            side: self.side(side)?,
            mean: defaults.mean,
            std: defaults.std,
            fit,
            resample: self.resample(defaults.resample)?,
        };
        self.normalisation(&mut found)?;
        Ok(found)
    }

    /// Sides that no honest file has would be memory asked for.
    fn side(&self, side: u64) -> Result<usize, Error> {
        match usize::try_from(side) {
            Ok(side) if (1..=1 << 14).contains(&side) => Ok(side),
            _ => Err(self.wrong(format!("images of {side} pixels a side"))),
        }
    }

    /// Refuses what is not computed.
    fn steps(&self, stretch: bool) -> Result<(), Error> {
        let whole = if stretch {
            "a ViT sees the whole image, stretched to its square"
        } else {
            "a tower sees images of one size, scaled to values from 0 to 1"
        };
        if !self.flag("do_resize", true) || !self.flag("do_rescale", true) {
            return Err(self.wrong(format!(
                "asks for images that are not resized or not rescaled: {whole}"
            )));
        }
        let factor = &self.value["rescale_factor"];
        if let Some(factor) = factor.as_f64()
            && (factor * 255.0 - 1.0).abs() > 1e-6
        {
            return Err(self.wrong(format!("rescale_factor is {factor}, not 1/255")));
        }
        Ok(())
    }

    fn resample(&self, default: i64) -> Result<Resample, Error> {
        match self.value["resample"].as_i64().unwrap_or(default) {
            2 => Ok(Resample::Bilinear),
            3 => Ok(Resample::Bicubic),
            other => Err(self.wrong(format!(
                "resample is {other}: only 2 (bilinear) and 3 (bicubic) are computed"
            ))),
        }
    }

    fn normalisation(&self, to: &mut Preprocessor) -> Result<(), Error> {
        if !self.flag("do_normalize", true) {
            (to.mean, to.std) = ([0.0; 3], [1.0; 3]);
            return Ok(());
        }
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

    /// How a ViT that grades is shown an image.
    pub fn vit(&self, to: &mut Preprocessor) -> Result<(), Error> {
        if self.flag("do_center_crop", false) {
            return Err(self.wrong(
                "asks for images that are cropped: a ViT sees the whole image, stretched to its \
                 square",
            ));
        }
        self.steps(true)?;
        // Older files write one number for both sides.
        let size = &self.value["size"];
        let sides = match size {
            Value::Null => None,
            Value::Number(_) => Some([size, size]),
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
        to.resample = self.resample(2)?;
        self.normalisation(to)
    }
}

enum Sized {
    Shortest(u64),
    Both(u64, u64),
}

/// A size by its shorter side; one number is that too.
fn shortest(size: &Value) -> Option<u64> {
    size["shortest_edge"].as_u64().or_else(|| size.as_u64())
}

fn both(size: &Value) -> Option<(u64, u64)> {
    Some((size["height"].as_u64()?, size["width"].as_u64()?))
}
