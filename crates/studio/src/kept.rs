//! What was read from files, kept while the files are as they were.
//!
//! Pages are about folders that other programs write at this moment. A value is known by the files it was
//! read from, with their lengths and the times of their last change, which are looked at on every request;
//! so a page shows what lies on disk now, and reads again only what has changed.
//!
//! **Invariant:** the files behind all kept values have no more than so many bytes together, and there are
//! no more than so many values; what was not asked for longest goes first.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::Error;

/// Bytes of the files that kept values were read from.
const MOST_BYTES: u64 = 256 << 20;
/// Values: those of a couple of thousand runs' manifests.
const MOST_VALUES: usize = 32_768;
/// What a value is taken to need beside its files' bytes.
const OVERHEAD: u64 = 1 << 10;

/// What a value was read from, as it was then; a file that is not there has neither length nor time.
type Stamp = Vec<Option<(u64, SystemTime)>>;

/// A value of one type, by its name.
type Key = (TypeId, String);

struct Entry {
    stamp: Stamp,
    value: Arc<dyn Any + Send + Sync>,
    bytes: u64,
    /// When it was last asked for, by the count of questions.
    asked: u64,
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<Key, Entry>,
    bytes: u64,
    questions: u64,
}

/// The kept values.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Entries>);

impl Kept {
    /// What `read` gives, from before where none of `files` has changed since. `name` tells values of one
    /// type apart; mostly it is the path.
    pub(crate) fn of<T: Send + Sync + 'static>(
        &self,
        name: &str,
        files: &[&Path],
        read: impl FnOnce() -> Result<T, Error>,
    ) -> Result<Arc<T>, Error> {
        let key = (TypeId::of::<T>(), name.to_owned());
        // Taken before reading: a change while it is read is seen the next time.
        let stamp: Stamp = files.iter().map(|file| stamp(file)).collect();
        if let Some(value) = self.known(&key, &stamp) {
            return Ok(value);
        }
        let value = Arc::new(read()?);
        let lengths = stamp.iter().flatten().map(|(length, _)| *length);
        let bytes = lengths.fold(OVERHEAD, u64::saturating_add);
        if bytes <= MOST_BYTES {
            self.keep(
                key,
                Entry {
                    stamp,
                    value: Arc::clone(&value) as Arc<dyn Any + Send + Sync>,
                    bytes,
                    asked: 0,
                },
            );
        }
        Ok(value)
    }

    fn known<T: Send + Sync + 'static>(&self, key: &Key, stamp: &Stamp) -> Option<Arc<T>> {
        let mut entries = self.entries();
        entries.questions += 1;
        let now = entries.questions;
        let entry = entries.by_key.get_mut(key).filter(|e| e.stamp == *stamp)?;
        entry.asked = now;
        Arc::clone(&entry.value).downcast().ok()
    }

    fn keep(&self, key: Key, mut entry: Entry) {
        let mut entries = self.entries();
        entry.asked = entries.questions;
        entries.bytes += entry.bytes;
        if let Some(before) = entries.by_key.insert(key, entry) {
            entries.bytes -= before.bytes;
        }
        while entries.bytes > MOST_BYTES || entries.by_key.len() > MOST_VALUES {
            let oldest = entries.by_key.iter().min_by_key(|(_, e)| e.asked);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else {
                break;
            };
            if let Some(gone) = entries.by_key.remove(&oldest) {
                entries.bytes -= gone.bytes;
            }
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        // Nothing is left half changed by a thread that dies here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(file: &Path) -> Option<(u64, SystemTime)> {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.len(), metadata.modified().ok()?))
}

/// Does work that reads files or takes long on a thread where it stops nobody.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(why) => Err(Error::Failed(format!(
            "the page's work ended early: {why}; try again"
        ))),
    }
}

/// A file's text, where it is there: what is longer than `most` bytes is an error, and bytes that are no
/// text are shown as such.
pub(crate) fn text(path: &Path, most: u64) -> Result<Option<String>, Error> {
    let length = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(sample::Error::io(path, e).into()),
    };
    if length > most {
        return Err(sample::Error::format(
            path,
            format!("{length} bytes, of which a page reads no more than {most}"),
        )
        .into());
    }
    let bytes = std::fs::read(path).map_err(|e| sample::Error::io(path, e))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Paths as [`Kept::of`] takes them.
pub(crate) fn borrowed(paths: &[PathBuf]) -> Vec<&Path> {
    paths.iter().map(PathBuf::as_path).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_value_is_read_once_and_again_when_its_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "1").unwrap();
        let kept = Kept::default();
        let reads = Cell::new(0);
        let look = || {
            let value = kept.of("a", &[&path], || {
                reads.set(reads.get() + 1);
                Ok(std::fs::read_to_string(&path).unwrap_or_default())
            });
            value.unwrap().as_str().to_owned()
        };
        assert_eq!((look(), look(), reads.get()), ("1".into(), "1".into(), 1));
        std::fs::write(&path, "22").unwrap();
        assert_eq!((look(), reads.get()), ("22".into(), 2));
        // Of the same length, and another time.
        std::fs::write(&path, "33").unwrap();
        let later = SystemTime::now() + Duration::from_secs(9);
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(later).unwrap();
        assert_eq!((look(), reads.get()), ("33".into(), 3));
        std::fs::remove_file(&path).unwrap();
        assert_eq!((look(), reads.get()), (String::new(), 4));
    }

    #[test]
    fn failures_are_not_kept_and_types_do_not_meet() {
        let kept = Kept::default();
        let none: Result<Arc<u8>, Error> = kept.of("a", &[], || Err(Error::Invalid("no".into())));
        assert!(none.is_err());
        assert_eq!(*kept.of("a", &[], || Ok(7u8)).unwrap(), 7);
        assert_eq!(*kept.of("a", &[], || Ok(9u16)).unwrap(), 9);
        assert_eq!(*kept.of("a", &[], || Ok(1u8)).unwrap(), 7);
    }

    #[test]
    fn what_was_not_asked_for_longest_goes_first_and_giants_are_not_kept() {
        let dir = tempfile::tempdir().unwrap();
        let holed = |name: &str, length: u64| {
            let path = dir.path().join(name);
            std::fs::File::create(&path)
                .unwrap()
                .set_len(length)
                .unwrap();
            path
        };
        let (a, b, c) = (
            holed("a", MOST_BYTES / 2),
            holed("b", MOST_BYTES / 3),
            holed("c", MOST_BYTES / 3),
        );
        let kept = Kept::default();
        let read = |path: &Path| {
            let fresh = Cell::new(false);
            let name = path.display().to_string();
            let value = kept.of(&name, &[path], || {
                fresh.set(true);
                Ok(0u8)
            });
            value.unwrap();
            fresh.get()
        };
        assert!(read(&a) && read(&b) && !read(&a));
        assert!(read(&c), "c takes the place of b");
        assert!(!read(&a) && read(&b));
        assert!(kept.entries().bytes <= MOST_BYTES);
        let giant = holed("giant", MOST_BYTES + 1);
        assert!(read(&giant) && read(&giant));
    }
}
