//! What ranks tell each other after every step, and who of them is slow.

use c10d::Group;
use sample::{interrupt, progress};

use crate::Error;

/// Steps that a rank's time is averaged over.
const WINDOW: u64 = 50;
/// A rank that takes so many times as long as the middle one is named.
const SLOW: f64 = 1.25;

/// What is decided between two steps, the same on every rank.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Turn {
    /// One of them was asked to stop.
    pub(crate) stop: bool,
    /// The first finds that a checkpoint is due.
    pub(crate) save: bool,
    /// Seconds that each rank was busy in the last step, by rank; what it waited for the others is not
    /// counted.
    pub(crate) busy: Vec<f64>,
}

impl Turn {
    /// Tells the others whether `save_due`, and how long this rank was `busy`.
    ///
    /// # Errors
    /// Where a rank is lost.
    pub(crate) fn agree(group: &Group, save_due: bool, busy: f64) -> Result<Turn, Error> {
        let stop = interrupt::requested();
        if group.world() == 1 {
            return Ok(Turn {
                stop,
                save: save_due,
                busy: vec![busy],
            });
        }
        let flag = |set: bool| f64::from(u8::from(set));
        let mut own = vec![0.0; 2 + group.world()];
        own[0] = flag(stop);
        own[1] = flag(save_due && group.is_first());
        own[2 + group.rank()] = busy;
        let told = group.largest(&own)?;
        let [stop, save, busy @ ..] = told.as_slice() else {
            return Err(Error::Config("ranks told each other nothing".to_owned()));
        };
        if *stop > 0.0 && !interrupt::requested() {
            // So that what is asked later on this rank has the same answer as on the others.
            interrupt::request();
        }
        Ok(Turn {
            stop: *stop > 0.0,
            save: *save > 0.0,
            busy: busy.to_vec(),
        })
    }
}

/// Says when a rank is slower than the others for a while: they all wait for it.
#[derive(Debug)]
pub(crate) struct Stragglers {
    sums: Vec<f64>,
    steps: u64,
}

impl Stragglers {
    pub(crate) fn new(world: usize) -> Stragglers {
        Stragglers {
            sums: vec![0.0; world],
            steps: 0,
        }
    }

    /// Counts a step; after some, says who is slow.
    pub(crate) fn look(&mut self, step: u64, busy: &[f64]) {
        for (sum, seconds) in self.sums.iter_mut().zip(busy) {
            *sum += seconds;
        }
        self.steps += 1;
        if self.steps < WINDOW {
            return;
        }
        if let Some((rank, times)) = slowest(&self.sums) {
            progress::note(&format!(
                "warning: step {step}: rank {rank} takes {times:.2} times as long as the middle rank, and \
                 the others wait for it; see ranks in timing.jsonl"
            ));
        }
        *self = Stragglers::new(self.sums.len());
    }
}

/// The rank with most seconds, where it has many more than the middle one: how many times as many.
fn slowest(seconds: &[f64]) -> Option<(usize, f64)> {
    if seconds.len() < 2 {
        return None;
    }
    let mut sorted = seconds.to_vec();
    sorted.sort_by(f64::total_cmp);
    // Of two ranks the faster one is the middle.
    let middle = *sorted.get((sorted.len() - 1) / 2)?;
    let (rank, most) = seconds
        .iter()
        .enumerate()
        .max_by(|a, b| a.1.total_cmp(b.1))?;
    (middle > 0.0 && *most > SLOW * middle).then(|| (rank, most / middle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_is_slow_by_the_middle_one_and_not_by_the_fastest() {
        assert_eq!(slowest(&[1.0]), None);
        assert_eq!(slowest(&[1.0, 1.2]), None);
        assert_eq!(slowest(&[1.0, 2.0]), Some((1, 2.0)));
        assert_eq!(slowest(&[3.0, 1.0, 1.1, 1.0]), Some((0, 3.0)));
        // One that is fast makes no other slow.
        assert_eq!(slowest(&[1.0, 0.1, 1.0, 1.1]), None);
        assert_eq!(slowest(&[0.0, 0.0]), None);
    }

    #[test]
    fn a_rank_alone_decides_by_itself() {
        let turn = Turn::agree(&Group::alone(), true, 0.5).unwrap();
        assert_eq!((turn.save, turn.busy), (true, vec![0.5]));
    }
}
