//! What a score rests on, by SHA-256: the questions, a model's files, the prompts.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use sample::{Error as SampleError, sha256_hex};
use serde_json::json;

use crate::{Error, Item};

/// The version of this toolkit, as scores name it.
pub fn code() -> String {
    format!("math-llava {}", env!("CARGO_PKG_VERSION"))
}

/// Of questions, answers and groups, in order. Pictures are not part of it: where they lie depends on
/// the machine, and scoring does not read them.
pub fn items(items: &[Item]) -> String {
    let mut all = String::new();
    for item in items {
        let extra: std::collections::BTreeMap<_, _> = item.extra.iter().collect();
        let row = json!([
            item.id,
            item.question,
            item.choices,
            item.answer,
            format!("{:?}", item.kind),
            item.unit,
            item.precision.map(|p| p.to_string()),
            item.groups,
        ]);
        all.push_str(&row.to_string());
        for (name, value) in extra {
            all.push_str(&json!([name, value]).to_string());
        }
        all.push('\n');
    }
    sha256_hex(all.as_bytes())
}

/// Bytes that are read of a long file's beginning, middle and end.
const SHARE: u64 = 1 << 20;

/// Of a folder's files, or of a file: name and size of each, the bytes of small ones, and of long ones
/// a mebibyte each of beginning (where safetensors keep their header), middle and end, so that tens of
/// gigabytes of weights take no minutes.
///
/// # Errors
/// Where something cannot be read.
pub fn folder(path: &Path) -> Result<String, Error> {
    let io = |e| SampleError::io(path, e);
    let mut files: Vec<PathBuf> = Vec::new();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(io)? {
            let file = entry.map_err(io)?.path();
            if file.is_file() {
                files.push(file);
            }
        }
    } else {
        files.push(path.to_owned());
    }
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let (size, digest) = shares(&file).map_err(|e| SampleError::io(&file, e))?;
        all.extend(json!([name, size, digest]).to_string().into_bytes());
    }
    Ok(sha256_hex(&all))
}

fn shares(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let starts = if size <= 3 * SHARE {
        vec![(0, size)]
    } else {
        vec![(0, SHARE), (size / 2, SHARE), (size - SHARE, SHARE)]
    };
    let mut bytes = Vec::new();
    for (start, length) in starts {
        file.seek(SeekFrom::Start(start))?;
        Read::by_ref(&mut file)
            .take(length)
            .read_to_end(&mut bytes)?;
    }
    Ok((size, sha256_hex(&bytes)))
}
