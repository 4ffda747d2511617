//! A frozen tower's features, computed once per image.
//!
//! What a tower that is not trained makes of an image never changes, and an image is seen once or
//! more in every epoch. Features stay in memory as far as they fit, and on disk where the user wants
//! ([`Store`]).
//!
//! **Invariant:** an image's features are the same bits whether they are computed, remembered or
//! read, so that a resumed run, which has forgotten them, equals one that was never stopped. That is
//! why the tower is given one image at a time: in a batch, libtorch may sum in another order.

mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use sample::{pixels, sha256_hex};
use tch::Tensor;

use crate::Error;
use crate::data::Data;
use crate::packing::StepBatch;
pub use store::Store;

/// The features of a run's images.
pub struct Features {
    data: Arc<Data>,
    /// Of each image, its file's digest, once it was needed; `None` where it cannot be read.
    digests: Vec<OnceLock<Option<String>>>,
    held: Mutex<Held>,
    store: Option<Store>,
}

/// Features in memory. What is there stays: over epochs, anything else would be dropped just before
/// it is needed again.
struct Held {
    /// By image: [patches, width], in the CPU's memory.
    features: HashMap<usize, Tensor>,
    /// Bytes that may still be added.
    room: u64,
}

/// Where an image's features are.
pub(crate) enum Found {
    /// In memory, where they stay.
    Held,
    /// On disk, and read: [patches, width].
    Stored(Tensor),
    /// Nowhere.
    Absent,
}

impl Features {
    /// Of the images of `data`, with at most `memory_mib` of them in memory.
    pub fn new(data: Arc<Data>, memory_mib: u64, store: Option<Store>) -> Features {
        Features {
            digests: (0..data.images.len()).map(|_| OnceLock::new()).collect(),
            data,
            held: Mutex::new(Held {
                features: HashMap::new(),
                room: memory_mib << 20,
            }),
            store,
        }
    }

    /// The features of a step's images, [images, patches, width], in the CPU's memory.
    ///
    /// `compute` is the tower: pixels [1, 3, side, side] in the CPU's memory to features
    /// [1, patches, width] on any device; it runs on this thread, for each image whose features are
    /// not known yet. The result has no gradient.
    pub fn gather(
        &self,
        batch: &StepBatch,
        mut compute: impl FnMut(&Tensor) -> Result<Tensor, Error>,
    ) -> Result<Tensor, Error> {
        let mut all = Vec::with_capacity(batch.images.len());
        for (slot, &image) in batch.images.iter().enumerate() {
            let known = self.lock().features.get(&image).map(Tensor::shallow_clone);
            let features = match known {
                Some(features) => features,
                None => self.fetch(batch, slot, image, &mut compute)?,
            };
            all.push(features);
        }
        if all.is_empty() {
            return Err(Error::Data(format!(
                "step {} has no images, and so no features: its text needs none",
                batch.step
            )));
        }
        Ok(Tensor::f_stack(&all, 0)?)
    }

    fn fetch(
        &self,
        batch: &StepBatch,
        slot: usize,
        image: usize,
        compute: &mut impl FnMut(&Tensor) -> Result<Tensor, Error>,
    ) -> Result<Tensor, Error> {
        let row = |of: &[usize], tensor: &Option<Tensor>| {
            let at = of.iter().position(|&s| s == slot)?;
            tensor.as_ref().map(|t| t.f_narrow(0, at as i64, 1))
        };
        if let Some(stored) = row(&batch.features_of, &batch.features) {
            let stored = stored?.f_squeeze_dim(0)?;
            self.hold(image, &stored)?;
            return Ok(stored);
        }
        let Some(pixels) = row(&batch.pixels_of, &batch.pixels) else {
            return Err(Error::Data(format!(
                "the batch of step {} was made for another run: it has no pixels of {}",
                batch.step,
                self.data.images.file(image).display()
            )));
        };
        let pixels = pixels?;
        let features = tch::no_grad(|| compute(&pixels))?;
        let patches = self.data.layout.patches as i64;
        let size = features.size();
        if size.len() != 3 || size[..2] != [1, patches] {
            return Err(Error::Data(format!(
                "the tower gave features of {size:?} for an image of {patches} patches"
            )));
        }
        let features = features.f_detach()?.f_squeeze_dim(0)?;
        let kept = features.f_to_device(tch::Device::Cpu)?;
        self.hold(image, &kept)?;
        if let (Some(store), Some(digest)) = (&self.store, self.digest(image)) {
            store.write(digest, &kept)?;
        }
        Ok(kept)
    }

    /// Keeps features in memory if they fit.
    fn hold(&self, image: usize, features: &Tensor) -> Result<(), Error> {
        let bytes = (features.numel() * features.f_kind()?.elt_size_in_bytes()) as u64;
        let mut held = self.lock();
        if held.room >= bytes {
            held.room -= bytes;
            // A copy, so that what is held is no view of something larger.
            held.features.insert(image, features.f_detach_copy()?);
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where an image's features are; those on disk are read.
    pub(crate) fn find(&self, image: usize) -> Found {
        if self.lock().features.contains_key(&image) {
            return Found::Held;
        }
        let stored = self.store.as_ref().and_then(|store| {
            let digest = self.digest(image)?;
            store.read(digest, self.data.layout.patches)
        });
        stored.map_or(Found::Absent, Found::Stored)
    }

    /// SHA-256 of an image's file: the sample's word, or the file's own.
    fn digest(&self, image: usize) -> Option<&str> {
        let images = &self.data.images;
        let name = images.names().get(image)?;
        if !name.sha256.is_empty() {
            return Some(&name.sha256);
        }
        let own = self.digests.get(image)?.get_or_init(|| {
            let bytes = pixels::read_bytes(images.file(image)).ok()?;
            Some(sha256_hex(&bytes))
        });
        own.as_deref()
    }
}
