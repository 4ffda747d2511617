//! The images of a run: files, digests, and pixels where they are kept.
//!
//! An image is named by its index from here on. A tower that learns sees every image in every
//! epoch, so decoded images stay in memory as bytes up to a limit and are decoded again past it; of
//! a frozen tower the features are kept instead.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use model::{Pixels, Preprocessor};
use rayon::prelude::*;
use sample::pixels::Fault;
use tch::{Device, Tensor};

use super::ExampleImage;
use crate::Error;

/// The images of a run.
pub struct Images {
    files: Vec<PathBuf>,
    /// As examples write them, in the files' order.
    names: Vec<ExampleImage>,
    /// The first of the files, decoded.
    cached: Vec<Pixels>,
    preprocessor: Preprocessor,
}

impl Images {
    pub(super) fn new(preprocessor: Preprocessor) -> Images {
        Images {
            files: Vec::new(),
            names: Vec::new(),
            cached: Vec::new(),
            preprocessor,
        }
    }

    /// Adds an image; its pixels are kept where those of all before it are.
    pub(super) fn push(&mut self, file: PathBuf, name: ExampleImage, pixels: Option<Pixels>) {
        if self.cached.len() == self.files.len() {
            self.cached.extend(pixels);
        }
        self.files.push(file);
        self.names.push(name);
    }

    /// How images become pixels.
    pub fn preprocessor(&self) -> &Preprocessor {
        &self.preprocessor
    }

    /// An image as bytes, from memory or from its file.
    pub fn open(&self, index: usize) -> Result<Cow<'_, Pixels>, Fault> {
        match (self.cached.get(index), self.files.get(index)) {
            (Some(pixels), _) => Ok(Cow::Borrowed(pixels)),
            (None, Some(file)) => self.preprocessor.open(file).map(Cow::Owned),
            (None, None) => Err(Fault::Missing),
        }
    }

    /// The pixels of some images as the model takes them: `[images, 3, side, side]`.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn pixels(&self, indices: &[usize], device: Device) -> Result<Tensor, Error> {
        let opened: Vec<Cow<'_, Pixels>> = indices
            .par_iter()
            .map(|&index| {
                self.open(index).map_err(|fault| {
                    Error::Model(model::Error::Image {
                        path: self.file(index).to_owned(),
                        fault,
                    })
                })
            })
            .collect::<Result<_, Error>>()?;
        let pixels: Vec<&Pixels> = opened.iter().map(Cow::as_ref).collect();
        Ok(self.preprocessor.normalise(&pixels, device)?)
    }

    /// The file of an image; empty for an index past the last.
    pub fn file(&self, index: usize) -> &Path {
        self.files
            .get(index)
            .map_or(Path::new(""), PathBuf::as_path)
    }

    /// The images as examples name them, in order.
    pub fn names(&self) -> &[ExampleImage] {
        &self.names
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
}
