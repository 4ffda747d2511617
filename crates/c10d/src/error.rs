//! What goes wrong between ranks, in words that name the rank.

use std::fmt;

/// A rank as errors name it: its number, and where it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Its number, from 0.
    pub rank: usize,
    /// The name of its host, as it gave it.
    pub host: String,
    /// Its process there.
    pub pid: u32,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "rank {} ({}, process {})",
            self.rank, self.host, self.pid
        )
    }
}

/// What goes wrong between ranks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libtorch's own words.
    #[error(transparent)]
    Torch(#[from] tch::TchError),

    /// A variable of the environment that cannot be what it is to be.
    #[error("{variable} is \"{value}\": {problem}")]
    Variable {
        /// Its name.
        variable: String,
        /// What it holds.
        value: String,
        /// What is wrong with it.
        problem: String,
    },

    /// Some of the variables that make a rank are there and others not.
    #[error(
        "the environment has {set}, but not {missing}: a rank needs RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; torchrun sets them, and under Slurm srun's own variables do. Unset {set} to train in one process"
    )]
    Incomplete {
        /// What is there.
        set: String,
        /// What is not.
        missing: String,
    },

    /// Another program listens where the store is to be.
    #[error(
        "port {port} is in use on this host, where rank 0 is to open the store: is another run going on? Set MASTER_PORT to a free port for all ranks"
    )]
    PortInUse {
        /// The port.
        port: u16,
    },

    /// The store cannot be opened for another reason.
    #[error("rank 0 cannot open the store at {address}: {cause}")]
    Listen {
        /// Host and port.
        address: String,
        /// The system's or libtorch's words.
        cause: String,
    },

    /// Nothing answers where the store is to be.
    #[error(
        "rank {rank} reaches no store at {address} within {seconds} s: {cause}. Rank 0 opens it: is it running, are MASTER_ADDR and MASTER_PORT the same for all ranks, and is the port open between the hosts?"
    )]
    Unreachable {
        /// This rank.
        rank: usize,
        /// Host and port.
        address: String,
        /// How long it was tried.
        seconds: u64,
        /// What the last try met.
        cause: String,
    },

    /// Something answers that is not a store, or stops being one.
    #[error("what answers at {address} is no store that rank {rank} can use: {cause}")]
    NotAStore {
        /// This rank.
        rank: usize,
        /// Host and port.
        address: String,
        /// libtorch's words.
        cause: String,
    },

    /// Ranks that never came.
    #[error(
        "{} of {world} did not come to {address} within {seconds} s: {cause}. Look at why they did not start; MATH_LLAVA_RANK_TIMEOUT sets the time",
        ranks(.missing)
    )]
    Missing {
        /// Their numbers.
        missing: Vec<usize>,
        /// How many there are to be.
        world: usize,
        /// Where the store is.
        address: String,
        /// How long was waited.
        seconds: u64,
        /// Why no longer.
        cause: String,
    },

    /// Two processes with one number.
    #[error(
        "rank {rank} is there twice: this process, and {other}. Every process needs its own RANK; a rank that is started again alone cannot come back into a run"
    )]
    Twice {
        /// The number.
        rank: usize,
        /// Who came first.
        other: String,
    },

    /// Ranks that see the run otherwise than rank 0.
    #[error(
        "{what} differs between ranks: rank 0 has \"{first}\", {}. All ranks must have the same",
        differing(.others)
    )]
    Disagree {
        /// What was compared.
        what: String,
        /// What rank 0 has.
        first: String,
        /// Who has something else, and what.
        others: Vec<(usize, String)>,
    },

    /// Addresses that cannot reach each other.
    #[error(
        "{} would listen on a loopback address ({address}), which the other hosts cannot reach: let MASTER_ADDR be an address that all hosts know, or set GLOO_SOCKET_IFNAME to the network interface",
        ranks(.local)
    )]
    Loopback {
        /// The ranks with such an address.
        local: Vec<usize>,
        /// One of them.
        address: String,
    },

    /// The group could not be made.
    #[error("rank {rank} cannot open the {backend} group: {cause}")]
    Open {
        /// This rank.
        rank: usize,
        /// Gloo or NCCL.
        backend: &'static str,
        /// libtorch's words.
        cause: String,
    },

    /// This build has no NCCL.
    #[error(
        "this build knows no NCCL: build with a libtorch for CUDA that has NCCL's and CUDA's headers beside it (as PyTorch's wheel has, LIBTORCH_USE_PYTORCH=1), or train on CPUs"
    )]
    NoNccl,

    /// The user asked to stop while ranks were meeting.
    #[error("stopped while waiting for other ranks")]
    Interrupted,

    /// A tensor or number that a collective cannot take.
    #[error("{collective}: {problem}")]
    Unfit {
        /// The collective.
        collective: &'static str,
        /// What is wrong, and what to do.
        problem: String,
    },

    /// Ranks that have gone without a word.
    #[error(
        "{} lost in the {} collective: {cause}. Start the run again, with as many ranks as there are now: it goes on from its last checkpoint",
        names(.lost, "is", "are"), ordinal(*.collective)
    )]
    Lost {
        /// Who.
        lost: Vec<Name>,
        /// Which of this rank's collectives ended.
        collective: u64,
        /// How it is known.
        cause: String,
    },

    /// Ranks that left in order while this one still waits for them.
    #[error(
        "{} left the group before the {} collective, to which this rank has come: it ended by itself, and its own messages say why",
        names(.gone, "has", "have"), ordinal(*.collective)
    )]
    Left {
        /// Who.
        gone: Vec<Name>,
        /// Which of this rank's collectives they did not come to.
        collective: u64,
    },

    /// Ranks that live and do not come.
    #[error(
        "{} alive but did not come to the {} collective within {seconds} s (so far: {reached}). MATH_LLAVA_RANK_TIMEOUT sets the time",
        names(.late, "is", "are"), ordinal(*.collective)
    )]
    Behind {
        /// Who.
        late: Vec<Name>,
        /// Which of this rank's collectives they did not come to.
        collective: u64,
        /// How long was waited.
        seconds: u64,
        /// How far each of them is.
        reached: String,
    },

    /// Another rank has met an error and said so.
    #[error("the {} collective ended because {name} met this: {cause}", ordinal(*.collective))]
    Elsewhere {
        /// Who.
        name: Name,
        /// Which of this rank's collectives ended.
        collective: u64,
        /// What it met.
        cause: String,
    },

    /// The store, hosted outside the ranks, is gone.
    #[error(
        "the store at {address} is lost in the {} collective: {cause}. What hosts it (torchrun's agent on the first host) has ended",
        ordinal(*.collective)
    )]
    StoreLost {
        /// Where it was.
        address: String,
        /// Which of this rank's collectives ended.
        collective: u64,
        /// libtorch's words.
        cause: String,
    },

    /// A collective failed and no rank is known to be the reason.
    #[error("the {} collective failed: {cause}", ordinal(*.collective))]
    Failed {
        /// Which one.
        collective: u64,
        /// libtorch's words.
        cause: String,
    },

    /// The group has ended before.
    #[error("this group of ranks has ended: {cause}")]
    Ended {
        /// What ended it.
        cause: String,
    },
}

/// "rank 3" or "ranks 1, 3 and 4".
fn ranks(numbers: &[usize]) -> String {
    let listed = listed(numbers.iter().map(usize::to_string).collect());
    if numbers.len() == 1 {
        format!("rank {listed}")
    } else {
        format!("ranks {listed}")
    }
}

fn names(who: &[Name], one: &str, many: &str) -> String {
    let verb = if who.len() == 1 { one } else { many };
    format!(
        "{} {verb}",
        listed(who.iter().map(Name::to_string).collect())
    )
}

fn differing(pairs: &[(usize, String)]) -> String {
    let each = |(rank, value): &(usize, String)| format!("rank {rank} has \"{value}\"");
    listed(pairs.iter().map(each).collect())
}

/// Ends long lists: a message about 500 ranks must still be read.
fn listed(mut items: Vec<String>) -> String {
    const SHOWN: usize = 16;
    if items.len() > SHOWN {
        let rest = items.len() - SHOWN;
        items.truncate(SHOWN);
        items.push(format!("{rest} more"));
    }
    match items.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

/// "1st", "12th", "23rd".
pub(crate) fn ordinal(n: u64) -> String {
    let ending = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_lists_read_as_english() {
        for (n, text) in [
            (1, "1st"),
            (2, "2nd"),
            (3, "3rd"),
            (11, "11th"),
            (112, "112th"),
            (121, "121st"),
        ] {
            assert_eq!(ordinal(n), text);
        }
        assert_eq!(ranks(&[3]), "rank 3");
        assert_eq!(ranks(&[1, 3, 4]), "ranks 1, 3 and 4");
        let many: Vec<usize> = (0..500).collect();
        assert!(
            ranks(&many).ends_with("15 and 484 more"),
            "{}",
            ranks(&many)
        );
    }
}
