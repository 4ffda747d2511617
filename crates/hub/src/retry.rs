//! Trying again: what passes by itself is waited for, with longer and longer pauses or as long as
//! the server asks; what does not pass ends at once.

use std::time::{Duration, Instant};

use sample::{interrupt, progress};

use crate::Error;

/// How long to wait for what.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For a connection, and for the first line of an answer.
    pub answer: Duration,
    /// For the next byte of a file.
    pub silence: Duration,
    /// The first pause before another try; each later one is twice as long.
    pub first_pause: Duration,
    /// No pause grows longer by itself.
    pub longest_pause: Duration,
    /// No pause that a server asks for is kept if it is longer.
    pub longest_asked: Duration,
    /// Tries in a row that bring no byte, before giving up.
    pub tries: u32,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            answer: Duration::from_secs(30),
            silence: Duration::from_secs(30),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
            // The hub counts requests in windows of five minutes.
            longest_asked: Duration::from_secs(600),
            tries: 6,
        }
    }
}

/// Why one try failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It may work the next time.
    Passing {
        detail: String,
        /// How long the server asks to wait.
        wait: Option<Duration>,
        /// Whether bytes of the file came before it failed.
        gained: bool,
    },
    /// It will not work.
    Final(Error),
}

impl Fault {
    pub(crate) fn passing(detail: impl ToString) -> Fault {
        Fault::Passing {
            detail: detail.to_string(),
            wait: None,
            gained: false,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Fault {
        Fault::Final(error)
    }
}

impl From<sample::Error> for Fault {
    fn from(error: sample::Error) -> Fault {
        Fault::Final(error.into())
    }
}

/// Tries until it works, until it cannot, or until `patience` is at its end. `what` says in
/// messages what is being done.
pub(crate) fn persist<T>(
    patience: &Patience,
    what: &str,
    mut attempt: impl FnMut() -> Result<T, Fault>,
) -> Result<T, Error> {
    let mut failures = 0;
    loop {
        interrupt::check()?;
        let (detail, wait, gained) = match attempt() {
            Ok(done) => return Ok(done),
            Err(Fault::Final(error)) => return Err(error),
            Err(Fault::Passing {
                detail,
                wait,
                gained,
            }) => (detail, wait, gained),
        };
        if gained {
            failures = 0;
        }
        failures += 1;
        if failures >= patience.tries.max(1) {
            return Err(Error::Unreachable {
                what: what.to_owned(),
                detail,
                tries: failures,
            });
        }
        if let Some(wait) = wait.filter(|wait| *wait > patience.longest_asked) {
            let minutes = wait.as_secs().div_ceil(60);
            return Err(Error::Refused(format!(
                "{what}: {detail}, and the server asks to wait {minutes} minutes. The same command \
                 goes on from here then; with HF_TOKEN set the hub allows more requests"
            )));
        }
        let pause = wait.unwrap_or_else(|| grown(patience, failures));
        progress::note(&format!(
            "{what}: {detail}; trying again in {:.0} s",
            pause.as_secs_f64().ceil()
        ));
        sleep(pause)?;
    }
}

/// The pause after so many failures in a row.
fn grown(patience: &Patience, failures: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
    patience
        .first_pause
        .saturating_mul(doubled)
        .min(patience.longest_pause)
}

/// Sleeps, and wakes at once when a stop is asked for.
fn sleep(pause: Duration) -> Result<(), Error> {
    let until = Instant::now() + pause;
    loop {
        interrupt::check()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hasty() -> Patience {
        Patience {
            first_pause: Duration::ZERO,
            tries: 3,
            ..Patience::default()
        }
    }

    fn outcome(faults: Vec<Fault>) -> (Result<usize, Error>, usize) {
        let mut faults = faults.into_iter();
        let mut calls = 0;
        let outcome = persist(&hasty(), "listing a/b", || {
            calls += 1;
            faults.next().map_or(Ok(calls), Err)
        });
        (outcome, calls)
    }

    #[test]
    fn what_passes_is_tried_again_and_what_does_not_is_not() {
        let reset = || Fault::passing("connection reset");
        assert_eq!(outcome(vec![reset(), reset()]).0.unwrap(), 3);
        let (given_up, calls) = outcome(vec![reset(), reset(), reset()]);
        assert_eq!(calls, 3);
        let said = given_up.unwrap_err().to_string();
        assert!(
            said.contains("listing a/b: connection reset; gave up after 3"),
            "{said}"
        );
        let (refused, calls) = outcome(vec![Error::Refused("no".into()).into()]);
        assert_eq!(
            (refused.unwrap_err().to_string().as_str(), calls),
            ("no", 1)
        );
    }

    #[test]
    fn a_transfer_that_moves_may_be_cut_any_number_of_times() {
        let cut = || Fault::Passing {
            detail: "cut".into(),
            wait: None,
            gained: true,
        };
        assert_eq!(outcome((0..20).map(|_| cut()).collect()).0.unwrap(), 21);
    }

    #[test]
    fn a_server_that_asks_for_an_hour_is_not_waited_for() {
        let asked = Fault::Passing {
            detail: "429".into(),
            wait: Some(Duration::from_secs(3600)),
            gained: false,
        };
        let said = outcome(vec![asked]).0.unwrap_err().to_string();
        assert!(said.contains("60 minutes"), "{said}");
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let patience = Patience::default();
        let seconds: Vec<u64> = (1..8).map(|n| grown(&patience, n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(grown(&patience, u32::MAX), patience.longest_pause);
    }
}
