//! One thread cuts files into rows, in chunks, while the others say what the rows before mean.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};

use sample::{interrupt, progress};

use super::tables::Tables;
use crate::Error;
use crate::adapters::Part;
use crate::rows::{Row, rows};
use crate::tree::Tree;

/// How much is read together. Nothing that an import writes depends on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkSize {
    /// Rows.
    pub rows: usize,
    /// No more than about so many bytes of them.
    pub bytes: u64,
}

impl ChunkSize {
    /// For the threads of this process.
    pub const OWN: ChunkSize = ChunkSize {
        rows: 4096,
        bytes: 32 << 20,
    };
    /// For workers: longer, so that each chunk has work for many.
    pub const SHARED: ChunkSize = ChunkSize {
        rows: 65_536,
        bytes: 128 << 20,
    };
}

/// What the reading thread hands over.
enum Cut<'a> {
    Rows(&'a Part, Vec<Row>),
    /// The file stops being of its format after so many rows.
    Broken(&'a Part, PathBuf, u64, String),
}

/// Chunks that may wait for their turn.
const AHEAD: usize = 2;

/// One thread cuts the files into rows while the others say what the rows mean.
pub(super) fn read_parts(
    parts: &[Part],
    limit: Option<usize>,
    size: ChunkSize,
    tables: &mut Tables<'_>,
) -> Result<(), Error> {
    let tree = tables.tree;
    let sizes = parts.iter().flat_map(|p| p.rows.files());
    let bytes: u64 = sizes.map(|file| tree.size(file)).sum();
    let whole = progress::bar("import", bytes >> 10, "KB of rows");
    let bar = &whole;
    tables.left = limit.unwrap_or(usize::MAX);
    let limit = tables.left;
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel(AHEAD);
        let reader = scope.spawn(move || cut(tree, parts, limit, size, bar, &sender));
        let mut outcome = Ok(());
        for cut in &receiver {
            outcome = match cut {
                Cut::Rows(part, rows) => tables.add(part, &rows),
                Cut::Broken(part, path, rows, detail) => tables.broken(part, &path, rows, &detail),
            };
            if outcome.is_err() || tables.left == 0 {
                break;
            }
        }
        // The reader stops where nobody takes its rows any more.
        drop(receiver);
        match reader.join() {
            Ok(read) => outcome.and(read),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })?;
    whole.finish();
    Ok(())
}

/// Cuts the parts into rows, a chunk at a time.
fn cut<'a>(
    tree: &Tree,
    parts: &'a [Part],
    limit: usize,
    size: ChunkSize,
    bar: &progress::Bar,
    sender: &SyncSender<Cut<'a>>,
) -> Result<(), Error> {
    let mut seen_bytes = 0u64;
    for part in parts {
        let mut chunk: Vec<Row> = Vec::new();
        let (mut chunk_bytes, mut is_wanted) = (0, true);
        let outcome = rows(tree, part, &mut |row| {
            let before = seen_bytes >> 10;
            seen_bytes += row.bytes;
            chunk_bytes += row.bytes;
            bar.inc((seen_bytes >> 10) - before);
            chunk.push(row);
            // A row may hold no question of ours, or several, and a limit is of questions: the
            // receiver says when there are enough.
            if chunk.len() >= size.rows.min(limit) || chunk_bytes > size.bytes {
                interrupt::check()?;
                let full = std::mem::take(&mut chunk);
                is_wanted = sender.send(Cut::Rows(part, full)).is_ok();
                chunk_bytes = 0;
            }
            Ok(if is_wanted {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        });
        let broken = match outcome {
            Ok(()) => None,
            Err(Error::Broken { path, rows, detail }) if rows > 0 => {
                Some(Cut::Broken(part, path, rows, detail))
            }
            Err(other) => return Err(other),
        };
        let rest = std::iter::once(Cut::Rows(part, chunk)).chain(broken);
        if !is_wanted || !rest.into_iter().all(|cut| sender.send(cut).is_ok()) {
            return Ok(());
        }
    }
    Ok(())
}
