//! What will be fetched, known before the first byte of it, and the fetching.

use std::collections::HashSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use sample::progress;

use crate::client::Client;
use crate::place::Place;
use crate::selection::{choose, is_weights};
use crate::space::{free, human_bytes};
use crate::transfer::Transfer;
use crate::{Destination, Error, RemoteFile, RepoKind, Repository, Settings, listing};

/// Which files of which repository, and where to.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The repository.
    pub repository: Repository,
    /// Where the files go.
    pub destination: Destination,
    /// Patterns that replace the default choice.
    pub include: Vec<String>,
    /// Patterns of files to leave out.
    pub exclude: Vec<String>,
}

/// How much of a file is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// All of it, and its checksum is right.
    Complete,
    /// So many bytes, to go on from.
    Partial(u64),
    /// Nothing.
    Absent,
}

/// A file of the plan.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The file.
    pub file: RemoteFile,
    /// How much of it is here.
    pub presence: Presence,
}

/// What will be fetched.
pub struct Plan {
    /// The files chosen.
    pub entries: Vec<Entry>,
    /// Names and, where listed, sizes of the files left out.
    pub left_out: Vec<(String, Option<u64>)>,
    /// The commit that the revision means, 40 hex digits.
    pub commit: String,
    repository: Repository,
    place: Place,
    client: Client,
    by_default: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The folder with the files, to be given to other programs.
    pub folder: PathBuf,
    /// How many files there are.
    pub files: usize,
    /// How many bytes came over the network.
    pub received: u64,
}

/// Asks what there is, chooses, and looks at what is already here.
///
/// # Errors
/// Whatever keeps the listing from coming, [`Error::Asked`] where nothing is chosen, and
/// [`Error::Answer`] for a chosen file whose name leads out of the folder.
pub fn plan(settings: &Settings, wanted: &Wanted) -> Result<Plan, Error> {
    let repository = &wanted.repository;
    let client = Client::new(settings)?;
    let listing = listing::list(&client, repository)?;
    let (taken, left) = choose(
        repository.kind(),
        &listing.files,
        &wanted.include,
        &wanted.exclude,
    )?;
    let left_out: Vec<(String, Option<u64>)> = left
        .iter()
        .map(|&at| (printable(&listing.files[at].path), listing.files[at].size))
        .collect();
    if taken.is_empty() {
        return Err(nothing_chosen(repository, &left_out));
    }
    let place = Place::new(settings, repository, &listing.commit, &wanted.destination);
    let mut files = Vec::with_capacity(taken.len());
    for at in taken {
        let listed = &listing.files[at];
        files.push(listing::complete(
            &client,
            repository,
            &listing.commit,
            listed,
        )?);
    }
    let all = files
        .iter()
        .try_fold(0_u64, |sum, f| sum.checked_add(f.size));
    if all.is_none() {
        return Err(Error::Answer(format!(
            "the files of {repository} are longer together than any disk"
        )));
    }
    Ok(Plan {
        entries: look(&place, files)?,
        left_out,
        commit: listing.commit,
        repository: repository.clone(),
        place,
        client,
        by_default: wanted.include.is_empty(),
    })
}

/// A name that nobody checked, without what a terminal would obey.
fn printable(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn nothing_chosen(repository: &Repository, there: &[(String, Option<u64>)]) -> Error {
    let shown: Vec<&str> = there
        .iter()
        .take(12)
        .map(|(path, _)| path.as_str())
        .collect();
    let more = there.len().saturating_sub(shown.len());
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Error::Asked(if there.is_empty() {
        format!("{repository} holds no files")
    } else {
        format!(
            "nothing of {repository} is chosen; it holds {}{more}. --include '*' takes all",
            shown.join(", ")
        )
    })
}

/// How much of each file is here. Whole files are read, to be sure of them.
fn look(place: &Place, files: Vec<RemoteFile>) -> Result<Vec<Entry>, Error> {
    let mut stored = Vec::with_capacity(files.len());
    for file in &files {
        stored.push(place.stored(file)?);
    }
    let length = |path: &Path| std::fs::metadata(path).map(|data| data.len()).ok();
    let whole = |at: usize| length(&stored[at]) == Some(files[at].size);
    let to_check: u64 = (0..files.len())
        .filter(|&at| whole(at))
        .map(|at| files[at].size)
        .sum();
    let meter = Meter::new("check", to_check);
    let mut entries = Vec::with_capacity(files.len());
    for (at, file) in files.iter().enumerate() {
        let right = whole(at) && file.sum.is_of(&stored[at], file.size, &|n| meter.add(n))?;
        let presence = if right {
            Presence::Complete
        } else {
            match length(&place.partial(file)) {
                Some(bytes) if bytes > 0 && bytes <= file.size => Presence::Partial(bytes),
                _ => Presence::Absent,
            }
        };
        entries.push(Entry {
            file: file.clone(),
            presence,
        });
    }
    meter.finish();
    Ok(entries)
}

impl Plan {
    /// The folder that will hold the files.
    pub fn folder(&self) -> PathBuf {
        self.place.folder()
    }

    /// Bytes of all files chosen.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.file.size).sum()
    }

    /// Bytes that are not here. What two names share counts once in the cache.
    pub fn missing(&self) -> u64 {
        let mut seen = HashSet::new();
        let shared = matches!(self.place, Place::Cache { .. });
        self.entries
            .iter()
            .filter(|entry| !shared || seen.insert(entry.file.sum.hex()))
            .map(|entry| match entry.presence {
                Presence::Complete => 0,
                Presence::Partial(bytes) => entry.file.size - bytes,
                Presence::Absent => entry.file.size,
            })
            .sum()
    }

    /// # Errors
    /// [`Error::Space`] where the disk cannot hold what is missing.
    pub fn check_space(&self) -> Result<(), Error> {
        let folder = self.folder();
        let needed = self.missing();
        match free(&folder) {
            Some(available) if available < needed => Err(Error::Space {
                folder,
                needed: human_bytes(needed),
                available: human_bytes(available),
            }),
            _ => Ok(()),
        }
    }

    /// The plan for people: one line a file, what is left out, how much there is to fetch.
    pub fn text(&self) -> String {
        let mut text = format!("{} is commit {}\n", self.repository, self.commit);
        for Entry { file, presence } in &self.entries {
            let state = match presence {
                Presence::Complete => "is here".to_owned(),
                Presence::Partial(bytes) => format!("{} are here", human_bytes(*bytes)),
                Presence::Absent => String::new(),
            };
            let line = format!("{:>10}  {}  {state}", human_bytes(file.size), file.path);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{}", line.trim_end());
        }
        if !self.left_out.is_empty() {
            let sizes = self.left_out.iter().filter_map(|(_, size)| *size);
            let all = sizes.fold(0, u64::saturating_add);
            let names: Vec<&str> = self
                .left_out
                .iter()
                .map(|(name, _)| name.as_str())
                .collect();
            let shown = names.len().min(6);
            let more = match names.len() - shown {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let _ = writeln!(
                text,
                "left out, {}: {}{more}",
                human_bytes(all),
                names[..shown].join(", ")
            );
        }
        let weightless = !self
            .entries
            .iter()
            .any(|entry| is_weights(&entry.file.path));
        if self.repository.kind() == RepoKind::Model && self.by_default && weightless {
            let gguf = self
                .left_out
                .iter()
                .find(|(name, _)| name.ends_with(".gguf"));
            let advice = match gguf {
                Some((name, _)) => format!("it has GGUF files: choose with --include '{name}'"),
                None => "choose files with --include".to_owned(),
            };
            let _ = writeln!(text, "warning: no weights are among these; {advice}");
        }
        let _ = write!(
            text,
            "{} files, {}, of which {} to fetch, into {}",
            self.entries.len(),
            human_bytes(self.bytes()),
            human_bytes(self.missing()),
            self.folder().display()
        );
        text
    }
}

/// Fetches what is missing. Files that are finished stay when a later one fails.
///
/// # Errors
/// [`Error::Space`] before anything is asked for; [`Error::Checksum`], [`Error::Unreachable`],
/// [`Error::Refused`] for the first file that cannot be had; interruption.
pub fn fetch(plan: &Plan) -> Result<Pulled, Error> {
    plan.check_space()?;
    let place = &plan.place;
    let meter = Meter::new("pull", plan.missing());
    let mut received = 0;
    for Entry { file, presence } in &plan.entries {
        if *presence != Presence::Complete {
            let lock = place.lock(file)?;
            // Another program may have fetched it meanwhile, or this one under another name.
            let stored = place.stored(file)?;
            let there = std::fs::metadata(&stored).is_ok_and(|data| data.len() == file.size)
                && file.sum.is_of(&stored, file.size, &|_| ())?;
            if !there {
                meter.message(&file.path);
                let came = AtomicU64::new(0);
                let outcome = Transfer {
                    client: &plan.client,
                    repository: &plan.repository,
                    commit: &plan.commit,
                    file,
                    came: &|n| {
                        came.fetch_add(n, Ordering::Relaxed);
                        meter.add(n);
                    },
                }
                .run(&place.partial(file));
                received += came.into_inner();
                outcome?;
                place.store(file)?;
            }
            lock.release(place);
        }
        place.link(file)?;
    }
    place.finish(plan.repository.revision())?;
    meter.finish();
    Ok(Pulled {
        folder: place.folder(),
        files: plan.entries.len(),
        received,
    })
}

/// A bar that counts whole megabytes, since nobody reads ten digits.
struct Meter {
    bar: progress::Bar,
    bytes: AtomicU64,
}

const MEGABYTE: u64 = 1_000_000;

impl Meter {
    fn new(name: &str, bytes: u64) -> Meter {
        Meter {
            bar: progress::bar(name, bytes / MEGABYTE, "MB"),
            bytes: AtomicU64::new(0),
        }
    }

    fn add(&self, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bar
            .inc((before + bytes) / MEGABYTE - before / MEGABYTE);
    }

    fn message(&self, text: &str) {
        self.bar.message(text);
    }

    fn finish(self) {
        self.bar.finish();
    }
}
