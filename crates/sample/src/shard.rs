//! Shards: work that is dealt out to workers who never speak to each other.
//!
//! Worker 2 of 8 is [`Shard`] `2/8`. What it takes follows from the names of the pieces of work alone
//! ([`Shard::takes`]), and what it writes goes to files with its number in their names
//! ([`Shard::file`]), which no other worker touches. So workers may share a folder or not; whoever
//! brings their files together finds them by [`left`].
//!
//! Names are dealt like cards, in the order of their hashes, rather than each by its own hash: shards
//! then differ by one piece at most, also where there are few large pieces.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Error, seed};

/// More shards than this are a slip of the hand.
const MOST: usize = 65_536;

/// One of several equal parts of some work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    of: usize,
    number: usize,
}

/// What is wrong with a shard as it was named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ShardError(String);

/// Pairs of environment variables that say which worker this is, counted from 0, and of how many: those
/// of torchrun and its like, then Slurm's.
const RANKS: [(&str, &str); 2] = [("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS")];

impl Shard {
    /// Shard `number` of `of`, counted from 1.
    ///
    /// # Errors
    /// Where there is no such shard.
    pub fn new(number: usize, of: usize) -> Result<Shard, ShardError> {
        if of == 0 || of > MOST || number == 0 || number > of {
            return Err(ShardError(format!(
                "there is no shard {number}/{of}: I/N has I from 1 to N, and N up to {MOST}"
            )));
        }
        Ok(Shard { of, number })
    }

    /// The shard that `text` names: `2/8`, or `rank` for what the environment says of this worker, which
    /// `variable` looks up.
    ///
    /// # Errors
    /// Says what was written, and what can be.
    pub fn named(
        text: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Shard, ShardError> {
        if text != "rank" {
            return text.parse();
        }
        for (rank, size) in RANKS {
            let (Some(at), of) = (variable(rank), variable(size)) else {
                continue;
            };
            let Some(of) = of else {
                return Err(ShardError(format!(
                    "rank: {rank} is {at:?}, but {size} is not set; set both, or give I/N"
                )));
            };
            return match (at.trim().parse::<usize>(), of.trim().parse::<usize>()) {
                (Ok(at), Ok(of)) if at < of => Shard::new(at + 1, of),
                _ => Err(ShardError(format!(
                    "rank: {rank}={at:?} with {size}={of:?} is no worker's number, counted from 0, and \
                     how many there are"
                ))),
            };
        }
        Err(ShardError(
            "rank: neither RANK and WORLD_SIZE nor SLURM_PROCID and SLURM_NTASKS are set; start under \
             torchrun or srun, or give I/N"
                .to_owned(),
        ))
    }

    /// Which shard, from 1.
    pub fn number(self) -> usize {
        self.number
    }

    /// Of how many.
    pub fn of(self) -> usize {
        self.of
    }

    /// All shards of as many as this is one of.
    pub fn all(self) -> impl Iterator<Item = Shard> {
        let of = self.of;
        (1..=of).map(move |number| Shard { of, number })
    }

    /// Whether each of `names` is this shard's. Among the shards of one number each name is one's
    /// exactly, as long as all are asked with the same names, in whatever order; equal names go
    /// together.
    pub fn takes<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Vec<bool> {
        let hashed: Vec<(u64, &str)> = names
            .into_iter()
            .map(|name| (seed::derive(0, &["shard", name]), name))
            .collect();
        let mut dealt: BTreeMap<(u64, &str), usize> =
            hashed.iter().map(|&name| (name, 0)).collect();
        for (turn, to) in dealt.values_mut().enumerate() {
            *to = turn % self.of;
        }
        let own = |name| dealt.get(name).is_some_and(|&to| to + 1 == self.number);
        hashed.iter().map(own).collect()
    }

    /// The name that the file `path` of the whole has for this shard: `a/replies.jsonl` becomes
    /// `a/replies.shard-2-of-8.jsonl`.
    pub fn file(self, path: &Path) -> PathBuf {
        let (stem, ending) = parts(path);
        path.with_file_name(format!(
            "{stem}.shard-{}-of-{}{ending}",
            self.number, self.of
        ))
    }
}

/// A file's name up to its last dot, and from there on.
fn parts(path: &Path) -> (String, String) {
    let text =
        |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let ending = match path.extension() {
        Some(ending) => format!(".{}", ending.to_string_lossy()),
        None => String::new(),
    };
    (text(path.file_stem()), ending)
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    fn from_str(text: &str) -> Result<Shard, ShardError> {
        let parts = text.split_once('/');
        match parts.map(|(number, of)| (number.parse(), of.parse())) {
            Some((Ok(number), Ok(of))) => Shard::new(number, of),
            _ => Err(ShardError(format!(
                "{text:?} names no shard: write I/N, such as 2/8 for the second of eight, or rank"
            ))),
        }
    }
}

/// The files that shards left beside the file `path` of the whole, with whose they are, in order.
///
/// # Errors
/// Where the folder is there and cannot be listed.
pub fn left(path: &Path) -> Result<Vec<(Shard, PathBuf)>, Error> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io(folder, e)),
    };
    let (stem, ending) = parts(path);
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| Error::io(folder, e))?.file_name();
        let shard = name
            .to_str()
            .and_then(|name| name.strip_prefix(stem.as_str())?.strip_prefix(".shard-"))
            .and_then(|rest| rest.strip_suffix(ending.as_str())?.split_once("-of-"))
            .and_then(|(number, of)| format!("{number}/{of}").parse::<Shard>().ok());
        // `02` is nobody's way to write it here.
        if let Some(shard) = shard
            && shard.file(path).file_name() == Some(&*name)
        {
            found.push((shard, shard.file(path)));
        }
    }
    found.sort();
    Ok(found)
}

/// The shards that are missing among `found`, for each number of shards that is there.
pub fn missing(found: &[Shard]) -> Vec<Shard> {
    let numbers: BTreeMap<usize, Shard> = found.iter().map(|shard| (shard.of, *shard)).collect();
    let all = numbers.values().flat_map(|shard| shard.all());
    all.filter(|shard| !found.contains(shard)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shard(text: &str) -> Shard {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn every_name_is_taken_by_exactly_one_shard_whatever_their_order(
            names in proptest::collection::vec("[a-c]{0,3}", 0..60),
            of in 1_usize..12,
        ) {
            let mut taken = vec![0; names.len()];
            let mut backwards = names.clone();
            backwards.reverse();
            let mut sizes = Vec::new();
            let first = Shard::new(1, of).unwrap();
            for shard in first.all() {
                let own = shard.takes(names.iter().map(String::as_str));
                let mut again = shard.takes(backwards.iter().map(String::as_str));
                again.reverse();
                prop_assert_eq!(&own, &again);
                let mut distinct: Vec<&String> = Vec::new();
                for (at, own) in own.iter().enumerate() {
                    taken[at] += usize::from(*own);
                    if *own && !distinct.contains(&&names[at]) {
                        distinct.push(&names[at]);
                    }
                }
                sizes.push(distinct.len());
            }
            prop_assert!(taken.iter().all(|&by| by == 1), "{:?}", taken);
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", sizes);
        }
    }

    #[test]
    fn neighbours_in_name_are_not_neighbours_in_the_deal() {
        let names: Vec<String> = (0..1000).map(|n| format!("q{n:04}")).collect();
        let own = shard("1/2").takes(names.iter().map(String::as_str));
        // Dealt by position, each half would hold all or none of its own.
        let first_half = own[..500].iter().filter(|own| **own).count();
        assert!((200..300).contains(&first_half), "{first_half}");
        let changes = own.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((400..600).contains(&changes), "{changes}");
    }

    #[test]
    fn shards_are_named_by_number_or_by_rank() {
        assert_eq!(shard("2/8"), Shard::new(2, 8).unwrap());
        assert_eq!(shard("2/8").to_string(), "2/8");
        for wrong in [
            "", "2", "0/8", "9/8", "2/0", "-1/2", "a/b", "1/70000", "1/2/3",
        ] {
            let said = wrong.parse::<Shard>().unwrap_err().to_string();
            assert!(said.contains("I/N"), "{wrong}: {said}");
        }
        let named = |pairs: &[(&str, &str)]| {
            let value = |name: &str| {
                let found = pairs.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            Shard::named("rank", value).map_err(|e| e.to_string())
        };
        assert_eq!(
            named(&[("RANK", "0"), ("WORLD_SIZE", "4")]),
            Ok(shard("1/4"))
        );
        let slurm = [("SLURM_PROCID", "3"), ("SLURM_NTASKS", "4")];
        assert_eq!(named(&slurm), Ok(shard("4/4")));
        let both = [slurm[0], slurm[1], ("RANK", "1"), ("WORLD_SIZE", "2")];
        assert_eq!(named(&both), Ok(shard("2/2")));
        for (pairs, word) in [
            (&[][..], "srun"),
            (&[("RANK", "1")][..], "WORLD_SIZE is not set"),
            (&[("RANK", "4"), ("WORLD_SIZE", "4")][..], "\"4\""),
            (&[("RANK", "x"), ("WORLD_SIZE", "4")][..], "\"x\""),
        ] {
            let said = named(pairs).unwrap_err();
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn what_shards_left_is_found_by_name_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("replies.jsonl");
        assert!(
            left(&folder.path().join("none/replies.jsonl"))
                .unwrap()
                .is_empty()
        );
        for name in [
            "replies.jsonl",
            "replies.shard-10-of-12.jsonl",
            "replies.shard-2-of-12.jsonl",
            "replies.shard-1-of-2.jsonl",
            "replies.shard-02-of-12.jsonl",
            "replies.shard-3-of-2.jsonl",
            "replies.shard-1-of-2.jsonl.lock",
            "replies.shard-1-of-2.json",
            "other.shard-1-of-2.jsonl",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = left(&whole).unwrap();
        let shards: Vec<String> = found.iter().map(|(shard, _)| shard.to_string()).collect();
        assert_eq!(shards, ["1/2", "2/12", "10/12"]);
        assert!(
            found
                .iter()
                .all(|(shard, file)| *file == shard.file(&whole))
        );
        assert!(found[1].1.ends_with("replies.shard-2-of-12.jsonl"));
        let shards: Vec<Shard> = found.iter().map(|(shard, _)| *shard).collect();
        let missing = missing(&shards[..1]);
        assert_eq!(missing, [shard("2/2")]);
        assert_eq!(super::missing(&shards).len(), 1 + 10);
    }
}
