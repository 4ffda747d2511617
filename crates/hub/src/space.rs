//! How much room a disk has, and sizes as people read them.

use std::path::Path;

/// Bytes free for this user where `path` is or will be; `None` where that cannot be known.
pub(crate) fn free(path: &Path) -> Option<u64> {
    let there = path.ancestors().find(|folder| folder.exists());
    let there = match there {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    free_at(there)
}

#[cfg(unix)]
fn free_at(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    disk.f_bavail.checked_mul(disk.f_frsize)
}

#[cfg(not(unix))]
fn free_at(_: &Path) -> Option<u64> {
    None
}

/// `13.5 GB`, in powers of a thousand, as the hub's pages show sizes.
pub fn human_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB", "PB"] {
        if value < 999.95 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_on_the_hubs_pages() {
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (999_949, "999.9 kB"),
            (999_951, "1.0 MB"),
            (13_500_000_000, "13.5 GB"),
        ];
        for (bytes, shown) in cases {
            assert_eq!(human_bytes(bytes), shown);
        }
        assert!(human_bytes(u64::MAX).ends_with(" PB"));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_is_not_there_yet_has_the_room_of_the_one_above() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("not/there/yet");
        assert!(free(&below).is_some_and(|bytes| bytes > 0));
        assert!(free(Path::new("not-there-either")).is_some());
    }
}
