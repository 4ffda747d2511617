//! Any bytes as a GGUF file. The small ones under `crates/model/tests/golden/gguf_files` are good
//! seeds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use model::gguf::GgufFile;

fuzz_target!(|bytes: &[u8]| {
    fuzz::with_file(bytes, "gguf", |folder, name| {
        let Ok(file) = GgufFile::open(&folder.join(name)) else {
            return;
        };
        let _ = (file.config(), file.tokenizer(), file.chat_template());
        for name in file.names() {
            if let Ok(tensor) = file.tensor(name) {
                // The smallest type takes four bits and a share of a scale.
                assert!(tensor.numel() <= bytes.len() * 2);
            }
        }
    });
});
