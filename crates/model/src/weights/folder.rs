//! Which files hold a folder's weights.
//!
//! One file, or shards that an index names; safetensors where they are, else PyTorch's pickles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::TensorFile;
use super::safetensors::SafetensorsFile;
use super::torch_file::TorchFile;
use crate::Error;

/// An index of a model with a hundred thousand tensors is 10 MB.
const MAX_INDEX_BYTES: u64 = 256 << 20;

/// The names under which Hugging Face's code keeps weights, the preferred first.
const NAMES: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];

/// The files of a folder's weights, in order.
///
/// # Errors
/// A folder without weights; an index that names files that are not there or lie elsewhere.
pub(crate) fn weight_files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    for name in NAMES {
        let single = dir.join(name);
        if single.is_file() {
            return Ok(vec![single]);
        }
        let index = dir.join(format!("{name}.index.json"));
        if index.is_file() {
            return shards(dir, &index);
        }
    }
    Err(Error::Weights {
        path: dir.to_owned(),
        detail: "has neither model.safetensors nor pytorch_model.bin, nor an index of either"
            .into(),
    })
}

/// Opens one file, by what its name says it is.
pub(crate) fn open(path: &Path) -> Result<Box<dyn TensorFile>, Error> {
    let extension = path.extension().and_then(|e| e.to_str());
    Ok(match extension {
        Some("bin" | "pt" | "pth") => Box::new(TorchFile::open(path)?),
        _ => Box::new(SafetensorsFile::open(path)?),
    })
}

fn shards(dir: &Path, index: &Path) -> Result<Vec<PathBuf>, Error> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let io = |e| sample::Error::io(index, e);
    let bytes = std::fs::metadata(index).map_err(io)?.len();
    if bytes > MAX_INDEX_BYTES {
        let detail = format!("{bytes} bytes: not an index of weights");
        return Err(sample::Error::format(index, detail).into());
    }
    let text = std::fs::read_to_string(index).map_err(io)?;
    let parsed: Index = serde_json::from_str(&text).map_err(|e| sample::Error::format(index, e))?;
    let shards: BTreeSet<&String> = parsed.weight_map.values().collect();
    if shards.is_empty() {
        return Err(Error::Weights {
            path: index.to_owned(),
            detail: "names no shard: fetch or write it again".into(),
        });
    }
    shards
        .into_iter()
        .map(|name| {
            let path = below(dir, name)?;
            if path.is_file() {
                Ok(path)
            } else {
                Err(Error::Weights {
                    path: index.to_owned(),
                    detail: format!("names the shard {name}, which is not in the folder"),
                })
            }
        })
        .collect()
}

/// A path that an index names. It must not climb out of the folder; a link in the folder is
/// followed, because the hub's cache is made of links to one store.
fn below(dir: &Path, name: &str) -> Result<PathBuf, Error> {
    let plain = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !plain || name.is_empty() || name.contains(['\0', '\\']) {
        return Err(sample::Error::OutsideRoot {
            root: dir.to_owned(),
            path: name.to_owned(),
        }
        .into());
    }
    Ok(dir.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_cannot_name_files_elsewhere_but_links_are_followed() {
        let root = tempfile::tempdir().unwrap();
        let (store, dir) = (root.path().join("blobs"), root.path().join("snapshot"));
        std::fs::create_dir_all(&store).unwrap();
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(store.join("abc"), [0; 16]).unwrap();
        let index = dir.join("model.safetensors.index.json");
        let name_shard = |name: &str| {
            let text = serde_json::json!({"weight_map": {"t": name}}).to_string();
            std::fs::write(&index, text).unwrap();
            weight_files(&dir)
        };
        for outside in [
            "../blobs/abc",
            "/etc/hostname",
            "a/../../blobs/abc",
            "",
            "..",
            "a\\b",
        ] {
            assert!(name_shard(outside).is_err(), "{outside}");
        }
        let absent = name_shard("gone.safetensors").unwrap_err().to_string();
        assert!(
            absent.contains("names the shard gone.safetensors"),
            "{absent}"
        );
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("../blobs/abc", dir.join("a.safetensors")).unwrap();
            assert_eq!(
                name_shard("a.safetensors").unwrap(),
                [dir.join("a.safetensors")]
            );
        }
        std::fs::write(&index, "{\"weight_map\": {}}").unwrap();
        assert!(
            weight_files(&dir)
                .unwrap_err()
                .to_string()
                .contains("names no shard")
        );
    }
}
