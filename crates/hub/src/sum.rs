//! Checksums as the hub states them.
//!
//! A large file (git LFS, Xet) is known by the SHA-256 of its bytes; a small one, which git itself
//! holds, by the SHA-1 of git's blob object: `blob`, a space, the length in decimal, a zero byte, and
//! the bytes. Either also names the file in the shared cache.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::Error;

/// A checksum in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sum {
    /// 64 digits.
    Sha256(String),
    /// 40 digits.
    GitBlob(String),
}

impl Sum {
    /// Reads 64 or 40 hex digits; as an `ETag` they may stand in quotes, after `W/`.
    pub(crate) fn parse(text: &str) -> Option<Sum> {
        let text = text.trim();
        let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
        let hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let lower = text.to_ascii_lowercase();
        match text.len() {
            64 if hex => Some(Sum::Sha256(lower)),
            40 if hex => Some(Sum::GitBlob(lower)),
            _ => None,
        }
    }

    /// The digits.
    pub fn hex(&self) -> &str {
        match self {
            Sum::Sha256(hex) | Sum::GitBlob(hex) => hex,
        }
    }

    /// A count of bytes from which the same kind of sum comes out. `size` is the whole file's.
    pub(crate) fn hasher(&self, size: u64) -> Hasher {
        match self {
            Sum::Sha256(_) => Hasher::Sha256(Sha256::new()),
            Sum::GitBlob(_) => {
                let mut state = Sha1::new();
                state.update(format!("blob {size}\0"));
                Hasher::GitBlob(state)
            }
        }
    }

    /// Whether the file at `path`, of `size` bytes, has this sum. `seen` hears how many bytes were
    /// read, block by block.
    pub(crate) fn is_of(&self, path: &Path, size: u64, seen: &dyn Fn(u64)) -> Result<bool, Error> {
        let io = |e| Error::io(path, e);
        let mut file = File::open(path).map_err(io)?;
        let mut hasher = self.hasher(size);
        hasher.read(&mut file, seen).map_err(|e| match e {
            Reading::Io(e) => io(e),
            Reading::Stopped(e) => e.into(),
        })?;
        Ok(hasher.finish() == *self)
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hex())
    }
}

/// A sum in the making.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(Sha256),
    GitBlob(Sha1),
}

/// Why a file was not read to its end.
pub(crate) enum Reading {
    Io(std::io::Error),
    Stopped(sample::Error),
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Hasher::Sha256(state) => state.update(bytes),
            Hasher::GitBlob(state) => state.update(bytes),
        }
    }

    /// Takes in all that is left of `file`; stops where a stop was asked for.
    pub(crate) fn read(&mut self, file: &mut File, seen: &dyn Fn(u64)) -> Result<u64, Reading> {
        let mut block = vec![0; 1 << 20];
        let mut total = 0;
        loop {
            sample::interrupt::check().map_err(Reading::Stopped)?;
            let read = file.read(&mut block).map_err(Reading::Io)?;
            if read == 0 {
                return Ok(total);
            }
            self.update(&block[..read]);
            total += read as u64;
            seen(read as u64);
        }
    }

    pub(crate) fn finish(self) -> Sum {
        let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Hasher::Sha256(state) => Sum::Sha256(hex(&state.finalize())),
            Hasher::GitBlob(state) => Sum::GitBlob(hex(&state.finalize())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_git_and_of_sha256sum() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, "hello\n").unwrap();
        // printf 'hello\n' | git hash-object --stdin; printf 'hello\n' | sha256sum
        let blob = "ce013625030ba8dba906f756967f9e9ca394464a";
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        for hex in [blob, sha256] {
            let sum = Sum::parse(hex).unwrap();
            assert!(sum.is_of(&file, 6, &|_| ()).unwrap(), "{hex}");
            assert_eq!(Sum::parse(&format!("W/\"{hex}\"")), Some(sum.clone()));
            std::fs::write(folder.path().join("b"), "hellO\n").unwrap();
            assert!(!sum.is_of(&folder.path().join("b"), 6, &|_| ()).unwrap());
        }
        for text in ["", "\"\"", "5891", &"g".repeat(40), &"a".repeat(41)] {
            assert_eq!(Sum::parse(text), None, "{text}");
        }
    }
}
