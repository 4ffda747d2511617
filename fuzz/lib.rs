//! What the fuzz targets share: a folder with one file of the given bytes, read as a data set's.

mod checkpoint;

pub use checkpoint::checkpoint;

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sources::adapters::{Part, Raw};
use sources::rows::{Rows, rows};
use sources::tree::Tree;

thread_local! {
    static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Calls `look` with a folder that holds `bytes` as a file with this ending, and its name. The name
/// is another each time, since archives that were opened are remembered by their path.
pub fn with_file(bytes: &[u8], ending: &str, look: impl FnOnce(&Path, &str)) {
    let folder: PathBuf = FOLDER.with_borrow_mut(|folder| {
        let folder = folder.get_or_insert_with(|| tempfile::tempdir().expect("a temporary folder"));
        folder.path().to_owned()
    });
    let name = COUNT.with(|count| {
        count.set(count.get() + 1);
        format!("{}.{ending}", count.get())
    });
    let path = folder.join(&name);
    std::fs::write(&path, bytes).expect("a writable folder");
    look(&folder, &name);
    let _ = std::fs::remove_file(path);
}

/// Reads the rows of the bytes, gives each to all adapters, and counts them.
pub fn read_rows(bytes: &[u8], ending: &str, form: impl FnOnce(String) -> Rows) -> u64 {
    let mut count = 0;
    with_file(bytes, ending, |folder, name| {
        let Ok(tree) = Tree::open(folder) else {
            return;
        };
        let part = Part::new("train", "", form(name.to_owned()), "");
        let _ = rows(&tree, &part, &mut |row| {
            count += 1;
            if let Ok(text) = &row.text {
                understand(&part, &row.key, text, row.image.as_deref());
            }
            Ok(ControlFlow::Continue(()))
        });
    });
    count
}

/// What all adapters make of a row; a record must be fit for the tables.
pub fn understand(part: &Part, key: &str, text: &str, image: Option<&[u8]>) {
    for source in sources::SOURCES {
        let raw = Raw {
            key,
            text,
            joined: Some(text),
            image,
        };
        for record in source.records(part, &raw).into_iter().flatten() {
            if let sample::Answer::Choice(at) = record.answer {
                assert!(at < record.choices.len(), "{}: {text}", source.about().name);
            }
        }
    }
}
