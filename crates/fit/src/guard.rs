//! Watches the loss: what is no number stops the run before it spoils the weights, what is far out
//! of line is reported with the samples that caused it.
//!
//! A loss that leaps is mostly one bad sample (a broken image, an answer of one repeated token) or a
//! learning rate at its limit. Which of the two it was can be told only from the batch's samples, and
//! only while the run is at it; so they are named in the message.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Losses seen before any is called a spike.
const WARM_UP: u64 = 50;
/// The running mean and deviation weigh about so many of the last losses.
const WINDOW: u64 = 100;
/// A deviation of less than this share of the mean is taken for it: a loss that hardly moves has no
/// spikes worth a word.
const LEAST_DEVIATION: f64 = 0.01;
/// How many samples a message names.
const NAMED: usize = 20;

/// What is to be done with a step, by its loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The update is made.
    Update,
    /// A spike, and the settings say to leave spikes out: nothing is to be changed.
    Skip,
}

/// A loss out of line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spike {
    /// The loss.
    pub loss: f64,
    /// The running mean before it.
    pub mean: f64,
    /// How many running deviations it lies above the mean.
    pub deviations: f64,
}

/// The running numbers, as bits: they come back from a checkpoint as they were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    seen: u64,
    mean: u64,
    variance: u64,
}

/// Samples that a message names: the first few, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    named: Vec<String>,
    all: usize,
}

impl Members {
    pub(crate) fn new(mut ids: Vec<String>) -> Members {
        let all = ids.len();
        ids.truncate(NAMED);
        Members { named: ids, all }
    }
}

impl fmt::Display for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples: {}", self.all, self.named.join(", "))?;
        match self.all - self.named.len() {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// What watches a run's loss and gradients; the loop makes one and hands it to every step.
#[derive(Debug)]
pub struct Guard {
    /// Running deviations above the mean from which on a loss is a spike; 0 looks for none.
    deviations: f64,
    skip: bool,
    running: Running,
    step: u64,
    lr: f64,
    spike: Option<Spike>,
    /// What was no number.
    fault: Option<(&'static str, f64)>,
}

impl Guard {
    /// A guard that has seen nothing. A loss more than `deviations` running deviations above the
    /// running mean is a spike (0: none is), which with `skip` is left out.
    pub fn new(deviations: f64, skip: bool) -> Guard {
        Guard {
            deviations,
            skip,
            running: Running::default(),
            step: 0,
            lr: 0.0,
            spike: None,
            fault: None,
        }
    }

    /// Judges the loss of the step, before its update.
    ///
    /// # Errors
    /// [`Error::Diverged`] where it is no number; the loop adds the step's samples to it.
    pub fn loss(&mut self, value: f64) -> Result<Verdict, Error> {
        self.finite("the loss", value)?;
        let Running {
            seen,
            mean,
            variance,
        } = self.running;
        let (mean, variance) = (f64::from_bits(mean), f64::from_bits(variance));
        let deviation = variance.sqrt().max(LEAST_DEVIATION * mean.abs());
        let out = (value - mean) / deviation.max(f64::MIN_POSITIVE);
        let is_spike = self.deviations > 0.0 && seen >= WARM_UP && out > self.deviations;
        let mut counted = value;
        if is_spike {
            self.spike = Some(Spike {
                loss: value,
                mean,
                deviations: out,
            });
            // One spike must not hide the next; a level that stays up is one the mean still rises to.
            counted = mean + self.deviations * deviation;
        }
        // The plain mean until the window is full, then an exponential one.
        let weight = 1.0 / (seen + 1).min(WINDOW) as f64;
        let off = counted - mean;
        self.running = Running {
            seen: seen + 1,
            mean: (mean + weight * off).to_bits(),
            variance: ((1.0 - weight) * (variance + weight * off * off)).to_bits(),
        };
        Ok(if is_spike && self.skip {
            Verdict::Skip
        } else {
            Verdict::Update
        })
    }

    /// Judges the norm of the step's gradients.
    ///
    /// # Errors
    /// As [`Guard::loss`].
    pub fn gradient_norm(&mut self, value: f64) -> Result<(), Error> {
        self.finite("the gradient norm", value)
    }

    pub(crate) fn finite(&mut self, what: &'static str, value: f64) -> Result<(), Error> {
        if value.is_finite() {
            return Ok(());
        }
        self.fault = Some((what, value));
        Err(self.diverged(what, value, Vec::new()))
    }

    fn diverged(&self, what: &'static str, value: f64, members: Vec<String>) -> Error {
        Error::Diverged {
            step: self.step,
            what,
            value,
            lr: self.lr,
            members: Members::new(members),
        }
    }

    /// Begins a step.
    pub(crate) fn begin(&mut self, step: u64, lr: f64) {
        (self.step, self.lr) = (step, lr);
        (self.spike, self.fault) = (None, None);
    }

    /// What the step's loss was, if it was a spike.
    pub(crate) fn spike(&self) -> Option<Spike> {
        self.spike
    }

    /// The error of the step, if something was no number, with the samples that were in it.
    pub(crate) fn fault(&self, members: impl FnOnce() -> Vec<String>) -> Option<Error> {
        self.fault
            .map(|(what, value)| self.diverged(what, value, members()))
    }

    pub(crate) fn running(&self) -> Running {
        self.running
    }

    pub(crate) fn restore(&mut self, running: Running) {
        self.running = running;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Losses around 2 that fall a little.
    fn usual(step: u64) -> f64 {
        2.0 - 0.001 * step as f64 + 0.05 * ((step * 7 % 11) as f64 - 5.0) / 5.0
    }

    fn warmed_up(skip: bool) -> Guard {
        let mut guard = Guard::new(6.0, skip);
        for step in 0..200 {
            guard.begin(step, 1e-3);
            assert_eq!(guard.loss(usual(step)).unwrap(), Verdict::Update);
            assert_eq!(guard.spike(), None, "step {step}");
        }
        guard
    }

    #[test]
    fn a_loss_far_above_the_running_mean_is_a_spike_and_skipped_only_if_asked() {
        for (skip, verdict) in [(false, Verdict::Update), (true, Verdict::Skip)] {
            let mut guard = warmed_up(skip);
            guard.begin(200, 1e-3);
            assert_eq!(guard.loss(4.0).unwrap(), verdict);
            let spike = guard.spike().unwrap();
            assert!(
                spike.deviations > 6.0 && (spike.mean - 1.85).abs() < 0.1,
                "{spike:?}"
            );
            // Far below is no spike, and the one before did not hide this one.
            guard.begin(201, 1e-3);
            assert_eq!(guard.loss(0.1).unwrap(), Verdict::Update);
            assert_eq!(guard.spike(), None);
            guard.begin(202, 1e-3);
            assert_eq!(guard.loss(8.0).unwrap(), verdict);
        }
    }

    #[test]
    fn the_first_losses_and_a_guard_that_is_turned_off_know_no_spikes() {
        let mut guard = Guard::new(6.0, true);
        for step in 0..WARM_UP {
            let loss = if step == 20 { 1e6 } else { usual(step) };
            assert_eq!(guard.loss(loss).unwrap(), Verdict::Update);
        }
        let mut off = Guard::new(0.0, true);
        for step in 0..300 {
            let loss = if step == 250 { 1e6 } else { usual(step) };
            assert_eq!(off.loss(loss).unwrap(), Verdict::Update);
        }
    }

    #[test]
    fn a_loss_that_stays_at_a_higher_level_becomes_the_usual_one() {
        let mut guard = warmed_up(true);
        let mut skipped = 0;
        for step in 200..400 {
            guard.begin(step, 1e-3);
            skipped += u64::from(guard.loss(4.0).unwrap() == Verdict::Skip);
        }
        assert!((1..60).contains(&skipped), "{skipped}");
    }

    #[test]
    fn what_is_no_number_is_an_error_and_leaves_the_running_numbers_alone() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut guard = warmed_up(true);
            let before = guard.running();
            guard.begin(200, 1e-3);
            assert!(guard.loss(value).is_err());
            assert!(guard.gradient_norm(value).is_err());
            assert_eq!(guard.running(), before);
        }
    }

    #[test]
    fn the_error_names_twenty_samples_and_counts_the_rest() {
        let mut guard = Guard::new(0.0, false);
        guard.begin(7, 1e-3);
        let _ = guard.loss(f64::NAN);
        let ids = (0..33).map(|i| format!("geo:{i}")).collect();
        let message = guard.fault(|| ids).unwrap().to_string();
        assert!(message.contains("step 7: the loss is NaN"), "{message}");
        assert!(message.contains("33 samples: geo:0, "), "{message}");
        assert!(message.ends_with("geo:19 and 13 more"), "{message}");
        assert!(
            message.contains("Lower the learning rate (now 1e-3)"),
            "{message}"
        );
    }
}
