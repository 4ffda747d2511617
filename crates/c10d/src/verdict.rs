//! From what is known of all ranks to the one error that says why a collective ended.
//!
//! A function of the signs of life alone, so that every case can be told apart without processes.

use std::time::Instant;

use crate::error::{Error, Name, ordinal};
use crate::record::Record;

/// So many readings without a new sign, and a rank is lost where a collective has failed.
pub(crate) const SILENT: u32 = 4;
/// So many, and it is lost though nothing has failed: its host may be off the network.
pub(crate) const LONG_SILENT: u32 = 15;

/// What is known of one rank.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// What it wrote last.
    pub(crate) record: Record,
    /// How often that was read again without a change.
    pub(crate) silent: u32,
    /// When it changed last.
    pub(crate) since: Instant,
}

impl Seen {
    /// Whether it stopped writing without having left; a rank that failed may end as it likes.
    pub(crate) fn gone(&self, readings: u32) -> bool {
        !self.record.left && self.record.failed.is_none() && self.silent >= readings
    }

    /// Whether it has said its last word.
    fn done(&self) -> bool {
        self.record.left
            || self
                .record
                .failed
                .as_deref()
                .is_some_and(|text| !text.is_empty())
    }

    /// Whether it left without having met an error of the group.
    fn left_before(&self, nth: u64) -> bool {
        self.record.left && self.record.failed.is_none() && self.record.entered < nth
    }
}

/// All that is known where a collective ended.
pub(crate) struct Case<'a> {
    /// This rank.
    pub(crate) rank: usize,
    /// Who the ranks are.
    pub(crate) names: &'a [Name],
    /// What is known of each.
    pub(crate) seen: &'a [Seen],
    /// Which collective ended.
    pub(crate) nth: u64,
    /// libtorch's words about the store, where it is lost.
    pub(crate) store_lost: Option<&'a str>,
    /// Whether rank 0 hosts the store.
    pub(crate) by_first: bool,
    /// Where the store is.
    pub(crate) address: &'a str,
    /// libtorch's words about the collective, where it failed by itself.
    pub(crate) cause: Option<&'a str>,
    /// The time limit, where it was reached.
    pub(crate) timed_out: Option<u64>,
}

impl Case<'_> {
    fn others(&self) -> impl Iterator<Item = (&Name, &Seen)> {
        let pairs = self.names.iter().zip(self.seen);
        pairs.filter(|(name, _)| name.rank != self.rank)
    }

    fn who(&self, chosen: impl Fn(&Seen) -> bool) -> Vec<Name> {
        let chosen = self.others().filter(|(_, seen)| chosen(seen));
        chosen.map(|(name, _)| name.clone()).collect()
    }

    /// Whether more signs could not change [`Case::error`].
    pub(crate) fn settled(&self) -> bool {
        self.store_lost.is_some()
            || self
                .others()
                .any(|(_, seen)| seen.gone(SILENT) || seen.left_before(self.nth))
            || self.others().all(|(_, seen)| seen.done())
    }

    /// Whether it makes no sense to wait for the collective any longer.
    pub(crate) fn hopeless(&self) -> bool {
        let ended = |seen: &Seen| {
            seen.record.failed.is_some()
                || (seen.record.left && seen.record.entered < self.nth)
                || seen.gone(LONG_SILENT)
        };
        self.others().any(|(_, seen)| ended(seen))
            || (self.store_lost.is_some() && !self.store_closed())
    }

    /// Whether the store ended because its host had done its part.
    fn store_closed(&self) -> bool {
        let first = self.seen.first();
        self.by_first && first.is_some_and(|seen| seen.record.left || seen.record.failed.is_some())
    }

    /// Why the collective ended.
    pub(crate) fn error(&self) -> Error {
        let collective = self.nth;
        let store_died = self.store_lost.is_some() && !self.store_closed();
        let host_died = store_died && self.by_first && self.rank != 0;
        let lost = self.who(|seen| seen.gone(SILENT));
        if host_died || !lost.is_empty() {
            return self.lost(lost, host_died);
        }
        let gone = self.who(|seen| seen.left_before(collective));
        if !gone.is_empty() {
            return Error::Left { gone, collective };
        }
        let told = self.others().find_map(|(name, seen)| {
            let text = seen
                .record
                .failed
                .as_deref()
                .filter(|text| !text.is_empty())?;
            Some((name.clone(), text.to_owned()))
        });
        if let Some((name, cause)) = told {
            return Error::Elsewhere {
                name,
                collective,
                cause,
            };
        }
        let late = self.who(|seen| !seen.record.left && seen.record.entered < collective);
        if let Some(seconds) = self.timed_out
            && !late.is_empty()
        {
            let reached = late.iter().filter_map(|name| {
                let entered = self.seen.get(name.rank)?.record.entered;
                Some(match entered {
                    0 => format!("rank {} has entered none", name.rank),
                    n => format!("rank {} is at the {}", name.rank, ordinal(n)),
                })
            });
            let reached = reached.take(16).collect::<Vec<_>>().join(", ");
            return Error::Behind {
                late,
                collective,
                seconds,
                reached,
            };
        }
        if store_died {
            return Error::StoreLost {
                address: self.address.to_owned(),
                collective,
                cause: self.store_lost.unwrap_or_default().to_owned(),
            };
        }
        let cause = match (self.cause, self.timed_out) {
            (Some(cause), _) => cause.to_owned(),
            (None, Some(seconds)) => format!(
                "all ranks are alive and have come, but it did not end within {seconds} s; do they call the same collectives with tensors of the same shapes?"
            ),
            (None, None) => "the store does not answer any more".to_owned(),
        };
        Error::Failed { collective, cause }
    }

    fn lost(&self, mut lost: Vec<Name>, host_died: bool) -> Error {
        if host_died
            && !lost.iter().any(|name| name.rank == 0)
            && let Some(first) = self.names.first()
        {
            lost.insert(0, first.clone());
        }
        let silence = lost.iter().filter_map(|name| self.seen.get(name.rank));
        let silence = silence.map(|seen| seen.since.elapsed().as_secs_f32());
        let silence = silence.fold(0.0, f32::max);
        let mut cause = if host_died {
            "rank 0 hosts the store, which is gone".to_owned()
        } else {
            format!("no sign of life for {silence:.1} s")
        };
        if let Some(words) = self.cause {
            cause.push_str(&format!(" (libtorch: {words})"));
        }
        Error::Lost {
            lost,
            collective: self.nth,
            cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four ranks, seen from rank 1 in its 17th collective; each of the others as given.
    struct Setting {
        seen: Vec<Seen>,
        store_lost: bool,
        by_first: bool,
        timed_out: bool,
    }

    fn alive(entered: u64) -> Seen {
        let record = Record {
            tick: 9,
            entered,
            ..Record::default()
        };
        Seen {
            record,
            silent: 0,
            since: Instant::now(),
        }
    }

    fn silent(readings: u32) -> Seen {
        Seen {
            silent: readings,
            ..alive(17)
        }
    }

    fn failed(text: &str) -> Seen {
        let mut seen = alive(17);
        seen.record.failed = Some(text.to_owned());
        seen
    }

    fn left(entered: u64) -> Seen {
        let mut seen = alive(entered);
        seen.record.left = true;
        seen
    }

    fn setting(others: [Seen; 3]) -> Setting {
        let [a, b, c] = others;
        Setting {
            seen: vec![a, alive(17), b, c],
            store_lost: false,
            by_first: true,
            timed_out: false,
        }
    }

    fn with<T>(setting: &Setting, ask: impl Fn(&Case<'_>) -> T) -> T {
        let name = |rank| Name {
            rank,
            host: format!("node{rank}"),
            pid: 40 + rank as u32,
        };
        let names: Vec<Name> = (0..4).map(name).collect();
        ask(&Case {
            rank: 1,
            names: &names,
            seen: &setting.seen,
            nth: 17,
            store_lost: setting.store_lost.then_some("Broken pipe"),
            by_first: setting.by_first,
            address: "node0:29500",
            cause: (!setting.timed_out).then_some("Connection closed by peer"),
            timed_out: setting.timed_out.then_some(600),
        })
    }

    fn message(setting: &Setting) -> String {
        with(setting, |case| case.error().to_string())
    }

    #[test]
    fn a_silent_rank_is_named_as_lost() {
        let case = setting([alive(17), silent(SILENT), alive(17)]);
        assert!(with(&case, |case| case.settled()));
        let text = message(&case);
        assert!(
            text.starts_with(
                "rank 2 (node2, process 42) is lost in the 17th collective: no sign of life"
            ),
            "{text}"
        );
        assert!(text.contains("Connection closed by peer"), "{text}");
    }

    #[test]
    fn several_silent_ranks_are_all_named() {
        let text = message(&setting([alive(17), silent(SILENT), silent(9)]));
        assert!(
            text.starts_with("rank 2 (node2, process 42) and rank 3 (node3, process 43) are lost"),
            "{text}"
        );
    }

    #[test]
    fn short_silence_is_not_enough() {
        let case = setting([alive(17), silent(SILENT - 1), alive(17)]);
        assert!(!with(&case, |case| case.settled()));
        assert!(matches!(
            with(&case, |case| case.error()),
            Error::Failed { .. }
        ));
    }

    #[test]
    fn long_silence_alone_ends_the_waiting() {
        for (readings, hopeless) in [(SILENT, false), (LONG_SILENT, true)] {
            let case = setting([alive(17), silent(readings), alive(17)]);
            assert_eq!(with(&case, |case| case.hopeless()), hopeless);
        }
    }

    #[test]
    fn a_lost_store_means_its_host() {
        let case = Setting {
            store_lost: true,
            ..setting([alive(17), alive(17), alive(17)])
        };
        assert!(with(&case, |case| case.hopeless()) && with(&case, |case| case.settled()));
        let text = message(&case);
        assert!(
            text.starts_with("rank 0 (node0, process 40) is lost"),
            "{text}"
        );
        let text = message(&Setting {
            by_first: false,
            ..case
        });
        assert!(
            text.starts_with("the store at node0:29500 is lost"),
            "{text}"
        );
    }

    #[test]
    fn a_store_that_closes_after_its_host_has_left_is_no_loss() {
        let case = Setting {
            store_lost: true,
            ..setting([left(17), alive(17), alive(17)])
        };
        assert!(!with(&case, |case| case.hopeless()));
        let case = Setting {
            store_lost: true,
            ..setting([left(16), alive(17), alive(17)])
        };
        assert!(with(&case, |case| case.hopeless()));
        assert!(
            message(&case).starts_with("rank 0 (node0, process 40) has left"),
            "{}",
            message(&case)
        );
    }

    #[test]
    fn what_another_rank_met_is_passed_on() {
        let case = setting([failed("rank 3 is lost"), alive(17), alive(17)]);
        assert!(with(&case, |case| case.hopeless()));
        let text = message(&case);
        assert!(
            text.contains("rank 0 (node0, process 40) met this: rank 3 is lost"),
            "{text}"
        );
    }

    #[test]
    fn a_failed_rank_that_ends_is_not_lost() {
        let mut ended = failed("disk full");
        ended.silent = 99;
        assert!(matches!(
            with(&setting([alive(17), ended, alive(17)]), |case| case.error()),
            Error::Elsewhere { .. }
        ));
    }

    #[test]
    fn a_late_rank_is_named_with_where_it_is() {
        let case = Setting {
            timed_out: true,
            ..setting([alive(17), alive(17), alive(16)])
        };
        let text = message(&case);
        assert!(text.contains("rank 3 (node3, process 43) is alive but did not come to the 17th collective within 600 s"), "{text}");
        assert!(text.contains("rank 3 is at the 16th"), "{text}");
        let all = Setting {
            timed_out: true,
            ..setting([alive(17), alive(17), alive(17)])
        };
        assert!(message(&all).contains("same shapes"), "{}", message(&all));
    }
}
