//! Random numbers that depend on the run's seed and the record's name alone.
//!
//! **Invariant:** no stage draws from a generator shared between records. Each record gets its own,
//! derived here, so the same inputs give the same bytes whatever the order or thread count.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The generator for one record: `rng(run_seed, &["figures", "bar", "17"])`.
pub fn rng(seed: u64, name: &[&str]) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(digest(seed, name))
}

/// A number derived in the same way, where a seed is wanted rather than a generator.
pub fn derive(seed: u64, name: &[&str]) -> u64 {
    let d = digest(seed, name);
    u64::from_le_bytes([d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]])
}

fn digest(seed: u64, name: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    for part in name {
        // The length keeps ["ab", "c"] and ["a", "bc"] apart.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_apart_and_repeat() {
        assert_eq!(derive(1, &["a", "b"]), derive(1, &["a", "b"]));
        assert_ne!(derive(1, &["ab", "c"]), derive(1, &["a", "bc"]));
        assert_ne!(derive(1, &["a"]), derive(2, &["a"]));
    }
}
