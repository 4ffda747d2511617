//! The state of an unfinished training, so that it can go on as if it had never stopped.
//!
//! Below a training's folder:
//!
//! ```text
//! checkpoint/best                                     step-00000120
//! checkpoint/step-00000120/state-00001-of-00002.safetensors
//! checkpoint/step-00000120/state-00002-of-00002.safetensors
//! checkpoint/step-00000120/state.json                 everything else; written last
//! ```
//!
//! A checkpoint is written into a folder whose name ends in `.tmp`, every file is synced, and the
//! folder is renamed; one that is to go is renamed first, too. So a folder `step-N` is whole whenever
//! a kill may come, and the next start removes what ends in `.tmp`. A full disk costs the checkpoint
//! that did not fit, never the one before.
//!
//! Each shard's SHA-256 is taken while it is written, and compared before anything is read back: what
//! a disk lost is then noticed, and an older checkpoint is gone on from. Processors with instructions
//! for it take the digest about as fast as disks write.
//! How many ranks saved it does not show in a checkpoint: any other number goes on from it.
//! The stage's key is kept as well, so that a run never goes on from another configuration's weights
//! or over other data.

mod shard;
mod state;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use c10d::Group;
use rayon::prelude::*;
use sample::{StageKey, interrupt, progress, write_atomic};
use tch::Tensor;

use crate::optim::{AdamW, Held};
use crate::{Error, ranks};

use shard::{Reader, Shard};
pub(crate) use state::Progress;
use state::{STATE, State, Unusable};

/// Below the training's folder.
const FOLDER: &str = "checkpoint";
/// The file that names the best checkpoint.
const BEST: &str = "best";
/// What unfinished folders, and those on their way out, end in.
const TEMPORARY: &str = ".tmp";
/// What folders end in that cannot be gone on from; they go when another checkpoint is saved.
const DAMAGED: &str = ".damaged";

/// Largest shard by default: what every file system and tool takes.
pub const SHARD_BYTES: u64 = 4 << 30;

/// Removes all checkpoints of a training, where there are any.
pub fn remove(training: &Path) -> Result<(), Error> {
    let folder = training.join(FOLDER);
    match fs::remove_dir_all(&folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(sample::Error::io(folder, e).into()),
        _ => Ok(()),
    }
}

/// The checkpoints of one training.
#[derive(Debug)]
pub(crate) struct Checkpoints<'a> {
    folder: PathBuf,
    key: &'a StageKey,
    keep_last: usize,
    shard_bytes: u64,
}

impl<'a> Checkpoints<'a> {
    /// The checkpoints below `training`; what a kill left unfinished is removed, by the first of several
    /// ranks.
    pub(crate) fn open(
        training: &Path,
        key: &'a StageKey,
        keep_last: usize,
        shard_bytes: u64,
        group: &Group,
    ) -> Result<Self, Error> {
        let checkpoints = Checkpoints {
            folder: training.join(FOLDER),
            key,
            keep_last: keep_last.max(1),
            shard_bytes,
        };
        let removed = match group.is_first() {
            true => checkpoints.remove_ending(TEMPORARY),
            false => Ok(()),
        };
        ranks::together(group, removed)?;
        Ok(checkpoints)
    }

    /// Brings `adamw` and its parameters to the newest checkpoint that is whole, and says where it
    /// was; `None` where there is none. Of several ranks the first reads it, however many there were when
    /// it was saved.
    ///
    /// # Errors
    /// Where a checkpoint is of another key or version, or none of those that are there is whole.
    pub(crate) fn restore(&self, adamw: &mut AdamW) -> Result<Option<Progress>, Error> {
        let group = Rc::clone(adamw.group());
        let found = match group.is_first() {
            true => self.newest(),
            false => Ok(None),
        };
        read_together(&group, found, adamw)
    }

    /// The newest checkpoint that is whole; those after it that are not are set aside.
    fn newest(&self) -> Result<Option<(PathBuf, State)>, Error> {
        let mut damaged: Vec<(PathBuf, String)> = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            let folder = self.of_step(step);
            let checked = State::read(&folder, self.key).and_then(|state| {
                verify(&folder, &state.shards)?;
                Ok(state)
            });
            // Half checked is not damaged.
            interrupt::check()?;
            match checked {
                Ok(state) => {
                    self.set_aside(&damaged)?;
                    return Ok(Some((folder, state)));
                }
                Err(Unusable::Refused(detail)) => {
                    return Err(sample::Error::format(folder, detail).into());
                }
                Err(Unusable::Damaged(detail)) => {
                    progress::note(&format!(
                        "warning: {} is damaged ({detail}); looking for an older checkpoint",
                        folder.display()
                    ));
                    damaged.push((folder, detail));
                }
            }
        }
        match damaged.into_iter().next() {
            None => Ok(None),
            Some((folder, detail)) => Err(sample::Error::format(
                folder,
                format!(
                    "{detail}, and there is no older checkpoint that is whole. Give --force to \
                     start this training from the beginning"
                ),
            )
            .into()),
        }
    }

    /// Brings `adamw` to the best checkpoint; `None` where none is kept as such.
    pub(crate) fn restore_best(&self, adamw: &mut AdamW) -> Result<Option<Progress>, Error> {
        let group = Rc::clone(adamw.group());
        let found = match group.is_first() {
            true => self.whole_best(),
            false => Ok(None),
        };
        read_together(&group, found, adamw)
    }

    fn whole_best(&self) -> Result<Option<(PathBuf, State)>, Error> {
        let Some(step) = self.best()? else {
            return Ok(None);
        };
        let folder = self.of_step(step);
        let state = State::read(&folder, self.key).and_then(|state| {
            verify(&folder, &state.shards)?;
            Ok(state)
        });
        interrupt::check()?;
        match state {
            Ok(state) => Ok(Some((folder, state))),
            Err(Unusable::Damaged(detail) | Unusable::Refused(detail)) => {
                Err(sample::Error::format(folder, detail).into())
            }
        }
    }

    /// Saves the optimiser's state with its parameters, then removes what is no longer kept. Of several
    /// ranks the first writes, and every other hands it its part: the same files, however many there are.
    ///
    /// # Errors
    /// [`Error::NotSaved`]: what was there before is left as it was.
    pub(crate) fn save(&self, adamw: &AdamW, at: Progress) -> Result<(), Error> {
        let group = adamw.group();
        let best = at.best.map(|(step, _)| step);
        let known = match group.is_first() {
            true => self.known(&at),
            false => Ok(false),
        };
        let known = ranks::shared(group, known.map(Some))?;
        if known != Some(true) {
            let held = adamw.held();
            let begun = match group.is_first() {
                true => self.begin(&held, at.step).map(Some),
                false => Ok(None),
            };
            let begun = ranks::together(group, begun)?;
            let mut sent = 0;
            let mut whole = |held: &Held| {
                sent += 1;
                held.whole(group)
            };
            let written = match begun {
                Some(temporary) => self.write(adamw, &held, at, &temporary, &mut whole),
                None => Ok(()),
            };
            // The others go on handing out their parts: they cannot see that a disk is full.
            for held in held.iter().skip(sent) {
                let _ = held.whole(group)?;
            }
            ranks::together(group, written)?;
        }
        let tidied = match group.is_first() {
            true => self.tidy(self.keep_last, best),
            false => Ok(()),
        };
        ranks::together(group, tidied)
    }

    /// Whether the step was saved already, perhaps before an evaluation: the tensors of a step are always
    /// the same, and the rest is brought up to date.
    fn known(&self, at: &Progress) -> Result<bool, Error> {
        let folder = self.of_step(at.step);
        let Ok(mut known) = State::read(&folder, self.key) else {
            return Ok(false);
        };
        known.progress = at.clone();
        let text = known
            .bytes()
            .map_err(|e| sample::Error::format(&folder, e))?;
        write_atomic(&folder.join(STATE), &text)?;
        Ok(true)
    }

    /// Makes room, and the folder that a checkpoint is written into.
    fn begin(&self, held: &[Held], step: u64) -> Result<PathBuf, Error> {
        let needed: u64 = held.iter().map(Held::bytes).sum();
        fs::create_dir_all(&self.folder).map_err(|e| sample::Error::io(&self.folder, e))?;
        if free(&self.folder).is_some_and(|free| free < needed) {
            // Older ones are worth less than this one.
            self.tidy(1, self.best()?)?;
        }
        if free(&self.folder).is_some_and(|free| free < needed) {
            return Err(self.refused(step, needed, "the disk is full".to_owned()));
        }
        let temporary = self.folder.join(format!("{}{TEMPORARY}", name_of(step)));
        let made = remove_folder(&temporary).and_then(|()| {
            fs::create_dir(&temporary).map_err(|e| sample::Error::io(&temporary, e).into())
        });
        made.map_err(|error| self.not_saved(step, needed, error))?;
        Ok(temporary)
    }

    fn write(
        &self,
        adamw: &AdamW,
        held: &[Held],
        at: Progress,
        temporary: &Path,
        whole: &mut dyn FnMut(&Held) -> Result<Tensor, Error>,
    ) -> Result<(), Error> {
        let (step, folder) = (at.step, self.of_step(at.step));
        let written = (|| {
            let parts = shard::split(held, self.shard_bytes);
            let count = parts.len();
            let mut shards = Vec::with_capacity(count);
            for (i, part) in parts.into_iter().enumerate() {
                let name = format!("state-{:05}-of-{count:05}.safetensors", i + 1);
                shards.push(shard::write(&temporary.join(name), part, whole)?);
            }
            let state = State::new(self.key.clone(), adamw.step(), at, shards);
            let text = state
                .bytes()
                .map_err(|e| sample::Error::format(temporary, e))?;
            write_atomic(&temporary.join(STATE), &text)?;
            sync(temporary)?;
            // Not whole, or it would have been kept.
            self.retire(&folder)?;
            fs::rename(temporary, &folder).map_err(|e| sample::Error::io(&folder, e))?;
            sync(&self.folder)
        })();
        written.map_err(|error| {
            // Before the message, which says how much is free.
            let _ = remove_folder(temporary);
            self.not_saved(step, held.iter().map(Held::bytes).sum(), error)
        })
    }

    /// What a system's refusal means for a checkpoint of `needed` bytes.
    fn not_saved(&self, step: u64, needed: u64, error: Error) -> Error {
        match error {
            Error::Sample(sample::Error::Io { path, source }) => {
                self.refused(step, needed, format!("{}: {source}", path.display()))
            }
            other => other,
        }
    }

    fn refused(&self, step: u64, needed: u64, reason: String) -> Error {
        Error::NotSaved {
            folder: self.folder.clone(),
            step,
            reason,
            needed: mib(needed),
            free: free(&self.folder).map_or_else(|| "?".to_owned(), |b| mib(b).to_string()),
            kept: match self.steps().ok().and_then(|all| all.last().copied()) {
                Some(last) => format!("The checkpoint of step {last} is kept"),
                None => "There is no earlier checkpoint".to_owned(),
            },
        }
    }

    /// The step of the checkpoint that is named as the best.
    fn best(&self) -> Result<Option<u64>, Error> {
        let path = self.folder.join(BEST);
        match fs::read_to_string(&path) {
            Ok(name) => match step_of(name.trim()) {
                Some(step) => Ok(Some(step)),
                None => Err(sample::Error::format(path, "does not name a checkpoint").into()),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(sample::Error::io(path, e).into()),
        }
    }

    /// Keeps the newest `last` checkpoints and the best, and names that.
    fn tidy(&self, last: usize, best: Option<u64>) -> Result<(), Error> {
        self.remove_ending(DAMAGED)?;
        let steps = self.steps()?;
        let path = self.folder.join(BEST);
        match best.filter(|step| steps.contains(step)) {
            Some(step) => {
                let name = format!("{}\n", name_of(step));
                if fs::read(&path).ok().as_deref() != Some(name.as_bytes()) {
                    write_atomic(&path, name.as_bytes())?;
                }
            }
            None => remove_file(&path)?,
        }
        for &step in steps.iter().rev().skip(last) {
            if Some(step) != best {
                self.retire(&self.of_step(step))?;
            }
        }
        Ok(())
    }

    /// Sets what cannot be gone on from aside: the run will come to these steps again.
    fn set_aside(&self, damaged: &[(PathBuf, String)]) -> Result<(), Error> {
        for (folder, _) in damaged {
            let mut name = folder.file_name().unwrap_or_default().to_owned();
            name.push(DAMAGED);
            let aside = folder.with_file_name(name);
            remove_folder(&aside)?;
            fs::rename(folder, &aside).map_err(|e| sample::Error::io(folder, e))?;
        }
        Ok(())
    }

    /// Removes a checkpoint, so that a kill meanwhile leaves none that is half there.
    fn retire(&self, folder: &Path) -> Result<(), Error> {
        let mut name = folder.file_name().unwrap_or_default().to_owned();
        name.push(".old");
        name.push(TEMPORARY);
        let aside = folder.with_file_name(name);
        remove_folder(&aside)?;
        match fs::rename(folder, &aside) {
            Ok(()) => remove_folder(&aside),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(sample::Error::io(folder, e).into()),
        }
    }

    fn remove_ending(&self, ending: &str) -> Result<(), Error> {
        for name in self.names()? {
            if name.ends_with(ending) {
                let path = self.folder.join(name);
                if path.is_dir() {
                    remove_folder(&path)?;
                } else {
                    remove_file(&path)?;
                }
            }
        }
        Ok(())
    }

    /// The steps of which there are checkpoints, in order.
    fn steps(&self) -> Result<Vec<u64>, Error> {
        let mut steps: Vec<u64> = self.names()?.iter().filter_map(|n| step_of(n)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let io = |e| Error::from(sample::Error::io(&self.folder, e));
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(io(e)),
        };
        entries
            .map(|entry| {
                Ok(entry
                    .map_err(io)?
                    .file_name()
                    .to_string_lossy()
                    .into_owned())
            })
            .collect()
    }

    fn of_step(&self, step: u64) -> PathBuf {
        self.folder.join(name_of(step))
    }
}

fn name_of(step: u64) -> String {
    format!("step-{step:08}")
}

fn step_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("step-")?;
    let step = digits.parse().ok()?;
    (name_of(step) == name).then_some(step)
}

/// All shards at once: a checkpoint is as large as the machine's memory.
fn verify(folder: &Path, shards: &[Shard]) -> Result<(), Unusable> {
    let all: u64 = shards.iter().map(|shard| mib(shard.bytes)).sum();
    let bar = progress::bar("checkpoint", all, "MiB checked");
    let outcome = shards.par_iter().try_for_each(|shard| {
        if interrupt::requested() {
            return Ok(());
        }
        shard::verify(folder, shard).map_err(Unusable::Damaged)?;
        bar.inc(mib(shard.bytes));
        Ok(())
    });
    bar.finish();
    outcome
}

/// Brings every rank to the checkpoint that the first has found.
fn read_together(
    group: &Group,
    found: Result<Option<(PathBuf, State)>, Error>,
    adamw: &mut AdamW,
) -> Result<Option<Progress>, Error> {
    let found = ranks::together(group, found)?;
    let own = found.as_ref();
    let told = own.map(|(_, state)| (state.updates, state.progress.clone()));
    let Some((updates, progress)) = ranks::shared::<(u64, Progress), Error>(group, Ok(told))?
    else {
        return Ok(None);
    };
    let shards = own.map_or(&[][..], |(_, state)| &state.shards);
    let folder = own.map_or(Path::new(""), |(folder, _)| folder);
    read(folder, shards, updates, adamw)?;
    Ok(Some(progress))
}

/// Reads a checkpoint whose shards are as they were written.
fn read(folder: &Path, shards: &[Shard], updates: u64, adamw: &mut AdamW) -> Result<(), Error> {
    let place: std::collections::HashMap<&str, &Shard> = shards
        .iter()
        .flat_map(|shard| shard.tensors.iter().map(move |name| (name.as_str(), shard)))
        .collect();
    let mut open: Option<(PathBuf, Reader)> = None;
    let mut take = |name: &str| {
        let lacks = || {
            sample::Error::format(
                folder,
                format!(
                    "the checkpoint lacks {name:?}: it was written by another version of this \
                     program. Give --force to start this training from the beginning"
                ),
            )
        };
        let path = folder.join(&place.get(name).ok_or_else(lacks)?.file);
        if open.as_ref().is_none_or(|(known, _)| *known != path) {
            open = Some((path.clone(), Reader::open(&path)?));
        }
        let tensor = match &mut open {
            Some((_, reader)) => reader.tensor(&path, name)?,
            None => None,
        };
        Ok(tensor.ok_or_else(lacks)?)
    };
    adamw.restore(updates, &mut take)
}

fn mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Bytes that can be written to the disk of `folder`, where the system says.
fn free(folder: &Path) -> Option<u64> {
    #[cfg(unix)]
    {
        let disk = rustix::fs::statvfs(folder).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

/// Waits until a folder's names are on disk.
fn sync(folder: &Path) -> Result<(), Error> {
    // Only Unix opens folders.
    if cfg!(unix) {
        File::open(folder)
            .and_then(|file| file.sync_all())
            .map_err(|e| sample::Error::io(folder, e))?;
    }
    Ok(())
}

fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(sample::Error::io(path, e).into()),
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(sample::Error::io(path, e).into()),
        _ => Ok(()),
    }
}
