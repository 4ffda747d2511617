//! What an import wants to know of an image file: its size by its header, and its digest. Found on the import's
//! own threads, or by workers that call [`ReadPicture`].

use std::path::Path;

use rayon::prelude::*;
use sample::{pixels, sha256_hex, workers::Function};
use serde::{Deserialize, Serialize};

use crate::adapters::Fault;

/// An image file's size and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Of its bytes, in hex.
    pub sha256: String,
}

impl Header {
    /// Of an image file's bytes.
    pub(crate) fn of(bytes: &[u8]) -> Result<Header, pixels::Fault> {
        let (width, height) = pixels::size(bytes)?;
        Ok(Header {
            width,
            height,
            sha256: sha256_hex(bytes),
        })
    }

    /// Of a file, which may lie in an archive.
    pub(crate) fn read(path: &Path) -> Result<Header, pixels::Fault> {
        Header::of(&pixels::read_bytes(path)?)
    }
}

/// The function `read_picture`: of each item, the path of an image file, its header or what is wrong with it.
pub struct ReadPicture;

/// What goes over the wire: the header, or the fault's word and the exact trouble.
type Found = Result<Header, (String, String)>;

impl Function for ReadPicture {
    fn name(&self) -> &'static str {
        "read_picture"
    }

    fn version(&self) -> u32 {
        1
    }

    fn call(&self, _: &str, items: &[&str]) -> Result<Vec<Vec<u8>>, String> {
        let found = items.par_iter().map(|path| {
            let found: Found = Header::read(Path::new(path))
                .map_err(|fault| (fault.reason().to_owned(), fault.to_string()));
            serde_json::to_vec(&found).map_err(|e| e.to_string())
        });
        found.collect()
    }
}

/// Reads what [`ReadPicture`] gave for the file that rows call `shown`.
pub(crate) fn found(result: &[u8], shown: &str) -> Result<Result<Header, Fault>, sample::Error> {
    let unreadable = |what: &str| sample::Error::Workers(format!("{shown}: {what}"));
    let found: Found = serde_json::from_slice(result).map_err(|e| unreadable(&e.to_string()))?;
    match found {
        Ok(header) => Ok(Ok(header)),
        Err((word, detail)) => match pixels::Fault::REASONS.iter().find(|known| **known == word) {
            Some(reason) => Ok(Err(Fault::new(reason, format!("{shown}: {detail}")))),
            None => Err(unreadable(&format!(
                "{word:?} is no reason that this version knows"
            ))),
        },
    }
}
