//! Features on disk: one safetensors file per image.
//!
//! A file is named by the digest of the tower and of the image's bytes, so that runs share a folder
//! and nothing in it is ever out of date. One file per image and not a few large ones: at 576 patches
//! a file has a megabyte or more, so even 40,000 of them (47 GB in bf16 for ViT-L/14-336) are no
//! burden on a file system, writing one is atomic by renaming, and there is no index that a kill
//! could leave behind its data. A file whose checksum is wrong counts as absent and is written anew.
//! Folders by the first two digits keep listings short.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use sample::{progress, sha256_hex, write_atomic};
use tch::{Kind, Tensor};

use crate::Error;

/// The tensor's name in its file.
const NAME: &str = "features";
/// Holds the SHA-256 of the tensor's bytes.
const CHECKSUM: &str = "sha256";
/// Files that wait to be written; each is about a megabyte.
const WAITING: usize = 16;

/// A folder of features, and the thread that writes to it.
pub struct Store {
    folder: PathBuf,
    tower: String,
    writer: Option<SyncSender<(PathBuf, Vec<u8>)>>,
    thread: Option<JoinHandle<()>>,
}

impl Store {
    /// A store below `folder`, which is made where it is absent, of what the tower named `tower`
    /// sees: a digest of its weights, the layer that is read, the preprocessing and the number type.
    /// Once the folder's files have `most_bytes` no more are added.
    ///
    /// # Errors
    /// A folder that cannot be made or listed.
    pub fn open(folder: &Path, tower: &str, most_bytes: u64) -> Result<Store, Error> {
        std::fs::create_dir_all(folder).map_err(|e| sample::Error::io(folder, e))?;
        let mut used = bytes_below(folder)?;
        let (writer, waiting) = sync_channel::<(PathBuf, Vec<u8>)>(WAITING);
        let thread = std::thread::Builder::new()
            .name("features".to_owned())
            .spawn(move || {
                let mut failed = false;
                for (path, bytes) in waiting {
                    // What is there already is broken, or was written since it was looked for.
                    let before = std::fs::metadata(&path).map_or(0, |meta| meta.len());
                    let after = used.saturating_sub(before) + bytes.len() as u64;
                    if failed || after > most_bytes {
                        continue;
                    }
                    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
                    let made = made.map_err(|e| sample::Error::io(&path, e));
                    if let Err(error) = made.and_then(|()| write_atomic(&path, &bytes)) {
                        // They are a saving, not a result: training goes on without.
                        progress::note(&format!("features are no longer kept on disk: {error}"));
                        failed = true;
                        continue;
                    }
                    used = after;
                }
            })
            .map_err(|e| Error::Data(format!("no thread could be started for features: {e}")))?;
        Ok(Store {
            folder: folder.to_owned(),
            tower: tower.to_owned(),
            writer: Some(writer),
            thread: Some(thread),
        })
    }

    /// The file of an image's features. Digests come from data and are hashed, never a path.
    pub fn path(&self, image_sha256: &str) -> PathBuf {
        let key = sha256_hex(format!("{}\n{image_sha256}", self.tower).as_bytes());
        let (first, _) = key.split_at(2);
        self.folder.join(first).join(format!("{key}.safetensors"))
    }

    /// An image's features [patches, width]; `None` where they are not there or not whole.
    pub fn read(&self, image_sha256: &str, patches: usize) -> Option<Tensor> {
        let bytes = std::fs::read(self.path(image_sha256)).ok()?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).ok()?;
        let file = SafeTensors::deserialize(&bytes).ok()?;
        let view = file.tensor(NAME).ok()?;
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::BF16 => Kind::BFloat16,
            _ => return None,
        };
        let shape: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        let checksum = metadata.metadata().as_ref()?.get(CHECKSUM)?;
        let fits = shape.len() == 2 && shape[0] == patches as i64;
        if !fits || *checksum != sha256_hex(view.data()) {
            return None;
        }
        Tensor::f_from_data_size(view.data(), &shape, kind).ok()
    }

    /// Has an image's features written, soon; `features` is [patches, width] in the CPU's memory.
    pub fn write(&self, image_sha256: &str, features: &Tensor) -> Result<(), Error> {
        let kind = features.f_kind()?;
        let dtype = match kind {
            Kind::BFloat16 => Dtype::BF16,
            Kind::Float => Dtype::F32,
            // No exact form on disk; they are computed again.
            _ => return Ok(()),
        };
        let (features, count) = (features.f_contiguous()?, features.numel());
        let mut data = vec![0u8; count * kind.elt_size_in_bytes()];
        features.f_copy_data_u8(&mut data, count)?;
        let shape = features.size().iter().map(|&n| n as usize).collect();
        let checksum = HashMap::from([(CHECKSUM.to_owned(), sha256_hex(&data))]);
        let bytes = TensorView::new(dtype, shape, &data)
            .and_then(|view| safetensors::serialize([(NAME, view)], Some(checksum)))
            .map_err(|e| Error::Data(format!("features cannot be written: {e}")))?;
        if let Some(writer) = &self.writer {
            // The writer outlives this; it stops writing, not receiving.
            let _ = writer.send((self.path(image_sha256), bytes));
        }
        Ok(())
    }
}

impl Drop for Store {
    /// Waits until what was given is written.
    fn drop(&mut self) {
        self.writer = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Bytes of the files two folders deep.
fn bytes_below(folder: &Path) -> Result<u64, sample::Error> {
    let list = |folder: &Path| -> Result<Vec<std::fs::DirEntry>, sample::Error> {
        let listed = std::fs::read_dir(folder).and_then(Iterator::collect);
        listed.map_err(|e| sample::Error::io(folder, e))
    };
    let mut sum = 0u64;
    for entry in list(folder)? {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            for file in list(&entry.path())? {
                // A file that another run has just renamed is gone.
                sum = sum.saturating_add(file.metadata().map_or(0, |meta| meta.len()));
            }
        }
    }
    Ok(sum)
}
