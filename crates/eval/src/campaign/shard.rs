//! The first stage in parts: workers ask what is dealt to them, each into files of its own, and whoever
//! gives the same command without a shard takes what they left.
//!
//! A worker's files are `responses.shard-2-of-8.jsonl` and `asked.shard-2-of-8.json`, which says whose
//! replies those are. **Invariants:** a worker writes no other file; a reply counts by its question's id,
//! whichever worker asked, and only beside an `asked` of exactly the same question, model and settings;
//! two different replies to one question are never chosen between in silence.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use sample::{Error as SampleError, Shard, StageKey, progress, shard, write_atomic};

use super::folder::{self, ASKED};
use super::plan::Plan;
use super::responses::{self, Candidate, Gathered, RESPONSES, Response};
use super::run::asked_key;
use crate::Error;

/// What a worker has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardReport {
    /// Questions that are its own.
    pub questions: usize,
    /// Of those, answered before: by itself, by other workers, or without any.
    pub known: usize,
    /// Its file of replies.
    pub file: PathBuf,
}

/// Asks the questions of one shard, into files of its own in `folder`; goes on where the same shard was
/// stopped. Replies that lie in the folder from others, of however many, are taken over and not asked for
/// again. With `force`, what the shard's own files hold is replaced.
///
/// # Errors
/// Where the folder holds something else, another process works on the same shard, or the model fails;
/// replies that came before are kept.
pub fn run_shard(
    plan: &Plan<'_>,
    candidate: &Candidate<'_>,
    folder: &Path,
    shard: Shard,
    force: bool,
) -> Result<ShardReport, Error> {
    let asked = asked_key(plan, candidate);
    if !force {
        folder::has_replies_to(folder, &asked)?;
    }
    fs::create_dir_all(folder).map_err(|e| SampleError::io(folder, e))?;
    let file = shard.file(&folder.join(RESPONSES));
    let _lock = lock(&file, shard, "another process works on it")?;
    let key = shard_key(&asked, candidate);
    let claim = shard.file(&folder.join(ASKED));
    match claimed(&claim)? {
        Some(found) if found != key && !force => return Err(otherwise(&claim, &found, &key)),
        Some(found) if found == key && !force => {}
        _ => {
            remove(&file)?;
            let mut text =
                serde_json::to_vec_pretty(&key).map_err(|e| SampleError::format(&claim, e))?;
            text.push(b'\n');
            write_atomic(&claim, &text)?;
        }
    }
    let mut found = Found::of(plan);
    for (other, path) in shard::left(&folder.join(ASKED))? {
        if other != shard && claimed(&path)?.as_ref() == Some(&key) {
            found.read(&other.file(&folder.join(RESPONSES)))?;
        }
    }
    if folder::has_replies_to(folder, &asked).is_ok_and(|has| has) {
        found.read(&folder.join(RESPONSES))?;
    }
    let part = plan.part(candidate.through.batch(), Some(shard));
    let mut own = Found::of(plan);
    own.read(&file)?;
    let ids = part.order.iter().map(|&at| plan.items[at].id.as_str());
    let known = ids
        .filter(|id| found.replies.contains_key(*id) || own.replies.contains_key(*id))
        .count();
    let gathered = found.gathered();
    responses::ask(plan, &part, candidate, &gathered, &file)?;
    Ok(ShardReport {
        questions: part.questions(),
        known,
        file,
    })
}

/// The replies that shards left in `folder`, for the run that joins them.
///
/// # Errors
/// Where a worker is still at work, files are of other settings (unless `force`, which leaves those
/// out), or two of them answer one question differently.
pub(super) fn gather(
    plan: &Plan<'_>,
    candidate: &Candidate<'_>,
    folder: &Path,
    asked: &StageKey,
    force: bool,
) -> Result<Gathered, Error> {
    let key = shard_key(asked, candidate);
    let mut shards = Vec::new();
    let mut found = Found::of(plan);
    for (shard, claim) in shard::left(&folder.join(ASKED))? {
        let file = shard.file(&folder.join(RESPONSES));
        match claimed(&claim)? {
            Some(theirs) if theirs == key => {
                drop(lock(
                    &file,
                    shard,
                    "is still at work; wait for it, or stop it",
                )?);
                found.read(&file)?;
                shards.push(shard);
            }
            Some(theirs) if !force => return Err(otherwise(&claim, &theirs, &key)),
            _ => {}
        }
    }
    if let Some(orphan) = unclaimed(folder)? {
        return Err(SampleError::Conflict(format!(
            "{} lies there without the {} that says whose replies it has; bring that file too, or \
             remove this one",
            orphan.1.display(),
            orphan.0.file(Path::new(ASKED)).display()
        ))
        .into());
    }
    if !shards.is_empty() {
        tell(plan, folder, &shards, found.replies.len());
    }
    Ok(found.gathered())
}

/// Says what was found, and what is missing.
fn tell(plan: &Plan<'_>, folder: &Path, shards: &[Shard], replies: usize) {
    let names = |shards: &[Shard]| {
        let names: Vec<String> = shards.iter().take(8).map(Shard::to_string).collect();
        let more = shards.len().saturating_sub(8);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        format!("{}{more}", names.join(", "))
    };
    progress::note(&format!(
        "{}: {replies} of {} replies from shards {}",
        folder.display(),
        plan.questions(),
        names(shards)
    ));
    if replies == plan.questions() {
        return;
    }
    let missing = shard::missing(shards);
    progress::note(&match missing.is_empty() {
        true => format!(
            "shards were stopped before their end: {} questions are asked now",
            plan.questions() - replies
        ),
        false => format!(
            "there is nothing of shards {}: {} questions are asked now. If those shards ran elsewhere, \
             stop this, bring their files ({} and {}) and give the command again",
            names(&missing),
            plan.questions() - replies,
            missing[0].file(Path::new(RESPONSES)).display(),
            missing[0].file(Path::new(ASKED)).display(),
        ),
    });
}

/// Removes what shards left of other settings; all that they left where everything is asked anew.
pub(super) fn clear(
    plan: &Plan<'_>,
    candidate: &Candidate<'_>,
    folder: &Path,
    asked: &StageKey,
    all: bool,
) -> Result<(), Error> {
    let key = shard_key(asked, candidate);
    for (shard, claim) in shard::left(&folder.join(ASKED))? {
        if !all && claimed(&claim)?.as_ref() == Some(&key) {
            continue;
        }
        let file = shard.file(&folder.join(RESPONSES));
        drop(lock(
            &file,
            shard,
            "is still at work; wait for it, or stop it",
        )?);
        progress::note(&format!(
            "{}: what shard {shard} left of {} is removed",
            folder.display(),
            plan.name()
        ));
        remove(&file)?;
        remove(&claim)?;
        remove(&lock_file(&file))?;
    }
    Ok(())
}

/// What settles a shard's replies: batches too, since what shares a batch may matter to a model, and
/// shards are dealt by them.
fn shard_key(asked: &StageKey, candidate: &Candidate<'_>) -> StageKey {
    let mut key = asked.clone();
    key.config["batch"] = candidate.through.batch().into();
    key
}

fn claimed(path: &Path) -> Result<Option<StageKey>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(SampleError::io(path, e).into()),
    };
    let read = serde_json::from_slice(&bytes).map(Some);
    Ok(read.map_err(|e| {
        let detail = format!("does not say whose replies lie beside it ({e}); remove both");
        SampleError::format(path, detail)
    })?)
}

/// A shard's replies without what says whose they are.
fn unclaimed(folder: &Path) -> Result<Option<(Shard, PathBuf)>, Error> {
    let found = shard::left(&folder.join(RESPONSES))?.into_iter();
    let claim = |shard: Shard| shard.file(&folder.join(ASKED));
    Ok(found
        .into_iter()
        .find(|(shard, _)| !claim(*shard).is_file()))
}

fn otherwise(claim: &Path, found: &StageKey, wanted: &StageKey) -> Error {
    SampleError::Conflict(format!(
        "{} is of a shard that was asked otherwise ({}). Run that shard again with these settings, or \
         give --force to leave out what it has",
        claim.display(),
        found.differences(wanted)
    ))
    .into()
}

fn lock_file(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Holds a shard; released by the system when the process ends, however it does.
fn lock(file: &Path, shard: Shard, taken: &str) -> Result<File, Error> {
    let path = lock_file(file);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| SampleError::io(&path, e))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(SampleError::Conflict(format!(
            "shard {shard} ({}): {taken}",
            file.display()
        ))
        .into()),
        Err(TryLockError::Error(e)) => Err(SampleError::io(&path, e).into()),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(SampleError::io(path, e).into()),
        _ => Ok(()),
    }
}

/// Replies out of several files, each with the file that it is from.
struct Found<'p> {
    asked: HashSet<&'p str>,
    replies: HashMap<String, (Response, PathBuf)>,
}

impl<'p> Found<'p> {
    fn of(plan: &'p Plan<'_>) -> Found<'p> {
        let ids = plan.items.iter().map(|item| item.id.as_str());
        Found {
            asked: ids.collect(),
            replies: HashMap::new(),
        }
    }

    /// Reads a file's whole lines; the last may be being written.
    fn read(&mut self, path: &Path) -> Result<(), Error> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(SampleError::io(path, e).into()),
        };
        let mut texts: Vec<&[u8]> = bytes.split(|&b| b == b'\n').collect();
        texts.pop();
        for (n, text) in texts.iter().enumerate() {
            let wrong = |detail: String| {
                let place = format!(
                    "line {}: {detail}; remove the file, and its shard is asked again",
                    n + 1
                );
                SampleError::format(path, place)
            };
            let line: Response =
                serde_json::from_slice(text).map_err(|e| wrong(format!("is no reply ({e})")))?;
            if !self.asked.contains(line.id.as_str()) {
                return Err(
                    wrong(format!("is a reply to {:?}, which is not asked", line.id)).into(),
                );
            }
            match self.replies.get(&line.id) {
                None => {
                    let id = line.id.clone();
                    self.replies.insert(id, (line, path.to_owned()));
                }
                Some((same, _)) if *same == line => {}
                Some((_, first)) => {
                    return Err(SampleError::Conflict(format!(
                        "question {:?} has one reply in {} and another in {}: it was asked twice, and \
                         answered differently. Remove the one of the two files that is not wanted; what \
                         only it has is asked again",
                        line.id,
                        first.display(),
                        path.display()
                    ))
                    .into());
                }
            }
        }
        Ok(())
    }

    fn gathered(self) -> Gathered {
        let replies = self.replies.into_iter();
        replies.map(|(id, (line, _))| (id, line)).collect()
    }
}
