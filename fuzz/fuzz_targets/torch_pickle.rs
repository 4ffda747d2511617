//! Any bytes as the pickle of a PyTorch file with one storage, and as the whole file.
#![no_main]

use std::io::{Cursor, Write};

use libfuzzer_sys::fuzz_target;
use zip::write::SimpleFileOptions;

/// A zip as `torch.save` writes it, around any pickle.
fn file(pickle: &[u8]) -> Option<Vec<u8>> {
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in [("x/data.pkl", pickle), ("x/data/0", &[0x3f; 256][..])] {
        zip.start_file(name, stored).ok()?;
        zip.write_all(bytes).ok()?;
    }
    Some(zip.finish().ok()?.into_inner())
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(whole) = file(bytes) {
        fuzz::checkpoint(&[("pytorch_model.bin", &whole)]);
    }
    fuzz::checkpoint(&[("pytorch_model.bin", bytes)]);
});
