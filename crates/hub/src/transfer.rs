//! One file's bytes: from where a try before ended, to the sum that the repository states.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sample::{interrupt, progress};
use ureq::http::HeaderMap;
use url::Url;

use crate::client::{Client, Range};
use crate::place::make_parent;
use crate::retry::{Fault, persist};
use crate::sum::{Hasher, Reading};
use crate::{Error, RemoteFile, Repository};

/// The most that is asked for at once: some stores send nothing larger than 50 GB in one answer.
const MOST_AT_ONCE: u64 = 8 << 30;
/// Bytes read from the network before they are written.
const BLOCK: usize = 256 << 10;

/// What one transfer needs to know.
pub(crate) struct Transfer<'a> {
    pub client: &'a Client,
    pub repository: &'a Repository,
    pub commit: &'a str,
    pub file: &'a RemoteFile,
    /// Hears of every byte that came.
    pub came: &'a dyn Fn(u64),
}

impl Transfer<'_> {
    /// Fills the file at `partial`, checks it and syncs it. What does not match is fetched once more
    /// from the start, and then given up.
    pub(crate) fn run(&self, partial: &Path) -> Result<(), Error> {
        let Transfer {
            client,
            repository,
            commit,
            file,
            ..
        } = self;
        let url = client.file(repository, commit, &file.path)?;
        let mut so_far = Partial::open(partial, file)?;
        for second in [false, true] {
            persist(client.patience(), &file.path, || {
                self.advance(&url, &mut so_far)
            })?;
            let found = so_far.hasher.clone().finish();
            if found == file.sum {
                return so_far.file.sync_all().map_err(|e| so_far.io(e));
            }
            so_far.clear()?;
            if second {
                // Empty by now; what stays of it would only be in the way.
                let _ = std::fs::remove_file(partial);
                return Err(Error::Checksum {
                    file: file.path.clone(),
                    expected: file.sum.to_string(),
                    found: found.to_string(),
                });
            }
            progress::note(&format!(
                "{}: its checksum is {found}, the repository states {}; removed, and fetched once \
                 more",
                file.path, file.sum
            ));
        }
        Ok(())
    }

    /// Asks for what is missing, and takes in what comes.
    fn advance(&self, url: &Url, so_far: &mut Partial) -> Result<(), Fault> {
        let start = so_far.length;
        self.receive(url, so_far).map_err(|fault| match fault {
            Fault::Passing { detail, wait, .. } => Fault::Passing {
                detail,
                wait,
                gained: so_far.length > start,
            },
            last => last,
        })
    }

    fn receive(&self, url: &Url, so_far: &mut Partial) -> Result<(), Fault> {
        let size = self.file.size;
        let mut block = vec![0; BLOCK];
        while so_far.length < size {
            let first = so_far.length;
            let last = (size - 1).min(first.saturating_add(MOST_AT_ONCE - 1));
            let range = (first > 0 || last < size - 1).then_some(Range {
                first,
                last: (last < size - 1).then_some(last),
            });
            let mut response = self
                .client
                .get(self.repository, url, &self.file.path, range)?;
            let headers = response.headers();
            let mut end = last + 1;
            match response.status().as_u16() {
                206 => {
                    let (from, total) = content_range(headers).ok_or_else(|| {
                        Fault::passing("a part of the file came without its place")
                    })?;
                    if from != first || total.is_some_and(|total| total != size) {
                        return Err(Fault::passing(format!(
                            "asked from byte {first} of {size}, it came from {from} of {total:?}"
                        )));
                    }
                }
                200 => {
                    // The whole file, whatever was asked for.
                    if first > 0 {
                        so_far.clear()?;
                    }
                    end = size;
                    let length = header(headers, "content-length");
                    if let Some(length) = length.filter(|length| *length != size) {
                        return Err(Fault::passing(format!(
                            "{length} bytes are announced, the repository states {size}"
                        )));
                    }
                }
                _ => {
                    so_far.clear()?;
                    return Err(Fault::passing("the server has no such range"));
                }
            }
            let mut reader = response.body_mut().as_reader();
            loop {
                interrupt::check()?;
                let read = reader.read(&mut block).map_err(|e| {
                    Fault::passing(format!("broke off after {} bytes: {e}", so_far.length))
                })?;
                if read == 0 {
                    break;
                }
                if so_far.length + read as u64 > end {
                    so_far.clear()?;
                    return Err(Fault::passing("more bytes came than the file has"));
                }
                so_far.append(&block[..read])?;
                (self.came)(read as u64);
            }
            if so_far.length < end {
                return Err(Fault::passing(format!(
                    "broke off after {} of {size} bytes",
                    so_far.length
                )));
            }
        }
        Ok(())
    }
}

/// A file that is not finished, and the sum of what it holds.
struct Partial {
    path: PathBuf,
    file: File,
    /// Of an empty file.
    fresh: Hasher,
    hasher: Hasher,
    length: u64,
}

impl Partial {
    /// Opens what a try before left, and sums it up again.
    fn open(path: &Path, file: &RemoteFile) -> Result<Partial, Error> {
        make_parent(path)?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let fresh = file.sum.hasher(file.size);
        let mut partial = Partial {
            path: path.to_owned(),
            file: options.open(path).map_err(|e| Error::io(path, e))?,
            hasher: fresh.clone(),
            fresh,
            length: 0,
        };
        let there = partial.file.metadata().map_err(|e| partial.io(e))?.len();
        if there > file.size {
            partial.clear()?;
            return Ok(partial);
        }
        let read = partial.hasher.read(&mut partial.file, &|_| ());
        partial.length = read.map_err(|e| match e {
            Reading::Io(e) => Error::io(path, e),
            Reading::Stopped(e) => e.into(),
        })?;
        Ok(partial)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|e| self.io(e))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(|e| self.io(e))?;
        self.file.seek(SeekFrom::Start(0)).map_err(|e| self.io(e))?;
        self.hasher = self.fresh.clone();
        self.length = 0;
        Ok(())
    }

    fn io(&self, error: std::io::Error) -> Error {
        Error::io(&self.path, error)
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// `bytes 5-9/10`: the first byte, and how many there are in all where that is told.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get("content-range")?.to_str().ok()?;
    let (place, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    let (first, _) = place.split_once('-')?;
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    Some((first.trim().parse().ok()?, total))
}
